"""What the measures refuse, each in one line that names the argument."""

import numpy as np
import pytest

import minigan as mg
from minigan.metrics.points import BLOCK, blocks

GOOD = np.random.default_rng(0).normal(size=(8, 3))
PAIRED = ["frechet", "kid", "prdc", "nearest", "authenticity"]


@pytest.mark.parametrize("name", PAIRED)
@pytest.mark.parametrize(
    ("real", "own", "words"),
    [
        (GOOD[0], GOOD, r"real_features has shape \(3,\)"),
        (GOOD, GOOD[:0], "features has shape .* at least one point"),
        (GOOD, GOOD[:, :2], r"real_features are \(8, 3\), features \(8, 2\): expected as many coordinates"),
        (GOOD, np.full((8, 3), np.inf), "features holds numbers that are not finite"),
        ("abc", GOOD, "real_features is a str"),
        (GOOD, 1j * GOOD, "features is an array of complex128: expected an array .* of real numbers"),
        (GOOD, 1e200 * GOOD, "features holds .*: expected numbers of up to 1e"),
        (GOOD, [[1, 2], [3]], "features is a list"),
    ],
)
def test_what_is_refused(name, real, own, words):
    with pytest.raises(mg.MiniganError, match=words) as error:
        getattr(mg.metrics, name)(real, own)
    assert len(str(error.value)) <= 300


@pytest.mark.parametrize(
    ("name", "real", "own"),
    [
        ("frechet", GOOD[:1], GOOD),
        ("kid", GOOD, GOOD[:1]),
        ("prdc", GOOD[:5], GOOD),
        ("authenticity", GOOD[:1], GOOD),
    ],
)
def test_too_few_samples(name, real, own):
    with pytest.raises(mg.MiniganError, match=r"at least .*give more"):
        getattr(mg.metrics, name)(real, own)


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (10, BLOCK), (10, 3 * BLOCK), (7, BLOCK // 3), (0, 5)])
def test_blocks_cover_all_rows_once(rows, columns):
    found = [row for part in blocks(rows, columns) for row in range(rows)[part]]
    assert found == list(range(rows))
    assert all((part.stop - part.start) * columns <= max(BLOCK, columns) for part in blocks(rows, columns))
