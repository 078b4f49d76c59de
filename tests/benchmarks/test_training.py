"""Whole trainings: the right number of steps is found, what a process takes is measured, and other work is refused."""

import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from benchmarks import report, summary, training
from benchmarks.__main__ import main
from benchmarks.machine import describe
from benchmarks.rounds import BenchmarkError, Settings
from minigan.cli import entry
from minigan.evaluate import evaluate, load_run
from minigan.training import plots
from minigan.training.folder import METRICS

pytestmark = pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="reads Linux's /proc and affinities")

TINY = {"width": 4, "batch_size": 4}


@pytest.fixture(autouse=True)
def few_samples(monkeypatch):
    monkeypatch.setattr(training, "SAMPLES", 60)


@pytest.fixture
def work(tmp_path):
    return training.Work(TINY, tmp_path)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of two steps by the command of minigan's side, with a row of the log for each."""
    folder = tmp_path_factory.mktemp("finished")
    command = training.Work(TINY, folder).command("numpy", 2, 1, folder / "run", log_every=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots, "save_curves", lambda *given: None)  # most of the time that this takes
        assert entry.main([*command[3:], "--quiet"]) == 0
    return folder / "run"


@pytest.fixture
def at_once(finished, monkeypatch):
    """Commands without processes: minigan's run is a copy of the finished one, PyTorch's script runs in this process."""

    def run(side, command, threads, out):
        if command[2] == "minigan":
            shutil.copytree(finished, out, dirs_exist_ok=True)
        else:
            from benchmarks.sides import torch_train

            torch_train.main(command[3:])
        return {"seconds": 1.0, "processor_seconds": 1.0, "peak_mib": 1.0}

    monkeypatch.setattr(training, "whole_process", run)
    return run


# -- the number of steps -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("distances", "expected", "looks"),
    [([9, 2.9, 2.8], 4, 3), ([9, 2.9, 3.1, 3.0, 2.0, 1.0], 8, 5), ([2, 2], 2, 2)],
    ids=["reached", "left once", "at once"],
)
def test_the_distance_must_be_kept_at_the_next_look(work, monkeypatch, distances, expected, looks):
    told = iter(distances)
    monkeypatch.setattr(work, "distance", lambda samples: next(told))
    steps, seen = work.find_steps(training.Asked(distance=3.0, every=2), iter)
    assert steps == expected
    assert seen == [(2 * (n + 1), distance) for n, distance in enumerate(distances[:looks])]


def test_a_distance_that_is_not_reached_is_told(work, monkeypatch):
    monkeypatch.setattr(work, "distance", lambda samples: 3.5)
    work.config.steps = 2
    with pytest.raises(BenchmarkError, match=r"within 4 steps .* did not come to 3 .*nearest was 3\.50"):
        work.find_steps(training.Asked(every=2), iter)


@pytest.mark.slow
def test_the_search_trains_and_measures_what_the_commands_do(work, finished, monkeypatch):
    """The game of the search makes the samples that `minigan train` of so many steps does, and `minigan evaluate` agrees."""
    samples, measured = [], work.distance
    monkeypatch.setattr(work, "distance", lambda images: samples.append(images) or 1.0)
    work.find_steps(training.Asked(every=2), iter)
    np.testing.assert_array_equal(samples[0], load_run(str(finished), "numpy").game.sample(60, 0))
    evaluate([str(finished)], samples=60, backend="numpy")
    told = json.loads((finished / METRICS).read_text(encoding="utf-8"))["generated"]["frechet"]
    assert measured(samples[0]) == pytest.approx(told, rel=1e-6)


# -- what a process takes ------------------------------------------------------------------------------------------------


def test_time_and_peak_are_those_of_the_process_alone(tmp_path):
    held = np.ones(40 << 20)  # 320 MiB here, which must not count there
    command = [sys.executable, "-c", "import time; x = bytearray(b'x') * (64 << 20); time.sleep(0.3)"]
    told = training.whole_process("numpy", command, 1, tmp_path / "run")
    assert held[-1] == 1
    assert 64 < told["peak_mib"] < 200
    assert told["seconds"] > 0.3
    assert 0 < told["processor_seconds"] <= told["seconds"] + 0.1


