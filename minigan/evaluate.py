"""How good the samples of runs are, beside real ones: one table, and in each run's folder its figures and a picture."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from minigan.backends import stream
from minigan.data import Dataset, Kind
from minigan.data.kinds import Sound, Text
from minigan.data.loading import is_text
from minigan.data.reading import shown
from minigan.errors import CheckpointError, DataError, MiniganError, OptionError, UserFileError, shorten
from minigan.files import write_atomically
from minigan.games import Game
from minigan.metrics.digits import SHAPE as DIGIT
from minigan.metrics.digits import recognised_digits
from minigan.metrics.reference import Extract, Reference, reference_of
from minigan.metrics.texts import GRAMS, TextReference
from minigan.tables import aligned
from minigan.training import Config, checkpoint, errors_of_user_file, load_game, plots
from minigan.training.folder import METRICS, NEIGHBOURS, RunFolder
from minigan.user_code import FUNCTION_IN_FILE, describe_error, function_of, imports_beside, names_function, split_function

MOST = 5000  # samples, unless told otherwise
LEAST = 12  # real samples, for five neighbours of each of a half
SHOWN, NEAREST = 16, 4  # samples in the picture, and real neighbours of each
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
    "copied": Measure("in the training data, %", 100, 1, "as real"),
    "distinct": Measure("different lines, %", 100, 1, "as real"),
    "jsd_1": Measure("JSD of letters, bits", decimals=4, best="0"),
    **{f"jsd_{n}": Measure(f"JSD of {n}-grams, bits", decimals=4, best="0") for n in GRAMS[1:]},
    "class_accuracy": Measure("class accuracy, %", 100, 1, "100"),
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
    kind: Kind
    step: int
    digest: str


class Split(NamedTuple):
    """Values of a dataset: those that samples are compared with, and two sets of others for the figures of chance alone.

    floor_labels: of the last set, where the dataset has labels.
    """

    reference: np.ndarray
    floor_reference: np.ndarray
    floor: np.ndarray
    floor_labels: np.ndarray | None = None


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
    (N, H, W, C) or sounds (N, T, C) in [−1, 1], or of points (N, 2); None: those of `Reference`. samples: of each run, as many
    as real ones; None: half as many as there are of these, and at most 5,000. The table's first
    column compares real samples with others, which shows how far from the best chance alone remains. watch: goes through a
    list, as tqdm does.
    Raises MiniganError for what is no run, data that are gone or do not fit, too few samples, and mistakes in a user's file.
    """
    extract = None if features is None else features_of_user(features)
    runs = [load_run(folder, backend) for folder in folders]
    dataset = real_data(runs, against)
    parts = split(dataset, samples, seed)
    own = {"images": "the digit classifier's", "points": "the coordinates", "sound": "log-spectra"}
    about = features or own.get(dataset.kind.name, "runs of letters, padding included")
    if isinstance(dataset.kind, Text) and features is not None:
        raise OptionError(f"features is {shorten(features)}, and text is compared by its letters: leave it out")
    if features is None and dataset.is_images and dataset.shape != DIGIT:
        about = "none, for --features names no function that makes them"
    columns = _measured(runs, dataset, parts, extract, {"features": features, "seed": seed}, watch)
    held = dataset.held_out
    count = f"{len(dataset):,} samples" if held is None else f"{len(held):,} samples that are held out"
    return f"real: {dataset.name}, {count}; features: {about}\n\n{table(columns)}"


def _measured(
    runs: Sequence[Trained],
    dataset: Dataset,
    parts: Split,
    extract: Extract | None,
    settings: dict[str, Any],
    watch: Callable[[list[Any]], Iterable[Any]],
) -> list[Column]:
    """The columns of the table; what a run's folder gets is written as soon as its column is there."""
    reference, floor = (reference_of(dataset, values, extract) for values in (parts.reference, parts.floor_reference))
    columns: list[Column] = []
    for run in watch([None, *runs]):
        if run is None:
            figures = floor.all(parts.floor, floor.rows(parts.floor))
            if parts.floor_labels is not None and any(learns_digits(run) for run in runs):
                figures["class_accuracy"] = class_accuracy(parts.floor, parts.floor_labels)
            columns.append(Column("real", len(parts.floor), len(parts.floor_reference), figures))
        else:
            columns.append(_measure(run, dataset, reference, settings["seed"]))
            _write(run, columns[-1], columns[0], {"against": dataset.name, **settings})
    return columns


def load_run(folder: str, backend: str) -> Trained:
    """The run of a folder. Raises CheckpointError if there is none to sample from."""
    files = RunFolder(folder)
    _, info = checkpoint.load(files.checkpoint)
    game, config, kind = load_game(folder, backend)
    return Trained(folder, files, game, config, kind, info["step"], info["dataset"])


def real_data(runs: Sequence[Trained], against: str | None) -> Dataset:
    """The data to compare with. Raises DataError, MiniganError where they are gone, or are not those of all runs."""
    first = runs[0]
    if against is not None:
        dataset = first.config.load_other(against, **_read_as(first, against))
    else:
        try:
            dataset = first.config.load_data(labels=any(run.game.classes for run in runs))
        except DataError as error:
            raise DataError(f"{error} (--against names where the data of {first.name} lie now)") from None
    for run in runs:
        if against is None and run.digest != dataset.digest_of(run.game.classes > 0):
            moved = f"{dataset.name} has changed since {run.name} was trained on it"
            other = f"{run.name} and {first.name} were trained on different data"
            is_like_first = run.digest == first.digest or run.config.data == first.config.data
            raise MiniganError(f"{moved if is_like_first else other}: name the real data by --against")
        if dataset.shape != tuple(run.game.sample_shape):
            raise MiniganError(
                f"{dataset.name} holds {dataset.shape}, and {run.name} makes {run.game.sample_shape}: --against must name data "
                "of one shape with the samples of all runs"
            )
    return dataset


