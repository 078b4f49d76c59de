"""Layers that move values about: their gradients move them back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from minigan.backends import Array
from minigan.errors import OptionError
from minigan.layers.base import Shape
from minigan.layers.linear import Linear
from minigan.sizes import numbers, pair


class Reshape(Linear):
    """y = x with each sample in another shape: (N, …) -> (N, *shape), values in C order.

    Backward: with the values of a sample counted through in C order y_k = x_k, so ∂y_k/∂x_i = [k = i]
    and dx_k = dy_k: dx = dy in x's shape.
    One entry of shape may be −1 and is then inferred.
    Raises OptionError for two, and ShapeError if the sizes differ.
    Source: Radford et al. 2015 (arXiv:1511.06434), section 3 (z's projection made an image).
    """

    def __init__(self, shape: int | Sequence[int]) -> None:
        self.shape = numbers(shape, "Reshape: shape", least=-1)
        super().__init__(shape=self.shape)
        if self.shape.count(-1) > 1 or 0 in self.shape:
            raise OptionError(f"Reshape: shape is {self.shape}: expected whole numbers from 1 up, and at most one -1")

    def build(self, input_shape: Shape) -> Shape:
        size = math.prod(input_shape)
        known = math.prod(n for n in self.shape if n != -1)
        fits = size % known == 0 if -1 in self.shape else size == known
        self.require(fits, f"{known} values per sample to make {self.shape}", f"{input_shape} with {size}")
        return tuple(size // known if n == -1 else n for n in self.shape)

    def apply(self, x: Array) -> Array:
        return x.reshape(len(x), *self.output_shape)  # type: ignore[misc]

    def transpose(self, dy: Array) -> Array:
        return dy.reshape(len(dy), *self.input_shape)  # type: ignore[misc]


class Flatten(Reshape):
    """y = x with each sample in one row: (N, …) -> (N, K), values in C order.

    Backward: y_k = x_k with x's values counted through in C order, so ∂y_k/∂x_i = [k = i], and
    dx = dy in x's shape.
    Source: Radford et al. 2015 (arXiv:1511.06434), section 3 (before the discriminator's last layer).
    """

    def __init__(self) -> None:
        super().__init__((-1,))
        self.options = {}


class Upsample(Linear):
    """Nearest-neighbour upsampling: y_nhvc = x_n⌊h/f⌋⌊v/g⌋c for a factor (f, g).

    x: (N, H, W, C) -> y: (N, H·f, W·g, C). factor is one number or (height, width).
    Backward: ∂y_nhvc/∂x_nopc = 1 for the f·g copies with ⌊h/f⌋ = o and ⌊v/g⌋ = p, else 0. So each pixel
    gets the sum over its copies: dx_nopc = Σ_{a<f, b<g} dy_n(o·f+a)(p·g+b)c.
    Raises ShapeError if the input is not (H, W, C).
    Source: Odena, Dumoulin and Olah 2016 (distill.pub/2016/deconv-checkerboard).
    """

    def __init__(self, factor: Any = 2) -> None:
        super().__init__(factor=factor)
        self.factor = pair(factor, "Upsample: factor")

    def build(self, input_shape: Shape) -> Shape:
        self.require(len(input_shape) == 3, "(H, W, C)", input_shape)
        height, width, channels = input_shape
        return height * self.factor[0], width * self.factor[1], channels

    def apply(self, x: Array) -> Array:
        return x.repeat(self.factor[0], axis=1).repeat(self.factor[1], axis=2)

    def transpose(self, dy: Array) -> Array:
        height, width, channels = self.input_shape  # type: ignore[misc]
        copies = dy.reshape(-1, height, self.factor[0], width, self.factor[1], channels)
        return copies.sum(axis=(2, 4))
