"""Where a layer stands in the step: its network, and the passes that reach it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from minigan.checks.entries import Comparison
from minigan.explain.step import Pass, Update
from minigan.layers import Layer
from minigan.network import Sequential


@dataclass
class Way:
    """Passes of one network that are walked through together, by branch ("" where there is one).

    net: the network's letter. loss: the name of the loss whose gradient comes back through them. params: as the passes saw
    them. update: that of the network, where its gradients are made in these passes; None: they only pass the gradient on.
    takes_samples, makes_samples: whether what comes to the first layer, or leaves the last one, is what samples are.
    """

    net: str
    passes: Mapping[str, Pass]
    loss: str = ""
    params: Mapping[str, np.ndarray] = field(default_factory=dict)
    update: Update | None = None
    takes_samples: bool = False
    makes_samples: bool = False

    @property
    def network(self) -> Sequential:
        return next(iter(self.passes.values())).net

    def __len__(self) -> int:
        """How many layers it has."""
        return len(self.network.layers)


@dataclass
class Place:
    """A layer on a way, by its index."""

    way: Way
    index: int

    @property
    def net(self) -> str:
        return self.way.net

    @property
    def passes(self) -> Mapping[str, Pass]:
        return self.way.passes

    @property
    def layer(self) -> Layer:
        return self.way.network.layers[self.index]

    @property
    def is_last(self) -> bool:
        return self.index == len(self.way) - 1

    @property
    def input_is_sample(self) -> bool:
        return self.way.takes_samples and self.index == 0

    @property
    def output_is_sample(self) -> bool:
        return self.way.makes_samples and self.is_last

    def weights(self) -> dict[str, np.ndarray]:
        """The layer's parameters as the passes saw them."""
        return {name: self.way.params[f"{self.index}.{name}"] for name in self.layer.parameters}

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

    def checks(self) -> dict[str, list[Comparison]]:
        """Of the gradient at the layer's output."""
        return {b: p.checks[self.index] for b, p in self.passes.items()}

    def input_checks(self) -> dict[str, list[Comparison]]:
        """Of the gradient at its input."""
        return {b: p.checks[self.index - 1] if self.index else p.input_checks for b, p in self.passes.items()}
