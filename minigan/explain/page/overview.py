"""The drawing of both networks: every layer as a cell, by the way that data take, and the stations that each leads to."""

from __future__ import annotations

import math
from typing import Any

from minigan.explain.page.walk import Walk
from minigan.layers import Layer

FORWARD, BACKWARD, CURVATURE = "forward", "backward", "curvature"
SHORT = {  # names that fit into a cell
    **{"Conv2d": "Conv", "ConvTranspose2d": "ConvT", "BatchNorm": "BN", "LayerNorm": "LN", "LeakyReLU": "LReLU"},
    **{"Softplus": "Soft+", "Softmax": "Smax", "Sigmoid": "Sigm", "Flatten": "Flat", "Reshape": "Shape", "Upsample": "Up"},
    **{"Dropout": "Drop", "Residual": "Resid", "SpectralNorm": "SN", "MinibatchStd": "MStd", "PhaseShuffle": "Shuff"},
    **{"DiffAugment": "Augm"},
}
LONGEST = 6  # letters of a name in a cell


def overview(walk: Walk) -> dict[str, Any]:
    """Parts in the order of the data's way: each network, and before, between and after them what is none.

    A part has a network's letter ("" for none) and cells; a cell its label, what it is in full, the share that its values are
    of the most (on a scale of logarithms), and the numbers of the stations that it leads to, by lane.
    """
    players, most = walk.players, _most(walk)
    parts: list[dict[str, Any]] = []
    for gap, (letter, name, record) in enumerate(players):
        parts.append(_gap(walk, gap))
        cells = [_layer(walk, letter, index, layer, most) for index, layer in enumerate(record.net.layers)]
        parts.append({"net": letter, "name": name, "cells": cells})
    parts.append(_gap(walk, len(players)))
    lanes = [lane for lane in (FORWARD, BACKWARD, CURVATURE) if any(c["lanes"].get(lane) for p in parts for c in p["cells"])]
    return {"parts": [part for part in parts if part["cells"]], "lanes": lanes, "seam": walk.seam}


def _most(walk: Walk) -> int:
    return max(math.prod(layer.output_shape or (1,)) for _, _, record in walk.players for layer in record.net.layers)


def _layer(walk: Walk, letter: str, index: int, layer: Layer, most: int) -> dict[str, Any]:
    lanes: dict[str, list[int]] = {}
    for number, station in enumerate(walk.stations):
        if (station["net"], station.get("index")) == (letter, index):
            lanes.setdefault(station["kind"], []).append(number)
    shape = layer.output_shape or ()
    return {
        "label": SHORT.get(layer.name, layer.name if len(layer.name) <= LONGEST else f"{layer.name[: LONGEST - 1]}…"),
        "title": f"{letter}, layer {index}: {layer!r} → {'×'.join(map(str, shape))}",
        "size": math.log(1 + math.prod(shape)) / math.log(1 + most),
        "lanes": lanes,
    }


def _gap(walk: Walk, gap: int) -> dict[str, Any]:
    """The cells of what is no layer: noise, samples, codes, losses, updates."""
    cells: dict[str, dict[str, Any]] = {}
    for number, station in enumerate(walk.stations):
        if "index" in station:
            continue
        place, label = walk.gaps.get(station["label"], (len(walk.players), _label(station)))
        if place != gap:
            continue
        cell = cells.setdefault(label, {"label": label, "title": station["title"], "size": 0, "lanes": {}})
        lane = BACKWARD if station["kind"] == "backward" else FORWARD
        cell["lanes"].setdefault(lane, []).append(number)
    return {"net": "", "name": "", "cells": list(cells.values())}


def _label(station: dict[str, Any]) -> str:
    return f"{station['net']} moves" if station["kind"] == "update" else station["label"]
