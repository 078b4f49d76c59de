"""Samples that a generator could never make: NaN, or 0 … 255 for one that ends in Tanh. Refused before it learns from them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigan.errors import DataError
from minigan.layers import Reshape, Sigmoid, Tanh

FAR = 8.0  # images with noise on them may well leave [−1, 1]; pixels leave this


class RangeCheck:
    """Called with each batch of real samples, it raises DataError for NaN and for what the generator is far from making.

    exact: in words, what takes no value outside [−1, 1] at all.
    On a GPU it looks at the first batch alone, for reading a value waits for the device.
    """

    def __init__(self, generator: Any, exact: str = "") -> None:
        last = next((layer for layer in reversed(generator.layers) if not isinstance(layer, Reshape)), None)
        self._taker = f"this generator ends in {last.name}" if isinstance(last, (Tanh, Sigmoid)) else exact
        self._far = 1.0 if exact else FAR
        self._looked = False

    def __call__(self, real: Any) -> None:
        if self._looked and type(real) is not np.ndarray:
            return
        low, high = float(real.min()), float(real.max())
        if not math.isfinite(low - high):
            raise DataError("real samples hold NaN or infinite numbers: remove those samples first")
        if self._taker and not -self._far <= low <= high <= self._far:
            raise DataError(
                f"real samples lie in [{low:.4g}, {high:.4g}], and {self._taker}: bring them to "
                "[-1, 1], pixels by x / 127.5 - 1, or give them as uint8 to minigan.Batches, which does so"
            )
        self._looked = bool(low or high)  # a rehearsal on zeros is no look
