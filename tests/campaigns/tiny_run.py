"""A finished run of the smallest game, with its data, to copy and to damage."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
from campaigns.forked import run

GAME = {"--model": "mlp", "--hidden": "4", "--latent-dim": "3", "--batch-size": "2", "--backend": "numpy"}


def images() -> np.ndarray:
    """8 images of 8 by 8 pixels."""
    return np.random.default_rng(1).integers(0, 256, (8, 8, 8), np.uint8)


def words(given: dict[str, str]) -> list[str]:
    """Options by name as words of a command line; the name "" stands for an argument without one."""
    line = []
    for name, value in given.items():
        line += [f"{name}={value}"] if name.startswith("--") else [name, value] if name else [value]
    return line


def copy_into(folder: Path) -> None:
    """data.npy, and in run/ a run of 4 steps."""
    shutil.copytree(_made_once(), folder, dirs_exist_ok=True)


@cache
def _made_once() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="campaign-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    np.save(folder / "data.npy", images())
    every = {"--steps": "4", "--log-every": "1", "--checkpoint-every": "1", "--sample-every": "2"}
    result = run(["train", *words({"--data": "data.npy", "--out": "run"} | GAME | every), "--quiet"], folder)
    assert result.status == 0, result.errors
    return folder
