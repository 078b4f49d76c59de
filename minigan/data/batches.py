"""Batches of a dataset on the backend's device."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigan.backends import Array, Backend, get_backend, stream
from minigan.data.arrays import as_dataset
from minigan.data.dataset import Dataset
from minigan.data.kinds import one_hot
from minigan.data.reading import shown
from minigan.distributed import ALONE, Communicator
from minigan.errors import DataError
from minigan.sizes import float_type, plain, positive_int


def chosen(xp: Any, x: Array, y: Array, is_second: Array) -> Array:
    """x where is_second is 0, y where it is 1; exact for whole numbers: x + b (y − x)"""
    return x + is_second * (y - x)


class Batches:
    """Endless shuffled batches of a dataset, on the backend's device, in `dtype`.

    data: a Dataset, or an array that `as_dataset` takes; `dataset.notes` tells what was converted. Images lie on the device as
    single bytes, sounds as 16 bits, and become floats in [−1, 1] as a batch is taken; points stay as they are (see kinds). Of
    values that are mapped from a file, no more than a batch comes into memory and to the device: `advance` brings it.
    Every epoch has an order of its own that depends on the seed and the epoch alone; the samples that do not fill a last
    batch are left out of that epoch. So `state` (epoch and batch within it) is all that a resumed run needs. An epoch of a
    mirrored dataset deals each image twice, once reflected.
    classes: whether the labels are handed out too: `labels()` are those of the batch that `next` or `take` has returned, for a
    game's step(batches.next(), **batches.labels()).
    `next` is `advance`, the host's part of it, and `take`, the device's; a captured step calls them apart.
    ranks: the processes that share each batch, as minigan.distributed.world(): each deals out its own rows of what one process
    would, as many as the others. `batch_size` then is that share of the batch. parts: how many batches a step of the game finds
    in one, one after the other; each is shared.
    Raises DataError for an array that is no dataset, and for a batch that is larger than the data; OptionError for a batch_size
    or seed that is no whole number; RankError for a batch without an equal share for each rank.
    """

    def __init__(
        self,
        data: Dataset | Any,
        batch_size: int,
        backend: str | Backend,
        dtype: Any = "float32",
        seed: int = 0,
        classes: bool = False,
        ranks: Communicator = ALONE,
        parts: int = 1,
    ) -> None:
        dataset = as_dataset(data)
        batch_size, seed = positive_int(batch_size, "batch_size"), plain(seed)
        if batch_size > len(dataset):
            raise DataError(
                f"the batch size is {batch_size}: {shown(dataset.name)} has {len(dataset)} samples; choose 1 to {len(dataset)}"
            )
        backend = get_backend(backend)
        self.dataset, self.backend, self.seed, self.ranks = dataset, backend, seed, ranks
        self.dtype = float_type(dtype)
        self.per_epoch = dataset.epoch_size // batch_size
        self._parts = parts
        share = ranks.share_of(batch_size // parts)  # of each part
        self.batch_size = share * parts
        # The places in an epoch that are this rank's: its rows of each part of each batch.
        places = np.arange(self.per_epoch * parts * ranks.size * share).reshape(self.per_epoch, parts, ranks.size, share)
        self._places_dealt = places[:, :, ranks.rank].reshape(-1)
        self.epoch, self.batch = 0, 0
        if classes and dataset.labels is None:
            raise DataError(f"{shown(dataset.name)} has no labels: give a Dataset that has, or leave classes out")
        self.classes = len(dataset.class_names) if classes else 0  # of which labels are handed out
        self._labels = backend.asarray(dataset.labels, self.dtype).reshape(-1, 1) if classes else None
        self._class_numbers = backend.asarray(np.arange(self.classes), self.dtype)
        self._is_streamed = isinstance(dataset.values, np.memmap)
        self._to_floats = dataset.kind.to_floats(backend, self.dtype)
        count = len(self._places_dealt)
        self._order, self._start = backend.zeros((count,), np.int64), backend.scalar()
        if self._is_streamed:
            self._resident = backend.zeros((self.batch_size, *dataset.values.shape[1:]), dataset.values.dtype)
            self._own_order, self._own_start = backend.asarray(np.arange(self.batch_size)), backend.scalar()
            self._own_start.set(0)
        else:
            self._resident = backend.asarray(dataset.values)
            self._own_order, self._own_start = self._order, self._start
        self._places = backend.asarray(np.arange(count)) if dataset.mirrored else None
        self._reflected = backend.zeros((count, 1, 1, 1), np.uint8) if dataset.mirrored else None
        self._shuffle(0)

    def _shuffle(self, epoch: int) -> None:
        """Lay out an epoch: in which order it deals the samples, and which of them are reflected. All ranks draw one order."""
        order = np.random.default_rng(stream("data order", self.seed, epoch)).permutation(self.dataset.epoch_size)
        order = order[self._places_dealt]
        self._dealt = order % len(self.dataset)
        self._order[...] = self.backend.asarray(self._dealt, np.int64)
        if self._reflected is not None:
            reflected = (order >= len(self.dataset)).astype(np.uint8)
            self._reflected[...] = self.backend.asarray(reflected.reshape(-1, 1, 1, 1))

    def advance(self) -> None:
        """Go on to the next batch: the place in the data, at an epoch's end the order of the next one, and what is streamed."""
        epoch, batch = (self.epoch + 1, 0) if self.batch == self.per_epoch else (self.epoch, self.batch)
        self._start.set(batch * self.batch_size)  # first: where it may not be set, nothing has moved yet
        if epoch != self.epoch:
            self._shuffle(epoch)
        self.epoch, self.batch = epoch, batch + 1
        if self._is_streamed:
            rows = self.dataset.values[self._dealt[batch * self.batch_size : self.batch * self.batch_size]]
            self._resident[...] = self.backend.asarray(rows)

    def take(self) -> Array:
        """The batch (batch_size, *shape) that `advance` went on to."""
        be, count = self.backend, self.batch_size
        values = be.take_rows(self._resident, self._own_order, self._own_start, count, self.dtype)
        if self._reflected is not None:
            reflected = be.take_rows(self._reflected, self._places, self._start, count, self.dtype)
            values = be.elementwise(chosen, values, values[:, :, ::-1].copy(), reflected)
        return self._to_floats(values)

    def labels(self) -> dict[str, Array]:
        """The labels of the batch that `advance` went on to, as one-hot rows (batch_size, K): {"labels": rows}, else {}."""
        if self._labels is None:
            return {}
        numbers = self.backend.take_rows(self._labels, self._order, self._start, self.batch_size, self.dtype)
        return {"labels": self.backend.elementwise(one_hot, numbers, self._class_numbers)}

    def next(self) -> Array:
        """The next batch (batch_size, *shape)."""
        self.advance()
        return self.take()

    def shared_by(self, ranks: Communicator) -> Batches:
        """This rank's shares of the batches that are whole here, at the same place in the data."""
        shares = Batches(
            self.dataset, self.batch_size, self.backend, self.dtype, self.seed, self.classes > 0, ranks, self._parts
        )
        shares.state = self.state
        return shares

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
