"""The calculator of worked examples: tables, formulas written out with their numbers, nudged entries, checks.

A formula is a text such as "x[0,1]·w[0,0] + b": it is printed, printed again with the numbers in it, and evaluated. Where its
value is not the one that minigan has, the page says so.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigan.checks.differences import Report

NUDGE = 1e-3  # h: the rounding of L, divided by 2h, stays below the digits that are printed
FUNCTIONS = {"exp": math.exp, "log": math.log, "sqrt": math.sqrt, "max": max}
Index = tuple[int, ...]


@dataclass
class Sentence:
    """What is said; "" is a gap."""

    text: str


@dataclass
class Tables:
    """Arrays side by side, as they were when they were shown."""

    arrays: dict[str, np.ndarray]


@dataclass
class WrittenOut:
    """entry = formula = the same with its numbers = the value. minigans: its value where that is another, or None."""

    entry: str
    sides: list[str]
    minigans: float | None


@dataclass
class NudgedEntry:
    """L with h added to an entry and with h taken from it, their difference / 2h, and the gradient."""

    entry: str
    losses: tuple[float, float]
    numeric: float
    analytic: float
    agrees: bool


@dataclass
class Checked:
    """The check of every entry. on: of which numbers, "random" ones or others."""

    on: str
    report: Report


Block = Sentence | Tables | WrittenOut | NudgedEntry | Checked


class Working:
    """A page of working: tables, formulas written out, and whether all of it agreed.

    blocks: what stands on it, from top to bottom. ran: the layer, objective, penalty or optimiser that made the numbers, where
    there is one. jacobian: for a layer, what finds ∂y/∂x and ∂y/∂θ of the example: by name, (values of y, values of the array).
    """

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.ran: Any = None
        self.jacobian: Callable[[], dict[str, np.ndarray]] | None = None
        self.values: dict[str, Any] = {}  # what formulas and tables refer to, by name
        self.sources: dict[str, tuple[np.ndarray, Callable[[], float]]] = {}  # gradient by name -> (its input, L)
        self.nudged: list[str] = []  # entries of gradients that are to be nudged
        self.checks: list[tuple[str, Callable[[], Report]]] = []
        self.ok = True

    def write(self, text: str = "") -> None:
        self.blocks.append(Sentence(text))

    def show(self, *names: str) -> None:
        """The named arrays as tables side by side."""
        self.blocks.append(Tables({name: np.array(self.values[name]) for name in names}))

    def write_out(self, entry: str, formula: str) -> None:
        """`entry = formula`, the same with its numbers, and the value; of minigan's own too where that is another."""
        value = self.evaluate(formula)
        numbers = self._with_numbers(formula)
        sides = [formula, *([numbers] if numbers != number(value) else []), number(value)]
        minigans = self.evaluate(entry)
        agrees = abs(value - minigans) <= 1e-9 * max(1.0, abs(value))
        self.ok &= agrees
        self.blocks.append(WrittenOut(entry, sides, None if agrees else minigans))

    def gradient(self, entry: str, formula: str) -> None:
        """write_out for an entry of a gradient, which is to be nudged as well."""
        self.write_out(entry, formula)
        self.nudged.append(entry)

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
            self.blocks.append(NudgedEntry(entry, (sides[0], sides[1]), numeric, analytic, agree))

    def conclude(self) -> None:
        """The check of every entry."""
        for on, check in self.checks:
            report = check()
            self.ok &= report.ok
            self.write()
            self.blocks.append(Checked(on, report))


def number(value: float) -> str:
    """Five significant digits; what is rounding noise beside small numbers is 0."""
    return "0" if abs(value) < 1e-12 else f"{value:.5g}"


def at(index: Index) -> str:
    return f"[{','.join(map(str, index))}]"


def plus(terms: Iterable[str]) -> str:
    return " + ".join(terms)
