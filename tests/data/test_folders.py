"""Folders of images as they lie about: with links, with what systems leave in them, with things that may not be read."""

import os
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from minigan.data import load
from minigan.errors import DataError

PIXELS = np.random.default_rng(0).integers(0, 256, (8, 8, 6), dtype=np.uint8)


def fill(folder, count=1, suffix=".png", first=0):
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(first, first + count):
        image = Image.fromarray(PIXELS[index])
        image.save(folder / f"{index}{suffix}", **({"lossless": True} if suffix.lower() == ".webp" else {}))
    return folder


def read(folder):
    """Which of PIXELS the folder's images are."""
    return [next(i for i, own in enumerate(PIXELS) if (own == image[..., 0]).all()) for image in load(folder).values]


@pytest.mark.parametrize("suffix", [".png", ".PNG", ".bmp", ".webp", ".WebP", ".jpg", ".JPEG", ".jfif"])
def test_every_kind_of_image_is_read(tmp_path, suffix):
    fill(tmp_path, 3, suffix)
    assert load(tmp_path).values.shape[:3] == (3, 8, 6)


def test_what_systems_leave_in_folders_is_skipped(tmp_path):
    top = tmp_path / ".hidden"  # not itself: it is asked for
    fill(top, 2)
    for name in ("._0.png", ".cache.png", ".DS_Store", "Thumbs.db", "desktop.ini", "labels.csv"):
        (top / name).write_bytes(b"no image")
    for name in ("__MACOSX", ".git", ".ipynb_checkpoints"):
        (top / name).mkdir()
        (top / name / "9.png").write_bytes(b"no image")
    assert read(top) == [0, 1]
    assert load(top).notes == ()


def test_linked_folders_are_read_once(tmp_path):
    """Links to class folders elsewhere, twice to one, to a folder of the tree, to its top, in a circle."""
    data, other = tmp_path / "data", tmp_path / "other"
    fill(data / "real", 2)
    fill(other / "class", 2, first=2)
    fill(other / "class" / "deeper", 1, first=4)
    (data / "one").symlink_to(other / "class")
    (data / "two").symlink_to(other / "class")
    (data / "again").symlink_to(data / "real")
    (data / "top").symlink_to(data)
    (data / "real" / "up").symlink_to("..")
    (data / "self").symlink_to("self")
    (other / "class" / "back").symlink_to(data)
    assert sorted(read(data)) == [0, 1, 2, 3, 4]
    (tmp_path / "link").symlink_to(data)
    assert sorted(read(tmp_path / "link")) == [0, 1, 2, 3, 4]


def test_folders_may_lie_deep(tmp_path):
    folder = tmp_path
    for _ in range(60):
        folder = folder / "d"
    fill(folder, 1)
    assert read(tmp_path) == [0]


def test_a_linked_image_whose_file_is_gone(tmp_path):
    fill(tmp_path, 1)
    (tmp_path / "notes").symlink_to(tmp_path / "nothing")  # no image, so nothing is missing
    (tmp_path / "1.png").symlink_to(tmp_path / "0.png")
    assert read(tmp_path) == [0, 0]
    (tmp_path / "2.png").symlink_to(tmp_path / "nothing")
    with pytest.raises(DataError, match=r"2\.png is a link to nothing"):
        load(tmp_path)


@pytest.fixture
def locked(monkeypatch):
    """Paths that the system lets nobody look at; a test may run as root, whom it lets."""
    paths = set()

    def guard(function):
        def guarded(path, *args, **kwargs):
            if isinstance(path, (str, os.PathLike)) and os.fspath(path) in paths:
                raise PermissionError(13, "Permission denied", os.fspath(path))
            return function(path, *args, **kwargs)

        return guarded

    monkeypatch.setattr("builtins.open", guard(open))
    for name in ("stat", "scandir", "open"):
        monkeypatch.setattr(os, name, guard(getattr(os, name)))
    return paths


@pytest.mark.parametrize("what", ["", "class", "0.png", "class/1.png", "link", "link.png"])
def test_permission_in_a_folder_is_told_as_permission(tmp_path, locked, what):
    fill(tmp_path / "class", 2)
    fill(tmp_path, 1)
    fill(tmp_path / "elsewhere", 1)
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "link.png").symlink_to(tmp_path / "0.png")
    locked.add(os.fspath(tmp_path / what))
    with pytest.raises(DataError, match=re.escape(f"{what}: Permission denied; give yourself read permission")):
        load(tmp_path)


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.idx", "a.gz"])
def test_permission_of_a_file_is_told_as_permission(tmp_path, locked, name):
    (tmp_path / name).write_bytes(b"\x1f\x8b")
    locked.add(os.fspath(tmp_path / name))
    with pytest.raises(DataError, match=f"cannot read .*{re.escape(name)}: Permission denied; give yourself"):
        load(tmp_path / name)


