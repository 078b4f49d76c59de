"""Constants by what they are in a layer's shapes: N, the number of pixels, 1 − rate …"""

from __future__ import annotations

import math
from collections.abc import Iterator

from minigan.checks.mistakes.evidence import Trial


def known_sizes(trial: Trial) -> Iterator[tuple[float, str]]:
    """(a number, what it counts), the plainest first."""
    given, made = trial.x_value.shape, trial.y.shape
    yield given[0], "the batch size N"
    for shape, whose in ((given, "x"), (made, "y"))[: 1 + (made != given)]:
        pixels, channels = math.prod(shape[1:-1]), shape[-1]
        if len(shape) > 2:
            yield pixels, f"the number of pixels of {whose}"
            yield given[0] * pixels, f"N times the number of pixels of {whose}"
        yield channels, f"the number of {'channels' if len(shape) > 2 else 'features'} of {whose}"
        yield from ((size, f"the length of axis {axis} of {whose}") for axis, size in enumerate(shape[1:-1], start=1))
        yield math.prod(shape[1:]), f"the number of values in a sample of {whose}"
        yield math.prod(shape), f"the number of values of {whose} in the batch"
        for m, of in ((math.prod(shape[:-1]), "channel"), (math.prod(shape[1:]), "sample")):
            if m > 1:
                yield m / (m - 1), f"M/(M − 1) for the M values of a {of} of {whose}"
    yield made[-1] * given[0], "N times the number of outputs"
    for name, array in trial.layer.params.items():
        if array.ndim == 4:
            yield array.shape[0] * array.shape[1], f"the number of taps of {name}"
            yield array.shape[0], f"the height of {name}"
            yield array.shape[1], f"the width of {name}"
    for name, option in trial.layer.options.items():
        pair = option if isinstance(option, (tuple, list)) else (option,)
        if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in pair):
            yield math.prod(pair), f"{name}" if len(pair) == 1 else f"the product of {name}"
            yield from ((value, f"one of {name}") for value in pair if len(pair) > 1)
            if len(pair) == 1:
                yield pair[0] ** 2, f"the square of {name}"
                yield 1 - pair[0], f"1 − {name}"


def names_of(c: float, trial: Trial) -> dict[str, str]:
    """{what the constant is: how to say that it is so many times too large}, for a c above 0, by all the names that fit."""
    found: dict[str, str] = {}
    for size, name in known_sizes(trial):
        if size <= 0 or _equal(size, 1):
            continue
        shown = f"{size:.6g}"
        if _equal(c, size):
            found.setdefault(name, f"{shown} times the true one, and {shown} is {name}")
        elif _equal(c, 1 / size):
            found.setdefault(name, f"1/{shown} of the true one, and {shown} is {name}")
    return found


def in_words(c: float, trial: Trial, measured: float | None = None, doubled: Trial | None = None) -> str:
    """A constant factor in plain words, with at most two of its names.

    doubled, measured: the same layer on twice the batch, and the factor found there: a name must fit both.
    """
    names = names_of(abs(c), trial)
    stays = measured is None or _equal(abs(c), abs(measured))
    if measured is not None and doubled is not None:
        kept = names_of(abs(measured), doubled)
        names = {name: text for name, text in names.items() if name in kept}
        if not stays and not names:
            return f"{c:.6g} times the true one on {len(trial.x)} samples, and {measured:.6g} times on {len(doubled.x)}"
    minus = "minus " if c < 0 else ""
    if stays and abs(abs(c) - 2) < 1e-5:
        return f"{minus}twice the true one" + (f"; 2 is also {next(iter(names))}" if names else "")
    if stays and abs(abs(c) - 0.5) < 1e-5:
        return f"{minus}half the true one" + (f"; 2 is also {next(iter(names))}" if names else "")
    if not names:
        return f"{c:.6g} times the true one in every entry"
    first, *others = names
    text = minus + names[first] + (f" (and {others[0]})" if others else "")
    if not any(word in first for word in ("number", "batch", "length")):
        return text
    return f"{text}: divide by it, or take the mean" if abs(c) > 1 else f"{text}: a mean stands where a sum belongs"


def is_named(words: str) -> bool:
    """Whether in_words found what the constant is, or that it is 2 or 1/2."""
    return not words.endswith("in every entry") and " samples, and " not in words


def _equal(a: float, b: float) -> bool:
    return abs(a - b) <= 1e-6 * max(abs(a), abs(b))
