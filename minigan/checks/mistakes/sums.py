"""Mistakes in sums: over too many axes or too few, or with one addend where all should be added up."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from minigan.checks.mistakes.evidence import FEW, Explanation, Gradient, Trial


def summed_too_much(trial: Trial, g: Gradient) -> Explanation | None:
    """A is g summed or averaged over axes of its own"""
    for axes in _subsets(g.analytic.ndim):
        size = np.prod([g.analytic.shape[axis] for axis in axes])
        if size < 2 or not g.complete:
            continue
        total, where = g.numeric.sum(axis=axes, keepdims=True), " and ".join(map(str, axes))
        for value, what in ((total, "summed"), (total / size, "averaged")):
            if g.fits(value):
                return Explanation("axis", f"the true one {what} over its axis {where}: a sum over one axis too many")
    return None


def summed_too_little(trial: Trial, g: Gradient) -> Explanation | None:
    """A lacks the first or the last index of an axis of y, that the sum runs over"""
    for axis, outputs in _output_axes(trial, g):
        for index, which in ((0, "first"), (-1, "last")):
            whole = g.parts.sum(axis=outputs)  # type: ignore[union-attr]
            if trial.y.shape[axis] > 2 and g.fits(whole - _only(g, (axis,), index)):
                return Explanation("axis", f"the true one without the {which} {_place(trial, axis)}: summed too little")
    return None


def one_addend(trial: Trial, g: Gradient) -> Explanation | None:
    """A is the share of one index alone of axes of y: of one sample, one pixel, the last of a loop"""
    if g.parts is None:
        return None
    for axes in _subsets(trial.y.ndim - 1):
        if np.prod([trial.y.shape[axis] for axis in axes]) < 2:
            continue
        what = " and ".join(_place(trial, axis) for axis in axes)
        if g.fits(_only(g, axes, -1)):
            return Explanation("not added up", f"the share of the last {what} alone: = stands where += belongs")
        if g.fits(_only(g, axes, 0)):
            return Explanation("not added up", f"the share of the first {what} alone: not summed over all")
    return None


def own_share(trial: Trial, g: Gradient) -> Explanation | None:
    """dx holds only what reaches the same sample (or place) of y, where x reaches others too: a broadcast that is not summed"""
    if g.parts is None or g.name != "x":
        return None
    shared = [axis for axis in range(min(g.analytic.ndim, trial.y.ndim)) if g.analytic.shape[axis] == trial.y.shape[axis]]
    for axes in _subsets(len(shared)):
        parts = g.parts
        for axis in (shared[a] for a in axes):
            parts = parts * _diagonal(parts, axis, g.analytic.ndim + axis)
        if g.fits(parts.sum(axis=tuple(range(g.analytic.ndim, parts.ndim)))):
            what = " and ".join(_place(trial, shared[a]) for a in axes)
            why = "the diagonal of ∂y/∂x" if trial.y.ndim - 1 in (shared[a] for a in axes) else "a broadcast not summed"
            words = f"what x brings to its own {what} of y alone: it reaches the others too, {why}"
            return Explanation("not added up", words)
    return None


def one_of_several(trial: Trial, g: Gradient) -> Explanation | None:
    """Each entry of dx is the share of the first, or of the last, of the places of y that it reaches"""
    if g.parts is None or trial.y.ndim < 3:
        return None
    shares = np.nan_to_num(g.parts.sum(axis=-1).reshape(g.analytic.size, -1))  # of each place of y, its channels added up
    reaches = np.abs(shares) > 1e-9 * np.abs(shares).max()
    several = int((reaches.sum(axis=1) > 1).sum())
    rows, count = np.arange(len(shares)), shares.shape[1]
    for which, place in (("first", reaches.argmax(axis=1)), ("last", count - 1 - reaches[:, ::-1].argmax(axis=1))):
        if several > FEW and g.fits(shares[rows, place].reshape(g.analytic.shape)):
            words = f"the {which} share alone where several should be added up: = stands where += belongs"
            return Explanation("not added up", words)
    return None


def _only(g: Gradient, axes: tuple[int, ...], index: int) -> np.ndarray:
    """The share of one index along axes of y, summed over all others."""
    parts = g.parts
    for axis in sorted(axes, reverse=True):
        parts = parts.take(index, axis=g.analytic.ndim + axis)  # type: ignore[union-attr]
    return parts.sum(axis=tuple(range(g.analytic.ndim, parts.ndim)))  # type: ignore[union-attr]


def _diagonal(parts: np.ndarray, a: int, b: int) -> np.ndarray:
    """1 where the indices along two axes of one length are equal, else 0."""
    shape = [1] * parts.ndim
    shape[a] = shape[b] = parts.shape[a]
    return np.eye(parts.shape[a]).reshape(shape)


def _output_axes(trial: Trial, g: Gradient) -> Iterator[tuple[int, tuple[int, ...]]]:
    """(an axis of y but the last, those of all outputs in parts)"""
    if g.parts is not None:
        for axis in range(trial.y.ndim - 1):
            yield axis, tuple(range(g.analytic.ndim, g.parts.ndim))


def _subsets(count: int) -> Iterator[tuple[int, ...]]:
    """Axes alone, then two together, and so on."""
    for size in range(1, count + 1):
        yield from itertools.combinations(range(count), size)


def _place(trial: Trial, axis: int) -> str:
    """What an index along an axis of y is."""
    if axis == 0:
        return "sample"
    if axis == trial.y.ndim - 1:
        return "channel"
    return "row" if axis == 1 and trial.y.ndim == 4 else "column" if axis == 2 and trial.y.ndim == 4 else "place"
