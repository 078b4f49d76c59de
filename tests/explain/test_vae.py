"""A VAE's step, opened: it is the game's own, its gradients agree with differences, wrong ones are seen, and words are true."""

import re
from functools import cache

import numpy as np
import pytest
from explained_games import SHAPE, content, decoded, open_fewer_numbers

import minigan as mg
from minigan import cli
from minigan.cli import entry
from minigan.explain import page, step
from minigan.explain.game import game_of_run
from minigan.explain.likelihoods import LIKELIHOODS
from minigan.games import vae as module
from minigan.losses import Bernoulli, Gaussian, Likelihood

COUNT, LATENT, POINTS = 5, 3, (2,)
SIZES = {"mlp": {"hidden": (6, 5)}, "conv": {"width": 2}}


def vae(name="mlp", backend="textbook", shape=SHAPE, latent=LATENT, kind=mg.VAE, **options):
    pair = mg.models.build(
        name, game="vae", image_shape=shape, latent_dim=latent, backend=backend, dtype="float64", **SIZES[name]
    )
    return kind(*pair, **{"lr": 0.01, **options})


def with_dropout(**options):
    e = mg.Sequential(
        [mg.Flatten(), mg.Dense(6, bias=False), mg.BatchNorm(), mg.Dropout(0.4), mg.Dense(6)], SHAPE, "textbook", "float64"
    )
    layers = [mg.SpectralNorm(mg.Dense(9)), mg.Softplus(), mg.Dropout(0.2), mg.Dense(64), mg.Reshape(SHAPE)]
    return mg.VAE(e, mg.Sequential(layers, (3,), "textbook", "float64"), **options)


def points(**options):
    return vae(shape=POINTS, latent=2, likelihood=Gaussian(0.2), **options)


def rising(step):
    return min(1.0, (step + 1) / 8)


def batch(game, seed=0, count=COUNT):
    rng = np.random.default_rng(seed)
    return tuple(game.backend.asarray(rng.uniform(-1, 1, (count, *shape))) for shape in (game.sample_shape, (game.latent_dim,)))


def warmed(game):
    for seed in (1, 2):
        game.step(*batch(game, seed))
    return game


def opened(game, **options):
    return step.open_step(warmed(game), *batch(game), **options)


def comparisons(found):
    of_passes = [c for record in (found.encoder, found.decoder) for part in (*record.checks, record.input_checks) for c in part]
    of_weights = [c for update in found.updates.values() for part in update.checks.values() for c in part]
    return [*of_passes, *of_weights, *(c for share in found.shares.values() for c in share.checks)]


def stations(found, has_data=True):
    return content(page.make_page(found, "a small VAE", has_data))["stations"]


def station(found, label):
    return next(s for s in stations(found) if s["label"] == label)


GAMES = {
    "mlp": vae,
    "conv": lambda: vae("conv", likelihood=Gaussian(0.3), kl_weight=0.7),
    "points": lambda: points(kl_weight=0.0),
    "schedule": lambda: vae(kl_weight=rising, lr=mg.optim.linear(0.01, 10)),
    "dropout": with_dropout,
    "sgd": lambda: vae(optimizer_e=mg.SGD(0.01), optimizer_d=mg.SGD(lambda step: 0.0)),
}


@cache
def of(name):
    """The opened step of one of GAMES, once for all tests of what is written of it."""
    with pytest.MonkeyPatch.context() as patch:
        open_fewer_numbers(patch)
        return opened(GAMES[name]())


# -- the step ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GAMES)
def test_the_opened_step_is_the_games_own_and_every_derivative_agrees_with_its_difference(name):
    ticks = []
    found = check_it_is_the_games_own(GAMES[name], tick=lambda: ticks.append(1))
    assert len(ticks) == step.count_ticks(found.game)
    made = [c for c in comparisons(found) if c.numeric is not None]
    assert len(made) > 45
    assert max(c.error for c in made) < page.TOLERANCE
    verdicts = {c["verdict"] for s in stations(found) for c in s.get("checks", [])}
    assert verdicts <= {"agrees", "at a kink", "lost in rounding"}


def test_a_step_is_opened_on_every_backend(backend, few_numbers):
    check_it_is_the_games_own(lambda: vae(backend=backend, kl_weight=rising))


