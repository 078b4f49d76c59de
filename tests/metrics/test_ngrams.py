"""The divergence of n-grams: by hand, its bounds, and every form of a text."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigan import MiniganError
from minigan.metrics import ngram_jsd

TEXTS = st.lists(st.text("abc", min_size=3, max_size=9), min_size=1, max_size=6)


def test_by_hand():
    assert ngram_jsd(["ab"], ["aa"], 1) == pytest.approx(
        (0.5 * math.log2(0.5 / 0.75) + 0.5 * math.log2(0.5 / 0.25)) / 2 + math.log2(1 / 0.75) / 2
    )
    assert ngram_jsd(["abab"], ["abba"], 2) == pytest.approx(
        _jsd({"ab": 2 / 3, "ba": 1 / 3}, {"ab": 1 / 3, "bb": 1 / 3, "ba": 1 / 3})
    )


def _jsd(p, q):
    m = {g: (p.get(g, 0) + q.get(g, 0)) / 2 for g in p.keys() | q.keys()}
    return sum(v / 2 * math.log2(v / m[g]) for d in (p, q) for g, v in d.items())


@given(TEXTS, TEXTS, st.integers(1, 3))
def test_bounds_symmetry_and_rows_of_tokens(real, own, n):
    found = ngram_jsd(real, own, n)
    assert -1e-12 <= found <= 1 + 1e-12
    assert found == pytest.approx(ngram_jsd(own, real, n), abs=1e-12)
    assert ngram_jsd(real, real, n) == pytest.approx(0, abs=1e-12)
    tokens = [[[ord(letter) for letter in text] for text in texts] for texts in (real, own)]
    assert ngram_jsd(*tokens, n) == pytest.approx(found, abs=1e-12)
    assert ngram_jsd(*[[np.array(row) for row in rows] for rows in tokens], n) == pytest.approx(found, abs=1e-12)


def test_nothing_in_common():
    assert ngram_jsd(["abc", "cba"], ["xyz"], 2) == pytest.approx(1)


def test_ngrams_do_not_reach_over_the_end_of_a_text():
    assert ngram_jsd(["ab", "cd"], ["ab", "cd", "cd", "ab"], 2) == pytest.approx(0)
    assert ngram_jsd(["ab", "cd"], ["bc"], 2) == pytest.approx(1)


@pytest.mark.parametrize(
    ("real", "own", "n", "words"),
    [
        (["ab"], ["abc"], 3, "real holds no text of 3 tokens"),
        (["abc"], [], 1, "samples holds no text"),
        ([1, 2], ["abc"], 1, "real holds 1: expected texts"),
        (["abc"], ["abc"], 0, "n is 0"),
        (None, ["abc"], 1, "real is None: expected texts"),
        (["abc"], [[{}, {}]], 1, "samples holds .*: expected tokens such as letters"),
    ],
)
def test_mistakes(real, own, n, words):
    with pytest.raises(MiniganError, match=words):
        ngram_jsd(real, own, n)
