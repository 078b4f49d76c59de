"""Ranks without a launcher: this process and copies of it that it forks for the length of a computation.

Two Python threads that compute through NumPy hold each other up: whoever comes back from a call waits for the interpreter lock
while the other is on its way to the next. Two processes have a lock each. What they exchange are the sums that ranks exchange
in any case: vectors in memory that both see, and a message through a pipe to say that they are there.
"""

from __future__ import annotations

import mmap
import os
import pickle
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import combinations
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any, NoReturn

import numpy as np

from minigan.distributed import ALONE, Communicator, SeveralRanks, add_up, to_host, write
from minigan.errors import BackendError, LostProcessError

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
    and other requests to end are for rank 0 alone to heed. Raises BackendError where the system allows no more processes.
    """
    if size == 1:
        yield ALONE
        return
    first, copies, links = os.getpid(), list[int](), list[Connection]()
    ranks: ForkedCommunicator | None = None
    try:  # from the start, for no copy may leave this function
        try:
            ranks = _fork(size, copies, links)
        except OSError as error:
            raise BackendError(
                f"{size} processes cannot be started to share each batch ({error.strerror or error}): set MINIGAN_NUM_THREADS "
                "to fewer, 1 for this process alone"
            ) from None
        yield ranks
    except BaseException as error:
        if os.getpid() != first and ranks is not None:
            ranks.tell_why(error)
        raise
    finally:
        if os.getpid() != first:
            os._exit(0)
        for link in links:
            link.close()
        for process in copies:
            _await(process)
        if ranks is not None:
            ranks.close()


def _fork(size: int, copies: list[int], links: list[Connection]) -> ForkedCommunicator:
    """Make the copies; what each process gets. copies, links: filled on the way, for whoever has to end and to close them."""
    memory = mmap.mmap(-1, _TURNS * size * ROOM)
    pairs = {}
    for ranks in combinations(range(size), 2):
        pairs[ranks] = Pipe()
        links += pairs[ranks]
    rank = 0
    for number in range(1, size):
        with warnings.catch_warnings():
            # Python 3.12 warns where there are other threads, whose locks a copy would wait for in vain. Of minigan's own
            # there are none; tqdm's serves a bar that a copy does not draw.
            warnings.simplefilter("ignore", DeprecationWarning)
            process = os.fork()
        if process == 0:
            rank = number
            for request in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(request, signal.SIG_IGN)
            break
        copies.append(process)
    return ForkedCommunicator(rank, _own_ends(pairs, rank), memory)


def _own_ends(pairs: Mapping[tuple[int, int], tuple[Connection, Connection]], rank: int) -> dict[int, Connection]:
    """This rank's end of each of its pipes, by the rank at the other; all other ends are closed, or none would ever break."""
    own: dict[int, Connection] = {}
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
    """The processes of `forked`. links: to each other rank. memory: that all see, room for _TURNS vectors of each rank."""

    def __init__(self, rank: int, links: Mapping[int, Connection], memory: mmap.mmap) -> None:
        super().__init__()
        self.rank, self.size = rank, len(links) + 1
        self.local_rank, self.local_size, self.sharing = self.rank, self.size, self.size
        self._links = dict(sorted(links.items()))
        self._map = memory
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

    def called(self, rank: int) -> str:
        return f"process {rank + 1} of {self.size}"

    def close(self) -> None:
        """Give the memory back; there is no sum any more."""
        del self._memory
        with suppress(BufferError):  # an error's traceback may still hold a part of it
            self._map.close()

    def tell_why(self, error: BaseException) -> None:
        """Tell the others what ends this process before its time."""
        self._tell(self._end_of(self.rank, " ".join(f"{type(error).__name__} {error}".split())))

    def _tell(self, sentence: str) -> None:
        for link in self._links.values():
            with suppress(OSError):
                link.send_bytes(_ENDS + sentence.encode(errors="replace"))

    def _end_of(self, rank: int, why: str = "killed, or out of memory") -> str:
        ended = f"process {rank + 1} of the {self.size} that share each batch has ended: {why[:120]}"
        return f"{ended}; with MINIGAN_NUM_THREADS=1 there is one alone"

    def _send(self, other: int, message: bytes) -> None:
        try:
            self._links[other].send_bytes(_GOES_ON + message)
        except OSError:
            while True:  # up to its last words, or to where the pipe is broken
                self._receive(other)

    def _receive(self, other: int) -> bytes:
        try:
            message = self._links[other].recv_bytes()
        except (EOFError, OSError):
            self._give_up(self._end_of(other))
        if message.startswith(_ENDS):
            self._give_up(message.removeprefix(_ENDS).decode())
        return message.removeprefix(_GOES_ON)

    def _give_up(self, sentence: str) -> NoReturn:
        """A copy hands on what it has heard: the first may hear of its end sooner than of the one that caused it."""
        if self.rank:
            self._tell(sentence)
            os._exit(1)
        raise LostProcessError(sentence)
