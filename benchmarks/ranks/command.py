"""`python -m benchmarks ranks`: processes that share each batch, measured where they run, and predicted where they do not."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.games import GAMES, load_data
from benchmarks.machine import describe
from benchmarks.ranks.groups import Group, launcher
from benchmarks.ranks.model import Fit, Model, exchange_seconds, fit, limits
from benchmarks.report import Result, warnings_about
from benchmarks.rounds import BenchmarkError, Settings, prove_same_work, ratio

REFERENCE_GAMES = ("mlp", "dcgan")
PREDICTED = tuple(2**n for n in range(1, 11))  # numbers of ranks
EXCHANGED = tuple(2**n for n in range(10, 25))  # bytes
ONE = "1 thread"  # one process of one thread, which is also one rank
HERE = "this machine"  # whose link among its ranks is measured
PROVED = 1024  # images up to which one process proves a batch that grows: it must hold them all
DRAWN = 5  # steps whose random numbers are timed

Watch = Callable[[Sequence[Any], str], Iterable[Any]]  # shows how far one has come


@dataclass(frozen=True)
class Asked:
    """most: the largest number of ranks, all powers of two up to it are measured. batch: images of a step, and of each rank
    where the batch grows. network: (seconds of latency, bytes a second) of another link to predict for.
    """

    most: int
    batch: int = 128
    games: Sequence[str] = REFERENCE_GAMES
    network: tuple[float, float] | None = None

    @property
    def sizes(self) -> list[int]:
        return [2**n for n in range(1, self.most.bit_length())]

    @property
    def shares(self) -> list[int]:
        """The batch, and what a rank has of it, halved as long as that goes."""
        return [self.batch // 2**n for n in range((self.batch & -self.batch).bit_length())]

    def check(self, threads: int, cores: int) -> None:
        """Raise BenchmarkError unless that can be measured on so many cores."""
        if cores < 2:
            raise BenchmarkError("this process may use one core alone: ranks need a core each, two at least")
        if self.most < 2 or self.most > cores:
            raise BenchmarkError(f"--ranks is {self.most}: choose 2 to {cores}, as many as the cores that this process may use")
        if threads > cores:
            raise BenchmarkError(f"--threads is {threads}, but this process may use {cores} cores")
        if self.batch % self.sizes[-1]:
            raise BenchmarkError(
                f"a batch of {self.batch} has no equal share for {self.sizes[-1]} ranks: choose a multiple of {self.sizes[-1]}"
            )


class Entry(NamedTuple):
    """A step that is timed: of which group, by which key, with how many images in all."""

    group: Group
    key: str
    images: int


class Groups:
    """All groups of processes, stopped but for the one that is asked."""

    def __init__(self, asked: Asked, threads: int, folder: Path) -> None:
        self.one = Group("1 process", 1, 1, folder)
        self.all = {ONE: self.one}
        try:
            if threads > 1:
                self.all[f"{threads} threads"] = Group(f"1 process of {threads} threads", 1, threads, folder)
            self.ranks: dict[int, Group] = {}
            for size in asked.sizes:
                self.ranks[size] = self.all[f"{size} ranks"] = Group(f"{size} ranks", size, 1, folder)
            for group in self.all.values():
                group.greet()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        for group in self.all.values():
            group.close()


@contextmanager
def _open(asked: Asked, threads: int) -> Iterator[Groups]:
    with tempfile.TemporaryDirectory(prefix="minigan-benchmark-") as folder:
        groups = Groups(asked, threads, Path(folder))
        try:
            yield groups
        finally:
            groups.close()


# -- measuring ---------------------------------------------------------------------------------------------------------


def prepare(groups: Groups, game: str, asked: Asked) -> dict[str, Entry]:
    """All steps of a game that are timed, by what they are called, after proof that groups do the same work.

    Raises BenchmarkError unless the first steps' losses of every group are those of one process with the whole batch.
    """
    entries: dict[str, Entry] = {}
    evidence: dict[str, dict[str, np.ndarray]] = {}

    def add(label: str, group: Group, key: str, images: int, alone: bool = False) -> None:
        share = images // group.size if alone else images
        losses = group.ask("prepare", key=f"{game} {key}", game=game, batch=share, alone=alone)[0]
        evidence[label] = {name: np.array(values) for name, values in losses.items()}
        entries[label] = Entry(group, f"{game} {key}", images)

    def prove(batch: int) -> None:
        prove_same_work({"game": game, "batch": batch, "precision": "float32"}, evidence)
        evidence.clear()

    for label, group in groups.all.items():
        add(label, group, "strong", asked.batch)
    prove(asked.batch)
    samples = len(load_data(GAMES[game].config()))
    for size, group in groups.ranks.items():
        images, whole = size * asked.batch, f"{ONE}, whole"
        if images <= samples:
            add(_weak(size), group, "weak", images)
        if images <= min(samples, PROVED):
            add(whole, groups.one, "whole", images)
            prove(images)
            groups.one.ask("drop", key=entries.pop(whole).key)
        add(_at_once(size), group, "at once", asked.batch, alone=True)
        evidence.clear()  # each rank by itself takes other steps
    for share in asked.shares[1:]:
        add(_share(share), groups.one, f"share {share}", share)
        evidence.clear()
    return entries


def _weak(size: int) -> str:
    return f"{size} ranks, a batch each"


def _at_once(size: int) -> str:
    return f"{size} processes at once, a share each"


def _share(images: int) -> str:
    return f"{ONE}, {images} images"


class Timed(NamedTuple):
    """Seconds of a step, and of the exchanges in it, one figure a round."""

    seconds: list[float]
    exchange: list[float]


def time_all(entries: dict[str, Entry], settings: Settings, watch: Watch, what: str) -> dict[str, Timed]:
    """Alternating rounds, each of which begins with another entry. Ranks take as long as the slowest of them."""
    counts = {}
    for label, entry in entries.items():
        once = max(a["seconds"] for a in entry.group.ask("time", key=entry.key, calls=1, warmup=2))
        counts[label] = max(1, round(settings.seconds / once))
    figures = {label: Timed([], []) for label in entries}
    order = list(entries)
    for turn in watch(range(settings.rounds), what):
        shift = turn % len(order)
        for label in order[shift:] + order[:shift]:
            group, key, _ = entries[label]
            answers = group.ask("time", key=key, calls=counts[label], warmup=1 + counts[label] // 10)
            figures[label].seconds.append(max(answer["seconds"] for answer in answers))
            figures[label].exchange.append(statistics.mean(answer["exchange"] for answer in answers))
    return figures


def time_exchanges(groups: Groups, rounds: int, watch: Watch) -> tuple[list[tuple[int, int, float]], float]:
    """([ranks, bytes, seconds of an exchange], seconds of a pass over a byte), medians of alternating rounds."""
    times: dict[tuple[int, int], list[float]] = {(size, n): [] for size in groups.ranks for n in EXCHANGED}
    adding: list[float] = []
    for _ in watch(range(rounds), "exchanges"):
        for size, length in times:
            calls = max(3, min(50, 2**22 // length))
            answers = groups.ranks[size].ask("exchange", size=length, calls=calls)
            times[size, length].append(max(answer["seconds"] for answer in answers))
            if length >= 2**16:  # where NumPy's call is no part of it that counts
                answers = groups.ranks[size].ask("adding", size=length, calls=calls)
                adding.append(max(answer["seconds"] for answer in answers) / length)
    return [(*key, statistics.median(of_rounds)) for key, of_rounds in times.items()], statistics.median(adding)


# -- the result --------------------------------------------------------------------------------------------------------


def points_of(game: str, figures: dict[str, Timed], threads: int, asked: Asked, models: dict[str, Model]) -> list[Result]:
    """One point for each number of ranks, with the same batch and with one that grows; the last is of one process's shares."""
    model = models[HERE]
    points = []
    for size in asked.sizes:
        several = f"{threads} threads" if threads > 1 else ONE
        # What the machine has of memory and clock is shared by all cores: a share takes longer where all of them compute.
        busy = statistics.median(figures[_at_once(size)].seconds) / model.computing(asked.batch / size)
        for scaling, label, images in (
            ("strong", f"{size} ranks", asked.batch),
            ("weak", _weak(size), size * asked.batch),
        ):
            if label not in figures:  # there are not so many data
                continue
            own = figures[label]
            names = [ONE, several, label] if scaling == "strong" else [ONE, label]
            rounds = {name: figures[name].seconds for name in dict.fromkeys(names)}
            share = [e / s for e, s in zip(own.exchange, own.seconds, strict=True)]
            predicted, computing = model.seconds(size, images), model.computing(images / size)
            point = {
                "title": f"{game}, batch {images}, {size} ranks",
                **{"game": game, "scaling": scaling, "ranks": size, "batch": images, "label": label},
                "seconds": {name: statistics.median(times) for name, times in rounds.items()},
                **{"rounds": rounds, "exchange_share": statistics.median(share)},
                **{"predicted": predicted, "predicted_exchange": model.exchanging(size)},
                **{"busy": busy, "predicted_busy": predicted + (busy - 1) * computing},
            }
            factor = images / asked.batch
            point["speed"] = {
                name: vars(ratio([t * factor for t in rounds[name]], rounds[label])) for name in rounds if name != label
            }
            points.append(point)
    shares = {label: figures[label].seconds for label in map(_share, asked.shares[1:])}
    if shares:
        seconds = {label: statistics.median(times) for label, times in shares.items()}
        points.append({"title": f"{game}, shares", "game": game, "scaling": "shares", "seconds": seconds, "rounds": shares})
    return points


