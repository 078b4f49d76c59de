"""Nearest neighbours among samples, and what they tell: whether a generator copies what it learned from."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minigan.backends import Backend
from minigan.errors import ShapeError
from minigan.metrics.diversity import pairs, squared_distances
from minigan.metrics.points import as_sets, blocks
from minigan.sizes import positive_int


def distance_blocks(x: np.ndarray, y: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """(rows of x, ‖x_i − y_j‖² for these and all of y), block by block: the whole matrix may not fit into memory."""
    for rows in blocks(len(x), len(y)):
        yield rows, pairs(Backend(), squared_distances, x[rows], y)


def squared_radii(x: np.ndarray, k: int) -> np.ndarray:
    """The squared distance of each point x (N, K) to its k-th nearest other: (N,)."""
    return np.concatenate([np.partition(distances, k, axis=1)[:, k] for _, distances in distance_blocks(x, x)])


def nearest(real_features: np.ndarray, features: np.ndarray, count: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """The `count` nearest real samples of each sample: (their indices, their distances), both (N, count), nearest first.

    real_features: (M, K), features: (N, K). Raises ShapeError for arrays that are none, and unless M ≥ count.
    """
    count = positive_int(count, "count")
    real, own = as_sets(real_features, features)
    if count > len(real):
        raise ShapeError(f"count is {count}, and there are {len(real)} real samples: ask for fewer, or give more")
    indices, distances = np.empty((len(own), count), np.intp), np.empty((len(own), count))
    centre = real.mean(axis=0)
    for rows, squares in distance_blocks(own - centre, real - centre):
        found = np.argpartition(squares, count - 1, axis=1)[:, :count]
        values = np.take_along_axis(squares, found, axis=1)
        order = values.argsort(axis=1, kind="stable")
        indices[rows] = np.take_along_axis(found, order, axis=1)
        distances[rows] = np.sqrt(np.take_along_axis(values, order, axis=1))
    return indices, distances


def relative_distances(real_features: np.ndarray, features: np.ndarray) -> np.ndarray:
    """d(x̃_j, x_i) / d(x_i, its nearest other real sample), with x_i the real sample nearest to x̃_j: (N,).

    Near 0 for a copy; infinite, or NaN for a copy, where x_i is there twice.
    Raises ShapeError unless real_features (M, K) and features (N, K) are such arrays, with M ≥ 2.
    """
    real, own = as_sets(real_features, features)
    if len(real) < 2:
        raise ShapeError(f"real_features has {len(real)} row: expected at least 2 samples; give more")
    indices, distances = nearest(real, own)
    radii = np.sqrt(squared_radii(real - real.mean(axis=0), 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(distances[:, 0] / radii[indices[:, 0]])


def authenticity(real_features: np.ndarray, features: np.ndarray) -> float:
    """The share of samples that are no copies: farther from their nearest real sample than that is from its nearest other.

    It is the share of `relative_distances` above 1. Copies have 0. Fresh samples of the data's own distribution have 1/3 in one
    dimension and up to about 1/2 in many. What is unlike all data has 1, so this says nothing of quality.
    Raises ShapeError as `relative_distances` does.
    Source: Alaa et al. 2022 (arXiv:2102.08921), section 3.3.
    """
    return float((relative_distances(real_features, features) > 1).mean())
