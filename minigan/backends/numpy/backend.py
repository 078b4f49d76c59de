"""The fast CPU backend: the textbook's arithmetic in blocks, spread over one Python thread per core.

BLAS is held to one thread meanwhile, and its settings are put back after every call. In networks of products without
convolutions, or with small ones, it is BLAS that has the threads: they wake more quickly than Python's, but spin for a while
after each product. There Python's own time counts too, so a training step is recorded once and replayed (tape.py).
Blocks are dealt to threads by position, never by arrival, and partial sums are added in that order: two runs with one thread
count give the same bytes, if no other Python thread of the process runs a game beside them.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
from threadpoolctl import ThreadpoolController

from minigan.backends.base import Array, Backend, ConvGeometry, Formula, Generator, Kept, Number, Result, Seed, put
from minigan.backends.expressions import (
    Program,
    Scalar,
    UntraceableError,
    compile_formula,
    current_values,
    split_constants,
    uses,
)
from minigan.backends.numpy.memory import BufferPool, Scratch
from minigan.backends.numpy.replay import NothingToGainError, RecordedStep, Tape, UnrecordableError
from minigan.backends.numpy.winograd import Winograd
from minigan.backends.numpy.workers import Workers
from minigan.errors import BackendError

# Elements up to which a formula is quickest as it stands: alone, and in place or summed up, where a program saves more arrays.
_DIRECT, _DIRECT_IN_PLACE = 1 << 17, 1 << 14
_ELEMENTS = 1 << 18  # elements of a block of an element-wise formula: smaller ones make threads wait for the interpreter
_FOLDED = 1 << 11  # elements to which a row of channels is widened: NumPy's innermost loop is then long enough
_COLUMNS = 1 << 20  # elements of a block's im2col rows: 4 MiB in float32
_OWN_THREADS = 1 << 21  # values of im2col, the largest in a network, from which our threads and blocks are better than BLAS's
_SPREAD = 1 << 19  # elements from which an element-wise formula is worth more than one thread
# Multiplications up to which BLAS itself takes one thread, in products of matrices and with a vector.
_SMALL_PRODUCT, _SMALL_VECTOR = 1 << 18, 1 << 13
_JOINED = 1 << 15  # values of the largest array up to which D's two passes are quicker as one
_OUTER = 1 << 18  # elements up to which an outer product is quicker by BLAS
_SMALL_SUM = 1 << 17  # elements up to which column sums are quickest as a reduction
_SPREAD_PRODUCT = 1 << 22  # multiplications from which a product is worth several Python threads

# Whether minimal filtering (winograd.py) is quicker than im2col and one product depends on how fast BLAS multiplies:
# multiplications in a nanosecond, float32 on two cores, with AVX-512 and without; nanoseconds for a number of im2col, col2im.
# Only their ratios count, which other thread counts and float64 change little; an unknown BLAS is taken for the slower.
_WIDE_KERNELS = {"SkylakeX", "Cooperlake", "SapphireRapids"}  # as OpenBLAS calls them
_WIDE_RATE, _RATE = 233, 119
_IM2COL, _COL2IM = 0.17, 0.25

_BLAS_LOCK = threading.RLock()  # two threads that step two games must not mistake each other's number of threads for BLAS's own


class _BlasThreads:
    """Holds BLAS to so many threads inside a `with`, and puts its own number back afterwards: one for the whole process."""

    def __init__(self, libraries: list[Any], count: int) -> None:
        self._libraries, self._count = libraries, count

    def __enter__(self) -> None:
        _BLAS_LOCK.acquire()
        self._own = [library.get_num_threads() for library in self._libraries]
        self._set([self._count] * len(self._own))

    def __exit__(self, *error: object) -> None:
        self._set(self._own)
        _BLAS_LOCK.release()

    def _set(self, counts: list[int]) -> None:
        for library, own, count in zip(self._libraries, self._own, counts, strict=True):
            if own != self._count:
                library.set_num_threads(count)


class _ThreadState(threading.local):
    """What a Python thread's passes and steps are under way."""

    own_threads = True  # whether its pass may use threads of ours; see begin_pass
    tape: Tape | None = None  # of the step that is being recorded
    hindrances: list[Callable[[], str]] | None = None  # of the parts of the step that is to be recorded
    host_done = 0  # calls of on_host to pass over, for they were made already


