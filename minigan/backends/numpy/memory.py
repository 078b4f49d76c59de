"""Memory that is used again: page faults are paid once."""

from __future__ import annotations

import contextlib
import math
import mmap
import threading
import weakref
from collections.abc import Hashable
from typing import Any

import numpy as np

from minigan.backends.base import Array

_POOLED = 1 << 17  # bytes from which a buffer is worth keeping: malloc maps larger ones anew, and knows best about smaller ones
_WASTE = 2  # how many times as large as an array its block may be
_SLACK = 1.0  # how many times what is in use at one time a pool may hold
_REMEMBERED = 128  # sizes let go that the pool looks out for
_RECENT = 16  # how often all memory of the pool is handed out in what is recent: some steps
_LARGE_PAGES = 1 << 22  # bytes from which large pages pay
_IDLE = 128  # how often all memory of the pool is handed out before a block that was not needed goes: several steps
_FILLED_KEPT = 32  # blocks of one number that a thread keeps
_ZEROS_KEPT = 1 << 24  # bytes of zeros that a thread keeps


class _Loan(weakref.ref):
    """A block that is lent out: a reference to the array behind which it lies."""

    __slots__ = ("block", "since")
    block: memoryview
    since: int  # bytes that had been handed out when it was lent


class Buffers:
    """Keeps the memory of dropped arrays of `least` bytes or more for the next array of that size.

    `array` hands out a view of a block; when the last view of it is gone, the block goes back. No counting by hand.
    """

    _handed_out = 0

    def __init__(self, least: int) -> None:
        self._least = least
        self._free: dict[int, list[_Loan]] = {}  # loans that have come back, by the block's size
        self._loans: dict[int, _Loan] = {}  # all, by id: a reference must live as long as its array

    @property
    def held(self) -> int:
        """Bytes of all blocks, lent and free."""
        return sum(loan.block.nbytes for loan in list(self._loans.values()))

    def array(self, shape: tuple[int, ...], dtype: Any) -> Array:
        dtype = np.dtype(dtype)
        count = math.prod(shape)
        size = count * dtype.itemsize
        if size < self._least:
            return np.empty(shape, dtype)
        block = self._block(size)
        flat = np.frombuffer(block, dtype, count)
        # The array's end calls list.append, which is no Python code: in that, a Ctrl-C would be raised and lost.
        loan = _Loan(flat, self._free.setdefault(block.nbytes, []).append)
        loan.block, loan.since = block, self._handed_out
        self._loans[id(loan)] = loan
        return flat.reshape(shape)

    def _block(self, size: int) -> memoryview:
        # Behind a memoryview, `flat` is the base that all views keep alive; NumPy would pass over it to what owns the memory.
        return self._take(size) or memoryview(np.empty(size, np.uint8))  # type: ignore[arg-type]

    def _take(self, size: int) -> memoryview | None:
        """The free block of that size that came back last."""
        free = self._free.get(size)
        if not free:
            return None
        loan = free.pop()
        del self._loans[id(loan)]
        return loan.block


