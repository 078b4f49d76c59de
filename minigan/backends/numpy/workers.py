"""Threads that wait for work: one fork and one join, as cheap as the standard library has them."""

from __future__ import annotations

import contextvars
import os
import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any


class Workers:
    """Threads that wait for work, woken through queues of their own: a quarter of a concurrent.futures executor's delay."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._tasks: list[SimpleQueue[Any]] = []
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._tasks.clear)  # a forked child has the queues, but not the threads

    def run(self, work: Callable[[Any], Any], shares: Sequence[Any]) -> list[Any]:
        """[work(share) for share in shares]: the first by the caller, each other by a worker. An error of any is raised."""
        while len(self._tasks) < min(self._count, len(shares) - 1):
            self._tasks.append(SimpleQueue())
            threading.Thread(target=_serve, args=(self._tasks[-1],), name="minigan", daemon=True).start()
        done: SimpleQueue[Any] = SimpleQueue()
        for index, share in enumerate(shares[1:], 1):
            # Workers heed the caller's np.errstate, which lives in its context.
            self._tasks[index - 1].put((contextvars.copy_context(), work, share, index, done))
        outcomes = [(0, *_attempt(work, shares[0])), *(done.get() for _ in shares[1:])]
        for _, _, error in outcomes:
            if error is not None:
                raise error
        return [value for _, value, _ in sorted(outcomes, key=lambda outcome: outcome[0])]


def _serve(tasks: SimpleQueue[Any]) -> None:
    while True:
        context, work, share, index, done = tasks.get()
        outcome = context.run(_attempt, work, share)
        del context, work, share  # or arrays that the caller drops would live until the next task
        done.put((index, *outcome))
        del outcome, done


def _attempt(work: Callable[[Any], Any], share: Any) -> tuple[Any, BaseException | None]:
    try:
        return work(share), None
    except BaseException as error:  # handed to the caller, who raises it
        return None, error
