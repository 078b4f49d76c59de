"""What the measures take: rows of numbers, checked."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minigan.errors import ShapeError

BLOCK = 2**22  # entries of a matrix of pairs that are held at a time


def as_points(values: np.ndarray, name: str, least: int = 1) -> np.ndarray:
    """Finite float64 (N, K) with at least so many points. Raises ShapeError, naming the argument, for anything else."""
    try:
        array = np.asarray(values, np.float64)
    except (TypeError, ValueError):
        raise ShapeError(f"{name} is a {type(values).__name__}: expected an array (N, K) of numbers") from None
    if array.ndim != 2 or not array.size:
        raise ShapeError(f"{name} has shape {array.shape}: expected (N, K) with at least one point")
    if not np.isfinite(array).all():
        raise ShapeError(f"{name} holds numbers that are not finite: remove them first")
    if len(array) < least:
        raise ShapeError(f"{name} has {len(array)} rows: expected at least {least} samples; give more")
    return array


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