def check_it_is_the_games_own(make, **options):
    mine, twin = make(), warmed(make())
    found = opened(mine, **options)
    stats, to_numpy = twin.step(*batch(twin)), mine.backend.to_numpy
    for name, net in twin.networks.items():
        params, gradients = mine.networks[name].flat_params, found.updates[name].gradients
        np.testing.assert_allclose(to_numpy(params), to_numpy(net.flat_params), rtol=1e-9, atol=1e-12)
        for key, gradient in net.grads.items():
            np.testing.assert_allclose(gradients[key], to_numpy(gradient), rtol=1e-9, atol=1e-12)
    assert mine.random_state == twin.random_state
    assert found.stats == pytest.approx({name: float(to_numpy(stats[name])) for name in twin.stats}, rel=1e-9)
    return found


def test_the_shares_of_h_are_those_of_the_formulas(few_numbers):
    found = opened(vae(kl_weight=0.3))
    (mean, log_var), dz = np.split(found.encoder.outputs[-1], 2, axis=1), found.decoder.input_grad
    draw = np.concatenate([dz, np.exp(log_var / 2) * found.noise * dz / 2], axis=1)
    kl = np.concatenate([mean, (np.exp(log_var) - 1) / 2], axis=1) / COUNT
    np.testing.assert_allclose(found.shares["reconstruction"].gradient, draw, rtol=1e-9, atol=1e-13)
    np.testing.assert_allclose(found.shares["kl"].gradient, kl, rtol=1e-9, atol=1e-13)
    np.testing.assert_allclose(found.encoder.output_grads[-1], draw + 0.3 * kl, rtol=1e-9, atol=1e-13)


def test_nudges_and_losses_around_the_updates_are_those_of_the_game():
    """Beside the loss written out; E moves first, then D."""
    game, twin = warmed(vae(kl_weight=0.5)), warmed(vae(kl_weight=0.5))
    x, noise = batch(game)
    found = step.open_step(game, x, noise)

    def loss():
        mean, log_var = np.split(twin.encoder.forward(x, True)[0], 2, axis=1)
        y = twin.decoder.forward(mean + np.exp(log_var / 2) * noise, True)[0]
        kl = (mean**2 + np.exp(log_var) - 1 - log_var).sum() / 2 / COUNT
        return float((np.logaddexp(0, y) - (x + 1) / 2 * y).sum() / COUNT + 0.5 * kl)

    for name, update in found.updates.items():
        net = twin.networks[name]
        for nudge in update.nudges[::2]:
            for epsilon, value in list(zip(nudge.steps, nudge.losses, strict=True))[::3]:
                net.params[nudge.name][nudge.where] += epsilon
                assert value == pytest.approx(loss(), rel=1e-9)
                net.params[nudge.name][nudge.where] = nudge.value
    for name, update in found.updates.items():
        assert update.loss_before == pytest.approx(loss(), rel=1e-12)
        for key, array in twin.networks[name].params.items():
            np.testing.assert_array_equal(array, update.before[key])
            array[...] = update.after[key]
        assert update.loss_after == pytest.approx(loss(), rel=1e-12)


# -- faults --------------------------------------------------------------------------------------------------------------


def differing(found):
    """The stations of the page on which something differs, by label, and what; and those that show numbers that agree."""
    rows = [(s["kind"], s["net"], s["label"], c) for s in stations(found) for c in s.get("checks", [])]
    wrong = {(kind, net, label) for kind, net, label, c in rows if c["verdict"] == "differs"}
    return wrong, {(kind, net, label) for kind, net, label, c in rows} - wrong


def test_the_sign_of_the_draws_gradient(monkeypatch):
    right = module.reparametrise_grad
    monkeypatch.setattr(
        module, "reparametrise_grad", lambda be, dz, h, noise: np.concatenate([dz, -right(be, dz, h, noise)[:, LATENT:]], 1)
    )
    found = opened(vae())
    wrong, well = differing(found)
    assert {("backward", "", "∂/∂z"), ("backward", "", "∂/∂h")} <= wrong
    assert {("loss", "", "R"), ("loss", "", "KL")} <= well
    assert not any(net == "D" for _, net, _ in wrong), "above the fault all is well"
    of = {c["of"]: c["verdict"] for c in station(found, "∂/∂z")["checks"]}
    assert of["∂L/∂z"] == of["∂R/∂μ"] == "agrees"
    assert of["∂R/∂ℓ"] == "differs"


