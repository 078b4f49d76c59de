"""The CUDA backend: the textbook over CuPy, and one kernel wherever it would take several.

No host array ever meets a device array: `asarray` in, `to_numpy` out. The kernels' sources are in cuda/ and kernels.py; every
sum has a fixed order, so the same input gives the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import Any
from weakref import WeakSet

import numpy as np

from minigan.backends.base import Array, Backend, Formula
from minigan.backends.cupy.cublas import DTYPES, Cublas
from minigan.backends.cupy.graph import Capture, Graph
from minigan.backends.cupy.kernels import (
    THREADS,
    FormulaKernels,
    convolution_source,
    formula_kernels,
    place_of,
    step_source,
    sum_layout,
    vector_of,
)
from minigan.backends.cupy.random import CupyGenerator
from minigan.backends.cupy.scalars import Board, Boards
from minigan.backends.expressions import UntraceableError, split_constants
from minigan.backends.geometry import ConvGeometry
from minigan.backends.random import Generator, Seed
from minigan.backends.scalars import DeviceScalar, forbid_sets
from minigan.distributed import Communicator, on_this_machine
from minigan.errors import BackendError, CaptureError, DeviceMemoryError

_ELSE = "Or use --backend numpy."
_MOST_ELEMENTS = 1 << 31  # that the kernels' 32-bit indices reach, also one stride behind the last


def _unavailable(missing: str, advice: str) -> BackendError:
    """The error where there is no GPU to run on: what is missing, and what to do about it."""
    return BackendError(f"backend 'cupy' cannot run here: {missing}. {advice}")


def _import_cupy() -> Any:
    try:
        import cupy
    except Exception as error:  # a damaged installation raises anything
        advice = "Install it with: pip install 'cupy-cuda12x[ctk]' or 'cupy-cuda13x[ctk]', to match the driver. " + _ELSE
        raise _unavailable(f"the package CuPy does not import ({error})", advice) from None
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except Exception as error:  # CUDARuntimeError, or AttributeError where another package has that name
        advice = "Install or update the NVIDIA driver (nvidia-smi shows whether it answers). " + _ELSE
        raise _unavailable(f"the CUDA driver does not answer ({error})", advice) from None
    if count == 0:
        advice = "Check nvidia-smi and the variable CUDA_VISIBLE_DEVICES. " + _ELSE
        raise _unavailable("the CUDA driver sees no device", advice)
    return cupy


def _version(number: int) -> str:
    """13.0 from CUDA's 13000"""
    return f"{number // 1000}.{number % 1000 // 10}"


def _identity(xp: Any, x: Array) -> Array:
    """x"""
    return x


def _plus(xp: Any, y: Array, b: Array) -> tuple[Array]:
    """y + b"""
    return (y + b,)


