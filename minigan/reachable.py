"""What an object of the user's own holds: its attributes and all within them, closures and globals of its functions too."""

from __future__ import annotations

import random
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from minigan.errors import CaptureError

MOST = 20_000  # values that are looked at
HOST_COUNTS = {"Optimizer": ("steps",), "Batches": ("epoch", "batch")}  # by minigan's classes, which move them in advance
_PLAIN = (bool, int, float, complex, str, bytes, type(None), np.generic)
_NOT_ENTERED = (types.ModuleType, types.BuiltinFunctionType, np.ufunc, np.dtype)
_SMALL = 4096  # elements of a host array that is compared


def is_own(kind: type) -> bool:
    """True for a class of the user's: not Python's, NumPy's, CuPy's or minigan's."""
    root = kind.__module__.partition(".")[0]
    return root not in {"minigan", "numpy", "cupy"} and root not in sys.stdlib_module_names


def walk(root: Any, name: str) -> Iterator[tuple[str, Any, bool]]:
    """(path, value, whether it belongs to something of the user's own) for all that is within root; each object once."""
    seen: dict[int, Any] = {}  # the objects themselves, for an id may be given again
    waiting = [(name, root, True)]
    while waiting and len(seen) < MOST:
        path, value, own = waiting.pop()
        yield path, value, own
        if isinstance(value, (*_PLAIN, *_NOT_ENTERED)) or id(value) in seen:
            continue
        seen[id(value)] = value
        waiting += _parts(path, value, own)


def _parts(path: str, value: Any, own: bool) -> Iterator[tuple[str, Any, bool]]:
    if isinstance(value, dict):
        yield from ((f"{path}[{key!r}]", part, own) for key, part in list(value.items()))
    elif isinstance(value, (list, tuple, set, frozenset)):
        yield from ((f"{path}[{index}]", part, own) for index, part in enumerate(list(value)))
    elif isinstance(value, types.MethodType):
        yield from ((path, part, own) for part in (value.__self__, value.__func__))
    elif isinstance(value, partial):
        yield from ((path, part, own) for part in (value.func, value.args, value.keywords))
    elif isinstance(value, types.FunctionType):
        if not is_own(value):  # type: ignore[arg-type]
            return
        cells = zip(value.__code__.co_freevars, value.__closure__ or (), strict=False)
        yield from ((key, cell.cell_contents, True) for key, cell in cells if cell != types.CellType())
        yield from ((f"{path}'s defaults", part, True) for part in (value.__defaults__, value.__kwdefaults__))
        names = _global_names(value.__code__)
        used = ((key, value.__globals__[key]) for key in names if key in value.__globals__)
        yield from ((key, part, True) for key, part in used if _is_local(part, value.__module__))
    elif isinstance(value, type):
        if is_own(value):
            yield from ((f"the class's {value.__name__}.{key}", part, True) for key, part in list(vars(value).items()))
    elif not hasattr(value, "ndim") and not type(value).__module__.startswith("minigan.backends"):  # no array, no machinery
        yield from ((path, kind, True) for kind in type(value).__mro__ if is_own(kind))
        attributes = list(getattr(value, "__dict__", {}).items())
        slots = [key for kind in type(value).__mro__ for key in getattr(kind, "__slots__", ()) if is_own(kind)]
        attributes += [(key, getattr(value, key)) for key in slots if hasattr(value, key)]
        mine = is_own(type(value))
        named = path if path and not mine else type(value).__name__
        # A schedule runs in advance, and a backend is a part of the process.
        skipped = {"schedule", "backend", "_backend", *_counts_of(value)}
        yield from ((f"{named}.{key}", part, mine) for key, part in attributes if key not in skipped)


def _is_local(value: Any, module: str) -> bool:
    """True for a global that is the module's own matter: what it imports may change for reasons of its own."""
    if isinstance(value, (*_PLAIN, list, tuple, dict, set)):
        return True
    return getattr(value if isinstance(value, (type, types.FunctionType)) else type(value), "__module__", "") == module


