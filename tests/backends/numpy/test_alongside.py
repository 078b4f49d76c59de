"""Passes of one network on several threads at a time, each thread with a batch or a part of one."""

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigan as mg
from minigan.backends.numpy import threads
from minigan.backends.numpy.backend import NumpyBackend

LAYERS = {
    "convolutions": lambda: [
        *(mg.Conv2d(4, 4, 2, 1), mg.LeakyReLU(), mg.Conv2d(3, 3, padding=1), mg.Tanh(), mg.Flatten(), mg.Dense(2)),
    ],
    "residual": lambda: [
        *(mg.Conv2d(3, 3, padding=1), mg.Residual([mg.ReLU(), mg.Conv2d(3, 3, padding=1)]), mg.Upsample()),
        *(mg.LayerNorm(), mg.Flatten(), mg.Dense(1)),
    ],
}
IN_TURN = {
    "batch norm": lambda: [mg.Conv2d(4, 3), mg.BatchNorm(), mg.Flatten(), mg.Dense(1)],
    "dropout": lambda: [mg.Conv2d(4, 3), mg.Dropout(0.5), mg.Flatten(), mg.Dense(1)],
    "no convolution": lambda: [mg.Flatten(), mg.Dense(5), mg.Tanh(), mg.Dense(1)],
}


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch):
    monkeypatch.setattr(threads, "LEAST_PART", 1)
    monkeypatch.setattr(threads, "CONCATENATED", 0)


def backend(count):
    be = NumpyBackend()
    be.threads = count
    be._workers._count = count - 1
    return be


def network(make, be):
    return mg.Sequential(make(), (6, 6, 2), be, "float64", seed=4)


def passes_of(net):
    """(batch size, thread) of the forward passes that begin from now on."""
    seen, forward = [], net.forward

    def watched(x, train=False):
        seen.append((len(x), threading.get_ident()))
        return forward(x, train)

    net.forward = watched
    return seen


def apart(net, xs, dys):
    """(outputs, all dx, the sum of gradients) of whole passes in turn."""
    ys, dxs, total = [], [], 0
    for x, dy in zip(xs, dys, strict=True):
        y, caches = net.forward(x, train=True)
        ys.append(y)
        dxs.append(net.backward(dy, caches, grads=net.grads))
        total = total + net.flat_grads
    return ys, dxs, total


def drawn(net, count, batches):
    rng = np.random.default_rng(0)
    xs, dys = ([rng.standard_normal((count, *shape)) for _ in range(batches)] for shape in (net.input_shape, net.output_shape))
    return xs, dys


@given(st.sampled_from(list(LAYERS)), st.integers(2, 4), st.integers(4, 11), st.integers(1, 3), st.booleans())
def test_parts_of_batches_are_the_batches(name, count, size, batches, in_parts):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads, "LEAST_PART", 1)
        patch.setattr(threads, "CONCATENATED", 0)
        net, book = network(LAYERS[name], backend(count)), network(LAYERS[name], "textbook")
        xs, dys = drawn(net, size, batches)
        ys, dxs, total = apart(book, xs, dys)
        seen = passes_of(net)
        own_ys, caches = net.forward_each(xs, train=True, in_parts=in_parts)
        own_dxs = net.backward_each(dys, caches, grads=net.grads)
    parts = (count if count % batches else count // batches) if in_parts else 1
    assert len(caches) == len(seen) == parts * batches
    assert len({thread for _, thread in seen}) == min(count, len(seen))
    sizes = [length for length, _ in seen]
    assert sum(sizes) == size * batches
    assert max(sizes) - min(sizes) <= 1
    for ours, theirs in ((own_ys, ys), (own_dxs, dxs), ([net.flat_grads], [total])):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-12 * np.abs(b).max())


@pytest.mark.parametrize("name", IN_TURN)
def test_passes_that_feel_each_other_run_in_turn(name):
    net = network(IN_TURN[name], backend(2))
    xs, _ = drawn(net, 8, 2)
    seen = passes_of(net)
    net.forward_each(xs, train=True, in_parts=True)
    assert seen == [(8, threading.get_ident())] * 2


def test_a_watched_network_shows_whole_passes_in_turn():
    net = network(LAYERS["convolutions"], backend(2))
    xs, dys = drawn(net, 8, 2)
    seen = []
    net.watch = lambda layer, what, value: seen.append((what, len(value[0]))) if layer is None else None
    _, caches = net.forward_each(xs, train=True, in_parts=True)
    net.backward_each(dys, caches, grads=net.grads)
    assert seen == [("forward", 8)] * 2 + [("backward", 8)] * 2


@pytest.mark.parametrize("fault", ["parts out of order", "a part's gradient lost"])
def test_planted_faults_are_seen(monkeypatch, fault):
    net = network(LAYERS["convolutions"], backend(2))
    xs, dys = drawn(net, 8, 1)
    ys, _, total = apart(network(LAYERS["convolutions"], "textbook"), xs, dys)
    if fault == "parts out of order":
        real = type(net.backend).alongside
        monkeypatch.setattr(type(net.backend), "alongside", lambda self, tasks: real(self, tasks)[::-1])
        (y,), _ = net.forward_each(xs, train=True, in_parts=True)
        assert not np.allclose(y, ys[0])
    else:
        _, caches = net.forward_each(xs, train=True, in_parts=True)
        monkeypatch.setattr(net, "add_grads", lambda grads, more: None)
        net.backward_each(dys, caches, grads=net.grads)
        assert not np.allclose(net.flat_grads, total)


def test_an_error_in_one_part_is_raised_and_the_threads_go_on():
    net = network(LAYERS["convolutions"], backend(2))
    xs, _ = drawn(net, 8, 1)
    layer, main = net.layers[1], threading.get_ident()
    forward = layer.forward

    def failing(x, train=False):
        if threading.get_ident() != main:
            raise ZeroDivisionError("in a part")
        return forward(x, train)

    layer.forward = failing
    with pytest.raises(ZeroDivisionError, match="in a part"):
        net.forward_each(xs, train=True, in_parts=True)
    del layer.forward
    (y,), _ = net.forward_each(xs, train=True, in_parts=True)
    np.testing.assert_allclose(y, net.forward(xs[0], train=True)[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("classes", [0, 3])
def test_a_game_in_parts_is_the_game(classes):
    """Five steps of a D without BatchNorm, in halves on two threads, beside the textbook's."""

    def played(be):
        g, d = mg.models.dcgan((8, 8, 1), 5, 3, backend=be, dtype="float64", seed=1, classes=classes)
        layers = [layer.fresh() for layer in d.layers if not isinstance(layer, mg.BatchNorm)]
        gan = mg.GAN(g, mg.Sequential(layers, d.input_shape, be, "float64", seed=2), lr=1e-3, classes=classes)
        rng = np.random.default_rng(0)
        for _ in range(5):
            real, z = rng.uniform(-1, 1, (9, 8, 8, 1)), rng.standard_normal((9, 5))
            labels = rng.integers(0, classes, 9) if classes else None
            stats = gan.step(real, z, labels)
        return {**gan.state_dict(), **{name: float(value) for name, value in stats.items()}}

    ours, theirs = played(backend(2)), played(mg.get_backend("textbook"))
    for name, value in theirs.items():
        np.testing.assert_allclose(ours[name], value, rtol=0, atol=1e-9 * np.abs(value).max(), err_msg=name)
