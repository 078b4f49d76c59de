"""What the measures take: rows of numbers, checked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from minigan.errors import ShapeError
from minigan.sizes import real

LARGEST = 1e30  # of a coordinate, in size: its square, and the cube of that, are far from the largest float64
BLOCK = 2**22  # entries of a matrix of pairs that are held at a time


def as_points(values: np.ndarray, name: str, least: int = 1) -> np.ndarray:
    """Finite float64 (N, K) with at least so many points. Raises ShapeError, naming the argument, for anything else."""
    array = as_array(values, name, "(N, K) of real numbers").astype(np.float64, copy=False)
    if array.ndim != 2 or not array.size:
        raise ShapeError(f"{name} has shape {array.shape}: expected (N, K) with at least one point")
    if not np.isfinite(array).all():
        raise ShapeError(f"{name} holds numbers that are not finite: remove them first")
    if np.abs(array).max() > LARGEST:
        raise ShapeError(f"{name} holds {np.abs(array).max():.3g}: expected numbers of up to {LARGEST:g} in size; scale them")
    if len(array) < least:
        raise ShapeError(f"{name} has {len(array)} rows: expected at least {least} samples; give more")
    return array


def as_array(values: Any, name: str, expected: str) -> np.ndarray:
    """values as an array of real numbers, in their own dtype. Raises ShapeError for what is none."""
    try:
        array = np.asarray(values)
    except (TypeError, ValueError):  # rows of several lengths
        array = np.asarray(None)
    if array.dtype.kind not in "biuf":
        what = f"an array of {array.dtype}" if isinstance(values, np.ndarray) else f"a {type(values).__name__}"
        raise ShapeError(f"{name} is {what}: expected an array {expected}")
    return array


def width(value: Any, name: str = "sigma") -> float:
    """The σ of a Gaussian, or an OptionError."""
    return real(value, name, f"a number from 1e-30 to {LARGEST:g}", lambda number: 1e-30 <= number <= LARGEST)


def as_sets(
    first: np.ndarray, second: np.ndarray, names: tuple[str, str] = ("real_features", "features"), least: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Both as `as_points`, with as many coordinates."""
    a, b = as_points(first, names[0], least), as_points(second, names[1], least)
    if a.shape[1] != b.shape[1]:
        raise ShapeError(f"{names[0]} are {a.shape}, {names[1]} {b.shape}: expected as many coordinates in both")
    return a, b


def blocks(rows: int, columns: int) -> Iterator[slice]:
    """The rows of a matrix (rows, columns) in blocks that fit into memory."""
    step = max(1, BLOCK // columns)
    yield from (slice(start, min(start + step, rows)) for start in range(0, rows, step))
