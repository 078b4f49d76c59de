"""minigan diagnose: runs made to fail and healthy ones, whose true state is told by other measures; its rules; its command."""

import json
import math
import shlex
from contextlib import suppress
from dataclasses import replace
from functools import cache
from importlib import resources

import numpy as np
import pytest

from minigan import cli
from minigan.cli import entry
from minigan.cli.parser import given_options
from minigan.data import load
from minigan.diagnose import TITLES, diagnose, diagnose_run, report
from minigan.errors import DivergenceError
from minigan.training import LOG, Config, columns_of, config, plots, read_log, start_run
from minigan.training.verdict import verdict

SEEDS = (30, 31)  # none of those by which the limits were chosen
RING = {"data": "ring", "kind": "points", "hidden": (64, 64), "batch_size": 128}
DIGITS = {"data": "digits", "image_size": (12, 12), "batch_size": 32, "latent_dim": 16}
MLP = {**DIGITS, "model": "mlp", "hidden": (64,)}
DCGAN = {**DIGITS, "model": "dcgan", "width": 8, "log_every": 10}
PLANTED = {  # by kind: settings of runs on points, of dense ones on images, and of convolutional ones
    "healthy": [
        {**RING, "steps": 600},
        {**MLP, "steps": 400, "lr": 3e-3, "beta1": 0.0, "beta2": 0.99},
        {**DCGAN, "steps": 200, "width": 12, "extra_conv": False},
    ],
    "discriminator wins": [
        {**RING, "steps": 800, "lr": 1e-5, "lr_d": 5e-3},
        {**MLP, "steps": 200, "loss": "saturating", "lr": 1e-4, "lr_d": 4e-3},
        {**DCGAN, "steps": 110, "loss": "saturating", "lr": 1e-4, "lr_d": 4e-3},
    ],
    "collapse": [
        {**RING, "steps": 600, "lr_d": 1e-2, "beta1": 0.5},
        {**MLP, "steps": 600, "lr": 3e-3, "beta1": 0.9},
        {**DCGAN, "steps": 120, "lr": 2e-3, "lr_d": 2e-5},
    ],
    "generator wins": [
        {**RING, "hidden": (16, 16), "steps": 200, "lr": 5e-3, "lr_d": 1e-6},
        {**MLP, "steps": 120, "lr_d": 1e-5, "log_every": 10},
        {**MLP, "steps": 120, "lr": 5e-3, "lr_d": 1e-5, "log_every": 10},
    ],
    "learning rate": [
        {**RING, "steps": 200, "lr": 0.5},
        {**MLP, "steps": 200, "lr": 0.2},
        {**DCGAN, "steps": 110, "lr": 0.2},
    ],
}
ROUGH = ("unlike", "incomplete")  # what so short a run that is well balanced may be
SIX = {  # by kind: the settings and seed of each of its six runs
    kind: [(settings, seed) for settings in rows for seed in SEEDS] for kind, rows in PLANTED.items()
}


@pytest.fixture(scope="module", autouse=True)
def _load_data_once():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(config, "load", cache(load))
        yield


def train(folder, **options):
    """A run without pictures, and the spread of G's first weights; a divergence is left to its log."""
    run = start_run(Config(backend="textbook", **options), folder, log=lambda text: None)
    size = run.game.generator.flat_params.std()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("save_samples", "save_curves", "save_animation_of_files"):
            patch.setattr(plots, name, lambda *args: None)
        with suppress(DivergenceError):
            run.train(progress=False)
    return run, size


@cache
def planted(kind, index, tmp):
    """One of the six runs of a kind: (label, run, spread of G's first weights, findings)."""
    settings, seed = SIX[kind][index]
    run, size = train(tmp / f"{kind}-{index}", **settings, seed=seed)
    findings, _ = diagnose_run(run.folder)
    return f"{settings.get('model', 'ring')} seed {seed}", run, size, findings


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("planted")


# -- the true state of a game, by other measures ---------------------------------------------------------------------------


@cache
def real_digits():
    with resources.files("minigan.data.bundled").joinpath("digits.npz").open("rb") as file:
        labels = np.load(file)["labels"]
    return load("digits", image_size=(12, 12)).values.reshape(5000, -1) / 127.5 - 1, labels


def generated(run, count=400):
    """What the generator that plays makes, not its average."""
    run.game.average = None
    return run.game.sample(count, seed=123)


def modes_hit(points):
    """(how many of the ring's modes have 2.5 % of the points within 0.25 of their centre, the share of points near any)"""
    angles = 2 * np.pi * np.arange(8) / 8
    distances = np.linalg.norm(points[:, None] - np.stack([np.cos(angles), np.sin(angles)], axis=1), axis=2)
    near = distances.min(axis=1) < 0.25
    shares = np.bincount(distances.argmin(axis=1)[near], minlength=8) / len(points)
    return int((shares >= 0.025).sum()), float(near.mean())


