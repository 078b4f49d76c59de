"""IDX files, the format of MNIST (http://yann.lecun.com/exdb/mnist)."""

from __future__ import annotations

import gzip
from typing import IO, cast

import numpy as np

from minigan.data.reading import Pathname, opened, read_declared, refusing_damage, shown
from minigan.errors import DataError

GZIP, UINT8 = b"\x1f\x8b", b"\0\0\x08"  # how gzipped files begin, and IDX files of bytes


def read_idx(path: Pathname) -> np.ndarray:
    """The uint8 array of an IDX file, gzipped or not: 0, 0, type, number of axes, each axis as 4 bytes big-endian, values.

    A gzipped file is inflated as far as its header says and no further.
    Raises DataError for another magic number or type, and for more or fewer bytes than the header says.
    """
    with opened(path) as file:
        packed = file.read(2) == GZIP
        file.seek(0)
        what = "IDX file" + (": damaged or truncated gzip data" if packed else "")
        with refusing_damage(path, what, "fetch it again"):
            return _read(cast(IO[bytes], gzip.GzipFile(fileobj=file)) if packed else file, path)


def _read(stream: IO[bytes], path: Pathname) -> np.ndarray:
    magic = stream.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0":
        raise DataError(
            f"{shown(path)} is no IDX file: its magic number is {magic.hex() or 'missing'}, expected 0000 08 and the axes; "
            "data are a .npy, .npz, IDX, UTF-8 text or WAV file, or a folder of images or WAV files"
        )
    if magic[:3] != UINT8:
        raise DataError(f"{shown(path)} is an IDX file of type 0x{magic[2]:02x}: expected 0x08, unsigned bytes")
    axes = magic[3]
    sizes = stream.read(4 * axes)
    if len(sizes) < 4 * axes:
        raise DataError(f"{shown(path)} ends within its IDX header of {4 + 4 * axes} bytes: fetch it again")
    shape = tuple(int(n) for n in np.frombuffer(sizes, ">u4"))
    return np.frombuffer(read_declared(stream, shape, 1, path), np.uint8).reshape(shape)
