"""Sizes that a layer or a model is given: whole numbers, and pairs of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minigan.errors import OptionError


def positive_int(value: Any, name: str, least: int = 1) -> int:
    """value as an int of at least `least`, or an OptionError that names the option."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise OptionError(f"{name} is {value!r}: expected a whole number from {least} up")
    return int(value)


def pair(value: Any, name: str, least: int = 1) -> tuple[int, int]:
    """(height, width) from one number for both or a pair, each at least `least`."""
    values = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(values) != 2:
        raise OptionError(f"{name} is {value!r}: expected one number, or a pair (height, width)")
    return positive_int(values[0], name, least), positive_int(values[1], name, least)


def check_sizes(**sizes: Sequence[int]) -> None:
    """Raise OptionError, naming the option, unless each is a row of whole numbers from 1 up."""
    for name, values in sizes.items():
        if not values or not all(isinstance(n, (int, np.integer)) and n >= 1 for n in values):
            raise OptionError(f"{name} is {tuple(values)}: expected whole numbers from 1 up")
