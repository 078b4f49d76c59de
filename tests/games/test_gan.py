"""The game: what a step does and to whom, noise and samples, the moving average, state."""

import numpy as np
import pytest

import minigan as mg
from minigan.errors import CheckpointError, ModelError, OptionError, ShapeError


def game(backend="textbook", dtype="float64", seed=0, **options):
    pair = mg.models.dcgan(image_shape=(8, 8, 1), latent_dim=6, width=4, backend=backend, dtype=dtype, seed=seed)
    return mg.GAN(*pair, seed=seed, **options)


def real_batch(gan, n=6):
    images = np.random.default_rng(0).uniform(-1, 1, (n, *gan.discriminator.input_shape))
    return gan.backend.asarray(images, gan.generator.dtype)


def values(gan, net):
    return gan.backend.to_numpy(net.flat_params).copy()


class Frozen(mg.optim.Optimizer):
    def update(self, net, lr):
        pass


def test_each_step_moves_only_its_own_network(backend):
    for frozen in ("generator", "discriminator"):
        gan = game(backend, **{f"optimizer_{frozen[0]}": Frozen(1.0)})
        before = {name: values(gan, getattr(gan, name)) for name in ("generator", "discriminator")}
        gan.step(real_batch(gan))
        for name in before:
            moved = not np.array_equal(values(gan, getattr(gan, name)), before[name])
            assert moved == (name != frozen)


def test_generator_step_leaves_no_gradient_in_the_discriminator(backend):
    gan = game(backend)
    z = gan.noise(6)
    fake, cache = gan.generator.forward(z, train=True)
    gan.discriminator.flat_grads[...] = 5
    gan.generator_grads(fake, cache)
    assert (gan.backend.to_numpy(gan.discriminator.flat_grads) == 5).all()
    assert float(abs(gan.generator.flat_grads).sum()) > 0


def test_step_is_the_papers_round(backend):
    """The same round written out with the losses' own formulas, in the order of the docstring."""
    gan, twin = game(backend), game(backend)
    real, z = real_batch(gan), gan.noise(6)
    stats = gan.step(real, z)

    g, d = twin.generator, twin.discriminator
    fake, cache = g.forward(z, train=True)
    s_real, cache_real = d.forward(real, train=True)
    s_fake, cache_fake = d.forward(fake, train=True)
    loss_d, ds_real, ds_fake = mg.losses.discriminator_loss(s_real, s_fake)
    d.backward(ds_real, cache_real)
    d.backward(ds_fake, cache_fake)
    mg.Adam(2e-4, (0.5, 0.999)).step(d)
    s_again, cache_again = d.forward(fake, train=True)
    loss_g, ds = mg.losses.generator_loss(s_again)
    g.backward(d.backward(ds, cache_again), cache)
    mg.Adam(2e-4, (0.5, 0.999)).step(g)

    # cuBLAS may take another kernel for a product that is added to zeros; on a CPU it is the same product.
    rounding = 1e-10 if gan.backend.name == "cupy" else 0
    np.testing.assert_allclose(values(gan, gan.generator), values(twin, g), rtol=rounding)
    np.testing.assert_allclose(values(gan, gan.discriminator), values(twin, d), rtol=rounding)
    assert float(stats["loss_d"]) == pytest.approx(float(loss_d), rel=rounding, abs=0)
    assert float(stats["loss_g"]) == pytest.approx(float(loss_g), rel=rounding, abs=0)
    sigma = lambda s: 1 / (1 + np.exp(-gan.backend.to_numpy(s)))  # noqa: E731
    assert float(stats["prob_real"]) == pytest.approx(sigma(s_real).mean())
    assert float(stats["prob_fake"]) == pytest.approx(sigma(s_fake).mean())


def test_stats_are_0d_arrays_of_the_device(backend):
    gan = game(backend, "float32")
    stats = gan.step(real_batch(gan))
    assert list(stats) == ["loss_d", "loss_g", "prob_real", "prob_fake"]
    for value in stats.values():
        assert gan.backend.owns(value)
        assert value.shape == ()
        assert value.dtype == np.float32


def test_everything_stays_in_float32(backend):
    """A float32 game never makes a float64 array, in any layer of any pass."""
    gan = game(backend, "float32", ema=0.9, smoothing=0.1)
    seen = set()
    for net in (gan.generator, gan.discriminator):
        net.watch = lambda layer, what, array: seen.add(str(array.dtype))
    for _ in range(2):
        gan.step(real_batch(gan))
    arrays = gan.state_dict()
    assert seen == {"float32"}
    assert {str(a.dtype) for name, a in arrays.items() if not name.endswith(".steps")} == {"float32"}


def test_discriminator_learns_to_tell(backend):
    """With G frozen, some steps must make D right about nearly all images."""
    gan = game(backend, "float32", optimizer_g=Frozen(1.0), lr=2e-3)
    real = real_batch(gan, 32)
    for _ in range(60):
        stats = gan.step(real)
    assert float(stats["prob_real"]) > 0.9
    assert float(stats["prob_fake"]) < 0.1


