"""Several ranks play one game: the same steps as one process, the same bytes each time, and an end for all where one ends.

The ranks are started by mpiexec, in processes of their own. What needs no MPI is also tested in threads: layers in
layers/test_over_ranks.py, objectives in losses/test_objectives.py.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import games_over_ranks
import mpi
import numpy as np
import pytest
from mpi import needs_mpi
from quick_runs import content, draw_bytes
from ranks_in_threads import over_ranks

import minigan as mg
from minigan import distributed
from minigan.backends import machine
from minigan.data import Batches, Dataset
from minigan.errors import ModelError, OptionError, RankError
from minigan.training import CHECKPOINT, LOG, checkpoint, read_log, resume_run
from minigan.training.shares import check_share

SUPPORT = Path(__file__).parent / "support"
IMAGES = np.random.default_rng(0).integers(0, 256, (24, 8, 8), dtype=np.uint8)
QUICK = ("--model", "mlp", "--hidden", "4", "--latent-dim", "3", "--batch-size", "4", "--backend", "numpy", "--quiet")


def play(ranks, *words, **options):
    return mpi.run(ranks, SUPPORT / words[0], *words[1:], **options)


# -- sums ----------------------------------------------------------------------------------------------------------------


@needs_mpi
@pytest.mark.parametrize("ranks", [pytest.param(2, marks=pytest.mark.slow), 3])
def test_sums_and_the_rest_of_a_communicator(ranks):
    status, output, errors = play(ranks, "sums_over_ranks.py")
    assert (status, output) == (0, "all is well\n" * ranks), errors


def test_one_process_is_alone_and_knows_nothing_of_mpi():
    code = "import sys, minigan.distributed as d; assert d.world() is d.ALONE; assert 'mpi4py' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], env=mpi.environment(), check=True)
    x = np.ones(3)
    distributed.ALONE.all_mean(x)
    assert x.tolist() == [1, 1, 1]
    assert (distributed.ALONE.gather(5), distributed.ALONE.any(True), distributed.ALONE.share_of(7)) == ([5], True, 7)


@pytest.mark.parametrize(
    ("variables", "place", "local"),
    [
        ({}, (0, 1), (0, 1)),
        (
            {"OMPI_COMM_WORLD_RANK": "3", "OMPI_COMM_WORLD_SIZE": "4"}
            | {"OMPI_COMM_WORLD_LOCAL_RANK": "1", "OMPI_COMM_WORLD_LOCAL_SIZE": "2"},
            *((3, 4), (1, 2)),
        ),
        ({"PMI_RANK": "1", "PMI_SIZE": "2", "MPI_LOCALRANKID": "0", "MPI_LOCALNRANKS": "1"}, (1, 2), (0, 1)),
        ({"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "8"}, (0, 1), (0, 1)),  # the shell of a job
        (
            {"PMIX_RANK": "5", "SLURM_PROCID": "5", "SLURM_STEP_NUM_TASKS": "8"}
            | {"SLURM_LOCALID": "1", "SLURM_STEP_TASKS_PER_NODE": "4(x2)"},
            *((5, 8), (1, 4)),
        ),
    ],
)
def test_what_launchers_tell(variables, place, local, monkeypatch):
    for name in [name for name in os.environ if name.startswith(("OMPI_", "PMI", "SLURM_", "MPI_"))]:
        monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert (distributed.launched(), distributed.on_this_machine()) == (place, local)


@pytest.mark.parametrize(
    ("own", "launchers", "processes", "cores"),
    [(8, 8, 1, 8), (8, 8, 4, 2), (1, 8, 4, 1), (4, 16, 8, 2), (4, 16, 2, 4), (2, 2, 4, 1)],
)
def test_a_fair_share_of_the_cores(own, launchers, processes, cores, monkeypatch):
    """Of processes that their launcher has bound to cores, and of those that it has not."""
    monkeypatch.setattr(machine, "on_this_machine", lambda: (0, processes))
    monkeypatch.setattr(machine, "usable_cores", lambda: own)
    monkeypatch.setattr(machine, "cpu_quotas", lambda: [])
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: range(launchers if process == os.getppid() else own))
    assert machine.own_cores() == cores


# -- the same steps ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def alone():
    with pytest.warns(UserWarning, match="mixes the samples"):
        return {name: games_over_ranks.play(name) for name in games_over_ranks.GAMES}


def difference(folder, name, one):
    """The largest between the arrays of one process and those of several, relative where they are large."""
    with np.load(folder / f"{name}.npz") as several:
        assert str(several["random"]) == one[1], "streams and place in the data are those of one process"
        assert (str(several["phase"]), several["said"].tolist()) == ("replay", [])
        return max(float(np.max(np.abs(a - several[key]) / np.maximum(1, np.abs(a)))) for key, a in one[0].items())


@needs_mpi
@pytest.mark.parametrize("ranks", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_ranks_take_the_steps_of_one_process(tmp_path, alone, ranks):
    """Ten, in float64; and all ranks hold the same bytes."""
    status, _, errors = play(ranks, "games_over_ranks.py", tmp_path)
    assert status == 0, errors
    names = games_over_ranks.GAMES if ranks == 2 else games_over_ranks.ASKED
    for name in names:
        assert difference(tmp_path, name, alone[name]) < 1e-10, name


@needs_mpi
@pytest.mark.slow
def test_means_of_batch_norm_that_are_left_local_are_seen(tmp_path, alone):
    status, _, errors = play(2, "games_over_ranks.py", tmp_path, "fault")
    # Each rank then has running statistics of its own, which the ranks notice first.
    assert status != 0
    assert "rank 1: the digest of all arrays is" in errors


def test_local_means_of_batch_norm_are_another_step(alone):
    """What is not seen by the ranks alone: a step that all of them take alike, and that one process does not."""

    def of_rank(ranks):
        be = mg.get_backend("textbook")
        game = games_over_ranks.GAMES["dcgan"](be)
        games_over_ranks.leave_batch_norm_local(game)
        batches = Batches(games_over_ranks.DATA, games_over_ranks.BATCH, be, "float64", 1, ranks=ranks)
        with be.over(ranks):
            for _ in range(2):
                game.step(batches.next())
        return game.discriminator.flat_params

    first, second = over_ranks(2, of_rank)
    np.testing.assert_array_equal(first, second)
    game, be = games_over_ranks.GAMES["dcgan"](mg.get_backend("textbook")), mg.get_backend("textbook")
    batches = Batches(games_over_ranks.DATA, games_over_ranks.BATCH, be, "float64", 1)
    for _ in range(2):
        game.step(batches.next())
    assert np.abs(game.discriminator.flat_params - first).max() > 1e-6
    assert alone  # with the right means, the two agree


# -- shares --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("mapped", [False, True])
def test_shares_of_batches_are_the_batches(tmp_path, parts, mirrored, mapped):
    values = np.random.default_rng(1).integers(0, 256, (26, 3, 3, 1), dtype=np.uint8)
    if mapped:
        np.save(tmp_path / "values.npy", values)
        values = np.load(tmp_path / "values.npy", mmap_mode="r")
    data = Dataset("own", values, np.arange(26) % 3, mirrored=mirrored)

    def deal(ranks):
        batches = Batches(data, 8, "textbook", "float64", 3, classes=True, ranks=ranks, parts=parts)
        dealt = [(batches.next(), batches.labels()["labels"]) for _ in range(7)]
        return dealt, batches.state

    (whole, state), shares = deal(distributed.ALONE), over_ranks(2, deal)
    assert all(own == state for _, own in shares)
    for number, pair in enumerate(whole):
        for which, expected in enumerate(pair):
            of_ranks = [dealt[number][which].reshape(parts, -1, *expected.shape[1:]) for dealt, _ in shares]
            np.testing.assert_array_equal(np.concatenate(of_ranks, axis=1).reshape(expected.shape), expected)


@pytest.mark.parametrize("size", [0, 1, 3])
def test_draws_of_ranks_are_the_draw_of_one(backend, size):
    """The rows of each rank, of an even and an odd number of values, and the state that comes after them."""
    be = mg.get_backend(backend)

    def draws(ranks):
        stream = be.generator(5)
        with be.over(ranks):
            drawn = [
                getattr(stream, kind)((size, 3), dtype) for kind in ("normal", "uniform") for dtype in ("float32", "float64")
            ]
        return [be.to_numpy(a) for a in drawn], stream.state

    stream = be.generator(5)
    whole = [getattr(stream, kind)((3 * size, 3), dtype) for kind in ("normal", "uniform") for dtype in ("float32", "float64")]
    of_ranks = [draws(FakeRank(rank, 3)) for rank in range(3)]
    assert all(state == stream.state for _, state in of_ranks)
    for expected, *parts in zip(map(be.to_numpy, whole), *(drawn for drawn, _ in of_ranks), strict=True):
        np.testing.assert_array_equal(np.concatenate(parts), expected)


class FakeRank(distributed.Communicator):
    """One rank of several, of which the others are left out."""

    def __init__(self, rank, size):
        self.rank, self.size = rank, size


class Custom(mg.Layer):
    def forward(self, x, train=False):
        return x, None

    def backward(self, dy, cache, grads=None, input_grad=True):
        return dy


class Quiet(Custom):
    cross_sample = False

    def forward(self, x, train=False):
        return x, None


class Squared(mg.losses.NonSaturating):
    """No mean over samples, but the square of one."""

    def discriminator(self, s_real, s_fake):
        loss, (ds_real, ds_fake) = super().discriminator(s_real, s_fake)
        return loss**2, (2 * loss * ds_real, 2 * loss * ds_fake)


class Doubled(mg.losses.NonSaturating):
    def discriminator(self, s_real, s_fake):
        loss, (ds_real, ds_fake) = super().discriminator(s_real, s_fake)
        return 2 * loss, (2 * ds_real, 2 * ds_fake)


class LargestSlope(mg.losses.R1):
    def value_and_grad(self, be, g):
        value, v = super().value_and_grad(be, g)
        return value**2, 2 * value * v


class SameR1(mg.losses.R1):
    """Of the user's own, and a mean over samples."""

    def value_and_grad(self, be, g):
        return super().value_and_grad(be, g)


