"""Diversity and clusters of samples: each formula against loops, and on points whose true diversity is known."""

import math
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from planted_faults import check_catches_every_fault
from ring import ring_points

from minigan.backends import Backend
from minigan.metrics import diversity
from minigan.metrics.diversity import Clusters, bandwidth, effective_number, same_cluster

BOOK = Backend()


def number_by_loops(x, h):
    total = sum(math.exp(-sum((a - b) ** 2 for a, b in zip(p, q, strict=True)) / (2 * h * h)) for p in x for q in x)
    return len(x) ** 2 / total


def same_by_loops(x, centres):
    near = [min(range(len(centres)), key=lambda c: sum((a - b) ** 2 for a, b in zip(p, centres[c], strict=True))) for p in x]
    chosen = [(i, j) for i in range(len(x)) for j in range(len(x)) if i != j]
    return sum(near[i] == near[j] for i, j in chosen) / len(chosen)


def check_formulas(x, centres, h):
    """Both formulas equal their loops: an AssertionError, else a report that all is well."""
    np.testing.assert_allclose(effective_number(BOOK, x, h), number_by_loops(x.tolist(), h), rtol=1e-9)
    np.testing.assert_allclose(same_cluster(BOOK, x, centres), same_by_loops(x.tolist(), centres.tolist()), rtol=1e-12)
    return SimpleNamespace(ok=True)


CASE = (np.random.default_rng(1).normal(0, 2, (9, 3)), np.random.default_rng(2).normal(0, 2, (4, 3)), 1.3)


@given(st.integers(2, 9), st.integers(1, 5), st.integers(1, 6), st.floats(0.05, 20), st.integers(0, 99))
def test_formulas_equal_their_loops(count, size, clusters, h, seed):
    rng = np.random.default_rng(seed)
    check_formulas(rng.normal(0, 2, (count, size)), rng.normal(0, 2, (clusters, size)), h)


@pytest.mark.parametrize("name", ["squared_distances", "similarity", "pairs", "effective_number", "same_cluster"])
def test_every_fault_in_a_formula_is_caught(name, monkeypatch):
    check_catches_every_fault(monkeypatch, partial(check_formulas, *CASE), diversity, name, globals())


@given(st.integers(8, 60), st.integers(1, 20), st.floats(1e-3, 1e3), st.integers(0, 99))
def test_bandwidth_makes_real_samples_count_as_four(count, size, scale, seed):
    x = scale * np.random.default_rng(seed).normal(size=(count, size))
    np.testing.assert_allclose(number_by_loops(x.tolist(), bandwidth(x)), 4, rtol=1e-6)


@pytest.mark.parametrize(("points", "number"), [([0, 0, 0], 1), ([0], 1), ([0, 5, 0, 5], 1.5), ([1, 2, 3, 3, 3, 3], 1.5)])
def test_bandwidth_of_few_or_repeated_samples(points, number):
    """Of n distinct samples at most n can be told apart, so half the way there is aimed at."""
    x = np.array(points, np.float64)[:, None]
    found = number_by_loops(x.tolist(), bandwidth(x))
    assert 1 <= found <= len(set(points))
    np.testing.assert_allclose(found, number, rtol=0.01)


def test_clusters_find_the_modes_and_count_those_that_are_reached():
    clusters = Clusters(ring_points(8, 1000), np.random.default_rng(0))
    assert clusters.centres.shape == (10, 2)
    mode = np.rint(np.arctan2(clusters.centres[:, 1], clusters.centres[:, 0]) / (np.pi / 4)) % 8
    assert set(mode) == set(range(8))
    np.testing.assert_allclose(np.linalg.norm(clusters.centres, axis=1), 1, atol=0.02)
    assert 1 / 10 <= clusters.evenness < 0.15
    reached = [
        clusters.evenness / same_cluster(BOOK, ring_points(modes, 64, seed=1), clusters.centres) for modes in (8, 4, 2, 1)
    ]
    assert 0.75 < reached[0] < 1.3
    assert 0.4 < reached[1] < 0.65
    assert 0.2 < reached[2] < 0.35
    assert reached[3] < 0.2


def test_clusters_of_fewer_samples_than_clusters():
    x = np.array([[0.0], [1.0], [1.0], [5.0]])
    clusters = Clusters(x, np.random.default_rng(0))
    assert sorted(clusters.centres[:, 0]) == [0, 1, 5]
    assert clusters.evenness == (1 + 4 + 1) / 16