def test_permission_of_the_folder_of_mnist(tmp_path, locked, monkeypatch):
    locked.update(map(os.fspath, (tmp_path, tmp_path / "mnist" / "train-images-idx3-ubyte")))
    with pytest.raises(DataError, match=r"cannot read .*: Permission denied"):
        load("mnist", tmp_path)
    monkeypatch.setenv("MINIGAN_DATA", str(tmp_path))
    with pytest.raises(DataError, match=r"cannot read .*: Permission denied"):
        load("mnist")


def arrays(folder):
    np.save(folder / "x.npy", PIXELS)


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (lambda folder: None, "there is no file in it or in the folders below"),
        (lambda folder: (folder / "a" / "b").mkdir(parents=True), "there is no file in it or in the folders below"),
        (arrays, r"but x\.npy: give that file's own path"),
        (lambda folder: (folder / "train-images-idx3-ubyte.gz").write_bytes(b""), "train-images-idx3-ubyte.gz: give that file"),
        (lambda folder: fill(folder, 3, ".gif"), r"but 3 of type \.gif: convert them to PNG"),
        (lambda folder: (folder / "LICENSE").write_text(""), "but 1 of type unknown: give another folder"),
        (lambda folder: (folder / "a.txt").write_text(""), r"but 1 of type \.txt: give another folder"),
    ],
)
def test_a_folder_without_images_says_what_to_do(tmp_path, contents, message):
    contents(tmp_path)
    with pytest.raises(DataError, match=rf"holds no PNG, JPEG, WebP or BMP files.*{message}"):
        load(tmp_path)


def test_notes_say_what_was_done_to_the_images(tmp_path):
    fill(tmp_path, 2)
    fill(tmp_path, 1, ".gif", first=2)
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(PIXELS[3]).save(tmp_path / "turned.png", exif=exif)
    Image.fromarray(np.dstack([PIXELS[:3].transpose(1, 2, 0), PIXELS[4]])).save(tmp_path / "alpha.png")
    notes = load(tmp_path).notes
    assert all(note.startswith(f"{tmp_path}: ") and len(note) <= 300 for note in notes)
    assert [note.removeprefix(f"{tmp_path}: ") for note in notes] == [
        "1 of 4 images with transparent pixels, composed on white",
        "1 of 4 images turned upright as their EXIF orientation says",
        "3 of 4 images grey, read as RGB as the others are",
        "left out 1 of type .gif; convert them to PNG to use them",
    ]


def test_large_photos_are_scaled_as_they_are_read(tmp_path, monkeypatch):
    """A few at a time: all of them at their own size would not fit. At the wanted one they lie in memory, or in a file."""
    fill(tmp_path, 4)
    whole = load(tmp_path, image_size=(4, 4)).values
    room = 4 * 4 * 4
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / ".cache"))
    monkeypatch.setattr("minigan.data.reading.free_and_total_memory", lambda: (0.0, room / 2**20))
    monkeypatch.setattr("minigan.data.folders.free_and_total_memory", lambda: (2 * room / 2**20, room / 2**20))
    monkeypatch.setattr("minigan.data.cache.shutil.disk_usage", lambda path: shutil._ntuple_diskusage(0, 0, 3 * room))
    held = load(tmp_path, image_size=(4, 4), memory_share=0.5).values
    assert not isinstance(held, np.memmap)
    np.testing.assert_array_equal(held, whole)
    streamed = load(tmp_path, image_size=(4, 4), memory_share=0.49).values
    assert isinstance(streamed, np.memmap)
    np.testing.assert_array_equal(streamed, whole)
    assert load(tmp_path).values.shape == (4, 8, 6, 1)
    with pytest.raises(DataError, match=r"4 images of 6x10 take .* GiB, and .* has .* left"):
        load(tmp_path, image_size=(6, 10))
    with pytest.raises(DataError, match=r"an image of 99999x99999 would take 9\.31 GiB of memory, and this machine has"):
        load(tmp_path, image_size=(99_999, 99_999))
