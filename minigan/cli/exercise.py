"""minigan exercise: a file with blanks to fill in, its check with named mistakes, and the marks of a folder of answers."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any

from minigan.cli.parser import add_command
from minigan.errors import MiniganError, cut_middle, nearest_name, shorten

ACTIONS = ("check", "grade", "solution")
TAKES = {"list": (), "write": ("out",), "check": ("hint", "seconds"), "grade": ("out", "seconds"), "solution": ("out",)}


def add(commands: Any) -> None:
    about = (
        "Exercises in backpropagation. Without WHAT: the list of them. With a number: its file, with the start of its "
        "derivation and blanks, to --out. check FILE: what is right, which mistake it is where it is not, and what to read; "
        "status 0 if all is right, 1 if not, 2 if the file cannot be checked. solution N: the file filled in by minigan's own "
        "source. grade FOLDER: all answers in it, each in a process of its own with a time limit, to a table. check and grade "
        "run the files: look first at what others wrote."
    )
    parser = add_command(commands, "exercise", "fill in a derivation, and learn what is wrong", about, exercise)
    parser.add_argument("what", metavar="WHAT", nargs="?", help="a number from 1 to 12, or check, grade, solution")
    parser.add_argument("target", metavar="TARGET", nargs="?", help="the FILE, the FOLDER or the number")
    parser.add_argument(
        "--out",
        metavar="FILE",
        help="where to write: the exercise or its solution (else they are printed), or the marks as CSV",
    )
    hints = "after the check: 1 a question, 2 the derivation, 3 minigan's source"
    parser.add_argument("--hint", type=int, choices=(1, 2, 3), help=hints)
    parser.add_argument("--seconds", type=_seconds, metavar="S", help="time limit for each file (60)")


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 86_400:
        raise argparse.ArgumentTypeError(f"{shorten(text)} is not a number above 0, up to 86,400")
    return value


def exercise(options: argparse.Namespace) -> int:
    action = "list" if options.what is None else options.what if options.what in ACTIONS else "write"
    if action == "write" and (Path(options.what).suffix == ".py" or Path(options.what).is_file()):
        command = f"minigan exercise check {shlex.quote(options.what)}"
        raise MiniganError(cut_middle(f"exercise takes a number, or {', '.join(ACTIONS)}: for a file write {command}"))
    for name in ("out", "hint", "seconds"):
        if getattr(options, name) is not None and name not in TAKES[action]:
            of = " and ".join(
                f"exercise {other}" if other in ACTIONS else "exercise N" for other in TAKES if name in TAKES[other]
            )
            raise MiniganError(f"--{name} is for {of}: leave it out")
    if action == "list":
        return _list()
    if action == "write":
        if options.target is not None:
            raise MiniganError(f"exercise {shorten(options.what)} takes no {shorten(options.target)}: {_usage(options.what)}")
        return _write(_numbered(options.what), options.out, solved=False)
    if options.target is None:
        needed = {"check": "a FILE", "grade": "a FOLDER", "solution": "the number of an exercise"}[action]
        raise MiniganError(f"exercise {action} needs {needed}: see minigan exercise --help")
    if action == "solution":
        return _write(_numbered(options.target), options.out, solved=True)
    return _check(options) if action == "check" else _grade(options)


def _usage(what: str) -> str:
    return f"write minigan exercise {what} --out FILE" if what.isdecimal() else nearest_name(what, ACTIONS)


def _numbered(text: str) -> Any:
    from minigan.exercises.table import EXERCISES

    number = int(text) if text.isdecimal() and len(text) < 4 else 0
    if number not in EXERCISES:
        hint = "" if text.isdecimal() else f", or {nearest_name(text, ACTIONS)}"
        raise MiniganError(f"there is no exercise {shorten(text)}: expected a number from 1 to {len(EXERCISES)}{hint}")
    return EXERCISES[number]


def _list() -> int:
    from minigan.exercises.report import listing

    print(listing())
    return 0


def _write(chosen: Any, out: str | None, solved: bool) -> int:
    from minigan.exercises.writing import file_text
    from minigan.files import write_new

    text = file_text(chosen, solved)
    if out is None:
        print(text, end="")
        return 0
    write_new(Path(out), text.encode())
    after = "" if solved else f": fill it in, then minigan exercise check {out}"
    print(f"wrote {out}{after}")
    return 0


def _check(options: argparse.Namespace) -> int:
    from minigan.exercises.checking import exercise_of
    from minigan.exercises.process import MOST_SHOWN, SECONDS, check_in_process
    from minigan.exercises.report import told

    path = Path(options.target)
    exercise_of(path)  # what can be told without running the file
    done = check_in_process(path, options.seconds or SECONDS)
    if done.printed:
        more = "\n… and more" if len(done.printed) > MOST_SHOWN else ""
        print(f"{path} prints:\n{done.printed[:MOST_SHOWN].rstrip()}{more}\n", file=sys.stderr)
    if done.verdict is None:
        raise MiniganError(done.error)
    print(told(done.verdict, path, options.hint or 0))
    return 0 if done.verdict.ok else 1


def _grade(options: argparse.Namespace) -> int:
    from minigan.exercises.grading import Mark, grade_folder, summary
    from minigan.exercises.process import SECONDS

    if options.out is None:
        raise MiniganError("exercise grade needs --out, the CSV file for the marks")

    def tell(mark: Mark) -> None:
        said = mark.error or mark.mistake
        print(f"{mark.right}/{mark.parts}  {mark.file}{f': {said}' if said else ''}", flush=True)

    marks = grade_folder(Path(options.target), Path(options.out), options.seconds or SECONDS, tell=tell)
    print(f"\n{summary(marks)}\nmarks of {len(marks)} files in {options.out}")
    return 0
