"""Figures: which arrays a station shows, how much of them, and under which caption."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from minigan.explain.formulas import formulas_of
from minigan.explain.page.arrays import Arrays
from minigan.explain.page.budget import Budget
from minigan.explain.page.place import Place
from minigan.explain.step import Nudge
from minigan.layers import BatchNorm, Conv2d, ConvTranspose2d, Dense, Layer
from minigan.network import Sequential

SAMPLE_AXES = {2: ["n", "k"], 3: ["n", "h", "c"], 4: ["n", "h", "w", "c"]}
_WEIGHT_WORDS = {"bias": ", added along the last axis of y", "gamma": " γ, the scale", "beta": " β, the shift"}


class Figures:
    """Makes figures within a budget; their values go to `arrays`."""

    def __init__(self, arrays: Arrays, budget: Budget) -> None:
        self.arrays, self.budget = arrays, budget

    def samples(self, role: str, caption: str, arrays: Mapping[str, np.ndarray], image: bool = False) -> dict[str, Any]:
        """Of samples, by branch: the first few of the batch, with all or the first of their channels.

        image: whether these are what D sees. Grey or RGB within [−1, 1] are then shown as a picture, and not as signed numbers.
        """
        one = next(iter(arrays.values()))
        kept = {branch: self.budget.of_samples(a) for branch, a in arrays.items()}
        part = next(iter(kept.values()))
        if part.shape[1:] != one.shape[1:]:
            caption += f" (the first {part.shape[-1]} of {one.shape[-1]} channels)"
        pictures = image and part.ndim == 4 and part.shape[1:] == one.shape[1:] and part.shape[-1] in (1, 3)
        pictures = pictures and all(float(np.abs(a).max()) <= 1 for a in arrays.values())
        if pictures and part.shape[-1] == 3:
            caption += "; in colour, then red, green and blue"
        return {
            "role": role,
            "caption": caption,
            "sampled": True,
            "style": "image" if pictures else "signed",
            "axes": SAMPLE_AXES.get(one.ndim, ["n", *(f"i{k}" for k in range(one.ndim - 1))]),
            "whole": part.shape[1:] == one.shape[1:],
            "arrays": {branch: self.arrays.add(a) for branch, a in kept.items()},
        }

    def weights(
        self, layer: Layer, name: str, role: str, value: np.ndarray, caption: str = "", marks: Sequence[Nudge] = ()
    ) -> dict[str, Any]:
        """Of a parameter or its gradient; marks: the entries that can be nudged."""
        axes = _weight_axes(layer, value.ndim)
        part = self.budget.of_weights(value)
        caption = caption or f"{name}{_WEIGHT_WORDS.get(name, '') if formulas_of(layer) else ''}"
        if "in" in axes and min(value.shape[-2:]) > 1:
            caption += f"; rows: {axes[-2]}, columns: {axes[-1]}"
        if part.shape != value.shape:
            caption += f" (the first {'×'.join(map(str, part.shape))} of {'×'.join(map(str, value.shape))})"
        return {
            "role": role,
            "caption": caption,
            "sampled": False,
            "style": "signed",
            "axes": axes,
            "whole": part.shape == value.shape,
            "arrays": {"": self.arrays.add(part)},
            "marks": [list(mark.where) for mark in marks],
        }

    def three_paths(self, place: Place, weights: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
        """The parts of BatchNorm's dx, by the path on which x acts on the output."""
        if not isinstance(place.layer, BatchNorm) or formulas_of(place.layer) is None:
            return []
        x, dy, dx = place.inputs(), place.output_grads(), place.input_grads()
        parts = {branch: batch_norm_paths(place.layer, weights["gamma"], x[branch], dy[branch], dx[branch]) for branch in dx}
        words = {"direct": "by itself: γ/√(v + ε) · dy", "mean": "through the mean", "variance": "through the variance"}
        return [
            self.samples(
                f"path_{name}", f"the part of dx {words[name]}", {branch: part[name] for branch, part in parts.items()}
            )
            for name in words
        ]


def _weight_axes(layer: Layer, ndim: int) -> list[str]:
    """The names of a parameter's axes: those of a layer not known are counted."""
    if ndim == 1:
        return ["k"]
    if formulas_of(layer) is not None and isinstance(layer, (Dense, Conv2d, ConvTranspose2d)):
        ends = ["out", "in"] if isinstance(layer, ConvTranspose2d) else ["in", "out"]
        return [*"ij"[: ndim - 2], *ends]
    return [f"i{k}" for k in range(ndim)]


def batch_norm_paths(
    layer: BatchNorm, gamma: np.ndarray, x: np.ndarray, dy: np.ndarray, dx: np.ndarray
) -> dict[str, np.ndarray]:
    """dx in three parts, found by the layer itself.

    At inference mean and variance are constants: with those of this batch, its backward pass gives the direct part. The mean is
    one number per channel and acts on all values alike: it sends the same back to each. The rest came through the variance.
    """
    net, axes = Sequential([layer.fresh()], x.shape[1:], "textbook", "float64"), tuple(range(x.ndim - 1))
    net.params["0.gamma"][...] = gamma
    net.state["0.running_mean"][...], net.state["0.running_var"][...] = x.mean(axes), x.var(axes)
    _, caches = net.forward(x)
    direct = net.backward(dy, caches)
    assert direct is not None
    mean = np.broadcast_to((dx - direct).mean(axes), x.shape)
    return {"direct": direct, "mean": mean, "variance": dx - direct - mean}


def explorer(place: Place, direction: str) -> dict[str, Any] | None:
    """What the page needs to find out which values made another: a convolution's geometry, and which side is which."""
    layer = place.layer
    if not isinstance(layer, (Conv2d, ConvTranspose2d)) or formulas_of(layer) is None:
        return None
    transposed = isinstance(layer, ConvTranspose2d)
    result, source = ("y", "x") if direction == "forward" else ("dx", "dy")
    return {
        "geometry": {name: list(pair) for name, pair in asdict(layer.geometry).items()},
        "result": result,
        "source": source,
        # A convolution reads the image; its transpose, and its own backward pass, write it.
        "image": source if transposed != (direction == "forward") else result,
        "bias": "bias" in layer.parameters and direction == "forward",
    }
