"""What a run asks of its game, its data, its options and its folder, before anything is written."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from minigan.data import DATASETS, Dataset
from minigan.data.folders import folders_read
from minigan.errors import MiniganError, ModelError, OptionError, shorten
from minigan.games import Game
from minigan.training.config import OPTIONS
from minigan.training.memory_estimate import check_memory

RUN_OPTIONS = ("steps", "batch_size", "seed", "log_every", "sample_every", "evaluate_every", "checkpoint_every")
MAY_BE_NONE = ("sample_every", "evaluate_every")


def check_game(game: Game, dataset: Dataset) -> None:
    """Raise ModelError unless the game makes samples of the data's shape, and knows all of their classes or none."""
    if dataset.shape != tuple(game.sample_shape):
        raise ModelError(
            f"the game makes samples of shape {tuple(game.sample_shape)}, and {dataset.name} holds {dataset.shape}: "
            "make them equal"
        )
    if game.classes not in (0, len(dataset.class_names)):
        raise ModelError(
            f"the game takes labels of {game.classes} classes, and {dataset.name} has {len(dataset.class_names)}: "
            "make them equal"
        )


def checked_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """The options as Config would hold them. Raises OptionError for a value of the wrong type or range."""
    options = {}
    for name, value in given.items():
        try:
            options[name] = replace(OPTIONS[name], nullable=name in MAY_BE_NONE).convert(value)
        except ValueError as error:
            raise OptionError(f"{name} is {shorten(value)}: {error}") from None
    return options


def samples_per_step(game: Game, dataset: Dataset, batch_size: int) -> int:
    """Raises OptionError where the data have fewer, if a step takes several batches."""
    batches = game.batches_per_step
    if batches > 1 and batch_size * batches > len(dataset):
        raise OptionError(
            f"a step takes {batches} batches of {batch_size}, and {dataset.name} has {len(dataset)}: choose fewer"
        )
    return batch_size * batches


def rehearse(game: Game, batch_size: int) -> None:
    """One forward pass of a batch on copies of all networks: what they refuse is refused before anything is written."""
    check_memory(game, batch_size)
    for net in game.networks.values():
        net.clone().forward(game.backend.zeros((batch_size, *net.input_shape), net.dtype), train=True)


def keep_apart(samples: Path, data: str) -> None:
    """Raise MiniganError where the run would write its pictures into the folder of images that it learns from."""
    is_folder = data not in DATASETS and os.path.isdir(data)
    if is_folder and any(samples.resolve().is_relative_to(folder) for folder in folders_read(Path(data))):
        raise MiniganError(f"the run folder {samples.parent} lies within the data {data}: choose another folder for the run")
