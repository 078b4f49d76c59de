"""Element-wise formulas as programs on blocks that stay in cache, and their sums over channels."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from minigan.backends.base import Array, Formula
from minigan.backends.expressions import (
    Program,
    Scalar,
    UntraceableError,
    compile_formula,
    current_values,
    split_constants,
    uses,
)
from minigan.backends.numpy.memory import Scratch
from minigan.backends.numpy.products import ProductBackend
from minigan.errors import CaptureError

# Elements up to which a formula is quickest as it stands: alone, and in place or summed up, where a program saves more arrays.
_DIRECT, _DIRECT_IN_PLACE = 1 << 15, 1 << 14
_ELEMENTS = 1 << 17  # elements of a block: smaller ones make threads wait for the interpreter
_FOLDED = 1 << 11  # elements to which a row of channels is widened: NumPy's innermost loop is then long enough


class ElementwiseBackend(ProductBackend):
    """Formulas, each traced once and then run block by block."""

    def __init__(self) -> None:
        super().__init__()
        self._scratch = Scratch()

    def column_sums(self, formula: Formula, *arrays: Array, **constants: Any) -> tuple[Array, ...]:
        """Every block of values is added up while it is in cache, and none is written to memory."""
        arrays = tuple(self._wrap(*arrays))
        shape, dtype = _broadcast(arrays), arrays[0].dtype
        program, scalars = self._compile(formula, arrays, constants)
        if program is None or math.prod(shape) <= _DIRECT_IN_PLACE:
            return super().column_sums(formula, *arrays, **constants)
        operands, folded = self._fold(arrays, shape, flat=False)
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

        parts = self._spread(work, folded[0], _block_rows(folded), self.threads_for(math.prod(shape)))
        return tuple(sum(parts[1:], start=parts[0]).reshape(program.outputs, -1, shape[-1]).sum(axis=1))

    # -- element-wise formulas -----------------------------------------------------------------------------------------

    def elementwise(self, formula: Formula, *arrays: Array, **constants: Any) -> Array:
        arrays = tuple(self._wrap(*arrays))
        shape = _broadcast(arrays)
        # Other arrays hand their order of axes on to a plain result, not to `out`, and sums over it are rounded by that order.
        if math.prod(shape) <= _DIRECT and self._recording.calls is None and all(a.flags.c_contiguous for a in arrays):
            return formula(np, *arrays, **constants)
        out = self.empty(shape, arrays[0].dtype)
        self._elementwise(formula, arrays, (out,), constants)
        return out

    def elementwise_update(self, formula: Formula, targets: tuple[Array, ...], *arrays: Array, **constants: Any) -> None:
        targets, arrays = tuple(self._wrap(*targets)), tuple(self._wrap(*arrays))
        if targets[0].size <= _DIRECT_IN_PLACE and self._recording.calls is None:
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
        folded, shape = self._fold((*arrays, *outputs), outputs[0].shape)
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

        self._spread(work, shape[0], _block_rows(shape), self.threads_for(outputs[0].size), products=False)

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
        calls = self._recording.calls
        changing = {name: number for name, number in numbers.items() if isinstance(number, Scalar)}
        if calls is not None and changing:
            if program.filled:
                raise CaptureError(f"{formula.__name__} takes the maximum or minimum with a number that changes")
            constants = current_values(numbers)
            places = [
                (s.fill, e) for s, e in zip(scalars, program.scalars, strict=True) if uses(e, constants) & changing.keys()
            ]

            def look_up() -> None:
                values = {**constants, **current_values(changing)}
                for fill, evaluate in places:
                    fill(evaluate(values))

            calls.call(look_up)
        return program, scalars

    def _run(self, program: Program, inputs: list[Array], outputs: list[Array], scalars: list[Array], shape: Any) -> None:
        """The program on one block."""
        numbers = [
            self._scratch.filled(value, shape) if index in program.filled else value for index, value in enumerate(scalars)
        ]
        blocks = [self._block(index, shape, inputs[0].dtype) for index in range(program.scratch)]
        program.run([*inputs, *outputs, *numbers, *blocks])

    def _fold(self, arrays: Sequence[Array], shape: tuple[int, ...], flat: bool = True) -> tuple[list[Array], tuple[int, ...]]:
        """The same operands for an element-wise formula with longer innermost loops: (arrays, their broadcast shape).

        Arrays of the full shape become one long row, or (beside vectors of channels, which are repeated to that length, and
        where flat is False) rows of several pixels. Any other broadcasting stays as it is.
        """
        full = [a.shape == shape for a in arrays]
        if not all(a.flags.c_contiguous if whole else a.shape == shape[-1:] for a, whole in zip(arrays, full, strict=True)):
            return list(arrays), shape
        if flat and all(full):
            return [a.reshape(-1) for a in arrays], (math.prod(shape),)
        if flat and math.prod(shape) <= _DIRECT:
            return list(arrays), shape  # repeating the vectors would take as long
        channels, pixels = shape[-1], math.prod(shape[:-1])
        times = math.gcd(pixels, 1 << (max(1, _FOLDED // channels).bit_length() - 1))
        folded = (pixels // times, times * channels)
        rows = [a.reshape(folded) if whole else self._repeated(a, times) for a, whole in zip(arrays, full, strict=True)]
        return rows, folded

    def _repeated(self, vector: Array, times: int) -> Array:
        """np.tile, in half its time."""
        rows = self.empty((times, len(vector)), vector.dtype)
        rows[...] = vector
        return rows.reshape(-1)

    def _block(self, key: Hashable, shape: tuple[int, ...], dtype: Any) -> Array:
        """A block for values that live no longer than one block of a computation."""
        calls = self._recording.calls
        return self._scratch.block(key, shape, dtype) if calls is None else calls.empty(shape, dtype)

    def _zeros(self, key: Hashable, shape: tuple[int, ...], dtype: Any) -> Array:
        """Scratch.zeros of this thread, or of the recording that is under way."""
        calls = self._recording.calls
        return self._scratch.zeros(key, shape, dtype) if calls is None else calls.zeros(key, shape, dtype)


def _broadcast(arrays: Sequence[Array]) -> tuple[int, ...]:
    shape = arrays[0].shape
    return shape if all(a.shape == shape for a in arrays) else np.broadcast_shapes(*(a.shape for a in arrays))


def _block_rows(shape: tuple[int, ...]) -> int:
    return max(1, _ELEMENTS // math.prod(shape[1:]))


def _rows(array: Array, rows: slice, shape: tuple[int, ...]) -> Array:
    """The part of an operand that meets these rows of the broadcast shape; what is broadcast along rows stays whole."""
    return array[rows] if array.ndim == len(shape) and array.shape[0] == shape[0] else array
