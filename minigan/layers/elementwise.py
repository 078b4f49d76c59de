"""Element-wise layers: each gives its formula f and the derivatives f′ and f″ side by side, as plain expressions."""

from __future__ import annotations

from typing import Any

from minigan.backends import Array, Formula
from minigan.layers.base import Grads, Layer
from minigan.sizes import real


class Elementwise(Layer):
    """y = f(x), element by element: y_i depends on x_i alone, so dx_i = dy_i f′(x_i).

    A layer writes f(xp, x), df(xp, y) and d2f(xp, y), plain functions of a NumPy-like module and arrays, which also take the
    layer's options by name; d2f = None says that f is linear piece by piece. df and d2f are f′(x) and f″(x) written in
    y = f(x): y is what is kept for the backward pass, for the next layer keeps it alive anyway.
    Tangent and curvature: ẏ = f′(x) ẋ, so Q = Σ dy f′(x) ẋ and ∂Q/∂x = f″(x) ẋ dy.
    """

    cross_sample = False
    f: Formula
    df: Formula
    d2f: Formula | None  # only a penalty on gradients asks for it
    _dx: Formula  # dy f′
    _c: Formula  # f″ ẋ dy

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "df" in vars(cls):
            cls._dx = staticmethod(_times(cls.df))
        if vars(cls).get("d2f") is not None:
            cls._c = staticmethod(_times_twice(cls.d2f))  # type: ignore[arg-type]

    def forward(self, x: Array, train: bool = False) -> tuple[Array, Array]:
        y = self.backend.elementwise(self.f, x, **self.options)
        return y, y

    def backward(self, dy: Array, cache: Array, grads: Grads | None = None, input_grad: bool = True) -> Array | None:
        return self.backend.elementwise(self._dx, dy, cache, **self.options) if input_grad else None

    def tangent(self, x_dot: Array, cache: Array) -> Array:
        return self.backend.elementwise(self._dx, x_dot, cache, **self.options)

    def require_second_order(self) -> None:
        super().require_second_order()
        if not hasattr(self, "d2f"):
            raise self._lacks("second derivative d2f")

    def curvature(self, x_dot: Array, dy: Array, cache: Array, grads: Grads | None = None) -> Array | None:
        self.require_second_order()
        return None if self.d2f is None else self.backend.elementwise(self._c, x_dot, dy, cache, **self.options)


def _times(df: Formula) -> Formula:
    """dx = dy f′, and ẏ = ẋ f′"""
    return lambda xp, dy, y, **options: dy * df(xp, y, **options)


def _times_twice(d2f: Formula) -> Formula:
    """c = f″ ẋ dy"""
    return lambda xp, x_dot, dy, y, **options: x_dot * dy * d2f(xp, y, **options)


def sigmoid(xp: Any, x: Array) -> Array:
    """σ(x) = 1 / (1 + e^−x) = e^min(x, 0) / (1 + e^−|x|), which cannot overflow"""
    return xp.exp(xp.minimum(x, 0)) / (1 + xp.exp(-xp.abs(x)))


def softplus(xp: Any, x: Array) -> Array:
    """ζ(x) = log(1 + e^x) = max(x, 0) + log(1 + e^−|x|), which cannot overflow"""
    return xp.maximum(x, 0) + xp.log1p(xp.exp(-xp.abs(x)))


class ReLU(Elementwise):
    """Rectified linear unit: y = max(x, 0), of any shape.

    Backward, element by element: ∂y/∂x = [x > 0], so dx = dy [x > 0]. At the kink x = 0, where no
    derivative exists, 0 is taken. x > 0 is y > 0, so y is all that is kept. f″ = 0.
    Source: Nair and Hinton 2010, section 2.
    """

    @staticmethod
    def f(xp: Any, x: Array) -> Array:
        return xp.maximum(x, 0)

    @staticmethod
    def df(xp: Any, y: Array) -> Array:
        return y > 0

    d2f = None

    def branch_signature(self, cache: Array) -> Array:
        return cache > 0


class LeakyReLU(Elementwise):
    """Leaky rectified linear unit: y = x where x > 0, else slope·x, of any shape: for slopes up to 1, y = max(x, slope·x).

    Backward, element by element: ∂y/∂x = 1 where x > 0, else slope, which is max([x > 0], slope); so dx = dy where
    x > 0, else slope·dy. At the kink x = 0 the slope is taken. y has the sign of x, so y is all that is kept. f″ = 0.
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

    d2f = None

    def branch_signature(self, cache: Array) -> Array:
        return cache > 0


class Tanh(Elementwise):
    """Hyperbolic tangent: y = tanh x = S/C with S = (e^x − e^−x)/2 and C = (e^x + e^−x)/2, of any shape.

    Backward, element by element: S' = C and C' = S, so ∂y/∂x = (S'C − S C')/C² = (C² − S²)/C² = 1 − y²,
    and dx = dy (1 − y²). Once more: f″ = ∂(1 − y²)/∂x = −2y ∂y/∂x = −2y (1 − y²).
    Source: Goodfellow, Bengio and Courville 2016 (Deep Learning), section 6.3.2; as a generator's
    output, Radford et al. 2015 (arXiv:1511.06434), section 3.
    """

    @staticmethod
    def f(xp: Any, x: Array) -> Array:
        return xp.tanh(x)

    @staticmethod
    def df(xp: Any, y: Array) -> Array:
        return 1 - y * y

    @staticmethod
    def d2f(xp: Any, y: Array) -> Array:
        return -2 * y * (1 - y * y)


class Sigmoid(Elementwise):
    """Logistic sigmoid: y = σ(x) = 1 / (1 + e^−x), of any shape.

    Backward, element by element: ∂y/∂x = e^−x / (1 + e^−x)² = y · e^−x/(1 + e^−x) = y (1 − y), so
    dx = dy y (1 − y). Once more: f″ = ∂(y − y²)/∂x = (1 − 2y) ∂y/∂x = (1 − 2y) y (1 − y).
    A network that ends in a loss from logits (minigan.losses) needs no Sigmoid: the loss has it inside.
    Source: Rumelhart, Hinton and Williams 1986 (Nature 323), equations 2 and 5.
    """

    f = staticmethod(sigmoid)

    @staticmethod
    def df(xp: Any, y: Array) -> Array:
        return y * (1 - y)

    @staticmethod
    def d2f(xp: Any, y: Array) -> Array:
        return (1 - 2 * y) * y * (1 - y)


class Softplus(Elementwise):
    """Softplus: y = ζ(x) = log(1 + e^x), of any shape.

    Backward, element by element: ∂y/∂x = e^x / (1 + e^x) = 1 − 1 / (1 + e^x), and 1 + e^x = e^y, so ∂y/∂x = 1 − e^−y and
    dx = dy (1 − e^−y). expm1 computes e^−y − 1, which keeps its digits where y is near 0. Once more:
    f″ = ∂(1 − e^−y)/∂x = e^−y ∂y/∂x = e^−y (1 − e^−y).
    Source: Dugas et al. 2001, section 3.
    """

    f = staticmethod(softplus)

    @staticmethod
    def df(xp: Any, y: Array) -> Array:
        return -xp.expm1(-y)

    @staticmethod
    def d2f(xp: Any, y: Array) -> Array:
        return -xp.exp(-y) * xp.expm1(-y)
