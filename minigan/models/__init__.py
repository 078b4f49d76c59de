"""Named generator/discriminator pairs. Each function returns (G, D), built for an image shape (H, W, C) or another.

A new model is a file here and a line of `MODELS`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minigan.errors import ModelError, nearest_name
from minigan.models.dcgan import dcgan
from minigan.models.mlp import mlp
from minigan.models.wave import wave
from minigan.network import Sequential

MODELS: dict[str, Callable[..., tuple[Sequential, Sequential]]] = {"mlp": mlp, "dcgan": dcgan, "wave": wave}

__all__ = ["MODELS", "build", "dcgan", "mlp", "wave"]


def build(name: str, **options: Any) -> tuple[Sequential, Sequential]:
    """The pair of that name. Raises ModelError for an unknown name, with the nearest known one."""
    if name not in MODELS:
        raise ModelError(f"unknown model {name!r}: {nearest_name(name, MODELS)}")
    return MODELS[name](**options)