def small_gan(layers=(), **options):
    g, _ = mg.models.mlp((4, 4, 1), 3, 4, backend="textbook")
    return mg.GAN(g, mg.Sequential([mg.Flatten(), *layers, mg.Dense(1)], (4, 4, 1), "textbook"), **options)


@pytest.mark.parametrize(
    ("game", "batch_size", "error", "message"),
    [
        (
            small_gan,
            63,
            OptionError,
            "batch_size is 63, and each of 2 ranks takes an equal share of it: choose a multiple of 2",
        ),
        (lambda: small_gan([Custom()]), 8, ModelError, r"Custom \(layer 1\) may mix the samples of a batch: say cross_sample"),
        (lambda: small_gan([mg.Residual([Custom()])]), 8, ModelError, r"Custom \(layer 1.0\) may mix"),
        (lambda: small_gan(objective=Squared()), 8, ModelError, r"Squared\(\) is no mean over the samples of a batch"),
        (lambda: small_gan(penalties=[LargestSlope(1)]), 8, ModelError, r"LargestSlope\(1\) is no mean over the samples"),
    ],
)
def test_what_several_ranks_cannot_do_is_refused(game, batch_size, error, message):
    with pytest.raises(error, match=message) as caught:
        check_share(FakeRank(0, 2), game(), batch_size)
    assert len(str(caught.value)) <= 300
    if error is ModelError:
        check_share(distributed.ALONE, game(), batch_size)  # which one process can


