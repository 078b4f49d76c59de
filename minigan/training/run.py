"""The loop: epochs, progress, samples, log, checkpoints. What a run is made of stands in its folder:

config.json, log.csv, samples/step_000000.png …, progress.gif, curves.png, checkpoint.safetensors.
"""

from __future__ import annotations

import json
import math
import os
import shlex
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from minigan.backends import Array, get_backend
from minigan.data import Batches, load
from minigan.errors import CheckpointError, DivergenceError, MiniganError
from minigan.files import PART, write_atomically
from minigan.layers import Layer
from minigan.training import checkpoint, plots
from minigan.training.config import Config, with_absolute_paths
from minigan.training.folder import CHECKPOINT, CONFIG, CURVES, FILM, LOG, SAMPLES, columns_of, holds_run, read_log
from minigan.training.monitor import Monitor
from minigan.training.recipes import build_game

STATS = ("loss_d", "loss_g", "prob_real", "prob_fake")
LOG_COLUMNS = ("step", "epoch", *STATS, "images_per_s", "seconds")
SNAPSHOT_STEPS = 100  # how often the state is kept in memory, to find where numbers stopped being finite
SAMPLED = {"images": 64, "points": 2000}


def say_at_once(text: str) -> None:
    """Print a line that is seen even where standard output is a file or a pipe."""
    print(text, flush=True)


