"""Datasets in, batches out.

Images stay uint8 in memory and become floats in [−1, 1] when a batch is made; points stay as they are.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import os
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from minigan.backends import Array, Backend
from minigan.errors import DataError, nearest_name

DATASETS = ("digits", "mnist", "fashion-mnist", "ring", "grid")
SYSTEM_FOLDER = Path("/usr/share/datasets")
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")
POINTS = 20_000  # size of the synthetic point sets

_SOURCES = {  # training images: where from, and their checksum
    "mnist": (
        "https://ossci-datasets.s3.amazonaws.com/mnist/train-images-idx3-ubyte.gz",
        "md5:f68b3c2dcbeaaa9fbdd348bbdeb94873",
    ),
    "fashion-mnist": (
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/train-images-idx3-ubyte.gz",
        "md5:8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    ),
}
_IDX_NAMES = ("train-images-idx3-ubyte", "train-images.idx3-ubyte")
_IDX_UINT8 = 0x08


@dataclass(frozen=True)
class Dataset:
    """name; values: images uint8 (N, H, W, C), 0 = −1 and 255 = 1, or points float32 (N, 2).

    labels: the class of each value (N,), whole numbers from 0 up, where they are known: of "digits"; else None.
    """

    name: str
    values: np.ndarray
    labels: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.values)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one sample."""
        return self.values.shape[1:]

    @cached_property
    def digest(self) -> str:
        """Of all values: a resumed run must go on with the data that it began with."""
        return hashlib.blake2b(np.ascontiguousarray(self.values).data, digest_size=16).hexdigest()

    @property
    def is_images(self) -> bool:
        return self.values.ndim == 4


def load(name: str, data_dir: str | Path | None = None, image_size: tuple[int, int] | None = None) -> Dataset:
    """A dataset by name, or the user's own by path.

    Names: "digits" (5,000 bundled MNIST digits, 500 of each, sorted by label); "mnist" and "fashion-mnist" (IDX files, gzipped
    or not, looked for in data_dir, else in $MINIGAN_DATA and /usr/share/datasets, else downloaded once into the user's cache);
    "ring" (8 Gaussians on the unit circle, σ 0.01) and "grid" (25 on {−4, −2, 0, 2, 4}², σ 0.05).
    Paths: .npy, .npz or IDX files of images (N, H, W), (N, H, W, 1) or (N, H, W, 3), uint8 or floats in [0, 1] or [−1, 1],
    or of points (N, 2); a folder of PNG and JPEG files of one size.
    image_size: (height, width) to scale images to, cut about the centre where the proportions differ.
    Raises DataError that names what was found and what was expected.
    """
    if data_dir and name not in _SOURCES:
        raise DataError(f"data_dir is {str(data_dir)!r}: only {' and '.join(_SOURCES)} are looked for there; leave it out")
    if name in DATASETS:
        values = _load_named(name, Path(data_dir) if data_dir else None)
    elif os.path.exists(name):
        values = _load_path(Path(name), image_size)
    elif os.sep in name or Path(name).suffix:
        raise DataError(f"no file or folder {name!r}: expected a path that exists, or one of {', '.join(DATASETS)}")
    else:
        raise DataError(f"unknown dataset {name!r}: {nearest_name(name, DATASETS)}, or a path to your own")
    if len(values) == 0:
        raise DataError(f"{name} holds no samples")
    if image_size and values.ndim != 4:
        raise DataError(f"image_size is {image_size}, but {name} holds points: leave it out")
    if image_size and values.shape[1:3] != image_size:
        values = np.stack([_resize(image, image_size) for image in values])
    return Dataset(name, values, _bundled("labels") if name == "digits" else None)


def _bundled(array: str) -> np.ndarray:
    """ "images" uint8 (5000, 28, 28) or "labels" uint8 (5000,) of the digits."""
    with resources.files("minigan.data.bundled").joinpath("digits.npz").open("rb") as file, np.load(file) as arrays:
        return arrays[array]


def _load_named(name: str, data_dir: Path | None) -> np.ndarray:
    if name == "digits":
        return _bundled("images")[..., None]
    if name in ("ring", "grid"):
        return _gaussians(name)
    path = _find_idx(name, data_dir) or _download(name)
    return _as_images(read_idx(path), str(path))


def _gaussians(name: str) -> np.ndarray:
    if name == "ring":
        angles = 2 * math.pi * np.arange(8) / 8
        centres, sigma = np.stack([np.cos(angles), np.sin(angles)], axis=1), 0.01
    else:
        line = np.array([-4.0, -2.0, 0.0, 2.0, 4.0])
        centres, sigma = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2), 0.05
    rng = np.random.default_rng(0)
    chosen = centres[rng.integers(0, len(centres), POINTS)]
    return (chosen + sigma * rng.standard_normal((POINTS, 2))).astype(np.float32)


# -- IDX files ---------------------------------------------------------------------------------------------------------


