"""Options given as numbers of NumPy's: the plain number is taken, and the bytes are those of the plain number."""

import decimal
import fractions

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigan as mg
from minigan import initializers
from minigan.errors import OptionError

WHOLE = [np.int64, np.int32, np.uint8, lambda n: np.array(n)]
REAL = [np.float64, np.float32, np.float16, lambda r: np.array(r), lambda r: np.array(r, np.float32)]
NO_NUMBERS = [True, np.True_, 1j, float("nan"), float("inf"), -float("inf"), np.float64("nan"), "0.5", b"1", None, [0.5], [[1]]]
NO_NUMBERS += [decimal.Decimal("0.5"), fractions.Fraction(1, 2), np.array([0.5, 0.5]), object(), 10**400, 10**5000]

# By name: a whole option, an array of some layer's, and what is made of them.
LAYERS_OF_WHOLE = {
    "Dense": lambda n: [mg.Flatten(), mg.Dense(n)],
    "Conv2d": lambda n: [mg.Conv2d(n, n, stride=n, padding=n, dilation=n)],
    "Conv2d of pairs": lambda n: [mg.Conv2d(2, (n, n), stride=[n, n], padding=(n, 1))],
    "Conv2d of arrays": lambda n: [mg.Conv2d(2, np.array([n, n]), stride=np.array([n, n]))],
    "ConvTranspose2d": lambda n: [mg.ConvTranspose2d(n, n, stride=2, padding=n, output_padding=1)],
    "Upsample": lambda n: [mg.Upsample(n)],
    "Reshape": lambda n: [mg.Flatten(), mg.Reshape((n, -1))],
    "LayerNorm": lambda n: [mg.LayerNorm(axes=n)],
}
LAYERS_OF_REAL = {
    "Dropout": lambda r: [mg.Dropout(r)],
    "LeakyReLU": lambda r: [mg.LeakyReLU(r)],
    "BatchNorm": lambda r: [mg.BatchNorm(eps=r, momentum=r)],
    "LayerNorm": lambda r: [mg.LayerNorm(eps=r)],
    "initialisers": lambda r: [mg.Flatten(), mg.Dense(2, weight_init=initializers.normal(r, r))],
    "a layer of one's own": lambda r: [Powers(scale=r)],
}


class Powers(mg.layers.elementwise.Elementwise):
    def __init__(self, scale):
        super().__init__(scale=scale)

    f = staticmethod(lambda xp, x, scale: x * scale)
    df = staticmethod(lambda xp, y, scale: scale + 0 * y)


def result(layers, be="numpy", dtype="float32"):
    """Two passes of a network of these layers: all that they make, as bytes."""
    net = mg.Sequential(layers, (4, 4, 2), be, dtype)
    x = np.random.default_rng(0).standard_normal((3, 4, 4, 2)).astype(dtype)
    y, caches = net.forward(x, train=True)
    dx = net.backward(y, caches, grads=net.grads)
    assert {y.dtype.name, dx.dtype.name} == {dtype}
    return repr(net), [a.tobytes() for a in (y, dx, net.flat_params, net.flat_grads, *net.state.values())]


@given(
    st.sampled_from(sorted(LAYERS_OF_WHOLE)), st.integers(1, 3), st.sampled_from(WHOLE), st.sampled_from(["numpy", "textbook"])
)
def test_whole_numbers_of_layers(name, n, kind, be):
    try:
        expected = result(LAYERS_OF_WHOLE[name](n), be)
    except mg.errors.ShapeError:
        return
    assert result(LAYERS_OF_WHOLE[name](kind(n)), be) == expected


@given(st.sampled_from(sorted(LAYERS_OF_REAL)), st.sampled_from([0.5, 0.25, 0.125]), st.sampled_from(REAL), st.booleans())
def test_real_numbers_of_layers(name, r, kind, double):
    dtype = "float64" if double else "float32"
    for be in ("numpy", "textbook"):
        assert result(LAYERS_OF_REAL[name](kind(r)), be, dtype) == result(LAYERS_OF_REAL[name](r), be, dtype)


def trained(whole, real, schedule=lambda lr: lr):
    """A game all of whose numbers went through these two, after three steps."""
    shape = [whole(n) for n in (4, 4, 1)]
    g, d = mg.models.mlp(np.array(shape), whole(3), [whole(5), whole(6)], "numpy", seed=whole(2))
    options = {"lr": schedule(real(0.25)), "betas": (real(0.5), real(0.75)), "eps": real(0.125), "ema": real(0.5)}
    sgd = mg.SGD(mg.optim.linear(real(0.5), whole(9), real(0.25)), momentum=real(0.5))
    gan = mg.GAN(g, d, objective=mg.losses.NonSaturating(real(0.25)), optimizer_d=sgd, seed=whole(4), **options)
    data = np.random.default_rng(0).integers(0, 256, (20, 4, 4, 1), dtype=np.uint8)
    batches = mg.Batches(data, whole(6), gan.backend, seed=whole(3))
    for _ in range(3):
        gan.step(batches.next())
    return {name: a.tobytes() for name, a in gan.state_dict().items()} | {"samples": gan.sample(whole(2), whole(1)).tobytes()}


@pytest.mark.parametrize("real", REAL)
@pytest.mark.parametrize("whole", WHOLE)
def test_a_game_of_numpys_numbers_is_the_game(whole, real):
    assert trained(whole, real) == trained(int, float)


@pytest.mark.parametrize("kind", REAL)
def test_schedules_may_return_them(kind):
    assert trained(int, float, lambda lr: lambda step: kind(lr / (1 + step))) == trained(
        int, float, lambda lr: lambda step: float(kind(lr / (1 + step)))
    )


