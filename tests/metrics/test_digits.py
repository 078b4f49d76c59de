"""The digit classifier that comes with the package, its features, and the script that trained it."""

import importlib.resources

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigan as mg
from benchmarks import train_digit_features as script
from minigan.data import load
from minigan.metrics import digit_features, digits, frechet

DIGITS = load("digits")
INK, LABELS = DIGITS.values[..., 0] / 255.0, DIGITS.labels.astype(np.int64)


@pytest.fixture(scope="module")
def classifier():
    net = digits.digit_classifier()
    net.load_state_dict(digits.trained_weights())
    return net


def test_accuracy_on_digits_that_it_has_not_seen(classifier):
    _, held_out = script.split(LABELS, 0)
    assert script.accuracy(classifier, INK[held_out], LABELS[held_out]) >= 0.985


def test_the_file_is_small():
    assert len(importlib.resources.files("minigan.metrics").joinpath(digits.WEIGHTS).read_bytes()) < 300_000


def test_features_are_what_the_last_layer_takes(classifier):
    images = DIGITS.values[::500]
    features = digit_features(images)
    assert features.shape == (10, 64)
    assert features.dtype == np.float32
    logits = features @ classifier.params["19.weight"] + classifier.params["19.bias"]
    np.testing.assert_allclose(logits, classifier.forward(script.as_input(images[..., 0] / 255.0))[0], atol=1e-4)


def test_bytes_and_floats_have_the_same_features():
    images = DIGITS.values[:3]
    np.testing.assert_allclose(digit_features(images / 127.5 - 1), digit_features(images), atol=1e-5)
    many = np.concatenate([images, DIGITS.values[3 : digits.BATCH + 2]])
    np.testing.assert_allclose(digit_features(many)[:3], digit_features(images), atol=1e-4)


def test_features_tell_digits_from_damaged_ones():
    rng = np.random.default_rng(0)
    chosen = rng.permutation(5000)
    real, other = digit_features(DIGITS.values[chosen[:500]]), digit_features(DIGITS.values[chosen[500:1000]])
    noisy = np.clip(DIGITS.values[chosen[500:1000]] + rng.normal(0, 40, (500, 28, 28, 1)), 0, 255).astype(np.uint8)
    one_class = digit_features(DIGITS.values[:500])
    floor = frechet(real, other)
    assert frechet(real, digit_features(noisy)) > 3 * floor
    assert frechet(real, one_class) > 10 * floor


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((2, 28, 28)),
        np.zeros((2, 28, 28, 3)),
        np.zeros((0, 28, 28, 1)),
        np.zeros((2, 28, 28, 1), np.int64),
        np.full((2, 28, 28, 1), 255.0),
        np.full((2, 28, 28, 1), np.nan),
        "images",
    ],
)
def test_what_is_no_such_image_is_refused(images):
    with pytest.raises(mg.MiniganError, match="expected"):
        digit_features(images)


# -- the script --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1])
def test_split(seed):
    kept, held_out = script.split(LABELS, seed)
    assert sorted([*kept, *held_out]) == list(range(5000))
    assert (np.bincount(LABELS[held_out]) == 100).all()
    assert not np.array_equal(held_out, script.split(LABELS, seed + 1)[1])


def test_reading_between_pixels():
    image = np.arange(12.0).reshape(1, 3, 4)
    places = np.array([[0, 2, 0.5, 1.25, -1, 5, 2.5], [0, 3, 0, 1.5, 0, 0, 3]])[None]
    np.testing.assert_allclose(script.read_between(image, places)[0], [0, 11, 2, 6.5, 0, 0, 5.5], atol=0.01)


@given(st.integers(0, 99))
def test_distortion_keeps_the_ink_and_the_range(seed):
    images = INK[np.random.default_rng(seed).choice(5000, 20)]
    found = script.distorted(images, np.random.default_rng(seed))
    assert found.shape == images.shape
    assert found.min() >= 0
    assert found.max() <= 1 + 1e-9
    assert 0.6 < found.sum() / images.sum() < 1.5
    assert not np.allclose(found, images, atol=0.1)


def test_without_any_change_a_distortion_is_none(monkeypatch):
    for name in ("TURN", "SHEAR", "STRETCH", "SHIFT", "BEND"):
        monkeypatch.setattr(script, name, 0.0)
    np.testing.assert_allclose(script.distorted(INK[:5], np.random.default_rng(0)), INK[:5], atol=1e-12)


def test_a_smooth_field_has_the_strength_that_it_says():
    field = script.smooth_field(300, (28, 28), np.random.default_rng(0))
    assert np.sqrt((field**2).mean()) == pytest.approx(script.BEND, rel=0.05)
    assert np.abs(np.diff(field, axis=3)).mean() < script.BEND / 3


def test_the_script_trains_and_writes(tmp_path, capsys, monkeypatch):
    chosen = np.arange(0, 5000, 10)
    small = type(DIGITS)("digits", DIGITS.values[chosen], DIGITS.labels[chosen])
    monkeypatch.setattr(script, "load", lambda name: small)
    monkeypatch.setattr(script, "HELD_OUT", 20)
    monkeypatch.setattr(script, "BATCH", 30)
    path = tmp_path / "own.safetensors"
    script.main(["--seeds", "3", "--epochs", "4", "--out", str(path)])
    assert "of 200 digits that it has not seen" in capsys.readouterr().out
    net = digits.digit_classifier()
    net.load_state_dict(_read(path))
    _, held_out = script.split(small.labels, 3)
    assert script.accuracy(net, INK[chosen][held_out], LABELS[chosen][held_out]) > 0.3


def _read(path):
    from safetensors.numpy import load_file

    return {name: values.astype(np.float32) for name, values in load_file(path).items()}
