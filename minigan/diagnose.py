"""What is wrong with a run, in words: reads its log and its configuration, and names the trouble, the evidence and a remedy."""

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
from minigan.training import CONFIG, LOG, RECIPES, STATS, Config, columns_of, read_log

# The limits stand in the gaps between games made to fail and healthy ones: dense and convolutional games on digits of 12x12
# pixels and dense ones on eight Gaussians, some 150 runs over 5 seeds, whose true state was told by the modes or digits that G
# made. A run is judged by the last third of its log, by medians over the rows.
LEAST_ROWS, LEAST_STEPS = 9, 100
# The largest losses in nats, each a mean over the steps of one row. At learning rates of 0.2 and more L_D rose above 10 and L_G
# above 9. Elsewhere L_D stayed below 5.3, but for one game that D won with a first row of 8.9; where D hardly learned, L_D rose
# to 9.5, and L_G stayed below 2.
PEAK_D, PEAK_G = 9.0, 5.0
# The share of dead ReLUs in a layer. It was 0.97 to 1 in most games that a learning rate of 0.05 to 1 had broken, 0.95 in one
# that had collapsed, and at most 0.89 in games that went on.
ALL_DEAD = 0.96
# D's mean probabilities. Where D won, D(G(z)) was below 0.085; in games that went on, above 0.1. D(x) is held against what L_D
# aims at: 1, or 1 − smoothing.
WON_FAKE, WON_REAL = 0.09, 0.9
# √(diversity · clusters). Where G made up to three of eight modes, or few digits, it was 0.43 or less; where it made all, 0.5
# or more; about 0.45 where it made half. A young G passes through all of this, so above YOUNG it must not be rising.
COLLAPSED, YOUNG, RISING = 0.45, 0.2, 1.15


@dataclass(frozen=True)
class Advice:
    """changes: of the configuration, by name; reason: what they are good for."""

    changes: Mapping[str, Any]
    reason: str

    @property
    def options(self) -> str:
        """The changes as options of `minigan train`."""
        given = [_option(name, value) for name, value in self.changes.items() if not _is_left_out(value)]
        left = [_option(name, value) for name, value in self.changes.items() if _is_left_out(value)]
        return " and ".join(part for part in (" ".join(given), ", ".join(left)) if part)


def _is_left_out(value: Any) -> bool:
    return value is None or value is False


def _option(name: str, value: Any) -> str:
    option = "--" + name.replace("_", "-")
    if _is_left_out(value):
        return f"leave out {option}"
    if value is True:
        return option
    values = value if isinstance(value, tuple) else (value,)
    return " ".join([option, *(f"{v:g}" if isinstance(v, float) else str(v) for v in values)])


@dataclass(frozen=True)
class Finding:
    """One thing that a log shows. kind: a key of TITLES; evidence: the figures and their steps; sources: where to read on."""

    kind: str
    evidence: tuple[str, ...]
    advice: tuple[Advice, ...] = ()
    sources: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        return TITLES[self.kind]

    @property
    def is_trouble(self) -> bool:
        return self.kind not in ("healthy", "too short")

    def to_json(self) -> dict[str, Any]:
        advice = [{"options": one.options, "changes": dict(one.changes), "reason": one.reason} for one in self.advice]
        return {"kind": self.kind, "title": self.title, "evidence": self.evidence, "advice": advice, "sources": self.sources}


def report(findings: Sequence[Finding]) -> str:
    """The findings as text for a terminal. Of those after the first, the evidence alone: they often follow from the first."""
    first, *others = findings
    lines = [first.title]
    advice = tuple(f"{one.options}: {one.reason}" for one in first.advice)
    for heading, entries in (
        ("What the log shows", first.evidence),
        ("What to try", advice),
        ("Where to read on", first.sources),
    ):
        lines += ["", f"{heading}:", *_bullets(entries)] if entries else []
    for other in others:
        lines += ["", f"Also, and perhaps because of it: {other.title[0].lower()}{other.title[1:]}", *_bullets(other.evidence)]
    return "\n".join(lines)


def _bullets(entries: Sequence[str]) -> list[str]:
    wrap = textwrap.TextWrapper(96, initial_indent="  - ", subsequent_indent="    ", break_on_hyphens=False)
    return [line for entry in entries for line in wrap.wrap(entry)]


TITLES = {
    "learning rate": "The learning rate is too high: steps are so long that they undo what was learned.",
    "discriminator wins": "The discriminator wins: it tells nearly all samples apart, and the generator does not catch up.",
    "collapse": "The generator has collapsed: for different z it makes the same few samples.",
    "healthy": "Nothing wrong shows: neither side wins, and generated samples differ as real ones do.",
    "too short": "The run is too short to tell.",
}


