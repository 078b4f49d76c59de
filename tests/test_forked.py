"""Copies of a process as further ranks: sums, the steps of one process, the bytes of a run, and an end for all where one ends.

What ranks do to a game is tested in test_distributed; here it is what takes MPI's place, and when a run makes use of it.
"""

import copy
import errno
import gc
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from functools import partial

import games_over_ranks
import numpy as np
import pytest
from quick_runs import content, draw_bytes

import minigan as mg
from minigan import forked as forking
from minigan.backends.numpy import threads
from minigan.distributed import _is_alive
from minigan.errors import BackendError, DivergenceError, LostProcessError
from minigan.forked import can_fork, forked
from minigan.training import CHECKPOINT, Config, checkpoint, resume_run, start_run
from minigan.training.messages import ProgressBar
from minigan.training.shares import processes_for

pytestmark = pytest.mark.skipif(not can_fork(), reason="only Linux lets a process be copied safely")


# -- what is exchanged ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 3])
def test_sums_and_means(size, monkeypatch):
    monkeypatch.setattr(forking, "ROOM", 1 << 11)  # so that a long vector goes in several pieces
    monkeypatch.setattr(forking, "PART", 1 << 9)
    rng = np.random.default_rng(0)
    given = [[rng.standard_normal(5, "f4"), rng.standard_normal(700), rng.standard_normal((3, 2)).T] for _ in range(size)]
    with forked(size) as ranks:
        ours = [a.copy() for a in given[ranks.rank]]
        ranks.all_sum(ours[0])
        ranks.all_mean(*ours[1:])
        seen = ranks.gather(ours)
    for of_rank in seen:
        np.testing.assert_allclose(of_rank[0], sum(a[0] for a in given), rtol=1e-6)
        for i in (1, 2):
            np.testing.assert_allclose(of_rank[i], sum(a[i] for a in given) / size, rtol=1e-12)
    assert all(a.tobytes() == b.tobytes() for of_rank in seen for a, b in zip(of_rank, seen[0], strict=True))


@pytest.mark.parametrize("size", [1, 2, 3])
def test_what_else_is_exchanged(size):
    with forked(size) as ranks:
        word = np.array([ranks.rank + 7])
        ranks.broadcast(word)
        large = ranks.gather(bytes([ranks.rank]) * (1 << 20))  # more than a pipe holds
        flags = ranks.any(ranks.rank == size - 1), ranks.any(False)
        is_whole = large == [bytes([rank]) * (1 << 20) for rank in range(size)]
        seen = ranks.gather((ranks.rank, ranks.size, word.tolist(), flags, is_whole))
    assert seen == [(rank, size, [7], (True, False), True) for rank in range(size)]


@pytest.mark.parametrize("name", ["dcgan", "R1 through BatchNorm", "vae"])
def test_processes_take_the_steps_of_one(name, monkeypatch):
    """In float64; and all hold the same bytes, which play compares. Each replays its share."""
    monkeypatch.setattr(threads, "LARGE_CONVOLUTION", 0)
    alone, random, *_ = games_over_ranks.play(name)
    with forked(2) as ranks:
        state, random_of_several, *capture = games_over_ranks.play(name, ranks)
        captures = ranks.gather(capture)
    assert captures == [["replay", []]] * 2
    assert random_of_several == random
    for key, value in alone.items():
        np.testing.assert_allclose(state[key], value, rtol=1e-10, atol=1e-10)


def test_all_record_anew_where_one_has_to():
    """An attribute bound anew in one process alone, to a thing like it: there a replay is not to be trusted any more."""
    game = games_over_ranks.GAMES["dcgan"](mg.get_backend("numpy"))
    whole = mg.Batches(games_over_ranks.DATA, 8, game.backend, "float64")
    with forked(2) as ranks:
        step = mg.capture(game, whole.shared_by(ranks))
        phases = []
        for number in range(7):
            if number == 4 and ranks.rank == 1:
                game.objective = copy.copy(game.objective)
            step()
            phases.append(step.phase)
        of_all = ranks.gather(phases)
    assert of_all == [["record", "compare", "replay", "replay", "record", "compare", "replay"]] * 2


# -- how it ends ---------------------------------------------------------------------------------------------------------


def children():
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        return file.read().split()


