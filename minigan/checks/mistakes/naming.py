"""The explanations from the simplest on, and the one that is reported."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import numpy as np

from minigan.backends import Array
from minigan.checks.mistakes import flows, passes, paths, sums, whole
from minigan.checks.mistakes.evidence import Explanation, Gradient, Trial
from minigan.checks.report import Mistake
from minigan.network import Sequential

Explain = Callable[[Trial, Gradient], Explanation | None]

# From the simplest on. All of one line are equally simple: if two of them fit with different mistakes, both are reported.
EXPLANATIONS: list[tuple[Explain, ...]] = [
    (passes.not_overwritten,),
    (passes.single_precision,),
    (whole.zero, whole.sign, whole.constant_factor),
    (whole.exchanged, whole.transposed, whole.flipped, passes.turned_parameter, passes.x_for_y, passes.train_forgotten),
    (passes.changed_in_between,),
    (whole.array_factor, paths.statistics_held),
    (sums.summed_too_much, sums.one_addend, sums.summed_too_little),
    (whole.factor_within, paths.path_left_out, flows.derivative_left_out),
    (whole.factor_for_each,),
    (sums.own_share,),
    (paths.path_with_factor, paths.mean_over_other_axes),
    (sums.one_of_several,),
]


def name_mistakes(net: Sequential, x: Array, train: bool, tolerance: float) -> list[Mistake]:
    """Each wrong gradient of each layer of the network, with the mistake that it shows; nothing where none fits.

    Every layer is tried alone, on what the layers below make of x: its mistake shows there, and not that of another. A layer
    that cannot run once more, whatever the reason, gets no explanation.
    """
    first, found, right, random_state = x, [], True, net.random_state
    with np.errstate(all="ignore"), suppress(Exception):
        for index, layer in enumerate(net.layers):
            trial = Trial(net, layer, x, train, tolerance)
            right = right and not trial.wrong
            for gradient in trial.wrong:
                where = f"{index}.{gradient.name}" if gradient.name != "x" else f"x of {layer.label}" if index else "x"
                if explanation := explain(trial, gradient):
                    found.append(Mistake(explanation.kind, where, explanation.words))
            x = trial.forward()[0]
            net.random_state = random_state
        return written_in_place(net, first, train) if right else found
    return found


def explain(trial: Trial, gradient: Gradient) -> Explanation | None:
    """The simplest explanation that fits; of two that are equally simple, both in one.

    A gradient that is 0 on these samples alone, as where a ReLU lets none of them through, is explained on others.
    """
    if not gradient.analytic.any() and (other := trial.redrawn(gradient.name)):
        trial, gradient = other, other.gradients[gradient.name]
    for equally_simple in EXPLANATIONS:
        fitting = {e.kind: e for function in equally_simple if (e := function(trial, gradient))}
        if fitting:
            either = list(fitting.values())
            return Explanation(" or ".join(e.kind for e in either), "; or else ".join(e.words for e in either))
    return None


def written_in_place(net: Sequential, x: Array, train: bool) -> list[Mistake]:
    """Layers whose forward writes into x, where all layers are right as long as each has a copy of its own."""
    found, x = [], x.copy()
    for index, layer in enumerate(net.layers):
        given = x.copy()
        y, _ = layer.forward(x, train)
        if not bool((given == x).all()):
            whose = f", which {net.layers[index - 1].label} may keep in its cache" if index else ""
            words = f"forward writes into its x{whose}: right as soon as it writes to a new array"
            found.append(Mistake("cache", f"x of {layer.label}" if index else "x", words))
        x = y
    return found
