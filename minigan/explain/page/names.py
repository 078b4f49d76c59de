"""The names of stations, by which an address leads to one: explain.html#d-backward-3-conv2d."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Any


def name_stations(stations: Iterable[dict[str, Any]]) -> None:
    """Give each station a "name" of small letters, digits and hyphens: its act, kind, network, index and label.

    The network is left out where it has its act's name, so that D's own step has d-backward-3-conv2d, and G's step
    through D has g-backward-d-3-conv2d. Names depend on the networks alone; no two are equal.
    """
    taken: set[str] = set()
    for station in stations:
        is_act_s = station["label"] == f"L_{station['act']}"  # the loss that the act is about needs no further name
        net = "" if is_act_s or station["net"] == station["act"] else station["net"]
        parts = [station["act"], station["kind"], net, str(station.get("index", "")), "" if is_act_s else station["label"]]
        name = first = "-".join(filter(None, map(_plain, parts)))
        count = 1
        while name in taken:
            count += 1
            name = f"{first}-{count}"
        taken.add(name)
        station["name"] = name


def _plain(text: str) -> str:
    """Small letters and digits, whatever lies between them as one hyphen: "z = μ + σ ε" is "z"."""
    letters = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub("[^a-z0-9]+", "-", letters).strip("-")
