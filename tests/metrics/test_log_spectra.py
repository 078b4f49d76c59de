"""Features of sound: against transforms written out, against SciPy's where it is installed, and what they hear."""

import math

import numpy as np
import pytest

from minigan import MiniganError
from minigan.data.synthetic import tones
from minigan.metrics import frechet, log_spectra
from minigan.metrics.log_spectra import frame_of, power_spectra

T = np.arange(1024)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).uniform(-0.5, 0.5, shape)


def written_out(x, frame, hop):
    """The power of frames of one channel (T,), each sum value by value."""
    window = [0.5 - 0.5 * math.cos(2 * math.pi * t / frame) for t in range(frame)]
    rows = []
    for start in range(0, len(x) - frame + 1, hop):
        row = []
        for f in range(frame // 2 + 1):
            terms = [(w * x[start + t], 2 * math.pi * f * t / frame) for t, w in enumerate(window)]
            real, imaginary = (sum(a * trig(p) for a, p in terms) for trig in (math.cos, math.sin))
            row.append((real**2 + imaginary**2) * 4 / sum(window) ** 2)
        rows.append(row)
    return np.array(rows)


def test_powers_equal_the_sums():
    sounds = noise(2, 70, 2)
    powers = power_spectra(sounds, 16)
    assert powers.shape == (2, 7, 9, 2)
    for n in range(2):
        for channel in range(2):
            np.testing.assert_allclose(powers[n, ..., channel], written_out(sounds[n, :, channel], 16, 8), atol=1e-14)
    np.testing.assert_allclose(power_spectra(sounds, 16, 4)[0, ..., 0], written_out(sounds[0, :, 0], 16, 4), atol=1e-14)


def test_powers_equal_scipys():
    signal = pytest.importorskip("scipy.signal", reason="SciPy is not installed")
    sounds = noise(3, 500, 1)
    _, _, theirs = signal.stft(
        sounds[..., 0], window="hann", nperseg=64, noverlap=32, boundary=None, padded=False, scaling="spectrum"
    )
    np.testing.assert_allclose(
        power_spectra(sounds, 64)[..., 0], 4 * np.abs(theirs.swapaxes(1, 2)) ** 2, rtol=1e-12, atol=1e-18
    )


def test_a_sine_has_the_square_of_its_amplitude():
    powers = power_spectra(0.3 * np.sin(2 * np.pi * 8 * T / 256 + 0.7)[None, :, None], 256)
    np.testing.assert_allclose(powers[0, :, 8, 0], 0.09, rtol=1e-12)


@pytest.mark.parametrize(
    ("length", "frame"), [(4, 2), (7, 2), (8, 4), (255, 64), (256, 128), (511, 128), (512, 256), (10**6, 256)]
)
def test_frames(length, frame):
    assert frame_of(length) == frame


def test_features_pool_time_and_bands():
    """Of each part and band the mean power, in bels above −60 dB; the loops take the parts as array_split deals them out."""
    sounds = noise(3, 1100, 2)
    powers = power_spectra(sounds, 256)
    features = log_spectra(sounds).reshape(3, 4, 32, 2)
    parts, bands = (np.array_split(np.arange(size), count) for size, count in ((powers.shape[1], 4), (129, 32)))
    for i, part in enumerate(parts):
        for j, band in enumerate(bands):
            mean = powers[:, part[0] : part[-1] + 1, band[0] : band[-1] + 1].mean(axis=(1, 2))
            np.testing.assert_allclose(features[:, i, j], np.log10(1 + mean * 1e6), rtol=1e-12)
    assert log_spectra(noise(2, 4, 1)).shape == (2, 3 * 2)
    assert (log_spectra(np.zeros((2, 64, 1))) == 0).all()
    np.testing.assert_array_equal(log_spectra(noise(300, 64, 1))[256:], log_spectra(noise(300, 64, 1)[256:]))


def test_what_is_heard_and_what_is_not():
    """A sine's phase is not, its octave and its end are; white noise under tones is, the more so the louder."""
    sine = lambda f, phase: 0.5 * np.sin(2 * np.pi * f * T / 1024 + phase)[None, :, None]  # noqa: E731
    base = log_spectra(sine(40.3, 0))
    heard = lambda x: np.abs(log_spectra(x) - base).max()  # noqa: E731
    assert heard(sine(40.3, 2)) < 0.5
    assert heard(sine(80.6, 0)) > 3
    assert heard(np.where(T < 512, 1, 0)[None, :, None] * sine(40.3, 0)) > 3
    one, other = tones(count=300, seed=1) / 32768, tones(count=300, seed=2) / 32768
    floor = frechet(log_spectra(one), log_spectra(other))
    noisy = [frechet(log_spectra(one), log_spectra(other + a * noise(*other.shape))) for a in (0.001, 0.01, 0.1)]
    assert floor < 2
    assert floor < noisy[0] < noisy[1] < 0.1 * noisy[2]


@pytest.mark.parametrize(
    ("sounds", "words"),
    [
        (np.zeros((2, 64)), "expected (N, T, C) with T of at least 4"),
        (np.zeros((0, 64, 1)), "sounds have shape (0, 64, 1)"),
        (np.zeros((2, 3, 1)), "with T of at least 4"),
        (np.full((2, 64, 1), np.nan), "not finite"),
        (np.full((2, 64, 1), 1e30), "beyond 1e+15"),
        ([["a"]], "expected an array of sounds (N, T, C)"),
    ],
    ids=["axes", "none", "short", "NaN", "large", "text"],
)
def test_what_does_not_fit_is_refused(sounds, words):
    with pytest.raises(MiniganError) as caught:
        log_spectra(sounds)
    assert words in str(caught.value)
