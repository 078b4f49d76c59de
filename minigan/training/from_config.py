"""The run that a Config describes: what `minigan train` starts and goes on with."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from minigan.backends import get_backend
from minigan.distributed import world
from minigan.errors import CheckpointError, DataError, MiniganError, OptionError, shorten
from minigan.losses import OBJECTIVES
from minigan.training import checkpoint
from minigan.training.build import build_game, config_of_checkpoint, errors_of_user_file
from minigan.training.config import OPTIONS, Config, with_absolute_paths
from minigan.training.demands import RUN_OPTIONS
from minigan.training.folder import RunFolder, check_settings_file, default_run_dir
from minigan.training.messages import Hints, print_now, tell
from minigan.training.run import Run
from minigan.training.settings import has_smoothing
from minigan.user_code import names_function, split_function

LENGTHS = {"steps", "epochs"}
# Which may name another place: the digest tells whether the values are the same.
DATA = {"data", "data_dir", "image_size", "length", "rate", "fit"}
EVERY = {"log_every", "sample_every", "evaluate_every", "checkpoint_every"}
CHANGEABLE = LENGTHS | DATA | EVERY | {"memory_share", "backend", "precision"}  # of a run that goes on


def start_run(
    config: Config,
    folder: str | Path | RunFolder | None = None,
    *,
    begins_from: str | Path | None = None,
    overwrite: bool = False,
    log: Callable[[str], None] = print_now,
    progress: bool = False,
) -> Run:
    """A new run in its folder, by default one in runs/; its train() starts it.

    begins_from: the folder of a run whose networks' weights are the first ones here; see `config_from`.
    progress: whether to show a bar where decoding images takes long.
    Raises MiniganError, before anything is written, for a configuration that cannot be run and for a folder that already
    holds a run (unless overwrite).
    """
    if not isinstance(folder, RunFolder):
        folder = RunFolder(folder, partial(default_run_dir, config.data, config.model_name))
    weights = None if begins_from is None else _weights_of(begins_from, folder.path)
    backend = get_backend(config.backend, config.precision)  # first, so that a missing GPU is said before data are read
    with _hint_at_moved_data(weights is not None and weights[1]["config"].get("data") == config.data), world().in_turn():
        dataset = config.load_data(progress=progress and world().rank == 0)
    paths = with_absolute_paths({"data": config.data, "data_dir": config.data_dir, "model": config.model})
    config = replace(config, backend=backend.name, **paths)
    config.resolve(dataset)
    assert config.batch_size is not None
    steps = config.steps or (config.epochs or 0) * max(
        1, dataset.epoch_size // (config.batch_size * (config.critic_steps or 1))
    )
    options = {name: getattr(config, name) for name in RUN_OPTIONS if name != "steps"}
    if weights and list(dataset.shape) != weights[1]["shape"]:
        shape = tuple(weights[1]["shape"])
        raise MiniganError(
            f"{dataset.name} holds {dataset.shape}, and the run in {begins_from} makes {shape}: its data must fit"
        )
    if weights and len(weights[1]["config"].get("class_names") or ()) != len(config.class_names or ()):
        names = weights[1]["config"].get("class_names") or ()
        raise MiniganError(
            f"{dataset.name} holds {len(config.class_names or ())} classes, and the run in {begins_from} makes {len(names)}: "
            "their number must fit"
        )
    game = build_game(config, dataset.shape, steps)  # before to_json: networks of a user's file note themselves in config
    if weights:
        game.load_networks(weights[0])
        _tell(log, f"begins from the networks of {begins_from} after {weights[1]['step']:,} steps; the optimisers start anew")
    with errors_of_user_file(config):
        return Run(
            game,
            dataset,
            folder,
            steps=steps,
            **options,
            overwrite=overwrite,
            settings=config.to_json(),
            title=config.title,
            hints=partial(_command_hints, ".wav" if dataset.kind.name == "sound" else ".png"),
            log=log,
        )


def _weights_of(source: str | Path, folder: Path) -> tuple[Mapping[str, np.ndarray], dict[str, Any]]:
    """What the checkpoint of another run holds."""
    if Path(source).resolve() == folder.resolve():
        raise MiniganError(f"{folder} is the run to begin from: name another folder for the new one")
    return checkpoint.load(RunFolder(source).checkpoint)


def config_from(source: str | Path, changes: Mapping[str, Any]) -> Config:
    """The configuration of a new run that begins with the networks of the run in a folder, with other settings.

    What `changes` leaves out is as in that run. Raises OptionError for changes of the networks themselves.
    """
    _, info = checkpoint.load(RunFolder(source).checkpoint)
    config = config_of_checkpoint(info, source)
    for name, value in changes.items():
        if OPTIONS[name].group == "model" and getattr(config, name) != value and not _is_moved_file(config, name, value):
            raise OptionError(
                f"{name} is {shorten(value)}, and the networks of {source} have {shorten(getattr(config, name))}: leave it out"
            )
    if changes.get("loss") in OBJECTIVES and not has_smoothing(changes["loss"]):
        changes = {"smoothing": 0.0, **changes}  # there are no labels to smooth
    return _changed(config, with_absolute_paths(changes))


def resume_run(
    folder: str | Path,
    *,
    changes: Mapping[str, Any] | None = None,
    log: Callable[[str], None] = print_now,
    progress: bool = False,
) -> Run:
    """The run of a folder, as its checkpoint left it.

    changes: a longer `steps` or `epochs`; where data or the file of its networks lie now, if they hold what they held; how
    often to log, draw and save; the backend. Other settings may be named again, but not changed.
    Raises CheckpointError if the checkpoint is missing, damaged or of another model than config.json says.
    """
    files = RunFolder(folder)
    stamp = files.stamp()
    arrays, info = checkpoint.load(files.checkpoint)
    config = config_of_checkpoint(info, folder)
    check_settings_file(files.path, info["config"])
    given = with_absolute_paths(changes or {})
    if given.get("backend") == "auto":
        given["backend"] = get_backend("auto").name
    given = {name: value for name, value in given.items() if getattr(config, name) != value}
    for name, value in given.items():
        if name not in CHANGEABLE and not _is_moved_file(config, name, value):
            old = shorten(getattr(config, name))
            raise CheckpointError(
                f"the run in {folder} has {name} {old}, not {shorten(value)}: leave it out, or begin a new run from "
                "its weights with --from"
            )
    if given.keys() & LENGTHS and config.schedule != "constant":
        length = f"{config.steps} steps" if config.steps else f"{config.epochs} epochs"
        raise CheckpointError(f"the {config.schedule} schedule of {folder} was laid out for {length}")
    with _hint_at_moved_data(not given.keys() & DATA):
        run = start_run(_changed(config, given), files, overwrite=True, log=log, progress=progress)
    same_streams = run.go_on_from(arrays, info, stamp)
    changed = [
        f"{name} {shorten(info['config'][name])} → {shorten(value)}" for name, value in given.items() if name not in LENGTHS
    ]
    if changed:
        streams = "" if same_streams else "; its random streams start anew there"
        _tell(log, f"changed: {', '.join(changed)}; the checkpoint will differ from that of a run without it{streams}")
    return run


def _tell(log: Callable[[str], None], text: str) -> None:
    """A line of all ranks, which the first tells."""
    if world().rank == 0:
        tell(log, text)


@contextmanager
def _hint_at_moved_data(applies: bool) -> Iterator[None]:
    try:
        yield
    except DataError as error:
        if not applies:
            raise
        raise DataError(f"{error} (--data names where the data of that run lie now)") from None


def _is_moved_file(config: Config, name: str, value: Any) -> bool:
    """True if the option names the function of the run's networks, in a file that may lie elsewhere. Its digest is compared
    where the networks are built.
    """
    if name != "model" or config.is_built_in or not names_function(value):
        return False
    return split_function(value)[1] == split_function(config.model or "")[1]


def _changed(config: Config, changes: Mapping[str, Any]) -> Config:
    """The configuration with these changes, and without what they take the place of."""
    dropped: dict[str, Any] = {}
    if changes.keys() & LENGTHS:
        dropped |= dict.fromkeys(LENGTHS)
    if "data" in changes:
        dropped["data_dir"] = None
    return replace(config, **{**dropped, **changes})


def _command_hints(suffix: str, folder: str | Path) -> Hints:
    quoted = shlex.quote(str(folder))
    return Hints(
        resume=f"minigan train --resume --out {quoted}",
        lengthen="--steps names a larger number",
        replace="--resume continues it, --overwrite replaces it, --out names another",
        replace_files="--overwrite replaces a run's own names and nothing else, --out names another folder",
        sample=f"minigan sample {quoted} --out more{suffix}",
    )
