"""The folder of a run: what lies in it, and where the next one goes."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

CONFIG, LOG, CHECKPOINT, CURVES, FILM, SAMPLES = (
    "config.json",
    "log.csv",
    "checkpoint.safetensors",
    "curves.png",
    "progress.gif",
    "samples",
)


def read_log(path: Path) -> list[dict[str, str]]:
    """The whole rows of a log; a last line cut short by a crash is left out."""
    if not path.exists():
        return []
    with open(path, encoding="utf-8", errors="replace", newline="") as file:
        rows = list(csv.DictReader(file))
    return [row for row in rows if None not in row.values() and row["step"].isdigit()]


def columns_of(rows: Sequence[Mapping[str, str]]) -> dict[str, list[float]]:
    """The columns of a log's rows by name, as numbers; NaN where a cell is empty."""
    return {name: [float(row[name] or math.nan) for row in rows] for name in rows[0]}


def holds_run(folder: Path) -> bool:
    return (folder / CONFIG).exists() or (folder / CHECKPOINT).exists()


def free_folder(data: str, model: str | None) -> Path:
    """runs/<data>, or runs/<data>-<model> where a model is named; with a number behind it where that is taken."""
    name = Path(data).resolve().stem
    base = Path("runs") / (f"{name}-{model}" if model else name)
    number, folder = 1, base
    while holds_run(folder):
        number += 1
        folder = base.with_name(f"{base.name}-{number}")
    return folder
