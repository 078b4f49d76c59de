"""SpectralNorm: a linear layer whose weight is divided by its largest singular value."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from minigan.backends import Array, Backend
from minigan.errors import OptionError, shorten
from minigan.layers.base import Grads, Shape
from minigan.layers.composite import Composite
from minigan.layers.formulas import product
from minigan.layers.linear import Linear
from minigan.sizes import positive_int, real

WARM_UP = 15  # iterations on the initial weight


def unit(xp: Any, x: Array, squares: Array, eps: float) -> Array:
    """x / max(‖x‖, ε)"""
    return x / xp.maximum(xp.sqrt(squares), eps)


def quotient(xp: Any, x: Array, sigma: Array) -> Array:
    """x / σ"""
    return x / sigma


def quotient_and_bias(xp: Any, x: Array, sigma: Array, bias: Array) -> Array:
    """x / σ + b"""
    return x / sigma + bias


def without_growth(xp: Any, g: Array, slope: Array, sigma: Array, u: Array, v: Array) -> Array:
    """g − slope/σ u vᵀ"""
    return g - slope / sigma * u * v


def _sum(be: Backend, x: Array, y: Array, shape: Shape) -> Array:
    """Σ x y over the axes along which `shape` is 1, which stay"""
    axes = tuple(axis for axis, size in enumerate(shape) if size == 1)
    return be.elementwise(product, x, y).sum(axis=axes, keepdims=True)


def _unit(be: Backend, x: Array, eps: float) -> Array:
    return be.elementwise(unit, x, _sum(be, x, x, (1,) * x.ndim), eps=eps)


def iterate(be: Backend, w: Array, u: Array, v: Array, count: int, eps: float) -> tuple[Array, Array]:
    """(u, v) in new arrays of norm 1, after so many power iterations u ← W v / ‖W v‖, v ← Wᵀ u / ‖Wᵀ u‖."""
    u, v = _unit(be, u, eps), _unit(be, v, eps)
    for _ in range(count):
        u = _unit(be, _sum(be, w, v, u.shape), eps)
        v = _unit(be, _sum(be, w, u, v.shape), eps)
    return u, v


class SpectralNorm(Composite):
    """A Dense, Conv2d or ConvTranspose2d with W̄ = W/σ in place of its weight, σ the largest singular value: y = A_W x/σ + b.

    W counts as a matrix with a row for each output (channel), as in PyTorch. Parameters: the layer's own, by their own names;
    W is what is learned. State: u and v, singular vectors of W by power iteration, in shapes that broadcast against W. W v is
    then the sum of W·v over all axes but that of the outputs, and Wᵀ u the sum of W·u over that one.
        training:   `iterations` times  u ← W v/‖W v‖, v ← Wᵀ u/‖Wᵀ u‖, in every forward pass, and σ = uᵀ W v
        inference:  u and v stay where they are, and σ = uᵀ W v with W as it is now
    At first u and v come of 15 iterations on the initial W. W changes little from step to step, so one is enough then.
    Backward, with u and v held fixed, which for singular vectors changes nothing: u moves at right angles to itself, and W v is
    along u. σ = Σ u_k W_kl v_l, so ∂σ/∂W = u vᵀ. y depends on W by two paths. With G = ∂⟨A_W x, dy⟩/∂W:
        dx = A_Wᵀ (dy/σ),  db as the layer makes it
        through A_W:  G/σ
        through σ:    ∂L/∂σ u vᵀ,  ∂L/∂σ = −⟨dy, A_W x⟩/σ² = −⟨G, W⟩/σ², for A_W x is linear in W: ⟨A_W x, dy⟩ = ⟨W, G⟩
        dW = (G − ⟨G, W̄⟩ u vᵀ)/σ: what would only make W larger is taken out, for W̄ does not feel it
    Tangent: ẏ = A_W ẋ/σ. Curvature: Q = ⟨dy, A_W ẋ⟩/σ depends on W as L does on it, with ẋ for x:
        ∂Q/∂W = (G′ − ⟨G′, W̄⟩ u vᵀ)/σ with G′ = ∂⟨A_W ẋ, dy⟩/∂W,  ∂Q/∂b = 0,  ∂Q/∂x = 0
    Undefined for W = 0. eps: least ‖·‖ that a power iteration divides by. Raises OptionError for a layer without a weight.
    Source: Miyato et al. 2018 (arXiv:1802.05957), sections 2.1 to 2.3 and algorithm 1.
    """

    u: Array
    v: Array

    def __init__(self, layer: Linear, *, iterations: int = 1, eps: float = 1e-12) -> None:
        if not isinstance(layer, Linear) or type(layer).weight_grad is Linear.weight_grad:
            raise OptionError(f"SpectralNorm: layer is {shorten(layer)}: expected a Dense, a Conv2d or a ConvTranspose2d")
        super().__init__([layer], [""], layer=layer, iterations=iterations, eps=eps)
        self.iterations = positive_int(iterations, "SpectralNorm: iterations")
        self.eps = real(eps, "SpectralNorm: eps", "a number above 0", lambda e: e > 0)

    def build(self, input_shape: Shape) -> Shape:
        output_shape = self.build_within(0, input_shape)
        spec, rng = self.parameters["weight"], np.random.default_rng(0)
        out = self.linear.out_axis % len(spec.shape)
        u = rng.standard_normal([size if axis == out else 1 for axis, size in enumerate(spec.shape)])
        v = rng.standard_normal([1 if axis == out else size for axis, size in enumerate(spec.shape)])

        def init(rng: np.random.Generator, shape: Shape, fan_in: int, fan_out: int) -> np.ndarray:
            """The layer's own; u and v, which the network takes over afterwards, are made to fit it."""
            w = spec.init(rng, shape, fan_in, fan_out)
            u[...], v[...] = iterate(Backend(), w, u, v, WARM_UP, self.eps)
            return w

        self.parameters["weight"] = replace(spec, init=init)
        self.add_state("u", u)
        self.add_state("v", v)
        return output_shape

    @property
    def linear(self) -> Linear:
        return self.layers[0]  # type: ignore[return-value]

    def hold_state(self) -> None:
        self.iterations = 0

    def forward(self, x: Array, train: bool = False) -> tuple[Array, tuple[Array, ...]]:
        be, linear, w = self.backend, self.linear, self.linear.weight
        u, v = iterate(be, w, self.u, self.v, self.iterations if train else 0, self.eps)
        if train and self.iterations:
            be.store(u, self.u)
            be.store(v, self.v)
        if train:
            x = be.operand(x)  # the backward pass multiplies by it again
        sigma = _sum(be, _sum(be, w, v, u.shape), u, (1,) * w.ndim)
        bias = (linear.bias,) if linear.has_bias else ()
        y = be.elementwise(quotient_and_bias if bias else quotient, linear.apply(x), sigma, *bias)
        return y, (x, u, v, sigma)

    def backward(
        self, dy: Array, cache: tuple[Array, ...], grads: Grads | None = None, input_grad: bool = True
    ) -> Array | None:
        be, (x, *_, sigma) = self.backend, cache
        share = be.operand(be.elementwise(quotient, dy, sigma))
        if grads is not None:
            self._weight_grad(x, share, cache, grads)
            if self.linear.has_bias:
                be.column_sum(dy, out=grads["bias"])
        return self.linear.transpose(share) if input_grad else None

    def _weight_grad(self, x: Array, share: Array, cache: tuple[Array, ...], grads: Grads) -> None:
        """dW = G/σ − ⟨G/σ, W⟩/σ u vᵀ, for the share dy/σ of dy"""
        be, (_, u, v, sigma), g = self.backend, cache, grads["weight"]
        self.linear.weight_grad(x, share, out=g)
        slope = _sum(be, g, self.linear.weight, sigma.shape)
        be.store(be.elementwise(without_growth, g, slope, sigma, u, v), g)

    def tangent(self, x_dot: Array, cache: tuple[Array, ...]) -> Array:
        return self.backend.elementwise(quotient, self.linear.apply(x_dot), cache[-1])

    def curvature(self, x_dot: Array, dy: Array, cache: tuple[Array, ...], grads: Grads | None = None) -> None:
        if grads is not None:
            self._weight_grad(x_dot, self.backend.elementwise(quotient, dy, cache[-1]), cache, grads)
            if self.linear.has_bias:
                grads["bias"][...] = 0
