"""Lines of text as datasets: letters become numbers, and some lines are held out."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from minigan.backends import stream
from minigan.data.dataset import Dataset
from minigan.data.kinds import Text
from minigan.data.reading import check_memory, opened, shown
from minigan.errors import DataError, OptionError, shorten
from minigan.sizes import positive_int

LONGEST = 32  # places, unless told otherwise
HELD_OUT, SHARE = 500, 8  # lines, and one of so many, whichever is less


def read_text(path: Path) -> list[str]:
    """The lines of a UTF-8 file, with "\\n", "\\r\\n" or "\\r" behind each. Raises DataError for a file in another encoding."""
    with opened(path) as file:
        check_memory(path, 8 * path.stat().st_size)  # as text, and its lines
        raw = file.read()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, byte = raw[: error.start].count(b"\n") + 1, raw[error.start]
        raise DataError(
            f"{shown(path)} is not UTF-8 text: line {line:,} holds the byte 0x{byte:02x}; save it in UTF-8"
        ) from None
    return re.split("\r\n|\r|\n", text.removesuffix("\n").removesuffix("\r"))


def as_text(
    lines: Sequence[str],
    name: str = "lines",
    length: int | None = None,
    alphabet: str | None = None,
    hold_out: int | None = None,
) -> Dataset:
    """A dataset of lines, one sample each; spaces around a line are left out, which a note tells.

    length: places of each; None: one more than the longest line has, at most 32. alphabet: its letters, at most 255; None:
    those found, sorted. hold_out: how many lines become the dataset's `held_out` in place of its values; None: an eighth, at
    most 500. They are drawn by a stream of their own, so that all runs on these lines leave out the same ones.
    Raises DataError for no lines, an empty one before the last, a line that is too long and a letter that the alphabet lacks,
    naming the line; OptionError for a length, an alphabet or a number that is none.
    """
    called = shown(name)
    numbered = [(number, line.strip()) for number, line in enumerate(lines, 1)]
    while numbered and not numbered[-1][1]:  # at the end of a file they mean nothing
        numbered.pop()
    kept = [(number, line) for number, line in numbered if line]
    if not kept:
        raise DataError(f"{called} holds no lines with letters: expected one sample a line")
    notes = []
    if empty := len(numbered) - len(kept):
        first = next(number for number, line in numbered if not line)
        raise DataError(f"line {first:,} of {called} is empty, one of {empty:,}: expected one sample a line; take them out")
    if stripped := sum(line != line.strip() for line in lines if line.strip()):
        notes.append(f"{called}: spaces around {stripped:,} lines are left out")
    kind = Text(_checked_alphabet(kept, called, alphabet))
    values = kind.numbers([line for _, line in kept], _checked_length(kept, called, length))
    count = min(HELD_OUT, len(values) // SHARE) if hold_out is None else positive_int(hold_out, "hold_out", 0)
    if count >= len(values):
        raise OptionError(f"hold_out is {shorten(count)}, and {called} has {len(values):,} lines: choose fewer than these")
    order = np.random.default_rng(stream("held out", len(values))).permutation(len(values))
    held, own = np.sort(order[:count]), np.sort(order[count:])
    if count:
        notes.append(f"{called}: {count:,} of {len(values):,} lines are held out, to compare samples with")
    return Dataset(name, values[own], notes=tuple(notes), kind=kind, held_out=values[held] if count else None)


def check_alphabet(alphabet: str) -> bool:
    """Whether a text can be an alphabet: different letters, 1 to 255, none of them a control character."""
    return 0 < len(alphabet) <= Text.MOST and len(set(alphabet)) == len(alphabet) and not any(map(_is_control, alphabet))


def _checked_alphabet(lines: Sequence[tuple[int, str]], name: str, alphabet: str | None) -> str:
    if alphabet is not None and not check_alphabet(alphabet):
        raise OptionError(f"alphabet is {shorten(alphabet)}: expected 1 to {Text.MOST} different letters, as 'abc'")
    known: set[str] = set(alphabet or ())
    for number, line in lines:
        for letter in set(line) - known:
            if _is_control(letter):
                raise DataError(f"line {number:,} of {name} holds the control character U+{ord(letter):04X}: remove it")
            if alphabet is not None:
                told = f"which is not in the alphabet {shorten(alphabet, 60)}"
                raise DataError(
                    f"line {number:,} of {name} holds {letter!r}, {told}: name one that has it, or take the line out"
                )
        known |= set(line)
    if len(known) > Text.MOST:
        raise DataError(f"{name} holds {len(known):,} different letters: expected at most {Text.MOST}; take lines out")
    return "".join(sorted(known)) if alphabet is None else alphabet


def _checked_length(lines: Sequence[tuple[int, str]], name: str, length: int | None) -> int:
    number, longest = max(lines, key=lambda pair: len(pair[1]))
    most = min(len(longest) + 1, LONGEST) if length is None else positive_int(length, "length")
    if len(longest) > most:
        count = sum(len(line) > most for _, line in lines)
        raise DataError(
            f"{name} has {count:,} line{'s' if count > 1 else ''} of more than {most} letters, the longest line {number:,} "
            f"with {len(longest):,}: name a larger length, or take them out"
        )
    check_memory(name, len(lines) * most)
    return most


def _is_control(letter: str) -> bool:
    return unicodedata.category(letter) in ("Cc", "Cs")
