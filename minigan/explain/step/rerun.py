"""The same step again: what would a loss have been, had one number been another?"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigan.backends import Array
from minigan.checks.differences import branch_signatures
from minigan.checks.game import forward_only, still
from minigan.explain.step.records import Pass
from minigan.games import Game
from minigan.layers import Layer
from minigan.losses import Score
from minigan.network import Sequential


def passes_of(player: str, recorded: Mapping[str, list[Pass]]) -> dict[str, set[int]]:
    """The passes on which a player's loss depends through its parameters: D's first two, and in G's step G's and D's last."""
    if player == "discriminator":
        return {"generator": set(), "discriminator": {0, 1}}
    return {"generator": {0}, "discriminator": {len(recorded["discriminator"]) - 1}}


def loss_alone(stats: Mapping[str, Any], name: str) -> Any:
    """A loss without penalties: a game's loss_d is the sum of both."""
    return stats[name] - stats["penalty"] if name == "loss_d" and "penalty" in stats else stats[name]


def put_back(net: Sequential, record: Pass) -> None:
    """Let a pass of net draw what a recorded one drew, and find the state that this one used (SpectralNorm's u and v)."""
    net.random_state = record.random_state
    for name, array in net.state.items():
        array[...] = net.backend.asarray(record.state[name])


@dataclass
class Output:
    """Values to be put in place of what a layer puts out, in one pass of its network (both counted from 0)."""

    network: str
    number: int
    index: int
    values: Array

    def passes(self, recorded: Mapping[str, list[Pass]]) -> dict[str, set[int]]:
        """The passes that they have an effect on, where a loss is looked at."""
        if self.network == "generator":
            return passes_of("generator", recorded)
        return {"generator": set(), "discriminator": {self.number}}


class Rerun:
    """The game's own step on the same batch, repeated on a copy of the game whose optimisers hold still.

    recorded: the passes of the step, by network. random_state: the game's before it. Of a repeated step only the passes that a
    change has an effect on are made; the others put out what they did in the step, for then D may have had other parameters.
    """

    def __init__(
        self,
        game: Game,
        real: Array,
        z: Array,
        labels: Array | None,
        recorded: Mapping[str, list[Pass]],
        random_state: dict[str, Any],
    ) -> None:
        self._game, self._real, self._z, self._recorded, self._random_state = still(game), real, z, recorded, random_state
        self._labels = labels
        self.networks: dict[str, Sequential] = self._game.networks
        # Gradients go nowhere while the optimisers hold still. Unless a loss depends on one, none is made.
        wanted = self._compute()
        losses = self._game.losses.values()
        for net in self.networks.values():
            net.flat_grads[...] = np.nan  # lest a loss finds those that it needs from before
        with forward_only(self._game):
            found = self._compute()
        # What a penalty adds to L_D is taken away again, but for rounding.
        size = max(1.0, *(abs(float(stats.get("penalty", 0))) for stats in (wanted, found)))
        gaps = [abs(float(loss_alone(found, name) - loss_alone(wanted, name))) for name in losses]
        self._quick = max(gaps) <= (0 if "penalty" not in wanted else 1e-13 * size)

    def set_params(self, network: str, values: Mapping[str, np.ndarray]) -> None:
        net = self.networks[network]
        for name, array in net.params.items():
            array[...] = net.backend.asarray(values[name])

    def loss(self, network: str, output: Output | None = None) -> tuple[Array, list[Array]]:
        """The network's loss, and the branch signatures of the layers on the way to it, with `output` in place of their own."""
        passes = output.passes(self._recorded) if output is not None else passes_of(network, self._recorded)
        replays = {
            name: _Replay(net, self._recorded[name], passes[name], output if output and output.network == name else None)
            for name, net in self.networks.items()
        }
        for name, net in self.networks.items():
            net.watch = replays[name]
            if self._quick:
                net.forward = replays[name].forward  # type: ignore[method-assign]
        with forward_only(self._game) if self._quick else nullcontext():
            value = loss_alone(self._compute(), self._game.losses[network])
        return value, [signature for replay in replays.values() for signature in replay.signatures]

    def minimised(self, network: str) -> float:
        """What the network minimises: its loss and the penalties."""
        for name, net in self.networks.items():
            vars(net).pop("forward", None)
            net.watch = _Replay(net, self._recorded[name], set(), None)
        return float(self._compute()[self._game.losses[network]])

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
        self._game.random_state = self._random_state
        labels = {} if self._labels is None else {"labels": self._labels.copy()}
        return self._game.compute(self._real.copy(), self._z.copy(), **labels)  # copies: views of them may be written to


class _Replay:
    """A network's watcher, and its forward, in a repeated step.

    It puts other values in place of one output, and collects the branch signatures of the passes that count.
    """

    def __init__(self, net: Sequential, recorded: list[Pass], passes: set[int], output: Output | None) -> None:
        self.net, self.recorded, self.passes, self.output = net, recorded, passes, output
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
        if layer is None:
            self.number += what == "forward"
            if what == "forward":
                put_back(self.net, self.recorded[self.number])
            return
        replaced = self.output is not None and (self.output.number, self.output.index) == (self.number, layer.index)
        if what == "output" and replaced and self.output is not None:
            value[...] = self.output.values
        elif what == "cache" and not replaced and self.number in self.passes:
            signature = layer.branch_signature(value)
            if signature is not None:
                self.signatures.append(signature)
