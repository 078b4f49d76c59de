"""Opening a step: it is taken and recorded, then its derivatives are compared with differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from minigan.backends import Array, stream
from minigan.checks.entries import Comparison, compare_entries
from minigan.errors import DivergenceError, OptionError
from minigan.explain.places import choose_places
from minigan.explain.step.recorder import Recorder
from minigan.explain.step.records import Nudge, OpenedStep, Pass, Update
from minigan.explain.step.rerun import Output, Rerun, loss_alone
from minigan.games import Game
from minigan.network import Sequential
from minigan.optim import Optimizer

CHECKED = 3  # entries of each array that are compared with finite differences
NUDGED = 3  # weights of each array whose loss is drawn against the weight
# The steps ε of a nudge, in units of the array's typical value: from where the derivative tells all to where the loss bends.
_NUDGES = (0.001, 0.01, 0.1, 0.3, 0.6, 1.0, 1.5, 2.0)
NUDGES = (*(-part for part in reversed(_NUDGES)), 0.0, *_NUDGES)
_CAN_BE_OPENED = (
    "only steps can be opened in which D judges the real batch and G's samples, moves, judges G's samples again, and G moves"
)
EXPECTED = {"generator": 1, "discriminator": 3}  # forward passes of each network in a step, without those of penalties


def open_step(
    game: Game,
    real: Array,
    z: Array,
    labels: Array | None = None,
    *,
    shown: int = 4,
    seed: int = 0,
    tick: Callable[[], None] = lambda: None,
) -> OpenedStep:
    """Let the game take one step on real and z, both networks moving as they do, and record it.

    labels: one-hot rows, of a game with classes. shown: derivatives are checked at entries of the first so many samples. tick
    is called after every array checked.
    Raises OptionError unless the game has a generator and a discriminator, computes in float64, without which differences
    prove nothing, and makes the passes of one step of D and one of G; DivergenceError for a loss that is not finite.
    """
    _check_game(game)
    before = {name: _Snapshot(net, game.optimizers[name]) for name, net in game.networks.items()}
    random_state = game.random_state
    passes, losses = _record(game, real, z, labels)
    (made,), (of_real, of_fake, *others, judged) = passes["generator"], passes["discriminator"]
    penalties = [record for record in others if record.second is not None]
    _name_penalties(game, penalties)
    after = {name: _Snapshot(net, game.optimizers[name]) for name, net in game.networks.items()}
    after["discriminator"].grads = judged.grads_before  # as D's optimiser saw them
    moved_random_state = game.random_state
    rerun = Rerun(game, real, z, labels, passes, random_state)

    look = _Look(rerun, passes, before, after, shown, np.random.default_rng(stream("explain", seed)), tick)
    look.check_outputs("discriminator", "discriminator", 0)
    look.check_outputs("discriminator", "discriminator", 1)
    update_d = look.update("discriminator", penalties)
    look.check_outputs("generator", "discriminator", len(passes["discriminator"]) - 1)
    look.check_outputs("generator", "generator", 0)
    update_g = look.update("generator")
    game.random_state = moved_random_state  # its streams are the copy's, too
    for name, update in (("L_D", update_d), ("L_G", update_g)):
        if not np.isfinite([update.loss_before, update.loss_after, *(v for n in update.nudges for v in n.losses)]).all():
            raise DivergenceError(f"{name} is not finite in this step: the game has diverged; try a smaller learning rate")
    loss_d, loss_g = (losses[name] for name in ("loss_d", "loss_g"))
    rival = next((record for record in others if record.second is None), None)
    return OpenedStep(game, made, of_real, of_fake, penalties, rival, judged, loss_d, loss_g, update_d, update_g)


def count_ticks(game: Game) -> int:
    """How often open_step will call tick."""
    of_penalties = len(getattr(game, "penalties", ())) * bool(game.variant) * len(game.networks["discriminator"].params)
    return of_penalties + sum(EXPECTED[name] * len(net.layers) + len(net.params) for name, net in game.networks.items())


def _check_game(game: Game) -> None:
    if game.networks.keys() != EXPECTED.keys():
        found = ", ".join(game.networks)
        raise OptionError(f"the game's networks are {found}: only a step of a generator and a discriminator can be opened")
    if game.dtype != np.float64:
        raise OptionError(f"the game computes in {game.dtype}: build it with dtype='float64' to open a step")


def _record(game: Game, real: Array, z: Array, labels: Array | None) -> tuple[dict[str, list[Pass]], dict[str, float]]:
    """Take the step: its passes by network, and its losses."""
    recorders = {name: Recorder(net) for name, net in game.networks.items()}
    watching = {name: net.watch for name, net in game.networks.items()}
    for name, net in game.networks.items():
        net.watch = recorders[name]
    try:
        stats = game.step(real, z, **({} if labels is None else {"labels": labels}))
    finally:
        for name, net in game.networks.items():
            net.watch = watching[name]
    passes = {name: recorder.passes for name, recorder in recorders.items()}
    for record in passes["discriminator"]:
        record.labels = None if labels is None else game.backend.to_numpy(labels)
    compares = getattr(getattr(game, "objective", None), "compares", False)  # then D judges the real batch again for G
    for name, found in passes.items():
        count = len([record for record in found if record.second is None])
        expected = EXPECTED[name] + (compares and name == "discriminator")
        if count != expected:
            raise OptionError(f"the {name} makes {count} passes in a step of this game, not {expected}: {_CAN_BE_OPENED}")
    if missing := {"loss_d", "loss_g"} - stats.keys():
        raise OptionError(f"a step of this game returns no {min(missing)}: {_CAN_BE_OPENED}")
    if odd := _out_of_order(passes, game, real):
        raise OptionError(f"in a step of this game {odd}: {_CAN_BE_OPENED}")
    return passes, {name: float(game.backend.to_numpy(loss_alone(stats, name))) for name in ("loss_d", "loss_g")}


def _out_of_order(passes: dict[str, list[Pass]], game: Game, real: Array) -> str:
    """What a page of this step would say in vain: how its passes differ from those of the usual step, or ""."""
    (made,), (of_real, of_fake, *others, judged) = passes["generator"], passes["discriminator"]
    if not np.array_equal(of_real.x, game.backend.to_numpy(real)):
        return "D does not see the real batch first, as it is"
    if not all(np.array_equal(record.x, made.outputs[-1]) for record in (of_fake, judged)):
        return "D does not see G's samples as they are"
    if any(record.output_grads[-1] is None for record in (made, of_real, of_fake, judged)):
        return "a pass is made through which no gradient goes back"
    if any(record.second is None for record in others[: -1 if others and others[-1].second is None else None]):
        return "D does not learn from its penalties before G's step"
    if not (of_real.param_grads and of_fake.param_grads) or judged.param_grads or judged.input_grad is None:
        return "D does not learn first, and only then pass a gradient on to G"
    return ""


def _name_penalties(game: Game, passes: list[Pass]) -> None:
    """Say which of the game's penalties made each of these passes, if it did, and its value."""
    be = game.backend
    for record, penalty in zip(passes, getattr(game, "penalties", ()), strict=False):
        second = record.second
        assert second is not None
        value, v = penalty.slope(be, be.asarray(record.input_grad))
        if np.allclose(be.to_numpy(v), second.v, rtol=1e-9, atol=0):
            second.penalty, second.value = penalty, float(value)


