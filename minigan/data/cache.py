"""Decoded images in a file of the user's cache, of which only the batches that are taken come into memory."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from minigan.data.dataset import BLOCK
from minigan.data.reading import reason, shown
from minigan.errors import DataError, MiniganError
from minigan.files import PART, write_atomically

FORMAT = 1  # of what the cache holds: an older one is made again
_ABANDONED = 3600  # seconds after which a file that nobody has gone on writing was left by a process that ended
_ADVICE = "make room there, take smaller images, or let them fill a larger share of memory"


class CachedImages:
    """The images of one folder at one size: a .npy file in the user's cache, and a .json file that tells what it was made of.

    source: what names them, such as the folder and the size. made_of: a function that tells what would change with the images
    themselves; it is asked once, before they are read, and only where that matters.
    """

    def __init__(self, source: Iterable[Any], made_of: Callable[[], Iterable[Any]]) -> None:
        import platformdirs

        folder = Path(platformdirs.user_cache_dir("minigan")) / "images"
        self.path, self._about = (folder / f"{_hash(source)}{ending}" for ending in (".npy", ".json"))
        self._ask = made_of

    @cached_property
    def _made_of(self) -> str:
        return _hash([FORMAT, *self._ask()])

    def load(self) -> tuple[np.ndarray, tuple[str, ...]] | None:
        """(images, notes); None where there are none, or they are of other files, or damaged."""
        try:
            about = json.loads(self._about.read_text("utf-8"))
            if about["made_of"] != self._made_of:
                return None
            images, notes = _map(self.path), tuple(map(str, about["notes"]))
            digest = _know_digest(images)
            return (images, notes) if digest == about["digest"] else None
        except (OSError, ValueError, LookupError, TypeError):
            return None

    def begin(self, shape: tuple[int, ...]) -> CacheFile:
        """A new file for images of this shape, in place of one of no use. Raises DataError where there is no room for it."""
        folder, size = self.path.parent, int(np.prod(shape, dtype=object))
        self._made_of  # noqa: B018  asked now: a file that changes while it is read makes this one stale
        with _refusing_to_write(folder):
            folder.mkdir(parents=True, exist_ok=True)
            for path in (self._about, self.path, *self._abandoned()):
                path.unlink(missing_ok=True)
            free = shutil.disk_usage(folder).free
            if size > free:
                raise DataError(
                    f"{shape[0]:,} images of {shape[1]}x{shape[2]} take {size / 2**30:,.3g} GiB, and {shown(folder)} has "
                    f"{free / 2**30:,.3g} left: {_ADVICE}"
                )
            return CacheFile(self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}{PART}"), shape)

    def finish(self, file: CacheFile, notes: tuple[str, ...]) -> np.ndarray:
        """The images that were written to the file, now in their place."""
        with _refusing_to_write(self.path):
            file.close()
            os.replace(file.path, self.path)
            images = _map(self.path)
            about = {"made_of": self._made_of, "digest": _know_digest(images), "notes": notes}
            write_atomically(self._about, json.dumps(about).encode())
        return images

    def _abandoned(self) -> list[Path]:
        """What processes that were killed left of the same file."""
        parts = self.path.parent.glob(f".{self.path.name}.*{PART}")
        return [part for part in parts if part.stat().st_mtime < time.time() - _ABANDONED]


class CacheFile:
    """Images (N, H, W, C) in a file that is being written, in blocks. On a full disk a write fails; to a map, it would kill."""

    def __init__(self, path: Path, shape: tuple[int, ...]) -> None:
        self.path, self.shape = path, shape
        self._file = open(path, "x+b")  # noqa: SIM115  it stays open
        npy.write_array_header_1_0(self._file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        self._start, self._row = self._file.tell(), int(np.prod(shape[1:], dtype=object))

    def read(self, first: int, count: int) -> np.ndarray:
        self._file.seek(self._start + first * self._row)
        block = np.frombuffer(self._file.read(count * self._row), np.uint8)
        return block.reshape(-1, *self.shape[1:])

    def write(self, first: int, block: np.ndarray) -> None:
        with _refusing_to_write(self.path.parent):
            self._file.seek(self._start + first * self._row)
            self._file.write(np.ascontiguousarray(block).data)

    def close(self) -> None:
        self._file.close()

    def discard(self) -> None:
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)


def _map(path: Path) -> np.memmap:
    """The images in a .npy file. Raises ValueError, OSError for one that is damaged."""
    with open(path, "rb") as file:
        if npy.read_magic(file) != (1, 0):
            raise ValueError("another format")
        shape, _, dtype = npy.read_array_header_1_0(file)
        start = file.tell()
    if dtype != np.uint8 or len(shape) != 4 or start + int(np.prod(shape, dtype=object)) != path.stat().st_size:
        raise ValueError("another size")
    return np.memmap(path, np.uint8, "r", start, shape)


def _know_digest(images: np.memmap) -> str:
    """The digest of all images, which rides on the array, so that Dataset need not read them again.

    It is read from the file itself: what is read through the map counts as the process's own memory.
    """
    found = hashlib.blake2b(digest_size=16)
    with open(images.filename, "rb") as file:  # type: ignore[arg-type]
        file.seek(images.offset)
        while block := file.read(BLOCK):
            found.update(block)
    images.digest = found.hexdigest()  # type: ignore[attr-defined]
    return found.hexdigest()


def _hash(parts: Iterable[Any]) -> str:
    return hashlib.blake2b("\0".join(map(str, parts)).encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()


@contextlib.contextmanager
def _refusing_to_write(path: Path) -> Iterator[None]:
    """Turn what the system says of a cache that cannot be written into one DataError."""
    try:
        yield
    except DataError:
        raise
    except (OSError, MiniganError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or reason(error)
        raise DataError(
            f"images that are streamed need a file in {shown(path)}, which cannot be written ({why}): {_ADVICE}"
        ) from None
