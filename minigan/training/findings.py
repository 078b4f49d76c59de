"""What a log of a run shows, as its rules see it and as it is told."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from minigan.data.synthetic import MODES
from minigan.training.advice import Advice, go_on
from minigan.training.settings import Settings

# The fewest rows and steps by which a run is judged.
LEAST_ROWS, LEAST_STEPS = 9, 100
# The limits stand in the gaps between games made to fail and healthy ones: dense and convolutional games on digits of 12x12
# pixels and dense ones on eight Gaussians, some 150 runs over 5 seeds, whose true state was known from the modes or digits
# that G made. A run is judged by the last third of its log, by medians over the rows.
# The share of dead ReLUs in a layer. It was 0.97 to 1 in most games that a learning rate of 0.05 to 1 had broken, 0.95 in one
# that had collapsed, and at most 0.89 in games that went on.
ALL_DEAD = 0.96
# √(diversity · clusters). Where G made up to three of eight modes, or few digits, it was 0.43 or less; where it made all, 0.5
# or more; about 0.45 where it made half. What rises grew by more than the factor RISING from the second third of the log.
COLLAPSED, RISING = 0.45, 1.15
# Fidelity and coverage, of which real samples have 0.97. On the ring, where a sample must lie within 3 σ = 0.03, a run of 1,500
# steps had 0.47 and 1, one with 4 hidden units 0.001 and 0.25; a dense game on digits 1 and 0.98, for pixels are forgiving.
ALIKE = 0.6


@dataclass(frozen=True)
class Finding:
    """One thing that a log shows. kind: a key of TITLES, or of titles, the game's own; evidence: the figures and their steps.

    sources: where to read on. likeness: how many samples resemble the data, in words, where the log says so.
    """

    kind: str
    evidence: tuple[str, ...]
    advice: tuple[Advice, ...] = ()
    sources: tuple[str, ...] = ()
    likeness: str = ""
    titles: Mapping[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        return {**TITLES, **self.titles}[self.kind]

    @property
    def is_trouble(self) -> bool:
        return self.kind not in ("healthy", "young", "unmeasured", "fidelity unmeasured", "too short")

    def to_json(self) -> dict[str, Any]:
        advice = [
            {"command": one.command if one.changes else "", "changes": dict(one.changes), "reason": one.reason}
            for one in self.advice
        ]
        return {"kind": self.kind, "title": self.title, "evidence": self.evidence, "advice": advice, "sources": self.sources}


TITLES = {  # of the kinds that games share, unless a game has words of its own
    "learning rate": "Steps are so long that they undo what was learned: as a rule, the learning rate is too high.",
    "unlike": "Samples are diverse, but too few of them resemble the data.",
    "incomplete": "Samples resemble the data, but they miss much of it.",
    "healthy": "Nothing wrong shows: samples are diverse and resemble the data.",
    "young": "Too early to judge: generated samples are not yet like real ones.",
    "unmeasured": "The log does not say whether samples are diverse or resemble the data.",
    "fidelity unmeasured": "Samples are diverse; the log does not say whether they resemble the data.",
    "too short": "The run is too short to tell.",
}


class View:
    """A log as the rules see it. stats: the columns that its game has in every row; samples: where those of the run are."""

    def __init__(
        self, columns: dict[str, np.ndarray], config: Settings, folder: str, stats: tuple[str, ...], samples: Path
    ) -> None:
        self.config, self.folder, self.samples, self.stats, self.steps = config, folder, samples, stats, columns["step"]
        infinite = [np.isinf(columns[name]) for name in self.stats if name in columns]
        self.broken = self.steps[np.any(infinite, axis=0)] if infinite else self.steps[:0]
        self.columns = {name: np.where(np.isinf(values), np.nan, values) for name, values in columns.items()}
        self.last = int(self.steps[-1]) if len(self.steps) else 0
        self.epoch = float(columns["epoch"][-1]) if len(columns.get("epoch", ())) else math.nan  # the last; the first is 0
        self.is_short = len(self.steps) < LEAST_ROWS or self.last < LEAST_STEPS
        self.late = slice(2 * len(self.steps) // 3, None)
        self.middle = slice(len(self.steps) // 3, 2 * len(self.steps) // 3)
        self.early = slice(0, max(1, len(self.steps) // 10))

    @property
    def progress(self) -> float:
        """The share of the configured length that is done; of epochs, the last counts as a whole. NaN for a single epoch."""
        if self.config.steps:
            return self.last / self.config.steps
        epochs = self.config.epochs or 1
        return (self.epoch + 1) / epochs if epochs > 1 else math.nan

    def spread(self, part: slice) -> float:
        """√(diversity · clusters), of medians; NaN where it was not measured."""
        return float(np.sqrt(np.maximum(0, self.median("diversity", part) * self.median("clusters", part))))

    @property
    def since(self) -> str:
        """From which step on the medians are."""
        return f"from step {int(self.steps[self.late][0]):,} on"

    def median(self, name: str, part: slice | None = None) -> float:
        """Of the rows that have the value; NaN where none has."""
        values = self.columns.get(name, np.array([]))[self.late if part is None else part]
        values = values[~np.isnan(values)]
        return float(np.median(values)) if values.size else math.nan

    def peak(self, name: str) -> tuple[float, int]:
        """The largest value and its step."""
        values = self.columns[name]
        if not values.size or np.isnan(values).all():
            return math.nan, 0
        index = int(np.nanargmax(values))
        return float(values[index]), int(self.steps[index])

    def names(self, network: str, what: str) -> list[str]:
        return [name for name in self.columns if name.startswith(f"{network}.") and name.endswith(f".{what}")]

    def gradient(self, network: str, part: slice) -> float:
        """The median norm of a network's whole gradient."""
        names = self.names(network, "gradient")
        if not names:
            return math.nan
        norms = np.sqrt(sum(self.columns[name][part] ** 2 for name in names))
        norms = norms[~np.isnan(norms)]
        return float(np.median(norms)) if norms.size else math.nan

    @property
    def likeness(self) -> str:
        """Fidelity and coverage in words, or "" where they were not measured."""
        fidelity, coverage = self.median("fidelity"), self.median("coverage")
        if self.config.data in MODES:
            count = len(MODES[self.config.data][0])
            near = f"{percent(fidelity)} of samples lie within 3 σ of a mode"
            reached, joint = f"{coverage * count:.0f} of {count} modes are reached", ", "
        else:
            near = f"{percent(fidelity)} of samples lie close to a real one"
            reached = f"{percent(coverage)} of real ones have a sample close by (97 % where samples are real)"
            joint = ", and "
        return joint.join(words for words, share in ((near, fidelity), (reached, coverage)) if not math.isnan(share))

    def go_on(self, reason: str, least: int = 0) -> Advice:
        """To go on with the run; least: up to this step or a later one."""
        return go_on(self.config, self.folder, self.last, self.epoch, reason, least)


def percent(share: float) -> str:
    return f"{100 * share:.3g} %"
