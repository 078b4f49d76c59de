"""IDX files, the format of MNIST (http://yann.lecun.com/exdb/mnist)."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

from minigan.errors import DataError

_UINT8 = 0x08


def read_idx(path: Path) -> np.ndarray:
    """The uint8 array of an IDX file, gzipped or not: 0, 0, type, number of axes, each axis as 4 bytes big-endian, values.

    Raises DataError for another magic number or type, and for more or fewer bytes than the header says.
    """
    raw = _unpacked(path)
    if len(raw) < 4 or raw[:2] != b"\0\0":
        raise DataError(
            f"{path} is no IDX file: its magic number is {raw[:4].hex() or 'missing'}, expected 0000 08 and the axes"
        )
    if raw[2] != _UINT8:
        raise DataError(f"{path} is an IDX file of type 0x{raw[2]:02x}: expected 0x08, unsigned bytes")
    axes = raw[3]
    start = 4 + 4 * axes
    if len(raw) < start:
        raise DataError(f"{path} ends within its IDX header of {start} bytes: fetch it again")
    shape = tuple(int(n) for n in np.frombuffer(raw, ">u4", axes, 4))
    if len(raw) - start != math.prod(shape):
        raise DataError(f"{path} holds {len(raw) - start} bytes, its header says {shape} = {math.prod(shape)}: fetch it again")
    return np.frombuffer(raw, np.uint8, offset=start).reshape(shape)


def _unpacked(path: Path) -> bytes:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from None
    if raw[:2] != b"\x1f\x8b":
        return raw
    try:
        return gzip.decompress(raw)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} is a damaged or truncated gzip file ({error}): fetch it again") from None
