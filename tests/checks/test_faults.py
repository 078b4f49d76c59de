"""The gradient check catches every planted fault: any one term of any backward, dropped, flipped or scaled.

Each fault is made from the real source: an operand of one operation is dropped, a sign flipped, or one statement that adds to
a gradient removed. A fault that the check lets pass is a failure of the check.
"""

import inspect

import numpy as np
import pytest
from planted_faults import compiled, faults, is_caught

import minigan as mg
from minigan import losses
from minigan.backends import Backend
from minigan.checks.gradients import check_game, check_layer, check_loss, layer_table
from minigan.layers import activations, norm


def configurations(layer_class):
    return [(make, shape) for make, shape in layer_table() if isinstance(make(), layer_class)]


def layer_is_caught(layer_class):
    return any(
        is_caught(lambda make=make, shape=shape, train=train: check_layer(make(), shape, backend="textbook", train=train))
        for make, shape in configurations(layer_class)
        for train in (True, False)
    )


LAYERS = [mg.Dense, mg.Conv2d, mg.ConvTranspose2d, mg.BatchNorm, mg.LayerNorm, mg.Dropout, mg.Upsample]


@pytest.mark.parametrize("layer_class", LAYERS, ids=lambda c: c.__name__)
def test_every_fault_in_a_backward_is_caught(layer_class, monkeypatch):
    assert not layer_is_caught(layer_class), "the real backward passes"
    planted = list(faults(layer_class.backward))
    for description, tree in planted:
        with monkeypatch.context() as patch:
            patch.setattr(layer_class, "backward", compiled(tree, inspect.getmodule(layer_class)))
            assert layer_is_caught(layer_class), description
    assert planted


FORMULAS = [
    (norm, "batch_norm_grad", mg.BatchNorm),
    (norm, "batch_norm_sums", mg.BatchNorm),
    (norm, "normalize_grad", mg.LayerNorm),
    (activations, "relu_grad", mg.ReLU),
    (activations, "leaky_relu_grad", mg.LeakyReLU),
    (activations, "tanh_grad", mg.Tanh),
    (activations, "sigmoid_grad", mg.Sigmoid),
    (activations, "softplus_grad", mg.Softplus),
]


@pytest.mark.parametrize(("module", "name", "layer_class"), FORMULAS, ids=[f"{c.__name__}-{n}" for _, n, c in FORMULAS])
def test_every_fault_in_a_formula_is_caught(module, name, layer_class, monkeypatch):
    assert not layer_is_caught(layer_class), "the real formula passes"
    planted = list(faults(getattr(module, name)))
    assert planted
    for description, tree in planted:
        with monkeypatch.context() as patch:
            formula = compiled(tree, module)
            patch.setattr(module, name, formula)
            if issubclass(layer_class, activations._Activation):
                patch.setattr(layer_class, "gradient", staticmethod(formula))
            assert layer_is_caught(layer_class), description


@pytest.mark.parametrize("name", ["conv2d_transpose", "conv2d_weight_grad", "col2im"])
def test_every_fault_in_the_convolutions_is_caught(name, monkeypatch):
    planted = list(faults(getattr(Backend, name)))
    for description, tree in planted:
        with monkeypatch.context() as patch:
            patch.setattr(Backend, name, compiled(tree, inspect.getmodule(Backend)))
            assert layer_is_caught(mg.Conv2d) or layer_is_caught(mg.ConvTranspose2d), description


def loss_is_caught():
    rng = np.random.default_rng(0)
    s, t = 2 * rng.standard_normal((5, 1)), rng.random((5, 1))
    labels = rng.integers(0, 3, 5)
    checks = [
        (lambda a, b: losses.discriminator_loss(a, b, 0.1), s, t),
        (losses.generator_loss, s),
        (lambda a: losses.generator_loss(a, True), s),
        (lambda a: losses.bce_with_logits(a, t), s),
        (lambda a: losses.mse(a, t), s),
        (lambda a: losses.softmax_cross_entropy(a, labels), rng.standard_normal((5, 3))),
    ]
    return any(is_caught(lambda c=c: check_loss(*c, backend="textbook", name="loss")) for c in checks)


TERMS = [
    "real_term",
    "real_grad",
    "fake_grad",
    "generator_grad",
    "saturating_grad",
    "bce_term",
    "bce_grad",
    "squared_error",
    "squared_error_grad",
]


@pytest.mark.parametrize("name", [*TERMS, "softmax_cross_entropy"])
def test_every_fault_in_a_loss_or_its_gradient_is_caught(name, monkeypatch):
    assert not loss_is_caught(), "the real losses pass"
    planted = list(faults(getattr(losses, name)))
    if name not in TERMS:  # of a function with checks in it, only what is returned
        lines = inspect.getsource(getattr(losses, name)).splitlines()
        planted = [p for p in planted if lines[int(p[0].split(":")[0].split()[1]) - 1].strip().startswith("return")]
    assert planted
    for description, tree in planted:
        with monkeypatch.context() as patch:
            patch.setattr(losses, name, compiled(tree, losses))
            assert loss_is_caught(), description


def game(**options):
    pair = mg.models.mlp(image_shape=(3, 3, 1), latent_dim=4, hidden=5, backend="textbook", dtype="float64")
    return mg.GAN(*pair, **options)


REAL = np.random.default_rng(0).uniform(-1, 1, (4, 3, 3, 1))


def _without_fake_term(self, real, fake):
    d = self.discriminator
    s_real, cache_real = d.forward(real, train=True)
    s_fake, _ = d.forward(fake, train=True)
    loss, ds_real, _ = losses.discriminator_loss(s_real, s_fake)
    d.zero_grads()
    d.backward(ds_real, cache_real, input_grad=False)
    return loss, s_real, s_fake


def _real_gradient_twice(self, real, fake):
    d = self.discriminator
    s_real, cache_real = d.forward(real, train=True)
    s_fake, _ = d.forward(fake, train=True)
    loss, ds_real, ds_fake = losses.discriminator_loss(s_real, s_fake)
    d.zero_grads()
    d.backward(ds_real, cache_real, input_grad=False)
    d.backward(ds_fake, cache_real, input_grad=False)  # the wrong cache
    return loss, s_real, s_fake


def _input_lost_between_the_steps(self, fake, cache):
    """G's caches are those of another forward pass."""
    _, other = self.generator.forward(self.noise(len(fake)), train=True)
    return mg.GAN.__dict__["_real_generator_grads"](self, fake, other)


@pytest.mark.parametrize(
    ("method", "fault"),
    [
        ("discriminator_grads", _without_fake_term),
        ("discriminator_grads", _real_gradient_twice),
        ("generator_grads", _input_lost_between_the_steps),
    ],
)
def test_wiring_faults_in_the_game_are_caught(method, fault, monkeypatch):
    assert check_game(game(), REAL).ok
    monkeypatch.setattr(mg.GAN, "_real_generator_grads", mg.GAN.generator_grads, raising=False)
    monkeypatch.setattr(mg.GAN, method, fault)
    assert is_caught(lambda: check_game(game(), REAL))
