"""Docstrings, which are plain text, as pages: prose in reStructuredText, derivations in HTML with low indices."""

import html
import re
from collections.abc import Iterator

LETTER = r"[^\W\d_][\u0300-\u036f′']*"
BASE = rf"(?<![\w.\"'])((?:d|∂)?{LETTER}|[ΣΠ⟩)])"
INDEX = r"((?:\{[^}]*\}|\([^()\s]*[·+−][^()\s]*\)|[A-Za-z0-9])+(?:,[a-z0-9]+)*|−[a-z])"
INDEXED = re.compile(rf"{BASE}_{INDEX}")
RAISED = re.compile(r"(?<=[\w)])\^(\{[^}]*\}|\([^()\s]*\)|[−-]?[\w½]+(?:\x01[^\x02]*\x02)?)")
PART = re.compile(r"^(Backward|Tangent|Curvature|Raises|Returns|Sources?|Options|Parameters)(?=[ ,:])")
CODE_OR_LINK = re.compile(r"(`[^`]+`|https?://[^\s)]+[^\s).,;]|arXiv:\d{4}\.\d{4,5})")
NAMES = {"x_hat", "x_dot", "y_dot"}  # of arrays in code, where a letter with an index looks the same


def replace_by_rst(app, what, name, subject, options, lines):
    """For Sphinx: put the docstring's markup in its place."""
    lines[:] = as_rst("\n".join(lines))


def as_rst(text: str) -> list[str]:
    """The lines of a docstring as reStructuredText that shows all of it: signs as they stand, indented lines as derivations."""
    made: list[str] = []
    for indented, block in blocks(text.split("\n")):
        if indented:
            made += ["", ".. raw:: html", "", *(f"   {line}" for line in derivation(block).split("\n")), ""]
            continue
        for line in block:
            if PART.match(line) and made and made[-1]:
                made.append("")
            made.append(_prose(line))
    return [*made, ""]


def blocks(lines: list[str]) -> Iterator[tuple[bool, list[str]]]:
    """(whether it is indented, its lines) of each run of lines that is or is not."""
    block: list[str] = []
    indented = False
    for line in lines:
        if line and line.startswith("  ") != indented:
            if block:
                yield indented, block
            block, indented = [], not indented
        block.append(line)
    if block:
        yield indented, block


def _prose(line: str) -> str:
    """One line of prose: code in monospace, papers as links, letters with their indices."""
    made = []
    for at, part in enumerate(CODE_OR_LINK.split(line)):
        if at % 2 == 0:
            made.append(_indexed_rst(part, start=at == 0))
        elif part.startswith("`"):
            made.append(f"\\ ``{part[1:-1]}``\\ ")
        elif part.startswith("arXiv"):
            made.append(f"\\ `{part} <https://arxiv.org/abs/{part[6:]}>`__\\ ")
        else:
            made.append(part)
    return "".join(made).removeprefix("\\ ")


def _indexed_rst(text: str, start: bool) -> str:
    made, at = [], 0
    for found in INDEXED.finditer(text):
        if found[0] in NAMES:
            continue
        made.append(f"{_escaped(text[at : found.start()])}{_escaped(found[1])}\\ :sub:`{_escaped(found[2].strip('{}'))}`\\ ")
        at = found.end()
    escaped = "".join([*made, _escaped(text[at:])])
    head = PART.match(text) if start else None
    return f"**{head[1]}**\\ {escaped[len(head[1]) :]}" if head else escaped


def _escaped(text: str) -> str:
    return re.sub(r"[\\*`|_]", r"\\\g<0>", text)


def derivation(lines: list[str]) -> str:
    """Indented lines as a table: what stands in columns stays in columns, and what goes on from the line before joins it."""
    lines = [line.rstrip() for line in lines]
    while not lines[-1]:
        lines.pop()
    margin = min(_indent(line) for line in lines if line)
    rows: list[list[tuple[int, str]]] = []  # of each row its cells, with the column that each begins at
    for line in lines:
        cells = [(found.start(), found[0]) for found in re.finditer(r"\S+(?: \S+)*", line)]
        if len(cells) == 1 and rows and any(cells[0][0] == at for at, _ in rows[-1][1:]):
            place = next(k for k, (at, _) in enumerate(rows[-1]) if at == cells[0][0])
            rows[-1][place] = (cells[0][0], f"{rows[-1][place][1]} {cells[0][1]}")
        else:
            rows.append(cells)
    width = max(map(len, rows))
    made = ['<div class="derivation"><table>']
    for cells in rows:
        made.append("<tr>")
        for k, (at, text) in enumerate(cells):
            last = k == len(cells) - 1
            span = f' colspan="{width - k}"' if last and width - k > 1 else ""
            pad = f' style="padding-left:{(at - margin) * 0.5:g}em"' if k == 0 and at > margin else ""
            made.append(f"<td{span}{pad}>{typeset(text)}</td>")
        made.append("</tr>")
    return "".join([*made, "</table></div>"])


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def typeset(text: str) -> str:
    """A line of a derivation as HTML, with indices and powers set low and high."""
    made = []
    for at, part in enumerate(re.split(r"(`[^`]+`)", text)):
        if at % 2:
            made.append(f"<code>{html.escape(part[1:-1])}</code>")
            continue
        part = INDEXED.sub(lambda m: m[0] if m[0] in NAMES else f"{m[1]}\x01{m[2].strip('{}')}\x02", part)
        part = RAISED.sub(lambda m: f"\x03{m[1].strip('{}')}\x04", part)
        part = html.escape(part, quote=False)
        for sign, tag in (("\x01", "<sub>"), ("\x02", "</sub>"), ("\x03", "<sup>"), ("\x04", "</sup>")):
            part = part.replace(sign, tag)
        made.append(part)
    return "".join(made)
