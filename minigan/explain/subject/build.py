"""The page of one layer, loss, penalty or optimiser: one HTML file with its styles, its script and its numbers."""

from __future__ import annotations

import html
import json
import math
from importlib import resources
from string import Template
from typing import Any

import numpy as np

from minigan.explain.formulas import mathml
from minigan.explain.subject import blocks
from minigan.explain.subject.tex import Group, groups_of
from minigan.explain.typeset import docstring, inline
from minigan.explain.worked import COMPUTED, FAILED, derivation, source, work_through
from minigan.explain.worked.calculator import Working

PAGE_MARK = "minigan: derived and worked through"  # in the title of every such page, which tells it from other files
MOVES = np.linspace(-0.5, 0.5, 21)  # ε of the nudges
MOST_NUDGED = 64  # entries of one array


def make_page(name: str) -> tuple[str, bool]:
    """(the page, whether all of its example agreed). Raises OptionError for a name that nothing has."""
    known, subject, page = work_through(name)
    lead, _, rest = derivation(subject).partition("\n")
    # "<" cannot end the script element from within a JSON string when it is written as an escape.
    numbers = json.dumps(_numbers(page), allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    text = Template(_read("subject.html")).substitute(
        title=html.escape(f"{known}: {PAGE_MARK.removeprefix('minigan: ')} ({PAGE_MARK})"),
        css=_read("page.css", "minigan.explain.page") + _read("subject.css"),
        name=html.escape(known),
        file=html.escape(source(subject)),
        lead=inline(lead),
        formulas="".join(map(_group, groups_of(page.ran))),
        derivation="".join(docstring(rest.strip("\n"))),
        example="".join(blocks.blocks(page.blocks)),
        failed="" if page.ok else f'<p class="bad">{FAILED}</p>',
        computed=COMPUTED,
        numbers=numbers,
        script=_read("fit.js", "minigan.explain.page") + _read("subject.js"),
    )
    return text, page.ok


def _read(file: str, package: str = "minigan.explain.subject") -> str:
    return resources.files(package).joinpath(file).read_text(encoding="utf-8")


def _group(group: Group) -> str:
    words = "".join(f"<p>{html.escape(line, quote=False)}</p>" for line in group.words)
    symbols = f'<p class="note">{html.escape(group.symbols, quote=False)}</p>' if group.symbols else ""
    return f'<h3>{html.escape(group.heading)}</h3>{words}<div class="formulas">{"".join(map(mathml, group.tex))}</div>{symbols}'


def _numbers(page: Working) -> dict[str, Any]:
    """What the page's script answers with: arrays, ∂y/∂x and ∂y/∂θ, and L as each entry moves.

    gradients: by name, the array that each is taken in.
    """
    jacobian = page.jacobian() if page.jacobian else {}
    gradients = {name: _name_of(page, array) for name, (array, _) in page.sources.items()}
    names = {*jacobian, *gradients, *gradients.values(), *(("y", "dy") if jacobian else ())}
    arrays = {name: np.asarray(page.values[name], np.float64) for name in names if name in page.values}
    return {
        "arrays": {name: {"shape": list(array.shape), "values": _plain(array)} for name, array in arrays.items()},
        "jacobian": {name: [_plain(row) for row in rows] for name, rows in jacobian.items()},
        "names": {name: blocks.name(name) for name in arrays},
        "gradients": gradients,
        "moves": _plain(MOVES),
        "losses": {name: _moved(page, name) for name in gradients},
    }


def _name_of(page: Working, array: np.ndarray) -> str:
    return next(name for name, value in page.values.items() if value is array)


def _moved(page: Working, gradient: str) -> list[list[float | None]]:
    """L for every entry of the array that this gradient is taken in, moved by each of MOVES; the others stay."""
    array, loss = page.sources[gradient]
    found = []
    for place in list(np.ndindex(array.shape))[:MOST_NUDGED]:
        start = float(array[place])
        losses = []
        for move in MOVES:
            array[place] = start + move
            losses.append(loss())
        array[place] = start
        found.append(_plain(np.array(losses)))
    return found


def _plain(array: np.ndarray) -> list[float | None]:
    """Its values as JSON may hold them."""
    return [float(f"{value:.12g}") if math.isfinite(value) else None for value in array.ravel().tolist()]
