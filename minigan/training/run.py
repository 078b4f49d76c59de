"""The loop of training: steps, progress, samples, log, checkpoints, for any game and any data."""

from __future__ import annotations

import math
import os
import shlex
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from minigan.backends import Array
from minigan.capture import capture
from minigan.data import Batches, Dataset, as_dataset, load
from minigan.errors import CheckpointError, DivergenceError, MiniganError, ModelError, OptionError
from minigan.games import Game
from minigan.training import checkpoint
from minigan.training.config import CHECKPOINT_EVERY, LOG_EVERY, OPTIONS
from minigan.training.divergence import find_divergence
from minigan.training.folder import (
    ANIMATION,
    CURVES,
    MADE_FROM,
    SAMPLES,
    RunFolder,
    check_settings_file,
    default_run_dir,
    holds_run,
    made_from_python,
)
from minigan.training.messages import Hints, as_html, headline, print_now, python_hints
from minigan.training.monitor import Monitor
from minigan.training.options import shorten
from minigan.training.verdict import verdict

SNAPSHOT_STEPS = 100  # how often the state is kept in memory, to find where numbers stopped being finite
SAMPLED = {"images": 64, "points": 2000}
SYMBOLS = {"loss_d": "L_D", "loss_g": "L_G", "prob_real": "D(x)", "prob_fake": "D(G(z))"}  # of statistics, in the progress bar
RUN_OPTIONS = ("steps", "batch_size", "seed", "log_every", "sample_every", "checkpoint_every")


