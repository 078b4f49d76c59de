"""The check of one file, in this process: it runs what the file holds."""

from __future__ import annotations

import ast
import re
import time
from pathlib import Path
from types import ModuleType

from minigan.errors import UserFileError, near_name
from minigan.exercises.answer import Answer
from minigan.exercises.blanks import blanks_met
from minigan.exercises.exercise import Exercise, Verdict
from minigan.exercises.table import EXERCISES
from minigan.user_code import read_file, run_file


def exercise_of(path: Path) -> Exercise:
    """The exercise that a file answers, by its line EXERCISE = N, without running it.

    Raises UserFileError for a file that cannot be read, is not Python, or has no such line.
    """
    source = read_file(path)
    try:
        tree = ast.parse(source, str(path))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        reason = error.msg if isinstance(error, SyntaxError) else str(error) or "it is nested too deeply"
        raise UserFileError(f"{path}{line}: this is not Python ({reason})") from None
    number = None
    for node in tree.body:
        if isinstance(node, ast.Assign) and [getattr(target, "id", "") for target in node.targets] == ["EXERCISE"]:
            number = node.value.value if isinstance(node.value, ast.Constant) else ast.unparse(node.value)
    if number is None:
        raise UserFileError(f"{path} has no line EXERCISE = N: check a file that `minigan exercise N --out FILE` wrote")
    if type(number) is not int or number not in EXERCISES:
        raise UserFileError(f"{path}: EXERCISE is {str(number)[:60]}: expected a number from 1 to {len(EXERCISES)}")
    return EXERCISES[number]


def check_answer(path: Path) -> Verdict:
    """Run the file and check what it answers. Raises UserFileError where there is nothing to check."""
    exercise, since = exercise_of(path), time.perf_counter()
    with blanks_met() as blanks:
        module = run_file(path)
        _require_methods(exercise, path, module)
        outcomes = exercise.check(Answer(path, module))
    return Verdict(exercise.number, outcomes, blanks, time.perf_counter() - since)


def _require_methods(exercise: Exercise, path: Path, module: ModuleType) -> None:
    """Raises UserFileError where the exercise's class lacks a method to be filled in: the library's own would be judged."""
    name = exercise.head.removeprefix("class ").partition("(")[0]
    kind = vars(module).get(name)
    if not isinstance(kind, type) or not any(base.__module__.startswith("minigan.") for base in kind.__mro__):
        return  # which the check itself tells
    own = {key: None for base in kind.__mro__ if base.__module__ == kind.__module__ for key in vars(base)}
    for method in re.findall(r"^def (\w+)\(", exercise.blanks, re.MULTILINE):
        if method not in own:
            close = near_name(method, own)
            hint = f"is {close} meant for it?" if close else "put it back as the exercise's file had it"
            raise UserFileError(f"{path}: the class {name} has no {method} of its own: {hint}")
