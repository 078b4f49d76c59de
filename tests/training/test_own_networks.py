"""Runs of a user's own networks, from Python: any game, any data, the same folder, and resuming to the same bytes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import minigan as mg
from minigan import cli
from minigan.diagnose import diagnose_run
from minigan.errors import CheckpointError, DataError, MiniganError, ModelError, OptionError
from minigan.games import Game
from minigan.training import ANIMATION, CHECKPOINT, CONFIG, CURVES, LOG, Config, checkpoint, read_log, read_settings, start_run

SCRIPT = """
import os, signal, sys
import numpy as np
import minigan as mg

out, killed_at = sys.argv[1], int(sys.argv[2])
generator = [
    mg.Dense(16 * 16 * 2), mg.Reshape((16, 16, 2)), mg.BatchNorm(), mg.ReLU(),
    mg.ConvTranspose2d(4, 4, stride=2, padding=1), mg.LeakyReLU(0.2),
    mg.ConvTranspose2d(3, 4, stride=2, padding=1), mg.Tanh(),
]
discriminator = [
    mg.Conv2d(4, 4, stride=4), mg.LeakyReLU(0.2), mg.Dropout(0.2), mg.Conv2d(4, 4, stride=4), mg.LeakyReLU(0.2),
    mg.Flatten(), mg.Dense(1),
]
game = mg.GAN(
    mg.Sequential(generator, (8,), "numpy", seed=1), mg.Sequential(discriminator, (64, 64, 3), "numpy", seed=2),
    lr=1e-3, ema=0.9, seed=3,
)
images = np.random.default_rng(0).integers(0, 256, (40, 64, 64, 3), dtype=np.uint8)
if os.path.exists(out):
    run = mg.Run.resume(out, game=game, data=images)
else:
    run = mg.Run(game, images, out, steps=12, batch_size=8, log_every=4, sample_every=12, checkpoint_every=4)
advance = run.batches.advance

def advance_or_die():
    if run.step + 1 == killed_at:
        os.kill(os.getpid(), signal.SIGKILL)
    advance()

run.batches.advance = advance_or_die
run.train(progress=False)
"""


def start(folder, killed_at=0):
    command = [sys.executable, "-c", SCRIPT, str(folder), str(killed_at)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_killed_and_resumed_to_the_same_bytes(tmp_path):
    """Your own G and D on an array of 64x64 RGB images."""
    whole, killed = start(tmp_path / "whole"), start(tmp_path / "killed", killed_at=7)
    out, err = whole.communicate(timeout=120)
    assert whole.returncode == 0, err
    assert "GAN float32, G" in out
    assert "array: 40 images 64x64x3 | batch 8, 12 steps" in out
    killed.communicate(timeout=120)
    assert killed.returncode == -signal.SIGKILL
    assert checkpoint.load(tmp_path / "killed" / CHECKPOINT)[1]["step"] == 4
    resumed = start(tmp_path / "killed")
    out, err = resumed.communicate(timeout=120)
    assert resumed.returncode == 0, err
    assert (tmp_path / "killed" / CHECKPOINT).read_bytes() == (tmp_path / "whole" / CHECKPOINT).read_bytes()
    assert [row["step"] for row in read_log(tmp_path / "killed" / LOG)] == ["4", "8", "12"]
    last = "samples/step_000012.png"
    assert (tmp_path / "killed" / last).read_bytes() == (tmp_path / "whole" / last).read_bytes()
    with Image.open(tmp_path / "killed" / last) as grid:
        assert grid.mode == "RGB"
    for name in (ANIMATION, CURVES):
        assert (tmp_path / "killed" / name).exists()


class Halve(mg.Layer):
    """y = x / 2, a layer of a user's own."""

    def build(self, input_shape):
        return input_shape

    def forward(self, x, train=False):
        return x / 2, None

    def backward(self, dy, cache, grads=None, input_grad=True):
        return dy / 2 if input_grad else None


