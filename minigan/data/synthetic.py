"""Points in the plane around known centres, on which it can be counted how many modes a generator reaches."""

from __future__ import annotations

import math

import numpy as np

COUNT = 20_000


def _ring_centres() -> np.ndarray:
    angles = 2 * math.pi * np.arange(8) / 8
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _grid_centres() -> np.ndarray:
    line = np.array([-4.0, -2.0, 0.0, 2.0, 4.0])
    return np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)


MODES = {"ring": (_ring_centres(), 0.01), "grid": (_grid_centres(), 0.05)}  # by dataset: the centres (M, 2) and σ


def ring() -> np.ndarray:
    """8 Gaussians on the unit circle, σ = 0.01: float32 (20000, 2) (PacGAN, Lin et al. 2018, table 1)."""
    return drawn_around(*MODES["ring"])


def grid() -> np.ndarray:
    """25 Gaussians on {−4, −2, 0, 2, 4}², σ = 0.05: float32 (20000, 2) (PacGAN, Lin et al. 2018, table 1)."""
    return drawn_around(*MODES["grid"])


def drawn_around(centres: np.ndarray, sigma: float, count: int = COUNT, seed: int = 0) -> np.ndarray:
    """So many points of a mixture of equally likely Gaussians with these centres (M, 2) and this σ: float32 (count, 2)."""
    rng = np.random.default_rng(seed)
    chosen = centres[rng.integers(0, len(centres), count)]
    return (chosen + sigma * rng.standard_normal((count, 2))).astype(np.float32)
