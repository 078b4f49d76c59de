"""The same step again: what would a loss have been, had one number been another?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigan.backends import Array
from minigan.checks.differences import branch_signatures
from minigan.checks.game import forward_only, still
from minigan.explain.step.recorder import Recorder
from minigan.explain.step.records import Pass
from minigan.games import Game
from minigan.layers import Layer
from minigan.losses import Score
from minigan.network import Sequential, Watcher


def loss_alone(stats: Mapping[str, Any], name: str) -> Any:
    """A loss without penalties: a game's loss_d is the sum of both."""
    return stats[name] - stats["penalty"] if name == "loss_d" and "penalty" in stats else stats[name]


def put_back(net: Sequential, record: Pass) -> None:
    """Let a pass of net draw what a recorded one drew, and find the state that this one used (SpectralNorm's u and v)."""
    net.random_state = record.random_state
    for name, array in net.state.items():
        array[...] = net.backend.asarray(record.state[name])


Way = Sequence[tuple[str, int]]  # passes, (network, number), from a loss downwards


@dataclass
class Output:
    """Values to be put in place of what a layer puts out, in one pass of its network (all counted from 0).

    index: the layer's; INPUT: the values take the place of what comes to the first one.
    """

    network: str
    number: int
    index: int
    values: Array


INPUT = -1


class Rerun:
    """The game's own step on the same batch, repeated on a copy of the game whose optimisers hold still.

    ways: by network, the passes through which its loss depends on it. batch: what the step is given, samples and noise.
    recorded: the passes of the step, by network. random_state: the game's before it. Of a repeated step only the passes that a
    change has an effect on are made; the others put out what they did in the step, for then a network may have had other
    parameters.
    """

    def __init__(
        self,
        game: Game,
        ways: Mapping[str, Way],
        batch: Sequence[Array],
        labels: Array | None,
        recorded: Mapping[str, list[Pass]],
        random_state: dict[str, Any],
    ) -> None:
        self.game, self._ways, self._batch, self._labels = still(game), ways, batch, labels
        self._recorded, self._random_state = recorded, random_state
        self.networks: dict[str, Sequential] = self.game.networks
        # Gradients go nowhere while the optimisers hold still. Unless a loss depends on one, none is made.
        wanted = self._compute()
        losses = self.game.losses.values()
        for net in self.networks.values():
            net.flat_grads[...] = np.nan  # lest a loss finds those that it needs from before
        with forward_only(self.game):
            found = self._compute()
        # What a penalty adds to L_D is taken away again, but for rounding.
        size = max(1.0, *(abs(float(stats.get("penalty", 0))) for stats in (wanted, found)))
        gaps = [abs(float(loss_alone(found, name) - loss_alone(wanted, name))) for name in losses]
        self._quick = max(gaps) <= (0 if "penalty" not in wanted else 1e-13 * size)

    def set_params(self, network: str, values: Mapping[str, np.ndarray]) -> None:
        net = self.networks[network]
        for name, array in net.params.items():
            array[...] = net.backend.asarray(values[name])

    def loss(self, network: str, output: Output | None = None, stat: str = "") -> tuple[Array, list[Array]]:
        """The network's loss, and the branch signatures of the layers on the way to it, with `output` in place of their own.

        stat: another statistic of the step, in place of the loss.
        """
        passes = self._affected(network, output)
        replays = {
            name: _Replay(net, self._recorded[name], passes[name], output if output and output.network == name else None)
            for name, net in self.networks.items()
        }
        for name, net in self.networks.items():
            net.watch = replays[name]
            if self._quick:
                net.forward = replays[name].forward  # type: ignore[method-assign]
        with forward_only(self.game) if self._quick else nullcontext():
            value = loss_alone(self._compute(), stat or self.game.losses[network])
        return value, [signature for replay in replays.values() for signature in replay.signatures]

    def _affected(self, network: str, output: Output | None) -> dict[str, set[int]]:
        """The passes that the network's parameters or, if given, these values have an effect on, on the way to its loss."""
        way = self._ways[network]
        if output is not None:
            own = (output.network, output.number)
            way = [*((net, number) for net, number in way[: way.index(own)] if net != output.network), own]
        return {name: {number for net, number in way if net == name} for name in self.networks}

    def minimised(self, network: str) -> float:
        """What the network minimises: its loss and the penalties."""
        return float(self._whole()[self.game.losses[network]])

    def again(self) -> dict[str, list[Pass]]:
        """The passes of the step, made and recorded once more."""
        recorders = {name: Recorder(net) for name, net in self.networks.items()}
        self._whole(recorders)
        return {name: recorder.passes for name, recorder in recorders.items()}

    def _whole(self, watchers: Mapping[str, Watcher] | None = None) -> dict[str, Array]:
        """The statistics of a step in which every pass is made, forwards and backwards."""
        for name, net in self.networks.items():
            vars(net).pop("forward", None)
            net.watch = _Replay(net, self._recorded[name], set(), None, (watchers or {}).get(name, _unseen))
        return self._compute()

    def penalty(self, record: Pass) -> tuple[Array, list[Array]]:
        """P at the points of this pass of D, with the parameters as they are, and the branch signatures there."""
        net = self.networks["discriminator"]
        assert record.second is not None
        assert record.second.penalty is not None
        net.watch = None
        put_back(net, record)
        o, caches = Sequential.forward(net, net.backend.asarray(record.x.copy()), train=True)
        g = net.backward(Score(net.backend, self._labels).upstream(o), caches)
        assert g is not None
        return record.second.penalty.slope(net.backend, g)[0], branch_signatures(net, caches)

    def _compute(self) -> dict[str, Array]:
        self.game.random_state = self._random_state
        labels = {} if self._labels is None else {"labels": self._labels.copy()}
        return self.game.compute(*(part.copy() for part in self._batch), **labels)  # copies: views of them may be written to


def _unseen(layer: Layer | None, what: str, value: Any) -> None:
    """A watcher that does not look."""


class _Replay:
    """A network's watcher, and its forward, in a repeated step.

    It puts other values in place of one output, and collects the branch signatures of the passes that count. then: a watcher
    that is shown all of it, too.
    """

    def __init__(
        self,
        net: Sequential,
        recorded: list[Pass],
        passes: set[int],
        output: Output | None,
        then: Watcher = _unseen,
    ) -> None:
        self.net, self.recorded, self.passes, self.output, self.then = net, recorded, passes, output, then
        self.number = -1  # of the pass under way
        self.signatures: list[Array] = []

    def forward(self, x: Array, train: bool = False) -> tuple[Array, list[Any]]:
        record = self.recorded[self.number + 1]
        if self.number + 1 in self.passes:
            put_back(self.net, record)
            return Sequential.forward(self.net, x, train)
        self.number += 1
        return self.net.backend.asarray(record.outputs[-1].copy()), []

    def __call__(self, layer: Layer | None, what: str, value: Any) -> None:
        if layer is None and what == "forward":
            self.number += 1
            put_back(self.net, self.recorded[self.number])
            if self._replaces(INPUT):
                value[0][...] = self.output.values  # type: ignore[union-attr]
        elif layer is not None and what == "output" and self._replaces(layer.index):
            value[...] = self.output.values  # type: ignore[union-attr]
        elif layer is not None and what == "cache" and not self._replaces(layer.index) and self.number in self.passes:
            signature = layer.branch_signature(value)
            if signature is not None:
                self.signatures.append(signature)
        self.then(layer, what, value)

    def _replaces(self, index: int) -> bool:
        """Whether it puts other values there, in this pass."""
        return self.output is not None and (self.output.number, self.output.index) == (self.number, index)
