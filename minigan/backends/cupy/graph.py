"""A computation of many kernels as one CUDA graph: recorded once, then replayed by a single launch.

Where the host has something to do in the midst of it, such as a sum over several processes, the graph is cut there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from minigan.backends.base import Array, Backend
from minigan.backends.recording import Results
from minigan.errors import DeviceMemoryError


class Parts:
    """Graphs, and what the host does after each but the last; launched one after the other."""

    def __init__(self, pairs: Sequence[tuple[Any, Callable[[], None]]], last: Any) -> None:
        self._pairs, self._last = pairs, last

    def launch(self) -> None:
        for graph, work in self._pairs:
            graph.launch()
            work()
        self._last.launch()


class Capture:
    """What is given to a stream, as a graph, from begin to end; cut where the host is to work."""

    def __init__(self, stream: Any) -> None:
        self.stream, self._pairs = stream, list[tuple[Any, Callable[[], None]]]()

    def begin(self) -> None:
        self.stream.begin_capture()

    def cut(self, work: Callable[[], None]) -> None:
        """Here, each time that the graph is launched, work() is done by the host. It is not done now."""
        self._pairs.append((self.stream.end_capture(), work))
        self.stream.begin_capture()

    def end(self) -> Any:
        graph = self.stream.end_capture()
        return Parts(self._pairs, graph) if self._pairs else graph


class Graph:
    """A CUDA graph and the results of what it repeats, as minigan.capture takes them.

    A replay brings the scalars that were set to the device and launches the graph. The results are copied each time, for the
    next replay writes to the same places. What lies between is memory of the graph's own.

    flush: brings the scalars over. gather: makes one vector of results without axes, within the graph.
    written: the arrays that the computation writes to, random streams included.
    """

    def __init__(
        self,
        backend: Backend,
        compute: Callable[[], Any],
        capture: Capture,
        flush: Callable[[], None],
        gather: Callable[[list[Array]], Array | None],
        written: Sequence[Array],
    ) -> None:
        self._backend, self._flush, self.written = backend, flush, list(written)
        self._before: list[Array] = []
        self._graph, self._pool, self._results = _record(backend, compute, capture, gather)

    @property
    def has_room_beside(self) -> bool:
        """True if the device has room for the same computation, run eagerly: it takes as much as the graph has of its own."""
        free, _ = self._backend.xp.cuda.runtime.memGetInfo()
        return free >= self._pool.total_bytes()

    def replay(self) -> Any:
        self._flush()
        self._graph.launch()
        return self._results.copy()

    def snapshot(self) -> None:
        """Keep what a replay will write to."""
        self._before = [array.copy() for array in self.written]

    def rollback(self) -> None:
        """All arrays as they were at the snapshot."""
        for array, before in zip(self.written, self._before, strict=True):
            array[...] = before

    def discard(self) -> None:
        """Drop the snapshot: there will be no rollback."""
        self.written, self._before = [], []
        self._backend.xp.get_default_memory_pool().free_all_blocks()  # what the step took as it ran eagerly


def _record(
    backend: Backend, compute: Callable[[], Any], capture: Capture, gather: Callable[[list[Array]], Array | None]
) -> tuple[Any, Any, Results]:
    """(the graph, the pool of its memory, the results); nothing runs on the device meanwhile."""
    cuda = backend.xp.cuda
    backend.xp.get_default_memory_pool().free_all_blocks()  # what eager calls took, for the graph needs as much again
    taken: list[int] = []  # bytes of each block that the pool got from the device

    def allocate(size: int) -> Any:
        block = cuda.MemoryPointer(cuda.Memory(size), 0)
        taken.append(size)
        return block

    pool = cuda.MemoryPool(allocate)
    with cuda.using_allocator(pool.malloc), capture.stream:
        capture.begin()
        try:
            results = Results(backend, compute(), gather)
        except BaseException:
            with suppress(Exception):  # that it was cut short
                capture.end()
            raise
        graph = capture.end()
    if pool.total_bytes() != sum(taken):
        # Short of memory, a pool gives back what lies free in it and tries again. What lies free here is scratch memory
        # that launches recorded before will write to.
        raise DeviceMemoryError("the GPU has too little room for the memory of its own that a graph needs")
    return graph, pool, results
