"""Networks of PyTorch's taken over: drawn ones, those that minigan wrote itself, and what cannot be taken."""

import copy

import numpy as np
import pytest
from exported import difference, output, samples, settled, torch, torch_module, torch_output
from hypothesis import given, settings
from hypothesis import strategies as st

import minigan as mg
from minigan.errors import ModelError, OptionError

nn = torch.nn


@st.composite
def modules(draw, deepest=7):
    """(an nn.Sequential, minigan's input shape), for images and rows, which ends in a row or an image."""
    axes = draw(st.sampled_from([1, 3, 3]))
    start = shape = tuple(draw(st.lists(st.integers(1, 6), min_size=axes, max_size=axes)))  # PyTorch's: (K,) or (C, H, W)
    made = []
    for _ in range(draw(st.integers(1, deepest))):
        kinds = [make for takes, make in MODULES if len(shape) in takes]
        made.append(draw(draw(st.sampled_from(kinds))(shape)))
        shape = tuple(made[-1](torch.zeros(2, *shape)).shape[1:])
    made.append(nn.Linear(shape[0], 3) if len(shape) == 1 else nn.ReLU())
    torch.manual_seed(draw(st.integers(0, 99)))
    module = nn.Sequential(*made).eval()
    with torch.no_grad():
        for name, value in [*module.named_parameters(), *module.named_buffers()]:
            if value.is_floating_point():
                value.uniform_(0.3, 1.5) if "running_var" in name else value.normal_(0, 0.5)
    return module, start if len(start) == 1 else (*start[1:], start[0])


def _linear_unflattened(shape):
    return st.sampled_from([(3, 2, 2), (2, 3, 1), (1, 2, 2)]).map(
        lambda image: nn.Sequential(
            nn.Linear(shape[0], int(np.prod(image)), bias=image[0] != 2),
            *([nn.BatchNorm1d(12), nn.Softmax(dim=-1), nn.LayerNorm(12)] if np.prod(image) == 12 else [nn.ReLU()]),
            nn.Unflatten(1, image),
        )
    )


def _flattened(shape):
    size = int(np.prod(shape))
    return st.sampled_from([nn.ReLU(), nn.Softplus(), nn.BatchNorm1d(size, eps=1e-3), nn.LayerNorm(size)]).map(
        lambda between: nn.Sequential(nn.Flatten(), between, nn.Dropout(0.3), nn.Linear(size, 4))
    )


def _convolution(kind):
    def made(shape):
        pair = lambda low, high: st.tuples(st.integers(low, high), st.integers(low, high))  # noqa: E731
        fits = lambda conv: min(conv(torch.zeros(2, *shape)).shape) > 0  # noqa: E731
        drawn = st.builds(
            lambda kernel, stride, padding, dilation, bias: kind(
                shape[0], 2, kernel, stride=stride, padding=padding, dilation=dilation, bias=bias
            ),
            *(pair(1, 3), pair(1, 3), pair(0, 2), pair(1, 2), st.booleans()),
        )
        return drawn.map(lambda conv: conv if _runs(fits, conv) else nn.Conv2d(shape[0], 3, 1))

    return made


def _runs(call, module):
    try:
        return call(module)
    except RuntimeError:
        return False


ACTIVATIONS = [nn.ReLU(), nn.LeakyReLU(0.1), nn.Tanh(), nn.Sigmoid(), nn.Softplus(), nn.Softmax(dim=1), nn.Identity()]
MODULES = [
    ((1, 3), lambda shape: st.sampled_from(ACTIVATIONS)),
    ((1,), lambda shape: st.integers(1, 9).map(lambda out: nn.Linear(shape[0], out))),
    ((1,), _linear_unflattened),
    ((1,), lambda shape: st.just(nn.BatchNorm1d(shape[0]))),
    ((3,), lambda shape: st.sampled_from([nn.BatchNorm2d(shape[0]), nn.LayerNorm(shape, eps=1e-3)])),
    ((3,), lambda shape: st.sampled_from([nn.Upsample(scale_factor=2), nn.Upsample(scale_factor=(1, 3))])),
    ((3,), _convolution(nn.Conv2d)),
    ((3,), _convolution(nn.ConvTranspose2d)),
    ((3,), _flattened),
]


