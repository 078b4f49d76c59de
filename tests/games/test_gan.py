"""The game: what a step does and to whom, noise and samples, the moving average, state."""

import warnings
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from one_layer import arrays_in

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
    """Moves nothing, and keeps the gradients that it gets."""

    def apply(self, net, lr):
        self.seen = net.backend.to_numpy(net.flat_grads).copy()


def test_each_step_moves_only_its_own_network(backend):
    for frozen in ("generator", "discriminator"):
        gan = game(backend, **{f"optimizer_{frozen[0]}": Frozen(1.0)})
        before = {name: values(gan, getattr(gan, name)) for name in ("generator", "discriminator")}
        gan.step(real_batch(gan))
        for name in before:
            moved = not np.array_equal(values(gan, getattr(gan, name)), before[name])
            assert moved == (name != frozen)


def test_generator_step_leaves_no_gradient_in_the_discriminator(backend):
    gan = game(backend, optimizer_d=Frozen(1.0))
    gan.step(real_batch(gan))
    np.testing.assert_array_equal(gan.backend.to_numpy(gan.discriminator.flat_grads), gan.optimizer_d.seen)
    assert float(abs(gan.generator.flat_grads).sum()) > 0


def test_a_step_does_not_depend_on_the_gradients_of_the_one_before(backend):
    runs = []
    for left in (np.nan, 7):
        gan = game(backend)
        gan.generator.flat_grads[...] = gan.discriminator.flat_grads[...] = left
        gan.step(real_batch(gan))
        runs.append(gan.state_dict())
    for name, value in runs[0].items():
        np.testing.assert_array_equal(value, runs[1][name])


def test_a_step_is_its_two_parts(backend):
    """advance is the host's: it counts and moves no parameter; compute is the device's."""
    gan, twin = game(backend, ema=0.9), game(backend, ema=0.9)
    for _ in range(2):
        stats = gan.step(real_batch(gan))
        before = values(twin, twin.generator)
        twin.advance()
        np.testing.assert_array_equal(values(twin, twin.generator), before)
        assert twin.optimizer_g.steps == twin.optimizer_d.steps == gan.optimizer_g.steps
        parts = twin.compute(real_batch(twin))
        assert {name: float(value) for name, value in parts.items()} == {name: float(value) for name, value in stats.items()}
    for name, value in gan.state_dict().items():
        np.testing.assert_array_equal(value, twin.state_dict()[name])


def test_step_is_the_papers_round(backend):
    """The same round written out with the losses' own formulas, in the order of the docstring."""
    gan, twin = game(backend), game(backend)
    real, z = real_batch(gan), gan.noise(6)
    stats = gan.step(real, z)

    g, d, objective = twin.generator, twin.discriminator, mg.losses.NonSaturating().bind(twin.backend)
    fake, cache = g.forward(z, train=True)
    s_real, cache_real = d.forward(real, train=True)
    s_fake, cache_fake = d.forward(fake, train=True)
    loss_d, (ds_real, ds_fake) = objective.discriminator(s_real, s_fake)
    d.backward(ds_real, cache_real, grads=d.grads)
    of_real = d.flat_grads.copy()
    d.backward(ds_fake, cache_fake, grads=d.grads)
    d.flat_grads += of_real
    mg.Adam(2e-4, (0.5, 0.999)).update(d)
    s_again, cache_again = d.forward(fake, train=True)
    loss_g, ds = objective.generator(s_again)
    g.backward(d.backward(ds, cache_again), cache, grads=g.grads)
    mg.Adam(2e-4, (0.5, 0.999)).update(g)

    np.testing.assert_array_equal(values(gan, gan.generator), values(twin, g))
    np.testing.assert_array_equal(values(gan, gan.discriminator), values(twin, d))
    assert float(stats["loss_d"]) == float(loss_d)
    assert float(stats["loss_g"]) == float(loss_g)
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
    gan = game(backend, "float32", ema=0.9, objective=mg.losses.NonSaturating(0.1))
    seen = set()

    def watch(layer, what, value):
        seen.update(str(array.dtype) for array in arrays_in(value))

    for net in (gan.generator, gan.discriminator):
        net.watch = watch
    for _ in range(2):
        gan.step(real_batch(gan))
    arrays = gan.state_dict()
    assert seen == {"float32"}
    assert {str(a.dtype) for name, a in arrays.items() if not name.endswith(".steps")} == {"float32"}


