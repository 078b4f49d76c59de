"""Named generator/discriminator pairs. Each function returns (G, D), built for an image shape (H, W, C)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from minigan.backends import Backend
from minigan.errors import ModelError, OptionError, nearest_name
from minigan.layers import (
    BatchNorm,
    Conv2d,
    ConvTranspose2d,
    Dense,
    Flatten,
    Layer,
    LeakyReLU,
    ReLU,
    Reshape,
    Tanh,
    normal,
)
from minigan.network import Sequential

MODELS = ("mlp", "dcgan")


def mlp(
    image_shape: Sequence[int] = (28, 28, 1),
    latent_dim: int = 100,
    hidden: int | Sequence[int] = 128,
    backend: str | Backend = "auto",
    dtype: Any = "float32",
    seed: int = 0,
) -> tuple[Sequential, Sequential]:
    """Two dense networks with ReLU: the paper's own kind (Goodfellow et al. 2014, section 5).

    G: z -> Dense hidden, ReLU -> Dense H·W·C, Tanh.  D: Dense hidden, ReLU -> Dense 1 (logit).
    hidden: the width of the hidden layer, or of each of several. image_shape may also be (K,), for points in the plane and
    the like: G's output is then not bounded by Tanh.
    Raises OptionError for a shape or width that is not made of whole numbers from 1 up, ModelError for another kind of shape.
    """
    shape = tuple(int(n) for n in image_shape)
    widths = [hidden] if isinstance(hidden, int) else list(hidden)
    _check_sizes(image_shape=shape, latent_dim=[latent_dim], hidden=widths)
    if len(shape) not in (1, 3):
        raise ModelError(f"mlp makes images (H, W, C) or points (K,), not {shape}")
    size, is_image = math.prod(shape), len(shape) == 3

    def hidden_layers() -> list[Layer]:
        return [layer for width in widths for layer in (Dense(width), ReLU())]

    ending: list[Layer] = [Tanh(), Reshape(shape)] if is_image else []
    opening: list[Layer] = [Flatten()] if is_image else []
    generator = Sequential([*hidden_layers(), Dense(size), *ending], (latent_dim,), backend, dtype, (seed, 0))
    discriminator = Sequential([*opening, *hidden_layers(), Dense(1)], shape, backend, dtype, (seed, 1))
    return generator, discriminator


def dcgan(
    image_shape: Sequence[int] = (28, 28, 1),
    latent_dim: int = 100,
    width: int = 64,
    extra_conv: bool = False,
    backend: str | Backend = "auto",
    dtype: Any = "float32",
    seed: int = 0,
) -> tuple[Sequential, Sequential]:
    """Two convolutional networks after Radford et al. 2015 (arXiv:1511.06434), with two strided layers each.

    G: z -> Dense H/4·W/4·2·width (no bias), Reshape, BatchNorm, ReLU -> ConvTranspose2d width, k4 s2 p1 (no bias), BatchNorm,
       ReLU -> ConvTranspose2d C, k4 s2 p1, Tanh
    D: Conv2d width, k4 s2 p1, LeakyReLU 0.2 -> Conv2d 2·width, k4 s2 p1 (no bias), BatchNorm, LeakyReLU 0.2 -> Flatten, Dense 1
    All weights start from N(0, 0.02²).
    extra_conv: the relative that `minigan train` prefers. G gets one more Conv2d width, k3 s1 p1 (no bias), BatchNorm, ReLU at
       half the image's size, D one more Conv2d 2·width, k3 s1 p1, LeakyReLU at a quarter of it, and D has no BatchNorm. Both
       learn to draw strokes in fewer steps; the reference is faster by the step.
    Raises ModelError unless H and W are divisible by 4 and C is 1 or 3: the message says which size would fit.
    """
    shape = tuple(int(n) for n in image_shape)
    _check_sizes(image_shape=shape, latent_dim=[latent_dim], width=[width])
    if len(shape) != 3 or shape[2] not in (1, 3):
        raise ModelError(f"dcgan makes images (H, W, 1) or (H, W, 3), not {shape}: for other data take the model mlp")
    height, breadth, channels = shape
    if height % 4 or breadth % 4:
        near = tuple(max(4, 4 * round(n / 4)) for n in (height, breadth))
        raise ModelError(
            f"dcgan needs a height and width divisible by 4, got {height}x{breadth}: {near[0]}x{near[1]} would fit"
        )

    start = normal(0.02)
    seed_image = (height // 4, breadth // 4, 2 * width)
    extra_g: list[Layer] = (
        [Conv2d(width, 3, padding=1, bias=False, weight_init=start), BatchNorm(), ReLU()] if extra_conv else []
    )
    extra_d: list[Layer] = [Conv2d(2 * width, 3, padding=1, weight_init=start), LeakyReLU(0.2)] if extra_conv else []
    norm_d: list[Layer] = [] if extra_conv else [BatchNorm()]
    generator = [
        Dense(math.prod(seed_image), bias=False, weight_init=start),
        Reshape(seed_image),
        BatchNorm(),
        ReLU(),
        ConvTranspose2d(width, 4, stride=2, padding=1, bias=False, weight_init=start),
        BatchNorm(),
        ReLU(),
        *extra_g,
        ConvTranspose2d(channels, 4, stride=2, padding=1, weight_init=start),
        Tanh(),
    ]
    discriminator = [
        Conv2d(width, 4, stride=2, padding=1, weight_init=start),
        LeakyReLU(0.2),
        Conv2d(2 * width, 4, stride=2, padding=1, bias=extra_conv, weight_init=start),
        *norm_d,
        LeakyReLU(0.2),
        *extra_d,
        Flatten(),
        Dense(1, weight_init=start),
    ]
    return (
        Sequential(generator, (latent_dim,), backend, dtype, (seed, 0)),
        Sequential(discriminator, shape, backend, dtype, (seed, 1)),
    )


def build(name: str, **options: Any) -> tuple[Sequential, Sequential]:
    """The pair of that name. Raises ModelError for an unknown name, with the nearest known one."""
    if name not in MODELS:
        raise ModelError(f"unknown model {name!r}: {nearest_name(name, MODELS)}")
    return mlp(**options) if name == "mlp" else dcgan(**options)


def _check_sizes(**sizes: Sequence[int]) -> None:
    for name, values in sizes.items():
        if not values or not all(isinstance(n, (int, np.integer)) and n >= 1 for n in values):
            raise OptionError(f"{name} is {tuple(values)}: expected whole numbers from 1 up")
