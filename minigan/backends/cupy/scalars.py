"""Scalars that lie on the device, so that a replayed step finds there what was set last."""

from __future__ import annotations

from typing import Any
from weakref import WeakSet, ref

import numpy as np

from minigan.backends.base import Array, Backend
from minigan.backends.cupy.kernels import Launch, step_source
from minigan.backends.scalars import DeviceScalar, note_set


class Board:
    """Scalars side by side in the device's memory, so that those set between two steps go over in one launch."""

    SIZE = 16

    def __init__(self, backend: Backend, launch: Launch, dtype: np.dtype) -> None:
        self.backend, self.dtype, self._launch, self._dirty, self.taken = backend, dtype, launch, False, 0
        self._host = np.zeros((), [("values", np.float64, self.SIZE)])  # a struct, which a launch takes by value
        self._device = backend.zeros((self.SIZE,), dtype)
        self._places = [self._device[index] for index in range(self.SIZE)]

    def place(self, index: int) -> Array:
        """The scalar's place on the device, without axes, up to date."""
        self.flush()
        return self._places[index]

    def set(self, index: int, value: float) -> None:
        self._host["values"][index] = value
        self._dirty = True

    def host(self, index: int) -> float:
        """What was set last."""
        return float(self._host["values"][index])

    def flush(self) -> None:
        """Bring the device up to date, if anything was set."""
        if self._dirty:
            source = step_source(np.dtype(self._device.dtype), self.SIZE)
            self._launch(source, "set_scalars", self.SIZE, self._device, self._host)
            self._dirty = False


class PlacedScalar(DeviceScalar):
    """A scalar with a place on a board."""

    def __init__(self, board: Board, index: int) -> None:
        super().__init__()
        self._board, self._index = board, index

    @property
    def value(self) -> Array:
        return self._board.place(self._index)

    def set(self, value: float) -> None:
        note_set(self)
        self._board.set(self._index, value)

    def __reduce__(self) -> Any:
        """A copy has a place of its own."""
        return _with_value, (self._board.backend, np.dtype(self._board.dtype).name, self._board.host(self._index))


def _with_value(backend: Backend, dtype: str, value: float) -> DeviceScalar:
    scalar = backend.scalar(np.dtype(dtype))
    scalar.set(value)
    return scalar


class Boards:
    """All boards of a backend that still have scalars in use."""

    def __init__(self, backend: Backend, launch: Launch) -> None:
        self._backend, self._launch = backend, launch
        self._boards: WeakSet[Board] = WeakSet()
        self._newest: dict[np.dtype, ref[Board]] = {}

    def scalar(self, dtype: np.dtype) -> PlacedScalar:
        """A new scalar of this dtype."""
        newest = self._newest.get(dtype)
        board = newest() if newest else None
        if board is None or board.taken == Board.SIZE:
            board = Board(self._backend, self._launch, dtype)
            self._boards.add(board)
            self._newest[dtype] = ref(board)
        board.taken += 1
        return PlacedScalar(board, board.taken - 1)

    def flush(self) -> None:
        """Put all scalars that were set on the device."""
        for board in self._boards:
            board.flush()
