"""One of the processes of a group: `python -m benchmarks.ranks.worker ADDRESS`, by itself or started by mpiexec.

Connects to the socket ADDRESS, says which rank it is, then reads a request a line (JSON) and answers a line. Between
requests it waits for the socket alone: MPI, which takes a core to wait, is called only where all ranks are.
"""

from __future__ import annotations

import json
import os
import socket
import statistics
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import minigan as mg
from benchmarks.games import GAMES, build, load_data
from benchmarks.sides.base import first_losses
from benchmarks.worker import load_something_large
from minigan.distributed import ALONE, Communicator, add_up, launched, world

PROOF_STEPS = 2  # of which first_losses makes the evidence


class Listener:
    """Notes how many bytes each exchange of a communicator has, and how long it takes, the wait for the others included.

    It takes well below a microsecond for each. One process has no exchanges, and nothing is noted.
    """

    def __init__(self, ranks: Communicator) -> None:
        self.sizes: list[int] = []
        self.seconds = 0.0
        for name in ("all_mean", "all_sum", "any") if ranks.size > 1 else ():
            setattr(ranks, name, self._listened(getattr(ranks, name)))

    def _listened(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def exchange(*values: Any) -> Any:
            start = time.perf_counter()
            result = method(*values)
            self.seconds += time.perf_counter() - start
            self.sizes.append(sum(getattr(value, "nbytes", 1) for value in values))  # a flag is one byte
            return result

        return exchange

    def begin(self) -> None:
        self.sizes, self.seconds = [], 0.0


class Worker:
    """Answers requests. steps: the training steps that are ready, by key."""

    def __init__(self) -> None:
        self.ranks = world()
        self.listener = Listener(self.ranks)
        self.steps: dict[str, Callable[[], Any]] = {}
        load_something_large()

    def prepare(self, key: str, game: str, batch: int, alone: bool = False) -> dict[str, Any]:
        """Make ready the step that `minigan train` takes; what its first ones return, as the whole batch's, is the answer.

        alone: this rank by itself, as if there were no others, on a batch of this size.
        """
        ranks = ALONE if alone else self.ranks
        config = GAMES[game].config()
        built = build(config)
        batches = mg.Batches(load_data(config), batch, built.backend, built.dtype, config.seed, ranks=ranks)
        captured = mg.capture(built, batches, log=_refuse)

        def step() -> Any:
            ranks.any(False)  # before each step a run asks whether any rank is to stop
            return captured()

        losses = []
        for _ in range(PROOF_STEPS):
            stats = step()
            values = np.array([float(stats[name]) for name in ("loss_d", "loss_g")])
            ranks.all_mean(values)
            losses.append(tuple(values))
        self.steps[key] = step
        return {name: values.tolist() for name, values in first_losses(losses).items()}

    def drop(self, key: str) -> dict[str, Any]:
        del self.steps[key]
        return {}

    def time(self, key: str, calls: int, warmup: int) -> dict[str, Any]:
        """Seconds of a step, and of the exchanges in it."""
        step = self.steps[key]
        for _ in range(warmup):
            step()
        self.ranks.barrier()
        self.listener.begin()
        start = time.perf_counter()
        for _ in range(calls):
            step()
        return {"seconds": (time.perf_counter() - start) / calls, "exchange": self.listener.seconds / calls}

    def messages(self, key: str) -> dict[str, Any]:
        """The bytes of each exchange of one step, in their order."""
        self.listener.begin()
        self.steps[key]()
        return {"sizes": self.listener.sizes}

    def exchange(self, size: int, calls: int) -> dict[str, Any]:
        """Seconds of all_mean of a vector of so many bytes: the median of single calls."""
        vector = np.zeros(size // 4, np.float32)
        self.ranks.barrier()
        times = []
        for _ in range(calls + 2):
            start = time.perf_counter()
            self.ranks.all_mean(vector)
            times.append(time.perf_counter() - start)
        return {"seconds": statistics.median(times[2:])}

    def adding(self, size: int, calls: int) -> dict[str, Any]:
        """Seconds of what a rank adds up in an exchange of so many bytes, by itself."""
        parts = np.zeros((self.ranks.size, size // 4 // self.ranks.size), np.float32)
        out, times = np.zeros(parts.shape[1], np.float32), []
        for _ in range(calls + 2):
            start = time.perf_counter()
            add_up(parts, out, self.ranks.size)
            times.append(time.perf_counter() - start)
        return {"seconds": statistics.median(times[2:])}

    def draws(self, game: str, batch: int, calls: int) -> dict[str, Any]:
        """Seconds that one step's random numbers take, for a batch of this size."""
        built, seconds = build(GAMES[game].config()), []
        real = built.backend.zeros((batch, *load_data(GAMES[game].config()).shape), built.dtype)
        spent = [0.0]
        for stream in built.streams.values():
            stream._draw = _timed(stream._draw, spent)  # type: ignore[method-assign]
        for _ in range(calls):
            spent[0] = 0.0
            built.step(real)
            seconds.append(spent[0])
        return {"seconds": statistics.median(seconds)}


def _timed(method: Callable[..., Any], spent: list[float]) -> Callable[..., Any]:
    def timed(*given: Any) -> Any:
        start = time.perf_counter()
        result = method(*given)
        spent[0] += time.perf_counter() - start
        return result

    return timed


def _refuse(reason: str) -> None:
    """What is measured is the step that training replays; one that cannot be replayed is another."""
    raise RuntimeError(reason)


def serve(address: str) -> None:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(address)
    lines = connection.makefile("rw", encoding="utf-8")

    def answer(content: dict[str, Any]) -> None:
        print(json.dumps(content), file=lines, flush=True)

    rank, _ = launched()
    try:
        worker = Worker()
    except Exception as error:
        answer({"rank": rank, "process": os.getpid(), "error": str(error)})
        return
    answer({"rank": rank, "process": os.getpid(), "library": worker.ranks.library, "size": worker.ranks.size})
    for line in lines:
        request = json.loads(line)
        try:
            answer(getattr(worker, request.pop("do"))(**request))
        except Exception as error:  # told to the runner, which names the rank and ends all
            frame = traceback.extract_tb(error.__traceback__)[-1]
            place = "/".join(Path(frame.filename).parts[-3:])
            answer({"error": f"{type(error).__name__}: {error} ({place}, line {frame.lineno})"})


if __name__ == "__main__":
    serve(sys.argv[1])