class _Snapshot:
    """A network's parameters and gradients and its optimiser's state at one moment, by parameter name."""

    def __init__(self, net: Sequential, optimizer: Optimizer) -> None:
        self.optimizer, self.lr = optimizer, optimizer.schedule(optimizer.steps)
        host = net.backend.to_numpy
        self.params = {name: host(array).copy() for name, array in net.params.items()}
        self.grads = {name: host(array).copy() for name, array in net.grads.items()}
        self.state: dict[str, dict[str, np.ndarray]] = {}
        for slot, vector in optimizer.state.items():
            parts = np.split(host(vector).copy(), np.cumsum([array.size for array in self.params.values()])[:-1])
            self.state[slot] = {
                name: part.reshape(array.shape) for (name, array), part in zip(self.params.items(), parts, strict=True)
            }


class _Look:
    """Chooses entries, compares their derivatives with differences, and nudges weights."""

    def __init__(
        self,
        rerun: Rerun,
        passes: dict[str, list[Pass]],
        before: dict[str, _Snapshot],
        after: dict[str, _Snapshot],
        shown: int,
        rng: np.random.Generator,
        tick: Callable[[], None],
    ) -> None:
        self.rerun, self.passes, self.before, self.after = rerun, passes, before, after
        self.shown, self.rng, self.tick = shown, rng, tick
        for network, snapshot in before.items():
            rerun.set_params(network, snapshot.params)

    def check_outputs(self, player: str, network: str, number: int) -> None:
        """The player's ∂L/∂y for every layer in this pass of the network, the number-th of the step."""
        record = self.passes[network][number]
        backend = record.net.backend
        for index, gradient in enumerate(record.output_grads):
            found: list[Comparison] = []
            if gradient is not None:
                output = Output(network, number, index, backend.asarray(record.outputs[index].copy()))
                places = choose_places(gradient[: self.shown], CHECKED, self.rng)
                found = compare_entries(backend, partial(self.rerun.loss, player, output), output.values, gradient, places)
            record.checks.append(found)
            self.tick()

    def update(self, network: str, penalties: Sequence[Pass] = ()) -> Update:
        """Check the gradients that the optimiser saw, nudge some weights, and look at the loss before and after its update."""
        before, after, net = self.before[network], self.after[network], self.rerun.networks[network]
        evaluate = partial(self.rerun.loss, network)
        minimised = self.rerun.minimised if penalties else lambda network: float(evaluate()[0])
        loss_before, of_loss = minimised(network), dict(after.grads)
        for record in penalties:
            self._check_penalty(record)
            assert record.second is not None
            of_loss = {name: gradient - record.second.param_grads[name] for name, gradient in of_loss.items()}
        checks, nudges = {}, []
        for name, gradient in of_loss.items():
            places = choose_places(gradient, CHECKED, self.rng)
            checks[name] = compare_entries(net.backend, evaluate, net.params[name], gradient, places)
            places = choose_places(gradient, NUDGED, self.rng)
            nudges += [self._nudge(net, name, place, gradient, evaluate) for place in places]
            self.tick()
        self.rerun.set_params(network, after.params)
        return Update(
            before.optimizer,
            before.lr,
            before.params,
            after.grads,
            of_loss,
            after.params,
            before.state,
            after.state,
            loss_before,
            minimised(network),
            checks,
            nudges,
        )

    def _check_penalty(self, record: Pass) -> None:
        """∂P/∂θ of every parameter beside differences of P at the points of this pass."""
        second, net = record.second, record.net
        assert second is not None
        for name, gradient in second.param_grads.items():
            places = choose_places(gradient, CHECKED, self.rng) if second.penalty is not None else []
            array = self.rerun.networks["discriminator"].params[name]
            second.checks[name] = compare_entries(net.backend, partial(self.rerun.penalty, record), array, gradient, places)
            self.tick()

    def _nudge(
        self, net: Sequential, name: str, place: tuple[int, ...], gradient: np.ndarray, evaluate: Callable[[], Any]
    ) -> Nudge:
        array = net.params[name]
        value = float(array[place])
        unit = float(np.sqrt(np.mean(net.backend.to_numpy(array) ** 2))) or 1.0  # all are 0: a bias at the start
        steps, losses = [], []
        for step in (unit * part for part in NUDGES):
            array[place] = value + step
            steps.append(step)
            losses.append(float(evaluate()[0]))
        array[place] = value
        return Nudge(name, place, value, float(gradient[place]), steps, losses)
