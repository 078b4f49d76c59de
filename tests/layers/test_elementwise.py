"""Element-wise layers: the derivative written in y against differences of the formula, and the ends of the number line."""

import numpy as np
import pytest
from one_layer import draw, host, network

import minigan as mg
from minigan import layers

LAYERS = [
    kind
    for kind in vars(layers).values()
    if isinstance(kind, type) and issubclass(kind, mg.Elementwise) and kind is not mg.Elementwise
]
every_elementwise = pytest.mark.parametrize("kind", LAYERS, ids=lambda kind: kind.__name__)


@every_elementwise
def test_the_derivative_in_y_is_that_of_the_formula(kind):
    """df(f(x)) beside (8 (f(x + h) − f(x − h)) − (f(x + 2h) − f(x − 2h))) / 12h, away from a kink at 0."""
    x = np.concatenate([-np.geomspace(8, 0.01, 60), np.geomspace(0.01, 8, 60)])
    options, h = kind().options, 1e-3
    f = lambda x: kind.f(np, x, **options)  # noqa: E731
    numeric = (8 * (f(x + h) - f(x - h)) - (f(x + 2 * h) - f(x - 2 * h))) / (12 * h)
    np.testing.assert_allclose(kind.df(np, f(x), **options), numeric, rtol=1e-8, atol=1e-10)


@every_elementwise
def test_backends_run_the_formulas(kind, backend):
    net = network(kind, (5, 3), backend)
    x, dy = draw(net, (4, 5, 3)), draw(net, (4, 5, 3), 2)
    y, caches = net.forward(x)
    options, on_cpu = net.layers[0].options, host(net, x)
    np.testing.assert_allclose(host(net, y), kind.f(np, on_cpu, **options), rtol=1e-13)
    expected = host(net, dy) * kind.df(np, kind.f(np, on_cpu, **options), **options)
    np.testing.assert_allclose(host(net, net.backward(dy, caches)), expected, rtol=1e-12)


@every_elementwise
def test_nothing_overflows(kind, backend):
    net = mg.Sequential([kind()], (4,), backend=backend)
    x = net.backend.asarray([[-1000.0, -50.0, 50.0, 1000.0]], "float32")
    with np.errstate(all="raise", under="ignore"):
        y, caches = net.forward(x)
        dx = net.backward(net.backend.asarray([[1.0, 1.0, 1.0, 1.0]], "float32"), caches)
    assert np.isfinite(host(net, y)).all()
    assert np.isfinite(host(net, dx)).all()


def test_softplus_keeps_its_digits_where_it_is_near_0():
    """1 − e^−y loses them all there; the derivative is e^x / (1 + e^x)."""
    x = np.array([-30.0, -20.0, -10.0])
    y = mg.Softplus.f(np, x)
    np.testing.assert_allclose(mg.Softplus.df(np, y), np.exp(x) / (1 + np.exp(x)), rtol=1e-14)


@pytest.mark.parametrize(("make", "at_0"), [(mg.ReLU, 0.0), (lambda: mg.LeakyReLU(0.3), 0.3)], ids=["ReLU", "LeakyReLU"])
def test_the_derivative_at_a_kink(make, at_0, backend):
    net = mg.Sequential([make()], (3,), backend=backend, dtype="float64")
    _, caches = net.forward(net.backend.asarray([[0.0, -1.0, 1.0]]))
    np.testing.assert_array_equal(host(net, net.backward(net.backend.asarray([[1.0, 1.0, 1.0]]), caches)), [[at_0, at_0, 1]])
    np.testing.assert_array_equal(host(net, net.layers[0].branch_signature(caches[0])), [[False, False, True]])


def test_a_layer_of_ones_own_is_two_formulas(backend):
    class Cube(mg.Elementwise):
        @staticmethod
        def f(xp, x):
            return x * x * x

        @staticmethod
        def df(xp, y):
            return 3 * xp.abs(y) ** (2 / 3)

    assert mg.check_layer(Cube(), (4, 3), backend=backend).ok
