"""Progress bars of tqdm's that leave no lock held and no thread behind."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any, TextIO


def tqdm_bar(iterable: Iterable[Any] | None = None, **options: Any) -> Any:
    """tqdm(iterable, **options), in a notebook as in a terminal; each update may redraw it (miniters=1).

    Two things differ from tqdm's own class, which together keep a process from ending. tqdm's refresh and clear leave its lock
    held when drawing raises: at a pipe without a reader, at a closed stream, at Ctrl-C. And its monitor, a thread that wakes
    every ten seconds, then waits for that lock for ever, and before tqdm 4.68 the end of the process waits for the monitor.
    So here the lock is released whatever is raised, and there is no monitor: all it does is to redraw bars whose updates
    are skipped, and here none are.
    """
    return _bar_class()(iterable, **{"miniters": 1, **options})


def print_above_bars(text: str, file: TextIO) -> None:
    """Print a line, above the progress bars if there are some."""
    _bar_class().write(text, file=file)


@cache
def _bar_class() -> Any:
    from tqdm.auto import tqdm

    class Bar(tqdm):
        monitor_interval = 0  # no monitor

        def refresh(self, nolock: bool = False, lock_args: tuple[Any, ...] | None = None) -> bool | None:
            with self._unless(nolock):
                drawn: bool | None = super().refresh(nolock=True)
            return drawn

        def clear(self, nolock: bool = False) -> None:
            with self._unless(nolock):
                super().clear(nolock=True)

        def _unless(self, nolock: bool) -> AbstractContextManager[Any]:
            return nullcontext() if nolock else self.get_lock()

    return Bar
