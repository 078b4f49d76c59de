"""Memory that is used again: page faults are paid once."""

from __future__ import annotations

import math
import threading
import weakref
from collections.abc import Hashable
from typing import Any

import numpy as np

from minigan.backends.base import Array

_POOLED = 1 << 20  # bytes from which a buffer is worth keeping: malloc maps large ones anew, and knows best about small ones
_FILLED_KEPT = 32  # blocks of one number that a thread keeps


class _Loan(weakref.ref):
    """A block that is lent out: a reference to the array behind which it lies."""

    __slots__ = ("block",)
    block: memoryview


class Buffers:
    """Keeps the memory of dropped arrays of `least` bytes or more for the next array of that size.

    `array` hands out a view of a block; when the last view of it is gone, the block goes back. No counting by hand.
    """

    def __init__(self, least: int) -> None:
        self._least = least
        self._free: dict[int, list[_Loan]] = {}  # loans that have come back
        self._loans: dict[int, _Loan] = {}  # all, by id: a reference must live as long as its array

    def array(self, shape: tuple[int, ...], dtype: Any) -> Array:
        dtype = np.dtype(dtype)
        size = math.prod(shape) * dtype.itemsize
        if size < self._least:
            return np.empty(shape, dtype)
        free = self._free.setdefault(size, [])
        # NumPy asks the system for large pages, which save many page-table look-ups. Behind a memoryview, `flat` is the base
        # that all views keep alive; NumPy would pass over it to an array that owns the memory.
        if free:
            returned = free.pop()
            block = returned.block
            del self._loans[id(returned)]
        else:
            block = memoryview(np.empty(size, np.uint8))  # type: ignore[arg-type]
        flat = np.frombuffer(block, dtype)
        # The array's end calls list.append, which is no Python code: in that, a Ctrl-C would be raised and lost.
        loan = _Loan(flat, free.append)
        loan.block = block
        self._loans[id(loan)] = loan
        return flat.reshape(shape)


class BufferPool(threading.local, Buffers):
    """Buffers of which every thread has its own, so that what one core has in its cache is not given to another."""

    def __init__(self) -> None:
        Buffers.__init__(self, _POOLED)


class Scratch(threading.local):
    """Blocks that every thread keeps for itself, for values that live no longer than one block of a computation."""

    def __init__(self) -> None:
        self._blocks: dict[Hashable, Array] = {}
        self._filled: dict[Hashable, Array] = {}

    def block(self, key: Hashable, shape: tuple[int, ...], dtype: Any) -> Array:
        """This thread's block of that name, as an array of that shape: the next call with the same name gives it away again."""
        size = math.prod(shape)
        memory = self._blocks.get((key, dtype))
        if memory is None or memory.size < size:
            memory = self._blocks[key, dtype] = np.empty(size, dtype)
        return memory[:size].reshape(shape)

    def filled(self, value: Array, shape: tuple[int, ...]) -> Array:
        """A block full of one number, not to be written to."""
        size, key = math.prod(shape), (float(value), value.dtype)
        memory = self._filled.get(key)
        if memory is None or memory.size < size:
            while len(self._filled) >= _FILLED_KEPT:
                self._filled.pop(next(iter(self._filled)))
            memory = self._filled[key] = np.full(size, value)
        return memory[:size].reshape(shape)