class Run:
    """One training run in its folder. Run(config, folder).train() starts it, Run.resume(folder).train() goes on with it.

    Raises MiniganError, before anything is written, for a configuration that cannot be run and for a folder that already
    holds a run (unless overwrite); DivergenceError when a number stops being finite.
    """

    def __init__(
        self, config: Config, folder: str | Path, *, overwrite: bool = False, say: Callable[[str], None] = say_at_once
    ) -> None:
        self.folder, self.say = Path(folder), say
        if self.folder.exists() and not self.folder.is_dir():
            raise MiniganError(f"{folder} is a file: name a folder for the run")
        backend = get_backend(config.backend, config.precision)  # first, so that a missing GPU is said before data are read
        self.dataset = load(config.data, config.data_dir, config.image_size)
        paths = with_absolute_paths({"data": config.data, "data_dir": config.data_dir, "model": config.model})
        self.config = config = replace(config, backend=backend.name, **paths)
        config.resolve(self.dataset)
        assert config.batch_size is not None
        self.batches = Batches(self.dataset, config.batch_size, backend, config.dtype, config.seed)
        self.total_steps = config.steps or (config.epochs or 0) * self.batches.per_epoch
        # Pictures at steps of the log, so that all its rows are means over equally many steps.
        self.sample_every = config.sample_every or config.log_every * max(1, round(self.total_steps / 24 / config.log_every))
        self.gan = build_game(config, self.dataset.shape, self.total_steps)
        self._rehearse()
        self.monitor = Monitor(self.gan, self.dataset, config.seed)
        self.log_columns = (*LOG_COLUMNS, *self.monitor.columns)
        self.step = 0
        self.replaces = overwrite
        if os.path.isdir(config.data) and self.folder.resolve().is_relative_to(config.data):
            raise MiniganError(f"the run folder {folder} lies within the data {config.data}: choose another --out")
        if not overwrite and holds_run(self.folder):
            raise MiniganError(
                f"{folder} already holds a run: --resume continues it, --overwrite replaces it, --out names another"
            )
        self._good: dict[str, Any] = {}
        self._pending: list[dict[str, Array]] = []
        self._since = time.perf_counter()
        self._stop = False

    @classmethod
    def resume(
        cls, folder: str | Path, *, changes: Mapping[str, Any] | None = None, say: Callable[[str], None] = say_at_once
    ) -> Run:
        """The run of a folder, as its checkpoint left it.

        changes: a longer `steps` or `epochs`; other settings may be named again, but not changed.
        Raises CheckpointError if the checkpoint is missing, damaged or of another model than config.json says.
        """
        folder = Path(folder)
        arrays, info = checkpoint.load(folder / CHECKPOINT)
        config = Config.from_json(info["config"])
        _same_as_config_file(folder, config)
        longer = {name: value for name, value in (changes or {}).items() if name in ("steps", "epochs")}
        for name, value in with_absolute_paths(changes or {}).items():
            if name not in longer and getattr(config, name) != value:
                raise CheckpointError(f"the run in {folder} has {name} {getattr(config, name)!r}, not {value!r}: leave it out")
        if longer:
            if config.schedule != "constant":
                length = f"{config.steps} steps" if config.steps else f"{config.epochs} epochs"
                raise CheckpointError(f"the {config.schedule} schedule of {folder} was laid out for {length}")
            config.steps, config.epochs = longer.get("steps"), longer.get("epochs")
        run = cls(config, folder, overwrite=True, say=say)
        run.replaces = False
        run._restore({"arrays": arrays, **info})
        return run

    # -- the loop ------------------------------------------------------------------------------------------------------

    def train(self, progress: bool = True) -> bool:
        """Run to the last step. Returns False if Ctrl-C (or SIGTERM) ended it early; the state is saved either way."""
        from tqdm import tqdm

        total = self.total_steps
        with self._stop_on_signal():
            self._open_folder()
            self.say(self.headline())
            if self.step >= total:
                self._save_pictures()
                self.say(f"{self.folder} has its {self.step:,} steps already: --steps names a larger number")
                return True
            with tqdm(
                total=total, initial=self.step, unit="step", disable=not progress, mininterval=0.3, dynamic_ncols=True
            ) as bar:
                self._loop(bar)
        folder = shlex.quote(str(self.folder))
        if self.step < total:
            self.say(f"stopped after step {self.step:,} of {total:,}, saved; go on with: minigan train --resume --out {folder}")
            return False
        self.say(f"done: {self.folder / SAMPLES}, {FILM}, {CURVES}; more images: minigan sample {folder} -n 64 --out more.png")
        return True

    def _loop(self, bar: Any) -> None:
        total = self.total_steps
        self._good = self._state()
        if self.step == 0:
            self._save_samples()
        step = self.gan.backend.capture(self._step, partial(self._say_beside, bar))
        self._since = time.perf_counter()
        try:
            # Overflows are looked for where it is decided what to do about them; NumPy's warnings would only add noise.
            with np.errstate(all="ignore"):
                while self.step < total and not self._stop:
                    if any(self._due(self.step + 1)):
                        self.monitor.remember()
                    self._pending.append(step())
                    self.step += 1
                    bar.update()
                    self._write_what_is_due(bar)
                self._write_log(bar)
                self._save_checkpoint()
        except MiniganError as error:
            with suppress(MiniganError):  # the first error is the one to tell
                if isinstance(error, DivergenceError):
                    own = {"step": self.step, "epoch": self.batches.epoch, **dict.fromkeys(STATS, math.nan)}
                    self._append_to_log([own.get(name, "") for name in self.log_columns])
                self._save_pictures()
            raise
        self._save_pictures()

    def _step(self) -> dict[str, Array]:
        return self.gan.step(self.batches.next())

    def _say_beside(self, bar: Any, text: str) -> None:
        bar.clear()
        self.say(text)

    def _rehearse(self) -> None:
        """One forward pass of a batch on copies of both networks: what they refuse is refused before anything is written."""
        gan, shape = self.gan, (self.batches.batch_size, *self.dataset.shape)
        gan.discriminator.clone().forward(gan.backend.zeros(shape, gan.generator.dtype), train=True)
        gan.generator.clone().forward(gan.backend.zeros((shape[0], gan.latent_dim), gan.generator.dtype), train=True)

    def headline(self) -> str:
        """The first line of a run: device, backend, model and data sizes."""
        gan, config = self.gan, self.config
        size = "x".join(map(str, self.dataset.shape))
        kind = "images" if self.dataset.is_images else "points"
        counts = f"G {gan.generator.num_params:,} + D {gan.discriminator.num_params:,} parameters"
        precision = "" if config.precision == "float32" else f" with {config.precision} products"
        return (
            f"{gan.backend.device} | backend {gan.backend.name} | {config.model} {config.dtype}{precision}, {counts} | "
            f"{config.data}: {len(self.dataset):,} {kind} {size} | batch {config.batch_size}, {self.total_steps:,} steps"
        )

    @contextmanager
    def _stop_on_signal(self) -> Iterator[None]:
        """Let the first Ctrl-C or SIGTERM finish the step; a second Ctrl-C ends at once."""

        def handle(number: int, frame: Any) -> None:
            if self._stop:
                raise KeyboardInterrupt
            self._stop = True

        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread may set handlers; others are not interrupted
            return
        before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, old in before.items():
                signal.signal(number, old)

    # -- what is written -----------------------------------------------------------------------------------------------

    def _due(self, step: int) -> tuple[bool, bool, bool]:
        """Whether a row of the log, samples and a checkpoint are due after this step; each of the last two brings a row too."""
        every = (self.config.log_every, self.sample_every, self.config.checkpoint_every)
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
        try:
            (self.folder / SAMPLES).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise MiniganError(f"cannot make {self.folder}: {error.strerror}") from None
        if self.replaces:
            (self.folder / CONFIG).unlink(missing_ok=True)  # a checkpoint without it resumes; one beside another's does not
        if self.step == 0:
            self._save_checkpoint()
        for name in (LOG, CURVES, FILM) if self.replaces else ():
            (self.folder / name).unlink(missing_ok=True)
        for frame in self._frames():
            if self.replaces or int(frame.stem[5:]) > self.step:
                frame.unlink()
        for part in [*self.folder.glob(f".*{PART}"), *(self.folder / SAMPLES).glob(f".*{PART}")]:
            part.unlink()  # left by a process that was killed while it wrote
        write_atomically(self.folder / CONFIG, (json.dumps(self.config.to_json(), indent=1) + "\n").encode())
        rows = [row for row in read_log(self.folder / LOG) if int(row["step"]) <= self.step] if self.step else []
        # A log of an earlier version has fewer columns; the cells of the others stay empty.
        lines = [",".join(self.log_columns), *(",".join(row.get(name, "") for name in self.log_columns) for row in rows)]
        write_atomically(self.folder / LOG, ("\n".join(lines) + "\n").encode())

    def _frames(self) -> list[Path]:
        return sorted(path for path in (self.folder / SAMPLES).glob("step_*.png") if path.stem[5:].isdigit())

    def _write_log(self, bar: Any) -> None:
        """Bring the statistics of the last steps over from the device, see that all are finite, and log their mean."""
        if not self._pending:
            return
        be, count = self.gan.backend, len(self._pending)
        pending = be.xp.stack([stats[name] for stats in self._pending for name in STATS])
        numbers = be.to_numpy(be.xp.concatenate([pending, self.monitor.measure()])).astype(np.float64)  # one transfer for all
        values, health = numbers[: pending.size].reshape(-1, len(STATS)), numbers[pending.size :]
        elapsed = time.perf_counter() - self._since
        self._pending = []
        if not np.isfinite(values).all():
            self._find_divergence()
        means = dict(zip(STATS, values.mean(axis=0).tolist(), strict=True))
        speed = count * self.batches.batch_size / max(elapsed, 1e-9)
        own = [self.step, self.batches.epoch, *(f"{means[name]:.6g}" for name in STATS), f"{speed:.6g}", f"{elapsed:.4g}"]
        self._append_to_log([*own, *("" if math.isnan(value) else f"{value:.6g}" for value in health)])
        names = {"loss_d": "L_D", "loss_g": "L_G", "prob_real": "D(x)", "prob_fake": "D(G(z))"}
        shown = {names[name]: f"{means[name]:.3f}" for name in STATS}
        bar.set_postfix({**shown, "images/s": f"{speed:,.0f}"}, refresh=False)
        if self.step - self._good["step"] >= SNAPSHOT_STEPS:
            self._good = self._finite_state()
        self._since = time.perf_counter()

    def _append_to_log(self, cells: Sequence[Any]) -> None:
        try:
            with open(self.folder / LOG, "a", encoding="utf-8") as file:
                file.write(",".join(map(str, cells)) + "\n")
        except OSError as error:
            raise MiniganError(f"cannot write {self.folder / LOG}: {error.strerror}; the last checkpoint stays") from None

    def _save_samples(self) -> None:
        since = time.perf_counter()
        kind = "images" if self.dataset.is_images else "points"
        samples = self.gan.sample(SAMPLED[kind], seed=self.config.seed)
        path = self.folder / SAMPLES / f"step_{self.step:06d}.png"
        plots.save_samples(path, samples, None if self.dataset.is_images else self.dataset.values)
        self._since += time.perf_counter() - since  # the log's images/s is that of training alone

    def _save_pictures(self) -> None:
        rows = read_log(self.folder / LOG)
        if not rows:
            return
        plots.save_curves(self.folder / CURVES, columns_of(rows))
        plots.save_film(self.folder / FILM, self._frames())

    def _save_checkpoint(self) -> None:
        state = self._finite_state()
        checkpoint.save(self.folder / CHECKPOINT, state["arrays"], {k: v for k, v in state.items() if k != "arrays"})

    def _state(self) -> dict[str, Any]:
        """All that decides how the run goes on: arrays on the host, and plain JSON."""
        return {
            "arrays": self.gan.state_dict(),
            "step": self.step,
            "data": self.batches.state,
            "random": self.gan.random_state,
            "config": self.config.to_json(),
            "shape": list(self.dataset.shape),
            "dataset": self.dataset.digest,
        }

    def _finite_state(self) -> dict[str, Any]:
        state = self._state()
        if not all(np.isfinite(a).all() for a in state["arrays"].values()):
            self._find_divergence()
        return state

    def _restore(self, state: Mapping[str, Any]) -> None:
        if state["dataset"] != self.dataset.digest:
            raise CheckpointError(f"{self.config.data} has changed since the run began: put back the data it was made with")
        self.gan.load_state_dict(state["arrays"])
        self.gan.random_state = state["random"]
        self.batches.state = state["data"]
        self.step = state["step"]

    # -- when numbers stop being finite --------------------------------------------------------------------------------

    def _find_divergence(self) -> NoReturn:
        """Go back to the last good state in memory and repeat the steps, each array watched, until the first bad one.

        self.step is then that one.
        """
        last, gan = self.step, self.gan
        self._restore(self._good)
        nets = {
            "generator": (gan.generator, gan.optimizer_g),
            "discriminator": (gan.discriminator, gan.optimizer_d),
        }

        def look(name: str, layer: Layer, what: str, array: Array) -> None:
            if not bool(gan.backend.xp.isfinite(array).all()):
                raise DivergenceError(self._divergence(name, layer, what))

        for name, (net, _) in nets.items():
            net.watch = partial(look, name)
        while self.step < last:
            self.step += 1
            self._step()
            for name, (net, optimizer) in nets.items():
                for layer in net.layers:
                    for key, array in {**layer.params, **layer.state}.items():
                        look(name, layer, f"updated {key}", array)
                for key, vector in optimizer.state.items():
                    for layer, part in net.split(vector):
                        look(name, layer, f"the optimiser's {key}", part)
        raise DivergenceError(
            f"step {last}: a loss or an average is not finite; the steps from {self._good['step']} show no cause"
        )

    def _divergence(self, net: str, layer: Layer, what: str) -> str:
        kept = f"the last good checkpoint stays in {self.folder / CHECKPOINT}"
        return f"step {self.step:,}: {net}, {layer.label}: {what} is not finite; {kept}. Try a smaller learning rate (--lr)"


def _same_as_config_file(folder: Path, config: Config) -> None:
    """config.json must describe the checkpoint's run; what may differ is how long it is to be."""
    path = folder / CONFIG
    try:
        written = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(written, dict):
            raise ValueError("it holds no settings")
    except FileNotFoundError:
        return  # the checkpoint has all that is needed
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged ({error}): remove it, the checkpoint has its content") from None
    own, written = config.to_json(), {**Config().to_json(), **written}
    other = [name for name in own if name not in ("steps", "epochs") and written[name] != own[name]]
    if other:
        pairs = ", ".join(f"{name} {written[name]!r} against {own[name]!r}" for name in other)
        raise CheckpointError(f"{path} and {CHECKPOINT} are of different runs ({pairs}): put back the one that belongs here")
