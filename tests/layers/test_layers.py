"""Every layer of the table on every backend: forward against loops, gradients against differences, and the layer contract."""

import loops
import numpy as np
import pytest
from one_layer import CASES, arrays_in, draw, host, network

import minigan as mg
from minigan import layers
from minigan.checks.gradients import check_layer
from minigan.network import Views

every_layer = pytest.mark.parametrize(("make", "shape"), CASES)
in_both_modes = pytest.mark.parametrize("train", [True, False], ids=["training", "inference"])


def test_the_table_has_every_layer():
    public = {kind for kind in vars(layers).values() if isinstance(kind, type) and issubclass(kind, mg.Layer)}
    assert {type(case.values[0]()) for case in CASES} == public - {mg.Layer, mg.Linear, mg.Elementwise}


@pytest.mark.parametrize(("make", "shape"), [case for case in CASES if not case.values[0]().random])
def test_forward_equals_loops(make, shape, backend):
    net = network(make, shape, backend)
    x = draw(net, (3, *shape))
    y, _ = net.forward(x, train=True)
    np.testing.assert_allclose(host(net, y), loops.forward(net.layers[0], host(net, x)), rtol=1e-10, atol=1e-10)


@pytest.mark.slow_on_stand_in  # whose layers are held against the textbook's in backends/cupy/test_device_arrays.py
@every_layer
@in_both_modes
def test_gradients_equal_differences(make, shape, train, backend):
    # Entry by entry on the textbook; a direction touches them all.
    few = {} if backend == "textbook" else {"mode": "projection", "max_entries": 1}
    report = check_layer(make(), shape, backend=backend, train=train, **few)
    assert report.ok, str(report)


# -- the contract ------------------------------------------------------------------------------------------------------


class Pass:
    """A forward pass of a layer, and what its backward pass makes of a drawn dy."""

    def __init__(self, net, train=True, rows=3, seed=1):
        self.net, self.layer = net, net.layers[0]
        y, (self.cache,) = net.forward(draw(net, (rows, *net.input_shape), seed), train)
        self.dy = draw(net, y.shape, 3)

    def backward(self, filled=np.nan, **options):
        """(dx, gradients), as bytes, with gradients written over `filled`."""
        net, grads = self.net, Views(self.net.layers, self.net.backend.empty(self.net.flat_grads.shape, self.net.dtype))
        grads.flat[...] = filled
        dx = self.layer.backward(self.dy, self.cache, grads.of_layer[0], **options)
        return None if dx is None else host(net, dx).tobytes(), host(net, grads.flat).tobytes()


@every_layer
@in_both_modes
def test_every_gradient_is_written_and_none_added(make, shape, train, backend):
    net = network(make, shape, backend)
    once = Pass(net, train)
    dx, grads = once.backward(filled=np.nan)
    assert not np.isnan(np.frombuffer(grads)).any(), "every entry is written"
    assert once.backward(filled=7) == (dx, grads), "over what lies there, and twice on one cache"


@every_layer
@in_both_modes
def test_switches(make, shape, train, backend):
    """grads=None leaves all gradients alone and dx the same; input_grad=False gives None and the same gradients."""
    net = network(make, shape, backend)
    once = Pass(net, train)
    dx, grads = once.backward()
    net.flat_grads[...] = 7
    assert host(net, once.layer.backward(once.dy, once.cache)).tobytes() == dx
    assert (host(net, net.flat_grads) == 7).all()
    assert once.backward(input_grad=False) == (None, grads)
    assert once.layer.backward(once.dy, once.cache, None, input_grad=False) is None


@every_layer
def test_two_live_caches(make, shape, backend):
    """A second forward pass, on a larger batch, must not disturb the first one's backward pass."""
    net = network(make, shape, backend)
    first = Pass(net)
    alone = first.backward()
    Pass(net, rows=4, seed=2).backward()
    assert first.backward() == alone


@every_layer
@in_both_modes
def test_a_backward_pass_writes_to_nothing_else(make, shape, train, backend):
    net = network(make, shape, backend)
    once = Pass(net, train)
    untouched = [once.dy, *arrays_in(once.cache), net.flat_params, *net.state.values()]
    before = [host(net, array).tobytes() for array in untouched]
    once.backward()
    assert [host(net, array).tobytes() for array in untouched] == before


@every_layer
@in_both_modes
def test_float32_stays_float32(make, shape, train, backend):
    net = network(make, shape, backend, "float32")
    once = Pass(net, train)
    y, caches = net.forward(draw(net, (3, *shape)), train)
    dx = net.backward(once.dy, caches, grads=net.grads)
    assert {str(array.dtype) for array in (y, dx, *arrays_in(caches))} <= {"float32"}


@every_layer
def test_one_sample_does_not_depend_on_the_others_unless_the_layer_says_so(make, shape, backend):
    net = network(make, shape, backend)
    x, layer = draw(net, (4, *shape)), net.layers[0]
    random_state, state = net.random_state, net.state_dict()
    y = host(net, net.forward(x, train=True)[0])
    net.random_state = random_state
    net.load_state_dict(state)
    alone = host(net, net.forward(x[:2], train=True)[0])
    assert layer.cross_sample == (not np.allclose(alone, y[:2], rtol=1e-12, atol=1e-12))


@every_layer
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_fast_equals_textbook(make, shape, fast, dtype, two_threads):
    """On a batch large enough that the fast backend works in several blocks and on two threads."""
    results = []
    for name in ("textbook", fast):
        net = network(make, shape, name, dtype)
        train = not net.layers[0].random  # each backend draws its own masks
        y, caches = net.forward(draw(net, (700, *shape)), train)
        dx = net.backward(draw(net, y.shape, 3), caches, grads=net.grads)
        results.append([host(net, a) for a in (y, dx, net.flat_grads)])
    tolerance = 2e-4 if dtype == "float32" else 1e-11
    for book, quick in zip(*results, strict=True):
        np.testing.assert_allclose(quick, book, rtol=tolerance, atol=tolerance * max(1.0, np.abs(book).max(initial=0)))
