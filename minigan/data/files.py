"""The user's own files: arrays of NumPy, IDX files, folders of images."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from minigan.data.dataset import Dataset, as_dataset
from minigan.data.idx import read_idx
from minigan.data.images import IMAGE_SUFFIXES, read_folder
from minigan.errors import DataError


def load_path(path: Path, image_size: tuple[int, int] | None) -> Dataset:
    """The dataset in a file or folder. image_size scales the images of a folder as they are read.

    Raises DataError that names what was found and what was expected.
    """
    if path.is_dir():
        return as_dataset(read_folder(path, image_size), str(path))
    if path.suffix in (".npy", ".npz"):
        return as_dataset(_read_numpy(path), str(path))
    if path.suffix.lower() in IMAGE_SUFFIXES:
        raise DataError(f"{path} is a single image: give the folder of the images")
    return as_dataset(read_idx(path), str(path))


def _read_numpy(path: Path) -> np.ndarray:
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded:
            names = loaded.files
            if "images" not in names and len(names) != 1:
                raise DataError(
                    f"{path} holds the arrays {', '.join(names) or '(none)'}: expected one array, or one named images"
                )
            return loaded["images" if "images" in names else names[0]]
    except DataError:
        raise
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{path} is not a readable {path.suffix} file of plain numbers ({reason})") from None
