"""The gradient check catches every planted fault: any one term of any backward formula, dropped, flipped or scaled.

Each fault is made from the real source: an operand of one operation is dropped, a sign flipped, or one statement that writes a
gradient removed. A fault that the check lets pass is a failure of the check.
"""

import inspect

import numpy as np
import pytest
from planted_faults import compiled, exchanges, faults, is_caught

import minigan as mg
from minigan import losses
from minigan.backends import Backend
from minigan.checks.gradients import check_layer, check_loss
from minigan.checks.suite import check_objective, layer_table, objective_table
from minigan.layers import elementwise, norm, softmax
from minigan.losses import non_saturating, saturating, supervised


def layer_is_caught(layer_class):
    return any(
        is_caught(
            lambda make=make, shape=shape, train=train: check_layer(
                make(), shape, backend="textbook", train=train, mode="projection", max_entries=1
            )
        )
        for make, shape in layer_table()
        if isinstance(make(), layer_class)
        for train in (True, False)
    )


def assert_all_caught(owner, name, planted, module, is_caught_by, monkeypatch):
    """That every fault, put in the place of owner's function of that name, is caught, and the real one is not."""
    assert not is_caught_by(), "the real one passes"
    planted = list(planted)
    assert planted
    for description, tree in planted:
        with monkeypatch.context() as patch:
            put_in_place(patch, owner, name, compiled(tree, module))
            assert is_caught_by(), description


def put_in_place(patch, owner, name, function):
    patch.setattr(owner, name, function)
    if name == "df":  # the class made its dx = dy f′ of it
        patch.setattr(owner, "_dx", staticmethod(elementwise._times(function)))


# (class whose method it is, method, class to check)
METHODS = [
    (mg.Linear, "forward", mg.Dense),
    (mg.Linear, "backward", mg.Dense),
    (mg.Linear, "backward", mg.Conv2d),
    (mg.Dense, "transpose", mg.Dense),
    (mg.Dense, "weight_grad", mg.Dense),
    (mg.Conv2d, "weight_grad", mg.Conv2d),
    (mg.ConvTranspose2d, "weight_grad", mg.ConvTranspose2d),
    (mg.Upsample, "apply", mg.Upsample),
    (mg.Upsample, "transpose", mg.Upsample),
    (mg.BatchNorm, "backward", mg.BatchNorm),
    (mg.LayerNorm, "backward", mg.LayerNorm),
    (mg.Dropout, "backward", mg.Dropout),
    *((mg.SpectralNorm, name, mg.SpectralNorm) for name in ("backward", "_weight_grad")),
    *((kind, "df", kind) for kind in (mg.ReLU, mg.LeakyReLU, mg.Tanh, mg.Sigmoid, mg.Softplus)),
]


@pytest.mark.parametrize(("owner", "name", "kind"), METHODS, ids=[f"{o.__name__}.{n}-{k.__name__}" for o, n, k in METHODS])
def test_every_fault_in_a_method_is_caught(owner, name, kind, monkeypatch):
    planted = faults(getattr(owner, name))
    assert_all_caught(owner, name, planted, inspect.getmodule(owner), lambda: layer_is_caught(kind), monkeypatch)


@pytest.mark.parametrize("name", ["apply", "transpose", "weight_grad"])
@pytest.mark.parametrize("kind", [mg.Dense, mg.Conv2d, mg.ConvTranspose2d], ids=lambda kind: kind.__name__)
def test_exchanged_arguments_in_a_linear_map_are_caught(kind, name, monkeypatch):
    planted = exchanges(getattr(kind, name))
    assert_all_caught(kind, name, planted, inspect.getmodule(kind), lambda: layer_is_caught(kind), monkeypatch)


def test_the_wrong_map_is_caught(monkeypatch):
    """A convolution with the other one's transpose, on shapes where both fit."""
    check = lambda kind: check_layer(kind(2, 3, padding=1), (4, 4, 2), backend="textbook")  # noqa: E731
    for kind, other in ((mg.Conv2d, mg.ConvTranspose2d), (mg.ConvTranspose2d, mg.Conv2d)):
        assert check(kind).ok
        for name in ("transpose", "weight_grad", "apply"):
            with monkeypatch.context() as patch:
                patch.setattr(kind, name, getattr(other, name))
                assert is_caught(lambda kind=kind: check(kind)), (kind, name)


def test_every_fault_in_the_product_with_dy_is_caught(monkeypatch):
    for description, tree in faults(elementwise._times):
        with monkeypatch.context() as patch:
            patch.setattr(mg.Tanh, "_dx", staticmethod(compiled(tree, elementwise)(mg.Tanh.df)))
            assert layer_is_caught(mg.Tanh), description


