"""What is wrong with a run, in words: reads its log and its configuration, and names the trouble, the evidence and a remedy.

The limits were put into the gaps between runs made to fail and healthy ones: small dense and convolutional games on digits and
dense ones on points, 60 runs whose true state was told by the modes or the classes of digits that G makes.
"""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minigan.errors import CheckpointError
from minigan.training import CONFIG, LOG, RECIPES, Config, columns_of, read_log

# A run is judged by the last third of its log, where numbers are medians over the rows; so it needs some rows.
LEAST_ROWS, LEAST_STEPS = 9, 100

# Losses of one row, in nats. In games that went on, L_D rose to 4.0 and L_G to 15 where D won; with a learning rate that threw them
# about, L_D rose above 10 and L_G above 37. L_D alone rises to 10 where G fools a D that hardly learns.
PEAK_D, PEAK_G = 6.0, 20.0
# Share of a layer's ReLUs that are dead. Games that went on had up to 0.89 and no harm, those that a learning rate broke from 0.94.
ALL_DEAD = 0.92
# D's mean probabilities. Where D won, D(G(z)) was 0.06 or less; in games that went on, 0.10 or more. D(x) is compared with what L_D
# aims it at: 1, or 1 − smoothing.
WON_FAKE, WON_REAL = 0.08, 0.9
# Of generated samples over real ones. Where G made one to three of eight modes, or one digit for most z, diversity was 0.25 or less
# and clusters 0.38 or less; games that went on had clusters 0.45 or more, or (one with few samples far apart) diversity 0.5.
COLLAPSED_DIVERSITY, COLLAPSED_CLUSTERS = 0.30, 0.41


@dataclass(frozen=True)
class Advice:
    """options: of `minigan train`, as they are to be or to be left out; reason: what they change."""

    options: str
    reason: str


@dataclass(frozen=True)
class Finding:
    """One thing that a log shows. kind: a key of TITLES; evidence: its figures and steps; sources: where to read about it."""

    kind: str
    evidence: tuple[str, ...]
    advice: tuple[Advice, ...] = ()
    sources: tuple[str, ...] = ()

    @property
    def is_trouble(self) -> bool:
        return self.kind not in ("healthy", "too short")

    @property
    def title(self) -> str:
        return TITLES[self.kind]

    def __str__(self) -> str:
        parts = [("what the log shows", self.evidence)]
        parts += [("what to try", tuple(f"{one.options}: {one.reason}" for one in self.advice))] if self.advice else []
        parts += [("where to read about it", self.sources)] if self.sources else []
        lines = [self.title]
        for heading, entries in parts:
            lines.append(f"  {heading}")
            for entry in entries:
                lines += textwrap.wrap(entry, 96, initial_indent="    - ", subsequent_indent="      ", break_on_hyphens=False)
        return "\n".join(lines)


TITLES = {
    "learning rate": "The learning rate is too high: steps are so long that they undo what was learned.",
    "discriminator wins": "The discriminator wins: it tells nearly all samples apart, and the generator does not catch up.",
    "collapse": "The generator has collapsed: for different z it makes the same few samples.",
    "healthy": "Nothing is wrong: both sides learn, and generated samples differ from each other as real ones do.",
    "too short": "The run is too short to tell.",
}


def diagnose(log: Mapping[str, Sequence[float]], config: Config | None = None) -> list[Finding]:
    """What a run's log shows: its troubles, the main one first; else one finding, "healthy" or "too short".

    log: columns by name, as minigan.training.columns_of gives them; NaN where a value was not measured. config: of the run, which
    makes the advice fit it.
    """
    columns = {name: np.asarray(values, np.float64) for name, values in log.items()}
    view = _View(columns, config or Config())
    troubles = [finding for rule in (_learning_rate, _discriminator_wins, _collapse) for finding in rule(view)]
    if view.is_short and not any(finding.kind == "learning rate" for finding in troubles):
        told = f"{len(view.steps)} rows up to step {view.last:,}; it takes at least {LEAST_ROWS} rows and {LEAST_STEPS} steps"
        return [Finding("too short", (told,), (Advice("--resume --steps N", "go on with it"),))]
    return troubles or [Finding("healthy", _overview(view))]