def test_a_command_that_fails_is_told_by_its_last_line(tmp_path):
    command = [sys.executable, "-c", "import sys; print('first', file=sys.stderr); sys.exit('the reason')"]
    with pytest.raises(BenchmarkError, match="torch: its command ended with status 1: the reason"):
        training.whole_process("torch", command, 1, tmp_path / "run")


def test_an_interrupt_ends_the_process_and_what_it_started(tmp_path, monkeypatch):
    path, wait = tmp_path / "pid", subprocess.Popen.wait

    def interrupted(self, timeout=None):
        monkeypatch.setattr(subprocess.Popen, "wait", wait)
        deadline = time.monotonic() + 20
        while not (path.exists() and path.read_text()):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess.Popen, "wait", interrupted)
    code = f"import os, time; open({str(path)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    with pytest.raises(KeyboardInterrupt):
        training.whole_process("numpy", [sys.executable, "-c", code], 1, tmp_path / "run")
    deadline, stat = time.monotonic() + 10, Path(f"/proc/{path.read_text()}/stat")
    with suppress(OSError):  # gone
        while stat.read_text().rpartition(")")[2].split()[0] != "Z":
            assert time.monotonic() < deadline
            time.sleep(0.01)


# -- other work is refused -----------------------------------------------------------------------------------------------


def fewer_steps(job):
    job["steps"] -= 1


def another_net(job):
    layers = job["task"]["discriminator"]["layers"]
    next(layer for layer in layers if layer["name"] == "LeakyReLU")["options"]["slope"] = 0.3


def another_rate(job):
    job["task"]["training"]["lr"] *= 2


def another_average(job):
    job["task"]["training"]["ema"] = 0.1


def other_noise(job):
    job["noise"] = [*job["noise"], 1]


def another_order(job):
    job["orders"] = [[*order, 1] for order in job["orders"]]


FAULTS = [fewer_steps, another_net, another_rate, another_average, other_noise, another_order]


@pytest.mark.slow
@pytest.mark.usefixtures("at_once")
def test_a_planted_fault_in_the_script_for_pytorch_is_seen(work, monkeypatch):
    """The script as it is passes; one that takes fewer steps, or trains another net or on other data, is refused."""
    pytest.importorskip("torch")
    training.prove(work, ["numpy", "torch", "torch-last"], 1)
    write_job = work.write_job
    for fault in FAULTS:

        def tampered(*arguments, fault=fault):
            path = write_job(*arguments)
            job = json.loads(path.read_text(encoding="utf-8"))
            fault(job)
            path.write_text(json.dumps(job), encoding="utf-8")
            return path

        monkeypatch.setattr(work, "write_job", tampered)
        with pytest.raises(BenchmarkError, match=r"^torch .*do(es)? not do the same work"):
            training.prove(work, ["numpy", "torch"], 1)


def trace_of(steps=40, loss="1.0"):
    rows = [{"step": str(step), "loss_d": loss, "loss_g": "0.5"} for step in range(20, steps + 1, 20)]
    return training.Trace([steps], rows, np.array([]))


@pytest.mark.parametrize(
    ("trace", "distance", "message"),
    [
        (trace_of(), 3.91, r"distance of its samples is 3\.91, expected at most 3\.90"),
        (trace_of(), float("nan"), "distance of its samples is nan"),
        (trace_of(loss="1.04"), 3.0, r"over the first 20 steps its loss_d is 1\.0400, expected 1\.0000"),
        (trace_of(loss="nan"), 3.0, "its loss_d is nan"),
    ],
)
def test_a_run_that_ends_as_another_game_is_refused(trace, distance, message):
    training.check_whole("torch", trace_of(loss="1.02"), trace_of(), 3.9, 3.9)
    with pytest.raises(BenchmarkError, match=f"torch does not do the same work: .*{message}"):
        training.check_whole("torch", trace, trace_of(), distance, 3.9)


@pytest.mark.parametrize(
    "trace",
    [trace_of(20), trace_of(60), trace_of()._replace(steps=[39]), trace_of()._replace(rows=[]), trace_of()._replace(steps=[])],
)
def test_a_run_of_another_length_is_refused(trace):
    training.check_length("torch", trace_of(), 40, 20)
    with pytest.raises(BenchmarkError, match="torch does not do the same work: its optimisers took"):
        training.check_length("torch", trace, 40, 20)


