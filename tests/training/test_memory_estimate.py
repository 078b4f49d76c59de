"""The memory of a training, estimated beforehand: near what is measured, and a run that is beyond it is refused."""

import subprocess
import sys
from pathlib import Path

import pytest

import minigan as mg
from minigan import cli
from minigan.backends import machine
from minigan.training.memory_estimate import estimate_memory

# The peak of a run beyond that of a small one before it, which has imported and warmed up all there is.
MEASURE = """
import sys, tempfile
import numpy as np, minigan as mg
from minigan.training.memory_estimate import estimate_memory

def play(name, batch, size, folder, **options):
    data = np.random.default_rng(0).integers(0, 256, (batch, size, size, 1), dtype=np.uint8)
    game = mg.GAN(*mg.models.build(name, image_shape=(size, size, 1), latent_dim=100, backend="numpy", **options))
    mg.train(game, data, folder, steps=3, batch_size=batch, progress=False)
    return game

def peak():
    return int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) * 1024

name, batch, width = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
sizes = (lambda n: {"width": n, "extra_conv": False}) if name == "dcgan" else (lambda n: {"hidden": n})
with tempfile.TemporaryDirectory() as folder:
    play(name, 4, 8, folder + "/small", **sizes(4))
    open("/proc/self/clear_refs", "w").write("5")
    before = peak()
    game = play(name, batch, 28, folder + "/run", **sizes(width))
    print(peak() - before, estimate_memory(game, batch))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux forgets a peak of memory")
@pytest.mark.parametrize(("model", "batch", "width"), [("mlp", 128, 128), ("mlp", 64, 2048), ("dcgan", 128, 64)])
def test_the_estimate_is_near_what_is_measured(model, batch, width):
    """The reference games among them."""
    command = [sys.executable, "-c", MEASURE, model, str(batch), str(width)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    measured, estimated = map(float, result.stdout.splitlines()[-1].split())
    assert 0.5 < estimated / measured < 2


@pytest.fixture
def small_machine(monkeypatch):
    monkeypatch.setattr(machine, "free_and_total_memory", lambda: (3.4 * 1024, 8 * 1024.0))


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ("--batch-size 5000 --width 256", ["this game needs about ", "GiB, and 3.4 GiB are free: choose smaller"]),
        ("--model mlp --hidden 20000 20000", ["a network of 402,040,000 parameters needs about 4.5 GiB, and 3.4 GiB are free"]),
        ("--width 1000000000", ["parameters needs about", "--width"]),
        ("--latent-dim 1000000000", ["parameters needs about", "--latent-dim"]),
    ],
)
def test_a_run_beyond_the_memory_is_refused_before_it_begins(options, parts, small_machine, tmp_path, capsys):
    assert cli.main(["train", "--backend", "numpy", "--out", str(tmp_path / "run"), *options.split()]) == cli.USER_ERROR
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    for part in parts:
        assert part in error
    assert not (tmp_path / "run").exists()


def test_so_are_more_samples_than_fit(small_machine, tmp_path, capsys):
    options = "--steps 1 --width 4 --batch-size 8 --backend numpy --quiet --out"
    assert cli.main(["train", *options.split(), str(tmp_path / "run")]) == 0
    out = tmp_path / "a.npy"
    for count in ("1000000", str(10**18)):
        assert cli.main(["sample", str(tmp_path / "run"), "-n", count, "--out", str(out)]) == cli.USER_ERROR
        assert f"sample -n {count} needs about " in capsys.readouterr().err
    assert not out.exists()


def test_what_layers_within_a_layer_put_out_counts():
    inner = lambda: [mg.Conv2d(9, 3, padding=1), mg.ReLU(), mg.Conv2d(1, 3, padding=1)]  # noqa: E731
    estimates = []
    for layers in ([*inner()], [mg.Residual(inner())]):
        g = mg.Sequential([mg.Dense(64), mg.Reshape((8, 8, 1)), *layers], (3,), "textbook")
        gan = mg.GAN(g, mg.Sequential([mg.Flatten(), mg.Dense(1)], (8, 8, 1), "textbook"))
        estimates.append(estimate_memory(gan, 128))
    assert estimates[1] - estimates[0] == 2 * 128 * 64 * 4  # the sum besides
