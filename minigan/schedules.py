"""Learning rates that change from step to step."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from minigan.sizes import positive_int, real

Schedule = Callable[[int], float]  # step, counted from 0 -> learning rate


def constant(lr: float) -> Schedule:
    """lr_t = lr. Raises OptionError unless lr is a number from 0 up."""
    return partial(_constant, _rate(lr))


def linear(lr: float, steps: int, end: float = 0.0) -> Schedule:
    """lr_t = lr + (end − lr) · min(t / steps, 1). Raises OptionError unless steps >= 1 and both rates are numbers from 0 up."""
    return partial(_linear, _rate(lr), positive_int(steps, "steps"), _rate(end))


def cosine(lr: float, steps: int, end: float = 0.0) -> Schedule:
    """lr_t = end + (lr − end) · (1 + cos(π · min(t / steps, 1))) / 2. Loshchilov and Hutter 2017 (arXiv:1608.03983), eq. 5."""
    return partial(_cosine, _rate(lr), positive_int(steps, "steps"), _rate(end))


SCHEDULES = {"constant": lambda lr, steps: constant(lr), "linear": linear, "cosine": cosine}


# The formulas; functions of a module, for a schedule is saved with its optimiser (pickle takes no inner functions).


def _rate(lr: float) -> float:
    return real(lr, "the learning rate of a schedule", "a number from 0 up", lambda rate: rate >= 0)


def _constant(lr: float, step: int) -> float:
    return lr


def _linear(lr: float, steps: int, end: float, step: int) -> float:
    return lr + (end - lr) * min(step / steps, 1.0)


def _cosine(lr: float, steps: int, end: float, step: int) -> float:
    return end + (lr - end) * (1 + math.cos(math.pi * min(step / steps, 1.0))) / 2
