"""Random numbers drawn on the device."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigan.backends.base import Array, Backend
from minigan.backends.cupy.kernels import Launch, random_source
from minigan.backends.random import Generator, Seed


class CupyGenerator(Generator):
    """Random numbers drawn on the device: draw number i of a stream is Philox's with the counter i and the stream's key.

    So the state is these two numbers, which lie on the device; the first moves on there.
    """

    def __init__(self, backend: Backend, launch: Launch, seed: Seed) -> None:
        self._backend, self._launch = backend, launch
        key = np.random.SeedSequence(seed).generate_state(1, np.uint64)[0]
        self.stream = backend.asarray(np.array([0, key], np.uint64))

    def normal(self, shape: tuple[int, ...], dtype: Any) -> Array:
        return self._own_rows("normal", shape, dtype)

    def uniform(self, shape: tuple[int, ...], dtype: Any) -> Array:
        return self._own_rows("uniform", shape, dtype)

    def _own_rows(self, method: str, shape: tuple[int, ...], dtype: Any) -> Array:
        """Any part of a draw can be made alone, so each rank makes its own rows."""
        out, source = self._backend.empty(shape, dtype), random_source(np.dtype(dtype))
        first = self._backend.ranks.rank * out.size
        threads = -(-(first + out.size) // 2) - first // 2
        self._launch(source, method, threads, out, np.uint64(first), np.uint64(out.size), self.stream)
        self._launch(source, "next_draw", 1, self.stream)
        return out

    def __reduce__(self) -> Any:
        """A copy is another stream of the same backend, which must know of it."""
        return _with_state, (self._backend, self.state)

    @property
    def state(self) -> Any:
        draws, key = self._backend.to_numpy(self.stream).tolist()
        return {"draws": draws, "key": key}

    @state.setter
    def state(self, state: Any) -> None:
        self.stream[...] = self._backend.asarray(np.array([state["draws"], state["key"]], np.uint64))


def _with_state(backend: Backend, state: Any) -> Generator:
    generator = backend.generator(0)
    generator.state = state
    return generator
