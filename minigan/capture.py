"""A training step recorded once and replayed: on the CPU as a list of NumPy's calls, on a GPU as a CUDA graph.

What a step does on the host (counting, learning rates, the place in the data) is apart from what it does with arrays, so that
only the latter is recorded. A replay is compared with the step itself before it is trusted. The recordings themselves are in
backends/numpy/replay.py and backends/cupy/graph.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import zip_longest
from typing import Any

import numpy as np

from minigan.backends import Array, Backend, Generator
from minigan.backends.recording import tree_leaves
from minigan.backends.scalars import watch_sets
from minigan.distributed import ALONE, Communicator
from minigan.errors import NotWorthCapturingError, OptionError
from minigan.reachable import Holdings, is_own, no_clocks, unreadable_counts, values_within
from minigan.sizes import ignore_underflow

READ_IN_ADVANCE = ("steps", "schedule")  # of an optimiser
_OF_LAYERS = (bool, float, Generator)  # attributes of a layer that are neither arrays nor shapes
MOST_RECORDINGS = 8  # of one step; one whose options change more often than that runs eagerly


class Step:
    """A training step in two parts. A game is one; a new one gives backend, networks and optimizers, and writes both parts.

    advance: the host's part. It counts, moves to the next batch, and sets the DeviceScalars that compute reads, each once.
    compute: the device's part, and its results. It may be repeated at will: what it depends on lies in arrays, in DeviceScalars
    and in the backend's random streams, and it changes nothing but these.
    ranks: the processes that compute it together, each on its share of a batch (Backend.over); all take the same steps.
    Where it computes something else from time to time, `variant`, read before advance, tells what is next: each is recorded.
    """

    backend: Backend
    networks: Mapping[str, Any] = {}
    optimizers: Mapping[str, Any] = {}
    variant: Any = None
    ranks: Communicator = ALONE

    def advance(self) -> None:
        for optimizer in self.optimizers.values():
            optimizer.advance()

    def compute(self) -> Any:
        raise NotImplementedError(f"{type(self).__name__} has no compute")

    @ignore_underflow
    def __call__(self) -> Any:
        self.advance()
        return self.compute()

    def arrays(self) -> Iterator[Array]:
        """The arrays that compute writes to."""
        for net in self.networks.values():
            yield from (net.flat_params, net.flat_grads, *net.state.values())
        for optimizer in self.optimizers.values():
            yield from optimizer.state.values()


class _OnBatches(Step):
    """A game's step on the next batch of its data."""

    def __init__(self, game: Any, batches: Any) -> None:
        self.game, self.batches = game, batches
        self.ranks: Communicator = getattr(batches, "ranks", ALONE)  # who shares each batch
        self.steps_itself = "step" in vars(game) or is_own(_definer(type(game), "step"))  # around compute, or instead of it
        self._is_checked = False
        # Batches of the user's own need not hand out labels.
        self._labels: Callable[[], dict[str, Array]] = getattr(batches, "labels", dict)
        if hasattr(batches, "dataset"):
            zeros, count, classes = batches.backend.zeros, batches.batch_size, getattr(batches, "classes", 0)
            labels: dict[str, Array] = {"labels": zeros((count, classes), batches.dtype)} if classes else {}
            with batches.backend.over(self.ranks):
                game.check(zeros((count, *batches.dataset.shape), batches.dtype), **labels)
        self.backend, self.networks, self.optimizers = game.backend, game.networks, game.optimizers

    @property
    def variant(self) -> Any:
        return self.game.variant

    def advance(self) -> None:
        self.batches.advance()
        if not self.steps_itself:
            self.game.advance()

    def compute(self) -> Any:
        with self.backend.over(self.ranks):
            batch, labels = self.batches.take(), self._labels()
            if not self._is_checked:  # in the first call, which is eager
                self.game.check(batch, **labels)
                self._is_checked = True
            return self.game.step(batch, **labels) if self.steps_itself else self.game.compute(batch, **labels)

    def arrays(self) -> Iterator[Array]:
        yield from self.game.arrays()


