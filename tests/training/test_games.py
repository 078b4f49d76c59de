"""A game that nobody knew of, added by one entry of the table: trained, stopped, resumed, sampled, drawn and judged as the
others are. Each place that would ask for a game by its name is caught.
"""

import json
from dataclasses import replace

import numpy as np
import pytest
from quick_runs import before_step, content, draw_bytes, make, rows

import minigan as mg
from minigan import cli
from minigan.errors import MiniganError
from minigan.games import Game
from minigan.training import CONFIG, CURVES, OPTIONS, Config, config, gan, load_game, plots, resume_run, vae, verdict
from minigan.training.description import Description, LogForm, adam_of
from minigan.training.findings import Finding
from minigan.training.games import GAMES


class Energy(Game):
    """One network, trained by the energy distance of two batches, 2 E‖y − x‖ − E‖y − y'‖ (Székely and Rizzo 2013)."""

    stats = ("energy",)
    observed = ("generator",)
    figures = ("reach",)

    def __init__(self, generator, lr, betas, seed):
        self.backend, self.networks = generator.backend, {"generator": generator}
        self.optimizers = {"generator": mg.Adam(lr, betas)}
        self.optimizers["generator"].attach(generator)
        self.streams = {"noise": self.backend.generator(seed)}

    @property
    def sampler(self):
        return self.networks["generator"]

    def compute(self, x):
        g, xp = self.sampler, self.backend.xp
        y, cache = g.forward(self.streams["noise"].normal((len(x), self.latent_dim), self.dtype), train=True)
        energy, dy = 0, 0
        for other, weight in ((x, 2.0), (y, -1.0)):
            gaps = y[:, None] - other[None]
            lengths = xp.sqrt((gaps * gaps).sum(axis=2) + 1e-12)
            energy = energy + weight * lengths.mean()
            # A pair of y is there twice, and both of it move.
            dy = dy + weight * (2 if other is y else 1) * (gaps / lengths[..., None]).mean(axis=1) / len(y)
        g.backward(dy, cache, grads=g.grads, input_grad=False)
        self.optimizers["generator"].compute(g)
        return {"energy": energy}

    def observe(self, run, real, z, labels):
        fake = run("generator", z)
        return fake, {"reach": abs(fake).max()}


def networks(image_shape=(2,), latent_dim=2, hidden=(8,), backend="auto", dtype="float32", seed=0):
    layers = [layer for width in hidden for layer in (mg.Dense(width), mg.ReLU())]
    return (mg.Sequential([*layers, mg.Dense(image_shape[0])], (latent_dim,), backend, dtype, seed),)


def build(nets, config, steps):
    return Energy(*nets, **adam_of(config, steps), seed=config.seed)


def plot_energy(axes, log):
    axes.plot(log["step"], log["energy"], label="2 E|y − x| − E|y − y'|")


def judge(view):
    evidence = (f"{view.since} the energy distance is {view.median('energy'):.2g}", view.likeness)
    return [] if view.is_short else [Finding("far", evidence, (view.go_on("it may come closer"),))]


FORM = LogForm(
    *(("energy",), (plot_energy,), judge),
    titles={"far": "The samples are still far from the data."},
    diversity={"reach": "farthest sample"},
)
ENERGY = Description(
    about="a generator alone",
    networks=("G",),
    sampler=0,
    pairs={"mlp": networks},
    models={"points": ("mlp",)},
    recipes={"points": {"steps": 50, "batch_size": 8, "lr": 1e-2, "beta1": 0.5, "beta2": 0.9, "latent_dim": 2, "hidden": (8,)}},
    usual={"points": "points"},
    options=(),
    build=build,
    logs=(FORM,),
)
OPTION = {"game": "energy", "model": None, "latent_dim": None, "hidden": None, "batch_size": None, "data": "points.npy"}
OPTION |= {"steps": 110, "log_every": 10, "sample_every": 60, "checkpoint_every": 40}


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setitem(GAMES, "energy", ENERGY)
    monkeypatch.chdir(tmp_path)
    np.save("points.npy", np.random.default_rng(0).normal((3, 0), 0.1, (200, 2)).astype(np.float32))
    return tmp_path


