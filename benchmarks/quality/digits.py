"""digits: what `minigan train` makes with no options, measured against the bundled digits by the classifier's features."""

from __future__ import annotations

import minigan as mg
from benchmarks.quality.protocol import Figure, Figures, Protocol, trained
from minigan.data import floats_to_pixels, load
from minigan.metrics.reference import OF_FEATURES, Reference
from minigan.training import RECIPES, Config, build_game

SAMPLES = 5_000
TITLES = {"frechet": "Fréchet", "kid": "KID x 1000"}
RECIPE = RECIPES["dcgan"]


def train(seed: int, steps: int) -> tuple[mg.GAN, Figures]:
    data = load("digits")
    config = Config(seed=seed, steps=steps, backend="numpy")
    config.resolve(data)
    return trained(build_game(config, data.shape, steps), data, RECIPE["batch_size"], steps, seed)


def measure(game: mg.GAN) -> Figures:
    data = load("digits")
    reference, samples = Reference(data, data.values), floats_to_pixels(game.sample(SAMPLES))
    return reference.quick(samples, reference.rows(samples))


DIGITS = Protocol(
    name="digits",
    about=f"`minigan train` with no options; {SAMPLES:,} samples against the 5,000 digits, features of minigan's classifier",
    figures={name: Figure(TITLES.get(name, name), 3, 1000 if name == "kid" else 1) for name in OF_FEATURES},
    published={},
    settings=RECIPE,
    steps=RECIPE["steps"],
    seeds=1,
    train=train,
    measure=measure,
)
