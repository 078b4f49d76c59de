"""The loop of training: steps, progress, samples, log, checkpoints, for any game and any data."""

from __future__ import annotations

import math
import os
import shlex
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from minigan.backends import Array
from minigan.capture import capture
from minigan.data import Batches, Dataset, as_dataset, load
from minigan.distributed import Communicator, world
from minigan.errors import CheckpointError, DivergenceError, MiniganError, ModelError, OptionError, RankError
from minigan.forked import forked
from minigan.games import Game
from minigan.training import checkpoint
from minigan.training.busy_cores import BusyCores
from minigan.training.demands import RUN_OPTIONS, check_game, checked_options, keep_apart, rehearse, samples_per_step
from minigan.training.divergence import find_divergence
from minigan.training.evaluation import Evaluation
from minigan.training.folder import (
    ANIMATION,
    CURVES,
    MADE_FROM,
    SAMPLES,
    RunFolder,
    UnwrittenFolder,
    check_settings_file,
    default_run_dir,
    made_from_python,
)
from minigan.training.messages import Hints, ProgressBar, as_html, headline, print_now, python_hints, tell
from minigan.training.monitor import Monitor, NoMonitor, as_floats
from minigan.training.plots import rows_of_classes
from minigan.training.settings import CHECKPOINT_EVERY, LOG_EVERY
from minigan.training.shares import check_alike, check_same_state, check_share, processes_for
from minigan.training.verdict import verdict

APART = "ranks have come apart: a part of the user's own leaves out Backend.all_mean, or draws on each rank by itself"

SNAPSHOT_STEPS = 100  # how often the state is kept in memory, to find where numbers stopped being finite
PICTURED = 32  # samples of the data, evenly spread over it, of which a game's own pictures are made
SYMBOLS = {"loss_d": "L_D", "loss_g": "L_G", "prob_real": "D(x)", "prob_fake": "D(G(z))"}  # of statistics, in the progress bar
SYMBOLS |= {"score_real": "s(x)", "score_fake": "s(G(z))", "penalty": "P"}


