"""The command line as a user meets it: every command, and every mistake as one line with status 2 and nothing lost."""

import os
import shlex
import signal
import subprocess
import sys
import time
from contextlib import nullcontext

import numpy as np
import pytest
from PIL import Image

import minigan
from minigan import cli
from minigan.cli.sample import count_corners, latent_walk, slerp
from minigan.files import write_atomically
from minigan.training import CHECKPOINT, plots


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    options = "--steps 60 --lr 0.01 --width 4 --batch-size 16 --latent-dim 8 --backend numpy --quiet"  # enough to differ
    assert cli.main(["train", *options.split(), "--out", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def points(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "points"
    assert cli.main(["train", "--data", "ring", "--steps", "5", "--backend", "numpy", "--quiet", "--out", str(folder)]) == 0
    return folder


def fails(capsys, command, *parts):
    """The command ends with status 2 and one line on standard error that holds all parts."""
    assert cli.main(shlex.split(command)) == cli.USER_ERROR
    text = capsys.readouterr().err
    assert text.startswith("minigan: error: ")
    assert text.count("\n") == 1, text
    for part in parts:
        assert part in text


def test_as_module_and_version():
    result = subprocess.run([sys.executable, "-m", "minigan", "--version"], capture_output=True, text=True, check=True)
    assert result.stdout == f"minigan {minigan.__version__}\n"


@pytest.mark.parametrize("command", [[], *([name] for name in cli.COMMANDS)])
def test_help(command, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main([*command, "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert "usage: minigan" in text
    assert max(map(len, text.splitlines())) <= 100


# -- sample --------------------------------------------------------------------------------------------------------------


def test_sample_npz_and_npy(trained, tmp_path):
    for name in ("a.npz", "a.npy"):
        assert cli.main(["sample", str(trained), "-n", "5", "--out", str(tmp_path / name)]) == 0
    images = np.load(tmp_path / "a.npz")["images"]
    assert images.shape == (5, 28, 28, 1)
    assert images.dtype == np.uint8
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), images)
    cli.main(["sample", str(trained), "-n", "5", "--seed", "1", "--out", str(tmp_path / "b.npy")])
    assert not np.array_equal(np.load(tmp_path / "b.npy"), images)


def test_sample_grid_folder_and_animation(trained, tmp_path):
    sample = ["sample", str(trained), "-n", "10", "--out"]
    assert cli.main([*sample, str(tmp_path / "deep" / "grid.png")]) == 0
    assert cli.main([*sample, str(tmp_path / "folder")]) == 0
    assert cli.main([*sample, str(tmp_path / "walk.gif"), "--interpolate"]) == 0
    assert cli.main([*sample, str(tmp_path / "all.npy")]) == 0
    images = np.load(tmp_path / "all.npy")
    assert sorted(os.listdir(tmp_path / "folder")) == [f"{i:04d}.png" for i in range(10)]
    with Image.open(tmp_path / "folder" / "0003.png") as image:
        np.testing.assert_array_equal(np.array(image), images[3, ..., 0])
    with Image.open(tmp_path / "deep" / "grid.png") as grid:
        factor = grid.width // (4 * 29 + 1)
        first = np.array(grid)[factor : 29 * factor : factor, factor : 29 * factor : factor]
        np.testing.assert_array_equal(first, images[0, ..., 0])
    with Image.open(tmp_path / "walk.gif") as animation:
        assert animation.n_frames == 10


def test_interpolation_walks_between_samples(trained, tmp_path):
    cli.main(["sample", str(trained), "-n", "24", "--interpolate", "--out", str(tmp_path / "walk.npy")])
    cli.main(["sample", str(trained), "-n", "2", "--out", str(tmp_path / "ends.npy")])
    walk, ends = np.load(tmp_path / "walk.npy").astype(int), np.load(tmp_path / "ends.npy").astype(int)
    assert abs(walk[0] - ends[0]).max() <= 1
    assert abs(walk[8] - ends[1]).max() <= 1
    steps = [abs(walk[(i + 1) % 24] - walk[i]).mean() for i in range(24)]
    assert max(steps) < abs(ends[0] - ends[1]).mean()


@pytest.mark.parametrize("count", [3, 5, 8, 20])
def test_a_walk_of_any_length_moves_and_closes(count):
    corners = np.random.default_rng(0).standard_normal((count_corners(count), 30))
    walk = latent_walk(corners, count)
    assert walk.shape == (count, 30)
    np.testing.assert_allclose(walk[0], corners[0])
    steps = [np.linalg.norm(walk[(i + 1) % count] - walk[i]) for i in range(count)]
    assert min(steps) > 0
    assert max(steps) < 3 * min(steps), "even steps, the one back to the first among them"


def test_slerp_keeps_the_length():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal(50), rng.standard_normal(50)
    b *= np.linalg.norm(a) / np.linalg.norm(b)
    for t in (0, 0.3, 0.5, 1):
        assert np.linalg.norm(slerp(a, b, t)) == pytest.approx(np.linalg.norm(a))
    np.testing.assert_allclose(slerp(a, b, 0), a)
    np.testing.assert_allclose(slerp(a, b, 1), b)
    np.testing.assert_allclose(slerp(a, a, 0.5), a)


def test_sample_points(points, tmp_path, capsys):
    assert cli.main(["sample", str(points), "-n", "7", "--out", str(tmp_path / "p.npz")]) == 0
    assert np.load(tmp_path / "p.npz")["points"].shape == (7, 2)
    assert cli.main(["sample", str(points), "--out", str(tmp_path / "p.png")]) == 0
    capsys.readouterr()
    fails(capsys, f"sample {points} --out {tmp_path}/p.gif", "points can be written as .png, .npz or .npy")


def test_sample_errors(trained, tmp_path, capsys):
    fails(capsys, f"sample {tmp_path}/none --out {tmp_path}/a.png", "no checkpoint", "minigan train")
    fails(capsys, f"sample {trained} --out {tmp_path}/a.jpg", "a.jpg", ".png, .npz, .npy, .gif, .txt or .wav, or a folder")
    fails(capsys, f"sample {trained} -n 0 --out {tmp_path}/a.png", "'0' is not a whole number from 1 up")
    fails(capsys, f"sample {trained}", "--out")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.png").write_bytes(b"mine")
    fails(capsys, f"sample {trained} --out {tmp_path}/full", "a folder that is not empty", "--overwrite")
    assert cli.main(["sample", str(trained), "-n", "2", "--out", str(tmp_path / "full"), "--overwrite"]) == 0
    assert (tmp_path / "full" / "mine.png").read_bytes() == b"mine"
    (tmp_path / "file").write_bytes(b"x")
    fails(capsys, f"sample {trained} --out {tmp_path}/file/a.png", "file")
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / CHECKPOINT).write_bytes((trained / CHECKPOINT).read_bytes()[:-100])
    fails(capsys, f"sample {damaged} --out {tmp_path}/a.png", "is damaged or no checkpoint")
    assert not (tmp_path / "a.png").exists()


def test_sample_keeps_a_file_that_exists(trained, tmp_path, capsys):
    for name in ("a.png", "a.npy", "a.npz", "a.gif"):
        (tmp_path / name).write_bytes(b"mine")
        fails(capsys, f"sample {trained} -n 2 --out {tmp_path}/{name}", name, "which exists", "--overwrite")
        assert (tmp_path / name).read_bytes() == b"mine"
        assert cli.main(["sample", str(trained), "-n", "2", "--out", str(tmp_path / name), "--overwrite"]) == 0
        assert (tmp_path / name).read_bytes() != b"mine"


def test_sample_does_not_replace_a_pipe_or_a_device(trained, tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe.png")
    for path in (tmp_path / "pipe.png", "/dev/null"):
        fails(capsys, f"sample {trained} -n 2 --overwrite --out {path}", "a pipe or a device")
    assert (tmp_path / "pipe.png").is_fifo()


@pytest.mark.parametrize("interpolate", [[], ["--interpolate"]])
def test_an_animation_of_one_image(trained, tmp_path, interpolate):
    assert cli.main(["sample", str(trained), "-n", "1", "--out", str(tmp_path / "one.gif"), *interpolate]) == 0
    with Image.open(tmp_path / "one.gif") as animation:
        assert animation.n_frames == 1


def test_an_animation_of_pictures_beyond_a_gifs_size(tmp_path):
    wide = np.zeros((2, 4, 70_000, 1), np.uint8)
    plots.save_animation(tmp_path / "wide.gif", wide)
    with Image.open(tmp_path / "wide.gif") as animation:
        assert animation.size == (35_000, 2)


# -- train ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ("--data digit", ["unknown dataset 'digit'", "did you mean 'digits'"]),
        ("--data none.npy", ["no file or folder 'none.npy'"]),
        ("--model dcgann", ["unknown name 'dcgann'", "did you mean 'dcgan'"]),
        ("--backend nupmy", ["unknown name 'nupmy'", "did you mean 'numpy'"]),
        ("--batch-size 9999", ["the batch size is 9999", "5000 samples"]),
        ("--batch-size 0", ["'0' is not a whole number from 1 up"]),
        ("--steps many", ["'many' is not a whole number"]),
        ("--lr -1", ["'-1' is not a finite number above 0"]),
        ("--lr inf", ["'inf' is not a finite number"]),
        ("--image-size 30", ["divisible by 4, got 30x30"]),
        ("--image-size big", ["an image size is 'big'"]),
        ("--data ring --model dcgan", ["take the model mlp"]),
        ("--data ring --width 8", ["width does not apply to the model mlp"]),
        ("--stpes 5", ["unknown argument '--stpes'", "did you mean --steps?"]),
        ("extra", ["unknown argument 'extra': see minigan train --help"]),
        ("--lr 1e308", ["lr is 1e+308, and float32 holds 1e-38 to 3e+38: choose one within"]),
        ("--lr-d 5e-324", ["lr_d is 5e-324, and float32 holds 1e-38 to 3e+38"]),
        ("--smoothing 2", ["'2' is not a number from 0 to below 1"]),
        ("--data-dir here", ["data_dir is 'here': only mnist and fashion-mnist"]),
        ("--data ring --image-size 8", ["holds points"]),
        ("--data mnist --data-dir nowhere", ["no folder 'nowhere' to look for mnist in"]),
        ("--steps 5 --epochs 5", ["not allowed with"]),
        ("--overwrite --resume", ["exclude each other"]),
    ],
)
def test_train_errors_write_nothing(options, parts, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fails(capsys, f"train --out run {options}", *parts)
    assert os.listdir(tmp_path) == []


def test_no_gpu_is_an_error_not_a_fall_back(tmp_path, capsys, monkeypatch):
    if minigan.get_backend("auto").name == "cupy":
        pytest.skip("a GPU answers on this machine")
    monkeypatch.chdir(tmp_path)
    fails(capsys, "train --backend cupy", "backend 'cupy' cannot run here", "pip install 'cupy-cuda12x[ctk]'")
    assert os.listdir(tmp_path) == []


def test_unknown_command(capsys):
    fails(capsys, "trian", "unknown command 'trian'", "did you mean 'train'")
    fails(capsys, "--quiet", "COMMAND")


def test_no_command_prints_the_help(capsys):
    for words in ([], ["help"]):
        with nullcontext() if not words else pytest.raises(SystemExit):
            assert cli.main(words) == 0
        assert capsys.readouterr().out.startswith("usage: minigan")
    with pytest.raises(SystemExit):
        cli.main(["help", "train"])
    assert capsys.readouterr().out.startswith("usage: minigan train")
    fails(capsys, "help trian", "did you mean 'train'")


def test_train_refuses_another_run(trained, tmp_path, capsys):
    before = (trained / CHECKPOINT).read_bytes()
    fails(capsys, f"train --out {trained}", "already holds a run")
    fails(capsys, f"train --resume --out {trained} --width 8", "has width 4, not 8")
    fails(capsys, "train --resume", "--resume needs --out")
    assert (trained / CHECKPOINT).read_bytes() == before


def test_train_into_a_file_or_a_forbidden_place(tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    fails(capsys, f"train --out {tmp_path}/file", "is a file: name a folder")
    fails(capsys, f"train --out {tmp_path}/file/below", "cannot make")
    assert (tmp_path / "file").read_text() == "mine"


def test_full_disk_keeps_the_last_checkpoint(tmp_path, capsys, monkeypatch):
    """The disk fills up after two checkpoints: one line, status 2, and that checkpoint still loads."""
    command = "train --steps 9 --checkpoint-every 3 --width 4 --batch-size 16 --backend numpy --quiet --out " + str(
        tmp_path / "run"
    )
    saves = []

    def writing(path, data):
        if str(path).endswith(CHECKPOINT):
            saves.append(path)
            if len(saves) > 2:  # after those of steps 0 and 3
                raise minigan.MiniganError(f"cannot write {path}: No space left on device")
        write_atomically(path, data)

    monkeypatch.setattr("minigan.training.checkpoint.write_atomically", writing)
    fails(capsys, command, "No space left on device")
    monkeypatch.undo()
    assert minigan.training.checkpoint.load(tmp_path / "run" / CHECKPOINT)[1]["step"] == 3


def test_divergence_is_one_line(tmp_path, capsys):
    command = f"train --model mlp --lr 1e38 --steps 50 --backend numpy --quiet --out {tmp_path}/run"
    fails(capsys, command, "step 1: ", "is not finite", "smaller learning rate")


def test_progress_bar_shows_what_is_promised(tmp_path, capsys):
    assert cli.main(["train", "--steps", "40", "--width", "4", "--batch-size", "16", "--out", str(tmp_path / "run")]) == 0
    printed = capsys.readouterr()
    assert "| backend " in printed.out.splitlines()[0]
    for word in ("40/40", "L_D=", "L_G=", "D(x)=", "D(G(z))=", "images/s="):
        assert word in printed.err


# -- the other commands --------------------------------------------------------------------------------------------------


@pytest.fixture
def a_few_checks(monkeypatch):
    """One penalty, one direction for each derivative, no game: tests/checks proves them all, at length."""
    suite = minigan.checks.suite
    few, second_order, penalty = {"mode": "projection", "max_entries": 1}, suite.check_second_order, suite.check_penalty
    layer = suite.check_layer
    monkeypatch.setattr(suite, "block_table", lambda table=suite.block_table: table()[:1])
    monkeypatch.setattr(suite, "check_layer", lambda *given, **options: layer(*given, **{**options, **few}))
    monkeypatch.setattr(suite, "_check_games", lambda backend: iter(()))
    monkeypatch.setattr(suite, "penalty_table", lambda table=suite.penalty_table: table()[:1])
    monkeypatch.setattr(suite, "check_second_order", lambda *given, **options: second_order(*given, **{**options, **few}))
    monkeypatch.setattr(suite, "check_penalty", lambda *given, **options: penalty(*given, **{**options, **few}))


@pytest.mark.usefixtures("a_few_checks")
def test_gradcheck_command(capsys):
    assert cli.main(["gradcheck", "--backend", "textbook"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "backend textbook" in lines[0]
    assert all(line.startswith("ok ") for line in lines[1:-1])
    assert "all gradients agree" in lines[-1]


@pytest.mark.slow
@pytest.mark.usefixtures("a_few_checks")
def test_gradcheck_command_turns_red(capsys, monkeypatch):
    monkeypatch.setattr(minigan.Tanh, "_dx", staticmethod(lambda xp, dy, y: dy * (1 - y)))
    assert cli.main(["gradcheck", "--backend", "textbook"]) == 1
    out = capsys.readouterr().out
    reports = [line.partition("derivatives  ") for line in out.splitlines() if line.startswith(("ok ", "FAILED"))]
    failed = {name for verdict, _, name in reports if verdict.startswith("FAILED")}
    with_tanh = {name for _, _, name in reports if "Tanh()" in name or "through a curved discriminator" in name}
    assert {"Tanh()", "Tanh(), second order"} <= failed == with_tanh
    assert "worst at" in out
    assert " FAILED\n" in out


def test_info(capsys):
    assert cli.main(["info"]) == 0
    text = capsys.readouterr().out
    for part in (
        "minigan 0.",
        "Python 3.",
        "numpy ",
        "BLAS: ",
        "backend textbook: CPU",
        "backend numpy: CPU",
        "backend cupy: ",
        "auto is ",
    ):
        assert part in text


@pytest.mark.parametrize("text", ["", "raise RuntimeError('boom')", "1/0", "import ctypes; ctypes.CDLL('none.so')", "x = ("])
def test_a_package_that_is_damaged_is_told_of(text, tmp_path):
    """A CuPy that does not import, and a package whose metadata cannot be read."""
    (tmp_path / "cupy.py").write_text(text)
    (tmp_path / "jax-1.dist-info").mkdir()
    (tmp_path / "jax-1.dist-info" / "METADATA").write_bytes(b"\xff\x00")
    path = os.pathsep.join([str(tmp_path), *sys.path])
    command = [sys.executable, "-m", "minigan", "info"]
    result = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path})
    assert (result.returncode, result.stderr) == (0, "")
    assert "backend cupy: not available, " in result.stdout
    assert "jax with damaged metadata" in result.stdout
    assert "auto is numpy" in result.stdout


def test_closed_pipe_is_no_traceback():
    result = subprocess.run(
        f"{sys.executable} -m minigan info | head -1", shell=True, capture_output=True, text=True, check=True
    )
    assert result.stderr == ""


def test_ctrl_c_while_nothing_is_running_is_no_traceback():
    process = subprocess.Popen(
        [sys.executable, "-m", "minigan", "gradcheck"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    process.stdout.readline()
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, "minigan: interrupted\n")


def test_a_message_is_one_line_that_can_be_read(capsys, tmp_path):
    """Whatever it quotes: a command, or what a user's file raises."""
    (tmp_path / "nets.py").write_text("raise RuntimeError('x' * 999 + chr(10) + 'y')")
    for words in (["x" * 999], ["gradcheck", str(tmp_path / "nets.py")], ["train", "--model", f"{tmp_path}/nets.py:build"]):
        assert cli.main(words) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert len(error.rstrip()) <= 300
    assert cli.main(["gradcheck", str(tmp_path / "gone.py")]) == 2
    assert "is not Python" not in capsys.readouterr().err
