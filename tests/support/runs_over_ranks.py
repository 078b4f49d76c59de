"""Runs over the ranks that were started, in the folder that is named: python runs_over_ranks.py FOLDER SCENARIO [RANK STEP]."""

import os
import shutil
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from quick_runs import before_step, draw_bytes, make

import minigan as mg
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


class Own(mg.Adam):
    """Not minigan's own, so that no step with it is recorded."""


def capture():
    """What becomes of a captured game on each rank: where both may record it, and where rank 1 may not."""
    ranks, images = world(), np.load(FOLDER / "own.npy")[..., None]
    for of_rank_1 in (mg.Adam, Own):
        said, kind = [], of_rank_1 if ranks.rank else mg.Adam
        game = mg.GAN(*mg.models.mlp((8, 8, 1), 3, (4,), backend="numpy"), optimizer_g=kind(1e-3))
        step = mg.capture(game, mg.Batches(mg.data.Dataset("own", images), 8, game.backend, ranks=ranks), said.append)
        for _ in range(5):
            step()
        ranks.check_same({"G": game.generator.flat_params.tobytes()}, "")
        print(f"rank {ranks.rank}: {step.phase}, {said}", flush=True)


def main():
    patch = pytest.MonkeyPatch()
    draw_bytes(patch)
    ranks = world()
    if SCENARIO == "whole":
        whole()
    elif SCENARIO == "capture":
        capture()
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
    elif SCENARIO == "long step":
        game = made("interrupted")
        before_step(game, 14, lambda: (print("in a long step", flush=True), time.sleep(60)))
        game.train(progress=False)
    elif SCENARIO == "apart":
        game = made("apart")
        at_step(game, lambda: game.game.generator.flat_params.__iadd__(1e-9))
        game.train(progress=False)
    elif SCENARIO == "diverge":
        game = made("diverged", backend="textbook")
        rank, step = map(int, NUMBERS)
        if ranks.rank == rank:
            break_layer(game.game.discriminator.layers[0], game.batches, step)
        game.train(progress=False)


if __name__ == "__main__":
    main()
