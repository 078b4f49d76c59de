"""Element-wise formulas as short programs: a formula is run once on symbols, and what it did is replayed on blocks of arrays.

`(1 - y * y) * dy` on arrays makes a new array for every operation. Traced, it becomes the list of its operations in order, each
with a place to put its result: the output, or one of as few scratch blocks as the formula needs at a time. The formula itself
stays a plain expression next to its calculus.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np

from minigan.backends.base import Array, Formula

Evaluate = Callable[[dict[str, float]], float]


class UntraceableError(Exception):
    """The formula does something that has no place in a program, such as branching on a value. It still runs on arrays."""


class Scalar:
    """A number known only when the program runs: a constant of the formula, or arithmetic on such constants."""

    def __init__(self, evaluate: Evaluate) -> None:
        self.evaluate = evaluate

    def _with(self, other: Any, function: Callable[[Any, Any], Any], swapped: bool = False) -> Any:
        if isinstance(other, Symbol):
            return NotImplemented
        mine, theirs = self.evaluate, _evaluate(other)
        return Scalar((lambda c: function(theirs(c), mine(c))) if swapped else (lambda c: function(mine(c), theirs(c))))

    def __neg__(self) -> Scalar:
        mine = self.evaluate
        return Scalar(lambda c: -mine(c))

    def _branch(self, *_: Any) -> Any:
        raise UntraceableError("a formula that branches on a number has no one program")

    __bool__ = __eq__ = __ne__ = _branch
    __hash__ = object.__hash__


def _evaluate(value: Any) -> Evaluate:
    if isinstance(value, Scalar):
        return value.evaluate
    if not isinstance(value, (int, float)):
        what = "an array" if isinstance(value, np.ndarray) else repr(value)
        raise UntraceableError(f"{what} is neither a number nor a symbol")
    return lambda constants: value


class Symbol:
    """An array that is not there yet. Arithmetic on it is recorded in the trace."""

    __array_ufunc__ = None  # NumPy's own numbers give way to the methods here

    dtype = "number"  # the one dtype of all arrays of a program

    def __init__(self, trace: Trace, index: int) -> None:
        self.trace, self.index = trace, index

    def _with(self, other: Any, function: Callable[..., Any], swapped: bool = False) -> Symbol:
        return self.trace.record(function, *((other, self) if swapped else (self, other)))

    def __neg__(self) -> Symbol:
        return self.trace.record(np.negative, self)

    def __abs__(self) -> Symbol:
        return self.trace.record(np.absolute, self)

    def __pow__(self, power: Any) -> Symbol:
        return self.trace.record(np.square, self) if power == 2 else self.trace.record(np.power, self, power)

    def astype(self, dtype: Any) -> Symbol:
        """Comparisons already are 0 or 1 in the dtype of the arrays, the only one that a program knows."""
        if dtype != self.dtype:
            raise UntraceableError(f"a program has the arrays' dtype, not {dtype}")
        return self

    def _branch(self, *_: Any) -> Any:
        raise UntraceableError("a formula that branches on an array has no one program")

    __bool__ = __eq__ = __ne__ = _branch
    __hash__ = object.__hash__


def _compare(function: Callable[..., Any]) -> Callable[..., None]:
    def compare(x: Array, y: Array, out: Array) -> None:
        out[...] = function(x, y)  # through a block of bools: faster than a ufunc that casts its own result

    compare.__name__ = function.__name__
    return compare


_ARITHMETIC = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "truediv": np.divide}
_COMPARISONS = {
    name: _compare(getattr(np, ufunc)) for name, ufunc in (("gt", "greater"), ("ge", "greater_equal"), ("lt", "less"))
}


def _add_operators() -> None:
    for name, ufunc in _ARITHMETIC.items():
        plain = getattr(operator, name)
        for kind, function in ((Symbol, ufunc), (Scalar, plain)):
            setattr(kind, f"__{name}__", lambda self, other, f=function: self._with(other, f))
            setattr(kind, f"__r{name}__", lambda self, other, f=function: self._with(other, f, swapped=True))
    for name, function in _COMPARISONS.items():
        setattr(Symbol, f"__{name}__", lambda self, other, f=function: self._with(other, f))


_add_operators()


def _where(condition: Array, x: Array, y: Array, out: Array) -> None:
    out[...] = np.where(condition, x, y)


def _copy(x: Array, out: Array) -> None:
    out[...] = x


class Functions:
    """Stands in for the module xp while a formula is traced: the functions that formulas may use."""

    _ufuncs = ("maximum", "minimum", "sqrt", "exp", "log", "log1p", "expm1", "tanh", "abs", "sign", "square")

    def __init__(self, trace: Trace) -> None:
        for name in self._ufuncs:
            setattr(self, name, partial(trace.record, getattr(np, name)))
        self.where = partial(trace.record, _where)

    def __getattr__(self, name: str) -> Any:
        raise UntraceableError(f"a program has no function {name}")


@dataclass
class Trace:
    """The operations of a formula in their order: (function, operands). An operand is a value's index, or a Scalar."""

    inputs: int
    operations: list[tuple[Callable[..., Any], tuple[int | Scalar, ...]]] = field(default_factory=list)

    def record(self, function: Callable[..., Any], *operands: Any) -> Symbol:
        places = tuple(o.index if isinstance(o, Symbol) else Scalar(_evaluate(o)) for o in operands)
        self.operations.append((function, places))
        return Symbol(self, self.inputs + len(self.operations) - 1)


