"""PyTorch as a second oracle: every layer's forward and gradients, optimisers, and 20 steps of both reference games."""

import numpy as np
import pytest
from drawn_geometries import convolutions
from hypothesis import given
from hypothesis import strategies as st

import minigan as mg
from minigan.checks.suite import layer_table

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")
nn = torch.nn
F = torch.nn.functional
torch.set_num_threads(1)  # its threads would wait for those of the tests beside these

NAMES = {"weight": "weight", "bias": "bias", "gamma": "weight", "beta": "bias"}


def to_torch(name, layer, value):
    """A parameter of minigan in PyTorch's layout."""
    value = torch.tensor(np.array(value))
    if name != "weight":
        return value
    if value.ndim == 2:
        return value.T.contiguous()
    return value.permute(3, 2, 0, 1).contiguous()  # (k, k, C, F) -> (F, C, k, k); transposed (k, k, out, in) -> (in, out, k, k)


class Nhwc(nn.Module):
    """A PyTorch layer between axes NHWC."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        if x.ndim < 4:
            return self.inner(x)
        return self.inner(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class Residual(nn.Module):
    """x + a f(x)"""

    def __init__(self, layers, scale):
        super().__init__()
        self.layers, self.scale = nn.Sequential(*layers), scale

    def forward(self, x):
        return x + self.scale * self.layers(x)


class MinibatchStd(nn.Module):
    """As its authors write it, minibatch_stddev_layer, but for the place of the channels."""

    def __init__(self, group_size):
        super().__init__()
        self.group_size = group_size

    def forward(self, x):
        y = x.unflatten(0, (min(self.group_size or len(x), len(x)), -1))
        y = ((y - y.mean(0, keepdim=True)).square().mean(0) + 1e-8).sqrt().flatten(1).mean(1)
        y = y.repeat(len(x) // len(y)).reshape(-1, *[1] * (x.ndim - 1)).expand(*x.shape[:-1], 1)
        return torch.cat([x, y], -1)


def twin_layer(layer):
    """The PyTorch layer for one of minigan's, without its values."""
    kind, o, shape = layer.name, layer.options, layer.input_shape
    if kind == "Residual":
        return Residual(map(twin_layer, layer.layers), o["scale"])
    if kind == "MinibatchStd":
        return MinibatchStd(o["group_size"])
    if kind == "SpectralNorm":
        module = twin_layer(layer.linear)
        nn.utils.parametrizations.spectral_norm(inner_of(module), n_power_iterations=o["iterations"], eps=o["eps"])
        return module
    if kind == "Dense":
        return nn.Linear(shape[0], o["units"], bias=o["bias"])
    if kind in ("Conv2d", "ConvTranspose2d"):
        options = {name: value for name, value in o.items() if name != "channels"}
        return Nhwc(getattr(nn, kind)(shape[2], o["channels"], **options))
    if kind == "BatchNorm":
        return Nhwc((nn.BatchNorm1d if len(shape) == 1 else nn.BatchNorm2d)(shape[-1], eps=o["eps"], momentum=o["momentum"]))
    if kind == "LayerNorm":
        return nn.LayerNorm(shape[-o["axes"] :], eps=o["eps"])
    if kind == "Reshape":
        return nn.Sequential(nn.Flatten(), nn.Unflatten(1, o["shape"]))
    if kind == "Upsample":
        return Nhwc(nn.Upsample(scale_factor=o["factor"]))
    if kind == "Softmax":
        return nn.Softmax(dim=-1)
    plain = {"ReLU": nn.ReLU, "Tanh": nn.Tanh, "Sigmoid": nn.Sigmoid, "Softplus": nn.Softplus, "Flatten": nn.Flatten}
    return nn.LeakyReLU(o["slope"]) if kind == "LeakyReLU" else plain[kind]()


def inner_of(module):
    return module.inner if isinstance(module, Nhwc) else module


def vector_to_torch(value):
    """SpectralNorm's u or v, of a shape that broadcasts against the weight: PyTorch has the channels before the places."""
    value = np.array(value)
    return torch.tensor(np.moveaxis(value, (0, 1), (-2, -1)).ravel() if value.ndim == 4 else value.ravel())