def test_discriminator_learns_to_tell(backend):
    """With G frozen, some steps must make D right about nearly all images."""
    gan = game(backend, "float32", optimizer_g=Frozen(1.0), lr=5e-3)
    real = real_batch(gan, 16)
    for _ in range(30):
        stats = gan.step(real)
    assert float(stats["prob_real"]) > 0.9
    assert float(stats["prob_fake"]) < 0.1


def test_generator_learns_to_fool(backend):
    """With D frozen, L_G must fall: G's gradient has the right sign all the way through D."""
    for objective in (mg.losses.NonSaturating(), mg.losses.Saturating()):
        gan = game(backend, "float32", optimizer_d=Frozen(1.0), lr=5e-3, objective=objective)
        real, z = real_batch(gan, 16), gan.noise(16)
        losses = [float(gan.step(real, z)["loss_g"]) for _ in range(16)]
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


def test_an_objective_of_ones_own():
    """It runs on the backend of the networks, whatever it was made with."""

    class Doubled(mg.losses.NonSaturating):
        compares = True

        def generator(self, s_fake, s_real=None):
            seen.append((self.backend.name, len(s_real)))
            loss, ds = super().generator(s_fake)
            return 2 * loss, 2 * ds

    seen = []
    objective = Doubled()
    gan, plain = game("numpy", objective=objective), game("numpy")
    stats, expected = (each.step(real_batch(each)) for each in (gan, plain))
    assert seen == [("numpy", 6)]
    assert float(stats["loss_g"]) == 2 * float(expected["loss_g"])
    assert float(stats["loss_d"]) == float(expected["loss_d"])
    assert objective.backend.name == "textbook", "the game binds a copy"


def test_the_contract_of_a_game():
    gan = game()
    assert gan.networks == {"generator": gan.generator, "discriminator": gan.discriminator}
    assert gan.optimizers == {"generator": gan.optimizer_g, "discriminator": gan.optimizer_d}
    assert set(gan.losses) == set(gan.networks)
    assert set(gan.losses.values()) <= set(gan.stats)
    assert (gan.latent_dim, gan.sample_shape, gan.dtype) == (6, (8, 8, 1), np.float64)
    bare = mg.Game()
    with pytest.raises(NotImplementedError, match="Game has no compute"):
        bare.compute()
    with pytest.raises(NotImplementedError, match="Game makes no samples"):
        bare.sample(1)


# -- both passes of D in one ---------------------------------------------------------------------------------------------


def joint_game(middle, backend="numpy", dtype="float64"):
    """A game in the plane whose D has these layers in its midst."""
    generator = mg.Sequential([mg.Dense(2)], (3,), backend, dtype)
    discriminator = mg.Sequential([mg.Dense(5), *middle, mg.Dense(1)], (2,), backend, dtype, 1)
    return mg.GAN(
        generator,
        discriminator,
        objective=mg.losses.NonSaturating(0.1),
        optimizer_d=Frozen(1.0),
        optimizer_g=Frozen(1.0),
    )


def steps_of(game, rows=4):
    """The statistics and both gradients of a step, and the batch sizes of D's passes."""
    sizes, forward, host = [], game.discriminator.forward, game.backend.to_numpy
    game.discriminator.forward = lambda x, train=False: sizes.append(len(x)) or forward(x, train)
    rng = np.random.default_rng(0)
    stats = game.step(*(game.backend.asarray(rng.standard_normal((rows, size))) for size in (2, 3)))
    return [*(host(value) for value in stats.values()), game.optimizer_d.seen, game.optimizer_g.seen], sizes


