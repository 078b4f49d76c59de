"""Runs on lines of text: killed and resumed, captured on both backends, with their files, figures and commands."""

import json
import shutil

import numpy as np
import pytest
from large_convolution import LARGE_CONVOLUTION
from quick_runs import before_step, content, draw_bytes
from small_games import no_complaint

import minigan as mg
from minigan import cli
from minigan.backends.numpy import threads
from minigan.data import Batches, load
from minigan.data.text import as_text
from minigan.errors import OptionError
from minigan.training import Config, load_game, read_log, resume_run, start_run
from minigan.training.folder import LOG, METRICS, NEIGHBOURS, SAMPLES
from minigan.training.monitor import Monitor

RNG = np.random.default_rng(0)
LINES = ["".join(RNG.choice(list("abc"), RNG.integers(1, 6))) for _ in range(120)]
SMALL = {"width": 3, "latent_dim": 2, "batch_size": 6, "steps": 12, "seed": 1}
EVERY = {"log_every": 3, "sample_every": 6, "checkpoint_every": 6, "evaluate_every": 6}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("lines") / "lines.txt"
    path.write_text("\n".join(LINES), encoding="utf-8")
    return path


def make(path, folder, said=None, **options):
    config = Config(data=str(path), backend=options.pop("backend", "textbook"), **{**SMALL, **EVERY, **options})
    return start_run(config, folder, log=([] if said is None else said).append)


@pytest.fixture(scope="module")
def trained(path, tmp_path_factory):
    """The folder of a run, and what it said."""
    said = []
    run = make(path, tmp_path_factory.mktemp("trained") / "run", said)
    run.train(progress=False)
    return run.folder, said


@pytest.fixture
def there(trained, tmp_path):
    """A copy of that folder."""
    return shutil.copytree(trained[0], tmp_path / "run")


def test_what_a_run_says_and_writes(trained, path):
    folder, said = trained
    assert "105 lines 6x4 | batch 6, 12 steps" in said[0]
    assert said[1] == f"{path}: 15 of 120 lines are held out, to compare samples with"
    assert sorted(file.name for file in (folder / SAMPLES).iterdir()) == [
        f"step_{step:06d}.{suffix}" for step in (0, 6, 12) for suffix in ("png", "txt")
    ]
    lines = (folder / SAMPLES / "step_000012.txt").read_text(encoding="utf-8").splitlines()
    game, config, kind = load_game(folder, "textbook")
    assert lines == kind.lines(kind.from_floats(game.sample(kind.shown, seed=1)))
    assert len(lines) == kind.shown
    assert (config.model, config.loss, config.penalty, config.penalty_every) == (
        *("text", "relativistic"),
        *(("r1=0.1", "r2=0.1"), 4),
    )
    rows = read_log(folder / LOG)
    names = [name for name in rows[0] if name.startswith("measured.")]
    assert names == [f"measured.{name}" for name in ("jsd_1", "jsd_2", "jsd_3", "jsd_4", "copied")]
    assert [all(row[name] for name in names) for row in rows] == [False, True, False, True]
    assert (folder / "progress.gif").stat().st_size > 0


@pytest.mark.parametrize("name", ["textbook", "numpy"])
@pytest.mark.parametrize("step", [5, 9])
def test_killed_and_resumed_to_the_same_bytes(path, tmp_path, monkeypatch, name, step):
    """What a kill leaves is the last checkpoint, and log, pictures and lines that may be ahead of it."""
    draw_bytes(monkeypatch)
    whole = make(path, tmp_path / "whole", backend=name)
    whole.train(progress=False)
    run, left = make(path, tmp_path / "run", backend=name), tmp_path / "left"
    before_step(run, step, lambda: shutil.copytree(run.folder, left, dirs_exist_ok=True))
    run.train(progress=False)
    ahead = left / SAMPLES / "step_000011.txt"
    ahead.write_text("of a step that the checkpoint does not know\n")
    resumed = resume_run(left, log=lambda text: None)
    assert resumed.step == (0 if step < 6 else 6)
    resumed.train(progress=False)
    assert not ahead.exists()
    assert content(left) == content(whole.folder)


def test_a_captured_text_game_is_the_game(fast, monkeypatch):
    """On NumPy's replay and on the graph: the same bytes as step by step, penalties in every second step included."""
    monkeypatch.setattr(threads, "LARGE_CONVOLUTION", LARGE_CONVOLUTION)  # so small a game is replayed
    data, results = as_text(LINES, hold_out=0), []
    for captured in (False, True):
        nets = mg.models.text(data.shape, 2, width=3, backend=fast, seed=1)
        penalties = [mg.losses.R1(0.1), mg.losses.R2(0.1)]
        game = mg.GAN(*nets, objective=mg.losses.Relativistic(), penalties=penalties, penalty_every=2, ema=0.9, lr=1e-3)
        batches = Batches(data, 6, game.backend)
        step = mg.capture(game, batches, no_complaint) if captured else lambda g=game, b=batches: g.step(b.next())
        stats = [{name: float(game.backend.to_numpy(value)) for name, value in step().items()} for _ in range(8)]
        assert not captured or step.phase == "replay"
        results.append((stats, game.state_dict(), batches.state))
    (stats, state, place), other = results
    assert (stats, place) == (other[0], other[2])
    assert all(np.array_equal(array, other[1][name]) for name, array in state.items())