EXACT = 1e-8  # of the largest output, in float64; PyTorch's softplus is x itself above 20, which is 2e-9 off


def check(module, shape):
    """The network that is made of a module, which in float64 computes what that does."""
    net = mg.from_torch(module, shape, "numpy", "float64")
    x = samples(net).astype(np.float64)
    found = difference(output(net, x), torch_output(copy.deepcopy(module).double(), x))
    assert found <= EXACT, (module, shape, found)
    return mg.from_torch(module, shape, "numpy")


@settings(max_examples=40)
@given(modules())
def test_drawn_modules(drawn):
    check(*drawn)


@pytest.mark.slow
@settings(max_examples=2000)
@given(modules(deepest=10))
def test_many_drawn_modules(drawn):
    check(*drawn)


def test_a_generator_as_pytorchs_tutorial_has_it():
    """DCGAN from a latent image of 1x1, and its discriminator, which ends in a flattened one of 1x1."""
    block = lambda c, f: [nn.ConvTranspose2d(c, f, 4, 2, 1, bias=False), nn.BatchNorm2d(f), nn.ReLU(True)]  # noqa: E731
    first = nn.ConvTranspose2d(10, 8, 4, 1, 0, bias=False)
    generator = nn.Sequential(
        nn.Sequential(first, nn.BatchNorm2d(8), nn.ReLU(True)), *block(8, 4), *block(4, 1), nn.Tanh()
    ).eval()
    assert check(generator, (1, 1, 10)).output_shape == (16, 16, 1)
    halving = nn.Conv2d(1, 4, 4, 2, "valid"), nn.LeakyReLU(0.2, inplace=True), nn.Conv2d(4, 4, (3, 5), padding="same")
    discriminator = nn.Sequential(*halving, nn.Conv2d(4, 1, 7), nn.Sigmoid(), nn.Flatten()).eval()
    assert check(discriminator, (16, 16, 1)).output_shape == (1,)


@pytest.mark.parametrize("model", ["dcgan", "mlp", "wave", "vae_conv"])
def test_there_and_back(model, tmp_path):
    """What minigan has written for PyTorch is what it was, to the last bit of every weight."""
    options = {"dcgan": {"width": 4, "extra_conv": True}, "mlp": {"hidden": 9}, "wave": {"width": 4}, "vae_conv": {"width": 4}}
    shape = (256, 1) if model == "wave" else (12, 8, 3)
    for net in getattr(mg.models, model)(shape, latent_dim=5, backend="numpy", **options[model]):
        settled(net, 0)
        mg.export.torch(net, tmp_path / "net.py")
        module = torch_module(tmp_path / "net.py")
        back = check(module, net.input_shape)
        state, own = back.state_dict(), net.state_dict()
        assert [value.tobytes() for value in state.values()] == [value.tobytes() for value in own.values()]


def test_a_module_that_stands_twice():
    act, twice = nn.LeakyReLU(0.3), nn.Linear(4, 4)
    assert [layer.name for layer in check(nn.Sequential(act, twice, act, twice), (4,)).layers] == ["LeakyReLU", "Dense"] * 2


def test_training_goes_on():
    """The network that was made learns as any does, and the module keeps its own weights."""
    module = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))
    before = module[0].weight.detach().clone()
    net = mg.from_torch(module, (3,), "numpy", "float64")
    assert mg.check_gradients(net, np.random.default_rng(0).standard_normal((4, 3))).ok
    net.flat_params[...] = 0
    assert torch.equal(module[0].weight, before)


class Squared(nn.Sequential):
    def forward(self, x):
        return super().forward(x) ** 2


class OwnReLU(nn.ReLU):
    def forward(self, x):
        return x