def test_generator_learns_to_fool(backend):
    """With D frozen, L_G must fall: G's gradient has the right sign all the way through D."""
    gan = game(backend, "float32", optimizer_d=Frozen(1.0), lr=2e-3)
    real, z = real_batch(gan, 32), gan.noise(32)
    losses = [float(gan.step(real, z)["loss_g"]) for _ in range(40)]
    assert losses[-1] < losses[0] - 0.01
    saturating = game(backend, "float32", optimizer_d=Frozen(1.0), lr=2e-3, saturating=True)
    losses = [float(saturating.step(real, z)["loss_g"]) for _ in range(40)]
    assert losses[-1] < losses[0] - 0.01


def test_one_seed_decides_everything(backend):
    runs = []
    for seed in (3, 3, 4):
        gan = game(backend, "float32", seed=seed, ema=0.99)
        for _ in range(3):
            gan.step(real_batch(gan))
        runs.append(gan.state_dict())
    for name, value in runs[0].items():
        np.testing.assert_array_equal(value, runs[1][name])
    assert not np.array_equal(runs[0]["generator.0.weight"], runs[2]["generator.0.weight"])


def test_samples(backend):
    gan = game(backend, "float32")
    gan.step(real_batch(gan))
    images = gan.sample(5, seed=1)
    assert type(images) is np.ndarray
    assert images.shape == (5, 8, 8, 1)
    assert np.abs(images).max() <= 1
    np.testing.assert_array_equal(images, gan.sample(5, seed=1))
    assert not np.array_equal(images, gan.sample(5, seed=2))
    many = gan.sample(300, seed=1)
    np.testing.assert_allclose(many[:5], images, atol=1e-5)  # no image depends on the others
    assert gan.sample(0).shape == (0, 8, 8, 1)


def test_sampling_does_not_disturb_training(backend):
    runs = []
    for sampling in (False, True):
        gan = game(backend, "float32", ema=0.9)
        for _ in range(3):
            gan.step(real_batch(gan))
            if sampling:
                gan.sample(3)
        runs.append(values(gan, gan.generator))
    np.testing.assert_array_equal(*runs)


def test_moving_average(backend):
    gan = game(backend, ema=0.5)
    average = values(gan, gan.generator)
    mean = gan.backend.to_numpy(gan.generator.state["2.running_mean"]).copy()
    for t in range(1, 12):
        gan.step(real_batch(gan))
        decay = min(0.5, (1 + t) / (10 + t))
        average = decay * average + (1 - decay) * values(gan, gan.generator)
        mean = decay * mean + (1 - decay) * gan.backend.to_numpy(gan.generator.state["2.running_mean"])
    np.testing.assert_allclose(values(gan, gan.average), average, rtol=1e-10)
    np.testing.assert_allclose(gan.backend.to_numpy(gan.average.state["2.running_mean"]), mean, rtol=1e-10)
    z = gan.latent(4)
    expected = gan.average.forward(gan.backend.asarray(z))[0]
    np.testing.assert_array_equal(gan.decode(z), gan.backend.to_numpy(expected))


def test_state_continues_exactly(backend):
    """Saved after two steps and loaded into a game of another seed, the third and fourth step are the same."""

    def dropout_game(seed):
        g = mg.Sequential([mg.Dense(4), mg.BatchNorm(), mg.ReLU(), mg.Dense(3)], (2,), backend, "float32", (seed, 0))
        d = mg.Sequential([mg.Dense(8), mg.Dropout(0.3), mg.LeakyReLU(), mg.Dense(1)], (3,), backend, "float32", (seed, 1))
        return mg.GAN(g, d, ema=0.9, seed=seed)

    first, second = dropout_game(0), dropout_game(1)
    real = real_batch(first)
    for _ in range(2):
        first.step(real)
    second.load_state_dict(first.state_dict())
    second.random_state = first.random_state
    for _ in range(2):
        first.step(real)
        second.step(real)
    for name, value in first.state_dict().items():
        np.testing.assert_array_equal(value, second.state_dict()[name])


def test_load_refuses_another_game():
    gan = game()
    with pytest.raises(CheckpointError, match="average is in only one of the two"):
        gan.load_state_dict(game(ema=0.9).state_dict())
    other = mg.GAN(*mg.models.mlp(image_shape=(8, 8, 1), latent_dim=6, backend="textbook", dtype="float64"))
    with pytest.raises(CheckpointError, match="generator: the state is of another network"):
        gan.load_state_dict(other.state_dict())


