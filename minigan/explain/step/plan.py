"""What opening a step has to know of the kind of game: which passes its usual step makes, and what depends on them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from minigan.backends import Array
from minigan.explain.step.looking import Look, Snapshot
from minigan.explain.step.records import OpenedStep, Pass
from minigan.games import Game


class Plan(ABC):
    """The usual step of one kind of game. A step of another order is refused: what the page says would not be true of it.

    networks: how many forward passes each makes, without those of penalties. stats: what the step returns at least. ways: by
    network, the passes through which its loss depends on it, from the loss downwards, as (network, which of its passes, −1 the
    last). losses: what the page calls that loss. usual: the step in words.
    """

    networks: ClassVar[Mapping[str, int]]
    stats: ClassVar[tuple[str, ...]]
    ways: ClassVar[Mapping[str, tuple[tuple[str, int], ...]]]
    losses: ClassVar[Mapping[str, str]]
    usual: ClassVar[str]

    def __init__(self, game: Game) -> None:
        self.game = game

    @classmethod
    def opens(cls, game: Game) -> bool:
        """Whether the game is of this kind."""
        return game.networks.keys() == cls.networks.keys()

    def count(self, network: str) -> int:
        """How many forward passes the network makes in this game's usual step."""
        return self.networks[network]

    def count_ticks(self) -> int:
        """How many arrays are checked."""
        return sum(self.networks[name] * len(net.layers) + len(net.params) for name, net in self.game.networks.items())

    def count_layers(self) -> int:
        """How many layers the losses go back through: each once for every loss."""
        walked = [{network for network, _ in way} for way in self.ways.values()]
        return sum(len(self.game.networks[network].layers) for networks in walked for network in networks)

    @abstractmethod
    def difference(self, passes: dict[str, list[Pass]], batch: tuple[Array, Array], stats: Mapping[str, float]) -> str:
        """How the step differs from the usual one, in words, or "". batch: samples and noise."""

    def complete(  # noqa: B027 (most have nothing to add)
        self, passes: dict[str, list[Pass]], after: dict[str, Snapshot], labels: np.ndarray | None
    ) -> None:
        """Add what neither the networks' watchers nor a look at them after the step could see. labels: of the batch."""

    @abstractmethod
    def look(
        self, look: Look, passes: dict[str, list[Pass]], batch: tuple[Array, Array], stats: dict[str, float]
    ) -> OpenedStep:
        """Check the step's derivatives, in the order in which its networks move."""