def take_values(layer, module, names, prefix):
    """Give a PyTorch layer the values of minigan's, and note its parameters under minigan's names."""
    if layer.name == "Residual":
        for number, (within, peer) in enumerate(zip(layer.layers, module.layers, strict=True)):
            take_values(within, peer, names, f"{prefix}{number}.")
        return
    inner, host = inner_of(module), layer.backend.to_numpy
    if layer.name == "SpectralNorm":
        power = inner.parametrizations.weight[0]
        power._u.data, power._v.data = (vector_to_torch(host(value)) for value in (layer.u, layer.v))
    for name, value in layer.params.items():
        target = inner.parametrizations.weight.original if (layer.name, name) == ("SpectralNorm", "weight") else None
        target = getattr(inner, NAMES[name]) if target is None else target
        target.data = to_torch(name, layer, host(value))
        names[prefix + name] = (layer, name, target)


def twin(net):
    """A float64 PyTorch network with the same layers and values, and a map from minigan's parameter names to its own."""
    layers, names = nn.Sequential(*map(twin_layer, net.layers)).double(), {}
    for layer, module in zip(net.layers, layers, strict=True):
        take_values(layer, module, names, f"{layer.index}.")
    return layers, names


def compare(ours, names, rtol, atol, gradients=False):
    for key, (layer, name, target) in names.items():
        mine = to_torch(name, layer, (ours.grads if gradients else ours.params)[key]).numpy()
        theirs = (target.grad if gradients else target).detach().numpy()
        np.testing.assert_allclose(mine, theirs, rtol=rtol, atol=atol, err_msg=key)


def layer_agrees(layer, shape, batch=3, backend="numpy"):
    net = mg.Sequential([layer], shape, backend=backend, dtype="float64")
    rng = np.random.default_rng(0)
    net.flat_params[...] = rng.standard_normal(net.num_params)
    peer, names = twin(net)
    x = rng.standard_normal((batch, *shape))
    x_torch = torch.tensor(x, requires_grad=True)
    y, caches = net.forward(x, train=True)
    y_torch = peer(x_torch)
    np.testing.assert_allclose(y, y_torch.detach().numpy(), rtol=1e-9, atol=1e-10)
    dy = rng.standard_normal(y.shape)
    dx = net.backward(dy, caches, grads=net.grads)
    y_torch.backward(torch.tensor(dy))
    np.testing.assert_allclose(dx, x_torch.grad.numpy(), rtol=1e-8, atol=1e-10)
    compare(net, names, 1e-8, 1e-10, gradients=True)
    if layer.name == "SpectralNorm":
        power = inner_of(peer[0]).parametrizations.weight[0]
        np.testing.assert_allclose(vector_to_torch(net.state["0.u"]), power._u, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(vector_to_torch(net.state["0.v"]), power._v, rtol=1e-10, atol=1e-12)
        y, y_torch = net.forward(x)[0], peer.eval()(torch.tensor(x))
        np.testing.assert_allclose(y, y_torch.detach().numpy(), rtol=1e-9, atol=1e-10, err_msg="at inference")
    if layer.name == "BatchNorm":
        inner = peer[0].inner
        np.testing.assert_allclose(net.state["0.running_mean"], inner.running_mean.numpy(), rtol=1e-12)
        np.testing.assert_allclose(net.state["0.running_var"], inner.running_var.numpy(), rtol=1e-12)


@pytest.mark.parametrize(
    ("make", "shape"),
    [case for case in layer_table() if not case[0]().random],
    ids=lambda v: repr(v()) if callable(v) else str(v),
)
def test_layers(make, shape):
    layer_agrees(make(), shape)


@given(convolutions(), st.integers(1, 3))
def test_convolutions_of_drawn_geometries(case, batch):
    make, shape = case
    layer_agrees(make(), shape, batch)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (lambda: mg.Adam(0.01, (0.5, 0.999), 1e-8), lambda p: torch.optim.Adam(p, 0.01, (0.5, 0.999), 1e-8)),
        (
            lambda: mg.Adam(0.01, (0.9, 0.99), 1e-6, weight_decay=0.1),
            lambda p: torch.optim.AdamW(p, 0.01, (0.9, 0.99), 1e-6, weight_decay=0.1),
        ),
        (lambda: mg.SGD(0.1), lambda p: torch.optim.SGD(p, 0.1)),
        (lambda: mg.SGD(0.1, 0.9), lambda p: torch.optim.SGD(p, 0.1, momentum=0.9)),
        (lambda: mg.SGD(0.1, 0.9, nesterov=True), lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, nesterov=True)),
    ],
    ids=["adam", "adamw", "sgd", "momentum", "nesterov"],
)
def test_optimisers(ours, theirs):
    net = mg.Sequential([mg.Dense(3)], (4,), backend="numpy", dtype="float64")
    weights = torch.tensor(net.flat_params.copy(), requires_grad=True)
    optimizer, peer = ours(), theirs([weights])
    for gradient in np.random.default_rng(0).standard_normal((10, net.num_params)):
        net.flat_grads[...] = gradient
        weights.grad = torch.tensor(gradient)
        optimizer.update(net)
        peer.step()
    np.testing.assert_allclose(net.flat_params, weights.detach().numpy(), rtol=1e-12)


