"""A worked example as HTML: sentences, tables whose cells can be picked, formulas with their numbers, checks."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np

from minigan.explain.typeset import inline
from minigan.explain.worked.calculator import NUDGE, Block, Checked, NudgedEntry, Sentence, Tables, WrittenOut, number

_NAMES = {
    **{"mu": "μ", "sigma": "σ", "gamma": "γ", "beta": "β", "eps": "ε", "beta1": "β₁", "beta2": "β₂", "pi": "π"},
    **{"x_hat": "x̂", "m_hat": "m̂", "v_hat": "v̂", "x_dot": "ẋ", "h_dot": "ḣ", "y_dot": "ẏ", "s_dot": "ṡ", "W_bar": "W̄"},
}
_FUNCTIONS = ("exp", "log", "sqrt", "max")


def blocks(of: Sequence[Block]) -> Iterator[str]:
    for kind, group in groupby(of, type):
        if kind is NudgedEntry:
            yield _nudged([block for block in group if isinstance(block, NudgedEntry)])
        else:
            yield from (made for block in group if (made := _block(block)))


def name(text: str) -> str:
    """The name of an array, as x_hat or ds_real_D, set as a letter with its subscripts."""
    lead = "d" if text.startswith("d") and text[1:] in _NAMES else ""
    letter, _, below = _NAMES.get(text[len(lead) :], text).partition("_")
    sub = html.escape(below.replace("_", ", "))
    return f"<var>{lead}{html.escape(letter)}</var>{f'<sub>{sub}</sub>' if sub else ''}"


def _block(block: Block) -> str:
    if isinstance(block, Sentence):
        return f"<p>{inline(_signs(block.text))}</p>" if block.text else ""
    if isinstance(block, Tables):
        return f'<div class="tables">{"".join(_table(key, array) for key, array in block.arrays.items())}</div>'
    if isinstance(block, WrittenOut):
        return _written_out(block)
    assert isinstance(block, Checked)
    return _checked(block)


def _table(key: str, array: np.ndarray) -> str:
    """One array; cells know their name and their place in it, counted from its first value."""
    rows, flat = [], 0
    for row in np.atleast_2d(array):
        cells = []
        for value in row:
            cells.append(f'<td data-array="{html.escape(key)}" data-at="{flat}">{_minus(number(value))}</td>')
            flat += 1
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return f'<table class="array"><caption>{name(key)}</caption>{"".join(rows)}</table>'


def _written_out(block: WrittenOut) -> str:
    sides = [f"<span>= {_formula(side)}</span>" for side in block.sides]
    failed = "" if block.minigans is None else f'<b class="bad">FAILED: minigan has {_minus(number(block.minigans))}</b>'
    return f'<div class="equation"><span>{_formula(block.entry)}</span><span>{"".join(sides)}{failed}</span></div>'


def _formula(text: str) -> str:
    """A formula of the calculator: entries get subscripts, powers superscripts."""
    parts = re.split(r"([A-Za-z_]\w*)(\[[\d,]+\])?", _minus(text))
    made = []
    for before, word, index in zip(parts[::3], [*parts[1::3], None], [*parts[2::3], None], strict=True):
        made.append(re.sub(r"\^(\d+)", r"<sup>\1</sup>", html.escape(before, quote=False)))
        if word is None:
            continue
        made.append(word if word in _FUNCTIONS or re.fullmatch("e", word) else name(word))
        made.append(f"<sub>{index[1:-1]}</sub>" if index else "")
    return "".join(made)


def _nudged(found: Sequence[NudgedEntry]) -> str:
    rows = []
    for one in found:
        numbers = (*(f"{loss:.9g}" for loss in one.losses), f"{one.numeric:.6f}", f"{one.analytic:.6f}")
        cells = "".join(f"<td>{_minus(text)}</td>" for text in numbers)
        rows.append(f"<tr><td>{_formula(one.entry)}</td>{cells}{_verdict(one.agrees)}</tr>")
    heads = "".join(f"<th>{head}</th>" for head in ("entry", "L(+h)", "L(−h)", "(L(+h) − L(−h)) / 2h", "gradient", ""))
    return f'<div class="wide"><table><tr>{heads}</tr>{"".join(rows)}</table></div><p class="note">h = {NUDGE:g}</p>'


def _checked(block: Checked) -> str:
    report, rows = block.report, []
    for row in report.rows:
        cells = (row.name, str(row.checked), f"{row.analytic:.9g}", f"{row.numeric:.9g}", f"{row.max_error:.1e}")
        made = "".join(f"<td>{html.escape(_minus(cell))}</td>" for cell in cells)
        rows.append(f"<tr>{made}{_verdict(row.max_error < report.tolerance)}</tr>")
    heads = "".join(
        f"<th>{head}</th>" for head in ("array", "entries", "analytic, at the worst", "numeric", "relative error", "")
    )
    words = f"{report.name}: {'ok' if report.ok else 'FAILED'}, checked by differences at every entry, on {block.on} numbers"
    table = f'<div class="wide"><table><tr>{heads}</tr>{"".join(rows)}</table></div>'
    wrong = "".join(f'<p class="bad">{html.escape(line)}</p>' for line in report.lines[len(report.rows) :])
    return f"<h3>{html.escape(words)}</h3>{table}{wrong}"


def _verdict(agrees: bool) -> str:
    return f'<td class="{"good" if agrees else "bad"}">{"✓" if agrees else "✗"}</td>'


def _minus(text: str) -> str:
    """Numbers with a minus sign in place of a hyphen, but not in an exponent."""
    return re.sub(r"(?<!e)-", "−", text)


def _signs(text: str) -> str:
    """What a sentence has in a form for terminals: 3 x 3, s_real - m."""
    return re.sub(r" - (?=[a-z\d])", " − ", re.sub(r"(?<=\d) x (?=\d)", " × ", text))
