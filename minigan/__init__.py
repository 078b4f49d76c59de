"""minigan: generative adversarial networks from scratch on plain arrays, on NumPy and on CuPy. No autodiff.

import minigan as mg

net = mg.Sequential([mg.Dense(16), mg.ReLU(), mg.Dense(1)], input_shape=(2,))
y, caches = net.forward(x, train=True)  # x: an array (N, 2) of net.backend
loss, dy = mg.losses.bce_with_logits(y, targets)
dx = net.backward(dy, caches, grads=net.grads)  # overwrites net.grads
optimizer = mg.Adam(lr=1e-3)
optimizer.update(net)

gan = mg.GAN(*mg.models.dcgan(image_shape=(28, 28, 1)))
run = mg.train(gan, "digits", steps=1000)  # a run folder, as `minigan train` makes it
images = gan.sample(64, seed=1)  # a host array in [-1, 1]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minigan import errors, layers, losses, models, optim
from minigan.backends import get_backend
from minigan.capture import Step, capture
from minigan.errors import MiniganError
from minigan.games import GAN, VAE, Game
from minigan.initializers import constant, glorot, he, normal, zeros
from minigan.layers import *  # noqa: F403
from minigan.network import Sequential
from minigan.optim import SGD, Adam

if TYPE_CHECKING:
    from minigan import export, metrics
    from minigan.checks.game import check_game
    from minigan.checks.gradients import check_gradients, check_layer, check_loss
    from minigan.data import Batches
    from minigan.export import from_torch
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
    "export": "minigan",
    "from_torch": "minigan.export",
    "metrics": "minigan",
    "train": "minigan.training",
}

__all__ = [
    "GAN",
    "SGD",
    "VAE",
    "Adam",
    "Batches",
    "Game",
    "MiniganError",
    "Run",
    "Sequential",
    "Step",
    "capture",
    "check_game",
    "check_gradients",
    "check_layer",
    "check_loss",
    "constant",
    "errors",
    "export",
    "from_torch",
    "get_backend",
    "glorot",
    "he",
    "layers",
    "losses",
    "metrics",
    "models",
    "normal",
    "optim",
    "train",
    "zeros",
]
__all__ += layers.__all__  # a layer's name stands in one place


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'minigan' has no attribute {name!r}")
    from importlib import import_module

    return import_module(f"minigan.{name}") if _LAZY[name] == "minigan" else getattr(import_module(_LAZY[name]), name)
