"""The gradient check itself: what it reports, what it skips, what it must not pass."""

import itertools

import numpy as np
import pytest

import minigan as mg
from minigan.checks.gradients import check_all
from minigan.errors import MiniganError


class OffByTenPercent(mg.Tanh):
    """A backward that is wrong by a factor."""

    def backward(self, dy, cache, *, param_grads=True, input_grad=True):
        return 1.1 * super().backward(dy, cache) if input_grad else None


class WrongInOneEntry(mg.Dense):
    def backward(self, dy, cache, *, param_grads=True, input_grad=True):
        dx = super().backward(dy, cache, param_grads=param_grads, input_grad=input_grad)
        if param_grads:
            self.grads["weight"][2, 1] *= 1.001
        return dx


def test_report_names_the_worst_entry():
    net = mg.Sequential([WrongInOneEntry(3)], (4,), backend="textbook", dtype="float64")
    report = mg.check_gradients(net, np.random.default_rng(0).standard_normal((5, 4)))
    assert not report.ok
    rows = {row.name: row for row in report.rows}
    assert rows["0.weight"].where == (2, 1)
    assert rows["0.weight"].analytic == pytest.approx(1.001 * rows["0.weight"].numeric)
    assert report.max_error == rows["0.weight"].max_error == pytest.approx(1e-3, rel=0.01)
    assert rows["0.bias"].max_error < 1e-9
    assert rows["0.weight"].checked == 12
    assert "FAILED" in str(report)
    assert "(2, 1)" in str(report)


def test_check_leaves_the_network_alone():
    layers = [mg.Dense(6), mg.BatchNorm(), mg.ReLU(), mg.Dropout(0.5), mg.Dense(2)]
    net = mg.Sequential(layers, (4,), backend="textbook", dtype="float32")
    before, rng = net.state_dict(), net.random_state
    assert mg.check_gradients(net, np.random.default_rng(0).standard_normal((5, 4))).ok
    for name, value in net.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
    assert net.random_state == rng
    assert not net.flat_grads.any()


@pytest.mark.parametrize("mode", ["full", "projection"])
def test_both_modes_see_a_factor(mode, backend):
    good = mg.Sequential([mg.Dense(6), mg.Tanh()], (4,), backend=backend)
    bad = mg.Sequential([mg.Dense(6), OffByTenPercent()], (4,), backend=backend)
    x = np.random.default_rng(0).standard_normal((5, 4))
    assert mg.check_gradients(good, x, mode=mode).ok
    assert not mg.check_gradients(bad, x, mode=mode).ok


def test_a_batch_norm_without_its_mean_term_needs_a_random_dy():
    """With dy = 1 the true dx of BatchNorm is 0 and several wrong ones are too; a random dy tells them apart."""

    class NoMeanTerm(mg.BatchNorm):
        def backward(self, dy, cache, *, param_grads=True, input_grad=True):
            x, mean, inv_std, _ = cache
            x_hat = (x - mean) * inv_std
            super().backward(dy, cache, param_grads=param_grads, input_grad=False)
            return self.gamma * inv_std * (dy - x_hat * (dy * x_hat).mean(axis=0))

    assert not mg.check_layer(NoMeanTerm(), (4,), batch=6, backend="textbook").ok


def test_kinks_are_skipped_not_tolerated():
    """An input on the kink of ReLU has no derivative there: it is counted as skipped; one nearby gets a smaller step."""
    net = mg.Sequential([mg.ReLU()], (4,), backend="textbook", dtype="float64")
    report = mg.check_gradients(net, np.array([[0.0, 1e-5, -1.0, 2.0]]))
    assert (report.rows[0].checked, report.rows[0].skipped) == (3, 1)
    assert report.ok
    at_kinks = mg.check_gradients(net, np.zeros((1, 4)))
    assert not at_kinks.ok, "where nothing could be checked nothing is proved"


def test_all_zero_gradients_prove_nothing():
    class Deaf(mg.Layer):
        def forward(self, x, train=False):
            return 0 * x, None

        def backward(self, dy, cache, *, param_grads=True, input_grad=True):
            return 0 * dy

    net = mg.Sequential([Deaf()], (3,), backend="textbook")
    report = mg.check_gradients(net, np.ones((2, 3)))
    assert not report.ok
    assert "all gradients are 0" in str(report)


def test_nan_fails():
    class Broken(mg.Tanh):
        def backward(self, dy, cache, *, param_grads=True, input_grad=True):
            return dy * np.nan

    assert not mg.check_layer(Broken(), (3,), backend="textbook").ok