class Run:
    """One training run in its folder. Run(game, data, out, …).train() starts it, Run.resume(out, …).train() goes on with it.

    game: any game (networks, optimizers, stats, step, sample, state_dict, random_state; see minigan.games), such as a GAN of
    two networks of your own. data: a Dataset, the name of one or a path as `minigan train --data` takes it, or an array:
    images (N, H, W, C), uint8 or floats in [0, 1] or [−1, 1], or points (N, 2). out: the folder, see minigan.training.folder.
    steps, batch_size: how long, and how many samples in a step. seed: of the order of the data and of the samples shown.
    log_every, sample_every, checkpoint_every: in steps; sample_every=None: about 24 pictures a run.
    overwrite: replace the run that the folder holds. settings: what config.json says, plain JSON; by default the options above.
    hints: what the run tells its user to type. log: where its lines go.

    Raises MiniganError, before anything is written, for a game and data that do not fit together and for a folder that
    already holds a run (unless overwrite); `train` raises DivergenceError when a number stops being finite.
    """

    def __init__(
        self,
        game: Game,
        data: Dataset | str | Any,
        out: str | Path,
        *,
        steps: int,
        batch_size: int,
        seed: int = 0,
        log_every: int = LOG_EVERY,
        sample_every: int | None = None,
        checkpoint_every: int = CHECKPOINT_EVERY,
        overwrite: bool = False,
        settings: Mapping[str, Any] | None = None,
        hints: Hints | None = None,
        log: Callable[[str], None] = print_now,
    ) -> None:
        if not isinstance(game, Game):
            raise ModelError(f"game is a {type(game).__name__}: expected a game, as mg.GAN(G, D)")
        self.files, self.game, self.log = RunFolder(out), game, log
        self.folder = self.files.path
        self.dataset = load(os.fspath(data)) if isinstance(data, (str, os.PathLike)) else as_dataset(data)
        self._check_game()
        options = (steps, batch_size, seed, log_every, sample_every, checkpoint_every)
        self.options: dict[str, Any] = dict(zip(RUN_OPTIONS, options, strict=True))
        self._check_options()
        self.batches = Batches(self.dataset, batch_size, game.backend, game.dtype, seed)
        # Pictures at steps of the log, so that all its rows are means over equally many steps.
        self.sample_every = sample_every or log_every * max(1, round(steps / 24 / log_every))
        self._rehearse()
        self.monitor = Monitor(game, self.dataset, seed)
        self.log_columns = ("step", "epoch", *game.stats, "images_per_s", "seconds", *self.monitor.columns)
        self.step = 0
        self.last_stats: dict[str, float] = {}
        self.settings: dict[str, Any] = self._own_settings() if settings is None else dict(settings)
        self.hints = hints or python_hints(self.folder)
        self.replaces = overwrite
        if not overwrite and holds_run(self.folder):
            raise MiniganError(f"{out} already holds a run: {self.hints.replace}")
        self._good: dict[str, Any] = {}
        self._pending: list[dict[str, Array]] = []
        self._since = time.perf_counter()
        self._stop = False

    @classmethod
    def resume(
        cls,
        out: str | Path,
        *,
        game: Game,
        data: Dataset | str | Any,
        steps: int | None = None,
        log: Callable[[str], None] = print_now,
    ) -> Run:
        """The run in a folder, as its checkpoint left it, of a game like the one it began with and of the same data.

        The checkpoint holds the state of the game, not its networks: build these as before and give them here; what they hold
        is overwritten. steps: a longer length. The run then ends in the same bytes as one that was never interrupted.
        Raises CheckpointError if the checkpoint is missing or damaged, or of another game or other data.
        """
        folder = Path(out)
        arrays, info = checkpoint.load(RunFolder(folder).checkpoint)
        settings = info["config"]
        if not made_from_python(settings):
            command = f"minigan train --resume --out {shlex.quote(str(folder))}"
            raise CheckpointError(f"the run in {folder} was started by the command line: go on with it by {command}")
        check_settings_file(folder, settings)
        missing = [name for name in (*RUN_OPTIONS, "backend", "dtype") if name not in settings]
        if missing:
            raise CheckpointError(f"{folder}: the settings in its checkpoint lack {', '.join(missing)}; take an earlier copy")
        options = {name: settings[name] for name in RUN_OPTIONS}
        run = cls(
            game, data, folder, overwrite=True, log=log, **{**options, "steps": options["steps"] if steps is None else steps}
        )
        for name in ("backend", "dtype"):
            if run.settings[name] != settings[name]:
                raise CheckpointError(
                    f"the run in {folder} began with {name} {settings[name]}, and the game given has {run.settings[name]}: "
                    "build its networks as they were"
                )
        run.go_on_from(arrays, info)
        return run

    def go_on_from(self, arrays: Mapping[str, np.ndarray], info: Mapping[str, Any]) -> None:
        """Take over what a checkpoint holds. Raises CheckpointError, changing nothing, if it is of another game or data."""
        if info["dataset"] != self.dataset.digest:
            raise CheckpointError(f"{self.dataset.name} has changed since the run began: put back the data it was made with")
        if tuple(info["shape"]) != self.dataset.shape:
            raise CheckpointError(
                f"{self.files.checkpoint} is of samples of shape {tuple(info['shape'])}, and {self.dataset.name} holds "
                f"{self.dataset.shape}; take an earlier copy"
            )
        checkpoint.check_state(arrays, self.game.state_dict(), self.files.checkpoint)
        self._check_position(info)
        self.replaces = False
        self._restore({"arrays": arrays, **info})

    def _check_position(self, info: Mapping[str, Any]) -> None:
        """Raises CheckpointError unless game and batches accept the random state and the place in the data as they are."""
        random, place = self.game.random_state, self.batches.state
        try:
            self.game.random_state, self.batches.state = info["random"], info["data"]
            taken = self.game.random_state == info["random"] and self.batches.state == info["data"]
            taken = taken and info["step"] == self.batches.epoch * self.batches.per_epoch + self.batches.batch
        except (ValueError, TypeError, LookupError, ArithmeticError, AttributeError):
            taken = False
        finally:
            self.game.random_state, self.batches.state = random, place
        if not taken:
            raise CheckpointError(
                f"{self.files.checkpoint}: its random state or its place in the data is not that of a run after step "
                f"{info['step']:,}; take an earlier copy"
            )

    # -- what is asked of game and data --------------------------------------------------------------------------------

    def _check_game(self) -> None:
        if self.dataset.shape != tuple(self.game.sample_shape):
            raise ModelError(
                f"the game makes samples of shape {tuple(self.game.sample_shape)}, and {self.dataset.name} holds "
                f"{self.dataset.shape}: make them equal"
            )

    def _check_options(self) -> None:
        for name, value in self.options.items():
            try:
                self.options[name] = OPTIONS[name].convert(value)
            except ValueError as error:
                raise OptionError(f"{name} is {shorten(value)}: {error}") from None

    def _rehearse(self) -> None:
        """One forward pass of a batch on copies of all networks: what they refuse is refused before anything is written."""
        for net in self.game.networks.values():
            net.clone().forward(self.game.backend.zeros((self.batches.batch_size, *net.input_shape), net.dtype), train=True)

    def _own_settings(self) -> dict[str, Any]:
        """What config.json says of a run from Python: no networks can be built from it, but it tells what they were."""
        networks = {
            name: {"input": list(net.input_shape), "output": list(net.output_shape), "parameters": net.num_params}
            for name, net in self.game.networks.items()
        }
        numbers = {"backend": self.game.backend.name, "dtype": str(self.game.dtype)}
        return {MADE_FROM: "Python", "data": self.dataset.name, **self.options, **numbers, "networks": networks}

    # -- the loop ------------------------------------------------------------------------------------------------------

    @property
    def total_steps(self) -> int:
        return self.options["steps"]

    def train(self, progress: bool = True) -> bool:
        """Run to the last step. Returns False if Ctrl-C (or SIGTERM) ended it early; the state is saved either way.

        progress: show a bar, in a notebook as in a terminal.
        """
        from tqdm.auto import tqdm

        total, path = self.total_steps, self.folder
        with self._stop_on_signal():
            self._open_folder()
            model = self.settings.get("model") or type(self.game).__name__
            self.log(headline(self.game, self.dataset, model, self.batches.batch_size, total))
            if self.step >= total:
                self.files.save_pictures()
                self.log(f"{path} has its {self.step:,} steps already: {self.hints.lengthen}")
                self.log(verdict(path))
                return True
            with tqdm(
                total=total, initial=self.step, unit="step", disable=not progress, mininterval=0.3, dynamic_ncols=True
            ) as bar:
                self._loop(bar)
        if self.step < total:
            self.log(f"stopped after step {self.step:,} of {total:,}, saved; go on with: {self.hints.resume}")
            self.log(verdict(path))
            return False
        self.log(f"done: {path / SAMPLES}, {ANIMATION}, {CURVES}; more images: {self.hints.sample}")
        self.log(verdict(path))
        return True

    def _loop(self, bar: Any) -> None:
        total = self.total_steps
        self._good = self._state()
        if self.step == 0:
            self._save_samples()
        step = capture(self.game, self.batches, partial(self._log_beside, bar))
        self._since = time.perf_counter()
        try:
            # Overflows are looked for where it is decided what to do about them; NumPy's warnings would only add noise.
            with np.errstate(all="ignore"):
                while self.step < total and not self._stop:
                    if any(self._due(self.step + 1)):
                        self.monitor.snapshot()
                    self._pending.append(step())
                    self.step += 1
                    bar.update()
                    self._write_what_is_due(bar)
                self._write_log(bar)
                self._save_checkpoint()
        except MiniganError as error:
            with suppress(MiniganError):  # the first error is the one to tell
                if isinstance(error, DivergenceError):
                    nothing = dict.fromkeys(self.game.stats, math.nan)
                    self.files.append_row({"step": self.step, "epoch": self.batches.epoch, **nothing})
                self.files.save_pictures()
            raise
        self.files.save_pictures()

    def _log_beside(self, bar: Any, text: str) -> None:
        bar.clear()
        self.log(text)

    @contextmanager
    def _stop_on_signal(self) -> Iterator[None]:
        """Let the first Ctrl-C or SIGTERM finish the step; a second Ctrl-C ends at once."""

        def handle(number: int, frame: Any) -> None:
            if self._stop:
                raise KeyboardInterrupt
            self._stop = True

        try:
            if threading.current_thread() is not threading.main_thread():
                yield  # only the main thread may set handlers; others are not interrupted
                return
            before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
            try:
                yield
            finally:
                for number, old in before.items():
                    signal.signal(number, old)
        finally:
            self._stop = False  # in a notebook, train may be called again

    # -- what is written -----------------------------------------------------------------------------------------------

    def _due(self, step: int) -> tuple[bool, bool, bool]:
        """Whether a row of the log, samples and a checkpoint are due after this step; each of the last two brings a row too."""
        every = (self.options["log_every"], self.sample_every, self.options["checkpoint_every"])
        log, sample, save = (step == self.total_steps or step % steps == 0 for steps in every)
        return log, sample, save

    def _write_what_is_due(self, bar: Any) -> None:
        due = _, sample, save = self._due(self.step)
        if any(due):
            self._write_log(bar)  # first, for it sees whether there is anything worth showing or saving
        if sample:
            self._save_samples()
        if save and self.step < self.total_steps:
            self._save_checkpoint()

    def _open_folder(self) -> None:
        """Make the folder, write the first checkpoint and the configuration, and clear out what an old run left.

        The checkpoint goes first: whatever happens later, the folder holds a run that can be resumed.
        """
        self.files.make(self.replaces)
        if self.step == 0:
            self._save_checkpoint()
        self.files.open(self.settings, self.log_columns, self.step, self.replaces)
        self.replaces = False

    def _write_log(self, bar: Any) -> None:
        """Bring the statistics of the last steps over from the device, see that all are finite, and log their mean."""
        if not self._pending:
            return
        be, names, count = self.game.backend, tuple(self.game.stats), len(self._pending)
        pending = be.xp.stack([stats[name] for stats in self._pending for name in names])
        numbers = be.to_numpy(be.xp.concatenate([pending, self.monitor.measure()])).astype(np.float64)  # one transfer for all
        values, measured = numbers[: pending.size].reshape(-1, len(names)), numbers[pending.size :]
        elapsed = time.perf_counter() - self._since
        self._pending = []
        if not np.isfinite(values).all():
            self._find_divergence()
        self.last_stats = dict(zip(names, values.mean(axis=0).tolist(), strict=True))
        speed = count * self.batches.batch_size / max(elapsed, 1e-9)
        cells = {"step": self.step, "epoch": self.batches.epoch, "images_per_s": f"{speed:.6g}", "seconds": f"{elapsed:.4g}"}
        cells |= {name: f"{value:.6g}" for name, value in self.last_stats.items()}
        columns = zip(self.monitor.columns, measured, strict=True)
        cells |= {name: f"{value:.6g}" for name, value in columns if not math.isnan(value)}
        self.files.append_row(cells)
        shown = {SYMBOLS.get(name, name): f"{value:.3f}" for name, value in self.last_stats.items()}
        bar.set_postfix({**shown, "images/s": f"{speed:,.0f}"}, refresh=False)
        if self.step - self._good["step"] >= SNAPSHOT_STEPS:
            self._good = self._finite_state()
        self._since = time.perf_counter()

    def _save_samples(self) -> None:
        since = time.perf_counter()
        count = SAMPLED["images" if self.dataset.is_images else "points"]
        samples = self.game.sample(count, seed=self.options["seed"])
        self.files.save_samples(self.step, samples, None if self.dataset.is_images else self.dataset.values)
        self._since += time.perf_counter() - since  # the log's images/s is that of training alone

    def _save_checkpoint(self) -> None:
        state = self._finite_state()
        checkpoint.save(self.files.checkpoint, state["arrays"], {k: v for k, v in state.items() if k != "arrays"})

    # -- state ---------------------------------------------------------------------------------------------------------

    def _state(self) -> dict[str, Any]:
        """All that decides how the run goes on: arrays on the host, and plain JSON."""
        return {
            "arrays": self.game.state_dict(),
            "step": self.step,
            "data": self.batches.state,
            "random": self.game.random_state,
            "config": self.settings,
            "shape": list(self.dataset.shape),
            "dataset": self.dataset.digest,
        }

    def _finite_state(self) -> dict[str, Any]:
        state = self._state()
        if not all(np.isfinite(a).all() for a in state["arrays"].values()):
            self._find_divergence()
        return state

    def _restore(self, state: Mapping[str, Any]) -> None:
        self.game.load_state_dict(state["arrays"])
        self.game.random_state = state["random"]
        self.batches.state = state["data"]
        self.step = state["step"]

    def _find_divergence(self) -> NoReturn:
        """Go back to the last good state in memory and look for the first bad number; self.step is then its step."""
        last, good = self.step, self._good["step"]
        self._restore(self._good)
        found = find_divergence(self.game, self.batches, last - good)
        if found is None:
            self.step = last
            raise DivergenceError(f"step {last}: a statistic or an average is not finite; the steps from {good} show no cause")
        self.step = good + found[0]
        raise DivergenceError(
            f"step {self.step:,}: {found[1]}; the last good checkpoint stays in {self.files.checkpoint}. "
            "Try a smaller learning rate"
        )

    # -- printing ------------------------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        stats = "".join(f", {name} {value:.3g}" for name, value in self.last_stats.items())
        return f"Run({str(self.folder)!r}, step {self.step:,} of {self.total_steps:,}{stats})"

    def _repr_html_(self) -> str:
        """For a notebook: the folder, the step, the last statistics and the last picture of samples."""
        cells = {"folder": str(self.folder), "step": f"{self.step:,} of {self.total_steps:,}"}
        cells |= {name: f"{value:.4g}" for name, value in self.last_stats.items()}
        return as_html(cells, self.files.frames()[-1:])


def train(
    game: Game,
    data: Dataset | str | Any,
    out: str | Path | None = None,
    *,
    steps: int,
    batch_size: int = 64,
    seed: int = 0,
    log_every: int = LOG_EVERY,
    sample_every: int | None = None,
    checkpoint_every: int = CHECKPOINT_EVERY,
    overwrite: bool = False,
    progress: bool = True,
) -> Run:
    """Train a game on data in a run folder (out; by default one in runs/), and return the run. See Run for the options."""
    if out is None:
        out = default_run_dir(data if isinstance(data, str) else as_dataset(data).name)
    run = Run(
        game,
        data,
        out,
        steps=steps,
        batch_size=batch_size,
        seed=seed,
        log_every=log_every,
        sample_every=sample_every,
        checkpoint_every=checkpoint_every,
        overwrite=overwrite,
    )
    run.train(progress)
    return run