def digits_hit(images):
    """Of the nearest real digits: (classes with 2 % or more, the largest class's share, how many different ones, distance)."""
    real, labels = real_digits()
    flat = images.reshape(len(images), -1).astype(np.float64)
    squares = (flat**2).sum(axis=1)[:, None] + (real**2).sum(axis=1) - 2 * flat @ real.T
    nearest = squares.argmin(axis=1)
    shares = np.bincount(labels[nearest], minlength=10) / len(images)
    distance = float(np.median(np.sqrt(np.maximum(squares.min(axis=1), 0))))
    return int((shares >= 0.02).sum()), float(shares.max()), len(set(nearest.tolist())), distance


def accuracy_of_d(run, count=400):
    """D's share of right answers for real and for generated samples, with networks as they are used after training."""
    be, d = run.game.backend, run.game.discriminator
    fake, _ = d.forward(be.asarray(generated(run, count), d.dtype))
    chosen = run.dataset.values[np.random.default_rng(5).integers(0, len(run.dataset), count)]
    chosen = chosen / 127.5 - 1 if run.dataset.is_images else chosen
    real, _ = d.forward(be.asarray(chosen, d.dtype))
    return float(((real > 0).mean() + (fake < 0).mean()) / 2)


def is_true(kind, run, size):
    """Whether a planted run is what it was meant to be."""
    samples = generated(run)
    points = samples.ndim == 2
    if kind == "healthy":
        if points:
            return modes_hit(samples)[0] >= 7
        classes, share, different, distance = digits_hit(samples)
        return classes >= 9 and share < 0.4 and different > 150 and distance < 5
    if kind == "collapse":
        if points:
            return modes_hit(samples)[0] <= 3 and modes_hit(samples)[1] > 0.5
        _, share, different, _ = digits_hit(samples)
        return share > 0.4 and different < 40
    if kind == "discriminator wins":
        far = modes_hit(samples)[1] < 0.6 if points else digits_hit(samples)[3] > 8
        return accuracy_of_d(run) > 0.95 and far
    if kind == "generator wins":
        be, d = run.game.backend, run.game.discriminator
        logits, _ = d.forward(be.asarray(samples, d.dtype))
        return float((logits > 0).mean()) > 0.95 and accuracy_of_d(run) < 0.55
    # Steps went far beyond where the weights began; in the other games G's grew by up to 1.6.
    return run.game.generator.flat_params.std() > 2.5 * size


@pytest.mark.slow
@pytest.mark.parametrize("kind", PLANTED)
def test_runs_of_a_kind_are_diagnosed(kind, folder):
    """The main finding is the right one in each of six runs."""
    runs = [planted(kind, index, folder) for index in range(len(SIX[kind]))]
    assert len(runs) == 6
    for label, run, size, _ in runs:
        assert is_true(kind, run, size), f"{label} is no {kind}"
        if kind == "healthy":
            check_interrupted(run, label)
    expected = ("healthy", *ROUGH) if kind == "healthy" else (kind,)
    wrong = [(label, [found.kind for found in findings]) for label, _, _, findings in runs if findings[0].kind not in expected]
    assert not wrong


