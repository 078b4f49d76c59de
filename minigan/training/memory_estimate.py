"""How much memory a game's training takes, estimated from shapes alone, before any of it is allocated."""

from __future__ import annotations

import math

from minigan.games import Game

# Measured on both reference games, with 16 to 8,192 images in a batch and 200,000 to 7 million parameters.
ARRAYS_PER_PARAMETER = 20  # parameter, gradient, Adam's two, transformed weight, and copies for snapshots and checkpoints
ARRAYS_PER_OUTPUT = 2  # of what the layers put out: D keeps that of real and of generated images until its backward passes
BESIDES = 16 * 2**20  # bytes: pictures, the log, Python's own
MARGIN = 1.5  # by which the estimate may be too large; a run that could fit is not refused


def check_memory(game: Game, batch_size: int) -> None:
    """Raise DeviceMemoryError unless the game's training in batches of this size can fit into what is free."""
    size = estimate_memory(game, batch_size)
    game.backend.require_memory(size, "this game", least=size / MARGIN)


def estimate_memory(game: Game, batch_size: int) -> float:
    """Bytes that training takes in all, at its peak."""
    parameters = sum(net.num_params for net in game.networks.values())
    layers = (part for net in game.networks.values() for layer in net.layers for part in layer.nested())
    outputs = sum(math.prod(layer.output_shape or ()) for layer in layers)
    values = ARRAYS_PER_PARAMETER * parameters + ARRAYS_PER_OUTPUT * batch_size * outputs
    return values * game.dtype.itemsize + BESIDES
