"""Two networks on lines of text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minigan.backends import Backend
from minigan.errors import ModelError
from minigan.initializers import he
from minigan.layers import Conv2d, Dense, Flatten, Layer, LeakyReLU, Reshape, Residual, Softmax
from minigan.network import Sequential
from minigan.sizes import numbers, positive_int, seed_parts


def text(
    sample_shape: Sequence[int] = (12, 27),
    latent_dim: int = 128,
    width: int = 128,
    blocks: int = 5,
    backend: str | Backend = "auto",
    dtype: Any = "float32",
    seed: int = 0,
    pack: int = 1,
) -> tuple[Sequential, Sequential]:
    """x"""
    shape, width = numbers(sample_shape, "sample_shape"), positive_int(width, "width")
    z_shape, seeds = (positive_int(latent_dim, "latent_dim"),), seed_parts(seed)
    if len(shape) != 2:
        raise ModelError(f"text makes lines (places, letters), not {shape}: for other data take another model")
    places, letters = shape
    start = he()

    def block() -> Layer:
        def conv() -> Layer:
            return Conv2d(width, (1, 5), padding=(0, 2), weight_init=start)

        return Residual([LeakyReLU(0.2), conv(), LeakyReLU(0.2), conv()], scale=0.3)

    generator: list[Layer] = [
        Dense(places * width, weight_init=start),
        Reshape((1, places, width)),
        *(block() for _ in range(blocks)),
        Conv2d(letters, 1),
        Reshape(shape),
        Softmax(),
    ]
    seen = (places, positive_int(pack, "pack") * letters)
    discriminator: list[Layer] = [
        Reshape((1, *seen)),
        Conv2d(width, 1, weight_init=start),
        *(block() for _ in range(blocks)),
        Flatten(),
        Dense(1),
    ]
    return (
        Sequential(generator, z_shape, backend, dtype, (*seeds, 0)),
        Sequential(discriminator, seen, backend, dtype, (*seeds, 1)),
    )
