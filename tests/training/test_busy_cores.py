"""Steps that wait for cores are told of once, and only they."""

import pytest

from minigan.training import busy_cores
from minigan.training.busy_cores import LEAST_STEPS, BusyCores


class Backend:
    def __init__(self, threads):
        self.threads = threads


def advice(monkeypatch, times, switches, threads=2):
    """What is said after steps of these times, in seconds, and so many involuntary context switches."""
    clock, count = [100.0], [7]
    monkeypatch.setattr(busy_cores.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(busy_cores, "_switches", lambda: count[0])
    watch = BusyCores(Backend(threads))
    clock[0] += 5  # a checkpoint, which is no step
    watch.begin()
    for seconds in times:
        clock[0] += seconds
        watch.step()
    count[0] += switches
    return watch.advice(), watch


WAITING = [0.5e-3] * 10 + [6e-3] * 90


@pytest.mark.parametrize(
    ("times", "switches", "threads"),
    [
        ([0.5e-3] * 100, 120, 2),  # equally long: large steps are interrupted too
        (WAITING, 5, 2),  # a machine that is slow by turns
        (WAITING, 120, 1),
        (WAITING[: LEAST_STEPS - 1], 120, 2),
    ],
)
def test_steps_that_do_not_wait(monkeypatch, times, switches, threads):
    assert advice(monkeypatch, times, switches, threads)[0] == ""


def test_steps_that_wait_are_told_of_once(monkeypatch):
    said, watch = advice(monkeypatch, WAITING, 120)
    assert said.startswith("a step takes 5.45 ms, and 0.5 ms at best: other programs keep the cores busy")
    assert "MINIGAN_NUM_THREADS=1" in said
    for _ in range(100):
        watch.step()
    assert watch.advice() == ""
