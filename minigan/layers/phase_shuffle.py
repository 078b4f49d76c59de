"""PhaseShuffle: each sample moved by a few places in time, so that D cannot go by the place of a wave within its period."""

from __future__ import annotations

from typing import Any

from minigan.backends import Array
from minigan.layers.base import Grads, Layer, Shape
from minigan.sizes import positive_int

Masks = tuple[Array, ...]


def is_drawn(xp: Any, draw: Array, place: int, count: int) -> Array:
    """1 where a draw from U[0, 1) lies in the place-th of so many equal parts, else 0"""
    return (draw >= place / count).astype(draw.dtype) * (draw < (place + 1) / count).astype(draw.dtype)


def selected(xp: Any, *masks_and_parts: Array) -> Array:
    """Σ_m mask_m part_m, of M masks and then M parts"""
    count = len(masks_and_parts) // 2
    total = masks_and_parts[0] * masks_and_parts[count]
    for m in range(1, count):
        total = total + masks_and_parts[m] * masks_and_parts[count + m]
    return total


class PhaseShuffle(Layer):
    """In training, each sample moves in time by a whole number k of its own, uniform from −n to n: y = S_k P x.

    x: (N, …, T, C) -> y: the same shape; at inference y = x. P continues x by n places at either end, mirrored there, and S_k
    cuts T places out of that. In x's own places:
        y_t = x_r(t−k),  r(j) = −j for j < 0, 2 (T − 1) − j for j >= T, else j
    Transposed convolutions leave a buzz whose phase is nearly the same in all that G makes. By that D would know it at once,
    and G learn nothing else; where each layer of D sees phases of its own, D must listen to the sound.
    Backward: y is linear in x, so dx = Pᵀ S_kᵀ dy. S_kᵀ puts dy back to the T places that were cut out, with zeros around
    it: dx̄. Pᵀ adds what lies beyond the ends to the places that it was mirrored from: for i = 1 … n
        dx_j = dx̄_j inside,  dx_i += dx̄_−i,  dx_T−1−i += dx̄_T−1+i
    Tangent: ẏ = S_k P ẋ. Curvature: none, ∂Q/∂x = 0.
    Raises ShapeError unless x has an axis of time, of more than n places, and one of channels; OptionError for an n below 1.
    Source: Donahue et al. 2019 (arXiv:1802.04208), section 3.3.
    """

    random = True
    cross_sample = False

    def __init__(self, n: int = 2) -> None:
        super().__init__(n=n)
        self.n = positive_int(n, "PhaseShuffle: n")

    def build(self, input_shape: Shape) -> Shape:
        self.require(
            len(input_shape) >= 2 and input_shape[-2] > self.n, f"(…, T, C) with T of at least {self.n + 1}", input_shape
        )
        return input_shape

    def forward(self, x: Array, train: bool = False) -> tuple[Array, Masks | None]:
        if not train:
            return x, None
        draws, count = self.rng.uniform((len(x), *[1] * (x.ndim - 1)), x.dtype), 2 * self.n + 1
        masks = tuple(self.backend.elementwise(is_drawn, draws, place=m, count=count) for m in range(count))
        return self._moved(x, masks), masks

    def _moved(self, x: Array, masks: Masks) -> Array:
        """S_k P x: mask m is 1 for the samples with k = m − n, and 0 for all others"""
        n, length = self.n, x.shape[-2]
        padded = self._between_zeros(x, n)
        padded[..., :n, :] = x[..., n:0:-1, :]
        padded[..., n + length :, :] = x[..., -2 : -2 - n : -1, :]
        parts = [padded[..., start : start + length, :] for start in range(2 * n, -1, -1)]
        return self.backend.elementwise(selected, *masks, *parts)

    def _moved_back(self, dy: Array, masks: Masks) -> Array:
        """Pᵀ S_kᵀ dy"""
        n, length = self.n, dy.shape[-2]
        around = self._between_zeros(dy, 2 * n)
        parts = [around[..., m : m + length + 2 * n, :] for m in range(len(masks))]
        padded = self.backend.elementwise(selected, *masks, *parts)
        dx = padded[..., n : n + length, :].copy()
        dx[..., 1 : n + 1, :] += padded[..., :n, :][..., ::-1, :]
        dx[..., length - 1 - n : length - 1, :] += padded[..., n + length :, :][..., ::-1, :]
        return dx

    def _between_zeros(self, x: Array, count: int) -> Array:
        """x with so many zeros before and behind it in time"""
        length = x.shape[-2]
        padded = self.backend.zeros((*x.shape[:-2], length + 2 * count, x.shape[-1]), x.dtype)
        padded[..., count : count + length, :] = x
        return padded

    def backward(self, dy: Array, cache: Masks | None, grads: Grads | None = None, input_grad: bool = True) -> Array | None:
        if not input_grad:
            return None
        return dy if cache is None else self._moved_back(dy, cache)

    def tangent(self, x_dot: Array, cache: Masks | None) -> Array:
        return x_dot if cache is None else self._moved(x_dot, cache)

    def curvature(self, x_dot: Array, dy: Array, cache: Masks | None, grads: Grads | None = None) -> None:
        return None
