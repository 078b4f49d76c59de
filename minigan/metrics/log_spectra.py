"""Features of sound: how its power is spread over time and frequency."""

from __future__ import annotations

import numpy as np

from minigan.errors import ShapeError
from minigan.metrics.points import as_array

FRAME = 256  # values in a frame, at the most
TIMES, BANDS = 4, 32  # parts of a sound and of the frequencies that power is pooled over, at the most
FLOOR = 1e-6  # the power of a sine at −60 dB, below which little is heard beside a sound
SOUNDS = 256  # worked on at a time
LARGEST = 1e15  # of a value, in size: its square is finite with room to spare


def frame_of(length: int) -> int:
    """Values in a frame of a sound of so many: the largest power of two up to half of it, at least 2 and at most FRAME."""
    return int(min(FRAME, 2 ** max(1, (length // 2).bit_length() - 1)))


def power_spectra(sounds: np.ndarray, frame: int, overlap: int = 2) -> np.ndarray:
    """|Σ_t w_t x_t e^(−2πift/F)|² · 4/(Σ w)² of frames of F values: (N, T, C) -> (N, frames, F/2 + 1, C).

    w is Hann's window, so that a sine of amplitude a has the power a² at its frequency. A frame begins every F/overlap values;
    the last one ends with the sound or before it.
    """
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(frame) / frame)
    frames = np.lib.stride_tricks.sliding_window_view(sounds, frame, axis=1)[
        :, :: max(1, frame // overlap)
    ]  # (N, frames, C, F)
    amplitude = np.abs(np.fft.rfft(frames * window, axis=-1)) * (2 / window.sum())
    return (amplitude**2).swapaxes(2, 3)


def log_spectra(sounds: np.ndarray) -> np.ndarray:
    """Features (N, K) of sounds (N, T, C) in [−1, 1]: log₁₀(1 + p/10⁻⁶) of the mean power p in 4 parts of time and 32 bands.

    Powers are those of `power_spectra`, in frames of 256 values (of short sounds, half of them, down to a power of two). What
    lies far below −60 dB, as silence does, is near 0, and each 10 dB above it add 1. The parts and the bands are as equal as
    the frames and frequencies allow, and where there are fewer of these, fewer: K is parts · bands · C. Phases do not enter, as
    little as they are heard. `frechet` of two such sets is the Fréchet distance of log-spectra, in bels squared: the Fréchet
    audio distance (Kilgour et al. 2019, arXiv:1812.08466, section 4) with these features in place of a network's.
    Raises ShapeError for arrays that are not sounds of at least 4 finite values.
    """
    sounds = as_array(sounds, "sounds", "of sounds (N, T, C)")
    if sounds.ndim != 3 or not sounds.size or sounds.shape[1] < 4:
        raise ShapeError(f"sounds have shape {sounds.shape}: expected (N, T, C) with T of at least 4")
    if not (np.isfinite(sounds).all() and np.abs(sounds).max() <= LARGEST):
        raise ShapeError(f"sounds hold numbers that are not finite or beyond {LARGEST:g} in size: scale them, or remove those")
    frame, rows = frame_of(sounds.shape[1]), []
    for start in range(0, len(sounds), SOUNDS):
        power = power_spectra(sounds[start : start + SOUNDS].astype(np.float64), frame)
        pooled = _pooled(_pooled(power, 1, TIMES), 2, BANDS)
        rows.append(np.log10(1 + pooled / FLOOR).reshape(len(pooled), -1))
    return np.concatenate(rows)


def _pooled(values: np.ndarray, axis: int, most: int) -> np.ndarray:
    """Means along an axis over up to so many parts, as equal as can be."""
    count = values.shape[axis]
    parts = np.array_split(np.arange(count), min(most, count))
    return np.stack([values.take(part, axis).mean(axis=axis) for part in parts], axis=axis)