class BufferPool(threading.local, Buffers):
    """Buffers of which every thread has its own, so that what one core has in its cache is not given to another.

    Where sizes change, memory stays near what the arrays that live at one time need: a block serves arrays of half its size
    and more, and a new block is made only after others, those lent longest ago first, have gone to make room for it. A size
    that comes back twice soon after its block went, as in a step that needs several sizes by turns, gets a block beside the
    others. So a step that repeats itself soon allocates nothing.
    """

    def __init__(self) -> None:
        Buffers.__init__(self, _POOLED)
        self._dropped: dict[int, int] = {}  # sizes of blocks that went, and how much had been handed out by then
        self._came_back: set[int] = set()  # sizes that were wanted soon after
        self._need = self._need_before = self._need_since = 0  # bytes in use at one time, at most, of late and before that
        self._swept = self._sweep_at = 0

    def _block(self, size: int) -> memoryview:
        self._handed_out += size
        if self._handed_out >= self._sweep_at:
            self._sweep()
        block = self._take(size)
        if block is None:
            fitting = [other for other, free in self._free.items() if size < other <= _WASTE * size and free]
            block = self._take(min(fitting)) if fitting else None
        if block is None:
            self._make_room(size)
            block = _pages(size)
        return block

    def clear(self) -> None:
        """Let go of all free blocks."""
        for loan in self._idle():
            self._drop(loan)

    def _make_room(self, size: int) -> None:
        """Let go of free blocks until all of them, with one more of this size, are a little more than is in use at one time."""
        idle, held = self._idle(), self.held
        if self._handed_out - self._need_since > _RECENT * held:
            self._need_before, self._need, self._need_since = self._need, 0, self._handed_out
        self._need = max(self._need, held - sum(loan.block.nbytes for loan in idle) + size)
        if self._handed_out - self._dropped.get(size, -math.inf) <= _RECENT * held:
            if size in self._came_back:
                return
            self._came_back.add(size)
        bound = _SLACK * max(self._need, self._need_before)
        for loan in idle:
            if held + size <= bound:
                break
            held -= loan.block.nbytes
            self._note_drop(loan.block.nbytes)
            self._drop(loan)

    def _note_drop(self, size: int) -> None:
        self._dropped.pop(size, None)
        self._dropped[size] = self._handed_out
        if len(self._dropped) > _REMEMBERED:
            oldest = next(iter(self._dropped))
            del self._dropped[oldest]
            self._came_back.discard(oldest)

    def _sweep(self) -> None:
        """Let go of blocks that no array has needed for long: since the last sweep."""
        for loan in self._idle():
            if loan.since < self._swept:
                self._drop(loan)
        self._swept, self._sweep_at = self._handed_out, self._handed_out + _IDLE * max(self.held, _POOLED)

    def _idle(self) -> list[_Loan]:
        return sorted((loan for free in self._free.values() for loan in free), key=lambda loan: loan.since)

    def _drop(self, loan: _Loan) -> None:
        size = loan.block.nbytes
        self._free[size].remove(loan)
        del self._loans[id(loan)], loan.block
        if not any(other.block.nbytes == size for other in self._loans.values()):
            del self._free[size]


def _pages(size: int) -> memoryview:
    """Pages of the system's own, to which all go back when the block goes: malloc would keep some, in pieces.

    Large pages, as NumPy asks for them, save many page-table look-ups.
    """
    if not hasattr(mmap, "MAP_PRIVATE"):  # Windows
        return memoryview(mmap.mmap(-1, size))
    pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)  # private: a forked child gets a copy
    if size >= _LARGE_PAGES and hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # a system built without them
            pages.madvise(mmap.MADV_HUGEPAGE)
    return memoryview(pages)


class Scratch(threading.local):
    """Blocks that every thread keeps for itself, for values that live no longer than one block of a computation."""

    def __init__(self) -> None:
        self._blocks: dict[Hashable, Array] = {}
        self._filled: dict[Hashable, Array] = {}
        self._zeros: dict[Hashable, Array] = {}

    def block(self, key: Hashable, shape: tuple[int, ...], dtype: Any) -> Array:
        """This thread's block of that name, as an array of that shape: the next call with the same name gives it away again."""
        size = math.prod(shape)
        memory = self._blocks.get((key, dtype))
        if memory is None or memory.size < size:
            memory = self._blocks[key, dtype] = np.empty(size, dtype)
        return memory[:size].reshape(shape)

    def zeros(self, key: Hashable, shape: tuple[int, ...], dtype: Any) -> Array:
        """This thread's block for that key: zero except where earlier callers with the key have written.

        So all callers with one key, and one shape but for its first axis, must write to the same places.
        """
        name = (key, shape[1:], dtype)
        memory = self._zeros.pop(name, None)
        is_new = memory is None or len(memory) < shape[0]
        if is_new:
            memory = np.zeros(shape, dtype)
        self._zeros[name] = memory
        while is_new and sum(block.nbytes for block in self._zeros.values()) > _ZEROS_KEPT:
            self._zeros.pop(next(iter(self._zeros)))
        return memory[: shape[0]]

    def filled(self, value: Array, shape: tuple[int, ...]) -> Array:
        """A block full of one number, not to be written to."""
        size, key = math.prod(shape), (float(value), value.dtype)
        memory = self._filled.get(key)
        if memory is None or memory.size < size:
            while len(self._filled) >= _FILLED_KEPT:
                self._filled.pop(next(iter(self._filled)))
            memory = self._filled[key] = np.full(size, value)
        return memory[:size].reshape(shape)