def test_losses():
    rng = np.random.default_rng(0)
    s, t, labels = rng.standard_normal((6, 4)), rng.random((6, 4)), rng.integers(0, 4, 6)
    for loss, gradient, formula in [
        (*mg.losses.bce_with_logits(s, t), lambda x: F.binary_cross_entropy_with_logits(x, torch.tensor(t))),
        (*mg.losses.mse(s, t), lambda x: F.mse_loss(x, torch.tensor(t))),
        (*mg.losses.softmax_cross_entropy(s, labels), lambda x: F.cross_entropy(x, torch.tensor(labels))),
    ]:
        x = torch.tensor(s, requires_grad=True)
        value = formula(x)
        value.backward()
        assert float(loss) == pytest.approx(value.item(), rel=1e-12)
        np.testing.assert_allclose(gradient, x.grad.numpy(), rtol=1e-10)


def torch_step(g, d, opt_g, opt_d, real, z):
    """One round as a user of PyTorch writes it (the DCGAN tutorial's order, BCE from logits)."""
    bce = F.binary_cross_entropy_with_logits
    ones, zeros = torch.ones(len(real), 1, dtype=torch.float64), torch.zeros(len(real), 1, dtype=torch.float64)
    fake = g(z)
    opt_d.zero_grad()
    loss_d = bce(d(real), ones) + bce(d(fake.detach()), zeros)
    loss_d.backward()
    opt_d.step()
    opt_g.zero_grad()
    loss_g = bce(d(fake), ones)
    loss_g.backward()
    opt_g.step()
    return loss_d.item(), loss_g.item()


def torch_penalty(penalty, d, real, fake, drawn=None):
    """The penalty as a user of PyTorch writes it, by a double backward pass through a graph; drawn: its random numbers."""
    kind = type(penalty).__name__
    if kind == "GradientPenalty":
        x = fake + drawn[0] * (real - fake)
    elif kind == "DRAGAN":
        x = real + drawn[0] * 0.5 * real.std(unbiased=False) * drawn[1]
    else:
        x = real if kind == "R1" else fake
    x = x.detach().requires_grad_()
    (g,) = torch.autograd.grad(d(x).sum(), x, create_graph=True)
    squares = g.flatten(1).square().sum(1)
    return penalty.weight * (squares.mean() / 2 if kind in ("R1", "R2") else ((squares.sqrt() - 1) ** 2).mean())


def repeated(stream, backend, shapes):
    """The numbers from U[0, 1) that a stream is about to draw, which stays where it is."""
    twin = backend.generator(0)
    twin.state = stream.state
    return [torch.tensor(backend.to_numpy(twin.uniform(shape, np.float64))) for shape in shapes]


PIECEWISE_LINEAR = [
    *(lambda: mg.Conv2d(4, 4, 2, 1), lambda: mg.LeakyReLU(0.2), lambda: mg.Conv2d(6, 3, padding=1), mg.ReLU, mg.Flatten),
    lambda: mg.Dense(1),
]
CURVED = [
    *(lambda: mg.Conv2d(4, 4, 2, 1), mg.Tanh, mg.BatchNorm, lambda: mg.ConvTranspose2d(3, 4, 2, 1), mg.Softplus),
    *(lambda: mg.LayerNorm(axes=3), lambda: mg.Upsample(2), lambda: mg.LeakyReLU(0.2), mg.Flatten, lambda: mg.Dense(5)),
    *(mg.Sigmoid, mg.Softmax, lambda: mg.Dense(1)),
]


