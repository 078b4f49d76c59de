"""Fair timing: every side in its own process with the same threads, in alternating rounds, after proof of the same work.

While one side is measured the processes of all others are stopped, so none of their waiting threads can take a core from it.
"""

from __future__ import annotations

import json
import os
import select
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.sides import BASELINE, SIDES
from benchmarks.sides.base import AFTER_UPDATES
from benchmarks.tasks import Task, in_full, save_inputs
from minigan.errors import MiniganError

ROOT = Path(__file__).resolve().parent.parent
TOLERANCE = {"float32": 1e-4, "tf32": 1e-2}  # by the precision of products
TOLERANCE_AFTER_UPDATES = {**TOLERANCE, "float32": 3e-4}
REFERENCE = "textbook"  # what every side must agree with
OURS = "numpy"  # what ratios are taken against


_KERNEL_VARIABLES = ("OPENBLAS_", "MKL_", "ONEDNN_", "DNNL_", "ATEN_", "XLA_", "KMP_", "OMP_")


class BenchmarkError(MiniganError):
    """A comparison that must not be made, or cannot."""


@dataclass
class Settings:
    """How long and how often: `rounds` per point, each side for about `seconds` in each.

    patience: seconds after which a side that does not answer has failed; None to wait for ever.
    baseline: the other checkout, for the side of that name.
    """

    rounds: int = 9
    seconds: float = 0.4
    threads: int = 0
    sides: Sequence[str] = tuple(SIDES)
    patience: float | None = None
    baseline: Path | None = None


