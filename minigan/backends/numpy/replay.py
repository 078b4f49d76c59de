"""A step of many small NumPy calls as a list of them: recorded once, then replayed without the Python that led to each.

In a dense network on a batch of some rows, half of the time is Python's: passes, layers, checks, memory for every result. What
reaches NumPy is the same list of calls in every step, on arrays in the same places. While it is recorded, arrays are of the
class Recorded, and NumPy itself hands every function that meets one to the tape (its protocols __array_ufunc__ and
__array_function__), which does the call and writes it down. A replay does the calls in their order.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import numpy as np

from minigan.backends.base import Array
from minigan.backends.expressions import Scalar
from minigan.backends.numpy.memory import Buffers
from minigan.backends.results import Results, leaves

if TYPE_CHECKING:
    from minigan.backends.numpy.backend import NumpyBackend


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


class UnrecordableError(Exception):
    """The step does something that a list of calls cannot repeat, such as branching on a value."""


class NothingToGainError(UnrecordableError):
    """The step has large work to spread over threads, beside which Python's share is nothing."""


class RecordedStep:
    """Calls of a step: the first runs it as it is; the second is recorded, the third compares; each later one replays.

    The second and the third do the work twice: once by the tape, whose results are compared and then undone, and once as the
    step is. So where a step cannot be recorded, or would be another one when replayed, the arrays are as the step leaves them;
    `say` is told why, and every call runs the step as it is. Of what the step gave to on_host, nothing is done twice. While
    something speaks against a replay, such as a network that is watched, the step runs as it is too.
    """

    def __init__(self, backend: NumpyBackend, step: Callable[[], Any], say: Callable[[str], None]) -> None:
        self._backend, self._step, self._say = backend, step, say
        self._phase = "first"
        self._tape = Tape()
        self._hindrances: list[Callable[[], str]] = []

    def __call__(self) -> Any:
        if self._phase == "plain" or (self._phase != "first" and self._hindrance()):
            return self._step()
        if self._phase == "replay":
            return self._replay()
        return {"first": self._first, "record": self._record, "compare": self._compare}[self._phase]()

    def _hindrance(self) -> str:
        for ask in self._hindrances:
            if reason := ask():
                return reason
        return ""

    def _first(self) -> Any:
        asked: list[Callable[[], str]] = []
        with self._backend.asking(asked):
            result = self._step()
        self._hindrances = list(dict.fromkeys(asked))
        self._phase = "record"
        if reason := self._hindrance():
            self._give_up(reason)
        return result

    def _record(self) -> Any:
        self._tape = tape = Tape()
        reason = ""
        try:
            with self._backend.recording(tape):
                result = self._step()
            self._results = Results(self._backend, result, keep=tape.plain)
        except NothingToGainError:
            self._phase = "plain"
        except Exception as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        finally:
            tape.close()
            tape.undo()
        own = self._backend.without_host(tape.host_done, self._step)  # an error of the step itself is raised here
        if reason:
            self._give_up(reason)
        elif self._phase == "record":
            self._phase = "compare"
        return own

    def _compare(self) -> Any:
        """A replay beside the step itself, from the same state."""
        tape = self._tape
        tape.remember()
        with self._backend.holding_blas():
            try:
                replayed = [*leaves(self._replay()), *(array.copy() for array in tape.written)]
            except Exception:  # the step itself raises it too, or the two are not the same
                replayed = []
            finally:
                tape.undo()
            result = self._backend.without_host(tape.host_done, self._step)
        own = [*leaves(result), *tape.written]
        different = sum(not _same(ours, theirs) for ours, theirs in zip_longest(replayed, own))
        if not different:
            self._phase = "replay"
            tape.forget()
        else:
            self._give_up(
                f"replayed, it is not the same step ({different} of {len(own)} results and arrays that it writes to differ); "
                "something changes from call to call that is no array and no number of the backend"
            )
        return result

    def _give_up(self, reason: str) -> None:
        self._phase, self._tape = "plain", Tape()
        self._say(f"the step is not recorded, every one runs through its layers: {reason}")

    def _replay(self) -> Any:
        self._backend.with_own_blas_threads(self._tape.play)
        return self._results.copy()


def _same(x: Any, y: Any) -> bool:
    """Whether two leaves are one value; arrays, and NumPy's numbers, to the bit."""
    if isinstance(x, (np.ndarray, np.generic)) and isinstance(y, (np.ndarray, np.generic)):
        return x.shape == y.shape and x.dtype == y.dtype and x.tobytes() == y.tobytes()
    return type(x) is type(y) and bool(x == y)


