"""The Fréchet distance of two sets of features, as if each were Gaussian."""

from __future__ import annotations

import numpy as np

from minigan.metrics.points import as_sets


def frechet(real_features: np.ndarray, features: np.ndarray) -> float:
    """d² = ‖μ₁ − μ₂‖² + tr(S₁ + S₂ − 2 (S₁^½ S₂ S₁^½)^½) of features (M, K) and (N, K): with Inception's features, the FID.

    With A₁ᵀA₁ = S₁ and A₂ᵀA₂ = S₂ the last trace is the sum of the singular values of A₁A₂ᵀ, for
    (A₁A₂ᵀ)(A₁A₂ᵀ)ᵀ = A₁S₂A₁ᵀ has the eigenvalues of S₁^½ S₂ S₁^½. Each A is the R of centred data's QR factors over
    √(N − 1). So no square root of a matrix is taken, nothing becomes complex or negative, and fewer samples than
    features will do. In float64; symmetric up to rounding. It falls as N grows, so compare figures of one N.
    Raises ShapeError for arrays that are none, with fewer than 2 samples or of different K.
    Source: Dowson and Landau 1982 (J. Multivariate Analysis 12); Heusel et al. 2017 (arXiv:1706.08500), equation 6.
    """
    real, own = as_sets(real_features, features, least=2)
    means = [x.mean(axis=0) for x in (real, own)]
    roots = [np.linalg.qr(x - m, mode="r") / np.sqrt(len(x) - 1) for x, m in zip((real, own), means, strict=True)]
    overlap = np.linalg.svd(roots[0] @ roots[1].T, compute_uv=False).sum()
    spread = (roots[0] ** 2).sum() + (roots[1] ** 2).sum()
    return max(0.0, float(((means[0] - means[1]) ** 2).sum() + spread - 2 * overlap))