class Process:
    """A worker, started. checkout: where the side named baseline runs."""

    about: dict[str, Any]  # what it said about itself

    def __init__(self, name: str, threads: int, patience: float | None = None, checkout: Path | None = None) -> None:
        self.name, self._patience = name, patience
        self._cores = sorted(os.sched_getaffinity(0))[:threads] if hasattr(os, "sched_getaffinity") else None
        command, folder, env = ["-m", "benchmarks.worker", name], ROOT, environment(name, threads)
        if name == BASELINE:
            if checkout is None:
                raise BenchmarkError("the side baseline is minigan of another checkout: name its folder by --baseline PATH")
            command, folder = [str(ROOT / "benchmarks" / "baseline_worker.py")], checkout
            env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(checkout), env.get("PYTHONPATH")]))
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the process)
        self._process = subprocess.Popen(
            [sys.executable, *command, str(threads)],
            cwd=folder,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            text=True,
            preexec_fn=self._limit if self._cores else None,
        )

    def greet(self) -> None:
        """Wait until it has said what it is, then stop it."""
        try:
            self.about = self._read()
        except BaseException:
            self.close()
            raise
        self._signal("SIGSTOP")

    def _limit(self) -> None:
        """Only so many cores: JAX counts them to size its pool, and no side can take more than the others."""
        os.sched_setaffinity(0, self._cores or [])

    def _signal(self, name: str) -> None:
        if hasattr(signal, name) and self._process.poll() is None:
            self._process.send_signal(getattr(signal, name))

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        # An answer is one line, so nothing waits in Python's own buffer.
        if self._patience and not select.select([self._process.stdout], [], [], self._patience)[0]:
            self.close()
            raise BenchmarkError(f"{self.name}: no answer within {self._patience:.0f} s")
        line = self._process.stdout.readline()
        if not line:
            raise BenchmarkError(
                f"{self.name}: its process ended with status {self._process.wait()} before it answered{self._last_complaint()}"
            )
        return json.loads(line)

    def _last_complaint(self) -> str:
        """The last line that the process wrote on standard error."""
        self._complaints.seek(0)
        lines = self._complaints.read().decode(errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return f": {last}" if last else ""

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        """Wake the process, put a request, stop it again. Raises BenchmarkError if the side fails."""
        assert self._process.stdin is not None
        self._signal("SIGCONT")
        with suppress(BrokenPipeError):  # the process is gone, which reading tells better
            self._process.stdin.write(json.dumps({"do": do, **request}) + "\n")
            self._process.stdin.flush()
        answer = self._read()
        self._signal("SIGSTOP")
        if "error" in answer:
            raise BenchmarkError(f"{self.name}: {answer['error']}")
        return answer

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._complaints.close()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with suppress(BrokenPipeError):  # what a dead process never read
                pipe.close()


def environment(name: str, threads: int) -> dict[str, str]:
    """A side's variables; none of the shell's that choose kernels, for each library chooses its own for this processor."""
    env = {key: value for key, value in os.environ.items() if not key.startswith(_KERNEL_VARIABLES)}
    for library in ("MINIGAN", "OPENBLAS", "OMP", "MKL", "BLIS"):
        env[f"{library}_NUM_THREADS"] = str(threads)
    env["VECLIB_MAXIMUM_THREADS"] = env["NPROC"] = str(threads)  # Apple's BLAS; the pool of XLA, which JAX runs on
    return env | SIDES[name].environment


class Sides:
    """The processes of all sides that can run here; `missing` says why the others cannot. Use as a context manager."""

    def __init__(self, names: Sequence[str], threads: int, patience: float | None = None, baseline: Path | None = None) -> None:
        self.missing: dict[str, str] = {}
        self.versions: dict[str, dict[str, str]] = {}
        self._processes: dict[str, Process] = {}
        self._period = 1  # of the task that is ready
        self._stack = ExitStack()
        self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="minigan-benchmark-")))
        try:
            started = []
            for name in names:  # side by side: importing a framework takes seconds
                started.append(Process(name, threads, patience, baseline))
                self._stack.callback(started[-1].close)
            for process in started:
                name = process.name
                try:
                    process.greet()
                except BenchmarkError as error:
                    if SIDES[name].peer or SIDES[name].environment:  # kernels that this processor cannot run end the process
                        self.missing[name] = str(error)
                        continue
                    raise
                if "missing" in process.about:
                    self.missing[name] = process.about["missing"]
                else:
                    self._processes[name] = process
                    self.versions[name] = process.about["versions"]
            if not self._processes:
                reasons = "; ".join(f"{name}: {why}" for name, why in self.missing.items())
                raise BenchmarkError(f"no side that was asked for can run here ({reasons})")
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> Sides:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def prepare(self, task: Task) -> dict[str, list[str]]:
        """Let every side make the task ready, and prove that they did the same. Returns each side's calls by name."""
        inputs, request = save_inputs(task, self._folder), in_full(task)
        self._period = request.get("period", 1)
        calls: dict[str, list[str]] = {}
        evidence: dict[str, dict[str, np.ndarray]] = {}
        for name, process in self._processes.items():
            path = self._folder / f"{name}.npz"
            try:
                answer = process.ask("prepare", task=request, inputs=str(inputs), evidence=str(path))
            except BenchmarkError as error:
                if SIDES[name].peer:
                    self.missing[name] = f"fails on {task}: {error}"
                    continue
                raise
            if "unsupported" in answer:
                continue
            calls[name] = answer["calls"]
            with np.load(path) as file:
                evidence[name] = dict(file)
        prove_same_work(task, evidence)
        return calls

    def ask(self, name: str, do: str, **request: Any) -> dict[str, Any]:
        return self._processes[name].ask(do, **request)

    def time(self, calls: dict[str, list[str]], settings: Settings) -> dict[str, dict[str, list[float]]]:
        """Seconds per call by side and call, one figure a round. Sides alternate, and each round begins with another.

        Where steps with and without penalties follow one another, each figure is a mean over whole periods of them.
        """
        counts = {
            (name, call): self._period * max(1, round(settings.seconds / self._period / max(1e-7, self._rough(name, call))))
            for name in calls
            for call in calls[name]
        }
        figures: dict[str, dict[str, list[float]]] = {name: {call: [] for call in calls[name]} for name in calls}
        for turn in range(settings.rounds):
            order = list(calls)
            shift = turn % max(1, len(order))
            for name in order[shift:] + order[:shift]:
                for call in calls[name]:
                    count = counts[name, call]
                    answer = self.ask(name, "time", call=call, calls=count, warmup=1 + count // 10)
                    figures[name][call].append(answer["seconds"])
        return figures

    def _rough(self, name: str, call: str) -> float:
        """About how long a call takes, after the calls that compile and warm up."""
        period = self._period
        once = self.ask(name, "time", call=call, calls=period, warmup=3)["seconds"]
        count = max(1, min(200, int(0.05 / max(once, 1e-7))) // period) * period
        return self.ask(name, "time", call=call, calls=count, warmup=0)["seconds"]


def prove_same_work(task: Task, evidence: dict[str, dict[str, np.ndarray]]) -> None:
    """Raise BenchmarkError unless every side's arrays equal the reference's to 1e-4 of their largest value (TF32: 1e-2).

    In float32 what comes after both updates may differ by 3e-4.
    """
    names = [name for name in evidence if evidence[name]]
    if not names:
        return
    first = REFERENCE if REFERENCE in evidence else names[0]
    for name in names:
        for what, expected in evidence[first].items():
            got = evidence[name].get(what)
            if got is None or got.shape != expected.shape:
                shape = None if got is None else got.shape
                raise BenchmarkError(f"{name} and {first} differ on {task}: {what} is {shape}, expected {expected.shape}")
            tolerances = TOLERANCE_AFTER_UPDATES if what == AFTER_UPDATES else TOLERANCE
            tolerance = tolerances[task.get("precision", "float32")]
            off = float(np.abs(got - expected).max() / max(1e-30, np.abs(expected).max()))
            if not off <= tolerance:
                raise BenchmarkError(
                    f"{name} and {first} do not do the same work: {what} differs by {off:.1e} of its largest value, more than "
                    f"{tolerance:.0e}, on {task}. Nothing was timed."
                )


@dataclass
class Ratio:
    """Median of the per-round ratios, and the quartiles around it."""

    median: float
    low: float
    high: float
    rounds: list[float] = field(default_factory=list)


def spread(times: Sequence[float]) -> float:
    """How widely rounds differ: their third quartile over the first. 1 for a single round."""
    low, _, high = statistics.quantiles(times, n=4, method="inclusive") if len(times) > 1 else times * 3
    return high / low


def ratio(theirs: Sequence[float], ours: Sequence[float]) -> Ratio:
    """theirs / ours, round by round: above 1, ours is faster."""
    rounds = [a / b for a, b in zip(theirs, ours, strict=True)]
    low, middle, high = statistics.quantiles(rounds, n=4, method="inclusive") if len(rounds) > 1 else rounds * 3
    return Ratio(middle, low, high, rounds)
