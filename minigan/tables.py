"""Tables of text, for the terminal and for notebooks. Rows are tuples of texts, the first the head."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import Any


def text_table(rows: Sequence[tuple[str, ...]]) -> str:
    """Columns of one width, the last flush right; rules below the head and above the last row."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join([*(c.ljust(w) for c, w in zip(row[:-1], widths, strict=False)), row[-1].rjust(widths[-1])]) for row in rows
    ]
    rule = "-" * len(lines[0])
    return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """The first column flush left, the others flush right; a rule below the head."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]) for row in rows
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def html_table(rows: Sequence[tuple[str, ...]]) -> str:
    """The same as HTML."""
    cells = ["".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in rows]
    head, *body = cells
    return f"<table><tr>{head.replace('td>', 'th>')}</tr>{''.join(f'<tr>{row}</tr>' for row in body)}</table>"


class ShownAsTable:
    """A network in print: its layers, their output shapes and numbers of parameters."""

    layers: Sequence[Any]
    input_shape: tuple[int, ...]
    dtype: Any
    backend: Any
    num_params: Any

    def _table(self) -> list[tuple[str, str, str]]:
        """Rows of layer, output shape and number of parameters: the head, the input, each layer, the total."""
        rows = [("layer", "output shape", "parameters"), ("input", _batch(self.input_shape), "")]
        for index, layer in enumerate(self.layers):
            count = sum(math.prod(spec.shape) for spec in layer.parameters.values())
            rows.append((f"{index} {layer!r}", _batch(layer.output_shape or ()), f"{count:,}"))
        return [*rows, ("total", "", f"{self.num_params:,}")]

    def summary(self) -> str:
        """The table of layers: output shape, parameters, total. `print(net)` shows it."""
        return text_table(self._table())

    def _repr_html_(self) -> str:
        return html_table(self._table())

    def __str__(self) -> str:
        return self.summary()

    def __repr__(self) -> str:
        inside = ", ".join(map(repr, self.layers))
        return (
            f"Sequential([{inside}], input_shape={self.input_shape}, backend={self.backend.name!r}, dtype={self.dtype.name!r})"
        )


def listed(shape: Sequence[int]) -> str:
    """The numbers of a shape with commas between them."""
    return ", ".join(map(str, shape))


def _batch(shape: Sequence[int]) -> str:
    return f"({', '.join(['N', *map(str, shape)])})"
