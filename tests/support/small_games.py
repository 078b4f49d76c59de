"""Games that run in milliseconds, played step by step or captured, and compared to the bit."""

import numpy as np

import minigan as mg
from minigan.data import Batches, Dataset

IMAGE = (8, 8, 1)
DATA = Dataset("own", np.random.default_rng(0).integers(0, 256, (20, *IMAGE), dtype=np.uint8))
DROPOUT = lambda: [mg.Flatten(), mg.Dense(6), mg.LayerNorm(), mg.Dropout(0.3), mg.Tanh(), mg.Dense(1)]  # noqa: E731
UP = lambda: [mg.Reshape((4, 4, 1)), mg.SpectralNorm(mg.ConvTranspose2d(1, 4, 2, 1)), mg.Tanh()]  # noqa: E731
WITHIN = lambda: [  # noqa: E731
    mg.DiffAugment(),
    mg.SpectralNorm(mg.Conv2d(3, 4, 2, 1)),
    mg.Residual([mg.LeakyReLU(), mg.Dropout(0.3), mg.Residual([mg.BatchNorm(), mg.Conv2d(3, 3, padding=1)])], scale=0.3),
    *(mg.MinibatchStd(3), mg.Flatten(), mg.SpectralNorm(mg.Dense(4)), mg.Tanh(), mg.Dense(1)),
]
GAMES = {
    "mlp": lambda be, **options: mg.GAN(*mg.models.mlp(IMAGE, 5, (6, 7), backend=be), **options),
    "dcgan": lambda be, **options: mg.GAN(*mg.models.dcgan(IMAGE, 5, 3, backend=be), **options),
    "average and schedule": lambda be: GAMES["dcgan"](
        be, ema=0.9, objective=mg.losses.NonSaturating(0.1), lr=mg.optim.cosine(1e-3, 9), lr_d=1e-3
    ),
    "other optimisers": lambda be: GAMES["mlp"](
        be, optimizer_g=mg.SGD(mg.optim.linear(0.1, 9), momentum=0.9), optimizer_d=mg.Adam(1e-3, weight_decay=0.1)
    ),
    "penalties": lambda be: GAMES["mlp"](be, penalties=[mg.losses.R1(2.0), mg.losses.GradientPenalty(3.0)]),
    "penalties through BatchNorm": lambda be: GAMES["dcgan"](be, penalties=[mg.losses.R2(2.0), mg.losses.DRAGAN(3.0)]),
    "critic steps": lambda be: GAMES["mlp"](be, critic_steps=2, clip=0.05, objective=mg.losses.Wasserstein()),
    "lazy penalties": lambda be: GAMES["dcgan"](
        be, penalties=[mg.losses.GradientPenalty(3.0)], penalty_every=3, objective=mg.losses.Relativistic()
    ),
    "packed, with noise": lambda be: mg.GAN(
        *mg.models.dcgan(IMAGE, 5, 3, pack=2, backend=be),
        **{"pack": 2, "instance_noise": mg.optim.linear(0.3, 9), "penalties": [mg.losses.R1(2.0)], "critic_steps": 1},
    ),
    "packed, with penalties around the data": lambda be: mg.GAN(
        mg.models.mlp(IMAGE, 5, backend=be)[0],
        mg.Sequential([mg.Conv2d(3, 3, 2, 1), mg.Tanh(), mg.Flatten(), mg.Dense(1)], (*IMAGE[:-1], 2), be),
        **{"pack": 2, "penalties": [mg.losses.DRAGAN(2.0)]},
    ),
    "layers within layers": lambda be: mg.GAN(
        mg.Sequential([mg.Dense(16), mg.Residual([mg.BatchNorm(), mg.ReLU(), mg.Dense(16)]), *UP()], (5,), be),
        mg.Sequential(WITHIN(), IMAGE, be),
        penalties=[mg.losses.R1(2.0)],
        ema=0.9,
    ),
    "phase shuffle": lambda be: mg.GAN(
        mg.models.mlp(IMAGE, 5, backend=be)[0],
        mg.Sequential(
            [mg.Conv2d(3, (1, 5), (1, 2), (0, 2)), mg.LeakyReLU(), mg.PhaseShuffle(), mg.Flatten(), mg.Dense(1)], IMAGE, be
        ),
        penalties=[mg.losses.R1(2.0)],
        objective=mg.losses.Relativistic(),
    ),
    "dropout": lambda be: mg.GAN(mg.models.mlp(IMAGE, 5, backend=be)[0], mg.Sequential(DROPOUT(), IMAGE, be)),
}


def no_complaint(message):
    raise AssertionError(message)


def play(be, make, steps, captured, log=no_complaint):
    """(statistics of every step, state, random state) of a game; a batch of 6 of 20 makes epochs of three steps."""
    game, batches = make(be), Batches(DATA, 6, be)
    step = mg.capture(game, batches, log) if captured else lambda: game.step(batches.next())
    stats = [step() for _ in range(steps)]
    values = [{name: be.to_numpy(value).item() for name, value in each.items()} for each in stats]
    return values, game.state_dict(), game.random_state, batches.state


def same(ours, other):
    return (
        ours[0] == other[0] and all(np.array_equal(a, other[1][name]) for name, a in ours[1].items()) and ours[2:] == other[2:]
    )


class OneStep(mg.Step):
    """A step of two functions, and of the networks and optimisers that they use."""

    def __init__(self, backend, compute, advance=lambda: None, networks=(), optimizers=()):
        self.backend, self.compute, self.advance = backend, compute, advance
        self.networks, self.optimizers = dict(enumerate(networks)), dict(enumerate(optimizers))


def captured(backend, compute, log=no_complaint, **parts):
    """compute() as a captured step."""
    return mg.capture(OneStep(backend, compute, **parts), log=log)


class TwoBatches(mg.Step):
    """A game's step on two batches: both sets of scalars in one advance, or each within compute."""

    def __init__(self, game, batches, within):
        self.game, self.batches, self.within = game, batches, within
        self.backend, self.networks, self.optimizers = game.backend, game.networks, game.optimizers

    def advance(self):
        if not self.within:
            for _ in range(2):
                self.batches.advance()
                self.game.advance()

    def compute(self):
        if self.within:
            return [self.game.step(self.batches.next()) for _ in range(2)]
        return [self.game.compute(self.batches.take()) for _ in range(2)]


def check_two_batches(be, within):
    """Captured or not, a step that sets scalars twice does the same, and a capture that could not do so says why."""
    results, said = [], []
    for replayed in (False, True):
        game, batches = GAMES["average and schedule"](be), Batches(DATA, 6, be)
        step = TwoBatches(game, batches, within)
        step = mg.capture(step, log=said.append) if replayed else step
        stats = [{name: be.to_numpy(value).item() for name, value in each.items()} for _ in range(6) for each in step()]
        results.append((stats, game.state_dict(), game.random_state, batches.state))
    assert same(*results)
    assert len(said) == 1
    assert "DeviceScalar" in said[0]
