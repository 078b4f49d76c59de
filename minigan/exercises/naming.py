"""A value or gradient held against the true one, and the mistake that explains the difference."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigan.checks.report import TOLERANCE
from minigan.exercises.exercise import RIGHT, WRONG, Outcome

UNEXPLAINED = "no common mistake explains it: take the terms of the derivation one by one"
FEW = 3  # so many entries at least must bear out a factor that has no name
FLOOR = 1e-2  # entries below so much of the largest are compared with that


@dataclass(frozen=True)
class Guess:
    """What the value would be if a certain mistake had been made, in words that go on from "dx: "."""

    kind: str
    words: str
    value: Any


def relative_error(value: Any, true: Any) -> float:
    """The largest |a − b| / max(|a|, |b|, 1 % of the largest), over all arrays of a list; infinite for a NaN."""
    pairs = list(zip(value, true, strict=True)) if isinstance(true, (tuple, list)) else [(value, true)]
    return max(_error(np.asarray(a, np.float64), np.asarray(b, np.float64)) for a, b in pairs)


def _error(a: np.ndarray, b: np.ndarray) -> float:
    if a.shape != b.shape or not np.isfinite(a).all() or not np.isfinite(b).all():
        return float("inf")
    size = np.maximum(np.abs(a), np.abs(b))
    floor = max(FLOOR * size.max(initial=0), np.finfo(float).tiny)
    return float((np.abs(a - b) / np.maximum(size, floor)).max(initial=0))


def judge(
    part: str,
    value: Any,
    true: Any,
    guesses: Iterable[Guess] = (),
    sizes: Mapping[str, float] | None = None,
    tolerance: float = TOLERANCE,
    place: Callable[[tuple[int, ...]], str] = lambda where: f"at {where}",
) -> Outcome:
    """Whether a value is the true one; if not, what explains it.

    true: an array, or a list of such that one mistake would change together. sizes: numbers by name that a factor may be.
    place: an entry in words, by its indices.
    """
    error = relative_error(value, true)
    if error < tolerance:
        return Outcome(part, RIGHT)
    many = isinstance(true, (tuple, list))
    values, trues = (list(value), list(true)) if many else ([value], [true])
    values, trues = [[np.asarray(a, np.float64) for a in arrays] for arrays in (values, trues)]
    found = fitting(value, true, guesses, tolerance)
    found = found or list(itertools.islice(_general(values, trues, sizes or {}, tolerance), 1))
    words = "; or else ".join(guess.words for guess in found) or UNEXPLAINED
    return Outcome(part, WRONG, [words, _worst(values, trues, error, place)], " or ".join(dict.fromkeys(g.kind for g in found)))


def fitting(value: Any, true: Any, guesses: Iterable[Guess], tolerance: float = TOLERANCE) -> list[Guess]:
    """The guesses that make this value, and not the true one, each in words of its own."""
    fit = [g for g in guesses if relative_error(value, g.value) < tolerance < relative_error(true, g.value)]
    return list({guess.words: guess for guess in fit}.values())


def _worst(values: list[np.ndarray], trues: list[np.ndarray], error: float, name: Callable[[tuple[int, ...]], str]) -> str:
    """The entry that is off most, in words."""
    a, b = max(zip(values, trues, strict=True), key=lambda pair: _error(*pair))
    bad = ~np.isfinite(a)
    if bad.any():
        return f"{int(bad.sum())} of {a.size} entries are no finite numbers"
    where = tuple(int(i) for i in np.unravel_index(np.abs(a - b).argmax(), a.shape))
    place = f" {name(where)}" if where else ""
    return f"relative error {error:.1e}: yours {a[where]:+.6g}, the true one {b[where]:+.6g}{place}"


def _general(
    values: list[np.ndarray], trues: list[np.ndarray], sizes: Mapping[str, float], tolerance: float
) -> Iterable[Guess]:
    """Explanations that fit any value."""

    def fits(others: Iterable[np.ndarray]) -> bool:
        return relative_error(values, list(others)) < tolerance

    if not all(np.isfinite(a).all() for a in values) or not any(b.any() for b in trues):
        return
    if not any(a.any() for a in values):
        yield Guess("missing", "0 everywhere, and the true one is not", values)
    if fits(-b for b in trues):
        yield Guess("sign", "minus the true one: a sign is wrong", values)
    largest = max(trues, key=lambda b: float(np.abs(b).max(initial=0)))
    which = next(i for i, b in enumerate(trues) if b is largest)
    at = np.unravel_index(np.abs(largest).argmax(), largest.shape)
    c = float(values[which][at] / largest[at])
    few = sum(b.size for b in trues) < FEW
    if c and fits(c * b for b in trues) and (is_named(words := factor_in_words(c, sizes)) or not few):
        yield Guess("factor", words, values)
    for order in itertools.permutations(range(trues[0].ndim)) if len(trues) == 1 else ():
        turned = trues[0].transpose(order)
        if list(order) != sorted(order) and turned.size and fits([turned.reshape(trues[0].shape)]):
            yield Guess("transposed", f"the true one with its axes in the order {order}: transposed", values)
    for axis in range(trues[0].ndim) if len(trues) == 1 else ():
        if trues[0].shape[axis] > 2 and fits([np.flip(trues[0], axis)]):
            yield Guess("flipped", f"the true one turned round along axis {axis}", values)
    if max(_error(a, b) for a, b in zip(values, trues, strict=True)) < 1e-5 and all(_is_single(a) for a in values):
        yield Guess("float32", "off by the rounding of float32 in a float64 pass", values)


def factor_in_words(c: float, sizes: Mapping[str, float]) -> str:
    """A constant factor by its name where it has one, else as a number."""
    minus, size = ("minus " if c < 0 else ""), abs(c)
    for name, number in sizes.items():
        if abs(number - 1) < 1e-9:
            continue
        shown = f"{number:.6g}"
        if abs(size - number) < 1e-6 * size:
            return f"{minus}{shown} times the true one, and {shown} is {name}: divide by it, or leave out a factor of it"
        if abs(size - 1 / number) < 1e-6 * size:
            return f"{minus}1/{shown} of the true one, and {shown} is {name}: multiply by it, or leave out a division by it"
    if abs(size - 2) < 1e-6 or abs(size - 0.5) < 1e-6:
        return f"{minus}{'twice' if size > 1 else 'half'} the true one"
    for (first, a), (second, b) in itertools.permutations(sizes.items(), 2):
        if abs(size - a / b) < 1e-6 * size:
            told = f"{minus}{a:.6g}/{b:.6g} of the true one: {a:.6g} is {first}, {b:.6g} is {second}"
            return f"{told}, and one of them stands in the place of the other"
    return f"{c:.6g} times the true one in every entry"


def is_named(words: str) -> bool:
    """Whether factor_in_words knew the factor."""
    return not words.endswith("in every entry")


def _is_single(array: np.ndarray) -> bool:
    """Whether all values are those of float32 numbers."""
    return bool((array == array.astype(np.float32)).all())
