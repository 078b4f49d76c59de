"""How diverse samples are: how many distinct ones there are, and over how many clusters of the data they are spread."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigan.backends import Array, Backend, Formula
from minigan.sizes import ignore_underflow

DISTINCT = 4.0  # the bandwidth is chosen so that the data's samples count as so many distinct ones
MOST_CLUSTERS, ROUNDS = 10, 10  # of k-means


def squared_distances(xp: Any, products: Array, squares: Array, other_squares: Array) -> Array:
    """‖x_i − y_j‖² = ‖x_i‖² + ‖y_j‖² − 2 x_i·y_j"""
    return xp.maximum(squares + other_squares - 2 * products, 0)


def similarity(xp: Any, products: Array, squares: Array, other_squares: Array, scale: float) -> Array:
    """K_ij = exp(−‖x_i − y_j‖² / 2h²), with scale = 1/2h²"""
    return xp.exp(-scale * squared_distances(xp, products, squares, other_squares))


@ignore_underflow
def pairs(backend: Backend, formula: Formula, x: Array, y: Array, **constants: Any) -> Array:
    """A formula of x_i·y_j, ‖x_i‖² and ‖y_j‖² for all pairs of x (N, K) and y (M, K): (N, M)."""
    squares, other_squares = (x * x).sum(axis=1), (y * y).sum(axis=1)
    return backend.elementwise(formula, backend.matmul(x, y.T), squares[:, None], other_squares[None, :], **constants)


def effective_number(backend: Backend, x: Array, bandwidth: float) -> Array:
    """How many distinct samples x (N, K) holds, from 1 (all alike) to N (each unlike all others), as a 0-d array.

    1 / Σ_ij p_i p_j K_ij with p_i = 1/N and K_ij = exp(−‖x_i − x_j‖² / 2h²): one over the mean similarity of two samples.
    Source: Leinster and Cobbold 2012, "Measuring diversity: the importance of species similarity", the diversity of order 2;
    cf. the Vendi score of Friedman and Dieng 2023 (arXiv:2210.02410), of order 1.
    """
    return 1 / pairs(backend, similarity, x, x, scale=1 / (2 * bandwidth**2)).mean()


def bandwidth(x: np.ndarray) -> float:
    """h for which samples x (N, K) on the host count as 4 distinct ones; 1 where all are alike.

    Where so many cannot be reached, for they are few or repeated, half of what can.
    """
    distances = pairs(Backend(), squared_distances, x, x)

    @ignore_underflow
    def number(h: float) -> float:
        """effective_number(x, h), of distances that are there"""
        return float(1 / np.exp(distances / (-2 * h**2)).mean())

    apart = np.sqrt(distances[distances > 1e-12 * (x * x).sum(axis=1).max()])
    if not apart.size:
        return 1.0
    least, most = apart.min() / 10, apart.max() * 10
    wanted = min(DISTINCT, (1 + number(least)) / 2)
    for _ in range(50):  # bisection: the number falls as h grows
        middle = math.sqrt(least * most)
        least, most = (middle, most) if number(middle) > wanted else (least, middle)
    return middle


class Clusters:
    """k-means of samples x (N, K) on the host: `centres` (C, K), at most 10, and `evenness` = Σ p_c² of the samples' shares.

    Source: as bins to count generated samples in, Richardson and Weiss 2018 (arXiv:1805.12462), section 2; the first centres
    are drawn as in Arthur and Vassilvitskii 2007 (k-means++), section 2.2.
    """

    def __init__(self, x: np.ndarray, rng: np.random.Generator) -> None:
        centres = x[[rng.integers(len(x))]]
        distances = ((x - centres) ** 2).sum(axis=1, dtype=np.float64)
        while len(centres) < MOST_CLUSTERS and distances.any():
            chosen = x[[rng.choice(len(x), p=distances / distances.sum())]]
            centres = np.concatenate([centres, chosen])
            distances = np.minimum(distances, ((x - chosen) ** 2).sum(axis=1, dtype=np.float64))
        for _ in range(ROUNDS):
            nearest = pairs(Backend(), squared_distances, x, centres).argmin(axis=1)
            for index in np.unique(nearest):
                centres[index] = x[nearest == index].mean(axis=0)
        self.centres = centres
        nearest = pairs(Backend(), squared_distances, x, centres).argmin(axis=1)
        self.evenness = float(((np.bincount(nearest) / len(x)) ** 2).sum())


def same_cluster(backend: Backend, x: Array, centres: Array) -> Array:
    """The share of pairs of samples x (N, K) that have the same nearest centre: Σ_c n_c (n_c − 1) / (N (N − 1)), a 0-d array.

    Without bias it estimates Σ p_c², which is 1 where all lie in one cluster and 1/C where they are spread evenly over C.
    """
    xp = backend.xp
    nearest = pairs(backend, squared_distances, x, centres).argmin(axis=1)
    counts = (nearest[:, None] == xp.arange(len(centres))[None, :]).astype(x.dtype).sum(axis=0)
    return (counts * (counts - 1)).sum() / (len(x) * (len(x) - 1))