@pytest.mark.parametrize("middle", [lambda: [mg.ReLU()], lambda: [mg.LayerNorm(), mg.Dense(4), mg.Tanh()]])
@pytest.mark.parametrize("rows", [1, 4])
def test_both_passes_of_the_discriminator_in_one(fast, middle, rows):
    apart, sizes = steps_of(joint_game(middle(), "textbook"), rows)
    assert sizes == [rows, rows, rows]
    together, sizes = steps_of(joint_game(middle(), fast), rows)
    assert sizes == [2 * rows, rows]
    for ours, expected in zip(together, apart, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("middle", [mg.BatchNorm, lambda: mg.Dropout(0.5)], ids=["BatchNorm", "Dropout"])
def test_statistics_and_draws_of_real_and_fake_do_not_mix(fast, middle):
    assert steps_of(joint_game([middle()], fast))[1] == [4, 4, 4]


@pytest.mark.parametrize("real", [np.zeros((4, 3)), np.zeros((4, 2), "f4"), [[0.0, 0.0]] * 4])
def test_a_batch_that_does_not_fit_is_refused_before_the_passes_are_joined(real):
    with pytest.raises(ShapeError, match=r"^x (is|has)"):
        joint_game([]).step(real)


# -- critic steps, clipping, lazy penalties --------------------------------------------------------------------------------


def test_critic_steps_are_those_of_the_paper(backend):
    """Gulrajani et al. 2017, algorithm 1, written out: three updates of D on batches and noise of their own, then one of G."""
    objective = mg.losses.Wasserstein()
    gan, twin = (game(backend, objective=objective, critic_steps=3, clip=0.02, lr_d=1e-3) for _ in range(2))
    real, z = real_batch(gan, 12), gan.noise(12)
    stats = gan.step(real, z)
    g, d, bound, adam = twin.generator, twin.discriminator, objective.bind(twin.backend), mg.Adam(1e-3, (0.5, 0.999))
    losses = []
    for rows in (slice(0, 4), slice(4, 8), slice(8, 12)):
        fake, cache = g.forward(z[rows], train=True)
        (s_real, s_fake), caches = d.forward_each((real[rows], fake), train=True)
        loss, ds = bound.discriminator(s_real, s_fake)
        losses.append(float(loss))
        d.backward_each(ds, caches, grads=d.grads)
        adam.update(d)
        d.flat_params[...] = twin.backend.xp.clip(d.flat_params, -0.02, 0.02)
    s_fake, cache_d = d.forward(fake, train=True)
    _, ds_fake = bound.generator(s_fake)
    g.backward(d.backward(ds_fake, cache_d), cache, grads=g.grads)
    mg.Adam(2e-4, (0.5, 0.999)).update(g)
    for name in ("generator", "discriminator"):
        np.testing.assert_allclose(values(gan, getattr(gan, name)), values(twin, getattr(twin, name)), rtol=1e-12, atol=1e-15)
    assert float(stats["loss_d"]) == pytest.approx(np.mean(losses))
    assert list(stats) == list(gan.stats) == ["loss_d", "loss_g", "score_real", "score_fake"]
    assert abs(values(gan, gan.discriminator)).max() == 0.02
    assert (gan.optimizer_d.steps, gan.optimizer_g.steps) == (3, 1)


def test_a_schedule_counts_steps_of_the_game():
    rates = []
    gan = game(critic_steps=3, lr_d=lambda step: rates.append(step) or 1e-3)
    for _ in range(2):
        gan.step(real_batch(gan))
    assert rates == [0, 1]


def test_lazy_penalties():
    """Every third step takes them, three times as heavy, also in a game that goes on."""
    options = {"penalties": [mg.losses.R1(2.0)], "penalty_every": 3}
    gan, other = game(**options), game(**options)
    real = real_batch(gan)
    seen = [float(gan.step(real)["penalty"]) for _ in range(4)]
    assert [bool(value) for value in seen] == [True, False, False, True]
    whole = game(penalties=[mg.losses.R1(2.0)])
    assert seen[0] == pytest.approx(3 * float(whole.step(real)["penalty"]))
    other.load_state_dict(gan.state_dict())
    other.random_state = gan.random_state
    for _ in range(3):
        np.testing.assert_equal(gan.step(real), other.step(real))


def test_a_relativistic_generator_sees_the_updated_discriminator(backend):
    gan = game(backend, objective=mg.losses.Relativistic())
    real, z = real_batch(gan), gan.noise(6)
    outputs = []
    gan.discriminator.watch = lambda layer, what, value: (
        outputs.append(value) if what == "output" and layer is gan.discriminator.layers[-1] else None
    )
    loss_g = float(gan.step(real, z)["loss_g"])
    s_real, _, rival, judged = outputs
    assert loss_g == pytest.approx(float(gan.objective.generator(judged, rival)[0]))
    assert float(abs(rival - s_real).max()) > 0


@pytest.mark.parametrize("option", ["critic_steps", "penalty_every"])
@pytest.mark.parametrize("value", [0, -1, 1.5, "2", None, True, -(10**400)])
def test_counts_are_whole_numbers(option, value):
    with pytest.raises(OptionError, match=f"^{option} is"):
        game(**{option: value})


@pytest.mark.parametrize("value", [1001, 10**9, 10**400])
def test_so_many_critic_steps_are_a_slip(value):
    with pytest.raises(OptionError, match=r"expected a whole number from 1 to 1,000$"):
        game(critic_steps=value)


@pytest.mark.parametrize("clip", [0, -0.1, np.inf, np.nan, "x"])
def test_a_clip_is_a_number_above_0(clip):
    with pytest.raises(OptionError, match=r"^clip is"):
        game(clip=clip)


def test_batches_that_cannot_be_dealt_out_are_refused():
    gan = game(critic_steps=4)
    with pytest.raises(ShapeError, match="real has 6 images: 4 critic steps take as many batches of one size"):
        gan.step(real_batch(gan, 6))


# -- packs, and noise on what D sees ---------------------------------------------------------------------------------------


def packed_game(backend="textbook", shape=(4, 4, 2), pack=2, **options):
    return mg.GAN(*mg.models.mlp(shape, 3, 5, pack=pack, backend=backend, dtype="float64"), pack=pack, **options)


@given(
    pack=st.integers(1, 4),
    packs=st.integers(1, 3),
    shape=st.lists(st.integers(1, 3), min_size=1, max_size=1) | st.lists(st.integers(1, 3), min_size=3, max_size=3),
)
def test_packs_hold_images_side_by_side(pack, packs, shape):
    gan, rng = packed_game(shape=tuple(shape), pack=pack), np.random.default_rng(0)
    x = rng.standard_normal((packs * pack, *shape))
    packed = gan.packed(x)
    assert packed.shape == (packs, *shape[:-1], pack * shape[-1])
    for index, image in enumerate(x):
        place = index % pack
        np.testing.assert_array_equal(packed[index // pack][..., place * shape[-1] : (place + 1) * shape[-1]], image)
    y = rng.standard_normal(packed.shape)
    assert float((packed * y).sum()) == pytest.approx(float((x * gan.unpacked(y)).sum())), "the transpose"
    np.testing.assert_array_equal(gan.unpacked(packed), x)


def test_a_packed_step_is_the_papers_round_on_packs(backend):
    """The round of a game whose D takes concatenated images, written out."""
    gan, twin = (packed_game(backend, optimizer_d=Frozen(1.0), optimizer_g=Frozen(1.0)) for _ in range(2))
    real, z = gan.backend.asarray(np.random.default_rng(0).random((4, 4, 4, 2))), gan.noise(4)
    stats = gan.step(real, z)
    g, d, objective = twin.generator, twin.discriminator, twin.objective
    side_by_side = lambda x: twin.backend.xp.concatenate([x[::2], x[1::2]], axis=-1)  # noqa: E731
    fake, cache = g.forward(z, train=True)
    (s_real, s_fake), caches = d.forward_each((side_by_side(real), side_by_side(fake)), train=True)
    loss_d, ds = objective.discriminator(s_real, s_fake)
    d.backward_each(ds, caches, grads=d.grads)
    loss_g, ds_fake = objective.generator(s_fake)
    dx = d.backward(ds_fake, d.forward(side_by_side(fake), train=True)[1])
    parts = twin.backend.xp.stack([dx[..., :2], dx[..., 2:]], axis=1).reshape(fake.shape)
    g.backward(parts, cache, grads=g.grads)
    assert s_real.shape == (2, 1)
    assert float(stats["loss_d"]) == pytest.approx(float(loss_d))
    assert float(stats["loss_g"]) == pytest.approx(float(loss_g))
    for own, other in ((gan.discriminator, d), (gan.generator, g)):
        to_numpy = gan.backend.to_numpy
        np.testing.assert_allclose(to_numpy(own.flat_grads), to_numpy(other.flat_grads), rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("pack", [0, -1, 1.5, "2", None, True])
def test_a_pack_is_a_whole_number(pack):
    pair = mg.models.mlp((4, 4, 2), 3, 5, backend="textbook")
    with pytest.raises(OptionError, match=r"^pack is"):
        mg.GAN(*pair, pack=pack)
    with pytest.raises(OptionError, match=r"^pack is"):
        mg.models.mlp((4, 4, 2), 3, 5, pack=pack, backend="textbook")


def test_a_discriminator_and_a_batch_that_fill_no_packs_are_refused():
    pair = mg.models.mlp((4, 4, 2), 3, 5, backend="textbook", dtype="float64")
    with pytest.raises(ModelError, match=r"takes \(4, 4, 2\): its last axis must hold 3 of them, side by side"):
        mg.GAN(*pair, pack=3)
    gan = packed_game()
    before = gan.state_dict()
    with pytest.raises(ShapeError, match="a batch has 5 images, and D judges 2 at once: give a multiple of 2"):
        gan.step(np.zeros((5, 4, 4, 2)))
    with pytest.raises(ShapeError, match=r"expected \(N, 4, 4, 2\)"):
        gan.step(np.zeros((4, 4, 4, 4)))
    for name, value in gan.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


def inputs_of(net, step):
    """What a network is shown in a step."""
    seen = []
    net.watch = lambda layer, what, value: seen.append(np.array(value[0])) if layer is None and what == "forward" else None
    step()
    net.watch = None
    return seen


def test_noise_is_drawn_anew_for_all_that_the_discriminator_sees():
    """Its size is the schedule's, and it falls with the steps of the game; G's own images and gradients are without."""
    gan = packed_game(pack=1, instance_noise=lambda step: 0.5 if step == 0 else 0.0, optimizer_d=Frozen(1.0))
    real, z = np.random.default_rng(1).random((400, 4, 4, 2)), gan.noise(400)
    fake, _ = gan.generator.forward(z)
    noises = [
        x - true for x, true in zip(inputs_of(gan.discriminator, lambda: gan.step(real, z)), (real, fake, fake), strict=True)
    ]
    for noise in noises:
        assert noise.std() == pytest.approx(0.5, rel=0.03)
        assert abs(noise.mean()) < 0.03
    for ours, others in pairwise(noises):
        assert abs((ours * others).mean()) < 0.02
    seen = inputs_of(gan.discriminator, lambda: gan.step(real, z))
    np.testing.assert_array_equal(seen[0], real)


@pytest.mark.parametrize("noise", [-0.1, np.nan, np.inf, 1e300, "0.1", True, lambda step: -1.0, lambda step: None])
def test_noise_that_is_no_size_is_refused(noise):
    with pytest.raises(OptionError, match=r"^instance_noise is .*expected a number from 0 to 1,000,000"):
        packed_game(instance_noise=noise).step(np.zeros((2, 4, 4, 2)))


def test_a_penalty_through_a_layer_that_mixes_samples_says_so_once(recwarn):
    """Through BatchNorm, and not through LayerNorm; a captured game's eager steps say no more than one."""
    warnings.simplefilter("default")
    x = np.zeros((4, 6))

    def game(norm):
        g = mg.Sequential([mg.Dense(6)], (3,), "numpy", "float64")
        d = mg.Sequential([mg.Dense(5), norm, mg.LeakyReLU(), mg.Dense(1)], (6,), "numpy", "float64")
        return mg.GAN(g, d, penalties=[mg.losses.R1(1.0)])

    game(mg.LayerNorm()).step(x)
    assert not recwarn
    mixed = game(mg.BatchNorm())
    for _ in range(3):
        mixed.step(x)
    (told,) = [warning.message.args[0] for warning in recwarn]
    assert told.startswith("BatchNorm (layer 1) of D mixes the samples of a batch")
    assert len(told) <= 300
