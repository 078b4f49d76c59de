"""A dataset by name or by path."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from minigan.data import mnist, synthetic
from minigan.data.arrays import as_dataset
from minigan.data.dataset import Dataset
from minigan.data.files import is_lines, load_path
from minigan.data.folders import MEMORY_SHARE
from minigan.data.idx import read_idx
from minigan.data.images import FITS, resize
from minigan.data.kinds import Sound
from minigan.data.labels import whole_labels
from minigan.data.reading import check_memory, kind_of, shown
from minigan.data.text import as_text, read_text
from minigan.errors import DataError, OptionError, nearest_name, shorten
from minigan.sizes import pair

DATASETS = ("digits", *mnist.SOURCES, "ring", "grid", "names", "tones")
BUNDLED_TEXT = "names"
KINDS_OF = {"length": ("text", "sound"), "alphabet": ("text",), "hold_out": ("text",), "rate": ("sound",)}  # by option
_LABELLED = "name digits, a .npz with labels, or a folder with a sub-folder for each class, or leave the classes out"


def load(
    data: str | os.PathLike[str] | Dataset | Any,
    data_dir: str | os.PathLike[str] | None = None,
    image_size: tuple[int, int] | int | None = None,
    labels: bool = False,
    *,
    fit: str = "cut",
    mirror: bool = False,
    memory_share: float = MEMORY_SHARE,
    progress: bool = False,
    length: int | None = None,
    alphabet: str | None = None,
    hold_out: int | None = None,
    rate: int | None = None,
) -> Dataset:
    """A dataset by name, or the user's own by path or as an array.

    Names: "digits" (5,000 bundled MNIST digits, 500 of each, sorted by label); "mnist" and "fashion-mnist" (IDX files, gzipped
    or not, looked for in data_dir, else in $MINIGAN_DATA and /usr/share/datasets, else downloaded once into the user's cache);
    "ring" (8 Gaussians on the unit circle, σ 0.01) and "grid" (25 on {−4, −2, 0, 2, 4}², σ 0.05); "names" (4,663 first names);
    "tones" (plucked, 256 values at 4,000 Hz each, unless length and rate say otherwise).
    Paths: .npy, .npz or IDX files of an array that `as_dataset` takes; a folder of PNG, JPEG, WebP and BMP files of one size,
    the folders below it and linked ones included, names that begin with a dot not. Photos are turned upright, transparency is
    composed on white. A text file in UTF-8, .txt or of another name, holds one sample a line. A folder that holds WAV files, of
    16 bits, is one of sound, cut to pieces. "~" is the home folder.
    image_size: (height, width) or one number to bring images to; fit: how. "cut" scales them and cuts them about the centre
    where the proportions differ, "pad" scales them to lie within and sets black beside them, "stretch" scales each side by
    itself, "crop" does not scale: it cuts about the centre, or sets black around.
    labels: whether the classes are wanted: "digits" has them always, "mnist" and "fashion-mnist" have IDX files of them, .npz
    files arrays named labels, y_train and the like, an IDX file of images one of labels beside it, and in a folder of images
    each sub-folder is a class; data without them are then refused.
    mirror: learn from the images' reflections, left to right, too.
    memory_share: the images of a folder are held in memory up to this share of what is free; more are decoded once into a file
    in the user's cache, and batches are read from it as they are taken. progress: whether to show a bar, on a terminal.
    length, alphabet, hold_out: of lines of text, see minigan.data.text.as_text. length, rate: values in a piece of sound (None:
    4,096), and how many a second it is resampled to (None: as most files have).
    What reading has decided or changed is told in the dataset's `notes`.
    Raises DataError that names what was found and what was expected, OptionError for image_size, fit, memory_share of no use.
    """
    size = None if image_size is None else pair(image_size, "image_size")
    _check_options(size, fit, memory_share)
    of_folder = {"fit": fit, "memory_share": memory_share, "progress": progress}
    reading = {"length": length, "alphabet": alphabet, "hold_out": hold_out, "rate": rate}
    name = os.fsdecode(data) if isinstance(data, (str, os.PathLike)) else None
    if data_dir and name not in mnist.SOURCES:
        raise DataError(
            f"data_dir is '{shown(data_dir)}': only {' and '.join(mnist.SOURCES)} are looked for there; leave it out"
        )
    if data is None or (name is None and np.isscalar(data)):
        raise DataError(f"data is {shown(repr(data), 40)}: expected a path, an array, or one of {', '.join(DATASETS)}")
    try:
        dataset = as_dataset(data) if name is None else _load_named_or_path(name, data_dir, size, labels, of_folder, reading)
        _check_what_is_asked(dataset, labels, reading)
        dataset = _resized(dataset, size, fit) if size else dataset
        return _mirrored(dataset) if mirror else dataset
    except MemoryError:
        raise DataError(f"{shown(name or 'the array')} does not fit in memory: take fewer or smaller samples") from None


def _check_options(size: tuple[int, int] | None, fit: str, memory_share: float) -> None:
    if fit not in FITS:
        raise OptionError(f"fit is {shorten(fit)}: {nearest_name(str(fit), FITS)}")
    if fit != "cut" and size is None:
        raise OptionError(f"fit is {fit}, and there is no image_size to bring images to: name one, or leave fit out")
    if not (isinstance(memory_share, (int, float)) and 0 <= memory_share < 1):
        raise OptionError(f"memory_share is {shorten(memory_share)}: expected a number from 0 to below 1")


def _check_what_is_asked(dataset: Dataset, labels: bool, reading: dict[str, Any]) -> None:
    """Raise OptionError for an option of another kind of data, DataError where labels are wanted and there are none."""
    for option, value in reading.items():
        if value is not None and dataset.kind.name not in KINDS_OF[option]:
            what = f"{shown(dataset.name)} holds {dataset.kind.name}"
            raise OptionError(f"{option} is {shorten(value)}, but {what}: leave it out")
    if labels and dataset.labels is None:
        raise DataError(f"{shown(dataset.name)} has no labels, which classes are learned from: {_LABELLED}")


def is_text(name: str) -> bool:
    """Whether a name or path is that of lines of text."""
    path = os.path.expanduser(name)
    return name == BUNDLED_TEXT or (name not in DATASETS and kind_of(path) == "file" and is_lines(Path(path)))


def _resized(dataset: Dataset, size: tuple[int, int], fit: str) -> Dataset:
    if not dataset.is_images:
        raise DataError(f"image_size is {size}, but {shown(dataset.name)} holds {dataset.kind.name}: leave it out")
    if dataset.shape[:2] == size:
        return dataset
    shape = (len(dataset), *size, dataset.shape[2])
    check_memory(f"{len(dataset):,} images of {size[0]}x{size[1]}", math.prod(shape))
    values = np.empty(shape, np.uint8)
    for index, image in enumerate(dataset.values):
        values[index] = resize(image, size, fit)
    return replace(dataset, values=values)


def _mirrored(dataset: Dataset) -> Dataset:
    note = f"{shown(dataset.name)}: with their reflections, {len(dataset):,} images are {2 * len(dataset):,} an epoch"
    return replace(dataset, mirrored=True, notes=(*dataset.notes, note))


def _load_named_or_path(
    name: str,
    data_dir: str | os.PathLike[str] | None,
    size: tuple[int, int] | None,
    labels: bool,
    of_folder: dict[str, Any],
    reading: dict[str, Any],
) -> Dataset:
    of_text = {option: value for option, value in reading.items() if "text" in KINDS_OF[option]}
    if name == BUNDLED_TEXT:
        with resources.as_file(resources.files("minigan.data.bundled").joinpath(f"{name}.txt")) as file:
            return as_text(read_text(file), name, **of_text)
    if name == "tones":
        return _tones(reading["length"] or synthetic.TONE_LENGTH, reading["rate"] or synthetic.TONE_RATE)
    if name in DATASETS:
        return _load_named(name, Path(data_dir).expanduser() if data_dir else None, labels)
    path = os.path.expanduser(name)
    if kind_of(path):
        if is_text(name):
            return as_text(read_text(Path(path)), name, **of_text)
        return load_path(Path(path), size, labels, reading["length"], reading["rate"], **of_folder)
    if os.sep in name or Path(name).suffix:
        raise DataError(f"no file or folder '{shown(name)}': expected a path that exists, or one of {', '.join(DATASETS)}")
    raise DataError(f"unknown dataset '{shown(name)}': {nearest_name(name, DATASETS)}, or a path to your own")


def _load_named(name: str, data_dir: Path | None, labels: bool) -> Dataset:
    if name == "digits":
        with resources.files("minigan.data.bundled").joinpath("digits.npz").open("rb") as file, np.load(file) as arrays:
            return Dataset(name, arrays["images"][..., None], arrays["labels"])
    if name in mnist.SOURCES:
        path = mnist.find_or_download(name, data_dir)
        dataset = replace(as_dataset(read_idx(path), str(path)), name=name)
        if not labels:
            return dataset
        classes = read_idx(mnist.find_or_download(name, data_dir, "labels"))
        return replace(dataset, labels=whole_labels(classes, name, len(dataset)), class_names=mnist.CLASS_NAMES[name])
    return Dataset(name, synthetic.ring() if name == "ring" else synthetic.grid())


def _tones(length: int, rate: int) -> Dataset:
    if rate < synthetic.LOWEST_RATE:
        raise DataError(f"rate is {rate}: the tones need at least {synthetic.LOWEST_RATE} values a second; choose a higher one")
    check_memory(f"tones of {length:,} values", length * 8 * 3)
    return Dataset("tones", synthetic.tones(length, rate), kind=Sound(rate))


def parse_size(text: str) -> tuple[int, int]:
    """(height, width) from "64" or "64x48". Raises DataError for anything else."""
    parts = text.lower().split("x")
    if len(parts) in (1, 2) and all(part.isdecimal() and len(part) < 10 and int(part) > 0 for part in parts):
        return int(parts[0]), int(parts[-1])
    raise DataError(f"an image size is '{shown(text, 40)}': expected a number of pixels, as 64, or HEIGHTxWIDTH, as 64x48")
