"""The fast CPU backend: the textbook's arithmetic in blocks that stay in cache, spread over one Python thread per core.

BLAS is held to one thread, but for products of middling size: its own threads spin for a while after each product and take
the cores away from whatever comes next. Its settings are put back after every call. Blocks are dealt to threads by
position, never by arrival, and partial sums are added in that order: two runs with one thread count give the same bytes.
"""

from __future__ import annotations

import contextvars
import math
import os
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any

import numpy as np
from threadpoolctl import ThreadpoolController

from minigan.backends.base import Array, Backend, ConvGeometry, Formula
from minigan.errors import BackendError

_ELEMENTS = 1 << 15  # elements of a block of an element-wise formula: its operands stay in a core's cache
_COLUMNS = 1 << 18  # elements of a block's im2col rows: 1 MiB in float32
_SPREAD = 1 << 17  # elements from which an element-wise formula is worth more than one thread
_SHARED_PRODUCT, _LARGE_PRODUCT = 1 << 23, 1 << 25  # multiplications from which BLAS, or we, put several threads to a product
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


class Workers:
    """Threads that wait for work, woken through queues of their own: a quarter of a concurrent.futures executor's delay."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._tasks: list[SimpleQueue[Any]] = []

    def run(self, work: Callable[[Any], Any], shares: Sequence[Any]) -> list[Any]:
        """[work(share) for share in shares]: the first by the caller, each other by a worker. An error of any is raised."""
        while len(self._tasks) < min(self._count, len(shares) - 1):
            self._tasks.append(SimpleQueue())
            threading.Thread(target=_serve, args=(self._tasks[-1],), name="minigan", daemon=True).start()
        done: SimpleQueue[Any] = SimpleQueue()
        for index, share in enumerate(shares[1:], 1):
            # Workers heed the caller's np.errstate, which lives in its context.
            self._tasks[index - 1].put((contextvars.copy_context(), work, share, index, done))
        outcomes = [(0, *_attempt(work, shares[0])), *(done.get() for _ in shares[1:])]
        for _, _, error in outcomes:
            if error is not None:
                raise error
        return [value for _, value, _ in sorted(outcomes, key=lambda outcome: outcome[0])]


def _serve(tasks: SimpleQueue[Any]) -> None:
    while True:
        context, work, share, index, done = tasks.get()
        done.put((index, *context.run(_attempt, work, share)))


def _attempt(work: Callable[[Any], Any], share: Any) -> tuple[Any, BaseException | None]:
    try:
        return work(share), None
    except BaseException as error:  # handed to the caller, who raises it
        return None, error


class NumpyBackend(Backend):
    """The textbook's operations on MINIGAN_NUM_THREADS threads (default: the cores that this process may use)."""

    name = "numpy"

    def __init__(self) -> None:
        super().__init__(np)
        self.threads = _thread_count()
        self._blas = [library for library in ThreadpoolController().lib_controllers if library.user_api == "blas"]
        self._buffers = BufferPool()
        self._workers = Workers(self.threads - 1)

    @property
    def device(self) -> str:
        return f"{super().device}, {self.threads} {'thread' if self.threads == 1 else 'threads'}"

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        return self._buffers.array(shape, dtype)

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Array:
        array = self.empty(shape, dtype)
        array[...] = 0
        return array

    def _spread(self, work: Callable[[Sequence[slice]], Any], rows: int, block: int, threads: int = 0) -> list[Any]:
        """work(its blocks of rows) on every thread, contiguous runs of blocks each; the results in the order of rows."""
        blocks = [slice(start, min(start + block, rows)) for start in range(0, rows, block)]
        share = -(-len(blocks) // (threads or self.threads))
        with self._blas_threads(1):
            return self._workers.run(work, [blocks[start : start + share] for start in range(0, len(blocks), share)])

    @contextmanager
    def _blas_threads(self, count: int) -> Iterator[None]:
        """Hold BLAS to so many threads, and put its own number back afterwards."""
        before = [library.get_num_threads() for library in self._blas]
        try:
            for library in self._blas:
                library.set_num_threads(count)
            yield
        finally:
            for library, own in zip(self._blas, before, strict=True):
                library.set_num_threads(own)

    # -- products and sums ---------------------------------------------------------------------------------------------

    def matmul(self, a: Array, b: Array) -> Array:
        out = self.empty((a.shape[0], b.shape[1]), a.dtype)

        def work(blocks: Sequence[slice]) -> None:
            for rows in blocks:
                np.matmul(a[rows], b, out=out[rows])

        size = a.size * b.shape[1]
        if _SHARED_PRODUCT <= size < _LARGE_PRODUCT:
            with self._blas_threads(self.threads):  # too short to wake a Python thread for
                return np.matmul(a, b, out=out)
        self._spread(work, len(a), -(-len(a) // self.threads) if size >= _LARGE_PRODUCT else len(a))
        return out

    def column_sum(self, x: Array) -> Array:
        """A product with ones: BLAS reads memory faster than a reduction over the outer axis."""
        return self._sum_rows(lambda rows, flat: np.ones(len(flat[rows]), x.dtype) @ flat[rows], x)

    def column_dot(self, x: Array, y: Array) -> Array:
        other = y.reshape(-1, y.shape[-1])
        return self._sum_rows(lambda rows, flat: np.einsum("rc,rc->c", flat[rows], other[rows]), x)

    def _sum_rows(self, part: Callable[[slice, Array], Array], x: Array) -> Array:
        """Σ part(rows) over blocks of the rows of x (…, C)."""
        flat = x.reshape(-1, x.shape[-1])

        def work(blocks: Sequence[slice]) -> Array:
            return sum(part(rows, flat) for rows in blocks)

        block = len(flat) if flat.size <= _ELEMENTS else max(1, 4 * _ELEMENTS // flat.shape[1])
        return sum(self._spread(work, len(flat), block))

    # -- element-wise formulas -----------------------------------------------------------------------------------------

    def elementwise(self, formula: Formula, *arrays: Array, **constants: Any) -> Array:
        shape = np.broadcast_shapes(*(a.shape for a in arrays))
        size = math.prod(shape)
        if size <= _ELEMENTS:
            return formula(np, *arrays, **constants)
        out = self.empty(shape, arrays[0].dtype)

        def work(blocks: Sequence[slice]) -> None:
            for rows in blocks:
                out[rows] = formula(np, *(_rows(a, rows, shape) for a in arrays), **constants)

        self._spread(work, shape[0], max(1, _ELEMENTS * shape[0] // size), threads=1 if size < _SPREAD else self.threads)
        return out

    def elementwise_update(self, formula: Formula, targets: tuple[Array, ...], *arrays: Array, **constants: Any) -> None:
        def work(blocks: Sequence[slice]) -> None:
            for rows in blocks:
                parts = tuple(target[rows] for target in targets)
                super(NumpyBackend, self).elementwise_update(formula, parts, *(a[rows] for a in arrays), **constants)

        rows, size = len(targets[0]), targets[0].size
        self._spread(work, rows, max(1, _ELEMENTS * rows // size), threads=1 if size < _SPREAD else self.threads)

    # -- the three convolutions, a few images at a time ----------------------------------------------------------------

    def conv2d(self, x: Array, w: Array, g: ConvGeometry) -> Array:
        y = self.empty((x.shape[0], *g.map, w.shape[-1]), x.dtype)
        matrix = w.reshape(-1, w.shape[-1])

        def work(blocks: Sequence[slice]) -> None:
            for images in blocks:
                np.matmul(self.im2col(x[images], g), matrix, out=y[images].reshape(-1, w.shape[-1]))

        self._spread(work, len(x), _images_per_block(g, w.shape[2]))
        return y

    def conv2d_transpose(self, y: Array, w: Array, g: ConvGeometry) -> Array:
        """The sub-pixel form: stride² convolutions with every stride-th tap, as one product, and an interleave.

        In the padded image, row s·i + r gets y[i − t] w[r + s·t] for t = 0 … T − 1, with T = ⌈k / s⌉ (and so for columns): for
        each of the s phases r the same window of T map rows. So no value is added twice to one place, as in col2im.
        Source: Shi et al. 2016 (arXiv:1609.05158), section 3.
        """
        if g.dilation != (1, 1):
            return super().conv2d_transpose(y, w, g)
        (kernel_h, kernel_w, channels, features), (step_h, step_w) = w.shape, g.stride
        taps = (-(-kernel_h // step_h), -(-kernel_w // step_w))
        padded = np.zeros((taps[0] * step_h, taps[1] * step_w, channels, features), w.dtype)
        padded[:kernel_h, :kernel_w] = w
        # [t, r, t', r', c, f] with t reversed, for a window meets its first map row with its last tap
        phases = padded.reshape(taps[0], step_h, taps[1], step_w, channels, features)[::-1, :, ::-1]
        matrix = phases.transpose(0, 2, 5, 1, 3, 4).reshape(taps[0] * taps[1] * features, -1)  # (T·T'·F, s·s'·C)
        (size_h, trim_h, spans_h), (size_w, trim_w, spans_w) = (_phases(g, axis) for axis in (0, 1))
        windows = ConvGeometry(taps, (1, 1), (taps[0] - 1 - trim_h, taps[1] - 1 - trim_w), (1, 1), g.map, (size_h, size_w))
        allocate = self.zeros if any(g.output_padding) else self.empty  # rows of output_padding that no window reaches are 0
        x = allocate((len(y), *g.image, channels), y.dtype)

        def work(blocks: Sequence[slice]) -> None:
            for images in blocks:
                rows = self.im2col(y[images], windows)
                product = np.matmul(rows, matrix, out=self.empty((len(rows), matrix.shape[1]), y.dtype))
                tiles = product.reshape(-1, size_h, size_w, step_h, step_w, channels)
                for i, (x_rows, tile_rows) in enumerate(spans_h):
                    for j, (x_columns, tile_columns) in enumerate(spans_w):
                        x[images, x_rows, x_columns] = tiles[:, tile_rows, tile_columns, i, j]

        self._spread(work, len(y), _images_per_block(windows, features))
        return x

    def conv2d_weight_grad(self, x: Array, y: Array, g: ConvGeometry) -> Array:
        features, width = y.shape[-1], g.kernel[0] * g.kernel[1] * x.shape[-1]

        def work(blocks: Sequence[slice]) -> Array:
            total, part = self.zeros((width, features), x.dtype), self.empty((width, features), x.dtype)
            for images in blocks:
                columns = self.im2col(x[images], g)
                total += np.matmul(columns.T, y[images].reshape(len(columns), features), out=part)
            return total

        parts = self._spread(work, len(x), _images_per_block(g, x.shape[-1]))
        return sum(parts[1:], start=parts[0]).reshape(*g.kernel, x.shape[-1], features)


def _phases(g: ConvGeometry, axis: int) -> tuple[int, int, list[tuple[slice, slice]]]:
    """How the phases r of s·i + r fill one axis of an image: (windows needed, windows left out at each end, spans).

    A span is (the image's rows of that phase, the windows i they come from). Windows that would only fill the image's border
    of padding are left out, equally many at both ends, so that the windows' own padding stays the same at both.
    """
    step, pad, length = g.stride[axis], g.padding[axis], g.image[axis]
    taps = -(-g.kernel[axis] // step)
    windows = g.map[axis] + taps - 1
    spans = []
    for phase in range(step):
        first = max(0, -(-(pad - phase) // step))
        start = step * first + phase - pad
        spans.append((start, first, max(0, min(windows - first, -(-(length - start) // step)))))
    used = [(first, first + count) for _, first, count in spans if count]
    trim = min(min(low for low, _ in used), windows - max(high for _, high in used), taps - 1)
    slices = [
        (slice(start, start + step * count, step), slice(first - trim, first - trim + count)) for start, first, count in spans
    ]
    return windows - 2 * trim, trim, slices


def _images_per_block(g: ConvGeometry, channels: int) -> int:
    return max(1, _COLUMNS // (g.map[0] * g.map[1] * g.kernel[0] * g.kernel[1] * channels))


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
