"""A run goes on: after every kind of end, with what it says lost, with its data moved, from another run's networks."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from quick_runs import before_step, config, content, draw_bytes, make, rows

import minigan as mg
from minigan import cli, files
from minigan.errors import CheckpointError, DataError, DivergenceError, MiniganError, OptionError
from minigan.training import CHECKPOINT, CONFIG, LOG, checkpoint, config_from, load_game, plots, resume_run, start_run


@pytest.fixture(autouse=True)
def _pictures(monkeypatch):
    draw_bytes(monkeypatch)


@pytest.fixture
def whole(tmp_path):
    """What the folder of an undisturbed run of 24 steps holds."""
    make(tmp_path, "whole").train(progress=False)
    return content(tmp_path / "whole")


def stop(run):
    run._stop = True  # as Ctrl-C sets it


def interrupt(run):
    raise KeyboardInterrupt


def fail(run):
    raise RuntimeError("of a layer of the user's own")


# -- Run.train again -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("step", "overwrite"), [(1, False), (6, True), (9, False), (24, False)])
@pytest.mark.parametrize("end", [stop, interrupt, fail])
def test_a_run_goes_on_in_its_process(tmp_path, whole, end, step, overwrite):
    """To the same bytes, rows and pictures as one that nothing stopped."""
    if overwrite:
        make(tmp_path, seed=5, steps=16).train(progress=False)
    run = make(tmp_path, overwrite=overwrite)
    before_step(run, step, lambda: end(run))
    if end is stop:
        assert run.train(progress=False) == (step == 24)
    else:
        with pytest.raises((KeyboardInterrupt, RuntimeError)):
            run.train(progress=False)
    assert run.train(progress=False)
    assert content(tmp_path / "run") == whole


@pytest.mark.parametrize("end", [stop, interrupt, fail])
def test_a_run_goes_on_in_another_process(tmp_path, whole, end):
    run = make(tmp_path)
    before_step(run, 6, lambda: end(run))
    with pytest.raises((KeyboardInterrupt, RuntimeError)) if end is not stop else pytest.MonkeyPatch.context():
        run.train(progress=False)
    assert resume_run(tmp_path / "run", log=lambda text: None).train(progress=False)
    assert content(tmp_path / "run") == whole


def test_a_finished_run_becomes_longer(tmp_path, whole):
    run = make(tmp_path, steps=8)
    assert run.train(progress=False)
    assert run.train(progress=False, steps=24)
    assert content(tmp_path / "run") == whole
    for fewer, message in ((0, "steps is 0"), (23, "steps is 23, and the run in .* has 24 already: name more")):
        with pytest.raises(OptionError, match=message):
            run.train(progress=False, steps=fewer)
        with pytest.raises(OptionError, match=message):
            resume_run(tmp_path / "run", changes={"steps": fewer}, log=lambda text: None)
    assert content(tmp_path / "run") == whole
    assert run.train(progress=False), "what was refused has changed nothing"
    falling = make(tmp_path, "falling", schedule="linear", steps=4)
    with pytest.raises(OptionError, match="linear schedule"):
        falling.train(progress=False, steps=8)


def test_a_longer_run_that_is_killed_goes_on_to_its_new_length(tmp_path, whole):
    make(tmp_path, steps=8).train(progress=False)
    run = resume_run(tmp_path / "run", changes={"steps": 24}, log=lambda text: None)
    before_step(run, 9, lambda: fail(run))
    with pytest.raises(RuntimeError):
        run.train(progress=False)
    assert resume_run(tmp_path / "run", log=lambda text: None).train(progress=False)
    assert content(tmp_path / "run") == whole


def test_a_folder_that_was_removed_is_made_again(tmp_path):
    run = make(tmp_path, steps=4)
    run.train(progress=False)
    shutil.rmtree(tmp_path / "run")
    assert run.train(progress=False, steps=8)
    assert resume_run(tmp_path / "run").step == 8


# -- errors --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error", [RuntimeError("of a layer"), MemoryError(), KeyboardInterrupt(), SystemExit(3), OSError(5, "disk")]
)
def test_the_last_good_state_is_saved_before_an_error_is_told(tmp_path, monkeypatch, error):
    """Whatever is raised, in the midst of a step that has moved G and not yet D."""
    said = []
    run = make(tmp_path, said=said, steps=300, log_every=50, checkpoint_every=250)
    step = run.game.optimizer_g.compute

    def compute(network):
        step(network)
        if run.step == 207:
            raise error

    monkeypatch.setattr(run.game.optimizer_g, "compute", compute)
    with pytest.raises(type(error)):
        run.train(progress=False)
    assert checkpoint.load(tmp_path / "run" / CHECKPOINT)[1]["step"] == 200
    assert f"stopped after step 207 by {type(error).__name__}; step 200 is saved, go on with: minigan train" in said[-1]


def test_a_full_disk_is_told_after_what_can_be_saved(tmp_path, monkeypatch):
    run = make(tmp_path)
    append = run.files.append_row

    def full(cells):
        if cells["step"] == 20:
            raise MiniganError("No space left on device")
        append(cells)

    monkeypatch.setattr(run.files, "append_row", full)
    with pytest.raises(MiniganError, match="No space"):
        run.train(progress=False)
    assert resume_run(tmp_path / "run").step == 16


@pytest.mark.parametrize("name", ["save_samples", "save_curves", "save_animation_of_files"])
@pytest.mark.parametrize(
    "error", [MiniganError("disk full"), MemoryError(), ValueError("too large\nby far"), OSError(28, "full")]
)
def test_pictures_that_cannot_be_drawn_end_no_run(tmp_path, whole, monkeypatch, name, error):
    def failing(*args):
        raise error

    monkeypatch.setattr(plots, name, failing)
    said = []
    assert make(tmp_path, said=said).train(progress=False)
    assert (tmp_path / "run" / CHECKPOINT).read_bytes() == whole[CHECKPOINT]
    assert rows(tmp_path / "run") == whole[LOG]
    missing = [line for line in said if "is missing" in line]
    assert missing
    assert all("\n" not in line and line.startswith("a picture of step ") for line in missing)
    monkeypatch.undo()


# -- what is said --------------------------------------------------------------------------------------------------------


class Broken:
    """A stream that cannot be written, as sys.stdout or sys.stderr."""

    encoding, closed = "utf-8", False

    def __init__(self, error):
        self.error = error

    def write(self, text):
        raise self.error

    def flush(self):
        raise self.error

    def isatty(self):
        return False


ERRORS = [
    BrokenPipeError(errno.EPIPE, "Broken pipe"),
    OSError(errno.ENOSPC, "No space left on device"),
    OSError(errno.EIO, "Input/output error"),
    ValueError("I/O operation on closed file"),
    UnicodeEncodeError("ascii", "é", 0, 1, "not in range"),
    None,
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("names", [("stderr",), ("stdout", "stderr")])
def test_a_run_does_not_end_because_nobody_can_read_what_it_says(tmp_path, whole, monkeypatch, error, names):
    with monkeypatch.context() as patch:
        for name in names:
            patch.setattr(sys, name, Broken(error) if error else None)
        assert start_run(config(tmp_path), tmp_path / "run").train()
    assert content(tmp_path / "run") == whole


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
@pytest.mark.parametrize(
    "streams",
    ["> /dev/full 2>&1", *(pytest.param(streams, marks=pytest.mark.slow) for streams in (">&- 2>&-", "2>&1 | true"))],
)
def test_its_exit_status_is_that_of_the_run(tmp_path, streams):
    config(tmp_path)
    command = (
        f"{sys.executable} -m minigan train --data own.npy --model mlp --hidden 4 --batch-size 4 --steps 30 --backend numpy"
    )
    shell = ["bash", "-o", "pipefail", "-c", f"{command} --out run {streams}"]
    result = subprocess.run(shell, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    assert checkpoint.load(tmp_path / "run" / CHECKPOINT)[1]["step"] == 30


# -- signals -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_stop_a_run_unless_they_are_ignored(tmp_path, number):
    for name, is_ignored in (("stopped", False), ("goes-on", True)):
        before = signal.getsignal(number)
        try:
            if is_ignored:
                signal.signal(number, signal.SIG_IGN)
            run = make(tmp_path, name)
            before_step(run, 5, lambda: os.kill(os.getpid(), number))
            assert run.train(progress=False) is is_ignored
            assert run.step == (24 if is_ignored else 5)
            assert signal.getsignal(number) is (signal.SIG_IGN if is_ignored else before)
        finally:
            signal.signal(number, before)


def test_a_second_ctrl_c_ends_at_once_and_a_second_sigterm_waits(tmp_path):
    run = make(tmp_path)
    before_step(run, 5, lambda: [os.kill(os.getpid(), signal.SIGTERM) for _ in range(3)])
    assert not run.train(progress=False)
    before_step(run, 7, lambda: [os.kill(os.getpid(), signal.SIGINT) for _ in range(2)])
    with pytest.raises(KeyboardInterrupt):
        run.train(progress=False)


# -- divergence ----------------------------------------------------------------------------------------------------------


def test_a_divergence_that_is_found_late_comes_in_order(tmp_path):
    """A NaN in G's second moments shows in no statistic of the steps behind it, and is found as the state is saved."""
    run = make(tmp_path, steps=200, log_every=4, sample_every=8, checkpoint_every=100, ema=None)

    def spoil():
        run.game.optimizer_g.state["v_sum"][0] = np.nan

    update = run.game.optimizer_g.compute

    def compute(network):
        weights = network.flat_params.copy()
        if run.game.optimizer_g.steps == 14:
            spoil()
        update(network)
        network.flat_params[...] = np.where(np.isfinite(network.flat_params), network.flat_params, weights)

    run.game.optimizer_g.compute = compute
    with pytest.raises(DivergenceError, match="step 14: generator"):
        run.train(progress=False)
    steps = [int(row["step"]) for row in rows(tmp_path / "run")]
    assert steps == [4, 8, 12, 14]
    assert rows(tmp_path / "run")[-1]["loss_d"] == "nan"
    assert run.files.frames()[-1].name == "step_000008.png"
    with pytest.raises(DivergenceError, match="step 14: generator"):
        run.train(progress=False)
    assert [int(row["step"]) for row in rows(tmp_path / "run")] == steps


