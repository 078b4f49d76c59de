"""The kernel distance: loops, the closed form for Gaussians, and no bias."""

from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from planted_faults import compiled, faults, is_caught

from minigan.metrics import kid as kid_of
from minigan.metrics import points


def by_loops(a, b):
    def k(x, y):
        return (sum(p * q for p, q in zip(x, y, strict=True)) / len(x) + 1) ** 3

    def within(x):
        return sum(k(p, q) for i, p in enumerate(x) for j, q in enumerate(x) if i != j) / (len(x) * (len(x) - 1))

    return within(a) + within(b) - 2 * sum(k(p, q) for p in a for q in b) / (len(a) * len(b))


@given(st.integers(2, 9), st.integers(2, 9), st.integers(1, 5), st.integers(0, 99), st.integers(1, 40))
def test_equals_the_loops(m, n, size, seed, block):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(m, size)), rng.normal(1, 2, (n, size))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(points, "BLOCK", block)
        np.testing.assert_allclose(kid_of(a, b), by_loops(a.tolist(), b.tolist()), rtol=1e-9, atol=1e-9)


def test_closed_form_in_one_dimension():
    """x ~ N(0, 1), y ~ N(a, 1): E (xy + 1)³ = 1 + 3 E[x]E[y] + 3 E[x²]E[y²] + E[x³]E[y³], with E[y³] = a³ + 3a."""
    rng, a = np.random.default_rng(0), 0.5
    found = [kid_of(rng.normal(size=(500, 1)), rng.normal(a, 1, (400, 1))) for _ in range(100)]
    exact = 4 + (1 + 3 * a * a + 3 * (1 + a * a) ** 2 + (a**3 + 3 * a) ** 2) - 2 * (1 + 3 * (1 + a * a))
    assert np.mean(found) == pytest.approx(exact, abs=4 * np.std(found) / 10)


def test_no_bias_with_few_samples():
    rng = np.random.default_rng(1)
    found = [kid_of(rng.normal(size=(5, 3)), rng.normal(size=(7, 3))) for _ in range(2000)]
    assert min(found) < 0 < max(found)
    assert abs(np.mean(found)) < 4 * np.std(found) / np.sqrt(2000)


@pytest.mark.parametrize("name", ["kid", "_within", "_kernel_sum", "_cubed"])
def test_every_fault_is_caught(name, monkeypatch):
    module = import_module("minigan.metrics.kid")
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(4, 3)), rng.normal(1, 2, (5, 3))

    def check():
        np.testing.assert_allclose(module.kid(a, b), by_loops(a.tolist(), b.tolist()), rtol=1e-9)
        with pytest.raises(ValueError, match="at least 2 samples"):
            module.kid(a[:1], b)
        module.kid(a[:2], b)
        return SimpleNamespace(ok=True)

    check()
    for description, tree in faults(getattr(module, name)):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, compiled(tree, module))
            assert is_caught(check), description
