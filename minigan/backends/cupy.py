"""The CUDA backend: the textbook over CuPy, and one kernel wherever it would take several.

No host array ever meets a device array: `asarray` in, `to_numpy` out. The kernels' sources are in cuda/ and kernels.py; every
element of a result is made by one thread in a fixed order, so the same input gives the same bytes.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigan.backends.base import Array, Backend, ConvGeometry, Formula, Generator, Seed, unavailable
from minigan.backends.expressions import UntraceableError, split_constants
from minigan.backends.kernels import (
    THREADS,
    FormulaKernels,
    convolution_source,
    formula_kernels,
    place_of,
    random_source,
    row_parts,
)

_ELSE = "Or use --backend numpy."
_MOST_ELEMENTS = 1 << 32  # that the kernels' 32-bit indices reach


def _import_cupy() -> Any:
    try:
        import cupy
    except ImportError as error:
        advice = "Install it with: pip install 'cupy-cuda12x[ctk]' or 'cupy-cuda13x[ctk]', to match the driver. " + _ELSE
        raise unavailable("cupy", f"the package CuPy does not import ({error})", advice) from None
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        advice = "Install or update the NVIDIA driver (nvidia-smi shows whether it answers). " + _ELSE
        raise unavailable("cupy", f"the CUDA driver does not answer ({error})", advice) from None
    if count == 0:
        advice = "Check nvidia-smi and the variable CUDA_VISIBLE_DEVICES. " + _ELSE
        raise unavailable("cupy", "the CUDA driver sees no device", advice)
    return cupy


class CupyGenerator(Generator):
    """Random numbers born on the device: draw number i of a stream is Philox's with the counter i and the stream's key.

    So the state is one number, which lies on the device and moves on there.
    """

    def __init__(self, backend: CupyBackend, seed: Seed) -> None:
        self._backend = backend
        self._key = np.random.SeedSequence(seed).generate_state(1, np.uint64)[0]
        self._draw = backend.zeros((1,), np.uint64)

    def _fill(self, kernel: str, shape: tuple[int, ...], dtype: Any) -> Array:
        out, source = self._backend.empty(shape, dtype), random_source(np.dtype(dtype))
        self._backend.launch(source, kernel, -(-out.size // 2), out, np.uint64(out.size), self._draw, self._key)
        self._backend.launch(source, "next_draw", 1, self._draw)
        return out

    def normal(self, shape: tuple[int, ...], dtype: Any) -> Array:
        return self._fill("normal", shape, dtype)

    def uniform(self, shape: tuple[int, ...], dtype: Any) -> Array:
        return self._fill("uniform", shape, dtype)

    @property
    def state(self) -> Any:
        return {"draws": int(self._backend.to_numpy(self._draw)[0])}

    @state.setter
    def state(self, state: Any) -> None:
        self._draw[...] = self._backend.asarray([state["draws"]], np.uint64)


def _identity(xp: Any, x: Array) -> Array:
    """x"""
    return x


class CupyBackend(Backend):
    """The textbook over CuPy, with kernels. Raises BackendError that says whether package, driver or device is missing."""

    name = "cupy"

    def __init__(self) -> None:
        super().__init__(_import_cupy())
        self._kernels: dict[tuple[str, str], Any] = {}

    def to_numpy(self, device: Array) -> np.ndarray:
        return self.xp.asnumpy(device)

    def generator(self, seed: Seed) -> Generator:
        return CupyGenerator(self, seed)

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

    def launch(self, source: str, kernel: str, threads: int, *arguments: Any) -> None:
        """Run a kernel of a source with at least so many threads. It is compiled at its first use."""
        if threads == 0:
            return
        function = self._kernels.get((source, kernel))
        if function is None:
            function = self.xp.RawModule(code=source, options=("-std=c++17",)).get_function(kernel)
            self._kernels[source, kernel] = function
        function((-(-threads // THREADS),), (THREADS,), arguments)

    # -- sums over channels --------------------------------------------------------------------------------------------

    def column_sum(self, x: Array) -> Array:
        return self.column_sums(_identity, x)[0]

    def column_sums(self, formula: Formula, *arrays: Array, **constants: Any) -> tuple[Array, ...]:
        """Sums of some rows each, then sums of these, until one is left: a few launches, in a fixed order."""
        compiled = self._compile(formula, arrays, constants)
        if compiled is None:
            values = formula(self.xp, *arrays, **constants)
            return tuple(x.reshape(-1, x.shape[-1]).sum(axis=0) for x in (values if isinstance(values, tuple) else (values,)))
        kernels, shape, operands, numbers = compiled
        rows, channels = math.prod(shape[:-1]), shape[-1]
        sums = self._partial_sums(kernels, rows, channels, operands, numbers)
        while len(sums) > 1:
            adding = formula_kernels(_identity, ("full",), (), (), sums.dtype)
            sums = self._partial_sums(adding, len(sums), sums.shape[1], [sums], [])
        return tuple(sums.reshape(kernels.outputs, channels))

    def _partial_sums(self, kernels: FormulaKernels, rows: int, channels: int, operands: Any, numbers: Any) -> Array:
        """(parts, outputs · channels), each the sum over some of the rows."""
        parts = row_parts(rows)
        out = self.empty((parts, kernels.outputs * channels), operands[0].dtype)
        sizes = (np.uint32(rows), np.uint32(channels), np.uint32(parts))
        self.launch(kernels.source, "column_sums", parts * channels, *operands, out, *numbers, *sizes)
        return out

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

    def _launch_elementwise(self, kernels: FormulaKernels, shape: tuple[int, ...], arrays: Any, numbers: Any) -> None:
        count = math.prod(shape)
        sizes = (np.uint32(count), np.uint32(shape[-1] if shape else 1))
        self.launch(kernels.source, "elementwise", count, *arrays, *numbers, *sizes)

    def _compile(
        self, formula: Formula, arrays: tuple[Array, ...], constants: dict[str, Any], in_place: bool = False
    ) -> tuple[FormulaKernels, tuple[int, ...], list[Array], list[Any]] | None:
        """(kernels, broadcast shape, contiguous operands, numbers); None where the formula or its operands have no kernel."""
        shape, dtype = np.broadcast_shapes(*(a.shape for a in arrays)), arrays[0].dtype
        places = tuple(place_of(a.shape, shape) for a in arrays)
        if None in places or any(a.dtype != dtype for a in arrays) or math.prod(shape) >= _MOST_ELEMENTS:
            return None
        if in_place and not all(a.flags.c_contiguous for a in arrays):
            return None
        values, settings = split_constants(constants)
        try:
            kernels = formula_kernels(formula, places, tuple(values), settings, np.dtype(dtype), in_place)
        except (UntraceableError, TypeError):  # TypeError: a constant that cannot be part of a cache's key
            return None
        numbers = [np.dtype(dtype).type(evaluate(values)) for evaluate in kernels.scalars]
        return kernels, shape, [self.xp.ascontiguousarray(a) for a in arrays], numbers

    # -- the two gathers of the convolutions ---------------------------------------------------------------------------

    def im2col(self, x: Array, g: ConvGeometry) -> Array:
        channels = x.shape[-1]
        shape = (len(x) * math.prod(g.map), math.prod(g.kernel) * channels)
        if max(math.prod(shape), x.size) >= _MOST_ELEMENTS:
            return super().im2col(x, g)
        columns = self.empty(shape, x.dtype)
        source = convolution_source(g, channels, np.dtype(x.dtype))
        self.launch(source, "im2col", columns.size, self.xp.ascontiguousarray(x), columns, np.uint32(columns.size))
        return columns

    def col2im(self, columns: Array, g: ConvGeometry, batch: int) -> Array:
        channels = columns.shape[1] // math.prod(g.kernel)
        shape = (batch, *g.image, channels)
        if max(columns.size, math.prod(shape)) >= _MOST_ELEMENTS:
            return super().col2im(columns, g, batch)
        x = self.empty(shape, columns.dtype)
        source = convolution_source(g, channels, np.dtype(columns.dtype))
        self.launch(source, "col2im", x.size, self.xp.ascontiguousarray(columns), x, np.uint32(x.size))
        return x
