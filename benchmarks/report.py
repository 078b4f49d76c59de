"""Results as a Markdown table, a JSON file and a chart."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.machine import one_line
from benchmarks.rounds import OURS, BenchmarkError, spread
from benchmarks.sides import SIDES
from minigan.errors import shorten
from minigan.files import write_atomically

Result = dict[str, Any]

FEWEST_ROUNDS = 3  # that have quartiles worth the name
WIDEST_SPREAD = 1.25  # of rounds, third quartile over first: more than other work on a shared machine makes in a calm hour

_COLOURS = {
    "numpy": "#d62728",
    "baseline": "#8c564b",
    "numpy-layers": "#c49c94",
    "numpy-avx2": "#ff9896",
    "textbook": "#7f7f7f",
    "cupy": "#9467bd",
    "products": "#bcbd22",
    "torch": "#1f77b4",
    "torch-defaults": "#17becf",
    "torch-last": "#1f4e9e",
    "torch-compile": "#2ca02c",
    "jax": "#ff7f0e",
    "cupy-launches": "#c5b0d5",
    "torch-gpu": "#1f77b4",
    "torch-gpu-last": "#1f4e9e",
    "torch-gpu-compile": "#2ca02c",
    "jax-gpu": "#ff7f0e",
}


def _colour(side: str) -> str:
    return _COLOURS.get(side, "#111111")  # of a side that has no colour of its own


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table: the first column to the left, all others to the right."""
    lines = ["| " + " | ".join(header) + " |", "|---|" + "---:|" * (len(header) - 1)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def faster_layout(point: Result) -> str | None:
    """The side of PyTorch's faster memory layout; None where neither was measured."""
    layouts = [side for side in ("torch", "torch-last") if side in point["seconds"]]
    return min(layouts, key=lambda side: point["seconds"][side], default=None)


def duration(seconds: float) -> str:
    """With three digits, in µs, ms or s."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size or unit == "µs":
            return f"{seconds / size:.3g} {unit}" if seconds / size < 1000 else f"{seconds / size:.0f} {unit}"
    raise AssertionError


def warnings_about(points: Sequence[Result]) -> list[str]:
    """What makes figures doubtful: fewer than three rounds, or rounds whose third quartile is far above the first."""
    timed = [(point["title"], side, times) for point in points for side, times in _rounds(point)]
    warnings = []
    fewest = min((len(times) for *_, times in timed), default=FEWEST_ROUNDS)
    if fewest < FEWEST_ROUNDS:
        counted = "1 round is" if fewest == 1 else f"{fewest} rounds are"
        warnings.append(f"{counted} too few to tell a difference from noise: take {FEWEST_ROUNDS} or more (--rounds)")
    wide = sorted(((spread(times), title, side) for title, side, times in timed), reverse=True)
    wide = [entry for entry in wide if entry[0] > WIDEST_SPREAD]
    if wide:
        worst, title, side = wide[0]
        others = f", and {len(wide) - 1} more" if len(wide) > 1 else ""
        warnings.append(
            f"rounds spread widely ({side}, {title}: third quartile {worst:.2f} times the first{others}): "
            "leave the machine to the benchmark, or take more --rounds of more --seconds"
        )
    return warnings


def _rounds(point: Result) -> Iterable[tuple[str, list[float]]]:
    """(side, seconds of each round); none for a point of memory alone."""
    return point.get("rounds", {}).items()


def cell(point: Result, side: str, text: Callable[[float], str], *, ratio: bool = True, quartiles: bool = False) -> str:
    """What `text` makes of the median time, and for other sides how many times ours that is; a dash where there is none."""
    if side not in point["seconds"]:
        return "–"
    shown = text(point["seconds"][side])
    if not ratio or side == point.get("ours", OURS) or side not in point["ratios"]:
        return shown
    r = point["ratios"][side]
    spread = f", {r['low']:.2f}–{r['high']:.2f}" if quartiles else ""
    return f"{shown} (**{r['median']:.2f}**{spread})"


def timing_table(points: Sequence[Result]) -> str:
    """One row a point, one column a side that was measured."""
    sides = [name for name in SIDES if any(name in point["seconds"] for point in points)]
    return markdown(
        ["", *sides], ([point["title"], *(cell(point, side, duration, quartiles=True) for side in sides)] for point in points)
    )


def notes(result: Result) -> str:
    """What stands below a table: the machine, how it was measured, the sides in words, and what is missing."""
    lines = [one_line(result["machine"]) + ".", *(f"Warning: {words}." for words in result["warnings"])]
    if any("ratios" in point for point in result["points"]):
        lines.append(
            f"Medians of {result['settings']['rounds']} alternating rounds; in brackets the time relative to "
            f"{result.get('ours', OURS)}'s in the "
            "same round: median, quartiles. Above 1, minigan is faster."
        )
    lines += [f"- `{name}`: {SIDES[name].words} ({_versions(result['versions'][name])})" for name in result["versions"]]
    lines += [f"- `{name}`: missing: {why}" for name, why in result["missing"].items()]
    return "\n".join(lines)


def _versions(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items() if name != "device")


def files_of(command: str) -> tuple[str, ...]:
    """The names of the files that a command writes."""
    return (
        f"{command}.json",
        *([f"{command}.png"] if command in CHARTS else []),
        *(["gpu-tests.txt"] if command == "gpu" else []),
    )


def check_folder(folder: Path, command: str, overwrite: bool) -> None:
    """Raise BenchmarkError, before anything is measured, if the result cannot be written there or would replace another."""
    try:
        held = [name for name in files_of(command) if (folder / name).exists()]
        there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        if there.is_dir():
            with tempfile.TemporaryFile(dir=there):  # permissions alone do not tell of a read-only file system
                pass
        reason = "" if there.is_dir() else f"{there} is a file"
    except OSError as error:
        reason = error.strerror or str(error)
    if reason:
        raise BenchmarkError(f"cannot write to {shorten(str(folder))}: {reason}: name another folder by --out")
    if held and not overwrite:
        raise BenchmarkError(
            f"{shorten(str(folder))} holds {held[0]} already: --overwrite replaces it, --out names another folder"
        )


def write(result: Result, folder: Path) -> None:
    """The result as JSON, and its chart beside it, each written whole or not at all."""
    command = result["command"]
    chart = CHARTS.get(command) if result["points"] else None
    files = {f"{command}.json": f"{json.dumps(result, indent=1)}\n".encode()}
    if chart:
        picture = io.BytesIO()
        chart(result, picture)
        files[f"{command}.png"] = picture.getvalue()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BenchmarkError(f"cannot make {shorten(str(folder))}: {error.strerror}: name another folder by --out") from None
    for name, data in files.items():
        write_atomically(folder / name, data)


def read(folder: Path, command: str) -> Result | None:
    """A result written before, None if there is none. Raises BenchmarkError if the file is none of ours."""
    path = folder / f"{command}.json"
    try:
        result = json.loads(path.read_bytes()) if path.exists() else None
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or "it is damaged"
        raise BenchmarkError(
            f"cannot read {shorten(str(path))}: {reason}. Measure again, or name another folder by --out"
        ) from None
    if result is not None and (not isinstance(result, dict) or result.get("command") != command):
        raise BenchmarkError(f"{shorten(str(path))} is no result of python -m benchmarks {command}")
    return result


# -- charts ------------------------------------------------------------------------------------------------------------


def _figure(rows: int, columns: int, size: tuple[float, float]) -> tuple[Any, Any]:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    for axis in axes.flat:
        axis.grid(alpha=0.3, which="both", linewidth=0.5)
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _save(figure: Any, result: Result, file: Any) -> None:
    from matplotlib import pyplot

    figure.text(0.01, -0.01, one_line(result["machine"]), fontsize=6.5, color="#555555", va="top", wrap=True)
    figure.savefig(file, format="png", dpi=110, bbox_inches="tight", metadata={"Software": None})
    pyplot.close(figure)


def _lines(axis: Any, points: Sequence[Result], x: Any, y: Any) -> None:
    """One line a side through its points."""
    for side in SIDES:
        pairs = [(x(point), y(point, side)) for point in points if y(point, side) is not None]
        if pairs:
            style = {"linewidth": 2.4, "zorder": 3} if side == OURS else {"linewidth": 1.2}
            axis.plot(*zip(*pairs, strict=True), marker="o", markersize=4, color=_colour(side), label=side, **style)
    axis.set_xscale("log", base=2)
    axis.set_yscale("log")
    ticks = sorted({x(point) for point in points})
    axis.set_xticks(ticks, [str(t) for t in ticks])
    axis.minorticks_off()


def _steps(result: Result, file: Any) -> None:
    """Lines over the batch size for games of several sizes, and the ratios of all others side by side."""
    games = list(dict.fromkeys(point["task"]["game"] for point in result["points"]))
    points_of = {game: [point for point in result["points"] if point["task"]["game"] == game] for game in games}
    single = [points[0] for points in points_of.values() if len(points) == 1]
    several = {game: points for game, points in points_of.items() if len(points) > 1}
    figure, axes = _figure(1, len(several) + bool(single), (5.2 * (len(several) + bool(single)), 4.2))
    for axis, (game, points) in zip(axes.flat, several.items(), strict=False):
        _lines(axis, points, lambda p: p["task"]["batch"], lambda p, s: p["seconds"].get(s) and 1e3 * p["seconds"][s])
        axis.set(title=f"one training step, {game}", xlabel="batch size", ylabel="ms (less is better)")
    if single:
        _ratios(axes.flat[-1], single)
        axes.flat[-1].set(title="one training step")
    axes.flat[0].legend(fontsize=7, frameon=False)
    _save(figure, result, file)


def _sampling(result: Result, file: Any) -> None:
    games = list(dict.fromkeys(point["task"]["game"] for point in result["points"]))
    figure, axes = _figure(1, len(games), (5.2 * len(games), 4.2))
    for axis, game in zip(axes.flat, games, strict=True):
        points = [point for point in result["points"] if point["task"]["game"] == game]
        _lines(
            axis,
            points,
            lambda p: p["task"]["batch"],
            lambda p, s: p["seconds"].get(s) and p["task"]["batch"] / p["seconds"][s],
        )
        axis.set(title=f"images out of G, {game}", xlabel="batch size", ylabel="images per second (more is better)")
    axes.flat[0].legend(fontsize=7, frameon=False)
    _save(figure, result, file)


def _layers(result: Result, file: Any) -> None:
    figure, axes = _figure(1, 1, (9, 0.22 * len(result["points"]) + 1.2))
    _ratios(axes.flat[0], result["points"])
    axes.flat[0].legend(fontsize=7, frameon=False, loc="upper right")
    _save(figure, result, file)


def _ratios(axis: Any, points: Sequence[Result]) -> None:
    """One row a point: the sides' times as multiples of ours."""
    for side in SIDES:
        pairs = [
            (point["ratios"][side]["median"], -row)
            for row, point in enumerate(points)
            if side in point["ratios"] and side != OURS
        ]
        if pairs:
            axis.scatter(*zip(*pairs, strict=True), s=22, color=_colour(side), label=side, zorder=3)
    axis.axvline(1, color=_COLOURS[OURS], linewidth=2)
    axis.set_yticks([-row for row in range(len(points))], [point["title"] for point in points], fontsize=7)
    axis.set_xscale("log")
    ticks = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20]
    axis.set_xticks(ticks, [f"{t:g}" for t in ticks])
    axis.set(xlabel=f"time / time of {OURS}: to the right of the red line minigan is faster", ylim=(-len(points) + 0.3, 0.7))