def test_parts_of_the_users_own_that_mix_nothing_are_taken():
    check_share(FakeRank(0, 2), small_gan([Quiet()], objective=Doubled()), 8)
    check_share(FakeRank(0, 2), small_gan(penalties=[SameR1(1)]), 8)
    pair = mg.models.mlp((4, 4, 1), 3, 4, pack=2, backend="textbook")
    with pytest.raises(OptionError, match="in whole packs of 2: choose a multiple of 4"):
        check_share(FakeRank(0, 2), mg.GAN(*pair, pack=2), 6)
    with pytest.raises(RankError, match="a batch of 9 has no equal share for each of 2 ranks: choose a multiple, as 8 or 10"):
        Batches(games_over_ranks.DATA, 9, "textbook", ranks=FakeRank(0, 2))


# -- runs ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    np.save(tmp_path / "own.npy", IMAGES)
    return tmp_path


def same_to_rounding(ours, theirs):
    """Of two checkpoints, all but what rounding makes of it."""
    (a, info), (b, other) = checkpoint.load(ours / CHECKPOINT), checkpoint.load(theirs / CHECKPOINT)
    assert info["random"] == other["random"]
    assert (info["step"], info["data"]) == (other["step"], other["data"])
    for name in a:
        np.testing.assert_allclose(a[name], b[name], rtol=1e-9, atol=1e-10)


