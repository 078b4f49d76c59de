"""MinibatchStd: how much a batch varies, as one more channel."""

from __future__ import annotations

import math
from typing import Any

from minigan.backends import Array
from minigan.layers.base import Grads, Layer, Shape
from minigan.layers.formulas import product, squared_deviation
from minigan.layers.norm import inverse_std
from minigan.sizes import positive_int, real


def std(xp: Any, var: Array, eps: float) -> Array:
    """s = √(v + ε)"""
    return xp.sqrt(var + eps)


def along_deviation(xp: Any, dx: Array, x: Array, mean: Array, rate: Array) -> Array:
    """dx + rate (x − μ)"""
    return dx + rate * (x - mean)


def deviation_product(xp: Any, u: Array, x: Array, mean: Array) -> Array:
    """(x − μ) u"""
    return (x - mean) * u


def std_curvature(
    xp: Any, u: Array, x: Array, mean: Array, mean_u: Array, mean_du: Array, inv_std: Array, rate: Array
) -> Array:
    """c = rate (u − ⟨u⟩ − (x − μ) ⟨(x − μ) u⟩/s²)"""
    return rate * (u - mean_u - (x - mean) * mean_du * inv_std * inv_std)


class MinibatchStd(Layer):
    """Appends one channel that tells how much the samples of a group differ: the mean over all places of their deviation.

    x: (N, …, C) -> y: (N, …, C + 1). group_size: samples in a group, of which N is a multiple, or all of the batch where it is
    smaller; None: the batch is one group. Group m of M has the samples m, m + M, …, as in the authors' code. For a group of G
    samples of K values x_gk, with μ_k = Σ_g x_gk/G:
        v_k = Σ_g (x_gk − μ_k)²/G,  s_k = √(v_k + ε),  r = Σ_k s_k/K;  y = x, and r at every place of every sample of the group
    √v has no derivative where all are alike; with ε it is 0 there.
    Backward: let e be the sum of dy's last channel over all places and samples of the group. v_k does not feel μ_k, for
    ∂v_k/∂μ_k = −2 Σ_g (x_gk − μ_k)/G = 0; so ∂v_k/∂x_gk = 2 (x_gk − μ_k)/G, ∂s_k/∂x_gk = (x_gk − μ_k)/(G s_k), and
        dx_gk = dy_gk + e (x_gk − μ_k)/(G K s_k)
    Tangent, with u = ẋ and ⟨·⟩ the mean over g: ẏ = u, and ṙ = Σ_k ⟨(x − μ) u⟩_k/s_k/K.
    Curvature: Q = Σ dy u + e ṙ. With t_k = ⟨(x − μ) u⟩_k, x_gk reaches t_k by (u_gk − ⟨u⟩_k)/G, and 1/s_k by
    −(x_gk − μ_k)/(G s_k³):
        c_gk = e/(G K s_k) (u_gk − ⟨u⟩_k − (x_gk − μ_k) t_k/s_k²)
    Where P ranks share a batch, each has an equal part of every group, G/P samples: sample m + j M of the whole is the rank's
    own sample m + (j mod G/P) M. So ⟨·⟩ is a mean over ranks too, and with dy P times the sample's part in the whole (as all
    gradients of a share are), so is e/G. Raises ShapeError for a batch that is not a number of whole groups, and where a group
    has no equal part for each rank.
    Source: Karras et al. 2018 (arXiv:1710.10196), section 3; ε and groups: their code, minibatch_stddev_layer.
    """

    cross_sample = True

    def __init__(self, group_size: int | None = None, *, eps: float = 1e-8) -> None:
        super().__init__(group_size=group_size, eps=eps)
        self.group_size = None if group_size is None else positive_int(group_size, "MinibatchStd: group_size")
        self.eps = real(eps, "MinibatchStd: eps", "a number above 0", lambda e: e > 0)

    def build(self, input_shape: Shape) -> Shape:
        self.require(len(input_shape) >= 1, "at least one axis, of channels", input_shape)
        self.size = math.prod(input_shape)  # K
        return (*input_shape[:-1], input_shape[-1] + 1)

    def forward(self, x: Array, train: bool = False) -> tuple[Array, tuple[Array, Array, Array]]:
        be, ranks, whole = self.backend, self.backend.ranks.size, len(x) * self.backend.ranks.size
        group = min(self.group_size or whole, whole)
        self.require(whole % group == 0, f"a batch of whole groups of {group}", f"{whole} samples")
        self.require(group % ranks == 0, f"groups of a multiple of {ranks} samples, as many as ranks", f"{group}")
        rows = x.reshape(group // ranks, -1)  # (G, M·K)
        (mean,) = be.all_mean(be.column_mean(rows))
        (var,) = be.all_mean(*be.column_means(squared_deviation, rows, mean))
        r = be.elementwise(std, var, eps=self.eps).reshape(-1, self.size).mean(axis=1)
        return self._appended(x, r), (rows, mean, be.elementwise(inverse_std, var, eps=self.eps))

    def _appended(self, x: Array, r: Array) -> Array:
        """x (N, …, C) with each group's value of r (M,) in one more channel"""
        y = self.backend.empty((len(x), *self.output_shape), x.dtype)  # type: ignore[misc]
        y[..., :-1] = x
        y.reshape(-1, len(r), math.prod(y.shape[1:-1]), y.shape[-1])[..., -1] = r.reshape(-1, 1)
        return y

    def _rate(self, dy: Array, rows: Array, inv_std: Array) -> Array:
        """e/(G K s), (M·K,)"""
        (e,) = self.backend.all_mean(dy[..., -1].reshape(len(rows), -1, math.prod(dy.shape[1:-1])).sum(axis=(0, 2)))
        of_value = self.backend.elementwise(product, inv_std.reshape(-1, self.size), e.reshape(-1, 1)).reshape(-1)
        return of_value / (len(rows) * self.size)

    def backward(
        self, dy: Array, cache: tuple[Array, Array, Array], grads: Grads | None = None, input_grad: bool = True
    ) -> Array | None:
        if not input_grad:
            return None
        rows, mean, inv_std = cache
        direct = dy[..., :-1].reshape(rows.shape)
        dx = self.backend.elementwise(along_deviation, direct, rows, mean, self._rate(dy, rows, inv_std))
        return dx.reshape(len(dy), *self.input_shape)  # type: ignore[misc]

    def tangent(self, x_dot: Array, cache: tuple[Array, Array, Array]) -> Array:
        (rows, mean, inv_std), be = cache, self.backend
        (t,) = be.all_mean(*be.column_means(deviation_product, x_dot.reshape(rows.shape), rows, mean))
        return self._appended(x_dot, be.elementwise(product, t, inv_std).reshape(-1, self.size).mean(axis=1))

    def curvature(self, x_dot: Array, dy: Array, cache: tuple[Array, Array, Array], grads: Grads | None = None) -> Array:
        (rows, mean, inv_std), be = cache, self.backend
        u, rate = x_dot.reshape(rows.shape), self._rate(dy, rows, inv_std)
        mean_u, t = be.all_mean(be.column_mean(u), *be.column_means(deviation_product, u, rows, mean))
        c = be.elementwise(std_curvature, u, rows, mean, mean_u, t, inv_std, rate)
        return c.reshape(x_dot.shape)