class Step(NamedTuple):
    """function(*[registers[i] for i in operands], out=registers[out])"""

    function: Callable[..., Any]
    operands: tuple[int, ...]
    out: int


class Program:
    """A formula on registers, in this order: the inputs, the outputs, the scalars, the scratch blocks.

    filled: the scalars that are wanted as whole blocks, for np.maximum and np.minimum are several times slower beside a number.
    """

    def __init__(self, steps: list[Step], outputs: int, scalars: list[Evaluate], filled: set[int], scratch: int) -> None:
        self.steps, self.outputs, self.scalars, self.filled, self.scratch = steps, outputs, scalars, filled, scratch

    def run(self, registers: list[Array]) -> None:
        """Every step in its order, on one block."""
        for step in self.steps:
            operands = step.operands
            if len(operands) == 2:  # by far the most; a list for any number of operands takes as long again
                step.function(registers[operands[0]], registers[operands[1]], out=registers[step.out])
            else:
                step.function(*[registers[i] for i in operands], out=registers[step.out])


def trace_formula(
    formula: Formula,
    inputs: int,
    numbers: tuple[str, ...],
    settings: tuple[tuple[str, Hashable], ...],
    in_place: bool = False,
    held: tuple[str, ...] = (),
) -> tuple[Trace, list[int]]:
    """What formula(xp, *inputs, **constants) does, and which values it returns.

    numbers: names of constants given when it runs; settings: other constants, part of the trace; held: constants that lie in
    memory, which are inputs behind all others. in_place: the results are written to the first inputs, so each must be
    computed. Raises UntraceableError where what it does depends on the inputs.
    """
    trace = Trace(inputs + len(held))
    constants: dict[str, Any] = {name: Scalar(operator.itemgetter(name)) for name in numbers}
    constants |= {name: Symbol(trace, inputs + i) for i, name in enumerate(held)}
    try:
        results = formula(Functions(trace), *(Symbol(trace, i) for i in range(inputs)), **constants, **dict(settings))
    except (TypeError, AttributeError) as error:
        raise UntraceableError(str(error)) from None
    results = results if isinstance(results, tuple) else (results,)
    if not all(isinstance(r, Symbol) and (r.index >= trace.inputs or not in_place) for r in results):
        raise UntraceableError("the formula returns something that it did not compute from its arrays")
    return trace, [result.index for result in results]


