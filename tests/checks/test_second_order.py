"""Second order proved by differences; and every fault planted in a tangent, a curvature or a penalty is caught."""

import inspect

import numpy as np
import pytest
from one_layer import CASES
from planted_faults import compiled, faults, is_caught

import minigan as mg
from minigan import losses, network
from minigan.checks.second_order import check_penalty, check_second_order, has_second_order
from minigan.checks.suite import discriminator_table, layer_table, penalty_table
from minigan.errors import ModelError
from minigan.layers import elementwise, norm, residual, softmax, spectral_norm
from minigan.losses import penalty, zero_centred

DIFFERENT_AT_INFERENCE = (mg.BatchNorm, mg.DiffAugment, mg.Dropout, mg.PhaseShuffle, mg.SpectralNorm)
AT_INFERENCE = [
    pytest.param(*case.values, id=case.id)
    for case in CASES
    if any(isinstance(layer, DIFFERENT_AT_INFERENCE) for layer in case.values[0]().nested())
]


def check_tangent_and_curvature(make, shape, train, backend):
    # Entry by entry on the textbook; a direction touches them all.
    few = {} if backend == "textbook" else {"mode": "projection", "max_entries": 1}
    report = check_second_order(make(), shape, backend=backend, train=train, **few)
    assert report.ok, report
    assert report.max_error < 1e-8
    assert {"tangent", "curvature x"} <= {row.name for row in report.rows}
    assert all(row.checked for row in report.rows)


@pytest.mark.slow_on_stand_in
@pytest.mark.parametrize(("make", "shape"), CASES)
def test_tangent_and_curvature_of_every_layer(make, shape, backend):
    check_tangent_and_curvature(make, shape, True, backend)


@pytest.mark.slow_on_stand_in
@pytest.mark.parametrize(("make", "shape"), AT_INFERENCE)
def test_tangent_and_curvature_at_inference(make, shape, backend):
    """Of the layers that then do something else."""
    check_tangent_and_curvature(make, shape, False, backend)


def discriminator(make, shape, backend="textbook"):
    rng = np.random.default_rng(0)
    net = mg.Sequential(make(), shape, backend, "float64", seed=1)
    return net, *(net.backend.asarray(rng.standard_normal((4, *shape))) for _ in range(2))


@pytest.mark.slow_on_stand_in
@pytest.mark.parametrize("given", penalty_table(), ids=repr)
@pytest.mark.parametrize(("make", "shape"), discriminator_table(), ids=["piecewise linear", "curved", "composite"])
def test_gradient_of_every_penalty_in_every_parameter(given, make, shape, backend):
    report = check_penalty(given, *discriminator(make, shape, backend), mode="projection", max_entries=1)
    assert report.ok, report
    assert report.max_error < 1e-6
    assert report.rows[-1].name == "by Pearlmutter's identity"
    assert report.rows[-1].max_error < 1e-7


@pytest.mark.parametrize("kind", [losses.GradientPenalty, losses.DRAGAN])
def test_a_penalty_is_finite_where_the_discriminator_is_flat(kind, backend):
    """‖g‖ has no derivative at 0; the penalty is then w, and pushes nowhere."""
    net, real, fake = discriminator(*discriminator_table()[0], backend)
    net.flat_params[...] = 0
    grads = net.empty_grads()
    grads.flat[...] = 0
    assert float(kind(3.0).add_grads(net, real, fake, grads)) == 3.0
    assert not net.backend.to_numpy(grads.flat).any()


def test_a_penalty_adds_to_what_grads_hold(backend):
    net, real, fake = discriminator(*discriminator_table()[1], backend)
    results = []
    for start, kind in (
        (0.0, lambda views: views),
        (5.0, lambda views: views),
        (5.0, dict),
    ):  # dict: arrays of the caller's own
        grads = net.empty_grads()
        grads.flat[...] = start
        state = net.random_state
        losses.R1(2.0).add_grads(net, real, fake, kind(grads))
        net.random_state = state
        results.append(net.backend.to_numpy(grads.flat) - start)
    assert results[0].any()
    for other in results[1:]:
        np.testing.assert_allclose(other, results[0], rtol=1e-9, atol=1e-12)


