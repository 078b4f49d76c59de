"""Tables of text, for the terminal and for notebooks. Rows are tuples of texts, the first the head."""

from __future__ import annotations

import html
from collections.abc import Sequence


def text_table(rows: Sequence[tuple[str, ...]]) -> str:
    """Columns of one width, the last flush right; rules below the head and above the last row."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join([*(c.ljust(w) for c, w in zip(row[:-1], widths, strict=False)), row[-1].rjust(widths[-1])]) for row in rows
    ]
    rule = "-" * len(lines[0])
    return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])


def html_table(rows: Sequence[tuple[str, ...]]) -> str:
    """The same as HTML."""
    cells = ["".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in rows]
    head, *body = cells
    return f"<table><tr>{head.replace('td>', 'th>')}</tr>{''.join(f'<tr>{row}</tr>' for row in body)}</table>"
