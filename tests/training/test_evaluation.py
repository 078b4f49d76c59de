"""Figures of samples in the log and the curves of a run: when, which, and that the run stays as it is without them."""

import math

import numpy as np
import pytest
from quick_runs import draw_bytes, make

import minigan as mg
from minigan.training import CURVES, LOG, columns_of, plots, read_log, resume_run
from minigan.training.evaluation import Evaluation


def points_run(folder, name="run", **options):
    path = folder / "points.npy"
    np.save(path, np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32))
    return make(folder, name, data=str(path), **options)


def measured(run):
    """{step: whether its row has figures}, and the columns of these."""
    rows = read_log(run.folder / LOG)
    names = [name for name in rows[0] if name.startswith("measured.")]
    assert all(len({bool(row[name]) for name in names}) == 1 for row in rows if names)
    return {int(row["step"]): bool(names and row[names[0]]) for row in rows}, names


def test_rows_have_figures_every_so_many_steps_and_at_the_end(tmp_path, monkeypatch):
    draw_bytes(monkeypatch)
    run = points_run(tmp_path, evaluate_every=10, steps=24)
    run.train(progress=False)
    steps, names = measured(run)
    assert steps == {4: False, 8: False, 10: True, 12: False, 16: False, 20: True, 24: True}
    assert names == [f"measured.{name}" for name in ("frechet", "kid", "precision", "recall", "density", "coverage")]
    log = columns_of(read_log(run.folder / LOG))
    expected = Evaluation(run.game, run.dataset, run.options["seed"]).measure()
    assert {name: log[name][-1] for name in names} == pytest.approx(expected, rel=1e-4)


def test_the_run_ends_in_the_same_bytes(tmp_path, monkeypatch):
    draw_bytes(monkeypatch)
    with_figures, without = points_run(tmp_path, "with", evaluate_every=5), points_run(tmp_path, "without")
    for run in (with_figures, without):
        run.train(progress=False)
    for name, array in without.game.state_dict().items():
        np.testing.assert_array_equal(array, with_figures.game.state_dict()[name], err_msg=name)
    assert with_figures.game.random_state == without.game.random_state
    assert measured(without)[1] == []


def test_a_run_that_goes_on_may_begin_to_measure(tmp_path, monkeypatch):
    draw_bytes(monkeypatch)
    points_run(tmp_path, steps=8).train(progress=False)
    run = resume_run(tmp_path / "run", changes={"steps": 16, "evaluate_every": 8}, log=lambda text: None)
    run.train(progress=False)
    assert measured(run)[0] == {4: False, 8: False, 12: False, 16: True}


def test_the_ring_has_its_modes_and_the_curves_their_panels(tmp_path, curves, monkeypatch):
    save = plots.save_curves
    draw_bytes(monkeypatch)
    run = make(tmp_path, data="ring", evaluate_every=12, steps=24)
    run.train(progress=False)
    _, names = measured(run)
    assert {"measured.modes", "measured.high_quality", "measured.reverse_kl", "measured.frechet"} <= set(names)
    log = columns_of(read_log(run.folder / LOG))
    more = len(plots._panels(log)) - len(plots._panels({name: log[name] for name in log if name not in names}))
    assert more == 2
    save(run.folder / CURVES, log)
    assert (run.folder / CURVES).read_bytes()[:4] == b"\x89PNG"
    assert 0 <= log["measured.high_quality"][-1] <= 1
    assert math.isnan(log["measured.frechet"][0])


def test_what_cannot_be_measured_is_refused_at_once(tmp_path):
    with pytest.raises(mg.MiniganError, match=r"images of \(4, 4, 1\) have neither features nor patches: leave it out"):
        make(tmp_path, evaluate_every=4)
    np.save(tmp_path / "few.npy", np.zeros((8, 2)))
    with pytest.raises(mg.MiniganError, match=r"evaluate_every needs at least 12 real samples, .* has 8"):
        make(tmp_path, data=str(tmp_path / "few.npy"), evaluate_every=4)
    assert not (tmp_path / "run").exists()


def test_a_measure_that_fails_does_not_end_the_run(tmp_path, monkeypatch):
    draw_bytes(monkeypatch)
    said = []
    run = points_run(tmp_path, evaluate_every=12, said=said)
    run.evaluation.measure = lambda: 1 / 0
    assert run.train(progress=False)
    assert "an evaluation of step 12 is missing: division by zero" in said
    assert not any(measured(run)[0].values())
