"""What the reader of an exercise is shown: the list, the outcome of a check, hints."""

from __future__ import annotations

import inspect
import shlex
import textwrap
from pathlib import Path

from minigan.exercises.exercise import BLANK, RIGHT, WRONG, Exercise, Verdict
from minigan.exercises.library_source import excerpt, source_text
from minigan.exercises.table import EXERCISES
from minigan.exercises.writing import reading

WIDTH = 118
HINTS = 3
MARKS = {RIGHT: "right ", WRONG: "WRONG ", BLANK: "blank "}


def listing() -> str:
    """All exercises: number, title, what one derives, and what belongs to it."""
    lines = []
    for exercise in EXERCISES.values():
        lines.append(f"{exercise.number:>3}  {exercise.title}: {exercise.task}")
        lines.append(f"     examples/{', '.join(exercise.examples)}; minigan explain {', '.join(exercise.explained)}")
    begin = (
        "`minigan exercise 3 --out softmax.py` writes a file with blanks: fill it in, then `minigan exercise check softmax.py`"
    )
    return "\n".join([*lines, "", begin])


def told(verdict: Verdict, path: Path, hint: int = 0) -> str:
    """The outcome of a check, what hint was asked for, and what to do next."""
    exercise = EXERCISES[verdict.number]
    count = len(verdict.outcomes)
    lines = [f"Exercise {exercise.number}, {exercise.title}: {verdict.right} of {count} parts are right"]
    told_already: set[str] = set()
    for outcome in verdict.outcomes:
        again = bool(outcome.lines) and set(outcome.lines) <= told_already
        lines.append(f"  {MARKS[outcome.status]} {outcome.part}{': the same' if again else ''}")
        told_already.update(outcome.lines)
        for line in [] if again else outcome.lines:
            lines += textwrap.wrap(line, WIDTH, initial_indent=" " * 11, subsequent_indent=" " * 11)
    if verdict.blanks:
        lines += textwrap.wrap(f"Not filled in yet: {', '.join(verdict.blanks)}.", WIDTH, subsequent_indent="  ")
    if verdict.ok:
        return "\n".join([*lines, f"All is right. How minigan has it: minigan exercise solution {exercise.number}"])
    if hint:
        lines += ["", *_hints(exercise, verdict, hint)]
    command = f"minigan exercise check {shlex.quote(str(path))} --hint"
    following = f"{command} {hint + 1}" if hint < HINTS else f"minigan exercise solution {exercise.number}"
    lines += ["", f"{'A hint' if not hint else 'More' if hint < HINTS else 'The whole file'}: {following}"]
    return "\n".join([*lines, *textwrap.wrap("Read: " + ";  ".join(reading(exercise)), WIDTH, subsequent_indent="  ")])


def _hints(exercise: Exercise, verdict: Verdict, hint: int) -> list[str]:
    """The hints of this frankness, for each part that is not right."""
    open_parts = {outcome.part for outcome in verdict.outcomes if outcome.status != RIGHT}
    parts = [part for part in exercise.parts if part.name in open_parts]
    lines: list[str] = []
    if hint == 1:
        for part in parts:
            lines += textwrap.wrap(f"{part.name}: {part.hint}", WIDTH, subsequent_indent="  ")
    elif hint == 2:
        quoted: dict[str, dict[str, None]] = {}  # what is quoted of each docstring, each piece once
        for part in parts:
            subject = part.subject or exercise.subject
            quoted.setdefault(subject.__qualname__, {})[excerpt(subject, *part.formula)] = None
        for name, texts in quoted.items():
            lines += [f"From the docstring of {name}:", *(textwrap.indent(text, "  ") for text in texts)]
    else:
        lines.append("minigan's own source:")
        sources = [source_text(piece) for piece in exercise.answer]
        sources += [textwrap.dedent(inspect.getsource(more)).rstrip() for more in exercise.more]
        lines.append(textwrap.indent("\n\n".join(sources), "  "))
    return lines
