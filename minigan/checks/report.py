"""The outcome of a check, and how it is shown."""

from __future__ import annotations

import html
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

from minigan.tables import html_table

TOLERANCE = 1e-6  # of relative errors


@dataclass
class Row:
    """One array of derivatives: how many entries (or directions) were compared, and the worst of them."""

    name: str
    checked: int
    skipped: int
    max_error: float
    where: tuple[int, ...] | str
    analytic: float
    numeric: float

    def __str__(self) -> str:
        text = f"{self.name:<28} {self.max_error:9.1e}  {self.checked:>5} checked"
        skipped = f", {self.skipped} skipped at kinks" if self.skipped else ""
        return f"{text}{skipped}; worst at {self.where}: analytic {self.analytic:+.9e}, numeric {self.numeric:+.9e}"


@dataclass(frozen=True)
class Mistake:
    """What is wrong with one gradient, where an explanation fits to the tolerance of the check.

    kind: "sign", "factor", "transposed", … (minigan.checks.mistakes). where: the gradient, as the rows name it.
    """

    kind: str
    where: str
    words: str

    def __str__(self) -> str:
        return f"gradient of {self.where}: {self.words}"


@dataclass
class Report:
    """The outcome of a check: a row per parameter and one for x. print(report) shows the table.

    broken: what the layer breaks of the layer contract, a sentence each, where that was checked too. hint: what may be amiss
    if a gradient is wrong. explain: called where the check failed, and only when the mistakes are asked for. observe: likewise
    for the notes, of a check that passes too.
    """

    name: str
    tolerance: float
    rows: list[Row] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    hint: str = ""
    explain: Callable[[], list[Mistake]] = field(default=list, repr=False, compare=False)
    observe: Callable[[], list[Mistake]] = field(default=list, repr=False, compare=False)

    @cached_property
    def mistakes(self) -> list[Mistake]:
        """What is wrong, by gradient, as far as an explanation fits; nothing where the check passes."""
        return [] if self.ok else self.explain()

    @cached_property
    def notes(self) -> list[Mistake]:
        """What is amiss in gradients that are right to the tolerance, and fails no check: a rounding to float32."""
        named = {mistake.where for mistake in self.mistakes}
        return [note for note in self.observe() if note.where not in named]

    @property
    def max_error(self) -> float:
        """The largest relative error |a − n| / max(|a|, |n|, floor) of all rows."""
        return max((row.max_error for row in self.rows), default=float("inf"))

    @property
    def ok(self) -> bool:
        """All errors below the tolerance, more entries checked than skipped per row, some gradient not 0, nothing broken."""
        return bool(self.rows) and not self.unproved and not self.broken and self.max_error < self.tolerance

    @property
    def unproved(self) -> list[str]:
        """Why gradients that agree would prove nothing."""
        reasons = []
        if any(row.checked <= row.skipped for row in self.rows):
            reasons.append("too many entries lie on a kink to prove anything")
        if all(row.numeric == 0 and row.analytic == 0 for row in self.rows):
            reasons.append("all gradients are 0, which proves nothing: try another shape")
        return reasons

    def __str__(self) -> str:
        verdict = "ok" if self.ok else "FAILED"
        head = f"{self.name}: {verdict}, largest relative error {self.max_error:.1e} (tolerance {self.tolerance:.0e})"
        return "\n".join([head, *(f"  {line}" for line in self.lines)])

    def _repr_html_(self) -> str:
        """The table in a notebook."""
        verdict = f"<b>{html.escape(self.name)}: {'ok' if self.ok else 'FAILED'}</b>, tolerance {self.tolerance:.0e}"
        head = ("array", "largest relative error", "checked", "at kinks")
        rows = [(row.name, f"{row.max_error:.1e}", str(row.checked), str(row.skipped)) for row in self.rows]
        rest = "".join(f"<br>{html.escape(line)}" for line in self.lines[len(self.rows) :])
        return verdict + html_table([head, *rows]) + rest

    @property
    def lines(self) -> list[str]:
        """The table without its head: a line per row, then one for each thing that is wrong beside them."""
        return [*map(str, self.rows), *_by_words(self.mistakes), *self._doubts, *_by_words(self.notes)]

    @property
    def amiss(self) -> list[str]:
        """Only the lines on what is not as it should be: mistakes that are named, then the rows that failed, then the rest."""
        failed = [str(row) for row in self.rows if not row.max_error < self.tolerance]
        return [*_by_words(self.mistakes), *failed, *self._doubts, *_by_words(self.notes)]

    @property
    def _doubts(self) -> list[str]:
        """What else speaks against the layer, or against the check."""
        doubts = self.unproved if self.rows else []
        explained = any(mistake.kind == "float32" for mistake in self.mistakes)  # steps of rounding look like kinks
        if self.hint and not explained and any(self.tolerance <= row.max_error < math.inf for row in self.rows):
            doubts.append(self.hint)
        return [*doubts, *(f"contract broken: {sentence}" for sentence in self.broken)]


def _by_words(mistakes: list[Mistake]) -> list[str]:
    """A line each; one for all gradients that show the same."""
    where: dict[str, list[str]] = {}
    for mistake in mistakes:
        where.setdefault(mistake.words, []).append(mistake.where)
    lines = []
    for words, (*others, last) in where.items():
        whose = f"gradients of {', '.join(others)} and {last}" if others else f"gradient of {last}"
        lines.append(f"{whose}: {words}")
    return lines
