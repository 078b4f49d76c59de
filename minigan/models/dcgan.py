"""Two convolutional networks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from minigan.backends import Backend
from minigan.errors import ModelError
from minigan.initializers import normal
from minigan.layers import BatchNorm, Conv2d, ConvTranspose2d, Dense, Flatten, Layer, LeakyReLU, ReLU, Reshape, Tanh
from minigan.network import Sequential
from minigan.sizes import numbers, positive_int, seed_parts

START = normal(0.02)  # the paper's, for every weight


def dcgan(
    image_shape: Sequence[int] = (28, 28, 1),
    latent_dim: int = 100,
    width: int = 64,
    extra_conv: bool = False,
    backend: str | Backend = "auto",
    dtype: Any = "float32",
    seed: int = 0,
    pack: int = 1,
    classes: int = 0,
) -> tuple[Sequential, Sequential]:
    """Two convolutional networks after Radford et al. 2015 (arXiv:1511.06434), with two strided layers each.

    G: z -> Dense H/4·W/4·2·width (no bias), Reshape, BatchNorm, ReLU -> ConvTranspose2d width, k4 s2 p1 (no bias), BatchNorm,
       ReLU -> ConvTranspose2d C, k4 s2 p1, Tanh
    D: Conv2d width, k4 s2 p1, LeakyReLU 0.2 -> Conv2d 2·width, k4 s2 p1 (no bias), BatchNorm, LeakyReLU 0.2 -> Flatten, Dense 1
    All weights start from N(0, 0.02²).
    extra_conv: the relative that `minigan train` prefers. G gets one more Conv2d width, k3 s1 p1 (no bias), BatchNorm, ReLU at
       half the image's size, D one more Conv2d 2·width, k3 s1 p1, LeakyReLU at a quarter of it, and D has no BatchNorm. Both
       learn to draw strokes in fewer steps; the reference is faster by the step.
    pack: images that D judges at once, as pack · C channels (see minigan.GAN). classes: of a game with labels, G takes so many
    numbers beside z, and D puts out so many more beside the logit.
    Raises ModelError unless H and W are divisible by 4 and C is 1 or 3: the message says which size would fit.
    """
    shape, width = numbers(image_shape, "image_shape"), positive_int(width, "width")
    classes, seeds = positive_int(classes, "classes", least=0), seed_parts(seed)
    z_shape = (positive_int(latent_dim, "latent_dim") + classes,)
    if len(shape) != 3 or shape[2] not in (1, 3):
        raise ModelError(f"dcgan makes images (H, W, 1) or (H, W, 3), not {shape}: for other data take the model mlp")
    height, breadth, channels = shape
    if height % 4 or breadth % 4:
        near = tuple(max(4, 4 * round(n / 4)) for n in (height, breadth))
        raise ModelError(
            f"dcgan needs a height and width divisible by 4, got {height}x{breadth}: {near[0]}x{near[1]} would fit"
        )
    generator = _generator((height // 4, breadth // 4, 2 * width), channels, extra_conv)
    discriminator, seen = (
        _discriminator(width, extra_conv, 1 + classes),
        (height, breadth, positive_int(pack, "pack") * channels),
    )
    return (
        Sequential(generator, z_shape, backend, dtype, (*seeds, 0)),
        Sequential(discriminator, seen, backend, dtype, (*seeds, 1)),
    )


def _generator(first_image: tuple[int, int, int], channels: int, extra_conv: bool) -> list[Layer]:
    width = first_image[2] // 2
    extra = [Conv2d(width, 3, padding=1, bias=False, weight_init=START), BatchNorm(), ReLU()] if extra_conv else []
    return [
        Dense(math.prod(first_image), bias=False, weight_init=START),
        Reshape(first_image),
        BatchNorm(),
        ReLU(),
        ConvTranspose2d(width, 4, stride=2, padding=1, bias=False, weight_init=START),
        BatchNorm(),
        ReLU(),
        *extra,
        ConvTranspose2d(channels, 4, stride=2, padding=1, weight_init=START),
        Tanh(),
    ]


def _discriminator(width: int, extra_conv: bool, outputs: int) -> list[Layer]:
    extra = [Conv2d(2 * width, 3, padding=1, weight_init=START), LeakyReLU(0.2)] if extra_conv else []
    return [
        Conv2d(width, 4, stride=2, padding=1, weight_init=START),
        LeakyReLU(0.2),
        Conv2d(2 * width, 4, stride=2, padding=1, bias=extra_conv, weight_init=START),
        *([] if extra_conv else [BatchNorm()]),
        LeakyReLU(0.2),
        *extra,
        Flatten(),
        Dense(outputs, weight_init=START),
    ]
