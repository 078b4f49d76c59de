"""Which entries of a gradient are looked at one by one."""

from __future__ import annotations

import numpy as np


def choose_places(gradient: np.ndarray, count: int, rng: np.random.Generator) -> list[tuple[int, ...]]:
    """The entry with the largest gradient, and others drawn from those not negligible beside it; none if all are 0."""
    sizes = np.abs(gradient).ravel()
    largest = int(sizes.argmax())
    if not sizes[largest] > 0:
        return []
    others = np.flatnonzero(sizes > 1e-3 * sizes[largest])
    others = others[others != largest]
    drawn = rng.choice(others, min(count - 1, len(others)), replace=False)
    return [tuple(int(k) for k in np.unravel_index(i, gradient.shape)) for i in [largest, *sorted(drawn.tolist())]]
