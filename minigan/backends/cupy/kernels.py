"""CUDA sources, ready to compile: the files in cuda/ with their macros set, and formulas written out as CUDA C++.

Nothing here needs CuPy or a device. A formula becomes a kernel the same way that it becomes a program on the CPU: it is run
once on symbols (expressions.py), and each operation that it did is one line.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from minigan.backends.base import Formula
from minigan.backends.expressions import Evaluate, Scalar, UntraceableError, operation_name, trace_formula
from minigan.backends.geometry import ConvGeometry

THREADS = 256  # of a block
_MOST_LANES = 32  # a warp
_VECTOR_BYTES = 16  # the widest access to memory
_FULL_DEVICE = 1024  # blocks: as many as 132 multiprocessors hold at once
Launch = Callable[..., None]  # launch(source, kernel, threads, *arguments)
_SOURCES = Path(__file__).parent / "cuda"
_TYPES = {np.dtype("float32"): "float", np.dtype("float64"): "double", np.dtype("uint8"): "unsigned char"}
_TYPES |= {np.dtype("int16"): "short"}  # values of sound

# An operation on values, by the name that expressions.py gives it. Functions are overloaded for float and double.
_OPERATIONS = {
    "add": "{} + {}",
    "subtract": "{} - {}",
    "multiply": "{} * {}",
    "divide": "{} / {}",
    "negative": "-{}",
    "square": "{0} * {0}",
    "greater": "T({} > {})",
    "greater_equal": "T({} >= {})",
    "less": "T({} < {})",
    "where": "{} != 0 ? {} : {}",
    "absolute": "fabs({})",
    "power": "pow({}, {})",
    **{name: f"{name}({{}})" for name in ("sqrt", "exp", "log", "log1p", "expm1", "tanh", "sign")},
    **{name: f"{name}({{}}, {{}})" for name in ("maximum", "minimum")},
}

# Where an operand of a formula over (rows, channels) has its value for element i.
_PLACES = {"full": "i", "channel": "(i) % (channels)", "row": "(i) / (channels)", "single": "0"}


@dataclass(frozen=True)
class FormulaKernels:
    """The source of `elementwise` and `column_sums` for one formula, and how to compute its numbers from the constants."""

    source: str
    scalars: tuple[Evaluate, ...]
    outputs: int


def _source(name: str, macros: dict[str, Any]) -> str:
    lines = [f"#define {key} {value}" for key, value in macros.items()]
    return "\n".join([*lines, "", (_SOURCES / f"{name}.cu").read_text(encoding="utf-8")])


@cache
def random_source(dtype: np.dtype) -> str:
    return _source("random", {"T": _TYPES[dtype]})


@cache
def step_source(dtype: np.dtype, count: int, data: np.dtype | None = None) -> str:
    """set_scalars and gather_scalars of `count` at the most, and take_rows from rows of `data`'s type."""
    return _source("step", {"T": _TYPES[dtype], "S": _TYPES[data or dtype], "COUNT": count})


def vector_of(channels: int, dtype: np.dtype, *addresses: int) -> int:
    """How many channels a thread can move at once: as many as 16 bytes hold if arrays and channels allow it, else one."""
    vector = _VECTOR_BYTES // dtype.itemsize
    return vector if channels % vector == 0 and all(address % _VECTOR_BYTES == 0 for address in addresses) else 1


@cache
def convolution_source(g: ConvGeometry, channels: int, dtype: np.dtype, vector: int) -> str:
    """im2col and col2im of a geometry, with `vector` channels a thread (see vector_of)."""
    numbers: dict[str, Any] = {"T": _TYPES[dtype], "C": channels, "VECTOR": vector}
    for letter, pair in (("K", g.kernel), ("S", g.stride), ("P", g.padding), ("D", g.dilation), ("", g.image), ("O", g.output)):
        numbers |= {f"{letter}H": pair[0], f"{letter}W": pair[1]}
    return _source("convolution", numbers)


