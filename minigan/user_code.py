"""Python files of the user's own: run, looked into and called, with every mistake in them told in one line."""

from __future__ import annotations

import hashlib
import inspect
import stat
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

from minigan.errors import UserFileError, nearest_name

FUNCTION_IN_FILE = "FILE.py:function"


def names_function(text: str) -> bool:
    """True if the text has the form FILE.py:function."""
    path, _, name = text.rpartition(":")
    return path.endswith(".py") and name.isidentifier()


def ask_for_function(text: str) -> str:
    """What a text lacks that names a Python file and no function in it; "" for any other text."""
    file = text if text.endswith(".py") else text.rpartition(":")[0]
    return "a Python file without the name of a function: write FILE.py:NAME" if file.endswith(".py") else ""


def split_function(text: str) -> tuple[Path, str]:
    """The path and the function's name in a text of the form FILE.py:function."""
    path, _, name = text.rpartition(":")
    return Path(path), name


def digest_of(path: Path) -> str:
    """A digest of the file's bytes alone: what it imports may change unseen. Raises UserFileError if it cannot be read."""
    return hashlib.blake2b(read_file(path), digest_size=16).hexdigest()


def run_file(path: Path) -> ModuleType:
    """The file as a module. Nothing is written beside it.

    Raises UserFileError, naming the file, the line and the error, if it cannot be read, is not Python or fails as it runs.
    """
    source = read_file(path)
    try:
        code = compile(source, str(path), "exec")
    except (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        reason = error.msg if isinstance(error, SyntaxError) else str(error) or "it is nested too deeply"
        raise UserFileError(f"{path}{line}: this is not Python ({reason})") from None
    module = ModuleType(f"{path.stem} (user's file)")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # where dataclasses and the like look for the module of a class
    try:
        with imports_beside(path):
            exec(code, vars(module))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # also SystemExit, and what a user's file derives from BaseException
        hint = "put what runs as a program under `if __name__ == '__main__':`"
        ended = f"; {hint}" if isinstance(error, SystemExit) else ""
        raise UserFileError(f"{path} fails as it is loaded: {describe_error(error, path)}{ended}") from None
    return module


def function_of(path: Path, name: str) -> Callable[..., Any]:
    """The function of that name in the file. Raises UserFileError if there is none, or where `run_file` does."""
    module = run_file(path)
    function = getattr(module, name, None)
    if not callable(function):
        own = [key for key, value in vars(module).items() if inspect.isfunction(value) and value.__module__ == module.__name__]
        hint = nearest_name(name, own) if own else "it defines none"
        raise UserFileError(f"{path} has no function {name!r}: {hint}")
    return function


@contextmanager
def imports_beside(path: Path) -> Iterator[None]:
    """Let what runs inside import modules from the file's own folder, as Python lets a program."""
    folder = str(path.resolve().parent)
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        with suppress(ValueError):  # the file may have taken it out itself
            sys.path.remove(folder)


def describe_error(error: BaseException, path: Path) -> str:
    """What was raised, behind the last line of the file that led there, all in one line."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename == str(path)]
    place = f"line {own[-1].lineno}, in {own[-1].name}: " if own else ""
    try:
        text = " ".join(str(error).split())
    except Exception:  # an error of the user's own that cannot be printed
        text = ""
    return f"{place}{type(error).__name__}{f': {text}' if text else ''}"


def read_file(path: Path) -> bytes:
    """The bytes of a user's Python file. Raises UserFileError, naming the file, if it cannot be read."""
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # a pipe or a device may never end
            raise UserFileError(f"cannot read {path}: it is a pipe or a device; expected a Python file")
        return path.read_bytes()
    except OSError as error:
        raise UserFileError(f"cannot read {path}: {error.strerror}; expected a Python file") from None
