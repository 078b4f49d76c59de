"""minigan: generative adversarial networks from scratch on plain arrays, on NumPy and on CuPy. No autodiff."""

from minigan import errors, losses, models, optim
from minigan.backends import get_backend
from minigan.checks.gradients import check_game, check_gradients, check_layer, check_loss
from minigan.errors import MiniganError
from minigan.games import GAN
from minigan.layers import (
    BatchNorm,
    Conv2d,
    ConvTranspose2d,
    Dense,
    Dropout,
    Flatten,
    Layer,
    LayerNorm,
    LeakyReLU,
    ReLU,
    Reshape,
    Sigmoid,
    Softplus,
    Tanh,
    Upsample,
    constant,
    glorot,
    he,
    normal,
    zeros,
)
from minigan.network import Sequential
from minigan.optim import SGD, Adam
from minigan.training import Run, train

__version__ = "0.1.0"

__all__ = [
    "GAN",
    "SGD",
    "Adam",
    "BatchNorm",
    "Conv2d",
    "ConvTranspose2d",
    "Dense",
    "Dropout",
    "Flatten",
    "Layer",
    "LayerNorm",
    "LeakyReLU",
    "MiniganError",
    "ReLU",
    "Reshape",
    "Run",
    "Sequential",
    "Sigmoid",
    "Softplus",
    "Tanh",
    "Upsample",
    "check_game",
    "check_gradients",
    "check_layer",
    "check_loss",
    "constant",
    "errors",
    "get_backend",
    "glorot",
    "he",
    "losses",
    "models",
    "normal",
    "optim",
    "train",
    "zeros",
]
