"""What an option of a run is: its type, its range and its help, declared once and read by the command line and by files."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection
from dataclasses import MISSING, Field, dataclass, fields, replace
from functools import cached_property
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import numpy as np

from minigan.errors import nearest_name

NONE = type(None)
LARGEST = 2**63 - 1  # whole number: what JSON readers and NumPy's sizes hold
_NOUNS = {str: "a string", bool: "true or false", int: "a whole number", float: "a finite number"}


@dataclass(frozen=True)
class Option:
    """The declaration of one field of Config, written beside its type: `Annotated[int, Option("…")]`.

    help: one line, without the default. group: the heading of `train --help` under which it stands.
    least, above, below: the range of the number, or of each number of a tuple: least ≤ value, above < value, value < below.
    choices: the names that may be given, or what tells them. other, is_other: a form besides them, in words and as a test;
    other_hint: what a value lacks that was meant to have that form, or "".
    fits, expects: a test of a value, or of each entry of a tuple, beyond type and range; in words what it must be.
    models: those that have this option; none: all. alternative_to: a name shared by options of which one may be given.
    parse: from the text on the command line, where its type does not say enough. on_command_line: whether `train` offers it.
    The rest is filled in by `declared_options`: name, kind (the type without None), nullable, default.
    """

    help: str
    group: str = ""
    metavar: str | None = None
    least: float | None = None
    above: float | None = None
    below: float | None = None
    choices: Collection[str] | Callable[[], Collection[str]] = ()
    other: str = ""
    is_other: Callable[[str], bool] | None = None
    other_hint: Callable[[str], str] | None = None
    fits: Callable[[Any], bool] | None = None
    expects: str = ""
    models: tuple[str, ...] = ()
    alternative_to: str = ""
    parse: Callable[[str], Any] | None = None
    on_command_line: bool = True
    name: str = ""
    kind: Any = str
    nullable: bool = False
    default: Any = None

    @property
    def flag(self) -> str:
        return f"--{self.name.replace('_', '-')}"

    @property
    def item(self) -> type:
        """The type of the value, or of each entry of a tuple."""
        return get_args(self.kind)[0] if self.is_list else self.kind

    @property
    def is_list(self) -> bool:
        return get_origin(self.kind) is tuple

    @property
    def expected(self) -> str:
        """In words what a value must be, as "a whole number from 1 up"."""
        if not self.is_list:
            return self.expected_entry
        count = "" if ... in get_args(self.kind) else f"{len(get_args(self.kind))} "
        return f"a list of {count}{self.expected_entry.removeprefix('a ').replace('number', 'numbers')}"

    @property
    def expected_entry(self) -> str:
        """The same for one entry of a list."""
        return self.expects or (_NOUNS[self.item] if self.below is None else "a number") + self._range()

    def convert(self, value: Any) -> Any:
        """The value as the field holds it: a list becomes a tuple, a number of NumPy a plain one, a path a text.

        Raises ValueError for a wrong type or range, with what was expected as its text.
        """
        if isinstance(value, np.generic):
            value = value.item()
        elif isinstance(value, os.PathLike):
            value = os.fspath(value)
        import msgspec

        try:
            value = msgspec.convert(value, self._checked_type)
        except (msgspec.ValidationError, OverflowError):
            words = f"{self.expected}{limit_in_words(value)}{' or null' if self.nullable else ''}"
            raise ValueError(f"expected {words}") from None
        if value is not None and self.fits and not all(map(self.fits, value if self.is_list else (value,))):
            raise ValueError(f"expected {self.expected}{' or null' if self.nullable else ''}")
        if value is not None and not self.is_known(value):
            raise ValueError(self.hint(value) or f"an unknown name; {nearest_name(value, self.all_choices)}")
        return value

    def hint(self, name: str) -> str:
        """What an unknown name lacks of the other form, or ""."""
        return self.other_hint(name) if self.other_hint else ""

    def is_known(self, value: Any) -> bool:
        return not self.names or value in self.names or (self.is_other is not None and self.is_other(value))

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.choices() if callable(self.choices) else self.choices)

    @property
    def all_choices(self) -> tuple[str, ...]:
        return (*self.names, self.other) if self.other else self.names

    @cached_property
    def _checked_type(self) -> Any:
        """The type as msgspec checks it, range included; no number may be infinite or NaN."""
        import msgspec

        item: Any = self.item
        if item in (int, float):
            bounds: dict[str, Any] = {"ge": self.least, "gt": self.above, "lt": self.below}
            if self.below is None:
                bounds["le"] = LARGEST if item is int else sys.float_info.max
            item = Annotated[item, msgspec.Meta(**bounds)]
        if self.is_list:
            entries = tuple(entry if entry is ... else item for entry in get_args(self.kind))
            item = tuple.__class_getitem__(entries)
            if ... in entries:
                item = Annotated[item, msgspec.Meta(min_length=1)]
        return item | None if self.nullable else item

    def _range(self) -> str:
        if self.below is not None:
            return f" from {self.least:g} to below {self.below:g}"
        if self.above is not None:
            return f" above {self.above:g}"
        return "" if self.least is None else f" from {self.least:g} up"


def declared_options(cls: type) -> dict[str, Option]:
    """The options of a dataclass by name, in the order of its fields, each of the form `name: Annotated[type, Option(…)]`."""
    hints = get_type_hints(cls, include_extras=True)
    return {field.name: _bind(field, hints[field.name]) for field in fields(cls)}


def limit_in_words(value: Any) -> str:
    """The end of what is expected, for a whole number or a text of one that is larger than any option takes."""
    numbers = value if isinstance(value, (tuple, list)) else (value,)
    is_large = any(
        n > LARGEST if isinstance(n, int) else isinstance(n, str) and n.strip().isdecimal() and len(n) > 18 for n in numbers
    )
    return " and below 2^63" if is_large else ""


def _bind(field: Field[Any], hint: Any) -> Option:
    kind, option = get_args(hint)
    members = get_args(kind) if NONE in get_args(kind) else (kind,)
    assert field.default is not MISSING, f"{field.name} has no default"
    (own,) = (member for member in members if member is not NONE)
    return replace(option, name=field.name, kind=own, nullable=NONE in members, default=field.default)
