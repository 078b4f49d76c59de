"""Penalties on the gradient of D in its input, and the gradient of a penalty in D's parameters, without a graph."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import partial
from typing import Any

from minigan.backends import Array, Backend
from minigan.layers.base import Grads
from minigan.layers.formulas import product
from minigan.losses.score import Score
from minigan.network import Sequential
from minigan.sizes import ignore_underflow, real

HEAVIEST = 1e30  # weight: in float32 its products with gradients of any use are still finite
MIXED = (
    " (or does not say cross_sample = False), so a penalty on D's slope also counts how each sample moves the scores of the "
    "others: take layers that mix none, as LayerNorm in place of BatchNorm"
)


class Penalty:
    """P(g), a function of g_n = ∂s_n/∂x_n at points x: a new one writes points and value_and_grad.

    Its gradient in D's parameters θ. P reaches θ through g alone, so with v = ∂P/∂g, held fixed, dP/dθ = ∂(v · g)/∂θ, and v · g
    is the derivative of Σ_n s_n along v: a tangent pass and its gradient (Sequential.curvature). No derivative of a backward
    pass is ever taken, and none of P's own second order.
    g is ∂(Σ_n s_n)/∂x, so that BatchNorm in D mixes the samples: then g_n also holds how x_n moves the other logits. A warning
    says so, once.
    batch: 0 if the points are the real images themselves, 1 if the generated ones; None if they are others.
    weight: a factor of P. Raises OptionError unless it is a number above 0 and up to 1e30.
    """

    batch: int | None = None

    def __init__(self, weight: float) -> None:
        expected = f"a number above 0 and up to {HEAVIEST:g}"
        self.weight = float(real(weight, f"{type(self).__name__}: weight", expected, lambda w: 0 < w <= HEAVIEST))

    def points(self, be: Backend, real: Array, fake: Array) -> Array:
        """x, at which g is taken, from the batches of real and of generated images."""
        raise NotImplementedError(f"{type(self).__name__} has no points")

    def value_and_grad(self, be: Backend, g: Array) -> tuple[Array, Array]:
        """P, a 0-d array, and v = ∂P/∂g for gradients g (N, K), one row a sample."""
        raise NotImplementedError(f"{type(self).__name__} has no value_and_grad")

    @ignore_underflow
    def add_grads(self, discriminator: Sequential, real: Array, fake: Array, grads: Grads, score: Score | None = None) -> Array:
        """P, a 0-d array; ∂P/∂θ is added to grads, whose names are those of discriminator.params.

        real, fake: batches (N, …) of one shape. score: of D's outputs, with the labels where there are some. Raises ModelError
        if a layer of D has no tangent or no curvature, ShapeError for images that D does not take or grads that lack a
        parameter.
        """
        net, be = discriminator, discriminator.backend
        if mixing := next((layer for layer in net.layers if layer.cross_sample), None):
            warnings.warn(f"{mixing.label} of D mixes the samples of a batch{MIXED}", stacklevel=3)
        net.check_grads(grads)
        x = self.points(be, real, fake)
        o, caches = net.forward(x, train=True)
        dys: list[Array] = []
        g = net.backward((score or Score(be)).upstream(o), caches, dys=dys)
        value, v = self.slope(be, g)
        own = net.empty_grads()
        net.curvature(v, caches, dys, own)
        net.add_grads(grads, own)
        return value

    def slope(self, be: Backend, g: Array) -> tuple[Array, Array]:
        """value_and_grad for g of the images' shape."""
        value, v = self.value_and_grad(be, g.reshape(len(g), -1))
        return value, v.reshape(g.shape)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.weight:g})"


@ignore_underflow
def backward_with_penalties(
    net: Sequential,
    batches: tuple[Array, Array],
    ds: Sequence[Array],
    caches: list[Any],
    penalties: Sequence[Penalty],
    grads: Grads,
    score: Score | None = None,
) -> Array:
    """net.backward_each(∂L/∂o, caches, grads) with all penalties' gradients added; returns their sum, a 0-d array.

    batches: real and generated images; ds: ∂L/∂s of each; caches: of their forward_each; score: s of both, from D's outputs o,
    by default s = o. Through a piecewise linear net, a penalty at one of the batches shares its backward pass and the products
    of its weight gradients with the loss.
    """
    be, score = net.backend, score or Score(net.backend)
    shared = [p for p in penalties if p.batch is not None] if net.piecewise_linear and net.watch is None else []
    values = []

    def along(g: Array, numbers: Sequence[int]) -> Array:
        """v for the batches of these numbers, which lie in g one after the other; zero where no penalty is."""
        v, count = be.xp.zeros_like(g), len(g) // len(numbers)
        for p in shared:
            if p.batch in numbers:
                rows = slice(numbers.index(p.batch) * count, (numbers.index(p.batch) + 1) * count)
                value, own = p.slope(be, g[rows])
                values.append(value)
                v[rows] += own
        return v

    if not shared:
        net.backward_each([score.backward(one) for one in ds], caches, grads=grads, input_grad=False)
    for index, cache in enumerate(caches if shared else ()):
        numbers, own = ((0, 1) if len(caches) == 1 else (index,)), (grads if index == 0 else net.empty_grads())
        dy, up = ds[index], score.upstream(ds[index])
        if len(caches) == 1:
            dy, up = be.concatenate(ds), be.concatenate([up, up])
        if any(p.batch in numbers for p in shared):
            net.backward_with_slope(dy, cache, partial(along, numbers=numbers), own, up)
        else:
            net.backward(score.backward(dy), cache, own, input_grad=False)
        if index:
            net.add_grads(grads, own)
    values += [p.add_grads(net, *batches, grads, score) for p in penalties if p not in shared]
    return sum(values[1:], start=values[0])


def squared_norms(be: Backend, g: Array) -> Array:
    """‖g_n‖² of each row (N, K): (N, 1)"""
    return be.elementwise(product, g, g).sum(axis=1, keepdims=True)


def distance_to_one(xp: Any, squares: Array) -> Array:
    """(‖g‖ − 1)²"""
    return (xp.sqrt(squares) - 1) ** 2


def toward_one(xp: Any, g: Array, squares: Array, rate: float, tiny: float) -> Array:
    """rate · (1 − 1/‖g‖) g, which is 0 for g = 0"""
    return rate * (g - g / xp.sqrt(xp.maximum(squares, tiny)))


class UnitNorm(Penalty):
    """P = w/N Σ_n (‖g_n‖ − 1)², which wants the slope of D to be 1.

    Its derivative: ∂‖g‖/∂g = g/‖g‖, so v_n = ∂P/∂g_n = 2w/N (‖g_n‖ − 1) g_n/‖g_n‖ = 2w/N (1 − 1/‖g_n‖) g_n. At g_n = 0 the norm
    has no derivative, and v_n = 0 is taken, as for |x|.
    """

    def value_and_grad(self, be: Backend, g: Array) -> tuple[Array, Array]:
        squares = squared_norms(be, g)
        (mean,) = be.means(distance_to_one, squares)
        tiny = float(be.xp.finfo(g.dtype).tiny)
        return self.weight * mean, be.elementwise(toward_one, g, squares, rate=2 * self.weight / len(g), tiny=tiny)
