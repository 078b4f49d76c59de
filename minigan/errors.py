"""Every error that minigan raises on purpose. Each message says what was found, what was expected and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

LONGEST_MESSAGE = 300  # characters


class MiniganError(ValueError):
    """Base of all of minigan's own errors; the command line prints it as one line and exits with status 2.

    A message is one line; one that quotes something long is cut to LONGEST_MESSAGE characters.
    """

    def __init__(self, message: object = "") -> None:
        text = str(message)
        super().__init__(cut_middle(" ".join(text.split()) if "\n" in text else text))


class ShapeError(MiniganError):
    """An array, or a layer's input, has a shape or dtype that the operation cannot take."""


class OptionError(MiniganError):
    """An option has a value that the operation cannot take."""


class BackendError(MiniganError):
    """A backend is unknown, or cannot run on this machine."""


class DeviceMemoryError(BackendError):
    """The device has no room for an array."""


class ModelError(MiniganError):
    """A model is unknown, or cannot make images of the wanted shape."""


class DataError(MiniganError):
    """A dataset is unknown, missing, damaged or of the wrong form."""


class CheckpointError(MiniganError):
    """A checkpoint or run folder is missing, damaged, or belongs to another model."""


class UserFileError(MiniganError):
    """A Python file of the user's own is missing, does not run, or does not define what is asked of it."""


class DivergenceError(MiniganError):
    """Training produced a loss, gradient or parameter that is not finite."""


class RankError(MiniganError):
    """Processes that are to play one game together cannot: MPI is missing, or they differ in what must be the same."""


class LostProcessError(MiniganError):
    """A process that this one has forked to share its work has ended before its time."""


class CaptureError(MiniganError):
    """A step does something that a recording of it could not repeat, such as branching on a value; it runs eagerly instead."""


class NotWorthCapturingError(CaptureError):
    """A step has work for several threads, or convolutions in Winograd's form, beside which Python's share is small."""


def near_name(name: str, known: Iterable[str]) -> str | None:
    """The known name of which this one may be a slip of the finger: most letters agree, whatever their case."""
    import difflib  # slow to import, and only a mistake needs it

    # A common beginning, as the dashes of options, makes nothing alike.
    bare = {known_name.lower().lstrip("-"): known_name for known_name in known}
    close = difflib.get_close_matches(name[:100].lower().lstrip("-"), bare, n=1, cutoff=0.7)
    return bare[close[0]] if close else None


def nearest_name(name: str, known: Iterable[str]) -> str:
    """The end of an "unknown name" message: the nearest known name, if one is near, and the list of all."""
    known = list(known)
    close = near_name(name, known)
    hint = f"did you mean {close!r}? " if close else ""
    return f"{hint}choose from {', '.join(known)}"


def cut_middle(text: str, gap: str = "…") -> str:
    """At most LONGEST_MESSAGE characters of a message. What does not fit is left out of the middle: the end says what to do."""
    if len(text) <= LONGEST_MESSAGE:
        return text
    end = 90
    return f"{text[: LONGEST_MESSAGE - end - len(gap)]}{gap}{text[-end:]}"


def shorten(value: Any, length: int = 60) -> str:
    """The value as Python writes it, cut where it is too long for a message of one line."""
    try:
        text = repr(value)
        text = " ".join(text.split()) if "\n" in text else text  # an array
    except Exception:  # a whole number of more than 4,300 digits, or an object of the user's own
        text = f"<{type(value).__name__}>" if not isinstance(value, int) else "a whole number of thousands of digits"
    return text if len(text) <= length else f"{text[: length - 1]}…"