def test_weights_that_are_not_finite_are_refused_before_the_first_step(tmp_path):
    run = make(tmp_path)
    run.game.generator.flat_params[3] = np.inf
    with pytest.raises(DivergenceError, match="before the first step, an array of the game is not finite"):
        run.train(progress=False)
    assert not (tmp_path / "run" / CHECKPOINT).exists()


@pytest.mark.parametrize(
    "sums",
    [
        *([], 5, "many", {}, {"steps": 2}, {"steps": 0, "sums": [1.0] * 4}, {"steps": 2, "sums": ["a"] * 4}),
        {"steps": 2, "sums": [1.0] * 3},
    ],
)
def test_sums_of_statistics_that_are_damaged(tmp_path, sums):
    folder = half_done(tmp_path)
    arrays, info = checkpoint.load(folder / CHECKPOINT)
    checkpoint.save(folder / CHECKPOINT, arrays, {**info, "partial": sums})
    with pytest.raises(CheckpointError, match=r"partial|sums of statistics"):
        resume_run(folder)


# -- moved data, other intervals, another backend ------------------------------------------------------------------------


def half_done(tmp_path, **options):
    run = make(tmp_path, **options)
    before_step(run, 12, lambda: stop(run))
    run.train(progress=False)
    return tmp_path / "run"