def check_interrupted(run, label):
    """No trouble is found in what a healthy run's log was at a third and at a half; nor in a run that was to be much longer."""
    columns, config = columns_of(read_log(run.folder / LOG)), Config.from_json(run.settings)
    for share in (3, 2):
        interrupted = {name: values[: len(values) // share] for name, values in columns.items()}
        for steps in (config.steps, 8000):
            (finding,) = diagnose(interrupted, replace(config, steps=steps))
            assert finding.kind in ("young", "too short", "healthy"), label
            assert not finding.is_trouble


@pytest.mark.slow
def test_the_default_dense_game_is_young_at_first(tmp_path):
    """Its samples are alike for some 500 of its 8,000 steps, and no trouble is found in any of its logs on the way."""
    run, _ = train(tmp_path / "run", model="mlp", steps=200)
    columns = columns_of(read_log(run.folder / LOG))
    for rows in range(9, 11):
        (finding,) = diagnose(
            {name: values[:rows] for name, values in columns.items()},
            replace(Config.from_json(run.settings), steps=8000),
            "runs/a",
        )
        assert finding.kind == "young"
        assert [one.command for one in finding.advice] == ["minigan train --resume --out runs/a"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["discriminator wins", "generator wins", "collapse", "learning rate"])
def test_what_is_advised_first_helps(kind, folder, tmp_path):
    """The run on points of each kind, once more with what its diagnosis names first."""
    _, run, _, (finding, *_) = planted(kind, 0, folder)
    healed, _ = train(tmp_path / "healed", **{**PLANTED[kind][0], "steps": 800, "seed": SEEDS[0], **finding.advice[0].changes})
    findings, _ = diagnose_run(healed.folder)
    assert findings[0].kind in ("healthy", *ROUGH)
    assert modes_hit(generated(healed))[0] >= 6
    assert modes_hit(generated(run))[0] <= 3


@pytest.mark.slow
@pytest.mark.parametrize("index", [0, 2])
def test_what_is_advised_against_a_collapse_helps_alone(index, folder, tmp_path):
    """A run on points and a dense one on digits, with the penalties that are advised and all else as it was."""
    _, run, _, (finding, *_) = planted("collapse", index, folder)
    (changes,) = [one.changes for one in finding.advice if "penalty" in one.changes]
    settings, seed = SIX["collapse"][index]
    healed, _ = train(tmp_path / "healed", **{**settings, "steps": 800, "seed": seed, **changes})
    assert diagnose_run(healed.folder)[0][0].kind != "collapse"
    if index:
        assert digits_hit(generated(run))[0] <= 3
        assert digits_hit(generated(healed))[0] >= 9
    else:
        assert modes_hit(generated(run))[0] <= 3
        assert modes_hit(generated(healed))[0] >= 7


# -- the rules, on logs made by hand ---------------------------------------------------------------------------------------

CONFIG = Config(
    **{"kind": "images", "model": "mlp", "hidden": (256, 256), "latent_dim": 100, "batch_size": 64, "lr": 5e-4, "beta1": 0.5},
    **{"loss": "non-saturating", "critic_steps": 1, "smoothing": 0.0},
)


def log(rows=30, **columns):
    """A log of a healthy run with other values in some columns: one for all rows, or one for each third."""
    usual = {"loss_d": 1.3, "loss_g": 0.9, "prob_real": 0.55, "prob_fake": 0.45, "saturated_real": 0.0, "saturated_fake": 0.0}
    usual |= {
        "diversity": 0.9,
        "clusters": 1.0,
        "fidelity": 0.95,
        "coverage": 0.95,
        "generator.0.gradient": 1.0,
        "generator.2.gradient": 1.0,
    }
    usual |= {"generator.1.dead": 0.3, "discriminator.1.dead": 0.3}
    made = {"step": [20.0 * (i + 1) for i in range(rows)]}
    for name, value in {**usual, **columns}.items():
        thirds = value if isinstance(value, tuple) else (value,) * 3
        made[name] = [thirds[3 * i // rows] for i in range(rows)]
    return made


def kinds(columns, config=CONFIG):
    return [finding.kind for finding in diagnose(columns, config)]


def test_a_healthy_log():
    assert kinds(log()) == ["healthy"]
    assert not diagnose(log(), CONFIG)[0].is_trouble
    assert kinds(log(), None) == ["healthy"]


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"prob_fake": 0.05, "prob_real": 0.95}, ["discriminator wins"]),
        ({"prob_fake": (0.05, 0.05, 0.3), "prob_real": (0.95, 0.95, 0.7)}, ["healthy"]),  # it was so only at first
        ({"prob_fake": 0.05, "prob_real": 0.6}, ["healthy"]),
        ({"prob_fake": 0.12, "prob_real": 0.9}, ["healthy"]),
        ({"diversity": 0.05, "clusters": 0.2}, ["collapse"]),
        ({"diversity": 0.3, "clusters": 0.4}, ["collapse"]),
        ({"diversity": (0.05, 0.1, 0.3), "clusters": (0.1, 0.2, 0.4)}, ["young"]),
        ({"diversity": (0.05, 0.07, 0.12), "clusters": (0.1, 0.2, 0.352)}, ["young"]),
        ({"diversity": (0.01, 0.02, 0.05), "clusters": (0.1, 0.1, 0.2)}, ["young"]),
        ({"diversity": math.nan, "clusters": math.nan}, ["unmeasured"]),
        ({"diversity": math.nan, "prob_fake": 0.05, "prob_real": 0.95}, ["discriminator wins"]),
        ({"diversity": (0.9, 0.9, 0.05), "clusters": (1, 1, 0.1)}, ["collapse"]),
        ({"fidelity": 0.47}, ["unlike"]),
        ({"coverage": 0.46}, ["incomplete"]),
        ({"fidelity": 0.01, "coverage": 0.25}, ["unlike"]),
        ({"fidelity": (0.1, 0.3, 0.8)}, ["healthy"]),
        ({"fidelity": 0.01, "diversity": 0.05, "clusters": 0.2}, ["collapse"]),
        ({"diversity": 0.25, "clusters": 1.0}, ["healthy"]),  # blurred, but evenly spread
        ({"diversity": -1e-7, "clusters": 0.1}, ["collapse"]),  # 0 but for rounding
        ({"loss_d": (1.3, 30.0, 1.3), "loss_g": (40.0, 0.9, 0.9)}, ["learning rate"]),
        ({"loss_d": 9.5, "loss_g": 0.01}, ["generator wins"]),
        ({"loss_d": 5.2, "loss_g": 0.02, "prob_fake": 0.98, "prob_real": 0.4}, ["generator wins"]),
        (
            {"loss_d": 5.2, "loss_g": 0.02, "prob_fake": 0.98, "diversity": 0.1, "clusters": 0.2},
            ["generator wins", "collapse"],
        ),
        ({"loss_d": 1.5, "loss_g": 0.58, "prob_fake": 0.56}, ["healthy"]),
        ({"loss_g": 30.0, "loss_d": 0.1, "prob_fake": 0.001, "prob_real": 1.0}, ["discriminator wins"]),
        ({"loss_d": (1.3, 1.3, math.inf)}, ["learning rate"]),
        ({"discriminator.1.dead": 1.0}, ["learning rate"]),
        ({"generator.1.dead": 0.9}, ["healthy"]),
        (
            {"generator.1.dead": 1.0, "prob_fake": 0.0, "prob_real": 1.0, "diversity": 0.0, "clusters": 0.1},
            ["learning rate", "discriminator wins", "collapse"],
        ),
    ],
)
def test_rules(columns, expected):
    assert kinds(log(**columns)) == expected


