"""Which threads do the work: BLAS's, or one Python thread per core, which hold BLAS to one thread meanwhile."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar
from weakref import WeakKeyDictionary, ref

import numpy as np
from threadpoolctl import ThreadpoolController

from minigan.backends.base import Backend
from minigan.backends.machine import own_cores
from minigan.backends.numpy.workers import Workers
from minigan.distributed import Communicator
from minigan.errors import BackendError, shorten
from minigan.forked import can_fork

LARGE_CONVOLUTION = 3 << 19  # values of im2col, the largest of a pass, from which our threads and blocks are better than BLAS's
SHARED = 1 << 20  # values of im2col, of all convolutions of a step, from which processes are better than threads
MOST_PROCESSES = 16  # each has a pipe to each other: more would come near the system's limit of open files
LEAST_PART = 8  # samples of a batch, below which cutting it costs more than it brings
CONCATENATED = 1 << 16  # values of the largest array up to which several threads are quicker in one pass than in two
_MOST_THREADS = 1024  # more are a mistake: each takes a stack, and none a core
_PROMOTING_TO_FLOAT64 = ("2.1.0", "2.1.1")  # in every thread but the first

Result = TypeVar("Result")
Work = tuple[set[str], int]  # kinds of work, and values of the largest array that one sample's pass makes

_BLAS_LOCK = threading.RLock()  # two threads that step two games must not mistake each other's number of threads for BLAS's own
if hasattr(os, "register_at_fork"):
    # A fork waits until no other thread holds BLAS: a child would inherit the lock, and BLAS's number of threads of now.
    os.register_at_fork(before=_BLAS_LOCK.acquire, after_in_parent=_BLAS_LOCK.release, after_in_child=_BLAS_LOCK.release)


class BlasThreads:
    """Holds BLAS to so many threads inside a `with`, and puts its own number back afterwards: one for the whole process."""

    def __init__(self, libraries: list[Any], count: int) -> None:
        self._libraries, self._count = libraries, count

    def __enter__(self) -> None:
        _BLAS_LOCK.acquire()
        self._own = [library.get_num_threads() for library in self._libraries]
        self._set([self._count] * len(self._own))

    def __exit__(self, *error: object) -> None:
        self._set(self._own)
        _BLAS_LOCK.release()

    def _set(self, counts: list[int]) -> None:
        for library, own, count in zip(self._libraries, self._own, counts, strict=True):
            if own != self._count:
                library.set_num_threads(count)


class _PassThreads(threading.local):
    """Which threads serve the passes of a Python thread."""

    own = True  # ours; else BLAS's
    alone = False  # only itself, while others run tasks of their own


class ThreadedBackend(Backend):
    """The choice of threads, and work dealt out to them."""

    def __init__(self) -> None:
        if np.__version__ in _PROMOTING_TO_FLOAT64:
            raise BackendError(f"NumPy {np.__version__} makes float64 of float32 in threads: install 2.1.2 or later")
        super().__init__(np)
        self.threads = thread_count()
        self._blas = [library for library in ThreadpoolController().lib_controllers if library.user_api == "blas"]
        self._thread = _PassThreads()
        self._work: WeakKeyDictionary[Any, Work] = WeakKeyDictionary()  # of layers that were asked for before
        self._shared_work: WeakKeyDictionary[Any, Work] = WeakKeyDictionary()  # of a layer's network and those beside it
        self._sharing: Callable[[], Any] = lambda: None  # who asked for that last

    @property
    def device(self) -> str:
        return f"{super().device}, {self.threads} {'thread' if self.threads == 1 else 'threads'}"

    @property
    def threads(self) -> int:
        """thread_count(), unless set to another number; in what this process shares with copies of itself, its part of them."""
        return max(1, self._threads // self.ranks.sharing)

    @threads.setter
    def threads(self, count: int) -> None:
        self._threads, self._workers = count, Workers(count - 1)

    def processes(self, layers: Sequence[Any], batch: int) -> int:
        """The most that have a thread and an equal part each, where convolutions outweigh what they exchange.

        Threads that this leaves over are shared out or idle: a further process brings more than a second thread in each.
        """
        single = [part for layer in layers for part in layer.nested() if not part.layers]
        values = sum(count for kinds, count in map(work_of, single) if "convolution" in kinds)
        if self.threads == 1 or not can_fork() or batch * values < SHARED:
            return 1
        return max(
            n
            for n in range(1, min(self.threads, MOST_PROCESSES) + 1)
            if n == 1 or (batch % n == 0 and batch // n >= LEAST_PART)
        )

    def set_threading(self, layers: Sequence[Any], batch: int) -> None:
        """A network of products without convolutions, or with small ones, is left to BLAS's threads, which wake more quickly.

        They go on spinning for a while after each product and take the cores away from ours, so it is the one or the other, in
        this Python thread and until its next pass; and for networks that share_threading names together, as the largest has it.
        """
        if not self._thread.alone:
            kinds, _ = self._work_shared_by(layers)
            self._thread.own = self._is_large(layers, batch) or kinds == {"element-wise"}

    def share_threading(self, owner: Any, networks: Callable[[], Sequence[Any]]) -> None:
        """The last call for a layer counts. A pass counts its own samples, which may be fewer in one of the networks."""
        if self._sharing() is not owner:
            layers = [layer for network in networks() for layer in network.layers]
            self._shared_work.update(dict.fromkeys(layers, self._work_of(layers)))
            self._sharing = ref(owner)

    def concatenates(self, layers: Sequence[Any], batch: int) -> bool:
        return self.threads == 1 or batch * self._work_of(layers)[1] <= CONCATENATED

    def parts(self, layers: Sequence[Any], batch: int, batches: int) -> int:
        """As many that all threads have the same number of them, where a pass is large enough for our threads.

        A thread that takes its part through all layers waits for no other between two of them.
        """
        count = self.threads if self.threads % batches else self.threads // batches
        if self.threads == 1 or self._thread.alone or batch < LEAST_PART * count or not self._is_large(layers, batch):
            return 0
        return count

    def alongside(self, tasks: Sequence[Callable[[], Any]]) -> list[Any]:
        """Each task on one thread, with BLAS at one."""
        threads = min(self.threads, len(tasks))
        with BlasThreads(self._blas, 1):
            of_threads = self._workers.run(self._run_alone, [tasks[start::threads] for start in range(threads)])
        results = [None] * len(tasks)
        for start, own in enumerate(of_threads):
            results[start::threads] = own
        return results

    def _run_alone(self, tasks: Sequence[Callable[[], Any]]) -> list[Any]:
        with self._alone():
            return [task() for task in tasks]

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """This Python thread by itself, and BLAS is held to one thread."""
        thread = self._thread
        before, thread.own, thread.alone = (thread.own, thread.alone), True, True
        try:
            yield
        finally:
            thread.own, thread.alone = before

    @contextmanager
    def over(self, ranks: Communicator) -> Iterator[None]:
        with super().over(ranks):
            if ranks.sharing == 1 or self.threads > 1:
                yield
                return
            with BlasThreads(self._blas, 1), self._alone():  # once, not for each product
                yield

    def _is_large(self, layers: Sequence[Any], batch: int) -> bool:
        kinds, largest = self._work_shared_by(layers)
        return "convolution" in kinds and batch * largest >= LARGE_CONVOLUTION

    def _work_shared_by(self, layers: Sequence[Any]) -> Work:
        """The work of these layers' network and of those beside it, as share_threading has it."""
        return self._shared_work.get(layers[0]) or self._work_of(layers)

    def _work_of(self, layers: Sequence[Any]) -> Work:
        """The kinds of work of layers, and how many values the largest array of one sample has."""
        work = [self._work.get(layer) or self._work.setdefault(layer, work_of(layer)) for layer in layers]
        return set().union(*(kinds for kinds, _ in work)), max(values for _, values in work)

    def with_own_blas_threads(self, work: Callable[[], Result]) -> Result:
        """work(), with BLAS at this backend's number of threads."""
        # BLAS's threads serve one caller at a time anyway. Inside the lock, no fork leaves a child with BLAS half done.
        with self.undisturbed():
            return work()

    def undisturbed(self) -> BlasThreads:
        """BLAS at this backend's number of threads, which no other Python thread's game may change meanwhile."""
        return BlasThreads(self._blas, self.threads)

    def _spread(
        self, work: Callable[[Sequence[slice]], Any], rows: int, block: int, threads: int = 0, products: bool = True
    ) -> list[Any]:
        """work(its blocks of rows) on every thread, as many equal blocks each, contiguous; the results in the order of rows.

        products: whether work calls BLAS. Several threads work only inside the lock: the queues of Workers are for one caller.
        """
        threads = 1 if self._thread.alone else threads or self.threads
        share = -(-max(-(-rows // block), threads) // threads)  # blocks for each thread
        block = -(-rows // (share * threads))
        blocks = [slice(start, min(start + block, rows)) for start in range(0, rows, block)]
        shares = [blocks[start : start + share] for start in range(0, len(blocks), share)]
        if self._thread.alone or (len(shares) == 1 and not products):
            return [work(blocks)]
        with BlasThreads(self._blas, 1 if self._thread.own else self.threads):
            return self._workers.run(work, shares) if len(shares) > 1 else [work(blocks)]


def work_of(layer: Any) -> Work:
    """({"convolution", "product" or "element-wise"}, values of the largest array that one sample's pass makes), by its shapes.

    A layer made of others does all that they do, and has all their kinds.
    """
    if layer.layers:
        work = [work_of(within) for within in layer.layers]
        return set().union(*(kinds for kinds, _ in work)), max(values for _, values in work)
    weight, geometry = layer.params.get("weight"), getattr(layer, "geometry", None)
    if geometry is not None:
        return {"convolution"}, math.prod(geometry.output) * math.prod(weight.shape[:3])  # the rows of im2col
    values = max(math.prod(layer.input_shape), math.prod(layer.output_shape))
    return {"element-wise" if weight is None or weight.ndim < 2 else "product"}, values


def thread_count() -> int:
    """MINIGAN_NUM_THREADS, else the cores that are this process's."""
    wanted = os.environ.get("MINIGAN_NUM_THREADS", "")
    if not wanted:
        return own_cores()
    is_number = wanted.isascii() and wanted.isdecimal() and len(wanted) <= len(str(_MOST_THREADS))
    if not is_number or not 1 <= int(wanted) <= _MOST_THREADS:
        raise BackendError(
            f"MINIGAN_NUM_THREADS is {shorten(wanted)}: set it to a number of threads from 1 to {_MOST_THREADS}, or unset it"
        )
    return int(wanted)