def _find_idx(name: str, data_dir: Path | None) -> Path | None:
    """The training images in data_dir, which must hold them if given, or in the usual places."""
    if data_dir:
        if not data_dir.is_dir():
            raise DataError(f"no folder {str(data_dir)!r} to look for {name} in: name one that exists, or leave --data-dir out")
        folders = [data_dir / name, data_dir]
    else:
        given = os.environ.get("MINIGAN_DATA")
        folders = [Path(given) / name, Path(given)] if given else []
        folders.append(SYSTEM_FOLDER / name)
    files = [folder / (stem + ending) for folder in folders for stem in _IDX_NAMES for ending in ("", ".gz")]
    found = next((file for file in files if file.is_file()), None)
    if data_dir and not found:
        raise DataError(
            f"{data_dir} holds no {_IDX_NAMES[0]} or {_IDX_NAMES[0]}.gz: put the file there, or leave --data-dir out"
        )
    return found


def _download(name: str) -> Path:
    import platformdirs
    import pooch

    url, checksum = _SOURCES[name]
    folder = Path(platformdirs.user_cache_dir("minigan")) / name
    try:
        pooch.get_logger().setLevel("WARNING")
        return Path(pooch.retrieve(url, checksum, fname=Path(url).name, path=folder, progressbar=True))
    except Exception as error:  # pooch hands on whatever its downloader raises
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise DataError(
            f"{name} is not on this machine and its download failed ({reason}): put {Path(url).name} into a folder and name it "
            f"with --data-dir or MINIGAN_DATA, or install it below {SYSTEM_FOLDER}"
        ) from None


def read_idx(path: Path) -> np.ndarray:
    """The uint8 array of an IDX file, gzipped or not: 0, 0, type, number of axes, each axis as 4 bytes big-endian, values.

    Raises DataError for another magic number or type, and for more or fewer bytes than the header says.
    """
    raw = _read(path)
    if raw[:2] == b"\x1f\x8b":
        try:
            raw = gzip.decompress(raw)
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"{path} is a damaged or truncated gzip file ({error}): fetch it again") from None
    if len(raw) < 4 or raw[:2] != b"\0\0":
        raise DataError(
            f"{path} is no IDX file: its magic number is {raw[:4].hex() or 'missing'}, expected 0000 08 and the axes"
        )
    if raw[2] != _IDX_UINT8:
        raise DataError(f"{path} is an IDX file of type 0x{raw[2]:02x}: expected 0x08, unsigned bytes")
    axes = raw[3]
    start = 4 + 4 * axes
    if len(raw) < start:
        raise DataError(f"{path} ends within its IDX header of {start} bytes: fetch it again")
    shape = tuple(int(n) for n in np.frombuffer(raw, ">u4", axes, 4))
    if len(raw) - start != math.prod(shape):
        raise DataError(f"{path} holds {len(raw) - start} bytes, its header says {shape} = {math.prod(shape)}: fetch it again")
    return np.frombuffer(raw, np.uint8, offset=start).reshape(shape)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from None


# -- the user's own files ----------------------------------------------------------------------------------------------


def _load_path(path: Path, image_size: tuple[int, int] | None) -> np.ndarray:
    if path.is_dir():
        return _read_folder(path, image_size)
    if path.suffix in (".npy", ".npz"):
        return _as_dataset(_read_numpy(path), str(path))
    if path.suffix.lower() in IMAGE_SUFFIXES:
        raise DataError(f"{path} is a single image: give the folder of the images")
    return _as_dataset(read_idx(path), str(path))


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


def _as_dataset(array: np.ndarray, name: str) -> np.ndarray:
    """Images or points, from what a file held."""
    if array.dtype.kind not in "uifb":
        raise DataError(f"{name} holds {array.dtype} values: expected numbers")
    is_points = array.ndim == 2 and array.shape[1] == 2
    if is_points:
        with np.errstate(over="ignore"):
            array = array.astype(np.float32)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        bad = int((~np.isfinite(array)).sum())
        raise DataError(f"{name} holds {bad} values that are NaN, infinite or too large for float32: remove them first")
    if is_points:
        return array
    return _as_images(array, name)


def _as_images(array: np.ndarray, name: str) -> np.ndarray:
    """uint8 (N, H, W, C) from images of any accepted form."""
    wanted = "images (N, H, W), (N, H, W, 1) or (N, H, W, 3), or points (N, 2)"
    if array.ndim == 4 and array.shape[1] in (1, 3) and array.shape[3] not in (1, 3):
        raise DataError(f"{name} has shape {array.shape}, channels first: expected {wanted}; use array.transpose(0, 2, 3, 1)")
    if array.ndim == 3:
        array = array[..., None]
    if array.ndim != 4 or array.shape[3] not in (1, 3):
        raise DataError(f"{name} has shape {array.shape}: expected {wanted}")
    if array.dtype == np.uint8 or array.size == 0:
        return np.ascontiguousarray(array, np.uint8)
    low, high = array.min(), array.max()
    if array.dtype.kind == "f" and low >= 0 and high <= 1:
        return np.rint(array * 255).astype(np.uint8)
    if array.dtype.kind == "f" and low >= -1 and high <= 1:
        return np.rint((array + 1) * 127.5).astype(np.uint8)
    if array.dtype.kind in "ui" and low >= 0 and high <= 255:
        return array.astype(np.uint8)
    if array.dtype.kind == "b":
        return array.astype(np.uint8) * 255
    raise DataError(
        f"{name} holds {array.dtype} values from {low} to {high}: "
        f"expected whole numbers from 0 to 255, or floats in [0, 1] or [-1, 1]"
    )