def gan(width=4, dtype="float32", backend="textbook", shape=(6, 6, 1)):
    generator = [mg.Dense(width), mg.ReLU(), Halve(), mg.Dense(int(np.prod(shape))), mg.Tanh(), mg.Reshape(shape)]
    discriminator = [mg.Flatten(), mg.Dense(width), mg.LeakyReLU(0.2), mg.Dense(1)]
    pair = (mg.Sequential(layers, size, backend, dtype) for layers, size in ((generator, (3,)), (discriminator, shape)))
    return mg.GAN(*pair, lr=1e-2)


IMAGES = np.random.default_rng(0).uniform(-1, 1, (50, 6, 6))
SHORT = {"batch_size": 10, "log_every": 2, "checkpoint_every": 3, "sample_every": 100, "log": lambda text: None}


class Autoencoder(Game):
    """Not of two sides: one loss, ‖decode(encode(x)) − x‖², and no stream."""

    stats = ("loss", "size")
    streams: dict = {}  # noqa: RUF012

    def __init__(self):
        nets = (([mg.Dense(4), mg.ReLU(), mg.Dense(1)], (2,)), ([mg.Dense(4), mg.ReLU(), mg.Dense(2)], (1,)))
        encoder, decoder = (mg.Sequential(layers, shape, "textbook") for layers, shape in nets)
        self.networks = {"encoder": encoder, "decoder": decoder}
        self.optimizers = {"encoder": mg.Adam(0.05), "decoder": mg.Adam(0.05)}
        for name, optimizer in self.optimizers.items():
            optimizer.attach(self.networks[name])
        self.backend = encoder.backend

    @property
    def sampler(self):
        return self.networks["decoder"]

    def compute(self, x):
        encoder, decoder = self.networks.values()
        z, cache = encoder.forward(x, train=True)
        y, cache_y = decoder.forward(z, train=True)
        dz = decoder.backward(2 * (y - x) / len(x), cache_y, grads=decoder.grads)
        encoder.backward(dz, cache, grads=encoder.grads, input_grad=False)
        for name, optimizer in self.optimizers.items():
            optimizer.compute(self.networks[name])
        return {"loss": ((y - x) ** 2).sum() / len(x), "size": abs(z).mean()}


def test_a_game_of_another_kind_on_points(tmp_path):
    """Statistics by their names, norms of its networks, nothing that would need a generator and a discriminator."""
    points = np.random.default_rng(1).normal(size=(40, 2))
    whole = mg.train(
        Autoencoder(), points, tmp_path / "whole", steps=20, batch_size=8, log_every=2, sample_every=20, progress=False
    )
    (first, *_, last) = read_log(tmp_path / "whole" / LOG)
    layers = [f"{net}.{layer}.{what}" for net in ("encoder", "decoder") for layer in (0, 2) for what in ("gradient", "update")]
    assert list(first) == ["step", "epoch", "loss", "size", "images_per_s", "seconds", *layers]
    assert float(last["loss"]) < float(first["loss"])
    assert (tmp_path / "whole" / CURVES).exists()
    assert whole.last_stats.keys() == {"loss", "size"}
    parts = {"batch_size": 8, "log_every": 2, "sample_every": 20, "log": lambda text: None}
    mg.Run(Autoencoder(), points, tmp_path / "parts", steps=7, **parts).train(progress=False)
    assert mg.Run.resume(tmp_path / "parts", game=Autoencoder(), data=points, steps=20).train(progress=False)
    assert (tmp_path / "parts" / CHECKPOINT).read_bytes() == (tmp_path / "whole" / CHECKPOINT).read_bytes()
    with pytest.raises(CheckpointError, match="has no column loss_d, loss_g, prob_real, prob_fake"):
        diagnose_run(tmp_path / "whole")


