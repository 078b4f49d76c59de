"""DiffAugment: images changed at random before D judges them, by maps through which gradients reach G."""

from __future__ import annotations

from typing import Any

from minigan.backends import Array
from minigan.layers.base import Grads, Layer, Shape
from minigan.sizes import real


def recolored(xp: Any, x: Array, grey: Array, mean: Array, saturation: Array, contrast: Array) -> Array:
    """μ + (c + ½) (g + 2 s (x − g) − μ)"""
    return mean + (contrast + 0.5) * (grey + 2 * saturation * (x - grey) - mean)


def brightened(xp: Any, x: Array, brightness: Array) -> Array:
    """x + b − ½"""
    return x + (brightness - 0.5)


def where_drawn(xp: Any, x: Array, draw: Array, low: float, high: float) -> Array:
    """x where low <= draw < high, else 0"""
    return x * (draw >= low).astype(x.dtype) * (draw < high).astype(x.dtype)


class DiffAugment(Layer):
    """In training, each image gets a brightness, a saturation, a contrast and a place of its own: y = T (L x + b − ½).

    x: (N, H, W, C) -> y: the same shape; at inference y = x. As the first layer of D it changes real and generated images
    alike: D cannot learn few images by heart, and G does not learn to make changed ones. For each image, b, s, c ~ U[0, 1):
        L x = μ + (c + ½) (g + 2 s (x − g) − μ),  g the mean over channels at each place, μ the mean over all values
        (T z)_hv = z_(h+i)(v+j), 0 outside, i and j uniform from −k to k, k = translation · H or W, rounded
    color=False leaves out L and b, translation=0 leaves out T.
    Backward: y is affine in x, so dx = Lᵀ Tᵀ dy. ∂y_hv/∂z_op = [o = h + i, p = v + j], so dz_op = dy_(o−i)(p−j): T of −i, −j.
    Lᵀ = L, for a mean is a symmetric map: ∂g_c/∂x_d = 1/C = ∂g_d/∂x_c, likewise μ, and the two commute.
    Tangent: ẏ = T L ẋ. Curvature: none, ∂Q/∂x = 0.
    Raises ShapeError if x is not (H, W, C), OptionError unless 0 <= translation < 1.
    Source: Zhao et al. 2020 (arXiv:2006.10738), section 3.2, with the ranges of their published code.
    """

    random = True
    cross_sample = False

    def __init__(self, color: bool = True, translation: float = 0.125) -> None:
        super().__init__(color=color, translation=translation)
        self.color = bool(color)
        self.translation = real(translation, "DiffAugment: translation", "a number in [0, 1)", lambda t: 0 <= t < 1)

    def build(self, input_shape: Shape) -> Shape:
        self.require(len(input_shape) == 3, "(H, W, C)", input_shape)
        return input_shape

    def forward(self, x: Array, train: bool = False) -> tuple[Array, Array | None]:
        if not train:
            return x, None
        draws = self.rng.uniform((len(x), 5), x.dtype)
        y = self._recolored(x, draws)
        if self.color:
            y = self.backend.elementwise(brightened, y, draws[:, 2].reshape(-1, 1, 1, 1))
        return self._moved(y, draws, 1), draws

    def _recolored(self, x: Array, draws: Array) -> Array:
        """L x"""
        if not self.color:
            return x
        grey, mean = x.mean(axis=3, keepdims=True), x.mean(axis=(1, 2, 3), keepdims=True)
        saturation, contrast = (draws[:, number].reshape(-1, 1, 1, 1) for number in (0, 1))
        return self.backend.elementwise(recolored, x, grey, mean, saturation, contrast)

    def _moved(self, x: Array, draws: Array, sign: int) -> Array:
        """T x, or with sign −1 Tᵀ x: for each shift that may have been drawn, the images for which it was."""
        for axis in (1, 2) if self.translation else ():
            size, draw = x.shape[axis], draws[:, axis + 2].reshape(-1, 1, 1, 1)
            most = min(int(self.translation * size + 0.5), size - 1)
            y = self.backend.zeros(x.shape, x.dtype)
            for number in range(2 * most + 1):
                shift = sign * (number - most)
                start, end = max(0, -shift), size - max(0, shift)
                before = (slice(None),) * axis
                low, high = number / (2 * most + 1), (number + 1) / (2 * most + 1)
                part = x[(*before, slice(start + shift, end + shift))]
                y[(*before, slice(start, end))] += self.backend.elementwise(where_drawn, part, draw, low=low, high=high)
            x = y
        return x

    def backward(self, dy: Array, cache: Array | None, grads: Grads | None = None, input_grad: bool = True) -> Array | None:
        if not input_grad:
            return None
        return dy if cache is None else self._recolored(self._moved(dy, cache, -1), cache)

    def tangent(self, x_dot: Array, cache: Array | None) -> Array:
        return x_dot if cache is None else self._moved(self._recolored(x_dot, cache), cache, 1)

    def curvature(self, x_dot: Array, dy: Array, cache: Array | None, grads: Grads | None = None) -> None:
        return None