def split_constants(constants: dict[str, Any]) -> tuple[dict[str, Any], tuple[tuple[str, Any], ...]]:
    """A formula's constants as (numbers, settings): those given anew whenever it runs, and those that are part of it.

    Numbers are floats, or Scalars for what is looked up when it is needed (current_values does so).
    """
    numbers = {
        name: value if isinstance(value, Scalar) else float(value)
        for name, value in constants.items()
        if isinstance(value, (float, np.floating, Scalar))
    }
    return numbers, tuple((name, value) for name, value in constants.items() if name not in numbers)


def current_values(numbers: dict[str, Any]) -> dict[str, float]:
    """The numbers of split_constants as floats, as they are now."""
    return {name: value.evaluate({}) if isinstance(value, Scalar) else value for name, value in numbers.items()}


def uses(evaluate: Evaluate, constants: dict[str, float]) -> set[str]:
    """The names of the constants that a scalar is made of."""
    seen: set[str] = set()

    class Watched(dict[str, float]):
        def __getitem__(self, name: str) -> float:
            seen.add(name)
            return super().__getitem__(name)

    evaluate(Watched(constants))
    return seen


def operation_name(function: Callable[..., Any]) -> str:
    """The name, NumPy's, of an operation of a trace."""
    return function.__name__.removeprefix("_")


@lru_cache(maxsize=256)
def compile_formula(
    formula: Formula, inputs: int, numbers: tuple[str, ...], settings: tuple[tuple[str, Hashable], ...], in_place: bool = False
) -> Program:
    """The program of formula(xp, *inputs, **constants), with trace_formula's arguments and errors.

    in_place: the outputs are the first inputs; otherwise they are arrays of their own.
    """
    trace, results = trace_formula(formula, inputs, numbers, settings, in_place)
    return _allocate(trace, results, in_place)


def _allocate(trace: Trace, results: list[int], in_place: bool) -> Program:
    """Give every value a register: its output's if nobody needs that any more, else a scratch block that is free."""
    inputs, outputs = trace.inputs, len(results)
    last_use = dict.fromkeys(range(inputs + len(trace.operations)), -1)
    for when, (_, operands) in enumerate(trace.operations):
        last_use.update((o, when) for o in operands if isinstance(o, int))
    last_use.update((result, len(trace.operations)) for result in results)
    out_register = [i if in_place else inputs + i for i in range(outputs)]
    scalars: list[Scalar] = []
    filled: set[int] = set()
    first_scalar = inputs + (0 if in_place else outputs)
    first_scratch = first_scalar + sum(isinstance(o, Scalar) for _, operands in trace.operations for o in operands)

    place = {index: index for index in range(inputs)}
    # A single output is scratch space until its value comes.
    free = [] if in_place or outputs > 1 else list(out_register)
    steps: list[Step] = []
    scratch = 0
    for when, (function, operands) in enumerate(trace.operations):
        value = inputs + when
        registers = []
        for o in operands:
            if isinstance(o, int):
                registers.append(place[o])
            else:
                if function in (np.maximum, np.minimum):
                    filled.add(len(scalars))
                registers.append(first_scalar + len(scalars))
                scalars.append(o)
        ending = {o for o in operands if isinstance(o, int) and last_use[o] == when}
        free += sorted({place[o] for o in ending if o >= inputs}, reverse=True)
        wanted = out_register[results.index(value)] if value in results else None
        taken = {place[v] for v in place if last_use[v] > when}
        if wanted is not None and wanted not in taken:
            register = wanted
            free = [r for r in free if r != register]
        elif free:
            register = free.pop()
        else:
            register, scratch = first_scratch + scratch, scratch + 1
        place[value] = register
        steps.append(Step(function, tuple(registers), register))
    for result, register in zip(results, out_register, strict=True):
        if place[result] != register:
            steps.append(Step(_copy, (place[result],), register))
    return Program(steps, outputs, [scalar.evaluate for scalar in scalars], filled, scratch)
