"""The tour: stations with a question each. What is true is found in the step's own arrays, not known in advance."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from minigan.explain.page.prose import follows
from minigan.explain.step import Pass, Update
from minigan.layers import BatchNorm
from minigan.layers.elementwise import Elementwise
from minigan.optim import Adam

MOST = 10  # stations of a tour


@dataclass
class Stop:
    """A question at a station. at: the station's number; right: the index of the choice that is true; answer: why."""

    at: int
    question: str
    choices: tuple[str, ...]
    right: int
    answer: str


def tour(stops: Iterable[Stop | None]) -> list[dict[str, Any]]:
    """The first MOST of the stops that there are, the most telling first, in the order of their stations."""
    there = [stop for stop in stops if stop is not None][:MOST]
    return [{**asdict(stop), "choices": list(stop.choices)} for stop in sorted(there, key=lambda stop: stop.at)]


def station(stations: Sequence[Mapping[str, Any]], **wanted: Any) -> int | None:
    """The number of the first station with these entries."""
    found = (k for k, s in enumerate(stations) if all(s.get(name) == value for name, value in wanted.items()))
    return next(found, None)


def number(value: float, digits: int = 3) -> str:
    return f"{value:.{digits}g}".replace("-", "−", 1) if value < 0 else f"{value:.{digits}g}"


def compared(value: float, other: float) -> int:
    """0: less, 1: the same but for rounding, 2: more."""
    if np.isclose(value, other, rtol=1e-12, atol=0):
        return 1
    return 2 if value > other else 0


def sizes(at: int | None, given: np.ndarray, made: np.ndarray, question: str, answer: str) -> Stop | None:
    """How many numbers go in for one sample, and how many come out. answer: a sentence with {given} and {made}."""
    if at is None:
        return None
    a, b = given[0].size, made[0].size
    return Stop(at, question, ("fewer", "as many", "more"), compared(a, b), answer.format(given=a, made=b))


def goes_down(at: int | None, update: Update, name: str) -> Stop | None:
    """Does what is minimised fall on this batch?"""
    if at is None:
        return None
    before, after = update.loss_before, update.loss_after
    answer = f"{name} goes from {before:.5f} to {after:.5f} on this batch, a change of {number(after - before)}. "
    if after < before:
        answer += "The step follows the gradient, and it was small enough for that to be worth something."
    elif after > before:
        answer += "The gradient points down only near the weights' old values; this step went too far for it."
    else:
        answer += "Nothing moved."
    question = f"The weights are about to move. Computed again on this very batch, {name} will be"
    return Stop(at, question, ("lower", "the same", "higher"), compared(after, before), answer)


def stride(at: int | None, update: Update) -> Stop | None:
    """How far Adam moves the weight with the largest gradient, in units of the learning rate."""
    if at is None or not follows(update.optimizer, Adam) or not update.lr:
        return None
    name = max(update.gradients, key=lambda key: float(np.abs(update.gradients[key]).max()))
    place = np.unravel_index(int(np.abs(update.gradients[name]).argmax()), update.gradients[name].shape)
    moved = abs(float((update.after[name] - update.before[name])[place])) / update.lr
    gradient = float(update.gradients[name][place])
    where = f"{name}[{', '.join(str(int(k)) for k in place)}]"
    return Stop(
        at,
        f"The largest gradient of all these weights, {number(gradient)}, is that of {where}. Compared with the learning rate "
        f"of {update.lr:g}, Adam moves this weight by",
        ("less than half of it", "between half of it and twice as much", "more than twice as much"),
        0 if moved < 0.5 else 1 if moved <= 2 else 2,
        f"It moves by {number(moved)} times the learning rate. Adam divides by the size of that weight's recent gradients, so "
        "it is not the gradient's size that counts, but how unusual it is for this weight.",
    )


