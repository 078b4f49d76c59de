"""Every layer on every backend: forward against loops, gradients against differences, and the layer contract."""

import loops
import numpy as np
import pytest
from drawn_geometries import geometries
from hypothesis import given
from hypothesis import strategies as st

import minigan as mg
from minigan.backends import ConvGeometry
from minigan.checks.gradients import check_layer, layer_table
from minigan.errors import MiniganError, ShapeError

CASES = [pytest.param(make, shape, id=f"{make()!r}{shape}") for make, shape in layer_table()]


def network(make, shape, backend, dtype="float64"):
    """A one-layer network whose parameters are all random, so that no term is multiplied by 0 or 1."""
    net = mg.Sequential([make()], shape, backend=backend, dtype=dtype)
    rng = np.random.default_rng(0)
    net.flat_params[...] = net.backend.asarray(rng.standard_normal(net.num_params), dtype)
    return net


def draw(net, shape, seed=1):
    return net.backend.asarray(np.random.default_rng(seed).standard_normal(shape), net.dtype)


def host(net, array):
    return net.backend.to_numpy(array)


# -- forward against loops ---------------------------------------------------------------------------------------------


def loop_forward(layer, x):
    p = {name: layer.backend.to_numpy(array) for name, array in layer.params.items()}
    bias = p.get("bias", np.zeros(layer.output_shape[-1]))
    name = type(layer).__name__
    if name == "Dense":
        return loops.dense(x, p["weight"], bias)
    if name == "Conv2d":
        return loops.conv2d(x, p["weight"], layer.geometry) + bias
    if name == "ConvTranspose2d":
        return loops.conv2d_transpose(x, p["weight"], layer.geometry) + bias
    if name == "BatchNorm":
        return loops.batch_norm(x, p["gamma"], p["beta"], layer.eps)
    if name == "LayerNorm":
        return loops.layer_norm(x, p["gamma"], p["beta"], layer.eps)
    if name == "Upsample":
        return loops.upsample(x, layer.factor)
    if name in ("Flatten", "Reshape"):
        return np.array(x.ravel().tolist()).reshape(len(x), *layer.output_shape)
    plain = {"ReLU": loops.relu, "LeakyReLU": loops.leaky_relu, "Tanh": loops.tanh}
    return {**plain, "Sigmoid": loops.sigmoid, "Softplus": loops.softplus}[name](x)


@pytest.mark.parametrize(("make", "shape"), [case for case in CASES if not isinstance(case.values[0](), mg.Dropout)])
def test_forward_equals_loops(make, shape, backend):
    net = network(make, shape, backend)
    x = draw(net, (3, *shape))
    y, _ = net.forward(x, train=True)
    np.testing.assert_allclose(host(net, y), loop_forward(net.layers[0], host(net, x)), rtol=1e-10, atol=1e-10)


@given(geometries(), st.integers(1, 3))
def test_conv2d_equals_loops_for_drawn_geometries(backend, case, batch):
    options, shape = case
    net = network(lambda: mg.Conv2d(2, **options), shape, backend)
    x = draw(net, (batch, *shape))
    np.testing.assert_allclose(host(net, net.forward(x)[0]), loop_forward(net.layers[0], host(net, x)), atol=1e-10)


@given(geometries(transposed=True), st.integers(1, 3))
def test_conv_transpose2d_equals_loops_for_drawn_geometries(backend, case, batch):
    options, shape = case
    net = network(lambda: mg.ConvTranspose2d(2, **options), shape, backend)
    x = draw(net, (batch, *shape))
    np.testing.assert_allclose(host(net, net.forward(x)[0]), loop_forward(net.layers[0], host(net, x)), atol=1e-10)


# -- gradients ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("make", "shape"), CASES)
@pytest.mark.parametrize("train", [True, False])
def test_gradients_equal_differences(make, shape, backend, train):
    report = check_layer(make(), shape, backend=backend, train=train)
    assert report.ok, str(report)


@given(st.data(), st.booleans())
def test_convolution_gradients_for_drawn_geometries(data, transposed):
    options, shape = data.draw(geometries(transposed))
    layer = (mg.ConvTranspose2d if transposed else mg.Conv2d)(2, **options)
    report = check_layer(layer, shape, batch=2, backend="numpy", max_entries=12)
    assert report.ok, str(report)


@given(geometries(), st.integers(1, 3))
def test_conv2d_transpose_is_the_adjoint_of_conv2d(backend, case, batch):
    """<A x, y> = <x, Aᵀ y>, and the weight gradient is the derivative of <A_w x, y> in w, which is linear in w."""
    options, (height, width, channels) = case
    be = mg.get_backend(backend)
    layer = mg.Conv2d(2, **{**options, "bias": False})
    layer.build((height, width, channels))
    g: ConvGeometry = layer.geometry
    rng = np.random.default_rng(0)
    x = be.asarray(rng.standard_normal((batch, height, width, channels)))
    y = be.asarray(rng.standard_normal((batch, *g.output, 2)))
    w = be.asarray(rng.standard_normal((*g.kernel, channels, 2)))
    forward = float((be.conv2d(x, w, g) * y).sum())
    assert float((x * be.conv2d_transpose(y, w, g)).sum()) == pytest.approx(forward, rel=1e-9, abs=1e-9)
    assert float((w * be.conv2d_weight_grad(x, y, g)).sum()) == pytest.approx(forward, rel=1e-9, abs=1e-9)


