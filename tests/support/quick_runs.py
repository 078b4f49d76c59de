"""Runs of the smallest game, whose pictures are bytes, for tests of folders and of what ends a run."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from minigan.training import LOG, Config, plots, start_run

TIMES = ("images_per_s", "seconds")


def draw_bytes(monkeypatch):
    """Pictures cost more than the steps of so small a game."""
    monkeypatch.setattr(plots, "save_samples", lambda path, kind, samples, *more: path.write_bytes(samples.tobytes()))
    for name in ("save_curves", "save_animation_of_files"):
        monkeypatch.setattr(plots, name, lambda path, *args: path.write_bytes(b"a picture"))


def config(folder: Path, **options):
    data = folder / "own.npy"
    if not data.exists():
        np.save(data, np.random.default_rng(0).integers(0, 256, (24, 4, 4), dtype=np.uint8))
    every = {"log_every": 4, "sample_every": 8, "checkpoint_every": 8}
    game = {"model": "mlp", "hidden": (4,), "latent_dim": 3, "batch_size": 4, "backend": "textbook"}
    return Config(**{"data": str(data), "steps": 24, **game, **every, **options})


def make(folder: Path, name: str = "run", said: list | None = None, overwrite: bool = False, **options):
    log = ([] if said is None else said).append
    return start_run(config(folder, **options), folder / name, overwrite=overwrite, log=log)


def before_step(run, step, act):
    """Call act() once, just before this step is taken."""
    advance = run.batches.advance

    def advancing():
        if run.step == step - 1:
            run.batches.advance = advance
            act()
        advance()

    run.batches.advance = advancing


def content(folder: Path) -> dict:
    """What a run's folder holds: the bytes of its files, and the rows of the log without what depends on the clock."""
    files = {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    del files[LOG]
    return files | {LOG: rows(folder)}


def rows(folder: Path) -> list[dict[str, str]]:
    with open(folder / LOG, newline="") as file:
        return [{name: cell for name, cell in row.items() if name not in TIMES} for row in csv.DictReader(file)]
