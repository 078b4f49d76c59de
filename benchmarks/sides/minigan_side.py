"""minigan, on any of its backends."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import cycle
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info

import minigan as mg
from benchmarks.sides.base import (
    COPIED,
    NOISED,
    SEEN,
    Inputs,
    Prepared,
    Side,
    d_steps,
    proof_of,
)
from minigan.distributed import ALONE, Communicator
from minigan.forked import forked
from minigan.losses.penalty import backward_with_penalties
from minigan.training import Config
from minigan.training.shares import processes_for

_BATCH = ("real", "z", "labels")  # what a step takes, as its compute is handed it


class GivenDraws:
    """Stands in for a random stream: hands out given numbers, in the order in which a step asks for them.

    given: (steps, draws, *shape), for so many steps in turn. order: which of a step's draws each of its calls gets.
    """

    def __init__(self, be: mg.backends.Backend, given: np.ndarray, order: Sequence[int]) -> None:
        self._given = [[be.asarray(draw) for draw in of_step] for of_step in given]
        self._now = [be.zeros(draw.shape, draw.dtype) for draw in self._given[0]]
        self._order, self._calls = tuple(order), 0

    def begin(self, turn: int) -> None:
        """Go on to the draws of a step."""
        self._calls = 0
        for now, given in zip(self._now, self._given[turn], strict=True):
            now[...] = given

    def _next(self) -> Any:
        draw = self._now[self._order[self._calls % len(self._order)]]
        self._calls = (self._calls + 1) % len(self._order)
        return draw

    def normal(self, shape: tuple[int, ...], dtype: Any) -> Any:
        return self._next().reshape(shape)

    uniform = normal


def give_draws(game: mg.Game, inputs: Inputs) -> list[GivenDraws]:
    """Let a game, and the layers of its D, take the draws among the inputs in place of their own.

    Penalties that do not share the passes of the loss run D again on the same samples, and there it sees what it saw.
    """
    given = []
    if "instance noise" in inputs:
        given.append(GivenDraws(game.backend, inputs["instance noise"], range(len(NOISED))))
        game.streams["instance noise"] = given[-1]  # type: ignore[assignment]
    layers = {name.partition(".")[2]: a for name, a in inputs.items() if name.startswith("draws.")}
    for index, draws in layers.items():
        assert isinstance(game, mg.GAN)
        points = [penalty.batch for penalty in game.penalties]
        passes = ["real", "fake", *(SEEN[p] for p in points if p is not None), "judged"]
        passes[-1:-1] = ["rival"] if game.objective.compares else []
        layer = game.discriminator.layers[int(index)]
        given.append(GivenDraws(game.backend, draws, [SEEN.index(name) for name in passes]))
        layer.rng = given[-1]
    return given


class OnGivenBatches(mg.Step):
    """A game's step on data and noise that are handed in: the step itself takes the next batch from the device."""

    def __init__(self, game: mg.Game, inputs: Inputs, ranks: Communicator = ALONE) -> None:
        self.game, be, self.ranks = game, game.backend, ranks
        inputs = _share_of(inputs, ranks)
        self.backend, self.networks, self.optimizers = be, game.networks, game.optimizers
        count, self.batch = inputs["real"].shape[:2]
        self._rows = [be.asarray(inputs[name].reshape(-1, *inputs[name].shape[2:])) for name in _BATCH if name in inputs]
        self._order, self._start = be.asarray(np.arange(count * self.batch)), be.scalar()
        self._draws, self._turns = give_draws(game, inputs), cycle(range(count))

    @property
    def variant(self) -> Any:
        return self.game.variant

    def advance(self) -> None:
        turn = next(self._turns)
        self._start.set(self.batch * turn)
        for draws in self._draws:
            draws.begin(turn)
        self.game.advance()

    def compute(self) -> dict[str, Any]:
        take = self.backend.take_rows
        with self.backend.over(self.ranks):
            batch = [take(rows, self._order, self._start, self.batch, self.game.dtype) for rows in self._rows]
            return self.game.compute(*batch)

    def arrays(self) -> Iterator[Any]:
        return self.game.arrays()


def _share_of(inputs: Inputs, ranks: Communicator) -> Inputs:
    """What a rank sees of each batch and of each draw."""
    shares = dict(inputs)
    for name, array in inputs.items():
        axis = 1 if name in _BATCH else 2 if name == "instance noise" or name.startswith("draws.") else 0
        if axis:
            own = ranks.own(ranks.share_of(array.shape[axis]))
            shares[name] = array[:, own] if axis == 1 else array[:, :, own]
    return shares


