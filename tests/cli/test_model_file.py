"""--model FILE.py:function: networks of a user's own in a run, and every mistake in the file as one line."""

import json
import os
import shlex

import numpy as np
import pytest

from minigan import cli
from minigan.training import CHECKPOINT, CONFIG, Config, checkpoint

NETS = """
import minigan as mg
from mine import ROOM

def build(image_shape, latent_dim=12, backend="auto", dtype="float32", seed=0):
    size = image_shape[0] * image_shape[1] * image_shape[2]
    G = mg.Sequential([mg.Dense(ROOM), mg.ReLU(), mg.Dense(size), mg.Tanh(), mg.Reshape(image_shape)],
                      (latent_dim,), backend, dtype, (seed, 0))
    D = mg.Sequential([mg.Conv2d(4, 4, stride=2, padding=1), mg.LeakyReLU(), mg.Flatten(), mg.Dense(1)],
                      image_shape, backend, dtype, (seed, 1))
    return G, D

def needs_z(latent_dim, backend, dtype, seed, image_shape):
    return build(image_shape, latent_dim, backend, dtype, seed)

def few(image_shape):
    return build(image_shape, 3, "numpy")

def any_backend(image_shape):
    return build(image_shape, 3, "textbook")

def strange(image_shape, depth):
    pass

def nothing():
    pass

def one(image_shape):
    return build(image_shape)[0]

def wrong_shape(backend):
    return build((4, 4, 3), backend=backend)

def fails(image_shape):
    return image_shape.height

def refused(image_shape):
    return mg.Sequential([mg.Dense(0)], (3,)), None

def stops():
    raise SystemExit(3)

number = 5
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with nets.py, a module beside it that it imports, and 24 RGB images."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets.py").write_text(NETS)
    (tmp_path / "mine.py").write_text("ROOM = 10\n")
    np.save("own.npy", np.random.default_rng(0).integers(0, 256, (24, 8, 8, 3), dtype=np.uint8))
    return tmp_path


def train(more, out="run"):
    options = f"--data own.npy --batch-size 4 --backend numpy --quiet --out {out} {more}"
    return cli.main(["train", *shlex.split(options)])


def fails(capsys, status, *parts):
    assert status == cli.USER_ERROR
    text = capsys.readouterr().err
    assert text.startswith("minigan: error: ")
    assert text.count("\n") == 1, text
    for part in parts:
        assert part in text


def test_a_run_with_networks_from_a_file(folder, capsys, monkeypatch, few_numbers):
    assert train("--model nets.py:build --steps 6", "whole") == 0
    assert train("--model nets.py:build --steps 3") == 0
    written = json.loads((folder / "run" / CONFIG).read_text())
    assert written["model"] == f"{folder / 'nets.py'}:build"
    assert (written["latent_dim"], written["width"], written["hidden"], written["lr"]) == (12, None, None, 1.5e-3)
    assert len(written["model_digest"]) == 32
    assert cli.main(shlex.split("train --resume --out run --steps 6 --model nets.py:build --quiet")) == 0
    assert (folder / "run" / CHECKPOINT).read_bytes() == (folder / "whole" / CHECKPOINT).read_bytes()
    monkeypatch.chdir("/")  # the run knows where the file is
    assert cli.main(["sample", str(folder / "run"), "-n", "3", "--out", str(folder / "a.npy")]) == 0
    assert np.load(folder / "a.npy").shape == (3, 8, 8, 3)
    explain = ["explain", str(folder / "run"), "--batch-size", "3", "--quiet", "--out", str(folder / "page.html")]
    assert cli.main(explain) == 0
    assert cli.main(["diagnose", str(folder / "run")]) == 0
    assert "train --resume" in capsys.readouterr().out


def test_explain_opens_a_small_game_of_such_networks(folder, capsys, few_numbers):
    assert cli.main(shlex.split("explain --data own.npy --model nets.py:build --after 2 --batch-size 3 --quiet")) == 0
    assert "explain.html" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("function", "more", "latent_dim"),
    [("build", "--latent-dim 5", 5), ("needs_z", "", 32), ("needs_z", "--latent-dim 7", 7), ("few", "", 3)],
)
def test_the_length_of_z_is_the_users_or_the_functions(folder, function, more, latent_dim):
    assert train(f"--model nets.py:{function} --steps 1 {more}") == 0
    assert Config.from_json(checkpoint.load(folder / "run" / CHECKPOINT)[1]["config"]).latent_dim == latent_dim


def test_a_run_folder_is_named_after_the_function(folder):
    assert cli.main(shlex.split("train --data own.npy --batch-size 4 --model nets.py:build --steps 1 --quiet")) == 0
    assert (folder / "runs" / "own-nets-build" / CONFIG).exists()


@pytest.mark.parametrize(
    ("function", "parts"),
    [
        ("strange", ["needs 'depth'", "expected function(image_shape, latent_dim, backend, dtype, seed, classes)", "default"]),
        ("nothing", ["nothing must return (G, D), two minigan.Sequential; it returns None"]),
        ("one", ["one must return (G, D)"]),
        ("wrong_shape", ["G makes (4, 4, 3), and the data are (8, 8, 3)"]),
        ("fails", ["fails fails: line 35, in fails: AttributeError: 'tuple' object has no attribute 'height'"]),
        ("refused", ["line 38, in refused: OptionError: "]),
        ("stops", ["line 41, in stops: SystemExit: 3"]),
        ("biuld", ["no function 'biuld': did you mean 'build'?"]),
        ("number", ["no function 'number'"]),
        ("few --latent-dim 4", ["G takes (3,), and latent_dim is 4"]),
        ("any_backend", ["in float32 on textbook, the run is in float32 on numpy: hand backend and dtype on"]),
        ("few --dtype float64", ["in float32 on numpy, the run is in float64"]),
        ("build --width 3", ["width does not apply to the model nets-build"]),
    ],
)
def test_mistakes_in_the_function(folder, capsys, function, parts):
    fails(capsys, train(f"--model nets.py:{function}"), *parts)
    assert not (folder / "run").exists()


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("def build(:\n", ["nets.py, line 1: this is not Python"]),
        ("import minigan\nminigan.nothing\n", ["nets.py fails as it is loaded: line 2, in <module>: AttributeError"]),
        ("exit(1)\n", ["SystemExit: 1; put what runs as a program under"]),
        ("x = 1\n", ["has no function 'build': it defines none"]),
        ("class Own(BaseException): pass\nraise Own('x')\n", ["line 2, in <module>: Own: x"]),
        ("class Own(Exception):\n    def __str__(self): return 1 / 0\nraise Own\n", ["line 3, in <module>: Own"]),
        ("def f(): f()\nf()\n", ["RecursionError"]),
        ("x = " + "-" * 50_000 + "1\n", ["this is not Python (it is nested too deeply)"]),
        ("x = " + "(" * 5_000 + ")" * 5_000, ["this is not Python"]),
        ("# coding: none\n", ["this is not Python (unknown encoding: none)"]),
        ("\0", ["this is not Python"]),
        ("def build(image_shape): raise GeneratorExit\n", ["build fails: line 1, in build: GeneratorExit"]),
        ("build = type\n", ["build has no signature"]),
    ],
)
def test_mistakes_in_the_file(folder, capsys, text, parts):
    (folder / "nets.py").write_text(text)
    fails(capsys, train("--model nets.py:build"), *parts)


def test_a_file_that_is_not_there_and_one_without_a_function(folder, capsys):
    fails(capsys, train("--model none.py:build"), f"cannot read {folder / 'none.py'}: No such file")
    fails(capsys, train("--model nets.py"), "'nets.py' is a Python file without the name of a function")
    fails(capsys, train("--model nets.py:"), "'nets.py:' is a Python file without the name of a function: write FILE.py:NAME")


def test_only_a_file_is_read(folder, capsys):
    """A pipe that nobody writes to would be waited for, and a device may have no end."""
    os.mkfifo("pipe.py")
    (folder / "folder.py").mkdir()
    (folder / "endless.py").symlink_to("/dev/zero")
    for name, reason in (("pipe", "a pipe or a device"), ("endless", "a pipe or a device"), ("folder", "Is a directory")):
        fails(capsys, train(f"--model {name}.py:build"), f"{name}.py: ", reason, "expected a Python file")
        fails(capsys, cli.main(["gradcheck", f"{name}.py"]), f"{name}.py: ", reason)


def test_a_file_that_has_changed_or_gone_is_told_of(folder, capsys):
    assert train("--model nets.py:build --steps 2") == 0
    before = (folder / "run" / CHECKPOINT).read_bytes()
    later = ["train --resume --out run --steps 4", "sample run --out a.npy", "explain run --quiet"]
    capsys.readouterr()
    (folder / "nets.py").write_text(NETS.replace("ReLU", "Softplus"))  # the same parameters, and other images
    for command in later:
        fails(capsys, cli.main(command.split()), f"{folder / 'nets.py'}, which built", "has changed", "put back the file")
    (folder / "nets.py").unlink()
    for command in later:
        fails(capsys, cli.main(command.split()), "built by a file that is gone: put it back", str(folder / "nets.py"))
    assert (folder / "run" / CHECKPOINT).read_bytes() == before
    (folder / "nets.py").write_text(NETS)
    assert cli.main([*later[0].split(), "--quiet"]) == 0
