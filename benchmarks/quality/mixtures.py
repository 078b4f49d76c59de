"""ring and grid: 8 and 25 Gaussians in the plane, on PacGAN's data and by its count.

Source: Lin et al. 2018 (PacGAN, arXiv:1712.04086), section 4.1 and table 1.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

import minigan as mg
from benchmarks.quality.protocol import Figure, Figures, Protocol, trained
from minigan.data import Dataset
from minigan.data.synthetic import MODES, drawn_around

POINTS, SAMPLES = 100_000, 2_500
FIGURES = {
    "modes": Figure("modes", 1),
    "high_quality": Figure("high quality, %", 1, 100),
    "reverse_kl": Figure("reverse KL", 3),
}
SETTINGS: dict[str, Any] = {
    **{"latent_dim": 2, "hidden_g": (128,) * 4, "hidden_d": (128,) * 3, "gain_g": 2.0, "batch_size": 128},
    **{"lr": 5e-3, "last_lr": 5e-5, "betas": (0.5, 0.9), "ema": 0.999},
}


def networks(settings: dict[str, Any], seed: int) -> tuple[mg.Sequential, mg.Sequential]:
    """G with Tanh and large weights, by which the way from mode to mode is steep; D with LeakyReLU: penalties are cheap."""

    def scaled_he(gain: float, rng: np.random.Generator, shape: tuple[int, ...], fan_in: int, fan_out: int) -> np.ndarray:
        return gain * mg.he()(rng, shape, fan_in, fan_out)

    g: list[mg.layers.Layer] = []
    for width in settings["hidden_g"]:
        g += [mg.Dense(width, weight_init=partial(scaled_he, settings["gain_g"])), mg.Tanh()]
    d: list[mg.layers.Layer] = []
    for width in settings["hidden_d"]:
        d += [mg.Dense(width, weight_init=mg.he()), mg.LeakyReLU(0.2)]
    return (
        mg.Sequential([*g, mg.Dense(2)], (settings["latent_dim"],), "numpy", seed=(seed, 0)),
        mg.Sequential([*d, mg.Dense(1)], (2,), "numpy", seed=(seed, 1)),
    )


def game(settings: dict[str, Any], seed: int, steps: int) -> mg.GAN:
    """R3GAN's: the relativistic loss with both zero-centred penalties (Huang et al. 2024, arXiv:2501.05441, section 2)."""
    weight = settings["penalty"]
    return mg.GAN(
        *networks(settings, seed),
        objective=mg.losses.Relativistic(),
        penalties=[mg.losses.R1(weight), mg.losses.R2(weight)],
        lr=mg.optim.cosine(settings["lr"], steps, settings["last_lr"]),
        betas=settings["betas"],
        ema=settings["ema"],
        seed=seed,
    )


def train(name: str, settings: dict[str, Any], seed: int, steps: int) -> tuple[mg.GAN, Figures]:
    data = Dataset(name, drawn_around(*MODES[name], POINTS, seed))
    return trained(game(settings, seed, steps), data, settings["batch_size"], steps, seed)


def measure(name: str, game: mg.GAN) -> Figures:
    return mg.metrics.modes(game.sample(SAMPLES), *MODES[name])


def protocol(name: str, steps: int, published: dict[str, tuple[float | None, ...]], **own: Any) -> Protocol:
    """The penalties' weight goes with σ², for between a mode and its surroundings D's slope is of the order of 1/σ."""
    centres, sigma = MODES[name]
    settings = {**SETTINGS, "penalty": 5 * sigma**2, **own}
    return Protocol(
        name=name,
        about=f"{len(centres)} Gaussians, σ {sigma:g}, {POINTS:,} points; {SAMPLES:,} samples, high quality within 3 σ",
        figures=FIGURES,
        published=published,
        settings=settings,
        steps=steps,
        seeds=10,
        train=partial(train, name, settings),
        measure=partial(measure, name),
    )


RING = protocol(
    "ring",
    steps=12_000,
    published={
        "GAN (Lin et al. 2018)": (6.3, 0.982, 0.45),
        "PacGAN, m = 2": (7.9, 0.956, 0.07),
        "PacGAN, m = 4": (7.8, 0.959, 0.07),
    },
)
GRID = protocol(
    "grid",
    steps=16_000,
    batch_size=256,  # with 128, one seed of ten had lost a mode
    published={
        "GAN (Lin et al. 2018)": (17.3, 0.948, 0.70),
        "PacGAN, m = 3": (24.6, 0.942, 0.06),
        "PacGAN, m = 4": (24.8, 0.936, 0.04),
    },
)
