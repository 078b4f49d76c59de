"""Analytic against numeric derivatives.

The numeric derivative of f along a direction is the fourth-order central difference
    f' ≈ (8 (f(h) − f(−h)) − (f(2h) − f(−2h))) / 12h,   error O(h⁴)
in float64. A vector output y is contracted with a random dy, after the subtraction, so that outputs which do not move
cancel exactly; with dy = 1 some wrong gradients pass (BatchNorm's sum to 0). A difference is only taken between passes in
the same branch of every formula (ReLU's x > 0): h shrinks until that holds, and an entry for which it never does is counted
as skipped, never tolerated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigan.backends import Array, Backend
from minigan.checks.report import Report, Row
from minigan.errors import OptionError, shorten
from minigan.network import Sequential
from minigan.sizes import positive_int, real

STEPS = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7)  # h: the largest that crosses no kink is the most exact
FAR = 3e-4  # of two differences, relative: the better one's error is about the square
Evaluate = Callable[[], tuple[Array, list[Array]]]  # () -> (outputs, branch signatures of the pass)


@dataclass
class Target:
    """An array to vary, and its analytic gradient."""

    name: str
    array: Array
    gradient: np.ndarray


def with_state_held(net: Sequential) -> Sequential:
    """net, whose training passes from now on all take as fixed what its gradients take as fixed."""
    for layer in net.layers:
        layer.hold_state()
    return net


def branch_signatures(net: Sequential, caches: list[Any]) -> list[Array]:
    """Those of all layers that have one, in a pass that made these caches."""
    signatures = (layer.branch_signature(cache) for layer, cache in zip(net.layers, caches, strict=True))
    return [signature for signature in signatures if signature is not None]


def compare(
    name: str,
    be: Backend,
    evaluate: Evaluate,
    dy: Array | float,
    targets: list[Target],
    mode: str,
    max_entries: int | None,
    tolerance: float,
    rng: np.random.Generator,
) -> Report:
    if not isinstance(mode, str) or mode not in ("full", "projection"):
        raise OptionError(f"unknown mode {shorten(mode)}: choose full or projection")
    max_entries = None if max_entries is None else positive_int(max_entries, "max_entries")
    tolerance = real(tolerance, "tolerance", "a number from 0 up", lambda number: number >= 0)
    pick = _entries if mode == "full" else _directions
    probed = ((t, differences(be, evaluate, dy, t, pick(be, t, max_entries, rng))) for t in targets)
    compared = [(target, [found[:3] for found in probes]) for target, probes in probed]
    largest = [
        max([np.abs(t.gradient).max(initial=0)] + [abs(n) for _, _, n in pairs if n is not None]) for t, pairs in compared
    ]
    scale = float(max(largest, default=0.0))
    rows = [_row(target.name, pairs, float(own), scale) for (target, pairs), own in zip(compared, largest, strict=True)]
    return Report(name, tolerance, rows)


Probe = tuple[Any, Callable[[float], None], float]  # where, a move by t along the probe, the analytic derivative


def _entries(be: Backend, target: Target, max_entries: int | None, rng: np.random.Generator) -> Iterator[Probe]:
    """Single entries: all of them, or max_entries drawn without replacement."""
    indices = np.arange(target.gradient.size)
    if max_entries is not None and max_entries < target.gradient.size:
        indices = np.sort(rng.choice(target.gradient.size, max_entries, replace=False))
    return chosen_entries(target, indices.tolist())


def chosen_entries(target: Target, indices: Sequence[int], unit: float = 1.0) -> Iterator[Probe]:
    """The single entries at these places of the flattened array, moved in this unit."""
    flat, gradient = target.array.reshape(-1), target.gradient.reshape(-1)
    for i in indices:
        start = float(flat[i])

        def move(t: float, i: int = i, start: float = start) -> None:
            flat[i] = start + t * unit

        yield tuple(int(k) for k in np.unravel_index(i, target.gradient.shape)), move, float(gradient[i]) * unit


def _directions(be: Backend, target: Target, max_entries: int | None, rng: np.random.Generator) -> Iterator[Probe]:
    """Random unit directions through the whole array, four unless max_entries says otherwise."""
    start = target.array.copy()
    for k in range(max_entries or 4):
        direction = rng.standard_normal(target.gradient.shape)
        direction /= np.linalg.norm(direction)
        on_device = be.asarray(direction)

        def move(t: float, v: Array = on_device) -> None:
            target.array[...] = start + t * v

        yield f"direction {k}", move, float((target.gradient * direction).sum())


def single_row(
    name: str, be: Backend, evaluate: Evaluate, dy: Array | float, array: Array, direction: Array, analytic: float
) -> Row:
    """The row of one derivative: dy · outputs, as `array` moves along a direction."""
    start = array.copy()

    def move(t: float) -> None:
        array[...] = start + t * direction

    target = Target(name, array, np.zeros(0))
    ((where, a, numeric, _),) = differences(be, evaluate, dy, target, iter([("along it", move, analytic)]))
    return _row(name, [(where, a, numeric)], abs(analytic), abs(analytic))


def differences(
    be: Backend, evaluate: Evaluate, dy: Array | float, target: Target, probes: Iterator[Probe]
) -> Iterator[tuple[Any, float, float | None, float]]:
    """(where, analytic, numeric, h) for every probe; numeric is None where each step h crosses a kink.

    The difference of second order, (f(h) − f(−h)) / 2h, is off by O(h²). Where it is far from that of fourth order, h is no
    small step, as for the norm of a small gradient, and the next smaller one is taken.
    """
    largest = np.abs(target.gradient).max(initial=0)
    for where, move, analytic in probes:
        numeric, allowed = None, FAR * max(abs(analytic), 1e-2 * largest)
        for h in STEPS:
            passes = {}
            for t in (h, -h, 2 * h, -2 * h):
                move(t)
                passes[t] = evaluate()
            if _same_branches([signatures for _, signatures in passes.values()]):
                near, far = (float((dy * (passes[t][0] - passes[-t][0])).sum()) / (2 * t) for t in (h, 2 * h))
                is_second, numeric = numeric is not None, (4 * near - far) / 3
                if is_second or abs(near - numeric) <= allowed:
                    break
        move(0.0)
        yield where, analytic, numeric, h


def _same_branches(passes: list[list[Array]]) -> bool:
    return all(bool((a == b).all()) for other in passes[1:] for a, b in zip(passes[0], other, strict=True))


def _row(name: str, pairs: list[tuple[Any, float, float | None]], own: float, scale: float) -> Row:
    """The worst entry by |a − n| / max(|a|, |n|, floor).

    An entry far below the largest of its array, or an array far below the largest gradient of all (a bias before BatchNorm
    has none), is rounding noise in a difference. The floor is 1e-2 of the array's largest (own), or 1e-5 of the largest
    of all (scale).
    """
    checked = [(where, a, n) for where, a, n in pairs if n is not None]
    floor = max(1e-2 * own, 1e-5 * scale, np.finfo(float).tiny)
    worst = (0.0, "-", 0.0, 0.0)
    for where, a, n in checked:
        error = abs(a - n) / max(abs(a), abs(n), floor)
        if not error <= worst[0] or worst[1] == "-":  # also takes a NaN
            worst = (float("inf") if np.isnan(error) else error, where, a, n)
    return Row(name, len(checked), len(pairs) - len(checked), worst[0], worst[1], worst[2], worst[3])
