"""Batches of a dataset on the backend's device."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigan.backends import Array, Backend, get_backend, stream
from minigan.data.arrays import as_dataset
from minigan.data.dataset import Dataset
from minigan.data.reading import shown
from minigan.errors import DataError
from minigan.sizes import float_type, plain, positive_int


class Batches:
    """Endless shuffled batches of a dataset, on the backend's device, in `dtype`.

    data: a Dataset, or an array that `as_dataset` takes; `dataset.notes` tells what was converted. Images lie on the device as
    single bytes, sounds as 16 bits, and become floats in [−1, 1] as a batch is taken; points stay as they are (see kinds).
    Every epoch has an order of its own that depends on the seed and the epoch alone; the samples that do not fill a last
    batch are left out of that epoch. So `state` (epoch and batch within it) is all that a resumed run needs.
    `next` is `advance`, the host's part of it, and `take`, the device's; a captured step calls them apart.
    Raises DataError for an array that is no dataset, and for a batch that is larger than the data; OptionError for a batch_size
    or seed that is no whole number.
    """

    def __init__(
        self, data: Dataset | Any, batch_size: int, backend: str | Backend, dtype: Any = "float32", seed: int = 0
    ) -> None:
        dataset = as_dataset(data)
        batch_size, seed = positive_int(batch_size, "batch_size"), plain(seed)
        if batch_size > len(dataset):
            raise DataError(
                f"the batch size is {batch_size}: {shown(dataset.name)} has {len(dataset)} samples; choose 1 to {len(dataset)}"
            )
        backend = get_backend(backend)
        self.dataset, self.batch_size, self.backend, self.seed = dataset, batch_size, backend, seed
        self.dtype = float_type(dtype)
        self.per_epoch = len(dataset) // batch_size
        self.epoch, self.batch = 0, 0
        self._resident = backend.asarray(dataset.values)
        self._to_floats = dataset.kind.to_floats(backend, self.dtype)
        self._order, self._start = backend.zeros((len(dataset),), np.int64), backend.scalar()
        self._shuffle(0)

    def _shuffle(self, epoch: int) -> None:
        order = np.random.default_rng(stream("data order", self.seed, epoch)).permutation(len(self.dataset))
        self._order[...] = self.backend.asarray(order, np.int64)

    def advance(self) -> None:
        """Go on to the next batch: the place in the data, and at the end of an epoch the order of the next one."""
        epoch, batch = (self.epoch + 1, 0) if self.batch == self.per_epoch else (self.epoch, self.batch)
        self._start.set(batch * self.batch_size)  # first: where it may not be set, nothing has moved yet
        if epoch != self.epoch:
            self._shuffle(epoch)
        self.epoch, self.batch = epoch, batch + 1

    def take(self) -> Array:
        """The batch (batch_size, *shape) that `advance` went on to."""
        return self._to_floats(self.backend.take_rows(self._resident, self._order, self._start, self.batch_size, self.dtype))

    def next(self) -> Array:
        """The next batch (batch_size, *shape)."""
        self.advance()
        return self.take()

    @property
    def state(self) -> dict[str, int]:
        return {"epoch": self.epoch, "batch": self.batch}

    @state.setter
    def state(self, state: dict[str, int]) -> None:
        epoch, batch = positive_int(state["epoch"], "epoch", 0), positive_int(state["batch"], "batch", 0)
        if batch > self.per_epoch:
            raise DataError(f"batch is {batch}: {shown(self.dataset.name)} has {self.per_epoch} batches an epoch")
        self.epoch, self.batch = epoch, batch
        self._shuffle(self.epoch)
