"""What is wrong with a run, in words: reads its log and its configuration, and names the trouble, the evidence and a remedy."""

from __future__ import annotations

import math
import shlex
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from minigan.errors import CheckpointError
from minigan.training import CONFIG, LOG, SAMPLES, Config, columns_of, made_from_python, read_settings, recipe_of
from minigan.training.log import read_table

NEEDED = ("step", "loss_d", "loss_g", "prob_real", "prob_fake")  # columns of a log that can be judged
# The limits stand in the gaps between games made to fail and healthy ones: dense and convolutional games on digits of 12x12
# pixels and dense ones on eight Gaussians, some 150 runs over 5 seeds, whose true state was known from the modes or digits
# that G made. A run is judged by the last third of its log, by medians over the rows.
LEAST_ROWS, LEAST_STEPS = 9, 100
# The largest losses in nats, each a mean over the steps of one row. At learning rates of 0.2 and more L_D rose above 10 and L_G
# above 9. Elsewhere L_D stayed below 5.3, but for one game that D won with a first row of 8.9; where D hardly learned, L_D rose
# to 13.5, and L_G stayed below 2.
PEAK_D, PEAK_G = 9.0, 5.0
# The share of dead ReLUs in a layer. It was 0.97 to 1 in most games that a learning rate of 0.05 to 1 had broken, 0.95 in one
# that had collapsed, and at most 0.89 in games that went on.
ALL_DEAD = 0.96
# D's mean probabilities. Where D won, D(G(z)) was below 0.085; in games that went on, above 0.1. D(x) is compared with what L_D
# aims at: 1, or 1 − smoothing.
WON_FAKE, WON_REAL = 0.09, 0.9
# Where G won, medians of D(G(z)) were 0.8 or more and of L_D above 2; in games that went on, at most 0.5 and 1.45.
FOOLED, FOOLED_LOSS = 0.75, 1.8
# √(diversity · clusters). Where G made up to three of eight modes, or few digits, it was 0.43 or less; where it made all, 0.5
# or more; about 0.45 where it made half. A young G passes through all of this: so it must not be rising, and in the first
# quarter of a run it must have fallen from above YOUNG. At the end of a run one that rises must have come above YOUNG.
COLLAPSED, YOUNG, RISING, FIRST_PART = 0.45, 0.2, 1.15, 0.25


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

    @property
    def command(self) -> str:
        """The options; where they go on with a run, the whole command, which can be run as it stands."""
        return f"minigan train {self.options}" if self.changes.get("resume") else self.options


def _is_left_out(value: Any) -> bool:
    return value is None or value is False


def _option(name: str, value: Any) -> str:
    option = "--" + name.replace("_", "-")
    if _is_left_out(value):
        return f"leave out {option}"
    if value is True:
        return option
    values = value if isinstance(value, tuple) else (value,)
    return " ".join([option, *(f"{v:g}" if isinstance(v, float) else shlex.quote(str(v)) for v in values)])


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
        return self.kind not in ("healthy", "young", "unmeasured", "too short")

    def to_json(self) -> dict[str, Any]:
        advice = [{"options": one.command, "changes": dict(one.changes), "reason": one.reason} for one in self.advice]
        return {"kind": self.kind, "title": self.title, "evidence": self.evidence, "advice": advice, "sources": self.sources}


def report(findings: Sequence[Finding]) -> str:
    """The findings as text for a terminal. Of those after the first, the evidence alone: they often follow from the first."""
    first, *others = findings
    lines = [first.title]
    lines += ["", "What the log shows:", *_bullets(first.evidence)]
    lines += ["", "What to try:", *(line for one in first.advice for line in _advised(one))] if first.advice else []
    lines += ["", "Where to read on:", *_bullets(first.sources)] if first.sources else []
    for other in others:
        lines += ["", f"Also, and perhaps because of it: {other.title[0].lower()}{other.title[1:]}", *_bullets(other.evidence)]
    return "\n".join(lines)


def _advised(advice: Advice) -> list[str]:
    """What to type on a line of its own, whatever its length, so that it can be copied; below it what it is good for."""
    if not advice.changes:
        return _bullets([advice.reason])
    reason = textwrap.wrap(advice.reason, 96, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False)
    return [f"  - {advice.command}", *reason]


