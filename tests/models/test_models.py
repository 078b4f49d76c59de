"""The reference games: their layers and sizes, other image shapes, and errors that say what would fit."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigan as mg
from minigan import models
from minigan.errors import MiniganError, ModelError
from minigan.models.dcgan import UPSAMPLINGS, doubling, stride_count


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


def test_wave_is_wavegan():
    """Of 16,384 values, with the paper's width: its tables 3 and 4."""
    assert models.wave((256, 1), width=4, backend="textbook")[0].output_shape == (256, 1)
    g, d = models.wave((1024, 2), 100, 8, backend="textbook")
    turns = "kernel_size=(1, 25), stride=(1, 4), padding=(0, 11)"
    up = f"{turns}, output_padding=(0, 1)"
    assert described(g) == [
        "Dense(units=512)",
        "Reshape(shape=(1, 16, 32))",
        "ReLU()",
        *(f"ConvTranspose2d(channels=16, {up})", "ReLU()", f"ConvTranspose2d(channels=8, {up})", "ReLU()"),
        *(f"ConvTranspose2d(channels=2, {up})", "Tanh()", "Reshape(shape=(1024, 2))"),
    ]
    assert described(d) == [
        "Reshape(shape=(1, 1024, -1))",
        *(f"Conv2d(channels=8, {turns})", "LeakyReLU()", "PhaseShuffle()"),
        *(f"Conv2d(channels=16, {turns})", "LeakyReLU()", "PhaseShuffle()"),
        *(f"Conv2d(channels=32, {turns})", "LeakyReLU()", "Flatten()", "Dense(units=1)"),
    ]
    assert [len(models.wave((n, 1), width=1, backend="textbook")[1].layers) for n in (64, 4096, 16_384)] == [5, 14, 17]


@given(st.integers(1, 2), st.integers(16, 63), st.integers(1, 2), st.integers(1, 3))
def test_wave_of_any_length_that_fits(depth, first, channels, pack):
    shape = (first * 4**depth, channels)
    gan = mg.GAN(*models.wave(shape, 3, 2, backend="textbook", pack=pack), pack=pack, penalties=[mg.losses.R1(1.0)])
    assert np.isfinite(float(gan.step(np.zeros((6, *shape), np.float32))["loss_g"]))
    assert gan.sample(2).shape == (2, *shape)


def channels(net, kind):
    return [layer.channels for layer in net.layers if type(layer).__name__ == kind]


@pytest.mark.parametrize(
    ("size", "strides", "smallest"),
    [
        *((4, 2, 1), (12, 2, 3), (16, 2, 4), (28, 2, 7), (32, 3, 4), (36, 2, 9), (48, 3, 6), (56, 3, 7), (60, 2, 15)),
        *((64, 4, 4), (96, 4, 6), (100, 2, 25), (120, 3, 15), (128, 5, 4), (160, 5, 5), (256, 6, 4)),
    ],
)
def test_dcgan_has_as_many_strided_layers_as_the_size_asks_for(size, strides, smallest):
    g, d = models.dcgan((size, size, 3), latent_dim=2, width=1, backend="textbook")
    widths = [1, 2, 4, 8, 8, 8][:strides]
    assert channels(d, "Conv2d") == widths
    assert channels(g, "ConvTranspose2d") == [*widths[-2::-1], 3]
    assert g.layers[1].output_shape == (smallest, smallest, widths[-1]) == d.layers[-3].output_shape
    assert g.output_shape == d.input_shape == (size, size, 3)


@pytest.mark.parametrize(("shape", "smallest"), [((28, 64, 1), (7, 16, 2)), ((64, 72, 1), (8, 9, 4))])
def test_the_smaller_side_decides_and_both_must_come_out_even(shape, smallest):
    g, _ = models.dcgan(shape, latent_dim=2, width=1, backend="textbook")
    assert g.layers[1].output_shape == smallest


@pytest.mark.parametrize("extra_conv", [False, True])
def test_resizing_takes_the_place_of_every_transposed_convolution(extra_conv):
    options = {"latent_dim": 2, "width": 1, "extra_conv": extra_conv, "backend": "textbook"}
    (g, d), (other, same) = (models.dcgan((64, 64, 3), upsample=how, **options) for how in ("resize", "transposed"))
    assert described(d) == described(same)
    expected = []
    for layer in described(other):
        if layer.startswith("ConvTranspose2d"):
            count, bias = layer.partition("channels=")[2].partition(",")[0], ", bias=False" if "bias" in layer else ""
            expected += ["Upsample()", f"Conv2d(channels={count}, kernel_size=3, padding=1{bias})"]
        else:
            expected.append(layer)
    assert described(g) == expected
    assert described(g).count("Upsample()") == 4


