"""A folder of image files as one array, in memory or mapped from a file of the cache."""

from __future__ import annotations

import errno
import math
import os
import sys
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from minigan.backends.machine import free_and_total_memory
from minigan.data.arrays import levels_of
from minigan.data.cache import CachedImages, CacheFile
from minigan.data.dataset import blocks_of
from minigan.data.decoding import decode, decode_all
from minigan.data.images import ANIMATED, COMPOSED, IMAGE_SUFFIXES, KINDS, TURNED, Picture
from minigan.data.reading import cannot_read, check_memory, is_litter, shown
from minigan.data.wav import WAV_SUFFIXES
from minigan.errors import DataError
from minigan.progress import tqdm_bar

MEMORY_SHARE = 0.25  # of what is free: more is streamed, so that the networks and their batches have room
_UNTOLD = 2**32  # bytes that are taken to be free where the system does not tell

GREY = "grey, read as RGB as the others are"
_OTHER_IMAGES = (".gif", ".tif", ".tiff", ".avif", ".heic", ".heif", ".jp2", ".jxl", ".ppm", ".pgm", ".tga", ".psd", ".svg")


def read_folder(
    folder: Path,
    size: tuple[int, int] | None,
    fit: str = "cut",
    memory_share: float = MEMORY_SHARE,
    progress: bool = False,
) -> tuple[np.ndarray, tuple[str, ...]]:
    """uint8 (N, H, W, C) and notes: every image in a folder and the folders below it, in the order of their names.

    size: (height, width) to bring each to, by `fit` (see FITS). One colour image makes all of them RGB. Images that would fill
    more than `memory_share` of what memory is free lie in a file of the user's cache, and the array maps it: see CachedImages.
    progress: whether to show a bar, on a terminal.
    Raises DataError for a folder without images, one that may not be read, a damaged image, unequal sizes, and a cache without
    room.
    """
    found = list(_walk(folder))
    files = sorted(path for path in found if path.suffix.lower() in IMAGE_SUFFIXES)
    if not files:
        raise DataError(f"{shown(folder)} holds no {KINDS} files{_instead(found)}")
    cache = _cache_of(folder, files, size, fit)
    images, notes = cache.load() or _Reading(folder, files, size, fit, memory_share).read(cache, progress)
    notes = (*notes, *_left_out(folder, found))
    if not isinstance(images, np.memmap):
        return images, notes
    if _fits(images.size, memory_share):
        return np.array(images), notes
    return images, (*notes, f"{shown(folder)}: {images.size / 2**30:,.2g} GiB of pixels are streamed from {cache.path}")


def _fits(size: int, memory_share: float) -> bool:
    """Whether so many bytes are no more than that share of what memory is free."""
    memory = free_and_total_memory()
    return size <= memory_share * (memory[0] * 2**20 if memory else _UNTOLD)


def _cache_of(folder: Path, files: Sequence[Path], size: tuple[int, int] | None, fit: str) -> CachedImages:
    """The cache of these files, which tells by their names, sizes and times whether they are those that it was made of."""

    def made_of() -> Iterator[Any]:
        from PIL import __version__

        yield __version__
        for file in files:
            status = os.stat(file)
            yield f"{os.fspath(file).removeprefix(os.fspath(folder))} {status.st_size} {status.st_mtime_ns}"

    return CachedImages((folder.resolve(), size, fit), made_of)


