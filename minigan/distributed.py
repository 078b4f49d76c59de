"""Several processes, one game: who takes part, sums over all of them, and how the end of one ends the others.

`mpiexec -n P minigan train …` starts P processes, the ranks 0 … P − 1. Each computes with its share of every batch; means
over the ranks turn the gradients of the shares into that of the batch. Without such a launcher `world()` is ALONE, whose means
are the identity, so nobody asks whether there are others.

The mean over N samples is the mean over P ranks of their means over N/P samples, and so is its gradient. A rank therefore
computes as if its share were the whole batch, and `all_mean` of the gradient vectors, once before each optimiser's update, is
the gradient of the whole. Whatever else is a mean over samples, BatchNorm's first of all, takes `all_mean` of its own.

A signal to any rank stops all after the step, and saves. Open MPI's mpiexec hands Ctrl-C on and kills all ranks a quarter of a
second later: where a step and a save take longer, the run is saved as it was at the last row of its log.
"""

from __future__ import annotations

import mmap
import os
import re
import select
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from itertools import accumulate
from typing import Any

import numpy as np

from minigan.errors import RankError, shorten

# What launchers tell the processes that they start: Open MPI; MPICH, Intel MPI and others with Hydra; Slurm's srun with PMIx,
# whose own variables stand in the shell of any job and so mean something only beside PMIX_RANK.
_SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS")
_RANKS = ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "SLURM_PROCID")
_LOCAL_SIZES = ("OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS", "SLURM_STEP_TASKS_PER_NODE")
_LOCAL_RANKS = ("OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "SLURM_LOCALID")

SHORT = 1 << 14  # bytes of all ranks' vectors together up to which one exchange is quicker than two of parts
LONGEST_CAUSE = 150  # characters
GRACE = 0.5  # seconds for the launcher to pass on what was printed last: an abort may overtake it
PATIENCE = 1.0  # seconds that a failing rank leaves to rank 0 to say the same: a mistake of the user's fails on all ranks alike


def _told(names: tuple[str, ...], otherwise: int) -> int:
    """The number that the first of these variables begins with, as "4(x2)", of those that are there."""
    for name in names:
        text = re.match("[0-9]*", os.environ.get(name, ""))[0]  # type: ignore[index]
        if text and (not name.startswith("SLURM") or "PMIX_RANK" in os.environ):
            return int(text)
    return otherwise


def launched() -> tuple[int, int]:
    """(rank, size) as the launcher says it; (0, 1) without one."""
    return _told(_RANKS, 0), _told(_SIZES, 1)


def on_this_machine() -> tuple[int, int]:
    """(rank, size) among the processes that the launcher started on this machine; (0, 1) without one."""
    return _told(_LOCAL_RANKS, 0), _told(_LOCAL_SIZES, 1)


class Communicator:
    """This process alone, for which all of this is the identity; `world()` may give one of several processes.

    rank: the number of this process, from 0; size: how many there are. local_rank, local_size: the same on this machine.
    is_launched: whether a launcher started them, which sees to their end too. sharing: how many share one process's threads.
    All ranks must call the same methods in the same order. Sums are taken in the order of the ranks, so that the same number of
    ranks gives the same bytes, and all ranks get the same.
    """

    rank, size = 0, 1
    local_rank, local_size = 0, 1
    is_launched = False
    sharing = 1
    library = ""  # of MPI

    def all_sum(self, *arrays: Any) -> None:
        """x ← Σ over ranks of x, in place, for arrays of one dtype, in one message. NumPy or CuPy arrays."""

    def all_mean(self, *arrays: Any) -> None:
        """x ← Σ/P over ranks of x, likewise."""

    def broadcast(self, array: Any) -> None:
        """x ← x of rank 0, in place."""

    def gather(self, value: Any) -> list[Any]:
        """What each rank gave, in their order; anything that can be pickled."""
        return [value]

    def any(self, flag: bool) -> bool:
        """Whether it is so on at least one rank."""
        return any(self.gather(flag))

    def barrier(self) -> None:
        """Wait until all ranks are here."""

    def called(self, rank: int) -> str:
        """One of these processes, in words."""
        return f"rank {rank}"

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        """The first rank of each machine goes first, the others once it is through: they find what it has put in a cache."""
        if self.local_rank:
            self.barrier()
        yield
        if not self.local_rank:
            self.barrier()

    def share_of(self, count: int) -> int:
        """How many of so many samples a rank has. Raises RankError unless all have as many."""
        if count % self.size:
            below, above = count // self.size * self.size, -(-count // self.size) * self.size
            near = f"{below} or {above}" if below else f"{above}"
            raise RankError(
                f"a batch of {count} has no equal share for each of {self.size} ranks: choose a multiple, as {near}"
            )
        return count // self.size

    def own(self, count: int) -> slice:
        """The rows that are this rank's, of so many for each."""
        return slice(self.rank * count, (self.rank + 1) * count)

    def check_same(self, facts: Mapping[str, Any], advice: str) -> None:
        """Raise RankError, on all ranks, naming those that have not the facts of rank 0. advice: what to do about it."""
        of_ranks = self.gather(dict(facts))
        for name, expected in of_ranks[0].items():
            others = [rank for rank, own in enumerate(of_ranks) if own.get(name) != expected]
            if others:
                listed = f"rank {others[0]}" if len(others) == 1 else f"ranks {', '.join(map(str, others[:8]))}"
                found = shorten(of_ranks[others[0]].get(name))
                more = " and others" if len(others) > 8 else ""
                raise RankError(f"{listed}{more}: {name} is {found}, and on rank 0 {shorten(expected)}: {advice}")

    @contextmanager
    def watched(self, advice: Callable[[], str]) -> Iterator[None]:
        """Within it, a rank that ends, whatever ended it, ends all others, and one of them says which it was and what to do."""
        yield

    def tell(self, what: str, cause: str, advice: str, log: Callable[[str], None]) -> None:
        """Say what has ended this rank, and what to do about it. (One process alone raises the cause, and so says it too.)"""
        log(f"{what}; {advice}")

    def may_tell(self) -> bool:
        """Whether this rank, which has failed, is to say so: of several that fail alike one is, rank 0 if it is among them."""
        rank, _ = launched()  # with others, where MPI itself is missing
        if rank:
            time.sleep(PATIENCE)
        return rank == 0

    def abort(self, status: int) -> None:
        """End all ranks. (One process alone goes on, and ends with its own status.)"""


ALONE = Communicator()


@cache
def world() -> Communicator:
    """All processes that the MPI launcher started together with this one; ALONE where there are none.

    Raises RankError where mpi4py is missing, or belongs to another MPI than the launcher.
    """
    _, size = launched()
    if size == 1:
        return ALONE
    # A rank that waits gives its core to whoever has work: where others run too, the rank that it waits for may have none.
    os.environ.setdefault("OMPI_MCA_mpi_yield_when_idle", "1")
    try:
        from mpi4py import MPI
    except Exception as error:  # ImportError, or RuntimeError where it finds no MPI library
        raise RankError(
            f"this is one of {size} processes of an MPI launcher, and mpi4py does not import ({shorten(str(error))}): "
            "pip install mpi4py (minigan's extra mpi brings it and Open MPI)"
        ) from None
    if MPI.COMM_WORLD.Get_size() != size:
        raise RankError(
            f"the launcher started {size} processes, and mpi4py, over {_name_of(MPI)}, sees {MPI.COMM_WORLD.Get_size()}: "
            "start them by the mpiexec of that MPI"
        )
    return MpiCommunicator(MPI)


def _name_of(mpi: Any) -> str:
    """The library and its version, as "Open MPI v5.0.11"."""
    name: str = mpi.Get_library_version().split(",")[0].split("\n")[0]
    return name


class SeveralRanks(Communicator):
    """What communicators of several processes have in common: the sums of several arrays are those of one vector."""

    def __init__(self) -> None:
        self._rooms: dict[Any, np.ndarray] = {}

    def all_sum(self, *arrays: Any) -> None:
        self._reduce(arrays, 1)

    def all_mean(self, *arrays: Any) -> None:
        self._reduce(arrays, self.size)

    def _reduce(self, arrays: tuple[Any, ...], divisor: int) -> None:
        """x ← Σ x / divisor: all arrays as one vector, with zeros behind them where a sum asks for a longer one."""
        sizes, dtype = [a.size for a in arrays], np.dtype(arrays[0].dtype)
        count = sum(sizes)
        if not count:
            return
        length = self._length(count, dtype)
        is_whole = len(arrays) == 1 and length == count and isinstance(arrays[0], np.ndarray) and arrays[0].flags.c_contiguous
        vector = arrays[0].reshape(-1) if is_whole else self._room("vector", (length,), dtype)
        ends = [] if is_whole else list(accumulate(sizes))
        for array, end in zip(arrays, ends, strict=False):
            vector[end - array.size : end] = to_host(array).reshape(-1)
        vector[count:] = 0
        self._sum(vector, divisor)
        for array, end in zip(arrays, ends, strict=False):
            write(array, vector[end - array.size : end].reshape(array.shape))

    def _length(self, count: int, dtype: np.dtype) -> int:
        """The length of a vector that is to hold so many numbers."""
        return count

    def _sum(self, vector: np.ndarray, divisor: int) -> None:
        """vector ← Σ vector / divisor, in the order of the ranks"""
        raise NotImplementedError

    def _room(self, name: str, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """Memory that is used again."""
        key = name, shape, dtype
        if key not in self._rooms:
            self._rooms[key] = np.empty(shape, dtype)
        return self._rooms[key]


class MpiCommunicator(SeveralRanks):
    """The processes of MPI's COMM_WORLD. An error that nobody catches, on any of them, ends all.

    A sum of long vectors: each rank gets its part of all vectors, adds these up in the order of the ranks, and sends the sum to
    all: 2 (P − 1)/P vectors each way, the least there is (Thakur, Rabenseifner and Gropp 2005, section 4.4), while the order of
    a library's own Allreduce may change with its version and the message. Short ones go to all ranks, which add them up alike.
    """

    is_launched = True

    def __init__(self, mpi: Any) -> None:
        super().__init__()
        self._comm, self.library = mpi.COMM_WORLD, _name_of(mpi)
        self.rank, self.size = self._comm.Get_rank(), self._comm.Get_size()
        machine = self._comm.Split_type(mpi.COMM_TYPE_SHARED)
        self.local_rank, self.local_size = machine.Get_rank(), machine.Get_size()
        self._processes: dict[int, int] = dict(machine.allgather((self.rank, os.getpid())))  # of this machine, by rank
        self._note = _shared_byte(machine)  # 1 once a rank of this machine has said why all end
        self._is_watching = self._has_told = False
        before = sys.excepthook

        def end_all(*error: Any) -> None:
            if self._has_told or self.may_tell():
                before(*error)
            self.abort(1)

        sys.excepthook = end_all

    # -- sums ----------------------------------------------------------------------------------------------------------

    def _is_short(self, count: int, dtype: np.dtype) -> bool:
        return self.size * count * dtype.itemsize <= SHORT

    def _length(self, count: int, dtype: np.dtype) -> int:
        """A long vector is filled up so that each rank has an equal part of it."""
        return count if self._is_short(count, dtype) else -(-count // self.size) * self.size

    def _sum(self, vector: np.ndarray, divisor: int) -> None:
        is_short = self._is_short(vector.size, vector.dtype)
        parts = self._room("parts", (self.size, vector.size if is_short else vector.size // self.size), vector.dtype)
        if is_short:
            self._comm.Allgather(vector, parts)
            add_up(parts, vector, divisor)
        else:
            self._comm.Alltoall(vector, parts)
            own = self._room("own", parts.shape[1:], vector.dtype)
            add_up(parts, own, divisor)
            self._comm.Allgather(own, vector)

    def broadcast(self, array: Any) -> None:
        host = np.ascontiguousarray(to_host(array))
        self._comm.Bcast(host, root=0)
        write(array, host)

    def gather(self, value: Any) -> list[Any]:
        return self._comm.allgather(value)

    def any(self, flag: bool) -> bool:
        flags = self._room("flags", (self.size,), np.dtype(np.uint8))
        self._comm.Allgather(np.array([flag], np.uint8), flags)
        return bool(flags.any())

    def barrier(self) -> None:
        self._comm.Barrier()

    # -- the end of a rank ---------------------------------------------------------------------------------------------

    @contextmanager
    def watched(self, advice: Callable[[], str]) -> Iterator[None]:
        self.barrier()
        self._is_watching = True
        threading.Thread(target=self._watch, args=(advice,), name="minigan ranks", daemon=True).start()
        try:
            yield
        finally:
            self._is_watching = False
        self.barrier()  # once all have stopped to watch, any may end in peace; an error ends this rank alone

    def _watch(self, advice: Callable[[], str]) -> None:
        """Wait for the end of another process of this machine. (An MPI call then waits for it in vain: this is a thread.)"""
        others = {rank: process for rank, process in self._processes.items() if rank != self.rank}
        ended = _first_to_end(others, lambda: self._is_watching)
        if ended is None or not self._is_watching:
            return
        witnesses = [rank for rank, process in self._processes.items() if rank != ended and _is_alive(process)]
        if self.rank != min(witnesses, default=self.rank):
            time.sleep(PATIENCE)
        if self._may_tell_first():
            with suppress(Exception):
                line = f"rank {ended} has ended (killed, or out of memory), and with it the run; {advice()}"
                print(f"\nminigan: error: {line}", file=sys.stderr, flush=True)
                time.sleep(GRACE)
        os._exit(1)

    def tell(self, what: str, cause: str, advice: str, log: Callable[[str], None]) -> None:
        if self.may_tell():
            cause = " ".join(cause.split())[:LONGEST_CAUSE]
            line = f"rank {self.rank} {what}{f' ({cause})' if cause else ''}; {advice}"
            print(f"\nminigan: error: {line}", file=sys.stderr, flush=True)

    def _may_tell_first(self) -> bool:
        told, self._note[0] = self._note[0], 1
        self._has_told = not told
        return not told

    def may_tell(self) -> bool:
        self._is_watching = False
        if self.rank:
            time.sleep(PATIENCE)
        return self._may_tell_first()

    def abort(self, status: int) -> None:
        self._note[0] = 1  # whoever calls this has said why
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):
                stream.flush()
        time.sleep(GRACE)
        self._comm.Abort(status)


def add_up(parts: np.ndarray, out: np.ndarray, divisor: int) -> None:
    """out ← Σ_r parts_r / divisor, in the order of r"""
    np.add(parts[0], parts[1], out=out)
    for part in parts[2:]:
        out += part
    if divisor != 1:
        out /= divisor


def to_host(array: Any) -> np.ndarray:
    return array if isinstance(array, np.ndarray) else array.get()


def write(array: Any, host: np.ndarray) -> None:
    if isinstance(array, np.ndarray):
        array[...] = host
    else:
        array.set(host)


def _shared_byte(machine: Any) -> mmap.mmap:
    """A byte in memory that all ranks of a machine see. (MPI's own shared windows print warnings of their transports.)"""
    path = None
    if machine.Get_rank() == 0:
        descriptor, path = tempfile.mkstemp(prefix="minigan-")
        os.write(descriptor, b"\0")
    else:
        descriptor = -1
    path = machine.bcast(path)
    descriptor = os.open(path, os.O_RDWR) if descriptor < 0 else descriptor
    shared = mmap.mmap(descriptor, 1)
    os.close(descriptor)
    machine.Barrier()
    if machine.Get_rank() == 0:
        os.unlink(path)
    return shared


def _is_alive(process: int) -> bool:
    """Whether a process of this number runs; one that has ended, and whose parent has yet to notice, does not."""
    try:
        with open(f"/proc/{process}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except (OSError, IndexError):
        pass
    try:
        os.kill(process, 0)
    except OSError:
        return False
    return True


def _first_to_end(processes: Mapping[int, int], is_watching: Callable[[], bool]) -> int | None:
    """The key of the first of these processes to end, at once where the system tells; None once nobody is watching."""
    waiting, descriptors = select.poll(), dict[int, int]()
    with suppress(OSError, AttributeError):  # AttributeError: not Linux
        for key, process in processes.items():
            descriptor = os.pidfd_open(process)
            descriptors[descriptor] = key
            waiting.register(descriptor, select.POLLIN)
    try:
        while is_watching():
            if len(descriptors) == len(processes):
                for descriptor, _ in waiting.poll(200):
                    return descriptors[descriptor]
            else:
                time.sleep(0.1)
                for key, process in processes.items():
                    if not _is_alive(process):
                        return key
        return None
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
