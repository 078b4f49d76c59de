"""Arrays in memory as datasets: every accepted form, and one line for each that is not."""

import numpy as np
import pytest

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
        (np.zeros((3, 784)), r"array has shape \(3, 784\): expected images \(N, H, W\)"),
        (np.zeros(7), r"array has shape \(7,\): expected images"),
        (np.zeros((3, 4, 4, 2), np.uint8), r"has shape \(3, 4, 4, 2\)"),
        (np.zeros((3, 3, 8, 8), np.uint8), "channels first.*transpose"),
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


def test_a_device_array_is_refused(device):
    """Host and device never mix silently: data come in from the host."""
    with pytest.raises(DataError, match="array is a DeviceArray that NumPy cannot take"):
        as_dataset(device.asarray(PIXELS))
