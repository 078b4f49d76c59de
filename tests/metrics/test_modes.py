"""Modes reached, high quality and reverse KL: by hand, and on the two datasets whose modes are known."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigan as mg
from minigan.data.synthetic import MODES, grid, ring

LINE = np.array([[0.0, 0.0], [10.0, 0.0], [20.0, 0.0], [30.0, 0.0]])


def test_by_hand():
    points = np.array([[0, 0], [0.29, 0], [0, 0.31], [10, -0.2], [14, 0], [20.5, 0]])  # nearest: three, two, one, none
    found = mg.metrics.modes(points, LINE, 0.1)
    assert found["modes"] == 2
    assert found["high_quality"] == pytest.approx(3 / 6)
    shares = [3 / 6, 2 / 6, 1 / 6]
    assert found["reverse_kl"] == pytest.approx(sum(p * math.log(4 * p) for p in shares))


def test_the_edge_counts():
    assert mg.metrics.modes([[3.0]], [[0.0]], 1.0)["high_quality"] == 1
    assert mg.metrics.modes([[3.0001]], [[0.0]], 1.0)["high_quality"] == 0


@pytest.mark.parametrize(("name", "points"), [("ring", ring()), ("grid", grid())])
def test_the_data_reach_all_their_modes(name, points):
    centres, sigma = MODES[name]
    found = mg.metrics.modes(points, centres, sigma)
    assert found["modes"] == len(centres)
    assert found["high_quality"] == pytest.approx(1 - math.exp(-4.5), abs=0.003)  # of a Gaussian in the plane
    assert found["reverse_kl"] < 0.001


@given(st.integers(1, 8), st.integers(1, 50))
def test_one_mode_of_many(count, points):
    centres = np.arange(count)[:, None] * 100.0
    found = mg.metrics.modes(np.full((points, 1), centres[-1]), centres, 1.0)
    assert found["modes"] == 1
    assert found["reverse_kl"] == pytest.approx(math.log(count))


@pytest.mark.parametrize(
    ("points", "centres", "sigma", "words"),
    [
        (np.zeros(3), LINE, 0.1, r"points has shape \(3,\)"),
        (np.zeros((0, 2)), LINE, 0.1, "at least one point"),
        (np.zeros((3, 2)), np.zeros((0, 2)), 0.1, "centres has shape"),
        (np.zeros((3, 3)), LINE, 0.1, "as many coordinates"),
        (np.full((3, 2), np.nan), LINE, 0.1, "not finite"),
        ("abc", LINE, 0.1, "points is a str"),
        ([[1, 2], [3]], LINE, 0.1, "points is a list"),
        (np.zeros((3, 2)), LINE, 0, "sigma is 0"),
        (np.zeros((3, 2)), LINE, -1.0, "sigma is -1"),
        (np.zeros((3, 2)), LINE, math.nan, "sigma is nan"),
        (np.zeros((3, 2)), LINE, math.inf, "sigma is inf"),
        (np.zeros((3, 2)), LINE, "0.1", "sigma is '0.1'"),
    ],
)
def test_mistakes(points, centres, sigma, words):
    with pytest.raises(mg.MiniganError, match=words):
        mg.metrics.modes(points, centres, sigma)
