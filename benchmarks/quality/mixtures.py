"""ring and grid: 8 and 25 Gaussians in the plane, on PacGAN's data and by its count.

Source: Lin et al. 2018 (PacGAN, arXiv:1712.04086), section 4.1 and table 1.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

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
    **{"latent_dim": 2, "hidden": (128, 128, 128), "batch_size": 256},
    **{"lr": 3e-3, "last_lr": 3e-5, "betas": (0.5, 0.9), "ema": 0.999},
}


def networks(settings: dict[str, Any], seed: int) -> tuple[mg.Sequential, mg.Sequential]:
    """G with Tanh, which makes the way from mode to mode steep; D with LeakyReLU, through which penalties are cheap."""

    def net(inputs: int, outputs: int, activation: Callable[[], mg.layers.Layer], part: int) -> mg.Sequential:
        hidden = [layer for width in settings["hidden"] for layer in (mg.Dense(width, weight_init=mg.he()), activation())]
        return mg.Sequential([*hidden, mg.Dense(outputs)], (inputs,), "numpy", seed=(seed, part))

    return net(settings["latent_dim"], 2, mg.Tanh, 0), net(2, 1, partial(mg.LeakyReLU, 0.2), 1)


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


def protocol(name: str, steps: int, penalty: float, published: dict[str, tuple[float | None, ...]]) -> Protocol:
    """The penalty's weight has the data's scale: with σ in its unit of length, D is as steep as 1/σ."""
    settings = {**SETTINGS, "penalty": penalty}
    centres, sigma = MODES[name]
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
    steps=6000,
    penalty=1e-3,
    published={
        "GAN (Lin et al. 2018)": (6.3, 0.982, 0.45),
        "PacGAN, m = 2": (7.9, 0.956, 0.07),
        "PacGAN, m = 4": (7.8, 0.959, 0.07),
    },
)
GRID = protocol(
    "grid",
    steps=6000,
    penalty=2e-2,
    published={
        "GAN (Lin et al. 2018)": (17.3, 0.948, 0.70),
        "PacGAN, m = 3": (24.6, 0.942, 0.06),
        "PacGAN, m = 4": (24.8, 0.936, 0.04),
    },
)