def change_of_size(at: int | None, above: np.ndarray, below: np.ndarray, way: str) -> Stop | None:
    """Has the gradient shrunk on its way back? above: where it started, below: where it has come to."""
    if at is None:
        return None
    start, end = (float(np.sqrt(np.mean(array**2))) for array in (above, below))
    ratio = end / start if start else 1.0
    return Stop(
        at,
        f"The gradient has come all the way {way}. Per number (its root mean square), it is now",
        ("less than a tenth of what it was", "within a factor of ten", "more than ten times as large"),
        0 if ratio < 0.1 else 1 if ratio <= 10 else 2,
        f"It was {number(start)} where it started and is {number(end)} here: {number(ratio)} times as much. Products of many "
        "factors below 1 make a gradient vanish, and of many above 1 explode; the bars below show it layer by layer.",
    )


def zeros(stations: Sequence[Mapping[str, Any]], letter: str, record: Pass) -> Stop | None:
    """Which share of the values that come to the first ReLU or LeakyReLU is negative?"""
    index = next((k for k, layer in enumerate(record.net.layers) if layer.name in ("ReLU", "LeakyReLU")), None)
    if index is None:
        return None
    at = station(stations, kind="forward", net=letter, index=index)
    x = record.outputs[index - 1] if index else record.x
    share = float(np.mean(x < 0))
    becomes = "set to 0, and no gradient passes there" if record.net.layers[index].name == "ReLU" else "made small"
    if at is None:
        return None
    return Stop(
        at,
        "Which share of the values that come here is negative?",
        ("less than a third", "between one third and two thirds", "more than two thirds"),
        0 if share < 1 / 3 else 1 if share <= 2 / 3 else 2,
        f"{100 * share:.0f} % of the batch's values are negative here: they are {becomes}.",
    )


def sum_through_norm(stations: Sequence[Mapping[str, Any]], letter: str, record: Pass) -> Stop | None:
    """The gradient that leaves a BatchNorm adds up to 0 in every channel."""
    layers = record.net.layers
    index = next((k for k in reversed(range(1, len(layers))) if isinstance(layers[k], BatchNorm)), None)
    at = None if index is None else station(stations, kind="backward", net=letter, index=index)
    if index is None or at is None:
        return None
    dy, dx = record.output_grads[index], record.output_grads[index - 1]
    if dy is None or dx is None:
        return None
    axes = tuple(range(dx.ndim - 1))
    sum_dy, sum_dx = float(np.abs(dy.sum(axis=axes)).max()), float(np.abs(dx.sum(axis=axes)).max())
    gone = sum_dx < 1e-6 * max(sum_dy, float(np.abs(dx).max()))
    return Stop(
        at,
        "Add up dx over all samples and places of one channel. The sum is",
        ("0", "something else"),
        0 if gone else 1,
        f"The largest of these sums is {number(sum_dx, 2)}; of dy it is {number(sum_dy, 2)}. The mean is taken off, so adding "
        "the same to every value of a channel changes nothing that comes out: L cannot depend on it.",
    )


def through_activation(stations: Sequence[Mapping[str, Any]], act: str, letter: str, record: Pass) -> Stop | None:
    """What an activation leaves of the gradient."""
    layers = record.net.layers
    index = next((k for k in reversed(range(1, len(layers))) if isinstance(layers[k], Elementwise)), None)
    at = None if index is None else station(stations, kind="backward", net=letter, index=index, act=act)
    if index is None or at is None:
        return None
    dy, dx = record.output_grads[index], record.output_grads[index - 1]
    if dy is None or dx is None:
        return None
    above, below = float(np.linalg.norm(dy)), float(np.linalg.norm(dx))
    return Stop(
        at,
        f"The gradient passes {layers[index].name}. Its norm, from dy to dx,",
        ("shrinks", "stays", "grows"),
        compared(below, above),
        f"‖dy‖ = {number(above)} and ‖dx‖ = {number(below)}: each number is multiplied by the slope at its x, and the slopes "
        f"are between {number(_least_slope(dy, dx))} and {number(_most_slope(dy, dx))} here.",
    )


def _slopes(dy: np.ndarray, dx: np.ndarray) -> np.ndarray:
    return dx[dy != 0] / dy[dy != 0]


def _least_slope(dy: np.ndarray, dx: np.ndarray) -> float:
    return float(_slopes(dy, dx).min(initial=np.inf))


def _most_slope(dy: np.ndarray, dx: np.ndarray) -> float:
    return float(_slopes(dy, dx).max(initial=-np.inf))
