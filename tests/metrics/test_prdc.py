"""Precision, recall, density and coverage: loops, the closed form of coverage, and the authors' printed figures."""

import math
from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from planted_faults import compiled, faults, is_caught

from minigan import MiniganError
from minigan.metrics import points
from minigan.metrics import prdc as prdc_of


def by_loops(real, own, k):
    def radii(x):
        return [sorted(math.dist(p, q) for q in x)[k] for p in x]

    r, r_own = radii(real), radii(own)
    d = [[math.dist(x, y) for y in own] for x in real]
    rows, columns = range(len(real)), range(len(own))
    return {
        "precision": sum(any(d[i][j] < r[i] for i in rows) for j in columns) / len(own),
        "recall": sum(any(d[i][j] < r_own[j] for j in columns) for i in rows) / len(real),
        "density": sum(d[i][j] < r[i] for i in rows for j in columns) / (k * len(own)),
        "coverage": sum(min(d[i]) < r[i] for i in rows) / len(real),
    }


@given(st.integers(6, 14), st.integers(6, 14), st.integers(1, 4), st.integers(1, 5), st.integers(0, 99), st.integers(1, 60))
def test_equals_the_loops(m, n, size, k, seed, block):
    rng = np.random.default_rng(seed)
    real, own = rng.normal(size=(m, size)), rng.normal(0.5, 1.5, (n, size))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(points, "BLOCK", block)
        found = prdc_of(real, own, k)
    assert found == pytest.approx(by_loops(real.tolist(), own.tolist(), k), rel=1e-12)


def test_two_sets_of_one_distribution():
    """Naeem et al. 2020, lemma 1 and 2: density 1; coverage 1 − Π (M − i)/(M + N − i) over i = 1 … k."""
    rng, m, n, k = np.random.default_rng(0), 600, 400, 3
    found = [prdc_of(rng.normal(size=(m, 2)), rng.normal(size=(n, 2)), k) for _ in range(20)]
    exact = 1 - math.prod((m - i) / (m + n - i) for i in range(1, k + 1))
    assert np.mean([f["coverage"] for f in found]) == pytest.approx(exact, abs=0.01)
    assert np.mean([f["density"] for f in found]) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(
    ("seed", "count", "size", "printed"),
    [(0, 1000, 1000, (0.642, 0.593, 1.1368, 0.971)), (2, 700, 2, (0.99285714, 0.99571429, 0.99028571, 0.96142857))],
)
def test_what_the_authors_code_prints_of_the_same_draws(seed, count, size, printed):
    """clovaai/generative-evaluation-prdc, prdc/prdc.py, compute_prdc(real, fake, 5), on N(0, I)."""
    rng = np.random.RandomState(seed)
    real, own = rng.normal(size=(count, size)), rng.normal(size=(count, size))
    assert tuple(prdc_of(real, own).values()) == pytest.approx(printed, abs=1e-8)


def test_copies_and_what_is_far():
    rng = np.random.default_rng(0)
    real = rng.normal(size=(50, 4))
    assert prdc_of(real, real[::-1]) == pytest.approx({"precision": 1, "recall": 1, "density": 1, "coverage": 1})
    assert prdc_of(real, real + 100) == {"precision": 0, "recall": 0, "density": 0, "coverage": 0}
    one = np.repeat(real[:1], 50, axis=0) + 1e-6 * rng.normal(size=(50, 4))
    collapsed = prdc_of(real, one)
    assert collapsed["precision"] == 1
    assert collapsed["recall"] <= 1 / 50
    assert collapsed["coverage"] < 0.5


@pytest.mark.parametrize("k", [0, -1, 1.5, "5", True])
def test_a_k_that_is_none(k):
    with pytest.raises(MiniganError, match=r"k is .*expected a whole number from 1 up"):
        prdc_of(np.zeros((9, 2)), np.zeros((9, 2)), k)


def test_every_fault_is_caught(monkeypatch):
    module = import_module("minigan.metrics.prdc")
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=(12, 2)), rng.normal(0.7, 1.5, (9, 2))

    def check():
        for k, other in ((3, b), (3, b / 3), (1, b), (1, b / 3)):
            assert module.prdc(a, other, k) == pytest.approx(by_loops(a.tolist(), other.tolist(), k), rel=1e-9)
        assert module.prdc(a + 1e8, b + 1e8, 3) == pytest.approx(by_loops(a.tolist(), b.tolist(), 3), rel=1e-9)
        assert module.prdc(a, b) == module.prdc(a, b, 5)
        for few in ((a[:3], b), (a, b[:3])):
            with pytest.raises(MiniganError, match=r"has 3 rows.*at least 4"):
                module.prdc(*few, 3)
        return SimpleNamespace(ok=True)

    check()
    for description, tree in faults(module.prdc):
        with monkeypatch.context() as patch:
            patch.setattr(module, "prdc", compiled(tree, module))
            assert is_caught(check), description
