"""Nearest real neighbours and authenticity: loops, copies, and fresh samples of the same distribution."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigan import MiniganError
from minigan.metrics import authenticity, nearest, points
from minigan.metrics.neighbours import relative_distances, squared_radii


@given(st.integers(1, 12), st.integers(1, 9), st.integers(1, 4), st.integers(0, 99), st.integers(1, 30), st.data())
def test_nearest_equals_the_loops(m, n, size, seed, block, data):
    rng = np.random.default_rng(seed)
    real, own, count = rng.normal(size=(m, size)), rng.normal(size=(n, size)), data.draw(st.integers(1, m))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(points, "BLOCK", block)
        indices, distances = nearest(real, own, count)
    assert indices.shape == distances.shape == (n, count)
    for row, sample in enumerate(own):
        expected = sorted(math.dist(sample, x) for x in real)[:count]
        np.testing.assert_allclose(distances[row], expected, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose([math.dist(sample, real[i]) for i in indices[row]], expected, rtol=1e-6, atol=1e-9)
        assert len(set(indices[row])) == count


@given(st.integers(3, 12), st.integers(1, 4), st.integers(0, 99), st.integers(1, 30), st.data())
def test_radii_equal_the_loops(n, size, seed, block, data):
    x, k = np.random.default_rng(seed).normal(size=(n, size)), data.draw(st.integers(1, n - 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(points, "BLOCK", block)
        found = squared_radii(x, k)
    np.testing.assert_allclose(np.sqrt(found), [sorted(math.dist(p, q) for q in x)[k] for p in x], rtol=1e-6)


def test_authenticity_by_hand():
    real = np.array([[0.0], [1.0], [5.0]])  # nearest others: 1, 1 and 4 away
    own = np.array([[0.4], [-2.0], [8.0], [9.5]])
    np.testing.assert_allclose(relative_distances(real, own), [0.4, 2, 0.75, 1.125])
    assert authenticity(real, own) == 2 / 4


def test_real_samples_that_are_there_twice():
    real = np.array([[0.0], [0.0], [3.0]])
    assert np.isnan(relative_distances(real, real[:1]))
    assert authenticity(real, np.array([[0.0], [0.1]])) == 1 / 2


def test_authenticity_of_copies_and_of_what_is_far():
    rng = np.random.default_rng(0)
    real = rng.normal(size=(1500, 3))
    assert authenticity(real, real[:100]) == 0
    assert authenticity(real, real[:100] + 1e-6) == 0
    assert authenticity(real, real + 100) == 1


def test_authenticity_of_fresh_samples_in_one_dimension():
    """A gap g that a sample falls into has the density g e^−g, its distance to the end d is even on (0, g/2), and the next gap
    g′ has e^−g′: P(d > g′) = 1 − E e^−d = 1 − ∫ 2 (1 − e^−g/2) e^−g dg = 1/3.
    """
    rng = np.random.default_rng(0)
    found = [authenticity(rng.uniform(size=(1000, 1)), rng.uniform(size=(1000, 1))) for _ in range(20)]
    assert np.mean(found) == pytest.approx(1 / 3, abs=0.01)


@pytest.mark.parametrize(("count", "words"), [(0, "whole number"), (6, "count is 6, and there are 5"), (1.5, "whole number")])
def test_a_count_that_is_none(count, words):
    with pytest.raises(MiniganError, match=words):
        nearest(np.zeros((5, 2)), np.zeros((3, 2)), count)
