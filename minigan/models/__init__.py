"""Named pairs of networks. Each function returns (G, D), or of a VAE (encoder, decoder), built for the shape of a sample.

A new model is a file here and a line of `MODELS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from minigan.errors import ModelError, nearest_name
from minigan.models.dcgan import dcgan
from minigan.models.mlp import mlp
from minigan.models.text import text
from minigan.models.vae import vae_conv, vae_mlp
from minigan.models.wave import wave
from minigan.network import Sequential

# By game, then by name.
MODELS: dict[str, dict[str, Callable[..., tuple[Sequential, Sequential]]]] = {
    "gan": {"mlp": mlp, "dcgan": dcgan, "text": text, "wave": wave},
    "vae": {"mlp": vae_mlp, "conv": vae_conv},
}

__all__ = ["MODELS", "build", "dcgan", "mlp", "text", "vae_conv", "vae_mlp", "wave"]


def build(name: str, *shape: Sequence[int], game: str = "gan", **options: Any) -> tuple[Sequential, Sequential]:
    """The pair of that name for a game, "gan" or "vae", for samples of this shape, or of the model's own.

    Raises ModelError for an unknown name of either, with the nearest known one.
    """
    if game not in MODELS:
        raise ModelError(f"unknown game {game!r}: {nearest_name(game, MODELS)}")
    pairs = MODELS[game]
    if name not in pairs:
        raise ModelError(f"unknown model {name!r}: {nearest_name(name, pairs)}")
    return pairs[name](*shape, **options)
