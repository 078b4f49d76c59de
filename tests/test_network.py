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
    for index, layer in enumerate(n.layers):
        for name in layer.params:
            assert layer.params[name] is getattr(layer, name) is n.params[f"{index}.{name}"]
            assert float(layer.params[name].min()) == float(layer.params[name].max()) == 3
            assert n.grads.of_layer[index][name] is n.grads[f"{index}.{name}"]
            assert float(n.grads[f"{index}.{name}"].min()) == float(n.grads[f"{index}.{name}"].max()) == 4
    assert list(n.params) == list(n.grads) == ["0.weight", "0.bias", "1.gamma", "1.beta", "5.weight", "5.bias"]
    assert n.params.flat is n.flat_params
    assert n.grads.flat is n.flat_grads
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
    n.backward(y, caches, grads=n.grads)
    assert float(abs(twin.flat_grads).sum()) == 0
    assert n.clone("float32").dtype == np.float32


def test_split_follows_the_layers():
    n = net()
    parts = {layer.name: part for layer, part in n.split(n.flat_params)}
    np.testing.assert_array_equal(parts["Dense"], np.concatenate([n.params["5.weight"].ravel(), n.params["5.bias"]]))


# -- backward ----------------------------------------------------------------------------------------------------------


def test_backward_without_input_gradient_skips_what_nobody_needs():
    n = mg.Sequential([mg.Flatten(), mg.Tanh(), mg.Dense(2)], (2, 2), backend="textbook", dtype="float64")
    y, caches = n.forward(batch(n), train=True)
    seen = []
    n.watch = lambda layer, what, value: seen.append((layer and layer.name, what))
    assert n.backward(y, caches, grads=n.grads, input_grad=False) is None
    assert seen == [(None, "backward"), ("Dense", "gradient of weight"), ("Dense", "gradient of bias")]
    assert float(abs(n.grads["2.weight"]).sum()) > 0
    seen.clear()
    assert n.backward(y, caches, input_grad=False) is None
    assert seen == [(None, "backward")], "nothing is asked for"


@given(st.integers(1, 4), st.booleans(), st.booleans())
def test_switches_agree_with_the_full_backward(rows, param_grads, input_grad):
    n = net()
    y, caches = n.forward(batch(n, rows + 1), train=True)
    n.flat_grads[...] = np.nan
    full = n.backward(y, caches, grads=n.grads)
    grads = n.flat_grads.copy()
    assert not np.isnan(grads).any()
    n.flat_grads[...] = 7
    dx = n.backward(y, caches, grads=n.grads if param_grads else None, input_grad=input_grad)
    np.testing.assert_array_equal(n.flat_grads, grads if param_grads else 7)
    assert (dx is None) == (not input_grad)
    if input_grad:
        np.testing.assert_array_equal(dx, full)


@pytest.mark.parametrize("which", [0, 1], ids=["generator", "discriminator"])
def test_gradients_are_written_over_whatever_lies_there(backend, which):
    n = mg.models.dcgan((8, 8, 1), 5, 3, backend=backend, dtype="float64", extra_conv=True)[which]
    y, caches = n.forward(batch(n, 4), train=True)
    found = []
    for filled in (np.nan, 7):
        n.flat_grads[...] = filled
        n.backward(y, caches, grads=n.grads)
        found.append(n.backend.to_numpy(n.flat_grads).copy())
    assert not np.isnan(found[0]).any()
    np.testing.assert_array_equal(*found)


def test_gradients_may_go_to_arrays_of_the_callers(backend):
    n = net(backend)
    y, caches = n.forward(batch(n), train=True)
    n.backward(y, caches, grads=n.grads)
    own = {name: n.backend.empty(array.shape, n.dtype) for name, array in n.params.items()}
    expected = {name: n.backend.to_numpy(array).copy() for name, array in n.grads.items()}
    n.flat_grads[...] = 7
    n.backward(y, caches, grads=own)
    for name, array in own.items():
        np.testing.assert_array_equal(n.backend.to_numpy(array), expected[name])
    assert (n.backend.to_numpy(n.flat_grads) == 7).all()


def test_gradients_must_have_a_place_for_every_parameter():
    n = net()
    y, caches = n.forward(batch(n), train=True)
    with pytest.raises(ShapeError, match=r"grads lacks 1\.beta, 5\.bias: give an array for each"):
        n.backward(y, caches, grads={name: grad for name, grad in n.grads.items() if name not in ("1.beta", "5.bias")})


