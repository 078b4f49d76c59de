"""A run of a VAE, by the contract that every game keeps: its folder, its options, going on, samples, and the verdict on it."""

import json
from dataclasses import replace

import numpy as np
import pytest
from quick_runs import before_step, config, content, draw_bytes, make, rows

import minigan as mg
from minigan import cli
from minigan.cli import entry
from minigan.data import Dataset
from minigan.errors import MiniganError, ModelError, OptionError
from minigan.training import CHECKPOINT, CONFIG, LOG, Config, columns_of, load_game, plots, read_log, resume_run, start_run, vae
from minigan.training.folder import PICTURES
from minigan.training.verdict import diagnose, diagnose_run

VAE = {"game": "vae"}


def stop(run):
    run._stop = True


def raise_error(run):
    raise RuntimeError("out of the blue")


@pytest.mark.parametrize("end", [stop, raise_error])
def test_ended_and_resumed_it_ends_in_the_same_bytes(end, tmp_path, monkeypatch):
    draw_bytes(monkeypatch)
    options = {**VAE, "kl_warmup": 17}
    make(tmp_path, "whole", **options).train(progress=False)
    run = make(tmp_path, **options)
    before_step(run, 13, lambda: end(run))
    try:
        run.train(progress=False)
    except RuntimeError:
        assert end is raise_error
    resume_run(tmp_path / "run").train(progress=False)
    assert content(tmp_path / "run") == content(tmp_path / "whole")
    assert "reconstructions.png" in content(tmp_path / "run")


def test_its_folder(tmp_path):
    """The pictures that the game names, beside those of every run; config.json names the game; each statistic has a column."""
    run = make(tmp_path, **VAE, latent_dim=2, steps=8)
    run.train(progress=False)
    names = {path.name for path in run.folder.iterdir()}
    assert {CONFIG, LOG, CHECKPOINT, *PICTURES.values()} <= names
    assert json.loads((run.folder / CONFIG).read_text())["game"] == "vae"
    first = rows(run.folder)[0]
    own = {"loss", "reconstruction", "kl", "active_units", "diversity", "encoder.1.gradient", "decoder.0.update"}
    assert own <= first.keys()
    assert not {"loss_d", "saturated_real"} & first.keys()
    assert float(first["loss"]) == pytest.approx(float(first["reconstruction"]) + float(first["kl"]), rel=1e-5)
    shown = []
    run.game.pictures = lambda real: shown.append(real) or {}
    run._draw_pictures()
    np.testing.assert_allclose(shown[0], run.dataset.values / 127.5 - 1, atol=1e-6)


def test_a_new_run_in_its_place_clears_its_pictures(tmp_path, monkeypatch):
    draw_bytes(monkeypatch)
    make(tmp_path, **VAE, latent_dim=2).train(progress=False)
    make(tmp_path, overwrite=True).train(progress=False)
    assert not any((tmp_path / "run" / name).exists() for name in PICTURES.values())


def test_a_picture_that_no_folder_knows_is_missed(tmp_path, monkeypatch):
    draw_bytes(monkeypatch)
    said = []
    run = make(tmp_path, **VAE, said=said)
    run.game.pictures = lambda real: {"selfie": mg.games.Picture(real, 1)}
    assert run.train(progress=False)
    assert any("the game has a picture 'selfie': expected reconstructions or latent_map" in line for line in said)


def test_the_curves_name_what_they_show():
    names = ("step", "loss", "reconstruction", "kl", "clusters", "diversity", "active_units")
    panels = plots._panels({name: [] for name in names})
    assert panels == [vae.plot_bound, vae.plot_kl, panels[2]]
    assert panels[2].func is plots._plot_diversity


