"""Datasets by name and by path, and the error for every way a file can be wrong."""

import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from minigan.data import load, mnist, parse_size, read_idx
from minigan.errors import DataError, OptionError


def idx_bytes(array, magic=b"\0\0\x08"):
    return magic + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (12, 8, 6), dtype=np.uint8)


# -- by name -----------------------------------------------------------------------------------------------------------


def test_digits():
    digits = load("digits")
    assert digits.values.shape == (5000, 28, 28, 1)
    assert digits.values.dtype == np.uint8
    assert digits.shape == (28, 28, 1)
    assert digits.is_images
    assert 20 < digits.values.mean() < 50, "mostly paper, which is 0"


def test_labels_of_the_digits():
    digits = load("digits")
    assert digits.labels.dtype == np.uint8
    np.testing.assert_array_equal(digits.labels, np.repeat(np.arange(10), 500))
    # That they belong to the images: most of one half lie nearest to their own class's mean of the other half.
    flat, half = digits.values.reshape(5000, -1).astype(np.float32), np.arange(5000) % 2 == 0
    means = np.stack([flat[half & (digits.labels == digit)].mean(axis=0) for digit in range(10)])
    nearest = ((flat[~half, None] - means) ** 2).sum(axis=2).argmin(axis=1)
    assert (nearest == digits.labels[~half]).mean() > 0.75
    np.testing.assert_array_equal(load("digits", image_size=(8, 8)).labels, digits.labels)
    assert load("ring").labels is None


def test_ring_and_grid():
    for name, count, sigma in (("ring", 8, 0.01), ("grid", 25, 0.05)):
        points = load(name)
        assert points.shape == (2,)
        assert points.values.dtype == np.float32
        assert not points.is_images
        step = np.round(points.values / 2) * 2
        angle = np.round(np.arctan2(*points.values.T[::-1]) / (np.pi / 4)) * np.pi / 4
        centres = step if name == "grid" else np.stack([np.cos(angle), np.sin(angle)], axis=1)
        assert len(np.unique(np.round(centres, 3) + 0.0, axis=0)) == count
        assert (points.values - centres).std() == pytest.approx(sigma, rel=0.05)
        np.testing.assert_array_equal(load(name).values, points.values)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("below", ["", "mnist"])
def test_mnist_from_data_dir_and_environment(tmp_path, images, packed, below, monkeypatch):
    folder = tmp_path / below
    folder.mkdir(exist_ok=True)
    raw = idx_bytes(images)
    (folder / ("train-images-idx3-ubyte" + (".gz" if packed else ""))).write_bytes(gzip.compress(raw) if packed else raw)
    np.testing.assert_array_equal(load("mnist", tmp_path).values, images[..., None])
    monkeypatch.setenv("MINIGAN_DATA", str(tmp_path))
    np.testing.assert_array_equal(load("mnist").values, images[..., None])


def test_fashion_mnist_of_the_system(tmp_path, images, monkeypatch):
    monkeypatch.setattr(mnist, "SYSTEM_FOLDER", tmp_path)
    monkeypatch.delenv("MINIGAN_DATA", raising=False)
    (tmp_path / "fashion-mnist").mkdir()
    (tmp_path / "fashion-mnist" / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx_bytes(images)))
    np.testing.assert_array_equal(load("fashion-mnist").values, images[..., None])


def test_download_happens_once_with_a_checksum(tmp_path, images, monkeypatch):
    """A stand-in for the downloader: the right URL and checksum go in, its file comes out; a failure is one clear message."""
    import pooch

    file = tmp_path / "train-images-idx3-ubyte.gz"
    file.write_bytes(gzip.compress(idx_bytes(images)))
    calls = []

    def retrieve(url, known_hash, fname, path, progressbar):
        calls.append((url, known_hash))
        return str(file)

    monkeypatch.setattr(mnist, "SYSTEM_FOLDER", tmp_path / "none")
    monkeypatch.delenv("MINIGAN_DATA", raising=False)
    monkeypatch.setattr(pooch, "retrieve", retrieve)
    np.testing.assert_array_equal(load("mnist").values, images[..., None])
    assert calls[0][0].endswith("mnist/train-images-idx3-ubyte.gz")
    assert all(url.startswith("https://") and known.startswith("sha256:") for url, known in mnist.SOURCES.values())
    assert calls[0] == mnist.SOURCES["mnist"]

    def fail(*args, **kwargs):
        raise ConnectionError("no route to host\nmore")

    monkeypatch.setattr(pooch, "retrieve", fail)
    with pytest.raises(
        DataError, match=r"mnist is not on this machine and its download failed \(no route to host\).*--data-dir"
    ):
        load("mnist")