@needs_mpi
def test_runs_of_two_ranks(folder, monkeypatch):
    """Twice, and stopped and gone on with: the same bytes. Gone on with by one process: the same to rounding."""
    status, _, errors = play(2, "runs_over_ranks.py", folder, "whole")
    assert status == 0, errors
    whole = content(folder / "whole")
    assert content(folder / "again") == whole
    assert content(folder / "stopped") == whole
    assert sorted(path.name for path in folder.iterdir()) == ["again", "copy", "own.npy", "stopped", "whole"]
    draw_bytes(monkeypatch)
    assert resume_run(folder / "copy", log=lambda text: None).train(progress=False)
    same_to_rounding(folder / "copy", folder / "whole")
    same_logs(folder / "copy", folder / "whole")


def same_logs(ours, theirs):
    """Statistics of the whole batch, whoever wrote them; and speeds of it."""
    rows = [read_log(path / LOG) for path in (ours, theirs)]
    step = 0
    for one, two in zip(*rows, strict=True):
        assert one.keys() == two.keys()
        for name, value in one.items():
            if name not in ("images_per_s", "seconds"):
                assert float(value) == pytest.approx(float(two[name]), rel=1.1e-5, abs=0), name  # of six digits
        count, step = float(two["step"]) - step, float(two["step"])
        assert float(two["images_per_s"]) * float(two["seconds"]) == pytest.approx(count * 8, rel=0.01)


