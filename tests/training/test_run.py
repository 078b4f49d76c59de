"""Runs: what lies in the folder, resuming to the same bytes (also after SIGKILL and Ctrl-C), divergence, configuration."""

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from large_convolution import LARGE_CONVOLUTION
from PIL import Image

from minigan import training
from minigan.backends.numpy import threads
from minigan.data import floats_to_pixels
from minigan.errors import CheckpointError, DivergenceError, MiniganError, ModelError
from minigan.training import (
    ANIMATION,
    CHECKPOINT,
    CONFIG,
    CURVES,
    LOG,
    Config,
    checkpoint,
    load_game,
    plots,
    resume_run,
    start_run,
)
from minigan.training.monitor import Monitor

SMALL = {"batch_size": 16, "latent_dim": 8, "ema": 0.9, "log_every": 5, "sample_every": 10}
DCGAN = {"model": "dcgan", "width": 4, "extra_conv": False}


@pytest.fixture(scope="module", autouse=True)
def own_images(tmp_path_factory):
    """A file of 80 images of 8x8 pixels: 5 batches an epoch. The data of all runs here that name no others."""
    path = tmp_path_factory.mktemp("data") / "own.npy"
    np.save(path, np.random.default_rng(0).integers(0, 256, (80, 8, 8), dtype=np.uint8))
    SMALL["data"] = str(path)
    return path


@pytest.fixture
def pictures(curves):
    """Asked for by tests that look at pictures; the others draw none."""


@pytest.fixture(autouse=True)
def _without_pictures(request, monkeypatch):
    if "pictures" not in request.fixturenames:
        monkeypatch.setattr(plots, "save_samples", lambda path, kind, samples, *more: path.write_bytes(samples.tobytes()))
        for name in ("save_curves", "save_animation_of_files"):
            monkeypatch.setattr(plots, name, lambda path, *args: path.write_bytes(b"a picture"))


def config(steps=20, **options):
    own = DCGAN if options.get("model", "dcgan") == "dcgan" else {"hidden": (16, 16)}
    return Config(**{**SMALL, "backend": "numpy", "steps": steps, "checkpoint_every": 5, **own, **options})


def run(folder, said=None, **options):
    started = start_run(config(**options), folder, log=(said if said is not None else []).append)
    assert started.train(progress=False)
    return started


def resume(folder, **changes):
    assert resume_run(folder, changes=changes, log=lambda text: None).train(progress=False)


def rows(folder):
    with open(folder / LOG, newline="") as file:
        return list(csv.DictReader(file))


def measured(row):
    """What a row of the log holds that is of its step alone."""
    return {name: value for name, value in row.items() if "." in name or name in ("saturated_real", "diversity", "clusters")}


def test_run_folder(tmp_path, pictures):
    said = []
    run(tmp_path / "run", said, data="digits")
    folder = tmp_path / "run"
    assert sorted(os.listdir(folder)) == sorted([CONFIG, LOG, CHECKPOINT, CURVES, ANIMATION, "samples"])
    assert sorted(os.listdir(folder / "samples")) == ["step_000000.png", "step_000010.png", "step_000020.png"]
    written = json.loads((folder / CONFIG).read_text())
    assert (written["width"], written["lr"], written["steps"], written["model"]) == (4, 1.5e-3, 20, "dcgan")
    assert [int(row["step"]) for row in rows(folder)] == [5, 10, 15, 20]
    for row in rows(folder):
        assert 0 < float(row["loss_d"]) < 10
        assert 0 <= float(row["prob_fake"]) <= 1
        assert float(row["images_per_s"]) > 0
    with Image.open(folder / ANIMATION) as animation:
        assert animation.n_frames == 3
    with Image.open(folder / "samples" / "step_000020.png") as grid:
        assert grid.size == (2 * (8 * 29 + 1), 2 * (8 * 29 + 1))
        assert len(np.unique(np.array(grid))) > 3
    for word in ("CPU", "numpy", "dcgan", "digits: 5,000 images 28x28x1", "batch 16", "20 steps"):
        assert word in said[0]


def test_one_command_twice_is_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        run(tmp_path / name, steps=6)
    assert (tmp_path / "a" / CHECKPOINT).read_bytes() == (tmp_path / "b" / CHECKPOINT).read_bytes()
    sample = "samples/step_000006.png"
    assert (tmp_path / "a" / sample).read_bytes() == (tmp_path / "b" / sample).read_bytes()


