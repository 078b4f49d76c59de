"""Where numbers stopped being finite: the steps are taken again, with every array watched."""

from __future__ import annotations

from functools import partial
from itertools import count
from typing import Any

from minigan.backends import Array
from minigan.data import Batches
from minigan.distributed import Communicator
from minigan.games import Game
from minigan.layers import Layer


def find_divergence(game: Game, batches: Batches, steps: int) -> tuple[int, str] | None:
    """(which of the next `steps` steps, from 1 up; "network, layer: what is not finite") of the first bad array.

    None if all arrays stay finite. The game takes these steps, each to its end: ranks that share a batch wait for one another,
    and only one may have seen the first bad array.
    """
    found, looked_at = list[tuple[int, str]](), count()

    def check(name: str, layer: Layer, what: str, array: Array) -> None:
        place = next(looked_at)
        if not found and not bool(game.backend.xp.isfinite(array).all()):
            found.append((place, f"{name}, {layer.label}: {what} is not finite"))

    def watch(name: str, layer: Layer | None, what: str, value: Any) -> None:
        if layer is not None and what != "cache":  # a cache holds what a layer likes; its outputs and gradients follow
            check(name, layer, what, value)

    watchers = {name: net.watch for name, net in game.networks.items()}
    try:
        for name, net in game.networks.items():
            net.watch = partial(watch, name)
        for step in range(1, steps + 1):
            with game.backend.over(batches.ranks):
                game.step(batches.next(), **batches.labels())
            _check_state(game, check)
            if first := _first_of(batches.ranks, found):
                return step, first
    finally:
        for name, net in game.networks.items():
            net.watch = watchers[name]
    return None


def _first_of(ranks: Communicator, found: list[tuple[int, str]]) -> str:
    """Of what the ranks have found, which look at the same arrays in the same order: the first, and where there are several
    ranks, on which of them.
    """
    of_all = [(place, rank, text) for rank, own in enumerate(ranks.gather(found)) for place, text in own]
    if not of_all:
        return ""
    _, rank, text = min(of_all)
    return text if ranks.size == 1 else f"{ranks.called(rank)}: {text}"


def _check_state(game: Game, check: Any) -> None:
    """Show `check` all that a step updates."""
    for name, net in game.networks.items():
        for layer in net.layers:
            for key, array in {**layer.params, **layer.state}.items():
                check(name, layer, f"updated {key}", array)
    for name, optimizer in game.optimizers.items():
        for key, vector in optimizer.state.items():
            for layer, part in game.networks[name].split(vector):
                check(name, layer, f"the optimiser's {key}", part)