def predictions_of(game: str, models: dict[str, Model], batch: int) -> list[Result]:
    """Images per second and efficiency of 1 to 1,024 ranks, with the same batch and with one that grows, for each link."""
    rows = []
    for link, model in models.items():
        for scaling in ("strong", "weak"):
            images = {p: batch if scaling == "strong" else p * batch for p in (1, *PREDICTED)}
            rates = {p: n / model.seconds(p, n) for p, n in images.items() if n % p == 0}
            found = limits(rates)
            rows.append(
                {
                    **{"game": game, "link": link, "scaling": scaling, "batch": batch},
                    "images_per_s": {str(p): rate for p, rate in rates.items()},
                    "efficiency": {str(p): rate / (p * rates[1]) for p, rate in rates.items()},
                    **found._asdict(),
                }
            )
    return rows


def _models(fitted: Fit, asked: Asked, shares: dict[int, float], sizes: Sequence[int], drawing: float) -> dict[str, Model]:
    models = {HERE: Model(fitted.costs, shares, tuple(sizes), drawing)}
    if asked.network:
        latency, rate = asked.network
        other = replace(fitted.costs, latency=latency, byte=1 / rate)
        models[f"{latency * 1e6:g} µs, {rate / 1e9:g} GB/s"] = replace(models[HERE], costs=other)
    return models


