"""Whether a derivative that came out wrong was compared with a difference across a kink, where neither is to be trusted."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from minigan.backends import Array, Backend, stream
from minigan.checks.gradients import moved_network
from minigan.checks.report import Row
from minigan.layers import Layer

WIDE, NARROW = 1e-3, 1e-5  # steps; that of a check is the wide one, where no branch signature forbids it
UNEQUAL = 1e-3  # of slopes, relative: those of a smooth function agree far better over such steps


def crosses_kink(layer: Layer, input_shape: Sequence[int], row: Row, train: bool, backend: Backend, batch: int = 3) -> bool:
    """True if the formula has a kink at the worst entry of a row of check_layer, or within the step that was taken there."""
    rng = np.random.default_rng(1)
    net = moved_network(layer.fresh(), input_shape, backend, "float64", rng)
    x = backend.asarray(rng.standard_normal((batch, *input_shape)))
    random_state, name = net.random_state, row.name.removeprefix("0.").split()[0]
    array: Array = net.params.get(f"0.{name}", x)
    start = float(array[row.where])

    def output(t: float) -> np.ndarray:
        array[row.where] = start + t
        net.random_state = random_state
        return np.array(backend.to_numpy(net.forward(x.copy(), train)[0]))

    dy = np.random.default_rng(stream("checks", 0)).standard_normal(output(0.0).shape)
    return _bends(lambda t: float((dy * output(t)).sum()))


def _bends(f: Callable[[float], float]) -> bool:
    """Whether f has a kink within the wide step: its slopes left and right of 0, or over the two steps, disagree.

    False for an f that does not repeat itself, whose slopes say nothing.
    """
    if f(0.0) != f(0.0):
        return False
    wide = [(f(WIDE) - f(0.0)) / WIDE, (f(0.0) - f(-WIDE)) / WIDE]
    narrow = [(f(NARROW) - f(0.0)) / NARROW, (f(0.0) - f(-NARROW)) / NARROW]
    far = (f(2 * WIDE) - f(-2 * WIDE)) / (4 * WIDE)
    scale = max(map(abs, (*wide, *narrow, far)))
    central = sum(narrow) / 2
    return max(abs(narrow[0] - narrow[1]), abs(sum(wide) / 2 - central), abs(far - central)) > UNEQUAL * scale
