"""Runs with classes: from the option to samples of one class, gone on with to the same bytes, and every mistake in one line."""

import json
import multiprocessing
import os
import shlex
import signal

import numpy as np
import pytest
from PIL import Image
from quick_runs import before_step, content, draw_bytes

import minigan as mg
from minigan import cli
from minigan.data import Dataset
from minigan.errors import CheckpointError, MiniganError, ModelError, OptionError
from minigan.evaluate import class_accuracy
from minigan.training import CHECKPOINT, CONFIG, Config, config_from, load_game, read_log, resume_run, start_run
from minigan.training.divergence import find_divergence
from minigan.training.monitor import Monitor
from minigan.training.plots import rows_of_classes

K = 3
OPTIONS = {"model": "mlp", "hidden": (4,), "latent_dim": 3, "batch_size": 4, "backend": "textbook", "classes": True}
EVERY = {"steps": 24, "log_every": 4, "sample_every": 8, "checkpoint_every": 8}
SILENT = lambda text: None  # noqa: E731


def labelled(path, seed=1):
    images = np.random.default_rng(0).integers(0, 256, (24, 4, 4), dtype=np.uint8)
    np.savez(path, images=images, labels=np.random.default_rng(seed).permutation(np.arange(24) % K))
    return str(path)


def make(folder, name="run", **options):
    data = labelled(folder / "own.npz")
    return start_run(Config(**{"data": data, **OPTIONS, **EVERY, **options}), folder / name, log=SILENT)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    draw_bytes(monkeypatch)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def trained(folder):
    make(folder).train(progress=False)
    return folder


def fails(capsys, command, *parts):
    assert cli.main(shlex.split(command)) == cli.USER_ERROR
    text = capsys.readouterr().err
    assert text.count("\n") == 1, text
    assert len(text) <= 320
    for part in parts:
        assert part in text


# -- a run -------------------------------------------------------------------------------------------------------------


def test_the_classes_stand_in_the_run(trained):
    settings = json.loads((trained / "run" / CONFIG).read_text())
    assert (settings["classes"], settings["class_names"]) == (True, ["0", "1", "2"])
    game, config, _ = load_game(trained / "run")
    assert (game.classes, config.class_names, game.latent_dim) == (K, ("0", "1", "2"), 3)
    row = read_log(trained / "run" / "log.csv")[-1]
    assert all(np.isfinite(float(row[name])) for name in ("saturated_real", "diversity", "clusters", "fidelity"))
    picture = (trained / "run" / "samples" / "step_000024.png").read_bytes()
    assert picture == game.sample(30, 0, np.repeat(np.arange(K), 10)).tobytes(), "a row of ten for each class"


def killed(folder):
    run = make(folder, "killed")
    before_step(run, 14, lambda: os.kill(os.getpid(), signal.SIGKILL))
    run.train(progress=False)


