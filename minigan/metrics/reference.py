"""Real samples that generated ones are measured against, by all that their kind allows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minigan.backends import Backend
from minigan.data import Dataset
from minigan.data.synthetic import MODES
from minigan.metrics.digits import SHAPE, digit_features
from minigan.metrics.frechet import frechet
from minigan.metrics.kid import kid
from minigan.metrics.log_spectra import log_spectra
from minigan.metrics.modes import modes
from minigan.metrics.neighbours import authenticity, nearest, relative_distances
from minigan.metrics.prdc import prdc
from minigan.metrics.sliced_wasserstein import PATCH, sliced_wasserstein
from minigan.metrics.texts import TextReference

Extract = Callable[[np.ndarray], np.ndarray]
OF_MODES = ("modes", "high_quality", "reverse_kl")
OF_FEATURES = ("frechet", "kid", "precision", "recall", "density", "coverage")
MOST_PATCHED = 1000  # images that patches are taken of, for each takes ten milliseconds


def reference_of(dataset: Dataset, values: np.ndarray, extract: Extract | None = None) -> Reference | TextReference:
    """Some of a dataset's values, to measure other such values against: lines of text by their letters, others by features."""
    return TextReference(dataset, values) if dataset.kind.name == "text" else Reference(dataset, values, extract)


class Reference:
    """Some of a dataset's values, as images uint8 (N, H, W, C) or points (N, 2), to measure other such values against.

    extract: what makes features (N, K) of samples as networks see them, images as floats in [−1, 1]. By default those of points
    are their coordinates, those of sound `log_spectra`, and those of 28×28 grey images `digit_features`; other images have
    none, and are compared by patches.
    """

    def __init__(self, dataset: Dataset, values: np.ndarray, extract: Extract | None = None) -> None:
        self.values, self.kind, self._mixture = values, dataset.kind, MODES.get(dataset.name)
        self.is_images, self._to_floats = dataset.is_images, dataset.kind.to_floats(Backend(), np.float32)
        by_kind = log_spectra if dataset.kind.name == "sound" else digit_features if dataset.shape == SHAPE else None
        self._extract = extract or by_kind
        self.has_features = bool(self._extract) or not dataset.is_images
        self._real = self.rows(values)

    def rows(self, values: np.ndarray) -> np.ndarray:
        """Features (N, K) of values; pixels, to look for neighbours alone, where there are none."""
        x = self._to_floats(values.astype(np.float32))  # a copy, for extract may write to it
        return self._extract(x) if self._extract else x.reshape(len(x), -1)

    @property
    def quick_names(self) -> tuple[str, ...]:
        """The names of what `quick` measures, but for single levels of patches."""
        has_patches = not self.has_features and min(self.values.shape[1:3]) >= PATCH
        of_patches = ("sliced_wasserstein",) if has_patches else ()
        return (*(OF_MODES if self._mixture else ()), *(OF_FEATURES if self.has_features else of_patches))

    def quick(self, values: np.ndarray, rows: np.ndarray) -> dict[str, float]:
        """Measures by name: of the mixture where the data are one, and of features, or of patches where there are none."""
        found: dict[str, float] = modes(values, *self._mixture) if self._mixture else {}
        if not self.has_features:
            return self._by_patches(values)
        return found | {"frechet": frechet(self._real, rows), "kid": kid(self._real, rows), **prdc(self._real, rows)}

    def all(self, values: np.ndarray, rows: np.ndarray) -> dict[str, float]:
        """The same, whether the samples are copies, and the patches of images."""
        found = self.quick(values, rows) | {"authenticity": authenticity(self._real, rows)}
        return found | (self._by_patches(values) if self.is_images and self.has_features else {})

    def copies(self, rows: np.ndarray, count: int) -> np.ndarray:
        """The indices of the samples that are most like copies."""
        return relative_distances(self._real, rows).argsort(kind="stable")[:count]

    def nearest(self, rows: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """(indices, distances) of each sample's nearest real ones."""
        return nearest(self._real, rows, count)

    def _by_patches(self, values: np.ndarray) -> dict[str, float]:
        """By level of the pyramid, and the mean; nothing of images that are smaller than a patch."""
        if min(values.shape[1:3]) < PATCH:
            return {}
        found = sliced_wasserstein(self.values[:MOST_PATCHED], values[:MOST_PATCHED])
        mean = found.pop("mean")
        return {"sliced_wasserstein": mean, **{f"sliced_wasserstein_{size}": value for size, value in found.items()}}
