"""Fidelity and coverage: the formula against loops, and on samples whose likeness to the data is known."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from planted_faults import check_catches_every_fault
from ring import ring_points

from minigan.backends import Backend
from minigan.metrics import fidelity
from minigan.metrics.fidelity import fidelity_and_coverage, neighbour_radii

BOOK = Backend()
RNG = np.random.default_rng(3)
X, Y, RADII = RNG.normal(0, 1, (9, 3)), RNG.normal(0, 1, (7, 3)), RNG.uniform(0.3, 1.8, 7)


def check_formulas():
    """Both formulas equal their loops: an AssertionError, else a report that all is well."""
    inside = [[math.dist(x, y) <= r for y, r in zip(Y, RADII, strict=True)] for x in X]
    assert 0 < sum(map(any, inside)) < 9
    assert 0 < sum(map(any, zip(*inside, strict=True))) < 7
    shares = fidelity_and_coverage(BOOK, X, Y, RADII)
    np.testing.assert_allclose(shares, [sum(map(any, inside)) / 9, sum(map(any, zip(*inside, strict=True))) / 7])
    fifth = [sorted(math.dist(x, other) for other in X)[5] for x in X]
    np.testing.assert_allclose(neighbour_radii(X), fifth, rtol=1e-9)
    return SimpleNamespace(ok=True)


@pytest.mark.parametrize("name", ["is_within", "fidelity_and_coverage"])
def test_every_fault_in_a_formula_is_caught(name, monkeypatch):
    check_catches_every_fault(monkeypatch, check_formulas, fidelity, name, globals())


def test_a_few_samples_have_the_farthest_as_radius():
    np.testing.assert_allclose(neighbour_radii(np.array([[0.0], [1.0], [3.0]])), [3, 2, 3])
    np.testing.assert_array_equal(neighbour_radii(np.array([[1.0, 2.0]])), [0])


@pytest.mark.parametrize(
    ("samples", "fidelity_range", "coverage_range"),
    [
        (ring_points(8, 500, seed=2), (0.94, 1), (0.94, 1)),
        (ring_points(2, 500, seed=2), (0.94, 1), (0.2, 0.3)),
        (1.1 * ring_points(8, 500, seed=2), (0, 0), (0, 0)),
        (np.concatenate([ring_points(8, 250), RNG.uniform(-1, 1, (250, 2))]), (0.45, 0.6), (0.85, 1)),
    ],
    ids=["all modes", "two modes", "beside the data", "half noise"],
)
def test_samples_of_known_likeness(samples, fidelity_range, coverage_range):
    real = ring_points(8, 500, seed=1)
    shares = fidelity_and_coverage(BOOK, samples, real, neighbour_radii(real))
    for share, (least, most) in zip(shares, (fidelity_range, coverage_range), strict=True):
        assert least <= share <= most