class InProcesses:
    """The step as a run takes it: in so many processes, each on its share of every batch. The others follow the first one.

    take: makes the step of a rank. restart: brings the game back to where it began.
    """

    def __init__(self, count: int, take: Callable[[Communicator], Callable[[], Any]], restart: Callable[[], None]) -> None:
        self._open, self._restart = ExitStack(), restart
        self._ranks = self._open.enter_context(forked(count))
        self._step: Callable[[], Any]
        if self._ranks.rank == 0:
            self._step = take(self._ranks)
            return
        with self._open:  # where it is left, by an error too, the copy ends
            self._step = take(self._ranks)
            while True:
                self._follow(self._ranks.gather(None)[0])

    def _follow(self, what: str) -> Any:
        return {"step": self._step, "told": self._told, "restart": self._restart}[what]()

    def _lead(self, what: str) -> Any:
        self._ranks.gather(what)
        return self._follow(what)

    def __call__(self) -> Any:
        return self._lead("step")

    def told(self) -> Any:
        """A step's statistics over the whole batch."""
        return self._lead("told")

    def _told(self) -> dict[str, np.ndarray]:
        stats = {name: np.array(value) for name, value in self._step().items()}
        self._ranks.all_mean(*stats.values())
        return stats

    def restart(self) -> None:
        self._lead("restart")

    def __del__(self) -> None:
        self._open.close()


class StepOfD(mg.Step):
    """D's step on real and generated images that are handed in, as GAN.compute has it, with penalties or without."""

    def __init__(
        self, net: mg.Sequential, penalties: Sequence[mg.losses.Penalty], training: dict[str, Any], inputs: Inputs
    ) -> None:
        self.net, self.penalties, be = net, penalties, net.backend
        self.optimizer = mg.Adam(training["lr"], tuple(training["betas"]))
        self.backend, self.networks, self.optimizers = be, {"discriminator": net}, {"discriminator": self.optimizer}
        self.objective = mg.losses.NonSaturating().bind(be)
        self.optimizer.attach(net)
        self._given = [(be.asarray(real), be.asarray(fake)) for real, fake in zip(inputs["real"], inputs["fake"], strict=True)]
        self._now = tuple(be.zeros(x.shape, net.dtype) for x in self._given[0])
        self._turns = cycle(self._given)

    def advance(self) -> None:
        for now, given in zip(self._now, next(self._turns), strict=True):
            now[...] = given
        super().advance()

    def compute(self) -> tuple[Any, ...]:
        """(the loss, the penalty where there is one)"""
        scores, caches = self.net.forward_each(self._now, train=True)
        loss, ds = self.objective.discriminator(*scores)
        terms = [loss]
        if self.penalties:
            terms.append(backward_with_penalties(self.net, self._now, ds, caches, self.penalties, grads=self.net.grads))
        else:
            self.net.backward_each(ds, caches, grads=self.net.grads, input_grad=False)
        self.optimizer.compute(self.net)
        return tuple(terms)

    def arrays(self) -> Iterator[Any]:
        yield from (*self._now, self.net.flat_params, *self.optimizer.state.values())