def settings_of(folder):
    written = json.loads((folder / CONFIG).read_text())
    assert checkpoint.load(folder / CHECKPOINT)[1]["config"] == written
    return written


def test_data_that_have_moved(tmp_path, whole, monkeypatch, capsys):
    folder = half_done(tmp_path)
    (tmp_path / "new").mkdir()
    shutil.move(tmp_path / "own.npy", tmp_path / "new" / "moved.npy")
    with pytest.raises(DataError, match=r"no file or folder .*\(--data names where the data of that run lie now\)"):
        resume_run(folder)
    monkeypatch.chdir(tmp_path / "new")
    np.save("other.npy", np.zeros((24, 4, 4), np.uint8))
    before = content(folder)
    assert cli.main(["train", "--resume", "--out", str(folder), "--data", "other.npy", "--quiet"]) == 2
    assert "does not hold the values that the run began with" in capsys.readouterr().err
    assert content(folder) == before
    assert cli.main(["train", "--resume", "--out", str(folder), "--data", "moved.npy", "--quiet"]) == 0
    assert settings_of(folder)["data"] == str(tmp_path / "new" / "moved.npy")
    monkeypatch.chdir("/")
    assert resume_run(folder).step == 24, "the run now knows where they are"
    now = content(folder)
    names = now.keys() - {CONFIG, CHECKPOINT}
    assert {name: now[name] for name in names} == {name: whole[name] for name in names}


