"""The games: what one training step is."""

from minigan.games.game import Game
from minigan.games.gan import GAN

__all__ = ["GAN", "Game"]
