"""The blanks of an exercise's file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

_asked: list[str] = []  # the blanks that were come to, from the first on


class Blank(float):
    """NaN: what is computed from a blank is no number either, and what is computed without it can be checked already."""

    def __new__(cls) -> Blank:
        return super().__new__(cls, "nan")

    def __repr__(self) -> str:
        return "a blank"


def blank(what: str) -> Blank:
    """What stands in an exercise's file where `what` is to be filled in. The check then says "not filled in yet"."""
    _asked.append(str(what))
    return Blank()


@contextmanager
def blanks_met() -> Iterator[list[str]]:
    """A list that holds, once the block is done, the blanks that were come to within it, each once."""
    start, met = len(_asked), list[str]()
    try:
        yield met
    finally:
        met.extend(dict.fromkeys(_asked[start:]))
