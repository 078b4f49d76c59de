"""Ranks that share each batch: the model's formulas by hand, its fit, and groups of processes: measured, refused, ended."""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import summary
from benchmarks.__main__ import main
from benchmarks.ranks import command, groups
from benchmarks.ranks.command import Asked
from benchmarks.ranks.groups import Group, launcher
from benchmarks.ranks.model import Costs, Limits, Model, exchange_seconds, fit, forms, limits
from benchmarks.ranks.words import verdict
from benchmarks.ranks.worker import Listener
from benchmarks.rounds import BenchmarkError
from minigan.distributed import SHORT, Communicator
from minigan.games import GAN
from minigan.models import mlp

COSTS = Costs(call=100.0, latency=10.0, byte=1.0, adding=0.01)


def can_run():
    try:
        launcher()
    except BenchmarkError as error:
        return str(error)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    return "" if cores > 1 else "ranks need two cores"


needs_mpi = pytest.mark.skipif(bool(can_run()), reason=can_run() or "it can run")

# -- the model ---------------------------------------------------------------------------------------------------------


def test_the_terms_of_an_exchange():
    assert forms(1, 1e6) == [(0, 0, 0, 0)]
    assert forms(2, SHORT / 2) == [(1, 1, SHORT / 2, SHORT)]  # to all: one message of n bytes, two passes over them
    pairs, bruck = forms(2, SHORT)
    assert pairs == bruck == (1, 2, SHORT, SHORT)  # half of it each way, twice; two passes over half of it
    pairs, bruck = forms(8, 80_000)
    assert pairs == (1, 7 + 3, 2 * 70_000, 80_000)
    assert bruck == (1, 3 + 3, 1.5 * 80_000 + 70_000, 80_000)
    assert forms(5, 1000) == [(1, 3, 4000, 5000)]  # ⌈lg 5⌉ messages


def test_the_cost_of_an_exchange_is_that_of_its_quicker_form():
    assert exchange_seconds(COSTS, 1, 1e6) == 0
    assert exchange_seconds(COSTS, 4, 100) == pytest.approx(100 + 2 * 10 + 300 + 0.01 * 400)
    assert exchange_seconds(COSTS, 8, 80_000) == pytest.approx(100 + 10 * 10 + 140_000 + 800)
    slow = Costs(0.0, 1e6, 1.0, 0.0)  # latency decides: fewer messages of more bytes
    assert exchange_seconds(slow, 8, 80_000) == pytest.approx(6e6 + 190_000)


@pytest.mark.parametrize("latency", [3e-6, 0.0])
def test_the_fit_finds_planted_costs(latency):
    planted = Costs(40e-6, latency, 1 / 2e9, 1 / 8e9)
    for sizes in ((2,), (2, 4)):
        measured = [(size, 2**n, exchange_seconds(planted, size, 2**n)) for size in sizes for n in range(10, 25)]
        if 4 in sizes:  # whose slowest form is not the one that is fitted
            measured = [(size, n, s) for size, n, s in measured if size == 2 or size * n <= SHORT or n > 2**20]
        found = fit(measured, planted.adding)
        assert found.costs.call == pytest.approx(planted.call, rel=1e-6)
        assert found.costs.latency == pytest.approx(planted.latency, rel=1e-6, abs=1e-12)
        assert found.costs.byte == pytest.approx(planted.byte, rel=1e-6)
        assert found.largest_error < 1e-6


def test_no_cost_is_negative_and_the_error_is_told():
    measured = [(2, 1024, 9e-6), (2, 4096, 2e-6), (2, 2**20, 1e-3), (2, 2**21, 1.9e-3)]
    found = fit(measured, 0.0)
    assert min(found.costs.call, found.costs.latency, found.costs.byte) >= 0
    assert found.largest_error > 0.2
    errors = sorted(abs(exchange_seconds(found.costs, size, n) / s - 1) for size, n, s in measured)
    assert found.largest_error == pytest.approx(errors[-1])
    assert found.median_error == pytest.approx((errors[1] + errors[2]) / 2)