def test_a_watcher_sees_both_passes_and_may_write_into_an_output():
    n = mg.Sequential([mg.Dense(3), mg.Tanh()], (2,), backend="textbook", dtype="float64")
    x = batch(n)
    seen = []

    def watch(layer, what, value):
        seen.append((layer and layer.name, what, value))
        if layer is n.layers[0] and what == "output":
            value[...] = 0

    n.watch = watch
    y, caches = n.forward(x, train=True)
    dy = np.ones_like(y)
    dx = n.backward(dy, caches, grads=n.grads)
    assert [(name, what) for name, what, _ in seen] == [
        (None, "forward"),
        *[(name, what) for name in ("Dense", "Tanh") for what in ("output", "cache")],
        (None, "backward"),
        ("Tanh", "input gradient"),
        ("Dense", "gradient of weight"),
        ("Dense", "gradient of bias"),
        ("Dense", "input gradient"),
    ]
    assert not y.any(), "the pass goes on with what the watcher wrote"
    (_, _, (x_seen, caches_seen)), (_, _, (dy_seen, caches_again)) = seen[0], seen[5]
    assert x_seen is x
    assert dy_seen is dy
    assert caches_seen is caches_again is caches, "which forward pass a backward pass belongs to"
    assert seen[-1][2] is dx


# -- several passes ----------------------------------------------------------------------------------------------------

TOGETHER = {
    "dense": lambda: [mg.Flatten(), mg.Dense(6), mg.ReLU(), mg.LayerNorm(), mg.Dense(1)],
    "convolutions": lambda: [mg.Conv2d(3, 3, padding=1), mg.LeakyReLU(), mg.Upsample(), mg.Flatten(), mg.Dense(1)],
}


class OwnLayer(mg.Tanh):
    """A layer of one's own: nobody knows what it does with a batch."""

    def forward(self, x, train=False):
        return super().forward(x, train)


APART = {
    "batch norm": lambda: [mg.Conv2d(3, 3), mg.BatchNorm(), mg.Tanh(), mg.Flatten(), mg.Dense(1)],
    "dropout": lambda: [mg.Flatten(), mg.Dense(6), mg.Dropout(0.5), mg.Dense(1)],
    "own layer": lambda: [mg.Flatten(), OwnLayer(), mg.Dense(1)],
}


def several(layers, backend, sizes, dtype="float64"):
    """A network, batches of these sizes and a gradient of each output."""
    n = mg.Sequential(layers, (4, 4, 2), backend, dtype, seed=3)
    xs = [batch(n, size, seed) for seed, size in enumerate(sizes)]
    rng = np.random.default_rng(9)
    return n, xs, [n.backend.asarray(rng.standard_normal((size, 1)), dtype) for size in sizes]


def one_by_one(n, xs, dys):
    """Outputs, sum of the gradients and all dx of separate passes, on the host."""
    host = lambda a: n.backend.to_numpy(a).copy()  # noqa: E731
    passes = [n.forward(x, train=True) for x in xs]
    total, dxs = 0, []
    for dy, (_, caches) in zip(dys, passes, strict=True):
        dxs.append(host(n.backward(dy, caches, grads=n.grads)))
        total = total + host(n.flat_grads)
    return [host(y) for y, _ in passes], total, dxs


def count_passes(n):
    """The batch sizes of the passes that begin from now on."""
    sizes, forward = [], n.forward
    n.forward = lambda x, train=False: sizes.append(len(x)) or forward(x, train)
    return sizes


