"""The fast CPU backend: the textbook's arithmetic in blocks that stay in cache, spread over one Python thread per core.

Inside a threaded section BLAS is held to one thread, so that threads do not fight over cores; outside, its settings are
untouched. Blocks are dealt to threads by position, never by arrival, and partial sums are added in that order: two runs
with one thread count give the same bytes.
"""

from __future__ import annotations

import contextvars
import math
import os
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from threadpoolctl import ThreadpoolController

from minigan.backends.base import Array, Backend, ConvGeometry, Formula
from minigan.errors import BackendError

_BLOCK = 1 << 16  # elements of one block: 256 KiB in float32, so that a formula's operands stay in a core's L2 cache
_POOLED = 1 << 16  # bytes from which a buffer is worth keeping: malloc maps larger ones anew at every call


class BufferPool:
    """Keeps the memory of dropped arrays for the next array of that size, page faults paid once.

    `array` hands out a view of a block; when the last view of it is gone, the block goes back. No counting by hand.
    """

    def __init__(self) -> None:
        self._free: dict[int, list[bytearray]] = {}
        self._lock = threading.Lock()

    def array(self, shape: tuple[int, ...], dtype: Any) -> Array:
        dtype = np.dtype(dtype)
        size = math.prod(shape) * dtype.itemsize
        if size < _POOLED:
            return np.empty(shape, dtype)
        with self._lock:
            blocks = self._free.setdefault(size, [])
            block = blocks.pop() if blocks else bytearray(size)
        flat = np.frombuffer(block, dtype)
        weakref.finalize(flat, blocks.append, block).atexit = False
        return flat.reshape(shape)


class NumpyBackend(Backend):
    name = "numpy"

    def __init__(self) -> None:
        super().__init__(np)
        self.threads = _thread_count()
        self._blas = ThreadpoolController()
        self._buffers = BufferPool()
        self._workers: ThreadPoolExecutor | None = None  # started at first use

    @property
    def device(self) -> str:
        return f"{super().device}, {self.threads} {'thread' if self.threads == 1 else 'threads'}"

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        return self._buffers.array(shape, dtype)

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Array:
        array = self.empty(shape, dtype)
        array[...] = 0
        return array

    def _spread(self, work: Callable[[slice], Any], rows: int, block: int) -> list[list[Any]]:
        """work(rows of one block) for every block, dealt to the threads in contiguous runs; the results in order."""
        starts = range(0, rows, block)
        share = -(-len(starts) // self.threads)

        def run(thread: int) -> list[Any]:
            mine = starts[thread * share : (thread + 1) * share]
            return [work(slice(start, min(start + block, rows))) for start in mine]

        if self._workers is None:
            self._workers = ThreadPoolExecutor(self.threads, thread_name_prefix="minigan")
        contexts = [contextvars.copy_context() for _ in range(self.threads)]  # workers heed the caller's np.errstate
        with self._blas.limit(limits=1, user_api="blas"):
            return list(self._workers.map(lambda thread: contexts[thread].run(run, thread), range(self.threads)))

    # -- products and sums ---------------------------------------------------------------------------------------------

    def matmul(self, a: Array, b: Array) -> Array:
        return np.matmul(a, b, out=self.empty((a.shape[0], b.shape[1]), a.dtype))

    def column_sum(self, x: Array) -> Array:
        rows = x.reshape(-1, x.shape[-1])
        return np.ones(len(rows), x.dtype) @ rows  # BLAS reads memory faster than a reduction over the outer axis

    # -- element-wise formulas -----------------------------------------------------------------------------------------

    def elementwise(self, formula: Formula, *arrays: Array, **constants: Any) -> Array:
        shape = np.broadcast_shapes(*(a.shape for a in arrays))
        size = math.prod(shape)
        if size <= _BLOCK:
            return formula(np, *arrays, **constants)
        out = self.empty(shape, arrays[0].dtype)

        def work(rows: slice) -> None:
            out[rows] = formula(np, *(_rows(a, rows, shape) for a in arrays), **constants)

        self._spread(work, shape[0], max(1, _BLOCK * shape[0] // size))
        return out

    def elementwise_update(self, formula: Formula, targets: tuple[Array, ...], *arrays: Array, **constants: Any) -> None:
        def work(rows: slice) -> None:
            parts = tuple(target[rows] for target in targets)
            super(NumpyBackend, self).elementwise_update(formula, parts, *(a[rows] for a in arrays), **constants)

        size = targets[0].size
        if size <= _BLOCK:
            work(slice(None))
        else:
            self._spread(work, len(targets[0]), max(1, _BLOCK * len(targets[0]) // size))

    # -- the three convolutions, a few images at a time ----------------------------------------------------------------

    def conv2d(self, x: Array, w: Array, g: ConvGeometry) -> Array:
        y = self.empty((x.shape[0], *g.map, w.shape[-1]), x.dtype)
        matrix = w.reshape(-1, w.shape[-1])

        def work(images: slice) -> None:
            np.matmul(self.im2col(x[images], g), matrix, out=y[images].reshape(-1, w.shape[-1]))

        self._spread(work, len(x), _images_per_block(g, w.shape[2]))
        return y

    def conv2d_transpose(self, y: Array, w: Array, g: ConvGeometry) -> Array:
        x = self.empty((y.shape[0], *g.image, w.shape[2]), y.dtype)

        def work(images: slice) -> None:
            x[images] = super(NumpyBackend, self).conv2d_transpose(y[images], w, g)

        self._spread(work, len(y), _images_per_block(g, w.shape[2]))
        return x

    def conv2d_weight_grad(self, x: Array, y: Array, g: ConvGeometry) -> Array:
        def work(images: slice) -> Array:
            columns = self.im2col(x[images], g)
            return columns.T @ y[images].reshape(len(columns), -1)

        parts = self._spread(work, len(x), _images_per_block(g, x.shape[-1]))
        return sum(part for run in parts for part in run).reshape(*g.kernel, x.shape[-1], y.shape[-1])


def _images_per_block(g: ConvGeometry, channels: int) -> int:
    return max(1, _BLOCK // (g.map[0] * g.map[1] * g.kernel[0] * g.kernel[1] * channels))


def _rows(array: Array, rows: slice, shape: tuple[int, ...]) -> Array:
    """The part of an operand that meets these rows of the broadcast shape; what is broadcast along rows stays whole."""
    return array[rows] if array.ndim == len(shape) and array.shape[0] == shape[0] else array


def _thread_count() -> int:
    """MINIGAN_NUM_THREADS, else the cores that this process may use."""
    wanted = os.environ.get("MINIGAN_NUM_THREADS", "")
    if not wanted:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not wanted.isdigit() or int(wanted) < 1:
        raise BackendError(f"MINIGAN_NUM_THREADS is {wanted!r}: set it to a number of threads from 1 up, or unset it")
    return int(wanted)