class _Reading:
    """The images of a folder as they are decoded, in memory or in a file of the cache."""

    def __init__(
        self, folder: Path, files: Sequence[Path], size: tuple[int, int] | None, fit: str, memory_share: float
    ) -> None:
        self._folder, self._files, self._size, self._fit, self._share = folder, files, size, fit, memory_share
        self._changes: Counter[str] = Counter()
        self._grey, self._low, self._high = 0, 255, 0
        self._bar: Any = None

    def read(self, cache: CachedImages, progress: bool) -> tuple[np.ndarray, tuple[str, ...]]:
        """Decode all files. Raises what read_folder raises."""
        self._cache = cache
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow doubts many files that it can read
            ((first, _),) = decode([os.fspath(self._files[0])], None, self._fit)
            self._images = self._room_for((len(self._files), *(self._size or first.shape[:2]), first.shape[2]))
            try:
                with self._showing_progress(progress):
                    decode_all(list(map(os.fspath, self._files)), self._size, self._fit, self._store)
                notes = self._notes()
                if isinstance(self._images, CacheFile):
                    return self._cache.finish(self._images, notes), notes
                return self._images.array, notes
            finally:
                self._images.discard()

    def _room_for(self, shape: tuple[int, ...]) -> _InMemory | CacheFile:
        size = math.prod(shape)
        check_memory(f"an image of {shape[1]}x{shape[2]}", size // shape[0])
        return _InMemory(shape) if _fits(size, self._share) else self._cache.begin(shape)

    def _store(self, first: int, pictures: list[Picture]) -> None:
        """Keep pictures, those of file number `first` and after it."""
        height, width, channels = self._images.shape[1:]
        shapes = Counter(picture.pixels.shape for picture in pictures)
        if any(shape[:2] != (height, width) for shape in shapes):
            other = next(index for index, picture in enumerate(pictures) if picture.pixels.shape[:2] != (height, width))
            h, w = pictures[other].pixels.shape[:2]
            raise DataError(
                f"{shown(self._files[0])} is {height}x{width} and {shown(self._files[first + other])} is {h}x{w}: images must "
                "have one size; --image-size makes one"
            )
        for picture in pictures:
            if picture.changes:
                self._changes.update(picture.changes)
        self._grey += shapes[height, width, 1]
        if channels == 1 and shapes[height, width, 3]:
            self._take_colours()
        if len(shapes) > 1 or (height, width, self._images.shape[3]) not in shapes:
            block = np.stack([np.broadcast_to(picture.pixels, self._images.shape[1:]) for picture in pictures])
        else:
            block = np.stack([picture.pixels for picture in pictures])
        self._low, self._high = min(self._low, int(block.min())), max(self._high, int(block.max()))
        self._images.write(first, block)
        with suppress(OSError, ValueError):  # of a terminal that is gone, for whose sake nothing ends
            self._bar.update(len(pictures))

    def _take_colours(self) -> None:
        """Make room for three channels, in place of one."""
        grey = self._images
        self._images = self._room_for((*grey.shape[:3], 3))
        try:
            for first, count in blocks_of(len(self._files), math.prod(grey.shape[1:])):
                self._images.write(first, np.repeat(grey.read(first, count), 3, axis=3))
        finally:
            grey.discard()

    def _notes(self) -> tuple[str, ...]:
        """What was done to the images; done to their values, too, where these are few levels of grey."""
        levels, of_levels = levels_of(self._low, self._high, shown(self._folder))
        if levels is not None:
            for first, count in blocks_of(len(self._files), math.prod(self._images.shape[1:])):
                self._images.write(first, levels[self._images.read(first, count) - self._low])
        if 0 < self._grey < len(self._files):
            self._changes[GREY] = self._grey
        done = [change for change in (COMPOSED, TURNED, ANIMATED, GREY) if self._changes[change]]
        changed = (f"{shown(self._folder)}: {self._changes[change]} of {len(self._files)} images {change}" for change in done)
        return (*changed, *of_levels)

    @contextmanager
    def _showing_progress(self, progress: bool) -> Iterator[None]:
        """A bar on a terminal, of what takes longer than a second."""
        is_seen = progress and sys.stderr is not None and not sys.stderr.closed and sys.stderr.isatty()
        options: dict[str, Any] = {"unit": "image", "desc": "decoding", "delay": 1, "leave": False}
        self._bar = tqdm_bar(total=len(self._files), disable=not is_seen, **options)
        try:
            yield
        finally:
            with suppress(OSError, ValueError):
                self._bar.close()


class _InMemory:
    """Images (N, H, W, C) in an array, read and written in blocks as those in a CacheFile."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape, self.array = shape, np.empty(shape, np.uint8)

    def read(self, first: int, count: int) -> np.ndarray:
        return self.array[first : first + count]

    def write(self, first: int, block: np.ndarray) -> None:
        self.array[first : first + len(block)] = block

    def discard(self) -> None:
        """Leave nothing behind."""


def wav_files(folder: Path) -> tuple[list[Path], tuple[str, ...]]:
    """The WAV files in a folder and the folders below it, in the order of their names, and a note on images beside them."""
    found = list(_walk(folder))
    files = sorted(path for path in found if path.suffix.lower() in WAV_SUFFIXES)
    images = sum(path.suffix.lower() in IMAGE_SUFFIXES for path in found)
    note = f"{shown(folder)} holds {len(files):,} WAV files and {images:,} images: it was read as sound, the images left out"
    return files, (note,) if files and images else ()


def classes_of_folder(folder: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    """(labels, class_names) of the images that read_folder reads, in its order: a class for each sub-folder that has some.

    Raises DataError for an image that lies in none.
    """
    files = sorted(path for path in _walk(folder) if path.suffix.lower() in IMAGE_SUFFIXES)
    parts = [file.relative_to(folder).parts for file in files]
    if alone := [file for file, within in zip(files, parts, strict=True) if len(within) == 1]:
        where = f"{len(alone):,} of {len(files):,} images lie beside them, as {shown(alone[0].name, 40)}"
        raise DataError(f"{shown(folder)}: to learn classes, each must be a sub-folder, and {where}: move them into one")
    names = sorted({within[0] for within in parts})
    number = {name: index for index, name in enumerate(names)}
    return np.array([number[within[0]] for within in parts], np.int64), tuple(names)


def folders_read(top: Path) -> set[Path]:
    """The folders, links resolved, in which a folder of images is looked for images."""
    return {top.resolve(), *(path.parent.resolve() for path in _walk(top))}


def _walk(top: Path) -> Iterator[Path]:
    """The files in a folder and all below. Links to folders are followed, after the folders themselves; each is read once."""
    seen: set[tuple[int, int]] = set()
    folders: list[Path] = [top]
    links: list[Path] = []
    while folders or links:
        folder = folders.pop() if folders else links.pop(0)
        try:
            status = os.stat(folder)
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as entries:
                for entry in sorted(entries, key=lambda entry: entry.name):
                    if is_litter(entry.name):
                        continue
                    path = Path(entry.path)
                    if entry.is_symlink() and _is_broken(path):
                        if path.suffix.lower() in (*IMAGE_SUFFIXES, *WAV_SUFFIXES):  # it would be missing without a word
                            raise DataError(f"{shown(path)} is a link to nothing: put its file back or remove the link")
                    elif entry.is_dir():
                        (links if entry.is_symlink() else folders).append(path)
                    elif entry.is_file():
                        yield path
        except OSError as error:
            raise cannot_read(error.filename or folder, error) from None


def _is_broken(link: Path) -> bool:
    """True if a link leads nowhere or in a circle. Raises OSError where its target may not be looked at."""
    try:
        os.stat(link)
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        return True
    return False


def _instead(found: list[Path]) -> str:
    """What a folder without images holds instead, and what to do, as the end of a message."""
    if not found:
        return ": there is no file in it or in the folders below"
    arrays = [path for path in found if path.suffix.lower() in (".npy", ".npz") or "ubyte" in path.name]
    if arrays:
        return f", but {shown(arrays[0].name, 40)}: give that file's own path"
    suffix, count = Counter(path.suffix.lower() for path in found).most_common(1)[0]
    remedy = "convert them to PNG" if suffix in _OTHER_IMAGES else "give another folder"
    return f", but {count:,} of type {shown(suffix, 20) or 'unknown'}: {remedy}"


def _left_out(folder: Path, found: list[Path]) -> list[str]:
    """A note on images of kinds that are not read, if there are any beside those that are."""
    others = Counter(path.suffix.lower() for path in found if path.suffix.lower() in _OTHER_IMAGES)
    if not others:
        return []
    return [
        f"{shown(folder)}: left out {others.total():,} of type {', '.join(sorted(others))}; convert them to PNG to use them"
    ]
