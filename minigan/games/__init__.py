"""The games: what one training step is."""

from minigan.games.game import Game, Picture
from minigan.games.gan import GAN
from minigan.games.vae import VAE

__all__ = ["GAN", "VAE", "Game", "Picture"]