def test_missing_names(tmp_path):
    with pytest.raises(DataError, match="unknown dataset 'digit': did you mean 'digits'"):
        load("digit")
    with pytest.raises(DataError, match=r"no file or folder 'nothing\.npy'"):
        load("nothing.npy")
    with pytest.raises(DataError, match="holds no train-images-idx3-ubyte"):
        load("mnist", tmp_path)
    with pytest.raises(DataError, match=r"no folder '.*nowhere' to look for mnist in"):
        load("mnist", tmp_path / "nowhere")
    with pytest.raises(DataError, match="only mnist and fashion-mnist are looked for there"):
        load("digits", tmp_path)
    with pytest.raises(DataError, match="only mnist and fashion-mnist are looked for there"):
        load(np.zeros((3, 2)), tmp_path)
    with pytest.raises(DataError, match="holds points"):
        load("ring", image_size=(8, 8))


def test_a_data_folder_that_is_gone_is_told(tmp_path, monkeypatch):
    """Rather than downloading what the user has somewhere else."""
    monkeypatch.setenv("MINIGAN_DATA", str(tmp_path / "nothing"))
    with pytest.raises(DataError, match=r"MINIGAN_DATA is '.*nothing', which is no folder"):
        load("mnist")


def test_load_takes_arrays_paths_and_datasets(tmp_path, images, monkeypatch):
    np.save(tmp_path / "own.npy", images)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    dataset = load(images)
    assert load(dataset) is dataset
    tensor = pytest.importorskip("torch").tensor(images)
    for data in (
        images,
        images.tolist(),
        tensor,
        tmp_path / "own.npy",
        os.fsencode(tmp_path / "own.npy").decode(),
        "~/own.npy",
    ):
        np.testing.assert_array_equal(load(data).values, images[..., None])
    np.testing.assert_array_equal(load(Path("own.npy")).values, images[..., None])
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / "train-images.idx3-ubyte").write_bytes(idx_bytes(images))
    for data_dir in ("~", Path("~"), tmp_path, "mnist"):
        np.testing.assert_array_equal(load("mnist", data_dir).values, images[..., None])
    assert load(images, image_size=4).shape == load(images, image_size=(4, 4)).shape == (4, 4, 1)


@pytest.mark.parametrize(
    "data", [None, 3, 2.5, True, b"digits", np.float32(3), "", "\0", "a\nb", "x" * 200, "x/" * 3000, "d" * 200 + ".npy", {}]
)
def test_what_is_no_data_is_refused_in_one_line(data):
    with pytest.raises(DataError) as caught:
        load(data)
    assert len(str(caught.value)) <= 300
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("size", [0, -1, (4,), (4, 4, 4), "64", 4.5, (4, None), True])
def test_image_sizes_that_are_none(images, size):
    with pytest.raises(OptionError, match="image_size is "):
        load(images, image_size=size)


def test_images_larger_than_memory_are_refused_first(images):
    with pytest.raises(DataError, match=r"12 images of 9000000x9000000 would take .* GiB of memory, and this machine has"):
        load(images, image_size=9_000_000)


def test_pipes_and_devices_are_no_data(tmp_path):
    """Reading them could go on for ever."""
    os.mkfifo(tmp_path / "pipe")
    for path in ("/dev/zero", tmp_path / "pipe"):
        with pytest.raises(DataError, match="is a pipe or a device: expected a file or a folder"):
            load(path)
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "a.png")
    os.mkfifo(tmp_path / "b.png")
    assert len(load(tmp_path)) == 1


# -- IDX files ---------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 5), min_size=1, max_size=4), st.booleans())
def test_idx_round_trip(tmp_path_factory, shape, packed):
    array = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    path = tmp_path_factory.mktemp("idx") / "file"
    path.write_bytes(gzip.compress(idx_bytes(array)) if packed else idx_bytes(array))
    np.testing.assert_array_equal(read_idx(path), array)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda raw: b"\1" + raw[1:], "is no IDX file: its magic number is 01000803"),
        (lambda raw: raw[:2] + b"\x0d" + raw[3:], "type 0x0d: expected 0x08"),
        (lambda raw: raw[:-1], r"holds 575 bytes, its header says \(12, 8, 6\) = 576"),
        (lambda raw: raw + b"x", "holds 577 bytes"),
        (lambda raw: raw[:9], "ends within its IDX header"),
        (lambda raw: b"", "magic number is missing"),
        (lambda raw: gzip.compress(raw)[:-20], "damaged or truncated gzip"),
        (lambda raw: gzip.compress(raw)[:30] + b"damage" + gzip.compress(raw)[36:], "damaged or truncated gzip"),
    ],
)
def test_spoilt_idx_files(tmp_path, images, spoil, message):
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(spoil(idx_bytes(images)))
    with pytest.raises(DataError, match=message):
        load(str(path))


