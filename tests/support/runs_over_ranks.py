"""Runs over the ranks that were started, in the folder that is named: python runs_over_ranks.py FOLDER SCENARIO [RANK STEP]."""

import os
import shutil
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
from quick_runs import before_step, draw_bytes, make

from minigan.distributed import world
from minigan.training import resume_run

FOLDER, SCENARIO, *NUMBERS = Path(sys.argv[1]), *sys.argv[2:]
# A game with BatchNorm in both nets, and a sample in each of whose draws every rank has a part.
OPTIONS = {"model": "dcgan", "width": 2, "extra_conv": False, "batch_size": 8, "backend": "numpy", "dtype": "float64"}
OPTIONS |= {"hidden": None, "instance_noise": 0.1}


def made(name, **options):
    return make(FOLDER, name, **{**OPTIONS, **options})


def at_step(game, act):
    """act() on one rank, just before one of its steps."""
    rank, step = map(int, NUMBERS)
    if world().rank == rank:
        before_step(game, step, act)


def raise_error():
    raise RuntimeError("of a layer of the user's own")


def break_layer(layer, batches, step):
    """Let its output in that step be no number."""
    forward = layer.forward

    def broken(x, train):
        y, cache = forward(x, train)
        return y * (np.nan if batches.epoch * batches.per_epoch + batches.batch == step else 1), cache

    layer.forward = broken


def whole():
    """Twice the same; and once stopped, as by a signal that one rank alone has got, and gone on with."""
    for name in ("whole", "again"):
        assert made(name).train(progress=False)
    stopped = made("stopped")
    if world().rank == 1:
        before_step(stopped, 11, lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert not stopped.train(progress=False)
    if world().rank == 0:
        shutil.copytree(FOLDER / "stopped", FOLDER / "copy")
    world().barrier()
    assert resume_run(FOLDER / "stopped", log=lambda text: None).train(progress=False)


def main():
    patch = pytest.MonkeyPatch()
    draw_bytes(patch)
    ranks = world()
    if SCENARIO == "whole":
        whole()
    elif SCENARIO == "kill":
        game = made("killed")
        at_step(game, lambda: os.kill(os.getpid(), signal.SIGKILL))
        game.train(progress=False)
    elif SCENARIO == "error":
        game = made("failed")
        at_step(game, raise_error)
        game.train(progress=False)
    elif SCENARIO == "resume":
        assert resume_run(FOLDER / NUMBERS[0], log=lambda text: None).train(progress=False)
    elif SCENARIO == "diverge":
        game = made("diverged", backend="textbook")
        rank, step = map(int, NUMBERS)
        if ranks.rank == rank:
            break_layer(game.game.discriminator.layers[0], game.batches, step)
        game.train(progress=False)


if __name__ == "__main__":
    main()
