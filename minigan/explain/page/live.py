"""The plane alive: what the page needs to run D itself, so that its landscape and G's arrows follow what the reader moves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from minigan.explain.history import Moment
from minigan.explain.page.arrays import Arrays
from minigan.explain.step import OpenedGAN
from minigan.layers import Dense, Flatten, LeakyReLU, ReLU, Sigmoid, Softplus, Tanh
from minigan.layers.elementwise import sigmoid
from minigan.losses import Hinge, LeastSquares, NonSaturating, Saturating, Wasserstein
from minigan.network import Sequential

MOST_PARAMETERS = 20_000  # of D: the landscape is 2,304 passes, and a page must not stall
LAYERS = (Dense, Flatten, LeakyReLU, ReLU, Sigmoid, Softplus, Tanh)  # that the page's script knows
SLOPES: Mapping[type, Callable[[np.ndarray], np.ndarray]] = {  # N ∂L_G/∂s of each sample, as the script has it too
    NonSaturating: lambda s: -sigmoid(np, -s),
    Saturating: lambda s: -sigmoid(np, s),
    LeastSquares: lambda s: s - 1,
    Hinge: lambda s: -np.ones_like(s),
    Wasserstein: lambda s: -np.ones_like(s),
}


class Live:
    """D as the page runs it. Where `of` gives None, the page shows the plane as the step left it.

    objective: its name, by which the script knows the slope.
    """

    def __init__(self, net: Sequential, objective: str, arrays: Arrays) -> None:
        self.net, self.objective, self.arrays = net, objective, arrays

    @classmethod
    def of(cls, step: OpenedGAN, arrays: Arrays) -> Live | None:
        """None where D or the objective is none that the script knows, or D is too large."""
        net, objective = step.judged.net, type(getattr(step.game, "objective", None))
        slope = SLOPES.get(objective)
        simple = all(type(layer) in LAYERS for layer in net.layers) and net.input_shape == (2,) and net.output_shape == (1,)
        if not simple or net.num_params > MOST_PARAMETERS or slope is None or step.judged.ds is None:
            return None
        wanted = slope(step.judged.s) / len(step.judged.s)
        return cls(net, objective.__name__, arrays) if np.allclose(wanted, step.judged.ds, rtol=1e-9, atol=1e-12) else None

    def network(self) -> dict[str, Any]:
        layers = [
            {"kind": layer.name, **({"slope": layer.options["slope"]} if isinstance(layer, LeakyReLU) else {})}
            for layer in self.net.layers
        ]
        return {"layers": layers, "objective": self.objective}

    def params(self, values: Mapping[str, np.ndarray]) -> list[list[int]]:
        """The numbers of the arrays of every layer, the weight and then the bias, in a list for each layer."""
        return [
            [self.arrays.add(values[f"{layer.index}.{name}"]) for name in ("weight", "bias") if name in layer.params]
            for layer in self.net.layers
        ]

    def moments(self, moments: Sequence[Moment]) -> list[dict[str, Any]]:
        """D and what G made, before the step that is opened."""
        kept = [moment for moment in moments if moment.points is not None and "discriminator" in moment.weights]
        return [
            {"step": m.step, "params": self.params(m.weights["discriminator"]), "points": self.arrays.add(np.asarray(m.points))}
            for m in kept[:-1]  # the last is the opened step
        ]
