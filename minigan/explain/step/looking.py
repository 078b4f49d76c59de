"""Looking at a step that was taken: derivatives beside differences, and losses against single weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from minigan.checks.entries import Comparison, compare_entries
from minigan.explain.places import choose_places
from minigan.explain.step.records import Nudge, Pass, Update
from minigan.explain.step.rerun import INPUT, Output, Rerun
from minigan.network import Sequential
from minigan.optim import Optimizer

CHECKED = 3  # entries of each array that are compared with finite differences
NUDGED = 3  # weights of each array whose loss is drawn against the weight
# The steps ε of a nudge, in units of the array's typical value: from where the derivative tells all to where the loss bends.
_NUDGES = (0.001, 0.01, 0.1, 0.3, 0.6, 1.0, 1.5, 2.0)
NUDGES = (*(-part for part in reversed(_NUDGES)), 0.0, *_NUDGES)


class Snapshot:
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


class Look:
    """Chooses entries, compares their derivatives with differences, and nudges weights.

    It begins with the parameters of before the step; `move` takes those of a network over that it had after it.
    """

    def __init__(
        self,
        rerun: Rerun,
        passes: dict[str, list[Pass]],
        before: dict[str, Snapshot],
        after: dict[str, Snapshot],
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
        record.checks = [
            self.check(player, network, number, index, gradient) for index, gradient in enumerate(record.output_grads)
        ]

    def check_input(self, player: str, network: str, number: int) -> None:
        """The player's ∂L/∂x in this pass."""
        record = self.passes[network][number]
        record.input_checks = self.check(player, network, number, INPUT, record.input_grad)

    def check(
        self, player: str, network: str, number: int, index: int, gradient: np.ndarray | None, stat: str = ""
    ) -> list[Comparison]:
        """A gradient at a layer's output, or at INPUT, beside differences of the player's loss, or of another statistic."""
        record, found = self.passes[network][number], []
        if gradient is not None:
            backend = record.net.backend
            values = backend.asarray((record.x if index == INPUT else record.outputs[index]).copy())
            places = choose_places(gradient[: self.shown], CHECKED, self.rng)
            if stat and not places:  # that a term sends nothing back is to be proved, too
                places = choose_places(np.ones_like(gradient[: self.shown]), CHECKED, self.rng)
            evaluate = partial(self.rerun.loss, player, Output(network, number, index, values), stat)
            found = compare_entries(backend, evaluate, values, gradient, places)
        self.tick()
        return found

    def update(self, network: str, penalties: Sequence[Pass] = ()) -> Update:
        """What the optimiser did; the gradients that it saw are checked, and some weights nudged."""
        before, after, net = self.before[network], self.after[network], self.rerun.networks[network]
        evaluate, of_loss = partial(self.rerun.loss, network), dict(after.grads)
        for record in penalties:
            self._check_penalty(record)
            assert record.second is not None
            of_loss = {name: gradient - record.second.param_grads[name] for name, gradient in of_loss.items()}
        update = Update(
            before.optimizer, before.lr, before.params, after.grads, of_loss, after.params, before.state, after.state
        )
        for name, gradient in of_loss.items():
            places = choose_places(gradient, CHECKED, self.rng)
            update.checks[name] = compare_entries(net.backend, evaluate, net.params[name], gradient, places)
            places = choose_places(gradient, NUDGED, self.rng)
            update.nudges += [self._nudge(net, name, place, gradient, evaluate) for place in places]
            self.tick()
        return update

    def move(self, network: str, update: Update) -> None:
        """Let the network make its update, and note what it minimises before and after."""
        update.loss_before = self.rerun.minimised(network)
        self.rerun.set_params(network, update.after)
        update.loss_after = self.rerun.minimised(network)

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
