"""`python -m benchmarks quality`: trains each protocol's seeds, and writes what is known after each of them."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

from benchmarks.machine import describe
from benchmarks.quality.digits import DIGITS
from benchmarks.quality.mixtures import GRID, RING
from benchmarks.quality.protocol import Figure, Figures, Protocol
from benchmarks.quality.stacked import STACKED
from benchmarks.quality.words import WORDS
from benchmarks.report import Result, check_folder, markdown, notes, write
from minigan.backends.numpy.threads import thread_count
from minigan.progress import tqdm_bar

PROTOCOLS = {protocol.name: protocol for protocol in (RING, GRID, STACKED, DIGITS, WORDS)}
TIMES = {"seconds": Figure("seconds a seed", 0), "processor_seconds": Figure("of the processor", 0)}


def file_name(name: str) -> str:
    """The name that a protocol's result has as that of a command."""
    return f"quality-{name}"


def run(names: Sequence[str], out: Path, *, overwrite: bool, seeds: int | None, steps: int | None, jobs: int) -> None:
    """Run these protocols, write a JSON file for each, and print their tables.

    seeds: how many, from 0 on, and steps, where they differ from the protocol's own. jobs: seeds that are trained at a time.
    """
    for name in names:
        check_folder(out, file_name(name), overwrite)
    for name in names:
        protocol = PROTOCOLS[name]
        result = measured(protocol, out, range(seeds or protocol.seeds), steps or protocol.steps, jobs)
        print(f"{table(protocol, result['published'], result['points'])}\n\n{protocol.about}\n{notes(result)}\n", flush=True)


def measured(protocol: Protocol, out: Path, seeds: Sequence[int], steps: int, jobs: int) -> Result:
    result: Result = {
        "command": file_name(protocol.name),
        "run_as": f"python -m benchmarks quality {protocol.name} --seeds {len(seeds)} --steps {steps} --jobs {jobs}",
        "about": protocol.about,
        "warnings": [],
        "machine": describe(thread_count()),
        "settings": {**protocol.settings, "steps": steps},
        "versions": {},
        "missing": {},
        "published": {**protocol.published, **protocol.references()},
        "points": [],
    }
    points = tqdm_bar(
        _points(protocol.name, seeds, steps, jobs),
        desc=protocol.name,
        unit="seed",
        total=len(seeds),
        file=sys.stderr,
        disable=None,
    )
    for point in points:
        result["points"] = sorted([*result["points"], point], key=lambda point: point["seed"])
        write(result, out)
    return result


def _points(name: str, seeds: Sequence[int], steps: int, jobs: int) -> Iterator[Result]:
    """Each seed's point as soon as it is there."""
    if jobs == 1:
        yield from (point(name, seed, steps) for seed in seeds)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        for future in as_completed([pool.submit(point, name, seed, steps) for seed in seeds]):
            yield future.result()


def point(name: str, seed: int, steps: int) -> Result:
    """The figures of one seed."""
    protocol = PROTOCOLS[name]
    game, times = protocol.train(seed, steps)
    return {"seed": seed, **protocol.measure(game), **times}


def table(protocol: Protocol, published: Mapping[str, Sequence[float | None]], points: Sequence[Result]) -> str:
    """Published figures, and below them ours: the mean of the seeds, their standard deviation, and each seed."""
    columns = {**protocol.figures, **TIMES}
    rows = [[who, *_cells(columns, dict(zip(protocol.figures, values, strict=True)))] for who, values in published.items()]
    values = {name: [point[name] for point in points] for name in columns}
    means = {name: statistics.fmean(column) for name, column in values.items()}
    rows.append([f"**minigan, mean of {len(points)}**", *_cells(columns, means)])
    if len(points) > 1:
        deviations = {name: statistics.stdev(column) for name, column in values.items()}
        rows.append(["standard deviation", *_cells(columns, deviations)])
        rows += [[f"seed {point['seed']}", *_cells(columns, point)] for point in points]
    return markdown([protocol.name, *(figure.title for figure in columns.values())], rows)


def _cells(columns: Mapping[str, Figure], values: Figures) -> list[str]:
    return [figure.shown(values[name]) if name in values else "–" for name, figure in columns.items()]
