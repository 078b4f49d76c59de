"""Points in their plane: where samples or codes lie, what a GAN's D thinks of every place, and where points are sent."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import Any

import numpy as np

from minigan.explain.page.arrays import Arrays
from minigan.layers.elementwise import sigmoid
from minigan.network import Sequential

CELLS = 48  # of the landscape, along either axis
MOST = 512  # points of a kind


class Plane:
    """Makes pictures of points (x, y) of two kinds, "real" and "generated"; `box` holds all of them, with a margin.

    names: what the kinds are called.
    """

    def __init__(
        self, arrays: Arrays, points: Mapping[str, np.ndarray], names: Mapping[str, str], probabilities: bool = False
    ) -> None:
        self.arrays, self.names, self.probabilities = arrays, names, probabilities
        every = np.concatenate(list(points.values()))
        centre, reach = (every.max(axis=0) + every.min(axis=0)) / 2, 0.6 * float(np.ptp(every, axis=0).max() or 1.0)
        self.box = [float(v) for v in (centre[0] - reach, centre[0] + reach, centre[1] - reach, centre[1] + reach)]

    def named(self, **names: str) -> Plane:
        """The same plane, with other names for some kinds."""
        other = copy(self)
        other.names = {**self.names, **names}
        return other

    def picture(
        self,
        caption: str,
        points: Mapping[str, np.ndarray],
        judge: tuple[Sequential, Mapping[str, np.ndarray]] | None = None,
        arrows: np.ndarray | None = None,
    ) -> dict[str, Any]:
        """points: by their kind. judge: D and its parameters, for the landscape. arrows: from generated points."""
        shown: dict[str, Any] = {
            "caption": caption,
            "box": self.box,
            "names": {kind: self.names[kind] for kind in points},
            "points": {kind: self.arrays.add(values[:MOST]) for kind, values in points.items()},
        }
        if judge is not None:
            shown |= {"cells": CELLS, "landscape": self.arrays.add(self._landscape(*judge)), "sigma": self.probabilities}
        if arrows is not None:
            shown["arrows"] = self.arrays.add(arrows[:MOST])
        return shown

    def _landscape(self, net: Sequential, params: Mapping[str, np.ndarray]) -> np.ndarray:
        """D at the middle of every cell, row by row from below: σ(s), or s where that is no probability."""
        left, right, bottom, top = self.box
        middles = (np.arange(CELLS) + 0.5) / CELLS
        across, up = np.meshgrid(left + (right - left) * middles, bottom + (top - bottom) * middles)
        judge = net.clone()
        for name, array in judge.params.items():
            array[...] = judge.backend.asarray(params[name])
        s, _ = judge.forward(judge.backend.asarray(np.stack([across.ravel(), up.ravel()], axis=1), net.dtype))
        logits = net.backend.to_numpy(s).reshape(CELLS, CELLS)
        return sigmoid(np, logits) if self.probabilities else logits


def in_inference(net: Sequential) -> str:
    """What to say of a landscape that no pass of training could show."""
    return ", in inference mode" if any(layer.random or layer.state for layer in net.layers) else ""
