"""Softmax: scores made into probabilities."""

from __future__ import annotations

from typing import Any

from minigan.backends import Array
from minigan.layers.base import Grads, Layer, Shape
from minigan.layers.formulas import product


def shifted_exp(xp: Any, x: Array, largest: Array) -> Array:
    """e^(x − max x), which cannot overflow"""
    return xp.exp(x - largest)


def quotient(xp: Any, x: Array, y: Array) -> Array:
    """x / y"""
    return x / y


def softmax_grad(xp: Any, dy: Array, y: Array, mean: Array) -> Array:
    """y (dy − m)"""
    return y * (dy - mean)


def softmax_curvature(xp: Any, u: Array, dy: Array, y: Array, mean_u: Array, mean_dy: Array, q: Array) -> Array:
    """y ((u − ⟨u⟩) (dy − ⟨dy⟩) − q)"""
    return y * ((u - mean_u) * (dy - mean_dy) - q)


class Softmax(Layer):
    """Softmax over the last axis: y_k = e^x_k / Σ_j e^x_j, so that y > 0 and Σ_k y_k = 1.

    x: (N, …, K) -> y: the same shape. The largest x of each row is taken off first, which changes no y and cannot overflow.
    Backward: e^x_k has the derivative [k = i] e^x_k in x_i, the sum below has e^x_i, so ∂y_k/∂x_i = y_k ([k = i] − y_i). Write
    ⟨a⟩ = Σ_k y_k a_k, the mean of a under y:
        dx_i = Σ_k dy_k ∂y_k/∂x_i = y_i dy_i − y_i Σ_k dy_k y_k = y_i (dy_i − ⟨dy⟩)
    A dy that is alike for all k brings nothing: adding to all x alike moves no y.
    Tangent, with u = ẋ: ∂y_k/∂x_i is symmetric, so ẏ = y (u − ⟨u⟩).
    Curvature: Q = Σ_k dy_k ẏ_k = ⟨dy u⟩ − ⟨dy⟩⟨u⟩, the covariance q of dy and u under y. x reaches it by y alone, with
        h_k = ∂Q/∂y_k = dy_k u_k − dy_k ⟨u⟩ − u_k ⟨dy⟩ = (u_k − ⟨u⟩) (dy_k − ⟨dy⟩) − ⟨u⟩⟨dy⟩
        c = y (h − ⟨h⟩) = y ((u − ⟨u⟩) (dy − ⟨dy⟩) − q), for ⟨h⟩ = q − ⟨u⟩⟨dy⟩
    Raises ShapeError if a sample is a single number without an axis.
    Source: Bridle 1990 (Probabilistic interpretation of feedforward classification network outputs), equation 11; as a
    generator's output, Gulrajani et al. 2017 (arXiv:1704.00028), section 5.
    """

    cross_sample = False

    def build(self, input_shape: Shape) -> Shape:
        self.require(len(input_shape) >= 1, "at least one axis, of scores", input_shape)
        return input_shape

    def forward(self, x: Array, train: bool = False) -> tuple[Array, Array]:
        exp = self.backend.elementwise(shifted_exp, x, x.max(axis=-1, keepdims=True))
        y = self.backend.elementwise(quotient, exp, exp.sum(axis=-1, keepdims=True))
        return y, y

    def _mean(self, a: Array, y: Array) -> Array:
        """⟨a⟩ = Σ_k y_k a_k: (N, …, 1)"""
        return self.backend.elementwise(product, a, y).sum(axis=-1, keepdims=True)

    def backward(self, dy: Array, cache: Array, grads: Grads | None = None, input_grad: bool = True) -> Array | None:
        return self.backend.elementwise(softmax_grad, dy, cache, self._mean(dy, cache)) if input_grad else None

    def tangent(self, x_dot: Array, cache: Array) -> Array:
        return self.backend.elementwise(softmax_grad, x_dot, cache, self._mean(x_dot, cache))

    def curvature(self, x_dot: Array, dy: Array, cache: Array, grads: Grads | None = None) -> Array:
        q = self.backend.elementwise(product, dy, self.tangent(x_dot, cache)).sum(axis=-1, keepdims=True)
        means = self._mean(x_dot, cache), self._mean(dy, cache)
        return self.backend.elementwise(softmax_curvature, x_dot, dy, cache, *means, q)
