"""The text of an exercise's file: with its blanks, or filled in by the library's own source."""

from __future__ import annotations

import textwrap

from minigan.exercises.exercise import Exercise
from minigan.exercises.library_source import excerpt, formulas_for, imports_for, source_line, source_text

WIDTH = 118
HOW = (
    "Fill in: put what is right in the place of each blank(…), in NumPy or with self.backend, line by line or in your own way. "
    "A blank gives NaN, so you can check what you have before all is filled in."
)


def reading(exercise: Exercise) -> list[str]:
    """What to read about it, a line each."""
    lines = [f"minigan explain {name}" for name in exercise.explained]
    lines += [f"examples/{name}" for name in exercise.examples]
    return [*lines, *filter(None, [source_line(exercise.subject)])]


def file_text(exercise: Exercise, solved: bool = False) -> str:
    """The file of an exercise; solved: with the library's source in the place of the blanks."""
    pieces = [*exercise.given, *(exercise.answer if solved else ())]
    parts = [_docstring(exercise, solved), "from __future__ import annotations", _imports(exercise, solved)]
    if formulas := formulas_for(pieces):
        parts.append("\n".join(textwrap.fill(line, WIDTH, subsequent_indent="#     ") for line in formulas))
    parts.append(f"EXERCISE = {exercise.number}  # by this line the check knows the file")
    given = [source_text(piece) for piece in exercise.given]
    own = [textwrap.dedent(exercise.blanks).strip()]
    if solved:
        own = [f"{name} = {getattr(exercise.subject, name)!r}" for name in exercise.attributes]
        own += [source_text(piece) for piece in exercise.answer]
    if not exercise.head:
        return "\n\n".join(parts) + "\n\n\n" + "\n\n\n".join([*given, *own]) + "\n"
    note = ["# What is given, as minigan has it:"] if given else []
    body = "\n".join(note) + ("\n" if note else "") + "\n\n".join(given)
    body += "\n\n# The rest, as minigan has it:\n" if given and solved else "\n\n# The rest is yours:\n" if given else ""
    body += "\n\n".join(own)
    return "\n\n".join(parts) + f"\n\n\n{exercise.head}\n{textwrap.indent(body, '    ')}\n"


def _imports(exercise: Exercise, solved: bool) -> str:
    needed = imports_for([*exercise.given, *(exercise.answer if solved else ())])
    standard = [line for line in needed if line.startswith("import ")]
    wanted = ["import numpy as np", "", "import minigan as mg"]
    if "(Backend)" in exercise.head:
        wanted.append("from minigan.backends import Backend")
    if not solved:
        wanted.append("from minigan.exercises import blank")
    rest = [textwrap.fill(line, WIDTH, subsequent_indent="    ") for line in needed if line not in standard]
    rest = [f"{line.replace(' import ', ' import (', 1)})" if "\n" in line else line for line in rest]
    return "\n".join([*standard, *wanted, *rest])


def _docstring(exercise: Exercise, solved: bool) -> str:
    quoted = "\n\n".join(_reflowed(excerpt(exercise.subject, *words)) for words in exercise.opening) + " …"
    lines = [f'"""Exercise {exercise.number}, {exercise.title}: {exercise.task}', "", quoted, ""]
    if solved:
        lines.append("Filled in by minigan's own source.")
    else:
        lines += textwrap.wrap(HOW, WIDTH)
        lines += ["", "Marked are: " + "; ".join(part.name for part in exercise.parts) + ".", ""]
        lines += ["Check: minigan exercise check THIS_FILE", "A hint: minigan exercise check THIS_FILE --hint 1", ""]
        lines += textwrap.wrap("Read: " + ";  ".join(reading(exercise)), WIDTH)
    return "\n".join([*lines, '"""'])


def _reflowed(text: str) -> str:
    """The text with its plain lines joined and broken anew; indented lines, which are formulas, stay as they are."""
    blocks: list[str] = []
    for line in text.split("\n"):
        if blocks and line and blocks[-1] and not line.startswith(" ") and not blocks[-1].split("\n")[-1].startswith(" "):
            blocks[-1] += f" {line}"
        else:
            blocks.append(line)
    return "\n".join(block if block.startswith(" ") else textwrap.fill(block, WIDTH) for block in blocks)
