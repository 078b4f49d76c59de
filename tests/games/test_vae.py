"""The VAE: what a step does, beside differences and PyTorch, codes and what they stand for, its bound, state, mistakes."""

import copy
import inspect
import math

import numpy as np
import pytest
from planted_faults import compiled, exchanges, faults, is_caught
from small_games import IMAGE, no_complaint, play, same

import minigan as mg
from minigan.errors import DataError, ModelError, OptionError, ShapeError
from minigan.games import vae as module
from minigan.games.vae import latent_grid

BUILT = {"mlp": {"hidden": (6, 5)}, "conv": {"width": 2}}
LIKELIHOODS = {"mlp": mg.losses.Bernoulli(), "conv": mg.losses.Gaussian(0.3)}


def game(backend="textbook", dtype="float64", name="mlp", latent=3, seed=0, shape=IMAGE, **options):
    pair = mg.models.build(name, game="vae", image_shape=shape, latent_dim=latent, backend=backend, dtype=dtype, **BUILT[name])
    return mg.VAE(*pair, **{"likelihood": LIKELIHOODS[name], "seed": seed, **options})


def batch(vae, n=5):
    x = np.random.default_rng(0).uniform(-1, 1, (n, *vae.sample_shape))
    return vae.backend.asarray(x, vae.dtype)


def rising(step):
    return min(1.0, (step + 1) / 4)


# -- a step --------------------------------------------------------------------------------------------------------------


def test_a_step_is_the_papers(backend):
    """The same step written out, in the order of the docstring."""
    ours, twin = (game(backend, kl_weight=0.5) for _ in range(2))
    x, noise = batch(ours), ours.noise(5)
    stats = ours.step(x, noise)
    e, d, be = twin.encoder, twin.decoder, twin.backend
    h, cache_e = e.forward(x, train=True)
    mean, log_var = h[:, :3], h[:, 3:]
    sigma = be.xp.exp(log_var / 2)
    y, cache_d = d.forward(mean + sigma * noise, train=True)
    t = (x + 1) / 2
    p = 1 / (1 + be.xp.exp(-y))
    nll = -(t * be.xp.log(p) + (1 - t) * be.xp.log(1 - p)).sum() / 5
    kl = (sigma**2 + mean**2 - 1 - log_var).sum() / 2 / 5
    dz = d.backward((p - t) / 5, cache_d, grads=d.grads)
    dmean, dlog_var = dz + 0.5 * mean / 5, dz * noise * sigma / 2 + 0.5 * (sigma**2 - 1) / 2 / 5
    e.backward(be.xp.concatenate([dmean, dlog_var], axis=1), cache_e, grads=e.grads)
    for net in (e, d):
        mg.Adam(1e-3, (0.9, 0.999)).update(net)
    expected = (float(nll + 0.5 * kl), float(nll), float(kl))
    assert tuple(float(stats[name]) for name in ours.stats) == pytest.approx(expected, rel=1e-12)
    for name, net in twin.networks.items():
        np.testing.assert_allclose(
            be.to_numpy(ours.networks[name].flat_params), be.to_numpy(net.flat_params), rtol=1e-9, atol=1e-12
        )


@pytest.mark.parametrize("name", BUILT)
def test_the_whole_game_by_differences(name, backend):
    vae = game(backend, name=name, kl_weight=0.7)
    mode = "full" if backend == "numpy" and name == "mlp" else "projection"
    assert mg.check_game(vae, vae.backend.to_numpy(batch(vae, 3)), mode=mode, max_entries=3).ok


def test_every_fault_in_the_step_is_caught(monkeypatch):
    check = lambda: mg.check_game(game(kl_weight=0.7), np.full((2, *IMAGE), 0.3), mode="projection", max_entries=2)  # noqa: E731
    assert check().ok
    source = inspect.unwrap(mg.VAE.compute)
    planted = [*faults(source), *exchanges(source)]
    assert len(planted) >= 9
    for description, tree in planted:
        with monkeypatch.context() as patch:
            patch.setattr(mg.VAE, "compute", compiled(tree, module))
            assert is_caught(check), description