@pytest.mark.parametrize("model", ["mlp", "dcgan"])
def test_resumed_run_ends_in_the_same_bytes(tmp_path, model, backend):
    options = {"model": model, "backend": backend, "batch_size": 16}  # 5 batches an epoch: the break lies within one
    run(tmp_path / "whole", steps=14, **options)
    run(tmp_path / "parts", steps=7, **options)
    resume(tmp_path / "parts", steps=14)
    assert (tmp_path / "parts" / CHECKPOINT).read_bytes() == (tmp_path / "whole" / CHECKPOINT).read_bytes()
    assert [row["step"] for row in rows(tmp_path / "parts")] == ["5", "7", "10", "14"]
    whole = {row["step"]: row for row in rows(tmp_path / "whole")}
    for row in rows(tmp_path / "parts"):
        assert all(row.values())
        if row["step"] in whole:
            assert measured(row) == measured(whole[row["step"]])
    assert measured(row), "the monitor measures at the same steps, though losses are means over others after the break"
    last = "samples/step_000014.png"
    assert (tmp_path / "parts" / last).read_bytes() == (tmp_path / "whole" / last).read_bytes()


@pytest.mark.parametrize(
    "options",
    [
        {"steps": None, "epochs": 2, "batch_size": 10, "sample_every": None},
        {"ema": 0.0},
        {"model": "mlp", "ema": None, "sample_every": None},
        {"data": "ring", "model": None, "steps": 8},
        {"extra_conv": True, "smoothing": 0.1, "loss": "saturating", "lr_d": 1e-4, "schedule": "cosine"},
        {"image_size": (12, 8)},
        {"model": "mlp", "pack": 2, "instance_noise": 0.1, "penalty": ("dragan=1",), "penalty_every": 3, "critic_steps": 2},
    ],
    ids=str,
)
def test_every_kind_of_run_can_be_stopped_and_resumed(tmp_path, options):
    """Stopped in the middle as Ctrl-C does it, then resumed with no option, and with its own options named again."""
    options = {"data": SMALL["data"], **options}
    run(tmp_path / "whole", **{"steps": 8, **options})
    part = start_run(config(**{"steps": 8, **options}), tmp_path / "part", log=lambda text: None)
    advance = part.batches.advance

    def stopping():
        part._stop = part.step == 3
        advance()

    part.batches.advance = stopping
    assert not part.train(progress=False)
    assert [name for name, value in rows(tmp_path / "part")[-1].items() if not value] == [
        name for name in part.log_columns if name.endswith(".update")
    ], "no one could know before step 4 that a row would follow it"
    named = {name: value for name, value in options.items() if value is not None and name not in ("steps", "epochs")}
    assert resume_run(tmp_path / "part", changes=named).step == 4
    resume(tmp_path / "part")
    assert (tmp_path / "part" / CHECKPOINT).read_bytes() == (tmp_path / "whole" / CHECKPOINT).read_bytes()


def test_a_longer_run_is_the_same_as_one_planned_so(tmp_path):
    """With the pictures' interval left to the run, which depends on its length."""
    whole = run(tmp_path / "whole", steps=40, log_every=1, sample_every=None)
    part = run(tmp_path / "parts", steps=20, log_every=1, sample_every=None)
    assert (part.sample_every, whole.sample_every) == (1, 2)
    resume(tmp_path / "parts", steps=40)
    assert (tmp_path / "parts" / CHECKPOINT).read_bytes() == (tmp_path / "whole" / CHECKPOINT).read_bytes()


COMMAND = [
    *[sys.executable, "-m", "minigan", "train", "--quiet", "--backend", "numpy", "--model", "dcgan", "--width", "4"],
    *["--batch-size", "16", "--latent-dim", "8", "--checkpoint-every", "10", "--sample-every", "150"],
]
LENGTH = 300