class MiniganSide(Side):
    """backend: its name, or one of your own. captured: the step is recorded once and replayed, as training does."""

    def __init__(self, backend: str | mg.backends.Backend, captured: bool = False) -> None:
        self.backend, self.captured = mg.get_backend(backend), captured

    def versions(self) -> dict[str, str]:
        module = self.backend.xp
        blas = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
        kernels = ", ".join(pool.get("architecture") or "" for pool in blas)
        threads = ", ".join(str(pool["num_threads"]) for pool in blas)
        versions = {"minigan": mg.__version__, module.__name__: module.__version__}
        versions |= {"BLAS kernels": kernels, "BLAS threads": threads}
        return {**versions, **self.backend.versions, "device": self.backend.device}

    def synchronize(self) -> None:
        self.backend.synchronize()

    def _network(self, name: str, task: dict[str, Any], inputs: Inputs) -> mg.Sequential:
        net = mg.Sequential(_layers(task[name]["layers"]), task[name]["input_shape"], self.backend)
        net.load_state_dict(_weights(name, inputs))
        return net

    def step(self, task: dict[str, Any], inputs: Inputs) -> Prepared:
        if task["precision"] != self.backend.precision:
            self.backend = mg.get_backend(self.backend.name, task["precision"])
        config = Config.from_json(task["config"])
        nets = tuple(self._network(name, task, inputs) for name in task["networks"])
        game = config.description.build(nets, config, 1)
        step = self._captured(game, inputs) if self.captured else OnGivenBatches(game, inputs)
        told, restart = step, partial(_restart, game, inputs)
        processes = processes_for(game, inputs["real"].shape[1]) if self.captured else 1
        if processes > 1:
            step = InProcesses(processes, partial(self._captured, game, inputs), restart)
            told, restart = step.told, step.restart
        if self.captured:  # each variant is recorded on the way; from the start again, what is proved is the replay
            for _ in range(len(inputs["real"]) * task["period"]):
                step()
            restart()
        average = getattr(game, "average", None)

        def averages() -> Iterator[tuple[np.ndarray, ...]]:
            for kind in ("params", "state"):
                yield tuple(self._host(getattr(net, kind)) for net in (nets[0], average))

        return Prepared({"step": step}, proof_of(told, averages if average else None, task))

    def _host(self, arrays: Mapping[str, Any]) -> np.ndarray:
        """All of them in one row."""
        return np.concatenate([np.empty(0, np.float32), *(self.backend.to_numpy(a).ravel() for a in arrays.values())])

    def _captured(self, game: mg.Game, inputs: Inputs, ranks: Communicator = ALONE) -> Callable[[], dict[str, Any]]:
        """The step on the batches in their turn, captured. (baseline_worker.py asks other checkouts for this.)"""
        return mg.capture(OnGivenBatches(game, inputs, ranks), log=_refuse)

    def d_step(self, task: dict[str, Any], inputs: Inputs) -> Prepared:
        def begin(weight: float) -> Callable[[], Sequence[Any]]:
            penalties = [mg.losses.R1(weight)] if weight else []
            step = StepOfD(self._network("discriminator", task, inputs), penalties, task["training"], inputs)
            return mg.capture(step, log=_refuse) if self.captured else step

        return d_steps(begin, task["r1"])

    def layer(self, task: dict[str, Any], inputs: Inputs) -> Prepared:
        be = self.backend
        if task["layer"] == "Adam":
            net = mg.Sequential([mg.Dense(inputs["w"].size, bias=False)], (1,), be)
            net.flat_params[...], net.flat_grads[...] = be.asarray(inputs["w"]), be.asarray(inputs["dw"])
            adam = mg.Adam()
            adam.update(net)
            return Prepared({"update": lambda: adam.update(net)}, {"update": be.to_numpy(net.flat_params).copy()})
        x, dy = be.asarray(inputs["x"]), be.asarray(inputs["dy"])
        net = mg.Sequential([getattr(mg, task["layer"])(**task["options"])], x.shape[1:], be)
        for name, array in net.params.items():
            array[...] = be.asarray(inputs[name.partition(".")[2]])
        y, caches = net.forward(x, train=True)
        calls = {"forward": lambda: net.forward(x, train=True), "input_grad": lambda: net.backward(dy, caches)}
        evidence = {"forward": be.to_numpy(y), "input_grad": be.to_numpy(net.backward(dy, caches))}
        if net.params:
            calls["weight_grad"] = lambda: net.backward(dy, caches, grads=net.grads, input_grad=False)
            calls["weight_grad"]()
            evidence["weight_grad"] = np.concatenate([be.to_numpy(net.grads[n]).ravel().copy() for n in sorted(net.grads)])
        return Prepared(calls, evidence)

    def sample(self, task: dict[str, Any], inputs: Inputs) -> Prepared:
        g, z = self._network("generator", task, inputs), self.backend.asarray(inputs["z"][0])

        def sample() -> np.ndarray:
            return self.backend.to_numpy(g.forward(z)[0])

        return Prepared({"sample": sample}, {"sample": sample()})

    def ceiling(self, task: dict[str, Any], inputs: Inputs) -> Prepared:
        xp, a, b = self.backend.xp, self.backend.asarray(inputs["a"]), self.backend.asarray(inputs["b"])
        source, target = xp.ones(COPIED, "float32"), xp.zeros(COPIED, "float32")
        calls = {
            "product": lambda: xp.matmul(a, b),
            "copy": lambda: self.backend.elementwise_update(lambda xp, old, new: (new,), (target,), source),
        }
        return Prepared(calls, {"product": self.backend.to_numpy(xp.matmul(a, b))})


def _weights(name: str, inputs: Inputs) -> Inputs:
    return {key.removeprefix(f"{name}."): array for key, array in inputs.items() if key.startswith(f"{name}.")}


def _layers(described: Sequence[dict[str, Any]]) -> list[mg.Layer]:
    """The layers that games.describe described."""
    made = []
    for layer in described:
        options = dict(layer["options"])
        if "layers" in options:
            options["layers"] = _layers(options["layers"])
        made.append(getattr(mg, layer["name"])(**options))
    return made


def _restart(game: mg.Game, inputs: Inputs) -> None:
    """The state from which the game began, made anew: a copy kept since then would count as memory of the step."""
    for name, net in game.networks.items():
        net.load_state_dict(_weights(name, inputs))
    if average := getattr(game, "average", None):
        average.load_state_dict(_weights("generator", inputs))
    for optimizer in game.optimizers.values():
        optimizer.steps = 0
        for array in optimizer.state.values():
            array[...] = 0


def _refuse(reason: str) -> None:
    """A side that is named after its replay does not go on without it."""
    raise RuntimeError(reason)


def make(threads: int, backend: str, captured: bool = False) -> Side:
    """The threads come from the environment: MINIGAN_NUM_THREADS and the BLAS's own variable."""
    return MiniganSide(backend, captured)
