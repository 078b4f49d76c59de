"""Which game is opened: a run's own, or a small one; and the command that does it."""

import numpy as np
import pytest
from explained_games import content

from minigan import cli
from minigan.explain import game
from minigan.training import Config, checkpoint


def test_the_game_of_a_run_is_the_runs(tmp_path):
    run = tmp_path / "run"
    options = "--steps 12 --width 2 --latent-dim 3 --image-size 8 --batch-size 16 --schedule linear --backend textbook --quiet"
    assert cli.main(["train", *options.split(), "--out", str(run)]) == 0
    found = game.game_of_run(run, "textbook", batch_size=6)
    arrays, _ = checkpoint.load(run / "checkpoint.safetensors")
    for name, array in found.gan.generator.state_dict().items():
        np.testing.assert_array_equal(array, arrays[f"generator.{name}"].astype(np.float64))
    assert found.gan.optimizer_d.steps == 12
    assert found.gan.optimizer_d.schedule(6) == pytest.approx(0.5e-3)
    assert len(found.real) == len(found.z) == 6
    assert str(run) in found.about
    out = tmp_path / "deep" / "page.html"
    assert cli.main(["explain", str(run), "--batch-size", "4", "--quiet", "--out", str(out)]) == 0
    assert content(out.read_text(encoding="utf-8"))["batch"] == 4


def test_the_small_game_is_decided_by_its_seed():
    config = Config(data="ring", backend="textbook", batch_size=8)
    a, b, c = (game.small_game(config_, 3) for config_ in (config, config, Config(**{**vars(config), "seed": 1})))
    np.testing.assert_array_equal(a.gan.generator.flat_params, b.gan.generator.flat_params)
    assert not np.array_equal(a.gan.generator.flat_params, c.gan.generator.flat_params)
    assert a.gan.generator.dtype == np.float64


def test_explain_at_the_command_line(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["explain", "--data", "ring", "--after", "2", "--batch-size", "4", "--hidden", "3", "5", "--quiet"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("mlp on ring after 2 steps, batch 4, seed 0: explain.html, 0.2 MB")
    text = (tmp_path / "explain.html").read_text(encoding="utf-8")
    assert [s["title"] for s in content(text)["stations"]].count("G, layer 2: Dense(units=5)") == 1


@pytest.mark.parametrize(
    ("command", "parts"),
    [
        ("explain nothing", ["'nothing' is neither a run folder nor a name"]),
        ("explain Conv2", ["did you mean 'Conv2d'"]),
        ("explain Conv2d --batch-size 4", ["--batch-size is for the page, and Conv2d is printed"]),
        ("explain Conv2d --out a.html", ["--out is for the page"]),
        ("explain .", ["no checkpoint"]),
        ("explain . --width 4", ["--width is for the small game, and . is opened"]),
        ("explain --out page.png", ["page.png: expected a file name in .html"]),
        ("explain --data digit", ["did you mean 'digits'"]),
        ("explain --data ring --width 4", ["width does not apply to the model mlp"]),
        ("explain --after -1", ["'-1' is not a whole number from 0 up"]),
        ("explain --data ring --batch-size 99999 --after 0", ["the batch size is 99999"]),
        ("explain --image-size 9 --after 0", ["divisible by 4"]),
        ("explain --stpes 4", ["unknown argument '--stpes'"]),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(command, parts, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(command.split()) == cli.USER_ERROR
    text = capsys.readouterr().err
    assert text.startswith("minigan: error: ")
    assert text.count("\n") == 1
    for part in parts:
        assert part in text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("steps", "found"), [(5, "after 5 steps the parameters are not finite"), (0, "L_D is not finite")])
def test_a_game_that_blew_up_is_not_opened(steps, found, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(game.SMALL, "mlp", {"hidden": (4,), "latent_dim": 4, "lr": 1e308})
    command = ["explain", "--data", "ring", "--after", str(steps), "--quiet", "--out", str(tmp_path / "a.html")]
    with np.errstate(all="ignore"):
        assert cli.main(command) == cli.USER_ERROR
    assert found in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
