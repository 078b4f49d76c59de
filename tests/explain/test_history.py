"""The time slider's moments: the opened batch seen with the weights of each, or what a run's folder holds."""

import csv
import io

import numpy as np
import pytest
from PIL import Image

import minigan as mg
from minigan import cli, training
from minigan.data import Batches
from minigan.explain import game, history, step
from minigan.training import Config

RING = Config(data="ring", backend="textbook", hidden=(4,), latent_dim=3, batch_size=8)


def test_the_last_moment_is_the_opened_step():
    opened = game.small_game(RING, 30)
    moments = opened.history.moments
    assert [moment.step for moment in moments] == history.moments_of(30) == [0, 2, 5, 8, 10, 12, 15, 18, 20, 22, 25, 28, 30]
    found = step.open_step(opened.game, opened.real, opened.noise)
    last = moments[-1]
    assert last.numbers["loss_d"] == pytest.approx(found.stats["loss_d"], rel=1e-12)
    np.testing.assert_array_equal(last.points, found.fake.x)
    np.testing.assert_allclose(last.scores["real"], found.real.s.ravel(), rtol=1e-12)
    np.testing.assert_allclose(last.scores["generated"], found.fake.s.ravel(), rtol=1e-12)
    assert moments[0].numbers["loss_d"] != last.numbers["loss_d"]
    assert opened.history.curves["loss_d"] == ([m.step for m in moments], [m.numbers["loss_d"] for m in moments])


def test_looking_back_does_not_disturb_the_training():
    opened = game.small_game(RING, 12)
    config = game.replace(RING, model="mlp", dtype="float64", steps=12, lr=game.SMALL["mlp"]["lr"])
    dataset = config.load_data()
    config.resolve(dataset)
    other = training.build_game(config, dataset.shape, 12)
    batches = Batches(dataset, 8, other.backend, "float64", config.seed)
    for _ in range(12):
        other.step(batches.next())
    for name, array in other.generator.state_dict().items():
        np.testing.assert_array_equal(array, opened.game.generator.state_dict()[name])
        np.testing.assert_array_equal(array, opened.history.moments[-1].weights["generator"][name])
    np.testing.assert_array_equal(batches.next(), opened.real)


def test_a_vaes_moments_are_its_own():
    config = Config(game="vae", backend="textbook", hidden=(4,), latent_dim=2, batch_size=4, image_size=(8, 8))
    opened = game.small_game(config, 2)
    found = step.open_step(opened.game, opened.real, opened.noise)
    last = opened.history.moments[-1]
    assert {name: last.numbers[name] for name in found.stats} == pytest.approx(found.stats, rel=1e-12)
    assert last.scores == {}
    assert Image.open(io.BytesIO(last.picture)).format == "PNG"
    assert opened.history.moments[0].picture != last.picture


@pytest.mark.slow
def test_a_runs_moments_are_its_pictures_and_its_log(tmp_path):
    run = tmp_path / "run"
    options = (
        "--model mlp --image-size 8 --steps 28 --hidden 4 --latent-dim 2 --batch-size 8 --log-every 1 --sample-every 2 --quiet"
    )
    assert cli.main(["train", *options.split(), "--backend", "textbook", "--out", str(run)]) == 0
    found = history.history_of_run(run)
    steps = [moment.step for moment in found.moments]
    assert len(steps) == history.MOMENTS
    assert (steps[0], steps[-1]) == (0, 28)
    assert "13 of its pictures" in found.about
    rows = list(csv.DictReader((run / "log.csv").open()))
    assert found.curves["loss_d"] == ([int(row["step"]) for row in rows], [float(row["loss_d"]) for row in rows])
    assert found.moments[-1].numbers["prob_fake"] == float(rows[-1]["prob_fake"])
    assert found.moments[0].numbers == {}, "the log has no row before the first step"
    assert all(Image.open(io.BytesIO(moment.picture)).width <= history.WIDTHS[0] for moment in found.moments)
    assert history.history_of_run(tmp_path) is None
    (run / "samples" / "step_000002.png").write_bytes(b"cut short")
    with pytest.raises(mg.MiniganError, match=r"step_000002.png is no picture that can be read .*: remove it"):
        history.history_of_run(run)


def test_pictures_are_made_smaller_until_they_fit(monkeypatch):
    noise = np.random.default_rng(0).integers(0, 256, (160, 160, 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(noise).save(out, "PNG")
    monkeypatch.setattr(history, "PICTURE_BYTES", 20_000)
    moments = [history.Moment(k, out.getvalue()) for k in range(3)]
    history.fit_pictures(moments)
    assert sum(len(moment.picture) for moment in moments) <= 20_000
    assert {Image.open(io.BytesIO(moment.picture)).width for moment in moments} == {80}


def test_a_penaltys_part_is_told():
    gan = game.small_game(game.replace(RING, penalty=("r1=1",)), 3)
    assert "penalty" in gan.history.curves
    assert isinstance(gan.game, mg.GAN)