# -- the contract ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("make", "shape"), CASES)
def test_two_live_caches(make, shape, backend):
    """A second forward pass must not disturb the first one's backward."""
    net = network(make, shape, backend)
    first, second = draw(net, (3, *shape), 1), draw(net, (4, *shape), 2)
    y, caches = net.forward(first, train=True)
    dy = draw(net, y.shape, 3)
    alone = host(net, net.backward(dy, caches)).copy(), host(net, net.flat_grads).copy()
    net.forward(second, train=True)
    net.zero_grads()
    again = host(net, net.backward(dy, caches)), host(net, net.flat_grads)
    np.testing.assert_array_equal(alone[0], again[0])
    np.testing.assert_array_equal(alone[1], again[1])


@pytest.mark.parametrize(("make", "shape"), CASES)
def test_backwards_add_up_or_replace_and_write_nothing_else(make, shape, backend):
    net = network(make, shape, backend)
    y, caches = net.forward(draw(net, (3, *shape)), train=True)
    dy = draw(net, y.shape, 3)
    before = host(net, dy).copy()
    dx = host(net, net.backward(dy, caches)).copy()
    once = host(net, net.flat_grads).copy()
    np.testing.assert_array_equal(host(net, net.backward(dy, caches)), dx)
    np.testing.assert_allclose(host(net, net.flat_grads), 2 * once, rtol=1e-12)
    net.backward(dy, caches, param_grads=False, accumulate=False)
    np.testing.assert_allclose(host(net, net.flat_grads), 2 * once, rtol=1e-12)
    net.backward(dy, caches, accumulate=False)
    # cuBLAS may take another kernel for a product that is added to zeros; on a CPU it is the same product.
    np.testing.assert_allclose(host(net, net.flat_grads), once, rtol=1e-12 if net.backend.name == "cupy" else 0)
    net.backward(dy, caches)
    np.testing.assert_allclose(host(net, net.flat_grads), 2 * once, rtol=1e-12)
    np.testing.assert_array_equal(host(net, dy), before)


@pytest.mark.parametrize(("make", "shape"), CASES)
def test_switches(make, shape, backend):
    """param_grads=False leaves grads alone and dx the same; input_grad=False gives None and the same grads."""
    net = network(make, shape, backend)
    y, caches = net.forward(draw(net, (3, *shape)), train=True)
    dy = draw(net, y.shape, 3)
    dx, layer = net.backward(dy, caches), net.layers[0]
    grads = host(net, net.flat_grads).copy()
    net.flat_grads[...] = 7
    np.testing.assert_array_equal(host(net, layer.backward(dy, caches[0], param_grads=False)), host(net, dx))
    assert (host(net, net.flat_grads) == 7).all()
    net.zero_grads()
    assert layer.backward(dy, caches[0], input_grad=False) is None
    np.testing.assert_array_equal(host(net, net.flat_grads), grads)


@pytest.mark.parametrize(("make", "shape"), CASES)
@pytest.mark.parametrize("train", [True, False])
def test_float32_stays_float32(make, shape, backend, train):
    net = network(make, shape, backend, "float32")
    seen = []
    net.watch = lambda layer, what, array: seen.append((what, array.dtype))
    y, caches = net.forward(draw(net, (3, *shape)), train=train)
    net.backward(draw(net, y.shape), caches)
    assert len(seen) >= 2
    assert {str(dtype) for _, dtype in seen} == {"float32"}
    for cached in caches[0] if isinstance(caches[0], tuple) else (caches[0],):
        assert getattr(cached, "dtype", "float32") == "float32"


