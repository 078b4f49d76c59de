"""Twenty steps of small games in float64, over all ranks that were started: python games_over_ranks.py FOLDER [fault|device].

fault: BatchNorm's means are left local. device: on the stand-in for device arrays.
"""

import hashlib
import sys
import warnings
from pathlib import Path

import numpy as np

import minigan as mg
from minigan.data import Batches, Dataset
from minigan.distributed import ALONE, world

STEPS, BATCH, IMAGE = 20, 8, (8, 8, 1)
RNG = np.random.default_rng(0)
DATA = Dataset("own", RNG.integers(0, 256, (40, *IMAGE), dtype=np.uint8), np.arange(40) % 3)
FLAT = {"input_shape": IMAGE, "dtype": "float64"}


def gan(model, backend, pack=1, classes=0, sizes=(5, 3), **options):
    more = {name: value for name, value in (("pack", pack), ("classes", classes)) if value > (name == "pack")}
    networks = model(IMAGE, *sizes, backend=backend, dtype="float64", **more)
    return mg.GAN(*networks, pack=pack, classes=classes, lr=1e-3, **options)


def with_discriminator(layers, backend, **options):
    d = mg.Sequential(layers, backend=backend, **FLAT, seed=1)
    g, _ = mg.models.mlp(IMAGE, 5, (6,), backend=backend, dtype="float64")
    return mg.GAN(g, d, lr=1e-3, **options)


def mixing(group):
    return [mg.Conv2d(3, 4, 2, 1), mg.Tanh(), mg.MinibatchStd(group), mg.Flatten(), mg.Dense(1)]


def drawing():
    return [
        *(mg.DiffAugment(), mg.Conv2d(3, (3, 5), (1, 2), (1, 2)), mg.LeakyReLU(0.2), mg.PhaseShuffle()),
        *(mg.Dropout(0.3), mg.Flatten(), mg.SpectralNorm(mg.Dense(6)), mg.Tanh(), mg.Dropout(0.2), mg.Dense(1)),
    ]


ON_DEVICE = ("dcgan",)
STEPS_ON_DEVICE = 6
ASKED = ("mlp", "dcgan", "R1", "R1 through BatchNorm", "vae", "conditional")  # of any number of ranks
mlp, dcgan, R1 = mg.models.mlp, mg.models.dcgan, mg.losses.R1
GAMES = {
    "mlp": lambda be: gan(mlp, be, sizes=(5, (6, 7))),
    "dcgan": lambda be: gan(dcgan, be, ema=0.9),
    "R1": lambda be: gan(mlp, be, sizes=(5, (6, 7)), penalties=[R1(2.0)]),
    "R1 through BatchNorm": lambda be: gan(dcgan, be, penalties=[R1(2.0)]),
    "vae": lambda be: mg.VAE(*mg.models.vae_mlp(IMAGE, 3, 9, backend=be, dtype="float64")),
    "conditional": lambda be: gan(dcgan, be, classes=3),
    # D's last bias has no gradient but of rounding, of which Adam would make steps of full size.
    "relativistic averages": lambda be: gan(
        *(mlp, be), sizes=(5, (6,)), objective=mg.losses.RelativisticAverage(), optimizer_d=mg.SGD(1e-2)
    ),
    "critic steps": lambda be: gan(
        *(mlp, be),
        **{"sizes": (5, (6,)), "critic_steps": 2, "objective": mg.losses.Wasserstein(), "optimizer_d": mg.SGD(1e-2)},
        penalties=[mg.losses.GradientPenalty(3)],
    ),
    "packed": lambda be: gan(dcgan, be, pack=2, instance_noise=0.1, penalties=[mg.losses.DRAGAN(2.0)], penalty_every=2),
    "minibatch std": lambda be: with_discriminator(mixing(4), be, penalties=[mg.losses.R2(2.0)]),
    "drawing layers": lambda be: with_discriminator(drawing(), be, penalties=[R1(2.0)]),
}


class LocalMeans:
    """A backend whose means over all ranks are left local."""

    def __init__(self, backend):
        self._backend = backend

    def __getattr__(self, name):
        return getattr(self._backend, name)

    def all_mean(self, *arrays):
        return arrays


def leave_batch_norm_local(game):
    for net in game.networks.values():
        for layer in (part for whole in net.layers for part in whole.nested()):
            if isinstance(layer, mg.layers.BatchNorm):
                layer.backend = LocalMeans(layer.backend)


def play(name, ranks=ALONE, backend="numpy", fault=False, steps=STEPS):
    """(state after the steps, the sums of the statistics over the whole batches, what capture became, how it said so)."""
    be, said = mg.get_backend(backend), []
    game = GAMES[name](be)
    if fault:
        leave_batch_norm_local(game)
    parts, classes = game.batches_per_step, game.classes > 0
    batches = Batches(DATA, BATCH * parts, be, "float64", 1, classes, ranks, parts)
    step = mg.capture(game, batches, said.append)
    totals = np.zeros(len(game.stats))
    for _ in range(steps):
        stats = step()
        totals += [float(be.to_numpy(stats[key])) for key in game.stats]
    ranks.all_mean(totals)
    state = {**game.state_dict(), "totals": totals}
    random = repr((game.random_state, batches.state))
    digest = hashlib.blake2b(b"".join(a.tobytes() for a in state.values()) + random.encode()).hexdigest()
    ranks.check_same({"the digest of all arrays": digest}, "this is a bug")
    return state, random, step.phase, said


def main():
    warnings.simplefilter("ignore")  # of penalties through BatchNorm
    folder, how, ranks = Path(sys.argv[1]), sys.argv[2:], world()
    names = ("dcgan",) if how == ["fault"] else ON_DEVICE if how else GAMES if ranks.size == 2 else ASKED
    for name in names:
        if how == ["device"]:
            from conftest import stand_in

            with stand_in() as backend:
                state, random, phase, said = play(name, ranks, backend, steps=STEPS_ON_DEVICE)
        else:
            state, random, phase, said = play(name, ranks, fault=bool(how))
        if ranks.rank == 0:
            np.savez(folder / f"{name}.npz", random=random, phase=phase, said=said, **state)


if __name__ == "__main__":
    main()
