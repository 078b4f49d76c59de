"""Learning rates that change from step to step."""

from __future__ import annotations

import math
from collections.abc import Callable

from minigan.errors import OptionError

Schedule = Callable[[int], float]  # step, counted from 0 -> learning rate


def _check_steps(steps: int) -> None:
    if steps < 1:
        raise OptionError(f"steps is {steps!r}: a schedule needs a whole number from 1 up")


def constant(lr: float) -> Schedule:
    """lr_t = lr."""
    return lambda step: lr


def linear(lr: float, steps: int, end: float = 0.0) -> Schedule:
    """lr_t = lr + (end − lr) · min(t / steps, 1). Raises OptionError unless steps >= 1."""
    _check_steps(steps)
    return lambda step: lr + (end - lr) * min(step / steps, 1.0)


def cosine(lr: float, steps: int, end: float = 0.0) -> Schedule:
    """lr_t = end + (lr − end) · (1 + cos(π · min(t / steps, 1))) / 2. Loshchilov and Hutter 2017 (arXiv:1608.03983), eq. 5."""
    _check_steps(steps)
    return lambda step: end + (lr - end) * (1 + math.cos(math.pi * min(step / steps, 1.0))) / 2


SCHEDULES = {"constant": lambda lr, steps: constant(lr), "linear": linear, "cosine": cosine}
