"""The last step from what a decoder puts out to samples."""

from __future__ import annotations

from minigan.games import VAE, Game
from minigan.layers import Elementwise
from minigan.losses import Bernoulli
from minigan.losses.variational import bernoulli_mean
from minigan.network import Sequential


class BernoulliMean(Elementwise):
    """The mean 2 σ(y) − 1 = tanh(y/2) of a pixel with the logit y, in [−1, 1]: as a sample of a VAE is drawn."""

    f = staticmethod(bernoulli_mean)


def trained_networks(game: Game, averaged: bool = True) -> dict[str, Sequential]:
    """The networks of a game by name, as they make its samples: of a decoder of logits, with the mean behind it.

    averaged: G with the moving average of its weights, where the game keeps one, as samples are drawn.
    """
    found = dict(game.networks)
    average = getattr(game, "average", None)
    if averaged and average is not None:
        found["generator"] = average
    if isinstance(game, VAE) and isinstance(game.likelihood, Bernoulli):
        found["decoder"] = with_layer(game.decoder, BernoulliMean())
    return found


def with_layer(net: Sequential, layer: Elementwise) -> Sequential:
    """A copy of a network that ends in one more layer, without weights."""
    longer = Sequential([*(own.fresh() for own in net.layers), layer], net.input_shape, net.backend, net.dtype)
    longer.load_state_dict(net.state_dict())
    return longer
