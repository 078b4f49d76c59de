"""Losses against given targets: value and gradient side by side, on the module of the arrays themselves."""

from __future__ import annotations

from minigan.backends import Array, array_module
from minigan.errors import ShapeError
from minigan.layers.elementwise import sigmoid, softplus
from minigan.sizes import check_values, ignore_underflow


@ignore_underflow
def bce_with_logits(s: Array, targets: Array) -> tuple[Array, Array]:
    """Binary cross-entropy of logits s and targets t in [0, 1], of one shape with N values: (L, ∂L/∂s).

    With −log σ(s) = ζ(−s) = ζ(s) − s and −log(1 − σ(s)) = ζ(s), where ζ(s) = log(1 + e^s):
        L = −mean (t log σ(s) + (1 − t) log(1 − σ(s))) = mean (t (ζ(s) − s) + (1 − t) ζ(s))
          = mean (ζ(s) − t s)
    Gradient: ζ' = σ, so ∂L/∂s = (σ(s) − t) / N.
    Raises ShapeError if the shapes differ, OptionError for a target outside [0, 1] (not looked for on a GPU).
    Source: Bishop 2006 (Pattern Recognition and Machine Learning), section 4.3.2.
    """
    _check_shapes(s, targets)
    check_values(targets, "targets", "numbers in [0, 1]", 1)
    xp = array_module(s)
    loss = (softplus(xp, s) - targets * s).sum() / s.size
    return xp.asanyarray(loss), (sigmoid(xp, s) - targets) / s.size


@ignore_underflow
def mse(y: Array, targets: Array) -> tuple[Array, Array]:
    """Mean squared error of y and targets t of one shape with N values: (L, ∂L/∂y).

    L = Σ_n (y_n − t_n)² / N.
    Gradient: y_n stands in its own term alone, and ∂(y_n − t_n)²/∂y_n = 2 (y_n − t_n), so
    ∂L/∂y_n = 2 (y_n − t_n) / N.
    Raises ShapeError if the shapes differ.
    Source: Rumelhart, Hinton and Williams 1986 (Nature 323), equations 3 and 4, with half the sum; in
    GANs, Mao et al. 2017 (arXiv:1611.04076).
    """
    _check_shapes(y, targets)
    xp = array_module(y)
    return xp.asanyarray(((y - targets) ** 2).sum() / y.size), 2 * (y - targets) / y.size


@ignore_underflow
def softmax_cross_entropy(s: Array, labels: Array) -> tuple[Array, Array]:
    """Cross-entropy of logits s (N, K) and integer labels c (N,), 0 <= c < K: (L, ∂L/∂s).

        p_nk = e^{s_nk} / Σ_j e^{s_nj},  L = −Σ_n log p_n{c_n} / N
    with the row's maximum taken off s first, which leaves p as it is and cannot overflow.
    Gradient: log p_nc = s_nc − log Σ_j e^{s_nj}, so
        ∂log p_nc/∂s_nk = [k = c] − e^{s_nk} / Σ_j e^{s_nj} = [k = c] − p_nk
        ∂L/∂s_nk = (p_nk − [k = c_n]) / N
    Raises ShapeError if s is not (N, K) or labels are not N integers, OptionError for a label outside
    its range. (On a GPU their range is not looked at: that would wait.)
    Source: Bishop 2006 (Pattern Recognition and Machine Learning), section 4.3.4.
    """
    xp = array_module(s)
    if s.ndim != 2 or labels.shape != s.shape[:1] or labels.dtype.kind not in "iu":
        raise ShapeError(f"need logits (N, K) and N integer labels, got {s.shape} and {labels.dtype} {labels.shape}")
    check_values(labels, "labels", f"0 to {s.shape[1] - 1}, one of as many classes as there are logits", s.shape[1] - 1)
    shifted = s - s.max(axis=1, keepdims=True)
    log_p = shifted - xp.log(xp.exp(shifted).sum(axis=1, keepdims=True))
    one_hot = (labels[:, None] == xp.arange(s.shape[1])).astype(s.dtype)  # (N, K)
    loss = -(log_p * one_hot).sum() / s.shape[0]
    return xp.asanyarray(loss), (xp.exp(log_p) - one_hot) / s.shape[0]


def _check_shapes(a: Array, b: Array) -> None:
    if a.shape != b.shape:
        raise ShapeError(f"values and targets must have one shape, got {a.shape} and {b.shape}")