@pytest.mark.parametrize("act", ["raises", "is killed", "exits"])
@pytest.mark.parametrize("exchange", ["barrier", "gather"])
def test_a_copy_that_ends_is_told_of(act, exchange, capfd):
    def lose_one():
        with forked(3) as ranks:
            if ranks.rank == 1 and act == "raises":
                raise MemoryError("no room for it")
            if ranks.rank == 1:
                os.kill(os.getpid(), signal.SIGKILL) if act == "is killed" else os._exit(3)
            while True:
                ranks.barrier() if exchange == "barrier" else ranks.gather(b"x" * 100_000)

    before = children()
    with pytest.raises(LostProcessError, match="process 2 of the 3 that share each batch has ended") as told:
        lose_one()
    assert ("MemoryError no room for it" in str(told.value)) == (act == "raises")
    assert children() == before
    assert capfd.readouterr() == ("", ""), "what a copy raises is for the first to tell"


@pytest.mark.parametrize("exchange", ["barrier", "gather"])
def test_the_copy_that_ended_first_is_named(exchange):
    """Though another one, which waited for it, ends before the first process looks."""

    def lose_one():
        with forked(3) as ranks:
            if ranks.rank == 2:
                raise MemoryError("no room for it")
            time.sleep(0.3 if ranks.rank else 1.0)
            getattr(ranks, exchange)(*[b"x"] * (exchange == "gather"))

    with pytest.raises(
        LostProcessError, match="process 3 of the 3 that share each batch has ended: MemoryError no room for it"
    ):
        lose_one()


@pytest.mark.parametrize("fails", ["the first fork", "the second fork", "a pipe"])
def test_where_no_more_processes_are_allowed(fails, monkeypatch):
    """One line says so, and nothing is left of those that were made already."""
    fork, calls, before, files = os.fork, [], children(), len(os.listdir("/proc/self/fd"))

    def refuse(*_):
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    def forking_at_first():
        calls.append(1)
        return fork() if fails == "the second fork" and len(calls) == 1 else refuse()

    monkeypatch.setattr(*((forking, "Pipe", refuse) if fails == "a pipe" else (os, "fork", forking_at_first)))
    with pytest.raises(BackendError, match=r"3 processes cannot be started .*set MINIGAN_NUM_THREADS"), forked(3):
        pytest.fail("the body runs")
    assert (children(), len(os.listdir("/proc/self/fd"))) == (before, files)


