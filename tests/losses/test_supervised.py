"""Losses against targets: values against the formulas with logarithms, gradients against differences, stability, dtype."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minigan import check_loss, losses
from minigan.errors import ShapeError

logits = hnp.arrays(np.float64, st.tuples(st.integers(1, 6), st.integers(1, 2)), elements=st.floats(-8, 8))


def sigma(s):
    return 1 / (1 + np.exp(-s))


@given(logits, st.data())
def test_bce_and_mse(s, data):
    t = data.draw(hnp.arrays(np.float64, s.shape, elements=st.floats(0, 1)))
    expected = -np.mean(t * np.log(sigma(s)) + (1 - t) * np.log(1 - sigma(s)))
    assert float(losses.bce_with_logits(s, t)[0]) == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert float(losses.mse(s, t)[0]) == pytest.approx(np.mean((s - t) ** 2))
    np.testing.assert_allclose(losses.mse(s, t)[1], 2 * (s - t) / s.size)
    np.testing.assert_allclose(losses.bce_with_logits(s, t)[1], (sigma(s) - t) / s.size, atol=1e-15)


@given(st.integers(1, 5), st.integers(2, 6), st.integers(0, 100))
def test_softmax_cross_entropy(rows, classes, seed):
    rng = np.random.default_rng(seed)
    s, labels = rng.standard_normal((rows, classes)), rng.integers(0, classes, rows)
    p = np.exp(s) / np.exp(s).sum(axis=1, keepdims=True)
    loss, _ = losses.softmax_cross_entropy(s, labels)
    assert float(loss) == pytest.approx(-np.mean(np.log(p[np.arange(rows), labels])))
    assert check_loss(lambda a: losses.softmax_cross_entropy(a, labels), s, backend="textbook", name="softmax").ok


def test_extreme_logits_stay_finite():
    s, labels = np.array([[-1000.0], [-1.0], [1000.0]], np.float32), np.array([0, 1, 0])
    with np.errstate(over="raise", divide="raise", invalid="raise"):
        for values in (
            losses.bce_with_logits(s, np.ones_like(s)),
            losses.softmax_cross_entropy(np.concatenate([s, -s], axis=1), labels),
        ):
            assert all(np.isfinite(value).all() for value in values)


def test_dtype_and_form():
    s, labels = np.array([[0.5], [-2.0]], np.float32), np.array([0, 0])
    for loss, gradient in (losses.bce_with_logits(s, abs(s) / 9), losses.mse(s, s), losses.softmax_cross_entropy(s, labels)):
        assert loss.shape == ()
        assert gradient.shape == s.shape
        assert all(isinstance(value, np.ndarray) and value.dtype == np.float32 for value in (loss, gradient))


def test_errors():
    with pytest.raises(ShapeError, match="one shape"):
        losses.mse(np.zeros((2, 1)), np.zeros(2))
    with pytest.raises(ShapeError, match="one shape"):
        losses.bce_with_logits(np.zeros((2, 1)), np.zeros((1, 1)))
    with pytest.raises(ShapeError, match="N integer labels"):
        losses.softmax_cross_entropy(np.zeros((2, 3)), np.zeros(2))
    with pytest.raises(ShapeError, match="need an array of NumPy or CuPy, got list"):
        losses.softmax_cross_entropy([[1.0]], np.zeros(1, int))
