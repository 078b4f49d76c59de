"""How good the samples of runs are, beside real ones: one table, and in each run's folder its figures and a picture."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from minigan.backends import stream
from minigan.data import Dataset
from minigan.data.reading import shown
from minigan.errors import CheckpointError, DataError, MiniganError, OptionError, UserFileError, shorten
from minigan.files import write_atomically
from minigan.games import Game
from minigan.metrics.digits import SHAPE as DIGIT
from minigan.metrics.reference import Extract, Reference
from minigan.tables import aligned
from minigan.training import Config, checkpoint, errors_of_user_file, load_game, plots
from minigan.training.folder import METRICS, NEIGHBOURS, RunFolder
from minigan.user_code import FUNCTION_IN_FILE, describe_error, function_of, imports_beside, names_function, split_function

MOST = 5000  # samples, unless told otherwise
LEAST = 12  # real samples, for five neighbours of each of a half
SHOWN, NEAREST = 16, 4  # samples in the picture, and real neighbours of each
POINTS = 2000  # in that of points
LONGEST = 40  # letters of a run's name in the table


class Measure(NamedTuple):
    """A row of the table: its title, what the value is multiplied by, how many decimals are shown, and the best value."""

    title: str
    scale: float = 1
    decimals: int = 3
    best: str = "1"


MEASURES = {
    "modes": Measure("modes", decimals=0, best="all"),
    "high_quality": Measure("high quality, %", 100, 1, "100"),
    "reverse_kl": Measure("reverse KL, nats", decimals=3, best="0"),
    "frechet": Measure("Fréchet distance", best="0"),
    "kid": Measure("KID x 1000", 1000, best="0"),
    "precision": Measure("precision"),
    "recall": Measure("recall"),
    "density": Measure("density"),
    "coverage": Measure("coverage"),
    "authenticity": Measure("authenticity", best="as real"),
    "sliced_wasserstein": Measure("sliced Wasserstein x 1000", 1000, 2, "0"),
    "sliced_wasserstein_": Measure("of a level", 1000, 2, "0"),
}
LEVEL = "sliced_wasserstein_"  # and the level's size, as 14x14


class Trained(NamedTuple):
    """A run as it lies in its folder. digest: of the data that it was trained on."""

    name: str
    files: RunFolder
    game: Game
    config: Config
    step: int
    digest: str


class Split(NamedTuple):
    """Values of a dataset: those that samples are compared with, and two sets of others for the figures of chance alone."""

    reference: np.ndarray
    floor_reference: np.ndarray
    floor: np.ndarray


class Column(NamedTuple):
    """The figures of one set of samples, and how many there were on either side. trained_on: see `trained_on`."""

    name: str
    samples: int
    real_samples: int
    measures: dict[str, float]
    trained_on: float | None = None


def evaluate(
    folders: Sequence[str],
    against: str | None = None,
    features: str | None = None,
    samples: int | None = None,
    seed: int = 0,
    backend: str = "auto",
    watch: Callable[[list[Any]], Iterable[Any]] = iter,
) -> str:
    """Measure samples of runs, write metrics.json and neighbours.png into their folders, and return a table.

    against: the real data; None: those that the runs were trained on. features: FILE.py:function, which makes (N, K) of images
    (N, H, W, C) in [−1, 1] or of points (N, 2); None: those of `Reference`. samples: of each run, as many as real ones; None:
    half as many as there are of these, and at most 5,000. The table's first column compares real samples with others, which
    shows how far from the best chance alone remains. watch: goes through a list, as tqdm does.
    Raises MiniganError for what is no run, data that are gone or do not fit, too few samples, and mistakes in a user's file.
    """
    extract = None if features is None else features_of_user(features)
    runs = [load_run(folder, backend) for folder in folders]
    dataset = real_data(runs, against)
    parts = split(dataset, samples, seed)
    about = features or ("the digit classifier's" if dataset.is_images else "the coordinates")
    if features is None and dataset.is_images and dataset.shape != DIGIT:
        about = "none, for --features names no function that makes them"
    columns = _measured(runs, dataset, parts, extract, {"features": features, "seed": seed}, watch)
    return f"real: {dataset.name}, {len(dataset):,} samples; features: {about}\n\n{table(columns)}"


def _measured(
    runs: Sequence[Trained],
    dataset: Dataset,
    parts: Split,
    extract: Extract | None,
    settings: dict[str, Any],
    watch: Callable[[list[Any]], Iterable[Any]],
) -> list[Column]:
    """The columns of the table; what a run's folder gets is written as soon as its column is there."""
    reference, floor = (Reference(dataset, values, extract) for values in (parts.reference, parts.floor_reference))
    columns: list[Column] = []
    for run in watch([None, *runs]):
        if run is None:
            figures = floor.all(parts.floor, floor.rows(parts.floor))
            columns.append(Column("real", len(parts.floor), len(parts.floor_reference), figures))
        else:
            columns.append(_measure(run, dataset, reference, settings["seed"]))
            _write(run, columns[-1], columns[0], {"against": dataset.name, **settings})
    return columns


def load_run(folder: str, backend: str) -> Trained:
    """The run of a folder. Raises CheckpointError if there is none to sample from."""
    files = RunFolder(folder)
    _, info = checkpoint.load(files.checkpoint)
    game, config, _ = load_game(folder, backend)
    return Trained(folder, files, game, config, info["step"], info["dataset"])