# -- options -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        *(
            ({**VAE, name: value}, OptionError, f"{name} is an option of --game gan, and the game is vae: leave it out")
            for name, value in {
                **{"loss": "hinge", "penalty": ("r1=1",), "penalty_every": 2, "critic_steps": 2, "pack": 2, "clip": 0.1},
                **{"instance_noise": 0.1, "ema": 0.9, "lr_d": 1e-3, "smoothing": 0.1},
            }.items()
        ),
        *(
            ({name: value}, OptionError, f"{name} is an option of --game vae, and the game is gan: leave it out")
            for name, value in {"likelihood": "gaussian", "sigma": 0.1, "kl_weight": 1.0, "kl_warmup": 5}.items()
        ),
        ({**VAE, "model": "dcgan", "hidden": None}, ModelError, "dcgan is no model of the game vae: take mlp or conv"),
        ({"model": "conv", "hidden": None}, ModelError, "conv is no model of the game gan: take dcgan or mlp"),
        ({**VAE, "model": "conv"}, ModelError, "hidden does not apply to the model conv"),
        ({**VAE, "sigma": 0.1}, OptionError, "a bernoulli likelihood has none"),
        ({**VAE, "likelihood": "gaussian", "sigma": 1e9}, OptionError, "sigma is 1000000000.0: expected a number from 1e-06"),
        ({**VAE, "likelihood": "poisson"}, OptionError, "likelihood is 'poisson': an unknown name"),
        (
            {**VAE, "data": "ring", "likelihood": "bernoulli"},
            OptionError,
            "for pixels, and ring holds points: take gaussian",
        ),
        ({"game": "vea"}, OptionError, "game is 'vea': an unknown name; "),
    ],
)
def test_options_of_one_game_are_refused_by_the_other(options, error, words, tmp_path):
    with pytest.raises(error, match=words.replace("(", r"\(")) as caught:
        make(tmp_path, **options)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) <= 300
    assert not (tmp_path / "run").exists()


def test_recipes_fill_in_what_is_left_open():
    images = Dataset("own", np.zeros((2, 8, 8, 1), np.uint8))
    for given, expected in (
        ({}, {"model": "mlp", "hidden": (400,), "latent_dim": 20, "likelihood": "bernoulli", "sigma": None, "kl_weight": 1.0}),
        ({"model": "conv"}, {"width": 32, "hidden": None, "likelihood": "bernoulli"}),
        ({"likelihood": "gaussian"}, {"sigma": 0.3}),
    ):
        one = Config(**VAE, **given)
        one.resolve(images)
        assert {name: getattr(one, name) for name in expected} == expected
        assert (one.loss, one.ema, one.critic_steps) == (None, None, None)
        again = Config.from_json(one.to_json())
        again.resolve(images)
        assert again == one, "twice is once"
        assert one.own_options() == {"game": "vae", **{name: value for name, value in given.items() if value != "mlp"}}
    points = Config(**VAE)
    points.resolve(Dataset("own", np.zeros((2, 2), np.float32)))
    assert (points.model, points.likelihood, points.latent_dim) == ("mlp", "gaussian", 2)


CONV = {"model": "conv", "hidden": None, "width": 2}


@pytest.mark.parametrize("options", [CONV, {"likelihood": "gaussian", "sigma": 0.5}, {}])
def test_a_run_of_each_model_is_loaded_and_begun_from(options, tmp_path, monkeypatch):
    draw_bytes(monkeypatch)
    run = make(tmp_path, **VAE, **options, steps=4)
    run.train(progress=False)
    game = load_game(run.folder, "textbook").game
    x = (run.dataset.values / 127.5 - 1).astype(np.float32)
    np.testing.assert_array_equal(game.reconstruct(x), run.game.reconstruct(x))
    np.testing.assert_array_equal(game.sample(5), run.game.sample(5))
    assert np.abs(game.sample(5)).max() <= 1
    changed = config(tmp_path, **VAE, **options, steps=4, lr=1e-2)
    fresh = start_run(changed, tmp_path / "more", begins_from=run.folder, log=lambda text: None)
    np.testing.assert_array_equal(fresh.game.reconstruct(x), run.game.reconstruct(x))
    assert fresh.game.optimizer_e.steps == 0


