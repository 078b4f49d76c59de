"""minigan, on any of its backends."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info

import minigan as mg
from benchmarks.sides.base import COPIED, PROOF_STEPS, Inputs, Prepared, Side, first_losses
from minigan.optim import Adam


class MiniganSide(Side):
    def __init__(self, backend: str, captured: bool) -> None:
        self.backend, self.captured = mg.get_backend(backend), captured

    def versions(self) -> dict[str, str]:
        module = self.backend.xp
        kernels = ", ".join(p.get("architecture") or "" for p in threadpool_info() if p["user_api"] == "blas")
        versions = {"minigan": mg.__version__, module.__name__: module.__version__, "BLAS kernels": kernels}
        return {**versions, **self.backend.versions, "device": self.backend.device}

    def synchronize(self) -> None:
        self.backend.synchronize()

    def _networks(self, task: dict[str, Any], inputs: Inputs) -> tuple[mg.Sequential, mg.Sequential]:
        g, d = mg.models.build(task["game"], **task["model"], backend=self.backend)
        for prefix, net in (("generator.", g), ("discriminator.", d)):
            net.load_state_dict({k[len(prefix) :]: a for k, a in inputs.items() if k.startswith(prefix)})
        return g, d

    def step(self, task: dict[str, Any], inputs: Inputs) -> Prepared:
        self.backend = mg.get_backend(self.backend.name, task["precision"])
        gan = mg.GAN(*self._networks(task, inputs))
        step = self._captured(gan, inputs) if self.captured else self._plain(gan, inputs)
        losses = [step() for _ in range(PROOF_STEPS)]
        evidence = first_losses([(float(stats["loss_d"]), float(stats["loss_g"])) for stats in losses])
        return Prepared({"step": step}, evidence)

    def _plain(self, gan: mg.GAN, inputs: Inputs) -> Callable[[], dict[str, Any]]:
        """The step on the batches in their turn."""
        real, z = ([self.backend.asarray(a) for a in inputs[name]] for name in ("real", "z"))
        batches = cycle(zip(real, z, strict=True))
        return lambda: gan.step(*next(batches))

    def _captured(self, gan: mg.GAN, inputs: Inputs) -> Callable[[], dict[str, Any]]:
        """The same, recorded once: the graph itself takes the next batch from the device's memory."""
        be, (count, batch) = self.backend, inputs["real"].shape[:2]
        real, z = (be.asarray(inputs[name].reshape(-1, *inputs[name].shape[2:])) for name in ("real", "z"))
        order, start, turns = be.asarray(np.arange(count * batch)), be.number(), cycle(range(count))

        def step() -> dict[str, Any]:
            be.on_host(lambda: start.set(batch * next(turns)))
            return gan.step(*(be.take_rows(rows, order, start, batch, gan.generator.dtype) for rows in (real, z)))

        return be.capture(step, _refuse)

    def layer(self, task: dict[str, Any], inputs: Inputs) -> Prepared:
        be = self.backend
        if task["layer"] == "Adam":
            net = mg.Sequential([mg.Dense(inputs["w"].size, bias=False)], (1,), be)
            net.flat_params[...], net.flat_grads[...] = be.asarray(inputs["w"]), be.asarray(inputs["dw"])
            adam = Adam()
            adam.step(net)
            return Prepared({"update": lambda: adam.step(net)}, {"update": be.to_numpy(net.flat_params).copy()})
        x, dy = be.asarray(inputs["x"]), be.asarray(inputs["dy"])
        net = mg.Sequential([getattr(mg, task["layer"])(**task["options"])], x.shape[1:], be)
        for name, array in net.params.items():
            array[...] = be.asarray(inputs[name.partition(".")[2]])
        y, cache = net.forward(x, train=True)
        calls = {
            "forward": lambda: net.forward(x, train=True),
            "input_grad": lambda: net.backward(dy, cache, param_grads=False),
        }
        evidence = {"forward": be.to_numpy(y), "input_grad": be.to_numpy(net.backward(dy, cache, param_grads=False))}
        if net.params:
            calls["weight_grad"] = lambda: net.backward(dy, cache, input_grad=False)
            net.backward(dy, cache, input_grad=False)
            evidence["weight_grad"] = np.concatenate([be.to_numpy(net.grads[n]).ravel().copy() for n in sorted(net.grads)])
        return Prepared(calls, evidence)

    def sample(self, task: dict[str, Any], inputs: Inputs) -> Prepared:
        g, _ = self._networks(task, inputs)
        z = self.backend.asarray(inputs["z"][0])
        return Prepared(
            {"sample": lambda: self.backend.to_numpy(g.forward(z)[0])}, {"sample": self.backend.to_numpy(g.forward(z)[0])}
        )

    def ceiling(self, task: dict[str, Any], inputs: Inputs) -> Prepared:
        xp, a, b = self.backend.xp, self.backend.asarray(inputs["a"]), self.backend.asarray(inputs["b"])
        source, target = xp.ones(COPIED, "float32"), xp.zeros(COPIED, "float32")
        calls = {
            "product": lambda: xp.matmul(a, b),
            "copy": lambda: self.backend.elementwise_update(lambda xp, old, new: (new,), (target,), source),
        }
        return Prepared(calls, {"product": self.backend.to_numpy(xp.matmul(a, b))})


def _refuse(reason: str) -> None:
    """A side that is named after its graph does not go on without it."""
    raise RuntimeError(reason)


def make(threads: int, backend: str, captured: bool = False) -> Side:
    """The threads come from the environment: MINIGAN_NUM_THREADS and the BLAS's own variable."""
    return MiniganSide(backend, captured)
