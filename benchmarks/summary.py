"""The headline figures, read out of the results that are there."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from benchmarks.games import GAMES
from benchmarks.machine import one_line
from benchmarks.ranks import words as of_ranks
from benchmarks.report import Result, faster_layout, markdown, read
from benchmarks.rounds import OURS, BenchmarkError
from benchmarks.sides import SIDES
from minigan.errors import shorten


def summary(folder: Path) -> str:
    """A table of ratios with the machine they were measured on. Raises BenchmarkError if there are no results."""
    results = {
        name: read(folder, name) for name in ("steps", "layers", "memory", "penalties", "train", "imports", "gpu", "ranks")
    }
    rows_of_each = (_steps, _layers, _memory, _penalties, _train, _imports, _gpu, _ranks)
    try:
        rows = [row for result, rows_of in zip(results.values(), rows_of_each, strict=True) for row in rows_of(result)]
        captions = sorted({one_line(result["machine"]) for result in results.values() if result})
        doubts = [f"Warning: {name}: {words}." for name, r in results.items() if r for words in r.get("warnings", ())]
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        raise BenchmarkError(f"the results in {shorten(str(folder))} are damaged: measure them again") from None
    if not rows:
        raise BenchmarkError(
            f"no results in {shorten(str(folder))}: run python -m benchmarks steps, layers, memory, train, ranks or imports, "
            "or name their folder by --out"
        )
    return markdown(["", "ratio"], rows) + "\n\n" + "\n".join([*captions, *doubts])


def _ratio(point: Result, side: str) -> str | None:
    r: dict[str, Any] | None = point["ratios"].get(side)
    return f"{r['median']:.2f} ({r['low']:.2f}–{r['high']:.2f})" if r else None


def _steps(result: Result | None) -> list[list[str]]:
    rows = []
    recipes = [(name, batch) for name, game in GAMES.items() if not game.sizes for batch in game.batches]
    for game, batch in (("mlp", 128), ("mlp", 1), ("dcgan", 128), *recipes):
        for point in result["points"] if result else ():
            if (point["task"]["game"], point["task"]["batch"]) == (game, batch):
                shown = _compared(point)
                rows += [[f"{point['title']}: {words}", r] for side, words in shown.items() if (r := _ratio(point, side))]
    return rows


def _compared(point: Result) -> dict[str, str]:
    """What to show of a point: sides, and their ratio in words."""
    faster = faster_layout(point)
    if faster and "torch-last" in point["seconds"] and point["task"]["game"] != "mlp":
        peers = {faster: "PyTorch eager, the faster layout / minigan", "textbook": "textbook / minigan"}
    else:
        peers = {"torch": "PyTorch eager / minigan", "torch-defaults": "PyTorch eager, Adam with its defaults / minigan"}
    return {
        **peers,
        "jax": "JAX jit / minigan",
        "products": "matrix products alone / the whole step",
        "numpy-layers": "minigan, each step layer by layer / minigan",
        "numpy-avx2": "minigan with OPENBLAS_CORETYPE=Haswell / minigan",
        "baseline": "minigan of the other checkout / minigan",
    }


def _layers(result: Result | None) -> list[list[str]]:
    triple = result["triple"] if result else {}
    layouts = [side for side in ("torch", "torch-last") if side in triple]
    if not layouts:
        return []
    best = min(layouts, key=lambda side: triple[side]["seconds"])
    return [["the conv triple 128×14×14×64 → 7×7×128, k4 s2: best PyTorch layout / minigan", f"{triple[best]['ratio']:.2f}"]]


def _memory(result: Result | None) -> list[list[str]]:
    rows = []
    for point in result["points"] if result else ():
        peaks = point["peak_mib"]
        layouts = [side for side in ("torch", "torch-last") if side in peaks]
        if OURS in peaks and layouts:
            least = min(layouts, key=lambda side: peaks[side])
            words = f"{point['title']}: peak memory above idle, PyTorch (the leaner layout) / minigan"
            rows.append([words, f"{peaks[least] / peaks[OURS]:.2f}"])
        if OURS in point["growth_mib"]:
            rows.append([f"{point['title']}: growth over 1,000 steps", f"{point['growth_mib'][OURS]:+.2f} MiB"])
    return rows


def _penalties(result: Result | None) -> list[list[str]]:
    rows = []
    for point in result["points"] if result else ():
        if costs := point.get("costs"):
            layouts = [side for side in ("torch", "torch-last") if side in point["seconds"]]
            if layouts:
                faster = min(layouts, key=lambda side: point["seconds"][side])
                rows.append([f"{point['title']}: PyTorch eager, the faster layout / minigan", _ratio(point, faster) or ""])
            for side in (OURS, *layouts):
                cost = costs[side]
                shown = f"{cost['median']:.2f} ({cost['low']:.2f}–{cost['high']:.2f})"
                rows.append([f"{point['title']} / without, {SIDES[side].words}", shown])
    return rows


def _train(result: Result | None) -> list[list[str]]:
    """Whole commands: time, peak memory, and how good the samples of each are."""
    rows = []
    for point in result["points"] if result else ():
        faster = faster_layout(point)
        sides = [side for side in (OURS, faster) if side and side in point["seconds"]]
        if faster and OURS in sides:
            peak = point["peak_ratios"][faster]
            words = "whole command, PyTorch, the faster layout / minigan"
            rows.append([f"{point['title']}: {words}", _ratio(point, faster) or ""])
            shown = f"{peak['median']:.2f} ({peak['low']:.2f}–{peak['high']:.2f})"
            rows.append([f"{point['title']}: peak memory of the process, PyTorch / minigan", shown])
        for side in sides:
            distance = statistics.median(point["distances"][side])
            shown = f"{point['seconds'][side]:.1f} s"
            rows.append([f"{point['title']}: {SIDES[side].words}; its samples' distance is {distance:.2f}", shown])
    return rows


def _imports(result: Result | None) -> list[list[str]]:
    if not result:
        return []
    return [
        [f"import, whole process: {name}", f"{r['median']:.2f} ({r['low']:.2f}–{r['high']:.2f})"]
        for name, r in result["points"][0]["ratios"].items()
    ]


def _gpu(result: Result | None) -> list[list[str]]:
    """Every side of every point: this is the table that says how the GPU does."""
    rows = []
    for point in result["points"] if result else ():
        for side in point["ratios"]:
            if side != point["ours"]:
                rows.append([f"GPU, {point['title']}: {side} / minigan", _ratio(point, side) or ""])
    return rows


def _ranks(result: Result | None) -> list[list[str]]:
    return of_ranks.headline(result) if result else []