def test_stopped_and_trained_on_in_one_process(tmp_path):
    """As in a notebook: the run object itself goes on, to the same bytes."""
    mg.Run(gan(), IMAGES, tmp_path / "whole", steps=9, **SHORT).train(progress=False)
    run = mg.Run(gan(), IMAGES, tmp_path / "parts", steps=9, **SHORT)
    advance = run.batches.advance

    def stopping():
        run._stop = run.step == 4  # as Ctrl-C sets it
        advance()

    run.batches.advance = stopping
    assert not run.train(progress=False)
    assert run.step == 5
    run.batches.advance = advance
    assert run.train(progress=False)
    assert (tmp_path / "parts" / CHECKPOINT).read_bytes() == (tmp_path / "whole" / CHECKPOINT).read_bytes()


def test_a_run_shows_where_it_is(tmp_path):
    run = mg.Run(gan(), IMAGES, tmp_path / "<run>", steps=4, **SHORT)
    assert repr(run) == f"Run({str(tmp_path / '<run>')!r}, step 0 of 4)"
    assert "<img" not in run._repr_html_()
    run.train(progress=False)
    assert repr(run).startswith(f"Run({str(tmp_path / '<run>')!r}, step 4 of 4, loss_d ")
    page = run._repr_html_()
    for part in ("&lt;run&gt;", "4 of 4", "<th>prob_fake</th>", 'src="data:image/png;base64,', "step_000004"):
        assert part in page


def test_config_json_tells_what_the_networks_were(tmp_path):
    mg.Run(gan(), IMAGES, tmp_path / "run", steps=np.int64(2), **SHORT).train(progress=False)
    settings = read_settings(tmp_path / "run" / CONFIG)
    assert (settings["made_from"], settings["data"], settings["steps"], settings["batch_size"]) == ("Python", "array", 2, 10)
    assert settings["networks"]["generator"] == {"input": [3], "output": [6, 6, 1], "parameters": 4 * 4 + 5 * 36}


@pytest.mark.parametrize(
    ("game", "data", "options", "error", "message"),
    [
        (gan, IMAGES[:, :5], {}, ModelError, r"makes samples of shape \(6, 6, 1\), and array holds \(5, 6, 1\)"),
        (gan, "digitz", {}, DataError, "unknown dataset 'digitz': did you mean 'digits'"),
        (gan, np.zeros((9, 8, 8, 2)), {}, DataError, r"array has shape \(9, 8, 8, 2\): expected images"),
        (gan, IMAGES, {"steps": 0}, OptionError, "steps is 0: expected a whole number from 1 up"),
        (gan, IMAGES, {"log_every": 2.5}, OptionError, "log_every is 2.5: expected a whole number"),
        (gan, IMAGES, {"seed": -1}, OptionError, "seed is -1: expected a whole number from 0 up"),
        (gan, IMAGES, {"batch_size": 51}, DataError, "the batch size is 51: array has 50 samples"),
    ],
)
def test_mistakes_write_nothing(tmp_path, game, data, options, error, message):
    with pytest.raises(error, match=message):
        mg.Run(game(), data, tmp_path / "run", **{"steps": 2, **SHORT, **options})
    assert not os.listdir(tmp_path)


def test_a_run_goes_on_with_its_own_networks_and_data_alone(tmp_path, capsys):
    folder = tmp_path / "run"
    mg.Run(gan(), IMAGES, folder, steps=4, **SHORT).train(progress=False)
    before = (folder / CHECKPOINT).read_bytes()
    with pytest.raises(MiniganError, match=r"already holds a run: mg\.Run\.resume continues it, overwrite=True replaces it"):
        mg.Run(gan(), IMAGES, folder, steps=4, **SHORT)
    for game, data, message in (
        (gan(), IMAGES[::-1], "array does not hold the values that the run began with"),
        (gan(width=5), IMAGES, r"discriminator.1.bias' is float32 \(4,\) in it, and float32 \(5,\) in the game given"),
        (gan(dtype="float64"), IMAGES, "began with dtype float32, and the game given has float64"),
        (gan(backend="numpy"), IMAGES, "began with backend textbook, and the game given has numpy"),
    ):
        with pytest.raises(CheckpointError, match=message) as caught:
            mg.Run.resume(folder, game=game, data=data)
        assert len(str(caught.value)) <= 300
        assert "\n" not in str(caught.value)
    assert (folder / CHECKPOINT).read_bytes() == before
    for command in (["sample", "RUN", "--out", "x.png"], ["train", "--resume", "--out", "RUN"], ["explain", "RUN"]):
        assert cli.main([str(folder) if word == "RUN" else word for word in command]) == cli.USER_ERROR
        assert "was started from Python with networks of its own" in capsys.readouterr().err


