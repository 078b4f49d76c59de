"""Two networks of one-dimensional convolutions, for sound."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minigan.backends import Backend
from minigan.errors import ModelError
from minigan.layers import Conv2d, ConvTranspose2d, Dense, Flatten, Layer, LeakyReLU, PhaseShuffle, ReLU, Reshape, Tanh
from minigan.network import Sequential
from minigan.sizes import numbers, positive_int, seed_parts

STRIDE, FIRST = 4, 16  # of each convolution; values in time below the first one, at the least
IN_TIME: dict[str, Any] = {"kernel_size": (1, 25), "stride": (1, STRIDE), "padding": (0, 11)}
SHUFFLE = 2  # places that D's phases move by, at the most: the paper's choice


def wave(
    image_shape: Sequence[int] = (4096, 1),
    latent_dim: int = 100,
    width: int = 32,
    backend: str | Backend = "auto",
    dtype: Any = "float32",
    seed: int = 0,
    pack: int = 1,
) -> tuple[Sequential, Sequential]:
    """Two convolutional networks in time after Donahue et al. 2019 (arXiv:1802.04208, tables 3 and 4): WaveGAN.

    Sound (T, C) is an image of height 1, with kernels (1, 25) and strides (1, 4). With L strided layers:
    G: z -> Dense T/4^L·2^(L−1)·width, Reshape, ReLU -> L − 1 times ConvTranspose2d, which halves the channels, down to width,
       ReLU -> ConvTranspose2d C, Tanh
    D: Conv2d width, LeakyReLU 0.2 -> L − 1 times PhaseShuffle 2, Conv2d, which doubles the channels, LeakyReLU 0.2
       -> Flatten, Dense 1
    L is as large as leaves 16 values in time below the first layer of G: 2 for 256 values, 4 for 4,096, 5 for 16,384.
    image_shape: (T, C), the shape of a sound. pack: sounds that D judges at once, as pack · C channels (see minigan.GAN).
    Raises ModelError unless T is at least 64 and divisible by 4^L: the message says which lengths would fit.
    """
    shape, width = numbers(image_shape, "image_shape"), positive_int(width, "width")
    z_shape, seeds = (positive_int(latent_dim, "latent_dim"),), seed_parts(seed)
    if len(shape) != 2:
        raise ModelError(f"wave makes sound (T, C), not {shape}: for images take the model dcgan, for points mlp")
    length, channels = shape
    depth = strided_layers(length)
    generator = _generator(length // STRIDE**depth, channels, width, depth, shape)
    discriminator, seen = _discriminator(width, depth, length), (length, positive_int(pack, "pack") * channels)
    return (
        Sequential(generator, z_shape, backend, dtype, (*seeds, 0)),
        Sequential(discriminator, seen, backend, dtype, (*seeds, 1)),
    )


def strided_layers(length: int) -> int:
    """How many layers of stride 4 leave at least 16 values in time. Raises ModelError for a length that they do not divide."""
    depth = 0
    while length >= FIRST * STRIDE ** (depth + 1):
        depth += 1
    step = STRIDE ** max(1, depth)
    if not depth or length % step:
        least = FIRST * STRIDE
        near = sorted({max(least, length // step * step), max(least, -(-length // step) * step)})
        raise ModelError(
            f"wave makes sound of at least {least} values, a multiple of {step}, got {length}: a length of "
            f"{' or '.join(map(str, near))} would fit"
        )
    return depth


def _generator(first: int, channels: int, width: int, depth: int, shape: tuple[int, ...]) -> list[Layer]:
    widest = width * 2 ** (depth - 1)
    layers: list[Layer] = [Dense(first * widest), Reshape((1, first, widest)), ReLU()]
    for index in range(1, depth):
        layers += [ConvTranspose2d(widest // 2**index, **IN_TIME, output_padding=(0, 1)), ReLU()]
    return [*layers, ConvTranspose2d(channels, **IN_TIME, output_padding=(0, 1)), Tanh(), Reshape(shape)]


def _discriminator(width: int, depth: int, length: int) -> list[Layer]:
    layers: list[Layer] = [Reshape((1, length, -1))]
    for index in range(depth):
        shuffled: list[Layer] = [PhaseShuffle(SHUFFLE)] if index else []
        layers += [*shuffled, Conv2d(width * 2**index, **IN_TIME), LeakyReLU(0.2)]
    return [*layers, Flatten(), Dense(1)]