@pytest.mark.parametrize(
    ("diversity", "steps", "expected"),
    [
        ((0.03, 0.06, 0.09), 600, "collapse"),  # it rises, but the run is over
        ((0.03, 0.06, 0.09), 601, "young"),
        ((0.03, 0.06, 0.09), None, "young"),  # its length is not known
        ((0.05, 0.1, 0.3), 600, "young"),  # it is over, but not far from a healthy one
        (0.06, 2000, "collapse"),
        (0.06, 3000, "young"),  # alike as they were, in the first quarter
        ((0.5, 0.5, 0.06), 3000, "collapse"),  # fallen from a diverse state
    ],
)
def test_a_young_game_is_told_from_a_collapse(diversity, steps, expected):
    """30 rows up to step 600 of so many steps."""
    (finding,) = diagnose(log(diversity=diversity, clusters=diversity), replace(CONFIG, steps=steps))
    assert finding.kind == expected
    assert finding.is_trouble == (expected == "collapse")


def test_g_wins_with_a_saturating_loss():
    """L_G = log(1 − D(G(z))) is far below 0 where G wins and near 0 where it loses."""
    config = replace(CONFIG, loss="saturating")
    assert kinds(log(loss_d=5.0, loss_g=-4.0, prob_fake=0.98), config) == ["generator wins"]
    assert kinds(log(loss_d=2.0, loss_g=-0.01, prob_fake=0.1), config) == ["healthy"]


def test_no_verdict_claims_what_was_not_measured():
    """A title says that samples are diverse only where they are."""
    assert "diverse and resemble the data" in TITLES["healthy"]
    (finding,) = diagnose(log(diversity=math.nan, clusters=math.nan), CONFIG, "runs/a b")
    assert not finding.is_trouble
    assert "does not say" in finding.title
    for lost in ({"fidelity": math.nan, "coverage": math.nan}, {"fidelity": math.nan}, {"coverage": math.nan}):
        assert kinds(log(**lost)) == ["fidelity unmeasured"]
    older = {name: values for name, values in log().items() if name not in ("fidelity", "coverage")}
    assert kinds(older) == ["fidelity unmeasured"]
    assert "does not say whether they resemble the data" in report(diagnose(older, CONFIG)).replace("\n    ", " ")
    assert "look at runs/a b/samples" in report([finding])
    assert "minigan train --resume --out 'runs/a b'" in report([finding])


def test_an_empty_cell_is_no_divergence():
    """A cell may have been emptied by hand; a run that diverged ends with the row that says so."""
    columns = log()
    columns["loss_d"][12] = math.nan
    assert kinds(columns) == ["healthy"]
    columns["loss_g"][-1] = math.nan
    assert kinds(columns) == ["healthy"]
    columns["loss_g"][-1] = math.inf
    (finding,) = diagnose(columns, CONFIG)
    assert finding.kind == "learning rate"
    assert "at step 600 numbers stopped being finite" in report([finding])


@pytest.mark.parametrize("lost", [("loss_d", "loss_g"), ("prob_real", "prob_fake"), ("prob_fake",)])
def test_which_side_wins_is_not_said_of_nothing(lost):
    (finding,) = diagnose(log(**dict.fromkeys(lost, math.nan)), CONFIG)
    assert finding.kind == "sides unmeasured"
    assert "nan" not in report([finding])
    assert all(name in report([finding]) for name in lost)


def test_one_of_fidelity_and_coverage_is_judged_alone():
    done = replace(CONFIG, steps=600)
    (finding,) = diagnose(log(fidelity=0.05, coverage=math.nan), done)
    assert finding.kind == "unlike"
    assert "5 % of samples lie close to a real one" in report([finding])
    assert "nan" not in report([finding])
    assert kinds(log(fidelity=math.nan, coverage=0.05), done) == ["incomplete"]
    (finding,) = diagnose(log(fidelity=(0.9, 0.9, math.nan)), done)
    assert finding.kind == "fidelity unmeasured"
    assert "on the log has nothing in fidelity, as" in report([finding]).replace("\n    ", " ")


def of_scores(**columns):
    """The log of an objective whose s is a score."""
    made = log(**{"score_real": 1.5, "score_fake": -40.0, **columns})
    return {name: values for name, values in made.items() if not name.startswith(("prob_", "saturated_"))}


@pytest.mark.parametrize(
    "columns",
    [
        {},
        {"loss_d": (1.3, 3000.0, 20.0), "loss_g": 900.0},  # no scale in which that were much
        {"loss_d": 5.0, "loss_g": -40.0},  # of logits: G wins
        {"score_real": 9.0, "score_fake": -9.0},  # of logits: D wins
    ],
)
def test_of_scores_nobody_is_said_to_win(columns):
    config = replace(CONFIG, loss="wasserstein")
    (finding,) = diagnose(of_scores(**columns), config)
    assert finding.kind == "healthy"
    text = report([finding]).replace("\n    ", " ")
    assert "which side wins cannot be judged" in text
    assert "neither side wins" not in text.lower()
    assert "1.39" not in text
    assert "D(x)" not in text