def test_stats_are_0d_arrays_of_the_device(backend):
    vae = game(backend, "float32")
    stats = vae.step(batch(vae))
    assert tuple(stats) == vae.stats == ("loss", "reconstruction", "kl")
    for value in stats.values():
        assert vae.backend.owns(value)
        assert value.shape == ()
        assert value.dtype == np.float32
    assert {str(a.dtype) for key, a in vae.state_dict().items() if not key.endswith(".steps")} == {"float32"}


@pytest.mark.parametrize("name", BUILT)
def test_captured_it_is_the_same_step(name, fast):
    """Over epochs, with a weight that changes from step to step."""
    be = mg.get_backend(fast)
    make = lambda be: game(be, "float32", name, kl_weight=rising, lr=mg.optim.linear(1e-3, 9))  # noqa: E731
    plain = play(be, make, 8, captured=False)
    assert len({stats["loss"] for stats in plain[0]}) == 8
    assert same(play(be, make, 8, captured=True, log=no_complaint), plain)


def test_another_likelihood_is_seen_by_a_captured_step():
    be = mg.get_backend("numpy")
    vae = game(be, "float32")
    batches = mg.Batches(np.zeros((6, *IMAGE), np.uint8), 6, be)
    step = mg.capture(vae, batches, no_complaint)
    for _ in range(5):
        before = step()
    vae.likelihood = mg.losses.Gaussian(0.1).bind(be)
    after = step()
    assert float(after["reconstruction"]) > 3 * float(before["reconstruction"])


# -- beside PyTorch ------------------------------------------------------------------------------------------------------


def torch_forward(torch, net, weights, x):
    """What a network's layers do, with weights of minigan's layout."""
    f = torch.nn.functional
    for layer in net.layers:
        w, b = (weights.get(f"{layer.index}.{key}") for key in ("weight", "bias"))
        strided = {key: layer.options.get(key, usual) for key, usual in (("stride", 1), ("padding", 0))}
        nchw = x.movedim(-1, 1) if x.ndim == 4 else x
        if layer.name == "Dense":
            x = x @ w + b
        elif layer.name == "Conv2d":
            x = f.conv2d(nchw, w.permute(3, 2, 0, 1), b, **strided).movedim(1, -1)
        elif layer.name == "ConvTranspose2d":
            x = f.conv_transpose2d(nchw, w.permute(3, 2, 0, 1), b, **strided).movedim(1, -1)
        elif layer.name in ("Flatten", "Reshape"):
            x = x.reshape(len(x), *layer.output_shape)
        else:
            x = getattr(torch, layer.name.lower())(x)
    return x


@pytest.mark.slow_on_stand_in
@pytest.mark.parametrize("name", BUILT)
def test_ten_steps_beside_pytorch(name, backend):
    """From the same weights, data and noise, all parameters within 1e-9: 784-400-20 as it is trained, and a small conv."""
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    sizes = {"latent_dim": 20} if name == "mlp" else {"latent_dim": 4, "width": 4, "bounded": True}
    shape, likelihood = (28, 28, 1), LIKELIHOODS[name]
    vae = mg.VAE(
        *mg.models.build(name, game="vae", image_shape=shape, backend=backend, dtype="float64", **sizes), likelihood=likelihood
    )
    be, latent = vae.backend, sizes["latent_dim"]
    twins = {
        key: {n: torch.tensor(be.to_numpy(a).copy(), requires_grad=True) for n, a in net.params.items()}
        for key, net in vae.networks.items()
    }
    adam = torch.optim.Adam([w for weights in twins.values() for w in weights.values()], 1e-3, (0.9, 0.999), 1e-8)
    rng = np.random.default_rng(0)
    for _ in range(10):
        x, noise = rng.uniform(-1, 1, (16, *shape)), rng.standard_normal((16, latent))
        stats = vae.step(be.asarray(x), be.asarray(noise))
        x, noise = torch.tensor(x), torch.tensor(noise)
        mean, log_var = torch_forward(torch, vae.encoder, twins["encoder"], x).chunk(2, dim=1)
        y = torch_forward(torch, vae.decoder, twins["decoder"], mean + torch.exp(log_var / 2) * noise)
        if name == "mlp":
            nll = torch.nn.functional.binary_cross_entropy_with_logits(y, (x + 1) / 2, reduction="sum") / 16
        else:
            nll = -torch.distributions.Normal(y, 0.3).log_prob(x).sum() / 16
        kl = -0.5 * (1 + log_var - mean**2 - log_var.exp()).sum() / 16
        adam.zero_grad()
        (nll + kl).backward()
        adam.step()
        expected = ((nll + kl).item(), nll.item(), kl.item())
        assert tuple(float(stats[key]) for key in vae.stats) == pytest.approx(expected, rel=1e-9)
    for key, net in vae.networks.items():
        for n, target in twins[key].items():
            mine, theirs = be.to_numpy(net.params[n]), target.detach().numpy()
            assert np.abs(mine - theirs).max() <= 1e-9 * np.abs(theirs).max(), (key, n)


