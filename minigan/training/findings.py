"""What a log of a run shows, as its rules see it and as it is told."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigan.training.advice import Advice
from minigan.training.config import Config

# Columns of a log that can be judged: those of an objective of logits, and of one of scores, which tell no side's winning; and
# those of a VAE.
STATS = ("loss_d", "loss_g", "prob_real", "prob_fake")
STATS_OF_SCORES = ("loss_d", "loss_g", "score_real", "score_fake")
STATS_OF_BOUND = ("loss", "reconstruction", "kl")
# The fewest rows and steps by which a run is judged.
LEAST_ROWS, LEAST_STEPS = 9, 100


@dataclass(frozen=True)
class Finding:
    """One thing that a log shows. kind: a key of TITLES; evidence: the figures and their steps; sources: where to read on.

    likeness: how many samples resemble the data, in words, where the log says so. is_judged: whether it tells who wins.
    has_bound: whether it is of a VAE, in which no one wins.
    """

    kind: str
    evidence: tuple[str, ...]
    advice: tuple[Advice, ...] = ()
    sources: tuple[str, ...] = ()
    likeness: str = ""
    is_judged: bool = True
    has_bound: bool = False

    @property
    def title(self) -> str:
        own = TITLES_OF_BOUND if self.has_bound else {} if self.is_judged else TITLES_OF_SCORES
        return own.get(self.kind, TITLES[self.kind])

    @property
    def is_trouble(self) -> bool:
        return self.kind not in ("healthy", "young", "unmeasured", "fidelity unmeasured", "too short")

    def to_json(self) -> dict[str, Any]:
        advice = [
            {"command": one.command if one.changes else "", "changes": dict(one.changes), "reason": one.reason}
            for one in self.advice
        ]
        return {"kind": self.kind, "title": self.title, "evidence": self.evidence, "advice": advice, "sources": self.sources}


TITLES = {
    "learning rate": "Steps are so long that they undo what was learned: as a rule, the learning rate is too high.",
    "discriminator wins": "The discriminator wins: it tells nearly all samples apart, and the generator does not catch up.",
    "generator wins": "The generator wins: the discriminator takes its samples for real, and has nothing left to teach it.",
    "collapse": "The generator has collapsed: for different z it makes the same few samples.",
    "unlike": "Neither side wins and samples are diverse, but too few of them resemble the data.",
    "incomplete": "Neither side wins and samples resemble the data, but they miss much of it.",
    "healthy": "Nothing wrong shows: neither side wins, and samples are diverse and resemble the data.",
    "young": "Too early to judge: generated samples are not yet like real ones.",
    "sides unmeasured": "The log does not say which side wins.",
    "unmeasured": "Neither side wins, but the log does not say whether samples are diverse.",
    "fidelity unmeasured": "Neither side wins and samples are diverse; the log does not say whether they resemble the data.",
    "too short": "The run is too short to tell.",
    "posterior collapse": "The posterior has collapsed: codes say nothing of their samples, and the decoder ignores them.",
    "idle units": "Most latent dimensions are idle: they say nothing of any sample.",
}
TITLES_OF_SCORES = {  # where the log does not tell who wins
    "unlike": "Samples are diverse, but too few of them resemble the data.",
    "incomplete": "Samples resemble the data, but they miss much of it.",
    "healthy": "Nothing wrong shows: samples are diverse and resemble the data.",
    "unmeasured": "The log does not say whether samples are diverse or resemble the data.",
    "fidelity unmeasured": "Samples are diverse; the log does not say whether they resemble the data.",
}
TITLES_OF_BOUND = {  # of a VAE
    "unlike": "Codes say something of their samples, but what is made of new ones resembles too little of the data.",
    "incomplete": "Codes say something of their samples, but what is made of new ones misses much of the data.",
    "healthy": "Nothing wrong shows: codes say something of their samples, and what is made of new ones resembles the data.",
    "unmeasured": "The log does not say whether codes and samples are of use.",
}


def stats_of(columns: Collection[str]) -> tuple[str, ...]:
    return STATS_OF_BOUND if "kl" in columns else STATS_OF_SCORES if "score_real" in columns else STATS


class View:
    """A log as the rules see it."""

    def __init__(self, columns: dict[str, np.ndarray], config: Config, folder: str) -> None:
        self.config, self.folder, self.steps = config, folder, columns["step"]
        self.stats = stats_of(columns)
        self.has_scores, self.has_bound = self.stats is STATS_OF_SCORES, self.stats is STATS_OF_BOUND
        infinite = [np.isinf(columns[name]) for name in self.stats if name in columns]
        self.broken = self.steps[np.any(infinite, axis=0)] if infinite else self.steps[:0]
        self.columns = {name: np.where(np.isinf(values), np.nan, values) for name, values in columns.items()}
        if "penalty" in columns:  # the limits are those of L_D itself
            self.columns["loss_d"] = self.columns["loss_d"] - self.columns["penalty"]
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


def percent(share: float) -> str:
    return f"{100 * share:.3g} %"
