"""What a sample is, and how those of each kind become the numbers that networks see, and come back from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np

from minigan.backends import Array, Backend
from minigan.data.wav import wav_bytes


def pixels_to_floats(xp: Any, pixels: Array) -> Array:
    """[0, 255] -> [−1, 1]: x = p / 127.5 − 1"""
    return pixels / 127.5 - 1


def floats_to_pixels(images: np.ndarray) -> np.ndarray:
    """[−1, 1] -> uint8 [0, 255], the inverse of pixels_to_floats."""
    return np.rint((np.clip(images, -1, 1) + 1) * 127.5).astype(np.uint8)


def steps_to_floats(xp: Any, steps: Array) -> Array:
    """[−32768, 32767] -> [−1, 1): x = s / 32768"""
    return steps / 32768


def floats_to_steps(sounds: np.ndarray) -> np.ndarray:
    """[−1, 1] -> int16, the inverse of steps_to_floats; 1 itself becomes the largest, 32767."""
    return np.clip(np.rint(sounds * 32768.0), -32768, 32767).astype(np.int16)


def one_hot(xp: Any, numbers: Array, places: Array) -> Array:
    """1 at the place with the number, 0 at all others: max(0, 1 − |n − p|) for whole numbers n and p"""
    return xp.maximum(1 - xp.abs(numbers - places), 0)


def one_hot_rows(be: Backend, places: Array, numbers: Array) -> Array:
    """A row of ones and zeros for each of the numbers."""
    return be.elementwise(one_hot, numbers.reshape(*numbers.shape, 1), places)


def unchanged(values: Array) -> Array:
    return values


class Kind:
    """What the values of a dataset are.

    A new kind is a class here and a line of `KINDS`; a picture, a measure and a model of its own make it whole.

    name: in words. counted: the same behind a number, as in "5,000 images". shown: how many a picture of samples has.
    suffix: of a file of samples beside their picture, where there is one.
    """

    name: ClassVar[str]
    counted: ClassVar[str]
    suffix: ClassVar[str] = ""
    shown: ClassVar[int] = 64

    def fits(self, values: np.ndarray) -> bool:
        """Whether an array can be the values of a dataset of this kind."""
        raise NotImplementedError(f"{type(self).__name__} has no fits")

    def shape(self, values: np.ndarray) -> tuple[int, ...]:
        """The shape of one sample as networks see it."""
        return values.shape[1:]

    def no_values(self, shape: tuple[int, ...]) -> np.ndarray:
        """The values of a dataset without samples, whose shape would be this."""
        raise NotImplementedError(f"{type(self).__name__} has no no_values")

    def to_floats(self, be: Backend, dtype: Any) -> Callable[[Array], Array]:
        """A function of values on the device, whole numbers as floats of `dtype`, that makes of them what networks see."""
        return unchanged

    def from_floats(self, samples: np.ndarray) -> np.ndarray:
        """Samples of networks (N, *shape), on the host, as values of a dataset."""
        return samples

    def settled(self, xp: Any, samples: Array) -> Array:
        """Samples of networks, on the device, as networks would see the values that they become, but for rounding."""
        return samples

    def to_file(self, values: np.ndarray) -> bytes:
        """Values as a file of this suffix."""
        raise NotImplementedError(f"{type(self).__name__} has no to_file")

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, **vars(self)}


@dataclass(frozen=True)
class Images(Kind):
    """uint8 (N, H, W, C), 0 = −1 and 255 = 1."""

    name = counted = "images"

    def fits(self, values: np.ndarray) -> bool:
        return values.ndim == 4 and values.dtype == np.uint8

    def no_values(self, shape: tuple[int, ...]) -> np.ndarray:
        return np.empty((0, *shape), np.uint8)

    def to_floats(self, be: Backend, dtype: Any) -> Callable[[Array], Array]:
        return partial(be.elementwise, pixels_to_floats)

    def from_floats(self, samples: np.ndarray) -> np.ndarray:
        return floats_to_pixels(samples)


@dataclass(frozen=True)
class Points(Kind):
    """float32 (N, K), in the data's own units."""

    name = counted = "points"
    shown = 2000

    def fits(self, values: np.ndarray) -> bool:
        return values.ndim == 2 and values.dtype == np.float32

    def no_values(self, shape: tuple[int, ...]) -> np.ndarray:
        return np.empty((0, *shape), np.float32)