@pytest.mark.parametrize(
    ("columns", "kind"),
    [
        ({"fidelity": 0.3}, "unlike"),
        ({"coverage": 0.3}, "incomplete"),
        ({"diversity": math.nan, "clusters": math.nan}, "unmeasured"),
        ({"fidelity": math.nan, "coverage": math.nan}, "fidelity unmeasured"),
        ({"diversity": 0.05, "clusters": 0.2}, "collapse"),
        ({"loss_d": (1.3, 1.3, math.inf)}, "learning rate"),
        ({"discriminator.1.dead": 1.0}, "learning rate"),
    ],
)
def test_of_scores_the_rest_is_judged(columns, kind):
    (finding,) = diagnose(of_scores(**columns), replace(CONFIG, loss="hinge", steps=600))
    assert finding.kind == kind
    assert "side wins" not in finding.title


def test_limits_are_those_of_the_loss_without_its_penalty():
    assert kinds(log(loss_d=11.3, penalty=10.0, loss_g=8.0)) == ["healthy"]
    assert kinds(log(loss_d=21.3, penalty=10.0, loss_g=8.0)) == ["learning rate"]


def test_a_run_of_scores_is_judged_and_drawn(tmp_path, curves):
    settings = {**RING, "batch_size": 32, "steps": 60, "log_every": 10, "loss": "relativistic", "penalty": ("r1=1",)}
    start_run(Config(**settings), tmp_path / "run", log=lambda text: None).train(progress=False)
    findings, _ = diagnose_run(tmp_path / "run")
    assert all("side wins" not in finding.title for finding in findings)
    rows = read_log(tmp_path / "run" / LOG)
    assert {"score_real", "score_fake", "penalty"} <= rows[0].keys()
    assert not {"prob_real", "saturated_fake"} & rows[0].keys()
    plots.save_curves(tmp_path / "curves.png", columns_of(rows))
    assert (tmp_path / "curves.png").stat().st_size > 1000


def test_smoothing_lowers_what_d_aims_at():
    columns = log(prob_fake=0.01, prob_real=0.85)
    assert kinds(columns) == ["healthy"]
    assert kinds(columns, replace(CONFIG, smoothing=0.1)) == ["discriminator wins"]


def test_low_fidelity_is_young_in_a_run_that_goes_on():
    for steps, kind in ((600, "unlike"), (601, "young")):
        (finding,) = diagnose(log(fidelity=0.3), replace(CONFIG, steps=steps))
        assert finding.kind == kind
        assert finding.is_trouble == (kind == "unlike")
        assert "30 % of samples lie close to a real one" in report([finding])


def test_figures_of_known_modes():
    (finding,) = diagnose(log(fidelity=0.467, coverage=0.75), Config(data="ring", kind="points", steps=600, hidden=(4,)))
    assert "46.7 % of samples lie within 3 σ of a mode, 6 of 8 modes are reached" in report([finding]).replace("\n    ", " ")
    assert finding.advice[0].options == "--hidden 128 128"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"steps": 300, "hidden": (4,), "batch_size": 32}, "too few of them resemble the data ("),
        ({"steps": 40}, "The run is too short to tell ("),
        ({"steps": 20, "log_every": 20}, "The run is too short to tell ("),
    ],
)
def test_a_training_ends_with_a_verdict(options, words, tmp_path, monkeypatch):
    for name in ("save_samples", "save_curves", "save_animation_of_files"):
        monkeypatch.setattr(plots, name, lambda *args: None)
    said = []
    run = start_run(Config(data="ring", backend="textbook", **options), tmp_path / "run", log=said.append)
    assert run.train(progress=False)
    assert words in said[-1]
    assert said[-1].startswith("verdict: ")
    assert "% of samples lie within 3 σ" in said[-1]
    assert len(said[-1]) <= 300
    (tmp_path / "run" / LOG).unlink()
    assert verdict(tmp_path / "run").startswith("verdict: none, for there is no ")  # and a training is no failure for that


@pytest.mark.parametrize("rows", [0, 1, 2, 3, 8])
def test_a_short_log_is_too_short_unless_it_diverged(rows):
    assert kinds(log(rows, prob_fake=0.0, prob_real=1.0, diversity=0.0, clusters=0.1)) == ["too short"]
    if rows:
        assert kinds(log(rows, loss_g=math.inf)) == ["learning rate"]
    (finding,) = diagnose(log(rows), CONFIG)
    assert not finding.is_trouble
    assert finding.advice[0].command == "minigan train --resume --out RUN"


def test_a_flat_start_is_young_by_steps_and_by_epochs():
    flat = log(30, diversity=(0.03, 0.03, 0.03), clusters=(0.12, 0.12, 0.12), epoch=1.0)
    for settings, kind in (({"steps": 6000}, "young"), ({"epochs": 60}, "young"), ({"epochs": 3}, "collapse")):
        assert diagnose(flat, replace(CONFIG, **settings))[0].kind == kind


