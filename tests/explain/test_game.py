"""Which game is opened: a run's own, or a small one; and the command that does it."""

import os
import shlex
import subprocess
import sys

import numpy as np
import pytest
from explained_games import content

import minigan as mg
from minigan import cli
from minigan.explain import game
from minigan.training import Config, checkpoint

pytestmark = pytest.mark.usefixtures("few_numbers")

SMALLEST = ["--data", "ring", "--after", "0", "--batch-size", "2", "--hidden", "2", "--latent-dim", "2", "--quiet"]


@pytest.mark.slow
def test_the_game_of_a_run_is_the_runs(tmp_path):
    run = tmp_path / "run"
    options = "--steps 12 --width 2 --latent-dim 3 --image-size 8 --batch-size 16 --schedule linear --backend textbook --quiet"
    assert cli.main(["train", *options.split(), "--out", str(run)]) == 0
    found = game.game_of_run(run, "textbook", batch_size=6)
    arrays, _ = checkpoint.load(run / "checkpoint.safetensors")
    for name, array in found.game.generator.state_dict().items():
        np.testing.assert_array_equal(array, arrays[f"generator.{name}"].astype(np.float64))
    assert found.game.optimizer_d.steps == 12
    assert found.game.optimizer_d.schedule(6) == pytest.approx(0.75e-3)
    assert len(found.real) == len(found.noise) == 6
    assert str(run) in found.about
    out = tmp_path / "deep" / "page.html"
    assert cli.main(["explain", str(run), "--batch-size", "4", "--quiet", "--out", str(out)]) == 0
    assert content(out.read_text(encoding="utf-8"))["batch"] == 4


def run_of_own_data(tmp_path, *options):
    """A run of four steps on a file of points, and the file."""
    data, run = tmp_path / "data.npy", tmp_path / "run"
    np.save(data, np.random.default_rng(0).standard_normal((64, 2)).astype("float32"))
    command = ["train", "--data", str(data), "--hidden", "4", "--batch-size", "16", "--latent-dim", "3", "--quiet"]
    assert cli.main([*command, "--backend", "textbook", "--out", str(run), *options]) == 0
    return run, data


def test_a_run_whose_data_are_gone_is_explained_without_them(tmp_path, capsys):
    run, data = run_of_own_data(tmp_path, "--epochs", "2", "--schedule", "linear")
    before = game.game_of_run(run, "textbook", batch_size=4)
    data.unlink()
    found = game.game_of_run(run, "textbook", batch_size=4)
    assert before.has_data
    assert not found.has_data
    assert found.game.optimizer_g.schedule(4) == before.game.optimizer_g.schedule(4) == pytest.approx(0.5e-3)
    np.testing.assert_array_equal(found.real, found.game.sample(4, seed=0))
    assert not np.array_equal(found.game.generator.forward(found.noise)[0], found.real)
    out = tmp_path / "page.html"
    assert cli.main(["explain", str(run), "--batch-size", "4", "--quiet", "--out", str(out)]) == 0
    assert "not at hand" in capsys.readouterr().out
    page = content(out.read_text(encoding="utf-8"))
    assert page["real"] == "stand-ins for real samples"
    assert "The data of this run are not at hand" in " ".join(page["stations"][0]["text"])


def test_data_of_another_shape_stand_for_data_that_are_gone_and_other_values_are_told(tmp_path):
    run, data = run_of_own_data(tmp_path, "--steps", "2")
    np.save(data, np.ones((64, 2), "float32"))
    changed = game.game_of_run(run, "textbook", batch_size=4)
    assert changed.has_data
    assert "which has changed since" in changed.about
    np.save(data, np.ones((64, 8, 8, 1), "uint8"))
    assert not game.game_of_run(run, "textbook", batch_size=4).has_data


def test_a_schedule_of_epochs_cannot_be_guessed(tmp_path, capsys):
    run, data = run_of_own_data(tmp_path, "--epochs", "2", "--schedule", "linear")
    arrays, info = checkpoint.load(run / "checkpoint.safetensors")
    checkpoint.save(run / "checkpoint.safetensors", arrays, {**info, "data": {"epoch": 0, "batch": 2}, "step": 2})
    data.unlink()
    assert cli.main(["explain", str(run), "--quiet", "--out", str(tmp_path / "a.html")]) == cli.USER_ERROR
    assert "whose length only its data tell" in capsys.readouterr().err


def test_a_run_from_python_is_refused_in_one_line(tmp_path, capsys):
    points = np.random.default_rng(0).standard_normal((32, 2)).astype("float32")
    gan = mg.GAN(*mg.models.mlp((2,), latent_dim=3, hidden=4, backend="textbook"))
    mg.train(gan, points, tmp_path / "run", steps=1, batch_size=8, progress=False)
    capsys.readouterr()
    assert cli.main(["explain", str(tmp_path / "run"), "--out", str(tmp_path / "a.html")]) == cli.USER_ERROR
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "a.html").exists()


@pytest.mark.parametrize("length", [241, 250, 255])
def test_a_long_name_is_written(length, tmp_path):
    out = tmp_path / ("é" * 10 + "x" * (length - 25) + ".html")
    assert len(os.fsencode(out.name)) == length
    assert cli.main(["explain", *SMALLEST, "--out", str(out)]) == 0
    assert out.stat().st_size > 1000


def test_a_name_that_is_not_utf8(tmp_path):
    out = tmp_path / os.fsdecode(b"caf\xe9.html")
    assert cli.main(["explain", *SMALLEST, "--out", str(out)]) == 0
    assert out.exists()