@pytest.mark.parametrize(("make", "shape"), CASES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_fast_equals_textbook(make, shape, fast, dtype):
    """On a batch large enough that the fast backend works in several blocks on all its threads."""
    results = []
    for name in ("textbook", fast):
        net = network(make, shape, name, dtype)
        train = not net.layers[0].random  # each backend draws its own masks
        y, caches = net.forward(draw(net, (700, *shape)), train)
        dx = net.backward(draw(net, y.shape, 3), caches)
        results.append([host(net, a) for a in (y, dx, net.flat_grads)])
    tolerance = 2e-4 if dtype == "float32" else 1e-11
    for book, quick in zip(*results, strict=True):
        np.testing.assert_allclose(quick, book, rtol=tolerance, atol=tolerance * max(1.0, np.abs(book).max(initial=0)))


@given(st.data(), st.booleans(), st.sampled_from(["float32", "float64"]))
def test_fast_convolutions_equal_textbook_for_drawn_geometries(fast, data, transposed, dtype):
    options, shape = data.draw(geometries(transposed))
    make = lambda: (mg.ConvTranspose2d if transposed else mg.Conv2d)(3, **options)  # noqa: E731
    batch = data.draw(st.integers(1, 40))
    results = []
    for name in ("textbook", fast):
        net = network(make, shape, name, dtype)
        y, caches = net.forward(draw(net, (batch, *shape)))
        dx = net.backward(draw(net, y.shape, 3), caches)
        results.append([host(net, a) for a in (y, dx, net.flat_grads)])
    tolerance = 2e-4 if dtype == "float32" else 1e-11
    for book, quick in zip(*results, strict=True):
        np.testing.assert_allclose(quick, book, rtol=tolerance, atol=tolerance * max(1.0, np.abs(book).max(initial=0)))


# -- single layers -----------------------------------------------------------------------------------------------------


def test_batch_norm_running_statistics(backend):
    net = mg.Sequential([mg.BatchNorm(momentum=0.25)], (2,), backend=backend, dtype="float64")
    x = net.backend.asarray([[1.0, 10.0], [3.0, 20.0], [5.0, 60.0]])
    net.forward(x, train=True)
    # means 3 and 30, unbiased variances 4 and 700; from 0 and 1 by a quarter
    np.testing.assert_allclose(host(net, net.state["0.running_mean"]), [0.75, 7.5])
    np.testing.assert_allclose(host(net, net.state["0.running_var"]), [0.75 + 1, 0.75 + 175])
    frozen = host(net, net.state["0.running_mean"]).copy()
    y, _ = net.forward(x)
    np.testing.assert_array_equal(host(net, net.state["0.running_mean"]), frozen)
    np.testing.assert_allclose(host(net, y)[0, 0], (1 - 0.75) / np.sqrt(1.75 + 1e-5))


def test_batch_norm_refuses_to_train_on_one_value(backend):
    net = mg.Sequential([mg.BatchNorm()], (3,), backend=backend)
    with pytest.raises(ShapeError, match=r"BatchNorm \(layer 0\) needs more than one value per channel"):
        net.forward(net.backend.zeros((1, 3), "float32"), train=True)


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


def test_output_padding_as_large_as_stride_where_dilation_allows_it(backend):
    layer = mg.ConvTranspose2d(1, 2, stride=2, dilation=3, output_padding=2)
    assert check_layer(layer, (3, 3, 1), backend=backend).ok


def test_activations_do_not_overflow(backend):
    for layer in (mg.Sigmoid(), mg.Softplus(), mg.Tanh()):
        net = mg.Sequential([layer], (4,), backend=backend)
        x = net.backend.asarray([[-1000.0, -50.0, 50.0, 1000.0]], "float32")
        with np.errstate(all="raise", under="ignore"):
            y, caches = net.forward(x)
            dx = net.backward(net.backend.asarray([[1.0, 1.0, 1.0, 1.0]], "float32"), caches)
        assert np.isfinite(host(net, y)).all()
        assert np.isfinite(host(net, dx)).all()


@pytest.mark.parametrize(
    ("make", "shape", "message"),
    [
        (lambda: mg.Dense(3), (2, 2), r"Dense \(layer 0\) needs \(features,\); put a Flatten before it, got \(2, 2\)"),
        (lambda: mg.Conv2d(3, 3), (784,), r"Conv2d \(layer 0\) needs \(H, W, C\), got \(784,\)"),
        (lambda: mg.Conv2d(3, 5), (4, 9, 1), r"an image of at least \(5, 5\)"),
        (lambda: mg.ConvTranspose2d(3, 1, padding=2), (3, 9, 1), "use less padding"),
        (lambda: mg.Upsample(), (3,), r"Upsample \(layer 0\) needs \(H, W, C\)"),
        (lambda: mg.Reshape((2, 2)), (5,), r"4 values per sample to make \(2, 2\), got \(5,\) with 5"),
        (lambda: mg.LayerNorm(axes=3), (5, 5), "at least 3 axes"),
    ],
)
def test_build_refuses_wrong_shapes(make, shape, message):
    with pytest.raises(ShapeError, match=message):
        mg.Sequential([make()], shape, backend="textbook")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: mg.Dense(0), "Dense: units is 0"),
        (lambda: mg.Dense(2.5), "Dense: units is 2.5"),
        (lambda: mg.Conv2d(2, (1, 2, 3)), "kernel_size is .*pair"),
        (lambda: mg.Conv2d(2, 3, stride=0), "stride is 0"),
        (lambda: mg.Conv2d(2, 3, padding=-1), "padding is -1"),
        (lambda: mg.ConvTranspose2d(2, 3, stride=2, output_padding=2), "output_padding smaller than stride or dilation"),
        (lambda: mg.Dropout(1.0), r"rate in \[0, 1\)"),
        (lambda: mg.LeakyReLU(0), "slope above 0"),
        (lambda: mg.LeakyReLU(1.5), "slope above 0 and up to 1"),
        (lambda: mg.BatchNorm(eps=0), "eps > 0"),
        (lambda: mg.Reshape((-1, -1)), "at most one -1"),
    ],
)
def test_options_are_checked(make, message):
    with pytest.raises(MiniganError, match=message):
        make()


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
