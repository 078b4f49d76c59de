"""Runs on sound: what lies in their folders, what goes on from them, and what is drawn, measured and opened of them."""

import json
import os

import numpy as np
import pytest
from PIL import Image
from quick_runs import before_step, content, draw_bytes, rows

import minigan as mg
from minigan import cli
from minigan.data import load
from minigan.data.kinds import Sound
from minigan.data.wav import read_wav, wav_bytes
from minigan.errors import MiniganError
from minigan.training import Config, load_game, plots, resume_run, start_run
from minigan.training.monitor import Monitor
from minigan.training.verdict import diagnose

GAME = {"width": 2, "latent_dim": 3, "batch_size": 4, "steps": 8, "length": 64, "backend": "numpy"}
SHOWN = {"epoch": 1.0, "loss_d": 0.6, "loss_g": 0.8, "score_real": 1.0, "score_fake": 0.5, "diversity": 0.9, "clusters": 0.9}
EVERY = {"log_every": 2, "sample_every": 4, "checkpoint_every": 4}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """WAV files of 1,000 Hz, and a run on them."""
    home = tmp_path_factory.mktemp("sound")
    (home / "data").mkdir()
    hum = np.sin(np.arange(64 * 30) * np.linspace(0.1, 0.6, 64 * 30)) * 20_000
    (home / "data" / "a.wav").write_bytes(wav_bytes(np.rint(hum).astype(np.int16).reshape(1, -1, 1), 1000))
    made(home, "run").train(progress=False)
    return home


def made(home, name, **options):
    return start_run(Config(**{"data": str(home / "data"), **GAME, **EVERY, **options}), home / name, log=lambda text: None)


def main(*words):
    return cli.main([str(word) for word in words])


