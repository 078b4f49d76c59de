"""Linear maps: one identity for all of them, and convolutions of any geometry against loops and between backends."""

import loops
import numpy as np
import pytest
from drawn_geometries import LINEAR_MAPS, convolutions
from hypothesis import given
from hypothesis import strategies as st
from one_layer import draw, host, network

import minigan as mg
from minigan import layers


def test_every_linear_map_is_drawn():
    public = {kind for kind in vars(layers).values() if isinstance(kind, type) and issubclass(kind, mg.Linear)}
    assert LINEAR_MAPS.keys() == public - {mg.Linear}


@pytest.mark.slow_on_stand_in
@pytest.mark.parametrize("kind", LINEAR_MAPS, ids=lambda kind: kind.__name__)
@given(data=st.data(), batch=st.integers(1, 3))
def test_the_transpose_and_the_gradient_of_the_weight(kind, backend, data, batch):
    """<A x, y> = <x, Aᵀ y>; and <∂<A_w x, y>/∂w, w> = <A_w x, y>, for A_w x is linear in w too."""
    make, shape = data.draw(LINEAR_MAPS[kind])
    net = network(make, shape, backend)
    (layer,) = net.layers
    x, y = draw(net, (batch, *shape)), draw(net, (batch, *net.output_shape), 2)
    inner = lambda a, b: pytest.approx(float((a * b).sum()), rel=1e-9, abs=1e-9)  # noqa: E731
    a_x, at_y = layer.apply(x), layer.transpose(y)
    assert a_x.shape == y.shape
    assert at_y.shape == x.shape
    forward = float((a_x * y).sum())
    assert forward == inner(x, at_y)
    if "weight" in layer.params:
        dw = net.backend.empty(layer.weight.shape, net.dtype)
        dw[...] = np.nan
        layer.weight_grad(x, y, out=dw)
        assert forward == inner(dw, layer.weight)


@given(case=convolutions(), batch=st.integers(1, 3))
def test_convolutions_equal_loops_for_drawn_geometries(backend, case, batch):
    make, shape = case
    net = network(make, shape, backend)
    x = draw(net, (batch, *shape))
    np.testing.assert_allclose(host(net, net.forward(x)[0]), loops.forward(net.layers[0], host(net, x)), atol=1e-10)


@given(case=convolutions(channels=3), batch=st.integers(1, 40), dtype=st.sampled_from(["float32", "float64"]))
def test_fast_convolutions_equal_textbook_for_drawn_geometries(fast, case, batch, dtype):
    make, shape = case
    results = []
    for name in ("textbook", fast):
        net = network(make, shape, name, dtype)
        y, caches = net.forward(draw(net, (batch, *shape)), train=True)
        dx = net.backward(draw(net, y.shape, 3), caches, grads=net.grads)
        results.append([host(net, a) for a in (y, dx, net.flat_grads)])
    tolerance = 2e-4 if dtype == "float32" else 1e-11
    for book, quick in zip(*results, strict=True):
        np.testing.assert_allclose(quick, book, rtol=tolerance, atol=tolerance * max(1.0, np.abs(book).max(initial=0)))


@given(case=convolutions())
def test_convolution_gradients_equal_differences_for_drawn_geometries(case):
    make, shape = case
    report = mg.check_layer(make(), shape, batch=2, backend="numpy", max_entries=6)
    assert report.max_error < report.tolerance, str(report)  # a map that sees nothing but padding has no gradient to be proved


def test_output_padding_as_large_as_stride_where_dilation_allows_it(backend):
    layer = mg.ConvTranspose2d(1, 2, stride=2, dilation=3, output_padding=2)
    assert mg.check_layer(layer, (3, 3, 1), backend=backend).ok
