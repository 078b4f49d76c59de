"""Pieces of the library's docstrings and sources: the only place from which formulas and solutions come."""

from __future__ import annotations

import ast
import builtins
import inspect
import re
import sys
import textwrap
from collections.abc import Iterable
from typing import Any

from minigan.exercises.exercise import Source


def docstring(subject: Any) -> str:
    """The docstring with the indentation taken off."""
    return inspect.cleandoc(subject.__doc__ or "")


def excerpt(subject: Any, start: str, end: str) -> str:
    """The docstring from `start` ("": its beginning) up to `end`, left out ("": the end of that line).

    Raises LookupError where these words do not stand there: an exercise then needs others.
    """
    text = docstring(subject)
    first = text.find(start)
    last = text.find(end or "\n", first + len(start))
    if first < 0 or (last < 0 and end):
        raise LookupError(f"the docstring of {subject.__name__} no longer goes from {start!r} to {end!r}")
    line = text.rfind("\n", 0, first) + 1
    indent = text[line:first] if not text[line:first].strip() else ""
    return textwrap.dedent(indent + text[first : last if last >= 0 else None]).rstrip(" \n,;")


def source_line(subject: Any) -> str:
    """Where the derivation comes from: papers and sections, as the docstring has them; "" if it has none."""
    _, mark, rest = docstring(subject).partition("Source: ")
    return " ".join(rest.split()) if mark else ""


def source_text(piece: Source) -> str:
    """The source of a function, without indentation."""
    function = inspect.unwrap(piece.function)
    text = textwrap.dedent(inspect.getsource(function)).rstrip()
    if piece.name:
        text = re.sub(rf"\bdef {function.__name__}\(", f"def {piece.name}(", text, count=1)
    return text.removeprefix("@staticmethod\n") if piece.name else text


def imports_for(pieces: Iterable[Source]) -> list[str]:
    """The import lines that the sources need: each name from the first module whose source uses it."""
    found: dict[str, set[str]] = {}
    seen: dict[str, Any] = {}
    for piece in pieces:
        function = inspect.unwrap(piece.function)
        own = vars(sys.modules[function.__module__])
        used = {node.id for node in ast.walk(ast.parse(source_text(piece))) if isinstance(node, ast.Name)}
        names = {name for name in used if name in own and not hasattr(builtins, name) and name not in ("annotations", "np")}
        modules = {name for name in names if inspect.ismodule(own[name])}
        found.setdefault("", set()).update(f"import {own[name].__name__}" for name in modules)
        fresh = {name for name in names - modules if name not in seen or seen[name] is not own[name]}
        seen.update((name, own[name]) for name in fresh)
        found.setdefault(function.__module__, set()).update(fresh)
    lines = sorted(found.pop("", set()))
    return lines + [f"from {module} import {', '.join(sorted(names))}" for module, names in sorted(found.items()) if names]


def formulas_for(pieces: Iterable[Source]) -> list[str]:
    """A comment for each formula of the library that the sources name: its arguments, and what it computes."""
    lines: dict[str, None] = {}
    for piece in pieces:
        function = inspect.unwrap(piece.function)
        own = vars(sys.modules[function.__module__])
        for node in ast.walk(ast.parse(source_text(piece))):
            formula = own.get(node.id) if isinstance(node, ast.Name) else None
            if inspect.isfunction(formula) and next(iter(inspect.signature(formula).parameters), "") == "xp":
                arguments = ", ".join(inspect.signature(formula).parameters)
                lines[f"# {formula.__name__}({arguments}): {docstring(formula)}"] = None
    return list(lines)