def start(folder, *more):
    more = more or ("--steps", str(LENGTH), "--data", SMALL["data"])
    return subprocess.Popen([*COMMAND, *more, "--out", str(folder)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process):
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out


@pytest.fixture(scope="module")
def whole(tmp_path_factory, own_images):
    """The checkpoint of a run that nobody disturbed."""
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    options = {"model": "dcgan", "width": 4, "batch_size": 16, "latent_dim": 8, "checkpoint_every": 10, "sample_every": 150}
    settings = Config(data=str(own_images), backend="numpy", steps=LENGTH, **options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads, "LARGE_CONVOLUTION", LARGE_CONVOLUTION)  # as the command has it
        start_run(settings, folder, log=lambda text: None).train(progress=False)
    return (folder / CHECKPOINT).read_bytes()


def wait_for_checkpoint(process, folder):
    """Returns how many seconds it took."""
    since = time.monotonic()
    while not (folder / CHECKPOINT).exists() and time.monotonic() < since + 60:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    return time.monotonic() - since


def test_killed_before_its_first_checkpoint_it_is_no_run(tmp_path, monkeypatch):
    """What is no run yet does not stand in the way of one."""

    class Killed(BaseException):
        pass

    def killed(*args):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save", killed)
        with pytest.raises(Killed):
            run(tmp_path / "run", steps=5)
    assert not (tmp_path / "run" / CONFIG).exists()
    run(tmp_path / "run", steps=5)


def test_interrupted_and_resumed_to_the_same_bytes(tmp_path, whole):
    folder = tmp_path / "stopped"
    process = start(folder)
    wait_for_checkpoint(process, folder)
    time.sleep(random.uniform(0, 0.3))
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert f"go on with: minigan train --resume --out {folder}" in out
    _, info = checkpoint.load(folder / CHECKPOINT)
    assert 0 <= info["step"] < LENGTH
    finish(start(folder, "--resume"))
    assert (folder / CHECKPOINT).read_bytes() == whole


def test_a_run_is_not_overwritten_unless_asked(tmp_path, monkeypatch):
    run(tmp_path / "run", steps=6)
    before = (tmp_path / "run" / CHECKPOINT).read_bytes()
    for wrong in ({"smoothing": 3.0}, {"data": str(tmp_path / "tiny.npy"), "batch_size": 1}):
        np.save(tmp_path / "tiny.npy", np.zeros((3, 4, 4), np.uint8))  # a batch of 1 leaves BatchNorm one value per channel
        with pytest.raises(MiniganError):
            start_run(config(**wrong), tmp_path / "run", overwrite=True)
    with pytest.raises(MiniganError, match="already holds a run: --resume continues it, --overwrite replaces it"):
        start_run(config(), tmp_path / "run")
    with pytest.raises(ModelError, match="divisible by 4"):
        start_run(config(image_size=(30, 30)), tmp_path / "run", overwrite=True)
    assert (tmp_path / "run" / CHECKPOINT).read_bytes() == before
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save", lambda *args: (_ for _ in ()).throw(MiniganError("disk full")))
        with pytest.raises(MiniganError, match="disk full"):
            start_run(config(steps=5, seed=1), tmp_path / "run", overwrite=True, log=lambda text: None).train(progress=False)
    assert resume_run(tmp_path / "run").step == 6, "an overwrite that could not begin leaves the old run to go on with"
    (tmp_path / "run" / "mine.txt").write_text("keep")
    again = start_run(config(steps=5, seed=1), tmp_path / "run", overwrite=True, log=lambda text: None)
    again.train(progress=False)
    assert (tmp_path / "run" / CHECKPOINT).read_bytes() != before
    assert (tmp_path / "run" / "mine.txt").exists()
    assert sorted(os.listdir(tmp_path / "run" / "samples")) == ["step_000000.png", "step_000005.png"]


def test_resume_errors(tmp_path):
    folder = tmp_path / "run"
    with pytest.raises(CheckpointError, match="no checkpoint"):
        resume_run(folder)
    run(folder, steps=6)
    with pytest.raises(CheckpointError, match=r"has lr 0.0015, not 0.1: leave it out"):
        resume_run(folder, changes={"lr": 0.1})
    resume_run(folder, changes={"lr": 0.0015})
    other = json.loads((folder / CONFIG).read_text())
    other["width"] = 8
    (folder / CONFIG).write_text(json.dumps(other))
    with pytest.raises(CheckpointError, match=r"of different runs \(width 8 against 4\)"):
        resume_run(folder)
    for text in ("{", "[]", "null"):
        (folder / CONFIG).write_text(text)
        with pytest.raises(CheckpointError, match=r"config\.json is damaged"):
            resume_run(folder)
    (folder / CONFIG).unlink()
    resume(folder, steps=8)
    run(tmp_path / "decaying", steps=6, schedule="linear")
    with pytest.raises(CheckpointError, match="linear schedule"):
        resume_run(tmp_path / "decaying", changes={"steps": 12})


def test_resume_from_another_folder_and_with_other_data(tmp_path, monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8)
    np.save(tmp_path / "own.npy", images)
    monkeypatch.chdir(tmp_path)
    run(tmp_path / "run", data="own.npy", steps=5)
    (tmp_path / "deeper").mkdir()
    monkeypatch.chdir(tmp_path / "deeper")
    resume(tmp_path / "run", steps=6)
    np.save(tmp_path / "own.npy", images[::-1])
    with pytest.raises(CheckpointError, match=r"own\.npy does not hold the values that the run began with"):
        resume_run(tmp_path / "run")


def test_colour_images_in_float64(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 12, 3), dtype=np.uint8)
    np.save(tmp_path / "own.npy", images)
    game = run(tmp_path / "run", data=str(tmp_path / "own.npy"), steps=5, dtype="float64", extra_conv=True).game
    assert game.sample(3).dtype == np.float64
    assert game.sample(3).shape == (3, 8, 12, 3)
    assert plots.grid(floats_to_pixels(game.sample(3))).mode == "RGB"


