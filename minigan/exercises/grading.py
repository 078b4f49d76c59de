"""A folder of answers graded into a table: each file in a process of its own, whatever it does."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from minigan.errors import MiniganError, cut_middle
from minigan.exercises.checking import exercise_of
from minigan.exercises.process import SECONDS, check_in_process
from minigan.files import write_atomically

COLUMNS = ("file", "exercise", "parts right", "parts in all", "mistake named", "seconds", "error")
CUT_OFF = "not graded: interrupted before"


@dataclass
class Mark:
    """A row of the table. exercise: None where the file names none."""

    file: str
    exercise: int | None = None
    right: int = 0
    parts: int = 0
    mistake: str = ""
    seconds: float = 0.0
    error: str = ""

    @property
    def row(self) -> list[str]:
        number = "" if self.exercise is None else str(self.exercise)
        values = [self.file, number, str(self.right), str(self.parts), self.mistake, f"{self.seconds:.1f}", self.error]
        # A spreadsheet would take what begins so for a formula, and texts come from the files.
        return [f"'{value}" if value.startswith(("=", "+", "-", "@")) else value for value in values]


def grade(path: Path, name: str, seconds: float = SECONDS) -> Mark:
    """The mark of one file."""
    try:
        exercise = exercise_of(path)
    except MiniganError as error:
        return Mark(name, error=str(error))
    mark = Mark(name, exercise.number, parts=len(exercise.parts))
    done = check_in_process(path, seconds)
    mark.seconds, mark.error = done.seconds, done.error
    if done.verdict is not None:
        mark.right, mark.parts = done.verdict.right, len(done.verdict.outcomes)
        mark.mistake = "; ".join(done.verdict.mistakes)
        blanks = [f"not filled in: {', '.join(done.verdict.blanks)}"] if done.verdict.blanks else []
        mark.error = cut_middle("; ".join([*done.verdict.errors, *blanks]))
    return mark


def grade_folder(
    folder: Path,
    out: Path,
    seconds: float = SECONDS,
    watch: Callable[[Iterable[Path]], Iterable[Path]] = iter,
    tell: Callable[[Mark], None] = lambda mark: None,
) -> list[Mark]:
    """Grade all Python files in a folder and those within it, and write the table to `out`, whole.

    watch: as tqdm; tell: called with each mark. Interrupted, it writes the marks so far, the other files without one, and
    raises KeyboardInterrupt. Raises MiniganError for a folder without files, and before any work if `out` is there already.
    """
    try:
        files = sorted(
            p for p in folder.rglob("*.py") if not any(part.startswith((".", "__")) for part in p.relative_to(folder).parts)
        )
    except OSError as error:
        raise MiniganError(f"cannot look into {folder}: {error.strerror}") from None
    if not folder.is_dir() or not files:
        raise MiniganError(f"{folder} holds no Python files: expected a folder of answers, one file for each")
    if out.exists() or not out.parent.is_dir():
        why = "is there already" if out.exists() else "cannot be written, its folder is missing"
        raise MiniganError(f"--out {out} {why}: choose another name")
    names = {path: path.relative_to(folder).as_posix() for path in files}
    marks: list[Mark] = []
    try:
        for path in watch(files):
            marks.append(grade(path, names[path], seconds))
            tell(marks[-1])
    finally:
        rest = [Mark(names[path], error=CUT_OFF) for path in files[len(marks) :]]
        write_atomically(out, table_of([*marks, *rest]))
    return marks


def table_of(marks: Iterable[Mark]) -> bytes:
    """The marks as CSV, in UTF-8."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    writer.writerows(mark.row for mark in marks)
    return text.getvalue().encode("utf-8", "backslashreplace")


def summary(marks: list[Mark]) -> str:
    """How many are right, by exercise, and what went wrong most."""
    lines = []
    for number in sorted({mark.exercise for mark in marks if mark.exercise is not None}):
        of_it = [mark for mark in marks if mark.exercise == number]
        whole = sum(mark.right == mark.parts and not mark.error for mark in of_it)
        share = sum(mark.right / mark.parts for mark in of_it if mark.parts) / len(of_it)
        lines.append(f"exercise {number:>2}: {whole} of {len(of_it)} right, {share:.0%} of all parts")
    if failed := sum(bool(mark.error) for mark in marks):
        lines.append(f"{failed} of {len(marks)} files with an error or blanks: see the last column")
    frequent = Counter(text for mark in marks for text in mark.mistake.split("; ") if text)
    lines += [f"{count} times: {text}" for text, count in frequent.most_common(3) if count > 1]
    return "\n".join(lines)
