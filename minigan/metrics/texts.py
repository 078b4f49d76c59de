"""Lines of text that generated ones are measured against: how alike their short pieces are, and whether they are copies."""

from __future__ import annotations

import numpy as np

from minigan.data import Dataset
from minigan.data.kinds import Text
from minigan.metrics.ngrams import ngram_jsd

GRAMS = (1, 2, 3, 4)
OF_TEXT = (*(f"jsd_{n}" for n in GRAMS), "copied")


def edit_distances(line: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The least number of letters to put in, take out or exchange that makes each of the others (N, L) of a line (L,): (N,).

    Lines are padded by 0, as minigan.data.kinds.Text has them. Between the first i letters of the line and the first j of
    another, d_ij = min(d_(i−1)j + 1, d_i(j−1) + 1, d_(i−1)(j−1) + [their last letters differ]), from d_i0 = i and d_0j = j.
    Source: Levenshtein 1966 (Soviet Physics Doklady 10:707); Wagner and Fischer 1974 (Journal of the ACM 21:168).
    """
    length = line.size
    d = np.zeros((length + 1, length + 1, len(others)), np.int16)
    d[:, 0] = d[0] = np.arange(length + 1)[:, None]
    for i in range(1, length + 1):
        for j in range(1, length + 1):
            exchanged = d[i - 1, j - 1] + (others[:, j - 1] != line[i - 1])
            d[i, j] = np.minimum(np.minimum(d[i - 1, j], d[i, j - 1]) + 1, exchanged)
    return np.asarray(d[np.count_nonzero(line), np.count_nonzero(others, axis=1), np.arange(len(others))])


class TextReference:
    """Some lines uint8 (N, L) of a dataset's kind, best of those that were held out, to measure other such lines against.

    jsd_1 … jsd_4: the Jensen–Shannon divergence in bits of runs of so many places. The padding is included, so that where lines
    end counts too. copied: the share of lines that stand in what the dataset trains on; distinct: that of different lines.
    """

    has_features = True
    quick_names = OF_TEXT

    def __init__(self, dataset: Dataset, values: np.ndarray) -> None:
        assert isinstance(dataset.kind, Text)
        self.values, self.kind, self._trained = values, dataset.kind, dataset.values
        self._known = {line.tobytes() for line in dataset.values}

    def rows(self, values: np.ndarray) -> np.ndarray:
        return values

    def quick(self, values: np.ndarray, rows: np.ndarray) -> dict[str, float]:
        found = {f"jsd_{n}": ngram_jsd(self.values, values, n) for n in GRAMS if n <= values.shape[1]}
        return found | {"copied": sum(line.tobytes() in self._known for line in values) / len(values)}

    def all(self, values: np.ndarray, rows: np.ndarray) -> dict[str, float]:
        return self.quick(values, rows) | {"distinct": len({line.tobytes() for line in values}) / len(values)}

    def nearest(self, rows: np.ndarray, count: int) -> np.ndarray:
        """The lines of the training data that are nearest to each line by `edit_distances`: (N, count, L), nearest first."""
        return np.stack([self._trained[edit_distances(row, self._trained).argsort(kind="stable")[:count]] for row in rows])
