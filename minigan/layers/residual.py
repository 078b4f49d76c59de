"""Residual: layers beside a path that leads straight through."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minigan.backends import Array
from minigan.errors import OptionError, shorten
from minigan.layers.base import Grads, Layer, Shape
from minigan.layers.composite import Composite, sweep_curvature
from minigan.layers.formulas import scaled
from minigan.sizes import real


def added(xp: Any, x: Array, fx: Array, scale: float) -> Array:
    """x + a f(x)"""
    return x + scale * fx


class Residual(Composite):
    """y = x + a f(x), with f = f_K(… f_2(f_1(x))) made of any layers, and a = scale.

    x: any shape, which f must keep. Parameters and state: those of the layers, by names such as "0.weight".
    Backward: L reaches x by two paths, straight and through f, and f by y alone, with ∂y/∂f = a. With g = a dy,
        dx = dy + (∂f/∂x)ᵀ g, which is f's backward pass from g, and that also makes the layers' gradients
    The first path brings all of dy to the layers below, however many blocks there are: that is what it is for.
    Tangent: ẏ = ẋ + a (∂f/∂x) ẋ.
    Curvature: Q = dy · ẋ + g · (∂f/∂x) ẋ. The first term depends on neither x nor θ, so ∂Q/∂θ and c are those of f from g, by
    the same three sweeps as in a network (Sequential.curvature). The ∂(g · f)/∂f_k that they need are those of f's backward
    pass from g, which is made again. c = None where all layers are linear, or linear piece by piece.
    Raises ShapeError, naming both shapes, if f changes the shape; OptionError without layers or if scale is not finite.
    Source: He et al. 2016 (arXiv:1603.05027), equation 1; with a = 0.3 in GANs, Gulrajani et al. 2017 (arXiv:1704.00028).
    """

    def __init__(self, layers: Sequence[Layer], scale: float = 1.0) -> None:
        if not isinstance(layers, (list, tuple)) or not layers:
            raise OptionError(f"Residual: layers is {shorten(layers)}: expected a list of at least one layer")
        super().__init__(layers, [f"{number}." for number in range(len(layers))], layers=list(layers), scale=scale)
        self.scale = real(scale, "Residual: scale", "a finite number")

    def build(self, input_shape: Shape) -> Shape:
        shape = input_shape
        for number in range(len(self.layers)):
            shape = self.build_within(number, shape)
        self.require(shape == input_shape, f"layers that lead back to the shape of its input, {input_shape}", shape)
        return shape

    def forward(self, x: Array, train: bool = False) -> tuple[Array, list[Any]]:
        fx, caches = x, []
        for layer in self.layers:
            layer.require(fx.shape[1:] == layer.input_shape, f"{layer.input_shape}", f"{fx.shape[1:]} from the layer before it")
            fx, cache = layer.forward(fx, train)
            caches.append(cache)
        self.require(fx.shape == x.shape, f"{self.input_shape}", f"{fx.shape[1:]} from the last of its layers")
        return self.backend.elementwise(added, x, fx, scale=self.scale), caches

    def backward(self, dy: Array, cache: list[Any], grads: Grads | None = None, input_grad: bool = True) -> Array | None:
        *_, last = self._gradients(dy, cache, grads, input_grad)
        return self.backend.elementwise(added, dy, last, scale=1.0) if input_grad else None

    def _gradients(self, dy: Array, cache: list[Any], grads: Grads | None, input_grad: bool = True) -> list[Any]:
        """g = a dy, then ∂L/∂(input) of each layer, from the last to the first; the last entry is (∂f/∂x)ᵀ g."""
        found, own = [self.backend.elementwise(scaled, dy, scale=self.scale)], self.grads_within(grads)
        for number in reversed(range(len(self.layers))):
            wanted = input_grad or number > 0
            found.append(self.layers[number].backward(found[-1], cache[number], own[number], wanted))
        return found

    def tangent(self, x_dot: Array, cache: list[Any]) -> Array:
        through = x_dot
        for layer, of_layer in zip(self.layers, cache, strict=True):
            through = layer.tangent(through, of_layer)
        return self.backend.elementwise(added, x_dot, through, scale=self.scale)

    def curvature(self, x_dot: Array, dy: Array, cache: list[Any], grads: Grads | None = None) -> Array | None:
        dys = self._gradients(dy, cache, None, input_grad=False)[-2::-1]
        return sweep_curvature(self.layers, x_dot, cache, dys, self.grads_within(grads), 0, True)

    def branch_signature(self, cache: list[Any]) -> Array | None:
        signatures = (layer.branch_signature(of_layer) for layer, of_layer in zip(self.layers, cache, strict=True))
        found = [signature.reshape(-1) for signature in signatures if signature is not None]
        return self.backend.xp.concatenate(found) if found else None
