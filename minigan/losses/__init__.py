"""Losses: value and gradient side by side. All are means over the batch, in nats, and finite for logits of ±1000.

Every function returns (loss, gradient, …) with loss a 0-d array and each gradient of its input's shape and dtype. With
ζ(s) = log(1 + e^s) (softplus) and σ = ζ' (sigmoid): −log σ(s) = ζ(−s) and −log(1 − σ(s)) = ζ(s).
"""

from __future__ import annotations

from typing import Any

from minigan.backends import Array, array_module, backend_of
from minigan.errors import OptionError, ShapeError
from minigan.layers.activations import sigmoid, softplus

# -- the terms of the means, and their derivatives ---------------------------------------------------------------------


def real_term(xp: Any, s: Array, smoothing: float) -> Array:
    """ζ(−s) + α s"""
    return softplus(xp, -s) + smoothing * s


def real_grad(xp: Any, s: Array, smoothing: float, count: float) -> Array:
    """(σ(s) − 1 + α) / N"""
    return (sigmoid(xp, s) - 1 + smoothing) / count


def fake_grad(xp: Any, s: Array, count: float) -> Array:
    """σ(s) / N"""
    return sigmoid(xp, s) / count


def generator_term(xp: Any, s: Array) -> Array:
    """ζ(−s)"""
    return softplus(xp, -s)


def generator_grad(xp: Any, s: Array, count: float) -> Array:
    """(σ(s) − 1) / N"""
    return (sigmoid(xp, s) - 1) / count


def saturating_term(xp: Any, s: Array) -> Array:
    """−ζ(s)"""
    return -softplus(xp, s)


def saturating_grad(xp: Any, s: Array, count: float) -> Array:
    """−σ(s) / N"""
    return -sigmoid(xp, s) / count


def bce_term(xp: Any, s: Array, t: Array) -> Array:
    """ζ(s) − t s"""
    return softplus(xp, s) - t * s


def bce_grad(xp: Any, s: Array, t: Array, count: float) -> Array:
    """(σ(s) − t) / N"""
    return (sigmoid(xp, s) - t) / count


def squared_error(xp: Any, y: Array, t: Array) -> Array:
    """(y − t)²"""
    return (y - t) ** 2


def squared_error_grad(xp: Any, y: Array, t: Array, count: float) -> Array:
    """2 (y − t) / N"""
    return 2 * (y - t) / count


# -- the losses --------------------------------------------------------------------------------------------------------


def discriminator_loss(s_real: Array, s_fake: Array, smoothing: float = 0.0) -> tuple[Array, Array, Array]:
    """L_D = −E log D(x) − E log(1 − D(x̃)), D = σ(s): (L_D, ∂L_D/∂s_real, ∂L_D/∂s_fake).

    From logits s of any shape with N values, with ζ(s) = log(1 + e^s):
        −log σ(s) = log(1 + e^−s) = ζ(−s),  −log(1 − σ(s)) = log(1 + e^s) = ζ(s)
        L_D = mean ζ(−s_real) + mean ζ(s_fake)
    Gradient: ζ'(s) = e^s/(1 + e^s) = σ(s), so ζ(−s) has the derivative −σ(−s) = σ(s) − 1, and
        ∂L_D/∂s_real = (σ(s_real) − 1) / N,  ∂L_D/∂s_fake = σ(s_fake) / N
    The paper, and many texts, write the sum without the minus signs: that is the value V which D
    maximises, so its negative is what is minimised here. With one-sided label smoothing α real images
    have the target t = 1 − α instead of 1:
        −t log σ(s) − (1 − t) log(1 − σ(s)) = ζ(−s) + α s,  with gradient (σ(s) − 1 + α) / N
    Raises OptionError unless 0 <= smoothing < 1.
    Source: Goodfellow et al. 2014 (arXiv:1406.2661), equation 1; Salimans et al. 2016
    (arXiv:1606.03498), section 3.4.
    """
    if not 0 <= smoothing < 1:
        raise OptionError(f"smoothing is {smoothing!r}: expected a number in [0, 1)")
    be = backend_of(s_real)
    (real,), (fake,) = be.means(real_term, s_real, smoothing=smoothing), be.means(softplus, s_fake)
    ds_real = be.elementwise(real_grad, s_real, smoothing=smoothing, count=float(s_real.size))
    return be.xp.asanyarray(real + fake), ds_real, be.elementwise(fake_grad, s_fake, count=float(s_fake.size))


