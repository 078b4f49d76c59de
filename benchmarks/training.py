"""Whole trainings: `minigan train` beside the same training as a script for PyTorch.

Each is a process of its own, from an empty start to samples on disk, with the same first weights, batches, noise and steps.
"""

from __future__ import annotations

import json
import math
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import minigan as mg
from benchmarks.report import Result, cell, duration, markdown
from benchmarks.rounds import OURS, ROOT, BenchmarkError, Settings, environment, prove_same_work, ratio
from benchmarks.sides import SIDES
from benchmarks.sides.base import PROOF_STEPS, distances, first_losses
from benchmarks.tasks import game_task, in_full
from minigan.backends import stream
from minigan.data import Dataset
from minigan.evaluate import load_run, split
from minigan.games import GAN
from minigan.metrics import frechet
from minigan.metrics.reference import Reference
from minigan.training import CONFIG, LOG, OPTIONS, Config, build_game, read_log, read_settings

# The sides that have such a command.
TRAINED = ("numpy", "numpy-avx2", "torch", "torch-last", "torch-defaults", "torch-compile")
OF_RECIPE = ("batch_size", "width", "seed")  # the options of `minigan train` that both commands take
SAMPLES, SAMPLES_SEED = 5000, 0  # as `minigan evaluate RUN --samples 5000` draws them
MOST = 2  # times the recipe's own steps that the distance is looked for
WITHIN = 1.3  # times the wanted distance, which the samples of every run must reach
# How far the mean losses of the first row of a log may differ: rounding grows from step to step, another net is farther off.
ALIKE = 0.03


@dataclass(frozen=True)
class Asked:
    """What is to be trained, and how far.

    distance: the Fréchet distance to reach. steps: how many reach it, None to look for their number, every so many of them.
    options: of `minigan train`, those of OF_RECIPE that differ from the recipe's.
    """

    distance: float = 3.0
    steps: int | None = None
    every: int = 50
    options: Mapping[str, Any] = field(default_factory=dict)


class Trace(NamedTuple):
    """What a run left of itself: the steps that its optimisers took, its log, and how far G is from its average."""

    steps: list[int]
    rows: list[dict[str, str]]
    average: np.ndarray


