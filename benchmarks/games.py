"""The games whose steps are measured: what `minigan train` is told, and all that a side of another library has to know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import minigan as mg
from minigan.data import Dataset
from minigan.training import Config, build_game
from minigan.training.settings import penalty_of

BATCHES = (1, 16, 64, 128, 512)
IMAGE = 28  # side of an image, unless a task names another


@dataclass(frozen=True)
class Game:
    """A game to be measured, by the options of `minigan train`: all others are those of its recipe.

    about: what it is, where that command does not say it. sizes: the batch sizes to measure; none for the recipe's own.
    kind: what its data are.
    """

    options: dict[str, Any]
    about: str = ""
    sizes: tuple[int, ...] = ()
    kind: str = "images"

    def config(self, image: int = IMAGE, width: int = 0) -> Config:
        """Its configuration, filled in. width: channels or hidden units in place of its own; image: the side of its images."""
        config = Config(**self.options, backend="numpy")
        if self.kind == "images" and image != IMAGE:
            config.image_size = (image, image)
        config.resolve(load_data(config))
        if width and config.hidden:
            config.hidden = (width,) * len(config.hidden)
        elif width:
            config.width = width
        return config

    @property
    def batches(self) -> tuple[int, ...]:
        return self.sizes or (Config(**self.options, kind=self.kind).recipe["batch_size"],)

    @property
    def command(self) -> str:
        """As one types it."""
        words = ["minigan train"]
        for name, value in self.options.items():
            words += [f"--{name}"] if value is True else [f"--{name}", *(value if isinstance(value, tuple) else [value])]
        return " ".join(map(str, words))

    @property
    def words(self) -> str:
        return self.about or self.command


COLOURED = "digits in three channels"
_REFERENCE: dict[str, Any] = {"latent_dim": 100, "lr": 2e-4, "beta1": 0.5, "beta2": 0.999, "ema": 0.0, "smoothing": 0.0}
GAMES = {
    "mlp": Game({"model": "mlp", "hidden": (128,), **_REFERENCE}, "the dense reference game", BATCHES),
    "dcgan": Game(
        {"model": "dcgan", "width": 64, "extra_conv": False, **_REFERENCE}, "the convolutional reference game", BATCHES
    ),
    "recipe": Game({}),
    "colour": Game({"data": COLOURED, "image_size": (64, 64)}, "the default recipe on images (64, 64, 3)", (64,)),
    "conditional": Game({"classes": True}),
    "r1": Game({"penalty": ("r1=1",)}),
    "recipe-mlp": Game({"model": "mlp"}),
    "points": Game({"data": "ring"}, kind="points"),
    "vae": Game({"game": "vae"}),
    "vae-conv": Game({"game": "vae", "model": "conv"}),
    "text": Game({"data": "names"}, kind="text"),
    "wave": Game({"data": "tones"}, kind="sound"),
    "sound-mlp": Game({"data": "tones", "model": "mlp"}, kind="sound"),
}


def load_data(config: Config) -> Dataset:
    """The dataset that a configuration names, with labels where it takes them."""
    return _load(config.data, config.image_size, config.classes)


@lru_cache(maxsize=4)
def _load(data: str, image_size: tuple[int, int] | None, classes: bool) -> Dataset:
    if data == COLOURED:
        digits = Config(image_size=image_size).load_data()
        return Dataset(data, digits.values.repeat(3, axis=-1))
    return Config(data=data, image_size=image_size, classes=classes).load_data()


def build(config: Config) -> mg.Game:
    """The game with the weights that every side starts from."""
    return build_game(config, load_data(config).shape, steps=1)


# -- as other libraries are told -----------------------------------------------------------------------------------------


def describe(layers: Sequence[mg.Layer]) -> list[dict[str, Any]]:
    """Layers as plain JSON, each with the shapes of its samples; those within a layer stand among its options."""
    return [
        {
            **{"name": layer.name, "input_shape": layer.input_shape, "output_shape": layer.output_shape},
            "options": {**layer.options, **({"layers": describe(layer.layers)} if layer.layers else {})},
        }
        for layer in layers
    ]


def adam_of(config: Config) -> dict[str, Any]:
    """What trains the networks: Adam's numbers, and the decay of the moving average of the one that makes samples."""
    return {"lr": config.lr, "betas": [config.beta1, config.beta2], "ema": config.ema or None}


def rules_of(config: Config) -> dict[str, Any]:
    """What is minimised, and what the step does besides."""
    if config.game == "vae":
        return {"game": "vae", "likelihood": config.likelihood, "sigma": config.sigma, "kl_weight": config.kl_weight}
    return {
        **{"game": "gan", "loss": config.loss, "smoothing": config.smoothing or 0.0},
        "penalties": [penalty_of(text) for text in config.penalty or ()],
        "penalty_every": config.penalty_every or 1,
        "instance_noise": config.instance_noise or 0.0,
        "classes": len(config.class_names or ()),
    }


# The game of Goodfellow et al. 2014 with nothing besides, as the reference games have it.
PLAIN = {
    **{"game": "gan", "loss": "non-saturating", "smoothing": 0.0, "penalties": [], "penalty_every": 1},
    **{"instance_noise": 0.0, "classes": 0},
}
