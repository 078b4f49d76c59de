"""Optimisers against their formulas in plain Python, schedules, state."""

import math

import numpy as np
import pytest

import minigan as mg
from minigan import optim
from minigan.errors import CheckpointError, MiniganError


def network(backend, size=5, dtype="float64"):
    return mg.Sequential([mg.Dense(1, bias=False)], (size,), backend=backend, dtype=dtype)


def run(optimizer, backend, steps=7, size=5):
    """Parameters after some steps with drawn gradients, and those gradients."""
    net = network(backend, size)
    rng = np.random.default_rng(0)
    start = net.backend.to_numpy(net.flat_params).copy()
    gradients = rng.standard_normal((steps, size))
    for gradient in gradients:
        net.flat_grads[...] = net.backend.asarray(gradient)
        optimizer.update(net)
    return start, gradients, net.backend.to_numpy(net.flat_params)


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_adam(backend, decay):
    lr, b1, b2, eps = 0.01, 0.5, 0.9, 1e-3
    start, gradients, result = run(optim.Adam(lr, (b1, b2), eps, weight_decay=decay), backend)
    for index, w in enumerate(start.tolist()):
        m = v = 0.0
        for t, g in enumerate(gradients[:, index].tolist(), 1):
            w -= lr * decay * w
            m = b1 * m + (1 - b1) * g
            v = b2 * v + (1 - b2) * g * g
            w -= lr * (m / (1 - b1**t)) / (math.sqrt(v / (1 - b2**t)) + eps)
        assert result[index] == pytest.approx(w, rel=1e-12)


@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True)])
def test_sgd(backend, momentum, nesterov):
    start, gradients, result = run(optim.SGD(0.1, momentum, nesterov), backend)
    for index, w in enumerate(start.tolist()):
        u = 0.0
        for g in gradients[:, index].tolist():
            u = momentum * u + g
            w -= 0.1 * (g + momentum * u if nesterov else u)
        assert result[index] == pytest.approx(w, rel=1e-12)


def test_fast_adam_equals_textbook_in_blocks(fast):
    """A vector long enough for several blocks."""
    results = [run(optim.Adam(0.01), name, steps=3, size=300_001)[2] for name in ("textbook", fast)]
    np.testing.assert_allclose(*results, rtol=1e-12, atol=1e-15)


def test_adam_stays_in_float32(backend):
    net = network(backend, dtype="float32")
    net.flat_grads[...] = 1
    optimizer = optim.Adam()
    optimizer.update(net)
    assert net.flat_params.dtype == np.float32
    assert {str(v.dtype) for v in optimizer.state.values()} == {"float32"}


# -- the two parts of an update ----------------------------------------------------------------------------------------

