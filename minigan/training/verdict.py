"""The verdict on a run: what its log shows of both sides, of the diversity of samples and of their likeness to the data."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from minigan.data.synthetic import MODES
from minigan.errors import CheckpointError
from minigan.training.advice import (
    IN_WORDS,
    SOURCES,
    Advice,
    closer_to_data,
    go_on,
    more_diversity,
    own_options,
    shorter_steps,
    stronger_d,
    weaker_d,
)
from minigan.training.config import OPTIONS, Config
from minigan.training.findings import LEAST_ROWS, LEAST_STEPS, TITLES, Finding, View, percent, stats_of
from minigan.training.folder import CONFIG, LOG, SAMPLES, made_from_python
from minigan.training.log import columns_of, read_settings, read_table
from minigan.training.posterior import judge_codes

__all__ = ["TITLES", "Finding", "diagnose", "diagnose_run", "verdict"]

# The limits stand in the gaps between games made to fail and healthy ones: dense and convolutional games on digits of 12x12
# pixels and dense ones on eight Gaussians, some 150 runs over 5 seeds, whose true state was known from the modes or digits
# that G made. A run is judged by the last third of its log, by medians over the rows.
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
# Fidelity and coverage, of which real samples have 0.97. On the ring, where a sample must lie within 3 σ = 0.03, a run of 1,500
# steps had 0.47 and 1, one with 4 hidden units 0.001 and 0.25; a dense game on digits 1 and 0.98, for pixels are forgiving.
ALIKE = 0.6


def diagnose(log: Mapping[str, Sequence[float]], config: Config | None = None, folder: str | Path = "RUN") -> list[Finding]:
    """What a run's log shows: its troubles, the main one first; else a single finding that is none.

    That is "healthy", "young" (samples are not diverse or not like the data, but the run has not gone far, or their diversity
    rises), "sides unmeasured", "unmeasured" or "fidelity unmeasured" (the log says nothing of losses or probabilities, of the
    samples' diversity, of their likeness to the data) or "too short".

    log: columns by name, as minigan.training.columns_of gives them: NaN where a value was not measured, infinite where it
    was no finite number. config: that of the run, which the advice is made for. folder: of the run, as the advice is to
    name it.
    """
    view = View({name: np.asarray(values, np.float64) for name, values in log.items()}, config or Config(), str(folder))
    rate = None if view.has_bound else _learning_rate(view)
    if view.has_bound and (judged := judge_codes(view, _likeness(view), _go_on(view, "then ask again"))):
        found = judged
    elif view.is_short and not rate:
        told = (
            f"{len(view.steps)} rows up to step {view.last:,}; it takes {LEAST_ROWS} rows and {LEAST_STEPS} steps to judge it"
        )
        least = max(LEAST_STEPS, LEAST_ROWS * view.config.log_every)
        measured = [f"{view.since} {_likeness(view)}"] if _likeness(view) else []
        found = [Finding("too short", (told, *measured), (_go_on(view, "then ask again", least),))]
    else:
        troubles = (rate, _discriminator_wins(view), _generator_wins(view), _collapse(view))
        found = [finding for finding in troubles if finding] or [_no_trouble(view)]
    own = own_options(view.config)
    return [
        replace(
            finding,
            advice=tuple(replace(advice, own=own) for advice in finding.advice),
            likeness=_likeness(view),
            is_judged=not view.has_scores,
            has_bound=view.has_bound,
        )
        for finding in found
    ]


def diagnose_run(folder: str | Path) -> tuple[list[Finding], str]:
    """The findings of a run folder, and a line that says what was read.

    Raises CheckpointError if the folder holds no log, or if the log or config.json is damaged.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise CheckpointError(f"there is no folder {folder}: name the folder of a run")
    config, is_from_python = _read_config(folder / CONFIG)
    log = _read_columns(folder / LOG)
    rows = len(log["step"])
    last = f"{rows:,} rows up to step {int(log['step'][-1]):,}" if rows else "no rows yet"
    findings, what = diagnose(log, config, folder), f"{'vae ' if config.game == 'vae' else ''}{config.model}"
    if is_from_python:
        findings, what = [_in_words(finding, folder) for finding in findings], "networks of your own"
    return findings, f"{folder}: {what} on {config.data}, {LOG} has {last}"


def verdict(folder: str | Path) -> str:
    """The main finding of a run folder in one line, which never fails: it ends a training that may have gone well."""
    try:
        findings, _ = diagnose_run(folder)
    except Exception as error:  # whatever became of the files meanwhile
        return f"verdict: none, for {error}"
    figures = f" ({findings[0].likeness})" if findings[0].likeness else ""
    return f"verdict: {findings[0].title[:-1]}{figures}; more: minigan diagnose {shlex.quote(str(folder))}"


def _in_words(finding: Finding, folder: Path) -> Finding:
    """The finding with advice for a run from Python: its options are not those of `minigan train`, nor known here."""
    advice = [Advice({}, words) for words in IN_WORDS.get(finding.kind, ())]
    if any(one.changes.get("resume") for one in finding.advice):
        resume = f"mg.Run.resume({str(folder)!r}, game=game, data=data, steps=…).train()"
        advice.append(Advice({}, f"go on with the run, then ask again: {resume}"))
    return replace(finding, advice=tuple(advice))


def _read_config(path: Path) -> tuple[Config, bool]:
    """(the configuration, or of a run from Python what is known of it; whether it is one)."""
    try:
        settings = read_settings(path)
    except FileNotFoundError:
        raise CheckpointError(f"there is no {path}: name the folder of a run") from None
    try:
        if not made_from_python(settings):
            return Config.from_json(settings), False
        known = {name: OPTIONS[name].convert(settings.get(name)) for name in ("data", "steps", "log_every")}
        return Config(**known), True
    except ValueError as error:
        raise CheckpointError(f"{path} is damaged ({error}): put back an earlier copy") from None


def _read_columns(path: Path) -> dict[str, list[float]]:
    if not path.exists():
        raise CheckpointError(f"there is no {path}: the run has not begun, or its log was removed")
    names, rows = read_table(path)
    stats = stats_of(names)
    missing = [name for name in ("step", *stats) if name not in names]
    if missing:
        raise CheckpointError(f"{path} has no column {', '.join(missing)}: put back an earlier copy")
    return columns_of(rows) if rows else {name: [] for name in names}


# -- the rules -------------------------------------------------------------------------------------------------------------


def _learning_rate(view: View) -> Finding | None:
    if not len(view.steps):
        return None
    evidence = []
    if view.broken.size:
        evidence.append(f"at step {int(view.broken[0]):,} numbers stopped being finite, and the run ended")
    (peak_d, step_d), (peak_g, step_g) = view.peak("loss_d"), view.peak("loss_g")
    if peak_d > PEAK_D and peak_g > PEAK_G and not view.has_scores:
        evidence.append(
            f"the losses are thrown about: L_D rose to {peak_d:,.3g} (step {step_d:,}) and L_G to {peak_g:,.3g} "
            f"(step {step_g:,}); where D only guesses they are 1.39 and 0.69"
        )
    dead = [
        f"{percent(view.median(name))} in layer {name.split('.')[1]} of the {network}"
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
    return Finding("learning rate", tuple(evidence), shorter_steps(view.config), SOURCES["learning rate"])


def _discriminator_wins(view: View) -> Finding | None:
    if view.has_scores:
        return None
    fake, real, saturated = (view.median(name) for name in ("prob_fake", "prob_real", "saturated_fake"))
    if not (fake <= WON_FAKE and real >= WON_REAL * (1 - (view.config.smoothing or 0))):
        return None
    evidence = [f"{view.since} D(x) is {real:.3g} and D(G(z)) is {fake:.2g}; where D only guesses both are 0.5"]
    if saturated > 0:
        evidence.append(
            f"{percent(saturated)} of D's logits s of generated samples are saturated: σ(s) is within 0.001 of 0 or 1"
        )
    if view.config.loss == "saturating":
        slope = "with --loss saturating the slope of L_G by D's logit is −D(G(z))"
        evidence.append(f"{slope}: {percent(fake)} of the most it can be")
    before, after = view.gradient("generator", view.early), view.gradient("generator", view.late)
    if after < before / 3:
        evidence.append(f"G's gradient has vanished: its norm was {before:.2g} at the start and is {after:.2g}")
    elif not math.isnan(after):
        evidence.append(
            f"the norm of G's gradient was {before:.2g} at the start and is {after:.2g}, and yet G does not catch up"
        )
    return Finding("discriminator wins", tuple(evidence), weaker_d(view.config), SOURCES["discriminator wins"])


def _generator_wins(view: View) -> Finding | None:
    if view.has_scores:
        return None
    fake, real, loss_d, loss_g = (view.median(name) for name in ("prob_fake", "prob_real", "loss_d", "loss_g"))
    fooled = fake >= FOOLED or (view.config.loss != "saturating" and loss_g <= -math.log(FOOLED))
    if not (fooled and loss_d >= FOOLED_LOSS):
        return None
    evidence = (
        f"{view.since} L_D is {loss_d:.3g} and L_G is {loss_g:.2g}; where D only guesses L_D is 1.39",
        f"D(G(z)) is {fake:.3g} and D(x) is {real:.3g}: D follows G too slowly to reject what it makes, good or bad",
    )
    return Finding("generator wins", evidence, stronger_d(view.config), SOURCES["generator wins"])


def _is_young(view: View) -> bool:
    """Whether samples that are not diverse may yet become so: see COLLAPSED and the limits beside it."""
    now, before = view.spread(view.late), view.spread(view.middle)
    fell = before > YOUNG and now < before / RISING
    if now > RISING * before:
        return not view.progress >= 1 or now >= YOUNG
    return view.progress < FIRST_PART and not fell


def _collapse(view: View) -> Finding | None:
    if not view.spread(view.late) < COLLAPSED or _is_young(view):
        return None
    best, step = view.peak("clusters")
    evidence = (
        f"{view.since} {_diversity(view)}",
        f"the share of clusters was {percent(best)} at step {step:,}, the most; 10 % or so says that all samples lie in one",
    )
    advice = more_diversity(view.config)
    if view.spread(view.late) > RISING * view.spread(view.middle):
        advice = (*advice, _go_on(view, "clusters and diversity still rise together, so G may only be young"))
    return Finding("collapse", evidence, advice, SOURCES["collapse"])


def _no_trouble(view: View) -> Finding:
    if lacking := [name for name in view.stats if math.isnan(view.median(name))]:
        told = f"{view.since} the log has nothing in {', '.join(lacking)}"
        what = "say how the two sides stand" if view.has_scores else "say which side wins"
        return Finding("sides unmeasured", (told,), (_go_on(view, f"the rows it adds {what}"),))
    judgement = f"D(x) is {view.median('prob_real'):.2g} and D(G(z)) {view.median('prob_fake'):.2g}"
    if view.has_scores:
        judgement = f"D's mean score of real samples is {view.median('score_real'):.3g}, of generated ones "
        judgement += f"{view.median('score_fake'):.3g}"
    overview = f"{view.since} {judgement}, L_D {view.median('loss_d'):.3g} and L_G {view.median('loss_g'):.3g}"
    if view.has_scores:
        overview += "; scores and their losses have no scale of their own, so which side wins cannot be judged from them"
    spread, before = view.spread(view.late), view.spread(view.middle)
    if math.isnan(spread):
        told = "the log has no columns diversity and clusters, or nothing in them, as where an earlier version wrote it"
        look = Advice({}, f"look at {Path(view.folder) / SAMPLES}: if samples of one picture are all alike, G has collapsed")
        return Finding("unmeasured", (overview, told), (look, _go_on(view, "the rows it adds say how diverse the samples are")))
    evidence = [overview, _diversity(view)]
    fidelity, coverage = view.median("fidelity"), view.median("coverage")
    measured = [share for share in (fidelity, coverage) if not math.isnan(share)]
    if spread >= COLLAPSED and len(measured) < 2 and min(measured, default=1) >= ALIKE:
        lacking = [name for name in ("fidelity", "coverage") if math.isnan(view.median(name))]
        told = f"{view.since} the log has nothing in {' and '.join(lacking)}, as where an earlier version wrote it"
        look = Advice({}, f"look at {Path(view.folder) / SAMPLES}")
        if view.config.kind == "sound":
            told = "fidelity and coverage are not measured of sound, for what sounds alike may differ in all its values"
            look = Advice({}, f"listen to {Path(view.folder) / SAMPLES}; minigan evaluate measures their spectra")
            return Finding("fidelity unmeasured", (*evidence, told), (look,))
        longer = _go_on(view, "the rows it adds say how many samples resemble the data")
        return Finding("fidelity unmeasured", (*evidence, told), (look, longer))
    evidence += [f"{view.since} {likeness}" for likeness in [_likeness(view)] if likeness]
    if spread >= COLLAPSED and min(measured) >= ALIKE:
        return Finding("healthy", tuple(evidence))
    if spread >= COLLAPSED and not view.progress < 1:
        kind = "unlike" if fidelity < ALIKE else "incomplete"
        advice = (*closer_to_data(view.config), _go_on(view, "while the share rises, more steps help"))
        return Finding(kind, tuple(evidence), advice, SOURCES["unlike"])
    if RISING * before < spread < COLLAPSED:
        evidence.append(f"both together, √(diversity · clusters), rise: from {before:.2g} in the second third to {spread:.2g}")
    if view.progress < 1:
        steps, epochs = view.config.steps, view.config.epochs
        done = f"{view.last:,} of {steps:,} steps" if steps else f"into epoch {view.epoch + 1:,.0f} of {epochs:,}"
        evidence.append(f"the run has gone {done}")
    reason = "then ask again" + (": if they stay alike, G has collapsed" if spread < COLLAPSED else "")
    return Finding("young", tuple(evidence), (_go_on(view, reason),))


def _likeness(view: View) -> str:
    """Fidelity and coverage in words, or "" where they were not measured."""
    fidelity, coverage = view.median("fidelity"), view.median("coverage")
    if view.config.data in MODES:
        count = len(MODES[view.config.data][0])
        near = f"{percent(fidelity)} of samples lie within 3 σ of a mode"
        reached, joint = f"{coverage * count:.0f} of {count} modes are reached", ", "
    else:
        near = f"{percent(fidelity)} of samples lie close to a real one"
        reached, joint = f"{percent(coverage)} of real ones have a sample close by (97 % where samples are real)", ", and "
    return joint.join(words for words, share in ((near, fidelity), (reached, coverage)) if not math.isnan(share))


def _go_on(view: View, reason: str, least: int = 0) -> Advice:
    return go_on(view.config, view.folder, view.last, view.epoch, reason, least)


def _diversity(view: View) -> str:
    return (
        f"generated samples are spread over {percent(view.median('clusters'))} as many clusters of the data as real ones are, "
        f"and their diversity is {view.median('diversity'):.2g} (0: all alike, 1: they differ as real ones do)"
    )
