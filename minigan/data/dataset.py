"""What a dataset is, and which arrays can be one."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from minigan.errors import DataError


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
        """A hash of all values: a resumed run must go on with the data that it began with."""
        return hashlib.blake2b(np.ascontiguousarray(self.values).data, digest_size=16).hexdigest()

    @property
    def is_images(self) -> bool:
        return self.values.ndim == 4


def as_dataset(data: Any, name: str = "array") -> Dataset:
    """A dataset of the user's own from an array in memory; a Dataset is returned as it is.

    data: images (N, H, W), (N, H, W, 1) or (N, H, W, 3), uint8, whole numbers from 0 to 255, booleans, or floats in [0, 1] or
    [−1, 1]; or points (N, 2). An array of uint8 is not copied. name: what messages call it.
    Raises DataError that names what was found and what was expected.
    """
    if isinstance(data, Dataset):
        return data
    try:
        array = np.asarray(data)
    except (TypeError, ValueError, RuntimeError):  # a device array, rows of unequal length, a tensor that needs its gradient
        raise DataError(
            f"{name} is a {type(data).__name__} that NumPy cannot take as an array: give a NumPy array of numbers"
        ) from None
    if array.dtype.kind not in "uifb":
        raise DataError(f"{name} holds {array.dtype} values: expected numbers")
    is_points = array.ndim == 2 and array.shape[1] == 2
    if is_points:
        with np.errstate(over="ignore"):
            array = array.astype(np.float32)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        bad = int((~np.isfinite(array)).sum())
        raise DataError(f"{name} holds {bad} values that are NaN, infinite or too large for float32: remove them first")
    values = array if is_points else _as_pixels(array, name)
    if values.size == 0:
        raise DataError(f"{name} holds no samples: its shape is {array.shape}")
    return Dataset(name, values)


def _as_pixels(array: np.ndarray, name: str) -> np.ndarray:
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
    if array.dtype.kind == "b":
        return array.astype(np.uint8) * np.uint8(255)
    low, high = array.min(), array.max()
    if array.dtype.kind == "f" and low >= 0 and high <= 1:
        return np.rint(array * 255).astype(np.uint8)
    if array.dtype.kind == "f" and low >= -1 and high <= 1:
        return np.rint((array + 1) * 127.5).astype(np.uint8)
    if array.dtype.kind in "ui" and low >= 0 and high <= 255:
        return array.astype(np.uint8)
    raise DataError(
        f"{name} holds {array.dtype} values from {low} to {high}: "
        f"expected whole numbers from 0 to 255, or floats in [0, 1] or [-1, 1]"
    )