def measure(settings: Settings, asked: Asked, watch: Watch) -> Result:
    """All that is measured and predicted. Raises BenchmarkError where groups differ in their work, or a rank fails."""
    launcher()  # before anything is started
    points, predictions, steps = [], [], {}
    with _open(asked, settings.threads) as groups:
        last = groups.ranks[asked.sizes[-1]]
        exchanges, adding = time_exchanges(groups, settings.rounds, watch)
        fitted = fit(exchanges, adding)
        for game in asked.games:
            entries = prepare(groups, game, asked)
            figures = time_all(entries, settings, watch, game)
            shares = {n: statistics.median(figures[_share(n)].seconds) for n in asked.shares[1:]}
            shares[asked.batch] = statistics.median(figures[ONE].seconds)
            sizes = last.ask("messages", key=f"{game} strong")[0]["sizes"]
            drawing = groups.one.ask("draws", game=game, batch=asked.batch, calls=DRAWN)[0]["seconds"] / asked.batch
            models = _models(fitted, asked, shares, sizes, drawing)
            points += points_of(game, figures, settings.threads, asked, models)
            predictions += predictions_of(game, models, asked.batch)
            steps[game] = {"shares": {str(n): s for n, s in shares.items()}, "messages": sizes, "drawing": drawing}
            for entry in entries.values():
                entry.group.ask("drop", key=entry.key)
        library = last.library
    return {
        **{"command": "ranks", "warnings": warnings_about(points), "machine": describe(settings.threads) | {"mpi": library}},
        "settings": {"rounds": settings.rounds, "seconds": settings.seconds, "ranks": asked.most, "batch": asked.batch},
        **{"versions": {}, "missing": {}, "points": points, "steps": steps, "predictions": predictions},
        "exchange": {
            "measured": [
                {"ranks": size, "bytes": n, "seconds": s, "model": exchange_seconds(fitted.costs, size, n)}
                for size, n, s in exchanges
            ],
            "costs": vars(fitted.costs),
            "median_error": fitted.median_error,
            "largest_error": fitted.largest_error,
        },
    }
