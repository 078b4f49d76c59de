"""Losses: values against the formulas with logarithms, gradients against differences, stability, dtype."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minigan import check_loss, losses
from minigan.errors import OptionError, ShapeError

logits = hnp.arrays(np.float64, st.tuples(st.integers(1, 6), st.just(1)), elements=st.floats(-8, 8))


def sigma(s):
    return 1 / (1 + np.exp(-s))


@given(logits, logits, st.sampled_from([0.0, 0.1, 0.3]))
def test_discriminator_loss_is_the_papers(s_real, s_fake, smoothing):
    loss, _, _ = losses.discriminator_loss(s_real, s_fake, smoothing)
    d_real, d_fake, t = sigma(s_real), sigma(s_fake), 1 - smoothing
    expected = -np.mean(t * np.log(d_real) + (1 - t) * np.log(1 - d_real)) - np.mean(np.log(1 - d_fake))
    assert float(loss) == pytest.approx(expected, rel=1e-9)
    assert check_loss(
        lambda a, b: losses.discriminator_loss(a, b, smoothing), s_real, s_fake, backend="textbook", name="L_D"
    ).ok


@given(logits)
def test_generator_losses_are_the_papers(s):
    assert float(losses.generator_loss(s)[0]) == pytest.approx(-np.mean(np.log(sigma(s))), rel=1e-9)
    saturating = losses.generator_loss(s, saturating=True)[0]
    assert float(saturating) == pytest.approx(np.mean(np.log(1 - sigma(s))), rel=1e-9)
    assert check_loss(losses.generator_loss, s, backend="textbook").ok
    assert check_loss(lambda a: losses.generator_loss(a, True), s, backend="textbook", name="saturating").ok


@given(logits, st.data())
def test_bce_and_mse(s, data):
    t = data.draw(hnp.arrays(np.float64, s.shape, elements=st.floats(0, 1)))
    expected = -np.mean(t * np.log(sigma(s)) + (1 - t) * np.log(1 - sigma(s)))
    assert float(losses.bce_with_logits(s, t)[0]) == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert float(losses.mse(s, t)[0]) == pytest.approx(np.mean((s - t) ** 2))
    np.testing.assert_allclose(losses.mse(s, t)[1], 2 * (s - t) / s.size)


@given(st.integers(1, 5), st.integers(2, 6), st.integers(0, 100))
def test_softmax_cross_entropy(rows, classes, seed):
    rng = np.random.default_rng(seed)
    s, labels = rng.standard_normal((rows, classes)), rng.integers(0, classes, rows)
    p = np.exp(s) / np.exp(s).sum(axis=1, keepdims=True)
    loss, _ = losses.softmax_cross_entropy(s, labels)
    assert float(loss) == pytest.approx(-np.mean(np.log(p[np.arange(rows), labels])))
    assert check_loss(lambda a: losses.softmax_cross_entropy(a, labels), s, backend="textbook", name="softmax").ok


def test_extreme_logits_stay_finite():
    """At |s| = 1000 the naive log(sigmoid(s)) is −∞ and its gradient NaN."""
    s = np.array([[-1000.0], [-1.0], [1000.0]], np.float32)
    labels = np.array([0, 1, 0])
    with np.errstate(over="raise", divide="raise", invalid="raise"):
        results = [
            losses.discriminator_loss(s, s),
            losses.discriminator_loss(s, s, 0.1),
            losses.generator_loss(s),
            losses.generator_loss(s, saturating=True),
            losses.bce_with_logits(s, np.ones_like(s)),
            losses.softmax_cross_entropy(np.concatenate([s, -s], axis=1), labels),
        ]
    for values in results:
        for value in values:
            assert np.isfinite(value).all()
    loss, gradient = losses.generator_loss(s)
    assert float(loss) == pytest.approx((1000 + math.log(1 + math.e)) / 3, rel=1e-5)
    np.testing.assert_allclose(gradient[[0, 2], 0], [-1 / 3, 0], atol=1e-7)


def test_dtype_and_form():
    s = np.array([[0.5], [-2.0]], np.float32)
    for values in (
        losses.discriminator_loss(s, s, 0.1),
        losses.generator_loss(s),
        losses.bce_with_logits(s, s),
        losses.mse(s, s),
    ):
        assert values[0].shape == ()
        assert all(isinstance(value, np.ndarray) and value.dtype == np.float32 for value in values)


def test_at_even_odds():
    s = np.zeros((4, 1))
    loss_d, ds_real, ds_fake = losses.discriminator_loss(s, s)
    assert float(loss_d) == pytest.approx(2 * math.log(2))
    np.testing.assert_allclose(ds_real, -1 / 8)
    np.testing.assert_allclose(ds_fake, 1 / 8)


def test_errors():
    with pytest.raises(OptionError, match=r"smoothing is 1\.5"):
        losses.discriminator_loss(np.zeros((1, 1)), np.zeros((1, 1)), 1.5)
    with pytest.raises(ShapeError, match="one shape"):
        losses.mse(np.zeros((2, 1)), np.zeros(2))
    with pytest.raises(ShapeError, match="N integer labels"):
        losses.softmax_cross_entropy(np.zeros((2, 3)), np.zeros(2))
    with pytest.raises(ShapeError, match="need an array of NumPy or CuPy, got list"):
        losses.generator_loss([[1.0]])