def test_a_run_of_the_command_line_goes_on_there(tmp_path):
    config = Config(data="ring", model="mlp", hidden=(4,), steps=1, batch_size=8, backend="textbook")
    start_run(config, tmp_path / "run", log=lambda text: None).train(progress=False)
    with pytest.raises(CheckpointError, match="go on with it by minigan train --resume --out"):
        mg.Run.resume(tmp_path / "run", game=gan(), data=IMAGES)


def test_its_diagnosis_advises_in_words(tmp_path):
    """The options of the command line are not those of a run from Python."""
    mg.Run(gan(), IMAGES, tmp_path / "run", steps=4, **SHORT).train(progress=False)
    (finding,), about = diagnose_run(tmp_path / "run")
    assert finding.kind == "too short"
    assert "networks of your own on array" in about
    assert [one.options for one in finding.advice] == [""]
    assert "mg.Run.resume(" in finding.advice[0].reason
    log = tmp_path / "run" / LOG
    columns = log.read_text().partition("\n")[0].split(",")
    log.write_text(log.read_text() + ",".join(["6", "0", *["nan"] * (len(columns) - 2)]) + "\n")
    (finding, *_), _ = diagnose_run(tmp_path / "run")
    assert finding.kind == "learning rate"
    assert finding.advice[0].reason.startswith("smaller learning rates")


@pytest.mark.slow
def test_what_reading_the_data_has_changed_is_printed(tmp_path, monkeypatch):
    """Once, below the first line; and a Path is as good as its text."""
    monkeypatch.chdir(tmp_path)
    np.save("own.npy", np.linspace(0, 255, IMAGES.size).reshape(IMAGES.shape))
    lines = []
    mg.Run(gan(), Path("own.npy"), "run", steps=1, **{**SHORT, "log": lines.append}).train(progress=False)
    assert lines[1] == "own.npy: floats from 0 to 255: 0 was taken as black and 255 as white"
    assert mg.train(gan(), Path("own.npy"), steps=1, batch_size=10, progress=False).folder == Path("runs/own")


def test_a_penalty_that_cannot_go_through_a_layer_is_refused_before_the_folder_is_made(tmp_path, capsys):
    (tmp_path / "nets.py").write_text(
        "import minigan as mg\n"
        "class Halve(mg.Layer):\n"
        "    def forward(self, x, train=False):\n        return x / 2, None\n"
        "    def backward(self, dy, cache, grads=None, input_grad=True):\n        return dy / 2 if input_grad else None\n"
        "def build(image_shape, latent_dim, backend, dtype, seed):\n"
        "    g = mg.Sequential([mg.Dense(784), mg.Reshape(image_shape)], (latent_dim,), backend, dtype, seed)\n"
        "    d = mg.Sequential([mg.Flatten(), Halve(), mg.Dense(1)], image_shape, backend, dtype, seed)\n"
        "    return g, d\n"
    )
    words = ["train", "--model", f"{tmp_path / 'nets.py'}:build", "--penalty", "r1=1", "--steps", "2", "--quiet"]
    assert cli.main([*words, "--out", str(tmp_path / "run")]) == cli.USER_ERROR
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "Halve (layer 1) has no tangent: a penalty on gradients needs one" in err
    assert not (tmp_path / "run").exists()