def test_check_loss_sees_a_wrong_gradient():
    assert mg.check_loss(mg.losses.generator_loss, np.array([[0.3], [-2.0]]), backend="textbook").ok
    wrong = lambda s: (mg.losses.generator_loss(s)[0], 2 * mg.losses.generator_loss(s)[1])  # noqa: E731
    assert not mg.check_loss(wrong, np.array([[0.3], [-2.0]]), backend="textbook", name="doubled").ok


@pytest.mark.parametrize("options", [{}, {"smoothing": 0.1}, {"saturating": True}])
def test_whole_games(options, backend):
    pair = mg.models.dcgan(image_shape=(8, 8, 1), latent_dim=5, width=3, backend=backend)
    report = mg.check_game(mg.GAN(*pair, **options), np.random.default_rng(0).uniform(-1, 1, (4, 8, 8, 1)), max_entries=8)
    assert report.ok, str(report)
    names = [row.name for row in report.rows]
    assert "L_G generator.0.weight" in names
    assert "L_D discriminator.0.weight" in names


def test_games_whose_units_would_be_dead_are_checked_all_the_same():
    for seed in range(12):
        pair = mg.models.mlp(image_shape=(4, 4, 1), latent_dim=3, hidden=5, backend="textbook", seed=seed)
        report = mg.check_game(mg.GAN(*pair), np.random.default_rng(0).uniform(-1, 1, (3, 4, 4, 1)))
        assert report.ok, str(report)


@pytest.mark.parametrize(
    "wiring", ["G's gradients add up over steps", "D's gradients add up over steps", "G's step writes to D"]
)
def test_wiring_faults_of_the_game_turn_it_red(wiring, monkeypatch):
    gan = mg.GAN(*mg.models.mlp(image_shape=(4, 4, 1), latent_dim=3, hidden=5, backend="textbook"))
    real = np.random.default_rng(0).uniform(-1, 1, (3, 4, 4, 1))
    assert mg.check_game(gan, real).ok
    backward = mg.Sequential.backward

    def careless(net, dy, caches, *, param_grads=True, accumulate=True, **options):
        its_net = "D" if net.output_shape == (1,) else "G"
        if wiring == "G's step writes to D":
            return backward(net, dy, caches, accumulate=accumulate, **options)
        return backward(net, dy, caches, param_grads=param_grads, accumulate=accumulate or wiring[0] == its_net, **options)

    monkeypatch.setattr(mg.Sequential, "backward", careless)
    report = mg.check_game(gan, real)
    assert not report.ok, str(report)


def test_a_report_says_when_kinks_hid_too_much():
    net = mg.Sequential([mg.ReLU()], (4,), backend="textbook")
    assert "too many entries lie on a kink" in str(mg.check_gradients(net, np.zeros((1, 4))))


def test_faults_between_blocks_turn_the_table_red(monkeypatch):
    """What only goes wrong where the numpy backend works in several blocks or threads."""
    from minigan.backends.numpy.backend import NumpyBackend

    spread = NumpyBackend._spread
    monkeypatch.setattr(
        NumpyBackend, "_spread", lambda self, *args, **options: spread(self, *args, **options)[:1]
    )  # other threads' sums are lost
    failed = [report.name for report in itertools.islice(check_all("numpy"), 44) if not report.ok]
    assert any(name.startswith("Conv2d") and "batch of 80" in name for name in failed)
    assert any(name.startswith("BatchNorm") and "batch of 80" in name for name in failed)


def test_unknown_mode():
    net = mg.Sequential([mg.Tanh()], (3,), backend="textbook")
    with pytest.raises(MiniganError, match="choose full or projection"):
        mg.check_gradients(net, np.ones((2, 3)), mode="fast")


@pytest.mark.slow_on_stand_in
def test_the_whole_table(fast):
    """What `minigan gradcheck` runs: every layer, every loss and both reference games at full size, below 1e-6."""
    reports = list(check_all(fast))
    assert [report.name for report in reports if not report.ok] == []
    names = " ".join(report.name for report in reports)
    for layer in ("Dense", "Conv2d", "ConvTranspose2d", "BatchNorm", "LayerNorm", "ReLU", "LeakyReLU", "Tanh", "Sigmoid"):
        assert f"{layer}(" in names
    for other in ("Softplus", "Dropout", "Flatten", "Reshape", "Upsample", "game mlp", "game dcgan", "generator_loss"):
        assert other in names
