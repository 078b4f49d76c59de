"""Residual, and what all layers made of layers keep: names, shapes, streams, custom layers and copies."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from one_layer import draw, host

import minigan as mg
from minigan.errors import ModelError, OptionError, ShapeError


class Scale(mg.Layer):
    """A layer of a user's own, without a second order."""

    cross_sample = False

    def build(self, input_shape):
        self.add_parameter("a", input_shape[-1:], mg.constant(2.0))
        return input_shape

    def forward(self, x, train=False):
        return self.a * x, x

    def backward(self, dy, cache, grads=None, input_grad=True):
        if grads is not None:
            grads["a"][...] = self.backend.column_dot(cache, dy)
        return self.a * dy if input_grad else None


def nested():
    return [mg.Dense(3), mg.Residual([mg.Tanh(), mg.Residual([mg.Dense(3), mg.BatchNorm()]), mg.Dropout(0.5), Scale()], 0.5)]


def test_names_are_paths(backend):
    net = mg.Sequential(nested(), (2,), backend)
    within = ["1.1.0.weight", "1.1.0.bias", "1.1.1.gamma", "1.1.1.beta", "1.3.a"]
    assert list(net.params) == ["0.weight", "0.bias", *within]
    assert list(net.state) == ["1.1.1.running_mean", "1.1.1.running_var"]
    net.params["1.1.0.weight"][...] = 7
    assert (host(net, net.layers[1].layers[1].layers[0].weight) == 7).all(), "one array, whatever its name"
    assert (host(net, net.flat_params) == 7).sum() == 9
    assert net.layers[1].layers[1].layers[0].label == "Dense (layer 1.1.0)"


BLOCKS = {
    "dense": ((4,), lambda: [mg.Dense(6), mg.ReLU(), mg.Dense(4)]),
    "norms": ((4,), lambda: [mg.BatchNorm(), mg.Tanh(), mg.LayerNorm()]),
    "convolutions": ((4, 4, 2), lambda: [mg.Conv2d(3, 4, 2, 1), mg.LeakyReLU(), mg.ConvTranspose2d(2, 4, 2, 1)]),
}


@given(st.sampled_from(sorted(BLOCKS)), st.floats(-2, 2), st.integers(2, 5), st.booleans())
def test_it_is_x_and_a_part_of_what_its_layers_make(name, scale, batch, train):
    shape, make = BLOCKS[name]
    block = mg.Sequential([mg.Residual(make(), scale)], shape, "textbook", "float64", seed=3)
    plain = mg.Sequential(make(), shape, "textbook", "float64", seed=3)
    np.testing.assert_array_equal(block.flat_params, plain.flat_params)
    x, dy = draw(plain, (batch, *shape)), draw(plain, (batch, *shape), 2)
    y, caches = block.forward(x, train)
    f, of_f = plain.forward(x, train)
    np.testing.assert_allclose(y, x + scale * f, rtol=1e-12, atol=1e-14)
    dx, df = block.backward(dy, caches, block.grads), plain.backward(scale * dy, of_f, plain.grads)
    np.testing.assert_allclose(dx, dy + df, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(block.flat_grads, plain.flat_grads, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: [mg.Residual([mg.Dense(3)])], ShapeError, r"Residual \(layer 0\) needs .*its input, \(4,\), got \(3,\)"),
        (lambda: [mg.Residual([mg.Conv2d(3, 3)])], ShapeError, r"Conv2d \(layer 0\.0\) needs \(H, W, C\), got \(4,\)"),
        (lambda: [mg.Residual([])], OptionError, "at least one layer"),
        (lambda: [mg.Residual(mg.Dense(4))], OptionError, r"layers is Dense\(units=4\): expected a list"),
        (lambda: [mg.Residual([mg.Dense])], OptionError, "Residual holds .*Dense.*: expected a layer"),
        (lambda: [mg.Residual([mg.Dense(4)], scale="1")], OptionError, "Residual: scale is '1': expected a finite number"),
        (lambda: [mg.Residual([layer := mg.Dense(4), layer])], ShapeError, r"Dense \(layer 0\.0\) already belongs"),
    ],
)
def test_what_does_not_fit_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        mg.Sequential(make(), (4,), "textbook")


def test_a_layer_that_breaks_its_promise_of_a_shape_is_named():
    class Lies(Scale):
        def forward(self, x, train=False):
            return x[:, :1], x

    net = mg.Sequential([mg.Residual([Lies(), mg.Tanh()])], (4,), "textbook")
    with pytest.raises(ShapeError, match=r"Tanh \(layer 0\.1\) needs \(4,\), got \(1,\) from the layer before it"):
        net.forward(draw(net, (3, 4)))
    net = mg.Sequential([mg.Residual([Lies()])], (4,), "textbook")
    with pytest.raises(ShapeError, match=r"Residual \(layer 0\) needs \(4,\), got \(1,\) from the last of its layers"):
        net.forward(draw(net, (3, 4)))


def test_a_batch_too_small_for_a_layer_within_is_refused_before_anything_moves():
    net = mg.Sequential([mg.Residual([mg.Residual([mg.BatchNorm()])])], (4,), "textbook")
    with pytest.raises(ShapeError, match="at least 2 samples"):
        net.forward(draw(net, (1, 4)), train=True)
    assert not net.state["0.0.0.running_mean"].any()


def test_streams_within_are_the_network_s(backend):
    net = mg.Sequential([mg.Residual([mg.Dropout(0.5), mg.Dropout(0.3)])], (50,), backend, seed=1)
    x, before = draw(net, (4, 50)), net.random_state
    first, second = (host(net, net.forward(x, train=True)[0]) for _ in range(2))
    assert not np.array_equal(first, second)
    net.random_state = before
    np.testing.assert_array_equal(host(net, net.forward(x, train=True)[0]), first)


def test_custom_layers_within(backend):
    assert mg.check_layer(mg.Residual([Scale(), mg.Tanh()]), (4, 3), backend=backend).ok
    net = mg.Sequential([mg.Residual([Scale()]), mg.Flatten(), mg.Dense(1)], (4, 3), backend)
    x = draw(net, (5, 4, 3))
    with pytest.raises(ModelError, match=r"Scale \(layer 0\.0\) has no tangent"):
        mg.losses.R1(1.0).add_grads(net, x, x, net.grads)


def test_a_custom_layer_within_is_not_recorded():
    net = mg.Sequential([mg.Residual([mg.Residual([Scale()])]), mg.Dense(1)], (2,), "numpy")
    gan = mg.GAN(mg.Sequential([mg.Dense(2)], (2,), "numpy"), net)
    said = []
    step = mg.capture(gan, mg.Batches(np.ones((8, 2), "f4"), 4, gan.backend), said.append)
    step()
    assert step.phase == "eager"
    assert said == ["not captured, running eagerly: Scale (layer 0.0.0) is not minigan's own"]


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))], ids=["copy", "pickle"])
def test_copies_have_layers_of_their_own(copied):
    layers = nested()
    twin = mg.Sequential([copied(layer) for layer in layers], (2,), "textbook", seed=4)
    net = mg.Sequential(layers, (2,), "textbook", seed=4)
    other = copied(net)
    np.testing.assert_array_equal(twin.flat_params, net.flat_params)
    assert repr(net) == repr(twin) == repr(other) == repr(net.clone())
    assert repr(net.layers[1].layers[1]) == "Residual(layers=[Dense(units=3), BatchNorm()])"
    net.flat_params[...] = 0
    assert other.layers[1].layers[1].layers[0].weight.any()
    other.load_state_dict(net.state_dict())
    assert not other.layers[1].layers[1].layers[0].weight.any()