def real_data(runs: Sequence[Trained], against: str | None) -> Dataset:
    """The data to compare with. Raises DataError, MiniganError where they are gone, or are not those of all runs."""
    first = runs[0]
    if against is not None:
        dataset = first.config.load_other(against)
    else:
        try:
            dataset = first.config.load_data()
        except DataError as error:
            raise DataError(f"{error} (--against names where the data of {first.name} lie now)") from None
    for run in runs:
        if against is None and run.digest != dataset.digest:
            moved = f"{dataset.name} has changed since {run.name} was trained on it"
            other = f"{run.name} and {first.name} were trained on different data"
            raise MiniganError(f"{moved if run.digest == first.digest else other}: name the real data by --against")
        if dataset.shape != tuple(run.game.sample_shape):
            raise MiniganError(
                f"{dataset.name} holds {dataset.shape}, and {run.name} makes {run.game.sample_shape}: --against must name data "
                "of one shape with the samples of all runs"
            )
    return dataset


def split(dataset: Dataset, count: int | None, seed: int) -> Split:
    """Values drawn by seed: `count` to compare with, and others for the floor, of the same number where there are enough.

    Where there are not, the floor is that of one half of the values against the other.
    Raises DataError for too few values, OptionError for a count that is larger than their number.
    """
    half = len(dataset) // 2
    if half < LEAST:
        raise DataError(f"{dataset.name} has {len(dataset)} samples: expected at least {2 * LEAST} to compare with; name more")
    count = min(MOST, half) if count is None else count
    if count > len(dataset):
        raise OptionError(f"samples is {count}, and {dataset.name} has {len(dataset):,} real ones: expected no more than these")
    order = np.random.default_rng(stream("evaluate", seed)).permutation(len(dataset))
    half = min(count, half)
    places = (order[:count], order[:half], order[half : 2 * half])
    return Split(*(dataset.values[place] for place in places))  # those alone: all of them may not fit in memory


def trained_on(run: Trained, dataset: Dataset, values: np.ndarray) -> float | None:
    """The share of these values of a dataset that the run was trained on; None where its own data are gone or have changed."""
    if run.digest == dataset.digest:
        return 1.0
    try:
        own = run.config.load_data()
    except DataError:
        return None
    if own.digest != run.digest:
        return None
    seen = {value.tobytes() for value in own.values}
    return sum(value.tobytes() in seen for value in values) / len(values)


def features_of_user(text: str) -> Extract:
    """The function of a user's file that makes features, with its mistakes told in one line."""
    if not names_function(text):
        raise OptionError(f"features is {shorten(text)}: expected {FUNCTION_IN_FILE}")
    path, name = split_function(text)
    function, where = function_of(path, name), f"{path}: {name}"

    def extract(samples: np.ndarray) -> np.ndarray:
        try:
            with imports_beside(path):
                features = np.asarray(function(samples))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # also SystemExit, and what a user's file derives from BaseException
            raise UserFileError(f"{where} fails: {describe_error(error, path)}") from None
        if features.dtype.kind not in "biuf":
            raise UserFileError(f"{where} returns an array of {features.dtype}: expected features that are real numbers")
        if features.ndim != 2 or len(features) != len(samples) or not features.size:
            wanted = f"features ({len(samples)}, K) of {len(samples)} samples"
            raise UserFileError(f"{where} returns an array {features.shape}: expected {wanted}")
        if not np.isfinite(features).all():
            raise UserFileError(f"{where} returns numbers that are not finite: see which samples make them")
        return features

    return extract


def _measure(run: Trained, dataset: Dataset, reference: Reference, seed: int) -> Column:
    """The figures of a run's samples. Draws the picture of its neighbours too, for which the same features are needed."""
    count = len(reference.values)
    with errors_of_user_file(run.config):
        samples = run.game.sample(count, seed)
    if not np.isfinite(samples).all():
        raise CheckpointError(f"{run.name} makes samples that are not finite: take an earlier copy of its checkpoint")
    values = dataset.kind.from_floats(samples)
    rows = reference.rows(values)
    indices, _ = reference.nearest(rows, NEAREST)
    chosen = np.concatenate([np.arange(SHOWN // 2), reference.copies(rows, SHOWN // 2)])  # there are at least LEAST
    path = run.files.path / NEIGHBOURS
    if dataset.is_images:
        plots.save_neighbours(path, values[chosen], reference.values[indices[chosen]])
    else:
        plots.save_samples(path, dataset.kind, samples[:POINTS], reference.values)
    return Column(run.name, count, count, reference.all(values, rows), trained_on(run, dataset, reference.values))


def _write(run: Trained, own: Column, floor: Column, settings: dict[str, Any]) -> None:
    """metrics.json of a run."""
    figures = {
        "step": run.step,
        **settings,
        "trained_on": own.trained_on,
        "samples": own.samples,
        "generated": own.measures,
        "real": {"samples": floor.samples, **floor.measures},
    }
    text = json.dumps(figures, indent=1, default=float) + "\n"
    write_atomically(run.files.path / METRICS, text.encode(errors="surrogateescape"))


def table(columns: Sequence[Column]) -> str:
    """Rows of measures, a column for each set of samples, the real ones first."""
    rows = [["", "best", *(shown(column.name, LONGEST) for column in columns)]]
    rows.append(["samples", "", *(f"{column.samples:,}" for column in columns)])
    rows.append(["real samples", "", *(f"{column.real_samples:,}" for column in columns)])
    shares = ["unknown" if column.trained_on is None else f"{column.trained_on:.0%}" for column in columns[1:]]
    rows.append(["trained on them", "", "", *shares])
    for name in columns[0].measures:
        row = MEASURES.get(name) or MEASURES[LEVEL]._replace(title=f"  of {name.removeprefix(LEVEL)}")
        cells = (f"{row.scale * column.measures[name]:.{row.decimals}f}" for column in columns)
        rows.append([row.title, row.best, *cells])
    return aligned(rows)
