"""Arrays in memory as datasets: every accepted form, and one line for each that is not."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from minigan.data import Dataset, as_dataset, load
from minigan.errors import DataError

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 8, 6, 3), dtype=np.uint8)
PIXELS[0, 0, :2] = [[0], [255]]


@pytest.mark.parametrize(
    "form",
    [
        np.copy,
        np.int64,
        lambda a: a / np.float32(255),
        lambda a: a / 127.5 - 1,
        lambda a: a[:, ::-1][:, ::-1],
        np.ndarray.tolist,
    ],
    ids=["uint8", "int64", "unit", "symmetric", "view", "list"],
)
def test_images_of_every_form(form):
    dataset = as_dataset(form(PIXELS))
    assert (dataset.name, dataset.shape, dataset.labels) == ("array", (8, 6, 3), None)
    assert dataset.values.dtype == np.uint8
    np.testing.assert_array_equal(dataset.values, PIXELS)
    assert dataset.digest == Dataset("other", PIXELS).digest


def test_grey_images_binary_images_and_points():
    assert as_dataset(PIXELS[..., 0]).shape == (8, 6, 1)
    np.testing.assert_array_equal(as_dataset(PIXELS > 99).values, 255 * (PIXELS > 99))
    points = as_dataset(np.arange(6.0).reshape(3, 2), "mine")
    assert (points.name, points.shape, points.is_images, points.values.dtype) == ("mine", (2,), False, np.float32)


def test_bytes_are_not_copied_and_a_dataset_is_itself():
    assert np.shares_memory(as_dataset(PIXELS).values, PIXELS)
    ring = load("ring")
    assert as_dataset(ring) is ring


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((3, 4, 4), complex), "array holds complex128 values: expected numbers"),
        (None, "array holds object values: expected numbers"),
        ("digits", "array holds <U6 values: expected numbers"),
        ([[1, 2], [3]], "array is a list that NumPy cannot take as an array"),
        (np.full((3, 4, 4), np.nan), "48 values that are NaN, infinite or too large"),
        (np.full((3, 2), 1e300), "6 values that are NaN, infinite or too large for float32"),
        (np.zeros((3, 785)), r"array has shape \(3, 785\): expected images \(N, H, W\)"),
        (np.zeros(7), r"array has shape \(7,\): expected images"),
        (np.zeros((3, 4, 4, 2), np.uint8), r"has shape \(3, 4, 4, 2\)"),
        (np.zeros((32, 32, 3, 9), np.uint8), r"if N comes last, use array\.transpose\(3, 0, 1, 2\)"),
        (np.zeros((2, 2, 8, 8, 3), np.uint8), r"has shape \(2, 2, 8, 8, 3\)"),
        (np.zeros((64, 48, 3), np.uint8), r"of a single colour image give array\[None\]"),
        (np.zeros((64, 64), np.uint8), r"of a single image give array\[None\], of rows reshape them"),
        (np.zeros((2, 500)), r"transpose it, array\.T"),
        (np.zeros((3, 300)), "expected images"),  # a table: 300 is 3 · 10 · 10, and nobody's image
        (np.float32(3), r"has shape \(\)"),
        (b"digits", r"holds \|S6 values: expected numbers"),
        ({"images": PIXELS}, r"array is a dict: give one of its arrays, as data\['images'\]"),
        ((n for n in range(3)), "expected numbers, not a generator"),
        (np.array([[1, "a"]], object), r"convert it, as array\.astype\(np\.uint8\)"),
        (np.zeros(3, [("x", "f4"), ("y", "f4")]), "take one field of the records"),
        (np.zeros((3, 2), "M8[s]"), r"holds datetime64\[s\] values: expected numbers"),
        (np.zeros((3, 2), complex), r"take array\.real or abs\(array\)"),
        (np.ma.masked_equal(PIXELS, 0), r"has masked values: fill them first"),
        (
            np.where(np.arange(12)[:, None, None] % 5 == 3, np.nan, np.ones((12, 4, 4))),
            "in 2 of 12 samples, the first at index 3",
        ),
        (np.full((3, 4, 4), np.inf, np.float16), "48 values that are NaN, infinite"),
        (np.linspace(-3, 3, 48).reshape(3, 4, 4), r"scale them, as \(array \+ 3\) / 6"),
        (np.arange(-128, 128, dtype=np.int8).reshape(4, 8, 8), r"from -128 to 127: .*scale them, as \(array \+ 128\) / 255"),
        (np.linspace(0, 65535, 64).astype(np.uint16).reshape(1, 8, 8), "scale them, as array / 65535"),
        (np.linspace(0, 5.5, 64).reshape(1, 8, 8), r"floats in \[0, 1\] or \[-1, 1\]; scale them, as array / 5.5"),
        (np.full((1, 4, 4), 10**25), "holds object values: expected numbers"),
        (np.full((3, 4, 4), 300), "from 300 to 300: expected whole numbers from 0 to 255"),
        (np.full((3, 4, 4), 1.5), r"floats in \[0, 1\] or \[-1, 1\]"),
        (np.zeros((0, 4, 4), np.uint8), r"holds no samples: its shape is \(0, 4, 4\)"),
        (np.zeros((0, 2)), r"holds no samples: its shape is \(0, 2\)"),
    ],
)
def test_wrong_arrays(array, message):
    with pytest.raises(DataError, match=message) as caught:
        as_dataset(array)
    assert len(str(caught.value)) <= 300
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (PIXELS / 255, r"are float64 \(\d+, 8, 6, 3\): expected uint8"),  # floats would be taken for pixels from 0 to 255
        (PIXELS[0], r"are uint8 \(8, 6, 3\)"),
        (np.zeros((5, 2)), r"are float64 \(5, 2\)"),
        (np.zeros((5, 0), np.float32), r"are float32 \(5, 0\)"),
        (np.full((5, 2), np.nan, np.float32), "hold NaN or infinite numbers"),
        ([[1, 2]], "are a list"),
    ],
)
def test_half_a_dataset_is_refused(values, found):
    with pytest.raises(DataError, match=f"the values of 'own' {found}"):
        Dataset("own", values)


GREY = PIXELS[..., 0]
WIDE = np.random.default_rng(1).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
LEVELS = np.arange(192).reshape(3, 8, 8) % 17  # as in scikit-learn's digits
OPACITY = np.random.default_rng(2).integers(0, 256, (12, 8, 6, 1), dtype=np.uint8)
ON_WHITE = np.rint(PIXELS * (OPACITY / 255) + 255 - OPACITY)
CONVERTED = {  # {name: (array, the pixels that it holds, what is said)}
    "float pixels": (PIXELS.astype(np.float64), PIXELS, "floats from 0 to 255: 0 was taken as black and 255 as white"),
    "float pixels, rounded": (PIXELS * np.float32(0.9), np.rint(PIXELS * np.float32(0.9)), "floats from 0 to 229.5"),
    "half precision": (PIXELS.astype(np.float16), PIXELS, "floats from 0 to 255"),
    "channels first": (PIXELS.transpose(0, 3, 1, 2), PIXELS, r"channels come first in \(12, 3, 8, 6\)"),
    "one channel first": (GREY[:, None], PIXELS[..., :1], r"channels come first in \(12, 1, 8, 6\)"),
    "rows": (WIDE[..., 0].reshape(5, 1024), WIDE[..., :1], "rows of 1024 numbers were read as images of 32x32; reshape"),
    "rows of planes": (
        WIDE.transpose(0, 3, 1, 2).reshape(5, 3072),
        WIDE,
        r"rows of 3072 numbers were read as images of 32x32, as 3 planes \(red, green, blue\)",
    ),
    "bits": ((GREY > 99).astype(np.int64), 255 * (PIXELS[..., :1] > 99), "from 0 to 1: 0 was taken as black and 1 as white"),
    "bits of uint8": ((GREY > 99).astype(np.uint8), 255 * (PIXELS[..., :1] > 99), "0 was taken as black and 1 as white"),
    "bits, signed": (np.where(GREY > 99, 1, -1), 255 * (PIXELS[..., :1] > 99), "-1 was taken as black and 1 as white"),
    "15 levels": (np.minimum(LEVELS, 15), 17 * np.minimum(LEVELS, 15)[..., None], "0 was taken as black and 15 as white"),
    "16 levels": (LEVELS, np.rint(LEVELS * 255 / 16)[..., None], "0 was taken as black and 16 as white"),
    "16 levels of floats": (LEVELS.astype(float), np.rint(LEVELS * 255 / 16)[..., None], "and 16 as white"),
    "RGBA": (np.concatenate([PIXELS, OPACITY], axis=3), ON_WHITE, "transparent pixels were composed on white"),
    "RGBA of floats": (np.concatenate([PIXELS, OPACITY], axis=3) / 255, ON_WHITE, "transparent pixels were composed on white"),
    "RGBA, channels first": (np.concatenate([PIXELS, OPACITY], axis=3).transpose(0, 3, 1, 2), ON_WHITE, "channels come first"),
    "blank": (
        np.full((3, 4, 4), 0.5),
        np.full((3, 4, 4, 1), 128),
        "all pixels lie between 128 and 128 of 255: the images look blank",
    ),
}


@pytest.mark.parametrize("name", CONVERTED)
@pytest.mark.parametrize("form", ["as it is", "column-major", "big-endian", "as a tensor", "through __array__"])
def test_converted_and_said(name, form):
    array, pixels, note = CONVERTED[name]
    if form == "column-major":
        array = np.asfortranarray(array)
    elif form == "big-endian":
        array = array.astype(array.dtype.newbyteorder(">"))
    elif form == "as a tensor":
        array = pytest.importorskip("torch").tensor(array)
    elif form == "through __array__":
        array = Wrapped(array)
    dataset = as_dataset(array, "mine")
    np.testing.assert_array_equal(dataset.values, pixels)
    assert dataset.values.dtype == np.uint8
    assert dataset.values.flags.c_contiguous
    assert re.search(f"mine: .*{note}", dataset.notes[0])
    assert all(len(line) <= 300 for line in dataset.notes)


class Wrapped:
    """As a column of a table from another library: not an array, but it can give one."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.array, dtype)