def diagnose(log: Mapping[str, Sequence[float]], config: Config | None = None) -> list[Finding]:
    """What a run's log shows: its troubles, the main one first; else a single finding, "healthy" or "too short".

    log: columns by name, as minigan.training.columns_of gives them, NaN where a value was not measured. config: that of the
    run, which the advice is made for.
    """
    view = _View({name: np.asarray(values, np.float64) for name, values in log.items()}, config or Config())
    rate = _learning_rate(view)
    if view.is_short and not rate:
        told = (
            f"{len(view.steps)} rows up to step {view.last:,}; it takes {LEAST_ROWS} rows and {LEAST_STEPS} steps to judge it"
        )
        longer = max(LEAST_STEPS, 2 * view.last, 2 * LEAST_ROWS * view.config.log_every)
        return [Finding("too short", (told,), (Advice({"resume": True, "steps": longer}, "go on with it"),))]
    troubles = [finding for finding in (rate, _discriminator_wins(view), _collapse(view)) if finding]
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
    except KeyError:
        raise CheckpointError(f"{path} is damaged: it has no column step") from None
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"{path} is damaged: {error}") from None
    missing = [name for name in STATS if rows and name not in columns]
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
        self.middle = slice(len(self.steps) // 3, 2 * len(self.steps) // 3)
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


def _learning_rate(view: _View) -> Finding | None:
    if not len(view.steps):
        return None
    evidence = []
    losses = np.stack([view.columns["loss_d"], view.columns["loss_g"]])
    broken = view.steps[~np.isfinite(losses).all(axis=0)]
    if broken.size:
        evidence.append(f"at step {int(broken[0]):,} numbers stopped being finite, and the run ended")
    (peak_d, step_d), (peak_g, step_g) = view.peak("loss_d"), view.peak("loss_g")
    if peak_d > PEAK_D and peak_g > PEAK_G:
        evidence.append(
            f"the losses are thrown about: L_D rose to {peak_d:,.3g} (step {step_d:,}) and L_G to {peak_g:,.3g} "
            f"(step {step_g:,}); where D only guesses they are 1.39 and 0.69"
        )
    dead = [
        f"{_percent(view.median(name))} in layer {name.split('.')[1]} of the {network}"
        for network in ("generator", "discriminator")
        for name in view.names(network, "dead")
        if view.median(name) >= ALL_DEAD
    ]
    if dead:
        evidence.append(
            f"ReLUs are dead {view.since}, 0 for every sample and without gradient: {', '.join(dead)}; what too long a step "
            f"has killed, no later one revives"
        )
    if not evidence:
        return None
    return Finding("learning rate", tuple(evidence), _shorter_steps(view.config), _SOURCES["learning rate"])


def _discriminator_wins(view: _View) -> Finding | None:
    fake, real, saturated = (view.median(name) for name in ("prob_fake", "prob_real", "saturated_fake"))
    if not (fake <= WON_FAKE and real >= WON_REAL * (1 - (view.config.smoothing or 0))):
        return None
    evidence = [f"{view.since} D(x) is {real:.3g} and D(G(z)) is {fake:.2g}; where D only guesses both are 0.5"]
    if saturated > 0:
        evidence.append(
            f"{_percent(saturated)} of D's logits s of generated samples are saturated: σ(s) is within 0.001 of 0 or 1"
        )
    if view.config.saturating:
        evidence.append(f"with --saturating the slope of L_G by D's logit is −D(G(z)): {_percent(fake)} of the most it can be")
    before, after = view.gradient("generator", view.early), view.gradient("generator", view.late)
    if after < before / 3:
        evidence.append(f"G's gradient has vanished: its norm was {before:.2g} at the start and is {after:.2g}")
    elif not math.isnan(after):
        evidence.append(
            f"the norm of G's gradient was {before:.2g} at the start and is {after:.2g}, and yet G does not catch up"
        )
    return Finding("discriminator wins", tuple(evidence), _weaker_d(view.config), _SOURCES["discriminator wins"])


def _collapse(view: _View) -> Finding | None:
    diversity, clusters = view.median("diversity"), view.median("clusters")
    now, before = (
        np.sqrt(np.maximum(0, view.median("diversity", part) * view.median("clusters", part)))
        for part in (view.late, view.middle)
    )
    rising = now > RISING * before
    if not (now < YOUNG or (now < COLLAPSED and not rising)):
        return None
    best, step = view.peak("clusters")
    evidence = [
        f"{view.since} generated samples are spread over {_percent(clusters)} as many clusters of the data as real ones are; "
        f"the most was {_percent(best)} at step {step:,}, and 10 % or so says that all lie in one",
        f"their diversity is {diversity:.2g}; 0 says that all are alike, 1 that they differ from each other as real ones do",
    ]
    advice = _more_diversity(view.config)
    if rising:
        evidence.append("both are still rising, as they do where G is young")
        advice = (*advice, Advice({"resume": True, "steps": 2 * view.last}, "to see whether G was only young"))
    return Finding("collapse", tuple(evidence), advice, _SOURCES["collapse"])


def _overview(view: _View) -> tuple[str, ...]:
    lines = [
        f"{view.since} D(x) is {view.median('prob_real'):.2g} and D(G(z)) {view.median('prob_fake'):.2g}, "
        f"L_D {view.median('loss_d'):.3g} and L_G {view.median('loss_g'):.3g}"
    ]
    diversity, clusters = view.median("diversity"), view.median("clusters")
    if math.isnan(diversity):
        lines.append("the log does not say how diverse the samples are, so look at them: G may have collapsed all the same")
    else:
        lines.append(
            f"generated samples are spread over {_percent(clusters)} as many clusters of the data as real ones are, and their "
            f"diversity is {diversity:.2g} (0: all alike, 1: as real ones)"
        )
    return tuple(lines)


# -- what to try -----------------------------------------------------------------------------------------------------------


def _settings(config: Config) -> dict[str, Any]:
    """The recipe of this kind of model, and what the run has in place of it."""
    recipe = RECIPES["points" if config.data in ("ring", "grid") else config.model or "dcgan"]
    own = {name: getattr(config, name) for name in recipe if getattr(config, name) is not None}
    return {"recipe": recipe, **recipe, **own}


def _shorter_steps(config: Config) -> tuple[Advice, ...]:
    settings = _settings(config)
    lr, usual = settings["lr"], settings["recipe"]["lr"]
    changes: dict[str, Any] = (
        {"lr": usual} if lr > 2 * usual else {} if config.lr_d and config.lr_d > 2 * lr else {"lr": lr / 10}
    )
    if config.lr_d:
        changes["lr_d"] = None
    used = " and ".join(f"{value:g}" for value in (lr, config.lr_d) if value)
    return (Advice(changes, f"this run had {used}, and {usual:g} is what the model trains with by default"),)


def _weaker_d(config: Config) -> tuple[Advice, ...]:
    settings = _settings(config)
    lr, usual = settings["lr"], settings["recipe"]["lr"]
    advice = []
    rates: dict[str, Any] = {} if usual / 2 <= lr <= 2 * usual else {"lr": usual}
    if config.lr_d and config.lr_d > 2 * lr:
        rates["lr_d"] = None
        reason = f"D learns {config.lr_d / lr:.3g} times as fast as G, at {config.lr_d:g} against {lr:g}"
    else:
        reason = f"G learns at {lr:g}, and {usual:g} is what the model trains with by default"
    if rates:
        advice.append(Advice(rates, reason))
    if config.saturating:
        advice.append(Advice({"saturating": False}, "−log D(G(z)) is steepest where D rejects what G makes"))
    if not rates:
        advice.append(Advice({"lr_d": (config.lr_d or lr) / 4}, "a slower D"))
    if not settings["smoothing"]:
        advice.append(Advice({"smoothing": 0.1}, "D then aims at 0.9 for real samples, which keeps it from being sure"))
    return tuple(advice)


def _more_diversity(config: Config) -> tuple[Advice, ...]:
    settings = _settings(config)
    recipe, lr, batch = settings["recipe"], settings["lr"], settings["batch_size"]
    advice = []
    rates: dict[str, Any] = {}
    if settings["beta1"] > 0.5:
        rates["beta1"] = 0.0
    if lr > 2 * recipe["lr"]:
        rates["lr"] = recipe["lr"]
    if config.lr_d and not lr / 2 <= config.lr_d <= 2 * lr:
        rates["lr_d"] = None
    if rates:
        had = ", ".join(f"{name.replace('_', '-')} {settings.get(name) or getattr(config, name):g}" for name in rates)
        advice.append(
            Advice(rates, f"this run had {had}: where the two sides overshoot, they chase each other from mode to mode")
        )
    for name in ("width", "hidden", "latent_dim"):
        if name in recipe and np.max(settings[name]) < np.max(recipe[name]):
            advice.append(Advice({name: recipe[name]}, f"this run had {_option(name, settings[name]).partition(' ')[2]}"))
    advice.append(Advice({"batch_size": 2 * batch}, "D sees more of what G makes at a time"))
    if not rates:
        advice.append(Advice({"lr": lr / 2}, f"this run had {lr:g}"))
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
