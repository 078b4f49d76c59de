"""What is measured of which kind of samples, and that real ones come out best."""

import numpy as np
import pytest

from minigan.data import Dataset, as_dataset, load
from minigan.metrics.reference import Reference

FEATURES = {"frechet", "kid", "precision", "recall", "density", "coverage"}
PATCHES = {"sliced_wasserstein", "sliced_wasserstein_28x28", "sliced_wasserstein_14x14"}
MODES = {"modes", "high_quality", "reverse_kl"}
RNG = np.random.default_rng(0)


def images(count, *shape):
    return RNG.integers(0, 256, (count, *shape), dtype=np.uint8)


@pytest.mark.parametrize(
    ("dataset", "extract", "quick", "also"),
    [
        (Dataset("ring", RNG.normal(size=(40, 2)).astype(np.float32)), None, MODES | FEATURES, {"authenticity"}),
        (Dataset("own", RNG.normal(size=(40, 2)).astype(np.float32)), None, FEATURES, {"authenticity"}),
        (as_dataset(images(40, 28, 28)), None, FEATURES, {"authenticity", *PATCHES}),
        (as_dataset(images(40, 14, 16, 3)), None, {"sliced_wasserstein", "sliced_wasserstein_14x16"}, {"authenticity"}),
        (as_dataset(images(40, 4, 4)), None, set(), {"authenticity"}),
        (as_dataset(images(40, 4, 4)), lambda x: x.mean(axis=2).reshape(len(x), -1), FEATURES, {"authenticity"}),
    ],
    ids=["ring", "points", "grey 28x28", "colour", "tiny", "own features"],
)
def test_what_is_measured(dataset, extract, quick, also):
    reference = Reference(dataset, dataset.values[:20], extract)
    values = dataset.values[20:]
    rows = reference.rows(values)
    assert len(rows) == 20
    assert reference.quick(values, rows).keys() == quick
    assert set(reference.quick_names) == {name for name in quick if "x" not in name}
    found = reference.all(values, rows)
    assert found.keys() == quick | also
    assert all(np.isfinite(value) for value in found.values())
    indices, _ = reference.nearest(reference.rows(dataset.values[:20]), 1)
    assert indices[:, 0].tolist() == list(range(20))
    assert reference.copies(np.concatenate([rows, reference.rows(dataset.values[3:4])]), 1).tolist() == [20]


def test_own_features_see_images_as_networks_do():
    seen = []

    def extract(x):
        seen.append(x)
        return x.reshape(len(x), -1)

    values = np.array([[[[0], [255]]]] * 9, np.uint8)
    Reference(as_dataset(values), values, extract)
    assert seen[0].dtype == np.float32
    np.testing.assert_array_equal(seen[0][0, 0, :, 0], [-1, 1])


def test_real_digits_beat_blurred_ones():
    digits = load("digits")
    values = digits.values[RNG.permutation(5000)]
    reference = Reference(digits, values[:200])
    other = values[200:400]
    near = [np.roll(other, step, axis).astype(int) for step in (-1, 1) for axis in (1, 2)]
    blurred = (sum(near) // 4).astype(np.uint8)
    real, worse = (reference.all(x, reference.rows(x)) for x in (other, blurred))
    for name in ("frechet", "kid", *PATCHES):
        assert worse[name] > 1.5 * real[name], name
