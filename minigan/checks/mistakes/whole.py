"""Mistakes of a whole gradient: its sign, a factor, its axes exchanged, another array in its place."""

from __future__ import annotations

import itertools
import math

import numpy as np

from minigan.checks.mistakes.evidence import FEW, Explanation, Gradient, Trial, places_in
from minigan.checks.mistakes.sizes import in_words, is_named


def zero(trial: Trial, g: Gradient) -> Explanation | None:
    """A = 0, whatever the samples, and the true one is not"""
    if g.analytic.any() or not g.wrong or trial.redrawn(g.name) is not None:
        return None
    return Explanation("missing", "0 everywhere, and the true one is not")


def sign(trial: Trial, g: Gradient) -> Explanation | None:
    """A = −g"""
    return Explanation("sign", "minus the true one: a sign is wrong") if g.fits(-g.numeric) else None


def constant_factor(trial: Trial, g: Gradient) -> Explanation | None:
    """A = c g, with c named by the layer's shapes and options"""
    c = _ratio(g)
    if c is None or not g.fits(c * g.numeric) or abs(c + 1) < g.tolerance:
        return None
    doubled, measured = trial.doubled, None
    if doubled is not None and (other := doubled.gradients[g.name]) and (there := _ratio(other)) is not None:
        measured = there if other.fits(there * other.numeric) else None
    words = in_words(c, trial, measured, doubled)
    return Explanation("factor", words) if is_named(words) or _weighty(g) >= FEW else None


def _ratio(g: Gradient) -> float | None:
    """A / g at the largest entry of g"""
    numeric = np.nan_to_num(g.numeric)
    largest = np.unravel_index(np.abs(numeric).argmax(), numeric.shape)
    c = float(g.analytic[largest] / numeric[largest])
    return c if math.isfinite(c) and c != 0 else None


def _weighty(g: Gradient) -> int:
    """How many entries are no rounding noise."""
    numeric = np.abs(np.nan_to_num(g.numeric))
    return int((numeric > 1e-3 * numeric.max(initial=0)).sum())


def array_factor(trial: Trial, g: Gradient) -> Explanation | None:
    """A = g·q or A = g/q, for an array q that stands in the formulas"""
    for name, q in _known_arrays(trial):
        for shaped in _aligned(q, g.analytic.shape):
            if g.fits(g.numeric * shaped):
                return Explanation("factor", f"the true one times {name}: that factor stands once too often")
            if g.fits(g.numeric / shaped):
                return Explanation("factor", f"the true one divided by {name}: that factor is left out")
    return None


def factor_within(trial: Trial, g: Gradient) -> Explanation | None:
    """A = Σ_k (dy_k ∂y_k/∂θ)/q_k, for a q of y's shape: a factor left out before the sum"""
    if g.parts is None:
        return None
    outputs = tuple(range(g.analytic.ndim, g.parts.ndim))
    for name, q in [("dy", trial.dy), *_known_arrays(trial)]:
        for shaped in _aligned(q, trial.y.shape):
            if g.fits((g.parts / shaped).sum(axis=outputs)):
                if name == "dy":
                    return Explanation("factor", "the derivative of y alone: the factor dy of the chain rule is left out")
                return Explanation("factor", f"the true one without the factor {name} in the sum over the outputs")
            if g.fits((g.parts * shaped).sum(axis=outputs)):
                return Explanation("factor", f"the true one with {name} once too often in the sum over the outputs")
    return None


