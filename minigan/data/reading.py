"""The user's files: looked at, opened and read piece by piece, each failure told as what it is."""

from __future__ import annotations

import errno
import math
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, BinaryIO

from minigan.backends.machine import free_and_total_memory
from minigan.errors import DataError, MiniganError

Pathname = str | os.PathLike[str]
PIECE = 2**20  # bytes read at once: memory grows with what a file holds, not with what its header promises
MOST_AXES = 4


def shown(name: Any, length: int = 80) -> str:
    """A path or name for a message: in one line, with its end, which says most, where it is too long."""
    text = "".join(letter if letter.isprintable() else "?" for letter in str(name))
    return text if len(text) <= length else f"…{text[1 - length :]}"


def reason(error: BaseException) -> str:
    """Why a file could not be read, in few words."""
    lines = str(error).splitlines()
    text = "".join(letter for letter in lines[0] if letter.isprintable()) if lines else ""
    return (text if len(text) <= 100 else f"{text[:99]}…") or type(error).__name__


def is_litter(name: str) -> bool:
    """Whether a name is of what systems leave in folders and archives beside the user's data."""
    return name.startswith(".") or name == "__MACOSX"


def kind_of(path: Pathname) -> str:
    """Whether a path is a "file" or a "folder"; "" if nothing is there.

    Raises DataError where that may not be looked at, and for pipes and devices, which may never end.
    """
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: no path has a zero byte
        return ""
    except OSError as error:
        raise cannot_read(path, error) from None
    if stat.S_ISDIR(mode):
        return "folder"
    if stat.S_ISREG(mode):
        return "file"
    raise DataError(f"{shown(path)} is a pipe or a device: expected a file or a folder")


def cannot_read(path: Pathname, error: OSError) -> DataError:
    """What the system says of a path, permission above all, as the error to raise."""
    text = f"cannot read {shown(path)}: {error.strerror or reason(error)}"
    if isinstance(error, PermissionError):
        text += "; give yourself read permission (for a folder, also the permission to enter it)"
    return DataError(text)


@contextmanager
def opened(path: Pathname) -> Iterator[BinaryIO]:
    """A file open for reading. Raises DataError if the system refuses, then or later."""
    try:
        with open(path, "rb") as file:
            yield file
    except OSError as error:
        raise cannot_read(path, error) from None


@contextmanager
def refusing_damage(path: Pathname, what: str, remedy: str) -> Iterator[None]:
    """Turn whatever a reader of files raises over damaged ones into one DataError: `path is not a readable what (why): remedy`.

    Readers of zip, npy and image files raise nearly anything (struct.error, RecursionError, zlib.error, IndexError, …).
    """
    try:
        yield
    except MiniganError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):  # EINVAL: a place that a damaged file names
            raise cannot_read(path, error) from None
        raise DataError(f"{shown(path)} is not a readable {what} ({reason(error)}): {remedy}") from None


def check_memory(name: Any, size: float) -> None:
    """Raise DataError if `size` bytes are more than the machine has."""
    memory, size = free_and_total_memory(), min(size, 1e300)  # a whole number may be beyond all floats
    if memory and size / 2**20 > memory[1]:
        raise DataError(
            f"{shown(name)} would take {size / 2**30:,.3g} GiB of memory, and this machine has {memory[1] / 2**10:,.3g}: "
            "take fewer or smaller samples"
        )


def read_declared(stream: IO[bytes], shape: tuple[int, ...], itemsize: int, path: Pathname, start: bytes = b"") -> bytearray:
    """The bytes of an array whose header declared its shape: `start`, already read, and all of the rest of the stream.

    Raises DataError for a shape that no dataset has, and for fewer or more bytes than declared; at most one more is read.
    """
    if len(shape) > MOST_AXES or any(n < 0 for n in shape):
        raise DataError(f"{shown(path)} has {len(shape)} axes, {shown(shape, 40)}: expected images or points, of 2 to 4 axes")
    declared = math.prod(shape) * itemsize
    check_memory(path, declared)
    raw = bytearray(start)
    while len(raw) <= declared:
        more = stream.read(min(PIECE, declared + 1 - len(raw)))
        if not more:
            break
        raw += more
    if len(raw) != declared:
        held = f"{len(raw)} bytes" + (" or more" if len(raw) > declared else "")
        raise DataError(f"{shown(path)} holds {held}, its header says {shown(shape, 60)} = {declared}: fetch or save it again")
    return raw
