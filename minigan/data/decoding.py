"""Image files decoded side by side: in this process, and in helpers of its own where there is work for them."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from minigan.backends.machine import usable_cores
from minigan.data.images import Picture, read_image, resize
from minigan.errors import DataError

# Pillow holds Python's lock for most of what it does with a small file, so threads would wait for each other.
WORTH_HELPERS = 1.0  # seconds of work left, from which helpers pay: each takes half a second to start
_LOOK_AFTER = 0.2  # seconds of work from which it is estimated
_MOST, _QUICK = 64, 0.05  # files taken at once at the most, and while they take less than so many seconds
_COMMAND = "import sys; sys.path[:] = {path!r}; from minigan.data.decoding import serve; serve()"

Size = tuple[int, int] | None
Store = Callable[[int, list[Picture]], None]


def decode(files: Sequence[str], size: Size, fit: str) -> list[Picture]:
    """The pictures in files, each brought to a size (height, width) if there is one. Raises DataError for a damaged one."""
    pictures = []
    for file in files:
        picture = read_image(file)
        pictures.append(picture._replace(pixels=resize(picture.pixels, size, fit)) if size else picture)
    return pictures


def decode_all(files: Sequence[str], size: Size, fit: str, store: Store) -> None:
    """Decode files and hand them to store(index of the first, pictures), some at a time, in any order, one call after another.

    Raises what decoding or `store` raises; of several errors, that of the first file.
    """
    work = _Work(files, size, fit, store)
    since = time.perf_counter()
    with _helpers(work) as start:
        for first, some in work.shares():
            work.do(first, some, work.decode)
            spent = time.perf_counter() - since
            if start is not None and spent > _LOOK_AFTER:
                if spent * work.left > WORTH_HELPERS * (len(files) - work.left):
                    start()
                start = None
    if work.errors:
        raise work.errors[min(work.errors)]


class _Work:
    """The files that are still to be decoded, dealt out in their order."""

    def __init__(self, files: Sequence[str], size: Size, fit: str, store: Store) -> None:
        self.files, self.settings, self.errors = files, (size, fit), dict[int, Exception]()
        self._store, self._next = store, 0
        self._dealing, self._storing = threading.Lock(), threading.Lock()

    @property
    def left(self) -> int:
        return len(self.files) - self._next

    def shares(self) -> Iterator[tuple[int, Sequence[str]]]:
        """(index of the first, some files), for one of those who decode them, until none are left or there was an error."""
        count = 1
        while True:
            with self._dealing:
                first, some = self._next, self.files[self._next : self._next + count]
                self._next += len(some)
            if not some or self.errors:
                return
            since = time.perf_counter()
            yield first, some
            count = min(2 * count, _MOST) if time.perf_counter() - since < _QUICK else max(1, count // 2)

    def decode(self, files: Sequence[str]) -> list[Picture]:
        return decode(files, *self.settings)

    def do(self, first: int, some: Sequence[str], decode: Callable[[Sequence[str]], list[Picture]]) -> None:
        """Decode some files, those from number `first` on, and store them; an error is kept, and ends the work."""
        try:
            pictures = decode(some)
            with self._storing:
                self._store(first, pictures)
        except Exception as error:
            self.errors[first] = error

    def stop(self) -> None:
        with self._dealing:
            self._next = len(self.files)


@contextmanager
def _helpers(work: _Work) -> Iterator[Callable[[], None] | None]:
    """A function that sets one process to work for each further core; at the end, all have done their share."""
    threads: list[threading.Thread] = []
    processes: list[Any] = []

    def start() -> None:
        for _ in range(usable_cores() - 1):
            with suppress(OSError):  # no more processes: those that there are do the work
                processes.append(_start_helper())
                threads.append(threading.Thread(target=_feed, args=(processes[-1], work), daemon=True))
                threads[-1].start()

    try:
        yield start if sys.executable else None
        for thread in threads:
            thread.join()
    finally:
        work.stop()
        for process in processes:
            process.kill()  # it has done its share, or there was an error
        for thread in threads:
            thread.join()
        for process in processes:
            process.communicate()


def _start_helper() -> Any:
    command = [sys.executable, "-c", _COMMAND.format(path=sys.path)]
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}  # there is nothing for them to do, and each takes memory
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(command, env=environment, **pipes)


def _feed(process: Any, work: _Work) -> None:
    """Hand a helper its files, and store what it decodes. What it leaves undone when it dies is decoded here."""

    def decode_there(files: Sequence[str]) -> list[Picture]:
        try:
            pickle.dump((files, *work.settings), process.stdin)
            process.stdin.flush()
            answer = pickle.load(process.stdout)
        except (OSError, EOFError, pickle.UnpicklingError):
            return work.decode(files)
        if isinstance(answer, DataError):
            raise answer
        return answer

    for first, some in work.shares():
        work.do(first, some, decode_there)


def serve() -> None:
    """What a helper does: read tasks from standard input, write pictures to standard output, until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that it helps, which ends it
    tasks, answers = sys.stdin.buffer, sys.stdout.buffer
    with suppress(EOFError, BrokenPipeError):
        while True:
            task = pickle.load(tasks)
            try:
                answer: Any = decode(*task)
            except DataError as error:
                answer = error
            pickle.dump(answer, answers)
            answers.flush()