def _bullets(entries: Sequence[str]) -> list[str]:
    wrap = textwrap.TextWrapper(96, initial_indent="  - ", subsequent_indent="    ", break_on_hyphens=False)
    return [line for entry in entries for line in wrap.wrap(entry)]


TITLES = {
    "learning rate": "The learning rate is too high: steps are so long that they undo what was learned.",
    "discriminator wins": "The discriminator wins: it tells nearly all samples apart, and the generator does not catch up.",
    "generator wins": "The generator wins: the discriminator takes its samples for real, and has nothing left to teach it.",
    "collapse": "The generator has collapsed: for different z it makes the same few samples.",
    "healthy": "Nothing wrong shows: neither side wins, and the generated samples are too diverse for a collapse.",
    "young": "Too early to judge: generated samples are not yet as diverse as real ones.",
    "unmeasured": "Neither side wins, but the log does not say whether the generator has collapsed.",
    "too short": "The run is too short to tell.",
}


def diagnose(log: Mapping[str, Sequence[float]], config: Config | None = None, folder: str | Path = "RUN") -> list[Finding]:
    """What a run's log shows: its troubles, the main one first; else a single finding that is none.

    That is "healthy", "young" (samples are not diverse, but the run has not gone far, or their diversity rises), "unmeasured"
    (the log says nothing of their diversity) or "too short".

    log: columns by name, as minigan.training.columns_of gives them, NaN where a value was not measured. config: that of the
    run, which the advice is made for. folder: of the run, as the advice is to name it.
    """
    view = _View({name: np.asarray(values, np.float64) for name, values in log.items()}, config or Config(), str(folder))
    rate = _learning_rate(view)
    if view.is_short and not rate:
        told = (
            f"{len(view.steps)} rows up to step {view.last:,}; it takes {LEAST_ROWS} rows and {LEAST_STEPS} steps to judge it"
        )
        least = max(LEAST_STEPS, LEAST_ROWS * view.config.log_every)
        return [Finding("too short", (told,), (_go_on(view, "then ask again", least),))]
    troubles = [finding for finding in (rate, _discriminator_wins(view), _generator_wins(view), _collapse(view)) if finding]
    return troubles or [_no_trouble(view)]


