"""What a protocol is: one seed's training and figures, and the published figures that they stand beside."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import minigan as mg
from minigan.data import Dataset

Figures = dict[str, float]


@dataclass(frozen=True)
class Figure:
    """A column of the table: its title, what a value is multiplied by, and how many decimals are shown."""

    title: str
    decimals: int
    scale: float = 1

    def shown(self, value: float) -> str:
        return f"{self.scale * value:.{self.decimals}f}"


@dataclass(frozen=True)
class Protocol:
    """one: trains a game of this seed for so many steps, and returns it with the seconds and processor seconds that took.

    measure: the figures of a trained game, by name. about: the data, the networks and the count, in words. settings: what the
    game trains with. published: figures of others under this protocol, in the order of `figures`, with their source.
    references: such figures of other samples, where they are quickly computed.
    """

    name: str
    about: str
    figures: Mapping[str, Figure]
    published: Mapping[str, tuple[float | None, ...]]
    settings: Mapping[str, Any]
    steps: int
    seeds: int
    train: Callable[[int, int], tuple[mg.GAN, Figures]]
    measure: Callable[[mg.GAN], Figures]
    references: Callable[[], Mapping[str, tuple[float | None, ...]]] = dict


def trained(game: mg.GAN, data: Dataset, batch_size: int, steps: int, seed: int) -> tuple[mg.GAN, Figures]:
    """The game after so many captured steps, and the seconds, by the clock and of the processor, that they took."""
    run = mg.capture(game, mg.Batches(data, batch_size, game.backend, seed=seed))
    clock, processor = time.perf_counter(), time.process_time()
    for _ in range(steps):
        run()
    game.backend.synchronize()
    return game, {"seconds": time.perf_counter() - clock, "processor_seconds": time.process_time() - processor}
