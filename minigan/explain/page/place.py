"""Where a layer stands in the step: its network, and the passes that reach it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from minigan.checks.entries import Comparison
from minigan.explain.step import Pass
from minigan.layers import Layer


@dataclass
class Place:
    """A layer by its network's letter and its index, and the passes that reach it by branch ("" where there is one)."""

    net: str
    passes: Mapping[str, Pass]
    index: int

    @property
    def layer(self) -> Layer:
        return next(iter(self.passes.values())).net.layers[self.index]

    @property
    def is_last(self) -> bool:
        return self.index == len(next(iter(self.passes.values())).net.layers) - 1

    def inputs(self) -> dict[str, np.ndarray]:
        return {b: p.outputs[self.index - 1] if self.index else p.x for b, p in self.passes.items()}

    def outputs(self) -> dict[str, np.ndarray]:
        return {b: p.outputs[self.index] for b, p in self.passes.items()}

    def output_grads(self) -> dict[str, np.ndarray]:
        return {b: g for b, p in self.passes.items() if (g := p.output_grads[self.index]) is not None}

    def input_grads(self) -> dict[str, np.ndarray]:
        found = {b: p.output_grads[self.index - 1] if self.index else p.input_grad for b, p in self.passes.items()}
        return {b: g for b, g in found.items() if g is not None}

    def learned(self) -> list[str]:
        """The layer's parameters whose gradients were made in these passes."""
        one = next(iter(self.passes.values()))
        return [name for name in self.layer.parameters if f"{self.index}.{name}" in one.param_grads]

    def checks(self, index: int) -> dict[str, list[Comparison]]:
        """Of the gradient at the output of the layer at index."""
        return {b: p.checks[index] for b, p in self.passes.items()}