def test_a_copy_never_leaves_the_function_that_made_it(monkeypatch, tmp_path):
    """Not even where it fails before the body begins."""
    left = tmp_path / "left"

    def failing(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(forking, "_own_ends", failing)
    try:
        with forked(2):
            pytest.fail("the body runs")
    except KeyboardInterrupt:
        with open(left, "a") as file:
            file.write("one\n")
    time.sleep(0.3)
    assert left.read_text() == "one\n"


def test_nothing_is_left_behind():
    before = children(), len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with forked(3) as ranks:
            ranks.all_sum(np.ones(10))
    gc.disable()
    try:
        with open("/proc/self/maps") as file:
            assert "/dev/zero" not in file.read()
    finally:
        gc.enable()
    assert (children(), len(os.listdir("/proc/self/fd"))) == before


def test_copies_end_with_the_first():
    def interrupt_the_first():
        with forked(3) as ranks:
            if ranks.rank == 0:
                raise KeyboardInterrupt
            ranks.barrier()

    before = children()
    with pytest.raises(KeyboardInterrupt):
        interrupt_the_first()
    assert children() == before


def test_copies_do_not_outlive_a_killed_process(tmp_path):
    code = """
import os, time
from minigan.forked import forked
with forked(3) as ranks:
    print(ranks.gather(os.getpid()), flush=True) if ranks.rank == 0 else ranks.gather(os.getpid())
    if ranks.rank == 0:
        time.sleep(60)
    ranks.barrier()
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as first:
        processes = eval(first.stdout.readline())
        first.kill()
    deadline = time.monotonic() + 20
    while any(map(_is_alive, processes[1:])):
        assert time.monotonic() < deadline, "a copy outlives the process that made it"
        time.sleep(0.05)


def test_signals_are_for_the_first_alone():
    with forked(2) as ranks:
        if ranks.rank:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                os.kill(os.getpid(), number)
        seen = ranks.gather("still here")
    assert seen == ["still here"] * 2


# -- runs ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Runs of a game so small that only here two processes are thought to pay."""
    draw_bytes(monkeypatch)
    monkeypatch.setattr(threads, "SHARED", 1)
    monkeypatch.setattr(threads, "LEAST_PART", 2)
    be = mg.get_backend("numpy")
    monkeypatch.setattr(be, "threads", 2)
    np.save(tmp_path / "own.npy", np.random.default_rng(0).integers(0, 256, (24, 8, 8), dtype=np.uint8))
    game = {"model": "dcgan", "width": 4, "latent_dim": 3, "batch_size": 8, "backend": "numpy", "steps": 12}
    every = {"log_every": 2, "sample_every": 6, "checkpoint_every": 6}

    def make(name="run", said=None, **options):
        config = Config(**{"data": str(tmp_path / "own.npy"), **game, **every, **options})
        return start_run(config, tmp_path / name, log=([] if said is None else said).append)

    return make


def test_a_run_in_two_processes(small, tmp_path, monkeypatch):
    """The same bytes each time, and stopped and gone on with; in one process, the same to rounding."""
    said = []
    run = small("whole", said)
    assert run.processes == 2
    assert run.train(progress=False)
    assert "| 2 processes, 4 each" in said[0]
    assert run.ranks.size == 1
    whole = content(tmp_path / "whole")
    assert small("again").train(progress=False)
    assert content(tmp_path / "again") == whole
    stopped = small("stopped", steps=6)
    assert stopped.train(progress=False)
    assert resume_run(tmp_path / "stopped", changes={"steps": 12}, log=said.append).train(progress=False)
    monkeypatch.setattr(mg.get_backend("numpy"), "threads", 1)
    alone = small("alone")
    assert (alone.processes, alone.train(progress=False)) == (1, True)
    (a, info), *others = (checkpoint.load(tmp_path / name / CHECKPOINT) for name in ("whole", "stopped", "alone"))
    for (b, other), tolerance in zip(others, (0, 1e-3), strict=True):
        assert (info["random"], info["data"], info["step"]) == (other["random"], other["data"], other["step"])
        for name in a:
            np.testing.assert_allclose(b[name], a[name], rtol=tolerance, atol=tolerance, err_msg=name)


def test_a_run_object_goes_on_in_processes(small):
    run, longer = small("run", steps=6), small("longer")
    assert run.train(progress=False)
    assert run.train(progress=False, steps=12)
    assert longer.train(progress=False)
    for name, value in run.game.state_dict().items():
        np.testing.assert_array_equal(longer.game.state_dict()[name], value, err_msg=name)
    assert run.batches.state == longer.batches.state
    assert run.game.random_state == longer.game.random_state


def test_the_first_alone_draws_the_bar(small, tmp_path, monkeypatch, capfd):
    update, drawn_by = ProgressBar.update, tmp_path / "drawn by"

    def updating(bar):
        if bar._bar is not None:
            with open(drawn_by, "a") as file:
                file.write(f"{os.getpid()}\n")
        update(bar)

    monkeypatch.setattr(ProgressBar, "update", updating)
    assert small("run").train()
    assert drawn_by.read_text().split() == [str(os.getpid())] * 12
    assert capfd.readouterr().err.count("\n") == 1, "a bar that the copy dropped is drawn once more"


def test_the_first_alone_warns(small, tmp_path, monkeypatch):
    """A copy that told of a warning above the bar would wait for a lock that no thread of its own holds."""
    told_by = tmp_path / "told by"

    def telling(message, *where, **more):
        with open(told_by, "a") as file:
            file.write(f"{os.getpid()} {message}\n")

    run = small("run")
    compute = type(run.game).compute

    def computing(game, *batch, **labels):
        warnings.warn("mind the step", stacklevel=1)
        return compute(game, *batch, **labels)

    monkeypatch.setattr(type(run.game), "compute", computing)
    monkeypatch.setattr(warnings, "showwarning", telling)
    assert run.train(progress=False)
    assert set(told_by.read_text().splitlines()) == {f"{os.getpid()} mind the step"}


def test_a_copy_that_is_lost_leaves_the_last_good_state(small, tmp_path, monkeypatch):
    said = []
    run = small("run", said)
    compute, first = type(run.game).compute, os.getpid()

    def computing(game, *batch, **labels):
        if game.optimizer_g.steps == 9 and os.getpid() != first:
            os.kill(os.getpid(), signal.SIGKILL)
        return compute(game, *batch, **labels)

    monkeypatch.setattr(type(run.game), "compute", computing)
    with pytest.raises(LostProcessError, match="process 2 of the 2"):
        run.train(progress=False)
    assert checkpoint.load(tmp_path / "run" / CHECKPOINT)[1]["step"] >= 6
    assert "go on with: minigan train --resume" in said[-1]
    monkeypatch.undo()
    assert resume_run(tmp_path / "run", log=said.append).train(progress=False)


def test_a_divergence_is_found_by_all(small, monkeypatch):
    run = small("run", lr=1e30)
    with pytest.raises(DivergenceError, match=r"step [1-9]: process [12] of 2: "):
        run.train(progress=False)


def test_a_signal_stops_both_after_the_step(small, tmp_path, monkeypatch):
    run = small("run")
    compute, first = type(run.game).compute, os.getpid()

    def computing(game, *batch, **labels):
        if game.optimizer_g.steps == 5 and os.getpid() == first:
            os.kill(first, signal.SIGINT)
        return compute(game, *batch, **labels)

    monkeypatch.setattr(type(run.game), "compute", computing)
    assert not run.train(progress=False)
    assert (run.step, checkpoint.load(tmp_path / "run" / CHECKPOINT)[1]["step"]) == (5, 5)


# -- when ----------------------------------------------------------------------------------------------------------------


def game(*more_of_d, backend="numpy", kind=mg.GAN, **options):
    g, _ = mg.models.dcgan((28, 28, 1), 8, 32, backend=backend)
    layers = [mg.Conv2d(32, 4, 2, 1), *more_of_d, mg.LeakyReLU(0.2), mg.Conv2d(64, 4, 2, 1), mg.Flatten(), mg.Dense(1)]
    return kind(g, mg.Sequential(layers, (28, 28, 1), backend=backend), **options)


class Scale(mg.Layer):
    def build(self, input_shape):
        return input_shape

    def forward(self, x, train=False):
        return 2 * x, None

    def backward(self, dy, cache, grads=None, input_grad=True):
        return 2 * dy


class OwnGame(mg.GAN):
    pass


class OwnLoss(mg.losses.LeastSquares):
    pass


class OwnPenalty(mg.losses.R1):
    pass


def with_a_method_of_its_own(of):
    """A game of which one object has had a method replaced."""
    made = game(penalties=[mg.losses.R1(1.0)])
    objects = {"game": made, "D": made.discriminator, "layer": made.discriminator.layers[0], "penalty": made.penalties[0]}
    methods = {"game": "compute", "D": "forward", "layer": "forward", "penalty": "value_and_grad"}
    replaced = getattr(objects[of], methods[of])
    setattr(objects[of], methods[of], lambda *values, **options: replaced(*values, **options))
    return made


def watched(made):
    made.discriminator.watch = lambda *_: None
    return made


@pytest.mark.parametrize(
    ("made", "batch_size", "count", "processes"),
    [
        (game, 64, 2, 2),
        (game, 64, 1, 1),
        (game, 64, 4, 4),
        (game, 368, 46, 16),  # pipes between all of more are too many open files
        (game, 60, 8, 6),  # equal parts of 8 samples or more
        (game, 64, 6, 4),  # two threads are left over
        (game, 61, 2, 1),
        (lambda: mg.GAN(*mg.models.dcgan((8, 8, 1), 4, 4, backend="numpy")), 64, 2, 1),  # of small convolutions
        (lambda: game(mg.BatchNorm(), mg.Dropout(0.2)), 64, 2, 2),
        (lambda: game(mg.Residual([mg.BatchNorm()])), 64, 2, 2),
        (lambda: game(penalties=[mg.losses.R1(1.0)]), 64, 2, 2),
        (lambda: game(backend="textbook"), 64, 2, 1),
        (lambda: mg.GAN(*mg.models.mlp((28, 28, 1), 8, (16,), backend="numpy")), 64, 2, 1),
        (lambda: game(mg.MinibatchStd(4)), 64, 2, 1),
        (lambda: game(Scale()), 64, 2, 1),
        (lambda: game(mg.Residual([Scale()])), 64, 2, 1),
        (lambda: game(kind=OwnGame), 64, 2, 1),
        (lambda: game(objective=OwnLoss()), 64, 2, 1),
        (lambda: game(penalties=[OwnPenalty(1.0)]), 64, 2, 1),
        (lambda: watched(game()), 64, 2, 1),
        *((partial(with_a_method_of_its_own, of), 64, 2, 1) for of in ("game", "D", "layer", "penalty")),
    ],
)
def test_where_processes_pay_and_nothing_of_the_users_own_could_tell(made, batch_size, count, processes, monkeypatch):
    monkeypatch.setattr(mg.get_backend("numpy"), "threads", count)
    assert processes_for(made(), batch_size) == processes


def test_only_the_main_thread_is_copied(monkeypatch):
    monkeypatch.setattr(mg.get_backend("numpy"), "threads", 2)
    made, seen = game(), []
    thread = threading.Thread(target=lambda: seen.append(processes_for(made, 64)))
    thread.start()
    thread.join()
    assert seen == [1]


def test_each_process_has_its_part_of_the_threads(monkeypatch):
    be = mg.get_backend("numpy")
    monkeypatch.setattr(be, "threads", 5)
    with forked(2) as ranks:
        with be.over(ranks):
            within = be.threads
        seen = ranks.gather((within, be.threads))
    assert seen == [(2, 5)] * 2
