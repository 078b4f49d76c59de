"""Two convolutional networks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from minigan.backends import Backend
from minigan.errors import ModelError, nearest_name
from minigan.initializers import normal
from minigan.layers import BatchNorm, Conv2d, ConvTranspose2d, Dense, Flatten, Layer, LeakyReLU, ReLU, Reshape, Tanh, Upsample
from minigan.network import Sequential
from minigan.sizes import numbers, positive_int, seed_parts

START = normal(0.02)  # the paper's, for every weight
LEAST_SIDE = 4  # of the smallest image within a network, if that leaves two strided layers
LEAST_STRIDES = 2
SMALLEST = 2**LEAST_STRIDES  # side, of which those of all images are multiples
WIDEST = 8  # times `width`: the most channels of an image, as in the paper's four layers
UPSAMPLINGS = ("transposed", "resize")


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
    upsample: str = "transposed",
) -> tuple[Sequential, Sequential]:
    """Two convolutional networks after Radford et al. 2015 (arXiv:1511.06434), with as many strided layers as images need.

    These are S: 28×28 has two (7×7 is the smallest image within), 64×64 four and 128×128 five (4×4). A size that comes out even
    fewer times has fewer, and a larger smallest image: 100×100 has two (25×25), 96×100 two (24×25), 12×12 two (3×3), as every
    size has at least; see `stride_count`. An image that is halved i times has w_i = min(2^(i−1), 8) · width channels.
    G: z -> Dense H/2^S·W/2^S·w_S (no bias), Reshape, BatchNorm, ReLU -> for i = S − 1 … 1: ConvTranspose2d w_i, k4 s2 p1
       (no bias), BatchNorm, ReLU -> ConvTranspose2d C, k4 s2 p1, Tanh
    D: Conv2d w_1, k4 s2 p1, LeakyReLU 0.2 -> for i = 2 … S: Conv2d w_i, k4 s2 p1 (no bias), BatchNorm, LeakyReLU 0.2
       -> Flatten, Dense 1
    All weights start from N(0, 0.02²).
    extra_conv: the relative that `minigan train` prefers. G gets one more Conv2d width, k3 s1 p1 (no bias), BatchNorm, ReLU at
       half the image's size, D one more Conv2d w_S, k3 s1 p1, LeakyReLU at the smallest, and D has no BatchNorm. Both
       learn to draw strokes in fewer steps; the reference is faster by the step.
    pack: images that D judges at once, as pack · C channels (see minigan.GAN). classes: of a game with labels, G takes so many
    numbers beside z, and D puts out so many more beside the logit.
    upsample: how G doubles an image: "transposed", as above; "resize": Upsample 2 (nearest neighbour), then Conv2d k3 s1 p1 in
        place of each ConvTranspose2d. The four outputs at a pixel of a transposed convolution come from weights of their own,
        which may draw a checkerboard; those of a resized image share theirs (Odena et al. 2016,
        distill.pub/2016/deconv-checkerboard).
    Raises ModelError unless H and W are divisible by 4 and C is 1 or 3: the message says which sizes would fit; and for another
    way of doubling.
    """
    shape, width = numbers(image_shape, "image_shape"), positive_int(width, "width")
    classes, seeds = positive_int(classes, "classes", least=0), seed_parts(seed)
    z_shape = (positive_int(latent_dim, "latent_dim") + classes,)
    if len(shape) != 3 or shape[2] not in (1, 3):
        raise ModelError(f"dcgan makes images (H, W, 1) or (H, W, 3), not {shape}: for other data take the model mlp")
    if upsample not in UPSAMPLINGS:
        raise ModelError(f"unknown upsample {upsample!r}: {nearest_name(str(upsample), UPSAMPLINGS)}")
    height, breadth, channels = shape
    if height % SMALLEST or breadth % SMALLEST:
        found = f"dcgan needs a height and width divisible by {SMALLEST}, got {height}x{breadth}"
        raise ModelError(f"{found}: {_fitting(height, breadth)} would fit")
    count = stride_count(height, breadth)
    widths = [width * min(2**i, WIDEST) for i in range(count)]  # from the widest image to the smallest
    generator = _generator((height >> count, breadth >> count), widths, channels, extra_conv, upsample)
    discriminator = _discriminator(widths, extra_conv, 1 + classes)
    seen = (height, breadth, positive_int(pack, "pack") * channels)
    return (
        Sequential(generator, z_shape, backend, dtype, (*seeds, 0)),
        Sequential(discriminator, seen, backend, dtype, (*seeds, 1)),
    )


def stride_count(height: int, width: int) -> int:
    """How often an image is halved: until its smaller side is 4 to 7, but at least twice, and no more often than both sides
    come out even, so that it may stay larger (100×100: twice).
    """
    count = max(LEAST_STRIDES, (min(height, width) // LEAST_SIDE).bit_length() - 1)
    while height % 2**count or width % 2**count:
        count -= 1
    return count


def _fitting(height: int, width: int) -> str:
    """The next sizes that fit, in words: the one below, where there is one, and the one above."""
    below, above = ([n // SMALLEST * SMALLEST for n in (height + more, width + more)] for more in (0, SMALLEST - 1))
    return " and ".join("x".join(map(str, size)) for size in (below, above) if all(size))


def _generator(smallest: tuple[int, int], widths: Sequence[int], channels: int, extra_conv: bool, upsample: str) -> list[Layer]:
    first_image = (*smallest, widths[-1])
    extra = [Conv2d(widths[0], 3, padding=1, bias=False, weight_init=START), BatchNorm(), ReLU()] if extra_conv else []
    doubled = [[*doubling(width, upsample, bias=False), BatchNorm(), ReLU()] for width in reversed(widths[:-1])]
    return [
        Dense(math.prod(first_image), bias=False, weight_init=START),
        Reshape(first_image),
        BatchNorm(),
        ReLU(),
        *(layer for layers in doubled for layer in layers),
        *extra,
        *doubling(channels, upsample),
        Tanh(),
    ]


def doubling(channels: int, upsample: str, bias: bool = True) -> list[Layer]:
    """The layers that make an image twice as large."""
    if upsample == "resize":
        return [Upsample(2), Conv2d(channels, 3, padding=1, bias=bias, weight_init=START)]
    return [ConvTranspose2d(channels, 4, stride=2, padding=1, bias=bias, weight_init=START)]


def _discriminator(widths: Sequence[int], extra_conv: bool, outputs: int) -> list[Layer]:
    extra = [Conv2d(widths[-1], 3, padding=1, weight_init=START), LeakyReLU(0.2)] if extra_conv else []
    norm: list[type[Layer]] = [] if extra_conv else [BatchNorm]
    halved = [
        [Conv2d(width, 4, stride=2, padding=1, bias=extra_conv, weight_init=START), *(made() for made in norm), LeakyReLU(0.2)]
        for width in widths[1:]
    ]
    return [
        Conv2d(widths[0], 4, stride=2, padding=1, weight_init=START),
        LeakyReLU(0.2),
        *(layer for layers in halved for layer in layers),
        *extra,
        Flatten(),
        Dense(outputs, weight_init=START),
    ]