class Swish(mg.Layer):
    """A layer of a user's own, without a second order."""

    def forward(self, x, train=False):
        return x * elementwise.sigmoid(self.backend.xp, x), x

    def backward(self, dy, cache, grads=None, input_grad=True):
        s = elementwise.sigmoid(self.backend.xp, cache)
        return dy * (s + cache * s * (1 - s)) if input_grad else None


class Cube(mg.layers.Elementwise):
    """An element-wise layer of a user's own, without f″."""

    @staticmethod
    def f(xp, x):
        return x**3

    @staticmethod
    def df(xp, y):
        return 3 * xp.abs(y) ** (2 / 3)


@pytest.mark.parametrize(("kind", "lacking"), [(Swish, "tangent"), (Cube, "second derivative d2f")])
def test_a_layer_without_second_order_is_named(kind, lacking):
    """It is never taken for a linear one."""
    assert not has_second_order(kind())
    layers = lambda: [mg.Flatten(), mg.Dense(3), kind(), mg.Dense(1)]  # noqa: E731
    net, real, fake = discriminator(layers, (2, 3))
    assert not net.piecewise_linear
    with pytest.raises(ModelError, match=f"layer 2.* has no {lacking}"):
        losses.R1(1.0).add_grads(net, real, fake, net.grads)
    g = mg.Sequential([mg.Dense(6), mg.Reshape((2, 3))], (4,), "textbook", "float64")
    with pytest.raises(ModelError, match=f"layer 2.* has no {lacking}"):
        mg.GAN(g, net, penalties=[losses.R1(1.0)])
    mg.GAN(g, net)


def test_a_layer_within_another_without_second_order_is_named():
    g = mg.Sequential([mg.Dense(6)], (4,), "textbook")
    d = mg.Sequential([mg.Residual([mg.Dense(6), mg.Residual([Swish()])]), mg.Dense(1)], (6,), "textbook")
    with pytest.raises(ModelError, match=r"Swish \(layer 0\.1\.0\) has no tangent"):
        mg.GAN(g, d, penalties=[losses.R1(1.0)])


def test_what_a_penalty_is_given_is_looked_at():
    net, real, fake = discriminator(*discriminator_table()[0])
    for grads in ({}, None, {name: grad for name, grad in net.grads.items() if name != "0.weight"}):
        with pytest.raises(mg.MiniganError, match=r"grads lacks .*0\.weight"):
            losses.R1(1.0).add_grads(net, real, fake, grads)
    with pytest.raises(mg.MiniganError, match="points between them need batches of one shape"):
        losses.GradientPenalty(1.0).add_grads(net, real, fake[:2], net.grads)
    g = mg.Sequential([mg.Dense(72), mg.Reshape((6, 6, 2))], (3,), "textbook", "float64")
    for every in (10**400, 10**31, 10**20):
        with pytest.raises(mg.MiniganError, match=r"penalty_every is 1.*, and R1\(1e\+15\) then weighs"):
            mg.GAN(g, net, penalties=[losses.R1(1e15)], penalty_every=every)


@pytest.mark.parametrize("weight", [0, -1.0, np.nan, np.inf, 1e300, "1", None])
def test_a_penalty_without_a_weight_is_refused(weight):
    with pytest.raises(mg.MiniganError, match="weight"):
        losses.R1(weight)


# -- planted faults ----------------------------------------------------------------------------------------------------


def layer_is_caught(kind):
    return any(
        is_caught(
            lambda make=make, shape=shape, train=train: check_second_order(
                make(), shape, backend="textbook", train=train, mode="projection", max_entries=1
            )
        )
        for make, shape in layer_table()
        if isinstance(make(), kind)
        for train in (True, False)
    )


PIECEWISE_LINEAR = discriminator_table()[:1]


def penalty_is_caught(tables=PIECEWISE_LINEAR):
    def checks(given, table):
        return check_penalty(given, *discriminator(*table), mode="projection", max_entries=1)

    return any(is_caught(lambda g=given, t=table: checks(g, t)) for given in penalty_table() for table in tables)


IDLE = ("set_threading", "number > 0", "index > lowest", "show")  # what changes no number