def test_a_run_whose_data_are_gone_is_sampled(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("points.npy", np.random.default_rng(0).normal(size=(24, 2)))
    half_done(tmp_path, data="points.npy")
    os.remove("points.npy")
    monkeypatch.chdir("/")
    assert load_game(tmp_path / "run", "textbook")[0].sample(3).shape == (3, 2)
    for name in ("a.npy", "a.png"):
        assert cli.main(["sample", str(tmp_path / "run"), "-n", "3", "--out", str(tmp_path / name)]) == 0


def test_data_are_moved_to_another_kind_of_place(tmp_path):
    """A folder that holds the same images; a name of one's own with --data-dir no longer needed."""
    from PIL import Image

    folder = half_done(tmp_path)
    (tmp_path / "images").mkdir()
    for index, image in enumerate(np.load(tmp_path / "own.npy")):
        Image.fromarray(image).save(tmp_path / "images" / f"{index:03d}.png")
    os.remove(tmp_path / "own.npy")
    assert resume_run(folder, changes={"data": str(tmp_path / "images")}, log=print).train(progress=False)
    assert settings_of(folder)["data"] == str(tmp_path / "images")


def test_intervals_and_the_backend_may_change(tmp_path, whole):
    folder, said = half_done(tmp_path), []
    changes = {"log_every": 3, "sample_every": 6, "checkpoint_every": 5, "backend": "numpy", "batch_size": 4}
    assert resume_run(folder, changes=changes, log=said.append).train(progress=False)
    assert said[0] == (
        "changed: log_every 4 → 3, sample_every 8 → 6, checkpoint_every 8 → 5, backend 'textbook' → 'numpy'; "
        "the checkpoint will differ from that of a run without it"
    )
    assert {name: settings_of(folder)[name] for name in changes} == changes
    assert [row["step"] for row in rows(folder)] == ["4", "8", "12", "15", "18", "20", "21", "24"]


def test_a_backend_with_other_random_numbers_starts_its_streams_anew(tmp_path):
    folder, said = half_done(tmp_path), []
    arrays, info = checkpoint.load(folder / CHECKPOINT)
    info["random"]["noise"] = {"draws": 5, "key": 7}  # as a GPU counts them
    checkpoint.save(folder / CHECKPOINT, arrays, info)
    assert resume_run(folder, changes={"backend": "numpy"}, log=said.append).train(progress=False)
    assert said[0].endswith("; its random streams start anew there")


@pytest.mark.parametrize("changes", [{"lr": 0.5}, {"loss": "saturating"}, {"hidden": (5,)}, {"batch_size": 3}, {"seed": 1}])
def test_other_changes_name_what_is_for_them(tmp_path, changes):
    folder = half_done(tmp_path)
    with pytest.raises(CheckpointError, match=r": leave it out, or begin a new run from its weights with --from"):
        resume_run(folder, changes=changes)


def test_a_python_run_takes_other_intervals(tmp_path):
    make_game = lambda: load_game(tmp_path / "base", "textbook")[0]  # noqa: E731
    make(tmp_path, "base", steps=4).train(progress=False)
    images = np.load(tmp_path / "own.npy")
    mg.Run(make_game(), images, tmp_path / "run", steps=4, batch_size=4, log=print).train(progress=False)
    run = mg.Run.resume(tmp_path / "run", game=make_game(), data=images, steps=8, log_every=2, checkpoint_every=3)
    assert run.train(progress=False)
    assert settings_of(tmp_path / "run")["log_every"] == 2
    assert [row["step"] for row in rows(tmp_path / "run")] == ["4", "6", "8"]


NETS = """
import minigan as mg

def build(image_shape, latent_dim=3):
    G = mg.Sequential([mg.Dense(16), mg.Tanh(), mg.Reshape(image_shape)], (latent_dim,), "textbook", seed=0)
    return G, mg.Sequential([mg.Flatten(), mg.Dense(1)], image_shape, "textbook", seed=1)

def other(image_shape):
    return build(image_shape)

class Late(mg.Layer):
    steps = 0
    def build(self, shape):
        return shape
    def forward(self, x, train=False):
        Late.steps += train
        if Late.steps > 30:
            raise ValueError("too late")
        return x, None
    def backward(self, dy, cache, grads=None, input_grad=True):
        return dy

def fails(image_shape):
    G, _ = build(image_shape)
    return G, mg.Sequential([Late(), mg.Flatten(), mg.Dense(1)], image_shape, "textbook", seed=1)
"""


def test_a_model_file_that_has_moved(tmp_path):
    (tmp_path / "nets.py").write_text(NETS)
    options = {"model": f"{tmp_path}/nets.py:build", "hidden": None, "latent_dim": None}
    folder = half_done(tmp_path, **options)
    (tmp_path / "new").mkdir()
    shutil.move(tmp_path / "nets.py", tmp_path / "new" / "mine.py")
    with pytest.raises(CheckpointError, match="has model"):
        resume_run(folder, changes={"model": f"{tmp_path}/new/mine.py:other"})
    (tmp_path / "changed.py").write_text(NETS + "\n")
    with pytest.raises(CheckpointError, match="has changed since"):
        resume_run(folder, changes={"model": f"{tmp_path}/changed.py:build"})
    assert resume_run(folder, changes={"model": f"{tmp_path}/new/mine.py:build"}, log=print).train(progress=False)
    assert settings_of(folder)["model"] == f"{tmp_path}/new/mine.py:build"


def test_a_layer_of_the_users_that_fails_is_told_in_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets.py").write_text(NETS)
    config(tmp_path)
    command = (
        "--data own.npy --model nets.py:fails --steps 40 --batch-size 4 --backend textbook --quiet --out run --log-every 2"
    )
    assert cli.main(["train", *command.split(), "--checkpoint-every", "3"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "nets.py: the networks fail: line 18, in forward: ValueError: too late" in error
    assert checkpoint.load(tmp_path / "run" / CHECKPOINT)[1]["step"] > 0


# -- from another run's networks -----------------------------------------------------------------------------------------


def test_a_new_run_begins_with_the_networks_of_another(tmp_path, capsys):
    folder = half_done(tmp_path)
    before = content(folder)
    command = f"train --from {folder} --lr 0.25 --loss saturating --smoothing 0 --seed 3 --steps 4 --quiet --out {tmp_path}/new"
    assert cli.main(command.split()) == 0
    assert "begins from the networks of" in capsys.readouterr().out
    assert content(folder) == before
    new = settings_of(tmp_path / "new")
    assert (new["lr"], new["loss"], new["seed"], new["steps"], new["hidden"]) == (0.25, "saturating", 3, 4, [4])
    begun = start_run(config_from(folder, {"steps": 4}), tmp_path / "other", begins_from=folder, log=lambda text: None)
    old = load_game(folder, "textbook")[0].state_dict()
    for name, array in begun.game.state_dict().items():
        if name.partition(".")[0] in ("generator", "discriminator", "average"):
            np.testing.assert_array_equal(array, old[name])
        else:
            assert not np.any(array), "the optimisers start anew"


@pytest.mark.parametrize(("old", "new"), [(None, 0.9), (0.9, 0.0), (0.5, 0.9)])
def test_the_average_of_weights_may_begin_or_end(tmp_path, old, new):
    folder = half_done(tmp_path, ema=old or 0.0)
    run = start_run(config_from(folder, {"ema": new}), tmp_path / "new", begins_from=folder, log=lambda text: None)
    source = load_game(folder, "textbook")[0]
    np.testing.assert_array_equal(run.game.sampler.flat_params, (source.sampler if new else source.generator).flat_params)
    assert run.train(progress=False)


def test_a_loss_without_labels_smooths_none(tmp_path):
    """The other run's smoothing came of its recipe; one that is named is refused, as ever."""
    folder = half_done(tmp_path, smoothing=0.1)
    assert config_from(folder, {"loss": "hinge"}).smoothing == 0
    assert config_from(folder, {"loss": "saturating"}).smoothing == 0.1
    assert config_from(folder, {"loss": "hinge", "smoothing": 0.2}).smoothing == 0.2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--hidden 5", "hidden is (5,), and the networks of RUN have (4,): leave it out"),
        ("--model dcgan", "model is 'dcgan', and the networks of RUN have 'mlp'"),
        ("--latent-dim 9", "latent_dim is 9"),
        ("--dtype float64", "dtype is 'float64'"),
        ("--data ring", "holds (2,), and the run in RUN makes (4, 4, 1): its data must fit"),
        ("--resume", "--resume and --from exclude each other"),
        ("--out RUN --overwrite", "is the run to begin from: name another folder"),
        ("--from nowhere", "no checkpoint nowhere"),
        ("", "--data names where the data of that run lie now"),
    ],
)
def test_what_a_run_cannot_begin_from(tmp_path, capsys, words, message):
    folder = half_done(tmp_path)
    before = content(folder)
    if not words:
        (tmp_path / "own.npy").rename(tmp_path / "elsewhere.npy")
    command = ["train", "--from", str(folder), "--out", f"{tmp_path}/new", "--quiet"]
    assert cli.main([*command, *words.replace("RUN", str(folder)).split()]) == 2
    assert message.replace("RUN", str(folder)) in capsys.readouterr().err
    assert content(folder) == before
    assert not (tmp_path / "new").exists()


# -- on the disk ---------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="names of open files are read from /proc")
def test_the_log_is_on_the_disk_before_the_checkpoint(tmp_path, monkeypatch):
    flushed, flush = [], os.fsync

    def fsync(descriptor):
        flushed.append(os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")))
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(files, "_flush_folder", lambda folder: None)
    make(tmp_path, steps=8, checkpoint_every=4).train(progress=False)
    names = ["log" if name == LOG else "checkpoint" for name in flushed if name == LOG or name.startswith(f".{CHECKPOINT}")]
    assert names == ["checkpoint", "log", "checkpoint", "log", "checkpoint"]
