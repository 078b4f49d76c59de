"""The user's own files, told apart by what they hold: arrays of NumPy, IDX files, folders of images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from minigan.data.arrays import as_dataset
from minigan.data.dataset import Dataset
from minigan.data.folders import read_folder
from minigan.data.idx import GZIP, UINT8, read_idx
from minigan.data.images import IMAGE_SUFFIXES
from minigan.data.numpy_files import NPY, ZIP, read_npy, read_npz
from minigan.data.reading import kind_of, opened, shown
from minigan.errors import DataError


def load_path(path: Path, image_size: tuple[int, int] | None, **of_folder: Any) -> Dataset:
    """The dataset in a file or folder. image_size scales the images of a folder as they are read; of_folder: see read_folder.

    Raises DataError that names what was found and what was expected.
    """
    if kind_of(path) == "folder":
        array, notes = read_folder(path, image_size, **of_folder)
        return Dataset(str(path), array, notes=notes)
    array, notes = _read_file(path)
    dataset = as_dataset(array, str(path))
    return replace(dataset, notes=(*notes, *dataset.notes))


def _read_file(path: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    """The array in a file, and notes. How it begins tells what it is; its name, what a damaged one was."""
    suffix = path.suffix.lower()
    if suffix in IMAGE_SUFFIXES:
        raise DataError(f"{shown(path)} is a single image: give the folder of the images")
    with opened(path) as file:
        start = file.read(len(NPY))
    is_npy, is_zip, is_idx = start == NPY, start[:4] in ZIP, start[:2] == GZIP or start[:3] == UINT8
    if is_zip or (suffix == ".npz" and not (is_npy or is_idx)):
        return read_npz(path)
    if is_npy or (suffix == ".npy" and not is_idx):
        return read_npy(path), ()
    return read_idx(path), ()