WITH_TRICKS = [
    lambda: mg.SpectralNorm(mg.Conv2d(4, 4, 2, 1)),
    lambda: mg.Residual([mg.LeakyReLU(0.2), mg.SpectralNorm(mg.Conv2d(6, 3, padding=1)), mg.Softplus(), mg.Conv2d(4, 1)], 0.5),
    lambda: mg.Residual([mg.Residual([mg.BatchNorm(), mg.Tanh()]), mg.SpectralNorm(mg.ConvTranspose2d(4, 3, 1, 1))]),
    *(mg.MinibatchStd, mg.Tanh, mg.Flatten, lambda: mg.SpectralNorm(mg.Dense(1))),
]


@pytest.mark.slow_on_stand_in
@pytest.mark.parametrize(
    "layers",
    [PIECEWISE_LINEAR, pytest.param(CURVED, marks=pytest.mark.slow), WITH_TRICKS],
    ids=["piecewise linear", "curved", "with tricks"],
)
@pytest.mark.parametrize("kind", [*mg.losses.PENALTIES.values(), None], ids=lambda kind: kind.__name__ if kind else "R1 and R2")
def test_ten_steps_of_penalised_games(layers, kind, backend):
    """From the same weights, data and noise, all parameters within 1e-9 of those that PyTorch's double backward leads to."""
    penalties = [kind(3.0)] if kind else [mg.losses.R1(2.0), mg.losses.R2(1.0)]
    shape, rng = (8, 8, 2), np.random.default_rng(0)
    g = mg.Sequential([mg.Dense(128), mg.Tanh(), mg.Reshape(shape)], (6,), backend, "float64", seed=1)
    d = mg.Sequential([make() for make in layers], shape, backend, "float64", seed=2)
    gan = mg.GAN(g, d, penalties=penalties, lr=1e-3)
    on_device, host = gan.backend.asarray, gan.backend.to_numpy
    (g, names_g), (d, names_d) = twin(g), twin(d)
    opt_g, opt_d = (torch.optim.Adam(net.parameters(), 1e-3, (0.5, 0.999), 1e-8) for net in (g, d))
    bce = F.binary_cross_entropy_with_logits
    for _ in range(10):
        real, z = rng.uniform(-1, 1, (5, *shape)), rng.standard_normal((5, 6))
        streams = [penalty.noise for penalty in gan.penalties if isinstance(penalty, mg.losses.GradientPenalty)]
        drawn = [repeated(stream, gan.backend, [(5, 1, 1, 1), (5, *shape)]) for stream in streams]
        stats = gan.step(on_device(real), on_device(z))
        real, fake = torch.tensor(real), g(torch.tensor(z))
        opt_d.zero_grad()
        ones, zeros = torch.ones(5, 1, dtype=torch.float64), torch.zeros(5, 1, dtype=torch.float64)
        loss_d = bce(d(real), ones) + bce(d(fake.detach()), zeros)
        penalty = sum(torch_penalty(penalty, d, real, fake, *drawn) for penalty in gan.penalties)
        (loss_d + penalty).backward()
        opt_d.step()
        opt_g.zero_grad()
        loss_g = bce(d(fake), ones)
        loss_g.backward()
        opt_g.step()
        expected = ((loss_d + penalty).item(), loss_g.item(), penalty.item())
        assert (float(stats["loss_d"]), float(stats["loss_g"]), float(stats["penalty"])) == pytest.approx(expected, rel=1e-9)
    for net, names in ((gan.generator, names_g), (gan.discriminator, names_d)):
        for key, (layer, name, target) in names.items():
            mine, theirs = to_torch(name, layer, host(net.params[key])).numpy(), target.detach().numpy()
            assert np.abs(mine - theirs).max() <= 1e-9 * np.abs(theirs).max(), key


