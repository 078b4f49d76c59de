"""Every option of every command with hostile values: taken, or refused in one line; nothing of the user's is lost."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from campaigns.forked import contents, lost, problem, run
from campaigns.tiny_run import GAME, copy_into, words
from hostile import VALUES

SECONDS = 20.0  # after which a command hangs, and a training that a value made long is ended
VALUES_OF_AN_OPTION = 25
# Nobody's files but the campaign's own: such values are not given to what writes to a path, or walks through it.
OUTSIDE = {"/", "//", "/etc", "/etc/passwd", "~", ".."}
PATHS = ("--out", "--data", "--data-dir", "--from")
TRAINING = {"--data": "data.npy", "--out": "out", "--steps": "2"} | GAME
ALTERNATIVES = {"--epochs": "--steps"}  # options that exclude each other
NEEDS_DCGAN = ("--width", "--extra-conv")


def cases(count: int, seed: int) -> Iterator[tuple[str, str, str]]:
    """(command, option or "" for its place on the line, value): 25 for each option, or `count` of these."""
    rng = np.random.default_rng(seed)
    every = []
    for command, option in _options():
        values = [value for value in VALUES if option not in PATHS or value not in OUTSIDE]
        every += [(command, option, values[index]) for index in rng.choice(len(values), VALUES_OF_AN_OPTION, replace=False)]
    yield from (every[index] for index in sorted(rng.permutation(len(every))[: count or None]))


def _options() -> Iterator[tuple[str, str]]:
    from minigan.cli.entry import _parser

    (commands,) = (action for action in _parser()._actions if isinstance(action, argparse._SubParsersAction))
    for name, parser in commands.choices.items():
        for action in parser._actions:
            if isinstance(action, argparse._HelpAction):
                continue
            yield name, action.option_strings[-1] if action.option_strings else ""


def attempt(case: tuple[str, str, str]) -> tuple[int, list[str]]:
    """Give one option one value: (command lines run, problems)."""
    command, option, value = case
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "here"
        copy_into(folder)
        before = contents(folder)
        result = run(_arguments(command, option, value), folder, SECONDS)
        found = [problem(result, (0, 1, 2)) if result.status is not None else _end(command, option, value)]
        found.append(lost(before, contents(folder), ("run",) if "run" in value or "--resume" in option else ()))
    return 1, [f"{command} {option} {value[:60]!r}: {text}" for text in found if text]


def _end(command: str, option: str, value: str) -> str:
    """Whether a command may take long: a training that was told to be long, or of a wide network."""
    return "" if command == "train" and option in ("--steps", "--epochs", "--width") else "it hangs"


def _arguments(command: str, option: str, value: str) -> list[str]:
    given: dict[str, Any] = {
        "train": TRAINING,
        "sample": {"": "run", "-n": "2", "--out": "sampled.npy"},
        "diagnose": {"": "run"},
        "evaluate": {"": "run", "--samples": "12"},
        "explain": {"": "run", "--out": "page.html"},
        "gradcheck": {},
        "info": {},
    }.get(command, {})
    given = {name: text for name, text in given.items() if ALTERNATIVES.get(option) != name}
    if option in NEEDS_DCGAN:
        given = {name: text for name, text in given.items() if name not in ("--model", "--hidden")} | {"--model": "dcgan"}
    return [command, *words(given | {option: value})]