def test_it_does_not_begin_from_a_gan(tmp_path, monkeypatch):
    draw_bytes(monkeypatch)
    make(tmp_path, "gan", steps=4).train(progress=False)
    with pytest.raises(MiniganError, match=r"the networks are of another game: they lack decoder\.0\.bias"):
        start_run(config(tmp_path, **VAE), tmp_path / "run", begins_from=tmp_path / "gan", log=lambda text: None)
    assert entry.main(["train", "--from", str(tmp_path / "gan"), "--game", "vae", "--out", str(tmp_path / "run")]) == 2


def test_networks_of_ones_own(tmp_path, monkeypatch):
    draw_bytes(monkeypatch)
    file = tmp_path / "nets.py"
    text = (
        "import minigan as mg\n"
        "def build(image_shape, latent_dim, backend):\n"
        "    e = mg.Sequential([mg.Flatten(), mg.Dense(2 * latent_dim)], image_shape, backend)\n"
        "    d = mg.Sequential([mg.Dense(16), mg.Reshape(image_shape)], (latent_dim,), backend)\n"
        "    return e, d\n"
    )
    file.write_text(text)
    run = make(tmp_path, **VAE, model=f"{file}:build", hidden=None, latent_dim=None, steps=4)
    assert run.settings["latent_dim"] == 20
    assert run.train(progress=False)
    assert load_game(run.folder, "textbook").game.latent_dim == 20
    file.write_text(text.replace("return e, d", "return d, e"))
    with pytest.raises(ModelError, match=r"the decoder must take latent vectors, shape \(latent,\)"):
        make(tmp_path, "other", **VAE, model=f"{file}:build", hidden=None)


# -- commands ------------------------------------------------------------------------------------------------------------


def test_commands(tmp_path, capsys, few_numbers):
    """Trained, sampled from, walked through, evaluated, diagnosed and explained as a GAN is."""
    out = str(tmp_path / "run")
    options = ["--hidden", "8", "--latent-dim", "2", "--backend", "textbook", "--quiet"]
    assert cli.main(["train", "--game", "vae", "--steps", "3", "--out", out, *options]) == 0
    said = capsys.readouterr().out
    assert "vae mlp float32, encoder 6,316 + decoder 7,080 parameters" in said
    assert "verdict: The run is too short to tell" in said
    for name, more in (("s.png", []), ("w.gif", ["--interpolate"]), ("s.npz", [])):
        assert cli.main(["sample", out, "-n", "8", "--out", str(tmp_path / name), *more]) == 0
    with np.load(tmp_path / "s.npz") as file:
        assert file["images"].shape == (8, 28, 28, 1)
    assert cli.main(["evaluate", out, "--samples", "20", "--quiet"]) == 0
    assert "Fréchet distance" in capsys.readouterr().out
    assert cli.main(["diagnose", out]) == 0
    capsys.readouterr()
    assert cli.main(["explain", out, "--batch-size", "2", "--quiet", "--out", str(tmp_path / "page.html")]) == 0
    assert "vae mlp on digits after 3 steps" in capsys.readouterr().out


# -- the verdict ---------------------------------------------------------------------------------------------------------

CONFIG_OF_LOG = Config(**VAE, steps=600, latent_dim=20, model="mlp", kind="images", likelihood="bernoulli", kl_weight=1.0)


def log(count=30, **columns):
    steps = np.arange(20, 20 * count + 1, 20)
    usual = {"loss": 100.0, "reconstruction": 80.0, "kl": 20.0, "active_units": 0.8, "diversity": 0.9, "clusters": 0.9}
    usual |= {"fidelity": 0.9, "coverage": 0.9, "epoch": 0.0}
    return {"step": steps, **{name: np.broadcast_to(value, count) for name, value in {**usual, **columns}.items()}}