def refused(capsys, *words):
    assert main(*words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert len(line) <= 300
    return line


def test_the_folder_of_a_run(home):
    """Beside each picture what it shows, to be heard: the same sounds."""
    names = sorted(os.listdir(home / "run" / "samples"))
    assert names == [f"step_{step:06d}.{form}" for step in (0, 4, 8) for form in ("png", "wav")]
    values, rate = read_wav(home / "run" / "samples" / "step_000008.wav")
    game, config, kind = load_game(home / "run")
    assert (rate, kind, config.model, config.kind) == (1000, Sound(1000), "wave", "sound")
    sounds = kind.from_floats(game.sample(16, seed=0))
    assert len(values) == 16 * (64 + 100)
    np.testing.assert_array_equal(values.reshape(16, 164)[:, :64], sounds[..., 0])
    with Image.open(home / "run" / "progress.gif") as animation:
        assert animation.n_frames == 3


@pytest.mark.parametrize("step", [3, 6])
def test_killed_and_gone_on_to_the_same_bytes(home, tmp_path, step, monkeypatch):
    draw_bytes(monkeypatch)
    made(home, tmp_path / "whole").train(progress=False)
    run = made(home, tmp_path / "run")

    def killed():
        raise KeyboardInterrupt

    before_step(run, step, killed)
    with pytest.raises(KeyboardInterrupt):
        run.train(progress=False)
    (tmp_path / "run" / "samples" / "step_000012.wav").write_bytes(b"of a run that went further")
    assert resume_run(tmp_path / "run", log=lambda text: None).train(progress=False)
    assert content(tmp_path / "run") == content(tmp_path / "whole")


def test_a_replaced_run_leaves_no_sound_behind(home, tmp_path, monkeypatch):
    draw_bytes(monkeypatch)
    made(home, tmp_path).train(progress=False)
    config = Config(**{"data": str(home / "data"), **GAME, **EVERY, "steps": 4})
    start_run(config, tmp_path, overwrite=True, log=lambda text: None).train(progress=False)
    assert sorted(os.listdir(tmp_path / "samples")) == [f"step_{s:06d}.{form}" for s in (0, 4) for form in ("png", "wav")]


def test_measured_as_it_is_trained(home, tmp_path, monkeypatch):
    draw_bytes(monkeypatch)
    made(home, tmp_path / "run", evaluate_every=4, steps=4).train(progress=False)
    log = rows(tmp_path / "run")
    assert float(log[-1]["measured.frechet"]) > 0
    assert "diversity" in log[0]
    assert "fidelity" not in log[0], "waveforms that sound alike may differ everywhere"


def test_a_probe_of_sound_has_no_likeness(home):
    game = load_game(home / "run").game
    columns = Monitor(game, load(home / "data", length=64)).columns
    assert {"diversity", "clusters"} < set(columns)
    assert not {"fidelity", "coverage"} & set(columns)


def test_sample(home, tmp_path, capsys):
    run = home / "run"
    for out in ("all.wav", "one", "x.npy", "x.npz", "x.png"):
        assert main("sample", run, "-n", 5, "--out", tmp_path / out) == 0
    assert capsys.readouterr().out.splitlines()[0] == f"5 sounds of {run} in {tmp_path / 'all.wav'}"
    sounds = np.load(tmp_path / "x.npy")
    assert (sounds.dtype, sounds.shape) == (np.int16, (5, 64, 1))
    np.testing.assert_array_equal(np.load(tmp_path / "x.npz")["sound"], sounds)
    assert (tmp_path / "all.wav").read_bytes() == wav_bytes(sounds, 1000)
    assert sorted(os.listdir(tmp_path / "one")) == [f"{index:04d}.wav" for index in range(5)]
    np.testing.assert_array_equal(read_wav(tmp_path / "one" / "0003.wav").values, sounds[3])
    assert "sound can be written as .wav, .png, .npz or .npy" in refused(capsys, "sample", run, "--out", tmp_path / "x.gif")


def test_evaluate(home, capsys):
    assert main("evaluate", home / "run", "--quiet") == 0
    assert "30 samples; features: log-spectra" in capsys.readouterr().out
    written = json.loads((home / "run" / "metrics.json").read_text())
    assert written["generated"]["frechet"] > 10 * written["real"]["frechet"]
    with Image.open(home / "run" / "neighbours.png") as picture:
        assert picture.width > 300


def test_evaluate_brings_other_sound_to_the_runs_form(home, tmp_path, capsys):
    pytest.importorskip("soxr", reason="soxr is not installed: pip install soxr")
    noise = np.random.default_rng(0).integers(-9999, 9999, (1, 2000 * 4, 1)).astype(np.int16)
    (tmp_path / "other.wav").write_bytes(wav_bytes(noise, 2000))
    assert main("evaluate", home / "run", "--against", tmp_path / "other.wav", "--quiet") == 0
    assert "other.wav, 62 samples" in capsys.readouterr().out


def test_explain_and_diagnose(home, tmp_path, capsys, few_numbers):
    page = tmp_path / "page.html"
    assert main("explain", home / "run", "--out", page, "--batch-size", 2, "--quiet") == 0
    assert "PhaseShuffle" not in page.read_text(), "with one strided layer there is none"
    small = ("explain", "--data", "tones", "--after", 0, "--batch-size", 2, "--width", 1, "--quiet", "--out", page)
    assert main(*small) == 0
    assert "PhaseShuffle" in page.read_text()
    assert main("diagnose", home / "run") == 0
    assert "too short to tell" in capsys.readouterr().out


def test_what_does_not_go_together(home, tmp_path, capsys):
    data = home / "data"
    train = ("train", "--out", tmp_path / "run", "--steps", 1)
    assert "a length of 992 or 1008 would fit" in refused(capsys, *train, "--data", data, "--length", 1000)
    assert "dcgan makes images, and" in refused(capsys, *train, "--data", data, "--model", "dcgan")
    assert "take the model dcgan" in refused(capsys, *train, "--model", "wave")
    assert "rate is 9, but digits holds images" in refused(capsys, *train, "--rate", 9)
    assert not (tmp_path / "run").exists()


# -- pictures ------------------------------------------------------------------------------------------------------------


def test_a_picture_shows_waveform_and_spectrogram(tmp_path):
    """A sine of a quarter of the highest frequency is one line of the waveform's height and one bright row."""
    t = np.arange(4096)
    sounds = np.stack([np.sin(2 * np.pi * t / 8), np.zeros(4096)])[..., None]
    plots.save_sounds(tmp_path / "x.png", sounds, 8000, columns=2)
    with Image.open(tmp_path / "x.png") as image:
        pixels = np.asarray(image.convert("L")).astype(int)[30:]
    wide, high = plots.SOUND_SIZE
    loud, silent = (pixels[3 : 3 + high * 3 // 2, 3 + n * (wide + 3) : 3 + n * (wide + 3) + wide] for n in (0, 1))
    waves, spectrum = loud[: high // 2], loud[high // 2 :]
    assert (waves > 128).mean() > 0.9
    assert ((silent[: high // 2] > 128).sum(axis=1) > 0).sum() == 1
    bright = np.flatnonzero(spectrum.mean(axis=1) > 150)
    assert abs(bright.mean() - high * 3 / 4) <= 2
    assert len(bright) <= 3
    assert spectrum[: high // 2].max() < 20
    assert silent[high // 2 :].max() < 20


def test_a_picture_of_too_many(tmp_path):
    with pytest.raises(MiniganError, match="a picture shows up to 1,024 sounds, not 1,025"):
        plots.save_sounds(tmp_path / "x.png", np.zeros((1025, 64, 1)), 8000)
    assert not list(tmp_path.iterdir())


def test_the_same_by_python(home, tmp_path, monkeypatch):
    draw_bytes(monkeypatch)
    dataset = load(home / "data", length=64)
    gan = mg.GAN(*mg.models.wave(dataset.shape, 3, 2, backend="numpy"))
    run = mg.train(gan, dataset, tmp_path / "run", steps=2, batch_size=4, progress=False)
    assert (run.folder / "samples" / "step_000002.wav").exists()


def test_the_verdict_on_sound_says_what_is_not_measured(home, tmp_path):
    """Of a log whose two sides are even and whose samples are diverse."""
    log = {name: np.full(40, value) for name, value in SHOWN.items()} | {"step": np.arange(40) * 20.0}
    config = Config(kind="sound", model="wave", steps=800, loss="relativistic")
    (finding,) = diagnose(log, config, tmp_path)
    assert finding.kind == "fidelity unmeasured"
    assert "fidelity and coverage are not measured of sound" in finding.evidence[-1]
    assert [advice.reason for advice in finding.advice] == [
        f"listen to {tmp_path / 'samples'}; minigan evaluate measures their spectra"
    ]