OPTIMIZERS = {
    "adam": lambda: optim.Adam(optim.cosine(0.1, 9)),
    "adamw": lambda: optim.Adam(0.01, weight_decay=0.1),
    "sgd": lambda: optim.SGD(optim.linear(0.1, 9)),
    "momentum": lambda: optim.SGD(0.1, 0.9),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_update_is_its_two_parts(name, backend):
    """advance counts and sets what compute reads; compute alone moves the parameters, and as often as it is called."""
    whole, parts = network(backend), network(backend)
    one, other = OPTIMIZERS[name](), OPTIMIZERS[name]()
    other.attach(parts)
    host = whole.backend.to_numpy
    for gradient in np.random.default_rng(0).standard_normal((3, 5)):
        for net in (whole, parts):
            net.flat_grads[...] = net.backend.asarray(gradient)
        one.update(whole)
        before = host(parts.flat_params).copy()
        other.advance()
        np.testing.assert_array_equal(host(parts.flat_params), before)
        steps = other.steps
        other.compute(parts)
        assert other.steps == steps == one.steps
        np.testing.assert_array_equal(host(parts.flat_params), host(whole.flat_params))
    before = host(parts.flat_params).copy()
    other.compute(parts)
    assert not np.array_equal(host(parts.flat_params), before)
    assert other.steps == 3


class SignDescent(optim.Optimizer):
    """w ← w − lr sign(dw), shrunk a little; with numbers of its own."""

    def scalars(self, lr, step):
        return {"lr": lr, "keep": 1 - 0.1 / step}

    def apply(self, net, lr, keep):
        net.flat_params[...] = keep * net.flat_params - lr * net.backend.xp.sign(net.flat_grads)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_optimiser_of_ones_own(backend, dtype):
    net, seen = network(backend, dtype=dtype), []

    class Watched(SignDescent):
        def apply(self, net, **scalars):
            seen.append({name: float(value) for name, value in scalars.items()})
            super().apply(net, **scalars)

    optimizer = Watched(optim.linear(1.0, 4))
    w, g = net.backend.to_numpy(net.flat_params).copy(), np.array([1.0, -2, 0, 3, -4])
    net.flat_grads[...] = net.backend.asarray(g, dtype)
    for _ in range(2):
        optimizer.update(net)
    assert seen == [{"lr": 1.0, "keep": pytest.approx(0.9)}, {"lr": 0.75, "keep": pytest.approx(0.95)}]
    expected = 0.95 * (0.9 * w - np.sign(g)) - 0.75 * np.sign(g)
    np.testing.assert_allclose(net.backend.to_numpy(net.flat_params), expected, rtol=1e-6)
    assert net.flat_params.dtype == dtype
    assert optimizer.state_dict().keys() == {"steps"}


def test_an_optimiser_without_a_formula_says_so():
    with pytest.raises(NotImplementedError, match="Optimizer has no apply"):
        optim.Optimizer(0.1).update(network("textbook"))


# -- schedules and state -----------------------------------------------------------------------------------------------


def test_schedules():
    assert [optim.constant(0.5)(t) for t in (0, 9)] == [0.5, 0.5]
    linear = optim.linear(1.0, 10, end=0.2)
    assert [linear(t) for t in (0, 5, 10, 20)] == pytest.approx([1, 0.6, 0.2, 0.2])
    cosine = optim.cosine(1.0, 10)
    assert [cosine(t) for t in (0, 5, 10, 11)] == pytest.approx([1, 0.5, 0, 0])
    assert cosine(1) == pytest.approx((1 + math.cos(math.pi / 10)) / 2)


def test_schedule_drives_the_steps():
    seen = []

    def schedule(step):
        seen.append(step)
        return 0.1 * (step + 1)

    start, gradients, result = run(optim.SGD(schedule), "textbook", steps=3)
    assert seen == [0, 1, 2]
    np.testing.assert_allclose(result, start - np.array([0.1, 0.2, 0.3]) @ gradients)


@pytest.mark.parametrize("make", [lambda: optim.Adam(0.01), lambda: optim.SGD(0.01, 0.9)])
def test_state_continues_exactly(make, backend):
    first, second = network(backend), network(backend)
    whole, part = make(), make()
    gradients = np.random.default_rng(0).standard_normal((6, 5))
    for index, gradient in enumerate(gradients):
        if index == 3:
            state, (old, part) = part.state_dict(), (part, make())
            part.attach(second)
            part.load_state_dict(state)
            assert part.steps == old.steps == 3
        for optimizer, net in ((whole, first), (part, second)):
            net.flat_grads[...] = net.backend.asarray(gradient)
            optimizer.update(net)
    np.testing.assert_array_equal(first.backend.to_numpy(first.flat_params), second.backend.to_numpy(second.flat_params))


def test_errors():
    for make in (lambda: optim.Adam(0), lambda: optim.Adam(-1.0), lambda: optim.SGD(float("nan"))):
        with pytest.raises(MiniganError, match="learning rate above 0"):
            make()
    with pytest.raises(MiniganError, match="betas"):
        optim.Adam(betas=(1.0, 0.9))
    with pytest.raises(MiniganError, match="momentum"):
        optim.SGD(0.1, nesterov=True)
    optimizer = optim.Adam()
    optimizer.update(network("textbook"))
    with pytest.raises(MiniganError, match="another network"):
        optimizer.update(network("textbook"))
    with pytest.raises(CheckpointError, match="another optimiser"):
        optimizer.load_state_dict({"steps": np.array(1)})
    with pytest.raises(CheckpointError, match=r"m_sum has shape \(2,\)"):
        optimizer.load_state_dict({"steps": np.array(1), "m_sum": np.zeros(2), "v_sum": np.zeros(5)})
