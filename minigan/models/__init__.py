"""Named pairs of networks. Each function returns (G, D), or of a VAE (encoder, decoder), built for the shape of a sample.

A new model is a file here and a line of `MODELS`, or of `VAE_MODELS`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from minigan.errors import ModelError, nearest_name
from minigan.models.dcgan import dcgan
from minigan.models.mlp import mlp
from minigan.models.text import text
from minigan.models.vae import vae_conv, vae_mlp
from minigan.models.wave import wave
from minigan.network import Sequential

MODELS: dict[str, Callable[..., tuple[Sequential, Sequential]]] = {"mlp": mlp, "dcgan": dcgan, "text": text, "wave": wave}
VAE_MODELS: dict[str, Callable[..., tuple[Sequential, Sequential]]] = {"mlp": vae_mlp, "conv": vae_conv}
NAMES = tuple(dict.fromkeys((*MODELS, *VAE_MODELS)))  # of all models

__all__ = ["MODELS", "NAMES", "VAE_MODELS", "build", "dcgan", "mlp", "takes_classes", "text", "vae_conv", "vae_mlp", "wave"]


def takes_classes(name: str) -> bool:
    """Whether the pair of that name can be built for samples that are told apart by their classes."""
    return name in MODELS and "classes" in inspect.signature(MODELS[name]).parameters


def build(name: str, *shape: Sequence[int], game: str = "gan", **options: Any) -> tuple[Sequential, Sequential]:
    """The pair of that name for a game, "gan" or "vae", for samples of this shape, or of the model's own.

    Raises ModelError for an unknown name, with the nearest known one.
    """
    pairs = VAE_MODELS if game == "vae" else MODELS
    if name not in pairs:
        raise ModelError(f"unknown model {name!r}: {nearest_name(name, pairs)}")
    return pairs[name](*shape, **options)
