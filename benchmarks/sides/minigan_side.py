"""minigan, on any of its backends."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import cycle
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info

import minigan as mg
from benchmarks.sides.base import COPIED, PROOF_STEPS, Inputs, Prepared, Side, d_steps, distances, first_losses
from minigan.losses.penalty import backward_with_penalties


class OnGivenBatches(mg.Step):
    """A game's step on real images and noise that are handed in: the step itself takes the next batch from the device."""

    def __init__(self, game: mg.Game, inputs: Inputs) -> None:
        self.game, be = game, game.backend
        self.backend, self.networks, self.optimizers = be, game.networks, game.optimizers
        count, self.batch = inputs["real"].shape[:2]
        self._real, self._z = (be.asarray(inputs[name].reshape(-1, *inputs[name].shape[2:])) for name in ("real", "z"))
        self._order, self._start = be.asarray(np.arange(count * self.batch)), be.scalar()
        self._turns = cycle(range(count))

    def advance(self) -> None:
        self._start.set(self.batch * next(self._turns))
        self.game.advance()

    def compute(self) -> dict[str, Any]:
        def batch_of(rows: Any) -> Any:
            return self.backend.take_rows(rows, self._order, self._start, self.batch, self.game.dtype)

        return self.game.compute(batch_of(self._real), batch_of(self._z))

    def arrays(self) -> Iterator[Any]:
        return self.game.arrays()


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
        layers = [getattr(mg, layer["name"])(**layer["options"]) for layer in task[name]["layers"]]
        net = mg.Sequential(layers, task[name]["input_shape"], self.backend)
        net.load_state_dict(_weights(name, inputs))
        return net

    def step(self, task: dict[str, Any], inputs: Inputs) -> Prepared:
        if task["precision"] != self.backend.precision:
            self.backend = mg.get_backend(self.backend.name, task["precision"])
        g, d = (self._network(name, task, inputs) for name in ("generator", "discriminator"))
        gan = mg.GAN(g, d, **task["training"])
        step = self._captured(gan, inputs) if self.captured else self._eager(gan, inputs)
        if self.captured:  # once through the batches records it; from the start again, what is proved is the replay
            for _ in inputs["real"]:
                step()
            _restart(gan, inputs)
        losses = [step() for _ in range(PROOF_STEPS)]
        evidence = first_losses([(float(stats["loss_d"]), float(stats["loss_g"])) for stats in losses])
        if gan.average is not None:
            pairs = [(net.flat_params, np.concatenate([*net.state.values()])) for net in (g, gan.average)]
            evidence |= distances([tuple(map(self.backend.to_numpy, pair)) for pair in zip(*pairs, strict=True)])
        return Prepared({"step": step}, evidence)

    def _eager(self, gan: mg.GAN, inputs: Inputs) -> Callable[[], dict[str, Any]]:
        """The step on the batches in their turn."""
        real, z = ([self.backend.asarray(a) for a in inputs[name]] for name in ("real", "z"))
        batches = cycle(zip(real, z, strict=True))
        return lambda: gan.step(*next(batches))

    def _captured(self, gan: mg.GAN, inputs: Inputs) -> Callable[[], dict[str, Any]]:
        """The same, captured. (baseline_worker.py asks other checkouts for this.)"""
        return mg.capture(OnGivenBatches(gan, inputs), log=_refuse)

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


def _restart(gan: mg.GAN, inputs: Inputs) -> None:
    """The state from which the game began, made anew: a copy kept since then would count as memory of the step."""
    for net, name in ((gan.generator, "generator"), (gan.discriminator, "discriminator"), (gan.average, "generator")):
        if net is not None:
            net.load_state_dict(_weights(name, inputs))
    for optimizer in (gan.optimizer_g, gan.optimizer_d):
        optimizer.steps = 0
        for array in optimizer.state.values():
            array[...] = 0


def _refuse(reason: str) -> None:
    """A side that is named after its replay does not go on without it."""
    raise RuntimeError(reason)


def make(threads: int, backend: str, captured: bool = False) -> Side:
    """The threads come from the environment: MINIGAN_NUM_THREADS and the BLAS's own variable."""
    return MiniganSide(backend, captured)
