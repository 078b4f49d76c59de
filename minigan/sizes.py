"""Numbers that a layer, a model or an optimiser is given: checked, and taken as Python's own.

NumPy's numbers and arrays without axes count as the numbers that they hold, so that a float32 network never meets a float64.
Booleans, complex numbers, texts, fractions and decimals are refused: each has more than one reading, or needs a rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minigan.errors import OptionError, shorten

DTYPES = ("float32", "float64")

# As a decorator: e^-x and squares of small numbers may become 0, by design, whatever np.seterr asks of the user's own code.
ignore_underflow = np.errstate(under="ignore")


def plain(value: Any) -> Any:
    """A number of NumPy's, or an array without axes, as Python's own; a tuple or list with its parts; else the value."""
    if type(value) is float or type(value) is int:  # as nearly always: a step sets its scalars through here
        return value
    if isinstance(value, (np.bool, np.integer, np.float16, np.float32, np.float64)):
        return value.item()
    if type(value) is np.ndarray and not value.ndim:
        return value.item()
    if type(value) is np.ndarray and value.ndim == 1 and value.dtype.kind in "iu" and value.size <= 8:
        return tuple(value.tolist())  # a shape
    return type(value)(map(plain, value)) if type(value) in (tuple, list) else value


def whole_number(value: Any) -> int | None:
    """value as an int, None if it is no whole number."""
    value = plain(value)
    return value if type(value) is int else int(value) if isinstance(value, int) and not isinstance(value, bool) else None


def positive_int(value: Any, name: str, least: int = 1) -> int:
    """value as an int of at least `least`, or an OptionError that names the option."""
    number = whole_number(value)
    if number is None or number < least:
        raise OptionError(f"{name} is {shorten(value)}: expected a whole number from {least} up")
    return number


def real(value: Any, name: str, expected: str, fits: Callable[[float], bool] = lambda number: True) -> float:
    """value as a finite number that fits, or an OptionError `<name> is <value>: expected <expected>`."""
    number = plain(value)
    if type(number) is float and math.isfinite(number) and fits(number):
        return number
    try:
        if isinstance(number, (int, float)) and not isinstance(number, bool) and math.isfinite(number) and fits(number):
            return number
    except OverflowError:
        pass  # a whole number beyond all floats
    raise OptionError(f"{name} is {shorten(value)}: expected {expected}")


def numbers(values: Any, name: str, least: int = 1) -> tuple[int, ...]:
    """One whole number, or a row of them (a list, a tuple, an array), each at least `least`, as a tuple of ints."""
    if isinstance(values, np.ndarray):
        values = values.tolist()
    row = tuple(values) if isinstance(values, (Sequence, range)) and not isinstance(values, (str, bytes)) else (values,)
    found = tuple(map(whole_number, row))
    if not row or any(n is None or n < least for n in found):
        raise OptionError(f"{name} is {shorten(values)}: expected whole numbers from {least} up")
    return found  # type: ignore[return-value]


def pair(value: Any, name: str, least: int = 1) -> tuple[int, int]:
    """(height, width) from one number for both or a pair, each at least `least`."""
    value = value.tolist() if isinstance(value, np.ndarray) else value
    values = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(values) != 2:
        raise OptionError(f"{name} is {shorten(value)}: expected one number, or a pair (height, width)")
    return positive_int(values[0], name, least), positive_int(values[1], name, least)


def seed_parts(seed: Any) -> tuple[int, ...]:
    """The whole numbers from 0 up that a seed is made of, or an OptionError."""
    try:
        return numbers(seed, "seed", least=0)
    except OptionError:
        raise OptionError(f"seed is {shorten(seed)}: expected a whole number from 0 up, or several") from None


def float_type(dtype: Any) -> np.dtype:
    """The dtype of networks that a name or a type means, or an OptionError."""
    try:
        if np.dtype(dtype).name in DTYPES:
            return np.dtype(dtype)
    except TypeError:
        pass  # not the name of any dtype
    raise OptionError(f"dtype is {shorten(dtype)}: a network computes in {' or '.join(DTYPES)}")


def check_kind(value: Any, kind: type | tuple[type, ...], name: str, expected: str) -> None:
    """Raise OptionError unless the value is of this kind."""
    if not isinstance(value, kind):
        raise OptionError(f"{name} is {shorten(value)}: expected {expected}")


def check_finite(values: Any, name: str) -> None:
    """Raise OptionError for NaN and infinite numbers in a host array; on a GPU, to look would be to wait."""
    if type(values) is np.ndarray and not np.isfinite(values).all():
        raise OptionError(f"{name} holds NaN or infinite numbers: leave them out")


def check_values(values: Any, name: str, expected: str, most: int) -> None:
    """Raise OptionError unless the values of a host array lie in [0, most]; on a GPU, to look would be to wait."""
    if type(values) is np.ndarray and values.size and not (values.min() >= 0 and values.max() <= most):
        worst = values.min() if values.min() < 0 else values.max()
        raise OptionError(f"{name} hold {worst}: expected {expected}")
