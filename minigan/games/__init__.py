"""The games: what one training step is."""

from minigan.games.gan import GAN

__all__ = ["GAN"]