@pytest.mark.parametrize("factor", [2.0, 1.001, -1.0])
def test_a_factor_in_the_kls_gradient(factor, monkeypatch, few_numbers):
    right = module.gaussian_kl
    monkeypatch.setattr(module, "gaussian_kl", lambda be, h: (right(be, h)[0], factor * right(be, h)[1]))
    wrong, well = differing(opened(vae()))
    assert {("loss", "", "KL"), ("backward", "", "∂/∂h")} <= wrong
    assert {("loss", "", "R"), ("backward", "", "∂/∂z")} <= well
    assert not any(net == "D" for _, net, _ in wrong)


def test_a_layer_of_the_decoder(monkeypatch, few_numbers):
    right = mg.ConvTranspose2d.backward

    def wrong(self, dy, cache, grads=None, input_grad=True):
        return 1.01 * right(self, dy, cache, grads, input_grad)

    monkeypatch.setattr(mg.ConvTranspose2d, "backward", wrong)
    found = opened(vae("conv"))
    wrong, well = differing(found)
    assert ("loss", "", "R") in well
    assert ("loss", "", "KL") in well
    assert {("backward", "D", "ConvTranspose2d"), ("backward", "D", "Dense"), ("backward", "", "∂/∂z")} <= wrong
    assert ("backward", "E", "Conv2d") in wrong, "what is wrong above is wrong below"


def test_a_likelihoods_gradient(monkeypatch, few_numbers):
    right = Bernoulli.loss
    monkeypatch.setattr(Bernoulli, "loss", lambda self, y, x: (right(self, y, x)[0], 1.01 * right(self, y, x)[1]))
    wrong, well = differing(opened(vae()))
    assert ("loss", "", "R") in wrong
    assert ("loss", "", "KL") in well


# -- what cannot be opened ------------------------------------------------------------------------------------------------


class Twice(mg.VAE):
    def compute(self, x, noise=None):
        self.encoder.forward(x, train=True)
        return super().compute(x, noise)


class Noisy(mg.VAE):
    def compute(self, x, noise=None):
        return super().compute(x + 0.1, noise)


class Wider(mg.VAE):
    """It draws with twice the noise."""

    def compute(self, x, noise=None):
        return super().compute(x, 2 * noise)


class Capacity(mg.VAE):
    """L = R + |KL − 1|"""

    def compute(self, x, noise=None):
        stats = super().compute(x, noise)
        return {**stats, "loss": stats["reconstruction"] + abs(stats["kl"] - 1)}


class Nameless(mg.VAE):
    def compute(self, x, noise=None):
        return {"loss": super().compute(x, noise)["loss"]}


class Fixed(mg.VAE):
    """Its KL's gradient counts for nothing, whatever its weight."""

    def compute(self, x, noise=None):
        h, cache_e = self.encoder.forward(x, train=True)
        y, cache_d = self.decoder.forward(module.reparametrise(self.backend, h, noise), train=True)
        reconstruction, dy = self.likelihood.loss(y, x)
        kl, _ = module.gaussian_kl(self.backend, h)
        dz = self.decoder.backward(dy, cache_d, grads=self.decoder.grads)
        dh = module.reparametrise_grad(self.backend, dz, h, noise) + 0.1 * h
        self.encoder.backward(dh, cache_e, grads=self.encoder.grads)
        self.optimizer_e.compute(self.encoder)
        self.optimizer_d.compute(self.decoder)
        return {"loss": reconstruction + self.weight.value * kl, "reconstruction": reconstruction, "kl": kl}


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (Twice, "the encoder makes 2 passes in a step of this game, not 1"),
        (Noisy, "the encoder does not see the batch as it is"),
        (Wider, "the decoder does not get z = μ"),
        (Capacity, "the loss is not reconstruction"),
        (Nameless, "returns no kl"),
    ],
)
def test_a_step_of_another_order_is_refused_in_one_line(kind, reason):
    game = vae(kind=kind)
    with pytest.raises(mg.errors.OptionError, match=reason) as caught:
        step.open_step(game, *batch(game))
    assert len(str(caught.value)) <= 300
    assert "\n" not in str(caught.value)
    assert game.encoder.watch is None


