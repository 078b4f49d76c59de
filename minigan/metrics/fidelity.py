"""How near samples are to the data, and how much of the data they reach: who lies in balls around points of the data."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigan.backends import Array, Backend
from minigan.metrics.diversity import squared_distances
from minigan.metrics.neighbours import squared_radii

NEIGHBOURS = 5  # k of the balls around samples of the data


def is_within(xp: Any, products: Array, squares: Array, other_squares: Array, reach: Array) -> Array:
    """1 where ‖x_i − y_j‖² ≤ r_j², else 0; reach = r_j² (1, M)"""
    return (squared_distances(xp, products, squares, other_squares) <= reach).astype(products.dtype)


def fidelity_and_coverage(backend: Backend, x: Array, centres: Array, radii: Array) -> tuple[Array, Array]:
    """(the share of samples x (N, K) in a ball, the share of balls with a sample in it), as 0-d arrays.

    The balls have centres (M, K) and radii (M,). Around the modes of a mixture of Gaussians, with 3 σ: the share of samples of
    high quality and that of the modes reached (Lin et al. 2018, arXiv:1712.04086, section 4.1). Around real samples, with
    `neighbour_radii`: precision (Kynkäänniemi et al. 2019, arXiv:1904.06991, section 2) and coverage (Naeem et al. 2020,
    arXiv:2002.09797, section 3.2).
    """
    inside = backend.elementwise(
        is_within,
        backend.matmul(x, centres.T),
        (x * x).sum(axis=1)[:, None],
        (centres * centres).sum(axis=1)[None, :],
        (radii * radii)[None, :],
    )
    return inside.max(axis=1).mean(), inside.max(axis=0).mean()


def neighbour_radii(x: np.ndarray) -> np.ndarray:
    """The distance of each sample x (N, K) on the host to its 5th nearest other, or to the farthest of fewer: (N,)."""
    return np.asarray(np.sqrt(squared_radii(x, min(NEIGHBOURS, len(x) - 1))))
