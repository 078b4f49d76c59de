"""Runs on images that are streamed or mirrored: the same bytes as from memory, captured, and resumed after a kill."""

import os
import subprocess
import sys
import time

import numpy as np
import pytest
from large_convolution import LARGE_CONVOLUTION
from PIL import Image
from quick_runs import draw_bytes

import minigan as mg
from minigan import cli, evaluate
from minigan.backends.numpy import threads
from minigan.data import folders, load
from minigan.errors import CheckpointError
from minigan.training import CHECKPOINT, Config, checkpoint, resume_run, start_run
from minigan.training import OPTIONS as OPTIONS_OF_RUNS

COUNT = 40
OPTIONS = {"model": "dcgan", "width": 2, "batch_size": 8, "latent_dim": 4, "backend": "numpy", "log_every": 3}


@pytest.fixture(autouse=True)
def _place(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    draw_bytes(monkeypatch)


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    for index, image in enumerate(np.random.default_rng(0).integers(0, 256, (COUNT, 8, 8, 3), dtype=np.uint8)):
        Image.fromarray(image).save(folder / f"{index:02d}.png")
    return folder


def config(data, steps=14, **options):
    return Config(**{"data": str(data), "steps": steps, "checkpoint_every": 4, **OPTIONS, **options})


def run(config, folder, **options):
    said = []
    started = start_run(config, folder, log=said.append, **options)
    assert started.train(progress=False)
    return started, said


def weights(folder):
    """All that a checkpoint holds but its configuration, which names the share of memory."""
    arrays, info = checkpoint.load(folder / CHECKPOINT)
    return {name: array.tobytes() for name, array in arrays.items()}, {k: v for k, v in info.items() if k != "config"}


@pytest.mark.parametrize("mirror", [False, True])
def test_a_streamed_run_has_the_bytes_of_one_from_memory(tmp_path, data, mirror, monkeypatch):
    held, said = run(config(data, mirror=mirror), tmp_path / "held")
    streamed, _ = run(config(data, mirror=mirror, memory_share=0), tmp_path / "streamed")
    assert not isinstance(held.dataset.values, np.memmap)
    assert isinstance(streamed.dataset.values, np.memmap)
    assert weights(tmp_path / "held") == weights(tmp_path / "streamed")
    assert any("with their reflections, 40 images are 80 an epoch" in line for line in said) == mirror
    with monkeypatch.context() as patch:
        patch.setattr(folders, "free_and_total_memory", lambda: (0.0, 1000.0))
        tight, _ = run(config(data, mirror=mirror), tmp_path / "tight")
    assert isinstance(tight.dataset.values, np.memmap)
    assert (tmp_path / "tight" / CHECKPOINT).read_bytes() == (tmp_path / "held" / CHECKPOINT).read_bytes()


@pytest.mark.parametrize("mirror", [False, True])
def test_it_resumes_to_the_same_bytes(tmp_path, data, mirror):
    """Stopped within an epoch; streamed at first, then from memory, or the other way round."""
    whole, _ = run(config(data, mirror=mirror), tmp_path / "whole")
    assert whole.batches.per_epoch == (10 if mirror else 5)
    for share in (0.0, 0.5):
        folder = tmp_path / f"parts {share}"
        run(config(data, steps=7, mirror=mirror, memory_share=share), folder)
        assert resume_run(folder, changes={"steps": 14, "memory_share": 0.5 - share}, log=lambda text: None).train(
            progress=False
        )
        assert weights(folder) == weights(tmp_path / "whole")


def test_epochs_of_a_mirrored_run_are_twice_as_long(tmp_path, data):
    for mirror, steps in ((False, 5), (True, 10)):
        started, _ = run(config(data, steps=None, epochs=1, mirror=mirror), tmp_path / str(mirror))
        assert started.total_steps == steps


def test_a_run_keeps_its_reflections(tmp_path, data):
    run(config(data, mirror=True), tmp_path / "run")
    with pytest.raises(CheckpointError, match="has mirror True, not False: leave it out"):
        resume_run(tmp_path / "run", changes={"mirror": False})
    game = mg.GAN(*mg.models.dcgan((8, 8, 3), 4, 2, backend="numpy"))
    dataset = load(data, mirror=True)
    mg.train(game, dataset, tmp_path / "own", steps=3, batch_size=8, progress=False)
    with pytest.raises(CheckpointError, match="does not hold the values that the run began with"):
        mg.Run.resume(tmp_path / "own", game=game, data=load(data), steps=6)


@pytest.mark.parametrize("share", [0, 0.5])
def test_a_step_on_them_is_captured(data, backend, share):
    """And does what the eager step does."""
    be, said = mg.get_backend(backend), []
    dataset = load(data, mirror=True, memory_share=share)
    games = [mg.GAN(*mg.models.mlp((8, 8, 3), 4, 8, backend=be)) for _ in range(2)]
    batches = [mg.Batches(dataset, 8, be) for _ in range(2)]
    step = mg.capture(games[0], batches[0], said.append)
    for _ in range(14):
        step()
        games[1].step(batches[1].next())
    assert said == []
    assert step.phase == ("eager" if backend == "textbook" else "replay")
    for ours, other in zip(games[0].networks.values(), games[1].networks.values(), strict=True):
        assert be.to_numpy(ours.flat_params).tobytes() == be.to_numpy(other.flat_params).tobytes()


def test_killed_and_resumed_to_the_same_bytes(tmp_path, data, monkeypatch):
    """A streamed, mirrored run whose process is killed."""
    monkeypatch.setattr(threads, "LARGE_CONVOLUTION", LARGE_CONVOLUTION)  # as the command has it
    options = {"mirror": True, "upsample": "resize", "memory_share": 0, "checkpoint_every": 10, "sample_every": 500}
    run(config(data, 120, **options), tmp_path / "whole")
    words = [[OPTIONS_OF_RUNS[name].flag, str(value)] for name, value in {**OPTIONS, **options}.items() if name != "mirror"]
    command = [sys.executable, "-m", "minigan", "train", "--quiet", "--mirror", "--data", str(data), "--steps", "120"]
    command += [*(word for pair in words for word in pair), "--out", str(tmp_path / "killed")]
    killed = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    while not (tmp_path / "killed" / CHECKPOINT).exists():
        assert killed.poll() is None, killed.stderr.read()
        time.sleep(0.01)
    killed.kill()
    killed.communicate()
    resumed = resume_run(tmp_path / "killed", log=lambda text: None)
    assert resumed.step < 120
    assert resumed.train(progress=False)
    assert (tmp_path / "killed" / CHECKPOINT).read_bytes() == (tmp_path / "whole" / CHECKPOINT).read_bytes()


def test_what_a_streamed_run_is_measured_against(tmp_path, data):
    """Comes from its file, of the same form, and no more of it than is needed."""
    run(config(data, memory_share=0, image_size=(16, 16), fit="pad", mirror=True), tmp_path / "run")
    trained = evaluate.load_run(str(tmp_path / "run"), "numpy")
    dataset = evaluate.real_data([trained], None)
    assert isinstance(dataset.values, np.memmap)
    parts = evaluate.split(dataset, 10, seed=0)
    assert [type(part) for part in parts[:3]] == [np.ndarray] * 3
    assert [len(part) for part in parts[:3]] == [10, 10, 10]
    assert not {image.tobytes() for image in parts.reference} & {image.tobytes() for image in parts.floor}
    assert evaluate.trained_on(trained, dataset, parts.reference) == 1
    other = evaluate.real_data([trained], str(data))
    assert other.shape == (16, 16, 3)
    assert evaluate.trained_on(trained, other, other.values[:5]) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--fit pad", "fit is pad, and there is no image_size to bring images to: name one, or leave fit out"),
        ("--fit padd", "unknown name 'padd': did you mean 'pad'"),
        ("--image-size 102", "divisible by 4, got 102x102: 100x100 and 104x104 would fit"),
        ("--image-size 62x72", "60x72 and 64x72 would fit"),
        ("--upsample resise", "unknown name 'resise': did you mean 'resize'"),
        ("--model mlp --upsample resize", "upsample does not apply to the model mlp: leave it out"),
        ("--memory-share 1", "'1' is not a number from 0 to below 1"),
        ("--memory-share -1", "'-1' is not a number from 0 to below 1"),
        ("--data ring --mirror", "mirror is for images, and 'ring' holds points: leave it out"),
    ],
)
def test_bad_input_is_one_line(tmp_path, data, capsys, words, message):
    given = words.split() if "--data" in words else [*words.split(), "--data", str(data)]
    assert cli.main(["train", *given, "--out", str(tmp_path / "run")]) == 2
    _, error = capsys.readouterr()
    assert message in error
    assert len(error.splitlines()) == 1
    assert len(error) <= 320
    assert not os.path.exists(tmp_path / "run")


def test_a_cache_without_room_is_one_line(tmp_path, data, capsys):
    (tmp_path / "cache").write_text("")
    assert cli.main(["train", "--data", str(data), "--memory-share", "0", "--out", str(tmp_path / "run")]) == 2
    _, error = capsys.readouterr()
    assert len(error.splitlines()) == 1
    assert "make room there, take smaller images, or let them fill a larger share of memory" in error
