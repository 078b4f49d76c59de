"""How alike the short pieces of two sets of texts are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence

import numpy as np

from minigan.errors import ShapeError, shorten
from minigan.sizes import positive_int


def ngram_jsd(real: Iterable[Sequence[Hashable]], samples: Iterable[Sequence[Hashable]], n: int) -> float:
    """The Jensen–Shannon divergence in bits, from 0 to 1, of the n-grams of two sets of texts.

    (KL(p ‖ m) + KL(q ‖ m)) / 2 with m = (p + q) / 2, where p and q are the shares of each run of n tokens within a text. texts:
    strings, or sequences of tokens such as the rows of an integer array.
    Raises ShapeError where no text of a set has n tokens, OptionError for an n that is no whole number from 1 up.
    Source: Gulrajani et al. 2017 (arXiv:1704.00028), section 5.4 and figure 4, and their language_helpers.py.
    """
    n = positive_int(n, "n")
    counts = [_count(texts, n, name) for texts, name in ((real, "real"), (samples, "samples"))]
    known = list(counts[0].keys() | counts[1].keys())
    p, q = (np.array([count[gram] for gram in known]) / count.total() for count in counts)
    return float(_relative_entropy(p, (p + q) / 2) / 2 + _relative_entropy(q, (p + q) / 2) / 2)


def _count(texts: Iterable[Sequence[Hashable]], n: int, name: str) -> Counter[tuple[Hashable, ...]]:
    counts: Counter[tuple[Hashable, ...]] = Counter()
    if not isinstance(texts, Iterable):
        raise ShapeError(f"{name} is {shorten(texts)}: expected texts, or rows of tokens")
    for text in texts:
        tokens = text.tolist() if isinstance(text, np.ndarray) else text
        if not isinstance(tokens, Sequence):
            raise ShapeError(f"{name} holds {shorten(text)}: expected texts, or rows of tokens")
        try:
            counts.update(zip(*(tokens[start:] for start in range(n)), strict=False))
        except TypeError:  # tokens that cannot be counted
            raise ShapeError(f"{name} holds {shorten(text)}: expected tokens such as letters, words or numbers") from None
    if not counts:
        raise ShapeError(f"{name} holds no text of {n} tokens: give longer ones, or a smaller n")
    return counts


def _relative_entropy(p: np.ndarray, m: np.ndarray) -> float:
    """KL(p ‖ m) = Σ p log₂(p/m)"""
    p, m = p[p > 0], m[p > 0]
    return float((p * np.log2(p / m)).sum())
