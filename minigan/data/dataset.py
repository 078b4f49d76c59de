"""What a dataset is."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from minigan.errors import DataError, shorten


@dataclass(frozen=True)
class Dataset:
    """name; values: images uint8 (N, H, W, C), 0 = −1 and 255 = 1, or points float32 (N, 2).

    labels: the class of each value (N,), whole numbers from 0 up, where they are known: of "digits"; else None.
    notes: one line for each thing that reading the data has decided or changed; a run prints them.
    """

    name: str
    values: np.ndarray
    labels: np.ndarray | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raises DataError for values that are neither; `as_dataset` makes them of other arrays."""
        values, labels = self.values, self.labels
        if not isinstance(self.name, str):
            raise DataError(f"the name of a Dataset is {shorten(self.name)}: expected text, which messages call it by")
        form = f"{values.dtype} {values.shape}" if isinstance(values, np.ndarray) else f"a {type(values).__name__}"
        is_images = isinstance(values, np.ndarray) and values.ndim == 4 and values.dtype == np.uint8
        is_points = isinstance(values, np.ndarray) and values.ndim == 2 and values.dtype == np.float32
        if not (is_images or is_points) or 0 in values.shape[1:]:
            raise DataError(
                f"the values of {shorten(self.name)} are {form}: expected uint8 (N, H, W, C) or float32 "
                "(N, K); as_dataset makes them"
            )
        if labels is not None and (np.shape(labels) != (len(values),) or np.asarray(labels).dtype.kind not in "iu"):
            raise DataError(f"the labels of {shorten(self.name)} are {shorten(labels)}: expected {len(values)} whole numbers")
        if is_points and not np.isfinite(values).all():
            raise DataError(f"the values of {shorten(self.name)} hold NaN or infinite numbers: remove those samples")

    def __len__(self) -> int:
        return len(self.values)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one sample."""
        return self.values.shape[1:]

    @cached_property
    def digest(self) -> str:
        """A hash of all values: a resumed run must go on with the data that it began with."""
        return hashlib.blake2b(np.ascontiguousarray(self.values).data, digest_size=16).hexdigest()

    @property
    def is_images(self) -> bool:
        return self.values.ndim == 4