def _read_as(run: Trained, data: str) -> dict[str, Any]:
    """How lines of text and sound are read, to be compared with those of a run."""
    length = run.game.sample_shape[0]
    if isinstance(run.kind, Sound):
        return {"length": length, "rate": run.kind.rate}
    if isinstance(run.kind, Text) and is_text(data):
        return {"length": length, "alphabet": run.kind.alphabet, "hold_out": 0}
    return {}


def split(dataset: Dataset, count: int | None, seed: int) -> Split:
    """Values drawn by seed: `count` to compare with, and others for the floor, of the same number where there are enough.

    Where there are not, the floor is that of one half of the values against the other. Where some are held out, these are
    compared with, and the floor is that of others against them.
    Raises DataError for too few values, OptionError for a count that is larger than their number.
    """
    if dataset.held_out is not None:
        return _split_held_out(dataset, dataset.held_out, count, seed)
    half = len(dataset) // 2
    if half < LEAST:
        raise DataError(f"{dataset.name} has {len(dataset)} samples: expected at least {2 * LEAST} to compare with; name more")
    count = min(MOST, half) if count is None else count
    if count > len(dataset):
        raise OptionError(f"samples is {count}, and {dataset.name} has {len(dataset):,} real ones: expected no more than these")
    order = np.random.default_rng(stream("evaluate", seed)).permutation(len(dataset))
    size = min(count, half)
    parts = order[:count], order[:size], order[size : 2 * size]
    labels = None if dataset.labels is None else dataset.labels[parts[2]]
    reference, floor_reference, floor = (dataset.values[part] for part in parts)  # those alone: all may not fit in memory
    return Split(reference, floor_reference, floor, labels)


def learns_digits(run: Trained) -> bool:
    """True if the classes of the run are those that the bundled classifier tells apart."""
    return run.config.class_names == tuple("0123456789") and tuple(run.game.sample_shape) == DIGIT


def class_accuracy(values: np.ndarray, classes: np.ndarray) -> float:
    """The share of images that the bundled classifier takes for the digits that they are to be."""
    return float((recognised_digits(values) == classes).mean())


def _split_held_out(dataset: Dataset, held_out: np.ndarray, count: int | None, seed: int) -> Split:
    most = min(len(dataset), len(held_out))
    if most < LEAST:
        raise DataError(f"{dataset.name} holds out {len(held_out)} of its samples: expected at least {LEAST}; hold out more")
    if count is not None and count > most:
        raise OptionError(f"samples is {count}, and {dataset.name} has {most:,} held-out ones: expected no more than these")
    count, rng = count or min(MOST, most), np.random.default_rng(stream("evaluate", seed))
    held, own = (values[rng.permutation(len(values))[:count]] for values in (held_out, dataset.values))
    return Split(held, own, held)


def trained_on(run: Trained, dataset: Dataset, values: np.ndarray) -> float | None:
    """The share of these values of a dataset that the run was trained on; None where its own data are gone or have changed."""
    labels = run.game.classes > 0
    is_own = run.digest == dataset.digest_of(labels)
    if is_own and dataset.held_out is None:
        return 1.0
    try:
        own = dataset if is_own else run.config.load_data()
    except DataError:
        return None
    if own.digest_of(labels) != run.digest:
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


def _measure(run: Trained, dataset: Dataset, reference: Reference | TextReference, seed: int) -> Column:
    """The figures of a run's samples. Draws the picture of its neighbours too, for which the same features are needed."""
    count = len(reference.values)
    with errors_of_user_file(run.config):
        samples = run.game.sample(count, seed)
    if not np.isfinite(samples).all():
        raise CheckpointError(f"{run.name} makes samples that are not finite: take an earlier copy of its checkpoint")
    values = dataset.kind.from_floats(samples)
    rows, path = reference.rows(values), run.files.path / NEIGHBOURS
    if isinstance(reference, TextReference):
        plots.save_nearest_lines(path, reference.kind, values[:SHOWN], reference.nearest(rows[:SHOWN], NEAREST))
    elif dataset.is_images:
        indices, _ = reference.nearest(rows, NEAREST)
        chosen = np.concatenate([np.arange(SHOWN // 2), reference.copies(rows, SHOWN // 2)])  # there are at least LEAST
        plots.save_neighbours(path, values[chosen], reference.values[indices[chosen]])
    else:
        plots.save_samples(path, dataset.kind, samples[: dataset.kind.shown], reference.values)
    figures = reference.all(values, rows)
    if learns_digits(run):
        figures["class_accuracy"] = class_accuracy(values, np.arange(count) % run.game.classes)  # in turn, as sample asks
    return Column(run.name, count, count, figures, trained_on(run, dataset, reference.values))


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
    for name in dict.fromkeys(name for column in columns for name in column.measures):
        row = MEASURES.get(name) or MEASURES[LEVEL]._replace(title=f"  of {name.removeprefix(LEVEL)}")
        measured = (column.measures.get(name) for column in columns)
        cells = ("" if value is None else f"{row.scale * value:.{row.decimals}f}" for value in measured)
        rows.append([row.title, row.best, *cells])
    return aligned(rows)