# -- the user's own arrays ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "form",
    [
        lambda a: a,
        lambda a: a[..., None],
        lambda a: a.astype(np.int64),
        lambda a: a / np.float32(255),
        lambda a: a / 127.5 - 1,
    ],
    ids=["uint8", "channel", "int64", "unit", "symmetric"],
)
def test_npy_of_every_form(tmp_path, images, form):
    images[0, 0, :2] = (0, 255)
    np.save(tmp_path / "own.npy", form(images))
    loaded = load(str(tmp_path / "own.npy"))
    np.testing.assert_array_equal(loaded.values, images[..., None])
    assert loaded.values.dtype == np.uint8


def test_npz_and_points(tmp_path, images):
    np.savez(tmp_path / "two.npz", images=images, labels=np.arange(12))
    np.testing.assert_array_equal(load(str(tmp_path / "two.npz")).values, images[..., None])
    np.savez(tmp_path / "one.npz", anything=images)
    np.testing.assert_array_equal(load(str(tmp_path / "one.npz")).values, images[..., None])
    points = np.random.default_rng(0).standard_normal((20, 2))
    np.save(tmp_path / "points.npy", points)
    np.testing.assert_allclose(load(str(tmp_path / "points.npy")).values, points.astype(np.float32))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((3, 4, 4), complex), "holds complex128 values: expected numbers"),
        (np.array([None, 1]), "not a readable .npy file of plain numbers"),
        (np.full((3, 4, 4), np.nan), "48 values that are NaN, infinite or too large"),
        (np.full((3, 2), 1e300), "6 values that are NaN, infinite or too large for float32"),
        (np.zeros((3, 785)), r"has shape \(3, 785\): expected images \(N, H, W\)"),
        (np.zeros((3, 4, 4, 2), np.uint8), r"has shape \(3, 4, 4, 2\)"),
        (np.full((3, 4, 4), 300), "from 300 to 300: expected whole numbers from 0 to 255"),
        (np.full((3, 4, 4), 1.5), r"floats in \[0, 1\] or \[-1, 1\]"),
        (np.zeros((0, 4, 4), np.uint8), "holds no samples"),
    ],
)
def test_wrong_arrays(tmp_path, array, message):
    np.save(tmp_path / "own.npy", array)
    with pytest.raises(DataError, match=message):
        load(str(tmp_path / "own.npy"))


@pytest.mark.parametrize(
    "name", ["own.npy", "own.NPY", "own.npz", "own", "own.idx", "OWN.IDX", "own.gz", "OWN.GZ", "OWN.NPZ", "a.dat"]
)
@pytest.mark.parametrize("form", ["npy", "npz", "idx", "gz"])
def test_a_file_is_what_it_holds(tmp_path, images, name, form):
    """Whatever its name: suffixes in capitals, none, or wrong ones."""
    with open(tmp_path / name, "wb") as file:
        if form in ("npy", "npz"):
            (np.save if form == "npy" else np.savez)(file, images)
        else:
            file.write(idx_bytes(images) if form == "idx" else gzip.compress(idx_bytes(images)))
    np.testing.assert_array_equal(load(tmp_path / name).values, images[..., None])


X, MORE, Y = np.arange(4 * 64, dtype=np.uint8).reshape(4, 8, 8), np.zeros((2, 8, 8), np.uint8), np.arange(4)


