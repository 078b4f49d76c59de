"""The Fréchet distance: closed forms, the textbook's matrix root, symmetry, and fewer samples than features."""

from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from planted_faults import compiled, faults, is_caught

import minigan as mg
from minigan.metrics.frechet import frechet


def by_matrix_roots(a, b):
    """‖μ₁ − μ₂‖² + tr(S₁ + S₂ − 2 (S₁^½ S₂ S₁^½)^½), with roots by eigenvalues."""

    def root(s):
        values, vectors = np.linalg.eigh(s)
        return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T

    s, t = (np.atleast_2d(np.cov(x, rowvar=False)) for x in (a, b))
    mean = ((a.mean(axis=0) - b.mean(axis=0)) ** 2).sum()
    return mean + np.trace(s + t - 2 * root(root(s) @ t @ root(s)))


def drawn(count, size, seed, shift=0.0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, size)) @ rng.normal(size=(size, size)) + shift


@given(st.integers(2, 30), st.integers(2, 30), st.integers(1, 12), st.integers(0, 999), st.floats(-5, 5))
def test_equals_the_matrix_roots_is_symmetric_and_never_negative(m, n, size, seed, shift):
    a, b = drawn(m, size, seed), drawn(n, size, seed + 1, shift)
    found, scale = frechet(a, b), np.trace(np.atleast_2d(np.cov(a.T))) + np.trace(np.atleast_2d(np.cov(b.T)))
    np.testing.assert_allclose(found, by_matrix_roots(a, b), rtol=1e-6, atol=3e-7 * scale)  # roots of rounding are 1e-8
    np.testing.assert_allclose(found, frechet(b, a), rtol=1e-9, atol=1e-12 * scale)
    assert found >= 0
    assert 0 <= frechet(a, a) <= 1e-12 * scale


def test_closed_forms():
    a = drawn(50, 4, 0)
    np.testing.assert_allclose(frechet(a, a + np.array([1, 2, 0, -2])), 9, rtol=1e-9)  # moved alone: ‖μ₁ − μ₂‖²
    spread = np.trace(np.cov(a.T))
    np.testing.assert_allclose(frechet(a - a.mean(axis=0), 3 * (a - a.mean(axis=0))), 4 * spread, rtol=1e-9)  # (1 − 3)² tr S
    one, other = np.array([[-1.0], [1.0]]), np.array([[0.0], [6.0]])  # means 0 and 3, variances 2 and 18
    np.testing.assert_allclose(frechet(one, other), 9 + (np.sqrt(18) - np.sqrt(2)) ** 2)


def test_fewer_samples_than_features():
    a, b = drawn(10, 300, 0), drawn(10, 300, 1)
    assert np.isfinite(frechet(a, b))
    assert frechet(a, b) > 0
    assert frechet(a, a[::-1]) < 1e-9 * np.trace(np.cov(a.T))


def test_far_from_the_origin():
    a, b = drawn(40, 3, 0), drawn(50, 3, 1)
    np.testing.assert_allclose(frechet(a + 1e6, b + 1e6), frechet(a, b), rtol=1e-6)


def test_every_fault_in_the_formula_is_caught():
    a, b = drawn(20, 3, 0), drawn(30, 3, 1, 2.0)

    def check(function):
        np.testing.assert_allclose(function(a, b), by_matrix_roots(a, b), rtol=1e-9)
        np.testing.assert_allclose(function(a, a), 0, atol=1e-9)
        with pytest.raises(mg.MiniganError, match="at least 2 samples"):
            function(a[:1], b)
        function(a[:2], b)
        return SimpleNamespace(ok=True)

    check(frechet)
    module = import_module("minigan.metrics.frechet")
    for description, tree in faults(frechet):
        assert is_caught(lambda tree=tree: check(compiled(tree, module))), description


@pytest.mark.parametrize("count", [500, 5000])
def test_samples_of_known_gaussians(count):
    """N(0, I) and N(μ, 4 I) in K dimensions are ‖μ‖² + K (2 − 1)² apart."""
    rng = np.random.default_rng(0)
    found = frechet(rng.normal(size=(count, 5)), 1 + 2 * rng.normal(size=(count, 5)))
    assert found == pytest.approx(10, rel=5 / np.sqrt(count))
