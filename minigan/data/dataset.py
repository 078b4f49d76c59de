"""What a dataset is."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np


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
