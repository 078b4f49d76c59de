"""Measures of lines: distances by letters against a recursion, and what copies, real lines and noise come out with."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigan.data import load
from minigan.data.kinds import Text
from minigan.metrics import ngram_jsd
from minigan.metrics.reference import reference_of
from minigan.metrics.texts import OF_TEXT, TextReference, edit_distances

LINE = st.text("abc", max_size=5)


def levenshtein(a, b):
    @cache
    def between(i, j):
        if not (i and j):
            return i + j
        return min(between(i - 1, j) + 1, between(i, j - 1) + 1, between(i - 1, j - 1) + (a[i - 1] != b[j - 1]))

    return between(len(a), len(b))


@given(LINE, st.lists(LINE, min_size=1, max_size=5), st.integers(5, 7))
def test_edit_distances(line, others, length):
    kind = Text("abc")
    found = edit_distances(kind.numbers([line], length)[0], kind.numbers(others, length))
    assert found.tolist() == [levenshtein(line, other) for other in others]


@pytest.fixture(scope="module")
def names():
    return load("names")


def test_real_lines_copies_and_noise(names):
    reference = reference_of(names, names.held_out)
    assert isinstance(reference, TextReference)
    rng = np.random.default_rng(0)
    drawn = names.values[rng.permutation(len(names))[:500]]
    noise = np.where(drawn > 0, rng.integers(1, 27, drawn.shape), 0).astype(np.uint8)
    real, random, itself = (reference.all(values, values) for values in (drawn, noise, names.held_out))
    assert real.keys() == {*OF_TEXT, "distinct"}
    # What real names and uniform letters of the right lengths are known to have.
    assert [real[f"jsd_{n}"] for n in (1, 2, 3)] == pytest.approx([0.002, 0.025, 0.14], rel=0.4)
    assert [random[f"jsd_{n}"] for n in (1, 2, 3)] == pytest.approx([0.083, 0.28, 0.5], rel=0.05)
    assert (real["copied"], random["copied"], itself["copied"]) == (1, pytest.approx(0, abs=0.01), 0)
    assert itself["jsd_4"] == pytest.approx(0, abs=1e-12)
    assert reference.all(drawn[:1].repeat(4, axis=0), drawn[:1])["distinct"] == 0.25


def test_the_padding_counts(names):
    """As that of lines padded with a letter of its own."""
    reference, kind = TextReference(names, names.held_out), names.kind
    padded = [[line.ljust(12, "~") for line in kind.lines(values)] for values in (names.held_out, names.values[:300])]
    found = reference.quick(names.values[:300], names.values[:300])
    assert [found[f"jsd_{n}"] for n in (1, 2, 3, 4)] == pytest.approx([ngram_jsd(*padded, n) for n in (1, 2, 3, 4)])


def test_nearest_lines(names):
    kind = names.kind
    found = TextReference(names, names.held_out).nearest(kind.numbers(["annabele", "zzyzx"], 12), 3)
    assert found.shape == (2, 3, 12)
    assert kind.lines(found[0])[0] in ("annabelle", "annabell", "annabel")
    assert levenshtein("annabele", kind.lines(found[0])[0]) == 1
