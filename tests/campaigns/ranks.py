"""Training over two ranks, of which one is killed at random moments: gone on with by two, it ends in the bytes of a run that
was never interrupted; gone on with by one process, it ends in the same numbers but for rounding.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import mpi
import numpy as np
from campaigns.kills import _difference
from campaigns.tiny_run import words

KILLS_OF_A_RUN = 4
RANKS = 2
LONGEST_END = 10.0  # seconds from the end of a rank to that of all
OWN = {
    "--model": "dcgan",
    "--width": "2",
    "--no-extra-conv": "",
    "--latent-dim": "3",
    "--batch-size": "8",
    "--backend": "numpy",
}
STEPS = 160
EVERY = {"--log-every": "4", "--sample-every": "80", "--checkpoint-every": "10", "--dtype": "float64", "--steps": str(STEPS)}
AT_ITS_START = 0.2  # the share of kills that come within seconds of the start, and not at a step


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
        np.save(folder / "data.npy", np.random.default_rng(1).integers(0, 256, (40, 8, 8), np.uint8))
        settings = [word for word in words({"--data": "data.npy"} | OWN | EVERY) if word != "--no-extra-conv="]
        begin = ["train", *settings, "--no-extra-conv", "--quiet", "--out"]
        status, _, errors = mpi.minigan(RANKS, *begin, "whole", cwd=folder)
        number, problems = 0, [errors] if status else []
        while number < kills and not problems:
            resumes = (folder / "killed" / "checkpoint.safetensors").exists()
            command = ["train", "--resume", "--quiet", "--out", "killed"] if resumes else [*begin, "killed"]
            # Between the kills a part of the run each, so that none comes after its end.
            step = None if rng.random() < AT_ITS_START else rng.randrange(number * STEPS, (number + 1) * STEPS) // (kills + 1)
            number += 1
            problems += filter(None, [_kill(folder, command, number % RANKS, step, rng.uniform(0, 1))])
        command = ["train", "--resume", "--quiet", "--out", "killed"]
        if not problems:
            subprocess.run(["cp", "-r", "killed", "one"], cwd=folder, check=True)
            for ranks, out in ((RANKS, "killed"), (1, "one")):
                status, _, errors = mpi.minigan(ranks, *command[:-1], out, cwd=folder)
                problems += [errors] if status else []
            problems += [_difference(folder / "whole", folder / "killed")]
            problems += [_distance(folder / "whole", folder / "one")]
    return number, [f"seed {seed}: {text}" for text in problems if text]


def _kill(folder: Path, command: list[str], rank: int, step: int | None, chance: float) -> str:
    """What was wrong with a run of which one rank is killed: after this step, or soon after its start."""
    words, environment = mpi.command(RANKS, "-m", "minigan", *command), mpi.environment()
    with subprocess.Popen(words, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        until = time.perf_counter() + 5 * chance
        while run.poll() is None and (time.perf_counter() < until if step is None else _step(folder / "killed") < step):
            time.sleep(0.01)
        time.sleep(0.2 * chance)
        process = _process_of(run.pid, rank)
        if process is not None:
            os.kill(process, signal.SIGKILL)
        since = time.perf_counter()
        _, errors = run.communicate(timeout=60)
    if process is None:
        return f"it ended before rank {rank} was killed: {errors}"
    if time.perf_counter() - since > LONGEST_END:
        return f"all ranks ended {time.perf_counter() - since:.0f} s after one"
    lines = mpi.own_lines(errors)
    told = f"minigan: error: rank {rank} has ended (killed, or out of memory), and with it the run; step "
    # Before all ranks watch each other there is no run that could be gone on with, and after that they end in peace.
    is_right = not lines or (len(lines) == 1 and lines[0].startswith(told) and "minigan train --resume" in lines[0])
    return "" if is_right else f"told: {lines}"


def _step(folder: Path) -> int:
    """The last step of its log."""
    try:
        last = (folder / "log.csv").read_text().splitlines()[-1].partition(",")[0]
    except (OSError, IndexError):
        return -1
    return int(last) if last.isdecimal() else -1


def _process_of(launcher: int, rank: int) -> int | None:
    """The process of a rank, a child of the launcher or of its daemon."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                variables = (entry / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            if parent == launcher and any(
                f"{name}={rank}".encode() in variables for name in ("OMPI_COMM_WORLD_RANK", "PMI_RANK")
            ):
                return int(entry.name)
    return None


def _distance(whole: Path, other: Path) -> str:
    """Which array of two checkpoints differs by more than rounding makes in some hundred steps."""
    from minigan.training import checkpoint

    (ours, info), (theirs, same) = (checkpoint.load(path / "checkpoint.safetensors") for path in (whole, other))
    if (info["step"], info["random"], info["data"]) != (same["step"], same["random"], same["data"]):
        return "one process ends elsewhere"
    far = [name for name in ours if not np.allclose(ours[name], theirs[name], rtol=1e-6, atol=1e-8)]
    return f"gone on with by one process, it differs in {', '.join(far)}" if far else ""