def test_resume_cuts_the_log_back_to_the_checkpoint(tmp_path):
    run(tmp_path / "run", steps=10)
    with open(tmp_path / "run" / LOG, "a") as file:
        file.write("15,0,1,1,1,1,1,1\n20,0,1")  # written after the checkpoint, and cut short by the crash
    (tmp_path / "run" / "samples" / "step_000015.png").write_bytes(b"later")
    (tmp_path / "run" / "samples" / "step_000010 (copy).png").write_bytes(b"a user's own")
    resume(tmp_path / "run", steps=12)
    assert [row["step"] for row in rows(tmp_path / "run")] == ["5", "10", "12"]
    assert not (tmp_path / "run" / "samples" / "step_000015.png").exists()


EARLIER_COLUMNS = ("step", "epoch", "loss_d", "loss_g", "prob_real", "prob_fake", "images_per_s", "seconds")


def test_a_log_with_fewer_columns_is_kept_at_resume(tmp_path):
    """That of an earlier version, which measured less: its rows stay, and those that follow have all columns."""
    run(tmp_path / "run", steps=10)
    log = tmp_path / "run" / LOG
    earlier = [line.split(",")[: len(EARLIER_COLUMNS)] for line in log.read_text().splitlines()]
    log.write_text("".join(",".join(cells) + "\n" for cells in earlier))
    resume(tmp_path / "run", steps=20)
    resumed = rows(tmp_path / "run")
    assert [[row[name] for name in EARLIER_COLUMNS] for row in resumed[:2]] == earlier[1:]
    assert [row["step"] for row in resumed] == ["5", "10", "15", "20"]
    assert [all(measured(row).values()) for row in resumed] == [False, False, True, True]
    assert (tmp_path / "run" / CURVES).exists()


def test_measuring_changes_nothing(tmp_path, monkeypatch):
    run(tmp_path / "with", steps=12)
    monkeypatch.setattr(Monitor, "measure", lambda self: np.zeros(len(self.columns), np.float32))
    run(tmp_path / "without", steps=12)
    assert (tmp_path / "with" / CHECKPOINT).read_bytes() == (tmp_path / "without" / CHECKPOINT).read_bytes()
    assert rows(tmp_path / "with")[-1]["diversity"] != rows(tmp_path / "without")[-1]["diversity"]


def test_a_run_within_its_own_data_is_refused(tmp_path, monkeypatch):
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MiniganError, match="lies within the data"):
        start_run(config(data=".", batch_size=1), "runs/own")
    assert os.listdir(tmp_path) == ["a.png"]


def test_finished_run_is_left_alone_but_for_lost_pictures(tmp_path):
    run(tmp_path / "run", steps=5)
    (tmp_path / "run" / CURVES).unlink()
    before = (tmp_path / "run" / CHECKPOINT).read_bytes()
    said = []
    assert resume_run(tmp_path / "run", log=said.append).train(progress=False)
    assert "has its 5 steps already" in said[-2]
    assert said[-1].startswith("verdict: The run is too short to tell")
    assert (tmp_path / "run" / CURVES).exists()
    assert (tmp_path / "run" / CHECKPOINT).read_bytes() == before


# -- divergence --------------------------------------------------------------------------------------------------------


def poison(started, step, name, layer):
    """Put a bad number into a parameter just before this step, whenever the step is taken."""
    advance = started.batches.advance

    def advancing():
        if started.game.optimizers["generator"].steps == step - 1:
            started.game.networks[name].layers[layer].weight[0] = np.nan
        advance()

    started.batches.advance = advancing