def _counts_of(value: Any) -> list[str]:
    """The names of an object's counts that minigan moves in advance."""
    own = (kind.__name__ for kind in type(value).__mro__ if kind.__module__.partition(".")[0] == "minigan")
    return [count for name in own for count in HOST_COUNTS.get(name, ())]


def _global_names(code: types.CodeType) -> set[str]:
    """The names in a function and in those that it defines, of which some are globals."""
    inner = (part for part in code.co_consts if isinstance(part, types.CodeType))
    return set(code.co_names).union(*map(_global_names, inner))


def values_within(root: Any, name: str, owns: Callable[[Any], bool]) -> dict[str, Any]:
    """All that may change and is no array of the device: numbers, texts, small host arrays, states of random streams, by path.

    owns: whether an array is one of the device, whose changes replays see. Empty where all is made of minigan's own parts.
    """
    values: dict[str, Any] = {}
    for path, value, own in walk(root, name):
        if isinstance(value, np.random.Generator):
            values[path] = repr(value.bit_generator.state)
        elif isinstance(value, (np.random.RandomState, random.Random)):
            values[path] = repr(value.get_state() if isinstance(value, np.random.RandomState) else value.getstate())
        elif own and isinstance(value, _PLAIN):
            values[path] = (type(value), value if value == value else "nan")
        elif own and isinstance(value, np.ndarray) and not owns(value) and value.size <= _SMALL:
            values[path] = value.tobytes()
        elif own and isinstance(value, (list, dict, set)):
            values[f"len({path})"] = len(value)
    if values:
        values |= {"numpy.random": repr(np.random.get_state()[1:3]) + np.random.get_state()[1].tobytes().hex()}  # type: ignore[index]
        values |= {"random": hash(random.getstate())}
    return values


class Unreadable:
    """Stands for a count while compute is recorded: a replay would go on with the count of that time."""

    def __init__(self, name: str) -> None:
        self.name = name

    def _refuse(self, *_: Any) -> Any:
        raise CaptureError(f"compute reads {self.name}, which changes from call to call: let advance set a DeviceScalar by it")

    __hash__ = _refuse


for _name in (
    *("bool", "int", "float", "index", "str", "repr", "format", "neg", "abs", "eq", "ne", "lt", "le", "gt", "ge"),
    *(
        f"{side}{name}"
        for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "and", "or")
        for side in ("", "r")
    ),
):
    setattr(Unreadable, f"__{_name}__", Unreadable._refuse)


@contextmanager
def unreadable_counts(root: Any) -> Iterator[None]:
    """Within it, the counts that minigan's own parts move in advance cannot be read."""
    found: list[tuple[Any, str, int]] = []
    for _, value, _ in walk(root, ""):
        own = getattr(value, "__dict__", {})
        found += [(value, name, own[name]) for name in _counts_of(value) if type(own.get(name)) is int]
    try:
        for value, name, _ in found:
            setattr(value, name, Unreadable(f"{type(value).__name__}.{name}"))
        yield
    finally:
        for value, name, count in found:
            setattr(value, name, count)


@contextmanager
def no_clocks(root: Any) -> Iterator[None]:
    """Raises CaptureError behind it where the user's own code asked what time it is: a replay would repeat the answer."""
    asked: list[str] = []

    own = {value.__module__ for _, value, _ in walk(root, "") if isinstance(value, types.FunctionType) and is_own(value)}  # type: ignore[arg-type]

    def look(frame: types.FrameType, event: str, function: Any) -> None:
        if event == "c_call" and frame.f_globals.get("__name__") in own:
            owner = getattr(function, "__module__", None) or getattr(getattr(function, "__self__", None), "__module__", None)
            if owner in ("time", "datetime"):
                asked.append(function.__name__)

    watching = bool(own) and sys.getprofile() is None  # a profiler written in C could not be put back
    if watching:
        sys.setprofile(look)
    try:
        yield
    finally:
        if watching:
            sys.setprofile(None)
    if asked:
        raise CaptureError(f"compute asks for the time ({asked[0]}), and a replay would repeat the answer")
