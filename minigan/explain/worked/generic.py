"""Worked examples of layers and objectives for which none is written by hand: small random numbers, and some entries nudged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from minigan.explain.places import choose_places
from minigan.explain.worked.calculator import Working, at
from minigan.explain.worked.registry import EXAMPLES, Example
from minigan.explain.worked.running import run_layer, run_objective, show_backward
from minigan.layers import Layer
from minigan.losses import Objective

BATCH = 3  # the sentence below says so
ROOM = 8  # rows and columns of a table
NUDGED = 3  # entries of each gradient
STEPS = (1.0, 0.5, 0.25, 0.1, 0.05, 0.01)  # between the values of x: the first that keeps them below LARGEST
LARGEST = 9.0


def add_layers(table: Iterable[tuple[Callable[[], Layer], Sequence[int]]]) -> None:
    """Register an example for each layer of a table of (maker, input shape) that has none yet."""
    for make, shape in table:
        subject = type(make())
        if subject.__name__ not in EXAMPLES:
            EXAMPLES[subject.__name__] = (subject, _layer_example(make, tuple(shape)))


def add_objectives(table: Iterable[type[Objective]]) -> None:
    """Register an example for each objective that has none yet."""
    for subject in table:
        if subject.__name__ not in EXAMPLES:
            EXAMPLES[subject.__name__] = (subject, _objective_example(subject))


def _layer_example(make: Callable[[], Layer], shape: tuple[int, ...]) -> Example:
    def write(page: Working) -> None:
        layer, rng = make(), np.random.default_rng(0)
        page.write(f"{layer!r} on three samples of shape {shape}, all numbers drawn at random.")
        draft = layer.fresh()
        output_shape = draft.build(shape)
        parameters = {name: _halves(rng, spec.shape) for name, spec in draft.parameters.items()}
        run_layer(page, layer, _apart(rng, (BATCH, *shape)), _halves(rng, (BATCH, *output_shape)), parameters)
        page.show(*(_window(page, name) for name in ("x", *parameters, "y")))
        show_backward(page, *(_window(page, name) for name in ("dy", "dx", *(f"d{name}" for name in parameters))))
        nudge_some(page, rng, "dx", *(f"d{name}" for name in parameters))

    return write


def _objective_example(subject: type[Objective]) -> Example:
    def write(page: Working) -> None:
        rng = np.random.default_rng(0)
        page.write("The logits of three real and of three generated samples:")
        logits = {name: 0.7 * _apart(rng, (BATCH, 1)) for name in ("s_real", "s_fake")}  # not whole numbers, where hinges bend
        run_objective(page, subject(), "discriminator", logits, "_D")
        page.show("s_real", "s_fake")
        # A generator's loss may depend on the real logits; it has no gradient for them, as they are none of its doing.
        inputs = {"s_fake": page.values["s_fake"]}
        run_objective(page, subject(), "generator", inputs, "_G", s_real=page.values["s_real"].copy())
        page.write("The losses of both players, and their gradients:")
        page.show("L_D", "ds_real_D", "ds_fake_D", "L_G", "ds_fake_G")
        nudge_some(page, rng, "ds_real_D", "ds_fake_D", "ds_fake_G")

    return write


def nudge_some(page: Working, rng: np.random.Generator, *gradients: str) -> None:
    for name in gradients:
        page.nudged += [f"{name}{at(place)}" for place in choose_places(page.values[name], NUDGED, rng)]


def _apart(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Values no two of which are equal and none of which is 0: no nudge turns the order of two, or a sign."""
    count = int(np.prod(shape))
    ranks = np.concatenate([-np.arange(1, count // 2 + 1), np.arange(1, count - count // 2 + 1)])
    step = next((step for step in STEPS if step * count / 2 <= LARGEST), STEPS[-1])
    return step * rng.permutation(ranks).reshape(shape)


def _halves(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Multiples of ½ between −2 and 2, none of them 0."""
    return rng.choice([-1.0, 1.0], shape) * rng.integers(1, 5, shape) / 2


def _window(page: Working, name: str) -> str:
    """The name of the part of an array that a table has room for, which the page now knows."""
    array = page.values[name]
    lead = 1 if array.ndim > 2 and name in ("x", "y", "dy", "dx") else 0  # of the samples' arrays: the first sample
    axes = range(lead, min(lead + 2, array.ndim))
    index = [slice(ROOM) if axis in axes else 0 for axis in range(array.ndim)]
    if array.ndim <= 2 and max(array.shape, default=0) <= ROOM:
        return name
    words = [str(k) if isinstance(k, int) else f":{ROOM}" if array.shape[a] > ROOM else ":" for a, k in enumerate(index)]
    title = f"{name}[{','.join(words)}]"
    page.values[title] = array[tuple(index)]
    return title