def _read_folder(folder: Path, size: tuple[int, int] | None) -> np.ndarray:
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())
    if not files:
        raise DataError(f"{folder} holds no PNG or JPEG files")
    images = [_read_image(file) for file in files]
    if any(image.shape[2] == 3 for image in images):  # one colour image makes all of them RGB
        images = [np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image for image in images]
    if size:
        images = [_resize(image, size) for image in images]
    for file, image in zip(files, images, strict=True):
        if image.shape != images[0].shape:
            (h0, w0), (h1, w1) = images[0].shape[:2], image.shape[:2]
            raise DataError(
                f"{files[0]} is {h0}x{w0} and {file} is {h1}x{w1}: images must have one size; --image-size makes one"
            )
    return np.stack(images)


def _read_image(path: Path) -> np.ndarray:
    """uint8 (H, W, 1) for a grey image, else (H, W, 3)."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            if image.mode.startswith("I"):  # 16 bits a pixel
                return np.rint(np.asarray(image) / 257).astype(np.uint8)[..., None]
            grey = image.mode in ("1", "L", "LA")
            return np.array(image.convert("L" if grey else "RGB")).reshape(image.height, image.width, 1 if grey else 3)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} is not a readable image ({error}): remove or replace it") from None


def _resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    from PIL import Image, ImageOps

    flat = image[..., 0] if image.shape[2] == 1 else image
    fitted = ImageOps.fit(Image.fromarray(flat), (size[1], size[0]), Image.Resampling.LANCZOS)
    return np.array(fitted).reshape(*size, image.shape[2])


# -- batches -----------------------------------------------------------------------------------------------------------


def pixels_to_floats(xp: Any, pixels: Array) -> Array:
    """[0, 255] -> [−1, 1]: x = p / 127.5 − 1"""
    return pixels / 127.5 - 1


def floats_to_pixels(images: np.ndarray) -> np.ndarray:
    """[−1, 1] -> uint8 [0, 255], the inverse of pixels_to_floats."""
    return np.rint((np.clip(images, -1, 1) + 1) * 127.5).astype(np.uint8)


class Batches:
    """Endless shuffled batches of a dataset, on the backend's device, in `dtype`.

    Every epoch has an order of its own that depends on the seed and the epoch alone; the samples that do not fill a last
    batch are left out of that epoch. So `state` (epoch and batch within it) is all that a resumed run needs.
    Raises DataError if the batch is larger than the data.
    """

    def __init__(self, dataset: Dataset, batch_size: int, backend: Backend, dtype: Any = "float32", seed: int = 0) -> None:
        if not 1 <= batch_size <= len(dataset):
            raise DataError(
                f"the batch size is {batch_size}: {dataset.name} has {len(dataset)} samples; choose 1 to {len(dataset)}"
            )
        self.dataset, self.batch_size, self.backend, self.seed = dataset, batch_size, backend, seed
        self.dtype = np.dtype(dtype)
        self.per_epoch = len(dataset) // batch_size
        self.epoch, self.batch = 0, 0
        self._resident = backend.asarray(dataset.values)  # the whole dataset lies on the device, pixels as single bytes
        self._order, self._start = backend.zeros((len(dataset),), np.int64), backend.scalar()
        self._shuffle()

    def _shuffle(self) -> None:
        order = np.random.default_rng([self.seed, 3, self.epoch]).permutation(len(self.dataset))
        self._order[...] = self.backend.asarray(order, np.int64)

    def next(self) -> Array:
        """The next batch (batch_size, *shape)."""
        self.advance()
        return self.take()

    def take(self) -> Array:
        """The batch at which advance has arrived."""
        values = self.backend.take_rows(self._resident, self._order, self._start, self.batch_size, self.dtype)
        return self.backend.elementwise(pixels_to_floats, values) if self.dataset.is_images else values

    def advance(self) -> None:
        """Move to the next batch, on the host."""
        if self.batch == self.per_epoch:
            self.epoch, self.batch = self.epoch + 1, 0
            self._shuffle()
        self._start.set(self.batch * self.batch_size)
        self.batch += 1

    @property
    def state(self) -> dict[str, int]:
        return {"epoch": self.epoch, "batch": self.batch}

    @state.setter
    def state(self, state: dict[str, int]) -> None:
        self.epoch, self.batch = state["epoch"], state["batch"]
        self._shuffle()


def parse_size(text: str) -> tuple[int, int]:
    """(height, width) from "64" or "64x48". Raises DataError for anything else."""
    parts: Sequence[str] = text.lower().split("x")
    if len(parts) in (1, 2) and all(part.isdigit() and int(part) > 0 for part in parts):
        return int(parts[0]), int(parts[-1])
    raise DataError(f"an image size is {text!r}: expected a number of pixels, as 64, or HEIGHTxWIDTH, as 64x48")