REFUSED = [
    ([nn.Conv1d(3, 3, 1)], (5, 3), r"cannot take Conv1d \(0\): leave it out"),
    ([nn.Sequential(nn.ReLU(), OwnReLU())], (5,), r"OwnReLU \(0\.1\)"),
    ([nn.Sequential(Squared(nn.ReLU()))], (5,), r"Squared \(0\.0\)"),
    ([nn.Linear(5, 3)], (2, 2, 5), r"Linear \(0\) on \(2, 2, 5\): put a Flatten before it"),
    ([nn.Linear(5, 3)], (4,), "of 5 inputs after 4 values"),
    ([nn.Conv2d(2, 4, 3, groups=2)], (5, 5, 2), "with groups=2"),
    ([nn.Conv2d(3, 4, 3)], (5, 5, 2), "of 3 channels after 2"),
    ([nn.Conv2d(2, 4, 3)], (5,), "needs an image"),
    ([nn.Conv2d(2, 4, 3)], (2, 5, 2), "an image of at least"),
    ([nn.Conv2d(2, 4, 3, padding=1, padding_mode="reflect")], (5, 5, 2), "padding_mode='reflect'"),
    ([nn.Conv2d(2, 4, 2, padding="same")], (5, 5, 2), "even kernel"),
    ([nn.BatchNorm1d(4, affine=False)], (4,), "without its weights"),
    ([nn.BatchNorm1d(4, momentum=None)], (4,), "momentum=None"),
    ([nn.BatchNorm1d(3)], (4,), "of 3 features after 4"),
    ([nn.BatchNorm2d(4)], (4,), r"on \(4,\)"),
    ([nn.LayerNorm(4)], (2, 4, 3), r"over \(4,\) of \(3, 2, 4\)"),
    ([nn.LeakyReLU(-1)], (4,), "negative_slope=-1"),
    ([nn.Softplus(beta=2)], (4,), "beta=2"),
    ([nn.Softmax(dim=2)], (2, 4, 3), "with dim=2"),
    ([nn.Dropout(1)], (2,), "p=1"),
    ([nn.Upsample(scale_factor=1.5)], (2, 4, 3), "scale_factor=1.5"),
    ([nn.Upsample(scale_factor=(2, 2, 2))], (2, 4, 3), r"scale_factor=\(2"),
    ([nn.LazyLinear(3)], (5,), "cannot take LazyLinear"),
    ([nn.Upsample(size=(4, 4))], (2, 4, 3), "scale_factor=None"),
    ([nn.Upsample(scale_factor=2, mode="bilinear")], (2, 4, 3), "mode='bilinear'"),
    ([nn.Flatten()], (2, 4, 3), "ends in a flattened image"),
    ([nn.Flatten(0), nn.Linear(24, 1)], (2, 4, 3), "from 0 to -1"),
    ([nn.Unflatten(1, (3, 2, 2)), nn.ReLU()], (12,), "without a Linear before it"),
    ([nn.Linear(4, 12), nn.Unflatten(1, (3, 2, 3))], (4,), r"to \(3, 2, 3\) after 12 values"),
    ([nn.utils.parametrizations.spectral_norm(nn.Linear(4, 2))], (4,), "a parametrization, as spectral_norm"),
    ([], (4,), "holds no layer"),
]


@pytest.mark.parametrize(("made", "shape", "message"), REFUSED)
def test_what_cannot_be_taken(made, shape, message):
    with pytest.raises(mg.MiniganError, match=message) as error:
        mg.from_torch(nn.Sequential(*made), shape, "numpy")
    assert isinstance(error.value, ModelError) or "at least" in message
    assert len(str(error.value)) <= 300


@pytest.mark.parametrize("module", [nn.Linear(2, 3), Squared(nn.Linear(2, 3)), 3, "net"])
def test_what_is_no_sequential(module):
    with pytest.raises(OptionError, match=r"expected a torch\.nn\.Sequential"):
        mg.from_torch(module, (2,))