GO_ON = "minigan train --resume --out RUN"


@pytest.mark.parametrize(
    ("rows", "settings", "command"),
    [
        (4, {"steps": 8000}, GO_ON),  # interrupted at step 80: no --steps that would shorten it
        (4, {"steps": 80}, f"{GO_ON} --steps 180"),
        (4, {"steps": 90}, f"{GO_ON} --steps 180"),  # it would be too short at its end as well
        (4, {"steps": 200, "log_every": 50}, f"{GO_ON} --steps 450"),
        # The length of a run with such a schedule cannot be changed: a new one.
        (4, {"steps": 80, "schedule": "linear"}, "minigan train --model mlp --schedule linear --smoothing 0 --steps 180"),
        (4, {"steps": 8000, "schedule": "linear"}, GO_ON),
        (4, {"epochs": 3}, GO_ON),
        (4, {"epochs": 2}, f"{GO_ON} --epochs 4"),
        (4, {"epochs": 2, "schedule": "cosine"}, "minigan train --model mlp --schedule cosine --smoothing 0 --epochs 4"),
        (30, {"steps": 8000}, GO_ON),  # young
        (30, {"steps": 600}, f"{GO_ON} --steps 1200"),
        (30, {}, GO_ON),
    ],
)
def test_advice_to_go_on_never_shortens_a_run(rows, settings, command):
    columns = log(rows, diversity=(0.05, 0.1, 0.3), clusters=(0.1, 0.2, 0.4), epoch=1.0)
    (finding,) = diagnose(columns, replace(CONFIG, **settings))
    assert finding.kind == ("too short" if rows == 4 else "young")
    assert finding.advice[0].command == command
    assert f"  - {command}\n" in report([finding]), "on a line of its own, to be copied"
    assert finding.to_json()["advice"][0]["command"] == command


def test_a_cure_is_a_command_that_makes_the_run_with_its_changes():
    """Parsed and resolved as `minigan train` does it, each command makes the configuration that was diagnosed, and the cure."""
    settings = [
        {
            **CONFIG.to_json(),
            "data": "ring",
            "kind": "points",
            "hidden": (16,),
            "latent_dim": 2,
            "penalty": ("r1=1", "r2=0.5"),
            "lr_d": 1e-6,
        },
        {"model": "dcgan", "extra_conv": False, "image_size": (12, 8), "width": 4, "loss": "hinge", "pack": 2, "epochs": 3},
        {"model": "dcgan", "lr": 0.01, "seed": 7, "dtype": "float64", "critic_steps": 2, "clip": 0.1, "schedule": "linear"},
    ]
    for given in settings:
        config = Config(**{name: tuple(value) if isinstance(value, list) else value for name, value in given.items()})
        config.resolve(load(config.data))
        for columns in (log(loss_d=50.0, loss_g=50.0), log(prob_fake=0.0, prob_real=1.0), log(diversity=0.0, clusters=0.1)):
            for advice in diagnose(columns, config)[0].advice:
                if not advice.changes or "resume" in advice.changes:
                    continue
                parsed = entry._parser().parse_args(shlex.split(advice.command)[1:])
                got, expected = Config(**given_options(parsed)), replace(config, **advice.changes)
                for each in (got, expected):
                    each.resolve(load(config.data))
                assert got == expected, advice.command


@pytest.mark.parametrize("interrupted", [False, True])
def test_advice_to_go_on_can_be_run_as_printed(interrupted, tmp_path, capsys, monkeypatch):
    for name in ("save_samples", "save_curves", "save_animation_of_files"):
        monkeypatch.setattr(plots, name, lambda *args: None)
    steps = 200 if interrupted else 10
    settings = Config(model="mlp", hidden=(8,), image_size=(4, 4), steps=steps, log_every=10, backend="textbook")
    run = start_run(settings, tmp_path / "a run", log=lambda text: None)
    run._stop = interrupted  # as Ctrl-C sets it
    run.train(progress=False)
    assert run.step == (0 if interrupted else 10)
    (finding,), _ = diagnose_run(run.folder)
    assert finding.kind == "too short"
    assert cli.main(shlex.split(finding.advice[0].command)[1:]) == 0
    (finding,), about = diagnose_run(run.folder)
    assert finding.kind != "too short"
    assert f"up to step {200 if interrupted else 100}" in about
    capsys.readouterr()


