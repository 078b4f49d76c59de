"""The folder of a run: what lies in it, how it is written, and where the next one goes.

config.json, log.csv, samples/step_000000.png …, progress.gif, curves.png, checkpoint.safetensors.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minigan.errors import CheckpointError, MiniganError
from minigan.files import PART, write_atomically
from minigan.training import plots
from minigan.training.log import columns_of, read_log, read_settings, read_table
from minigan.training.options import shorten

CONFIG, LOG, CHECKPOINT, CURVES, ANIMATION, SAMPLES = (
    "config.json",
    "log.csv",
    "checkpoint.safetensors",
    "curves.png",
    "progress.gif",
    "samples",
)
MADE_FROM = "made_from"  # the entry of the settings of a run of a user's own networks, which is "Python"


class RunFolder:
    """The files of one run but for its checkpoint. Raises MiniganError if the path is a file."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if self.path.exists() and not self.path.is_dir():
            raise MiniganError(f"{path} is a file: name a folder for the run")
        self.columns: tuple[str, ...] = ()

    @property
    def checkpoint(self) -> Path:
        return self.path / CHECKPOINT

    def make(self, replaces: bool) -> None:
        """Make the folder. replaces: it holds another run, whose configuration goes first."""
        try:
            (self.path / SAMPLES).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise MiniganError(f"cannot make {self.path}: {error.strerror}") from None
        if replaces:
            (self.path / CONFIG).unlink(missing_ok=True)  # a checkpoint without it resumes; one beside another's does not

    def open(self, settings: Mapping[str, Any], columns: Sequence[str], step: int, replaces: bool) -> None:
        """Write the settings, cut the log and the pictures back to `step`, and clear out what an old run left."""
        self.columns = tuple(columns)
        rows = self._rows_to_keep(step) if step else []  # first: a log that cannot be gone on with is left as it is
        for name in (LOG, CURVES, ANIMATION) if replaces else ():
            (self.path / name).unlink(missing_ok=True)
        for frame in self.frames():
            if replaces or int(frame.stem[5:]) > step:
                frame.unlink()
        for part in [*self.path.glob(f".*{PART}"), *(self.path / SAMPLES).glob(f".*{PART}")]:
            part.unlink()  # left by a process that was killed while it wrote
        write_atomically(self.path / CONFIG, (json.dumps(settings, indent=1) + "\n").encode())
        # A log of an earlier version has fewer columns; the cells of the others stay empty.
        lines = [",".join(columns), *(",".join(row.get(name, "") for name in columns) for row in rows)]
        write_atomically(self.path / LOG, ("\n".join(lines) + "\n").encode())

    def _rows_to_keep(self, step: int) -> list[dict[str, str]]:
        """The log's rows up to a step. Raises CheckpointError where writing them again would lose something."""
        names, rows = read_table(self.path / LOG, until=step)
        foreign = [name for name in names if name not in self.columns]
        if foreign:
            raise CheckpointError(
                f"{self.path / LOG} has a column {shorten(foreign[0])} that this run does not write: remove the column, "
                "or move the file away"
            )
        return rows

    def frames(self) -> list[Path]:
        """The pictures of samples, in the order of their steps."""
        return sorted(path for path in (self.path / SAMPLES).glob("step_*.png") if path.stem[5:].isdigit())

    def append_row(self, cells: Mapping[str, Any]) -> None:
        """A row of the log; the cell of a column that is not named stays empty."""
        line = ",".join(str(cells.get(name, "")) for name in self.columns)
        try:
            with open(self.path / LOG, "a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError as error:
            raise MiniganError(f"cannot write {self.path / LOG}: {error.strerror}; the last checkpoint stays") from None

    def save_samples(self, step: int, samples: np.ndarray, real: np.ndarray | None) -> None:
        plots.save_samples(self.path / SAMPLES / f"step_{step:06d}.png", samples, real)

    def save_pictures(self) -> None:
        """The curves of the log and the animation of the samples, once the log has a row."""
        rows = read_log(self.path / LOG)
        if rows:
            plots.save_curves(self.path / CURVES, columns_of(rows))
            plots.save_animation_of_files(self.path / ANIMATION, self.frames())


def check_settings_file(folder: Path, settings: Mapping[str, Any]) -> None:
    """Raises CheckpointError unless config.json, if there is one, describes the checkpoint's run.

    What may differ is how long the run is to be.
    """
    path = folder / CONFIG
    try:
        written = read_settings(path)
    except FileNotFoundError:
        return  # the checkpoint has all that is needed
    except CheckpointError as error:
        raise CheckpointError(f"{error}, or remove it: the checkpoint has its content") from None
    other = [name for name in settings if name not in ("steps", "epochs") and written.get(name) != settings[name]]
    if other:
        pairs = ", ".join(f"{name} {shorten(written.get(name))} against {shorten(settings[name])}" for name in other[:3])
        raise CheckpointError(f"{path} and {CHECKPOINT} are of different runs ({pairs}): put back the one that belongs here")


def made_from_python(settings: Mapping[str, Any]) -> bool:
    """True if a run's networks were given to mg.Run, so that its settings alone cannot build them."""
    return settings.get(MADE_FROM) == "Python"


def refuse_python_run(settings: Mapping[str, Any], folder: str | Path) -> None:
    """Raises CheckpointError for the settings of a run from Python, where a Config is asked for."""
    if made_from_python(settings):
        raise CheckpointError(
            f"the run in {folder} was started from Python with networks of its own: build them there as they were, "
            "and give them to mg.Run.resume"
        )


def holds_run(folder: Path) -> bool:
    return (folder / CONFIG).exists() or (folder / CHECKPOINT).exists()


def default_run_dir(data: str, model: str | None = None) -> Path:
    """runs/<data>, or runs/<data>-<model> where a model is named; with a number behind it where that is taken."""
    name = Path(data).resolve().stem
    base = Path("runs") / (f"{name}-{model}" if model else name)
    number, folder = 1, base
    while holds_run(folder):
        number += 1
        folder = base.with_name(f"{base.name}-{number}")
    return folder