@pytest.mark.parametrize("sizes", [(3, 3), (1, 1), (4, 2), (2, 1, 3), (3,)], ids=str)
@pytest.mark.parametrize("name", [*TOGETHER, *APART])
def test_several_passes_are_separate_passes(name, sizes, backend):
    """Their outputs, their dx, and the sum of their gradients, wherever it is written."""
    sizes = [size + 1 for size in sizes] if name == "batch norm" else sizes
    make = {**TOGETHER, **APART}[name]
    n, xs, dys = several(make(), backend, sizes)
    reference = several(make(), backend, sizes)[0]
    ys_apart, total, dxs_apart = one_by_one(reference, xs, dys)
    host, passes = n.backend.to_numpy, count_passes(n)

    ys, caches = n.forward_each(xs, train=True)
    joined = name in TOGETHER and n.backend.name != "textbook" and len(sizes) > 1
    assert passes == ([sum(sizes)] if joined else list(sizes))
    for y, expected in zip(ys, ys_apart, strict=True):
        np.testing.assert_allclose(host(y), expected, rtol=1e-11, atol=1e-13)

    own = {key: n.backend.empty(array.shape, n.dtype) for key, array in n.params.items()}
    for grads in (n.grads, own, None):
        for array in (grads or {}).values():
            array[...] = np.nan
        dxs = n.backward_each(dys, caches, grads=grads, input_grad=True)
        for dx, expected in zip(dxs, dxs_apart, strict=True):
            np.testing.assert_allclose(host(dx), expected, rtol=1e-11, atol=1e-13)
        if grads is not None:
            flat = np.concatenate([host(array).ravel() for array in grads.values()])
            np.testing.assert_allclose(flat, total, rtol=1e-11, atol=1e-12)
    n.flat_grads[...] = 7
    assert n.backward_each(dys, caches, grads=n.grads, input_grad=False) == (None,) * len(sizes)
    np.testing.assert_allclose(host(n.flat_grads), total, rtol=1e-11, atol=1e-12)
    for key, value in n.state.items():
        np.testing.assert_array_equal(host(value), host(reference.state[key]))


def test_several_passes_stay_in_float32(backend):
    n, xs, dys = several(TOGETHER["dense"](), backend, (3, 2), "float32")
    ys, caches = n.forward_each(xs, train=True)
    dxs = n.backward_each(dys, caches, grads=n.grads)
    assert {str(a.dtype) for a in (*ys, *dxs)} == {"float32"}


def test_a_watched_network_shows_every_pass(backend):
    n, xs, dys = several(TOGETHER["dense"](), backend, (3, 2))
    seen = []
    n.watch = lambda layer, what, value: seen.append((what, len(value[0]))) if layer is None else None
    _, caches = n.forward_each(xs, train=True)
    n.backward_each(dys, caches, grads=n.grads)
    assert seen == [("forward", 3), ("forward", 2), ("backward", 3), ("backward", 2)]


@pytest.mark.parametrize("fault", ["order", "half"])
def test_planted_faults_in_the_joint_pass_are_seen(monkeypatch, fault):
    n, xs, dys = several(TOGETHER["dense"](), "numpy", (3, 3))
    ys_apart, total, _ = one_by_one(n, xs, dys)
    real = type(n.backend).concatenate
    wrong = {"order": lambda self, xs: real(self, xs[::-1]), "half": lambda self, xs: real(self, [xs[0]] * len(xs))}[fault]
    monkeypatch.setattr(type(n.backend), "concatenate", wrong)
    ys, caches = n.forward_each(xs, train=True)
    assert not np.allclose(np.concatenate(ys), np.concatenate(ys_apart), rtol=1e-6)
    monkeypatch.undo()
    ys, caches = n.forward_each(xs, train=True)
    monkeypatch.setattr(type(n.backend), "concatenate", wrong)
    n.backward_each(dys, caches, grads=n.grads)
    assert not np.allclose(n.flat_grads, total, rtol=1e-6)


@pytest.mark.parametrize("x", [np.zeros((4, 3)), np.zeros((4, 4, 4, 2), "f4"), [[0.0, 0.0]] * 4])
def test_a_batch_that_does_not_fit_is_refused_before_the_passes_are_joined(x):
    n, xs, _ = several(TOGETHER["dense"](), "numpy", (4,))
    with pytest.raises(ShapeError, match=r"^x (is|has)"):
        n.forward_each([xs[0], x], train=True)


# -- what is refused ---------------------------------------------------------------------------------------------------


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


def test_the_table_in_a_notebook():
    html = mg.Sequential([mg.Dense(2), OwnLayer()], (3,), backend="textbook")._repr_html_()
    assert html.startswith("<table>")
    assert html.endswith("</table>")
    assert "<td>0 Dense(units=2)</td><td>(N, 2)</td><td>8</td>" in html
    assert "<td>total</td><td></td><td>8</td>" in html


def test_what_a_user_wrote_is_escaped_in_a_notebook():
    class Named(mg.Tanh):
        def __repr__(self):
            return "<b>&</b>"

    assert "0 &lt;b&gt;&amp;&lt;/b&gt;" in mg.Sequential([Named()], (3,), backend="textbook")._repr_html_()