def test_evidence_are_the_figures_of_the_log():
    columns = log(prob_fake=(0.4, 0.1, 0.02), prob_real=0.97, saturated_fake=(0.0, 0.0, 0.75))
    columns["generator.0.gradient"] = [0.6] * 10 + [0.006] * 20
    columns["generator.2.gradient"] = [0.8] * 10 + [0.008] * 20
    text = report(diagnose(columns, replace(CONFIG, loss="saturating")))
    for words in ("from step 420 on D(x) is 0.97 and D(G(z)) is 0.02", "75 % of D's logits", "2 % of the most", "was 1 at the"):
        assert words in text.replace("\n    ", " ")
    assert "start and is 0.01" in text.replace("\n    ", " ")
    assert "--loss non-saturating" in text
    columns = log(diversity=0.1, clusters=(0.9, 0.5, 0.2))
    assert "20 % as many clusters" in report(diagnose(columns, CONFIG))
    assert "was 90 % at step 20" in report(diagnose(columns, CONFIG)).replace("\n    ", " ")
    columns = log(**{"generator.1.dead": 1.0, "discriminator.1.dead": 0.97})
    text = report(diagnose(columns)).replace("\n    ", " ")
    assert "100 % in layer 1 of the generator, 97 % in layer 1 of the discriminator;" in text
    columns = log(loss_d=(50.0, 1.3, 1.3), loss_g=(0.9, 70.0, 0.9))
    assert "L_D rose to 50 (step 20) and L_G to 70 (step 220)" in report(diagnose(columns, CONFIG)).replace("\n    ", " ")


@pytest.mark.parametrize(
    ("kind", "settings", "options"),
    [
        ("learning rate", {"lr": 0.1}, "--lr 0.0005"),
        ("learning rate", {"lr": 0.1, "lr_d": 0.2}, "--lr 0.0005 and leave out --lr-d"),
        ("learning rate", {"lr_d": 0.2}, "leave out --lr-d"),
        ("learning rate", {}, "--lr 5e-05"),
        ("learning rate", {"data": "ring", "kind": "points", "lr": 0.1}, "--lr 0.001"),
        ("learning rate", {"penalty": ("r1=1e29", "r2=1")}, "--penalty r1=10 r2=1"),
        ("learning rate", {"penalty": ("wgan-gp=100",), "penalty_every": 500}, "--penalty wgan-gp=10 --penalty-every 1"),
        ("learning rate", {"instance_noise": 1e6}, "--instance-noise 0.1"),
        ("discriminator wins", {"lr_d": 0.01}, "leave out --lr-d"),
        ("discriminator wins", {"lr": 1e-5}, "--lr 0.0005"),
        ("discriminator wins", {"loss": "saturating"}, "--loss non-saturating"),
        ("discriminator wins", {}, "--lr-d 0.000125"),
        ("collapse", {"beta1": 0.9}, "--beta1 0"),
        (
            "collapse",
            {"data": "ring", "kind": "points", "lr_d": 1e-2, "lr": 1e-3, "hidden": (128, 128)},
            "--beta1 0 and leave out --lr-d",
        ),
        ("collapse", {"lr": 0.01, "lr_d": 1e-5}, "--lr 0.0005 and leave out --lr-d"),
        ("collapse", {"hidden": (16,)}, "--hidden 256 256"),
        ("collapse", {"latent_dim": 2}, "--latent-dim 100"),
        ("collapse", {"model": "dcgan", "width": 4, "hidden": None, "lr": 1e-3, "latent_dim": 32, "beta1": 0.0}, "--width 32"),
        ("collapse", {}, "--loss relativistic --penalty r1=1 r2=1"),
        ("collapse", {"smoothing": 0.1}, "--loss relativistic --penalty r1=1 r2=1 --smoothing 0"),
        ("collapse", {"data": "ring", "kind": "points", "lr": 1e-3, "beta1": 0.0, "batch_size": 256}, "--penalty r1=0.1"),
        ("collapse", {"loss": "hinge"}, "--pack 2"),
        ("collapse", {"penalty": ("r1=1",)}, "--pack 2"),
        ("collapse", {"penalty": ("r1=1",), "pack": 2}, "--batch-size 128"),
        ("collapse", {"penalty": ("r1=1",), "batch_size": 65}, "--batch-size 130"),
        ("collapse", {"hidden": ()}, "--hidden 256 256"),
        ("generator wins", {"lr_d": 1e-6}, "leave out --lr-d"),
        ("generator wins", {"lr": 0.01}, "--lr 0.0005"),
        ("generator wins", {"lr": 0.01, "lr_d": 1e-6}, "--lr 0.0005 and leave out --lr-d"),
        ("generator wins", {"smoothing": 0.1}, "--lr-d 0.002"),
    ],
)
def test_advice_fits_the_run(kind, settings, options):
    """What is named first is an option that the run had otherwise, and its changes make a configuration that can be run."""
    columns = {
        "learning rate": log(loss_d=50.0, loss_g=50.0),
        "discriminator wins": log(prob_fake=0.0, prob_real=1.0),
        "collapse": log(diversity=0.0, clusters=0.1),
        "generator wins": log(loss_d=5.0, loss_g=0.02, prob_fake=0.98),
    }[kind]
    config = replace(CONFIG, **settings)
    finding = diagnose(columns, config)[0]
    assert finding.kind == kind
    assert finding.advice[0].options == options
    for advice in finding.advice:
        assert advice.reason
        assert replace(config, **{k: v for k, v in advice.changes.items() if k not in ("resume", "out")}) != config
    assert finding.sources


# -- the log and the command -----------------------------------------------------------------------------------------------


