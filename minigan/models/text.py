"""Two networks on lines of text, with convolutions along the line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minigan.backends import Backend
from minigan.errors import ModelError
from minigan.initializers import he
from minigan.layers import Conv2d, Dense, Flatten, Layer, LeakyReLU, Reshape, Residual, Softmax
from minigan.network import Sequential
from minigan.sizes import numbers, positive_int, seed_parts

KERNEL = 5  # places that a convolution sees


def text(
    sample_shape: Sequence[int] = (12, 27),
    latent_dim: int = 64,
    width: int = 64,
    blocks: int = 2,
    backend: str | Backend = "auto",
    dtype: Any = "float32",
    seed: int = 0,
    pack: int = 1,
) -> tuple[Sequential, Sequential]:
    """Two residual networks on lines of L places, K letters, after Gulrajani et al. 2017 (arXiv:1704.00028), section 5.4.

    G: z -> Dense L·width -> blocks -> Conv2d K, k1 -> Softmax at each place.
    D: Conv2d width, k1 -> blocks -> Flatten, Dense 1. Its input is a line with 1 at the letter of each place, or what G makes.
    A block is x + 0.3 f(x), f: LeakyReLU 0.2, Conv2d width, LeakyReLU 0.2, Conv2d width, both 5 places wide. A line is an image
    of one row. With two blocks each place of 12 is seen from each other; the paper has five, of width 512, and ReLU: with
    LeakyReLU no curvature reaches below D's layers, so that penalties cost less. All weights start as He et al. 2015 have them.
    pack: lines that D judges at once (see minigan.GAN).
    Raises ModelError for a shape that is not (L, K), OptionError for sizes that are no whole numbers from 1 up.
    """
    shape, width = numbers(sample_shape, "sample_shape"), positive_int(width, "width")
    z_shape, seeds = (positive_int(latent_dim, "latent_dim"),), seed_parts(seed)
    if len(shape) != 2:
        raise ModelError(f"text makes lines (places, letters), not {shape}: for other data take another model")
    (places, letters), count = shape, positive_int(blocks, "blocks")
    generator = [
        Dense(places * width, weight_init=he()),
        Reshape((1, places, width)),
        *(_block(width) for _ in range(count)),
        Conv2d(letters, 1, weight_init=he()),
        Reshape(shape),
        Softmax(),
    ]
    seen = (places, positive_int(pack, "pack") * letters)
    discriminator = [
        Reshape((1, *seen)),
        Conv2d(width, 1, weight_init=he()),
        *(_block(width) for _ in range(count)),
        Flatten(),
        Dense(1, weight_init=he()),
    ]
    return (
        Sequential(generator, z_shape, backend, dtype, (*seeds, 0)),
        Sequential(discriminator, seen, backend, dtype, (*seeds, 1)),
    )


def _block(width: int) -> Layer:
    layers: list[Layer] = []
    for _ in range(2):
        layers += [LeakyReLU(0.2), Conv2d(width, (1, KERNEL), padding=(0, KERNEL // 2), weight_init=he())]
    return Residual(layers, scale=0.3)
