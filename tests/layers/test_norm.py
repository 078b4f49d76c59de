"""What BatchNorm keeps from pass to pass."""

import numpy as np
import pytest
from one_layer import host

import minigan as mg
from minigan.errors import ShapeError


def test_batch_norm_running_statistics(backend):
    net = mg.Sequential([mg.BatchNorm(momentum=0.25)], (2,), backend=backend, dtype="float64")
    x = net.backend.asarray([[1.0, 10.0], [3.0, 20.0], [5.0, 60.0]])
    net.forward(x, train=True)
    # means 3 and 30, unbiased variances 4 and 700; from 0 and 1 by a quarter
    np.testing.assert_allclose(host(net, net.state["0.running_mean"]), [0.75, 7.5])
    np.testing.assert_allclose(host(net, net.state["0.running_var"]), [0.75 + 1, 0.75 + 175])
    frozen = host(net, net.state["0.running_mean"])
    y, _ = net.forward(x)
    np.testing.assert_array_equal(host(net, net.state["0.running_mean"]), frozen)
    np.testing.assert_allclose(host(net, y)[0, 0], (1 - 0.75) / np.sqrt(1.75 + 1e-5))


def test_a_training_pass_leaves_an_inference_cache_alone(backend):
    net = mg.Sequential([mg.BatchNorm()], (2,), backend=backend, dtype="float64")
    x = net.backend.asarray(np.random.default_rng(0).standard_normal((4, 2)))
    y, caches = net.forward(x)
    net.backward(y, caches, grads=net.grads)
    before = host(net, net.flat_grads)
    net.forward(5 * x + 3, train=True)
    net.backward(y, caches, grads=net.grads)
    np.testing.assert_array_equal(host(net, net.flat_grads), before)


def test_batch_norm_refuses_to_train_on_one_value(backend):
    net = mg.Sequential([mg.BatchNorm()], (3,), backend=backend)
    with pytest.raises(ShapeError, match=r"BatchNorm \(layer 0\) needs more than one value per channel"):
        net.forward(net.backend.zeros((1, 3), "float32"), train=True)
