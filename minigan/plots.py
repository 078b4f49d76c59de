"""Pictures of a run: grids of images, scatters of points, curves of the log, and the film of the samples."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from minigan.data import floats_to_pixels
from minigan.errors import MiniganError
from minigan.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL import Image

GRID_PIXELS = 480  # a grid of small images is enlarged, by whole factors, to about this width


def save_samples(path: str | Path, samples: np.ndarray, real: np.ndarray | None = None, columns: int = 0) -> None:
    """Samples as a picture: images (N, H, W, C) in [−1, 1] as a grid, points (N, 2) as a scatter over the real ones."""
    if samples.ndim == 4:
        save_image(path, grid(floats_to_pixels(samples), columns))
    else:
        save_scatter(path, samples, real)


def grid(images: np.ndarray, columns: int = 0, gap: int = 1) -> Image.Image:
    """uint8 images (N, H, W, C) in rows of `columns` (as square as can be if 0), `gap` pixels apart, enlarged to be seen."""
    from PIL import Image

    count, height, width, channels = images.shape
    columns = columns or math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    canvas = np.full((rows * (height + gap) + gap, columns * (width + gap) + gap, channels), 96, np.uint8)
    for index, image in enumerate(images):
        top = gap + (index // columns) * (height + gap)
        left = gap + (index % columns) * (width + gap)
        canvas[top : top + height, left : left + width] = image
    picture = to_image(canvas)
    factor = max(1, GRID_PIXELS // picture.width)
    return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)


def to_image(pixels: np.ndarray) -> Image.Image:
    """uint8 (H, W, 1 or 3) as a picture."""
    from PIL import Image

    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def save_image(path: str | Path, image: Image.Image) -> None:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    write_atomically(path, buffer.getvalue())


def save_scatter(path: str | Path, points: np.ndarray, real: np.ndarray | None = None) -> None:
    """Points (N, 2) over the real ones, whose range sets the axes."""
    figure = _figure(4.5, 4.5)
    axes = figure.subplots()
    if real is not None:
        axes.scatter(real[:2000, 0], real[:2000, 1], s=4, color="0.75", label="data", linewidths=0)
        reach = 1.25 * float(np.abs(real).max())
        axes.set(xlim=(-reach, reach), ylim=(-reach, reach))
    axes.scatter(points[:, 0], points[:, 1], s=4, color="tab:blue", label="generated", linewidths=0)
    axes.set_aspect("equal")
    axes.legend(loc="upper right", fontsize=8)
    _save_figure(path, figure)


def save_curves(path: str | Path, log: dict[str, Sequence[float]]) -> None:
    """Losses and D's mean probabilities against steps, with the values at which neither side can win."""
    figure = _figure(9, 3.5)
    losses, probabilities = figure.subplots(1, 2)
    steps = log["step"]
    losses.plot(steps, log["loss_d"], label="$L_D$", linewidth=1)
    losses.plot(steps, log["loss_g"], label="$L_G$", linewidth=1)
    losses.axhline(2 * math.log(2), color="tab:blue", linestyle=":", linewidth=1, label="$L_D$ at D = 1/2: 2 log 2")
    losses.axhline(math.log(2), color="tab:orange", linestyle=":", linewidth=1, label="$L_G$ at D = 1/2: log 2")
    losses.set(xlabel="step", ylabel="loss (nats)", title="Losses")
    probabilities.plot(steps, log["prob_real"], label="D(x), real", linewidth=1)
    probabilities.plot(steps, log["prob_fake"], label="D(G(z)), generated", linewidth=1)
    probabilities.axhline(0.5, color="0.5", linestyle=":", linewidth=1)
    probabilities.set(xlabel="step", ylabel="mean probability", ylim=(0, 1), title="What D believes")
    for axes in (losses, probabilities):
        axes.legend(fontsize=8)
        axes.grid(alpha=0.3)
    _save_figure(path, figure)


def save_film(path: str | Path, frames: Sequence[Path], milliseconds: int = 150) -> None:
    """An endless GIF of PNG files of one size, the last one shown longer."""
    from PIL import Image

    pictures = []
    for frame in frames:
        try:
            with Image.open(frame) as image:
                pictures.append(image.convert("P", palette=Image.Palette.ADAPTIVE) if image.mode != "L" else image.copy())
        except OSError:
            raise MiniganError(f"{frame} is not a readable picture: remove it") from None
    if not pictures:
        return
    buffer = io.BytesIO()
    durations = [milliseconds] * (len(pictures) - 1) + [2000]
    pictures[0].save(buffer, "GIF", save_all=True, append_images=pictures[1:], duration=durations, loop=0)
    write_atomically(path, buffer.getvalue())


def save_animation(path: str | Path, images: np.ndarray, milliseconds: int = 80) -> None:
    """uint8 images (N, H, W, C) one after the other as an endless GIF."""
    pictures = [grid(image[None], gap=0) for image in images]
    buffer = io.BytesIO()
    pictures[0].save(buffer, "GIF", save_all=True, append_images=pictures[1:], duration=milliseconds, loop=0)
    write_atomically(path, buffer.getvalue())


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure  # not pyplot: no global state, no window, and `import minigan` stays light

    return Figure(figsize=(width, height), dpi=100, layout="constrained")


def _save_figure(path: str | Path, figure: Figure) -> None:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    write_atomically(path, buffer.getvalue())