class Broken:
    def __array__(self, dtype=None, copy=None):
        raise ZeroDivisionError


def test_what_needs_no_note():
    opaque = np.concatenate([PIXELS, np.full_like(OPACITY, 255)], axis=3)
    for array in (PIXELS, PIXELS / 255, PIXELS / np.float32(127.5) - 1, GREY > 99, opaque, np.zeros((3, 2))):
        assert as_dataset(array).notes == ()
    np.testing.assert_array_equal(as_dataset(opaque).values, PIXELS)
    np.testing.assert_array_equal(as_dataset(PIXELS / 255 * 1.00001).values, PIXELS)  # rounding went beyond the range


def test_arrays_that_cannot_be_had():
    torch = pytest.importorskip("torch")
    for data in (Broken(), torch.zeros(3, 4, 4, requires_grad=True), torch.zeros(3, 4, 4, dtype=torch.bfloat16)):
        with pytest.raises(DataError, match="that NumPy cannot take as an array: give a NumPy array"):
            as_dataset(data)


@given(
    arrays(
        st.sampled_from([np.uint8, np.int8, np.int32, np.uint64, np.float16, np.float32, np.float64, np.bool_, np.complex64]),
        array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=9),
    )
)
def test_any_array_is_a_dataset_or_refused(array):
    try:
        dataset = as_dataset(array)
    except DataError as error:
        text = str(error)
    else:
        text = ""
        assert dataset.values.dtype == (np.uint8 if dataset.is_images else np.float32)
        assert dataset.is_images == (dataset.values.ndim == 4)
        assert len(dataset) > 0
    assert len(text) <= 300
    assert "\n" not in text


def test_a_device_array_is_refused(device):
    """Host and device never mix silently: data come in from the host."""
    with pytest.raises(DataError, match="array is a DeviceArray that NumPy cannot take"):
        as_dataset(device.asarray(PIXELS))
