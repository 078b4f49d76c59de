"""Normalisation: BatchNorm over the batch, LayerNorm within each sample."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigan.backends import Array
from minigan.initializers import constant, zeros
from minigan.layers.base import Grads, Layer, Shape
from minigan.layers.formulas import product, squared_deviation
from minigan.sizes import positive_int, real


def normalize(xp: Any, x: Array, mean: Array, inv_std: Array) -> Array:
    """x̂ = (x − μ) / σ"""
    return (x - mean) * inv_std


def scale_shift(xp: Any, x_hat: Array, gamma: Array, beta: Array) -> Array:
    """y = γ x̂ + β"""
    return gamma * x_hat + beta


def normalize_grad(xp: Any, g: Array, x_hat: Array, inv_std: Array, mean_g: Array, mean_gx: Array) -> Array:
    """dx = (g − ⟨g⟩ − x̂ ⟨g x̂⟩) / σ, for g = ∂L/∂x̂ and means ⟨·⟩ over the values that were normalised together."""
    return inv_std * (g - mean_g - x_hat * mean_gx)


def normalize_curvature(
    xp: Any,
    u: Array,
    g: Array,
    x_hat: Array,
    scale: Array,
    mean_u: Array,
    mean_g: Array,
    mean_xu: Array,
    mean_xg: Array,
    q: Array,
) -> Array:
    """c = −(⟨x̂u⟩ (g − ⟨g⟩) + ⟨x̂g⟩ (u − ⟨u⟩) − x̂ (2 ⟨x̂u⟩⟨x̂g⟩ − q)) · scale, for q = ⟨g (u − ⟨u⟩ − x̂ ⟨x̂u⟩)⟩"""
    return -scale * (mean_xu * (g - mean_g) + mean_xg * (u - mean_u) - x_hat * (2 * mean_xu * mean_xg - q))


def inverse_std(xp: Any, var: Array, eps: float) -> Array:
    """1/σ = 1 / √(v + ε)"""
    return 1 / xp.sqrt(var + eps)


def move_running(
    xp: Any, mean: Array, var: Array, batch_mean: Array, batch_var: Array, momentum: float, unbias: float
) -> tuple[Array, Array]:
    """r ← (1 − momentum) r + momentum · (μ, or v·M/(M − 1)), where unbias = M/(M − 1)"""
    return mean + momentum * (batch_mean - mean), var + momentum * (unbias * batch_var - var)


def batch_norm(xp: Any, x: Array, mean: Array, inv_std: Array, gamma: Array, beta: Array) -> Array:
    """y = γ x̂ + β, x̂ = (x − μ) / σ"""
    return gamma * normalize(xp, x, mean, inv_std) + beta


def batch_norm_sums(xp: Any, dy: Array, x: Array, mean: Array, inv_std: Array) -> tuple[Array, Array]:
    """The terms of dγ = Σ dy x̂ and of dβ = Σ dy"""
    return dy * normalize(xp, x, mean, inv_std), dy


def batch_norm_grad(
    xp: Any, dy: Array, x: Array, mean: Array, inv_std: Array, scale: Array, mean_dy: Array, mean_dyx: Array
) -> Array:
    """dx = γ/σ (dy − ⟨dy⟩ − x̂ ⟨dy x̂⟩), for means ⟨·⟩ over the values that were normalised together, and scale = γ/σ"""
    return scale * (dy - mean_dy - normalize(xp, x, mean, inv_std) * mean_dyx)


def batch_norm_flow(
    xp: Any, dy: Array, u: Array, x: Array, mean: Array, inv_std: Array, mean_u: Array, mean_xu: Array
) -> Array:
    """The terms of dy · ẏ σ/γ = dy (u − ⟨u⟩ − x̂ ⟨x̂u⟩), for u = ẋ"""
    return dy * (u - mean_u - normalize(xp, x, mean, inv_std) * mean_xu)


def batch_norm_curvature(xp: Any, u: Array, dy: Array, x: Array, mean: Array, inv_std: Array, *means: Array) -> Array:
    """normalize_curvature, with x̂ made of x"""
    return normalize_curvature(xp, u, dy, normalize(xp, x, mean, inv_std), *means)


class BatchNorm(Layer):
    """Batch normalisation over all axes but the last: y = γ x̂ + β, x̂ = (x − μ) / σ, σ = √(v + ε).

    x: (N, …, C) -> y: the same shape. Parameters: gamma γ (C,) from 1, beta β (C,) from 0. With M = N·…
    values per channel:
        training:  μ = Σ x / M,  v = Σ (x − μ)² / M; the running statistics move by `momentum`:
                   r ← (1 − momentum) r + momentum · (μ, or v·M/(M − 1))
        inference: μ and v are the running statistics
    Backward, per channel: dγ = Σ_m dy_m x̂_m and dβ = Σ_m dy_m. Let g_m = ∂L/∂x̂_m = γ dy_m. When
    training, x_n reaches every x̂_m, by three paths:
        directly:   ∂x̂_m/∂x_n = [m = n] / σ,                   adding up to  g_n / σ
        through μ:  ∂x̂_m/∂μ ∂μ/∂x_n = −1/σ · 1/M,              adding up to  −Σ_m g_m / (M σ)
        through v:  ∂x̂_m/∂v ∂v/∂x_n = −x̂_m/(2σ²) · 2 σ x̂_n/M,  adding up to  −x̂_n Σ_m g_m x̂_m / (M σ)
    (v depends on μ too, but ∂v/∂μ = −2 Σ (x − μ) / M = 0.) Their sum:
        dx_n = (g_n − Σ_m g_m / M − x̂_n Σ_m g_m x̂_m / M) / σ
    At inference μ and v are constants, the first path is the only one, and dx = g / σ.
    Tangent, with u = ẋ and ⟨·⟩ the mean over m. The Jacobian of x̂ is symmetric, so it has the form of dx:
        ẏ = γ/σ (u − ⟨u⟩ − x̂ ⟨x̂u⟩)
    Curvature: Q = Σ_m dy_m ẏ_m = γ/σ (Σ_m dy_m (u_m − ⟨u⟩) − M ⟨x̂dy⟩⟨x̂u⟩), so ∂Q/∂γ = Q/γ, ∂Q/∂β = 0. x_n reaches Q
        through x̂, by h_m = ∂Q/∂x̂_m = −γ/σ (dy_m ⟨x̂u⟩ + u_m ⟨x̂dy⟩):  (h_n − ⟨h⟩ − x̂_n ⟨x̂h⟩) / σ, as above
        through the factor 1/σ, where ∂(1/σ)/∂x_n = −x̂_n/(M σ²):         −x̂_n Q/(M σ)
    With ⟨x̂h⟩ = −2 γ/σ ⟨x̂u⟩⟨x̂dy⟩ and Q/M = γ/σ q, where q = ⟨dy (u − ⟨u⟩ − x̂ ⟨x̂u⟩)⟩, they add up to
        c = −γ/σ² (⟨x̂u⟩ (dy − ⟨dy⟩) + ⟨x̂dy⟩ (u − ⟨u⟩) − x̂ (2 ⟨x̂u⟩⟨x̂dy⟩ − q))
    At inference ẏ = γ/σ u, ∂Q/∂γ = Σ dy u / σ and c = 0.
    Where several ranks share a batch, every ⟨·⟩, μ and v is over the values of all of them (Backend.all_mean), or each share
    would be normalised by itself, which is another function. Gradients then are those of the share's mean loss, as everywhere,
    P times its part in the whole: dx and c are linear in dy, so they are P times theirs too.
    Raises OptionError unless eps > 0 and 0 <= momentum <= 1, ShapeError when training on fewer than
    two values per channel.
    Source: Ioffe and Szegedy 2015 (arXiv:1502.03167), algorithm 1 and section 3.
    """

    cross_sample = True
    gamma: Array
    beta: Array
    running_mean: Array
    running_var: Array

    def __init__(self, *, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__(eps=eps, momentum=momentum)
        self.eps = real(eps, "BatchNorm: eps", "a number above 0", lambda e: e > 0)
        self.momentum = real(momentum, "BatchNorm: momentum", "a number in [0, 1]", lambda m: 0 <= m <= 1)

    def build(self, input_shape: Shape) -> Shape:
        self.require(len(input_shape) >= 1, "at least one axis, of channels", input_shape)
        channels = input_shape[-1:]
        self.add_parameter("gamma", channels, constant(1.0))
        self.add_parameter("beta", channels, zeros())
        self.add_state("running_mean", np.zeros(channels))
        self.add_state("running_var", np.ones(channels))
        self.least_batch = 1 if math.prod(input_shape[:-1]) > 1 else 2  # more than one value per channel
        return input_shape

    def forward(self, x: Array, train: bool = False) -> tuple[Array, tuple[Array, Array, Array, bool]]:
        be = self.backend
        if train:
            count = x.size // x.shape[-1] * be.ranks.size
            self.require(count > 1, "more than one value per channel to train on", f"a batch of shape {x.shape}")
            (mean,) = be.all_mean(be.column_mean(x))
            (var,) = be.all_mean(*be.column_means(squared_deviation, x, mean))
            running = (self.running_mean, self.running_var)
            be.elementwise_update(move_running, running, mean, var, momentum=self.momentum, unbias=count / (count - 1))
        else:
            mean, var = self.running_mean.copy(), self.running_var  # the next training pass moves both in place
        inv_std = be.elementwise(inverse_std, var, eps=self.eps)
        y = be.elementwise(batch_norm, x, mean, inv_std, self.gamma, self.beta)
        return y, (x, mean, inv_std, train)  # x̂ is quicker computed again than kept

    def backward(
        self, dy: Array, cache: tuple[Array, Array, Array, bool], grads: Grads | None = None, input_grad: bool = True
    ) -> Array | None:
        x, mean, inv_std, train = cache
        be = self.backend
        if train or grads is not None:
            d_gamma, d_beta = be.column_sums(batch_norm_sums, dy, x, mean, inv_std)
        if grads is not None:
            be.store(d_gamma, grads["gamma"])
            be.store(d_beta, grads["beta"])
        if not input_grad:
            return None
        if not train:
            return be.elementwise(product, dy, self.gamma * inv_std)
        # γ is constant along the sums, so it stands outside: g = γ dy, Σ g = γ dβ, Σ g x̂ = γ dγ.
        count = dy.size // dy.shape[-1]
        means = be.all_mean(d_beta / count, d_gamma / count)
        return be.elementwise(batch_norm_grad, dy, x, mean, inv_std, self.gamma * inv_std, *means)

    def tangent(self, x_dot: Array, cache: tuple[Array, Array, Array, bool]) -> Array:
        x, mean, inv_std, train = cache
        be, scale = self.backend, self.gamma * inv_std
        if not train:
            return be.elementwise(product, x_dot, scale)
        mean_xu, mean_u = be.all_mean(*be.column_means(batch_norm_sums, x_dot, x, mean, inv_std))
        return be.elementwise(batch_norm_grad, x_dot, x, mean, inv_std, scale, mean_u, mean_xu)

    def curvature(
        self, x_dot: Array, dy: Array, cache: tuple[Array, Array, Array, bool], grads: Grads | None = None
    ) -> Array | None:
        x, mean, inv_std, train = cache
        be, of_pass = self.backend, (x, mean, inv_std)
        if train:
            of_u, of_dy = (be.column_means(batch_norm_sums, a, *of_pass) for a in (x_dot, dy))
            mean_xu, mean_u, mean_xg, mean_g = be.all_mean(*of_u, *of_dy)
            (q,) = be.all_mean(*be.column_means(batch_norm_flow, dy, x_dot, *of_pass, mean_u, mean_xu))
        else:
            (q,) = be.column_means(product, dy, x_dot)
        if grads is not None:
            be.store(q * inv_std * (x.size // x.shape[-1]), grads["gamma"])
            grads["beta"][...] = 0
        if not train:
            return None
        scale = self.gamma * inv_std * inv_std
        return be.elementwise(batch_norm_curvature, x_dot, dy, *of_pass, scale, mean_u, mean_g, mean_xu, mean_xg, q)


class LayerNorm(Layer):
    """Layer normalisation of each sample over its last `axes` axes: y = γ x̂ + β, x̂ = (x − μ) / σ.

    x: (N, …) -> y: the same shape. Parameters: gamma γ from 1 and beta β from 0, of the shape of the
    last `axes` axes. μ and v are the mean and the variance of the K values in those axes, and
    σ = √(v + ε); training and inference are the same.
    Backward: dγ = Σ dy x̂ and dβ = Σ dy over all other axes. With g_k = ∂L/∂x̂_k = γ_k dy_k, x_i reaches
    every x̂_k of its sample by three paths:
        directly:   ∂x̂_k/∂x_i = [k = i] / σ,       adding up to  g_i / σ
        through μ:  −1/σ · 1/K,                    adding up to  −Σ_k g_k / (K σ)
        through v:  −x̂_k/(2σ²) · 2 σ x̂_i/K,        adding up to  −x̂_i Σ_k g_k x̂_k / (K σ)
    and dx_i is their sum: dx_i = (g_i − Σ_k g_k / K − x̂_i Σ_k g_k x̂_k / K) / σ. Unlike BatchNorm's, γ
    differs from term to term and stays inside the sums.
    Tangent and curvature follow as BatchNorm's do, with g = γ dy inside the means ⟨·⟩ over a sample's K values and u = ẋ:
        ẏ = γ/σ (u − ⟨u⟩ − x̂ ⟨x̂u⟩),  Q = K/σ q,  q = ⟨g (u − ⟨u⟩ − x̂ ⟨x̂u⟩)⟩
        ∂Q/∂γ = Σ dy (u − ⟨u⟩ − x̂ ⟨x̂u⟩) / σ over all other axes,  ∂Q/∂β = 0
        c = −1/σ² (⟨x̂u⟩ (g − ⟨g⟩) + ⟨x̂g⟩ (u − ⟨u⟩) − x̂ (2 ⟨x̂u⟩⟨x̂g⟩ − q))
    Raises ShapeError if the input has fewer axes.
    Source: Ba, Kiros and Hinton 2016 (arXiv:1607.06450), equation 3.
    """

    cross_sample = False
    gamma: Array
    beta: Array

    def __init__(self, *, axes: int = 1, eps: float = 1e-5) -> None:
        super().__init__(axes=axes, eps=eps)
        self.axes = positive_int(axes, "LayerNorm: axes")
        self.eps = real(eps, "LayerNorm: eps", "a number above 0", lambda e: e > 0)

    def build(self, input_shape: Shape) -> Shape:
        self.require(len(input_shape) >= self.axes, f"at least {self.axes} axes", input_shape)
        self.add_parameter("gamma", input_shape[-self.axes :], constant(1.0))
        self.add_parameter("beta", input_shape[-self.axes :], zeros())
        self.size = math.prod(input_shape[-self.axes :])  # K
        return input_shape

    def forward(self, x: Array, train: bool = False) -> tuple[Array, tuple[Array, Array]]:
        be = self.backend
        rows = x.reshape(-1, self.size)  # (M, K)
        mean = rows.mean(axis=1, keepdims=True)
        var = be.elementwise(squared_deviation, rows, mean).mean(axis=1, keepdims=True)
        inv_std = be.elementwise(inverse_std, var, eps=self.eps)
        x_hat = be.elementwise(normalize, rows, mean, inv_std)
        y = be.elementwise(scale_shift, x_hat, self.gamma.reshape(-1), self.beta.reshape(-1))
        return y.reshape(x.shape), (x_hat, inv_std)

    def backward(
        self, dy: Array, cache: tuple[Array, Array], grads: Grads | None = None, input_grad: bool = True
    ) -> Array | None:
        x_hat, inv_std = cache
        be = self.backend
        rows = dy.reshape(-1, self.size)
        if grads is not None:
            be.store(be.column_dot(rows, x_hat).reshape(self.gamma.shape), grads["gamma"])
            be.store(be.column_sum(rows).reshape(self.beta.shape), grads["beta"])
        if not input_grad:
            return None
        g = be.elementwise(product, rows, self.gamma.reshape(-1))
        return be.elementwise(normalize_grad, g, x_hat, inv_std, *self._means(g, x_hat)).reshape(dy.shape)

    def _means(self, a: Array, x_hat: Array) -> tuple[Array, Array]:
        """⟨a⟩ and ⟨a x̂⟩ of each row (M, K): (M, 1)"""
        return a.mean(axis=1, keepdims=True), self.backend.elementwise(product, a, x_hat).mean(axis=1, keepdims=True)

    def tangent(self, x_dot: Array, cache: tuple[Array, Array]) -> Array:
        return self.backend.elementwise(product, self._flow(x_dot, *cache), self.gamma.reshape(-1)).reshape(x_dot.shape)

    def _flow(self, x_dot: Array, x_hat: Array, inv_std: Array) -> Array:
        """(u − ⟨u⟩ − x̂ ⟨x̂u⟩) / σ as rows (M, K), for u = ẋ"""
        rows = x_dot.reshape(-1, self.size)
        return self.backend.elementwise(normalize_grad, rows, x_hat, inv_std, *self._means(rows, x_hat))

    def curvature(self, x_dot: Array, dy: Array, cache: tuple[Array, Array], grads: Grads | None = None) -> Array:
        (x_hat, inv_std), be = cache, self.backend
        u, rows = x_dot.reshape(-1, self.size), dy.reshape(-1, self.size)
        flow = self._flow(x_dot, *cache)
        if grads is not None:
            be.store(be.column_dot(rows, flow).reshape(self.gamma.shape), grads["gamma"])
            grads["beta"][...] = 0
        g = be.elementwise(product, rows, self.gamma.reshape(-1))
        (mean_u, mean_xu), (mean_g, mean_xg) = self._means(u, x_hat), self._means(g, x_hat)
        q = be.elementwise(product, g, flow).mean(axis=1, keepdims=True) / inv_std
        means = (mean_u, mean_g, mean_xu, mean_xg, q)
        return be.elementwise(normalize_curvature, u, g, x_hat, inv_std * inv_std, *means).reshape(dy.shape)