def capture(step: Any, batches: Any = None, log: Callable[[str], None] = print) -> Callable[[], Any]:
    """A function that takes the step, recorded once and then replayed where the backend can do so.

    capture(step) takes a Step; capture(game, batches) makes one of a game and the data that it trains on.
    The first call runs the step eagerly; the second also records it; the third compares a replay with it, bit by bit; each
    later one replays. Results are copies. (A CUDA graph of a step that is not minigan's own, or one that leaves no room on the
    device to run the step beside it, is replayed uncompared.)
    Where the step cannot be captured, `log` is told once why, and every call runs it eagerly: on the CPU if it has layers or
    optimisers that are not minigan's own; anywhere if it branches on the values of an array, sets a DeviceScalar twice, or has
    other values that change. While a network is watched the step runs eagerly too. Where an attribute of the step, of its
    objective, optimisers or layers, or a value of the user's own is changed later, the step is recorded anew. The range of
    batches is looked at in the first call alone, and a method replaced on a class is not seen.
    """
    if not isinstance(step, Step):
        raise OptionError(f"step is a {type(step).__name__}: expected a minigan.Step, or a game and its batches")
    if batches is not None and not all(hasattr(batches, name) for name in ("advance", "take")):
        raise OptionError(f"batches is a {type(batches).__name__}: expected minigan.Batches(data, batch_size, game.backend)")
    if batches is None and hasattr(step, "losses"):
        raise OptionError("a game's step needs data: capture(game, minigan.Batches(data, batch_size, game.backend))")
    return Captured(_OnBatches(step, batches) if batches is not None else step, log)