@pytest.mark.parametrize(
    ("arrays", "taken"),
    [
        ({"x_train": X, "y_train": Y, "x_test": MORE, "y_test": Y}, "x_train"),  # as Keras's mnist.npz
        ({"train_images": X, "train_labels": Y[:, None], "test_images": MORE, "test_labels": Y}, "train_images"),
        ({"data": X.reshape(4, 64), "labels": Y}, "data"),
        ({"Y": Y, "X": X}, "X"),
        ({"arr_0": X, "arr_1": Y}, "arr_0"),
        ({"arr_0": X, "arr_1": MORE}, "arr_0"),
        ({"anything": X, "one_hot": np.eye(4, 10), "names": np.array(["a", "b"])}, "anything"),
        ({"images": X, "x_train": MORE, "meta": np.array([None])}, "images"),
        ({"mu": Y, "points": np.zeros((5, 2))}, "points"),
    ],
)
def test_the_data_among_the_arrays_of_an_npz(tmp_path, arrays, taken):
    np.savez(tmp_path / "own.npz", **arrays)
    dataset = load(tmp_path / "own.npz")
    assert len(dataset) == len(arrays[taken])
    assert f"own.npz: took the array {taken} {arrays[taken].shape}; not used: " in dataset.notes[0]
    assert all(name in dataset.notes[0] for name in arrays)


def test_an_npz_packed_again_by_a_system(tmp_path):
    """In a folder of its own, with what the system adds for itself."""
    np.savez(tmp_path / "own.npz", **{"mine/X_train": X, "mine/X_test": MORE, "__MACOSX/mine/._X_train": X, "mine/.hidden": X})
    dataset = load(tmp_path / "own.npz")
    np.testing.assert_array_equal(dataset.values[..., 0], X)
    assert dataset.notes[0].endswith("took the array mine/X_train (4, 8, 8); not used: mine/X_test")


def test_no_room_for_the_data(images, monkeypatch):
    monkeypatch.setattr("minigan.data.loading.as_dataset", lambda data: np.empty(2**60, np.uint8))
    with pytest.raises(DataError, match="the array does not fit in memory: take fewer or smaller samples"):
        load(images)


def test_damaged_numpy_files(tmp_path, images):
    np.savez(tmp_path / "own.npz", a=images, b=images)
    with pytest.raises(DataError, match="holds the arrays a, b: expected one array, or one named images"):
        load(str(tmp_path / "own.npz"))
    whole = (tmp_path / "own.npz").read_bytes()
    for name, content in {"cut.npz": whole[:100], "text.npy": b"hello", "empty.npy": b""}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match="is not a readable"):
            load(str(tmp_path / name))


# -- folders of images -------------------------------------------------------------------------------------------------


def test_folder(tmp_path, images):
    (tmp_path / "deeper").mkdir()
    for index, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / ("deeper" if index % 2 else "") / f"{index:02d}.png")
    (tmp_path / "notes.txt").write_text("not an image, and not named like one")
    loaded = load(str(tmp_path)).values
    assert loaded.shape == (12, 8, 6, 1)
    assert {a.tobytes() for a in loaded} == {a.tobytes() for a in images}


def test_one_colour_image_makes_all_rgb(tmp_path, images):
    Image.fromarray(images[0]).save(tmp_path / "a.png")
    Image.fromarray(np.stack([images[1]] * 3, axis=2)).save(tmp_path / "b.jpg")
    loaded = load(str(tmp_path)).values
    assert loaded.shape == (2, 8, 6, 3)
    np.testing.assert_array_equal(loaded[0, ..., 2], images[0])


def test_sixteen_bit_grey_images_keep_their_shades(tmp_path):
    shades = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    Image.fromarray(shades).save(tmp_path / "a.png")
    np.testing.assert_array_equal(load(str(tmp_path)).values[0, ..., 0], np.rint(shades / 257))


def test_an_image_that_claims_to_be_huge(tmp_path, monkeypatch):
    Image.fromarray(np.zeros((30, 30), np.uint8)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(DataError, match=r"a\.png is not a readable image"):
        load(str(tmp_path))


def test_folder_errors(tmp_path, images):
    Image.fromarray(images[0]).save(tmp_path / "a.png")
    Image.fromarray(images[1][:4]).save(tmp_path / "b.png")
    with pytest.raises(DataError, match=r"a.png is 8x6 and .*b.png is 4x6: .*--image-size"):
        load(str(tmp_path))
    assert load(str(tmp_path), image_size=(8, 8)).shape == (8, 8, 1)
    with pytest.raises(DataError, match="single image"):
        load(str(tmp_path / "a.png"))
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:40])
    with pytest.raises(DataError, match=r"b.png is not a readable image"):
        load(str(tmp_path))


def test_image_size_of_arrays():
    assert load("digits", image_size=(16, 20)).values.shape == (5000, 16, 20, 1)
    assert parse_size("64") == (64, 64)
    assert parse_size("64x48") == (64, 48)
    for text in ("", "0", "axb", "1x2x3", "-4"):
        with pytest.raises(DataError, match="an image size is"):
            parse_size(text)
