"""Where numbers stopped being finite: the steps are taken again, with every array watched."""

from __future__ import annotations

from functools import partial
from typing import Any

from minigan.backends import Array
from minigan.data import Batches
from minigan.games import Game
from minigan.layers import Layer


def find_divergence(game: Game, batches: Batches, steps: int) -> tuple[int, str] | None:
    """(which of the next `steps` steps, from 1 up; "network, layer: what is not finite") of the first bad array.

    None if all arrays stay finite. The game takes these steps, each to its end: ranks that share a batch wait for one another,
    and only one may have seen the first bad array.
    """
    found = list[str]()

    def check(name: str, layer: Layer, what: str, array: Array) -> None:
        if not found and not bool(game.backend.xp.isfinite(array).all()):
            found.append(f"{name}, {layer.label}: {what} is not finite")

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
            if first := _first_of(batches.ranks.gather(found)):
                return step, first
    finally:
        for name, net in game.networks.items():
            net.watch = watchers[name]
    return None


def _first_of(of_ranks: list[list[str]]) -> str:
    """What the first rank that has found something has found, and which that is where there are several."""
    for rank, found in enumerate(of_ranks):
        if found:
            return found[0] if len(of_ranks) == 1 else f"rank {rank}: {found[0]}"
    return ""


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
