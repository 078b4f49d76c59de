"""Two dense networks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from minigan.backends import Backend
from minigan.errors import ModelError
from minigan.layers import Dense, Flatten, Layer, ReLU, Reshape, Tanh
from minigan.network import Sequential
from minigan.sizes import numbers, positive_int, seed_parts


def mlp(
    image_shape: Sequence[int] = (28, 28, 1),
    latent_dim: int = 100,
    hidden: int | Sequence[int] = 128,
    backend: str | Backend = "auto",
    dtype: Any = "float32",
    seed: int = 0,
    pack: int = 1,
    classes: int = 0,
) -> tuple[Sequential, Sequential]:
    """Two dense networks with ReLU: the paper's own kind (Goodfellow et al. 2014, section 5).

    G: z -> Dense hidden, ReLU -> Dense H·W·C, Tanh.  D: Dense hidden, ReLU -> Dense 1 (logit).
    hidden: the width of the hidden layer, or of each of several. image_shape may also be (T, C), for mono or stereo sound, or
    (K,), for points in the plane and the like: G's output is then not bounded by Tanh. pack: images that D judges at once (see
    minigan.GAN). classes: of a game with labels, G takes so many numbers beside z, and D puts out as many beside the logit.
    Raises OptionError for a shape or width that is not made of whole numbers from 1 up, ModelError for another kind of shape.
    """
    shape, widths = numbers(image_shape, "image_shape"), numbers(hidden, "hidden")
    classes, seeds = positive_int(classes, "classes", least=0), seed_parts(seed)
    z_shape = (positive_int(latent_dim, "latent_dim") + classes,)
    is_sound = len(shape) == 2 and shape[1] in (1, 2)
    if not (is_sound or len(shape) in (1, 3)):
        raise ModelError(f"mlp makes images (H, W, C), sound (T, 1) or (T, 2), or points (K,), not {shape}")
    size, is_bounded = math.prod(shape), len(shape) > 1

    def hidden_layers() -> list[Layer]:
        return [layer for width in widths for layer in (Dense(width), ReLU())]

    ending: list[Layer] = [Tanh(), Reshape(shape)] if is_bounded else []
    opening: list[Layer] = [Flatten()] if is_bounded else []
    generator = Sequential([*hidden_layers(), Dense(size), *ending], z_shape, backend, dtype, (*seeds, 0))
    seen = (*shape[:-1], positive_int(pack, "pack") * shape[-1])
    discriminator = Sequential([*opening, *hidden_layers(), Dense(1 + classes)], seen, backend, dtype, (*seeds, 1))
    return generator, discriminator
