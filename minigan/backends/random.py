"""Streams of random numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Seed = int | Sequence[int]


class Generator:
    """A seeded stream of random numbers; `state` is plain JSON, and setting it continues the stream exactly there."""

    def __init__(self, seed: Seed) -> None:
        self._rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed)))

    def normal(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """Independent draws from N(0, 1)."""
        return self._rng.standard_normal(shape, dtype=dtype)

    def uniform(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """Independent draws from U[0, 1)."""
        return self._rng.random(shape, dtype=dtype)

    @property
    def state(self) -> Any:
        return self._rng.bit_generator.state

    @state.setter
    def state(self, state: Any) -> None:
        self._rng.bit_generator.state = state
