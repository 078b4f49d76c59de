"""The user's own files, told apart by what they hold: arrays, lines of text, folders of images or of sound."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from minigan.data.arrays import as_dataset
from minigan.data.dataset import Dataset
from minigan.data.folders import classes_of_folder, read_folder, wav_files
from minigan.data.idx import GZIP, UINT8, read_idx
from minigan.data.images import IMAGE_SUFFIXES
from minigan.data.labels import whole_labels
from minigan.data.numpy_files import NPY, ZIP, read_npy, read_npz
from minigan.data.reading import kind_of, opened, shown
from minigan.data.sounds import read_sounds
from minigan.data.wav import WAV_SUFFIXES
from minigan.errors import DataError

# Names of what is no text, so that a damaged file of that name is told as such.
_OF_OTHERS = (*IMAGE_SUFFIXES, *WAV_SUFFIXES, ".npy", ".npz", ".gz", "ubyte")
_SNIFFED = 2**16  # bytes
_BINARY = re.compile(rb"[\x00-\x08\x0e-\x1f\x7f]")  # control characters, but for those that part lines and words


def is_lines(path: Path) -> bool:
    """Whether a file is read as lines of text: by its name, .txt, or where that says nothing, as it looks."""
    name = path.name.lower()
    if name.endswith(".txt") or name.endswith(_OF_OTHERS):
        return name.endswith(".txt")
    with opened(path) as file:
        start = file.read(_SNIFFED)
    return bool(start) and not start.startswith(NPY) and not _BINARY.search(start)


def load_path(
    path: Path,
    image_size: tuple[int, int] | None,
    labels: bool = False,
    length: int | None = None,
    rate: int | None = None,
    **of_folder: Any,
) -> Dataset:
    """The dataset in a file or folder. image_size scales the images of a folder as they are read; labels: whether to read them;
    length and rate are those of the pieces that sound is cut into; of_folder: see read_folder.

    Raises DataError that names what was found and what was expected.
    """
    is_folder = kind_of(path) == "folder"
    sounds, on_sounds = wav_files(path) if is_folder else ([path] if path.suffix.lower() in WAV_SUFFIXES else [], ())
    if sounds:
        dataset = read_sounds(path, sounds, length, rate)
        return replace(dataset, notes=(*on_sounds, *dataset.notes))
    if is_folder:
        array, notes = read_folder(path, image_size, **of_folder)
        classes, class_names = classes_of_folder(path) if labels else (None, ())
        return Dataset(str(path), array, labels=classes, class_names=class_names, notes=notes)
    array, classes, notes = _read_file(path, labels)
    dataset = as_dataset(array, str(path))
    if classes is not None:
        classes = whole_labels(classes, str(path), len(dataset))
    return replace(dataset, labels=classes, notes=(*notes, *dataset.notes))


def _read_file(path: Path, labels: bool) -> tuple[np.ndarray, np.ndarray | None, tuple[str, ...]]:
    """The array in a file, its labels if they are wanted and there, and notes.

    How the file begins tells what it is; its name, what a damaged one was.
    """
    suffix = path.suffix.lower()
    if suffix in IMAGE_SUFFIXES:
        raise DataError(f"{shown(path)} is a single image: give the folder of the images")
    with opened(path) as file:
        start = file.read(len(NPY))
    is_npy, is_zip, is_idx = start == NPY, start[:4] in ZIP, start[:2] == GZIP or start[:3] == UINT8
    if is_zip or (suffix == ".npz" and not (is_npy or is_idx)):
        return read_npz(path, labels)
    if is_npy or (suffix == ".npy" and not is_idx):
        return read_npy(path), None, ()
    beside = path.with_name(path.name.replace("images", "labels").replace("idx3", "idx1"))
    has_labels = labels and beside != path and kind_of(beside) == "file"
    return read_idx(path), read_idx(beside) if has_labels else None, ()
