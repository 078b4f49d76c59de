"""Ranks without a launcher: this process and copies of it that it forks for the length of a computation.

Two Python threads that compute through NumPy hold each other up: whoever comes back from a call waits for the interpreter lock
while the other is on its way to the next. Two processes have a lock each. What they exchange are the sums that ranks exchange
in any case: vectors in memory that both see, and a byte through a pipe to say that they are there.
"""

from __future__ import annotations

import mmap
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import combinations
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any, NoReturn

import numpy as np

from minigan.distributed import ALONE, Communicator, SeveralRanks, add_up, to_host, write
from minigan.errors import LostProcessError

ROOM = 1 << 22  # bytes of a vector that are summed up at a time
PART = 1 << 17  # bytes from which each of more than two processes adds up a part of a vector, instead of all of it
PATIENCE = 5.0  # seconds for a process to end whose work is done
_GOES_ON, _ENDS = b"+", b"-"  # the first byte of a message: whether its sender goes on
_TURNS = 2  # a sum writes to one half of the memory while a slower process still reads the other


def can_fork() -> bool:
    """Whether this process may be copied: on Linux, from its main thread. (Elsewhere system libraries do not survive it.)"""
    return sys.platform == "linux" and threading.current_thread() is threading.main_thread()


@contextmanager
def forked(size: int) -> Iterator[Communicator]:
    """Let `size` processes go through the body of the `with`: this one, rank 0, and copies of it as it is now.

    All but rank 0 end with the body, and where something is raised in it, with that. The others learn of an early end at their
    next exchange, where rank 0 raises LostProcessError. Where rank 0 leaves the body, or is killed, the others end too. Ctrl-C
    and other requests to end are for rank 0 alone to heed.
    """
    if size == 1:
        yield ALONE
        return
    memory = mmap.mmap(-1, _TURNS * size * ROOM)
    pairs = {ranks: Pipe() for ranks in combinations(range(size), 2)}
    rank, copies = 0, list[int]()
    for number in range(1, size):
        process = os.fork()
        if process == 0:
            rank, copies = number, []
            break
        copies.append(process)
    links = _own_ends(pairs, rank)
    ranks = ForkedCommunicator(rank, links, memory)
    if rank:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
    try:
        yield ranks
    except BaseException as error:
        if rank:
            ranks.tell_why(error)
        raise
    finally:
        if rank:
            os._exit(0)
        for link in links.values():
            link.close()
        for process in copies:
            _await(process)


def _own_ends(pairs: Mapping[tuple[int, int], tuple[Connection, Connection]], rank: int) -> dict[int, Connection]:
    """This rank's end of each of its pipes, by the rank at the other; all other ends are closed, or none would ever break."""
    own = {}
    for ranks, ends in pairs.items():
        for owner, other, end in zip(ranks, reversed(ranks), ends, strict=True):
            if owner == rank:
                own[other] = end
            else:
                end.close()
    return own


def _await(process: int) -> None:
    """Wait for the end of a copy, which comes at its next exchange at the latest."""
    deadline = time.monotonic() + PATIENCE
    with suppress(ChildProcessError):  # somebody else has waited for it
        while os.waitpid(process, os.WNOHANG) == (0, 0):
            if time.monotonic() > deadline:
                os.kill(process, signal.SIGKILL)
                deadline = float("inf")
            time.sleep(0.001)


class ForkedCommunicator(SeveralRanks):
    """The processes of `forked`. links: to each other rank. memory: as large as _TURNS vectors of each."""

    def __init__(self, rank: int, links: Mapping[int, Connection], memory: mmap.mmap) -> None:
        super().__init__()
        self.rank, self.size = rank, len(links) + 1
        self.local_rank, self.local_size, self.sharing = self.rank, self.size, self.size
        self._links = dict(sorted(links.items()))
        self._memory = np.frombuffer(memory, np.uint8).reshape(_TURNS, self.size, ROOM)
        self._turn = 0

    def _sum(self, vector: np.ndarray, divisor: int) -> None:
        step = ROOM // vector.dtype.itemsize
        for start in range(0, len(vector), step):
            part = vector[start : start + step]
            parts = self._memory[self._turn, :, : part.nbytes].view(vector.dtype)
            self._turn = (self._turn + 1) % _TURNS
            parts[self.rank] = part
            self.barrier()
            if self.size == 2 or part.nbytes < PART:
                add_up(parts, part, divisor)
                continue
            ends = [len(part) * rank // self.size for rank in range(self.size + 1)]
            own = slice(ends[self.rank], ends[self.rank + 1])
            add_up(parts[:, own], part[own], divisor)
            parts[0, own] = part[own]  # which no other rank reads before all are here
            self.barrier()
            part[...] = parts[0]

    def barrier(self) -> None:
        for other in self._links:
            self._send(other, b"")
        for other in self._links:
            self._receive(other)

    def gather(self, value: Any) -> list[Any]:
        given, own = {self.rank: value}, pickle.dumps(value)
        for other in self._links:  # the lower one speaks first: a pipe has no room for every value
            if self.rank < other:
                self._send(other, own)
            given[other] = pickle.loads(self._receive(other))
            if self.rank > other:
                self._send(other, own)
        return [given[rank] for rank in range(self.size)]

    def broadcast(self, array: Any) -> None:
        write(array, self.gather(to_host(array) if self.rank == 0 else None)[0])

    def tell_why(self, error: BaseException) -> None:
        """Tell the others what ends this process before its time."""
        text = " ".join(f"{type(error).__name__} {error}".split())
        for link in self._links.values():
            with suppress(OSError):
                link.send_bytes(_ENDS + text.encode(errors="replace"))

    def _send(self, other: int, message: bytes) -> None:
        try:
            self._links[other].send_bytes(_GOES_ON + message)
        except OSError:
            self._receive(other)  # its last words, if it had time for any
            self._end(other)

    def _receive(self, other: int) -> bytes:
        try:
            message = self._links[other].recv_bytes()
        except (EOFError, OSError):
            self._end(other)
        if message.startswith(_ENDS):
            self._end(other, message.removeprefix(_ENDS).decode())
        return message.removeprefix(_GOES_ON)

    def _end(self, other: int, why: str = "killed, or out of memory") -> NoReturn:
        if self.rank:
            os._exit(1)
        raise LostProcessError(f"process {other + 1} of the {self.size} that share each batch has ended: {why[:150]}")