# -- codes, samples, the bound -------------------------------------------------------------------------------------------


def test_samples_and_codes(backend):
    vae = game(backend, "float32")
    vae.step(batch(vae))
    images = vae.sample(5, seed=1)
    assert type(images) is np.ndarray
    assert images.shape == (5, *IMAGE)
    assert np.abs(images).max() < 1
    np.testing.assert_array_equal(images, vae.sample(5, seed=1))
    logits, _ = vae.decoder.forward(vae.backend.asarray(vae.latent(5, 1)))
    np.testing.assert_allclose(images, np.tanh(vae.backend.to_numpy(logits) / 2), atol=1e-6)  # 2 σ(y) − 1
    x = vae.backend.to_numpy(batch(vae))
    mean, log_var = vae.encode(x)
    assert mean.shape == log_var.shape == (5, 3)
    np.testing.assert_array_equal(vae.reconstruct(x), vae.decode(mean))
    assert [part.shape for part in vae.encode(x[:0])] == [(0, 3), (0, 3)]
    assert vae.reconstruct(x[:0]).shape == (0, *IMAGE)


def test_points_have_a_gaussian_likelihood(backend):
    vae = game(backend, shape=(2,), likelihood=mg.losses.Gaussian(0.1))
    x = batch(vae)
    assert np.isfinite(float(vae.step(x)["loss"]))
    y, _ = vae.decoder.forward(vae.backend.asarray(vae.latent(4)))
    np.testing.assert_allclose(vae.sample(4), vae.backend.to_numpy(y))


def test_the_bound_is_log_p_where_the_posterior_is_exact():
    """x = w z + b + σ n has p(x) = N(b, w² + σ²), and p(z|x) is a Gaussian that one layer can put out."""
    w, b, sigma, x = 1.5, 0.3, 0.7, 0.9
    var = 1 / (1 + w**2 / sigma**2)
    encoder = mg.Sequential([mg.Dense(2)], (1,), "textbook", "float64")
    decoder = mg.Sequential([mg.Dense(1)], (1,), "textbook", "float64")
    decoder.flat_params[...] = (w, b)
    encoder.flat_params[...] = (var * w / sigma**2, 0, -b * var * w / sigma**2, math.log(var))
    vae = mg.VAE(encoder, decoder, likelihood=mg.losses.Gaussian(sigma), kl_weight=5.0)
    exact = -((x - b) ** 2) / (2 * (w**2 + sigma**2)) - math.log(2 * math.pi * (w**2 + sigma**2)) / 2
    draws = np.full((20_000, 1), x)
    found = vae.bound(draws)
    assert found == pytest.approx(exact, abs=0.03)
    assert found == vae.bound(draws) != vae.bound(draws, seed=1)
    encoder.flat_params[2] += 0.5
    assert vae.bound(draws) < exact - 0.1, "any other posterior gives less"


def test_the_bound_rises(backend):
    vae = game(backend, "float32", lr=1e-2)
    x = batch(vae)
    before = vae.bound(vae.backend.to_numpy(x))
    for _ in range(20):
        vae.step(x)
    assert vae.bound(vae.backend.to_numpy(x)) > before + 2


def test_pictures():
    vae = game(latent=2)
    x = batch(vae, 8)
    found = vae.pictures(x)
    assert set(found) == {"reconstructions", "latent_map"}
    pairs = found["reconstructions"].samples
    np.testing.assert_array_equal(pairs[::2], x)
    np.testing.assert_array_equal(pairs[1::2], vae.reconstruct(x))
    assert found["latent_map"].samples.shape == (400, *IMAGE)
    assert found["latent_map"].columns == 20
    assert set(game(latent=3).pictures(x)) == {"reconstructions"}
    grid = latent_grid(4)
    assert grid[0] == pytest.approx([-1.1503, 1.1503], abs=1e-4)  # Φ⁻¹(1/8), and its mirror: upwards is up
    assert grid[1] == pytest.approx([-0.3186, 1.1503], abs=1e-4)