class _Number(Number):
    """While a step is recorded, the number stands in formulas as what is looked up in every replay."""

    def __init__(self, thread: _ThreadState) -> None:
        self._thread, self.value = thread, 0.0

    def set(self, value: float) -> None:
        self.value = value

    @property
    def operand(self) -> Any:
        return self.value if self._thread.tape is None else Scalar(lambda constants: self.value)


class _Generator(Generator):
    """Its numbers can be drawn again in every replay of a recorded step."""

    def __init__(self, seed: Seed, thread: _ThreadState) -> None:
        super().__init__(seed)
        self._thread = thread

    def normal(self, shape: tuple[int, ...], dtype: Any) -> Array:
        tape = self._thread.tape
        return super().normal(shape, dtype) if tape is None else tape.draw(self._rng, "standard_normal", shape, dtype)

    def uniform(self, shape: tuple[int, ...], dtype: Any) -> Array:
        tape = self._thread.tape
        return super().uniform(shape, dtype) if tape is None else tape.draw(self._rng, "random", shape, dtype)


class NumpyBackend(Backend):
    """The textbook's operations on MINIGAN_NUM_THREADS threads (default: the cores that this process may use)."""

    name = "numpy"

    def __init__(self) -> None:
        super().__init__(np)
        self.threads = _thread_count()
        self._blas = [library for library in ThreadpoolController().lib_controllers if library.user_api == "blas"]
        self._buffers, self._scratch = BufferPool(), Scratch()
        self._workers = Workers(self.threads - 1)
        wide = any(library.info().get("architecture") in _WIDE_KERNELS for library in self._blas)
        self._rate = _WIDE_RATE if wide else _RATE
        self._thread = _ThreadState()

    @property
    def _own_threads(self) -> bool:
        return self._thread.own_threads

    def begin_pass(self, work: frozenset[str], values: int) -> None:
        """A network of products without convolutions, or of small ones, is left to BLAS's threads, which wake more quickly.

        They go on spinning for a while after each product and take the cores away from ours, so it is the one or the other.
        """
        is_large = "convolution" in work and values >= _OWN_THREADS
        self._thread.own_threads = is_large or not work & {"product", "convolution"}
        if self._thread.own_threads and self._thread.tape is not None:
            raise NothingToGainError("the step has work for threads")

    @property
    def device(self) -> str:
        return f"{super().device}, {self.threads} {'thread' if self.threads == 1 else 'threads'}"

    def to_numpy(self, device: Array) -> np.ndarray:
        if self._thread.tape is not None:
            raise UnrecordableError("the step reads the values of an array")
        return super().to_numpy(device)

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        tape = self._thread.tape
        return self._buffers.array(shape, dtype) if tape is None else tape.empty(shape, dtype)

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Array:
        array = self.empty(shape, dtype)
        array[...] = 0
        return array

    def clear(self, x: Array) -> None:
        super().clear(*self._seen(x))

    def joins(self, values: int) -> bool:
        return values <= _JOINED

    def join(self, a: Array, b: Array) -> Array:
        a, b = self._seen(a, b)
        both = self.empty((len(a) + len(b), *a.shape[1:]), a.dtype)
        both[: len(a)], both[len(a) :] = a, b
        return both

    # -- a step as one list of calls -----------------------------------------------------------------------------------

    def capture(self, step: Callable[[], Result], say: Callable[[str], None] = print) -> Callable[[], Result]:
        return RecordedStep(self, step, say)

    @contextmanager
    def recording(self, tape: Tape) -> Iterator[None]:
        """While a step is recorded, in this Python thread."""
        self._thread.tape = tape
        try:
            with self.holding_blas():
                yield
        finally:
            self._thread.tape = None

    def holding_blas(self) -> _BlasThreads:
        """BLAS at this backend's number of threads, which no other Python thread's game may change meanwhile."""
        return self._blas_threads(self.threads)

    def _seen(self, *arrays: Any) -> Sequence[Any]:
        """Arrays whose operations are written down, if a step is being recorded; else the arrays themselves."""
        tape = self._thread.tape
        return arrays if tape is None else tape.see(*arrays)

    def may_record(self, hindrance: Callable[[], str]) -> None:
        if self._thread.hindrances is not None:
            self._thread.hindrances.append(hindrance)

    @contextmanager
    def asking(self, hindrances: list[Callable[[], str]]) -> Iterator[None]:
        """While a step runs in this Python thread: its parts' ways to ask what speaks against replaying it."""
        self._thread.hindrances = hindrances
        try:
            yield
        finally:
            self._thread.hindrances = None

    def on_host(self, work: Callable[[], None]) -> None:
        thread = self._thread
        if thread.host_done:
            thread.host_done -= 1
        elif thread.tape is not None:
            thread.tape.host(work)
        else:
            work()

    def without_host(self, calls: int, step: Callable[[], Result]) -> Result:
        """step(), in which so many calls of on_host do nothing: they were made already."""
        self._thread.host_done = calls
        try:
            return step()
        finally:
            self._thread.host_done = 0

    def with_own_blas_threads(self, work: Callable[[], Result]) -> Result:
        """work(), with BLAS at this backend's number of threads."""
        # As a rule BLAS has that number already. If another Python thread's game holds it to one just now, products are slower
        # and round differently.
        if all(library.get_num_threads() == self.threads for library in self._blas):
            return work()
        with self.holding_blas():
            return work()

    def number(self, dtype: Any = np.float64) -> Number:
        return _Number(self._thread)

    def generator(self, seed: Seed) -> Generator:
        return _Generator(seed, self._thread)

    def take_rows(self, values: Array, order: Array, start: Number, count: int, dtype: Any) -> Array:
        tape, first = self._thread.tape, start
        if tape is None or not isinstance(first, _Number):
            return super().take_rows(values, order, start, count, dtype)

        rows = tape.empty((count, *values.shape[1:]), values.dtype)
        place = tape.plain(rows)

        def take() -> None:
            chosen = order[int(first.value) : int(first.value) + count]
            np.take(values, chosen, axis=0, out=place, mode="clip")  # any other mode works in a copy of out

        tape.call(take)
        return rows.astype(dtype) if rows.dtype != dtype else rows

    def _spread(
        self, work: Callable[[Sequence[slice]], Any], rows: int, block: int, threads: int = 0, products: bool = True
    ) -> list[Any]:
        """work(its blocks of rows) on every thread, as many equal blocks each, contiguous; the results in the order of rows.

        products: whether work calls BLAS. Several threads work only inside the lock: the queues of Workers are for one caller.
        """
        threads = threads or self.threads
        share = -(-max(-(-rows // block), threads) // threads)  # blocks for each thread
        block = -(-rows // (share * threads))
        blocks = [slice(start, min(start + block, rows)) for start in range(0, rows, block)]
        shares = [blocks[start : start + share] for start in range(0, len(blocks), share)]
        if len(shares) == 1 and not products:
            return [work(blocks)]
        with self._blas_threads(1 if self._own_threads else self.threads):
            return self._workers.run(work, shares) if len(shares) > 1 else [work(blocks)]

    def _blas_threads(self, count: int) -> _BlasThreads:
        return _BlasThreads(self._blas, count)

    # -- products and sums ---------------------------------------------------------------------------------------------

    def matmul(self, a: Array, b: Array, out: Array | None = None, add: bool = False) -> Array:
        a, b, out = self._seen(a, b, out)
        if add:
            return put(self.matmul(a, b), out, add)
        if a.shape[1] == 1:
            return self._outer(a, b, out)
        size, is_vector = a.size * b.shape[1], len(a) == 1 or b.shape[1] == 1
        if size <= (_SMALL_VECTOR if is_vector else _SMALL_PRODUCT):
            return np.matmul(a, b, out=out)
        if not self._own_threads:
            return self.with_own_blas_threads(partial(np.matmul, a, b, out=out))
        if out is None:
            out = self.empty((len(a), b.shape[1]), a.dtype)
        if is_vector or size < _SPREAD_PRODUCT:
            with self._blas_threads(1):
                return np.matmul(a, b, out=out)

        def work(blocks: Sequence[slice]) -> None:
            for rows in blocks:
                np.matmul(a[rows], b, out=out[rows])

        self._spread(work, len(a), len(a))
        return out

    def _outer(self, a: Array, b: Array, out: Array | None) -> Array:
        """An outer product. np.matmul leaves it to a plain loop, np.dot to BLAS, which wins as long as out stays in cache."""
        out = self.empty((len(a), b.shape[1]), a.dtype) if out is None else out
        if out.size > _OUTER or not out.flags.c_contiguous:
            return np.multiply(a, b, out=out)
        return np.dot(a, b, out=out)

    def column_sum(self, x: Array, out: Array | None = None, add: bool = False) -> Array:
        """A product with ones, where there is much to add: BLAS reads memory faster than a reduction over the outer axis."""
        x, out = self._seen(x, out)
        flat = x.reshape(-1, x.shape[-1])
        if flat.size <= _SMALL_SUM:
            return np.add.reduce(flat, axis=0, out=out) if not add else put(np.add.reduce(flat, axis=0), out, add)

        def work(blocks: Sequence[slice]) -> Array:
            return sum(np.ones(len(flat[rows]), x.dtype) @ flat[rows] for rows in blocks)

        parts = self._spread(work, len(flat), max(1, 4 * _ELEMENTS // flat.shape[1]), self._threads_for(flat.size))
        return put(sum(parts[1:], start=parts[0]), out, add)

    def column_sums(self, formula: Formula, *arrays: Array, **constants: Any) -> tuple[Array, ...]:
        """Every block of values is added up while it is in cache, and none is written to memory."""
        arrays = tuple(self._seen(*arrays))
        shape, dtype = _broadcast(arrays), arrays[0].dtype
        program, scalars = self._compile(formula, arrays, constants)
        if program is None or math.prod(shape) <= _DIRECT_IN_PLACE:
            return super().column_sums(formula, *arrays, **constants)
        operands, folded = _fold(arrays, shape, flat=False)
        width = math.prod(folded[1:])

        def work(blocks: Sequence[slice]) -> Array:
            totals = self.zeros((program.outputs, width), dtype)
            for rows in blocks:
                block = (rows.stop - rows.start, *folded[1:])
                values = [self._block(("value", i), block, dtype) for i in range(program.outputs)]
                self._run(program, [_rows(a, rows, folded) for a in operands], values, scalars, block)
                ones = np.ones(block[0], dtype)
                for total, value in zip(totals, values, strict=True):
                    total += ones @ value.reshape(block[0], width)
            return totals

        parts = self._spread(work, folded[0], _block_rows(folded), self._threads_for(math.prod(shape)))
        return tuple(sum(parts[1:], start=parts[0]).reshape(program.outputs, -1, shape[-1]).sum(axis=1))

    # -- element-wise formulas -----------------------------------------------------------------------------------------

    def elementwise(self, formula: Formula, *arrays: Array, **constants: Any) -> Array:
        arrays = tuple(self._seen(*arrays))
        shape = _broadcast(arrays)
        if math.prod(shape) <= _DIRECT and self._thread.tape is None:
            return formula(np, *arrays, **constants)
        out = self.empty(shape, arrays[0].dtype)
        self._elementwise(formula, arrays, (out,), constants)
        return out

    def elementwise_update(self, formula: Formula, targets: tuple[Array, ...], *arrays: Array, **constants: Any) -> None:
        targets, arrays = tuple(self._seen(*targets)), tuple(self._seen(*arrays))
        if targets[0].size <= _DIRECT_IN_PLACE and self._thread.tape is None:
            super().elementwise_update(formula, targets, *arrays, **constants)
        else:
            self._elementwise(formula, (*targets, *arrays), targets, constants, in_place=True)

    def _elementwise(
        self,
        formula: Formula,
        arrays: tuple[Array, ...],
        outputs: tuple[Array, ...],
        constants: dict[str, Any],
        in_place: bool = False,
    ) -> None:
        """outputs = formula(arrays), as a program if the formula has one. in_place: the outputs are the first of the arrays."""
        program, scalars = self._compile(formula, arrays, constants, in_place)
        folded, shape = _fold((*arrays, *outputs), outputs[0].shape)
        operands, targets = folded[: len(arrays)], folded[len(arrays) :]

        def work(blocks: Sequence[slice]) -> None:
            for rows in blocks:
                parts, results = [_rows(a, rows, shape) for a in operands], [target[rows] for target in targets]
                if program is not None:
                    self._run(program, parts, [] if in_place else results, scalars, results[0].shape)
                    continue
                values = formula(np, *parts, **constants)
                for result, value in zip(results, values if isinstance(values, tuple) else (values,), strict=True):
                    result[...] = value

        self._spread(work, shape[0], _block_rows(shape), self._threads_for(outputs[0].size), products=False)

    def _compile(
        self, formula: Formula, arrays: tuple[Array, ...], constants: dict[str, Any], in_place: bool = False
    ) -> tuple[Program | None, list[Array]]:
        """The formula's program (None if it has none, or the dtypes are mixed), and its numbers as arrays without axes."""
        dtype = arrays[0].dtype
        if any(a.dtype != dtype for a in arrays):
            return None, []
        numbers, settings = split_constants(constants)
        try:
            program = compile_formula(formula, len(arrays), tuple(numbers), settings, in_place)
        except (UntraceableError, TypeError):  # TypeError: a constant that cannot be part of a cache's key
            return None, []
        scalars = [np.asarray(evaluate(current_values(numbers)), dtype) for evaluate in program.scalars]
        tape = self._thread.tape
        changing = {name: number for name, number in numbers.items() if isinstance(number, Scalar)}
        if tape is not None and changing:
            if program.filled:
                raise UnrecordableError(f"{formula.__name__} takes the maximum or minimum with a number that changes")
            constants = current_values(numbers)
            places = [
                (s.fill, e) for s, e in zip(scalars, program.scalars, strict=True) if uses(e, constants) & changing.keys()
            ]

            def look_up() -> None:
                values = {**constants, **current_values(changing)}
                for fill, evaluate in places:
                    fill(evaluate(values))

            tape.call(look_up)
        return program, scalars

    def _run(self, program: Program, inputs: list[Array], outputs: list[Array], scalars: list[Array], shape: Any) -> None:
        """The program on one block."""
        numbers = [
            self._scratch.filled(value, shape) if index in program.filled else value for index, value in enumerate(scalars)
        ]
        blocks = [self._block(index, shape, inputs[0].dtype) for index in range(program.scratch)]
        program.run([*inputs, *outputs, *numbers, *blocks])

    def _block(self, key: Hashable, shape: tuple[int, ...], dtype: Any) -> Array:
        """A block for values that live no longer than one block of a computation."""
        tape = self._thread.tape
        return self._scratch.block(key, shape, dtype) if tape is None else tape.empty(shape, dtype)

    def _threads_for(self, size: int) -> int:
        return self.threads if size >= _SPREAD and self._own_threads and self._thread.tape is None else 1

    # -- the three convolutions, a few images at a time ----------------------------------------------------------------

    def conv2d(self, x: Array, w: Array, g: ConvGeometry, *, kept: Kept | None = None) -> Array:
        if not self._own_threads:
            return super().conv2d(x, w, g)
        y = self.empty((x.shape[0], *g.output, w.shape[-1]), x.dtype)
        form = self._minimal_filtering(g, x.shape[0], w.shape, x.dtype, _IM2COL)
        if form:
            u = self._kernel(form, w)

            def filtered(images: slice) -> None:
                form.conv2d(_at_points(kept, "image", form.image, x, images), u, y[images])

            self._each(filtered, len(x), form.images_per_block(*w.shape[2:]))
            return y
        matrix = w.reshape(-1, w.shape[-1])

        def convolve(images: slice) -> None:
            np.matmul(self.im2col(x[images], g), matrix, out=y[images].reshape(-1, w.shape[-1]))

        self._each(convolve, len(x), _images_per_block(g, w.shape[2]))
        return y

    def conv2d_transpose(self, y: Array, w: Array, g: ConvGeometry, *, kept: Kept | None = None) -> Array:
        if not self._own_threads:
            return super().conv2d_transpose(y, w, g)
        x = self.empty((len(y), *g.image, w.shape[2]), y.dtype)
        form = self._minimal_filtering(g, len(y), w.shape, y.dtype, _COL2IM)
        if form:
            u = self._kernel(form, w)

            def filtered(images: slice) -> None:
                form.conv2d_transpose(_at_points(kept, "map", form.map, y, images), u, x[images])

            self._each(filtered, len(y), form.images_per_block(*w.shape[2:]))
            return x
        matrix = w.reshape(-1, w.shape[-1]).T

        def scatter(images: slice) -> None:
            rows = y[images].reshape(-1, w.shape[-1])
            columns = np.matmul(rows, matrix, out=self.empty((len(rows), matrix.shape[1]), y.dtype))
            x[images] = self.col2im(columns, g, images.stop - images.start)

        self._each(scatter, len(y), _images_per_block(g, w.shape[2]))
        return x

    def conv2d_weight_grad(
        self,
        x: Array,
        y: Array,
        g: ConvGeometry,
        out: Array | None = None,
        add: bool = False,
        *,
        kept: Kept | None = None,
    ) -> Array:
        if not self._own_threads:
            return super().conv2d_weight_grad(x, y, g, out, add)
        kernel = (*g.kernel, x.shape[-1], y.shape[-1])
        form = self._minimal_filtering(g, len(x), kernel, x.dtype, _IM2COL)
        if form:

            def filtered(images: slice, dw: Array) -> None:
                v = _at_points(kept, "image", form.image, x, images)
                form.weight_grad(v, _at_points(kept, "map", form.map, y, images), dw)

            dw = self._sum(filtered, kernel, x.dtype, len(x), form.images_per_block(*kernel[2:]))
            return put(dw, out, add)

        def products(images: slice, dw: Array) -> None:
            columns = self.im2col(x[images], g)
            np.matmul(columns.T, y[images].reshape(len(columns), -1), out=dw)

        matrix = (math.prod(kernel[:3]), kernel[3])
        dw = self._sum(products, matrix, x.dtype, len(x), _images_per_block(g, kernel[2])).reshape(kernel)
        return put(dw, out, add)

    def _minimal_filtering(
        self, g: ConvGeometry, batch: int, kernel: tuple[int, ...], dtype: Any, column: float
    ) -> Winograd | None:
        """That form, where it should be quicker than one product and `column` nanoseconds for a number of im2col or col2im."""
        columns = batch * math.prod(g.output) * math.prod(kernel[:3])
        multiplications, moved = Winograd.work(g, batch, *kernel[2:])
        quicker = multiplications / self._rate + moved < columns * (kernel[3] / self._rate + column)
        return Winograd(g, dtype, self.empty) if quicker else None

    def _kernel(self, form: Winograd, w: Array) -> Array:
        """The kernel at the points of minimal filtering."""
        u = self.empty(form.kernel_shape(*w.shape[2:]), w.dtype)
        self._each(lambda rows: form.kernel(w, rows, u), len(u), len(u))
        return u

    def _each(self, work: Callable[[slice], Any], rows: int, block: int) -> None:
        """work(block) for all blocks of rows, over the threads."""

        def share(blocks: Sequence[slice]) -> None:
            for rows in blocks:
                work(rows)

        self._spread(share, rows, block)

    def _sum(self, work: Callable[[slice, Array], Any], shape: tuple[int, ...], dtype: Any, rows: int, block: int) -> Array:
        """The sum of what work(block, out) writes to out, over all blocks of rows."""

        def share(blocks: Sequence[slice]) -> Array:
            total = self.empty(shape, dtype)
            work(blocks[0], total)
            part = self.empty(shape, dtype) if len(blocks) > 1 else None
            for rows in blocks[1:]:
                work(rows, part)
                total += part
            return total

        parts = self._spread(share, rows, block)
        for part in parts[1:]:
            parts[0] += part
        return parts[0]


def _at_points(kept: Kept | None, name: str, transform: Callable[[Array], Array], array: Array, images: slice) -> Array:
    """The values at the points of these images or maps: found in `kept`, else computed and left there."""
    if kept is None:
        return transform(array[images])
    block = name, images.start, images.stop
    if block not in kept:
        kept[block] = transform(array[images])
    return kept[block]


def _images_per_block(g: ConvGeometry, channels: int) -> int:
    return max(1, _COLUMNS // (g.output[0] * g.output[1] * g.kernel[0] * g.kernel[1] * channels))


def _broadcast(arrays: Sequence[Array]) -> tuple[int, ...]:
    shape = arrays[0].shape
    return shape if all(a.shape == shape for a in arrays) else np.broadcast_shapes(*(a.shape for a in arrays))


def _block_rows(shape: tuple[int, ...]) -> int:
    return max(1, _ELEMENTS // math.prod(shape[1:]))


def _fold(arrays: Sequence[Array], shape: tuple[int, ...], flat: bool = True) -> tuple[list[Array], tuple[int, ...]]:
    """The same operands for an element-wise formula with longer innermost loops: (arrays, their broadcast shape).

    Arrays of the full shape become one long row, or (beside vectors of channels, which are repeated to that length, and where
    flat is False) rows of several pixels. Any other broadcasting stays as it is.
    """
    full = [a.shape == shape for a in arrays]
    if not all(a.flags.c_contiguous if whole else a.shape == shape[-1:] for a, whole in zip(arrays, full, strict=True)):
        return list(arrays), shape
    if flat and all(full):
        return [a.reshape(-1) for a in arrays], (math.prod(shape),)
    if flat and math.prod(shape) <= _DIRECT:
        return list(arrays), shape  # repeating the vectors would take as long
    channels, pixels = shape[-1], math.prod(shape[:-1])
    repeat = math.gcd(pixels, 1 << (max(1, _FOLDED // channels).bit_length() - 1))
    folded = (pixels // repeat, repeat * channels)
    return [a.reshape(folded) if whole else np.tile(a, repeat) for a, whole in zip(arrays, full, strict=True)], folded


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
