"""How much of each array a page shows, so that large games fit as well."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SAMPLES = 4  # of the batch that a page shows, where there is room


@dataclass(frozen=True)
class Budget:
    """Samples shown, and at most how many values of a weight array and of one sample's array."""

    samples: int
    weight_values: int
    sample_values: int

    def of_samples(self, array: np.ndarray) -> np.ndarray:
        """The first samples; of each, as many of the last axis' entries as there is room for."""
        a = array[: self.samples]
        if a.ndim < 2 or a[0].size <= self.sample_values:
            return a
        return a[..., : max(1, self.sample_values // (a[0].size // a.shape[-1]))]

    def of_weights(self, array: np.ndarray) -> np.ndarray:
        """The longer of the last two axes halved until there is room for the array."""
        a = array
        while a.size > self.weight_values:
            axis = a.ndim - 1 if a.ndim == 1 or a.shape[-1] >= a.shape[-2] else a.ndim - 2
            a = a[(slice(None),) * axis + (slice((a.shape[axis] + 1) // 2),)]
        return a


# From the most to the least: the first that makes a page within its limit is taken.
BUDGETS = (
    Budget(SAMPLES, 65_536, 65_536),
    Budget(2, 65_536, 65_536),
    Budget(1, 65_536, 65_536),
    Budget(1, 16_384, 16_384),
    Budget(1, 4_096, 4_096),
    Budget(1, 1_024, 1_024),
)
