"""What is read back of the text files of a run, as a person may have left them: log.csv and config.json."""

from __future__ import annotations

import csv
import json
import math
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from minigan.errors import CheckpointError, shorten

STEP = "step"  # the column that every log has
MOST_DIGITS = 40  # of a whole number in JSON: those of a random state have 39


def read_log(path: Path, until: int | None = None) -> list[dict[str, str]]:
    """The rows of a log in the order of their steps; none if there is no file.

    until: leave out the rows after this step, whatever else they hold.
    Raises CheckpointError, naming the line, for what is no log of a run: see read_table.
    """
    return read_table(path, until)[1]


def read_table(path: Path, until: int | None = None) -> tuple[list[str], list[dict[str, str]]]:
    """(the names of the columns, the rows) of a log.

    Any line ending and a byte order mark are taken. A last line without its end, cut short by a crash, is left out where it
    is not whole; so is a repeated line. Any other line must hold a step and, or nothing, numbers.
    """
    try:
        text = _read_bytes(path).decode("utf-8-sig", errors="replace")
    except FileNotFoundError:
        return [], []
    lines = text.splitlines()
    reader = csv.reader(lines)
    names: list[str] = []
    rows: dict[tuple[str, ...], dict[str, str]] = {}
    while True:
        try:
            cells = next(reader, None)
            if cells is None:
                break
            if not cells:
                continue
            if not names:
                names = _checked_header(cells)
                continue
            if not _is_after(cells, names, until):
                rows[tuple(cells)] = _checked_row(cells, names)
        except (csv.Error, ValueError) as error:
            if names and reader.line_num == len(lines) and not text.endswith(("\n", "\r")):
                break
            where = f"{path}, line {max(1, reader.line_num)}" if names else f"{path} is no log of a run"
            raise CheckpointError(f"{where}: {error}; mend it, or move the file away") from None
    return names, sorted(rows.values(), key=lambda row: int(row[STEP]))


def _checked_header(cells: list[str]) -> list[str]:
    if STEP not in cells:
        raise ValueError(f"expected a first line of columns, step among them, between commas; it is {shorten(','.join(cells))}")
    for name in cells:
        if not name.strip() or cells.count(name) > 1:
            raise ValueError(f"its first line names a column {shorten(name)} {cells.count(name)} times; expected each once")
    return cells


def _is_after(cells: list[str], names: list[str], until: int | None) -> bool:
    index = names.index(STEP)
    return until is not None and index < len(cells) and _is_step(cells[index]) and int(cells[index]) > until


def _is_step(cell: str) -> bool:
    return cell.isascii() and cell.isdigit() and len(cell) <= 15


def _checked_row(cells: list[str], names: list[str]) -> dict[str, str]:
    if len(cells) != len(names):
        raise ValueError(f"it has {len(cells)} cells, and the first line names {len(names)} columns")
    row = dict(zip(names, cells, strict=True))
    if not _is_step(row[STEP]):
        raise ValueError(f"step is {shorten(row[STEP])}, expected a whole number from 0 up")
    for name, cell in row.items():
        try:
            float(cell or "nan")
        except ValueError:
            raise ValueError(f"{shorten(name)} is {shorten(cell)}, expected a number or nothing") from None
    return row


def columns_of(rows: Sequence[Mapping[str, str]]) -> dict[str, list[float]]:
    """The columns of a log's rows by name, as numbers: NaN where a cell is empty, inf where a value was no finite number."""
    return {name: [_number(row[name]) for row in rows] for name in rows[0]}


def _number(cell: str) -> float:
    value = float(cell or math.nan)
    return math.inf if cell and math.isnan(value) else value


def read_settings(path: Path) -> dict[str, Any]:
    """The settings in a config.json.

    Raises FileNotFoundError if there is none, CheckpointError if it cannot be read or is damaged.
    """
    try:
        settings = parse_json(_read_bytes(path).decode("utf-8-sig"))
        if not isinstance(settings, dict):
            raise ValueError(f"it holds {shorten(settings)}, expected settings by name in braces")
    except UnicodeDecodeError:
        raise CheckpointError(f"{path} is damaged (it is not UTF-8 text): put back an earlier copy") from None
    except CheckpointError:
        raise
    except ValueError as error:
        raise CheckpointError(f"{path} is damaged ({error}): put back an earlier copy") from None
    return settings


def parse_json(text: str) -> Any:
    """What a JSON text says. Raises ValueError for one that says nothing definite.

    That is: a name twice, NaN or a number out of range, brackets nested too deeply, text that no file could hold.
    """
    try:
        value = json.loads(
            text, object_pairs_hook=_by_name, parse_constant=_refuse_constant, parse_float=_finite, parse_int=_whole
        )
        json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogateescape")  # as paths that are not UTF-8 are kept
    except RecursionError:
        raise ValueError("its brackets are nested too deeply") from None
    except UnicodeEncodeError:
        raise ValueError("it holds half a surrogate pair") from None
    return value


def _by_name(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"it names {shorten(twice)} twice")
    return values


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"it holds {text}, expected finite numbers")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"it holds {text[:40]}, expected numbers up to 1.8e308")
    return number


def _whole(text: str) -> int:
    if len(text) > MOST_DIGITS:
        raise ValueError(f"it holds a whole number of {len(text):,} digits, expected at most {MOST_DIGITS}")
    return int(text)


def _read_bytes(path: Path) -> bytes:
    """Raises FileNotFoundError if there is no such file, CheckpointError if it cannot be read."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would be waited for
            raise CheckpointError(f"{path} is not a regular file: expected the one that minigan train wrote; move it away")
        return path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror}; make it readable") from None