def test_a_kl_that_sends_no_gradient_is_seen(few_numbers):
    wrong, _ = differing(opened(vae(kind=Fixed)))
    assert {("loss", "", "KL"), ("backward", "", "∂/∂h")} <= wrong


def test_other_games_and_float32_are_refused():
    pair = mg.models.vae_mlp(SHAPE, LATENT, 4, backend="textbook")
    with pytest.raises(mg.errors.OptionError, match="computes in float32: build it with dtype='float64'"):
        step.open_step(mg.VAE(*pair), np.zeros((2, *SHAPE), "float32"), np.zeros((2, LATENT), "float32"))

    class Plain(mg.games.Game):
        networks = vae().networks

    with pytest.raises(mg.errors.OptionError, match="networks are encoder, decoder: only a step of a generator and a discrim"):
        step.open_step(Plain(), *batch(vae()))


# -- the page ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GAMES)
def test_the_way_is_that_of_the_step(name):
    found = of(name)
    e, d = len(found.encoder.net.layers), len(found.decoder.net.layers)
    made = stations(found)
    forwards = [s for s in made if s["act"] == "there"]
    assert [(s["kind"], s["net"]) for s in forwards] == [
        *(("input", "E"), *[("forward", "E")] * e, ("forward", ""), *[("forward", "D")] * d, *[("loss", "")] * 3),
    ]
    assert [s["label"] for s in forwards[-3:]] == ["R", "KL", "L"]
    back = [(s["kind"], s["net"]) for s in made if s["act"] == "back"]
    first = next(layer.index for layer in found.encoder.net.layers if layer.parameters)
    assert back == [
        *(*[("backward", "D")] * d, *[("backward", "")] * 2, *[("backward", "E")] * (e - first)),
        *(("update", "E"), ("update", "D"), ("input", "")),
    ]


def test_the_page_holds_the_numbers_of_the_step():
    found = opened(vae("conv", kl_weight=0.3))
    text = page.make_page(found, "a small VAE")
    arrays = decoded(text)

    def shown(label, role):
        (figure,) = [f for f in station(found, label)["figures"] if f["role"] == role]
        return arrays[figure["arrays"][""]]

    mean, log_var = np.split(found.encoder.outputs[-1], 2, axis=1)
    np.testing.assert_allclose(shown("z = μ + σ ε", "z"), (mean + np.exp(log_var / 2) * found.noise)[:4], rtol=1e-5, atol=1e-7)
    assert shown("R", "cost").sum() == pytest.approx(4 * first_four(found)[0], rel=1e-5)
    assert shown("KL", "cost").sum() == pytest.approx(4 * first_four(found)[1], rel=1e-5)
    np.testing.assert_allclose(shown("R", "reconstruction"), np.tanh(found.decoder.outputs[-1] / 2)[:4], rtol=1e-5, atol=1e-7)
    for role, half in (("mean", slice(LATENT)), ("log_var", slice(LATENT, None))):
        whole = found.encoder.output_grads[-1][:4, half]
        np.testing.assert_allclose(shown("∂/∂h", f"d{role}"), whole, rtol=1e-4, atol=1e-7)
        added = shown("∂/∂h", f"draw_{role}") + shown("∂/∂h", f"kl_{role}")
        np.testing.assert_allclose(added, whole, rtol=1e-4, atol=1e-7)
    facts = {f["name"]: f["value"] for f in station(found, "L")["facts"]}
    assert facts["L"] == f"{found.stats['loss']:.6f} nats a sample"
    assert facts["β"] == "0.3"
    sizes = content(text)["sizes"]
    assert len(sizes) == len(found.encoder.net.layers) + len(found.decoder.net.layers)
    (last,) = [s for s in sizes if s["net"] == "E" and s["index"] == len(found.encoder.net.layers) - 1]
    assert last["rms"] == pytest.approx(float(np.sqrt(np.mean(found.encoder.output_grads[-1] ** 2))))


def first_four(found):
    """Reconstruction and KL of the four samples that a page shows."""
    y, x, h = found.decoder.outputs[-1][:4], found.batch[:4], found.encoder.outputs[-1][:4]
    be = mg.get_backend("textbook")
    return float(Bernoulli().bind(be).loss(y, x)[0]), float(module.gaussian_kl(be, h)[0])


OF_A_GAN = r"\b(judges?|generator|discriminator|adversar\w+|G|generated|fake|logits? s)\b|x̃|take the sample for real"