TAKERS = {
    "smoothing": mg.losses.NonSaturating,
    "slope": mg.LeakyReLU,
    "rate": mg.Dropout,
    "eps": lambda value: mg.BatchNorm(eps=value),
    "momentum": lambda value: mg.BatchNorm(momentum=value),
    "lr": mg.SGD,
    "lr of Adam": mg.Adam,
    "weight_decay": lambda value: mg.Adam(weight_decay=value),
    "eps of Adam": lambda value: mg.Adam(eps=value),
    "beta": lambda value: mg.Adam(betas=(value, 0.5)),
    "betas": lambda value: mg.Adam(betas=value),
    "momentum of SGD": lambda value: mg.SGD(0.1, momentum=value),
    "linear": lambda value: mg.optim.linear(value, 4),
    "cosine": lambda value: mg.optim.cosine(0.1, 4, value),
    "ema": lambda value: mg.GAN(*mg.models.mlp((2,), 2, 2, "textbook"), ema=value if value is not None else 2),
    "std": initializers.normal,
    "units": mg.Dense,
    "kernel_size": lambda value: mg.Conv2d(1, value),
    "stride": lambda value: mg.Conv2d(1, 1, stride=value),
    "shape": lambda value: mg.Reshape(value if not isinstance(value, list) else [0.5]),
    "axes": lambda value: mg.LayerNorm(axes=value),
    "width": lambda value: mg.models.dcgan(width=value),
    "latent_dim": lambda value: mg.models.mlp(latent_dim=value),
    "image_shape": lambda value: mg.models.mlp(image_shape=(value, 4, 1)),
    "steps": lambda value: mg.optim.cosine(0.1, value),
}


WHOLE_TAKERS = {"units", "kernel_size", "stride", "width", "latent_dim", "steps", "shape", "axes", "image_shape"}


@pytest.mark.parametrize("name", TAKERS)
def test_what_is_no_number_is_refused_in_one_line(name):
    for value in NO_NUMBERS:
        if (name in WHOLE_TAKERS and type(value) is int) or (name == "betas" and isinstance(value, np.ndarray)):
            continue  # these it takes: whether there is room for so large a layer is another question
        with pytest.raises(mg.errors.MiniganError) as error:
            TAKERS[name](value)
        assert len(str(error.value)) <= 300
        assert "\n" not in str(error.value)


def test_options_of_norms_are_named():
    with pytest.raises(TypeError, match="positional"):
        mg.BatchNorm(1e-5)
    with pytest.raises(TypeError, match="positional"):
        mg.LayerNorm(2)


def test_a_schedule_that_returns_no_rate_is_told():
    net = mg.Sequential([mg.Dense(1)], (1,), "textbook")
    for value in (float("nan"), -1.0, None, "fast"):
        with pytest.raises(OptionError, match="the rate of the schedule is"):
            mg.SGD(lambda step, value=value: value).update(net)


# -- np.seterr(all="raise") ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("captured", [False, True])
def test_a_game_whose_numbers_underflow_raises_nothing(captured):
    """e^-x and squares become 0 by design, whatever NumPy is told to raise; an overflow is still told."""
    with np.errstate(all="raise"):
        game = mg.GAN(*mg.models.dcgan((8, 8, 1), 5, 3, backend="numpy"), lr=0.5, ema=0.9)
        game.generator.flat_params[...] *= 1e-25
        game.discriminator.params["0.weight"][...] *= 1e-25
        game.discriminator.params["5.bias" if "5.bias" in game.discriminator.params else "6.bias"][...] = 200
        batches = mg.Batches(np.random.default_rng(0).integers(0, 256, (20, 8, 8, 1), dtype=np.uint8), 6, game.backend)
        step = mg.capture(game, batches, log=lambda text: None) if captured else lambda: game.step(batches.next())
        stats = [step() for _ in range(5)]
        assert np.isfinite([list(each.values()) for each in stats]).all()
        game.discriminator.flat_params[...] = 1e38
        with pytest.raises(FloatingPointError, match="overflow"):
            step()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_losses_and_layers_of_numbers_that_underflow_raise_nothing(dtype):
    s = np.array([[-1000.0], [-100.0], [100.0], [1000.0], [1e-38]], dtype)
    with np.errstate(all="raise"):
        for make in mg.losses.OBJECTIVES.values():
            for be in ("numpy", "textbook"):
                objective = make().bind(mg.get_backend(be))
                given = np.clip(s, -80, 80) if issubclass(make, mg.losses.KL) else s  # the exponentials of an f-GAN overflow
                of_d, of_g = objective.discriminator(given, given), objective.generator(given, given)
                assert all(np.isfinite(value).all() for value in (of_d[0], *of_d[1], *of_g))
        for result in (
            mg.losses.bce_with_logits(s, np.ones_like(s)),
            mg.losses.mse(np.full_like(s, 1e-30), np.zeros_like(s)),
            mg.losses.softmax_cross_entropy(np.concatenate([s, -s], axis=1), np.zeros(5, int)),
        ):
            assert all(np.isfinite(value).all() for value in result)
        for layer in (mg.Sigmoid(), mg.Softplus(), mg.Tanh(), mg.LayerNorm(), mg.BatchNorm(), mg.Dense(3)):
            net = mg.Sequential([layer], (1,), "numpy", dtype)
            y, caches = net.forward(s, train=True)
            net.backward(np.full_like(y, 1e-37), caches, grads=net.grads)
            net.flat_grads[...] = 1e-30
            mg.Adam().update(net)
            assert np.isfinite(y).all()
            assert np.isfinite(net.flat_params).all()
