"""A dataset by name or by path."""

from __future__ import annotations

import os
from dataclasses import replace
from importlib import resources
from pathlib import Path

import numpy as np

from minigan.data import mnist, synthetic
from minigan.data.dataset import Dataset, as_dataset
from minigan.data.files import load_path
from minigan.data.idx import read_idx
from minigan.data.images import resize
from minigan.errors import DataError, nearest_name

DATASETS = ("digits", *mnist.SOURCES, "ring", "grid")


def load(name: str, data_dir: str | Path | None = None, image_size: tuple[int, int] | None = None) -> Dataset:
    """A dataset by name, or the user's own by path.

    Names: "digits" (5,000 bundled MNIST digits, 500 of each, sorted by label); "mnist" and "fashion-mnist" (IDX files, gzipped
    or not, looked for in data_dir, else in $MINIGAN_DATA and /usr/share/datasets, else downloaded once into the user's cache);
    "ring" (8 Gaussians on the unit circle, σ 0.01) and "grid" (25 on {−4, −2, 0, 2, 4}², σ 0.05).
    Paths: .npy, .npz or IDX files of an array that `as_dataset` takes; a folder of PNG and JPEG files of one size.
    image_size: (height, width) to scale images to, cut about the centre where the proportions differ.
    Raises DataError that names what was found and what was expected.
    """
    if data_dir and name not in mnist.SOURCES:
        raise DataError(f"data_dir is {str(data_dir)!r}: only {' and '.join(mnist.SOURCES)} are looked for there; leave it out")
    if name in DATASETS:
        dataset = _load_named(name, Path(data_dir) if data_dir else None)
    elif os.path.exists(name):
        dataset = load_path(Path(name), image_size)
    elif os.sep in name or Path(name).suffix:
        raise DataError(f"no file or folder {name!r}: expected a path that exists, or one of {', '.join(DATASETS)}")
    else:
        raise DataError(f"unknown dataset {name!r}: {nearest_name(name, DATASETS)}, or a path to your own")
    if image_size and not dataset.is_images:
        raise DataError(f"image_size is {image_size}, but {name} holds points: leave it out")
    if image_size and dataset.shape[:2] != image_size:
        dataset = replace(dataset, values=np.stack([resize(image, image_size) for image in dataset.values]))
    return dataset


def _load_named(name: str, data_dir: Path | None) -> Dataset:
    if name == "digits":
        with resources.files("minigan.data.bundled").joinpath("digits.npz").open("rb") as file, np.load(file) as arrays:
            return Dataset(name, arrays["images"][..., None], arrays["labels"])
    if name in mnist.SOURCES:
        path = mnist.find_or_download(name, data_dir)
        return replace(as_dataset(read_idx(path), str(path)), name=name)
    return Dataset(name, synthetic.ring() if name == "ring" else synthetic.grid())


def parse_size(text: str) -> tuple[int, int]:
    """(height, width) from "64" or "64x48". Raises DataError for anything else."""
    parts = text.lower().split("x")
    if len(parts) in (1, 2) and all(part.isdigit() and int(part) > 0 for part in parts):
        return int(parts[0]), int(parts[-1])
    raise DataError(f"an image size is {text!r}: expected a number of pixels, as 64, or HEIGHTxWIDTH, as 64x48")