@pytest.mark.parametrize("name", GAMES)
def test_no_word_of_a_gan(name):
    text = page.make_page(of(name), name, has_data=False)
    whole = content(text)
    words = [part for s in whole["stations"] for part in (s["title"], *s["text"], s.get("symbols", ""), str(s.get("facts")))]
    words += [f["caption"] for s in whole["stations"] for f in s.get("figures", [])]
    words += [s["plane"][key] for s in whole["stations"] if "plane" in s for key in ("caption", "names")]
    words += [act[key] for act in whole["acts"] for key in ("aim", "step")]
    assert not [one for one in words if re.search(OF_A_GAN, " ".join(one.values()) if isinstance(one, dict) else one)]


CLAIMS = {
    "the bound": (r"negative of a bound", "L", lambda found: found.weight == 1),
    "no bound": (r"less than the 1 at which", "L", lambda found: 0 < found.weight < 1),
    "no weight": (r"weighs 0 in this step", "L", lambda found: found.weight == 0),
    "a schedule": (r"The schedule raises that weight from here to 0.5", "L", lambda found: found.game.kl_weight is rising),
    "a logit": (r"Each y is a logit", "R", lambda found: type(found.game.likelihood) is Bernoulli),
    "a mean": (r"mean of a Gaussian of fixed width s", "R", lambda found: type(found.game.likelihood) is Gaussian),
    "Adam": (r"\bAdam\b", ("E: ", "D: "), lambda found: isinstance(found.game.optimizer_e, mg.Adam)),
    "D has a turn": (r"it moves next", "E: ", lambda found: found.updates["decoder"].lr > 0),
    "D stays": (r"stay where they are: the learning rate is 0", "D: ", lambda found: found.updates["decoder"].lr == 0),
    "E has moved": (r"E has moved already", "D: ", lambda found: True),
    "the samples are given": (r"No dx is made: nothing below learns, and the samples are given", "E", lambda found: True),
}


@pytest.mark.parametrize("name", GAMES)
def test_every_claim_is_made_where_it_is_true(name):
    found = of(name)
    made = stations(found)
    for claim, (words, label, is_true) in CLAIMS.items():
        told = [s for s in made if re.search(words, "\n".join(s["text"]))]
        assert bool(told) == is_true(found), claim
        assert all(s["label"].startswith(label) or s["net"] == label for s in told), claim
    assert not station(found, "KL")["text"][1:], "no dimension is idle"


def test_an_idle_dimension_is_told(few_numbers):
    game = vae(lr=lambda step: 0.0)
    game.encoder.params["5.weight"][:, [0, LATENT]] = 0  # μ and ℓ of the code's first dimension
    assert "1 of the 3 dimensions of this code are all but idle" in " ".join(station(opened(game), "KL")["text"])


class Laplace(Likelihood):
    """−log p = Σ |x − y|, but for a constant."""

    def loss(self, y, x):
        return np.asarray(np.abs(y - x).sum() / len(x)), np.sign(y - x) / len(x)

    def mean(self, y):
        return y


def test_of_a_likelihood_of_ones_own_nothing_is_made_up(few_numbers):
    found = opened(vae(likelihood=Laplace()))
    made = station(found, "R")
    assert "in a way of its own" in made["text"][0]
    assert not made["formulas"]
    assert [f["role"] for f in made["figures"]] == ["x", "reconstruction", "dy"]
    assert "nats" not in str([s["facts"] for s in stations(found)])
    assert {c["verdict"] for c in made["checks"]} == {"agrees"}
    assert set(LIKELIHOODS) == set(mg.losses.LIKELIHOODS.values())


def test_pictures_are_samples_and_reconstructions(few_numbers):
    found = {name: of(name) for name in ("mlp", "conv")}
    pictures = {
        name: {(s["label"], f["role"]) for s in stations(one) for f in s.get("figures", []) if f["style"] == "image"}
        for name, one in found.items()
    }
    everywhere = {("x", "x"), ("R", "x"), ("R", "reconstruction"), ("samples", "sample"), ("samples", "x")}
    assert pictures["mlp"] == everywhere | {("Flatten", "x")}
    assert everywhere <= pictures["conv"]
    assert ("Conv2d", "x") in pictures["conv"]


