"""What an object of the user's own holds: its attributes and all within them, closures and globals of its functions too."""

from __future__ import annotations

import random
import sys
import types
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial
from operator import is_
from typing import Any

import numpy as np

from minigan.errors import CaptureError

MOST = 20_000  # values that are looked at
HOST_COUNTS = {"Optimizer": ("steps",), "Batches": ("epoch", "batch")}  # by minigan's classes, which move them in advance
_PLAIN = (bool, int, float, complex, str, bytes, type(None), np.generic)
_NOT_ENTERED = (types.ModuleType, types.BuiltinFunctionType, np.ufunc, np.dtype)
_MACHINERY = ("minigan.backends", "minigan.distributed", "minigan.forked")  # modules
_STREAMS = (np.random.Generator, np.random.RandomState, random.Random)
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
    elif not _is_machinery(value):
        yield from ((path, kind, True) for kind in type(value).__mro__ if is_own(kind))
        attributes = list(getattr(value, "__dict__", {}).items())
        slots = [key for kind in type(value).__mro__ for key in getattr(kind, "__slots__", ()) if is_own(kind)]
        attributes += [(key, getattr(value, key)) for key in slots if hasattr(value, key)]
        mine = is_own(type(value))
        named = path if path and not mine else type(value).__name__
        # A schedule runs in advance, and a backend is a part of the process.
        skipped = {"schedule", "backend", "_backend", *_counts_of(value)}
        yield from ((f"{named}.{key}", part, mine) for key, part in attributes if key not in skipped)


def _is_machinery(value: Any) -> bool:
    """True for arrays, backends and what ranks exchange sums through: what they count is their own matter."""
    return hasattr(value, "ndim") or type(value).__module__.startswith(_MACHINERY)


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
        if isinstance(value, _STREAMS):
            values[path] = _state_of(value)
        elif own and isinstance(value, _PLAIN):
            values[path] = (type(value), value if value == value else "nan")
        elif own and isinstance(value, np.ndarray) and not owns(value) and value.size <= _SMALL:
            values[path] = value.tobytes()
        elif own and isinstance(value, (list, dict, set)):
            values[f"len({path})"] = len(value)
    if values:
        values |= {"numpy.random": _state_of(np.random), "random": _state_of(random)}
    return values


class Holdings:
    """Everything within an object by identity: while nothing there is bound anew, `values_within` would give what it gave.

    To make one takes a walk, some hundred objects long; to look whether it still holds, a small part of that.
    """

    def __init__(self, root: Any, owns: Callable[[Any], bool]) -> None:
        self._mappings: list[tuple[Any, int, list[tuple[Any, Any]]]] = []
        self._sequences: list[tuple[Any, tuple[Any, ...]]] = []
        self._attributes: list[tuple[Any, str, Any]] = []
        self._streams: list[tuple[Any, Any]] = [(stream, _state_of(stream)) for stream in (np.random, random)]
        self._arrays: list[tuple[np.ndarray, bytes]] = []
        known: set[int] = set()
        for _, value, own in walk(root, ""):
            if isinstance(value, (*_PLAIN, *_NOT_ENTERED)) or id(value) in known:
                continue
            known.add(id(value))
            if isinstance(value, _STREAMS):
                self._streams.append((value, _state_of(value)))
            elif isinstance(value, np.ndarray):
                if own and not owns(value) and value.size <= _SMALL:
                    self._arrays.append((value, value.tobytes()))
            else:
                self._add(value)

    def _add(self, value: Any) -> None:
        if isinstance(value, dict):
            self._add_mapping(value)
        elif isinstance(value, (list, set)):
            self._sequences.append((value, tuple(value)))
        elif isinstance(value, types.FunctionType):
            cells = [cell for cell in value.__closure__ or () if cell != types.CellType()]
            self._attributes += [(cell, "cell_contents", cell.cell_contents) for cell in cells]
            self._attributes += [(value, name, getattr(value, name)) for name in ("__code__", "__defaults__", "__kwdefaults__")]
            names = _global_names(value.__code__) & value.__globals__.keys() if is_own(value) else ()  # type: ignore[arg-type]
            self._mappings.append((value.__globals__, 0, [(name, value.__globals__[name]) for name in names]))
        elif isinstance(value, type):
            if is_own(value):
                self._add_mapping(vars(value))
        elif not _is_machinery(value):
            self._add_mapping(getattr(value, "__dict__", {}), _counts_of(value))
            slots = (key for kind in type(value).__mro__ if is_own(kind) for key in getattr(kind, "__slots__", ()))
            self._attributes += [(value, key, getattr(value, key)) for key in slots if hasattr(value, key)]

    def _add_mapping(self, mapping: Any, without: Collection[str] = ()) -> None:
        self._mappings.append((mapping, len(mapping), [pair for pair in mapping.items() if pair[0] not in without]))

    def are_as_they_were(self) -> bool:
        for mapping, size, items in self._mappings:
            if size and len(mapping) != size:
                return False
            for key, value in items:
                if mapping.get(key) is not value:
                    return False
        return (
            all(len(now) == len(then) and all(map(is_, now, then)) for now, then in self._sequences)
            and all(_attribute(of, name) is value for of, name, value in self._attributes)
            and all(array.tobytes() == then for array, then in self._arrays)
            and all(_state_of(stream) == then for stream, then in self._streams)
        )


def _attribute(of: Any, name: str) -> Any:
    """None where there is none, or where a closure's variable has been deleted."""
    try:
        return getattr(of, name)
    except (AttributeError, ValueError):
        return None


def _state_of(stream: Any) -> Any:
    """What decides a random stream's next numbers; of a module, its global stream's."""
    if isinstance(stream, np.random.Generator):
        return repr(stream.bit_generator.state)
    if isinstance(stream, random.Random) or stream is random:
        return hash(stream.getstate())
    name, key, *rest = stream.get_state(legacy=True)
    return (name, key.tobytes(), *rest)


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
