"""A computation of many kernels as one CUDA graph: recorded once, then replayed by a single launch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from minigan.backends.base import Array, Backend
from minigan.backends.recording import Results
from minigan.errors import DeviceMemoryError


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
        stream: Any,
        flush: Callable[[], None],
        gather: Callable[[list[Array]], Array | None],
        written: Sequence[Array],
    ) -> None:
        self._backend, self._flush, self.written = backend, flush, list(written)
        self._before: list[Array] = []
        self._graph, self._pool, self._results = _record(backend, compute, stream, gather)

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
    backend: Backend, compute: Callable[[], Any], stream: Any, gather: Callable[[list[Array]], Array | None]
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
    with cuda.using_allocator(pool.malloc), stream:
        stream.begin_capture()
        try:
            results = Results(backend, compute(), gather)
        except BaseException:
            with suppress(Exception):  # that it was cut short
                stream.end_capture()
            raise
        graph = stream.end_capture()
    if pool.total_bytes() != sum(taken):
        # Short of memory, a pool gives back what lies free in it and tries again. What lies free here is scratch memory
        # that launches recorded before will write to.
        raise DeviceMemoryError("the GPU has too little room for the memory of its own that a graph needs")
    return graph, pool, results
