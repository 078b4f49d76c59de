"""The reference games: their layers and sizes, other image shapes, and errors that say what would fit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigan as mg
from minigan import models
from minigan.errors import MiniganError


def described(net):
    return [repr(layer) for layer in net.layers]


def test_mlp_is_the_reference():
    g, d = models.mlp(backend="textbook")
    assert described(g) == [
        "Dense(units=128)",
        "ReLU()",
        "Dense(units=784)",
        "Tanh()",
        "Reshape(shape=(28, 28, 1))",
    ]
    assert described(d) == ["Flatten()", "Dense(units=128)", "ReLU()", "Dense(units=1)"]
    assert g.num_params == 100 * 128 + 128 + 128 * 784 + 784
    assert d.num_params == 784 * 128 + 128 + 128 + 1


def test_dcgan_is_the_reference():
    g, d = models.dcgan(backend="textbook")
    strided = "kernel_size=4, stride=2, padding=1"
    assert described(g) == [
        "Dense(units=6272, bias=False)",
        "Reshape(shape=(7, 7, 128))",
        "BatchNorm()",
        "ReLU()",
        f"ConvTranspose2d(channels=64, {strided}, bias=False)",
        "BatchNorm()",
        "ReLU()",
        f"ConvTranspose2d(channels=1, {strided})",
        "Tanh()",
    ]
    assert described(d) == [
        f"Conv2d(channels=64, {strided})",
        "LeakyReLU()",
        f"Conv2d(channels=128, {strided}, bias=False)",
        "BatchNorm()",
        "LeakyReLU()",
        "Flatten()",
        "Dense(units=1)",
    ]
    for net in (g, d):
        for name, value in net.params.items():
            if name.endswith("weight") and value.size > 1000:
                assert value.std() == pytest.approx(0.02, rel=0.1)
    assert not np.array_equal(g.flat_params[:100], d.flat_params[:100]), "G and D are drawn from different streams"


def test_text_has_residual_blocks_along_the_line():
    g, d = models.text((9, 5), latent_dim=4, width=6, backend="textbook")
    conv = "LeakyReLU(), Conv2d(channels=6, kernel_size=(1, 5), padding=(0, 2))"
    block = f"Residual(layers=[{conv}, {conv}], scale=0.3)"
    assert described(g) == [
        *("Dense(units=54)", "Reshape(shape=(1, 9, 6))", block, block, "Conv2d(channels=5, kernel_size=1)"),
        *("Reshape(shape=(9, 5))", "Softmax()"),
    ]
    assert described(d) == [
        *("Reshape(shape=(1, 9, 5))", "Conv2d(channels=6, kernel_size=1)", block, block, "Flatten()", "Dense(units=1)"),
    ]
    assert len(models.text((9, 5), blocks=5, backend="textbook")[1].layers) == len(d.layers) + 3
    assert models.text((9, 5), pack=3, backend="textbook")[1].input_shape == (9, 15)


@given(st.integers(1, 9), st.integers(2, 6), st.integers(1, 2))
def test_lines_of_any_length_build_and_play(places, letters, pack):
    gan = mg.GAN(*models.text((places, letters), 3, width=2, blocks=1, backend="textbook", pack=pack), pack=pack)
    stats = gan.step(np.eye(letters, dtype=np.float32)[np.zeros((2 * pack, places), int)])
    assert np.isfinite(float(stats["loss_g"]))
    np.testing.assert_allclose(gan.sample(2).sum(axis=2), 1, rtol=1e-5)


@given(
    st.sampled_from(["mlp", "dcgan"]),
    st.integers(1, 5),
    st.integers(1, 5),
    st.sampled_from([1, 3]),
    st.integers(1, 4),
    st.integers(1, 9),
)
def test_any_fitting_shape_builds_and_plays(name, height, width, channels, size, latent_dim):
    options = {"width": size} if name == "dcgan" else {"hidden": (size, 3)}
    shape = (4 * height, 4 * width, channels)
    gan = mg.GAN(*models.build(name, image_shape=shape, latent_dim=latent_dim, backend="textbook", **options))
    stats = gan.step(np.zeros((3, *shape), np.float32))
    assert np.isfinite(float(stats["loss_g"]))
    assert gan.sample(2).shape == (2, *shape)


def test_points():
    g, d = models.mlp(image_shape=(2,), latent_dim=4, hidden=(8, 8), backend="textbook")
    assert g.output_shape == d.input_shape == (2,)
    assert described(g)[-1].startswith("Dense"), "points are not bounded by Tanh"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: models.dcgan(image_shape=(30, 28, 1)), "divisible by 4, got 30x28: 32x28 would fit"),
        (lambda: models.dcgan(image_shape=(2, 2, 1)), "4x4 would fit"),
        (lambda: models.dcgan(image_shape=(28, 28, 2)), r"\(H, W, 1\) or \(H, W, 3\), not \(28, 28, 2\)"),
        (lambda: models.dcgan(image_shape=(2,)), "take the model mlp"),
        (lambda: models.mlp(image_shape=(28, 28)), r"not \(28, 28\)"),
        (lambda: models.mlp(hidden=0), "hidden is"),
        (lambda: models.mlp(hidden=()), "hidden is"),
        (lambda: models.dcgan(width=-1), "width is"),
        (lambda: models.dcgan(latent_dim=0), "latent_dim is"),
        (lambda: models.text((28, 28, 1)), r"lines \(places, letters\), not \(28, 28, 1\)"),
        (lambda: models.text(width=0), "width is"),
        (lambda: models.build("dcgam"), "did you mean 'dcgan'"),
    ],
)
def test_errors(call, message):
    with pytest.raises(MiniganError, match=message):
        call()