def test_a_step_adds_up():
    model = Model(COSTS, {2: 5.0, 4: 6.0, 8: 16.0}, (100, 200), drawing=0.5)
    assert [model.computing(share) for share in (2, 3, 6, 8)] == [5, 5.5, 11, 16]
    assert model.seconds(1, 8) == 16
    exchanges = 2 * (100 + 2 * 10) + 3 * 300 + 0.01 * 4 * 300
    assert model.exchanging(4) == pytest.approx(exchanges)
    assert model.seconds(4, 8) == pytest.approx(5 + exchanges + 0.5 * 6)  # three ranks' draws are made in vain
    assert model.seconds(4, 32) == pytest.approx(16 + exchanges + 0.5 * 24)


@pytest.mark.parametrize(
    ("rates", "expected", "words"),
    [
        ({1: 10, 2: 9, 4: 5}, (1, 1), "does not pay"),
        ({1: 10, 2: 18, 4: 25, 8: 21}, (4, 4), "more than 4 ranks (2.5 times one rank) are slower; "),
        (
            {1: 10, 2: 18, 4: 36},
            (4, 4),
            "quickest on all 4 ranks, one image each (3.6 times one rank), with an efficiency above",
        ),
        ({1: 10, 2: 9.9, 4: 36}, (4, 1), "falls below one half beyond 1 rank"),
    ],
)
def test_where_it_stops_paying(rates, expected, words):
    found = limits(rates)
    assert found == Limits(*expected)
    told = verdict({"images_per_s": {str(p): r for p, r in rates.items()}, "scaling": "strong", "batch": 4, **found._asdict()})
    assert words in told


def test_the_listener_notes_what_is_exchanged():
    class Two(Communicator):
        size = 2

    ranks = Two()
    listener = Listener(ranks)
    gan = GAN(*mlp(image_shape=(4, 4, 1), latent_dim=3, hidden=(5,), backend="numpy"))
    with gan.backend.over(ranks):
        gan.step(np.zeros((2, 4, 4, 1), np.float32), np.zeros((2, 3), np.float32))
    assert listener.sizes == [net.flat_grads.nbytes for net in (gan.discriminator, gan.generator)]
    assert ranks.any(True)
    assert listener.sizes[-1] == 1
    assert listener.seconds > 0
    listener.begin()
    assert (listener.sizes, listener.seconds) == ([], 0)


# -- groups of processes -----------------------------------------------------------------------------------------------

QUICK = ["ranks", "--ranks", "2", "--games", "mlp", "--batch", "4", "--rounds", "1", "--seconds", "0.01"]


@pytest.fixture
def short_exchanges(monkeypatch):
    monkeypatch.setattr(command, "EXCHANGED", (2**10, 2**14, 2**16, 2**18))


