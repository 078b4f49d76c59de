"""What a dataset is."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from minigan.data.kinds import Kind, kind_of_values
from minigan.data.labels import check_labels
from minigan.errors import DataError, shorten

BLOCK = 2**22  # bytes of values that are looked at together, where all of them may not fit in memory


def blocks_of(count: int, size: int) -> Iterator[tuple[int, int]]:
    """(the first, how many) of so many values of `size` bytes each, in blocks of about BLOCK bytes."""
    step = max(1, BLOCK // max(1, size))
    for first in range(0, count, step):
        yield first, min(step, count - first)


@dataclass(frozen=True)
class Dataset:
    """name; values: images uint8 (N, H, W, C), 0 = −1 and 255 = 1, or points float32 (N, 2), or what another `kind` holds.

    kind: what the values are (minigan.data.kinds); None: images or points, as their form tells.
    labels: the class of each value (N,), whole numbers from 0 up, where they are known, else None; class_names: what the
    classes are called, by default by their numbers.
    notes: one line for each thing that reading the data has decided or changed; a run prints them.
    held_out: more such values, on which no run is trained, to compare samples with; None where the data leave none.
    mirrored: whether batches hold the images' reflections, left to right, too: an epoch then has twice as many samples.
    """

    name: str
    values: np.ndarray
    labels: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    kind: Kind = None  # type: ignore[assignment]  # __post_init__ fills it in
    held_out: np.ndarray | None = None
    class_names: tuple[str, ...] = ()
    mirrored: bool = False

    def __post_init__(self) -> None:
        """Raises DataError for values that are neither (`as_dataset` makes them of other arrays) and labels that do not fit."""
        values, labels = self.values, self.labels
        if not isinstance(self.name, str):
            raise DataError(f"the name of a Dataset is {shorten(self.name)}: expected text, which messages call it by")
        form = f"{values.dtype} {values.shape}" if isinstance(values, np.ndarray) else f"a {type(values).__name__}"
        kind = (self.kind or kind_of_values(values)) if isinstance(values, np.ndarray) else None
        if kind is None or not kind.fits(values) or 0 in values.shape[1:]:
            raise DataError(
                f"the values of {shorten(self.name)} are {form}: expected uint8 (N, H, W, C) or float32 "
                "(N, K); as_dataset makes them"
            )
        object.__setattr__(self, "kind", kind)
        if labels is not None:
            labels, names = check_labels(labels, len(values), self.class_names, self.name)
            object.__setattr__(self, "labels", labels)
            object.__setattr__(self, "class_names", names)
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise DataError(f"the values of {shorten(self.name)} hold NaN or infinite numbers: remove those samples")
        if self.mirrored and not self.is_images:
            raise DataError(f"mirror is for images, and {shorten(self.name)} holds {kind.name}: leave it out")

    def __len__(self) -> int:
        return len(self.values)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one sample as networks see it."""
        return self.kind.shape(self.values)

    @property
    def epoch_size(self) -> int:
        """The samples that an epoch deals."""
        return len(self) * (2 if self.mirrored else 1)

    @cached_property
    def digest(self) -> str:
        """A hash of all values, and of what they mean: a resumed run must go on with the data that it began with."""
        digest = getattr(self.values, "digest", "") or hash_of(self.values)  # known of images that lie in a file
        if own := vars(self.kind):
            digest = hashlib.blake2b(f"{digest} {sorted(own.items())}".encode(), digest_size=16).hexdigest()
        return f"{digest} mirrored" if self.mirrored else digest

    def digest_of(self, with_labels: bool) -> str:
        """The digest, of a run that learns classes with the labels and the names of the classes in it."""
        if not with_labels or self.labels is None:
            return self.digest
        parts = (self.digest.encode(), self.labels.astype("<i8").tobytes(), "\0".join(self.class_names).encode())
        return hashlib.blake2b(b"\0".join(parts), digest_size=16).hexdigest()

    @property
    def is_images(self) -> bool:
        return self.kind.name == "images"


def hash_of(values: np.ndarray) -> str:
    """A hash of the bytes of all values, of which a block at a time is looked at."""
    found = hashlib.blake2b(digest_size=16)
    for first, count in blocks_of(len(values), values[:1].nbytes):
        found.update(np.ascontiguousarray(values[first : first + count]).data)
    return found.hexdigest()