def _scaling(result: Result, file: Any) -> None:
    sweeps = list(dict.fromkeys(point["sweep"] for point in result["points"]))
    figure, axes = _figure(2, len(sweeps), (4.2 * len(sweeps), 7))
    for column, sweep in enumerate(sweeps):
        points = [point for point in result["points"] if point["sweep"] == sweep]

        def per_image(point: Result, side: str) -> float | None:
            return point["seconds"].get(side) and 1e3 * point["seconds"][side] / point["task"]["batch"]

        _lines(axes[0, column], points, lambda p: p["size"], per_image)
        _lines(axes[1, column], points, lambda p: p["size"], lambda p, s: p["peak_mib"].get(s))
        axes[0, column].set(title=f"dcgan by {sweep}", ylabel="ms per image")
        axes[1, column].set(xlabel=sweep, ylabel="peak memory above idle, MiB")
    axes[0, 0].legend(fontsize=7, frameon=False)
    _save(figure, result, file)


def _memory(result: Result, file: Any) -> None:
    points = result["points"]
    figure, axes = _figure(1, len(points), (4.6 * len(points), 3))
    for axis, point in zip(axes.flat, points, strict=True):
        sides = [side for side in SIDES if side in point["peak_mib"]]
        axis.barh(range(len(sides)), [point["peak_mib"][s] for s in sides], color=[_colour(s) for s in sides])
        axis.set_yticks(range(len(sides)), sides, fontsize=7)
        axis.invert_yaxis()
        axis.set(title=point["title"], xlabel="peak memory above the idle process, MiB")
    _save(figure, result, file)


