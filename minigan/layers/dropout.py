"""Dropout: units left out at random."""

from __future__ import annotations

from typing import Any

from minigan.backends import Array
from minigan.layers.base import Grads, Layer
from minigan.sizes import real


class Dropout(Layer):
    """Inverted dropout: y = x·m with m = 0 with probability `rate`, else 1 / (1 − rate).

    x: any shape. The mask m is drawn from the layer's own stream, which the network seeds, and lies in
    the cache. Its mean is rate·0 + (1 − rate)·1/(1 − rate) = 1, so at inference y = x.
    Backward, element by element: m does not depend on x, so ∂y/∂x = m and dx = dy·m, with the mask of
    that forward pass. So is ẏ = ẋ·m; y is linear in x, and ∂Q/∂x = 0.
    Raises OptionError unless 0 <= rate < 1.
    Source: Srivastava et al. 2014, section 10 (scaling at training time).
    """

    random = True
    cross_sample = False

    def __init__(self, rate: float) -> None:
        super().__init__(rate=rate)
        self.rate = real(rate, "Dropout: rate", "a number in [0, 1)", lambda r: 0 <= r < 1)

    def forward(self, x: Array, train: bool = False) -> tuple[Array, Array | None]:
        if not train:
            return x, None
        draws = self.rng.uniform(x.shape, x.dtype)
        mask = self.backend.elementwise(dropout_mask, draws, rate=self.rate)
        return x * mask, mask

    def backward(self, dy: Array, cache: Array | None, grads: Grads | None = None, input_grad: bool = True) -> Array | None:
        if not input_grad:
            return None
        return dy if cache is None else dy * cache

    def tangent(self, x_dot: Array, cache: Array | None) -> Array:
        return x_dot if cache is None else x_dot * cache

    def curvature(self, x_dot: Array, dy: Array, cache: Array | None, grads: Grads | None = None) -> None:
        return None


def dropout_mask(xp: Any, draws: Array, rate: float) -> Array:
    """1 / (1 − rate) where a draw from U[0, 1) is at least rate, else 0"""
    return (draws >= rate).astype(draws.dtype) / (1 - rate)
