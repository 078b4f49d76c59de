"""Watching a network: every pass that it makes, written down on the host."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigan.backends import Array
from minigan.explain.step.records import Pass, SecondOrder
from minigan.layers import Layer
from minigan.network import Sequential


class Recorder:
    """A watcher, to be set as net.watch, that keeps the network's passes in the order in which they began."""

    def __init__(self, net: Sequential) -> None:
        self.net = net
        self.passes: list[Pass] = []
        self._pass: Pass  # the one under way

    def __call__(self, layer: Layer | None, what: str, value: Any) -> None:
        if layer is None:
            self._begin(what, *value)
        elif "curvature" in what or what == "tangent":
            self._second_order(layer, what, self._copy(value))
        elif what == "cache" and layer is self.net.layers[-1]:
            self._pass.state = {name: self._copy(array) for name, array in self.net.state.items()}
        elif what == "output":
            self._pass.outputs.append(self._copy(value))
            self._pass.output_grads.append(None)
        elif what == "input gradient" and layer.index:
            self._pass.output_grads[layer.index - 1] = self._copy(value)
        elif what == "input gradient":
            self._pass.input_grad = self._copy(value)
        elif what.startswith("gradient of "):
            self._pass.param_grads[f"{layer.index}.{what.removeprefix('gradient of ')}"] = self._copy(value)

    def _begin(self, what: str, array: Array, caches: list[Any]) -> None:
        """A forward pass of array = x, or what belongs to these caches: the backward pass of dy, or curvature's sweeps of ẋ."""
        if what == "forward":
            grads = {name: self._copy(grad) for name, grad in self.net.grads.items()}
            self._pass = Pass(self.net, self._copy(array), caches, grads, self.net.random_state)
            self.passes.append(self._pass)
        else:
            self._pass = next(record for record in self.passes if record.caches is caches)
            if what == "backward":
                self._pass.output_grads[-1] = self._copy(array)
            else:
                none: list[np.ndarray | None] = [None] * len(caches)
                self._pass.second = SecondOrder(self._copy(array), [*none], [*none], [*none])
                self._last_tangent(0, self._pass.second.v)

    def _second_order(self, layer: Layer, what: str, array: np.ndarray) -> None:
        second, (kind, _, name) = self._pass.second, what.partition(" of ")
        assert second is not None
        if name:
            key = f"{layer.index}.{name}"
            second.param_grads[key] = array
            if kind == "curvature":
                second.own_grads[key] = array
        else:
            of_layer = {"tangent": second.tangents, "curvature": second.curvatures, "whole curvature": second.swept}[kind]
            of_layer[layer.index] = array
            if kind == "tangent":
                self._last_tangent(layer.index + 1, array)

    def _last_tangent(self, index: int, x_dot: np.ndarray) -> None:
        """ẏ of the last layer, which no sweep needs: how the logits change along v. index: the layer that x_dot comes to."""
        if index == len(self.net.layers) - 1:
            layer, second = self.net.layers[index], self._pass.second
            assert second is not None
            second.tangents[index] = self._copy(layer.tangent(self.net.backend.asarray(x_dot), self._pass.caches[index]))

    def _copy(self, array: Array) -> np.ndarray:
        return self.net.backend.to_numpy(array).copy()
