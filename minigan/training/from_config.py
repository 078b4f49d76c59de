"""The run that a Config describes: what `minigan train` starts and goes on with."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from minigan.backends import get_backend
from minigan.data import load
from minigan.errors import CheckpointError, MiniganError
from minigan.training import checkpoint
from minigan.training.build import build_game, config_of_checkpoint
from minigan.training.config import Config, with_absolute_paths
from minigan.training.folder import RunFolder, check_settings_file
from minigan.training.messages import Hints, print_now
from minigan.training.run import RUN_OPTIONS, Run


def start_run(config: Config, folder: str | Path, *, overwrite: bool = False, log: Callable[[str], None] = print_now) -> Run:
    """A new run in its folder; its train() starts it.

    Raises MiniganError, before anything is written, for a configuration that cannot be run and for a folder that already
    holds a run (unless overwrite).
    """
    RunFolder(folder)
    backend = get_backend(config.backend, config.precision)  # first, so that a missing GPU is said before data are read
    dataset = load(config.data, config.data_dir, config.image_size)
    paths = with_absolute_paths({"data": config.data, "data_dir": config.data_dir, "model": config.model})
    config = replace(config, backend=backend.name, **paths)
    config.resolve(dataset)
    if os.path.isdir(config.data) and Path(folder).resolve().is_relative_to(config.data):
        raise MiniganError(f"the run folder {folder} lies within the data {config.data}: choose another --out")
    assert config.batch_size is not None
    steps = config.steps or (config.epochs or 0) * max(1, len(dataset) // config.batch_size)
    options = {name: getattr(config, name) for name in RUN_OPTIONS if name != "steps"}
    game = build_game(config, dataset.shape, steps)  # before to_json: networks of a user's file note themselves in config
    return Run(
        game,
        dataset,
        folder,
        steps=steps,
        **options,
        overwrite=overwrite,
        settings=config.to_json(),
        hints=_command_hints(folder),
        log=log,
    )


def resume_run(folder: str | Path, *, changes: Mapping[str, Any] | None = None, log: Callable[[str], None] = print_now) -> Run:
    """The run of a folder, as its checkpoint left it.

    changes: a longer `steps` or `epochs`; other settings may be named again, but not changed.
    Raises CheckpointError if the checkpoint is missing, damaged or of another model than config.json says.
    """
    folder = Path(folder)
    arrays, info = checkpoint.load(RunFolder(folder).checkpoint)
    config = config_of_checkpoint(info, folder)
    check_settings_file(folder, info["config"])
    longer = {name: value for name, value in (changes or {}).items() if name in ("steps", "epochs")}
    for name, value in with_absolute_paths(changes or {}).items():
        if name not in longer and getattr(config, name) != value:
            raise CheckpointError(f"the run in {folder} has {name} {getattr(config, name)!r}, not {value!r}: leave it out")
    if longer:
        if config.schedule != "constant":
            length = f"{config.steps} steps" if config.steps else f"{config.epochs} epochs"
            raise CheckpointError(f"the {config.schedule} schedule of {folder} was laid out for {length}")
        config.steps, config.epochs = longer.get("steps"), longer.get("epochs")
    run = start_run(config, folder, overwrite=True, log=log)
    run.go_on_from(arrays, info)
    return run


def _command_hints(folder: str | Path) -> Hints:
    quoted = shlex.quote(str(folder))
    return Hints(
        resume=f"minigan train --resume --out {quoted}",
        lengthen="--steps names a larger number",
        replace="--resume continues it, --overwrite replaces it, --out names another",
        sample=f"minigan sample {quoted} -n 64 --out more.png",
    )