@needs_mpi
@pytest.mark.parametrize("rank", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_a_rank_that_is_killed_ends_all_with_one_line(folder, rank):
    since = time.perf_counter()
    status, _, errors = play(2, "runs_over_ranks.py", folder, "kill", rank, 15)
    assert time.perf_counter() - since < 60
    assert status != 0
    (line,) = mpi.own_lines(errors)
    assert line.startswith(
        f"minigan: error: rank {rank} has ended (killed, or out of memory), and with it the run; step 8 is saved"
    )
    assert line.endswith(f"go on with: minigan train --resume --out {folder / 'killed'}")
    _, info = checkpoint.load(folder / "killed" / CHECKPOINT)
    assert info["step"] == 8


@needs_mpi
def test_an_error_of_one_rank_ends_all_with_one_line(folder):
    status, _, errors = play(2, "runs_over_ranks.py", folder, "error", 1, 10)
    assert status != 0
    (line,) = mpi.own_lines(errors)
    told = "minigan: error: rank 1 stopped after step 9 by RuntimeError (of a layer of the user's own); step 8 is saved, go on"
    assert line.startswith(told)
    assert errors.count("Traceback") == 1


@needs_mpi
def test_a_divergence_on_one_rank_is_found_by_all(folder):
    """The first bad number lies on one rank alone; by BatchNorm's means and the gradients' it comes to all."""
    status, _, errors = play(2, "runs_over_ranks.py", folder, "diverge", 1, 11)
    assert status != 0
    assert errors.count("Traceback") == 1
    assert "DivergenceError: step 11: rank 1: discriminator, Conv2d (layer 0): output is not finite" in errors


@needs_mpi
def test_ctrl_c_of_the_launcher_saves_what_the_log_holds(folder):
    """It kills the ranks in the midst of a step; a process that rank 0 leaves behind saves the state of the last row."""
    words = mpi.command(2, SUPPORT / "runs_over_ranks.py", folder, "long step")
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(words, env=mpi.environment(), text=True, **pipes) as launcher:
        assert launcher.stdout.readline() == "in a long step\n"
        launcher.send_signal(signal.SIGINT)
        launcher.wait(timeout=30)
    deadline = time.monotonic() + 20
    while (step := checkpoint.load(folder / "interrupted" / CHECKPOINT)[1]["step"]) == 8 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert step == 12
    assert [row["step"] for row in read_log(folder / "interrupted" / LOG)] == ["4", "8", "12"]


@needs_mpi
def test_ranks_that_come_apart_are_told_and_what_they_had_in_common_stays(folder):
    status, _, errors = play(2, "runs_over_ranks.py", folder, "apart", 1, 10)
    assert status != 0
    assert "RankError: rank 1: the digest of weights and random streams is " in errors
    assert "ranks have come apart: a part of the user's own" in errors
    _, info = checkpoint.load(folder / "apart" / CHECKPOINT)
    assert info["step"] == 8


@needs_mpi
def test_ranks_capture_a_step_together_or_not_at_all(folder):
    """Where one of two may not record it, for a part is not minigan's own, the other's replays would wait for its sums."""
    status, output, errors = play(2, "runs_over_ranks.py", folder, "capture")
    assert status == 0, errors
    assert sorted(output.splitlines()) == [
        "rank 0: eager, ['not captured, running eagerly: another rank does not capture it']",
        "rank 0: replay, []",
        'rank 1: eager, ["not captured, running eagerly: Own is not minigan\'s own"]',
        "rank 1: replay, []",
    ]


@needs_mpi
def test_the_command_line_over_two_ranks(folder):
    """Rank 0 alone prints; other data on another rank, and what a command cannot do, are refused in one line."""
    words = ("train", "--data", "own.npy", *QUICK, "--steps", "3", "--out", "run")
    status, output, errors = mpi.minigan(2, *words, cwd=folder)
    assert status == 0, errors
    assert output.count("| batch 4, 3 steps | 2 ranks, 2 each\n") == 1
    assert output.count("verdict:") == 1

    others = [folder / name for name in ("first", "second")]
    for number, other in enumerate(others):
        other.mkdir()
        np.save(other / "own.npy", IMAGES + np.uint8(number))
    status, output, errors = mpi.run_each(others, "-m", "minigan", *words)
    assert (status != 0, output) == (True, "")
    (line,) = mpi.own_lines(errors)
    assert line.startswith("minigan: error: rank 1: the digest of the values is '")
    assert line.endswith("give all ranks the same own.npy")
    assert not (others[0] / "run").exists()


@needs_mpi
def test_a_command_for_one_process_is_refused(folder):
    status, output, errors = mpi.minigan(2, "sample", "run", cwd=folder)
    assert (status, output) == (2, "")
    (line,) = mpi.own_lines(errors)
    assert line == "minigan: error: minigan sample is done by one process: start it without the MPI launcher"


def test_a_launcher_without_mpi4py(tmp_path):
    """One line that says what to install."""
    (tmp_path / "mpi4py").mkdir()
    (tmp_path / "mpi4py" / "__init__.py").write_text("raise ImportError('No module named mpi4py')")
    own = mpi.environment(OMPI_COMM_WORLD_SIZE="2", OMPI_COMM_WORLD_RANK="0")
    own["PYTHONPATH"] = os.pathsep.join([str(tmp_path), own["PYTHONPATH"]])
    done = subprocess.run([sys.executable, "-m", "minigan", "train"], env=own, capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("minigan: error: this is one of 2 processes of an MPI launcher, and mpi4py does not import (")
    assert "pip install mpi4py" in line


def test_a_run_alone_under_a_launcher(folder, monkeypatch):
    """As in a search over options, of which each process makes runs of its own."""
    draw_bytes(monkeypatch)
    monkeypatch.setattr(distributed, "launched", lambda: (1, 4))
    game = mg.VAE(*mg.models.vae_mlp((8, 8, 1), 2, 3, backend="textbook"))
    run = mg.Run(game, IMAGES, folder / "run", steps=2, batch_size=4, ranks=distributed.ALONE, log=lambda text: None)
    assert run.train(progress=False)
    assert (folder / "run" / CHECKPOINT).exists()