@dataclass(frozen=True)
class Text(Kind):
    """uint8 (N, L): lines of L places, each with the number of a letter, from 1 on in the order of `alphabet`, or 0.

    0 pads a line, and so stands for its end: what comes behind the first 0 is 0 too. Networks see (N, L, 1 + letters), 1 at the
    number of each place and else 0. Raises TypeError for an alphabet that is none.
    """

    alphabet: str

    name, counted = "text", "lines"
    suffix, shown = ".txt", 120
    MOST: ClassVar[int] = 255  # letters

    def __post_init__(self) -> None:
        if not (isinstance(self.alphabet, str) and 0 < len(set(self.alphabet)) == len(self.alphabet) <= self.MOST):
            raise TypeError(f"an alphabet is {self.alphabet!r}: expected 1 to {self.MOST} different letters")

    def fits(self, values: np.ndarray) -> bool:
        return values.ndim == 2 and values.dtype == np.uint8 and values.max(initial=0) <= len(self.alphabet)

    def shape(self, values: np.ndarray) -> tuple[int, ...]:
        return values.shape[1], 1 + len(self.alphabet)

    def no_values(self, shape: tuple[int, ...]) -> np.ndarray:
        return np.empty((0, shape[0]), np.uint8)

    def to_floats(self, be: Backend, dtype: Any) -> Callable[[Array], Array]:
        places = be.asarray(np.arange(1 + len(self.alphabet)), dtype)
        return partial(one_hot_rows, be, places)

    def from_floats(self, samples: np.ndarray) -> np.ndarray:
        """The likeliest letter of each place, up to the first that is the end."""
        numbers = samples.argmax(axis=-1).astype(np.uint8)
        return numbers * np.logical_and.accumulate(numbers > 0, axis=1)

    def settled(self, xp: Any, samples: Array) -> Array:
        """1 at the likeliest letter of each place, and from the first end on at the end."""
        letters = (samples == samples.max(axis=-1, keepdims=True)).astype(samples.dtype)
        goes_on = xp.cumprod(1 - letters[..., :1], axis=1)  # 1 before the first end, then 0
        return xp.concatenate([1 - goes_on, letters[..., 1:] * goes_on], axis=-1)

    def numbers(self, lines: Sequence[str], length: int) -> np.ndarray:
        """Lines of at most `length` letters of the alphabet as values."""
        number_of = {letter: number for number, letter in enumerate(self.alphabet, 1)}
        rows = [[*(number_of[letter] for letter in line), *[0] * (length - len(line))] for line in lines]
        return np.array(rows, np.uint8).reshape(len(rows), length)

    def lines(self, values: np.ndarray) -> list[str]:
        """Values as text."""
        return ["".join(self.alphabet[number - 1] for number in row if number) for row in values.tolist()]

    def to_file(self, values: np.ndarray) -> bytes:
        """A file of lines, as `minigan.data.text.read_text` reads it."""
        return "".join(f"{line}\n" for line in self.lines(values)).encode()


@dataclass(frozen=True)
class Sound(Kind):
    """int16 (N, T, C), −32768 = −1: T values of each of C channels, one after the other at `rate` a second."""

    rate: int

    name, counted = "sound", "sounds"
    suffix, shown = ".wav", 16

    def __post_init__(self) -> None:
        if type(self.rate) is not int or self.rate < 1:
            raise ValueError(f"its sound has the rate {self.rate!r}: expected a whole number of Hz")

    def fits(self, values: np.ndarray) -> bool:
        return values.ndim == 3 and values.dtype == np.int16

    def no_values(self, shape: tuple[int, ...]) -> np.ndarray:
        return np.empty((0, *shape), np.int16)

    def to_floats(self, be: Backend, dtype: Any) -> Callable[[Array], Array]:
        return partial(be.elementwise, steps_to_floats)

    def from_floats(self, samples: np.ndarray) -> np.ndarray:
        return floats_to_steps(samples)

    def to_file(self, values: np.ndarray) -> bytes:
        """A WAV file with one sound after the other."""
        return wav_bytes(values, self.rate)


IMAGES, POINTS = Images(), Points()
KINDS: dict[str, type[Kind]] = {kind.name: kind for kind in (Images, Points, Text, Sound)}


def kind_of_values(values: np.ndarray) -> Kind | None:
    """The kind that the form of an array tells; None if it tells none."""
    return next((kind for kind in (IMAGES, POINTS) if kind.fits(values)), None)


def kind_from_json(entries: Mapping[str, Any] | None, shape: tuple[int, ...]) -> Kind:
    """The kind that to_json described; where there is no description, as in older checkpoints, that of samples of this shape.

    Raises ValueError for what describes none.
    """
    if entries is None:
        return IMAGES if len(shape) == 3 else POINTS
    own = {name: value for name, value in entries.items() if name != "name"}
    if entries.get("name") not in KINDS:
        raise ValueError(f"its samples are of an unknown kind, {entries.get('name')!r}")
    try:
        return KINDS[entries["name"]](**own)
    except TypeError:
        raise ValueError(f"its samples are {entries['name']} of unknown properties, {sorted(own)}") from None
