"""minigan sample: images, points, lines of text or sounds from a trained run."""

from __future__ import annotations

import argparse
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minigan.backends.machine import Machine
from minigan.cli.parser import add_command, add_option, whole_number
from minigan.data import DATASETS, Kind, load
from minigan.data.kinds import Text
from minigan.data.reading import shown
from minigan.errors import MiniganError, near_name, shorten
from minigan.files import write_atomically
from minigan.games import Game
from minigan.training import Config, load_game
from minigan.training.plots import GRID_PIXELS, rows_of_classes

BYTES_PER_VALUE = 17  # of a sample and its latent vector: in parts, joined, as pixels on the way from floats (measured)
GIF_FRAME = GRID_PIXELS**2  # bytes, an enlarged picture
# How samples of each kind can be written; "": as a folder of files.
SUFFIXES = {
    "images": ("", ".png", ".gif", ".npz", ".npy"),
    "points": (".png", ".npz", ".npy"),
    "text": (".txt", ".png"),
    "sound": ("", ".wav", ".png", ".npz", ".npy"),
}
ANY_SUFFIX = {suffix for suffixes in SUFFIXES.values() for suffix in suffixes}
DRAWN = 64  # samples, unless told otherwise
WALK_STEPS = 8  # images from one latent point to the next in an interpolation


def add(commands: Any) -> None:
    about = "Draw images, points, lines of text or sounds from a trained run."
    parser = add_command(commands, "sample", "draw from a trained run", about, sample)
    parser.add_argument("folder", metavar="RUN", help="a run folder")
    parser.add_argument("-n", type=whole_number(1), metavar="N", help="how many (64; of a run with classes, up to 10 of each)")
    of_class = "of a run with classes: only this one, by its name or number; without it a row of each"
    parser.add_argument("--class", dest="asked", metavar="NAME|K", help=of_class)
    add_option(parser, "seed", default=0)
    what = (
        "a grid as .png; uint8 (N, H, W, C) as .npy, or .npz under the key images, of classes with labels; an animation as "
        ".gif; a folder of PNGs; text as .txt or .png, and without --out it is printed; sounds as a .wav with all of them, as "
        ".png with waveforms and spectrograms, as int16 (N, T, C), or as a folder of WAV files"
    )
    parser.add_argument("--out", metavar="FILE|DIR", help=what)
    walk = f"walk on great circles from one latent point to the next, about {WALK_STEPS} images to each, and back to the first"
    parser.add_argument("--interpolate", action="store_true", help=walk)
    add_option(parser, "backend", default="auto")
    parser.add_argument("--overwrite", action="store_true", help="replace a file, write into a folder that is not empty")


def sample(options: argparse.Namespace) -> int:
    if options.out is None:
        return _print_lines(options)
    out = Path(options.out)
    suffix = "" if out.is_dir() else out.suffix.lower()
    if suffix not in ANY_SUFFIX:
        raise MiniganError(f"--out is {options.out}: expected a name in .png, .npz, .npy, .gif, .txt or .wav, or a folder")
    if out.exists() and not out.is_dir() and not options.overwrite:
        raise MiniganError(f"--out is {options.out}, which exists: choose another name, or add --overwrite")
    if out.exists() and not (out.is_dir() or out.is_file()):
        raise MiniganError(f"--out is {options.out}, a pipe or a device: expected the name of a file or folder")
    game, config, kind = load_game(options.folder, options.backend)
    classes, columns = _classes(options, game, config)
    options.n = options.n or (DRAWN if classes is None or np.ndim(classes) == 0 else len(classes))
    _check_memory(game, options.n, suffix)
    if suffix not in SUFFIXES[kind.name]:
        *others, last = filter(None, SUFFIXES[kind.name])
        written = f"{', '.join(others)} or {last}"
        raise MiniganError(f"--out is {options.out}: {kind.name} can be written as {written}")
    if suffix == "" and out.is_dir() and any(out.iterdir()) and not options.overwrite:
        raise MiniganError(f"--out is {options.out}, a folder that is not empty: choose another, or add --overwrite")
    samples, columns = _drawn(game, options, classes, columns)
    # Points are drawn over those they were learned from, where these are at hand.
    real = load(config.data).values if kind.name == "points" and config.data in DATASETS else None
    labels = np.broadcast_to(classes, len(samples)) if game.classes else None
    _write(out, suffix, kind, samples, columns, real, labels)
    print(f"{len(samples)} {kind.counted} of {options.folder} in {out}")
    return 0


def _drawn(game: Game, options: argparse.Namespace, classes: Any = None, columns: int = 0) -> tuple[np.ndarray, int]:
    """Samples, and the columns of their grid."""
    if not options.interpolate:
        return game.decode(game.latent(options.n, options.seed), classes), columns
    steps = columns or options.n  # with a row of each class, all walk alike
    walk = latent_walk(game.latent(count_corners(steps), options.seed), steps)
    return game.decode(np.resize(walk, (options.n, walk.shape[1])), classes), columns or WALK_STEPS