def factor_for_each(trial: Trial, g: Gradient) -> Explanation | None:
    """A = g·q with one q for each channel, or for each sample: γ or 1/σ left out, or there twice"""
    if g.analytic.ndim < 2:
        return None
    with np.errstate(all="ignore"):
        ratio = np.where(np.abs(g.numeric) > 1e-3 * np.nanmax(np.abs(g.numeric)), g.analytic / g.numeric, np.nan)
    for axis, each in ((-1, "channel"), (0, "sample" if g.name == "x" else "row")):
        others = tuple(a for a in range(ratio.ndim) if a != axis % ratio.ndim)
        counts = (~np.isnan(ratio)).sum(axis=others)
        if counts.size < 2 or counts.min() < FEW:
            continue
        q = np.nanmedian(ratio, axis=others, keepdims=True)
        if (np.abs(q - 1) > 1e-3).all() and g.fits(g.numeric * q):
            values = ", ".join(f"{value:.4g}" for value in q.reshape(-1)[:3])
            more = ", …" if q.size > 3 else ""
            words = f"the true one times a number of its own for each {each} ({values}{more}): a factor too many or too few"
            return Explanation("factor", words)
    return None


def _known_arrays(trial: Trial) -> list[tuple[str, np.ndarray]]:
    """Arrays by name that a formula may hold: parameters, state, x, y, and what the cache keeps."""
    arrays = {**trial.layer.params, **trial.layer.state}
    named = [(name, trial.host(array)) for name, array in arrays.items()]
    named += [("x", trial.x_value), ("y", trial.y), ("(1 − y)", 1 - trial.y)]
    kept = [(place, trial.host(array)) for place, array in places_in(trial.cache)]
    named += [(f"the array {array.shape} in {place}", array) for place, array in kept if array.dtype.kind == "f"]
    return [(name, array.astype(np.float64)) for name, array in named if array.size > 1]


def _aligned(q: np.ndarray, shape: tuple[int, ...]) -> list[np.ndarray]:
    """q in the shapes in which it can multiply an array of this shape: as it broadcasts, else along the first axes or all."""
    with_first = [q.reshape(-1, *[1] * (len(shape) - 1))] if q.size == shape[0] and len(shape) > 1 else []
    whole = [q.reshape(shape)] if q.size == math.prod(shape) else []
    broadcasts = q.ndim <= len(shape) and all(a in (1, b) for a, b in zip(q.shape[::-1], shape[::-1], strict=False))
    return [*([q] if broadcasts and not whole else []), *whole, *with_first]


def transposed(trial: Trial, g: Gradient) -> Explanation | None:
    """A is g with its axes exchanged, or J dy in place of Jᵀ dy"""
    shape = g.analytic.shape
    for order in itertools.permutations(range(len(shape))) if g.complete else ():
        turned = g.numeric.transpose(order)
        back = g.numeric.reshape(turned.shape).transpose(np.argsort(order))
        if list(order) != sorted(order) and (g.fits(turned.reshape(shape)) or g.fits(back)):
            return Explanation("transposed", f"the true one with its axes in the order {order}: transposed")
    if g.parts is None or g.name != "x" or shape != trial.y.shape:
        return None
    jacobian = (g.parts / trial.dy).reshape(g.analytic.size, -1)  # ∂y_k/∂x_i, a row for each i
    if g.fits((trial.dy.reshape(-1) @ jacobian).reshape(shape)):
        return Explanation("transposed", "what the map itself makes of dy, J dy: its transpose is wanted, Jᵀ dy")
    return None


def flipped(trial: Trial, g: Gradient) -> Explanation | None:
    """A is g turned round along one axis or two; of an axis of two entries that would be any exchange"""
    long = [axis for axis, size in enumerate(g.analytic.shape) if size > 2]
    for count in (1, 2):
        for axes in itertools.combinations(long, count):
            if g.complete and g.fits(np.flip(g.numeric, axes)):
                return Explanation("flipped", f"the true one turned round along axis {' and '.join(map(str, axes))}")
    return None


def exchanged(trial: Trial, g: Gradient) -> Explanation | None:
    """A is the true gradient of another parameter"""
    for other in trial.gradients.values():
        if other is not g and "x" not in (g.name, other.name) and other.numeric.shape == g.numeric.shape:
            if not g.fits(other.numeric):
                continue
            if other.fits(g.numeric):
                return Explanation("exchanged", f"the true gradient of {other.name}, and the other way round: exchanged")
            return Explanation("factor", f"the same as that of {other.name}: the factor that makes the two differ is left out")
    return None