def play(folder):
    """A whole run by the command line, what it wrote and what is said of it: an AssertionError or MiniganError where some part
    does not ask the table.
    """
    said = []
    run = make(folder, said=said, **OPTION)
    assert isinstance(run.game, Energy)
    assert run.train(progress=False)
    assert "| energy mlp float32, G 42 parameters" in said[0]
    assert json.loads((folder / "run" / CONFIG).read_text())["game"] == "energy"
    log = rows(folder / "run")
    assert {"energy", "reach", "diversity", "fidelity", "generator.0.gradient", "generator.1.dead"} <= log[0].keys()
    assert float(log[-1]["energy"]) < float(log[0]["energy"]) / 4
    assert any("verdict: The samples are still far from the data (" in line for line in said)
    findings, about = verdict.diagnose_run(folder / "run")
    assert "run: energy mlp on " in about
    assert [finding.title for finding in findings] == ["The samples are still far from the data."]
    assert Config(game="energy", kind="points", model="mlp", lr=0.5).own_options() == {"game": "energy", "lr": 0.5}
    game, settings, kind = load_game(folder / "run")
    assert (settings.recipe["batch_size"], kind.name, game.sample(3).shape) == (8, "points", (3, 2))
    panels = plots._panels({name: [] for name in log[0]})
    assert panels[0] is plot_energy
    assert len([panel for panel in panels if getattr(panel, "func", None) is plots._plot_statistics]) == 0


def test_it_is_played_as_the_others_are(place, curves):
    play(place)
    assert (place / "run" / CURVES).stat().st_size > 10_000
    assert not any((place / "run").glob("reconstructions*"))


def test_stopped_and_resumed_it_ends_in_the_same_bytes(place, monkeypatch):
    draw_bytes(monkeypatch)
    make(place, "whole", **OPTION).train(progress=False)
    run = make(place, **OPTION)
    before_step(run, 73, lambda: setattr(run, "_stop", True))
    run.train(progress=False)
    assert run.step == 73
    resume_run(place / "run", log=lambda text: None).train(progress=False)
    assert content(place / "run") == content(place / "whole")


def test_on_the_command_line(place, capsys):
    options = ["--data", "points.npy", "--out", "run", "--backend", "textbook", "--quiet"]
    assert cli.main(["train", "--game", "energy", "--steps", "20", *options]) == 0
    assert cli.main(["sample", "run", "-n", "5", "--out", "points.npz"]) == 0
    assert cli.main(["diagnose", "run"]) == 0
    out = capsys.readouterr().out
    assert "energy mlp float32" in out
    assert "run: energy mlp on " in out
    assert np.load("points.npz")["points"].shape == (5, 2)
    for wrong, told in (
        (["--loss", "hinge"], "loss is an option of --game gan, and the game is energy: leave it out"),
        (["--kl-weight", "2"], "kl_weight is an option of --game vae, and the game is energy"),
        (["--data", "digits"], "the game energy makes"),
        (["--model", "conv"], "conv is no model of the game energy"),
        (["--pack", "2"], "pack is an option of --game gan"),
        (["--game", "energie"], "did you mean 'energy'"),
    ):
        given = ["train", "--game", "energy", *options, "--overwrite", *wrong]
        assert cli.main(given) == 2, wrong
        assert told in capsys.readouterr().err


def test_networks_of_a_users_file(place):
    lines = ["import minigan as mg", "def build(latent_dim, backend, dtype):"]
    lines += [
        "    net = mg.Sequential([mg.Dense(3), mg.ReLU(), mg.Dense(2)], (latent_dim,), backend, dtype)",
        "    return (net,)",
    ]
    (place / "nets.py").write_text("\n".join(lines))
    run = make(place, **{**OPTION, "model": f"{place / 'nets.py'}:build"})
    assert run.game.latent_dim == 2
    (place / "nets.py").write_text("\n".join([*lines[:-1], "    return net"]))
    with pytest.raises(MiniganError, match=r"must return \(G\), one minigan.Sequential; it returns"):
        make(place, "other", **{**OPTION, "model": f"{place / 'nets.py'}:build"})


# -- each special case is caught -----------------------------------------------------------------------------------------


def known(game):
    return game if game == "vae" else "gan"


def known_form(columns):
    return vae.BOUND if "kl" in columns else gan.LOGITS


PLANTED = {
    "built by its name": lambda patch: patch.setattr(Config, "description", property(lambda self: GAMES[known(self.game)])),
    "its recipe": lambda patch: patch.setattr(config, "GAMES", {name: GAMES[known(name)] for name in GAMES}),
    "named in the option": lambda patch: patch.setitem(OPTIONS, "game", replace(OPTIONS["game"], choices=("gan", "vae"))),
    "its title": lambda patch: patch.setattr(
        config, "with_game", lambda game, model: f"vae {model}" if game == "vae" else model
    ),
    "drawn by its columns": lambda patch: patch.setattr(plots, "form_of", known_form),
    "judged by its columns": lambda patch: patch.setattr(verdict, "form_of", known_form),
    "observed by its networks": lambda patch: patch.setattr(Energy, "observed", ("generator", "discriminator")),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_special_case_is_caught(name, place, monkeypatch):
    draw_bytes(monkeypatch)
    PLANTED[name](monkeypatch)
    with pytest.raises((AssertionError, MiniganError, AttributeError, TypeError)):
        play(place)
