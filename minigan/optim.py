"""Optimisers over a network's flat vectors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from minigan.backends import Array, DeviceScalar
from minigan.copying import checked_state
from minigan.errors import CheckpointError, OptionError, shorten
from minigan.network import Sequential
from minigan.schedules import SCHEDULES, Schedule, constant, cosine, linear
from minigan.sizes import ignore_underflow, real, whole_number

__all__ = ["SCHEDULES", "SGD", "Adam", "Optimizer", "Schedule", "constant", "cosine", "linear"]


def _from_0(number: float) -> bool:
    return number >= 0


class Optimizer:
    """Base of the optimisers: one learning rate or schedule, state vectors beside the parameters, one network each.

    An optimiser of one's own writes apply(self, net, lr): the update's formula on net.flat_params and net.flat_grads. What else
    changes from update to update it names in scalars; on a GPU such numbers are 0-d arrays of the network's dtype.
    """

    slots: tuple[str, ...] = ()  # names of the state vectors
    clip: float | None = None  # if set, each update ends with w ← min(max(w, −clip), clip)

    def __init__(self, lr: float | Schedule) -> None:
        expected = "a learning rate above 0, or a schedule"
        self.schedule: Schedule = lr if callable(lr) else constant(real(lr, "lr", expected, lambda rate: rate > 0))
        self.steps = 0
        self.state: dict[str, Array] = {}
        self._scalars: list[dict[str, DeviceScalar]] = []  # for each update that one advance prepares
        self._net: Sequential | None = None

    def attach(self, net: Sequential, updates: int | None = None) -> None:
        """Make room for this network's state; update does it at its first call. An optimiser serves one network.

        updates: how many of its updates one advance prepares, for a game that computes several in a step.
        """
        if self._net is None:
            self._net = net
            self.state = {name: net.backend.zeros(net.flat_params.shape, net.dtype) for name in self.slots}
        elif self._net is not net:
            raise OptionError("this optimiser holds the state of another network: make a new one for each network")
        if len(self._scalars) != (updates or len(self._scalars) or 1):
            count, names = updates or 1, list(self.scalars(1.0, 1))
            self._scalars = [{name: net.backend.scalar(net.dtype) for name in names} for _ in range(count)]

    def update(self, net: Sequential) -> None:
        """Move net.flat_params by one update from net.flat_grads."""
        self.attach(net)
        self.advance()
        self.compute(net)

    def advance(self) -> None:
        """The host's part of an update: count it, and set the scalars that it computes with. A schedule counts its calls."""
        lr = real(self.schedule(self.steps // len(self._scalars)), "the rate of the schedule", "a number from 0 up", _from_0)
        for scalars in self._scalars:
            for name, value in self.scalars(lr, self.steps + 1).items():
                scalars[name].set(value)
            self.steps += 1

    @ignore_underflow
    def compute(self, net: Sequential, turn: int = 0) -> None:
        """The device's part of an update, with the scalars as advance has set them. turn: which of several, from 0.

        Where several ranks share the batch, the gradient of the mean over all of it is the mean of theirs.
        """
        net.backend.all_mean(net.flat_grads)
        self.apply(net, **{name: scalar.value for name, scalar in self._scalars[turn].items()})
        if self.clip is not None:
            net.backend.elementwise_update(clipped, (net.flat_params,), limit=self.clip)

    def scalars(self, lr: float, step: int) -> dict[str, float]:
        """The numbers by name that update number `step`, counted from 1, needs at this learning rate."""
        return {"lr": lr}

    def apply(self, net: Sequential, **scalars: Any) -> None:
        """The update's formula."""
        raise NotImplementedError(f"{type(self).__name__} has no apply")

    def state_dict(self) -> dict[str, np.ndarray]:
        """The step count and the state vectors, as host arrays by name."""
        assert self._net is not None, "attach the optimiser to its network first"
        vectors = {name: self._net.backend.to_numpy(a).copy() for name, a in self.state.items()}
        return {"steps": np.array(self.steps, np.int64), **vectors}

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Take over a state_dict. Raises CheckpointError, and changes nothing, unless names and shapes agree."""
        assert self._net is not None, "attach the optimiser to its network first"
        loaded = checked_state(state, {"steps": (), **{name: vector.shape for name, vector in self.state.items()}}, "optimiser")
        steps = whole_number(loaded.pop("steps"))
        if steps is None or steps < 0:
            raise CheckpointError(f"steps is {state['steps']}: expected a whole number from 0 up")
        on_device = {name: self._net.backend.asarray(a, self._net.dtype) for name, a in loaded.items()}
        self.steps = steps
        for name, vector in self.state.items():
            vector[...] = on_device[name]


def clipped(xp: Any, w: Array, limit: float) -> tuple[Array]:
    """w ← min(max(w, −limit), limit)"""
    return (xp.minimum(xp.maximum(w, -limit), limit),)


def sgd_momentum(xp: Any, w: Array, u: Array, dw: Array, lr: float, momentum: float, nesterov: bool) -> tuple[Array, Array]:
    """u ← μ u + dw;  w ← w − lr (dw + μ u with Nesterov, else u)"""
    u = momentum * u + dw
    return w - lr * (dw + momentum * u if nesterov else u), u


def sgd_plain(xp: Any, w: Array, dw: Array, lr: float) -> tuple[Array]:
    """w ← w − lr dw"""
    return (w - lr * dw,)


class SGD(Optimizer):
    """Stochastic gradient descent: w ← w − lr dw; with momentum μ: u ← μ u + dw, w ← w − lr u.

    nesterov: w ← w − lr (dw + μ u), the gradient as if taken a step ahead. The forms are PyTorch's.
    Raises OptionError unless lr > 0, 0 <= momentum < 1, and momentum > 0 with nesterov.
    Source: Polyak 1964; Sutskever et al. 2013, section 2.
    """

    def __init__(self, lr: float | Schedule, momentum: float = 0.0, nesterov: bool = False) -> None:
        super().__init__(lr)
        expected = "a number in [0, 1), above 0 with nesterov"
        self.momentum = real(momentum, "momentum", expected, lambda m: 0 <= m < 1 and bool(m or not nesterov))
        self.nesterov, self.slots = nesterov, ("momentum",) if self.momentum else ()

    def apply(self, net: Sequential, lr: Any) -> None:  # type: ignore[override]
        be, w, dw = net.backend, net.flat_params, net.flat_grads
        if self.momentum:
            targets = (w, self.state["momentum"])
            be.elementwise_update(sgd_momentum, targets, dw, lr=lr, momentum=self.momentum, nesterov=self.nesterov)
        else:
            be.elementwise_update(sgd_plain, (w,), dw, lr=lr)


def adam(xp: Any, w: Array, m: Array, v: Array, dw: Array, rate: float, b1: float, b2: float, eps: float) -> tuple[Array, ...]:
    """m ← β₁ m + dw;  v ← β₂ v + dw²;  w ← w − rate · m / (√v + ε)"""
    m = b1 * m + dw
    v = b2 * v + dw * dw
    return w - rate * (m / (xp.sqrt(v) + eps)), m, v


def adamw(xp: Any, w: Array, m: Array, v: Array, dw: Array, shrink: float, **constants: Any) -> tuple[Array, ...]:
    """w ← shrink · w, then as adam"""
    return adam(xp, shrink * w, m, v, dw, **constants)


class Adam(Optimizer):
    """Adam: steps of about lr in every coordinate, from running means of the gradient and its square.

    m ← β₁ m + (1 − β₁) dw,  v ← β₂ v + (1 − β₂) dw²;  m̂ = m / (1 − β₁ᵗ),  v̂ = v / (1 − β₂ᵗ)
    w ← w − lr m̂ / (√v̂ + ε)
    Kept are the sums m_sum = m / (1 − β₁) and v_sum = v / (1 − β₂), for then ten passes over memory are
    enough: with a = (1 − β₁ᵗ) / (1 − β₁) and c = √((1 − β₂ᵗ) / (1 − β₂)), m̂ = m_sum / a and
    √v̂ = √v_sum / c, so
        w ← w − lr c / a · m_sum / (√v_sum + c ε)
    weight_decay λ is decoupled, as in AdamW: w ← (1 − lr λ) w before the step.
    Raises OptionError unless lr > 0, betas in [0, 1), eps > 0, weight_decay >= 0.
    Source: Kingma and Ba 2015 (arXiv:1412.6980), algorithm 1 and the end of section 2 for the order of
    computation; Loshchilov and Hutter 2019 (arXiv:1711.05101), algorithm 2.
    """

    slots = ("m_sum", "v_sum")

    def __init__(
        self,
        lr: float | Schedule = 2e-4,
        betas: tuple[float, float] = (0.5, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(lr)
        if not isinstance(betas, (tuple, list, np.ndarray)) or len(np.atleast_1d(np.asarray(betas, object))) != 2:
            raise OptionError(f"betas are {shorten(betas)}: expected two numbers in [0, 1)")
        b1, b2 = (real(beta, "one of betas", "a number in [0, 1)", lambda b: 0 <= b < 1) for beta in betas)
        self.betas, self.eps = (b1, b2), real(eps, "Adam: eps", "a number above 0", lambda e: e > 0)
        self.weight_decay = real(weight_decay, "Adam: weight_decay", "a number from 0 up", _from_0)

    def scalars(self, lr: float, step: int) -> dict[str, float]:
        b1, b2 = self.betas
        a, c = (1 - b1**step) / (1 - b1), math.sqrt((1 - b2**step) / (1 - b2))
        shrink = {"shrink": 1 - lr * self.weight_decay} if self.weight_decay else {}
        return {"rate": lr * c / a, "eps": self.eps * c, **shrink}

    def apply(self, net: Sequential, **scalars: Any) -> None:
        b1, b2 = self.betas
        targets = (net.flat_params, self.state["m_sum"], self.state["v_sum"])
        formula = adamw if self.weight_decay else adam
        net.backend.elementwise_update(formula, targets, net.flat_grads, b1=b1, b2=b2, **scalars)
