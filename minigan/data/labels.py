"""Labels: the class of each sample as a whole number from 0 up, and what the classes are called."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minigan.data.reading import shown
from minigan.errors import DataError, shorten

MOST_CLASSES = 10_000


def check_labels(labels: Any, count: int, class_names: Sequence[str], name: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """(labels, class_names) of a dataset of so many samples: labels an array (count,) of whole numbers, a name for each class.

    class_names: where empty, the classes are called by their numbers, up to the largest label. name: of the dataset.
    Raises DataError for labels that are no class numbers of these samples.
    """
    told, array = f"the labels of {shown(name)}", np.asarray(labels)
    if array.shape != (count,) or array.dtype.kind not in "iu":
        form = f"{array.dtype} {array.shape}" if array.dtype.kind in "biufc" and array.ndim else shorten(labels)
        raise DataError(f"{told} are {form}: expected {count} whole numbers, the class of each sample")
    names, low, high = tuple(map(str, class_names)), int(array.min(initial=0)), int(array.max(initial=0))
    if len(set(names)) < len(names):
        twice = next(name for index, name in enumerate(names) if name in names[:index])
        raise DataError(f"two classes of {shown(name)} are called {shown(twice, 40)}: give each a name of its own")
    most = len(names) or MOST_CLASSES
    if low < 0 or high >= most or len(names) > MOST_CLASSES:
        wrong = low if low < 0 else high if high >= most else len(names)
        at = "" if len(names) > MOST_CLASSES else f", of sample {int(np.flatnonzero(array == wrong)[0])}"
        raise DataError(f"{told} hold {wrong}{at}: expected class numbers from 0 to {min(most, MOST_CLASSES) - 1}")
    return array, names or tuple(str(number) for number in range(high + 1))


def whole_labels(values: np.ndarray, name: str, count: int) -> np.ndarray:
    """The labels in an array of a file, (count,) or (count, 1), whole numbers in whatever type they were saved.

    Raises DataError for what are no whole numbers or not so many.
    """
    told = f"the labels of {shown(name)}"
    if values.shape not in ((count,), (count, 1)):
        rows = values.ndim == 2 and len(values) == count and values.shape[1] > 1
        remedy = "; of one-hot rows save argmax(axis=1)" if rows else ""
        raise DataError(f"{told} have shape {shorten(values.shape)}: expected ({count},), one for each sample{remedy}")
    flat = values.reshape(count)
    if flat.dtype.kind in "iu":
        return flat
    broken = np.flatnonzero(~(np.abs(flat) < 2**53) | (flat != np.rint(flat))) if flat.dtype.kind == "f" else np.arange(1)
    if broken.size:
        raise DataError(
            f"{told} hold {shorten(flat[broken[0]].item())}, of sample {broken[0]}: expected whole numbers, the class of each"
        )
    return flat.astype(np.int64)
