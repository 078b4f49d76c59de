"""Notes on gradients that are right to the tolerance of a check in float64, and no more exact than float32."""

from __future__ import annotations

from contextlib import suppress

import numpy as np

from minigan.backends import Array, stream
from minigan.checks.mistakes.evidence import FEW, MOST_ENTRIES, Gradient, Trial, is_single, places_in
from minigan.checks.report import Mistake, Report
from minigan.layers import Layer
from minigan.network import Sequential

LEAST, MOST = 1e-9, 1e-5  # relative errors, of the largest entry, that float32's rounding makes in a gradient
CLEAN = 0.02  # of such an error: what is left of it where nothing is rounded
OF_ALL = "the gradient is rounded to float32 in a float64 pass"
OF_DY = "backward rounds dy, or a product with it, to float32 in a float64 pass"
INEXACT = "right to the tolerance, but only as exact as float32: "


def name_roundings(net: Sequential, x: Array, train: bool, report: Report) -> list[Mistake]:
    """Each gradient of each layer that is rounded to float32 on its way, where that is certain; nothing where a layer fails.

    What is rounded but dy and products with it is found by differences, of small layers, and only where those of the report
    are less exact than usual.
    """
    found, random_state = [], net.random_state
    inexact = any(LEAST < row.max_error < MOST for row in report.rows)
    with np.errstate(all="ignore"), suppress(Exception):
        for index, layer in enumerate(net.layers):
            words = rounded_with_dy(net, layer, x, train)
            if inexact and max(x.size, *(array.size for array in layer.params.values()), 0) <= MOST_ENTRIES:
                trial = Trial(net, layer, x, train, report.tolerance)
                words = {g.name: text for g in trial.gradients.values() if (text := _of_a_factor(trial, g))} | words
            for name, text in words.items():
                where = f"{index}.{name}" if name != "x" else f"x of {layer.label}" if index else "x"
                found.append(Mistake("float32", where, INEXACT + text))
            net.random_state = random_state
            x = layer.forward(x.copy(), train)[0]
            net.random_state = random_state
    return found


def rounded_with_dy(net: Sequential, layer: Layer, x: Array, train: bool) -> dict[str, str]:
    """What is rounded to float32, by gradient, where that is dy or a product with it.

    What backward makes of dy is linear in dy, so B(3 dy) = 3 B(dy) but for float64's rounding. A rounding to float32 breaks
    that, while B(2 dy) = 2 B(dy) holds, for a factor of 2 leaves all digits as they are.
    """
    random_state, params, be = net.random_state, net.flat_params.copy(), net.backend

    def gradients(times: float) -> dict[str, np.ndarray]:
        net.random_state = random_state
        y, cache = layer.forward(x.copy(), train)
        dy = be.asarray(times * np.random.default_rng(stream("checks", 2)).standard_normal(y.shape))
        grads = {name: be.empty(array.shape, net.dtype) for name, array in layer.params.items()}
        dx = layer.backward(dy, cache, grads)
        net.flat_params[...] = params
        return {name: np.array(be.to_numpy(array), np.float64) / times for name, array in [*grads.items(), ("x", dx)]}

    once, twice, thrice = (gradients(times) for times in (1.0, 2.0, 3.0))
    largest, words = max(float(np.abs(value).max(initial=0)) for value in once.values()), {}
    for name, value in once.items():
        own = float(np.abs(value).max(initial=0))
        off, same = (float(np.abs(other[name] - value).max(initial=0)) for other in (thrice, twice))
        if own > 1e-4 * largest and LEAST * own < off < MOST * own and same < CLEAN * off:
            words[name] = OF_ALL if is_single(value) else OF_DY
    return words


def _of_a_factor(trial: Trial, g: Gradient) -> str:
    """What else is rounded: an array of the cache, or x or a parameter, without whose own rounding the error is gone."""
    off = _error(g)
    if g.wrong or not LEAST < off < MOST:
        return ""
    own = [trial.host(array) for array in (trial.x, *trial.layer.params.values(), *trial.layer.state.values())]
    for place, array in places_in(trial.cache):
        value = trial.host(array)
        given = any(np.array_equal(value, other) for other in own)
        if value.dtype.kind == "f" and is_single(value) and len(np.unique(value)) > FEW and not given:
            return f"{place} holds numbers rounded to float32 in a float64 pass"
    arrays = {"x": trial.x, **trial.layer.params, **trial.layer.state}
    for name, array in arrays.items():
        if _error_on(trial, g, [array]) < CLEAN * off:
            return f"{name} is rounded to float32 in a float64 pass"
    if _error_on(trial, g, list(arrays.values())) < CLEAN * off:
        return "x and what it is multiplied with are rounded to float32 in a float64 pass"
    return ""


def _error(g: Gradient) -> float:
    """The largest error of a gradient, relative to its largest entry."""
    known = ~np.isnan(g.numeric)
    largest = float(np.abs(g.numeric[known]).max(initial=0))
    return float(np.abs(g.analytic - g.numeric)[known].max(initial=0)) / largest if largest > 1e-4 * g.scale else 0.0


def _error_on(trial: Trial, g: Gradient, arrays: list[Array]) -> float:
    """The same where these arrays hold float32 numbers, which a rounding leaves as they are."""
    kept = [array.copy() for array in arrays]
    try:
        for array in arrays:
            array[...] = trial.be.asarray(trial.host(array).astype(np.float32), array.dtype)
        again = trial.again()
        return _error(again.gradients[g.name]) if again else np.inf
    finally:
        for array, value in zip(arrays, kept, strict=True):
            array[...] = value
