"""The protocols of `python -m benchmarks quality`: a few steps of each, and their figures on planted samples."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.__main__ import main
from benchmarks.quality import command, digits, mixtures, stacked, words
from minigan.data import load, pixels_to_floats
from minigan.data.synthetic import MODES, drawn_around


def planted(samples):
    """A trained game that makes these."""
    return SimpleNamespace(sample=lambda n: np.resize(samples, (n, *samples.shape[1:])))


@pytest.mark.slow
@pytest.mark.parametrize("name", command.PROTOCOLS)
def test_a_few_steps_of_each_protocol(name, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(mixtures, "POINTS", 2000)
    for module, count in ((mixtures, 200), (stacked, 40), (digits, 40), (words, 40)):
        monkeypatch.setattr(module, "SAMPLES", count)
    monkeypatch.setattr(stacked, "TRIPLES", 200)
    arguments = ["quality", name, "--steps", "4", "--seeds", "2", "--out", str(tmp_path)]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    protocol = command.PROTOCOLS[name]
    assert all(f"| {who} |" in printed for who in (*protocol.published, *protocol.references()))
    assert "**minigan, mean of 2**" in printed
    result = json.loads((tmp_path / f"quality-{name}.json").read_text())
    assert [point["seed"] for point in result["points"]] == [0, 1]
    assert all(math.isfinite(point[figure]) for point in result["points"] for figure in protocol.figures)
    assert result["settings"]["steps"] == 4
    assert {"date", "cpu", "threads"} <= result["machine"].keys()
    assert main(arguments) == 2
    assert "--overwrite" in capsys.readouterr().err


@pytest.mark.slow
def test_a_seed_decides_all(monkeypatch):
    monkeypatch.setattr(mixtures, "POINTS", 2000)
    points = [command.point("ring", seed, 3) for seed in (5, 5, 6)]
    first, again, other = ({name: point[name] for name in mixtures.FIGURES} for point in points)
    assert first == again != other


def test_what_is_done_stays_when_a_seed_fails(tmp_path, monkeypatch, capsys):
    def point(name, seed, steps):
        if seed:
            raise MemoryError
        return {"seed": seed, "modes": 8, "high_quality": 1.0, "reverse_kl": 0.0, "seconds": 1.0, "processor_seconds": 1.0}

    monkeypatch.setattr(command, "point", point)
    assert main(["quality", "ring", "--seeds", "3", "--out", str(tmp_path)]) == 2
    assert [point["seed"] for point in json.loads((tmp_path / "quality-ring.json").read_text())["points"]] == [0]
    assert "out of memory" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["ring", "grid"])
def test_mixtures_on_planted_points(name):
    centres, sigma = MODES[name]
    perfect = mixtures.measure(name, planted(drawn_around(centres, sigma, 2500, seed=3)))
    assert perfect["modes"] == len(centres)
    assert perfect["high_quality"] == pytest.approx(1 - math.exp(-4.5), abs=0.01)  # of Gaussians in the plane, within 3 σ
    assert perfect["reverse_kl"] < 0.01
    half = np.concatenate([centres[:1], centres[:1] + 3.1 * sigma])
    assert mixtures.measure(name, planted(half)) == pytest.approx(
        {"modes": 1, "high_quality": 0.5, "reverse_kl": math.log(len(centres))}
    )


def test_ring_draws_pacgans_data():
    values = drawn_around(*MODES["ring"], mixtures.POINTS, 0)
    nearest = np.linalg.norm(values[:, None] - MODES["ring"][0], axis=2).argmin(axis=1)
    assert len(values) == 100_000
    assert np.linalg.norm(values, axis=1).mean() == pytest.approx(1, abs=1e-3)
    assert np.bincount(nearest).min() > 12_000
    assert (values - MODES["ring"][0][nearest]).std() == pytest.approx(0.01, rel=0.01)


def test_stacked_digits_are_counted_channel_by_channel():
    data = load("digits")
    firsts = np.array([np.flatnonzero(data.labels == label)[:3] for label in range(10)])
    images = pixels_to_floats(np, data.values[..., 0].astype(np.float32))
    stack = np.stack([images[firsts[1]], images[firsts[2]], images[firsts[3]]], axis=-1)
    assert stacked.classes(stack).tolist() == [123] * 3
    assert stacked.classes(stack[..., ::-1]).tolist() == [321] * 3


def test_modes_and_divergence_of_planted_classes():
    assert stacked.of_classes(np.arange(1000)) == pytest.approx({"modes": 1000, "kl": 0})
    assert stacked.of_classes(np.full(50, 7)) == pytest.approx({"modes": 1, "kl": math.log(1000)})
    assert stacked.of_classes(np.array([3, 3, 3, 9])) == pytest.approx(
        {"modes": 2, "kl": math.log(1000) + 0.75 * math.log(0.75) + 0.25 * math.log(0.25)}
    )


def test_triples_hold_digits_in_each_channel():
    pixels, bundled = stacked.triples(5, seed=1).values, load("digits").values[..., 0]
    assert pixels.shape == (5, 28, 28, 3)
    assert all(any((image == digit).all() for digit in bundled) for image in np.moveaxis(pixels, -1, 1).reshape(-1, 28, 28))


@pytest.mark.slow
def test_digits_against_themselves_are_perfect():
    values = pixels_to_floats(np, load("digits").values.astype(np.float32))
    found = digits.measure(planted(values))
    assert found["frechet"] == pytest.approx(0, abs=1e-3)
    assert found["precision"] == found["recall"] == found["coverage"] == 1
    assert digits.measure(planted(values[:10]))["recall"] < 0.5


def test_a_markov_model_says_what_follows():
    """Of "abcd" and "abce", half each; runs of four letters, the start and the end included, are those of the lines."""
    made = words.markov(["abcd", "abce", "xbcd"], 600, 12, np.random.default_rng(0))
    assert {line: made.count(line) / 600 for line in set(made)} == pytest.approx(
        {"abcd": 1 / 3, "abce": 1 / 3, "xbcd": 1 / 3}, abs=0.08
    )
    longer = words.markov(["aaaaa"], 50, 7, np.random.default_rng(0))
    assert max(map(len, longer)) <= 7
    assert set("".join(longer)) == {"a"}


def test_words_that_are_real_and_words_that_are_not():
    data = load("names")
    found = words.references()
    real, model, uniform = (dict(zip(words.FIGURES, values, strict=True)) for values in found.values())
    assert [real[f"jsd_{n}"] for n in (1, 2, 3)] == pytest.approx([0.002, 0.025, 0.14], rel=0.4)
    assert [model[f"jsd_{n}"] for n in (1, 2, 3)] == pytest.approx([0.002, 0.028, 0.145], rel=0.4)
    assert [uniform[f"jsd_{n}"] for n in (1, 2, 3)] == pytest.approx([0.083, 0.28, 0.5], rel=0.05)
    assert (real["copied"], uniform["copied"]) == (1, pytest.approx(0, abs=0.01))
    assert 0.1 < model["copied"] < 0.5
    game = SimpleNamespace(sample=lambda n: np.eye(27)[data.held_out[:n]])
    assert words.measure(game)["jsd_3"] == pytest.approx(0, abs=1e-9)


@pytest.mark.slow
def test_seeds_side_by_side_make_the_same_figures(tmp_path, capsys):
    arguments = ["quality", "ring", "--steps", "2", "--seeds", "2", "--overwrite", "--out", str(tmp_path)]
    found = []
    for jobs in ("1", "2"):
        assert main([*arguments, "--jobs", jobs]) == 0
        points = json.loads((tmp_path / "quality-ring.json").read_text())["points"]
        found.append([{name: point[name] for name in mixtures.FIGURES} for point in points])
    assert found[0] == found[1]
    assert main([*arguments, "--jobs", "0"]) == 2
    assert main(["quality", "rings"]) == 2