class Work:
    """What all sides train: the recipe with some options, in a folder that holds what the script for PyTorch starts from."""

    def __init__(self, options: Mapping[str, Any], folder: Path) -> None:
        self.options, self.folder = options, folder
        self.config = Config(backend="numpy", **options)
        self.dataset: Dataset = self.config.load_data()
        self.config.resolve(self.dataset)
        reference = Reference(self.dataset, split(self.dataset, SAMPLES, SAMPLES_SEED).reference)
        self._reference, self._real = reference, reference.rows(reference.values)
        self.batch = self.config.batch_size or 1
        self.task = in_full(game_task("step", "recipe", self.batch, width=options.get("width", 0)))
        weights: dict[str, Any] = {
            f"{name}.{key}": a for name, net in self.game().networks.items() for key, a in net.state_dict().items()
        }
        np.savez(folder / "inputs.npz", values=self.dataset.values, **weights)

    def game(self) -> GAN:
        """The game before its first step."""
        game = build_game(self.config, self.dataset.shape, steps=1)
        assert isinstance(game, GAN)
        return game

    def distance(self, samples: np.ndarray) -> float:
        """The Fréchet distance of generated images from the digits, as `minigan evaluate` measures it."""
        return frechet(self._real, self._reference.rows(self._reference.kind.from_floats(samples)))

    def find_steps(self, asked: Asked, watch: Callable[[Sequence[int]], Iterable[int]]) -> tuple[int, list[tuple[int, float]]]:
        """(the first look at which the distance is reached and stays so at the next, all looks as (steps, distance)).

        The game is the one that the command trains, step by step. Raises BenchmarkError if it does not reach the distance.
        """
        game, most = self.game(), MOST * (self.config.steps or 1)
        step = mg.capture(game, mg.Batches(self.dataset, self.batch, game.backend, seed=self.config.seed))
        looks: list[tuple[int, float]] = []
        for at in watch(range(asked.every, most + 1, asked.every)):
            for _ in range(asked.every):
                step()
            looks.append((at, self.distance(game.sample(SAMPLES, SAMPLES_SEED))))
            if len(looks) > 1 and all(distance <= asked.distance for _, distance in looks[-2:]):
                return looks[-2][0], looks
        nearest = min((distance for _, distance in looks), default=math.inf)
        raise BenchmarkError(
            f"within {most:,} steps the Fréchet distance did not come to {asked.distance:g} and stay there for "
            f"{asked.every} more (the nearest was {nearest:.2f}): name a larger --distance, or the --steps"
        )

    # -- the commands --------------------------------------------------------------------------------------------------

    def command(self, side: str, steps: int, threads: int, out: Path, log_every: int | None = None) -> list[str]:
        """What a user would type; log_every: where it is not the usual one. out: a folder, still empty."""
        if SIDES[side].peer:
            job = self.write_job(side, steps, threads, out, log_every)
            return [sys.executable, "-m", "benchmarks.sides.torch_train", str(job)]
        options = {**self.options, "steps": steps, **({"log_every": log_every} if log_every else {})}
        words = [word for name, value in options.items() for word in (OPTIONS[name].flag, str(value))]
        return [sys.executable, "-m", "minigan", "train", *words, "--out", str(out)]

    def command_in_words(self, side: str, steps: int) -> str:
        """For the result: the command without the paths of this machine."""
        if SIDES[side].peer:
            return "python -m benchmarks.sides.torch_train JOB.json"
        return " ".join(["python", *self.command(side, steps, 0, Path("DIR"))[1:]])

    def write_job(self, side: str, steps: int, threads: int, out: Path, log_every: int | None) -> Path:
        """What the script for PyTorch reads, so that it needs no minigan."""
        seed, per_epoch = self.config.seed, len(self.dataset) // self.batch
        path = out.with_suffix(".json")
        job = {
            **{"side": side, "threads": threads, "task": self.task, "inputs": str(self.folder / "inputs.npz")},
            **{"out": str(out), "steps": steps, "log_every": log_every or self.config.log_every},
            **{"noise": stream("noise", seed), "samples": stream("samples", SAMPLES_SEED)},
            "orders": [stream("data order", seed, epoch) for epoch in range(-(-steps // per_epoch))],
            **{"shown": self.dataset.kind.shown, "drawn": SAMPLES},
        }
        path.write_text(json.dumps(job), encoding="utf-8")
        return path

    def trace(self, side: str, out: Path) -> Trace:
        """What a run that has ended left in its folder. Raises BenchmarkError if minigan ran elsewhere than on the CPU."""
        rows = read_log(out / LOG)
        if SIDES[side].peer:
            told = json.loads((out / "result.json").read_text(encoding="utf-8"))
            return Trace(told["updates"], rows, np.array(told["average"]))
        backend = read_settings(out / CONFIG)["backend"]
        if backend != "numpy":
            raise BenchmarkError(f"{side}: minigan trained on {backend}, and the others on the CPU: hide the GPU from it")
        run = load_run(str(out), "numpy")
        assert isinstance(run.game, GAN)
        nets = [net for net in (run.game.generator, run.game.average) if net]
        pairs = zip(*([net.flat_params, np.concatenate([*net.state.values()])] for net in nets), strict=True)
        return Trace([run.step], rows, distances(pairs)["average"] if len(nets) > 1 else np.array([]))

    def samples(self, side: str, threads: int, out: Path) -> np.ndarray:
        """Samples of a run that has ended, by its own library."""
        if not SIDES[side].peer:
            return load_run(str(out), "numpy").game.sample(SAMPLES, SAMPLES_SEED)
        path = out / "drawn.npy"
        job = str(out.with_suffix(".json"))
        whole_process(side, [sys.executable, "-m", "benchmarks.sides.torch_train", job, str(path)], threads, out)
        drawn: np.ndarray = np.load(path)
        return drawn


def whole_process(side: str, command: Sequence[str], threads: int, out: Path) -> dict[str, float]:
    """What child.measured tells of a process with so many threads and cores. Raises BenchmarkError where it fails."""
    report, written = out.with_suffix(".report"), out.with_suffix(".txt")
    cores = sorted(os.sched_getaffinity(0))[:threads] if hasattr(os, "sched_getaffinity") else None
    with written.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.child", str(report), *command],
            cwd=ROOT,
            env=environment(side, threads),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,  # so that both it and what it starts can be ended
            preexec_fn=(lambda: os.sched_setaffinity(0, cores)) if cores else None,
        )
        try:
            process.wait()
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    told = json.loads(report.read_text(encoding="utf-8")) if report.exists() else {"status": process.returncode}
    if told["status"]:
        last = written.read_text(encoding="utf-8", errors="replace").strip().rpartition("\n")[2]
        raise BenchmarkError(f"{side}: its command ended with status {told['status']}: {last}")
    return {name: value for name, value in told.items() if name != "status"}


# -- the proof ---------------------------------------------------------------------------------------------------------


def prove(work: Work, sides: Sequence[str], threads: int) -> None:
    """Run every side's command for a few steps and raise BenchmarkError unless they did the same.

    As in rounds.py: from the same weights, batches and noise the losses of the first steps agree, and G's moving average. It
    also brings what they import from the disk.
    """
    evidence = {}
    for side in sides:
        with tempfile.TemporaryDirectory(dir=work.folder) as folder:
            out = _new_folder(folder)
            whole_process(side, work.command(side, PROOF_STEPS, threads, out, log_every=1), threads, out)
            trace = work.trace(side, out)
        check_length(side, trace, PROOF_STEPS, log_every=1)
        losses = [(float(row["loss_d"]), float(row["loss_g"])) for row in trace.rows]
        evidence[side] = first_losses(losses) | {"average": trace.average}
    prove_same_work({"command": "train", "steps": PROOF_STEPS, **work.options}, evidence)


def _new_folder(parent: str) -> Path:
    out = Path(parent) / "run"
    out.mkdir()
    return out


def check_length(side: str, trace: Trace, steps: int, log_every: int) -> None:
    rows = -(-steps // log_every)
    logged = int(trace.rows[-1]["step"]) if trace.rows else 0
    if trace.steps != [steps] or logged != steps or len(trace.rows) != rows:
        taken = ", ".join(f"{count:,}" for count in trace.steps) or "no"
        raise BenchmarkError(
            f"{side} does not do the same work: its optimisers took {taken} steps and its log has {len(trace.rows):,} rows "
            f"up to step {logged:,}, expected {steps:,} steps in {rows:,} rows. Nothing was written."
        )


def check_whole(side: str, trace: Trace, first: Trace, distance: float, most: float) -> None:
    """Raise BenchmarkError for a run that began as another game, or whose samples are not as good as those of all must be."""
    for name in ("loss_d", "loss_g"):
        ours, theirs = (float(of.rows[0][name]) for of in (first, trace))
        if not abs(theirs - ours) <= ALIKE * max(abs(ours), 1):
            raise BenchmarkError(
                f"{side} does not do the same work: over the first {trace.rows[0]['step']} steps its {name} is {theirs:.4f}, "
                f"expected {ours:.4f}. Nothing was written."
            )
    if not distance <= most:
        raise BenchmarkError(
            f"{side} does not do the same work: the Fréchet distance of its samples is {distance:.2f}, expected at most "
            f"{most:.2f}. Nothing was written. (--steps names more steps, --distance a larger distance)"
        )


# -- the rounds --------------------------------------------------------------------------------------------------------


def timed_point(
    work: Work,
    sides: Sequence[str],
    steps: int,
    asked: Asked,
    settings: Settings,
    watch: Callable[[Sequence[tuple[int, str]]], Iterable[tuple[int, str]]],
) -> Result:
    """Rounds of whole commands. Sides alternate, and each round begins with another; every run of each is looked at."""
    figures: dict[str, dict[str, list[float]]] = {side: {} for side in sides}
    turns = [(turn, side) for turn in range(settings.rounds) for side in _shifted(sides, turn)]
    first: Trace | None = None
    for _, side in watch(turns):
        with tempfile.TemporaryDirectory(dir=work.folder) as folder:
            out = _new_folder(folder)
            told = whole_process(side, work.command(side, steps, settings.threads, out), settings.threads, out)
            trace = work.trace(side, out)
            check_length(side, trace, steps, work.config.log_every)
            told["distance"] = work.distance(work.samples(side, settings.threads, out))
            first = first or trace
            check_whole(side, trace, first, told["distance"], WITHIN * asked.distance)
        for name, value in told.items():
            figures[side].setdefault(name, []).append(value)
    rounds = {side: told["seconds"] for side, told in figures.items()}
    peaks = {side: told["peak_mib"] for side, told in figures.items()}
    return {
        **{"title": f"time to Fréchet {asked.distance:g} on digits, {steps:,} steps", "steps": steps, "ours": OURS},
        **{"seconds": _medians(rounds), "ratios": _ratios(rounds), "rounds": rounds},
        **{"peak_mib": _medians(peaks), "peak_ratios": _ratios(peaks), "peaks": peaks},
        "processor_seconds": {side: told["processor_seconds"] for side, told in figures.items()},
        "distances": {side: told["distance"] for side, told in figures.items()},
    }


def _shifted(sides: Sequence[str], turn: int) -> list[str]:
    shift = turn % len(sides)
    return [*sides[shift:], *sides[:shift]]


def _medians(rounds: Mapping[str, Sequence[float]]) -> dict[str, float]:
    return {side: statistics.median(values) for side, values in rounds.items()}


def _ratios(rounds: Mapping[str, Sequence[float]]) -> dict[str, dict[str, Any]]:
    """Each side's figure over ours, round by round."""
    return {side: vars(ratio(values, rounds[OURS])) for side, values in rounds.items()} if OURS in rounds else {}


def table(point: Result) -> str:
    """A row for each side."""
    peaks = {"seconds": point["peak_mib"], "ratios": point["peak_ratios"]}
    rows = []
    for side in point["seconds"]:
        processor, distance = (statistics.median(point[name][side]) for name in ("processor_seconds", "distances"))
        time = cell(point, side, duration, quartiles=True)
        peak = cell(peaks, side, lambda mib: f"{mib:.0f} MiB", quartiles=True)
        rows.append([side, time, duration(processor), f"{distance:.2f}", peak])
    return markdown([point["title"], "whole command", "of the processor", "Fréchet distance", "peak memory"], rows)
