"""Sequential: flat vectors and their views, state, checks of inputs, printing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigan as mg
from minigan.errors import CheckpointError, OptionError, ShapeError


def net(backend="textbook", dtype="float64", seed=0):
    layers = [mg.Conv2d(4, 3, stride=2, padding=1), mg.BatchNorm(), mg.LeakyReLU(), mg.Flatten(), mg.Dropout(0.2), mg.Dense(2)]
    return mg.Sequential(layers, (6, 6, 2), backend=backend, dtype=dtype, seed=seed)


def batch(net, n=3, seed=0):
    return net.backend.asarray(np.random.default_rng(seed).standard_normal((n, *net.input_shape)), net.dtype)


def test_parameters_are_views_of_one_vector(backend):
    n = net(backend)
    assert n.num_params == sum(p.size for p in n.params.values()) == n.flat_params.size == n.flat_grads.size
    n.flat_params[...] = 3
    n.flat_grads[...] = 4
    for layer in n.layers:
        for name in layer.params:
            assert layer.params[name] is getattr(layer, name)
            assert float(layer.params[name].min()) == float(layer.params[name].max()) == 3
            assert float(layer.grads[name].min()) == float(layer.grads[name].max()) == 4
    assert list(n.params) == ["0.weight", "0.bias", "1.gamma", "1.beta", "5.weight", "5.bias"]
    vector = n.flat_params
    n.load_state_dict(net(backend, seed=1).state_dict())
    assert n.flat_params is vector, "the vectors are never rebound"


def test_the_seed_decides_the_initial_values_on_every_backend(backend):
    book = net("textbook", seed=3).state_dict()
    for name, value in net(backend, seed=3).state_dict().items():
        np.testing.assert_array_equal(value, book[name])
    assert not np.array_equal(net(backend, seed=4).state_dict()["0.weight"], book["0.weight"])


def test_state_dict_round_trip(backend):
    first, second = net(backend), net(backend, seed=9)
    first.forward(batch(first), train=True)
    second.load_state_dict(first.state_dict())
    y1, y2 = first.forward(batch(first))[0], second.forward(batch(second))[0]
    np.testing.assert_array_equal(first.backend.to_numpy(y1), second.backend.to_numpy(y2))
    assert "1.running_mean" in first.state_dict()


def test_load_state_dict_is_strict_and_changes_nothing_on_failure():
    n = net()
    before = n.flat_params.copy()
    state = net(seed=1).state_dict()
    with pytest.raises(CheckpointError, match=r"lacks \['5.bias'\]"):
        n.load_state_dict({k: v for k, v in state.items() if k != "5.bias"})
    with pytest.raises(CheckpointError, match=r"in excess \['6.weight'\]"):
        n.load_state_dict({**state, "6.weight": np.zeros(3)})
    with pytest.raises(CheckpointError, match=r"5.bias has shape \(3,\): this network needs \(2,\)"):
        n.load_state_dict({**state, "5.bias": np.zeros(3)})
    np.testing.assert_array_equal(n.flat_params, before)


def test_clone_is_equal_and_independent(backend):
    n = net(backend)
    n.forward(batch(n), train=True)
    twin = n.clone()
    y, caches = n.forward(batch(n), train=True)
    z, _ = twin.forward(batch(n), train=True)
    np.testing.assert_array_equal(n.backend.to_numpy(y), n.backend.to_numpy(z))
    twin.flat_params[...] = 0
    assert float(abs(n.flat_params).sum()) > 0
    n.backward(y, caches)
    assert float(abs(twin.flat_grads).sum()) == 0
    assert n.clone("float32").dtype == np.float32


def test_split_follows_the_layers():
    n = net()
    parts = {layer.name: part for layer, part in n.split(n.flat_params)}
    np.testing.assert_array_equal(parts["Dense"], np.concatenate([n.params["5.weight"].ravel(), n.params["5.bias"]]))


def test_backward_without_input_gradient_skips_what_nobody_needs():
    n = mg.Sequential([mg.Flatten(), mg.Tanh(), mg.Dense(2)], (2, 2), backend="textbook", dtype="float64")
    seen = []
    n.watch = lambda layer, what, array: seen.append((layer.name, what))
    y, caches = n.forward(batch(n), train=True)
    assert n.backward(y, caches, input_grad=False) is None
    assert seen == [
        *[(name, "output") for name in ("Flatten", "Tanh", "Dense")],
        ("Dense", "gradient of weight"),
        ("Dense", "gradient of bias"),
    ]
    assert float(abs(n.grads["2.weight"]).sum()) > 0


@given(st.integers(1, 4), st.booleans(), st.booleans())
def test_switches_agree_with_the_full_backward(rows, param_grads, input_grad):
    n = net()
    x = batch(n, rows + 1)
    y, caches = n.forward(x, train=True)
    full = n.backward(y, caches)
    grads = n.flat_grads.copy()
    n.zero_grads()
    dx = n.backward(y, caches, param_grads=param_grads, input_grad=input_grad)
    np.testing.assert_array_equal(n.flat_grads, grads if param_grads else 0 * grads)
    assert (dx is None) == (not input_grad)
    if input_grad:
        np.testing.assert_array_equal(dx, full)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ([[1.0]], r"x is a builtins.list: this network runs on textbook; pass net.backend.asarray\(x\)"),
        (np.zeros((2, 6, 6, 2), np.float32), r"x is float32: this network computes in float64; pass x.astype\('float64'\)"),
        (np.zeros((2, 72)), r"x has shape \(2, 72\): expected \(N, 6, 6, 2\)"),
        (np.zeros((0, 6, 6, 2)), "a batch needs at least one sample"),
    ],
)
def test_forward_refuses_wrong_input(x, message):
    with pytest.raises(ShapeError, match=message):
        net().forward(x)


def test_backward_refuses_wrong_gradient():
    n = net()
    _, caches = n.forward(batch(n))
    with pytest.raises(ShapeError, match=r"dy is float64 \(3, 5\): expected float64 \(N, 2\)"):
        n.backward(np.zeros((3, 5)), caches)


def test_construction_errors():
    with pytest.raises(ShapeError, match="at least one layer"):
        mg.Sequential([], (3,), backend="textbook")
    for dtype in ("float16", "foo", None.__class__):
        with pytest.raises(OptionError, match="float32 or float64"):
            mg.Sequential([mg.Tanh()], (3,), backend="textbook", dtype=dtype)
    with pytest.raises(OptionError, match="seed is -1"):
        mg.Sequential([mg.Tanh()], (3,), backend="textbook", seed=-1)
    with pytest.raises(ShapeError, match=r"input_shape is 784: .* as \(784,\)"):
        mg.Sequential([mg.Tanh()], 784, backend="textbook")
    shared = mg.Dense(3)
    mg.Sequential([shared], (3,), backend="textbook")
    with pytest.raises(ShapeError, match=r"Dense \(layer 0\) already belongs to a network"):
        mg.Sequential([shared], (3,), backend="textbook")
    with pytest.raises(ShapeError, match=r"Conv2d \(layer 1\) needs \(H, W, C\), got \(4,\)"):
        mg.Sequential([mg.Dense(4), mg.Conv2d(1, 1)], (3,), backend="textbook")


def test_a_layer_whose_build_lies_is_found():
    class Liar(mg.Layer):
        def forward(self, x, train=False):
            return x[:, :1], None

    n = mg.Sequential([Liar(), mg.Dense(1)], (3,), backend="textbook")
    with pytest.raises(ShapeError, match=r"Dense \(layer 1\) needs \(3,\), got \(1,\) from the layer before it"):
        n.forward(np.zeros((2, 3), np.float32))


def test_summary():
    text = str(net())
    assert "0 Conv2d(channels=4, kernel_size=3, stride=2, padding=1)  " in text
    assert "(N, 3, 3, 4)" in text
    # 3·3·2·4 + 4 weights of the convolution, 2·4 of BatchNorm, 36·2 + 2 of Dense
    assert text.splitlines()[-1].split() == ["total", "158"]
    assert text == net().summary()


# -- gradients that take the place of the last step's ------------------------------------------------------------------


class OwnDense(mg.Dense):
    """A dense layer whose author adds to grads as the contract says."""

    def backward(self, dy, cache, *, param_grads=True, input_grad=True):
        if param_grads:
            self.grads["weight"] += cache.T @ dy
            self.grads["bias"] += dy.sum(axis=0)
        return dy @ self.weight.T if input_grad else None


class TwoTerms(mg.Dense):
    """The gradient in two halves, both by add_grad."""

    direct = ("weight",)

    def backward(self, dy, cache, *, param_grads=True, input_grad=True):
        if param_grads:
            self.add_grad("weight", self.backend.matmul, cache.T, 0.5 * dy)
            self.add_grad("weight", self.backend.matmul, cache.T, 0.5 * dy)
            self.grads["bias"] += dy.sum(axis=0)
        return dy @ self.weight.T if input_grad else None


class Forgetful(TwoTerms):
    """Declares that it writes a gradient, and never does."""

    direct = ("weight",)

    def backward(self, dy, cache, *, param_grads=True, input_grad=True):
        return dy @ self.weight.T


@pytest.mark.parametrize("layer", [mg.Dense, OwnDense, TwoTerms, Forgetful])
def test_gradients_without_accumulation_are_those_after_zero_grads(layer):
    net = mg.Sequential([layer(3), mg.Tanh(), layer(2)], (4,), "numpy", "float64", seed=1)
    y, caches = net.forward(np.random.default_rng(0).standard_normal((5, 4)))
    net.zero_grads()
    net.backward(np.ones_like(y), caches)
    expected = net.flat_grads.copy()
    net.flat_grads[...] = np.nan
    net.backward(np.ones_like(y), caches, accumulate=False)
    np.testing.assert_allclose(net.flat_grads, expected, rtol=1e-14)
    net.backward(np.ones_like(y), caches)
    np.testing.assert_allclose(net.flat_grads, 2 * expected, rtol=1e-14)


@pytest.mark.parametrize("which", [0, 1], ids=["generator", "discriminator"])
def test_convolutions_without_accumulation(backend, which):
    net = mg.models.dcgan((8, 8, 1), 5, 3, backend=backend, dtype="float64", extra_conv=True)[which]
    be, rng = net.backend, np.random.default_rng(0)
    y, caches = net.forward(be.asarray(rng.standard_normal((4, *net.input_shape))), train=True)
    dy = be.asarray(rng.standard_normal(y.shape))
    net.zero_grads()
    net.backward(dy, caches)
    expected = be.to_numpy(net.flat_grads).copy()
    net.flat_grads[...] = np.nan
    for times, accumulate in ((1, False), (2, True)):
        net.backward(dy, caches, accumulate=accumulate)
        np.testing.assert_allclose(be.to_numpy(net.flat_grads), times * expected, rtol=1e-12, atol=1e-12)


def test_an_interrupted_pass_leaves_the_next_one_as_it_should_be(monkeypatch):
    net = mg.Sequential([mg.Dense(3), mg.Dense(2)], (4,), "numpy", "float64")
    y, caches = net.forward(np.ones((5, 4)))
    dy, layer = np.ones_like(y), net.layers[1]
    with monkeypatch.context() as patch:
        patch.setattr(layer, "backward", lambda *args, **options: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            net.backward(dy, caches, accumulate=False)
    layer.backward(dy, caches[1])
    once = layer.grads["weight"].copy()
    layer.backward(dy, caches[1])
    np.testing.assert_allclose(layer.grads["weight"], 2 * once)