@pytest.mark.parametrize(("name", "layer", "label"), [("generator", 4, "ConvTranspose2d"), ("discriminator", 2, "Conv2d")])
def test_divergence_names_step_network_and_layer(tmp_path, name, layer, label):
    started = start_run(config(steps=60), tmp_path / "run", log=lambda text: None)
    poison(started, 33, name, layer)
    message = rf"step 33: {name}, {label} \(layer {layer}\): output is not finite; the last good checkpoint stays in"
    with pytest.raises(DivergenceError, match=message):
        started.train(progress=False)
    assert not any(net.watch for net in started.game.networks.values()), "in a notebook the game lives on"
    arrays, info = checkpoint.load(tmp_path / "run" / CHECKPOINT)
    assert info["step"] == 30
    assert all(np.isfinite(a).all() for a in arrays.values())
    assert [row["step"] for row in rows(tmp_path / "run")][-2:] == ["30", "33"]
    assert rows(tmp_path / "run")[-1]["loss_d"] == "nan"
    resume(tmp_path / "run")
    assert [row["step"] for row in rows(tmp_path / "run")][-3:] == ["50", "55", "60"], "a resumed run forgets it"


def test_divergence_in_an_update_is_named(tmp_path):
    options = {"steps": 60, "model": "mlp", "lr": 1e38, "hidden": (8,), "ema": None}
    started = start_run(config(**options), tmp_path / "run", log=lambda text: None)
    with np.errstate(all="ignore"), pytest.raises(DivergenceError, match=r"step 1: .* is not finite; the last good"):
        started.train(progress=False)
    assert checkpoint.load(tmp_path / "run" / CHECKPOINT)[1]["step"] == 0


# -- configuration -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "dcgam"}, "model is 'dcgam': an unknown name; did you mean 'dcgan'"),
        ({"dtype": "float16"}, "dtype is 'float16': an unknown name"),
        ({"precision": "tf32"}, "precision 'tf32' needs the backend cupy, this is numpy"),
        ({"schedule": "cosin"}, "did you mean 'cosine'"),
        ({"epochs": 3}, "both epochs and steps"),
        ({"batch_size": 81}, "the batch size is 81: .* has 80 samples"),
        ({"lr": float("nan")}, "lr is nan"),
        ({"seed": -1}, "seed is -1"),
        ({"width": 0}, "width is 0"),
        ({"ema": 1.5}, "ema is 1.5"),
        ({"beta1": 1.0}, "beta1 is 1.0"),
        ({"data": "ring"}, "take the model mlp"),
    ],
)
def test_wrong_configurations_write_nothing(tmp_path, options, message):
    with pytest.raises(MiniganError, match=message):
        start_run(config(**options), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_epochs_are_whole_passes(tmp_path):
    started = start_run(config(steps=None, epochs=2, batch_size=16), tmp_path / "run", log=lambda text: None)
    assert started.total_steps == 10
    started.train(progress=False)
    assert started.batches.state == {"epoch": 1, "batch": 5}


def test_points_are_learned_and_drawn(tmp_path, pictures):
    """Two minutes would give all eight modes; a few seconds must already bring the samples to the ring."""
    settings = Config(data="ring", backend="textbook", steps=600, hidden=(64, 64), batch_size=128, sample_every=600)
    started = start_run(settings, tmp_path / "run", log=lambda text: None)
    started.train(progress=False)
    radius = np.linalg.norm(started.game.sample(1000), axis=1)
    assert np.median(abs(radius - 1)) < 0.3
    with Image.open(tmp_path / "run" / "samples" / "step_000600.png") as scatter:
        assert scatter.size == (450, 450)


def test_load_game_on_another_backend(tmp_path):
    run(tmp_path / "run", steps=5)
    game, settings, _ = load_game(tmp_path / "run", backend="textbook")
    assert game.backend.name == "textbook"
    assert settings.width == 4
    assert game.sample(3).shape == (3, 8, 8, 1)


def test_default_run_dir(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert str(training.default_run_dir("digits", None)) == os.path.join("runs", "digits")
    run(tmp_path / "runs" / "digits", steps=5)
    assert str(training.default_run_dir("digits", None)) == os.path.join("runs", "digits-2")
    assert str(training.default_run_dir("/data/faces.npy", "mlp")) == os.path.join("runs", "faces-mlp")
