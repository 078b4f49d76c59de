"""Streams of random numbers: one seed gives many, and no two of them share a draw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minigan.backends.machine import Machine
from minigan.distributed import ALONE
from minigan.sizes import seed_parts

Seed = int | Sequence[int]

# What is drawn from a seed, each with a tag of its own. A new use of the seed is a new line, with a number that is not taken.
STREAMS = {
    "weights": 1,
    "dropout": 2,
    "noise": 3,
    "data order": 4,
    "samples": 5,
    "monitor": 6,
    "monitor's dropout": 7,
    "checks": 8,
    "explain": 9,
    "penalty": 10,
    "evaluate": 11,
    "instance noise": 12,
    "held out": 20,
}


def stream(name: str, seed: Seed, *place: int) -> list[int]:
    """The entropy of one of STREAMS, for a seed and a place within it (a layer, an epoch), as NumPy and Generator take it.

    NumPy pads entropy with zeros, so that default_rng((s, 0)) is default_rng(s), and splits large numbers into words of 32
    bits. Here lengths stand before what they measure: different arguments give different entropy, whatever is padded.
    A seed s and the sequence (s,) are one seed. Raises OptionError unless the seed is made of whole numbers from 0 up.
    """
    entropy = [STREAMS[name]]
    for parts in (seed_parts(seed), place):
        entropy.append(len(parts))
        for part in parts:
            words = [part >> shift & 0xFFFFFFFF for shift in range(0, max(part.bit_length(), 1), 32)]
            entropy += [len(words), *words]
    return entropy


class Generator:
    """A seeded stream of random numbers; `state` is plain JSON, and setting it continues the stream exactly there.

    machine: whose ranks share a batch of which the first axis of what is drawn counts the samples (see Machine.over).
    """

    def __init__(self, seed: Seed, machine: Machine | None = None) -> None:
        self._rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed_parts(seed))))
        self._machine = machine

    def normal(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """Independent draws from N(0, 1)."""
        return self._own_rows("standard_normal", shape, dtype)

    def uniform(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """Independent draws from U[0, 1)."""
        return self._own_rows("random", shape, dtype)

    def _own_rows(self, method: str, shape: tuple[int, ...], dtype: Any) -> Any:
        """Each rank draws for the whole batch, and keeps the rows of its own samples: its stream is that of one process."""
        ranks = ALONE if self._machine is None else self._machine.ranks
        if ranks.size == 1:
            return self._draw(method, shape, dtype)
        return self._draw(method, (ranks.size * shape[0], *shape[1:]), dtype)[ranks.own(shape[0])]

    def _draw(self, method: str, shape: tuple[int, ...], dtype: Any) -> Any:
        return getattr(self._rng, method)(shape, dtype=dtype)

    @property
    def state(self) -> Any:
        return self._rng.bit_generator.state

    @state.setter
    def state(self, state: Any) -> None:
        self._rng.bit_generator.state = state
