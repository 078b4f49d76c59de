"""What a dataset is."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from minigan.data.kinds import Kind, kind_of_values
from minigan.errors import DataError, shorten


@dataclass(frozen=True)
class Dataset:
    """name; values: images uint8 (N, H, W, C), 0 = −1 and 255 = 1, or points float32 (N, 2), or what another `kind` holds.

    kind: what the values are (minigan.data.kinds); None: images or points, as their form tells.
    labels: the class of each value (N,), whole numbers from 0 up, where they are known: of "digits"; else None.
    notes: one line for each thing that reading the data has decided or changed; a run prints them.
    held_out: more such values, on which no run is trained, to compare samples with; None where the data leave none.
    """

    name: str
    values: np.ndarray
    labels: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    kind: Kind = None  # type: ignore[assignment]  # __post_init__ fills it in
    held_out: np.ndarray | None = None

    def __post_init__(self) -> None:
        """Raises DataError for values that are neither; `as_dataset` makes them of other arrays."""
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
        if labels is not None and (np.shape(labels) != (len(values),) or np.asarray(labels).dtype.kind not in "iu"):
            raise DataError(f"the labels of {shorten(self.name)} are {shorten(labels)}: expected {len(values)} whole numbers")
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise DataError(f"the values of {shorten(self.name)} hold NaN or infinite numbers: remove those samples")

    def __len__(self) -> int:
        return len(self.values)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one sample as networks see it."""
        return self.kind.shape(self.values)

    @cached_property
    def digest(self) -> str:
        """A hash of all values, and of what they mean: a resumed run must go on with the data that it began with."""
        found = hashlib.blake2b(np.ascontiguousarray(self.values).data, digest_size=16)
        if own := vars(self.kind):
            found.update(repr(sorted(own.items())).encode())
        return found.hexdigest()

    @property
    def is_images(self) -> bool:
        return self.kind.name == "images"
