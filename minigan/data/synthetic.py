"""Data that a formula draws: points around known centres, on which it can be counted how many modes a generator reaches, and
plucked tones.
"""

from __future__ import annotations

import math

import numpy as np

from minigan.data.kinds import floats_to_steps

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


TONE_LENGTH, TONE_RATE = 256, 4000  # values in a tone, and values a second
PITCHES, HARMONICS = (220, 440), (1, 2, 3)  # Hz
LOWEST_RATE = 2 * PITCHES[1] * HARMONICS[-1]  # values a second that hold the highest harmonic
MOST_VALUES = 2**24  # of all tones together; longer ones are fewer


def tones(length: int = TONE_LENGTH, rate: int = TONE_RATE, count: int | None = None, seed: int = 0) -> np.ndarray:
    """Plucked tones: int16 (count, length, 1) of Σ_k 0.6^(k−1) sin(2πkft) e^(−√k t/τ) for k = 1, 2, 3, with a peak of 0.9.

    The pitch f is drawn from 220 to 440 Hz, evenly by octave, the decay τ from 10 to 40 ms. count: by default 20,000, or as
    many as hold 2^24 values.
    """
    count = min(COUNT, max(1, MOST_VALUES // length)) if count is None else count
    rng = np.random.default_rng([seed, 0])
    pitch, fade = PITCHES[0] * 2 ** rng.random((count, 1)), rng.uniform(0.01, 0.04, (count, 1))
    t, values = np.arange(length) / rate, np.empty((count, length, 1), np.int16)
    for part in np.array_split(np.arange(count), -(-count * length // 2**20)):  # a few MB at a time
        f, tau = pitch[part], fade[part]
        x = sum(0.6 ** (k - 1) * np.sin(2 * np.pi * k * f * t) * np.exp(-np.sqrt(k) * t / tau) for k in HARMONICS)
        values[part] = floats_to_steps(0.9 * x / np.abs(x).max(axis=1, keepdims=True))[..., None]
    return values
