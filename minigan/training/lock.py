"""One process at a time in a folder: a lock that the system gives back when its holder ends, however that ends."""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from minigan.errors import MiniganError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

LOCK = ".minigan.lock"
_TAKEN = {errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK}
_FAR = 2**30  # Windows lets nobody read a locked byte; this one lies behind the holder's name
_held: set[int] = set()  # descriptors of the locks that this process holds


@contextmanager
def locked(folder: Path, log: Callable[[str], None]) -> Iterator[None]:
    """Hold the folder's lock. Raises MiniganError, naming the holder, if another process or another run of this one holds it.

    Where the file system has no locks, `log` is told so, and the folder is not guarded.
    """
    path = folder / LOCK
    descriptor = _acquire(path, log)
    _held.add(descriptor)
    try:
        with suppress(OSError):  # on a full disk the holder stays unnamed
            os.ftruncate(descriptor, 0)
            since = datetime.now().astimezone().isoformat(" ", "seconds")
            os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}, since {since}\n".encode())
        yield
    finally:
        if descriptor in _held:  # not in a forked child
            with suppress(OSError):
                if _is_at(descriptor, path):
                    path.unlink()  # while it is held, so that it is no one else's
            _held.discard(descriptor)
            os.close(descriptor)


def _acquire(path: Path, log: Callable[[str], None]) -> int:
    """An open descriptor of the lock file, locked where the file system can."""
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        except OSError as error:
            raise MiniganError(f"cannot write {path}: {error.strerror}; choose another folder") from None
        reason = _try_to_lock(descriptor)
        if reason in _TAKEN:
            holder = " ".join(os.read(descriptor, 150).decode(errors="replace").split()) or "another process"
            os.close(descriptor)
            raise MiniganError(f"{path.parent} is in use by {holder}: wait until it ends, or choose another folder")
        if reason is not None:
            log(f"{path.parent} lies where files cannot be locked ({os.strerror(reason)}): start no other run in it")
            return descriptor
        if _is_at(descriptor, path):
            return descriptor
        os.close(descriptor)  # its last holder has just removed it


def _try_to_lock(descriptor: int) -> int | None:
    """None if the descriptor now holds the lock, else the system's error number."""
    try:
        if sys.platform == "win32":
            os.lseek(descriptor, _FAR, os.SEEK_SET)
            try:
                msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            finally:
                os.lseek(descriptor, 0, os.SEEK_SET)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno
    return None


def _is_at(descriptor: int, path: Path) -> bool:
    """True if the open file still is the one at the path."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _close_in_child() -> None:
    """A forked child shares its parent's locks, and would hold them when the parent has ended."""
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)
