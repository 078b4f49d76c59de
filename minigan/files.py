"""Writing files whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from minigan.errors import MiniganError

PART = ".part"  # ending of a file that is being written


def write_atomically(path: str | Path, data: bytes) -> None:
    """Write data to a temporary file beside path, flush it to the disk, and rename it to path.

    Whatever happens on the way, path holds either its old content or all of the new.
    Raises MiniganError, naming the file and the reason, if it cannot be written (full disk, no permission).
    """
    path = Path(path)
    temporary = None
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=PART)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)  # as open() would have made it; mkstemp's files are private
        os.replace(temporary, path)
        temporary = None
        _flush_folder(path.parent)
    except OSError as error:
        reason = error.strerror or error
        raise MiniganError(f"cannot write {path}: {reason}. Nothing was changed; free space or choose another place") from None
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def _flush_folder(folder: Path) -> None:
    """Make a rename last through a power cut, where the system lets one flush a folder."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
