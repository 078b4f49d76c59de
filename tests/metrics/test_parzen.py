"""Parzen windows: loops, the closed form for Gaussians, and the choice of σ."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigan import MiniganError
from minigan.metrics import parzen, points


def by_loops(real, samples, sigma):
    size = len(samples[0])
    norm = (2 * math.pi * sigma**2) ** (-size / 2)
    return [
        math.log(sum(norm * math.exp(-(math.dist(x, y) ** 2) / (2 * sigma**2)) for y in samples) / len(samples)) for x in real
    ]


@given(st.integers(1, 7), st.integers(1, 7), st.integers(1, 4), st.floats(0.5, 5), st.integers(0, 99), st.integers(1, 30))
def test_equals_the_loops(m, n, size, sigma, seed, block):
    rng = np.random.default_rng(seed)
    real, samples = rng.normal(size=(m, size)), rng.normal(size=(n, size))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(points, "BLOCK", block)
        found = parzen(real, samples, real, [sigma])
    expected = by_loops(real.tolist(), samples.tolist(), sigma)
    assert found["log_likelihood"] == pytest.approx(np.mean(expected), rel=1e-9)
    assert found["standard_error"] == pytest.approx(np.std(expected) / math.sqrt(m), rel=1e-6, abs=1e-9)
    assert found["sigma"] == sigma


def test_closed_form():
    """Samples N(0, I) under windows of width σ are N(0, (1 + σ²) I); of points N(0, I) the mean log-likelihood is known."""
    rng, size, sigma = np.random.default_rng(0), 2, 0.3
    found = parzen(rng.normal(size=(4000, size)), rng.normal(size=(4000, size)), rng.normal(size=(10, size)), [sigma])
    variance = 1 + sigma**2
    exact = -size / 2 * math.log(2 * math.pi * variance) - size / (2 * variance)
    assert found["log_likelihood"] == pytest.approx(exact, abs=0.06)


def test_sigma_is_the_best_on_validation_alone():
    rng = np.random.default_rng(0)
    real, samples, validation = rng.normal(size=(50, 2)), rng.normal(size=(200, 2)), 20 * rng.normal(size=(30, 2))
    sigmas = [0.1, 0.5, 20.0, 1000.0]
    tried = [parzen(validation, samples, validation, [sigma])["log_likelihood"] for sigma in sigmas]
    found = parzen(real, samples, validation, sigmas)
    assert found["sigma"] == sigmas[int(np.argmax(tried))] == 20.0
    assert found["log_likelihood"] == parzen(real, samples, real, [20.0])["log_likelihood"]


def test_far_points_do_not_underflow():
    found = parzen(np.full((1, 784), 100.0), np.zeros((3, 784)), np.zeros((1, 784)), [0.1])
    assert found["log_likelihood"] == pytest.approx(-784 * (100**2 / (2 * 0.01) + math.log(0.1 * math.sqrt(2 * math.pi))))


@pytest.mark.parametrize(
    ("sigmas", "words"),
    [
        *(([], "sigmas is empty"), ([0.0], "sigma is 0"), ([math.inf], "sigma is inf"), (["1"], "sigma is '1'")),
        *(([1e-200], "sigma is 1e-200"), ((1e200,), "sigma is 1e.200"), (1.0, "sigmas is 1.0"), (None, "sigmas is None")),
    ],
)
def test_mistakes(sigmas, words):
    with pytest.raises(MiniganError, match=words):
        parzen(np.zeros((2, 2)), np.zeros((2, 2)), np.zeros((2, 2)), sigmas)
