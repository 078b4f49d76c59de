"""Writing files whole or not at all."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Callable
from pathlib import Path

from minigan.errors import MiniganError

PART = ".part"  # ending of a file that is being written
KEPT = 50  # characters of the final name in that of a part, which must not exceed a file system's 255 bytes either
_BINARY = getattr(os, "O_BINARY", 0)  # on Windows


def write_atomically(path: str | Path, data: bytes) -> None:
    """Write data to a temporary file beside path, flush it to the disk, and rename it to path.

    Whatever happens on the way, path holds either its old content or all of the new.
    Raises MiniganError, naming the file and the reason, if it cannot be written (full disk, no permission).
    """
    path = Path(path)
    part = path.with_name(f".{path.name[:KEPT]}.{secrets.token_hex(4)}{PART}")
    try:
        if path.exists() and not path.is_file():
            raise OSError(0, "it is no regular file")  # a device would be replaced by a file
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, 0o666)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(part)
            raise
        _flush_folder(path.parent)
    except (OSError, ValueError) as error:  # ValueError: a name with a null character
        reason = getattr(error, "strerror", None) or error
        raise MiniganError(f"cannot write {path}: {reason}. Nothing was changed; free space or choose another place") from None


def write_new(path: Path, data: bytes) -> None:
    """write_atomically, for a file that must not be there yet: nothing that a reader wrote is lost."""
    if os.path.lexists(path):
        raise MiniganError(f"{path} is there already: choose another name, or remove it first")
    write_atomically(path, data)


def remove_parts(folder: Path, is_own: Callable[[str], bool]) -> None:
    """Remove what write_atomically left in a folder when its process was killed while it wrote files of its own names."""
    for path in folder.glob(f".*{PART}"):
        match = re.fullmatch(rf"\.(.+)\.[a-z0-9_]+{re.escape(PART)}", path.name)
        if match and is_own(match[1]) and path.is_file() and not path.is_symlink():
            path.unlink()


def _flush_folder(folder: Path) -> None:
    """Make a rename last through a power cut, where the system lets one flush a folder."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
