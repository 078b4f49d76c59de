"""Layers made of layers: how parameters, state and random streams reach those within, and the chain rule through them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from minigan.backends import Array, Backend, Generator
from minigan.errors import OptionError, shorten
from minigan.layers.base import Grads, Layer, Shape
from minigan.layers.formulas import add


def sweep_curvature(
    layers: Sequence[Layer],
    x_dot: Array,
    caches: Sequence[Any],
    dys: Sequence[Array],
    grads: Sequence[Any],
    lowest: int,
    input_grad: bool,
    show: Callable[[Layer, str, Array], None] = lambda *_: None,
) -> Array | None:
    """∂Q/∂x of Q = dy · ẏ through layers in a row, each layer's ∂Q/∂θ written to its grads: see Sequential.curvature.

    dys: dy of each layer. input_grad=False saves the product that makes ∂Q/∂x below the layer `lowest`, where the sweep ends.
    show: called with what the sweeps make, as Sequential.watch is.
    """
    be, x_dots, above = layers[-1].backend, [x_dot], None
    for layer, cache in zip(layers[:-1], caches, strict=False):
        x_dots.append(layer.tangent(x_dots[-1], cache))
        show(layer, "tangent", x_dots[-1])
    for index in reversed(range(lowest, len(layers))):
        layer, cache, own = layers[index], caches[index], grads[index]
        c = layer.curvature(x_dots[index], dys[index], cache, own)
        for name, grad in (own or {}).items():
            show(layer, f"curvature of {name}", grad)
        if c is not None:
            show(layer, "curvature", c)
        if above is not None:
            through = None if own is None else {name: be.empty(grad.shape, grad.dtype) for name, grad in own.items()}
            above = layer.backward(above, cache, through, input_grad or index > lowest)
            for name, grad in (through or {}).items():
                be.elementwise_update(add, (own[name],), grad)
                show(layer, f"whole curvature of {name}", own[name])
        above = c if above is None else above if c is None else above + c
        if above is not None:
            show(layer, "whole curvature", above)
    return above


class Composite(Layer):
    """A layer made of others, whose parameters and state are its own, by names with a prefix for each: "0.weight".

    A composite builds each by build_within(number, input shape), and hands it grads by grads_within(grads)[number].
    """

    def __init__(self, layers: Sequence[Layer], prefixes: Sequence[str], /, **options: Any) -> None:
        super().__init__(**options)
        for layer in layers:
            if not isinstance(layer, Layer):
                raise OptionError(f"{self.name} holds {shorten(layer)}: expected a layer, as minigan.Dense(10)")
        self.layers, self.prefixes = list(layers), list(prefixes)
        self.random = any(layer.random for layer in layers)
        self.cross_sample = any(layer.cross_sample for layer in layers)

    def build_within(self, number: int, input_shape: Shape) -> Shape:
        layer, prefix = self.layers[number], self.prefixes[number]
        shape = layer.place(f"{self.index}.{prefix}".rstrip("."), input_shape)
        self.parameters |= {prefix + name: spec for name, spec in layer.parameters.items()}
        self.initial_state |= {prefix + name: value for name, value in layer.initial_state.items()}
        self.least_batch = max(self.least_batch, layer.least_batch)
        return shape

    def bind(self, backend: Backend, params: dict[str, Array], state: dict[str, Array], rng: Generator | None) -> None:
        super().bind(backend, params, state, rng)
        for layer, own, kept in zip(self.layers, self.grads_within(params), self._within(state, "initial_state"), strict=True):
            layer.bind(backend, own or {}, kept, rng)

    def grads_within(self, grads: Grads | None) -> list[dict[str, Array] | None]:
        return [None] * len(self.layers) if grads is None else list(self._within(grads, "parameters"))

    def _within(self, arrays: Mapping[str, Array], declared: str) -> list[dict[str, Array]]:
        """Each layer's own of these arrays, by its own names."""
        parts = zip(self.layers, self.prefixes, strict=True)
        return [{name: arrays[prefix + name] for name in getattr(layer, declared)} for layer, prefix in parts]

    def fresh(self) -> Any:
        twin = super().fresh()
        twin.layers = [layer.fresh() for layer in self.layers]
        twin.options = {
            name: twin.layers[0] if isinstance(value, Layer) else twin.layers if isinstance(value, list) else value
            for name, value in self.options.items()
        }
        return twin