def test_points_and_codes_stand_in_their_planes(few_numbers):
    found = opened(points())
    text = page.make_page(found, "points")
    arrays, made = decoded(text), content(text)["stations"]
    planes = {s["label"]: s["plane"] for s in made if "plane" in s}
    assert set(planes) == {"x", "z = μ + σ ε", "R", "∂/∂z", "samples"}
    np.testing.assert_allclose(arrays[planes["R"]["arrows"]], -found.decoder.output_grads[-1], rtol=1e-5)
    np.testing.assert_allclose(arrays[planes["∂/∂z"]["arrows"]], -found.decoder.input_grad, rtol=1e-5)
    np.testing.assert_allclose(arrays[planes["∂/∂z"]["points"]["generated"]], found.decoder.x, rtol=1e-5)
    assert planes["samples"]["names"] == {"real": "real samples", "generated": "samples"}
    assert planes["R"]["names"]["generated"] == "reconstructions"


# -- the command ---------------------------------------------------------------------------------------------------------

TINY = ["--game", "vae", "--hidden", "4", "--latent-dim", "2", "--quiet"]


@pytest.mark.parametrize(
    "options", [[], ["--likelihood", "gaussian", "--sigma", "0.2", "--kl-warmup", "9"], ["--data", "ring"]]
)
def test_the_small_game(options, tmp_path, capsys, few_numbers):
    out = tmp_path / "page.html"
    assert cli.main(["explain", *TINY, *options, "--after", "2", "--batch-size", "3", "--out", str(out)]) == 0
    data = "ring" if "ring" in options else "digits"
    assert capsys.readouterr().out.startswith(f"vae mlp on {data} after 2 steps, batch 3, seed 0: {out}")
    made = content(out.read_text(encoding="utf-8"))["stations"]
    assert {c["verdict"] for s in made for c in s.get("checks", [])} == {"agrees"}
    words = " ".join(next(s for s in made if s["label"] == "L")["text"])
    assert ("weighs β = 0.333" in words) == ("--kl-warmup" in options)


@pytest.mark.slow
def test_the_game_of_a_run(tmp_path, capsys):
    """With its optimisers, and the weight of the KL where its schedule has brought it; also where its data are gone."""
    data, run = tmp_path / "points.npy", tmp_path / "run"
    np.save(data, np.random.default_rng(0).standard_normal((64, 2)).astype("float32"))
    command = ["train", "--data", str(data), "--steps", "6", "--kl-warmup", "10", "--batch-size", "16", "--backend", "textbook"]
    assert cli.main([*command, *TINY, "--out", str(run)]) == 0
    found = game_of_run(run, "textbook", batch_size=4)
    assert found.game.optimizer_e.steps == found.game.optimizer_d.steps == 6
    assert step.open_step(found.game, found.real, found.noise).weight == pytest.approx(0.7)
    out = tmp_path / "page.html"
    assert cli.main(["explain", str(run), "--batch-size", "4", "--quiet", "--out", str(out)]) == 0
    assert f"{run}: vae mlp on {data} after 6 steps" in capsys.readouterr().out
    data.unlink()
    gone = game_of_run(run, "textbook", batch_size=4)
    assert not gone.has_data
    np.testing.assert_array_equal(gone.real, gone.game.sample(4, seed=0))
    assert cli.main(["explain", str(run), "--batch-size", "4", "--quiet", "--out", str(out)]) == 0
    said = " ".join(content(out.read_text(encoding="utf-8"))["stations"][0]["text"])
    assert "samples that D made stand in for the real ones" in said


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ("--game vae --width 4", "width does not apply to the model mlp"),
        ("--game vae --loss hinge", "loss"),
        ("--game vae --data ring --likelihood bernoulli", "likelihood is bernoulli, which is for pixels"),
        ("--game vae --data names", "the game vae makes images or points"),
        ("--kl-weight 2", "kl_weight"),
    ],
)
def test_mistakes_are_one_line(options, found, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert entry.main(["explain", *options.split(), "--after", "0", "--quiet"]) == cli.USER_ERROR
    said = capsys.readouterr().err
    assert found in said
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_game_that_blew_up_is_not_opened():
    game = vae()
    game.decoder.flat_params[...] = 1e200
    with np.errstate(all="ignore"), pytest.raises(mg.errors.DivergenceError, match="L is not finite in this step"):
        step.open_step(game, *batch(game))
