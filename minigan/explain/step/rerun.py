"""The same step again: what would a loss have been, had one number been another?"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigan.backends import Array
from minigan.checks.game import forward_only, still
from minigan.explain.step.records import Pass
from minigan.games import Game
from minigan.layers import Layer
from minigan.network import Sequential

# The passes on which a network's loss depends through its parameters. D judges x and x̃ in its own step, and x̃ again in G's.
PASSES: dict[str, dict[str, set[int]]] = {
    "discriminator": {"generator": set(), "discriminator": {0, 1}},
    "generator": {"generator": {0}, "discriminator": {2}},
}


@dataclass
class Output:
    """Values to be put in place of what a layer puts out, in one pass of its network (both counted from 0)."""

    network: str
    number: int
    index: int
    values: Array

    @property
    def passes(self) -> dict[str, set[int]]:
        """The passes that they have an effect on, where a loss is looked at."""
        return PASSES["generator"] if self.network == "generator" else {"generator": set(), "discriminator": {self.number}}


class Rerun:
    """The game's own step on the same batch, repeated on a copy of the game whose optimisers hold still.

    recorded: the passes of the step, by network. random_state: the game's before it. Of a repeated step only the passes that a
    change has an effect on are made; the others put out what they did in the step, for then D may have had other parameters.
    """

    def __init__(
        self, game: Game, real: Array, z: Array, recorded: Mapping[str, list[Pass]], random_state: dict[str, Any]
    ) -> None:
        self._game, self._real, self._z, self._recorded, self._random_state = still(game), real, z, recorded, random_state
        self.networks: dict[str, Sequential] = self._game.networks
        # Gradients go nowhere while the optimisers hold still. Unless a loss depends on one, as a penalty does, none is made.
        wanted = self._compute()
        for net in self.networks.values():
            net.flat_grads[...] = np.nan  # lest a loss finds those that it needs from before
        with forward_only(self._game):
            self._quick = all(bool((value == wanted[name]).all()) for name, value in self._compute().items())

    def set_params(self, network: str, values: Mapping[str, np.ndarray]) -> None:
        net = self.networks[network]
        for name, array in net.params.items():
            array[...] = net.backend.asarray(values[name])

    def loss(self, network: str, output: Output | None = None) -> tuple[Array, list[Array]]:
        """The network's loss, and the branch signatures of the layers on the way to it, with `output` in place of their own."""
        passes = output.passes if output is not None else PASSES[network]
        replays = {
            name: _Replay(net, self._recorded[name], passes[name], output if output and output.network == name else None)
            for name, net in self.networks.items()
        }
        for name, net in self.networks.items():
            net.watch = replays[name]
            if self._quick:
                net.forward = replays[name].forward  # type: ignore[method-assign]
        with forward_only(self._game) if self._quick else nullcontext():
            value = self._compute()[self._game.losses[network]]
        return value, [signature for replay in replays.values() for signature in replay.signatures]

    def _compute(self) -> dict[str, Array]:
        self._game.random_state = self._random_state
        return self._game.compute(self._real.copy(), self._z.copy())  # copies: views of them may be written to


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
            self.net.random_state = record.random_state
            return Sequential.forward(self.net, x, train)
        self.number += 1
        return self.net.backend.asarray(record.outputs[-1].copy()), []

    def __call__(self, layer: Layer | None, what: str, value: Any) -> None:
        if layer is None:
            self.number += what == "forward"
            return
        replaced = self.output is not None and (self.output.number, self.output.index) == (self.number, layer.index)
        if what == "output" and replaced and self.output is not None:
            value[...] = self.output.values
        elif what == "cache" and not replaced and self.number in self.passes:
            signature = layer.branch_signature(value)
            if signature is not None:
                self.signatures.append(signature)
