"""Mistakes in how the passes work together: each is shown by a pass in other circumstances, where the gradient is right."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from minigan.checks.mistakes.evidence import Explanation, Gradient, Trial, arrays_in, is_single, replaced
from minigan.checks.mistakes.rounding import rounded_with_dy


def not_overwritten(trial: Trial, g: Gradient) -> Explanation | None:
    """What lay in grads before shines through: added to, or left there"""
    if g.name == "x" or not np.isnan(g.analytic).any():
        return None
    zeros = trial.repeated(lambda: trial.backward(trial.fresh_cache(), 0.0)).get(g.name)
    ones = trial.repeated(lambda: trial.backward(trial.fresh_cache(), 1.0)).get(g.name)
    if zeros is None or ones is None or not (np.isfinite(zeros).all() and np.isfinite(ones).all()):
        return None
    if g.agree(zeros, g.numeric) and np.allclose(zeros + 1, ones):
        return Explanation("added", "added to what lay there before: it must be overwritten, = and not +=")
    left = (zeros == 0) & (ones == 1)
    if not left.any():
        return None
    if left.all():
        return Explanation("not written", "never written: it keeps what lay there before")
    return Explanation("not written", f"not written in {left.sum()} of {left.size} entries, which keep what lay there before")


def changed_in_between(trial: Trial, g: Gradient) -> Explanation | None:
    """Right when computed alone, wrong together with the others, and the cache or dy is changed in between"""
    cache = trial.fresh_cache()
    before = [trial.host(array) for array in arrays_in(cache)]
    trial.repeated(lambda: trial.backward(cache))
    written = [what for what, changed in (("its cache", _differ(trial, cache, before)), ("dy", _dy_changed(trial))) if changed]
    alone = trial.repeated(lambda: trial.backward(trial.fresh_cache(), params=g.name != "x", input_grad=g.name == "x"))
    if not written or g.name not in alone or not g.agree(alone[g.name], g.numeric):
        return None
    return Explanation(
        "cache", f"right when it is computed alone: backward writes to {' and '.join(written)} before it is done with it"
    )


def _differ(trial: Trial, cache: Any, before: list[np.ndarray]) -> bool:
    return any(not np.array_equal(trial.host(a), b, equal_nan=True) for a, b in zip(arrays_in(cache), before, strict=False))


def _dy_changed(trial: Trial) -> bool:
    return not np.array_equal(trial.host(trial.dy_after), trial.dy)


def x_for_y(trial: Trial, g: Gradient) -> Explanation | None:
    """Right if the cache held x where it holds y, or y where it holds x"""
    if trial.x_value.shape != trial.y.shape:
        return None
    pairs = {"y": (trial.y, trial.x_value), "x": (trial.x_value, trial.y)}
    for held, (old, new) in pairs.items():
        wanted = "x" if held == "y" else "y"
        swapped = trial.repeated(partial(_with_another, trial, old, new))
        if g.name in swapped and g.agree(swapped[g.name], g.numeric):
            return Explanation("x for y", f"right with {wanted} in the place of {held}: the derivative is taken at {held}")
    return None


def _with_another(trial: Trial, old: np.ndarray, new: np.ndarray) -> dict[str, np.ndarray]:
    """The gradients from a cache with the array `new` wherever it holds `old`."""

    def swap(value: Any) -> Any:
        is_old = getattr(value, "shape", None) == old.shape and np.array_equal(trial.host(value), old)
        return trial.be.asarray(new) if is_old else value

    return trial.backward(replaced(trial.fresh_cache(), swap))


def turned_parameter(trial: Trial, g: Gradient) -> Explanation | None:
    """Right if a parameter had its axes exchanged, or was turned round"""
    for name, array in trial.layer.params.items():
        if name == g.name or array.ndim < 2:
            continue
        for kind, how, turned in _turned(trial.host(array)):
            kept = array.copy()
            array[...] = trial.be.asarray(turned)
            found = trial.repeated(lambda: trial.backward(trial.cache))
            array[...] = kept
            if g.name in found and g.agree(found[g.name], g.numeric):
                return Explanation(kind, f"right if {name} came {how}: it is {kind}")
    return None


def _turned(value: np.ndarray) -> Iterator[tuple[str, str, np.ndarray]]:
    for order in itertools.permutations(range(value.ndim)):
        if list(order) != sorted(order) and value.transpose(order).shape == value.shape:
            yield "transposed", f"with its axes in the order {order}", value.transpose(order)
    for axes in [*((axis,) for axis in range(value.ndim)), *itertools.combinations(range(value.ndim), 2)]:
        if all(value.shape[axis] > 2 for axis in axes):
            yield "flipped", f"turned round along axis {' and '.join(map(str, axes))}", np.flip(value, axes)


def train_forgotten(trial: Trial, g: Gradient) -> Explanation | None:
    """Right with the flag in the cache turned round; or the true gradient of the other mode"""
    turned = trial.repeated(
        lambda: trial.backward(replaced(trial.fresh_cache(), lambda value: not value if isinstance(value, bool) else value))
    )
    has_flag = any(isinstance(value, bool) for value in _flat(trial.cache))
    now, other = ("training", "inference") if trial.train else ("inference", "training")
    if has_flag and g.name in turned and g.agree(turned[g.name], g.numeric):
        return Explanation("train", f"right with train the other way round in the cache: that of {other}, and this is {now}")
    of_other = trial.other_mode
    if of_other is not None and g.fits(of_other.gradients[g.name].numeric):
        return Explanation("train", f"the true one at {other}, and this is {now}: backward forgets train")
    return None


def _flat(cache: Any) -> list[Any]:
    if isinstance(cache, dict):
        cache = list(cache.values())
    return [value for part in cache for value in _flat(part)] if isinstance(cache, (tuple, list)) else [cache]


def single_precision(trial: Trial, g: Gradient) -> Explanation | None:
    """An error of the size of float32's, and a float32 that shows"""
    known = ~np.isnan(g.numeric)
    error = np.abs(g.analytic - g.numeric)[known].max(initial=0)
    if not error <= 1e-2 * np.abs(g.numeric[known]).max(initial=0):
        return None
    off = "off by the rounding of float32"
    finer = not is_single(trial.x_value)  # so that a float32 does not come from x
    if finer and np.allclose(trial.y, trial.y_of_single, rtol=1e-12, atol=0):
        return Explanation("float32", f"{off}: forward rounds x to float32, and the check is in float64")
    if trial.single_y or (finer and is_single(trial.y)) or trial.coarse:
        return Explanation("float32", f"{off}: forward computes in float32, and the check in float64")
    if trial.single_cache:
        return Explanation("float32", f"{off}: the cache holds float32 in a float64 pass")
    if g.name in (found := trial.repeated(lambda: rounded_with_dy(trial.net, trial.layer, trial.x, trial.train))):
        return Explanation("float32", f"{off}: {found[g.name]}")
    return None