@cache
def formula_kernels(
    formula: Formula,
    places: tuple[str, ...],
    numbers: tuple[str, ...],
    settings: tuple[tuple[str, Any], ...],
    dtype: np.dtype,
    in_place: bool = False,
    held: tuple[str, ...] = (),
) -> FormulaKernels:
    """The kernels of formula(xp, *inputs, **constants), each input at a place: "full", "channel", "row" or "single".

    numbers: names of constants given at every launch; settings: other constants, part of the kernel; held: constants that lie
    on the device, which are inputs behind the others. in_place: the results are the first inputs.
    Raises UntraceableError where a formula is not a list of known operations.
    """
    trace, results = trace_formula(formula, len(places), numbers, settings, in_place, held)
    places += ("single",) * len(held)
    scalars: list[Evaluate] = []

    def operand(place: int | Scalar) -> str:
        if isinstance(place, int):
            return f"v{place}"
        scalars.append(place.evaluate)
        return f"s{len(scalars) - 1}"

    lines = []
    for index, (function, operands) in enumerate(trace.operations, trace.inputs):
        name = operation_name(function)
        if name not in _OPERATIONS:
            raise UntraceableError(f"there is no kernel for the operation {name}")
        lines.append(f"const T v{index} = {_OPERATIONS[name].format(*map(operand, operands))};")

    outputs = range(len(results))
    targets = [f"a{k}" if in_place else f"o{k}" for k in outputs]
    loads = [f"const T v{k} = a{k}[{_PLACES[place]}];" for k, place in enumerate(places)]
    inputs = [f"{'' if in_place and k in outputs else 'const '}T* a{k}, " for k in range(len(places))]
    macros = {
        "T": _TYPES[dtype],
        "COUNT": len(results),
        "INPUTS": "".join(inputs),
        "RESULTS": "" if in_place else "".join(f"T* o{k}, " for k in outputs),
        "NUMBERS": "".join(f"T s{k}, " for k in range(len(scalars))),
        "LOAD(i, channels)": " ".join(loads),
        "FORMULA": " ".join(lines),
        "STORE(i)": " ".join(f"{target}[i] = v{r};" for target, r in zip(targets, results, strict=True)),
        "VALUES": ", ".join(f"v{r}" for r in results),
        "THREADS": THREADS,
    }
    return FormulaKernels(_source("formula", macros), tuple(scalars), len(results))


@dataclass(frozen=True)
class SumLayout:
    """How column_sums deals (rows, channels) out: `lanes` channels side by side in a block, the rows in so many parts."""

    lanes: int
    parts: int
    blocks: int


def sum_layout(rows: int, channels: int) -> SumLayout:
    """Up to 32 rows a thread are summed at once. More are cut into parts of at least 8, and a second launch sums the parts.

    Of these there are never too many for one launch, nor more than fill a large device; √rows are quickest for both together.
    """
    lanes = min(_MOST_LANES, 1 << max(0, channels - 1).bit_length())
    height, tiles = THREADS // lanes, -(-channels // lanes)
    parts = 1
    if rows > 32 * height:
        parts = min(-(-rows // (8 * height)), math.isqrt(rows), max(1, _FULL_DEVICE // tiles), 32 * THREADS // _MOST_LANES)
    return SumLayout(lanes, parts, tiles * parts)


def place_of(shape: Sequence[int], whole: Sequence[int]) -> str | None:
    """How an operand of this shape meets the elements of `whole`, as (rows, channels); None if no kernel does it so."""
    if tuple(shape) == tuple(whole):
        return "full"
    size = int(np.prod(shape, dtype=np.int64))
    if size == 1 and len(shape) <= len(whole):
        return "single"
    if shape[-1:] == whole[-1:] and size == whole[-1] and len(shape) <= len(whole):
        return "channel"
    return "row" if tuple(shape) == (*whole[:-1], 1) else None
