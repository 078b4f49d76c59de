"""Dropout: how much it drops, and when."""

import numpy as np
import pytest
from one_layer import host

import minigan as mg


def test_dropout(backend):
    net = mg.Sequential([mg.Dropout(0.3)], (1000,), backend=backend, seed=5)
    x = net.backend.asarray(np.ones((50, 1000)), "float32")
    y = host(net, net.forward(x, train=True)[0])
    assert set(np.unique(y).tolist()) == {0.0, np.float32(1 / 0.7).item()}
    assert (y == 0).mean() == pytest.approx(0.3, abs=0.01)
    assert not np.array_equal(y, host(net, net.forward(x, train=True)[0])), "every pass draws a mask of its own"
    np.testing.assert_array_equal(host(net, net.forward(x)[0]), host(net, x))
    twin = mg.Sequential([mg.Dropout(0.3)], (1000,), backend=backend, seed=5)
    np.testing.assert_array_equal(host(twin, twin.forward(x, train=True)[0]), y)
