"""Element-wise layers. Each formula and its derivative stand here once, as plain functions of a module xp and arrays."""

from __future__ import annotations

from typing import Any

from minigan.backends import Array, Formula
from minigan.errors import OptionError
from minigan.layers.base import Layer


def relu(xp: Any, x: Array) -> Array:
    """max(x, 0)"""
    return xp.maximum(x, 0)


def relu_grad(xp: Any, dy: Array, y: Array) -> Array:
    """dx = dy where y > 0, else 0"""
    return dy * (y > 0)


def leaky_relu(xp: Any, x: Array, slope: float) -> Array:
    """x where x > 0, else slope·x; for slopes up to 1 that is max(x, slope·x)"""
    return xp.maximum(x, slope * x)


def leaky_relu_grad(xp: Any, dy: Array, y: Array, slope: float) -> Array:
    """dx = dy where y > 0, else slope·dy (y has the sign of x): dy · max([y > 0], slope)"""
    return dy * xp.maximum((y > 0).astype(y.dtype), slope)


def tanh(xp: Any, x: Array) -> Array:
    """(e^x − e^−x) / (e^x + e^−x)"""
    return xp.tanh(x)


def tanh_grad(xp: Any, dy: Array, y: Array) -> Array:
    """dx = dy (1 − y²)"""
    return dy * (1 - y * y)


def sigmoid(xp: Any, x: Array) -> Array:
    """σ(x) = 1 / (1 + e^−x) = e^min(x, 0) / (1 + e^−|x|), which cannot overflow"""
    return xp.exp(xp.minimum(x, 0)) / (1 + xp.exp(-xp.abs(x)))


def sigmoid_grad(xp: Any, dy: Array, y: Array) -> Array:
    """dx = dy y (1 − y)"""
    return dy * y * (1 - y)


def softplus(xp: Any, x: Array) -> Array:
    """ζ(x) = log(1 + e^x) = max(x, 0) + log(1 + e^−|x|), which cannot overflow"""
    return xp.maximum(x, 0) + xp.log1p(xp.exp(-xp.abs(x)))


def softplus_grad(xp: Any, dy: Array, x: Array) -> Array:
    """dx = dy σ(x)"""
    return dy * sigmoid(xp, x)


class _Activation(Layer):
    """y = formula(x), dx = gradient(dy, y): caches y, which the next layer keeps alive anyway."""

    formula: Formula
    gradient: Formula

    def forward(self, x: Array, train: bool = False) -> tuple[Array, Array]:
        y = self.backend.elementwise(self.formula, x, **self.options)
        return y, y

    def backward(self, dy: Array, cache: Array, *, param_grads: bool = True, input_grad: bool = True) -> Array | None:
        return self.backend.elementwise(self.gradient, dy, cache, **self.options) if input_grad else None


class ReLU(_Activation):
    """Rectified linear unit: y = max(x, 0), of any shape.

    Backward, element by element: ∂y/∂x = [x > 0], so dx = dy [x > 0]. At the kink x = 0, where no
    derivative exists, 0 is taken. x > 0 is y > 0, so y is all that is kept.
    Source: Nair and Hinton 2010, section 2.
    """

    formula = staticmethod(relu)
    gradient = staticmethod(relu_grad)

    def branch_signature(self, cache: Array) -> Array:
        return cache > 0


class LeakyReLU(_Activation):
    """Leaky rectified linear unit: y = x where x > 0, else slope·x, of any shape.

    Backward, element by element: ∂y/∂x = 1 where x > 0, else slope; so dx = dy where x > 0, else
    slope·dy. At the kink x = 0 the slope is taken. y has the sign of x, so y is all that is kept.
    Raises OptionError unless 0 < slope <= 1 (for 0 take ReLU).
    Source: Maas, Hannun and Ng 2013, equation 2.
    """

    formula = staticmethod(leaky_relu)
    gradient = staticmethod(leaky_relu_grad)

    def __init__(self, slope: float = 0.2) -> None:
        super().__init__(slope=slope)
        if not 0 < slope <= 1:
            raise OptionError(f"LeakyReLU needs a slope above 0 and up to 1, got {slope!r}: for a slope of 0 use ReLU")

    def branch_signature(self, cache: Array) -> Array:
        return cache > 0


class Tanh(_Activation):
    """Hyperbolic tangent: y = tanh x = S/C with S = (e^x − e^−x)/2 and C = (e^x + e^−x)/2, of any shape.

    Backward, element by element: S' = C and C' = S, so ∂y/∂x = (S'C − S C')/C² = (C² − S²)/C² = 1 − y²,
    and dx = dy (1 − y²).
    Source: Goodfellow, Bengio and Courville 2016 (Deep Learning), section 6.3.2; as a generator's
    output, Radford et al. 2015 (arXiv:1511.06434), section 3.
    """

    formula = staticmethod(tanh)
    gradient = staticmethod(tanh_grad)


class Sigmoid(_Activation):
    """Logistic sigmoid: y = σ(x) = 1 / (1 + e^−x), of any shape.

    Backward, element by element: ∂y/∂x = e^−x / (1 + e^−x)² = y · e^−x/(1 + e^−x) = y (1 − y), so
    dx = dy y (1 − y).
    A network that ends in a loss from logits (minigan.losses) needs no Sigmoid: the loss has it inside.
    Source: Rumelhart, Hinton and Williams 1986 (Nature 323), equations 2 and 5.
    """

    formula = staticmethod(sigmoid)
    gradient = staticmethod(sigmoid_grad)


class Softplus(_Activation):
    """Softplus: y = ζ(x) = log(1 + e^x), of any shape.

    Backward, element by element: ∂y/∂x = e^x / (1 + e^x) = 1 / (e^−x + 1) = σ(x), so dx = dy σ(x).
    Source: Dugas et al. 2001, section 3.
    """

    formula = staticmethod(softplus)
    gradient = staticmethod(softplus_grad)

    def forward(self, x: Array, train: bool = False) -> tuple[Array, Array]:
        return self.backend.elementwise(softplus, x), x


class Dropout(Layer):
    """Inverted dropout: y = x·m with m = 0 with probability `rate`, else 1 / (1 − rate).

    x: any shape. The mask m is drawn from the layer's own stream, which the network seeds, and lies in
    the cache. Its mean is rate·0 + (1 − rate)·1/(1 − rate) = 1, so at inference y = x.
    Backward, element by element: m does not depend on x, so ∂y/∂x = m and dx = dy·m, with the mask of
    that forward pass.
    Raises OptionError unless 0 <= rate < 1.
    Source: Srivastava et al. 2014, section 10 (scaling at training time).
    """

    random = True

    def __init__(self, rate: float) -> None:
        super().__init__(rate=rate)
        if not 0 <= rate < 1:
            raise OptionError(f"Dropout needs a rate in [0, 1), got {rate!r}")
        self.rate = rate

    def forward(self, x: Array, train: bool = False) -> tuple[Array, Array | None]:
        if not train:
            return x, None
        draws = self.rng.uniform(x.shape, x.dtype)
        mask = self.backend.elementwise(dropout_mask, draws, rate=self.rate)
        return x * mask, mask

    def backward(self, dy: Array, cache: Array | None, *, param_grads: bool = True, input_grad: bool = True) -> Array | None:
        if not input_grad:
            return None
        return dy if cache is None else dy * cache


def dropout_mask(xp: Any, draws: Array, rate: float) -> Array:
    """1 / (1 − rate) where a draw from U[0, 1) is at least rate, else 0"""
    return (draws >= rate).astype(draws.dtype) / (1 - rate)
