"""The likelihood of data under a Gaussian around each sample."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minigan.errors import OptionError
from minigan.metrics.neighbours import distance_blocks
from minigan.metrics.points import as_sets, width
from minigan.sizes import check_kind, ignore_underflow

SIGMAS = tuple(np.logspace(-1, 0, 10).tolist())


def parzen(real: np.ndarray, samples: np.ndarray, validation: np.ndarray, sigmas: Sequence[float] = SIGMAS) -> dict[str, float]:
    """The mean log-likelihood in nats of real points (M, K) under p(x) = 1/N Σ_j N(x; x̃_j, σ² I) of samples x̃ (N, K).

    σ is the one of `sigmas` under which `validation`, other real points (V, K), are likeliest; images usually have values from
    0 to 1. Returns log_likelihood, its standard_error over the M points, and sigma.
    For comparison with early papers: in many dimensions it misleads (Theis et al. 2016, arXiv:1511.01844, section 3.2).
    Raises ShapeError for arrays that are none or of different K, OptionError for a σ that is not above 0.
    Source: Breuleux et al. 2011 (Neural Computation 23), as in Goodfellow et al. 2014 (arXiv:1406.2661), section 5.
    """
    points, samples = as_sets(real, samples, ("real", "samples"))
    tried, _ = as_sets(validation, samples, ("validation", "samples"))
    check_kind(sigmas, (list, tuple, np.ndarray), "sigmas", "numbers above 0, as (0.1, 0.3, 1.0)")
    widths = [width(sigma) for sigma in sigmas]
    if not widths:
        raise OptionError("sigmas is empty: expected at least one number above 0")
    sigma = widths[0] if len(widths) == 1 else widths[int(_log_likelihoods(tried, samples, widths).mean(axis=1).argmax())]
    (found,) = _log_likelihoods(points, samples, [sigma])
    return {
        "log_likelihood": float(found.mean()),
        "standard_error": float(found.std() / np.sqrt(len(found))),
        "sigma": sigma,
    }


@ignore_underflow
def _log_likelihoods(x: np.ndarray, samples: np.ndarray, sigmas: Sequence[float]) -> np.ndarray:
    """log 1/N Σ_j N(x_i; x̃_j, σ² I) for each σ: (sigmas, M)."""
    count, size = samples.shape
    found = np.empty((len(sigmas), len(x)))
    for rows, squares in distance_blocks(x, samples):
        least = squares.min(axis=1)
        for index, sigma in enumerate(sigmas):
            scale = 1 / (2 * sigma**2)
            sums = np.exp(scale * (least[:, None] - squares)).sum(axis=1)  # at least 1, whatever the scale
            found[index, rows] = np.log(sums) - scale * least - np.log(count) - size * np.log(sigma * np.sqrt(2 * np.pi))
    return found
