"""The kernel distance of two sets of features."""

from __future__ import annotations

import numpy as np

from minigan.metrics.points import as_sets, blocks


def kid(real_features: np.ndarray, features: np.ndarray) -> float:
    """MMD² = E k(x, x′) + E k(x̃, x̃′) − 2 E k(x, x̃) with k(x, y) = (x·y/K + 1)³, of features (M, K) and (N, K).

    E over pairs of different samples: so it is without bias, whatever the number of samples, and falls below 0 where the two
    distributions are one. All pairs are taken; the authors average over subsets, which estimates the same.
    Raises ShapeError for arrays that are none, with fewer than 2 samples or of different K.
    Source: Bińkowski et al. 2018 (arXiv:1801.01401), section 4 and equation 4; Gretton et al. 2012, lemma 6.
    """
    real, own = as_sets(real_features, features, least=2)
    between = _kernel_sum(real, own) / (len(real) * len(own))
    return _within(real) + _within(own) - 2 * between


def _within(x: np.ndarray) -> float:
    """The mean of k(x_i, x_j) over i ≠ j."""
    itself = float(_cubed((x * x).sum(axis=1), x).sum())
    return (_kernel_sum(x, x) - itself) / (len(x) * (len(x) - 1))


def _kernel_sum(x: np.ndarray, y: np.ndarray) -> float:
    """Σ_ij k(x_i, y_j)"""
    return sum(float(_cubed(x[rows] @ y.T, x).sum()) for rows in blocks(len(x), len(y)))


def _cubed(products: np.ndarray, x: np.ndarray) -> np.ndarray:
    """k from x·y"""
    base = products / x.shape[1] + 1
    return base * base * base
