"""A page of working as lines of text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np

from minigan.explain.worked.calculator import NUDGE, Block, Checked, NudgedEntry, Sentence, Tables, WrittenOut, number

WIDTH = 100


def lines(blocks: Sequence[Block]) -> list[str]:
    """At most WIDTH characters each."""
    found: list[str] = []
    for kind, group in groupby(blocks, type):
        if kind is NudgedEntry:
            found += _nudged([block for block in group if isinstance(block, NudgedEntry)])
        else:
            found += [line for block in group for line in _lines(block)]
    return found


def _lines(block: Block) -> Iterator[str]:
    if isinstance(block, Sentence):
        yield from textwrap.wrap(block.text, WIDTH) or [""]
    elif isinstance(block, Tables):
        yield from _side_by_side(block)
    elif isinstance(block, WrittenOut):
        yield from _written_out(block)
    elif isinstance(block, Checked):
        yield f"Checked by differences at every entry, on {block.on} numbers:"
        for line in str(block.report).replace("; worst", ";\n      worst").split("\n"):
            yield from textwrap.wrap(line, WIDTH, subsequent_indent="  ")


def _side_by_side(block: Tables) -> Iterator[str]:
    row: list[list[str]] = []
    for table in [*(_table(name, array) for name, array in block.arrays.items()), None]:
        if row and (table is None or sum(len(t[0]) + 4 for t in [*row, table]) > WIDTH):
            height = max(map(len, row))
            padded = [t + [" " * len(t[0])] * (height - len(t)) for t in row]
            yield ""
            yield from ("".join("    " + t[k] for t in padded).rstrip() for k in range(height))
            row = []
        if table is not None:
            row.append(table)
    yield ""


def _table(name: str, array: np.ndarray) -> list[str]:
    """A title and rows, all of one width."""
    cells = [[number(v) for v in row] for row in np.atleast_2d(array)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    rows = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in cells]
    width = max(len(name), len(rows[0]))
    return [line.ljust(width) for line in (name, *rows)]


def _written_out(block: WrittenOut) -> list[str]:
    entry, sides = block.entry, block.sides
    line = f"  {' = '.join([entry, *sides])}"
    if len(line) > 84:
        margin = " " * (len(entry) + 3)
        line = f"  {entry} = " + f"\n{margin}= ".join(f"\n{margin}  ".join(_fold(side, len(margin) + 2)) for side in sides)
    failed = "" if block.minigans is None else f"    FAILED: minigan has {number(block.minigans)}"
    return (line + failed).split("\n")


def _fold(formula: str, margin: int) -> list[str]:
    """Lines that each begin with a term; what stands in two parentheses or more is kept together."""
    depth, glued = 0, ""
    for before, character, after in zip(" " + formula, formula, formula[1:] + " ", strict=False):
        depth += {"(": 1, ")": -1}.get(character, 0)
        glued += "\xa0" if character == " " and (depth > 1 or before in "+-/" or after == "/") else character
    return [line.replace("\xa0", " ") for line in textwrap.wrap(glued, WIDTH - margin, break_on_hyphens=False)]


def _nudged(blocks: Sequence[NudgedEntry]) -> Iterator[str]:
    width = max(len(block.entry) for block in blocks)
    for block in blocks:
        up, down = block.losses
        below = f"({down:.9g})" if down < 0 else f"{down:.9g}"
        yield (
            f"  {block.entry:<{width}}  ({up:.9g} - {below}) / {2 * NUDGE:g} = {block.numeric:.6f}"
            f"    gradient {block.analytic:.6f}{'' if block.agrees else '    FAILED'}"
        )
