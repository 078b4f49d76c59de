"""Arrays as datasets: which can be one, how their axes and values are read, and what is said of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, cast

import numpy as np

from minigan.data.dataset import Dataset
from minigan.data.reading import shown
from minigan.errors import DataError

WANTED = "images (N, H, W), (N, H, W, 1) or (N, H, W, 3), or points (N, 2)"
_FEW = 16  # whole numbers up to this are levels of grey between 0 and the highest, as in scikit-learn's digits, 0 to 16
_CONVERSIONS = {  # what to do about an array that holds no numbers, by its kind
    "O": "; convert it, as array.astype(np.uint8)",
    "V": "; take one field of the records, as array['field']",
    "c": "; take array.real or abs(array)",
}
_SLACK = 1e-4  # of the range: how far rounding may have carried floats beyond it


def as_dataset(data: Any, name: str = "array") -> Dataset:
    """A dataset of the user's own from an array in memory; a Dataset is returned as it is.

    data: images (N, H, W), (N, H, W, 1), (N, H, W, 3), RGBA, which is composed on white, or channels first; rows of square
    images (N, H·H) or, as 3 planes, (N, 3·H·H); or points (N, 2). Values of images: uint8, whole numbers or floats from 0 to
    255, booleans, floats in [0, 1] or [−1, 1]; whole numbers from 0 to at most 16 are levels of grey, the highest is white.
    An array of uint8 is not copied. What was not as a Dataset has it is told in `notes`. name: what messages call it.
    Raises DataError that names what was found, what was expected and what to do.
    """
    called = shown(name)
    if isinstance(data, Dataset):
        return data
    array = _to_numpy(data, called)
    if array.dtype.kind not in "uifb":
        what = f", not a {type(data).__name__}" if array.ndim == 0 else _CONVERSIONS.get(array.dtype.kind, "")
        raise DataError(f"{called} holds {shown(array.dtype, 60)} values: expected numbers{what}")
    if array.size == 0:
        raise DataError(f"{called} holds no samples: its shape is {array.shape}")
    layout = layout_of(array.shape)
    if layout is None:
        raise DataError(f"{called} has shape {shown(array.shape, 60)}: expected {WANTED}{_remedy(array.shape)}")
    array = _checked_floats(array, called, layout == "points")
    if layout == "points":
        return Dataset(name, array)
    notes: list[str] = []
    images = _with_channels_last(array, layout, notes)
    pixels = _to_pixels(images, called, notes)
    if pixels.shape[3] == 4:
        is_opaque = pixels[..., 3].min() == 255
        if not is_opaque:
            notes.append("transparent pixels were composed on white")
        pixels = pixels[..., :3] if is_opaque else on_white(pixels)
    _note_if_blank(int(pixels.min()), int(pixels.max()), notes)
    return Dataset(name, np.ascontiguousarray(pixels), notes=tuple(f"{called}: {note}" for note in notes))


def levels_of(low: int, high: int, called: str) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """(table, notes) for uint8 images whose values lie between these: table[p − low] is what as_dataset makes of p; None: p."""
    notes: list[str] = []
    values = np.arange(low, high + 1, dtype=np.uint8)
    table = _to_pixels(values, called, notes)
    _note_if_blank(int(table.min()), int(table.max()), notes)
    return None if table is values else table, tuple(f"{called}: {note}" for note in notes)


def layout_of(shape: tuple[int, ...]) -> str | None:
    """How the axes of an array of data are read: "points", "rows", "grey", "channels last" or "channels first"; else None."""
    if len(shape) == 2 and shape[1] == 2:
        return "points"
    if len(shape) == 2:
        return "rows" if _square(shape[1]) and shape[0] != shape[1] else None
    if len(shape) == 3:
        return None if shape[2] in (3, 4) and shape[1] > 4 else "grey"  # a single colour image
    if len(shape) != 4:
        return None
    if shape[3] in (1, 3, 4):
        return "channels last"
    return "channels first" if shape[1] in (1, 3, 4) and shape[3] > 4 else None


def on_white(pixels: np.ndarray) -> np.ndarray:
    """uint8 (…, C) from (…, C + 1), whose last channel is opacity: p = a c + (1 − a) 255, rounded."""
    colours, opacity = pixels[..., :-1].astype(np.uint16), pixels[..., -1:].astype(np.uint16)
    return ((colours * opacity + 255 * (255 - opacity) + 127) // 255).astype(np.uint8)


def _to_numpy(data: Any, called: str) -> np.ndarray:
    if isinstance(data, Mapping):
        key = next(iter(data), "images")
        raise DataError(f"{called} is a {type(data).__name__}: give one of its arrays, as data[{shown(repr(key), 40)}]")
    if np.ma.is_masked(data):
        raise DataError(f"{called} has masked values: fill them first, as with array.filled(0)")
    try:
        return np.asarray(data)
    except Exception:  # what another library's array, a list of unequal rows or a tensor that needs its gradient raises
        raise DataError(
            f"{called} is a {type(data).__name__} that NumPy cannot take as an array: give a NumPy array of numbers "
            "(of a tensor, tensor.detach().cpu().float().numpy())"
        ) from None


def _checked_floats(array: np.ndarray, called: str, as_points: bool) -> np.ndarray:
    """The array, floats of half precision as float32, points too. Raises DataError for values that are not finite."""
    if as_points or (array.dtype.kind == "f" and array.dtype.itemsize < 4):
        with np.errstate(all="ignore"):
            array = array.astype(np.float32)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        bad = ~np.isfinite(array)
        samples = np.flatnonzero(bad.reshape(len(bad), -1).any(axis=1))
        raise DataError(
            f"{called} holds {int(bad.sum())} values that are NaN, infinite or too large for float32, in {len(samples)} of "
            f"{len(array)} samples, the first at index {samples[0]}: remove them first"
        )
    return array


def _with_channels_last(array: np.ndarray, layout: str, notes: list[str]) -> np.ndarray:
    if layout == "grey":
        return array[..., None]
    if layout == "rows":
        side, channels = cast(tuple[int, int], _square(array.shape[1]))
        read_as = f"images of {side}x{side}" + (", as 3 planes (red, green, blue)" if channels == 3 else "")
        notes.append(
            f"rows of {array.shape[1]} numbers were read as {read_as}; reshape them yourself if they are laid out otherwise"
        )
        array, layout = array.reshape(-1, channels, side, side), "channels first"
    elif layout == "channels first":
        notes.append(f"channels come first in {array.shape}: the axes were reordered to (N, H, W, C)")
    return array.transpose(0, 2, 3, 1) if layout == "channels first" else array


def _note_if_blank(low: int, high: int, notes: list[str]) -> None:
    if high - low < _FEW:
        notes.append(f"all pixels lie between {low} and {high} of 255: the images look blank")


def _square(length: int) -> tuple[int, int] | None:
    """(side, channels) of the square image in a row of so many numbers, where the side is a usual one; else None."""
    for channels in (1, 3):
        side = math.isqrt(length // channels)
        if channels * side * side == length and side >= 8 and side % 4 == 0:
            return side, channels
    return None


def _remedy(shape: tuple[int, ...]) -> str:
    """What to do about a shape that is nearly right, as the end of a message."""
    if len(shape) == 3:
        return "; of a single colour image give array[None]"
    if len(shape) == 2 and _square(shape[1]):
        return "; of a single image give array[None], of rows reshape them to images"
    if len(shape) == 2 and shape[0] == 2:
        return "; transpose it, array.T"
    if len(shape) == 4 and shape[2] in (1, 3):
        return "; if N comes last, use array.transpose(3, 0, 1, 2)"
    return ""


def _to_pixels(array: np.ndarray, called: str, notes: list[str]) -> np.ndarray:
    """uint8 from the values of images, whose range says what is black and what is white."""
    kind = array.dtype.kind
    if kind == "b":
        return array.astype(np.uint8) * np.uint8(255)
    low, high = array.min().item(), array.max().item()
    whole = kind in "ui" or (1 < high <= _FEW and low >= 0 and bool((array == np.rint(array)).all()))
    if whole and low >= 0 and 0 < high <= _FEW:
        notes.append(f"whole numbers from {low:g} to {high:g}: 0 was taken as black and {high:g} as white")
        return array.astype(np.uint8) * np.uint8(255 // high) if 255 % high == 0 else _rounded(array * np.float32(255 / high))
    if kind in "ui" and low == -1 and high == 1:
        notes.append("whole numbers from -1 to 1: -1 was taken as black and 1 as white")
        return _rounded((array + np.float32(1)) * np.float32(127.5))
    if kind in "ui" and low >= 0 and high <= 255:
        return array.astype(np.uint8, copy=False)
    if kind == "f" and low >= -_SLACK and high <= 1 + _SLACK:
        return _rounded(array * 255)
    if kind == "f" and low >= -1 - _SLACK and high <= 1 + _SLACK:
        return _rounded((array + 1) * 127.5)
    if kind == "f" and low >= -255 * _SLACK and _FEW < high <= 255 * (1 + _SLACK):
        notes.append(f"floats from {low:.4g} to {high:.4g}: 0 was taken as black and 255 as white")
        return _rounded(array.copy())
    from_black = f"(array + {-low:.6g}) / {high - low:.6g}" if low < 0 else f"array / {high:.6g}"
    raise DataError(
        f"{called} holds {array.dtype} values from {low:.6g} to {high:.6g}: expected whole numbers from 0 to 255, or floats "
        f"in [0, 1] or [-1, 1]; scale them, as {from_black}"
    )


def _rounded(pixels: np.ndarray) -> np.ndarray:
    """uint8 from floats, which are overwritten."""
    return np.clip(np.rint(pixels, out=pixels), 0, 255, out=pixels).astype(np.uint8)