class Captured:
    """The function that capture returns. phase: "first", "record", "compare", "replay" or "eager"."""

    def __init__(self, step: Step, log: Callable[[str], None]) -> None:
        self._step, self._log, self._backend = step, log, step.backend
        self._variant, self._others = step.variant, dict[Any, Captured]()
        self.phase = "first"
        self._recording: Any = None
        self._values: dict[str, Any] = {}
        self._holdings: Holdings | None = None  # where there are such values
        self._bindings: list[tuple[dict[str, Any], str, Any]] = []
        self._sizes: list[tuple[dict[str, Any], int]] = []
        self._recorded = 0

    def __getstate__(self) -> dict[str, Any]:
        """A copy of a captured step records anew, for a recording holds the places of the arrays that it works on."""
        again = "eager" if self.phase == "eager" else "first"
        without: dict[str, Any] = {
            "_recording": None,
            "_values": {},
            "_holdings": None,
            "_bindings": [],
            "_sizes": [],
            "_others": {},
        }
        return {**vars(self), "phase": again, **without}

    @ignore_underflow
    def __call__(self) -> Any:
        if (variant := self._step.variant) != self._variant and self.phase != "eager":
            if variant not in self._others:
                self._others[variant] = Captured(self._step, self._log)
            return self._others[variant]()
        if self.phase == "eager" or any(net.watch is not None for net in self._step.networks.values()):
            return self._step()
        if self.phase == "replay":
            self._step.advance()
            # All ranks record anew where one has to: whoever records exchanges more than whoever replays.
            if self._step.ranks.any(not self._is_as_recorded()):
                return self._begin_anew()
            return self._replay()
        return {"first": self._first, "record": self._record, "compare": self._compare}[self.phase]()

    def _first(self) -> Any:
        """Eagerly, which compiles kernels and fills pools."""
        if instead := self._runs_itself():
            self._run_eagerly(f"{instead} is the user's own, and a recording holds what compute does alone")
            self._settle()
            return self._step()
        with watch_sets() as scalars:
            self._step.advance()
        self._values = self._plain_values()
        result = self._step.compute()
        self.phase, changed = "record", self._changed_values()
        if len(set(map(id, scalars))) < len(scalars):
            self._run_eagerly("advance sets a DeviceScalar twice; give each use one of its own")
        elif self._backend.records_builtins_only and (custom := custom_part(self._step)):
            self._run_eagerly(f"{custom} is not minigan's own")
        elif changed:  # told before anything is recorded, for that runs compute once more
            self._refuse_change(changed)
        self._settle()
        return result

    def _settle(self) -> None:
        """All ranks go on alike, or one would wait for sums that no other takes: where one runs eagerly, or replays what it
        had no room to compare, all do.
        """
        phases = self._step.ranks.gather(self.phase)
        if "eager" in phases and self.phase != "eager":
            self._run_eagerly("another rank does not capture it")
        elif "replay" in phases:
            self.phase = "replay"

    def _is_as_recorded(self) -> bool:
        """False where what a replay takes as it was has been bound anew, or what is of the user's own has changed."""
        if not all(names.get(name) is value for names, name, value in self._bindings):
            return False
        if not all(len(names) == count for names, count in self._sizes):
            return False
        return not self._values or self._still_holds() or not self._changed_values()

    def _still_holds(self) -> bool:
        """The quick look at what the step holds of the user's own. False says only that the values must be compared."""
        if self._holdings is None:
            self._holdings = Holdings(self._own_step().compute, self._backend.owns)
            return False
        if self._holdings.are_as_they_were():
            return True
        self._holdings = None
        return False

    def _begin_anew(self) -> Any:
        """The step has another objective, or another option: eagerly, and recorded again in the calls that follow."""
        if self._recorded < MOST_RECORDINGS:
            self.phase, self._recording, self._values = "record", None, self._plain_values()
        else:
            bound = (name for names, name, value in self._bindings if names.get(name) is not value)
            self._refuse_change(self._changed_values() or next(bound, "an attribute"), "again and again")
        return self._step.compute()

    def _now_bound(self) -> list[tuple[dict[str, Any], str, Any]]:
        """(the attributes of an object, a name, its value) for all that a replay takes as it was when it was recorded."""
        step = self._own_step()
        layers = [part for net in step.networks.values() for layer in net.layers for part in layer.nested()]
        parts = [step, getattr(step, "objective", None), getattr(step, "likelihood", None), *getattr(step, "penalties", ())]
        parts += step.optimizers.values()
        names = [vars(part) for part in parts if hasattr(part, "__dict__")]
        names += [getattr(step, "streams", {}), *(optimizer.state for optimizer in step.optimizers.values())]
        names += [layer.options for layer in layers]
        bound = [(of, name, value) for of in names for name, value in of.items() if name not in READ_IN_ADVANCE]
        bound += [(vars(layer), name, v) for layer in layers for name, v in vars(layer).items() if isinstance(v, _OF_LAYERS)]
        batches = vars(getattr(self._step, "batches", self._step))
        return bound + [(batches, name, batches[name]) for name in ("batch_size", "dtype") if name in batches]

    def _refuse_change(self, changed: str, when: str = "from call to call") -> None:
        if type(self._backend).record is Backend.record:
            self.phase = "eager"  # nothing would be recorded anyway
        else:
            self._run_eagerly(f"{changed} changes {when} and is neither an array nor a DeviceScalar")

    def _record(self) -> Any:
        self._step.advance()
        if changed := self._changed_values():
            self._refuse_change(changed)
        else:
            self._attempt()
        self._settle()
        # An error of the step itself is raised here.
        return self._replay() if self.phase == "replay" else self._step.compute()

    def _attempt(self) -> None:
        """Record the step, whose effects are undone."""
        self._bindings, self._recorded = self._now_bound(), self._recorded + 1
        self._sizes = [(names, len(names)) for names in {id(names): names for names, _, _ in self._bindings}.values()]
        try:
            own, over = self._own_step(), self._backend.over(self._step.ranks)
            with over, unreadable_counts(own), no_clocks(own.compute):
                self._recording = self._backend.record(self._step.compute, list(self._step.arrays()))
            self.phase = "eager" if self._recording is None else "compare"
        except NotWorthCapturingError:
            self.phase = "eager"
        except Exception as error:  # whatever the step, NumPy, CuPy or CUDA refuse to do in a recording
            self._run_eagerly(str(error).splitlines()[0] if str(error) else type(error).__name__)
        if self.phase == "compare" and (changed := self._changed_values()):
            self._refuse_change(changed)
        elif self.phase == "compare" and not self._can_compare():
            self.phase = "replay"

    def _compare(self) -> Any:
        """A replay beside the step itself, from the same state."""
        recording = self._recording
        self._step.advance()
        recording.snapshot()
        with self._backend.undisturbed():
            try:
                replayed = [*tree_leaves(self._replay()), *(array.copy() for array in recording.written)]
            except Exception:  # the step itself raises it too, or the two are not the same
                replayed = []
            finally:
                recording.rollback()
            result = self._step.compute()
        own = [*tree_leaves(result), *recording.written]
        different = sum(not self._equal(ours, theirs) for ours, theirs in zip_longest(replayed, own))
        if different:
            self._run_eagerly(
                f"replayed, it is another step ({different} of {len(own)} results and arrays differ); "
                "something changes from call to call that is neither an array nor a DeviceScalar"
            )
        else:
            self.phase = "replay"
            recording.discard()
        self._settle()
        return result

    def _replay(self) -> Any:
        """The step as it was recorded, on the threads that each of its ranks has."""
        with self._backend.over(self._step.ranks):
            return self._recording.replay()

    def _own_step(self) -> Any:
        """The step, or the game of which it is one."""
        return self._step.game if isinstance(self._step, _OnBatches) else self._step

    def _runs_itself(self) -> str:
        """The step or __call__ of the user's own in which compute is only a part; "" where there is none."""
        if isinstance(self._step, _OnBatches):
            return f"{type(self._step.game).__name__}.step" if self._step.steps_itself else ""
        return f"{type(self._step).__name__}.__call__" if is_own(_definer(type(self._step), "__call__")) else ""

    def _plain_values(self) -> dict[str, Any]:
        """What a step holds of the user's own that is no array: a replay would not see it change."""
        step = self._own_step()
        return values_within(step.compute, type(step).__name__, self._backend.owns)

    def _changed_values(self) -> str:
        now = self._plain_values()
        changed = [name for name in now.keys() | self._values.keys() if now.get(name) != self._values.get(name)]
        return min(changed, key=len) if changed else ""

    def _can_compare(self) -> bool:
        """To compare, both write, so what the first wrote must be known; and there must be room for both."""
        step = self._own_step()
        known = self._backend.tracks_writes or (is_builtin(type(step)) and not custom_part(step))
        return known and self._recording.has_room_beside

    def _run_eagerly(self, reason: str) -> None:
        self.phase, self._recording = "eager", None
        self._log(f"not captured, running eagerly: {reason}")

    def _equal(self, x: Any, y: Any) -> bool:
        """True if two leaves are the same value; arrays, and NumPy's numbers, to the bit."""
        x, y = (self._backend.to_numpy(a) if self._backend.owns(a) else a for a in (x, y))
        if isinstance(x, (np.ndarray, np.generic)) and isinstance(y, (np.ndarray, np.generic)):
            return x.shape == y.shape and x.dtype == y.dtype and x.tobytes() == y.tobytes()
        return type(x) is type(y) and bool(x == y)


def _definer(kind: type, method: str) -> type:
    """The class that a method comes from."""
    return next(parent for parent in kind.__mro__ if method in vars(parent))


def custom_part(step: Step) -> str:
    """The first layer or optimiser of a step that is not minigan's own; "" where all are."""
    for net in step.networks.values():
        for layer in (part for whole in net.layers for part in whole.nested()):
            if not is_unchanged(layer):
                return layer.label
    return next((type(o).__name__ for o in step.optimizers.values() if not is_unchanged(o)), "")


def is_unchanged(part: Any) -> bool:
    """True if a part's class is minigan's own, and none of its methods has been replaced on this one object."""
    own = (name for name, value in vars(part).items() if callable(value))
    return is_builtin(type(part)) and not any(callable(getattr(type(part), name, None)) for name in own)


def is_builtin(kind: type) -> bool:
    """True if every class that makes up this one is minigan's own, so that what it does with arrays is known."""
    return all(parent is object or parent.__module__.partition(".")[0] == "minigan" for parent in kind.__mro__)
