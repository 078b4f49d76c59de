"""Two opened steps side by side: which of their stations belong together, and in what they differ."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

import numpy as np

from minigan.errors import OptionError
from minigan.explain.step import OpenedStep
from minigan.network import Sequential

ENOUGH = 0.5  # of the longer network's layers must have a partner, or layers are not put side by side
LETTERS = ("A", "B")


@dataclass
class Side:
    """One of the two: its step, what was opened, and the content of its page."""

    step: OpenedStep
    about: str
    content: dict[str, Any]


def compare(sides: Sequence[Side]) -> dict[str, Any]:
    """What the page of both holds beside their own: notes, stations in pairs with what differs, gradients by depth.

    Raises OptionError for steps of different games.
    """
    first, second = sides
    if type(first.step) is not type(second.step):
        kinds = " and ".join(f"{side.about.partition(':')[0]} is a {_kind(side.step)}'s" for side in sides)
        raise OptionError(f"{kinds}: their steps have no station in common, so give each a page of its own")
    partners = {name: _partners(*(_network(side.step, name) for side in sides)) for name in first.step.passes}
    apart = [name for name, found in partners.items() if not _enough(found)]
    pairs = _pairs(sides, partners, with_layers=not apart)
    return {
        "abouts": [side.about for side in sides],
        "notes": _notes(sides, apart),
        "pairs": [_differences(sides, pair) for pair in pairs],
        "sizes": _sizes(sides, partners),
    }


def _kind(step: OpenedStep) -> str:
    return type(step).__name__.removeprefix("Opened")


def _network(step: OpenedStep, name: str) -> Sequential:
    return step.passes[name][0].net


def _partners(one: Sequential, other: Sequential) -> dict[tuple[int, int], int]:
    """{(side, index of a layer): its number in the two rows put beside each other}: partners have one number.

    Partners have one class and one output shape, so that a network fits beside itself with BatchNorm put in.
    """
    rows = [[(type(layer).__name__, layer.output_shape) for layer in net.layers] for net in (one, other)]
    numbers: dict[tuple[int, int], int] = {}
    for _, a0, a1, b0, b1 in SequenceMatcher(None, rows[0], rows[1], autojunk=False).get_opcodes():
        together = (a1 - a0) if rows[0][a0:a1] == rows[1][b0:b1] else 0
        for k in range(together):
            numbers[0, a0 + k] = numbers[1, b0 + k] = len(set(numbers.values()))
        for side, low, high in ((0, a0, a1), (1, b0, b1)):
            for k in range(low + together, high):
                numbers[side, k] = len(set(numbers.values()))
    return numbers


def _enough(numbers: dict[tuple[int, int], int]) -> bool:
    sides = [{number for (side, _), number in numbers.items() if side == which} for which in (0, 1)]
    return len(sides[0] & sides[1]) >= ENOUGH * max(map(len, sides))


def _pairs(sides: Sequence[Side], partners: dict[str, Any], with_layers: bool) -> list[tuple[int | None, int | None]]:
    """The stations of both in one row, by their numbers: where one side has none, None."""
    letters = {name[0].upper(): found for name, found in partners.items()}
    keys: list[list[Hashable]] = [[], []]
    places: list[list[int]] = [[], []]
    for which, side in enumerate(sides):
        for number, station in enumerate(side.content["stations"]):
            index = station.get("index")
            if index is not None and not with_layers:
                continue
            label = "" if station["kind"] == "update" else station["label"]
            what = label if index is None else letters[station["net"]][which, index]
            keys[which].append((station["act"], station["kind"], station["net"], what))
            places[which].append(number)
    found: list[tuple[int | None, int | None]] = []
    for kind, a0, a1, b0, b1 in SequenceMatcher(None, keys[0], keys[1], autojunk=False).get_opcodes():
        if kind == "equal":
            found += zip(places[0][a0:a1], places[1][b0:b1], strict=True)
        else:
            found += [(place, None) for place in places[0][a0:a1]] + [(None, place) for place in places[1][b0:b1]]
    return found


def _notes(sides: Sequence[Side], apart: Sequence[str]) -> list[str]:
    """What is to be known before two steps are compared, a sentence each."""
    first, second = (side.step for side in sides)
    notes = []
    if apart:
        names = " and ".join(f"the {name}s" for name in apart)
        notes.append(
            f"The layers of {names} cannot be put side by side: fewer than half of them have a partner of the same kind and "
            "shape. What can be compared is here: samples, losses, updates, and the gradients by depth."
        )
    same = first.batch.shape == second.batch.shape and np.array_equal(first.batch, second.batch)
    notes.append(f"Both steps are taken on {'the same' if same else 'different'} samples.")
    return notes


def _differences(sides: Sequence[Side], pair: tuple[int | None, int | None]) -> dict[str, Any]:
    """Of one pair: both stations' numbers and titles, formulas where they differ, and facts in rows [name, A's, B's]."""
    stations = [None if k is None else side.content["stations"][k] for side, k in zip(sides, pair, strict=True)]
    one = next(station for station in stations if station is not None)
    facts = [_facts(station) for station in stations]
    names = [*facts[0], *(name for name in facts[1] if name not in facts[0])]
    formulas = [station.get("formulas") or [] if station else [] for station in stations]
    return {
        "name": one["name"],
        "act": one["act"],
        "titles": [station["title"] if station else None for station in stations],
        "stations": list(pair),
        "formulas": formulas if None not in stations and formulas[0] != formulas[1] else None,
        "rows": [[name, *(found.get(name, "") for found in facts)] for name in names],
    }


def _facts(station: dict[str, Any] | None) -> dict[str, str]:
    """A station's facts by name; a fact that differs between passes is one for each."""
    found: dict[str, str] = {}
    for fact in station.get("facts", []) if station else []:
        value = fact["value"]
        found |= {fact["name"]: value} if isinstance(value, str) else {f"{fact['name']} ({b})": v for b, v in value.items()}
    if station and station.get("parameters"):
        found["parameters"] = f"{station['parameters']:,}"
    return found


def _sizes(sides: Sequence[Side], partners: dict[str, Any]) -> list[dict[str, Any]]:
    """The root mean square of ∂L/∂y by depth in both, partners in one row: act, branch, label and the two values."""
    letters = {name[0].upper(): found for name, found in partners.items()}
    rows: dict[tuple[str, str, str, int], dict[str, Any]] = {}
    for which, side in enumerate(sides):
        for size in side.content["sizes"]:
            number = letters[size["net"]][which, size["index"]]
            key = (size["act"], size["branch"], size["net"], number)
            label = f"{size['net']} {size['label'].split()[-1]}"
            row = rows.setdefault(key, {"act": size["act"], "branch": size["branch"], "label": label, "rms": [None, None]})
            row["rms"][which] = size["rms"]
    acts = list(dict.fromkeys(key[0] for key in rows))
    nets = list(dict.fromkeys(key[2] for key in rows))  # the order in which the gradient passes through them
    order = sorted(rows, key=lambda key: (acts.index(key[0]), key[1], nets.index(key[2]), -key[3]))
    return [rows[key] for key in order]
