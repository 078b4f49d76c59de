"""stacked: three digits as one RGB image, 1,000 modes, by the small networks of the Unrolled paper.

Source: Metz et al. 2017 (Unrolled GANs, arXiv:1611.02163), appendix; Lin et al. 2018 (PacGAN, arXiv:1712.04086), table 3.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

import minigan as mg
from benchmarks.quality.protocol import Figure, Figures, Protocol, trained
from minigan.data import Dataset, load
from minigan.metrics.digits import digit_classifier, trained_weights

TRIPLES, SAMPLES, PART = 50_000, 25_600, 512
SETTINGS: dict[str, Any] = {
    **{"latent_dim": 256, "channels": (64, 32, 16, 8), "discriminator": (4, 8, 16), "pack": 2, "batch_size": 128},
    **{"lr": 1e-3, "lr_d": 3e-3, "betas": (0.5, 0.99), "eps": 1e-4, "ema": 0.999, "penalty": 3.0},
}


def networks(settings: dict[str, Any], seed: int) -> tuple[mg.Sequential, mg.Sequential]:
    """The paper's, with D half as wide as G; but D has no BatchNorm, through which a penalty would mix the samples."""
    first, *others = settings["channels"]
    g: list[mg.layers.Layer] = [mg.Dense(4 * 4 * first, bias=False), mg.Reshape((4, 4, first)), mg.BatchNorm(), mg.ReLU()]
    for index, channels in enumerate(others):  # 4 -> 7 -> 14 -> 28
        up = mg.ConvTranspose2d(channels, 3, stride=2, padding=1, output_padding=int(index > 0), bias=False)
        g += [up, mg.BatchNorm(), mg.ReLU()]
    g += [mg.Conv2d(3, 3, padding=1), mg.Tanh()]
    d: list[mg.layers.Layer] = []
    for channels in settings["discriminator"]:  # 28 -> 14 -> 7 -> 4
        d += [mg.Conv2d(channels, 3, stride=2, padding=1, weight_init=mg.he()), mg.LeakyReLU(0.3)]
    d += [mg.Flatten(), mg.Dense(1)]
    return (
        mg.Sequential(g, (settings["latent_dim"],), "numpy", seed=(seed, 0)),
        mg.Sequential(d, (28, 28, 3 * settings["pack"]), "numpy", seed=(seed, 1)),
    )


def triples(count: int, seed: int) -> Dataset:
    """Stacks of three digits drawn at random: uint8 (count, 28, 28, 3)."""
    digits = load("digits").values[..., 0]
    chosen = np.random.default_rng(seed).integers(0, len(digits), (count, 3))
    return Dataset("stacked digits", np.stack([digits[column] for column in chosen.T], axis=-1))


def train(settings: dict[str, Any], seed: int, steps: int) -> tuple[mg.GAN, Figures]:
    weight = settings["penalty"]
    game = mg.GAN(
        *networks(settings, seed),
        objective=mg.losses.Relativistic(),
        penalties=[mg.losses.R1(weight), mg.losses.R2(weight)],
        pack=settings["pack"],
        lr=settings["lr"],
        lr_d=settings["lr_d"],
        betas=settings["betas"],
        eps=settings["eps"],
        ema=settings["ema"],
        seed=seed,
    )
    return trained(game, triples(TRIPLES, seed), settings["batch_size"], steps, seed)


def classes(images: np.ndarray) -> np.ndarray:
    """Which of 1,000 modes each image (N, 28, 28, 3) in [−1, 1] shows: the classifier's digit in each channel."""
    classifier = digit_classifier()
    classifier.load_state_dict(trained_weights())
    digits = np.concatenate(
        [
            classifier.forward(np.moveaxis(part, -1, 1).reshape(-1, 28, 28, 1).astype(np.float32))[0].argmax(axis=1)
            for part in (images[start : start + PART] for start in range(0, len(images), PART))
        ]
    )
    return digits.reshape(-1, 3) @ np.array([100, 10, 1])


def of_classes(found: np.ndarray, count: int = 1000) -> Figures:
    """How many modes were found, and KL(p ‖ u) = Σ_m p_m log(p_m count) of their shares p against equal ones."""
    shares = np.bincount(found, minlength=count) / len(found)
    shares = shares[shares > 0]
    return {"modes": len(shares), "kl": float((shares * np.log(shares * count)).sum())}


def measure(game: mg.GAN) -> Figures:
    return of_classes(classes(game.sample(SAMPLES)))


STACKED = Protocol(
    name="stacked",
    about=f"three digits as RGB, 1,000 modes, D half as wide as G; {SAMPLES:,} samples, classified channel by channel",
    figures={"modes": Figure("modes", 1), "kl": Figure("KL", 3)},
    published={
        "DCGAN (Metz et al. 2017)": (628, 2.58),
        "Unrolled, 10 steps": (817, 1.43),
        "PacGAN, m = 2 (Lin et al. 2018)": (841, 1.00),
        "PacGAN, m = 3": (867, 0.90),
    },
    settings=SETTINGS,
    steps=1500,
    seeds=1,
    train=partial(train, SETTINGS),
    measure=measure,
)
