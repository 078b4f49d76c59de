"""Points on some of the modes of the ring of eight Gaussians."""

import numpy as np


def ring_points(modes, count, seed=0):
    """Points on so many of the eight Gaussians of the dataset."""
    rng = np.random.default_rng(seed)
    angles = 2 * np.pi * rng.integers(0, modes, count) / 8
    return np.stack([np.cos(angles), np.sin(angles)], axis=1) + 0.01 * rng.standard_normal((count, 2))