class CupyBackend(Backend):
    """The textbook over CuPy, with kernels. Raises BackendError that says whether package, driver or device is missing.

    precision: of float32 products, "float32" or "tf32" (tensor cores; operands keep 10 bits of mantissa, sums are in float32).
    """

    name = "cupy"

    def __init__(self, precision: str = "float32") -> None:
        super().__init__(_import_cupy())
        if place := on_this_machine()[0] % self.xp.cuda.runtime.getDeviceCount():
            self.xp.cuda.Device(place).use()  # each rank of a machine has a device of its own, as far as there are
        self.precision = precision
        self._kernels: dict[tuple[str, str], Any] = {}
        self._blas = Cublas(self.xp, tf32=precision == "tf32")
        self._boards = Boards(self, self.launch)
        self._generators: WeakSet[CupyGenerator] = WeakSet()  # whose streams lie on the device
        self._capture: Capture | None = None  # that which is under way
        self._pinned: dict[tuple[str, int], np.ndarray] = {}

    # -- arrays in and out ---------------------------------------------------------------------------------------------

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        return self._allocate(self.xp.empty, shape, dtype)

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Array:
        return self._allocate(self.xp.zeros, shape, dtype)

    def _allocate(self, make: Callable[..., Array], shape: tuple[int, ...], dtype: Any) -> Array:
        try:
            return make(shape, dtype=dtype)
        except MemoryError:
            raise self._no_room(shape, dtype) from None

    def asarray(self, host: Any, dtype: Any = None) -> Array:
        try:
            return super().asarray(host, dtype)
        except MemoryError:
            raise self._no_room(np.shape(host), dtype or getattr(host, "dtype", np.float64)) from None

    def _no_room(self, shape: tuple[int, ...], dtype: Any) -> DeviceMemoryError:
        size, (free, total) = math.prod(shape) * np.dtype(dtype).itemsize / 2**20, self.memory
        return DeviceMemoryError(
            f"the GPU has no room for an array {tuple(shape)} of {size:,.0f} MiB ({free:,.0f} of {total:,.0f} MiB free): "
            "choose a smaller batch size (--batch-size), width (--width), image size (--image-size) or dataset"
        )

    def to_numpy(self, device: Array) -> np.ndarray:
        return self.xp.asnumpy(device)

    def generator(self, seed: Seed) -> Generator:
        generator = CupyGenerator(self, self.launch, seed)
        self._generators.add(generator)
        return generator

    def synchronize(self) -> None:
        self.xp.cuda.get_current_stream().synchronize()

    @property
    def device(self) -> str:
        runtime = self.xp.cuda.runtime
        properties = runtime.getDeviceProperties(runtime.getDevice())
        return f"GPU ({properties['name'].decode()}, {properties['totalGlobalMem'] / 2**30:.0f} GiB)"

    @property
    def memory(self) -> tuple[float, float]:
        free, total = self.xp.cuda.runtime.memGetInfo()
        return free / 2**20, total / 2**20

    @property
    def versions(self) -> dict[str, str]:
        runtime = self.xp.cuda.runtime
        capability = runtime.getDeviceProperties(runtime.getDevice())
        return {
            "CuPy": self.xp.__version__,
            "CUDA": _version(runtime.runtimeGetVersion()),
            "driver's CUDA": _version(runtime.driverGetVersion()),
            "cuBLAS": self._blas.version,
            "compute capability": f"{capability['major']}.{capability['minor']}",
        }

    def launch(self, source: str, kernel: str, threads: int, *arguments: Any) -> None:
        """Run a kernel of a source with at least so many threads. It is compiled at its first use."""
        if threads == 0:
            return
        function = self._kernels.get((source, kernel))
        if function is None:
            function = self.xp.RawModule(code=source, options=("-std=c++17",)).get_function(kernel)
            self._kernels[source, kernel] = function
        function((-(-threads // THREADS),), (THREADS,), arguments)

    # -- a computation as one graph ------------------------------------------------------------------------------------

    def concatenates(self, layers: Sequence[Any], batch: int) -> bool:
        """Always: as one pass they take half of the launches."""
        return True

    def record(self, compute: Callable[[], Any], arrays: Sequence[Array]) -> Graph:
        self._boards.flush()  # of what was set before; while recording nothing may be
        self._capture = Capture(self._capture_stream)
        try:
            written = [*arrays, *(generator.stream for generator in self._generators)]
            with forbid_sets():
                return Graph(self, compute, self._capture, self._boards.flush, self._gather_scalars, written)
        finally:
            self._capture = None

    @cached_property
    def _capture_stream(self) -> Any:
        """A stream for captures alone. It waits for no other, so the rest of the process goes on beside it."""
        return self.xp.cuda.Stream(non_blocking=True)

    def scalar(self, dtype: Any = np.float64) -> DeviceScalar:
        if self._capture is not None:
            raise CaptureError("compute makes a DeviceScalar; make it beforehand, and set it in advance")
        return self._boards.scalar(np.dtype(dtype))

    def all_mean(self, *arrays: Array) -> tuple[Array, ...]:
        ranks = self.ranks
        if ranks.size > 1 and self._capture is not None:
            self._capture.cut(partial(self._exchange, ranks, arrays))
        elif ranks.size > 1:
            self._exchange(ranks, arrays)
        return arrays

    def _exchange(self, ranks: Communicator, arrays: tuple[Array, ...]) -> None:
        """ranks.all_mean of device arrays through pinned memory of the host, which is copied to and from twice as quickly."""
        vector = arrays[0] if len(arrays) == 1 else self.xp.concatenate([a.reshape(-1) for a in arrays])
        key = np.dtype(vector.dtype).name, vector.size
        if key not in self._pinned:
            memory = self.xp.cuda.alloc_pinned_memory(vector.nbytes)
            self._pinned[key] = np.frombuffer(memory, vector.dtype, vector.size)
        host = self._pinned[key].reshape(vector.shape)
        vector.get(out=host)
        ranks.all_mean(host)
        vector.set(host)
        ends = np.cumsum([a.size for a in arrays]).tolist()
        for array, end in zip(arrays, ends, strict=True):
            if array is not vector:
                array[...] = vector[end - array.size : end].reshape(array.shape)

    def _gather_scalars(self, scalars: list[Array]) -> Array | None:
        """Arrays without axes as one vector; None where they are none, too many, or not of one dtype of floats."""
        if not (0 < len(scalars) <= Board.SIZE and len({a.dtype for a in scalars}) == 1 and scalars[0].dtype.kind == "f"):
            return None
        places = np.zeros((), [("places", np.uint64, Board.SIZE)])
        places["places"][: len(scalars)] = [a.data.ptr for a in scalars]
        out, source = self.empty((len(scalars),), scalars[0].dtype), step_source(np.dtype(scalars[0].dtype), Board.SIZE)
        self.launch(source, "gather_scalars", len(scalars), out, places, np.uint32(len(scalars)))
        return out

    def take_rows(self, values: Array, order: Array, start: DeviceScalar, count: int, dtype: Any) -> Array:
        out = self.empty((count, *values.shape[1:]), dtype)
        source = step_source(np.dtype(dtype), Board.SIZE, np.dtype(values.dtype))
        sizes = (np.uint64(out.size), np.uint64(math.prod(values.shape[1:])))
        self.launch(source, "take_rows", out.size, out, values, order, start.value, *sizes)
        return out

    # -- products ------------------------------------------------------------------------------------------------------

    def matmul(self, a: Array, b: Array, out: Array | None = None) -> Array:
        if a.dtype != b.dtype or a.dtype.name not in DTYPES or not (out is None or out.flags.c_contiguous):
            return super().matmul(a, b, out)
        out = self.empty((len(a), b.shape[1]), a.dtype) if out is None else out
        self._blas.matmul(a, b, out)
        return out

    # -- sums over channels --------------------------------------------------------------------------------------------

    def column_sum(self, x: Array, out: Array | None = None) -> Array:
        return self._column_sums(_identity, (x,), {}, out=out)[0]

    def column_mean(self, x: Array) -> Array:
        return self.column_means(_identity, x)[0]

    def means(self, formula: Formula, *arrays: Array, **constants: Any) -> tuple[Array, ...]:
        means = self.column_means(formula, *(a.reshape(-1, 1) for a in arrays), **constants)
        return tuple(mean.reshape(()) for mean in means)

    def column_sums(self, formula: Formula, *arrays: Array, **constants: Any) -> tuple[Array, ...]:
        return self._column_sums(formula, arrays, constants)

    def column_means(self, formula: Formula, *arrays: Array, **constants: Any) -> tuple[Array, ...]:
        return self._column_sums(formula, arrays, constants, mean=True)

    def _column_sums(
        self,
        formula: Formula,
        arrays: tuple[Array, ...],
        constants: dict[str, Any],
        mean: bool = False,
        out: Array | None = None,
    ) -> tuple[Array, ...]:
        """Sums of some rows each, then a sum of these where there are several: one launch or two, in a fixed order.

        out: where to write a formula's only sum.
        """
        compiled = self._compile(formula, arrays, constants)
        if compiled is None:
            values = formula(self.xp, *arrays, **constants)
            flat = [x.reshape(-1, x.shape[-1]) for x in (values if isinstance(values, tuple) else (values,))]
            return tuple(self.store(x.mean(axis=0) if mean else x.sum(axis=0), out) for x in flat)
        kernels, shape, operands, numbers = compiled
        count, channels = math.prod(shape[:-1]), shape[-1]
        dtype = np.dtype(operands[0].dtype)
        rows, width, outputs = count, channels, kernels.outputs
        while True:
            # (parts, outputs · channels), each the sum over some of the rows
            layout = sum_layout(rows, width)
            parts, last = layout.parts, layout.parts == 1
            sums = out if last and out is not None else self.empty((parts, outputs * width), dtype)
            sizes = [np.uint32(size) for size in (rows, width, layout.lanes, parts)]
            scale = dtype.type((1 / count if count else math.nan) if last and mean else 1)
            self.launch(kernels.source, "column_sums", layout.blocks * THREADS, *operands, sums, *numbers, scale, *sizes)
            if last:
                return tuple(sums.reshape(-1, channels))
            kernels, operands, numbers = formula_kernels(_identity, ("full",), (), (), dtype), [sums], []
            rows, width, outputs = parts, outputs * width, 1

    # -- element-wise formulas -----------------------------------------------------------------------------------------

    def elementwise(self, formula: Formula, *arrays: Array, **constants: Any) -> Array:
        compiled = self._compile(formula, arrays, constants)
        if compiled is None:
            return formula(self.xp, *arrays, **constants)
        kernels, shape, operands, numbers = compiled
        out = self.empty(shape, operands[0].dtype)
        self._launch_elementwise(kernels, shape, (*operands, out), numbers)
        return out

    def elementwise_update(self, formula: Formula, targets: tuple[Array, ...], *arrays: Array, **constants: Any) -> None:
        compiled = self._compile(formula, (*targets, *arrays), constants, in_place=True)
        if compiled is None:
            super().elementwise_update(formula, targets, *arrays, **constants)
        else:
            kernels, shape, operands, numbers = compiled
            self._launch_elementwise(kernels, shape, operands, numbers)

    def add_bias(self, y: Array, b: Array) -> None:
        self.elementwise_update(_plus, (y,), b)

    def _launch_elementwise(self, kernels: FormulaKernels, shape: tuple[int, ...], arrays: Any, numbers: Any) -> None:
        count = math.prod(shape)
        sizes = (np.uint32(count), np.uint32(shape[-1] if shape else 1))
        self.launch(kernels.source, "elementwise", count, *arrays, *numbers, *sizes)

    def _compile(
        self, formula: Formula, arrays: tuple[Array, ...], constants: dict[str, Any], in_place: bool = False
    ) -> tuple[FormulaKernels, tuple[int, ...], list[Array], list[Any]] | None:
        """(kernels, broadcast shape, contiguous operands, numbers); None where the formula or its operands have no kernel.

        Constants that lie on the device (a DeviceScalar's value) are operands behind the others.
        """
        held = {name: value for name, value in constants.items() if self.owns(value)}
        constants = {name: value for name, value in constants.items() if name not in held}
        if any(value.dtype != arrays[0].dtype or value.ndim for value in held.values()):
            return None
        shape, dtype = np.broadcast_shapes(*(a.shape for a in arrays)), arrays[0].dtype
        places = tuple(place_of(a.shape, shape) for a in arrays)
        if None in places or any(a.dtype != dtype for a in arrays) or math.prod(shape) >= _MOST_ELEMENTS:
            return None
        if in_place and not all(a.flags.c_contiguous for a in arrays):
            return None
        values, settings = split_constants(constants)
        try:
            kernels = formula_kernels(formula, places, tuple(values), settings, np.dtype(dtype), in_place, tuple(held))
        except (UntraceableError, TypeError):  # TypeError: a constant that cannot be part of a cache's key
            return None
        numbers = [np.dtype(dtype).type(evaluate(values)) for evaluate in kernels.scalars]
        return kernels, shape, [*(self.xp.ascontiguousarray(a) for a in arrays), *held.values()], numbers

    # -- the two gathers of the convolutions ---------------------------------------------------------------------------

    def im2col(self, x: Array, g: ConvGeometry) -> Array:
        channels = x.shape[-1]
        shape = (len(x) * math.prod(g.output), math.prod(g.kernel) * channels)
        if max(math.prod(shape), x.size) >= _MOST_ELEMENTS:
            return super().im2col(x, g)
        return self._gather("im2col", x, self.empty(shape, x.dtype), g, channels)

    def col2im(self, columns: Array, g: ConvGeometry, batch: int) -> Array:
        channels = columns.shape[1] // math.prod(g.kernel)
        shape = (batch, *g.image, channels)
        if max(columns.size, math.prod(shape)) >= _MOST_ELEMENTS:
            return super().col2im(columns, g, batch)
        return self._gather("col2im", columns, self.empty(shape, columns.dtype), g, channels)

    def _gather(self, kernel: str, source: Array, out: Array, g: ConvGeometry, channels: int) -> Array:
        """out, filled by im2col or col2im of the source."""
        source, dtype = self.xp.ascontiguousarray(source), np.dtype(out.dtype)
        vector = vector_of(channels, dtype, source.data.ptr, out.data.ptr)
        count = out.size // vector
        self.launch(convolution_source(g, channels, dtype, vector), kernel, count, source, out, np.uint32(count))
        return out
