"""minigan sample: images, points or sounds from a trained run."""

from __future__ import annotations

import argparse
import io
import math
from pathlib import Path
from typing import Any

import numpy as np

from minigan.backends.machine import Machine
from minigan.cli.parser import add_command, add_option, whole_number
from minigan.data import DATASETS, Kind, load
from minigan.data.kinds import Sound
from minigan.data.wav import wav_bytes
from minigan.errors import MiniganError
from minigan.files import write_atomically
from minigan.games import GAN
from minigan.training import load_game
from minigan.training.plots import GRID_PIXELS

BYTES_PER_VALUE = 17  # of a sample and its latent vector: in parts, joined, as pixels on the way from floats (measured)
GIF_FRAME = GRID_PIXELS**2  # bytes, an enlarged picture
# How samples of each kind can be written; "": as a folder of files.
SUFFIXES = {
    "images": ("", ".png", ".gif", ".npz", ".npy"),
    "points": (".png", ".npz", ".npy"),
    "sound": ("", ".wav", ".png", ".npz", ".npy"),
}
ANY_SUFFIX = {suffix for suffixes in SUFFIXES.values() for suffix in suffixes}
WALK_STEPS = 8  # images from one latent point to the next in an interpolation


def add(commands: Any) -> None:
    about = "Draw images, points or sounds from a trained run."
    parser = add_command(commands, "sample", "draw from a trained run", about, sample)
    parser.add_argument("folder", metavar="RUN", help="a run folder")
    parser.add_argument("-n", type=whole_number(1), default=64, metavar="N", help="how many (64)")
    add_option(parser, "seed", default=0)
    what = (
        "a grid as .png; uint8 (N, H, W, C) as .npy, or .npz under the key images; an animation as .gif; a folder of PNGs; "
        "of sound all in one .wav, or waveforms and spectrograms as .png, or int16 (N, T, C), else a folder of WAV files"
    )
    parser.add_argument("--out", required=True, metavar="FILE|DIR", help=what)
    walk = f"walk on great circles from one latent point to the next, about {WALK_STEPS} images to each, and back to the first"
    parser.add_argument("--interpolate", action="store_true", help=walk)
    add_option(parser, "backend", default="auto")
    parser.add_argument("--overwrite", action="store_true", help="replace a file, write into a folder that is not empty")


def sample(options: argparse.Namespace) -> int:
    out = Path(options.out)
    suffix = "" if out.is_dir() else out.suffix.lower()
    if suffix not in ANY_SUFFIX:
        raise MiniganError(f"--out is {options.out}: expected a name in .png, .npz, .npy, .gif or .wav, or a folder")
    if out.exists() and not out.is_dir() and not options.overwrite:
        raise MiniganError(f"--out is {options.out}, which exists: choose another name, or add --overwrite")
    if out.exists() and not (out.is_dir() or out.is_file()):
        raise MiniganError(f"--out is {options.out}, a pipe or a device: expected the name of a file or folder")
    game, config, kind = load_game(options.folder, options.backend)
    _check_memory(game, options.n, suffix)
    if suffix not in SUFFIXES[kind.name]:
        *others, last = [name for name in SUFFIXES[kind.name] if name]
        raise MiniganError(f"--out is {options.out}: {kind.name} can be written as {', '.join(others)} or {last}")
    if suffix == "" and out.is_dir() and any(out.iterdir()) and not options.overwrite:
        raise MiniganError(f"--out is {options.out}, a folder that is not empty: choose another, or add --overwrite")
    if options.interpolate:
        z = latent_walk(game.latent(count_corners(options.n), options.seed), options.n)
    else:
        z = game.latent(options.n, options.seed)
    samples = game.decode(z)
    # Points are drawn over those they were learned from, where these are at hand.
    real = load(config.data).values if kind.name == "points" and config.data in DATASETS else None
    _write(out, suffix, kind, samples, WALK_STEPS if options.interpolate else 0, real)
    print(f"{len(samples)} {kind.counted} of {options.folder} in {out}")
    return 0


def _check_memory(game: GAN, count: int, suffix: str) -> None:
    """Raise DeviceMemoryError unless so many samples, and what is made of them, fit into what is free."""
    values = game.latent_dim + math.prod(game.sample_shape)
    size = count * (values * BYTES_PER_VALUE + (GIF_FRAME if suffix == ".gif" else 0))
    Machine().require_memory(size, f"sample -n {count}", "draw fewer, with several --seed")


def _write(out: Path, suffix: str, kind: Kind, samples: np.ndarray, columns: int, real: np.ndarray | None) -> None:
    from minigan.training import plots

    values = kind.from_floats(samples)
    (out if suffix == "" else out.parent).mkdir(parents=True, exist_ok=True)
    if suffix == "":
        digits = max(4, len(str(len(values) - 1)))
        for index, value in enumerate(values):
            name = f"{index:0{digits}d}"
            if isinstance(kind, Sound):
                write_atomically(out / f"{name}.wav", wav_bytes(value[None], kind.rate))
            else:
                plots.save_image(out / f"{name}.png", plots.to_image(value))
    elif isinstance(kind, Sound) and suffix == ".wav":
        write_atomically(out, wav_bytes(values, kind.rate))
    elif suffix == ".png":
        plots.save_samples(out, kind, samples, real, columns)
    elif suffix == ".gif":
        plots.save_animation(out, values)
    else:
        buffer = io.BytesIO()
        if suffix == ".npy":
            np.save(buffer, values)
        else:
            named: dict[str, Any] = {kind.name: values}
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
