"""Captured steps of one's own: whatever changes and is no array is seen, wherever it lies, or the step is refused."""

import cProfile
import random
import sys
import time

import numpy as np
import pytest
from small_games import DATA, GAMES, OneStep, no_complaint, same

import minigan as mg
from minigan.data import Batches
from minigan.forked import can_fork, forked
from minigan.reachable import Holdings, no_clocks, values_within

COUNT = 0


class Own(mg.GAN):
    """A game whose generator's loss weighs more from step to step."""

    def factor(self):
        return 1.0

    def compute(self, real, z=None):
        stats = super().compute(real, z)
        return {**stats, "weighed": stats["loss_g"] * self.factor()}


class Attribute(Own):
    n = 0

    def factor(self):
        self.n += 1
        return float(self.n // 5)


class InDict(Own):
    def factor(self):
        held = vars(self).setdefault("held", {"n": 0})
        held["n"] += 1
        return float(held["n"] // 5)


class InList(Own):
    def advance(self):
        vars(self).setdefault("seen", []).append(1)
        super().advance()

    def factor(self):
        return float(len(self.seen) // 5)


class OfTheClass(Own):
    n = 0

    def factor(self):
        type(self).n += 1
        return float(type(self).n // 5)


class OfTheModule(Own):
    def factor(self):
        global COUNT
        COUNT += 1
        return float(COUNT // 5)


class Clock(Own):
    def factor(self):
        return float(time.time() > 0)


class NumpysStream(Own):
    def factor(self):
        return float(np.random.random() < 2)


class PythonsStream(Own):
    def factor(self):
        return float(random.random() < 2)


class OptimisersCount(Own):
    def factor(self):
        return 1.0 if self.optimizer_g.steps % 5 else 2.0


class OwnStep(mg.GAN):
    """Its weights are clipped behind each step."""

    def step(self, real, z=None):
        stats = super().step(real, z)
        np.clip(self.discriminator.flat_params, -0.01, 0.01, out=self.discriminator.flat_params)
        return stats


class Annealed(mg.losses.NonSaturating):
    n = 0

    def generator(self, s_fake, s_real=None):
        self.n += 1
        loss, ds = super().generator(s_fake)
        return loss, ds * (1.0 if self.n < 5 else 0.5)


def closure(be):
    n = [0]

    class Closure(Own):
        def factor(self):
            n[0] += 1
            return float(n[0] // 5)

    return game(be, Closure)


def game(be, kind=mg.GAN, **options):
    return kind(*mg.models.mlp((8, 8, 1), 5, (6, 7), backend=be), **options)


KINDS = [Attribute, InDict, InList, OfTheClass, OfTheModule, Clock, NumpysStream, PythonsStream, OptimisersCount]
HOSTILE = {kind.__name__: lambda be, kind=kind: game(be, kind) for kind in KINDS}
HOSTILE |= {"an objective": lambda be: game(be, objective=Annealed()), "a closure": closure}


def play(make, captured, said, be):
    global COUNT
    COUNT, OfTheClass.n = 0, 0
    own, batches = make(be), Batches(DATA, 6, be)
    step = mg.capture(own, batches, said.append) if captured else lambda: own.step(batches.next())
    stats = [{name: float(be.to_numpy(value)) for name, value in step().items()} for _ in range(12)]
    return stats, own.state_dict(), own.random_state, batches.state


@pytest.mark.parametrize("name", HOSTILE)
def test_what_changes_on_the_host_is_refused(name):
    be, said = mg.get_backend("numpy"), []
    assert same(play(HOSTILE[name], True, said, be), play(HOSTILE[name], False, [], be))
    assert len(said) == 1
    assert said[0].startswith("not captured, running eagerly: ")
    assert len(said[0]) <= 300


@pytest.mark.parametrize("name", ["InDict", "Clock", "OptimisersCount", "an objective"])
def test_what_changes_on_the_host_is_refused_on_a_device(device, name):
    said = []
    assert same(play(HOSTILE[name], True, said, device), play(HOSTILE[name], False, [], device))
    assert len(said) == 1


def test_a_step_of_ones_own_around_compute_is_taken():
    be, said = mg.get_backend("numpy"), []
    make = lambda be: game(be, OwnStep, lr=0.1)  # noqa: E731
    ours = play(make, True, said, be)
    assert same(ours, play(make, False, [], be))
    assert np.abs([a for name, a in ours[1].items() if name == "discriminator.1.weight"]).max() <= 0.01
    assert said == [
        "not captured, running eagerly: OwnStep.step is the user's own, and a recording holds what compute does alone"
    ]


def test_a_schedule_of_ones_own_runs_in_advance():
    """It may count, and ask what it likes: each step gets its rate."""
    be = mg.get_backend("numpy")

    class Plateau:
        n = 0

        def __call__(self, step):
            self.n += 1
            return 0.1 / self.n

    results = []
    for captured in (True, False):
        own, batches = game(be, lr=Plateau()), Batches(DATA, 6, be)
        step = mg.capture(own, batches, no_complaint) if captured else lambda own=own, batches=batches: own.step(batches.next())
        results.append([float(step()["loss_g"]) for _ in range(8)])
    assert results[0] == results[1]


def test_games_of_minigan_hold_nothing_that_could_change():
    be = mg.get_backend("numpy")
    for name, make in GAMES.items():
        assert values_within(make(be).compute, name, be.owns) == {}


def test_counts_are_put_back():
    be = mg.get_backend("numpy")
    own = game(be, OptimisersCount)
    step = mg.capture(own, Batches(DATA, 6, be), lambda text: None)
    for _ in range(3):
        step()
    assert own.optimizer_g.steps == own.optimizer_d.steps == 3


def test_a_call_of_ones_own_is_taken():
    be, calls, said = mg.get_backend("numpy"), [], []

    class Called(OneStep):
        def __call__(self):
            calls.append(1)
            return super().__call__()

    step = mg.capture(Called(be, lambda: be.zeros((2,), "f4")), log=said.append)
    for _ in range(5):
        step()
    assert len(calls) == 5
    assert "Called.__call__ is the user's own" in said[0]


def test_a_profiler_goes_on_behind_a_recording():
    """One written in C is no function that could be put back."""
    profiler = cProfile.Profile()
    profiler.enable()
    try:
        before = sys.getprofile()
        with no_clocks(Clock.factor):
            pass
        assert sys.getprofile() is before
        len("a call")
    finally:
        profiler.disable()
    assert any("built-in method builtins.len" in str(entry.code) for entry in profiler.getstats())


class Slotted:
    __slots__ = ("n",)

    def __init__(self):
        self.n = 0


class Rich(Own):
    """Holds something of every kind."""

    shared = 0

    def __init__(self, *networks):
        super().__init__(*networks)
        count = [0]
        self.held = {"n": 0, "deep": [{"n": 0}], "set": {1}, "array": np.zeros(3), "slots": Slotted()}
        self.stream, self.python = np.random.default_rng(0), random.Random(0)
        self.reads = lambda: count[0] + COUNT
        self.count = count

    def factor(self):
        return float(self.reads() + self.shared)


def move_the_module():
    global COUNT
    COUNT += 1


CHANGES = {
    "an attribute": lambda own: setattr(own, "more", 1),
    "a value of a dict": lambda own: own.held.update(n=1),
    "deep within": lambda own: own.held["deep"][0].update(n=2),
    "a list": lambda own: own.held["deep"].append(1),
    "a set": lambda own: own.held["set"].add(2),
    "an array": lambda own: own.held["array"].__setitem__(1, 5.0),
    "a slot": lambda own: setattr(own.held["slots"], "n", 1),
    "a class": lambda own: setattr(Rich, "shared", Rich.shared + 1),
    "a closure": lambda own: own.count.__setitem__(0, 1),
    "a module": lambda own: move_the_module(),
    "a stream": lambda own: own.stream.random(),
    "Python's stream": lambda own: own.python.random(),
    "NumPy's global stream": lambda own: np.random.random(),
    "Python's global stream": lambda own: random.random(),
}


@pytest.mark.parametrize("name", CHANGES)
def test_the_quick_look_sees_what_the_walk_sees(name):
    own, owns = game(mg.get_backend("numpy"), Rich), lambda array: False  # as of a device: host arrays are none of its own
    holdings, before = Holdings(own.compute, owns), values_within(own.compute, "Rich", owns)
    own.optimizer_g.advance()  # what minigan's own parts count in advance
    assert holdings.are_as_they_were()
    assert values_within(own.compute, "Rich", owns) == before
    CHANGES[name](own)
    assert values_within(own.compute, "Rich", owns) != before
    assert not holdings.are_as_they_were()


@pytest.mark.skipif(not can_fork(), reason="only Linux lets a process be copied safely")
def test_what_ranks_count_is_their_own_matter():
    """A step of one's own that several ranks share is walked through once, not after each of their sums."""
    with forked(2) as ranks:

        class Shared(mg.Step):
            backend = mg.get_backend("numpy")

            def __init__(self):
                self.ranks, self.x = ranks, np.ones(3)

            def compute(self):
                with self.backend.over(self.ranks):
                    return self.backend.all_mean(self.x)

        step = Shared()
        holdings = Holdings(step.compute, step.backend.owns)
        for _ in range(3):
            step()
            assert holdings.are_as_they_were()
        step.weight = 2.0
        assert not holdings.are_as_they_were()
