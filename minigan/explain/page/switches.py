"""Switches of a station: each plants a mistake in the layer's backward pass, and shows what the gradient check says then."""

from __future__ import annotations

import math
import re
from typing import Any

from minigan.checks.report import Row
from minigan.explain.breaking import Breaking, Broken
from minigan.explain.page.facts import checks
from minigan.explain.page.place import Place


def switches(place: Place, breaking: Breaking) -> list[dict[str, Any]]:
    """What each mistake makes of the station's derivatives, and the report of the check; none where none can be planted."""
    found = breaking.at(place.passes, place.index, place.way.params, place.way.update, place.input_checks())
    return [_switch(place, broken) for broken in found]


def _switch(place: Place, broken: Broken) -> dict[str, Any]:
    loss, report = place.way.loss, broken.report
    derivatives = checks(f"∂{loss}/∂x", broken.input_checks)
    for name, compared in broken.checks.items():
        derivatives += checks(f"∂{loss}/∂{name}", {"": compared})
    return {
        "name": broken.mistake.words,
        "code": broken.mistake.code,
        "checks": derivatives,
        "verdict": _of_layer(str(report).split("\n")[0]),
        "samples": broken.samples,
        "rows": [_row(row) for row in report.rows],
        "said": [_of_layer(line) for line in report.lines[len(report.rows) :]],
        "named": bool(report.mistakes),
    }


def _row(row: Row) -> dict[str, Any]:
    return {
        "of": _of_layer(row.name),
        "error": row.max_error if math.isfinite(row.max_error) else None,
        "checked": row.checked,
        "where": list(row.where) if isinstance(row.where, tuple) else row.where,
        "analytic": row.analytic if math.isfinite(row.analytic) else None,
        "numeric": row.numeric,
    }


def _of_layer(text: str) -> str:
    """The report's words without the number of the layer, which is alone in its network."""
    return re.sub(r"\b0\.(?=[A-Za-z])", "", text)
