"""A step of many kernels as one CUDA graph: recorded once, then replayed by a single launch."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from minigan.backends.base import Array
from minigan.backends.results import Results
from minigan.errors import DeviceMemoryError

if TYPE_CHECKING:
    from minigan.backends.cupy.backend import CupyBackend


class CapturedStep:
    """Calls of a step: the first runs it as it is, which compiles its kernels; the second records it; each later one replays.

    A replay does the host's part (what the step gave to on_host), puts the numbers that it set on the device, and launches the
    graph. The arrays that the step returned are copied each time, for the next replay writes to the same places. What lies
    between is memory of the graph's own. Where recording fails, `say` is told why, and every call runs the step as it is.
    """

    def __init__(self, backend: CupyBackend, step: Callable[[], Any], say: Callable[[str], None]) -> None:
        self._backend, self._step, self._say = backend, step, say
        self._host: list[Callable[[], None]] = []
        self._phase = "first"

    def __call__(self) -> Any:
        if self._phase == "record":
            self._record()
        if self._phase == "replay":
            return self._replay()
        result = self._step()
        if self._phase == "first":
            self._phase = "record"
        return result

    def _record(self) -> None:
        try:
            self._capture()
            self._phase = "replay"
        except Exception as error:  # whatever CUDA, CuPy or the step itself refuse to do in a capture
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            self._say(f"no CUDA graph, each step is launched kernel by kernel: {reason}")
            self._phase = "plain"

    def _capture(self) -> None:
        """Record the step on a stream of its own. Nothing runs, neither on the device nor of the host's part."""
        be, cuda = self._backend, self._backend.xp.cuda
        be.flush_numbers()  # of what was set between the calls; within the recording nothing may be
        be.xp.get_default_memory_pool().free_all_blocks()  # what the first call took, for the graph needs as much again
        taken: list[int] = []  # bytes of each block that the pool got from the device

        def allocate(size: int) -> Any:
            block = cuda.MemoryPointer(cuda.Memory(size), 0)
            taken.append(size)
            return block

        pool, stream = cuda.MemoryPool(allocate), be.capture_stream
        with cuda.using_allocator(pool.malloc), stream, be.recording(self._host):
            stream.begin_capture()
            try:
                results = Results(be, self._step(), be.gather_numbers)
            except BaseException:
                with suppress(Exception):  # that it was cut short
                    stream.end_capture()
                raise
            graph = stream.end_capture()
        if pool.total_bytes() != sum(taken):
            # Short of memory, a pool gives back what lies free in it and tries again. What lies free here is scratch memory
            # that launches recorded before will write to.
            raise DeviceMemoryError("the GPU has too little room for the memory of its own that a graph needs")
        # The pool is kept as long as the graph, which writes to its memory.
        self._graph, self._pool, self._results = graph, pool, results

    def _replay(self) -> Any:
        for work in self._host:
            work()
        self._backend.flush_numbers()
        self._graph.launch()
        return self._results.copy()


class Board:
    """Numbers side by side in the device's memory, so that those set between two steps go over in one launch."""

    SIZE = 16

    def __init__(self, backend: CupyBackend, dtype: np.dtype) -> None:
        self._backend, self._dirty, self.taken = backend, False, 0
        self._host = np.zeros((), [("values", np.float64, self.SIZE)])  # a struct, which a launch takes by value
        self._device = backend.zeros((self.SIZE,), dtype)
        self._places = [self._device[index] for index in range(self.SIZE)]

    def place(self, index: int) -> Array:
        """The number's place on the device, without axes, up to date."""
        self.flush()
        return self._places[index]

    def set(self, index: int, value: float) -> None:
        self._host["values"][index] = value
        self._dirty = True

    def flush(self) -> None:
        """Bring the device up to date, if anything was set."""
        if self._dirty:
            self._backend.set_numbers(self._device, self._host)
            self._dirty = False
