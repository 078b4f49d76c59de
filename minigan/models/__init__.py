"""Named generator/discriminator pairs. Each function returns (G, D), built for the shape of a sample, its first argument.

A new model is a file here and a line of `MODELS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from minigan.errors import ModelError, nearest_name
from minigan.models.dcgan import dcgan
from minigan.models.mlp import mlp
from minigan.models.text import text
from minigan.models.wave import wave
from minigan.network import Sequential

MODELS: dict[str, Callable[..., tuple[Sequential, Sequential]]] = {"mlp": mlp, "dcgan": dcgan, "text": text, "wave": wave}

__all__ = ["MODELS", "build", "dcgan", "mlp", "text", "wave"]


def build(name: str, *shape: Sequence[int], **options: Any) -> tuple[Sequential, Sequential]:
    """The pair of that name for samples of this shape, or of the model's own.

    Raises ModelError for an unknown name, with the nearest known one.
    """
    if name not in MODELS:
        raise ModelError(f"unknown model {name!r}: {nearest_name(name, MODELS)}")
    return MODELS[name](*shape, **options)
