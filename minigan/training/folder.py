"""The folder of a run: what lies in it, how it is written, and where the next one goes.

config.json, log.csv, samples/step_000000.png … (of text also .txt, of sound .wav), progress.gif, curves.png,
checkpoint.safetensors; what else a game has to show (of a VAE reconstructions.png, and latent_map.png where its latent space is
a plane); and, once it is evaluated, metrics.json and neighbours.png.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from minigan.data import Kind
from minigan.data.kinds import KINDS
from minigan.errors import CheckpointError, MiniganError, shorten
from minigan.files import KEPT, remove_parts, write_atomically
from minigan.games import Picture
from minigan.training import checkpoint, plots
from minigan.training.lock import locked
from minigan.training.log import columns_of, read_log, read_settings, read_table

CONFIG, LOG, CHECKPOINT, CURVES, ANIMATION, SAMPLES = (
    "config.json",
    "log.csv",
    "checkpoint.safetensors",
    "curves.png",
    "progress.gif",
    "samples",
)
PICTURE = ".png"
OF_STEP = (PICTURE, *(kind.suffix for kind in KINDS.values() if kind.suffix))  # what files of samples end in
METRICS, NEIGHBOURS = "metrics.json", "neighbours.png"
PICTURES = {"reconstructions": "reconstructions.png", "latent_map": "latent_map.png"}  # what Game.pictures names
FILES = (CONFIG, LOG, CHECKPOINT, CURVES, ANIMATION)
OWN = (*FILES, *PICTURES.values(), METRICS, NEIGHBOURS)  # with those of `minigan evaluate`
LONGEST_NAME = 240  # bytes of a folder's, with room for a number behind it
MADE_FROM = "made_from"  # the entry of the settings of a run of a user's own networks, which is "Python"


def _checked_path(path: Any) -> Path:
    """Raises MiniganError for what no folder can be called."""
    try:
        is_name = isinstance(path, (str, Path)) and str(path) != "" and b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        is_name = False
    if not is_name:
        raise MiniganError(f"out is {shorten(path)}: name a folder for the run, as runs/mine")
    return Path(path)


class RunFolder:
    """The files of one run but for its checkpoint.

    find_free: where path is None, names a folder that is not there yet; `claim` then makes the first that nobody else has made.
    Raises MiniganError if the path is a file, or if a name of the run's own there is a link or no plain file: what lies
    elsewhere is neither written nor removed through a run folder.
    """

    def __init__(self, path: str | Path | None, find_free: Callable[[], Path] | None = None) -> None:
        self._find_free = find_free if path is None else None
        self.path = self._find_free() if self._find_free else _checked_path(path)
        self.columns: tuple[str, ...] = ()
        self._check()

    def _check(self) -> None:
        try:
            self._check_entries()
        except OSError as error:
            raise MiniganError(f"cannot look into {self.path}: {error.strerror}") from None

    def _check_entries(self) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise MiniganError(f"{self.path} is a file: name a folder for the run")
        for path in [*(self.path / name for name in (*OWN, SAMPLES)), *self._of_steps()]:
            is_right = path.is_dir() if path.name == SAMPLES else path.is_file()
            if path.is_symlink() or (path.exists() and not is_right):
                kind = "a folder" if path.name == SAMPLES else "a file"
                what = "a link" if path.is_symlink() else f"not {kind}"
                raise MiniganError(
                    f"{path} is {what}, and a run needs {kind} of its own there: remove it, or name another folder"
                )

    @property
    def takes_free_name(self) -> bool:
        """True as long as `claim` has yet to choose the folder's name."""
        return self._find_free is not None

    @property
    def checkpoint(self) -> Path:
        return self.path / CHECKPOINT

    def stamp(self) -> tuple[int, int, int] | None:
        """What changes when the checkpoint is written anew; None where there is none."""
        try:
            status = os.stat(self.checkpoint)
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size

    def content(self) -> str:
        """In words what a new run would replace: "" for nothing, "a run", or other files under the names of a run's own."""
        if holds_run(self.path):
            return "a run"
        names = [path.name for path in (*(self.path / name for name in OWN), *self._like_ours()) if path.exists()]
        listed = f"{', '.join(names[:3])}{' and more' if len(names) > 3 else ''}"
        return f"{listed}, of no run that minigan can read" if names else ""

    @contextmanager
    def claim(self, log: Callable[[str], None]) -> Iterator[None]:
        """Make the folder, and hold it: as long as this lasts, no other run can be in it."""
        try:
            while True:
                try:
                    self.path.mkdir(parents=True, exist_ok=self._find_free is None)
                    break
                except FileExistsError:  # another start took the name
                    before, self.path = self.path, self._find_free() if self._find_free else self.path
                    if before == self.path:
                        raise
        except (OSError, ValueError) as error:
            raise MiniganError(f"cannot make {self.path}: {getattr(error, 'strerror', None) or error}") from None
        self._find_free = None
        with locked(self.path, log):
            self._check()
            yield

    def prepare(self, forgets: bool) -> None:
        """Make room for a checkpoint of other settings. forgets: the configuration that lies here is not this run's."""
        try:
            (self.path / SAMPLES).mkdir(exist_ok=True)
            if forgets:
                (self.path / CONFIG).unlink(missing_ok=True)  # a checkpoint without it resumes; one beside another's does not
        except OSError as error:
            raise MiniganError(f"cannot write into {self.path}: {error.strerror}") from None

    def open(
        self,
        settings: Mapping[str, Any],
        columns: Sequence[str],
        rows: Sequence[Mapping[str, str]],
        step: int,
        replaces: bool,
    ) -> None:
        """Write the settings and the rows of the log that stay, cut the pictures back to `step`, and clear out what an old run
        left.
        """
        self.columns = tuple(columns)
        try:
            for name in (LOG, CURVES, ANIMATION, *PICTURES.values(), METRICS, NEIGHBOURS) if replaces else ():
                (self.path / name).unlink(missing_ok=True)
            remove_parts(self.path, OWN.__contains__)
            remove_parts(self.path / SAMPLES, lambda name: _step_of(name) is not None)
        except OSError as error:
            raise MiniganError(f"cannot write into {self.path}: {error.strerror}") from None
        write_atomically(self.path / CONFIG, (json.dumps(settings, indent=1) + "\n").encode())
        self._cut_pictures(-1 if replaces else step)
        self._write_log(rows)

    def cut(self, step: int) -> None:
        """Leave of the log and of the pictures what is not behind `step`."""
        self._cut_pictures(step)
        self._write_log(self.rows_to_keep(self.columns, step))

    def _cut_pictures(self, step: int) -> None:
        try:
            for path in self._of_steps():
                if (_step_of(path.name) or 0) > step:
                    path.unlink(missing_ok=True)
        except OSError as error:
            raise MiniganError(f"cannot write into {self.path}: {error.strerror}") from None

    def _write_log(self, rows: Sequence[Mapping[str, str]]) -> None:
        # A log of an earlier version has fewer columns; the cells of the others stay empty.
        lines = [",".join(self.columns), *(",".join(row.get(name, "") for name in self.columns) for row in rows)]
        write_atomically(self.path / LOG, ("\n".join(lines) + "\n").encode())

    def rows_to_keep(self, columns: Sequence[str], step: int) -> list[dict[str, str]]:
        """The log's rows up to a step. Raises CheckpointError where writing them again would lose something."""
        names, rows = read_table(self.path / LOG, until=step)
        foreign = [name for name in names if name not in columns]
        if foreign:
            raise CheckpointError(
                f"{self.path / LOG} has a column {shorten(foreign[0])} that this run does not write: remove the column, "
                "or move the file away"
            )
        return rows

    def frames(self) -> list[Path]:
        """The pictures of samples, in the order of their steps."""
        return [path for path in self._of_steps() if path.suffix == PICTURE]

    def _of_steps(self) -> list[Path]:
        """All files of samples, in the order of their steps."""
        own = ((_step_of(path.name), path) for path in self._like_ours())
        return [path for _, path in sorted((step, path) for step, path in own if step is not None)]

    def _like_ours(self) -> list[Path]:
        """Those, and others that are named like them."""
        return sorted(path for suffix in OF_STEP for path in (self.path / SAMPLES).glob(f"step_*{suffix}"))

    def append_row(self, cells: Mapping[str, Any]) -> None:
        """A row of the log; the cell of a column that is not named stays empty."""
        line = ",".join(str(cells.get(name, "")) for name in self.columns)
        try:
            with open(self.path / LOG, "a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError as error:
            raise MiniganError(f"cannot write {self.path / LOG}: {error.strerror}; the last checkpoint stays") from None

    def flush_log(self) -> None:
        """See that the rows of the log are on the disk: a power cut must not leave a checkpoint that is ahead of them."""
        with suppress(OSError), open(self.path / LOG, "rb+") as file:
            os.fsync(file.fileno())

    def save_checkpoint(self, state: Mapping[str, Any]) -> None:
        """A run's state: its arrays, and what else is in it as plain JSON."""
        checkpoint.save(self.checkpoint, state["arrays"], {name: v for name, v in state.items() if name != "arrays"})

    def save_samples(self, step: int, kind: Kind, samples: np.ndarray, real: np.ndarray | None, columns: int = 0) -> None:
        path = self.path / SAMPLES / frame_name(step)
        if kind.suffix:
            write_atomically(path.with_suffix(kind.suffix), kind.to_file(kind.from_floats(samples)))
        plots.save_samples(path, kind, samples, real, columns)

    def save_picture(self, name: str, kind: Kind, picture: Picture, real: np.ndarray) -> None:
        """One of a game's own pictures. Raises MiniganError for a name that is none of PICTURES."""
        if name not in PICTURES:
            raise MiniganError(f"the game has a picture {shorten(name)}: expected {' or '.join(PICTURES)}")
        plots.save_samples(self.path / PICTURES[name], kind, picture.samples, real, picture.columns)

    def save_pictures(self) -> None:
        """The curves of the log and the animation of the samples, once the log has a row."""
        rows = read_log(self.path / LOG)
        if rows:
            plots.save_curves(self.path / CURVES, columns_of(rows))
            plots.save_animation_of_files(self.path / ANIMATION, self.frames())


class UnwrittenFolder(RunFolder):
    """The folder of a run to a rank that writes nothing into it, because another does."""

    def __init__(self, files: RunFolder) -> None:
        self._find_free, self.path, self.columns = None, files.path, ()

    def stamp(self) -> None:
        return None

    def content(self) -> str:
        return ""

    @contextmanager
    def claim(self, log: Callable[[str], None]) -> Iterator[None]:
        yield

    def rows_to_keep(self, columns: Sequence[str], step: int) -> list[dict[str, str]]:
        return []

    def frames(self) -> list[Path]:
        return []

    def _nothing(self, *_: Any, **__: Any) -> None:
        """In place of what writes."""

    prepare = open = cut = append_row = flush_log = save_checkpoint = _nothing
    save_samples = save_picture = save_pictures = _nothing


def frame_name(step: int, suffix: str = PICTURE) -> str:
    return f"step_{step:06d}{suffix}"


def _step_of(name: str) -> int | None:
    """The step whose samples a file of this name has, or None for a file that no run writes, as step_12.png."""
    stem, suffix = os.path.splitext(name)
    digits = stem.removeprefix("step_")
    is_own = digits.isdecimal() and suffix in OF_STEP and name == frame_name(int(digits), suffix)
    return int(digits) if is_own else None


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
    """True if a checkpoint or a config.json of minigan's lies there, be it of an earlier version."""
    try:
        checkpoint.load(folder / CHECKPOINT)
        return True
    except MiniganError:
        pass
    try:
        return read_settings(folder / CONFIG).keys() >= {"data", "steps", "batch_size", "log_every"}
    except (OSError, ValueError):
        return False


def default_run_dir(data: str, model: str | None = None) -> Path:
    """runs/<data>, or runs/<data>-<model> where a model is named; with a number behind it where that is there already."""
    name = "-".join(part for part in (Path(data).resolve().stem, model) if part) or "run"
    base = Path("runs") / (name if len(os.fsencode(name)) < LONGEST_NAME else name[:KEPT])
    number, folder = 1, base
    while os.path.lexists(folder):
        number += 1
        folder = base.with_name(f"{base.name}-{number}")
    return folder
