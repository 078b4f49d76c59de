"""NumPy's .npy and .npz files, each header checked before a byte of its array is read."""

from __future__ import annotations

import io
import warnings
import zipfile
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import IO

import numpy as np
from numpy.lib import format as npy

from minigan.data.arrays import layout_of
from minigan.data.reading import Pathname, is_litter, opened, read_declared, refusing_damage, shown
from minigan.errors import DataError

NPY, ZIP = b"\x93NUMPY", (b"PK\x03\x04", b"PK\x05\x06")  # how the files begin; the second is a zip file without members
_HEAD = 2**14  # bytes: more than any header that NumPy reads
# Where several arrays could be the data: names that people give them, and NumPy's own for the first.
_NAMES = ("images", "x_train", "train_images", "train_x", "imgs", "data", "x", "arr_0")
# Those of labels; the last is NumPy's own for the second array.
_LABELS = ("labels", "y_train", "train_labels", "train_y", "label", "classes", "targets", "y", "arr_1")
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # those that NumPy writes, and that can be unpacked a piece at a time


@dataclass(frozen=True)
class _Header:
    shape: tuple[int, ...]
    column_major: bool
    dtype: np.dtype

    @property
    def is_data(self) -> bool:
        """Whether the array can be images or points, as labels cannot."""
        return self.dtype.kind in "uifb" and layout_of(self.shape) is not None and 0 not in self.shape


def read_npy(path: Pathname) -> np.ndarray:
    """The array of a .npy file. Raises DataError for a damaged one and for values that are no numbers."""
    with opened(path) as file, _refusing_damage(path, ".npy"):
        return _read_array(file, path)


def read_npz(path: Pathname, labels: bool = False) -> tuple[np.ndarray, np.ndarray | None, tuple[str, ...]]:
    """The array of a .npz file that holds the data, that of its labels, and a note on which these are, where there are others.

    That is the one named images, else the only one whose shape can be images or points, else the first of the usual names.
    labels: whether they are wanted; None where they are not, or where no array has a usual name of labels.
    Raises DataError if none or several could be meant, and for a damaged file.
    """
    with opened(path) as file, _refusing_damage(path, ".npz"), zipfile.ZipFile(file) as archive:
        infos = archive.infolist()
        members = {info.filename: info for info in infos if not any(map(is_litter, info.filename.split("/")))}
        arrays = {name.removesuffix(".npy"): info for name, info in members.items() if name.endswith(".npy")}
        if not arrays:
            held = f"{_listed(list(members))}, which are no arrays" if members else "nothing"
            raise DataError(f"{shown(path)} holds {held}: expected .npy members; unpack images and give their folder")
        for name, info in arrays.items():
            if info.flag_bits & 1 or info.compress_type not in _METHODS:
                how = "encrypted" if info.flag_bits & 1 else "compressed in a way that NumPy never uses"
                raise DataError(f"{shown(path)} holds {shown(name, 30)}, which is {how}: save it with np.savez_compressed")
        chosen = next(iter(arrays)) if len(arrays) == 1 else _choose(archive, arrays, path)
        with archive.open(arrays[chosen]) as stream:
            array = _read_array(stream, path)
        named = [name for known in _LABELS for name in arrays if name != chosen and _bare(name) == known] if labels else []
        classes = None
        if named:
            with archive.open(arrays[named[0]]) as stream:
                classes = _read_array(stream, path)
    others = [name for name in arrays if name not in (chosen, *named[:1])]
    taken = f"{shown(chosen, 30)} {array.shape}" + (f" and the labels {shown(named[0], 30)}" if named else "")
    note = f"{shown(path)}: took the array {taken}; not used: {_listed(others)}"
    return array, classes, (note,) if others else ()


def _bare(name: str) -> str:
    return name.lower().rpartition("/")[2]


def _choose(archive: zipfile.ZipFile, arrays: dict[str, zipfile.ZipInfo], path: Pathname) -> str:
    """The name of the array that holds the data."""
    if "images" in arrays:
        return "images"
    fitting = []
    for name, info in arrays.items():
        with archive.open(info) as stream:
            if _read_header(stream)[0].is_data:
                fitting.append(name)
    usual = [name for known in _NAMES for name in fitting if _bare(name) == known]
    if len(fitting) == 1 or usual:
        return (usual or fitting)[0]
    raise DataError(
        f"{shown(path)} holds the arrays {_listed(list(arrays))}: expected one array, or one named images or x_train"
    )


def _read_array(stream: IO[bytes], path: Pathname) -> np.ndarray:
    header, start = _read_header(stream)
    if header.dtype.hasobject:
        raise ValueError("it holds Python objects, which are not unpickled")
    if header.dtype.kind not in "uifb":
        raise DataError(f"{shown(path)} holds {shown(header.dtype, 60)} values: expected numbers")
    raw = read_declared(stream, header.shape, header.dtype.itemsize, path, start)
    array = np.frombuffer(raw, header.dtype)
    return array.reshape(header.shape[::-1]).T if header.column_major else array.reshape(header.shape)


def _read_header(stream: IO[bytes]) -> tuple[_Header, bytes]:
    """The header, and the first bytes of the array, which were read with it. Raises anything for a damaged one."""
    head = io.BytesIO(stream.read(_HEAD))
    version = npy.read_magic(head)
    read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
    if read is None:  # 3.0 is for records with field names beyond Latin-1
        raise ValueError(f"its format is {version[0]}.{version[1]}, expected 1.0 or 2.0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Python about numbers in a damaged header: it is refused in one line
        shape, column_major, dtype = read(head)
    return _Header(tuple(int(n) for n in shape), column_major, dtype), head.read()


def _refusing_damage(path: Pathname, suffix: str) -> AbstractContextManager[None]:
    return refusing_damage(path, f"{suffix} file of plain numbers", "save it again with NumPy")


def _listed(names: list[str]) -> str:
    """The first few names, in one line."""
    return ", ".join(shown(name, 20) for name in names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
