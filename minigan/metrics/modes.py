"""Which modes of a mixture of Gaussians samples reach."""

from __future__ import annotations

import numpy as np

from minigan.backends import Backend
from minigan.metrics.diversity import pairs, squared_distances
from minigan.metrics.points import as_sets, width

WITHIN = 3.0  # standard deviations


def modes(points: np.ndarray, centres: np.ndarray, sigma: float) -> dict[str, float]:
    """How points (N, K) are spread over a mixture of equally likely Gaussians with these centres (M, K) and this σ.

    modes: how many have a point within 3 σ of their centre. high_quality: the share of points within 3 σ of a centre.
    reverse_kl: Σ_m p_m log(M p_m) ≥ 0 in nats, with p_m the share of points whose nearest centre is m; 0 where all modes
    get the same share, log M where one gets all.
    Raises ShapeError for arrays that are no such points or centres, OptionError for a σ that is not above 0.
    Source: Lin et al. 2018 (PacGAN, arXiv:1712.04086), section 4.1.
    """
    points, centres = as_sets(points, centres, ("points", "centres"))
    sigma = width(sigma)
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
