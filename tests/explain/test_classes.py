"""A step of a game with classes, opened: its numbers agree with differences, and the page says what the labels do."""

import numpy as np
import pytest
from explained_games import SHAPE, all_comparisons, content

import minigan as mg
from minigan import cli
from minigan.explain import page, step
from minigan.explain.game import game_of_run
from minigan.losses import R1, GradientPenalty, Score

K, LABELS = 3, np.array([2, 0, 0, 1, 2])


def opened(**options):
    pair = mg.models.mlp(SHAPE, 3, 4, "textbook", "float64", classes=K)
    gan, rng = mg.GAN(*pair, classes=K, lr=0.01, **options), np.random.default_rng(0)
    draw = lambda: (rng.uniform(-1, 1, (5, *SHAPE)), rng.standard_normal((5, 3)))  # noqa: E731
    for _ in range(2):
        gan.step(*draw(), labels=LABELS)
    return step.open_step(gan, *draw(), np.eye(K)[LABELS])


def far_off(found):
    return [c for c in all_comparisons(found) if c.numeric is not None and c.error > 1e-5]


@pytest.mark.parametrize("options", [{"penalties": [R1(3.0), GradientPenalty(2.0)]}, {"objective": mg.losses.Relativistic()}])
def test_its_numbers_agree_with_differences(options):
    found = opened(**options)
    assert not far_off(found)
    of_penalties = [c for record in found.penalties for part in record.second.checks.values() for c in part]
    assert bool(of_penalties) == ("penalties" in options)
    assert all(c.error < 1e-5 for c in of_penalties if c.numeric is not None)
    score = Score(mg.get_backend("textbook"), np.eye(K)[LABELS])
    for record in (found.real, found.fake, found.judged):
        np.testing.assert_array_equal(record.s, score.value(record.outputs[-1]))
        np.testing.assert_array_equal(record.output_grads[-1], score.backward(record.ds))


def test_a_wrong_gradient_of_the_score_is_seen(monkeypatch):
    monkeypatch.setattr(Score, "backward", lambda self, ds: 0 * self.t + ds)
    assert far_off(opened())


def test_the_page_says_what_the_labels_do(few_numbers):
    found = opened(penalties=[R1(3.0)])
    stations = content(page.make_page(found, "classes"))["stations"]
    texts = {station["label"]: " ".join(station["text"]) for station in stations}
    assert "the label of one of 3 classes" in texts["z"]
    assert "that of the sample's own label, added" in texts["L_D"]
    assert "which is do = [1, y]" in texts["P"]
    facts = {fact["name"]: fact["value"] for station in stations if station["label"] == "P" for fact in station["facts"]}
    along, through = map(float, facts["v · g, and Σ ṡ"].split(", and "))
    assert along == pytest.approx(through, rel=1e-4)
    (loss,) = [station for station in stations if station["label"] == "L_D"]
    assert loss["curves"], "the losses are known, and drawn over s"
    assert len(loss["formulas"]) == 6, "two of L_D, its two gradients, and the score and its gradient"


def test_a_run_and_the_small_game_are_opened(tmp_path, monkeypatch, capsys, few_numbers):
    monkeypatch.chdir(tmp_path)
    images = np.random.default_rng(0).integers(0, 256, (24, 4, 4), dtype=np.uint8)
    np.savez("own.npz", images=images, labels=np.arange(24) % K)
    own = "--data own.npz --classes --model mlp --hidden 3 --latent-dim 2 --quiet"
    assert cli.main(f"train {own} --steps 2 --batch-size 4 --backend numpy --out run".split()) == 0
    assert cli.main(["explain", "run", "--out", "run.html", "--batch-size", "4", "--quiet"]) == 0
    assert cli.main(f"explain {own} --after 2 --batch-size 4 --out small.html".split()) == 0
    said = capsys.readouterr().out
    assert "mlp on own.npz, 3 classes after 2 steps, batch 4, seed 0: small.html" in said
    (tmp_path / "own.npz").unlink()
    gone = game_of_run("run", "textbook", 4)
    assert not gone.has_data
    np.testing.assert_array_equal(gone.labels, np.eye(K)[[0, 1, 2, 0]])