def test_a_run_that_diverges_says_so_in_its_log(tmp_path):
    run, _ = train(tmp_path / "run", model="mlp", hidden=(8,), lr=1e38, steps=60, image_size=(4, 4))
    assert run.step == 1
    rows = read_log(tmp_path / "run" / LOG)
    assert [row["step"] for row in rows] == ["1"]
    columns = columns_of(rows)
    assert all(math.isinf(columns[name][0]) for name in ("loss_d", "loss_g", "prob_real"))
    assert math.isnan(columns["clusters"][0]), "not measured"
    finding, *others = diagnose_run(tmp_path / "run")[0]
    assert [finding.kind] == kinds(columns, Config.from_json(run.settings))
    assert finding.kind == "learning rate"
    assert "at step 1 numbers stopped being finite" in finding.evidence[0]
    assert finding.advice[0].options == "--lr 0.0005"
    assert not others


def test_a_log_of_an_earlier_version(folder, tmp_path):
    """Without the columns of health what the losses tell is told, and what they cannot tell is said."""
    expectations = {"healthy": "unmeasured", "discriminator wins": "discriminator wins", "collapse": "unmeasured"}
    for kind, expected in {**expectations, "generator wins": "generator wins"}.items():
        _, run, _, _ = planted(kind, 0, folder)
        columns = columns_of(read_log(run.folder / LOG))
        earlier = {
            name: values for name, values in columns.items() if "." not in name and name not in ("diversity", "clusters")
        }
        findings = diagnose(earlier, Config.from_json(run.settings))
        assert findings[0].kind == expected
        if expected == "unmeasured":
            assert "no columns diversity and clusters" in findings[0].evidence[1]
            assert "look at" in findings[0].advice[0].reason


def test_command(folder, capsys):
    for kind in PLANTED:
        _, run, _, findings = planted(kind, 0, folder)
        assert cli.main(["diagnose", str(run.folder)]) == 0
        text = capsys.readouterr().out
        assert text.startswith(f"{run.folder}: mlp on ring, log.csv has {len(read_log(run.folder / LOG))} rows up to step ")
        assert findings[0].title in text
        assert max(len(line) for line in text.splitlines()[1:] if not line.startswith("  - minigan train")) <= 110
        assert cli.main(["diagnose", str(run.folder), "--json"]) == 0
        read = json.loads(capsys.readouterr().out)
        assert [one["kind"] for one in read] == [finding.kind for finding in findings]
        assert read[0]["evidence"] == list(findings[0].evidence)


def fails(capsys, folder, *parts):
    assert cli.main(["diagnose", str(folder)]) == cli.USER_ERROR
    text = capsys.readouterr().err
    assert text.startswith("minigan: error: ")
    assert text.count("\n") == 1
    for part in parts:
        assert part in text


def test_mistakes_are_one_line(folder, tmp_path, capsys):
    _, run, _, _ = planted("healthy", 0, folder)
    fails(capsys, tmp_path / "none", "there is no folder")
    fails(capsys, tmp_path, "there is no", "config.json")
    (tmp_path / "config.json").write_text((run.folder / "config.json").read_text())
    fails(capsys, tmp_path, "there is no", LOG)
    header, row, *_ = (run.folder / LOG).read_text().splitlines()
    for text, part in (
        ("a,b\n1,2\n", "expected a first line of columns"),
        ("step,loss_d\n20,1.3\n", "has no column loss_g, prob_real, prob_fake"),
        (f"{header}\n{row.replace(',0,', ',zero,', 1)}\n{row[:-4]}x.y\n", "line 2: 'epoch' is 'zero'"),
        ("\0\0\x07" * 50 + "\n\0", "is no log of a run"),
        ("", "has no column step"),
        ("\n", "has no column step"),
        (bytes(np.random.default_rng(0).integers(0, 256, 300, np.uint8)), "is no log of a run"),
        ('step,loss_d,"' + "a" * 200_000, "is no log of a run"),
    ):
        (tmp_path / LOG).write_bytes(text if isinstance(text, bytes) else text.encode())
        fails(capsys, tmp_path, LOG, part)
    (tmp_path / LOG).write_text(f"{header}\n")
    assert cli.main(["diagnose", str(tmp_path)]) == 0
    assert "no rows yet" in capsys.readouterr().out
    (tmp_path / LOG).write_text(f"{header}\n{row}\n")
    for text in ("{", "[]", '{"data": 3}'):
        (tmp_path / "config.json").write_text(text)
        fails(capsys, tmp_path, "config.json")
    whole = run.settings
    for name, value, part in (
        ("lr", "x", "lr is 'x': expected a finite number"),
        ("lr_d", "fast", "lr_d is 'fast'"),
        ("smoothing", "a", "smoothing is 'a'"),
        ("log_every", "a", "log_every is 'a'"),
        ("model", "zz", "model is 'zz': an unknown name"),
        ("data", 5, "data is 5"),
        ("hidden", 3, "hidden is 3"),
        ("bogus", 1, "does not know: bogus; remove them"),
    ):
        (tmp_path / "config.json").write_text(json.dumps({**whole, name: value}))
        fails(capsys, tmp_path, "config.json is damaged", part)
