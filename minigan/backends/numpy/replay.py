"""A computation recorded as a list of NumPy's calls, and what such a list must know of: new arrays, random numbers, scalars."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from minigan.backends.base import Array
from minigan.backends.expressions import Scalar
from minigan.backends.numpy.call_list import CallList
from minigan.backends.numpy.memory import BufferPool
from minigan.backends.numpy.threads import ThreadedBackend
from minigan.backends.random import Generator, Seed
from minigan.backends.recording import Results
from minigan.backends.scalars import DeviceScalar, forbid_sets
from minigan.errors import CaptureError, NotWorthCapturingError

_OF_A_RECORDING = 1.5  # times the memory that the step takes by itself; seen were 1.2


class _Recording(threading.local):
    """The recording that is under way in a Python thread."""

    calls: CallList | None = None


class ReplayedScalar(DeviceScalar):
    """While a computation is recorded, the scalar stands in formulas as what is looked up in every replay."""

    def __init__(self, backend: ReplayBackend) -> None:
        super().__init__()
        self._backend = backend

    @property
    def value(self) -> Any:
        return self._value if self._backend._recording.calls is None else Scalar(lambda constants: self._value)

    @property
    def current(self) -> float:
        """The number that was set last."""
        return self._value


class ReplayedGenerator(Generator):
    """Its numbers are drawn again in every replay."""

    def __init__(self, seed: Seed, backend: ReplayBackend) -> None:
        super().__init__(seed, backend)
        self._backend = backend

    def _draw(self, method: str, shape: tuple[int, ...], dtype: Any) -> Array:
        calls = self._backend._recording.calls
        return super()._draw(method, shape, dtype) if calls is None else calls.draw(self._rng, method, shape, dtype)


class Replay:
    """A list of calls and its results, as minigan.capture takes them."""

    has_room_beside = True  # for the same computation, run eagerly

    def __init__(self, backend: ReplayBackend, calls: CallList, results: Results) -> None:
        self._backend, self._calls, self._results = backend, calls, results
        self.snapshot, self.rollback = calls.snapshot, calls.rollback

    @property
    def written(self) -> list[Array]:
        return self._calls.written

    def discard(self) -> None:
        self._calls.discard()
        self._backend._buffers.clear()  # what the step itself took: a replay has memory of its own

    def replay(self) -> Any:
        self._backend.with_own_blas_threads(self._calls.replay)
        return self._results.copy()


class ReplayBackend(ThreadedBackend):
    """Recording, and the operations that make or move arrays."""

    records_builtins_only = True
    tracks_writes = True

    def __init__(self) -> None:
        super().__init__()
        self._buffers, self._recording = BufferPool(), _Recording()

    def record(self, compute: Callable[[], Any], arrays: Sequence[Array]) -> Replay:
        size = _OF_A_RECORDING * self._buffers.held * self.ranks.sharing
        self.require_memory(size, "a recording of the step")
        calls = CallList()
        self._recording.calls = calls
        try:
            with self.undisturbed(), forbid_sets():
                result = compute()
            results = Results(self, result, keep=calls.unwrap)
        finally:
            self._recording.calls = None
            calls.close()
            calls.rollback()
        return Replay(self, calls, results)

    def _wrap(self, *arrays: Any) -> Sequence[Any]:
        """Arrays whose operations are recorded, while a computation is; else the arrays themselves."""
        calls = self._recording.calls
        return arrays if calls is None else calls.wrap(*arrays)

    def set_threading(self, layers: Sequence[Any], batch: int) -> None:
        super().set_threading(layers, batch)
        if self._thread.own and self.threads > 1 and self._recording.calls is not None:
            raise NotWorthCapturingError("the pass has work for several threads")

    def parts(self, layers: Sequence[Any], batch: int, batches: int) -> int:
        return super().parts(layers, batch, batches) if self._recording.calls is None else 0

    def to_numpy(self, device: Array) -> np.ndarray:
        if self._recording.calls is not None:
            raise CaptureError("compute reads the values of an array")
        return super().to_numpy(device)

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        calls = self._recording.calls
        return self._buffers.array(shape, dtype) if calls is None else calls.empty(shape, dtype)

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Array:
        array = self.empty(shape, dtype)
        array[...] = 0
        return array

    def store(self, value: Array, out: Array | None) -> Array:
        return super().store(value, *self._wrap(out))

    def concatenate(self, arrays: Sequence[Array]) -> Array:
        arrays = self._wrap(*arrays)
        whole, start = self.empty((sum(map(len, arrays)), *arrays[0].shape[1:]), arrays[0].dtype), 0
        for array in arrays:
            whole[start : start + len(array)] = array
            start += len(array)
        return whole

    def all_mean(self, *arrays: Array) -> tuple[Array, ...]:
        calls, ranks = self._recording.calls, self.ranks
        if calls is None or ranks.size == 1:
            return super().all_mean(*arrays)
        # Not now: whether this rank can record what the others do too is not known yet, and nobody looks at the values.
        wrapped = calls.wrap(*arrays)
        calls.call_later(partial(ranks.all_mean, *map(calls.unwrap, wrapped)), wrapped)
        return tuple(wrapped)

    def scalar(self, dtype: Any = np.float64) -> DeviceScalar:
        if self._recording.calls is not None:
            raise CaptureError("compute makes a DeviceScalar; make it beforehand, and set it in advance")
        return ReplayedScalar(self)

    def generator(self, seed: Seed) -> Generator:
        return ReplayedGenerator(seed, self)

    def take_rows(self, values: Array, order: Array, start: DeviceScalar, count: int, dtype: Any) -> Array:
        calls, first = self._recording.calls, start
        if calls is None or not isinstance(first, ReplayedScalar):
            return super().take_rows(values, order, start, count, dtype)

        rows = calls.empty((count, *values.shape[1:]), values.dtype)
        place = calls.unwrap(rows)

        def take() -> None:
            chosen = order[int(first.current) : int(first.current) + count]
            np.take(values, chosen, axis=0, out=place, mode="clip")  # any other mode works in a copy of out

        calls.call(take)
        return rows.astype(dtype) if rows.dtype != dtype else rows