def test_killed_and_gone_on_with_it_ends_in_the_same_bytes(trained):
    whole = content(trained / "run")
    process = multiprocessing.get_context("fork").Process(target=killed, args=(trained,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert resume_run(trained / "killed", log=SILENT).train(progress=False)
    assert content(trained / "killed") == whole


def test_a_run_goes_on_with_its_own_labels_alone(trained):
    labelled(trained / "own.npz", seed=2)
    with pytest.raises(CheckpointError, match="does not hold the values and labels that the run began with"):
        resume_run(trained / "run", changes={"steps": 30}, log=SILENT)
    assert start_run(Config(**{"data": "own.npz", **OPTIONS, **EVERY, "classes": False}), "plain", log=SILENT).train(False)
    labelled(trained / "own.npz", seed=3)
    assert resume_run("plain", changes={"steps": 30}, log=SILENT).train(False), "other labels are nothing to it"


def test_a_run_begins_from_another_with_as_many_classes(trained):
    again = start_run(config_from("run", {}), "again", begins_from="run", log=SILENT)
    assert again.game.classes == K
    state, before = again.game.state_dict(), load_game("run").game.state_dict()
    np.testing.assert_array_equal(state["generator.0.weight"], before["generator.0.weight"])
    with pytest.raises(OptionError, match="classes is False, and the networks of run have True"):
        config_from("run", {"classes": False})
    images = np.random.default_rng(0).integers(0, 256, (24, 4, 4), dtype=np.uint8)
    np.savez("two.npz", images=images, labels=np.arange(24) % 2)
    with pytest.raises(MiniganError, match=r"two\.npz holds 2 classes, and the run in run makes 3: their number must fit"):
        start_run(config_from("run", {"data": "two.npz"}), "other", begins_from="run", log=SILENT)


def test_a_run_from_python(folder):
    images = np.random.default_rng(0).integers(0, 256, (24, 4, 4, 1), dtype=np.uint8)
    data = Dataset("mine", images, np.arange(24) % K, class_names=("a", "b", "c"))
    pair = lambda classes: mg.models.mlp((4, 4, 1), 3, 4, "textbook", classes=classes)  # noqa: E731
    run = mg.Run(mg.GAN(*pair(K), classes=K), data, "own", steps=6, batch_size=4)
    assert run.train(progress=False)
    assert mg.Run.resume("own", game=mg.GAN(*pair(K), classes=K), data=data, steps=8).train(progress=False)
    other = Dataset("mine", images, np.arange(24)[::-1] % K, class_names=("a", "b", "c"))
    with pytest.raises(CheckpointError, match="values and labels"):
        mg.Run.resume("own", game=mg.GAN(*pair(K), classes=K), data=other, steps=9)
    with pytest.raises(ModelError, match="the game takes labels of 2 classes, and mine has 3"):
        mg.Run(mg.GAN(*pair(2), classes=2), data, "other", steps=2, batch_size=4)
    with pytest.raises(MiniganError, match="has no labels, which classes are learned from"):
        mg.Run(mg.GAN(*pair(K), classes=K), images, "other", steps=2, batch_size=4)


def test_the_monitor_looks_at_the_scores_of_the_right_classes(folder):
    """Outputs of D that are huge for class 0 alone: the share of saturated scores is that of class 0 in the probe."""
    run = make(folder)
    d = run.game.discriminator
    d.params["3.weight"][...], d.params["3.bias"][...] = 0, [0, 100, 0, 0]
    monitor = Monitor(run.game, run.dataset, 0)
    found = dict(zip(monitor.columns, monitor.measure(), strict=True))
    assert found["saturated_real"] == pytest.approx(np.mean(run.dataset.labels == 0))
    assert found["saturated_fake"] == pytest.approx(np.mean(np.arange(64) % K == 0))


def test_where_a_run_diverged_is_found(folder):
    run = make(folder)
    run.game.discriminator.params["3.weight"][0, 2] = np.inf
    assert find_divergence(run.game, run.batches, 1)[1].startswith("discriminator, Dense (layer 3): output is not finite")


# -- networks of one's own ---------------------------------------------------------------------------------------------

NETS = """
import minigan as mg

def build(image_shape, latent_dim=5, backend="auto", seed=0, classes=0):
    return mg.models.mlp(image_shape, latent_dim, 4, backend, seed=seed, classes=classes)

def knows_none(image_shape, latent_dim=5, backend="auto", seed=0):
    return mg.models.mlp(image_shape, latent_dim, 4, backend, seed=seed)
"""


def test_networks_of_ones_own(folder, capsys):
    (folder / "nets.py").write_text(NETS)
    data = labelled(folder / "own.npz")
    own = f"train --quiet --classes --data {data} --batch-size 4 --steps 2 --backend textbook --model {folder}/nets.py"
    assert cli.main(shlex.split(f"{own}:build --out mine")) == 0
    game, config, _ = load_game("mine")
    assert (game.classes, config.latent_dim) == (K, 5)
    capsys.readouterr()
    fails(
        capsys,
        f"{own}:knows_none --out none",
        "knows_none",
        "for 3 classes G takes latent_dim + 3 numbers",
        "by the argument classes",
    )
    assert not (folder / "none").exists()


# -- samples, and what is told of them ---------------------------------------------------------------------------------


def test_samples_of_a_class(trained, capsys):
    game = load_game("run").game
    assert cli.main(shlex.split("sample run --class 2 -n 5 --out two.npz")) == 0
    assert cli.main(shlex.split("sample run -n 5 --out all.npz")) == 0
    with np.load("two.npz") as two, np.load("all.npz") as both:
        assert two["labels"].tolist() == [2] * 5
        assert both["labels"].tolist() == [0, 1, 2, 0, 1]
        kind = load_game("run").kind
        np.testing.assert_array_equal(two["images"], kind.from_floats(game.sample(5, 0, 2)))
        np.testing.assert_array_equal(both["images"], kind.from_floats(game.sample(5, 0, [0, 1, 2, 0, 1])))
    assert cli.main(shlex.split("sample run -n 5 --class 1 --interpolate --out walk.npz")) == 0
    with np.load("walk.npz") as walk:
        assert walk["labels"].tolist() == [1] * 5
    assert cli.main(shlex.split("sample run -n 9 --interpolate --out walks.npz")) == 0
    with np.load("walks.npz") as walks:
        assert walks["labels"].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
        of_first, _, of_last = np.split(walks["images"], 3)
    z = game.latent(3, 0)  # a walk of three is its three corners
    np.testing.assert_array_equal(of_first, kind.from_floats(game.decode(z, 0)))
    np.testing.assert_array_equal(of_last, kind.from_floats(game.decode(z, 2)))


def test_a_grid_has_a_row_for_each_class(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    start_run(Config(**{"data": labelled(tmp_path / "own.npz"), **OPTIONS, "steps": 1}), "run", log=SILENT).train(False)
    for name in ("run/samples/step_000001.png", "grid.png"):
        if name == "grid.png":
            assert cli.main(shlex.split("sample run --out grid.png")) == 0
        with Image.open(name) as picture:
            rows, columns = (side // (picture.width // 51) for side in (picture.height, picture.width))
            assert (rows, columns) == (3 * 5 + 1, 10 * 5 + 1)
    assert [(len(rows_of_classes(k)[0]), rows_of_classes(k)[1]) for k in (1, 10, 40, 1000)] == [
        *((10, 10), (100, 10), (80, 2), (100, 1)),
    ]
    assert rows_of_classes(3, 6)[0].tolist() == [0, 0, 1, 1, 2, 2]
    for k, n in ((10, 12), (10, 64), (3, 2)):
        numbers, columns = rows_of_classes(k, n)
        counts = np.bincount(numbers, minlength=k)
        assert np.ptp(counts) == 1, "no class has more than one sample above another"
        assert columns == min(k, n)


def test_bad_classes_are_told_in_one_line(trained, capsys):
    start_run(Config(**{"data": "own.npz", **OPTIONS, **EVERY, "classes": False}), "plain", log=SILENT).train(False)
    np.save("bare.npy", np.zeros((24, 4, 4), np.uint8))
    np.savez("bad.npz", images=np.zeros((24, 4, 4), np.uint8), labels=-np.arange(24))
    capsys.readouterr()
    fails(capsys, "sample run --class 7 --out x.png", "--class is '7': expected one of 0, 1, 2, or a number from 0 to 2")
    fails(capsys, "sample plain --class 1 --out x.png", "was trained without classes", "--classes")
    fails(capsys, "train --classes --data bare.npy --out x", "bare.npy has no labels", "leave the classes out")
    fails(capsys, "train --classes --data ring --out x", "ring has no labels")
    fails(capsys, "train --classes --data bad.npz --out x", "hold -23, of sample 23: expected class numbers from 0")
    fails(capsys, "train --classes --pack 2 --out x", "pack is 2, and with classes D judges one sample at a time")
    assert not any((trained / name).exists() for name in ("x", "x.png"))


def test_a_class_by_its_name(folder, capsys):
    names = ("cat", "dog", "3")
    assert [cli.sample.class_number(asked, names) for asked in ("cat", "dog", "3", "0", "2")] == [0, 1, 2, 0, 2]
    for asked in ("3.0", "-1", "4", "²", ""):
        with pytest.raises(MiniganError, match="expected one of cat, dog, 3, or a number from 0 to 2"):
            cli.sample.class_number(asked, names)
    with pytest.raises(MiniganError, match="did you mean 'dog'"):
        cli.sample.class_number("dogs", names)


def test_evaluate_tells_how_many_are_recognised(folder, capsys):
    """Of real digits nearly all; of a generator that has learned nothing, about one in ten."""
    from minigan.data import load

    digits = load("digits", labels=True)
    assert class_accuracy(digits.values[::50], digits.labels[::50]) > 0.97
    assert class_accuracy(digits.values[::50], digits.labels[::50][::-1]) < 0.2
    chosen = np.arange(0, 5000, 60)
    np.savez("few.npz", images=digits.values[chosen], labels=digits.labels[chosen])
    for name, options in (("run", "--classes"), ("plain", "")):
        command = f"train --quiet --data few.npz {options} --model mlp --hidden 4 --batch-size 8 --steps 2 --backend numpy"
        assert cli.main(shlex.split(f"{command} --out {name}")) == 0
    capsys.readouterr()
    assert cli.main(shlex.split("evaluate plain run --samples 30 --quiet")) == 0
    (row,) = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("class accuracy")]
    real, made = map(float, row[-2:])
    assert real > 90
    assert made < 50
    figures = json.loads((folder / "run" / "metrics.json").read_text())
    assert figures["generated"]["class_accuracy"] == pytest.approx(made / 100, abs=1e-3)
    assert "class_accuracy" not in json.loads((folder / "plain" / "metrics.json").read_text())["generated"]
    assert figures["trained_on"] == 1


def test_a_checkpoint_of_classes_without_their_names_is_refused(trained):
    from minigan.training import checkpoint

    arrays, info = checkpoint.load(trained / "run" / CHECKPOINT)
    info["config"]["class_names"] = None
    checkpoint.save(trained / "run" / CHECKPOINT, arrays, info)
    with pytest.raises(CheckpointError, match=r"classes is on, and .* has no labels"):
        load_game(trained / "run")
