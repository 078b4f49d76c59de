"""Initial values of parameters, drawn on the host so that every backend starts from the same numbers.

An initialiser is called as init(rng, shape, fan_in, fan_out) -> float64 array. The fans count the inputs that one output
sums over and the outputs that one input feeds; a convolution counts its kernel positions in both. They are 0 where a layer
does not tell them, and then glorot and he raise OptionError.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np

from minigan.errors import OptionError
from minigan.sizes import real

Initializer = Callable[[np.random.Generator, tuple[int, ...], int, int], np.ndarray]


def normal(std: float = 0.02, mean: float = 0.0) -> Initializer:
    """w ~ N(mean, std²). DCGAN uses std = 0.02 (Radford et al. 2015, section 4). Raises OptionError unless std >= 0."""
    std = real(std, "normal: std", "a number from 0 up", lambda number: number >= 0)
    return partial(_normal, std, real(mean, "normal: mean", "a number"))


def glorot() -> Initializer:
    """w ~ U(−a, a), a = √(6 / (fan_in + fan_out)): keeps variances through linear layers both ways.

    Glorot and Bengio 2010, equation 16.
    """
    return _glorot


def he() -> Initializer:
    """w ~ N(0, 2 / fan_in): keeps the variance through layers that end in a ReLU. He et al. 2015, equation 10."""
    return _he


def constant(value: float) -> Initializer:
    """w = value."""
    return partial(_constant, real(value, "constant: value", "a number"))


def zeros() -> Initializer:
    """w = 0, the usual start of a bias."""
    return constant(0.0)


# The draws; functions of a module, for an initialiser is saved with its layer (pickle takes no inner functions).


def _normal(std: float, mean: float, rng: np.random.Generator, shape: tuple[int, ...], fan_in: int, fan_out: int) -> np.ndarray:
    return rng.normal(mean, std, shape)


def _glorot(rng: np.random.Generator, shape: tuple[int, ...], fan_in: int, fan_out: int) -> np.ndarray:
    _check_fans("glorot", fan_in, fan_out)
    limit = math.sqrt(6 / (fan_in + fan_out))
    return rng.uniform(-limit, limit, shape)


def _he(rng: np.random.Generator, shape: tuple[int, ...], fan_in: int, fan_out: int) -> np.ndarray:
    _check_fans("he", fan_in, fan_out)
    return rng.normal(0, math.sqrt(2 / fan_in), shape)


def _constant(value: float, rng: np.random.Generator, shape: tuple[int, ...], fan_in: int, fan_out: int) -> np.ndarray:
    return np.full(shape, value, np.float64)


def _check_fans(name: str, *fans: int) -> None:
    if min(fans) < 1:
        raise OptionError(
            f"{name} scales by the fans, which are {fans}: give both, add_parameter(name, shape, init, fan_in, fan_out)"
        )