# -- the command ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_rounds_alternate_and_every_run_is_looked_at(work, at_once, monkeypatch, tmp_path):
    seconds, order = iter([2.0, 3.0, 6.0, 2.0]), []

    def told(side, command, threads, out):
        order.append(side)
        return {**at_once(side, command, threads, out), "seconds": next(seconds)}

    distances = iter([2.0, 2.5, 2.6, 2.1])
    monkeypatch.setattr(training, "whole_process", told)
    work.config.log_every = 1
    monkeypatch.setattr(work, "distance", lambda samples: next(distances))
    point = training.timed_point(work, ["numpy", "numpy-avx2"], 2, training.Asked(), Settings(rounds=2, threads=1), iter)
    assert order == ["numpy", "numpy-avx2", "numpy-avx2", "numpy"]
    assert point["rounds"] == {"numpy": [2.0, 2.0], "numpy-avx2": [3.0, 6.0]}
    assert point["ratios"]["numpy-avx2"]["rounds"] == [1.5, 3.0]
    assert point["distances"] == {"numpy": [2.0, 2.1], "numpy-avx2": [2.5, 2.6]}
    settings = {"command": "train", "machine": describe(1), "settings": {"rounds": 2}, "versions": {}, "missing": {}}
    named = json.loads(json.dumps(point).replace("numpy-avx2", "torch-last"))
    report.write({**settings, "warnings": [], "points": [named]}, tmp_path)
    shown = summary.summary(tmp_path)
    title = "time to Fréchet 3 on digits, 2 steps"
    assert f"| {title}: whole command, PyTorch, the faster layout / minigan | 2.25 (1.88–2.62) |" in shown
    assert f"| {title}: peak memory of the process, PyTorch / minigan | 1.00 (1.00–1.00) |" in shown
    assert "its samples' distance is 2.55 | 4.5 s |" in shown
    assert "| numpy-avx2 | 4.5 s (**2.25**, 1.88–2.62) | 1 s | 2.55 | 1 MiB (**1.00**, 1.00–1.00) |" in training.table(point)


@pytest.mark.slow
def test_the_whole_command(tmp_path, capsys):
    pytest.importorskip("torch")
    arguments = "train --distance 100000 --steps 20 --rounds 1 --threads 1 --width 4 --batch-size 4"
    assert main([*arguments.split(), "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "| time to Fréchet 100000 on digits, 20 steps | whole command |" in printed
    result = json.loads((tmp_path / "train.json").read_text(encoding="utf-8"))
    (point,) = result["points"]
    assert point["seconds"].keys() == {"numpy", "torch", "torch-last"}
    assert point["peak_mib"]["torch"] > point["peak_mib"]["numpy"] > 50
    assert result["commands"]["numpy"] == "python -m minigan train --batch-size 4 --width 4 --steps 20 --out DIR"
    shown = summary.summary(tmp_path)
    assert "time to Fréchet 100000 on digits, 20 steps: whole command, PyTorch, the faster layout / minigan" in shown
    assert report.faster_layout(point) in ("torch", "torch-last")
    assert main([*arguments.replace("100000", "1").split(), "--out", str(tmp_path), "--overwrite"]) == 2
    assert "does not do the same work: the Fréchet distance of its samples is" in capsys.readouterr().err
    assert json.loads((tmp_path / "train.json").read_text(encoding="utf-8")) == result  # what was measured before is kept


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--sides jax", "unknown side 'jax'"),
        *((f"--distance {text}", "a distance is a number above 0 up to 1,000,000") for text in ("0", "-1", "nan", "x")),
        *((f"--{name} {text}", "from 1 up to 10,000,000") for name in ("steps", "every") for text in ("0", "1.5", "9" * 400)),
        ("--width 0", "a whole number from 1 up"),
        ("--seed -1", "a whole number from 0 up"),
        ("--threads 1024", "this process may use"),
        ("--seconds 1", "unknown argument '--seconds'"),
    ],
)
def test_mistakes_on_the_command_line(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "--sides", "numpy", "--threads", "1", *arguments.split()]) == 2
    written = capsys.readouterr().err
    assert written.startswith("python -m benchmarks: ")
    assert message in written
    assert written.count("\n") == 1
    assert len(written) <= 301
    assert not list(tmp_path.iterdir())
