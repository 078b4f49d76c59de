"""The same step again: what would a loss have been, had one number been another?"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigan.backends import Array
from minigan.checks.game import forward_only, still
from minigan.games import Game
from minigan.layers import Layer
from minigan.network import Sequential

# The passes on which each loss depends, by network: in D's step D judges x, then x̃; in G's step x̃ once more.
PASSES: dict[str, dict[str, set[int]]] = {
    "loss_d": {"generator": {0}, "discriminator": {0, 1}},
    "loss_g": {"generator": {0}, "discriminator": {2}},
}


@dataclass
class Output:
    """Values to be put in place of what a layer puts out, in one pass of its network (both counted from 0)."""

    network: str
    number: int
    index: int
    values: Array


class Rerun:
    """The game's own step on the same batch, repeated on a copy of the game whose optimisers hold still.

    Make it before the step is taken: it remembers the random streams as they are, so that Dropout draws the same masks.
    """

    def __init__(self, game: Game, real: Array, z: Array) -> None:
        self._game, self._real, self._z, self._random_state = still(game), real, z, game.random_state
        self.networks: dict[str, Sequential] = self._game.networks
        # Gradients go nowhere while the optimisers hold still. Unless a loss depends on one, as a penalty does, none is made.
        wanted = [float(self._compute()[name]) for name in PASSES]
        with forward_only(self._game):
            self._quick = [float(self._compute()[name]) for name in PASSES] == wanted

    def set_params(self, network: str, values: Mapping[str, np.ndarray]) -> None:
        net = self.networks[network]
        for name, array in net.params.items():
            array[...] = net.backend.asarray(values[name])

    def loss(self, name: str, output: Output | None = None) -> tuple[Array, list[Array]]:
        """The loss, and the branch signatures of the layers on the way to it, with `output` in place of a layer's own."""
        watchers = {}
        for network, net in self.networks.items():
            replaced = output if output is not None and output.network == network else None
            net.watch = watchers[network] = _Watcher(PASSES[name][network], replaced)
        with forward_only(self._game) if self._quick else nullcontext():
            value = self._compute()[name]
        return value, [signature for watcher in watchers.values() for signature in watcher.signatures]

    def _compute(self) -> dict[str, Array]:
        self._game.random_state = self._random_state
        return self._game.compute(self._real.copy(), self._z.copy())  # copies: views of them may be written to


class _Watcher:
    """Puts other values in place of one output, and collects the branch signatures of the passes that count."""

    def __init__(self, passes: set[int], output: Output | None) -> None:
        self.passes, self.output = passes, output
        self.number = -1  # of the pass under way
        self.signatures: list[Array] = []

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
