"""The check that all models share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minigan.errors import OptionError


def check_sizes(**sizes: Sequence[int]) -> None:
    """Raise OptionError, naming the option, unless each is a row of whole numbers from 1 up."""
    for name, values in sizes.items():
        if not values or not all(isinstance(n, (int, np.integer)) and n >= 1 for n in values):
            raise OptionError(f"{name} is {tuple(values)}: expected whole numbers from 1 up")