def test_the_monitor_looks_at_lines_as_they_are_shown(path):
    """Soft samples would lie between all lines, and so close to each."""
    data = load(str(path), hold_out=0)
    game = mg.GAN(*mg.models.text(data.shape, 2, width=3, backend="textbook", seed=1))
    game.generator.params["4.weight"][...] = 0  # then every letter is as likely as another
    game.generator.params["4.bias"][...] = np.array([0.0, 0.0, 1e-3, 0.0])  # but for b, by a hair: all lines are bbbbbb
    monitor = Monitor(game, data)
    found = dict(zip(monitor.columns, game.backend.to_numpy(monitor.measure()).tolist(), strict=True))
    assert found["diversity"] == pytest.approx(0, abs=1e-6)
    assert found["coverage"] < 0.2


# -- commands ----------------------------------------------------------------------------------------------------------


def test_sample_prints_lines(trained, capsys):
    assert cli.main(["sample", str(trained[0]), "-n", "7", "--seed", "3", "--backend", "textbook"]) == 0
    game, _, kind = load_game(trained[0], "textbook")
    assert capsys.readouterr().out == "".join(f"{line}\n" for line in kind.lines(kind.from_floats(game.sample(7, seed=3))))


def test_sample_writes_files(trained, tmp_path, capsys):
    text, picture = tmp_path / "own.txt", tmp_path / "own.png"
    for file in (text, picture):
        assert cli.main(["sample", str(trained[0]), "-n", "9", "--out", str(file), "--interpolate"]) == 0
    assert len(text.read_text(encoding="utf-8").splitlines()) == 9
    assert "9 lines of" in capsys.readouterr().out
    assert picture.stat().st_size > 500
    for name, message in (
        ("own.npy", "text can be written as .txt or .png"),
        ("folder", "text can be written as .txt or .png"),
    ):
        assert cli.main(["sample", str(trained[0]), "--out", str(tmp_path / name)]) == 2
        assert message in capsys.readouterr().err


def test_other_samples_need_a_file(tmp_path, capsys, monkeypatch):
    draw_bytes(monkeypatch)
    run = start_run(
        Config(data="ring", hidden=(2,), batch_size=4, steps=1, backend="textbook"), tmp_path / "ring", log=lambda text: None
    )
    run.train(progress=False)
    assert cli.main(["sample", str(run.folder)]) == 2
    assert "makes points: name a file for them with --out" in capsys.readouterr().err


def test_evaluate(there, path, tmp_path, capsys):
    assert cli.main(["evaluate", str(there), "--quiet"]) == 0
    printed = capsys.readouterr().out
    for words in ("JSD of letters, bits", "JSD of 4-grams, bits", "in the training data, %", "different lines, %"):
        assert words in printed
    figures = json.loads((there / METRICS).read_text())
    assert (figures["samples"], figures["real"]["samples"]) == (15, 15)
    assert figures["generated"].keys() == figures["real"].keys() - {"samples"}
    assert 0 < figures["real"]["jsd_1"] < 0.2
    assert 0 <= figures["trained_on"] < 1, "held-out lines, of which some also stand in the training data: they repeat"
    assert (there / NEIGHBOURS).stat().st_size > 500
    # Another file of lines is read by the run's alphabet and length, and all of it is compared with.
    other = tmp_path / "other.txt"
    other.write_text("\n".join(["ab", "ba"] * 15))
    assert cli.main(["evaluate", str(there), "--against", str(other), "--samples", "15", "--quiet"]) == 0
    assert "30 samples" in capsys.readouterr().out
    for lines, data in (("abd\n" * 30, str(other)), (None, "digits"), ("a\n" * 9, str(other))):
        if lines:
            other.write_text(lines)
        assert cli.main(["evaluate", str(there), "--against", data, "--quiet"]) == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_evaluate_takes_no_features(there, tmp_path, capsys):
    (tmp_path / "own.py").write_text("def own(x):\n    return x\n")
    assert cli.main(["evaluate", str(there), "--features", f"{tmp_path / 'own.py'}:own", "--quiet"]) == 2
    assert "text is compared by its letters: leave it out" in capsys.readouterr().err


def test_held_out_lines_are_too_few(path, tmp_path):
    with pytest.raises(OptionError, match="needs at least 12 real samples"):
        make(path, tmp_path / "run", hold_out=5)


def test_diagnose_and_explain_open_it(there, tmp_path, capsys, few_numbers):
    assert cli.main(["diagnose", str(there)]) == 0
    assert "text on" in capsys.readouterr().out
    assert cli.main(["explain", str(there), "--batch-size", "2", "--quiet", "--out", str(tmp_path / "step.html")]) == 0
    assert "Softmax" in (tmp_path / "step.html").read_text(encoding="utf-8")
