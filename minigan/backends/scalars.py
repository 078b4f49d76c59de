"""Numbers that change from step to step."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from minigan.errors import CaptureError
from minigan.sizes import plain


class DeviceScalar:
    """A number that changes from step to step, such as a learning rate: set on the host, read where a step computes with it.

    value is what a formula's constants take: the number itself, or on a GPU a 0-d array at a fixed place in the device's
    memory, where a replayed step finds each time what was set last.
    """

    def __init__(self) -> None:
        self._value = 0.0

    @property
    def value(self) -> Any:
        return self._value

    def set(self, value: float) -> None:
        note_set(self)
        self._value = plain(value)


_watched = threading.local()  # by a Python thread: the scalars that it set, and whether it may set any


def note_set(scalar: DeviceScalar) -> None:
    """To be called by every DeviceScalar before it is set. Raises CaptureError within forbid_sets."""
    if getattr(_watched, "forbidden", False):
        raise CaptureError("compute sets a DeviceScalar; that belongs in advance")
    if (seen := getattr(_watched, "scalars", None)) is not None:
        seen.append(scalar)


@contextmanager
def watch_sets() -> Iterator[list[DeviceScalar]]:
    """The scalars that this thread sets meanwhile, in order; one that is set twice stands in the list twice."""
    scalars: list[DeviceScalar] = []
    _watched.scalars = scalars
    try:
        yield scalars
    finally:
        _watched.scalars = None


@contextmanager
def forbid_sets() -> Iterator[None]:
    """Within it, this thread sets no scalar: a recording would repeat the value of that time."""
    _watched.forbidden = True
    try:
        yield
    finally:
        _watched.forbidden = False
