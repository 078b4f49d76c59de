"""What each model trains with, and the game that a configuration describes."""

from __future__ import annotations

from pathlib import Path

from minigan import models
from minigan.backends import get_backend
from minigan.games import GAN
from minigan.losses import NonSaturating, Saturating
from minigan.optim import SCHEDULES
from minigan.training import checkpoint
from minigan.training.config import Config
from minigan.training.folder import CHECKPOINT


def build_game(config: Config, shape: tuple[int, ...], steps: int) -> GAN:
    """The game that a resolved configuration describes, for samples of this shape and a run of so many steps."""
    size = {"width": config.width, "extra_conv": config.extra_conv} if config.model == "dcgan" else {"hidden": config.hidden}
    backend = get_backend(config.backend, config.precision)
    common = {"latent_dim": config.latent_dim, "backend": backend, "dtype": config.dtype, "seed": config.seed}
    generator, discriminator = models.build(config.model or "", image_shape=shape, **common, **size)
    assert config.lr is not None
    assert config.beta1 is not None
    assert config.beta2 is not None
    schedule = SCHEDULES[config.schedule]
    return GAN(
        generator,
        discriminator,
        lr=schedule(config.lr, steps),
        lr_d=schedule(config.lr_d or config.lr, steps),
        betas=(config.beta1, config.beta2),
        objective=(Saturating if config.saturating else NonSaturating)(config.smoothing or 0.0),
        ema=config.ema or None,
        seed=config.seed,
    )


def load_game(folder: str | Path, backend: str = "auto") -> tuple[GAN, Config]:
    """The trained game of a run folder, to sample from, on any backend. Raises CheckpointError if there is none."""
    arrays, info = checkpoint.load(Path(folder) / CHECKPOINT)
    config = Config.from_json(info["config"])
    config.backend, config.precision = backend, "float32"
    game = build_game(config, tuple(info["shape"]), steps=1)  # its optimisers will take no step
    game.load_state_dict(arrays)
    return game, config