def diagnose_run(folder: str | Path) -> tuple[list[Finding], str]:
    """The findings of a run folder, and a line that says what was read.

    Raises CheckpointError if the folder holds no log, or if the log or config.json is damaged.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise CheckpointError(f"there is no folder {folder}: name the folder of a run")
    settings, log = _read_settings(folder / CONFIG), _read_columns(folder / LOG)
    rows = len(log["step"])
    last = f"{rows:,} rows up to step {int(log['step'][-1]):,}" if rows else "no rows yet"
    if made_from_python(settings):
        config = Config(steps=settings.get("steps"), log_every=settings.get("log_every") or Config.log_every)
        findings = [_in_words(finding, folder) for finding in diagnose(log, config, folder)]
        return findings, f"{folder}: networks of your own on {settings.get('data')}, {LOG} has {last}"
    try:
        config = Config.from_json(settings)
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"{folder / CONFIG} is damaged ({error}): put back an earlier copy") from None
    return diagnose(log, config, folder), f"{folder}: {config.model} on {config.data}, {LOG} has {last}"


def _in_words(finding: Finding, folder: Path) -> Finding:
    """The finding with advice for a run from Python: its options are not those of `minigan train`, nor known here."""
    advice = [Advice({}, words) for words in _IN_WORDS.get(finding.kind, ())]
    if any(one.changes.get("resume") for one in finding.advice):
        resume = f"mg.Run.resume({str(folder)!r}, game=game, data=data, steps=…).train()"
        advice.append(Advice({}, f"go on with the run, then ask again: {resume}"))
    return replace(finding, advice=tuple(advice))


def _read_settings(path: Path) -> dict[str, Any]:
    try:
        return read_settings(path)
    except FileNotFoundError:
        raise CheckpointError(f"there is no {path}: name the folder of a run") from None


def _read_columns(path: Path) -> dict[str, list[float]]:
    if not path.exists():
        raise CheckpointError(f"there is no {path}: the run has not begun, or its log was removed")
    names, rows = read_table(path)
    missing = [name for name in NEEDED if name not in names]
    if missing:
        raise CheckpointError(f"{path} has no column {', '.join(missing)}: put back an earlier copy")
    return columns_of(rows) if rows else {name: [] for name in names}


class _View:
    """A log as the rules see it."""

    def __init__(self, columns: dict[str, np.ndarray], config: Config, folder: str) -> None:
        self.columns, self.config, self.folder = columns, config, folder
        self.steps = columns["step"]
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
    if view.config.loss == "saturating":
        slope = "with --loss saturating the slope of L_G by D's logit is −D(G(z))"
        evidence.append(f"{slope}: {_percent(fake)} of the most it can be")
    before, after = view.gradient("generator", view.early), view.gradient("generator", view.late)
    if after < before / 3:
        evidence.append(f"G's gradient has vanished: its norm was {before:.2g} at the start and is {after:.2g}")
    elif not math.isnan(after):
        evidence.append(
            f"the norm of G's gradient was {before:.2g} at the start and is {after:.2g}, and yet G does not catch up"
        )
    return Finding("discriminator wins", tuple(evidence), _weaker_d(view.config), _SOURCES["discriminator wins"])


def _generator_wins(view: _View) -> Finding | None:
    fake, real, loss_d, loss_g = (view.median(name) for name in ("prob_fake", "prob_real", "loss_d", "loss_g"))
    fooled = fake >= FOOLED or (view.config.loss != "saturating" and loss_g <= -math.log(FOOLED))
    if not (fooled and loss_d >= FOOLED_LOSS):
        return None
    evidence = (
        f"{view.since} L_D is {loss_d:.3g} and L_G is {loss_g:.2g}; where D only guesses L_D is 1.39",
        f"D(G(z)) is {fake:.3g} and D(x) is {real:.3g}: D follows G too slowly to reject what it makes, good or bad",
    )
    return Finding("generator wins", evidence, _stronger_d(view.config), _SOURCES["generator wins"])


def _is_young(view: _View) -> bool:
    """Whether samples that are not diverse may yet become so: see COLLAPSED and the limits beside it."""
    now, before = view.spread(view.late), view.spread(view.middle)
    fell = before > YOUNG and now < before / RISING
    if now > RISING * before:
        return not view.progress >= 1 or now >= YOUNG
    return view.progress < FIRST_PART and not fell


def _collapse(view: _View) -> Finding | None:
    if not view.spread(view.late) < COLLAPSED or _is_young(view):
        return None
    best, step = view.peak("clusters")
    evidence = (
        f"{view.since} {_diversity(view)}",
        f"the share of clusters was {_percent(best)} at step {step:,}, the most; 10 % or so says that all samples lie in one",
    )
    advice = _more_diversity(view.config)
    if view.spread(view.late) > RISING * view.spread(view.middle):
        advice = (*advice, _go_on(view, "clusters and diversity still rise together, so G may only be young"))
    return Finding("collapse", evidence, advice, _SOURCES["collapse"])


def _no_trouble(view: _View) -> Finding:
    overview = (
        f"{view.since} D(x) is {view.median('prob_real'):.2g} and D(G(z)) {view.median('prob_fake'):.2g}, "
        f"L_D {view.median('loss_d'):.3g} and L_G {view.median('loss_g'):.3g}"
    )
    now, before = view.spread(view.late), view.spread(view.middle)
    if math.isnan(now):
        told = "the log has no columns diversity and clusters, or nothing in them, as where an earlier version wrote it"
        look = Advice({}, f"look at {Path(view.folder) / SAMPLES}: if samples of one picture are all alike, G has collapsed")
        return Finding("unmeasured", (overview, told), (look, _go_on(view, "the rows it adds say how diverse the samples are")))
    evidence = [overview, _diversity(view)]
    if now >= COLLAPSED:
        return Finding("healthy", tuple(evidence))
    if now > RISING * before:
        evidence.append(f"both together, √(diversity · clusters), rise: from {before:.2g} in the second third to {now:.2g}")
    if view.progress < 1:
        steps, epochs = view.config.steps, view.config.epochs
        done = f"{view.last:,} of {steps:,} steps" if steps else f"into epoch {view.epoch + 1:,.0f} of {epochs:,}"
        evidence.append(f"the run has gone {done}")
    return Finding("young", tuple(evidence), (_go_on(view, "then ask again: if they stay alike, G has collapsed"),))


def _diversity(view: _View) -> str:
    return (
        f"generated samples are spread over {_percent(view.median('clusters'))} as many clusters of the data as real ones are, "
        f"and their diversity is {view.median('diversity'):.2g} (0: all alike, 1: they differ as real ones do)"
    )


# -- what to try -----------------------------------------------------------------------------------------------------------


def _settings(config: Config) -> dict[str, Any]:
    """The recipe of this kind of model, and what the run has in place of it."""
    recipe = recipe_of(config.model or "dcgan", config.data not in ("ring", "grid"))
    own = {name: getattr(config, name) for name in recipe if getattr(config, name) is not None}
    return {"recipe": recipe, **recipe, **own}


def _go_on(view: _View, reason: str, least: int = 0) -> Advice:
    """To go on with the run, to the end that it has or, where that is reached or before the step `least`, to a later one."""
    config = view.config
    changes: dict[str, Any] = {"resume": True, "out": view.folder}
    longer: dict[str, Any] = {}
    if config.steps and (view.last >= config.steps or config.steps < least):
        longer = {"steps": max(least, 2 * config.steps)}
    elif config.epochs and view.epoch + 1 >= config.epochs:
        longer = {"epochs": 2 * config.epochs}
    if longer and config.schedule != "constant":
        length = f"{config.steps:,} steps" if config.steps else f"{config.epochs:,} epochs"
        reason = f"in a new run, for the {config.schedule} schedule of this one was laid out for {length}; {reason}"
        return Advice(longer, reason)
    return Advice({**changes, **longer}, reason)


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
    if config.loss == "saturating":
        advice.append(Advice({"loss": "non-saturating"}, "−log D(G(z)) is steepest where D rejects what G makes"))
    if not rates:
        advice.append(Advice({"lr_d": (config.lr_d or lr) / 4}, "a slower D"))
    if not settings["smoothing"]:
        advice.append(Advice({"smoothing": 0.1}, "D then aims at 0.9 for real samples, which keeps it from being sure"))
    return tuple(advice)


def _stronger_d(config: Config) -> tuple[Advice, ...]:
    settings = _settings(config)
    lr, usual = settings["lr"], settings["recipe"]["lr"]
    rates: dict[str, Any] = {} if lr <= 2 * usual else {"lr": usual}
    if config.lr_d and config.lr_d < lr:
        rates["lr_d"] = None
        reason = f"D learns {config.lr_d / lr:.2g} times as fast as G, at {config.lr_d:g} against {lr:g}"
    else:
        reason = f"G learns at {lr:g}, and {usual:g} is what the model trains with by default"
    advice = [Advice(rates, reason)] if rates else [Advice({"lr_d": 4 * (config.lr_d or lr)}, "a faster D")]
    if settings["smoothing"]:
        advice.append(Advice({"smoothing": 0.0}, f"D then aims at 1 for real samples, not at {1 - settings['smoothing']:g}"))
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
        if name in recipe and np.max(settings[name], initial=0) < np.max(recipe[name]):
            advice.append(Advice({name: recipe[name]}, f"this run had {_option(name, settings[name]).partition(' ')[2]}"))
    advice.append(Advice({"batch_size": 2 * batch}, "D sees more of what G makes at a time"))
    if not rates:
        advice.append(Advice({"lr": lr / 2}, f"this run had {lr:g}"))
    return tuple(advice)


_IN_WORDS = {  # what helps against each trouble, where the run's options are not known
    "learning rate": ("smaller learning rates, ten times smaller where nothing else is known",),
    "discriminator wins": ("a slower D, as lr_d = lr / 4", "one-sided label smoothing of 0.1, which keeps D from being sure"),
    "generator wins": ("a faster D, as lr_d = 4 lr", "no label smoothing"),
    "collapse": ("β₁ = 0 and smaller learning rates", "a larger batch: D sees more of what G makes at a time"),
}

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
    "generator wins": (
        "Goodfellow et al. 2014 (arXiv:1406.2661), section 6: G must not be trained too much without updating D",
        "Heusel et al. 2017 (arXiv:1706.08500), section 2: a learning rate for each side, with D the faster one",
    ),
    "collapse": (
        "Goodfellow 2016 (arXiv:1701.00160), section 5.1.1: mode collapse",
        "Radford et al. 2015 (arXiv:1511.06434), section 4: a momentum of 0.9 made training oscillate, 0.5 did not",
    ),
}


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
