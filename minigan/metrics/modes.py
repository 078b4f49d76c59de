"""Which modes of a mixture of Gaussians samples reach."""

from __future__ import annotations

import numpy as np

from minigan.backends import Backend
from minigan.errors import ShapeError
from minigan.metrics.diversity import pairs, squared_distances
from minigan.sizes import real

WITHIN = 3.0  # standard deviations


def modes(points: np.ndarray, centres: np.ndarray, sigma: float) -> dict[str, float]:
    """How points (N, K) are spread over a mixture of equally likely Gaussians with these centres (M, K) and this σ.

    modes: how many have a point within 3 σ of their centre. high_quality: the share of points within 3 σ of a centre.
    reverse_kl: Σ_m p_m log(M p_m) ≥ 0 in nats, with p_m the share of points whose nearest centre is m; 0 where all modes
    get the same share, log M where one gets all.
    Raises ShapeError for arrays that are no such points or centres, OptionError for a σ that is not above 0.
    Source: Lin et al. 2018 (PacGAN, arXiv:1712.04086), section 4.1.
    """
    points, centres = _as_points(points, "points"), _as_points(centres, "centres")
    if points.shape[1] != centres.shape[1]:
        raise ShapeError(f"points are {points.shape}, centres {centres.shape}: expected as many coordinates in both")
    sigma = real(sigma, "sigma", "a finite number above 0", lambda number: number > 0)
    distances = pairs(Backend(), squared_distances, points - centres.mean(axis=0), centres - centres.mean(axis=0))
    nearest = distances.argmin(axis=1)
    good = distances.min(axis=1) <= (WITHIN * sigma) ** 2
    shares = np.bincount(nearest, minlength=len(centres)) / len(points)
    shares = shares[shares > 0]
    return {
        "modes": len(np.unique(nearest[good])),
        "high_quality": float(good.mean()),
        "reverse_kl": float((shares * np.log(len(centres) * shares)).sum()),
    }


def _as_points(values: np.ndarray, name: str) -> np.ndarray:
    """Finite float64 (N, K) with at least one point."""
    try:
        array = np.asarray(values, np.float64)
    except (TypeError, ValueError):
        raise ShapeError(f"{name} is a {type(values).__name__}: expected an array (N, K) of numbers") from None
    if array.ndim != 2 or not array.size:
        raise ShapeError(f"{name} has shape {array.shape}: expected (N, K) with at least one point")
    if not np.isfinite(array).all():
        raise ShapeError(f"{name} holds numbers that are not finite: remove them first")
    return array