# -- state ---------------------------------------------------------------------------------------------------------------


def test_state_continues_exactly(backend):
    first, second = game(backend, kl_weight=rising), game(backend, seed=1, kl_weight=rising)
    x = batch(first)
    for _ in range(2):
        first.step(x)
    second.load_state_dict(first.state_dict())
    second.random_state = first.random_state
    third = copy.deepcopy(first)
    stats = [[float(each.step(x)["loss"]) for _ in range(2)] for each in (first, second, third)]
    assert stats[0] == stats[1] == stats[2]
    for name, value in first.state_dict().items():
        np.testing.assert_array_equal(value, second.state_dict()[name])


def test_one_seed_decides_everything(backend):
    stats = []
    for seed in (3, 3, 4):
        vae = game(backend, seed=seed)
        stats.append([float(vae.step(batch(vae))["loss"]) for _ in range(2)])
    assert stats[0] == stats[1] != stats[2]


# -- mistakes ------------------------------------------------------------------------------------------------------------


def nets(latent=3, made=IMAGE, doubled=2, **options):
    encoder = mg.Sequential([mg.Flatten(), mg.Dense(doubled * latent)], IMAGE, "textbook", **options)
    return encoder, mg.Sequential([mg.Dense(math.prod(made)), mg.Reshape(made)], (latent,), "textbook")


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: mg.VAE(*nets(doubled=1)), ModelError, r"must end in μ and log σ², shape \(6,\)"),
        (lambda: mg.VAE(*nets(made=(4, 4, 1))), ModelError, r"makes \(4, 4, 1\), and the encoder takes \(8, 8, 1\)"),
        (lambda: mg.VAE(*nets(dtype="float64")), ModelError, "must share backend and dtype"),
        (lambda: mg.VAE(nets()[0], nets()[0]), ModelError, r"the decoder must take codes, shape \(latent,\)"),
        (lambda: mg.VAE(nets()[0], "nets"), OptionError, "the decoder is 'nets'"),
        (lambda: game(likelihood="gausian"), ModelError, "likelihood is 'gausian': expected 'bernoulli', or an object"),
        (lambda: game(likelihood="gaussian"), ModelError, r"as losses.Gaussian\(0.1\)"),
        (lambda: game(likelihood=3), OptionError, "likelihood is 3"),
        (lambda: game(kl_weight=-1), OptionError, "kl_weight is -1: expected a number from 0"),
        (lambda: game(kl_weight=lambda step: math.nan).step(batch(game())), OptionError, "kl_weight is nan"),
        (lambda: game(optimizer_e=0.1), OptionError, "optimizer_e is 0.1"),
        (lambda: game().step(np.zeros((2, 64))), ShapeError, r"x has shape \(2, 64\)"),
        (lambda: game().step(batch(game()), np.zeros((2, 3))), ShapeError, "noise has 2 rows, x has 5"),
        (lambda: game().step(batch(game()), np.full((5, 3), np.nan)), OptionError, "noise holds NaN"),
        (lambda: game().step(2 * batch(game())), DataError, r"Bernoulli likelihoods are of values in \[-1, 1\] alone"),
        (lambda: game().encode(np.zeros((2, 4))), ShapeError, r"x is float64 \(2, 4\): expected float64 \(N, 8, 8, 1\)"),
        (lambda: game().bound(np.zeros((0, *IMAGE))), ShapeError, "x holds no samples"),
        (lambda: mg.models.vae_conv((30, 28, 1)), ModelError, "30x28: 32x28 would fit"),
        (lambda: mg.models.vae_conv((2,)), ModelError, "take the model mlp"),
        (lambda: mg.models.vae_mlp((2, 2)), ModelError, r"images \(H, W, C\) or points \(K,\), not \(2, 2\)"),
        (lambda: mg.models.build("dcgan", game="vae"), ModelError, "unknown model 'dcgan': choose from mlp, conv"),
    ],
)
def test_mistakes_are_one_line(make, error, words):
    with pytest.raises(error, match=words) as caught:
        make()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) <= 300