def diagnose_run(folder: str | Path) -> tuple[list[Finding], str]:
    """The findings of a run folder, and a line that says what was read.

    Raises CheckpointError if the folder holds no log, or if the log or config.json is damaged.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise CheckpointError(f"there is no folder {folder}: name the folder of a run")
    config, log = _read_config(folder / CONFIG), _read_columns(folder / LOG)
    rows = len(log["step"])
    last = f"{rows:,} rows up to step {int(log['step'][-1]):,}" if rows else "no rows yet"
    return diagnose(log, config), f"{folder}: {config.model} on {config.data}, {LOG} has {last}"


def _read_config(path: Path) -> Config:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(values, dict):
            raise ValueError("it holds no settings")
        return Config.from_json(values)
    except FileNotFoundError:
        raise CheckpointError(f"there is no {path}: name the folder of a run") from None
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"{path} is damaged: {error}") from None


def _read_columns(path: Path) -> dict[str, list[float]]:
    if not path.exists():
        raise CheckpointError(f"there is no {path}: the run has not begun, or its log was removed")
    try:
        rows = read_log(path)
        columns = columns_of(rows) if rows else {"step": []}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is damaged: {error}") from None
    missing = [] if not rows else sorted({"step", "loss_d", "loss_g", "prob_real", "prob_fake"} - columns.keys())
    if missing:
        raise CheckpointError(f"{path} is damaged: it has no column {', '.join(missing)}")
    return columns


class _View:
    """A log as the rules see it."""

    def __init__(self, columns: dict[str, np.ndarray], config: Config) -> None:
        self.columns, self.config = columns, config
        self.steps = columns["step"]
        self.last = int(self.steps[-1]) if len(self.steps) else 0
        self.is_short = len(self.steps) < LEAST_ROWS or self.last < LEAST_STEPS
        self.late = slice(2 * len(self.steps) // 3, None)
        self.early = slice(0, max(1, len(self.steps) // 10))

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


# -- the rules -------------------------------------------------------------------------------------------------------------


def _learning_rate(view: _View) -> list[Finding]:
    if not len(view.steps):
        return []
    evidence = []
    for step, *losses in zip(view.steps, view.columns["loss_d"], view.columns["loss_g"], strict=True):
        if not np.isfinite(losses).all():
            evidence.append(f"at step {int(step):,} numbers stopped being finite, and the run ended")
            break
    (peak_d, step_d), (peak_g, step_g) = view.peak("loss_d"), view.peak("loss_g")
    if peak_d > PEAK_D and peak_g > PEAK_G:
        evidence.append(
            f"the losses are thrown about: L_D rose to {peak_d:,.3g} (step {step_d:,}) and L_G to {peak_g:,.3g} (step {step_g:,}); "
            f"a D that guesses has 1.39 and 0.69"
        )
    for network in ("generator", "discriminator"):
        for name in view.names(network, "dead"):
            if view.median(name) >= ALL_DEAD:
                evidence.append(
                    f"{network}, layer {name.split('.')[1]}: {_percent(view.median(name))} of its ReLUs are dead {view.since}, 0 for "
                    f"every sample, so that no gradient passes them; too long a step put them there"
                )
    if not evidence:
        return []
    return [Finding("learning rate", tuple(evidence), _shorter_steps(view.config), _SOURCES["learning rate"])]


def _discriminator_wins(view: _View) -> list[Finding]:
    fake, real = view.median("prob_fake"), view.median("prob_real")
    aim = 1 - (view.config.smoothing or 0.0)
    if not (fake <= WON_FAKE and real >= WON_REAL * aim):
        return []
    evidence = [f"{view.since} D(x) is {real:.3g} and D(G(z)) is {fake:.2g}: D is seldom wrong (both are 0.5 where it guesses)"]
    saturated = view.median("saturated_fake")
    if saturated > 0:
        evidence.append(f"D is saturated for {_percent(saturated)} of generated samples: σ(s) is within 0.001 of 0 or 1")
    before, after = view.gradient("generator", view.early), view.gradient("generator", view.late)
    if view.config.saturating:
        evidence.append(
            f"G minimises log(1 − D(G(z))), whose slope by D's logit is −D(G(z)): {_percent(fake)} of what it could be"
        )
    if after < before / 3:
        evidence.append(f"G's gradient has vanished: its norm fell from {before:.2g} at the start to {after:.2g}")
    elif not math.isnan(after):
        evidence.append(f"the norm of G's gradient is {after:.2g}, at the start it was {before:.2g}: it does not help G")
    return [Finding("discriminator wins", tuple(evidence), _weaker_d(view.config), _SOURCES["discriminator wins"])]


def _collapse(view: _View) -> list[Finding]:
    diversity, clusters = view.median("diversity"), view.median("clusters")
    if not (diversity <= COLLAPSED_DIVERSITY and clusters <= COLLAPSED_CLUSTERS):
        return []
    best, step = view.peak("clusters")
    evidence = [
        f"{view.since} generated samples are spread over {_percent(clusters)} of the clusters of the data (real ones: 100 %; all in "
        f"one: about 10 %); the most was {_percent(best)} at step {step:,}",
        f"the diversity of generated samples is {diversity:.2g}, where 0 says that all are alike and 1 that they differ as real ones",
    ]
    return [Finding("collapse", tuple(evidence), _more_diversity(view.config), _SOURCES["collapse"])]


def _overview(view: _View) -> tuple[str, ...]:
    lines = [
        f"{view.since} D(x) is {view.median('prob_real'):.2g} and D(G(z)) {view.median('prob_fake'):.2g}, "
        f"L_D {view.median('loss_d'):.3g} and L_G {view.median('loss_g'):.3g}"
    ]
    if math.isnan(view.median("clusters")):
        lines.append("an earlier version wrote this log, without what tells a collapse: look at the samples")
    else:
        lines.append(
            f"generated samples are spread over {_percent(view.median('clusters'))} of the clusters of the data, and their diversity "
            f"is {view.median('diversity'):.2g} of that of real ones"
        )
    return tuple(lines)


# -- what to try ---------------------------------------------------------------------------------------------------------


def _recipe(config: Config) -> dict[str, Any]:
    """The values that a model of this kind is known to train with."""
    return RECIPES["points" if config.data in ("ring", "grid") else config.model or "dcgan"]


def _shorter_steps(config: Config) -> tuple[Advice, ...]:
    usual, lr = _recipe(config)["lr"], config.lr or _recipe(config)["lr"]
    lower = usual if lr > 2 * usual else lr / 10
    advice = [Advice(f"--lr {lower:g}", f"in place of {lr:g}; {usual:g} is what this model trains with by default")]
    if config.lr_d and config.lr_d > 2 * usual:
        own = Advice("leave out --lr-d", f"it gives D a learning rate of {config.lr_d:g}")
        advice = [own, *advice] if lr <= 2 * usual else [*advice, own]
    return (*advice, Advice("--schedule cosine", "shorter steps towards the end, if the trouble begins late"))


def _weaker_d(config: Config) -> tuple[Advice, ...]:
    usual, lr = _recipe(config)["lr"], config.lr or _recipe(config)["lr"]
    advice = []
    if config.saturating:
        advice.append(Advice("leave out --saturating", "−log D(G(z)) has its full slope where D rejects what G makes"))
    if config.lr_d and config.lr_d > 2 * lr:
        advice.append(
            Advice("leave out --lr-d", f"D learns {config.lr_d / lr:.3g} times as fast as G, {config.lr_d:g} against {lr:g}")
        )
    if lr < usual / 2:
        advice.append(Advice(f"--lr {usual:g}", f"in place of {lr:g}, so that G can follow"))
    if not config.lr_d or config.lr_d <= 2 * lr:
        advice.append(Advice(f"--lr-d {(config.lr_d or lr) / 4:g}", "a slower D"))
    if not config.smoothing:
        advice.append(Advice("--smoothing 0.1", "D then aims at 0.9 for real samples, and is kept from being sure"))
    return tuple(advice)


def _more_diversity(config: Config) -> tuple[Advice, ...]:
    recipe = _recipe(config)
    usual, lr = recipe["lr"], config.lr or recipe["lr"]
    beta1 = recipe["beta1"] if config.beta1 is None else config.beta1
    advice = []
    if beta1 > 0.5:
        advice.append(
            Advice("--beta1 0", f"momentum ({beta1:g}) lets the two sides overshoot and chase each other from mode to mode")
        )
    if config.lr_d and not 0.5 <= config.lr_d / lr <= 2:
        advice.append(Advice("leave out --lr-d", f"D and G learn at rates far apart, {config.lr_d:g} and {lr:g}"))
    if lr > 2 * usual:
        advice.append(Advice(f"--lr {usual:g}", f"in place of {lr:g}"))
    width = config.width if config.model == "dcgan" else min(config.hidden) if config.hidden else None
    standard = recipe["width"] if config.model == "dcgan" else min(recipe.get("hidden", (256,)))
    if width and width < standard:
        name = "--width" if config.model == "dcgan" else "--hidden"
        advice.append(Advice(f"{name} {standard}", f"in place of {width}: larger networks"))
    batch = config.batch_size or recipe["batch_size"]
    advice.append(Advice(f"--batch-size {2 * batch}", f"in place of {batch}: D sees more of what G makes at once"))
    if not advice[:-1]:
        advice.append(Advice(f"--lr {lr / 2:g}", f"in place of {lr:g}"))
    return tuple(advice)


_SOURCES = {
    "learning rate": (
        "Radford et al. 2015 (arXiv:1511.06434), section 4: 0.001 was too high for their networks, 0.0002 was not",
        "Mescheder et al. 2018 (arXiv:1801.04406), section 2: when alternating gradient descent converges",
    ),
    "discriminator wins": (
        "Goodfellow et al. 2014 (arXiv:1406.2661), end of section 3: log(1 − D(G(z))) saturates where G is poor",
        "Arjovsky and Bottou 2017 (arXiv:1701.04862), section 2: what a perfect D does to both losses of G",
        "Salimans et al. 2016 (arXiv:1606.03498), section 3.4: one-sided label smoothing",
    ),
    "collapse": (
        "Goodfellow 2016 (arXiv:1701.00160), section 5.1.1: mode collapse",
        "Radford et al. 2015 (arXiv:1511.06434), section 4: a momentum of 0.9 made training oscillate, 0.5 did not",
    ),
}


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
