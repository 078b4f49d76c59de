"""minigan: generative adversarial networks from scratch on plain arrays, on NumPy and on CuPy. No autodiff."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minigan import errors, losses, models, optim
from minigan.backends import get_backend
from minigan.capture import Step, capture
from minigan.errors import MiniganError
from minigan.games import GAN, Game
from minigan.initializers import constant, glorot, he, normal, zeros
from minigan.layers import (
    BatchNorm,
    Conv2d,
    ConvTranspose2d,
    Dense,
    Dropout,
    Elementwise,
    Flatten,
    Layer,
    LayerNorm,
    LeakyReLU,
    Linear,
    ReLU,
    Reshape,
    Sigmoid,
    Softplus,
    Tanh,
    Upsample,
)
from minigan.network import Sequential
from minigan.optim import SGD, Adam

if TYPE_CHECKING:
    from minigan.checks.game import check_game
    from minigan.checks.gradients import check_gradients, check_layer, check_loss
    from minigan.data import Batches
    from minigan.training import Run, train

__version__ = "0.1.0"

# Imported when first asked for, so that `import minigan` stays quick.
_LAZY = {
    "Batches": "minigan.data",
    "Run": "minigan.training",
    "check_game": "minigan.checks.game",
    "check_gradients": "minigan.checks.gradients",
    "check_layer": "minigan.checks.gradients",
    "check_loss": "minigan.checks.gradients",
    "train": "minigan.training",
}

__all__ = [
    "GAN",
    "SGD",
    "Adam",
    "BatchNorm",
    "Batches",
    "Conv2d",
    "ConvTranspose2d",
    "Dense",
    "Dropout",
    "Elementwise",
    "Flatten",
    "Game",
    "Layer",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "MiniganError",
    "ReLU",
    "Reshape",
    "Run",
    "Sequential",
    "Sigmoid",
    "Softplus",
    "Step",
    "Tanh",
    "Upsample",
    "capture",
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


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'minigan' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LAZY[name]), name)