def test_errors():
    g, d = mg.models.mlp(image_shape=(4, 4, 1), latent_dim=3, hidden=2, backend="textbook")
    _, d2 = mg.models.mlp(image_shape=(5, 4, 1), latent_dim=3, hidden=2, backend="textbook")
    _, d3 = mg.models.mlp(image_shape=(4, 4, 1), latent_dim=3, hidden=2, backend="textbook", dtype="float64")
    _, d4 = mg.models.mlp(image_shape=(4, 4, 1), latent_dim=3, hidden=2, backend="numpy")
    with pytest.raises(ModelError, match=r"makes \(4, 4, 1\), the discriminator takes \(5, 4, 1\)"):
        mg.GAN(g, d2)
    for other in (d3, d4):
        with pytest.raises(ModelError, match="must share backend and dtype"):
            mg.GAN(g, other)
    with pytest.raises(ModelError, match=r"one logit, shape \(1,\)"):
        mg.GAN(g, mg.Sequential([mg.Flatten()], (4, 4, 1), backend="textbook"))
    with pytest.raises(OptionError, match=r"ema is 1"):
        mg.GAN(g, d, ema=1)
    gan = mg.GAN(g, d)
    with pytest.raises(ShapeError, match=r"x has shape \(2, 16\)"):
        gan.step(np.zeros((2, 16), np.float32))
    with pytest.raises(ShapeError, match="x is float64"):
        gan.step(np.zeros((2, 4, 4, 1)))
    with pytest.raises(ShapeError, match="z has 3 rows, real has 2"):
        gan.step(np.zeros((2, 4, 4, 1), np.float32), np.zeros((3, 3), np.float32))


# -- both passes of D in one ---------------------------------------------------------------------------------------------


def joint_game(middle, dtype="float64"):
    """A game in the plane whose D has these layers in its midst."""
    generator = mg.Sequential([mg.Dense(2)], (3,), "numpy", dtype)
    return mg.GAN(generator, mg.Sequential([mg.Dense(5), *middle, mg.Dense(1)], (2,), "numpy", dtype, 1), smoothing=0.1)


def discriminator_pass(game, monkeypatch, joins, rows=4):
    """(L_D, both logits, ∂L_D/∂θ_D), and the batch sizes of D's passes."""
    rng, sizes = np.random.default_rng(0), []
    monkeypatch.setattr(type(game.backend), "joins", lambda self, values: joins)
    forward = game.discriminator.forward
    monkeypatch.setattr(game.discriminator, "forward", lambda x, train: sizes.append(len(x)) or forward(x, train))
    real, fake = rng.standard_normal((2, rows, 2)).astype(game.discriminator.dtype)
    found = game.discriminator_grads(real, fake)
    return [*found, game.discriminator.flat_grads.copy()], sizes


@pytest.mark.parametrize("middle", [lambda: [mg.ReLU()], lambda: [mg.LayerNorm(), mg.Dense(4), mg.Tanh()]])
@pytest.mark.parametrize("rows", [1, 4])
def test_both_passes_of_the_discriminator_in_one(monkeypatch, middle, rows):
    apart, sizes = discriminator_pass(joint_game(middle()), monkeypatch, joins=False, rows=rows)
    assert sizes == [rows, rows]
    together, sizes = discriminator_pass(joint_game(middle()), monkeypatch, joins=True, rows=rows)
    assert sizes == [2 * rows]
    for ours, expected in zip(together, apart, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-12, atol=1e-14)


class Centred(mg.Tanh):
    """A layer of one's own: who knows what it does with a batch."""


@pytest.mark.parametrize("middle", [mg.BatchNorm, lambda: mg.Dropout(0.5), Centred])
def test_passes_that_must_not_be_joined_are_not(monkeypatch, middle):
    assert discriminator_pass(joint_game([middle()]), monkeypatch, joins=True)[1] == [4, 4]


def test_a_watched_discriminator_shows_both_passes(monkeypatch):
    game = joint_game([])
    game.discriminator.watch = lambda layer, what, array: None
    assert discriminator_pass(game, monkeypatch, joins=True)[1] == [4, 4]


@pytest.mark.parametrize("fault", ["order", "half"])
def test_planted_faults_in_the_joint_pass_are_seen(monkeypatch, fault):
    apart, _ = discriminator_pass(joint_game([mg.ReLU()]), monkeypatch, joins=False)
    join = type(joint_game([]).backend).join
    wrong = {"order": lambda self, a, b: join(self, b, a), "half": lambda self, a, b: join(self, a, a)}[fault]
    monkeypatch.setattr(type(joint_game([]).backend), "join", wrong)
    together, _ = discriminator_pass(joint_game([mg.ReLU()]), monkeypatch, joins=True)
    assert not np.allclose(together[0], apart[0], rtol=1e-6)


@pytest.mark.parametrize("real", [np.zeros((4, 3)), np.zeros((4, 2), "f4"), [[0.0, 0.0]] * 4])
def test_a_batch_that_does_not_fit_is_refused_before_the_passes_are_joined(monkeypatch, real):
    game = joint_game([])
    monkeypatch.setattr(type(game.backend), "joins", lambda self, values: True)
    with pytest.raises(ShapeError, match=r"^x (is|has)"):
        game.step(real)