FORMULAS = [
    ("batch_norm", mg.BatchNorm),
    ("batch_norm_grad", mg.BatchNorm),
    ("batch_norm_sums", mg.BatchNorm),
    ("normalize_grad", mg.LayerNorm),
    ("scale_shift", mg.LayerNorm),
]


@pytest.mark.parametrize(("name", "kind"), FORMULAS, ids=[name for name, _ in FORMULAS])
def test_every_fault_in_a_formula_of_a_norm_is_caught(name, kind, monkeypatch):
    assert_all_caught(norm, name, faults(getattr(norm, name)), norm, lambda: layer_is_caught(kind), monkeypatch)


@pytest.mark.parametrize("name", ["quotient", "softmax_grad"])
def test_every_fault_in_a_formula_of_softmax_is_caught(name, monkeypatch):
    assert_all_caught(softmax, name, faults(getattr(softmax, name)), softmax, lambda: layer_is_caught(mg.Softmax), monkeypatch)


@pytest.mark.parametrize("name", ["conv2d_transpose", "conv2d_weight_grad", "col2im"])
def test_every_fault_in_the_convolutions_is_caught(name, monkeypatch):
    either = lambda: layer_is_caught(mg.Conv2d) or layer_is_caught(mg.ConvTranspose2d)  # noqa: E731
    assert_all_caught(Backend, name, faults(getattr(Backend, name)), inspect.getmodule(Backend), either, monkeypatch)


# -- losses ------------------------------------------------------------------------------------------------------------


def loss_is_caught():
    rng, be = np.random.default_rng(0), mg.get_backend("textbook")
    s, t = 2 * rng.standard_normal((5, 1)), rng.random((5, 1))
    s_fake, labels = 2 * rng.standard_normal((4, 1)), rng.integers(0, 3, 5)
    checks = [
        (lambda a: losses.bce_with_logits(a, t), s),
        (lambda a: losses.mse(a, t), s),
        (lambda a: losses.softmax_cross_entropy(a, labels), rng.standard_normal((5, 3))),
    ]
    objectives = [(o, s[: 4 if type(o) is losses.Relativistic else 5]) for o in (*objective_table(), losses.Saturating(0.1))]
    return any(
        is_caught(lambda o=o, s_real=s_real: _all(check_objective(o, s_real, s_fake, be))) for o, s_real in objectives
    ) or any(is_caught(lambda c=c: check_loss(*c, backend="textbook", name="loss")) for c in checks)


def _all(reports):
    """The first report that is not ok, or the last."""
    for report in reports:
        if not report.ok:
            break
    return report


TERMS = [
    (non_saturating, "real_loss"),
    (non_saturating, "real_grad"),
    (non_saturating, "fake_grad"),
    (saturating, "minimax_loss"),
    (saturating, "minimax_grad"),
]


@pytest.mark.parametrize(("module", "name"), TERMS, ids=[name for _, name in TERMS])
def test_every_fault_in_a_term_of_an_objective_is_caught(module, name, monkeypatch):
    assert_all_caught(module, name, faults(getattr(module, name)), module, loss_is_caught, monkeypatch)


def test_every_fault_in_the_discriminators_loss_is_caught(monkeypatch):
    kind = losses.NonSaturating
    assert_all_caught(kind, "discriminator", faults(kind.discriminator), non_saturating, loss_is_caught, monkeypatch)


def test_exchanged_or_lost_halves_of_the_discriminators_gradient_are_caught(monkeypatch):
    real = losses.NonSaturating.discriminator
    for wrong in (
        lambda ds: ds[::-1],
        lambda ds: (ds[0], 0 * ds[1]),
        lambda ds: (0 * ds[0], ds[1]),
        lambda ds: (ds[0], -ds[1]),
    ):
        with monkeypatch.context() as patch:

            def faulty(self, s_real, s_fake, wrong=wrong):
                loss, ds = real(self, s_real, s_fake)
                return loss, wrong(*ds)

            patch.setattr(losses.NonSaturating, "discriminator", faulty)
            assert loss_is_caught()


# Lines without a gradient: what is refused, and the shift that keeps the exponential from overflowing.
IDLE = ("if ", "raise ", "_check_shapes", "check_values", "shifted =")


@pytest.mark.parametrize("name", [pytest.param("bce_with_logits", marks=pytest.mark.slow), "mse", "softmax_cross_entropy"])
def test_every_fault_in_a_loss_against_targets_is_caught(name, monkeypatch):
    function = getattr(supervised, name)
    lines = inspect.getsource(function).splitlines()
    planted = [
        (description, tree)
        for description, tree in faults(function)
        if not lines[int(description.split(":")[0].split()[1]) - 1].strip().startswith(IDLE)
    ]
    assert_all_caught(losses, name, planted, supervised, loss_is_caught, monkeypatch)
