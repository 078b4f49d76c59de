"""A reader's answer: its functions found in the file and called, and what becomes of a blank or an error in them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from minigan.errors import UserFileError, cut_middle, near_name
from minigan.exercises.blanks import Blank, blanks_met
from minigan.exercises.exercise import BLANK, ERROR, WRONG, Outcome
from minigan.user_code import describe_error


@dataclass
class Attempt:
    """What a call of the answer gave: a value, or an error in words; and the blanks that it met."""

    value: Any = None
    error: str = ""
    blanks: list[str] = field(default_factory=list)

    def unusable(self, part: str) -> Outcome | None:
        """The outcome of a part for which the call gave nothing that could be judged; None where it did."""
        if self.blanks and (self.error or not finite(self.value)):
            return Outcome(part, BLANK)
        return Outcome(part, WRONG, [self.error], ERROR) if self.error else None


@dataclass
class Answer:
    """A file that has been run, and how its own functions and classes are reached."""

    path: Path
    module: ModuleType

    def find(self, name: str, base: type | None = None) -> Any:
        """The function of that name, or with `base` the class. Raises UserFileError where the file has none."""
        found = vars(self.module).get(name)
        if base is None and callable(found):
            return found
        if base is not None and isinstance(found, type) and issubclass(found, base):
            return found
        what = f"a class {name} made from minigan's {base.__name__}" if base else f"a function {name}"
        raise UserFileError(f"{self.path}: this exercise needs {what}, as the exercise's file had it; {self._instead(name)}")

    def _instead(self, name: str) -> str:
        """What the file has in the place of a function or class, in words."""
        own = [key for key, value in vars(self.module).items() if getattr(value, "__module__", "") == self.module.__name__]
        if name in own:
            return f"the {name} that the file has is not one"
        close = near_name(name, own)
        return f"the file has {', '.join(own) or 'no class or function'}{f': is {close} meant for it?' if close else ''}"

    def attempt(self, call: Callable[[], Any]) -> Attempt:
        """The outcome of a call, whatever the answer does in it."""
        done = Attempt()
        with blanks_met() as done.blanks:
            try:
                with np.errstate(all="ignore"):
                    done.value = call()
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # also SystemExit, and what the file derives from BaseException
                done.error = cut_middle(describe_error(error, self.path))
        return done

    def place(self, function: Any) -> str:
        """Where a function of the file begins: "line 40, in backward: ", or "" for one that is not its own."""
        code = getattr(inspect.unwrap(function), "__code__", None) if callable(function) else None
        if code is None or code.co_filename != str(self.path):
            return ""
        return f"line {code.co_firstlineno}, in {code.co_name}: "


def finite(value: Any) -> bool:
    """Whether a value holds only numbers, and none of them NaN or infinite."""
    if isinstance(value, (tuple, list)):
        return all(finite(part) for part in value)
    if isinstance(value, dict):
        return all(finite(part) for part in value.values())
    try:
        return bool(np.isfinite(value).all())
    except TypeError:
        return False


def misfit(value: Any, shape: tuple[int, ...], what: str) -> str:
    """Why a value cannot be compared with an array of this shape, in words; "" where it can.

    A blank, and a NaN that was made of one, passes for an array of any shape.
    """
    if isinstance(value, Blank) or (isinstance(value, float) and value != value):
        return ""
    wanted = f"an array {shape}" if shape else "a number"
    if value is None:
        return f"{what} is None, expected {wanted}: is a return missing?"
    if value is ...:
        return f"{what} is ..., expected {wanted}: it is not filled in"
    try:
        array = np.asarray(value)
    except ValueError:  # rows of different lengths
        return f"{what} is a {type(value).__name__} that makes no array, expected {wanted}"
    if array.dtype.kind not in "fiub":
        kind = array.dtype if isinstance(value, np.ndarray) else type(value).__name__
        return f"{what} is of type {kind}, expected {wanted} of real numbers"
    if array.shape != shape:
        if not shape:
            return f"{what} has the shape {array.shape}, expected a single number: is a sum or a mean missing?"
        turned = ", its axes exchanged" if array.shape == shape[::-1] and len(shape) > 1 else ""
        return f"{what} has the shape {array.shape}, expected {shape}{turned}"
    return ""


def as_array(value: Any, shape: tuple[int, ...]) -> np.ndarray:
    """The value in float64, NaN everywhere for a blank; misfit has found nothing against it."""
    return np.full(shape, np.nan) if np.shape(value) != shape else np.array(value, np.float64)
