"""Initial values: their distributions, and that each layer draws its own."""

import numpy as np
import pytest

import minigan as mg


def test_initializers():
    rng = np.random.default_rng(0)
    shape, fan_in, fan_out = (400, 300), 400, 300
    assert mg.normal(0.02)(rng, shape, fan_in, fan_out).std() == pytest.approx(0.02, rel=0.02)
    limit = np.sqrt(6 / 700)
    drawn = mg.glorot()(rng, shape, fan_in, fan_out)
    assert np.abs(drawn).max() <= limit
    assert drawn.std() == pytest.approx(limit / np.sqrt(3), rel=0.02)
    assert mg.he()(rng, shape, fan_in, fan_out).std() == pytest.approx(np.sqrt(2 / 400), rel=0.02)
    assert not mg.zeros()(rng, shape, fan_in, fan_out).any()
    assert (mg.constant(3.0)(rng, shape, fan_in, fan_out) == 3).all()


def test_initializers_are_used_per_layer():
    """An initialiser that is written but never called leaves no other trace."""
    dense = mg.Dense(50, weight_init=mg.normal(0.5, mean=3), bias_init=mg.constant(2))
    conv = mg.Conv2d(64, 4, weight_init=mg.he())
    net = mg.Sequential([conv, mg.Flatten(), dense], (8, 8, 16), backend="textbook", seed=1)
    assert net.params["0.weight"].std() == pytest.approx(np.sqrt(2 / (16 * 16)), rel=0.05)
    assert net.params["2.weight"].mean() == pytest.approx(3, abs=0.05)
    assert (net.params["2.bias"] == 2).all()