@pytest.mark.parametrize(
    ("columns", "changes", "expected"),
    [
        ({}, {}, "healthy"),
        ({"kl": 0.02, "active_units": 0.0}, {}, "posterior collapse"),
        ({"kl": 0.02, "active_units": 0.0}, {"kl_warmup": 700}, "young"),
        ({"kl": 0.02, "active_units": np.nan}, {}, "posterior collapse"),
        ({"active_units": 0.25}, {}, "idle units"),
        ({"loss": np.r_[np.full(29, 100.0), np.inf]}, {}, "learning rate"),
        ({"decoder.1.dead": 0.99}, {}, "learning rate"),
        ({"fidelity": 0.3}, {}, "unlike"),
        ({"coverage": 0.3}, {}, "incomplete"),
        ({"diversity": 0.1, "clusters": 0.1}, {}, "incomplete"),
        ({"fidelity": 0.3}, {"steps": 2000}, "young"),
        ({"kl": np.nan}, {}, "unmeasured"),
        ({"count": 5}, {}, "too short"),
        ({"count": 5, "loss": np.r_[np.full(4, 100.0), np.inf]}, {}, "learning rate"),
    ],
)
def test_rules(columns, changes, expected):
    findings = diagnose(log(**columns), replace(CONFIG_OF_LOG, **changes))
    assert findings[0].kind == expected
    told = json.dumps([finding.to_json() for finding in findings], ensure_ascii=False)
    for word in ("D(x)", "D(G(z))", "L_D", "generator", "discriminator", "--penalty", "--smoothing", "--lr-d", "neither side"):
        assert word not in told


@pytest.mark.parametrize(
    ("settings", "option"),
    [
        ({"kl_weight": 30.0}, "--kl-weight 1"),
        ({"likelihood": "gaussian", "sigma": 5.0}, "--sigma 0.3"),
        ({"likelihood": "gaussian", "sigma": 0.3}, "--sigma 0.15"),
        ({"lr": 0.5}, "--lr 0.001"),
        ({}, "--kl-warmup 150"),
        ({"kl_warmup": 100}, "--kl-weight 0.5"),
    ],
)
def test_the_cure_of_a_collapse_fits_the_run(settings, option):
    found = diagnose(log(kl=0.0, active_units=0.0), replace(CONFIG_OF_LOG, **settings))[0]
    assert option in found.advice[0].command
    assert found.advice[0].command.startswith("minigan train --game vae")


def test_a_run_that_collapses_and_its_cure(tmp_path, monkeypatch):
    """A weight of 100 makes every code say nothing; what is advised first, typed as it stands, makes it speak."""
    draw_bytes(monkeypatch)
    folder = tmp_path / "run"
    options = {**VAE, "data": "digits", "image_size": (8, 8), "hidden": (16,), "latent_dim": 4, "backend": "textbook"}
    start_run(Config(**options, steps=300, kl_weight=100.0), folder, log=lambda text: None).train(progress=False)
    findings, about = diagnose_run(folder)
    assert findings[0].kind == "posterior collapse"
    assert "vae mlp on digits" in about
    assert max(columns_of(read_log(folder / LOG))["active_units"][-5:]) == 0
    monkeypatch.chdir(tmp_path)
    command = [*findings[0].advice[0].command.split()[1:], "--out", "cured", "--backend", "textbook", "--quiet"]
    assert cli.main(command) == 0
    assert diagnose_run(tmp_path / "cured")[0][0].kind not in ("posterior collapse", "idle units", "too short")


def test_a_run_from_python(tmp_path, monkeypatch):
    draw_bytes(monkeypatch)
    vae = mg.VAE(*mg.models.vae_mlp((4, 4, 1), 2, 4, backend="textbook"), kl_weight=1000.0, lr=1e-2)
    values = np.random.default_rng(0).integers(0, 256, (24, 4, 4, 1), dtype=np.uint8)
    run = mg.train(vae, values, tmp_path / "run", steps=200, batch_size=8, log_every=10, progress=False)
    findings, _ = diagnose_run(run.folder)
    assert findings[0].kind == "posterior collapse"
    assert any("kl_weight" in one.reason for one in findings[0].advice)