@pytest.mark.parametrize("penalties", [[mg.losses.R1(0.5), mg.losses.R2(0.3)], [mg.losses.GradientPenalty(10.0)]], ids=str)
def test_five_steps_of_the_text_game(penalties, backend):
    """From the same weights, lines and noise, by a double backward pass: the relativistic loss with R1 and R2, and WGAN-GP."""
    shape, rng, is_wgan = (6, 5), np.random.default_rng(0), len(penalties) == 1
    objective = mg.losses.Wasserstein() if is_wgan else mg.losses.Relativistic()
    nets = mg.models.text(shape, 4, width=6, backend=backend, dtype="float64", seed=1)
    gan = mg.GAN(*nets, objective=objective, penalties=penalties, lr=1e-3, betas=(0.5, 0.9))
    on_device, host = gan.backend.asarray, gan.backend.to_numpy
    (g, names_g), (d, names_d) = twin(nets[0]), twin(nets[1])
    opt_g, opt_d = (torch.optim.Adam(net.parameters(), 1e-3, (0.5, 0.9), 1e-8) for net in (g, d))
    for _ in range(5):
        real, z = np.eye(5)[rng.integers(0, 5, (4, 6))], rng.standard_normal((4, 4))
        drawn = [repeated(p.noise, gan.backend, [(4, 1, 1)]) for p in gan.penalties if isinstance(p, mg.losses.GradientPenalty)]
        stats = gan.step(on_device(real), on_device(z))
        real, fake = torch.tensor(real), g(torch.tensor(z))
        opt_d.zero_grad()
        gap = d(real) - d(fake.detach())
        penalty = sum(torch_penalty(penalty, d, real, fake, *drawn) for penalty in gan.penalties)
        loss_d = penalty + (-gap.mean() if is_wgan else F.softplus(-gap).mean())
        loss_d.backward()
        opt_d.step()
        opt_g.zero_grad()
        loss_g = -d(fake).mean() if is_wgan else F.softplus(d(real) - d(fake)).mean()
        loss_g.backward()
        opt_g.step()
        expected = (loss_d.item(), loss_g.item(), penalty.item())
        assert (float(stats["loss_d"]), float(stats["loss_g"]), float(stats["penalty"])) == pytest.approx(expected, rel=1e-9)
    for net, names in ((gan.generator, names_g), (gan.discriminator, names_d)):
        for key, (layer, name, target) in names.items():
            mine, theirs = to_torch(name, layer, host(net.params[key])).numpy(), target.detach().numpy()
            # Biases that move all scores alike feel nothing of a comparison, and take steps of rounding alone.
            assert np.abs(mine - theirs).max() <= 1e-9 * max(np.abs(theirs).max(), 0.1), key


@pytest.mark.slow_on_stand_in
@pytest.mark.parametrize("name", ["mlp", "dcgan"])
def test_ten_steps_of_the_reference_games(name, backend):
    """From the same weights, data and noise, all parameters and running statistics within 1e-9 of PyTorch's."""
    batch = 32 if name == "mlp" else 8
    gan = mg.GAN(*mg.models.build(name, backend=backend, dtype="float64"))
    on_device, host = gan.backend.asarray, gan.backend.to_numpy
    (g, names_g), (d, names_d) = twin(gan.generator), twin(gan.discriminator)
    adam = lambda net: torch.optim.Adam(net.parameters(), 2e-4, (0.5, 0.999), 1e-8)  # noqa: E731
    opt_g, opt_d = adam(g), adam(d)
    rng = np.random.default_rng(0)
    for _ in range(10):
        real, z = rng.uniform(-1, 1, (batch, 28, 28, 1)), rng.standard_normal((batch, 100))
        stats = gan.step(on_device(real), on_device(z))
        losses = torch_step(g, d, opt_g, opt_d, torch.tensor(real), torch.tensor(z))
        assert (float(stats["loss_d"]), float(stats["loss_g"])) == pytest.approx(losses, rel=1e-9)
    for net, names, peer in ((gan.generator, names_g, g), (gan.discriminator, names_d, d)):
        for key, (layer, kind, target) in names.items():
            mine, theirs = to_torch(kind, layer, host(net.params[key])).numpy(), target.detach().numpy()
            assert np.abs(mine - theirs).max() <= 1e-9 * np.abs(theirs).max(), key
        for index, module in enumerate(peer):
            if f"{index}.running_var" in net.state:
                np.testing.assert_allclose(
                    host(net.state[f"{index}.running_mean"]), module.inner.running_mean.numpy(), rtol=1e-8, atol=1e-10
                )
                np.testing.assert_allclose(host(net.state[f"{index}.running_var"]), module.inner.running_var.numpy(), rtol=1e-9)