@needs_mpi
@pytest.mark.slow
def test_ranks_are_measured_and_predicted(tmp_path, capsys, short_exchanges):
    assert main([*QUICK, "--latency", "2", "--bandwidth", "12.5", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    for words in (
        "| mlp, batch 4, 2 ranks |",
        "| mlp, batch 8, 2 ranks |",
        "| mlp, 4 each, 2 µs, 12.5 GB/s |",
        "- mlp, batch 4, this machine: ",
    ):
        assert words in printed
    result = json.loads((tmp_path / "ranks.json").read_text())
    strong, weak, shares = result["points"]
    assert strong["seconds"].keys() == {"1 thread", "2 threads", "2 ranks"}
    assert weak["seconds"].keys() == {"1 thread", "2 ranks, a batch each"}
    assert shares["seconds"].keys() == {"1 thread, 2 images", "1 thread, 1 images"}
    assert 0 < strong["exchange_share"] < 1
    games = GAN(*mlp(hidden=(128,), latent_dim=100, backend="numpy"))
    gradients = [net.flat_grads.nbytes for net in (games.discriminator, games.generator)]
    assert result["steps"]["mlp"]["messages"] == [1, *gradients]
    assert [row["scaling"] for row in result["predictions"]] == ["strong", "weak"] * 2
    assert result["predictions"][0]["images_per_s"].keys() == {"1", "2", "4"}
    assert result["predictions"][1]["images_per_s"].keys() == {str(2**n) for n in range(11)}
    assert 1000 < (tmp_path / "ranks.png").stat().st_size < 300_000
    assert "mlp, batch 4, 2 ranks: images per second / those of 1 process of 2 threads" in summary.summary(tmp_path)


@needs_mpi
def test_ranks_that_do_other_work_are_refused(monkeypatch):
    """Ranks that keep their gradients to themselves, or get another batch: their losses give them away."""
    ask, faults = Group.ask, [{}]

    def tampered(self, do, **request):
        if do == "prepare" and self.size == 2:
            request |= faults[0]
        return ask(self, do, **request)

    monkeypatch.setattr(Group, "ask", tampered)
    asked = Asked(2, batch=4)
    with command._open(asked, 1) as opened:
        assert "2 ranks" in command.prepare(opened, "mlp", asked)
        for fault in ({"alone": True, "batch": 2}, {"batch": 2}):
            faults[0] = fault
            with pytest.raises(BenchmarkError, match="2 ranks and 1 thread do not do the same work"):
                command.prepare(opened, "mlp", asked)


@needs_mpi
@pytest.mark.parametrize("end", ["killed", "interrupted"])
def test_a_rank_that_ends_and_an_interruption_leave_no_process(end, tmp_path, monkeypatch, capsys):
    ask, seen = Group.ask, []

    def ending(self, do, **request):
        if do == "exchange":
            seen.append(self)
            if end == "interrupted":
                raise KeyboardInterrupt
            os.kill(self._processes[1], signal.SIGKILL)
        return ask(self, do, **request)

    monkeypatch.setattr(Group, "ask", ending)
    assert main([*QUICK, "--threads", "1", "--out", str(tmp_path / "results")]) == (130 if end == "interrupted" else 2)
    written = capsys.readouterr().err
    assert_one_line(written)
    if end == "killed":
        assert "2 ranks: rank 1 has ended" in written
    assert not (tmp_path / "results").exists()
    (group,) = seen
    assert group._process.returncode is not None
    for process in group._processes.values():
        assert not os.path.exists(f"/proc/{process}")


# -- what is refused before anything starts ----------------------------------------------------------------------------


def assert_one_line(message):
    assert message.startswith("python -m benchmarks: ")
    assert message.count("\n") == 1
    assert len(message) <= 301
    assert "Traceback" not in message


@pytest.fixture
def two_cores(monkeypatch):
    monkeypatch.setattr("benchmarks.__main__._cores", lambda: 2)
    monkeypatch.setattr(groups, "launched", lambda: (0, 1))
    monkeypatch.setattr(subprocess, "Popen", refuse_to_start)


def refuse_to_start(*given, **options):
    raise AssertionError("nothing is to be started")


@pytest.mark.parametrize(
    ("missing", "words"),
    [("mpiexec", "mpiexec is not on the PATH: pip install"), ("mpi4py", "mpi4py is not installed: pip install")],
)
def test_what_is_missing_is_told_with_what_to_install(missing, words, tmp_path, monkeypatch, capsys, two_cores):
    monkeypatch.setattr(shutil, "which", lambda name, path=None: None if missing == "mpiexec" else "/usr/bin/mpiexec")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if missing == "mpi4py" else SimpleNamespace())
    assert main([*QUICK, "--out", str(tmp_path / "results")]) == 2
    written = capsys.readouterr().err
    assert words in written
    assert_one_line(written)
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--ranks 1", "--ranks is 1: choose 2 to 2"),
        ("--ranks 3", "--ranks is 3: choose 2 to 2"),
        ("--ranks 0", "from 1 up to 1,024"),
        ("--threads 3", "--threads is 3"),
        ("--batch 3", "a batch of 3 has no equal share for 2 ranks"),
        ("--games recipe", "unknown game 'recipe'"),
        ("--latency 2", "give both, or neither"),
        ("--latency 2 --bandwidth 0", "above 0 up to"),
        ("--sides numpy", "unknown argument '--sides'"),
    ],
)
def test_mistakes_on_the_command_line(arguments, words, tmp_path, monkeypatch, capsys, two_cores):
    monkeypatch.chdir(tmp_path)
    assert main(["ranks", *arguments.split()]) == 2
    written = capsys.readouterr().err
    assert words in written
    assert_one_line(written)
    assert not list(tmp_path.iterdir())


def test_one_core_is_not_enough(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("benchmarks.__main__._cores", lambda: 1)
    assert main(["ranks"]) == 2
    assert "one core alone" in capsys.readouterr().err


def test_ranks_of_a_launcher_start_no_ranks(monkeypatch):
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "2")
    with pytest.raises(BenchmarkError, match="without mpiexec"):
        launcher()