def generator_loss(s_fake: Array, saturating: bool = False) -> tuple[Array, Array]:
    """L_G = −E log D(x̃), or saturating (minimax) E log(1 − D(x̃)): (L_G, ∂L_G/∂s_fake).

    From logits s of any shape with N values, D = σ(s) and ζ(s) = log(1 + e^s):
        non-saturating:  L_G = −mean log σ(s) = mean ζ(−s)
        saturating:      L_G = mean log(1 − σ(s)) = −mean ζ(s)
    Gradient: ζ' = σ, so ζ(−s) has the derivative −σ(−s) = σ(s) − 1, and
        non-saturating:  ∂L_G/∂s = (σ(s) − 1) / N
        saturating:      ∂L_G/∂s = −σ(s) / N
    Both push s up. Where D is sure that the image is fake, s → −∞: the first gradient goes to −1/N, the
    second vanishes. (Against the best D the second L_G is, but for what G cannot change, twice the
    Jensen-Shannon divergence of G's images from the real ones.)
    Source: Goodfellow et al. 2014 (arXiv:1406.2661), section 3; for the divergence theorem 1.
    """
    be, count = backend_of(s_fake), float(s_fake.size)
    if saturating:
        (loss,) = be.means(saturating_term, s_fake)
        return loss, be.elementwise(saturating_grad, s_fake, count=count)
    (loss,) = be.means(generator_term, s_fake)
    return loss, be.elementwise(generator_grad, s_fake, count=count)


def bce_with_logits(s: Array, targets: Array) -> tuple[Array, Array]:
    """Binary cross-entropy of logits s and targets t in [0, 1], of one shape with N values: (L, ∂L/∂s).

    With −log σ(s) = ζ(−s) = ζ(s) − s and −log(1 − σ(s)) = ζ(s), where ζ(s) = log(1 + e^s):
        L = −mean (t log σ(s) + (1 − t) log(1 − σ(s))) = mean (t (ζ(s) − s) + (1 − t) ζ(s))
          = mean (ζ(s) − t s)
    Gradient: ζ' = σ, so ∂L/∂s = (σ(s) − t) / N.
    Raises ShapeError if the shapes differ.
    Source: Bishop 2006 (Pattern Recognition and Machine Learning), section 4.3.2.
    """
    _check_shapes(s, targets)
    be = backend_of(s)
    (loss,) = be.means(bce_term, s, targets)
    return loss, be.elementwise(bce_grad, s, targets, count=float(s.size))


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
    be = backend_of(y)
    (loss,) = be.means(squared_error, y, targets)
    return loss, be.elementwise(squared_error_grad, y, targets, count=float(y.size))


def softmax_cross_entropy(s: Array, labels: Array) -> tuple[Array, Array]:
    """Cross-entropy of logits s (N, K) and integer labels c (N,), 0 <= c < K: (L, ∂L/∂s).

        p_nk = e^{s_nk} / Σ_j e^{s_nj},  L = −Σ_n log p_n{c_n} / N
    with the row's maximum taken off s first, which leaves p as it is and cannot overflow.
    Gradient: log p_nc = s_nc − log Σ_j e^{s_nj}, so
        ∂log p_nc/∂s_nk = [k = c] − e^{s_nk} / Σ_j e^{s_nj} = [k = c] − p_nk
        ∂L/∂s_nk = (p_nk − [k = c_n]) / N
    Raises ShapeError if s is not (N, K) or labels are not N integers. Their range is not looked at: on
    a GPU that would wait.
    Source: Bishop 2006 (Pattern Recognition and Machine Learning), section 4.3.4.
    """
    xp = array_module(s)
    if s.ndim != 2 or labels.shape != s.shape[:1] or labels.dtype.kind not in "iu":
        raise ShapeError(f"need logits (N, K) and N integer labels, got {s.shape} and {labels.dtype} {labels.shape}")
    shifted = s - s.max(axis=1, keepdims=True)
    log_p = shifted - xp.log(xp.exp(shifted).sum(axis=1, keepdims=True))
    one_hot = (labels[:, None] == xp.arange(s.shape[1])).astype(s.dtype)  # (N, K)
    loss = -(log_p * one_hot).sum() / s.shape[0]
    return xp.asanyarray(loss), (xp.exp(log_p) - one_hot) / s.shape[0]


def _check_shapes(a: Array, b: Array) -> None:
    if a.shape != b.shape:
        raise ShapeError(f"values and targets must have one shape, got {a.shape} and {b.shape}")
