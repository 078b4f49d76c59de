"""Training killed at random moments: gone on with, it ends in the bytes of a run that was never interrupted."""

from __future__ import annotations

import csv
import random
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from campaigns.forked import contents, problem, run
from campaigns.tiny_run import GAME, images, words

KILLS_OF_A_RUN = 5
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
TIMES = ("images_per_s", "seconds")  # columns of the log that no two runs share
EVERY = {"--log-every": "5", "--sample-every": "20", "--checkpoint-every": "10"}
SETTINGS = words({"--data": "data.npy", "--steps": "60"} | GAME | EVERY)


def cases(count: int, seed: int) -> Iterator[tuple[int, int]]:
    """(seed, number of kills) of each run."""
    for index in range(-(-count // KILLS_OF_A_RUN)):
        yield seed * 10_000 + index, min(KILLS_OF_A_RUN, count - index * KILLS_OF_A_RUN)


def attempt(case: tuple[int, int]) -> tuple[int, list[str]]:
    """Play one case: (kills made, problems)."""
    seed, kills = case
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "data.npy", images())
        since = time.perf_counter()
        whole = run(["train", *SETTINGS, "--out", "whole", "--quiet"], folder)
        seconds = time.perf_counter() - since
        problems = [problem(whole, (0,))]
        begin = ["train", *SETTINGS, "--out", "killed"]
        if rng.random() < 0.3:  # in place of another run
            problems.append(problem(run(["train", *SETTINGS, "--seed", "5", "--out", "killed", "--quiet"], folder), (0,)))
            begin.append("--overwrite")
        started = False
        for _ in range(kills):
            arguments = ["train", "--resume", "--out", "killed"] if started else begin
            number = rng.choice(SIGNALS)
            result = run(arguments, folder, kill_after=rng.uniform(0, seconds), kill_with=number)
            problems.append(problem(result, (0, -number) if number == signal.SIGKILL else (0, 130, -number)))
            started = started or _holds_the_new_run(folder / "killed")
        problems.append(problem(run(["train", "--resume", "--out", "killed"] if started else begin, folder), (0,)))
        problems.append(_difference(folder / "whole", folder / "killed"))
    return kills, [f"seed {seed}: {text}" for text in problems if text]


def _holds_the_new_run(folder: Path) -> bool:
    """True once the first checkpoint of seed 0 lies there; the run that it replaces had seed 5."""
    from minigan.errors import MiniganError
    from minigan.training import checkpoint

    try:
        _, info = checkpoint.load(folder / "checkpoint.safetensors")
    except MiniganError:
        return False
    return info["config"]["seed"] == 0


def _difference(whole: Path, other: Path) -> str:
    """Which file of a run differs, the log's times apart."""
    ours, theirs = contents(whole), contents(other)
    times = {"log.csv", "curves.png"}  # curves.png shows the speed
    names = ours.keys() | theirs.keys()
    different = sorted(name for name in names - times if ours.get(name) != theirs.get(name))
    if _rows(whole / "log.csv") != _rows(other / "log.csv"):
        different.append("log.csv")
    return f"differs after its kills: {', '.join(different)}" if different else ""


def _rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return [{name: cell for name, cell in row.items() if name not in TIMES} for row in csv.DictReader(file)]
