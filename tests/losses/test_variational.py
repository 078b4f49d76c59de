"""The pieces of a VAE's bound: values against the formulas, gradients against differences, stability, planted faults."""

import inspect

import numpy as np
import pytest
from planted_faults import compiled, exchanges, faults, is_caught

from minigan import check_loss, get_backend, losses
from minigan.checks import suite
from minigan.checks.suite import _check_bound, likelihood_table
from minigan.errors import OptionError
from minigan.losses import variational

BE = get_backend("textbook")


def reports(backend="textbook"):
    return list(_check_bound(get_backend(backend), np.random.default_rng(0)))


def test_gradients(backend):
    found = reports(backend)
    assert [report.name for report in found if not report.ok] == []
    assert len(found) == 2 + len(losses.LIKELIHOODS)
    assert {type(each) for each in likelihood_table()} == set(losses.LIKELIHOODS.values())


FORMULAS = ("drawn", "drawn_grad", "divergence", "divergence_grad", "bernoulli", "bernoulli_grad", "gaussian", "gaussian_grad")
METHODS = [(variational.Bernoulli, "loss"), (variational.Gaussian, "loss")]
FUNCTIONS = ("halves", "per_sample", "reparametrise", "reparametrise_grad", "gaussian_kl")


def is_right():
    """Gradients that fit, and values that are what they claim to be: a constant that is off has no gradient."""
    if not all(report.ok for report in reports()):
        return False
    try:
        check_values()
    except AssertionError:
        return False
    return True


class Right:
    def __init__(self, ok):
        self.ok = ok


@pytest.mark.parametrize("name", [*FORMULAS, *FUNCTIONS])
def test_every_fault_in_a_formula_is_caught(name, monkeypatch):
    assert is_right()
    for description, tree in faults(getattr(variational, name)):
        with monkeypatch.context() as patch:
            faulty = compiled(tree, variational)
            patch.setattr(variational, name, faulty)
            for place in (losses, suite):
                if hasattr(place, name):
                    patch.setattr(place, name, faulty)
            assert is_caught(lambda: Right(is_right())), description


@pytest.mark.parametrize(("owner", "name"), METHODS, ids=lambda value: getattr(value, "__name__", value))
def test_every_fault_in_a_likelihood_is_caught(owner, name, monkeypatch):
    method = inspect.unwrap(getattr(owner, name))
    planted = [*faults(method), *exchanges(method)]
    assert planted
    for description, tree in planted:
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, compiled(tree, variational))
            assert is_caught(lambda: Right(is_right())), description


def check_values():
    """Values by other formulas: with logarithms of probabilities, and of densities."""
    rng = np.random.default_rng(1)
    h, noise = rng.standard_normal((5, 6)), rng.standard_normal((5, 3))
    mean, sigma = h[:, :3], np.sqrt(np.exp(h[:, 3:]))
    np.testing.assert_allclose(losses.reparametrise(BE, h, noise), mean + sigma * noise, rtol=1e-12)
    kl = (np.log(1 / sigma) + (sigma**2 + mean**2) / 2 - 0.5).sum(axis=1).mean()
    np.testing.assert_allclose(float(losses.gaussian_kl(BE, h)[0]), kl, rtol=1e-12)
    x, y = rng.uniform(-1, 1, (4, 3, 2)), rng.standard_normal((4, 3, 2))
    t, p = (x + 1) / 2, 1 / (1 + np.exp(-y))
    expected = -(t * np.log(p) + (1 - t) * np.log(1 - p)).sum(axis=(1, 2)).mean()
    np.testing.assert_allclose(float(losses.Bernoulli().loss(y, x)[0]), expected, rtol=1e-12)
    np.testing.assert_allclose(losses.Bernoulli().mean(y), 2 * p - 1, rtol=1e-12)
    density = np.exp(-((x - y) ** 2) / (2 * 0.3**2)) / (0.3 * np.sqrt(2 * np.pi))
    np.testing.assert_allclose(float(losses.Gaussian(0.3).loss(y, x)[0]), -np.log(density).sum(axis=(1, 2)).mean(), rtol=1e-12)


def test_values():
    check_values()


def test_a_code_that_says_nothing_costs_nothing():
    kl, dh = losses.gaussian_kl(BE, np.zeros((3, 4)))
    assert float(kl) == 0
    assert not dh.any()
    small = np.full((1, 2), 1e-9)
    assert float(losses.gaussian_kl(BE, small)[0]) == pytest.approx(5e-19 * 1.5, rel=0.1), "small ones keep their digits"


def test_pytorch_agrees():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(2)
    h, x, y = torch.tensor(rng.standard_normal((5, 6))), rng.uniform(-1, 1, (5, 4)), torch.tensor(rng.standard_normal((5, 4)))
    q = torch.distributions.Normal(h[:, :3], torch.exp(h[:, 3:] / 2))
    kl = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0)).sum(1).mean()
    assert float(losses.gaussian_kl(BE, h.numpy())[0]) == pytest.approx(kl.item(), rel=1e-12)
    bce = torch.nn.functional.binary_cross_entropy_with_logits(y, torch.tensor((x + 1) / 2), reduction="sum") / 5
    assert float(losses.Bernoulli().loss(y.numpy(), x)[0]) == pytest.approx(bce.item(), rel=1e-12)
    density = torch.distributions.Normal(y, 0.2).log_prob(torch.tensor(x))
    assert float(losses.Gaussian(0.2).loss(y.numpy(), x)[0]) == pytest.approx(-density.sum(1).mean().item(), rel=1e-12)


def test_extreme_logits_stay_finite():
    y, x = np.array([[-1000.0, 1000.0, 1000.0]], np.float32), np.array([[1.0, -1.0, 1.0]], np.float32)
    with np.errstate(over="raise", divide="raise", invalid="raise"):
        value, dy = losses.Bernoulli().loss(y, x)
    assert float(value) == pytest.approx(2000)
    np.testing.assert_allclose(dy, [[-1, 1, 0]])


def test_dtype_and_form(backend):
    be = get_backend(backend)
    h, x = be.asarray(np.ones((3, 4), np.float32)), be.asarray(np.zeros((3, 2, 2), np.float32))
    pairs = [losses.gaussian_kl(be, h), *(each.bind(be).loss(x, x) for each in likelihood_table())]
    for (value, gradient), of in zip(pairs, (h, x, x), strict=True):
        assert value.shape == ()
        assert gradient.shape == of.shape
        assert value.dtype == gradient.dtype == np.float32
    z = losses.reparametrise(be, h, h[:, :2])
    assert (z.shape, z.dtype, variational.reparametrise_grad(be, z, h, z).dtype) == ((3, 2), np.float32, np.float32)


@pytest.mark.parametrize("sigma", [0, -1, np.nan, np.inf, 1e7, "wide", None, True])
def test_a_wrong_sigma_is_one_line(sigma):
    with pytest.raises(OptionError, match="Gaussian: sigma is") as caught:
        losses.Gaussian(sigma)
    assert len(str(caught.value)) < 300


def test_their_names():
    assert [repr(each) for each in likelihood_table()] == ["Bernoulli()", "Gaussian(sigma=0.3)"]
    assert not check_loss(lambda a: (a.sum(), 2 * a), np.ones(2), backend="textbook", name="wrong").ok