class Run:
    """One training run in its folder. Run(game, data, out, …).train() starts it, Run.resume(out, …).train() goes on with it.

    game: any game (networks, optimizers, stats, step, sample, state_dict, random_state; see minigan.games), such as a GAN of
    two networks of your own. data: a Dataset, the name of one or a path as `minigan train --data` takes it, or an array:
    images (N, H, W, C), uint8 or floats in [0, 1] or [−1, 1], or points (N, 2). out: the folder, see minigan.training.folder;
    only one run at a time can be in it.
    steps, batch_size: how long, and how many samples in a step. seed: of the order of the data and of the samples shown.
    log_every, sample_every, evaluate_every, checkpoint_every: in steps; sample_every=None: about 24 pictures a run;
    evaluate_every=None: never, else see minigan.training.evaluation.
    overwrite: replace the run that the folder holds; files that a run would not write stay. settings: what config.json says,
    plain JSON; by default the options above.
    title: what its networks are called in its first line; by default the game's type.
    hints: what the run tells its user to type. log: where its lines go.
    ranks: the processes that share each batch, by default all that an MPI launcher started together (mpiexec -n 4 …). Each must
    make the run alike; rank 0 alone writes into the folder, draws and tells. minigan.distributed.ALONE: this one by itself.

    Raises MiniganError, before anything is written, for a game and data that do not fit together and for a folder that
    already holds a run or files of such names (unless overwrite), or links in their place; `train` raises MiniganError where
    another process has the folder, and DivergenceError when a number stops being finite.
    """

    def __init__(
        self,
        game: Game,
        data: Dataset | str | Any,
        out: str | Path | RunFolder,
        *,
        steps: int,
        batch_size: int,
        seed: int = 0,
        log_every: int = LOG_EVERY,
        sample_every: int | None = None,
        evaluate_every: int | None = None,
        checkpoint_every: int = CHECKPOINT_EVERY,
        overwrite: bool = False,
        settings: Mapping[str, Any] | None = None,
        title: str = "",
        hints: Callable[[Path], Hints] = python_hints,
        log: Callable[[str], None] = print_now,
        ranks: Communicator | None = None,
    ) -> None:
        if not isinstance(game, Game):
            raise ModelError(f"game is a {type(game).__name__}: expected a game, as mg.GAN(G, D)")
        self.ranks = world() if ranks is None else ranks
        self._leads = self.ranks.rank == 0  # writes, draws and tells, for all ranks
        self.files = out if isinstance(out, RunFolder) else RunFolder(out)
        self.files = self.files if self._leads else UnwrittenFolder(self.files)
        self.game, self.log = game, log if self._leads else _keep_silent
        with self.ranks.in_turn():
            self.dataset = load(data, labels=game.classes > 0)
        check_game(game, self.dataset)
        options = (steps, batch_size, seed, log_every, sample_every, evaluate_every, checkpoint_every)
        self.options: dict[str, Any] = checked_options(dict(zip(RUN_OPTIONS, options, strict=True)))
        size = self.options["batch_size"]
        count = samples_per_step(game, self.dataset, size)
        check_share(self.ranks, game, size)
        self.settings: dict[str, Any] = self._own_settings() if settings is None else dict(settings)
        check_alike(self.ranks, game, self.dataset, self.settings)
        parts = game.batches_per_step
        self.batches = Batches(self.dataset, count, game.backend, game.dtype, seed, game.classes > 0, self.ranks, parts)
        with game.backend.over(self.ranks):
            rehearse(game, self.batches.batch_size // parts)
        self.monitor = Monitor(game, self.dataset, seed) if self._leads else NoMonitor(game)
        evaluates = self.options["evaluate_every"] and self._leads
        self.evaluation = Evaluation(game, self.dataset, seed) if evaluates else None
        measured = self.evaluation.columns if self.evaluation else ()
        self.log_columns = ("step", "epoch", *game.stats, "images_per_s", "seconds", *self.monitor.columns, *measured)
        self.processes = 1 if self.ranks.size > 1 else processes_for(game, size)
        self._title, self._hints = title or type(game).__name__, hints
        self.replaces = overwrite
        keep_apart(self.folder / SAMPLES, self.dataset.name)
        if not overwrite and not self.files.takes_free_name:  # another start may yet take the name that is free now
            self._refuse_content()
        self._set_out()

    def _set_out(self) -> None:
        """What a run knows of itself before its first step."""
        self.step = 0
        self.last_stats: dict[str, float] = {}
        self._good: dict[str, Any] = {}  # the last state known to be whole and finite
        self._is_torn = False  # True while the game may have left it
        self._saved: Mapping[str, Any] = {}  # step and settings of the checkpoint
        self._stamp: tuple[int, int, int] | None = None  # of the checkpoint as this run knows it
        self._pending: list[dict[str, Array]] = []
        # Steps since the last row of the log that was due, and the sums of their statistics.
        self._partial = (0, np.zeros(len(self.game.stats)))
        self._bar = ProgressBar(0, 0, is_shown=False)
        self._since, self._cores = time.perf_counter(), BusyCores(self.game.backend)
        self._stop = False

    @classmethod
    def resume(
        cls,
        out: str | Path,
        *,
        game: Game,
        data: Dataset | str | Any,
        steps: int | None = None,
        log_every: int | None = None,
        sample_every: int | None = None,
        evaluate_every: int | None = None,
        checkpoint_every: int | None = None,
        log: Callable[[str], None] = print_now,
    ) -> Run:
        """The run in a folder, as its checkpoint left it, of a game like the one it began with and of the same data.

        The checkpoint holds the state of the game, not its networks: build these as before and give them here; what they hold
        is overwritten. steps: a longer length. log_every, sample_every, evaluate_every, checkpoint_every: in place
        of those that it began with.
        Without these, the run ends in the same bytes as one that was never interrupted.
        Raises CheckpointError if the checkpoint is missing or damaged, or of another game or other data.
        """
        files = RunFolder(out)
        folder = files.path
        stamp = files.stamp()
        arrays, info = checkpoint.load(files.checkpoint)
        settings = info["config"]
        if not made_from_python(settings):
            command = f"minigan train --resume --out {shlex.quote(str(folder))}"
            raise CheckpointError(f"the run in {folder} was started by the command line: go on with it by {command}")
        check_settings_file(folder, settings)
        missing = [name for name in (*RUN_OPTIONS, "backend", "dtype") if name not in settings]
        if missing:
            raise CheckpointError(f"{folder}: the settings in its checkpoint lack {', '.join(missing)}; take an earlier copy")
        given = {"steps": steps, "log_every": log_every, "sample_every": sample_every}
        given |= {"evaluate_every": evaluate_every, "checkpoint_every": checkpoint_every}
        options: dict[str, Any] = {name: settings[name] if given.get(name) is None else given[name] for name in RUN_OPTIONS}
        run = cls(game, data, files, overwrite=True, log=log, **options)
        for name in ("backend", "dtype"):
            if run.settings[name] != settings[name]:
                raise CheckpointError(
                    f"the run in {folder} began with {name} {settings[name]}, and the game given has {run.settings[name]}: "
                    "build its networks as they were"
                )
        run.go_on_from(arrays, info, stamp)
        return run

    def go_on_from(self, arrays: Mapping[str, np.ndarray], info: Mapping[str, Any], stamp: Any) -> bool:
        """Take over what a checkpoint holds, which had this stamp (see RunFolder) before it was read.

        Returns False if the random streams start anew, because those of this game's backend are of another kind.
        Raises CheckpointError, changing nothing, if it is of another game or other data.
        """
        if info["dataset"] != self.dataset.digest_of(self.game.classes > 0):
            held = "values and labels" if self.game.classes else "values"
            raise CheckpointError(
                f"{self.dataset.name} does not hold the {held} that the run began with: put them back, or name the data that do"
            )
        if tuple(info["shape"]) != self.dataset.shape:
            raise CheckpointError(
                f"{self.files.checkpoint} is of samples of shape {tuple(info['shape'])}, and {self.dataset.name} holds "
                f"{self.dataset.shape}; take an earlier copy"
            )
        checkpoint.check_state(arrays, self.game.state_dict(), self.files.checkpoint)
        takes_streams = _tree_of(info["random"]) == _tree_of(self.game.random_state)
        if not takes_streams and info["config"].get("backend") == self.settings.get("backend"):
            raise CheckpointError(f"{self.files.checkpoint} holds random streams of another game: take an earlier copy")
        self._check_length(info["step"])
        state = {**info, "arrays": arrays} if takes_streams else {**info, "arrays": arrays, "random": self.game.random_state}
        self._check_position(state)
        self.replaces, self._stamp, self._saved = False, stamp, {"step": info["step"], "config": info["config"]}
        self._restore(state)
        return takes_streams

    def _refuse_content(self) -> None:
        """Raises MiniganError if the folder holds what this run would replace."""
        content = self.files.content()
        if content:
            hint = self.hints.replace if content == "a run" else self.hints.replace_files
            raise MiniganError(f"{self.folder} already holds {content}: {hint}")

    def _check_position(self, info: Mapping[str, Any]) -> None:
        """Raises CheckpointError unless game and batches accept the random state and the place in the data as they are."""
        random, place = self.game.random_state, self.batches.state
        try:
            self.game.random_state, self.batches.state = info["random"], info["data"]
            taken = self.game.random_state == info["random"] and self.batches.state == info["data"]
            sums = (info.get("partial") or {}).get("sums")
            taken = taken and (sums is None or len(sums) == len(self.game.stats))
            taken = taken and info["step"] == self.batches.epoch * self.batches.per_epoch + self.batches.batch
        except (ValueError, TypeError, LookupError, ArithmeticError, AttributeError):
            taken = False
        finally:
            self.game.random_state, self.batches.state = random, place
        if not taken:
            raise CheckpointError(
                f"{self.files.checkpoint}: its random state, its place in the data or its sums of statistics are not "
                f"those of this run after step {info['step']:,}; take an earlier copy"
            )

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
    def folder(self) -> Path:
        return self.files.path

    @property
    def hints(self) -> Hints:
        return self._hints(self.folder)

    @property
    def total_steps(self) -> int:
        return self.options["steps"]

    @property
    def sample_every(self) -> int:
        """Steps between pictures; at steps of the log, so that all its rows are means over equally many steps."""
        log_every: int = self.options["log_every"]
        return self.options["sample_every"] or log_every * max(1, round(self.total_steps / 24 / log_every))

    def train(self, progress: bool = True, steps: int | None = None) -> bool:
        """Run to the last step. Returns False if Ctrl-C (or SIGTERM) ended it early; the state is saved either way.

        Called again, it goes on where it ended. progress: show a bar, in a notebook as in a terminal. steps: a longer length.
        """
        if steps is not None and steps != self.total_steps:
            self._set_length(steps)
        total = self.total_steps
        with self._stop_on_signal(), self.files.claim(self._log), self.ranks.watched(self._how_to_go_on):
            self.files.path = self.ranks.gather(self.files.path)[0]  # whose name may have been taken until now
            check_same_state(self.ranks, self.game, self.step)
            self._open_folder()
            sharing = {"ranks": self.ranks.size, "processes": self.processes}
            self._log(headline(self.game, self.dataset, self._title, self.options["batch_size"], total, sharing))
            if self.ranks.is_launched:
                self._log(f"to stop after a step: kill -INT {os.getpid()}; Ctrl-C may go back to the last row of the log")
            for note in self.dataset.notes:
                self._log(note)
            if self.step >= total:
                self._draw_pictures()
                self._log(f"{self.folder} has its {self.step:,} steps already: {self.hints.lengthen}")
                self._log_verdict()
                return True
            self._bar = ProgressBar(total, self.step, is_shown=progress and self._leads)
            try:
                with self._sharing_batches():
                    self._loop()
            finally:
                self._stamp = self.files.stamp()  # while no one else can write it
                self._bar.close()
        if self.step < total:
            self._log(f"stopped after step {self.step:,} of {total:,}, saved; go on with: {self.hints.resume}")
        else:
            self._log(
                f"done: {self.folder / SAMPLES}, {ANIMATION}, {CURVES}; more {self.dataset.kind.counted}: {self.hints.sample}"
            )
        self._log_verdict()
        return self.step == total

    def _log_verdict(self) -> None:
        if self._leads:
            self._log(verdict(self.folder))

    def _how_to_go_on(self) -> str:
        return f"step {self._saved['step']:,} is saved, go on with: {self.hints.resume}"

    def _check_length(self, done: int) -> None:
        if self.total_steps < done:
            raise OptionError(f"steps is {self.total_steps:,}, and the run in {self.folder} has {done:,} already: name more")

    def _set_length(self, steps: int) -> None:
        schedule = self.settings.get("schedule", "constant")
        if schedule != "constant":
            raise OptionError(f"the {schedule} schedule was laid out for {self.total_steps:,} steps: it cannot become longer")
        before, self.options["steps"] = self.total_steps, steps
        try:
            self.options = checked_options(self.options)
            self._check_length(self.step)
        except OptionError:
            self.options["steps"] = before
            raise
        self.settings |= {"steps": self.total_steps} | ({"epochs": None} if "epochs" in self.settings else {})

    @contextmanager
    def _sharing_batches(self) -> Iterator[None]:
        """With copies of this process as further ranks, where they take the steps sooner than its threads would."""
        with forked(self.processes) as ranks:
            if ranks.size == 1:
                yield
                return
            ours, whole = self.ranks, self.batches
            self._take_part(ranks)
            self.batches = whole.shared_by(ranks)
            try:
                yield
            finally:
                whole.state = self.batches.state
                self.ranks, self.batches = ours, whole

    def _take_part(self, ranks: Communicator) -> None:
        """As one of these ranks. All but the first write, draw and tell nothing."""
        self.ranks, self._leads = ranks, ranks.rank == 0
        if not self._leads:
            self.files, self.log = UnwrittenFolder(self.files), _keep_silent
            self.monitor, self.evaluation = NoMonitor(self.game), None
            self._bar.silence()
            # For good, for no copy leaves the run: the first tells it, and a thread may have held tqdm's lock as it was copied.
            warnings.simplefilter("ignore")

    def _loop(self) -> None:
        total = self.total_steps
        self._good, self._is_torn = self._state(), True
        try:
            if self.step == 0:
                self._draw(self._save_samples)
            step = capture(self.game, self.batches, self._log)
            self._since = time.perf_counter()
            # Overflows are looked for where it is decided what to do about them; NumPy's warnings would only add noise.
            with np.errstate(all="ignore"):
                while self.step < total and not self.ranks.any(self._stop):
                    if any(self._due(self.step + 1)):
                        self.monitor.snapshot()
                    self._pending.append(step())
                    self.step += 1
                    self._cores.step()
                    self._bar.update()
                    self._write_what_is_due()
                self._write_log()
                check_same_state(self.ranks, self.game, self.step, APART)
                self._save_checkpoint()
        except RankError:  # of all ranks: what was saved last is the last that they had in common
            self.ranks.barrier()
            raise
        except DivergenceError:
            with suppress(MiniganError):  # the first error is the one to tell
                self.files.cut(self.step - 1)  # it may be found at a later step than that where it began
                nothing = dict.fromkeys(self.game.stats, math.nan)
                self.files.append_row({"step": self.step, "epoch": self.batches.epoch, **nothing})
            self._draw(self.files.save_pictures)
            self.ranks.barrier()  # all have found it, and the first to end would end the others
            raise
        except BaseException as error:
            self._rescue(error)
            raise
        self._is_torn = False
        self._draw_pictures()

    def _rescue(self, error: BaseException) -> None:
        """Save the last good state before an error ends the run. The steps after it are lost: the error may have left them
        half done.
        """
        reached = self.step
        with suppress(Exception):  # the disk may be full: what was saved before stays
            self._go_back()
            if self._leads and self.step > self._saved["step"]:
                self._save_checkpoint()
        stopped = f"stopped after step {reached:,} by {type(error).__name__}"
        self.ranks.tell(stopped, str(error), self._how_to_go_on(), self._log)

    def _go_back(self) -> None:
        """To the last good state, if the game may have left it."""
        if self._is_torn:
            self._restore(self._good)
            self._is_torn = False

    def _log(self, text: str) -> None:
        """A line that may get lost: a run does not end because nobody can read what it says."""
        self._bar.clear()
        tell(self.log, text)

    def _draw(self, draw: Callable[[], None], what: str = "a picture") -> None:
        """Make pictures. The run is worth more than they are: where one cannot be made, it says so and goes on."""
        if not self._leads:
            return
        try:
            draw()
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            self._log(f"{what} of step {self.step:,} is missing: {reason[:200]}")

    def _draw_pictures(self) -> None:
        """What is shown of the run as a whole, and of the game as it is now."""
        self._draw(self.files.save_pictures)
        places = np.linspace(0, len(self.dataset) - 1, min(PICTURED, len(self.dataset))).round().astype(int)

        def draw() -> None:
            real = as_floats(self.dataset.values[places], self.dataset, self.game.dtype)
            for name, picture in self.game.pictures(real).items():
                self.files.save_picture(name, self.dataset.kind, picture, self.dataset.values)

        self._draw(draw)

    @contextmanager
    def _stop_on_signal(self) -> Iterator[None]:
        """Let the first Ctrl-C, SIGTERM or SIGHUP finish the step; another Ctrl-C ends at once.

        A signal that is ignored stays so: under nohup, a run outlives its terminal.
        """

        def handle(number: int, frame: Any) -> None:
            if self._stop and number == signal.SIGINT:
                raise KeyboardInterrupt
            if not self._stop and self.ranks.is_launched and self._leads:
                self._save_if_killed()
            self._stop = True

        try:
            if threading.current_thread() is not threading.main_thread():
                yield  # only the main thread may set handlers; others are not interrupted
                return
            numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
            before = {number: signal.getsignal(number) for number in numbers}
            changed = {number: old for number, old in before.items() if old not in (signal.SIG_IGN, None)}  # None: not Python's
            try:
                for number in changed:
                    signal.signal(number, handle)
                yield
            finally:
                for number, old in changed.items():
                    signal.signal(number, old)
        finally:
            self._stop = False  # in a notebook, train may be called again

    def _save_if_killed(self) -> None:
        """Leave a process behind that saves the last good state if this one ends without having saved.

        Open MPI's mpiexec hands Ctrl-C on to its ranks and kills them a quarter of a second later, in the midst of a step.
        """
        run = os.getpid()
        if not hasattr(os, "fork") or os.fork():
            return
        with suppress(BaseException):  # nobody is left to be told
            os.setsid()  # out of the launcher's reach
            while os.getppid() == run and self.files.stamp() == self._stamp:
                time.sleep(0.05)
            if self._good["step"] > self._saved["step"] and self.files.stamp() == self._stamp:
                self.files.save_checkpoint(self._good)
        os._exit(0)

    # -- what is written -----------------------------------------------------------------------------------------------

    def _due(self, step: int) -> tuple[bool, bool, bool]:
        """Whether a row of the log, samples and a checkpoint are due after this step; each of the last two brings a row too."""
        every = (self.options["log_every"], self.sample_every, self.options["checkpoint_every"])
        log, sample, save = (step == self.total_steps or step % steps == 0 for steps in every)
        return log or self._evaluates(step), sample, save

    def _evaluates(self, step: int) -> bool:
        every = self.options["evaluate_every"]
        return bool(every) and (step == self.total_steps or step % every == 0)

    def _measured(self) -> dict[str, float]:
        """Figures of samples, where they are due. The run is worth more than they are, as with pictures."""
        found: dict[str, float] = {}
        evaluation = self.evaluation
        if evaluation is not None and self._evaluates(self.step):
            self._draw(lambda: found.update(evaluation.measure()), "an evaluation")
        return found

    def _write_what_is_due(self) -> None:
        due = _, sample, save = self._due(self.step)
        if any(due):
            self._write_log()  # first, for it sees whether there is anything worth showing or saving
            if advice := self._cores.advice():
                self._log(advice)
        if sample:
            self._draw(self._save_samples)
        if save and self.step < self.total_steps:
            check_same_state(self.ranks, self.game, self.step, APART)
            self._save_checkpoint()
        elif any(due) and self.step - self._good["step"] >= (1 if self.ranks.is_launched else SNAPSHOT_STEPS):
            self._good = self._finite_state()
        if sample or save:
            self._cores.begin()

    def _open_folder(self) -> None:
        """Write the first checkpoint and the configuration, and clear out what an old run left.

        The checkpoint goes first: whatever happens later, the folder holds a run that can be resumed.
        """
        stamp = self.files.stamp()
        if not self.replaces and self._stamp is None:
            self._refuse_content()
        elif not self.replaces and stamp not in (None, self._stamp):
            raise CheckpointError(f"the run in {self.folder} has gone on in another process since it was read: read it again")
        self._go_back()
        # The row of a step at which the run was stopped is not one that an uninterrupted run has.
        last = self.step - 1 if self._partial[0] else self.step
        rows = [] if self.replaces else self.files.rows_to_keep(self.log_columns, last)  # before anything is written
        is_new = self.replaces or stamp is None or self.settings != self._saved["config"]
        self.files.prepare(forgets=is_new)
        if is_new:
            self._save_checkpoint()
        self.files.open(self.settings, self.log_columns, rows, last, self.replaces)
        self.replaces = False

    def _write_log(self) -> None:
        """Bring the statistics of the last steps over from the device, see that all are finite, and log their mean."""
        if not self._pending:
            return
        be, names, count = self.game.backend, tuple(self.game.stats), len(self._pending)
        pending = be.xp.stack([stats[name] for stats in self._pending for name in names])
        numbers = be.to_numpy(be.xp.concatenate([pending, self.monitor.measure()])).astype(np.float64)  # one transfer for all
        values, measured = numbers[: pending.size].reshape(-1, len(names)), numbers[pending.size :]
        self.ranks.all_mean(values)
        elapsed = time.perf_counter() - self._since
        self._pending = []
        before, sums = self._partial
        if not np.isfinite(values).all():
            self._find_divergence()
        self._partial = (before + count, sums + values.sum(axis=0))
        self.last_stats = dict(zip(names, (self._partial[1] / self._partial[0]).tolist(), strict=True))
        speed = count * self.batches.batch_size * self.ranks.size / max(elapsed, 1e-9)
        cells = {"step": self.step, "epoch": self.batches.epoch, "images_per_s": f"{speed:.6g}", "seconds": f"{elapsed:.4g}"}
        cells |= {name: f"{value:.6g}" for name, value in self.last_stats.items()}
        columns = zip(self.monitor.columns, measured, strict=True)
        cells |= {name: f"{value:.6g}" for name, value in columns if not math.isnan(value)}
        cells |= {name: f"{value:.6g}" for name, value in self._measured().items()}
        self.files.append_row(cells)
        if any(self._due(self.step)):
            self._partial = (0, np.zeros(len(names)))
        shown = {SYMBOLS.get(name, name): f"{value:.3f}" for name, value in self.last_stats.items()}
        self._bar.show({**shown, "images/s": f"{speed:,.0f}"})
        self._since = time.perf_counter()

    def _save_samples(self) -> None:
        since = time.perf_counter()
        kind, seed = self.dataset.kind, self.options["seed"]
        if self.game.classes:  # a row for each
            numbers, columns = rows_of_classes(self.game.classes)
            self.files.save_samples(
                self.step, kind, self.game.sample(len(numbers), seed, numbers), self.dataset.values, columns
            )
        else:
            self.files.save_samples(self.step, kind, self.game.sample(kind.shown, seed), self.dataset.values)
        self._since += time.perf_counter() - since  # the log's images/s is that of training alone

    def _save_checkpoint(self) -> None:
        state = self._finite_state()
        self.files.flush_log()
        self.files.save_checkpoint(state)
        self._stamp, self._saved = self.files.stamp(), {"step": self.step, "config": dict(self.settings)}
        self._good = state

    # -- state ---------------------------------------------------------------------------------------------------------

    def _state(self) -> dict[str, Any]:
        """All that decides how the run goes on: arrays on the host, and plain JSON."""
        steps, sums = self._partial
        return {
            "arrays": self.game.state_dict(),
            "step": self.step,
            "data": self.batches.state,
            "random": self.game.random_state,
            "config": self.settings,
            "shape": list(self.dataset.shape),
            "kind": self.dataset.kind.to_json(),
            "dataset": self.dataset.digest_of(self.game.classes > 0),
            **({"partial": {"steps": steps, "sums": sums.tolist()}} if steps else {}),
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
        begun = state.get("partial", {"steps": 0, "sums": [0.0] * len(self.game.stats)})
        self._partial, self._pending = (begun["steps"], np.array(begun["sums"], np.float64)), []

    def _find_divergence(self) -> NoReturn:
        """Go back to the last good state in memory and look for the first bad number; self.step is then its step."""
        if not self._good:
            raise DivergenceError("before the first step, an array of the game is not finite: give it finite weights")
        last, good = self.step, self._good["step"]
        self._restore(self._good)
        found = find_divergence(self.game, self.batches, last - good)
        if found is None:
            self.step = last
            raise DivergenceError(f"step {last}: a statistic or an average is not finite; the steps from {good} show no cause")
        self.step = good + found[0]
        raise DivergenceError(
            f"step {self.step:,}: {found[1]}; the last good checkpoint stays in {self.files.checkpoint}. "
            f"Try a smaller learning rate{' or lighter penalties' if getattr(self.game, 'penalties', ()) else ''}"
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
    evaluate_every: int | None = None,
    checkpoint_every: int = CHECKPOINT_EVERY,
    overwrite: bool = False,
    progress: bool = True,
) -> Run:
    """Train a game on data in a run folder (out; by default one in runs/), and return the run. See Run for the options."""
    name = os.fspath(data) if isinstance(data, (str, os.PathLike)) else as_dataset(data).name
    run = Run(
        game,
        data,
        RunFolder(out, partial(default_run_dir, name)),
        steps=steps,
        batch_size=batch_size,
        seed=seed,
        log_every=log_every,
        sample_every=sample_every,
        evaluate_every=evaluate_every,
        checkpoint_every=checkpoint_every,
        overwrite=overwrite,
    )
    run.train(progress)
    return run


def _keep_silent(text: str) -> None:
    """The log of a rank that does not lead."""


def _tree_of(value: Any) -> Any:
    """The names in nested dictionaries, without the values below them."""
    return {name: _tree_of(below) for name, below in value.items()} if isinstance(value, Mapping) else None
