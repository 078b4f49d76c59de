"""Element-wise layers: each gives its formula f and the derivative f′ side by side, as plain expressions."""

from __future__ import annotations

from typing import Any

from minigan.backends import Array, Formula
from minigan.layers.base import Grads, Layer
from minigan.sizes import real


class Elementwise(Layer):
    """y = f(x), element by element: y_i depends on x_i alone, so dx_i = dy_i f′(x_i).

    A layer writes f(xp, x) and df(xp, y), plain functions of a NumPy-like module and arrays; both also take the layer's options
    by name. df is f′(x) written in y = f(x): y is what is kept for the backward pass, for the next layer keeps it alive anyway.
    """

    cross_sample = False
    f: Formula
    df: Formula
    _dx: Formula  # dy f′

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "df" in vars(cls):
            cls._dx = staticmethod(_times(cls.df))

    def forward(self, x: Array, train: bool = False) -> tuple[Array, Array]:
        y = self.backend.elementwise(self.f, x, **self.options)
        return y, y

    def backward(self, dy: Array, cache: Array, grads: Grads | None = None, input_grad: bool = True) -> Array | None:
        return self.backend.elementwise(self._dx, dy, cache, **self.options) if input_grad else None


def _times(df: Formula) -> Formula:
    """dx = dy f′"""
    return lambda xp, dy, y, **options: dy * df(xp, y, **options)


def sigmoid(xp: Any, x: Array) -> Array:
    """σ(x) = 1 / (1 + e^−x) = e^min(x, 0) / (1 + e^−|x|), which cannot overflow"""
    return xp.exp(xp.minimum(x, 0)) / (1 + xp.exp(-xp.abs(x)))


def softplus(xp: Any, x: Array) -> Array:
    """ζ(x) = log(1 + e^x) = max(x, 0) + log(1 + e^−|x|), which cannot overflow"""
    return xp.maximum(x, 0) + xp.log1p(xp.exp(-xp.abs(x)))


class ReLU(Elementwise):
    """Rectified linear unit: y = max(x, 0), of any shape.

    Backward, element by element: ∂y/∂x = [x > 0], so dx = dy [x > 0]. At the kink x = 0, where no
    derivative exists, 0 is taken. x > 0 is y > 0, so y is all that is kept.
    Source: Nair and Hinton 2010, section 2.
    """

    @staticmethod
    def f(xp: Any, x: Array) -> Array:
        return xp.maximum(x, 0)

    @staticmethod
    def df(xp: Any, y: Array) -> Array:
        return y > 0

    def branch_signature(self, cache: Array) -> Array:
        return cache > 0


class LeakyReLU(Elementwise):
    """Leaky rectified linear unit: y = x where x > 0, else slope·x, of any shape: for slopes up to 1, y = max(x, slope·x).

    Backward, element by element: ∂y/∂x = 1 where x > 0, else slope, which is max([x > 0], slope); so dx = dy where
    x > 0, else slope·dy. At the kink x = 0 the slope is taken. y has the sign of x, so y is all that is kept.
    Raises OptionError unless 0 < slope <= 1 (for 0 take ReLU).
    Source: Maas, Hannun and Ng 2013, equation 2.
    """

    def __init__(self, slope: float = 0.2) -> None:
        expected = "a number above 0 and up to 1 (for a slope of 0 use ReLU)"
        super().__init__(slope=real(slope, "LeakyReLU: slope", expected, lambda s: 0 < s <= 1))

    @staticmethod
    def f(xp: Any, x: Array, slope: float) -> Array:
        return xp.maximum(x, slope * x)

    @staticmethod
    def df(xp: Any, y: Array, slope: float) -> Array:
        return xp.maximum((y > 0).astype(y.dtype), slope)

    def branch_signature(self, cache: Array) -> Array:
        return cache > 0


class Tanh(Elementwise):
    """Hyperbolic tangent: y = tanh x = S/C with S = (e^x − e^−x)/2 and C = (e^x + e^−x)/2, of any shape.

    Backward, element by element: S' = C and C' = S, so ∂y/∂x = (S'C − S C')/C² = (C² − S²)/C² = 1 − y²,
    and dx = dy (1 − y²).
    Source: Goodfellow, Bengio and Courville 2016 (Deep Learning), section 6.3.2; as a generator's
    output, Radford et al. 2015 (arXiv:1511.06434), section 3.
    """

    @staticmethod
    def f(xp: Any, x: Array) -> Array:
        return xp.tanh(x)

    @staticmethod
    def df(xp: Any, y: Array) -> Array:
        return 1 - y * y


class Sigmoid(Elementwise):
    """Logistic sigmoid: y = σ(x) = 1 / (1 + e^−x), of any shape.

    Backward, element by element: ∂y/∂x = e^−x / (1 + e^−x)² = y · e^−x/(1 + e^−x) = y (1 − y), so
    dx = dy y (1 − y).
    A network that ends in a loss from logits (minigan.losses) needs no Sigmoid: the loss has it inside.
    Source: Rumelhart, Hinton and Williams 1986 (Nature 323), equations 2 and 5.
    """

    f = staticmethod(sigmoid)

    @staticmethod
    def df(xp: Any, y: Array) -> Array:
        return y * (1 - y)


class Softplus(Elementwise):
    """Softplus: y = ζ(x) = log(1 + e^x), of any shape.

    Backward, element by element: ∂y/∂x = e^x / (1 + e^x) = 1 − 1 / (1 + e^x), and 1 + e^x = e^y, so ∂y/∂x = 1 − e^−y and
    dx = dy (1 − e^−y). expm1 computes e^−y − 1, which keeps its digits where y is near 0.
    Source: Dugas et al. 2001, section 3.
    """

    f = staticmethod(softplus)

    @staticmethod
    def df(xp: Any, y: Array) -> Array:
        return -xp.expm1(-y)