def assert_all_caught(owner, name, is_caught_by, monkeypatch):
    assert not is_caught_by(), "the real one passes"
    function = inspect.getattr_static(owner, name).__func__ if name == "d2f" else getattr(owner, name)
    module = inspect.getmodule(function)
    planted = [fault for fault in faults(function) if not any(word in fault[0] for word in IDLE)]
    assert planted
    for description, tree in planted:
        with monkeypatch.context() as patch:
            faulty = compiled(tree, module)
            patch.setattr(owner, name, faulty)
            if name == "d2f":  # the class made its c = f″ ẋ dy of it
                patch.setattr(owner, "_c", staticmethod(elementwise._times_twice(faulty)))
            assert is_caught_by(), description


METHODS = [
    (mg.Linear, "curvature", mg.Dense),
    *((mg.Dropout, "tangent", mg.Dropout), (mg.BatchNorm, "tangent", mg.BatchNorm), (mg.BatchNorm, "curvature", mg.BatchNorm)),
    *((mg.LayerNorm, name, mg.LayerNorm) for name in ("curvature", "_means")),
    *((kind, "d2f", kind) for kind in (mg.Tanh, mg.Sigmoid, mg.Softplus)),
    *((mg.SpectralNorm, name, mg.SpectralNorm) for name in ("curvature", "_weight_grad")),
    (mg.Residual, "_gradients", mg.Residual),
]


@pytest.mark.parametrize(("owner", "name", "kind"), METHODS, ids=[f"{o.__name__}.{n}" for o, n, _ in METHODS])
def test_every_fault_in_a_second_order_is_caught(owner, name, kind, monkeypatch):
    assert_all_caught(owner, name, lambda: layer_is_caught(kind), monkeypatch)


FORMULAS = [
    *((norm, name, mg.BatchNorm) for name in ("normalize_curvature", "batch_norm_flow")),
    *((spectral_norm, name, mg.SpectralNorm) for name in ("without_growth", "quotient")),
    (residual, "scaled", mg.Residual),
    *((softmax, name, mg.Softmax) for name in ("softmax_grad", "softmax_curvature")),
]


@pytest.mark.parametrize(("module", "name", "kind"), FORMULAS, ids=[name for _, name, _ in FORMULAS])
def test_every_fault_in_a_formula_is_caught(module, name, kind, monkeypatch):
    assert_all_caught(module, name, lambda: layer_is_caught(kind), monkeypatch)


TERMS = [
    *((zero_centred, "scaled"), (penalty, "toward_one"), (penalty, "distance_to_one")),
    *((losses.R1, "value_and_grad"), (penalty.UnitNorm, "value_and_grad")),
]


@pytest.mark.parametrize(("owner", "name"), TERMS, ids=[name for _, name in TERMS])
def test_every_fault_in_a_penalty_is_caught(owner, name, monkeypatch):
    assert_all_caught(owner, name, penalty_is_caught, monkeypatch)


def test_every_fault_in_the_sweeps_is_caught(monkeypatch):
    assert_all_caught(network, "sweep_curvature", lambda: penalty_is_caught(discriminator_table()[:2]), monkeypatch)


def game_is_caught():
    """The shared backward pass, which only a piecewise linear discriminator takes, in a game proved as a whole."""
    make, shape = discriminator_table()[0]
    g = mg.Sequential([mg.Dense(72), mg.Reshape(shape)], (3,), "textbook", "float64", seed=1)
    d = mg.Sequential(make(), shape, "textbook", "float64", seed=2)
    gan = mg.GAN(g, d, penalties=[losses.R1(2.0), losses.R2(3.0)])
    real = np.random.default_rng(0).standard_normal((4, *shape))
    return is_caught(lambda: mg.check_game(gan, real, mode="projection", max_entries=1))


def test_every_fault_in_the_shared_pass_is_caught(monkeypatch):
    assert_all_caught(network.Sequential, "backward_with_slope", game_is_caught, monkeypatch)


def test_every_fault_in_a_formula_of_the_shared_pass_is_caught(monkeypatch):
    for name in ("product", "scaled_sum"):
        assert_all_caught(network, name, game_is_caught, monkeypatch)
