"""A computation of many small NumPy calls as a list of them: recorded once, replayed without the Python that led to each.

In a dense network on a batch of some rows, half of the time is Python's, and a sixth in a convolutional one that works in
blocks: passes, layers, checks, memory for every result. What reaches NumPy is the same list of calls in every step, on arrays
in the same places. While it is recorded, arrays are of the class Recorded, and NumPy itself hands every function that meets one
to the list (its protocols __array_ufunc__ and __array_function__), which makes the call and appends it. A replay makes the
calls in their order.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any

import numpy as np

from minigan.backends.base import Array
from minigan.backends.expressions import Scalar
from minigan.backends.numpy.memory import Buffers, Scratch
from minigan.backends.recording import tree_leaves
from minigan.errors import CaptureError

_SHAPED_BY_VALUES = {
    "argwhere",
    "bincount",
    "compress",
    "extract",
    "flatnonzero",
    "intersect1d",
    "setdiff1d",
    "setxor1d",
    "union1d",
    "unique",
    "unique_values",
}
_ARITHMETIC = {np.add, np.subtract, np.multiply, np.divide, np.maximum, np.minimum}


class CallList:
    """The calls of one computation, memory for the values that it makes, and what it takes to undo it.

    Memory that a value no longer needs is given to the next one, as it was while recording: a replay has the same values in the
    same places at the same time. So the calls hold addresses, and no array that would keep its memory
    from being used again.
    """

    def __init__(self) -> None:
        self.written: list[Array] = []  # arrays that were there before, and are written to
        self._calls: list[Callable[[], Any]] = []
        self._places: set[Any] = set()
        self._before: list[Array] = []
        self._streams: dict[int, tuple[np.random.Generator, Any]] = {}
        self._memory = Buffers(least=1)
        self._scratch = Scratch()
        self._blocks: set[int] = set()  # the ids of the blocks of that memory, which keeps them
        self._open = True

    def replay(self) -> None:
        for call in self._calls:
            call()

    def close(self) -> None:
        """End the recording: from now on arrays of the class Recorded are like others."""
        self._open = False

    # -- undoing -------------------------------------------------------------------------------------------------------

    def snapshot(self) -> None:
        """Keep what a replay will write to, and the states of its random streams."""
        self._before = [array.copy() for array in self.written]
        self._streams = {key: (stream, stream.bit_generator.state) for key, (stream, _) in self._streams.items()}

    def rollback(self) -> None:
        """All arrays and random streams as they were; in reverse order, for some are views of one another."""
        for array, before in zip(reversed(self.written), reversed(self._before), strict=True):
            array[...] = before
        for stream, state in self._streams.values():
            stream.bit_generator.state = state

    def discard(self) -> None:
        """Drop the snapshot: there will be no rollback."""
        self.written, self._before, self._streams = [], [], {}

    # -- recording -----------------------------------------------------------------------------------------------------

    def wrap(self, *arrays: Any) -> list[Any]:
        """Arrays that were there before, as Recorded: what is done with them is appended. None stays None."""
        return [self._wrapped(array) if isinstance(array, np.ndarray) else array for array in arrays]

    def _wrapped(self, array: Array) -> Array:
        return array if isinstance(array, Recorded) else _recorded(array, self, False)

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """A new array in the list's own memory."""
        array = self._memory.array(shape, dtype)
        if array.size:
            self._blocks.add(id(_memory_of(array)))
        return _recorded(array, self, True)

    def zeros(self, key: Hashable, shape: tuple[int, ...], dtype: Any) -> Array:
        """As Scratch.zeros, of the list's own."""
        return _recorded(self._scratch.zeros(key, shape, dtype), self, True)

    def _empty_like(self, value: Any) -> Array:
        """A new array like a value of NumPy's, its axes in the same order in memory: the rounding of sums depends on that."""
        order = sorted(range(np.ndim(value)), key=lambda axis: -np.asarray(value).strides[axis])
        array = self.empty(tuple(np.shape(value)[axis] for axis in order), value.dtype)
        return array.transpose(sorted(range(len(order)), key=order.__getitem__))

    def call(self, function: Callable[[], Any], target: Array | None = None) -> None:
        """Make the call now, and in every replay. target: what it writes to, if that may be an array that was there before."""
        if target is not None:
            self._keep_first(target)
        function()
        self._calls.append(function)

    def call_later(self, function: Callable[[], Any], targets: Sequence[Array]) -> None:
        """Make the call in every replay, but not now. targets: what it writes to."""
        for target in targets:
            self._keep_first(target)
        self._calls.append(function)

    def draw(self, stream: np.random.Generator, method: str, shape: tuple[int, ...], dtype: Any) -> Array:
        """An array of random numbers."""
        self._streams.setdefault(id(stream), (stream, stream.bit_generator.state))
        array = self.empty(shape, dtype)
        self.call(partial(getattr(stream, method), dtype=dtype, out=self.unwrap(array)))
        return array

    def _keep_first(self, target: Array) -> None:
        """What lies there before the first call that writes to it, if that was there before."""
        if getattr(target, "fresh", False):
            return
        array = self.unwrap(target)
        place = array.ctypes.data, array.shape, array.strides
        if place not in self._places:
            self._places.add(place)
            self.written.append(array)
            self._before.append(array.copy())

    def unwrap(self, value: Any) -> Any:
        """An array as one of NumPy's own, which does not keep memory of the list from being used again; else value itself."""
        if isinstance(value, Scalar):
            raise CaptureError("a number that changes from step to step meets arrays outside of an element-wise formula")
        if not isinstance(value, np.ndarray):
            return value
        # np.lib.stride_tricks makes plain views of arrays of any class, so the class does not tell.
        return np.asarray(_Place(value)) if id(_memory_of(value)) in self._blocks else value.view(np.ndarray)

    def ufunc(self, ufunc: np.ufunc, method: str, inputs: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """ufunc(*inputs, **options), or its method reduce."""
        (target,) = options.pop("out", (None,))
        operands = [self.unwrap(x) for x in inputs]
        options = {name: self.unwrap(value) for name, value in options.items()}
        function = ufunc if method == "__call__" else getattr(ufunc, method)
        if not self._open:
            return function(*operands, **options, **({} if target is None else {"out": self.unwrap(target)}))
        if method not in ("__call__", "reduce") or ufunc.nout != 1:
            raise CaptureError(f"np.{ufunc.__name__}, in this form, has no place in a recording")
        if target is None:
            value = function(*operands, **options)  # once more than needed, for its shape and dtype
            target = self._empty_like(value)
        operands = _as_arrays(operands, target.dtype) if ufunc in _ARITHMETIC else operands
        self.call(partial(function, *operands, out=self.unwrap(target), **options), target)
        return target

    def function(self, function: Callable[..., Any], arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """Any other function of NumPy that makes a new array. It has no place to put it, so that is copied."""
        operands, settings = self._unwrap_all(arguments), {name: self._unwrap_all(value) for name, value in options.items()}
        if not self._open:
            return function(*operands, **settings)
        if function is np.copyto:
            self.call(partial(function, *operands, **settings), arguments[0])
            return None
        if settings.get("out") is not None:
            self.call(partial(function, *operands, **settings), options["out"])
            return options["out"]
        value = function(*operands, **settings)
        value = np.asarray(value) if isinstance(value, np.generic) else value
        if function.__name__ in _SHAPED_BY_VALUES:
            raise CaptureError(f"the shape of what np.{function.__name__} gives depends on values")
        if not isinstance(value, np.ndarray) or any(
            np.may_share_memory(value, x) for x in tree_leaves(operands) if isinstance(x, np.ndarray)
        ):
            raise CaptureError(f"np.{function.__name__} gives no new array")
        return self.copied(lambda: function(*operands, **settings), value)

    def copied(self, make: Callable[[], Array], like: Array) -> Array:
        """A new array of that shape and dtype, into which what `make` makes is copied."""
        if not self._open:
            return make()
        target = self._empty_like(like)
        place = self.unwrap(target)
        self.call(lambda: np.copyto(place, make(), casting="unsafe"))
        return target

    def _unwrap_all(self, value: Any) -> Any:
        return type(value)(map(self._unwrap_all, value)) if isinstance(value, (list, tuple)) else self.unwrap(value)


def _as_arrays(operands: list[Any], dtype: Any) -> list[Any]:
    """Python's numbers among floats of one dtype as arrays: NumPy then need not convert them in every replay."""
    arrays = [x for x in operands if isinstance(x, np.ndarray)]
    if dtype.kind != "f" or any(x.dtype != dtype for x in arrays):
        return operands
    return [np.asarray(x, dtype) if isinstance(x, (int, float)) else x for x in operands]


class _Place:
    """Where an array lies, and no reference to it."""

    def __init__(self, array: Array) -> None:
        self.__array_interface__ = array.__array_interface__


def _memory_of(array: Any) -> Any:
    """The object at the end of the chain of an array's bases."""
    while getattr(array, "base", None) is not None:
        array = array.base
    return array


def _recorded(array: Array, calls: CallList, fresh: bool) -> Recorded:
    recorded = array.view(Recorded)
    recorded.calls, recorded.fresh = calls, fresh
    return recorded


def _apply(array: Recorded, method: Callable[[Array], Array]) -> Any:
    """method(array), which is a view of it or a new array."""
    plain = array.view(np.ndarray)
    value = method(plain)
    if np.may_share_memory(value, plain):
        return _recorded(value, array.calls, array.fresh)
    plain = array.calls.unwrap(array)
    return array.calls.copied(lambda: method(plain), value)


def _refuse(name: str) -> Callable[..., Any]:
    def refuse(self: Recorded, *_: Any) -> Any:
        raise CaptureError(f"the step reads the value of an array ({name}): what depends on that cannot be repeated blindly")

    return refuse


class Recorded(np.ndarray):
    """An array of a computation that is being recorded. It has the methods that the list can repeat, and those that only look.

    fresh: whether it lies in the list's own memory; otherwise it was there before.
    """

    calls: CallList
    fresh: bool

    _attributes = frozenset(
        {"shape", "dtype", "ndim", "size", "itemsize", "nbytes", "strides", "flags", "calls", "fresh", "base", "ctypes"}
    )
    _views = frozenset({"T", "view", "transpose", "swapaxes", "squeeze", "reshape", "ravel"})
    _makes = frozenset({"copy", "flatten", "astype", "repeat", "sum", "mean", "max", "min", "prod", "any", "all"})

    def __getattribute__(self, name: str) -> Any:
        if name in Recorded._attributes | Recorded._views | Recorded._makes or name.startswith("__"):
            return super().__getattribute__(name)
        raise CaptureError(f"the method {name} of arrays has no place in a recording")

    def __array_finalize__(self, parent: Any) -> None:
        if isinstance(parent, Recorded):
            self.calls, self.fresh = parent.calls, parent.fresh

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        return self.calls.ufunc(ufunc, method, inputs, options)

    def __array_function__(self, function: Any, types: Any, arguments: Any, options: Any) -> Any:
        return self.calls.function(function, arguments, options)

    def __getitem__(self, key: Any) -> Any:
        if any(getattr(part, "dtype", None) == np.dtype(bool) for part in (key if isinstance(key, tuple) else (key,))):
            raise CaptureError("how many elements a mask chooses depends on values")
        return _apply(self, lambda array: array[key])

    def __setitem__(self, key: Any, value: Any) -> None:
        target = self[key]
        if target.size == 0:
            return
        if not isinstance(target, Recorded) or not np.may_share_memory(self.calls.unwrap(target), self.calls.unwrap(self)):
            raise CaptureError("writing to chosen elements of an array has no place in a recording")
        if isinstance(value, Recorded) and value.__array_interface__ == target.__array_interface__:
            return  # the end of x[key] += y, which lies there already
        np.copyto(target, value, casting="unsafe")

    def reshape(self, *shape: Any, **options: Any) -> Any:
        return _apply(self, lambda array: array.reshape(*shape, **options))

    def ravel(self, order: Any = "C") -> Any:
        return _apply(self, lambda array: array.ravel(order))

    def flatten(self, order: Any = "C") -> Any:
        return _apply(self, lambda array: array.flatten(order))

    def copy(self, order: Any = "C") -> Any:
        return _apply(self, lambda array: array.copy(order))

    def astype(self, dtype: Any, *settings: Any, **options: Any) -> Any:
        return _apply(self, lambda array: array.astype(dtype, *settings, **options))

    def repeat(self, repeats: Any, axis: Any = None) -> Any:
        return _apply(self, lambda array: array.repeat(repeats, axis))

    __float__ = __int__ = __bool__ = __index__ = __complex__ = _refuse("as a number")
    __contains__ = _refuse("in")
