"""Watching a network: every pass that it makes, written down on the host."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigan.backends import Array
from minigan.explain.step.records import Pass
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
        """A forward pass of array = x, or the backward pass of array = dy that belongs to these caches."""
        if what == "forward":
            grads = {name: self._copy(grad) for name, grad in self.net.grads.items()}
            self._pass = Pass(self.net, self._copy(array), caches, grads, self.net.random_state)
            self.passes.append(self._pass)
        else:
            self._pass = next(record for record in self.passes if record.caches is caches)
            self._pass.output_grads[-1] = self._copy(array)

    def _copy(self, array: Array) -> np.ndarray:
        return self.net.backend.to_numpy(array).copy()