def _print_lines(options: argparse.Namespace) -> int:
    """Samples of a run of text on standard output."""
    game, config, kind = load_game(options.folder, options.backend)
    if not isinstance(kind, Text):
        raise MiniganError(f"{options.folder} makes {kind.name}: name a file for them with --out, as samples.png")
    options.n = options.n or DRAWN
    classes, _ = _classes(options, game, config)
    _check_memory(game, options.n, "")
    for line in kind.lines(kind.from_floats(_drawn(game, options, classes)[0])):
        print(line)
    return 0


def _classes(options: argparse.Namespace, game: Game, config: Config) -> tuple[Any, int]:
    """The class that is asked for, or a class number for each sample, a row of each; and the columns of the grid, 0: any.

    Raises MiniganError for an unknown class, and for one of a run without classes.
    """
    names = config.class_names or ()
    if options.asked is None:
        return rows_of_classes(game.classes, options.n) if game.classes else (None, 0)
    if not game.classes:
        raise MiniganError(
            f"--class is {shorten(options.asked)}, and {options.folder} was trained without classes: leave it out, or train "
            "one with --classes"
        )
    return class_number(options.asked, names), 0


def class_number(asked: str, names: Sequence[str]) -> int:
    """The number of a class by its name, or by its number. Raises MiniganError for neither, with the nearest name."""
    if asked in names:
        return names.index(asked)
    if asked.isascii() and asked.isdecimal() and len(asked) < 10 and int(asked) < len(names):
        return int(asked)
    close = near_name(asked, names)
    hint = f"did you mean {shorten(close)}? " if close else ""
    listed = ", ".join(shown(name, 20) for name in names[:10]) + (", …" if len(names) > 10 else "")
    raise MiniganError(
        f"--class is {shorten(asked, 40)}: {hint}expected one of {listed}, or a number from 0 to {len(names) - 1}"
    )


def _check_memory(game: Game, count: int, suffix: str) -> None:
    """Raise DeviceMemoryError unless so many samples, and what is made of them, fit into what is free."""
    values = game.latent_dim + math.prod(game.sample_shape)
    size = count * (values * BYTES_PER_VALUE + (GIF_FRAME if suffix == ".gif" else 0))
    Machine().require_memory(size, f"sample -n {count}", "draw fewer, with several --seed")


def _write(
    out: Path,
    suffix: str,
    kind: Kind,
    samples: np.ndarray,
    columns: int,
    real: np.ndarray | None,
    labels: np.ndarray | None = None,
) -> None:
    from minigan.training import plots

    values = kind.from_floats(samples)
    (out if suffix == "" else out.parent).mkdir(parents=True, exist_ok=True)
    if suffix == "":
        digits = max(4, len(str(len(values) - 1)))
        for index, value in enumerate(values):
            name = f"{index:0{digits}d}"
            if kind.suffix:
                write_atomically(out / f"{name}{kind.suffix}", kind.to_file(value[None]))
            else:
                plots.save_image(out / f"{name}.png", plots.to_image(value))
    elif suffix == kind.suffix:
        write_atomically(out, kind.to_file(values))
    elif suffix == ".png":
        plots.save_samples(out, kind, samples, real, 0 if isinstance(kind, Text) else columns)
    elif suffix == ".gif":
        plots.save_animation(out, values)
    else:
        buffer = io.BytesIO()
        if suffix == ".npy":
            np.save(buffer, values)
        else:
            named: dict[str, Any] = {kind.name: values, **({} if labels is None else {"labels": labels})}
            np.savez_compressed(buffer, **named)
        write_atomically(out, buffer.getvalue())


def count_corners(count: int) -> int:
    """Latent points that a walk of so many images visits: at least three, or it would come back the way it went."""
    return max(3, count // WALK_STEPS)


def latent_walk(corners: np.ndarray, count: int) -> np.ndarray:
    """count points, evenly spread over the great circles from corner to corner and back to the first."""
    positions = [len(corners) * i / count for i in range(count)]
    return np.stack([slerp(corners[int(p)], corners[(int(p) + 1) % len(corners)], p - int(p)) for p in positions])


def slerp(a: np.ndarray, b: np.ndarray, t: float) -> np.ndarray:
    """sin((1−t)ω)/sin ω · a + sin(tω)/sin ω · b, with ω the angle between a and b.

    The points between are about as long as a and b; those of a straight line would be shorter than any that G has seen.
    Source: White 2016 (arXiv:1609.04468), section 2.1.
    """
    cosine = float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))
    omega = math.acos(max(-1.0, min(1.0, cosine)))
    if math.sin(omega) < 1e-6:
        return ((1 - t) * a + t * b).astype(a.dtype)
    return ((math.sin((1 - t) * omega) * a + math.sin(t * omega) * b) / math.sin(omega)).astype(a.dtype)