def test_what_comes_of_resizing_has_no_checkerboard():
    """Of an image without any pattern, untrained transposed convolutions make one that repeats every second pixel."""

    def pattern(how):
        net = mg.Sequential([*doubling(8, how), *doubling(1, how)], (8, 8, 4), "textbook", "float64", seed=1)
        image = net.forward(np.ones((1, 8, 8, 4)))[0][0, 8:24, 8:24, 0]  # away from the edges, where zeros are seen
        return np.ptp(image) / np.abs(image).max()

    assert pattern("resize") < 1e-12
    assert pattern("transposed") > 0.1


@given(
    st.sampled_from(["mlp", "dcgan"]),
    st.integers(1, 5),
    st.integers(1, 5),
    st.sampled_from([1, 3]),
    st.integers(1, 4),
    st.integers(1, 9),
    st.sampled_from(UPSAMPLINGS),
)
def test_any_fitting_shape_builds_and_plays(name, height, width, channels, size, latent_dim, upsample):
    options = {"width": size, "upsample": upsample} if name == "dcgan" else {"hidden": (size, 3)}
    shape = (4 * height, 4 * width, channels)
    gan = mg.GAN(*models.build(name, image_shape=shape, latent_dim=latent_dim, backend="textbook", **options))
    stats = gan.step(np.zeros((3, *shape), np.float32))
    assert np.isfinite(float(stats["loss_g"]))
    assert gan.sample(2).shape == (2, *shape)


@given(st.integers(1, 140), st.integers(1, 140), st.booleans())
def test_dcgan_plays_at_any_size_that_fits_and_names_two_for_others(height, width, extra_conv):
    options = {"latent_dim": 1, "width": 1, "extra_conv": extra_conv, "backend": "textbook"}
    if height % 4 == 0 and width % 4 == 0:
        strides = stride_count(height, width)
        assert height % 2**strides == 0
        assert width % 2**strides == 0
        assert strides == 2 or min(height, width) >= 4 * 2**strides
        gan = mg.GAN(*models.dcgan((height, width, 1), **options))
        assert np.isfinite(float(gan.step(np.zeros((2, height, width, 1), np.float32))["loss_g"]))
        return
    with pytest.raises(ModelError, match=rf"divisible by 4, got {height}x{width}: ") as refused:
        models.dcgan((height, width, 1), **options)
    named = [tuple(map(int, size)) for size in re.findall(r"(\d+)x(\d+)", str(refused.value).partition(": ")[2])]
    assert len(named) == (2 if min(height, width) >= 4 else 1)
    below, above = named[0], named[-1]
    assert above[0] >= height
    assert above[1] >= width
    for size in named:
        assert models.dcgan((*size, 1), **options)[0].output_shape == (*size, 1)
    if len(named) == 2:
        assert (below[0], below[1]) == (height - height % 4, width - width % 4)


def test_points():
    g, d = models.mlp(image_shape=(2,), latent_dim=4, hidden=(8, 8), backend="textbook")
    assert g.output_shape == d.input_shape == (2,)
    assert described(g)[-1].startswith("Dense"), "points are not bounded by Tanh"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: models.dcgan(image_shape=(30, 28, 1)), "divisible by 4, got 30x28: 28x28 and 32x28 would fit"),
        (lambda: models.dcgan(image_shape=(2, 2, 1)), "got 2x2: 4x4 would fit"),
        (lambda: models.dcgan(image_shape=(101, 102, 3)), "divisible by 4, got 101x102: 100x100 and 104x104 would fit"),
        (lambda: models.dcgan(upsample="resise"), "unknown upsample 'resise': did you mean 'resize'"),
        (lambda: models.dcgan(image_shape=(28, 28, 2)), r"\(H, W, 1\) or \(H, W, 3\), not \(28, 28, 2\)"),
        (lambda: models.dcgan(image_shape=(2,)), "take the model mlp"),
        (lambda: models.mlp(image_shape=(28, 28)), r"not \(28, 28\)"),
        (lambda: models.wave((1000, 1)), "a multiple of 16, got 1000: a length of 992 or 1008 would fit"),
        (lambda: models.wave((63, 1)), "at least 64 values, a multiple of 4, got 63: a length of 64 would fit"),
        (lambda: models.wave((28, 28, 1)), r"wave makes sound \(T, C\), not \(28, 28, 1\): for images take the model dcgan"),
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
