"""Single derivatives beside their differences, for those who want to see them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from minigan.backends import Array, Backend
from minigan.checks.differences import Evaluate, Target, chosen_entries, differences


@dataclass(frozen=True)
class Comparison:
    """One derivative, found in both ways; numeric is None where no difference could be taken that crosses no kink.

    uncertainty: what rounding may make of the numeric one, about 100 ε |L| / h for a machine epsilon ε.
    """

    where: tuple[int, ...]
    analytic: float
    numeric: float | None
    uncertainty: float = 0.0

    @property
    def error(self) -> float | None:
        """|a − n| / max(|a|, |n|)"""
        if self.numeric is None:
            return None
        largest = max(abs(self.analytic), abs(self.numeric))
        return abs(self.analytic - self.numeric) / largest if largest else 0.0


def compare_entries(
    backend: Backend, evaluate: Evaluate, array: Array, gradient: np.ndarray, places: Sequence[tuple[int, ...]]
) -> list[Comparison]:
    """∂L/∂array at single places beside central differences of evaluate() -> (L, kink sides), which reads `array`.

    array: float64, C-contiguous, varied in place and put back; gradient: the analytic one, of its shape, on the host. It is
    varied in units of its typical value, for where all values are small a step of fixed size would be a leap.
    """
    target = Target("", array, gradient)
    unit = min(1.0, float(np.sqrt(np.mean(backend.to_numpy(array) ** 2)))) or 1.0
    probes = chosen_entries(target, [int(np.ravel_multi_index(place, gradient.shape)) for place in places], unit)
    rounding = 100 * float(np.finfo(np.float64).eps) * abs(float(evaluate()[0])) / unit
    return [
        Comparison(where, a / unit, None if n is None else n / unit, rounding / h)
        for where, a, n, h in differences(backend, evaluate, 1.0, target, probes)
    ]
