"""SpectralNorm: its power iteration against singular values, and when it iterates."""

import numpy as np
import pytest
from drawn_geometries import convolutions
from hypothesis import given
from one_layer import draw, host

import minigan as mg
from minigan.errors import OptionError

LAYERS = [
    (lambda: mg.Dense(4), (5,)),
    (lambda: mg.Conv2d(3, 3, stride=2, padding=1), (5, 6, 2)),
    (lambda: mg.ConvTranspose2d(3, 4, stride=2, padding=1), (3, 4, 2)),
]


def matrix(net, weight):
    """The weight of the one layer as a matrix, a row for each output (channel)."""
    out = net.layers[0].linear.out_axis
    return np.moveaxis(host(net, weight), out, 0).reshape(weight.shape[out], -1)


def wrapped(make, shape, backend="textbook", **options):
    return mg.Sequential([mg.SpectralNorm(make(), **options)], shape, backend, "float64", seed=2)


@pytest.mark.parametrize(("make", "shape"), LAYERS)
def test_it_finds_the_largest_singular_value(make, shape, backend):
    net = wrapped(make, shape, backend, iterations=200)
    x = draw(net, (3, *shape))
    y, caches = net.forward(x, train=True)
    largest = np.linalg.svd(matrix(net, net.params["0.weight"]), compute_uv=False)[0]
    assert float(caches[0][-1].item()) == pytest.approx(largest, rel=1e-9)
    plain = mg.Sequential([make()], shape, backend, "float64", seed=2)
    np.testing.assert_array_equal(host(net, net.flat_params), host(net, plain.flat_params))
    plain.params["0.weight"][...] /= largest
    np.testing.assert_allclose(host(net, y), host(net, plain.forward(x)[0]), rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize(("make", "shape"), LAYERS)
def test_with_singular_vectors_the_gradient_is_that_of_the_weight_over_its_largest_singular_value(make, shape):
    """Though u and v are held fixed in it: here the whole of W / σ_max(W) is differentiated, by differences."""
    net = wrapped(make, shape, iterations=500)
    x, weight = draw(net, (3, *shape)), net.params["0.weight"]
    y, caches = net.forward(x, train=True)
    dy = draw(net, y.shape, 2)
    net.backward(dy, caches, net.grads)
    plain = mg.Sequential([make()], shape, "textbook", "float64")
    plain.params["0.bias"][...] = net.params["0.bias"]
    direction = draw(net, weight.shape, 3)

    def loss(t):
        moved = weight + t * direction
        plain.params["0.weight"][...] = moved / np.linalg.svd(matrix(net, moved), compute_uv=False)[0]
        return float((plain.forward(x)[0] * dy).sum())

    numeric = (8 * (loss(1e-4) - loss(-1e-4)) - (loss(2e-4) - loss(-2e-4))) / 12e-4
    assert float((net.grads["0.weight"] * direction).sum()) == pytest.approx(numeric, rel=1e-7)


@given(convolutions())
def test_its_size_does_not_matter(case):
    make, shape = case
    net = wrapped(make, shape)
    x, bias = draw(net, (2, *shape)), net.params.get("0.bias")
    y = net.forward(x)[0]
    net.params["0.weight"][...] *= 3
    net.state["0.u"][...] *= 0.5  # as an average of unit vectors is shorter than they are
    np.testing.assert_allclose(net.forward(x)[0], y, rtol=1e-10, atol=1e-12)
    assert bias is None or not bias.any()


def test_the_first_pass_starts_near_the_singular_vectors():
    net = wrapped(*LAYERS[0])
    largest = np.linalg.svd(net.params["0.weight"], compute_uv=False)[0]
    _, caches = net.forward(draw(net, (3, 5)))
    assert float(caches[0][-1].item()) == pytest.approx(largest, rel=0.02)


def test_every_training_pass_iterates_and_no_other(backend):
    """Also where several passes could be one."""
    once, each = (mg.Sequential([mg.SpectralNorm(mg.Dense(4))], (5,), backend, "float64") for _ in range(2))
    for net in (once, each):
        net.flat_params[...] = draw(net, net.flat_params.shape)
    before = host(once, once.state["0.u"])
    x, other = draw(once, (3, 5)), draw(once, (3, 5), 2)
    once.forward(x)
    np.testing.assert_array_equal(host(once, once.state["0.u"]), before)
    ys = [host(once, once.forward(a, train=True)[0]) for a in (x, other)]
    assert not np.array_equal(host(once, once.state["0.u"]), before)
    both, caches = each.forward_each((x, other), train=True)
    assert len(caches) == 2
    for mine, theirs in zip(both, ys, strict=True):
        np.testing.assert_array_equal(host(each, mine), theirs)
    np.testing.assert_array_equal(host(each, each.state["0.u"]), host(once, once.state["0.u"]))


def test_a_check_holds_the_vectors_of_its_copy_alone():
    net = wrapped(*LAYERS[0])
    x = draw(net, (3, 5))
    assert mg.check_gradients(net, x).ok
    before = net.state["0.u"].copy()
    net.forward(x, train=True)
    assert not np.array_equal(net.state["0.u"], before)


def test_a_game_with_it_is_checked():
    g = mg.Sequential([mg.SpectralNorm(mg.Dense(4)), mg.Tanh()], (3,), "textbook", "float64")
    d = mg.Sequential([mg.SpectralNorm(mg.Dense(5)), mg.Tanh(), mg.SpectralNorm(mg.Dense(1))], (4,), "textbook", "float64")
    gan = mg.GAN(g, d, penalties=[mg.losses.R1(2.0)])
    report = mg.check_game(gan, np.random.default_rng(0).standard_normal((4, 4)))
    assert report.ok, str(report)


@pytest.mark.parametrize("layer", [mg.BatchNorm(), mg.Flatten(), mg.Upsample(), "Dense", mg.Dense], ids=repr)
def test_a_layer_without_a_weight_is_refused(layer):
    with pytest.raises(OptionError, match="expected a Dense, a Conv2d or a ConvTranspose2d"):
        mg.SpectralNorm(layer)


@pytest.mark.parametrize("options", [{"iterations": 0}, {"iterations": 1.5}, {"eps": 0}, {"eps": np.nan}], ids=repr)
def test_options_are_checked(options):
    with pytest.raises(OptionError, match=f"SpectralNorm: {next(iter(options))} is"):
        mg.SpectralNorm(mg.Dense(2), **options)
