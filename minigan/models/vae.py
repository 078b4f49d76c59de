"""Two pairs of an encoder and a decoder: dense, and convolutional."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from minigan.backends import Backend
from minigan.errors import ModelError
from minigan.initializers import he
from minigan.layers import Conv2d, ConvTranspose2d, Dense, Flatten, Layer, ReLU, Reshape, Tanh
from minigan.network import Sequential
from minigan.sizes import numbers, positive_int, seed_parts

CODE_UNITS = 8  # of the dense layers beside the code, in units of the width


def vae_mlp(
    image_shape: Sequence[int] = (28, 28, 1),
    latent_dim: int = 20,
    hidden: int | Sequence[int] = 400,
    bounded: bool = False,
    backend: str | Backend = "auto",
    dtype: Any = "float32",
    seed: int = 0,
) -> tuple[Sequential, Sequential]:
    """(encoder, decoder), dense with tanh, one hidden layer each, after Kingma and Welling 2014 (arXiv:1312.6114), appendix C.

    Encoder: x -> Dense hidden, Tanh -> Dense 2·latent_dim (μ, log σ²).  Decoder: z -> Dense hidden, Tanh -> Dense H·W·C.
    hidden: the width of the hidden layer, or of each of several, for the decoder in reverse order; the paper has 500.
    image_shape may also be (K,), for points in the plane. bounded: the decoder ends in Tanh, for a Gaussian likelihood of
    images (the paper, section 5, bounds its means by a sigmoid).
    Raises OptionError for a shape or width that is not made of whole numbers from 1 up, ModelError for another kind of shape.
    """
    shape, widths = numbers(image_shape, "image_shape"), numbers(hidden, "hidden")
    latent, seeds = positive_int(latent_dim, "latent_dim"), seed_parts(seed)
    if len(shape) not in (1, 3):
        raise ModelError(f"vae_mlp makes images (H, W, C) or points (K,), not {shape}")

    def hidden_layers(sizes: Sequence[int]) -> list[Layer]:
        return [layer for size in sizes for layer in (Dense(size), Tanh())]

    opening: list[Layer] = [Flatten()] if len(shape) == 3 else []
    ending: list[Layer] = [*([Tanh()] if bounded else []), *([Reshape(shape)] if len(shape) == 3 else [])]
    encoder = [*opening, *hidden_layers(widths), Dense(2 * latent)]
    decoder = [*hidden_layers(widths[::-1]), Dense(math.prod(shape)), *ending]
    return (
        Sequential(encoder, shape, backend, dtype, (*seeds, 0)),
        Sequential(decoder, (latent,), backend, dtype, (*seeds, 1)),
    )


def vae_conv(
    image_shape: Sequence[int] = (28, 28, 1),
    latent_dim: int = 20,
    width: int = 32,
    bounded: bool = False,
    backend: str | Backend = "auto",
    dtype: Any = "float32",
    seed: int = 0,
) -> tuple[Sequential, Sequential]:
    """(encoder, decoder), convolutional with ReLU, two strided layers each, as DCGAN's but without BatchNorm.

    Encoder: Conv2d width, k4 s2 p1, ReLU -> Conv2d 2·width, k4 s2 p1, ReLU -> Flatten, Dense 8·width, ReLU ->
             Dense 2·latent_dim
    Decoder: Dense 8·width, ReLU -> Dense H/4·W/4·2·width, ReLU, Reshape -> ConvTranspose2d width, k4 s2 p1, ReLU ->
             ConvTranspose2d C, k4 s2 p1 (Tanh if bounded, see vae_mlp)
    Weights before a ReLU start as He et al. 2015 have it, the last ones as Glorot and Bengio.
    Raises ModelError unless H and W are divisible by 4: the message says which size would fit.
    """
    shape, width = numbers(image_shape, "image_shape"), positive_int(width, "width")
    latent, seeds = positive_int(latent_dim, "latent_dim"), seed_parts(seed)
    if len(shape) != 3:
        raise ModelError(f"vae_conv makes images (H, W, C), not {shape}: for other data take the model mlp")
    height, breadth, channels = shape
    if height % 4 or breadth % 4:
        near = tuple(max(4, 4 * round(n / 4)) for n in (height, breadth))
        raise ModelError(
            f"vae_conv needs a height and width divisible by 4, got {height}x{breadth}: {near[0]}x{near[1]} would fit"
        )
    strided: dict[str, Any] = {"kernel_size": 4, "stride": 2, "padding": 1, "weight_init": he()}
    small, code = (height // 4, breadth // 4, 2 * width), CODE_UNITS * width
    encoder: list[Layer] = [
        *(Conv2d(width, **strided), ReLU(), Conv2d(2 * width, **strided), ReLU(), Flatten()),
        *(Dense(code, weight_init=he()), ReLU(), Dense(2 * latent)),
    ]
    decoder: list[Layer] = [
        *(Dense(code, weight_init=he()), ReLU(), Dense(math.prod(small), weight_init=he()), ReLU(), Reshape(small)),
        *(ConvTranspose2d(width, **strided), ReLU(), ConvTranspose2d(channels, kernel_size=4, stride=2, padding=1)),
        *([Tanh()] if bounded else []),
    ]
    return (
        Sequential(encoder, shape, backend, dtype, (*seeds, 0)),
        Sequential(decoder, (latent,), backend, dtype, (*seeds, 1)),
    )