def _gpu(result: Result, file: Any) -> None:
    points = result["points"]
    figure, axes = _figure(1, len(points), (3.4 * len(points), 3.2))
    for axis, point in zip(axes.flat, points, strict=True):
        sides = [side for side in SIDES if side in point["seconds"]]
        milliseconds = [1e3 * point["seconds"][s] for s in sides]
        axis.scatter(milliseconds, range(len(sides)), s=40, color=[_colour(s) for s in sides], zorder=3)
        for row, (side, at) in enumerate(zip(sides, milliseconds, strict=True)):
            offset = {"xytext": (7, -3), "textcoords": "offset points"}
            axis.annotate(duration(point["seconds"][side]), (at, row), fontsize=7, **offset)
        axis.set_yticks(range(len(sides)), sides, fontsize=7)
        axis.invert_yaxis()
        axis.set_xscale("log")
        axis.margins(x=0.35, y=0.2)
        axis.tick_params(axis="x", which="both", labelsize=7)
        axis.set_title(point["title"], fontsize=9)
        axis.set_xlabel("ms for one training step", fontsize=8)
    _save(figure, result, file)


_COLOURS_OF_GAMES = {"mlp": "#1f77b4", "dcgan": "#d62728"}


def _ranks(result: Result, file: Any) -> None:
    """Images per second by number of ranks: measured points, predictions dashed (dotted: of another network), thin: no cost."""
    figure, axes = _figure(1, 2, (11, 4.6))
    for axis, scaling in zip(axes.flat, ("strong", "weak"), strict=True):
        links = list(dict.fromkeys(row["link"] for row in result["predictions"]))
        for row in (row for row in result["predictions"] if row["scaling"] == scaling):
            game, colour = row["game"], _COLOURS_OF_GAMES.get(row["game"], "#111111")
            sizes = [int(size) for size in row["images_per_s"]]
            rates, style = list(row["images_per_s"].values()), "--" if row["link"] == links[0] else ":"
            axis.plot(sizes, rates, style, color=colour, linewidth=1.5, label=f"{game}, predicted: {row['link']}")
            if row["link"] == links[0]:
                axis.plot(sizes, [size * rates[0] for size in sizes], color=colour, linewidth=0.5, alpha=0.5)
                _measured_ranks(axis, [p for p in result["points"] if p["game"] == game and p["scaling"] == scaling], colour)
        batch = result["settings"]["batch"]
        words = f"the same batch of {batch}" if scaling == "strong" else f"a batch of {batch} for each rank"
        axis.set(title=words, xlabel="ranks", ylabel="images per second (more is better)", yscale="log")
        axis.set_xscale("log", base=2)
        axis.xaxis.set_major_formatter(lambda size, _: f"{size:.0f}")
        axis.legend(fontsize=7, frameon=False)
    _save(figure, result, file)


def _measured_ranks(axis: Any, points: Sequence[Result], colour: str) -> None:
    """Points of one rank and of several; open squares: one process of several threads."""
    if not points:
        return
    game, own = points[0]["game"], {1: points[0]["batch"] / points[0]["ranks"] / points[0]["seconds"]["1 thread"]}
    if points[0]["scaling"] == "strong":
        own[1] *= points[0]["ranks"]
    own |= {point["ranks"]: point["batch"] / point["seconds"][point["label"]] for point in points}
    axis.plot(list(own), list(own.values()), "o", color=colour, markersize=6, label=f"{game}, measured", zorder=3)
    for name, seconds in points[0]["seconds"].items():
        if name.endswith(" threads"):
            rate = points[0]["batch"] / seconds
            style = {"markersize": 9, "markerfacecolor": "none", "label": f"{game}, one process of {name}"}
            axis.plot([int(name.split()[0])], [rate], "s", color=colour, **style)


CHARTS = {
    **{"steps": _steps, "layers": _layers, "scaling": _scaling, "memory": _memory, "sampling": _sampling, "gpu": _gpu},
    "ranks": _ranks,
}
