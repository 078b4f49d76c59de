"""The verdict on a run: what its log shows, by the rules of its game."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from minigan.errors import CheckpointError
from minigan.training.advice import IN_WORDS, Advice
from minigan.training.config import OPTIONS, Config
from minigan.training.findings import LEAST_ROWS, LEAST_STEPS, TITLES, Finding, View
from minigan.training.folder import CONFIG, LOG, SAMPLES, made_from_python
from minigan.training.games import form_of
from minigan.training.log import columns_of, read_settings, read_table

__all__ = ["TITLES", "Finding", "diagnose", "diagnose_run", "verdict"]


def diagnose(log: Mapping[str, Sequence[float]], config: Config | None = None, folder: str | Path = "RUN") -> list[Finding]:
    """What a run's log shows: its troubles, the main one first; else a single finding that is none.

    That is "healthy", "young" (samples are not diverse or not like the data, but the run has not gone far, or their diversity
    rises), "sides unmeasured", "unmeasured" or "fidelity unmeasured" (the log says nothing of losses or probabilities, of the
    samples' diversity, of their likeness to the data) or "too short".

    log: columns by name, as minigan.training.columns_of gives them: NaN where a value was not measured, infinite where it
    was no finite number. config: that of the run, which the advice is made for. folder: of the run, as the advice is to
    name it.
    """
    columns = {name: np.asarray(values, np.float64) for name, values in log.items()}
    form, settings = form_of(columns), config or Config()
    view = View(columns, settings, str(folder), form.stats, Path(folder) / SAMPLES)
    found = form.judge(view) or [_too_short(view)]
    own = settings.own_options()
    return [
        replace(
            finding,
            advice=tuple(replace(advice, own=own) for advice in finding.advice),
            likeness=view.likeness,
            titles=form.titles,
        )
        for finding in found
    ]


def _too_short(view: View) -> Finding:
    told = f"{len(view.steps)} rows up to step {view.last:,}; it takes {LEAST_ROWS} rows and {LEAST_STEPS} steps to judge it"
    least = max(LEAST_STEPS, LEAST_ROWS * view.config.log_every)
    measured = [f"{view.since} {view.likeness}"] if view.likeness else []
    return Finding("too short", (told, *measured), (view.go_on("then ask again", least),))


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
    findings, what = diagnose(log, config, folder), config.title
    if is_from_python:
        findings, what = [_in_words(finding, folder, form_of(log).in_words) for finding in findings], "networks of your own"
    return findings, f"{folder}: {what} on {config.data}, {LOG} has {last}"


def verdict(folder: str | Path) -> str:
    """The main finding of a run folder in one line, which never fails: it ends a training that may have gone well."""
    try:
        findings, _ = diagnose_run(folder)
    except Exception as error:  # whatever became of the files meanwhile
        return f"verdict: none, for {error}"
    figures = f" ({findings[0].likeness})" if findings[0].likeness else ""
    return f"verdict: {findings[0].title[:-1]}{figures}; more: minigan diagnose {shlex.quote(str(folder))}"


def _in_words(finding: Finding, folder: Path, own: Mapping[str, tuple[str, ...]]) -> Finding:
    """The finding with advice for a run from Python: its options are not those of `minigan train`, nor known here."""
    advice = [Advice({}, words) for words in {**IN_WORDS, **own}.get(finding.kind, ())]
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
    missing = [name for name in ("step", *form_of(names).stats) if name not in names]
    if missing:
        raise CheckpointError(f"{path} has no column {', '.join(missing)}: put back an earlier copy")
    return columns_of(rows) if rows else {name: [] for name in names}
