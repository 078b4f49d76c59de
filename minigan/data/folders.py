"""A folder of image files as one array."""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from minigan.data.images import IMAGE_SUFFIXES, KINDS, read_image, resize
from minigan.data.reading import cannot_read, check_memory, is_litter, shown
from minigan.data.wav import WAV_SUFFIXES
from minigan.errors import DataError

_OTHER_IMAGES = (".gif", ".tif", ".tiff", ".avif", ".heic", ".heif", ".jp2", ".jxl", ".ppm", ".pgm", ".tga", ".psd", ".svg")


def read_folder(folder: Path, size: tuple[int, int] | None) -> tuple[np.ndarray, tuple[str, ...]]:
    """uint8 (N, H, W, C) and notes: every image in a folder and the folders below it, in the order of their names.

    size: (height, width) to scale each to. One colour image makes all of them RGB.
    Raises DataError for a folder without images, one that may not be read, a damaged image, and unequal sizes.
    """
    found = list(_walk(folder))
    files = sorted(path for path in found if path.suffix.lower() in IMAGE_SUFFIXES)
    if not files:
        raise DataError(f"{shown(folder)} holds no {KINDS} files{_instead(found)}")
    images: list[np.ndarray] = []
    changes: Counter[str] = Counter()
    for file in files:
        pixels, changed = read_image(file)
        changes.update(changed)
        if not images:
            height, width = size or pixels.shape[:2]
            check_memory(folder, len(files) * height * width * pixels.shape[2])
        images.append(resize(pixels, size) if size else pixels)
        (h0, w0), (h1, w1) = images[0].shape[:2], images[-1].shape[:2]
        if (h0, w0) != (h1, w1):
            raise DataError(
                f"{shown(files[0])} is {h0}x{w0} and {shown(file)} is {h1}x{w1}: images must have one size; "
                "--image-size makes one"
            )
    grey = sum(image.shape[2] == 1 for image in images)
    if 0 < grey < len(images):
        images = [np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image for image in images]
        changes["grey, read as RGB as the others are"] = grey
    notes = [f"{shown(folder)}: {count} of {len(files)} images {change}" for change, count in changes.items()]
    return np.stack(images), (*notes, *_left_out(folder, found))


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
