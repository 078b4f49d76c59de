"""The calculator of worked examples: tables, formulas written out with their numbers, nudged entries, checks.

A formula is a text such as "x[0,1]·w[0,0] + b": it is printed, printed again with the numbers in it, and evaluated. Where its
value is not the one that minigan has, the page says so.
"""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from minigan.checks.differences import Report

WIDTH = 100
NUDGE = 1e-3  # h: the rounding of L, divided by 2h, stays below the digits that are printed
FUNCTIONS = {"exp": math.exp, "log": math.log, "sqrt": math.sqrt, "max": max}
Index = tuple[int, ...]


class Working:
    """A page of working: tables, formulas written out, and whether all of it agreed."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.values: dict[str, Any] = {}  # what formulas and tables refer to, by name
        self.sources: dict[str, tuple[np.ndarray, Callable[[], float]]] = {}  # gradient by name -> (its input, L)
        self.nudged: list[str] = []  # entries of gradients that are to be nudged
        self.checks: list[tuple[str, Callable[[], Report]]] = []
        self.ok = True

    def write(self, text: str = "") -> None:
        self.lines += textwrap.wrap(text, WIDTH) or [""]

    def show(self, *names: str) -> None:
        """The named arrays as tables side by side."""
        row: list[list[str]] = []
        for block in [*map(self._table, names), None]:
            if row and (block is None or sum(len(b[0]) + 4 for b in [*row, block]) > WIDTH):
                height = max(map(len, row))
                padded = [b + [" " * len(b[0])] * (height - len(b)) for b in row]
                self.lines += ["", *("".join("    " + b[k] for b in padded).rstrip() for k in range(height))]
                row = []
            if block is not None:
                row.append(block)
        self.lines.append("")

    def _table(self, name: str) -> list[str]:
        """A title and rows, all of one width."""
        cells = [[number(v) for v in row] for row in np.atleast_2d(self.values[name])]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        rows = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in cells]
        width = max(len(name), len(rows[0]))
        return [line.ljust(width) for line in (name, *rows)]

    def write_out(self, entry: str, formula: str) -> None:
        """`entry = formula`, the same with its numbers, and the value; of minigan's own too where that is another."""
        value = self.evaluate(formula)
        numbers = self._with_numbers(formula)
        sides = [formula, *([numbers] if numbers != number(value) else []), number(value)]
        line = f"  {' = '.join([entry, *sides])}"
        if len(line) > 84:
            margin = " " * (len(entry) + 3)
            line = f"  {entry} = " + f"\n{margin}= ".join(f"\n{margin}  ".join(_fold(side, len(margin) + 2)) for side in sides)
        self.lines += (line + self._compare(value, self.evaluate(entry))).split("\n")

    def gradient(self, entry: str, formula: str) -> None:
        """write_out for an entry of a gradient, which is to be nudged as well."""
        self.write_out(entry, formula)
        self.nudged.append(entry)

    def _compare(self, value: float, minigans: float) -> str:
        if abs(value - minigans) <= 1e-9 * max(1.0, abs(value)):
            return ""
        self.ok = False
        return f"    FAILED: minigan has {number(minigans)}"

    def evaluate(self, formula: str) -> float:
        python = formula.replace("·", "*").replace("^", "**")
        return float(eval(python, {"__builtins__": {}}, {**FUNCTIONS, **self.values}))

    def _with_numbers(self, formula: str) -> str:
        def substitute(match: re.Match[str]) -> str:
            if match[1] not in self.values:
                return match[0]  # a function
            text, before, after = number(self.evaluate(match[0])), formula[: match.start()].rstrip(), formula[match.end() :]
            bare = before[-1:] in ("", "(", ",") and not after.startswith("^")
            return text if bare or not text.startswith("-") else f"({text})"

        return re.sub(r"([A-Za-z_]\w*)(\[[\d,]+\])?", substitute, formula)

    def nudge(self) -> None:
        """Each gradient written out, beside the central difference (L(+h) − L(−h)) / 2h."""
        if not self.nudged:
            return
        self.write()
        self.write(f"Nudged: h = {NUDGE:g} added to the entry and taken from it, (L(+h) - L(-h)) / 2h, and the gradient:")
        width = max(map(len, self.nudged))
        for entry in self.nudged:
            name, _, index = entry.rstrip("]").partition("[")
            place = tuple(int(k) for k in index.split(",") if k)
            array, objective = self.sources[name]
            start = float(array[place])
            sides = []
            for value in (start + NUDGE, start - NUDGE):
                array[place] = value
                sides.append(objective())
            array[place] = start
            numeric, analytic = (sides[0] - sides[1]) / (2 * NUDGE), float(self.values[name][place])
            agree = abs(numeric - analytic) <= 1e-5 * max(1.0, abs(analytic))
            self.ok &= agree
            below = f"({sides[1]:.9g})" if sides[1] < 0 else f"{sides[1]:.9g}"
            self.lines.append(
                f"  {entry:<{width}}  ({sides[0]:.9g} - {below}) / {2 * NUDGE:g} = {numeric:.6f}"
                f"    gradient {analytic:.6f}{'' if agree else '    FAILED'}"
            )

    def conclude(self) -> None:
        """The check of every entry."""
        for on, check in self.checks:
            report = check()
            self.ok &= report.ok
            self.write()
            self.write(f"Checked by differences at every entry, on {on} numbers:")
            for line in str(report).replace("; worst", ";\n      worst").split("\n"):
                self.lines += textwrap.wrap(line, WIDTH, subsequent_indent="  ")


def number(value: float) -> str:
    """Five significant digits; what is rounding noise beside small numbers is 0."""
    return "0" if abs(value) < 1e-12 else f"{value:.5g}"


def _fold(formula: str, margin: int) -> list[str]:
    """Lines that each begin with a term; what stands in two parentheses or more is kept together."""
    depth, glued = 0, ""
    for before, character, after in zip(" " + formula, formula, formula[1:] + " ", strict=False):
        depth += {"(": 1, ")": -1}.get(character, 0)
        glued += "\xa0" if character == " " and (depth > 1 or before in "+-/" or after == "/") else character
    return [line.replace("\xa0", " ") for line in textwrap.wrap(glued, WIDTH - margin, break_on_hyphens=False)]


def at(index: Index) -> str:
    return f"[{','.join(map(str, index))}]"


def plus(terms: Iterable[str]) -> str:
    return " + ".join(terms)