def test_a_file_that_is_no_page_is_not_replaced(tmp_path, capsys):
    out = tmp_path / "thesis.html"
    out.write_text("<title>My thesis</title>")
    assert cli.main(["explain", *SMALLEST, "--out", str(out)]) == cli.USER_ERROR
    assert "holds something else than a page of minigan" in capsys.readouterr().err
    assert out.read_text() == "<title>My thesis</title>"
    out.unlink()
    for _ in range(2):  # a page is replaced by a page
        assert cli.main(["explain", *SMALLEST, "--out", str(out)]) == 0


@pytest.mark.parametrize("closed", ["closed", "full"])
def test_the_page_is_written_before_standard_output_is(closed, tmp_path):
    out = tmp_path / "a.html"
    end = ">&-" if closed == "closed" else ">/dev/full"
    words = shlex.join([sys.executable, "-m", "minigan", "explain", *SMALLEST, "--out", str(out)])
    result = subprocess.run(f"{words} {end}", shell=True, capture_output=True, text=True)
    assert "Traceback" not in result.stderr
    assert content(out.read_text(encoding="utf-8"))["batch"] == 2


def test_the_small_game_is_decided_by_its_seed():
    config = Config(data="ring", backend="textbook", batch_size=8)
    a, b, c = (game.small_game(config_, 3) for config_ in (config, config, Config(**{**vars(config), "seed": 1})))
    np.testing.assert_array_equal(a.game.generator.flat_params, b.game.generator.flat_params)
    assert not np.array_equal(a.game.generator.flat_params, c.game.generator.flat_params)
    assert a.game.generator.dtype == np.float64


def test_explain_at_the_command_line(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["explain", "--data", "ring", "--after", "2", "--batch-size", "4", "--hidden", "3", "5", "--quiet"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("mlp on ring after 2 steps, batch 4, seed 0: explain.html, 0.3 MB")
    text = (tmp_path / "explain.html").read_text(encoding="utf-8")
    assert [s["title"] for s in content(text)["stations"]].count("G, layer 2: Dense(units=5)") == 1


@pytest.mark.parametrize(
    ("command", "parts"),
    [
        ("explain nothing", ["'nothing' is neither a run folder nor a name"]),
        ("explain Conv2", ["did you mean 'Conv2d'"]),
        ("explain Conv2d --batch-size 4", ["--batch-size is for the page of a step, and Conv2d is explained"]),
        ("explain Conv2d --out a.html", ["--out is for a page, and Conv2d is printed: leave it out, or add --html"]),
        ("explain .", ["no checkpoint"]),
        ("explain . --width 4", ["--width is for the small game, and . is opened"]),
        ("explain --out page.png", ["page.png: expected a file name in .html"]),
        ("explain --data digit", ["did you mean 'digits'"]),
        ("explain --data ring --width 4", ["width does not apply to the model mlp"]),
        ("explain --after -1", ["'-1' is not a whole number from 0 up"]),
        ("explain --data ring --batch-size 99999 --after 0", ["the batch size is 99999"]),
        ("explain --image-size 9 --after 0", ["divisible by 4"]),
        ("explain --after 0 --out /proc/nowhere/a.html", ["which cannot be written (No such file or directory)"]),
        (f"explain --after 0 --out {'x' * 251}.html", ["a name of 256 bytes: expected at most 255"]),
        (f"explain {'9' * 400}", ["is neither a run folder nor a name"]),
        ("explain --after 0 --width 99999999999", ["choose smaller layers"]),
        ("explain --stpes 4", ["unknown argument '--stpes'"]),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(command, parts, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(command.split()) == cli.USER_ERROR
    text = capsys.readouterr().err
    assert text.startswith("minigan: error: ")
    assert text.count("\n") == 1
    assert len(text) <= 301
    for part in parts:
        assert part in text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_small_game_of_ring_learns_all_modes():
    """After its usual steps; at the start it had few, so that the time slider has something to show."""
    opened = game.small_game(Config(data="ring", backend="textbook"), None)
    angles = np.arange(8) * np.pi / 4
    modes = np.stack([np.cos(angles), np.sin(angles)], 1)
    real = np.asarray(opened.real)
    assert np.linalg.norm(real[:, None] - modes, axis=2).min(axis=1).max() < 0.15, "these are the modes"

    def reached(points):
        off = np.linalg.norm(points[:, None] - modes, axis=2)
        return np.unique(off.argmin(axis=1)[off.min(axis=1) < 0.25])

    assert len(reached(np.asarray(opened.game.sample(512, seed=1)))) == 8
    assert len(reached(opened.history.moments[0].points)) < 4
    assert len(reached(opened.history.moments[-1].points)) > 6


def test_numbers_beyond_float32_are_no_page(tmp_path, capsys, recwarn):
    command = ["explain", "--data", "ring", "--after", "0", "--lr", "1e39", "--quiet", "--out", str(tmp_path / "a.html")]
    assert cli.main(command) == cli.USER_ERROR
    assert "the step holds numbers beyond float32, which the page cannot show: try a smaller --lr" in capsys.readouterr().err
    assert not recwarn.list
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("steps", "found"), [(5, "after 5 steps the parameters are not finite"), (0, "L_D is not finite")])
def test_a_game_that_blew_up_is_not_opened(steps, found, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(game.SMALL, "points", {"hidden": (4,), "latent_dim": 4, "lr": 1e308})
    command = ["explain", "--data", "ring", "--after", str(steps), "--quiet", "--out", str(tmp_path / "a.html")]
    with np.errstate(all="ignore"):
        assert cli.main(command) == cli.USER_ERROR
    assert found in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