class Tape:
    """The calls of one step, memory for the values that it makes, and what it takes to undo it.

    Memory that a value of the step no longer needs is given to the next one, as it was when the step was recorded: a replay has
    the same values in the same places at the same time. So the calls hold addresses, and no array that would keep its memory
    from being used again.
    """

    def __init__(self) -> None:
        self._host_done = [0]
        self.written: list[Array] = []  # arrays that were there before, as far as the step writes to them
        self._calls: list[Callable[[], Any]] = []
        self._places: set[Any] = set()
        self._before: list[Array] = []
        self._streams: dict[int, tuple[np.random.Generator, Any]] = {}
        self._memory = Buffers(least=1)
        self._blocks: set[int] = set()  # the ids of the blocks of that memory, which keeps them
        self._open = True

    @property
    def host_done(self) -> int:
        """Calls of on_host since the recording, or the remembered state, began."""
        return self._host_done[0]

    def play(self) -> None:
        for call in self._calls:
            call()

    def close(self) -> None:
        """End the recording: from now on arrays of the class Recorded are like others."""
        self._open = False

    # -- undoing -------------------------------------------------------------------------------------------------------

    def remember(self) -> None:
        """Keep what the step will write to, and the states of its random streams."""
        self._host_done[0] = 0
        self._before = [array.copy() for array in self.written]
        self._streams = {key: (stream, stream.bit_generator.state) for key, (stream, _) in self._streams.items()}

    def undo(self) -> None:
        """All arrays and random streams as they were; in reverse order, for some are views of one another."""
        for array, before in zip(reversed(self.written), reversed(self._before), strict=True):
            array[...] = before
        for stream, state in self._streams.values():
            stream.bit_generator.state = state

    def forget(self) -> None:
        """No more undoing."""
        self.written, self._before, self._streams = [], [], {}

    # -- recording -----------------------------------------------------------------------------------------------------

    def see(self, *arrays: Any) -> list[Any]:
        """Arrays that were there before, as Recorded: what is done with them is written down. None stays None."""
        return [self._seen(array) if isinstance(array, np.ndarray) else array for array in arrays]

    def _seen(self, array: Array) -> Array:
        return array if isinstance(array, Recorded) else _recorded(array, self, False)

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """A new array in the tape's memory."""
        array = self._memory.array(shape, dtype)
        if array.size:
            self._blocks.add(id(_memory_of(array)))
        return _recorded(array, self, True)

    def call(self, function: Callable[[], Any], target: Array | None = None) -> None:
        """Do it now, and in every replay. target: the array that it writes to, if it may be one that was there before."""
        if target is not None and not getattr(target, "fresh", False):
            self._keep(self.plain(target))
        function()
        self._calls.append(function)

    def host(self, work: Callable[[], None]) -> None:
        """A part of the step that is done on the host, such as counting it: done here too, and not undone."""

        done = self._host_done

        def count() -> None:
            work()
            done[0] += 1

        self.call(count)

    def draw(self, stream: np.random.Generator, method: str, shape: tuple[int, ...], dtype: Any) -> Array:
        """An array of random numbers."""
        self._streams.setdefault(id(stream), (stream, stream.bit_generator.state))
        array = self.empty(shape, dtype)
        self.call(partial(getattr(stream, method), dtype=dtype, out=self.plain(array)))
        return array

    def _keep(self, array: Array) -> None:
        """What lies there before the step's first call that writes to it."""
        place = array.ctypes.data, array.shape, array.strides
        if place not in self._places:
            self._places.add(place)
            self.written.append(array)
            self._before.append(array.copy())

    def plain(self, value: Any) -> Any:
        """An array as one of NumPy's own, which does not keep memory of the tape from being used again; else value itself."""
        if isinstance(value, Scalar):
            raise UnrecordableError("a number that changes from step to step meets arrays outside of an element-wise formula")
        if not isinstance(value, np.ndarray):
            return value
        # np.lib.stride_tricks makes plain views of arrays of any class, so the class does not tell.
        return np.asarray(_Place(value)) if id(_memory_of(value)) in self._blocks else value.view(np.ndarray)

    def ufunc(self, ufunc: np.ufunc, method: str, inputs: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """ufunc(*inputs, **options), or its method reduce."""
        (target,) = options.pop("out", (None,))
        operands = [self.plain(x) for x in inputs]
        options = {name: self.plain(value) for name, value in options.items()}
        function = ufunc if method == "__call__" else getattr(ufunc, method)
        if not self._open:
            return function(*operands, **options, **({} if target is None else {"out": self.plain(target)}))
        if method not in ("__call__", "reduce") or ufunc.nout != 1:
            raise UnrecordableError(f"np.{ufunc.__name__}, in this form, has no place in a recording")
        if target is None:
            value = function(*operands, **options)  # once more than needed, for its shape and dtype
            target = self.empty(np.shape(value), value.dtype)
        operands = _as_arrays(operands, target.dtype) if ufunc in _ARITHMETIC else operands
        self.call(partial(function, *operands, out=self.plain(target), **options), target)
        return target

    def function(self, function: Callable[..., Any], arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """Any other function of NumPy that makes a new array. It has no place to put it, so that is copied."""
        operands, settings = self._all_plain(arguments), {name: self._all_plain(value) for name, value in options.items()}
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
            raise UnrecordableError(f"the shape of what np.{function.__name__} gives depends on values")
        if not isinstance(value, np.ndarray) or any(
            np.may_share_memory(value, x) for x in leaves(operands) if isinstance(x, np.ndarray)
        ):
            raise UnrecordableError(f"np.{function.__name__} gives no new array")
        return self.copied(lambda: function(*operands, **settings), value)

    def copied(self, make: Callable[[], Array], like: Array) -> Array:
        """A new array of that shape and dtype, into which what `make` makes is copied."""
        if not self._open:
            return make()
        target = self.empty(like.shape, like.dtype)
        place = self.plain(target)
        self.call(lambda: np.copyto(place, make(), casting="unsafe"))
        return target

    def _all_plain(self, value: Any) -> Any:
        return type(value)(map(self._all_plain, value)) if isinstance(value, (list, tuple)) else self.plain(value)


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


def _recorded(array: Array, tape: Tape, fresh: bool) -> Recorded:
    recorded = array.view(Recorded)
    recorded.tape, recorded.fresh = tape, fresh
    return recorded


def _look(array: Recorded, look: Callable[[Array], Array]) -> Any:
    """look(array), which is a view of it or a new array."""
    plain = array.view(np.ndarray)
    value = look(plain)
    if np.may_share_memory(value, plain):
        return _recorded(value, array.tape, array.fresh)
    plain = array.tape.plain(array)
    return array.tape.copied(lambda: look(plain), value)


def _refuse(name: str) -> Callable[..., Any]:
    def refuse(self: Recorded, *_: Any) -> Any:
        raise UnrecordableError(
            f"the step reads the value of an array ({name}): what depends on that cannot be repeated blindly"
        )

    return refuse


class Recorded(np.ndarray):
    """An array of a step that is being recorded. It has the methods that the tape can write down, or that only look on.

    fresh: whether it lies in the tape's memory; otherwise it was there before the step.
    """

    tape: Tape
    fresh: bool

    _looks = frozenset(
        {"shape", "dtype", "ndim", "size", "itemsize", "nbytes", "strides", "flags", "tape", "fresh", "base", "ctypes"}
    )
    _views = frozenset({"T", "view", "transpose", "swapaxes", "squeeze", "reshape", "ravel"})
    _makes = frozenset({"copy", "flatten", "astype", "repeat", "sum", "mean", "max", "min", "prod", "any", "all"})

    def __getattribute__(self, name: str) -> Any:
        if name in Recorded._looks | Recorded._views | Recorded._makes or name.startswith("__"):
            return super().__getattribute__(name)
        raise UnrecordableError(f"the method {name} of arrays has no place in a recording")

    def __array_finalize__(self, parent: Any) -> None:
        if isinstance(parent, Recorded):
            self.tape, self.fresh = parent.tape, parent.fresh

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        return self.tape.ufunc(ufunc, method, inputs, options)

    def __array_function__(self, function: Any, types: Any, arguments: Any, options: Any) -> Any:
        return self.tape.function(function, arguments, options)

    def __getitem__(self, key: Any) -> Any:
        if any(getattr(part, "dtype", None) == np.dtype(bool) for part in (key if isinstance(key, tuple) else (key,))):
            raise UnrecordableError("how many elements a mask chooses depends on values")
        return _look(self, lambda array: array[key])

    def __setitem__(self, key: Any, value: Any) -> None:
        target = self[key]
        if target.size == 0:
            return
        if not isinstance(target, Recorded) or not np.may_share_memory(self.tape.plain(target), self.tape.plain(self)):
            raise UnrecordableError("writing to chosen elements of an array has no place in a recording")
        if isinstance(value, Recorded) and value.__array_interface__ == target.__array_interface__:
            return  # the end of x[key] += y, which lies there already
        np.copyto(target, value, casting="unsafe")

    def reshape(self, *shape: Any, **options: Any) -> Any:
        return _look(self, lambda array: array.reshape(*shape, **options))

    def ravel(self, order: Any = "C") -> Any:
        return _look(self, lambda array: array.ravel(order))

    def flatten(self, order: Any = "C") -> Any:
        return _look(self, lambda array: array.flatten(order))

    def copy(self, order: Any = "C") -> Any:
        return _look(self, lambda array: array.copy(order))

    def astype(self, dtype: Any, *settings: Any, **options: Any) -> Any:
        return _look(self, lambda array: array.astype(dtype, *settings, **options))

    def repeat(self, repeats: Any, axis: Any = None) -> Any:
        return _look(self, lambda array: array.repeat(repeats, axis))

    __float__ = __int__ = __bool__ = __index__ = __complex__ = _refuse("as a number")
    __contains__ = _refuse("in")
