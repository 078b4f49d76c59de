"""Pictures of a run: grids of images, scatters of points, curves of the log, and the animation of the samples."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from minigan.data import Kind
from minigan.data.kinds import Sound, Text, steps_to_floats
from minigan.errors import MiniganError
from minigan.files import write_atomically
from minigan.metrics.log_spectra import frame_of, power_spectra
from minigan.metrics.texts import GRAMS
from minigan.training.description import Columns, LogForm, Panel
from minigan.training.evaluation import PREFIX
from minigan.training.games import form_of
from minigan.training.messages import LETTERS
from minigan.training.monitor import SHARED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from PIL import Image

GIF_SIDE = 65_535  # pixels, for a GIF stores each side in 16 bits
SHARES = ("precision", "recall", "density", "coverage", "high_quality", "copied")  # of what evaluations measure
DISTANCES = ("frechet", "sliced_wasserstein", "reverse_kl", *(f"jsd_{n}" for n in GRAMS))
TEXT_COLUMNS, FONT_PIXELS, MARGIN = 6, 13, 12  # of a page of lines
MOST_SOUNDS = 1024  # in a picture
SOUND_SIZE = (180, 90)  # pixels of a spectrogram, width and height; the waveform above it is half as high
GRID_PIXELS = 480  # a grid of small images is enlarged, by whole factors, to about this width


def save_samples(path: str | Path, kind: Kind, samples: np.ndarray, real: np.ndarray | None = None, columns: int = 0) -> None:
    """Samples (N, *shape) of networks as a picture: of images a grid, of points (N, 2) a scatter over the real ones, of text
    its lines in columns, of sound waveforms and spectrograms.

    real: values of the dataset. columns: of a grid; 0: as square as can be.
    """
    values = kind.from_floats(samples)
    if isinstance(kind, Text):
        save_image(path, page_of_lines(kind.lines(values), values.shape[1], columns or TEXT_COLUMNS))
    elif kind.name == "images":
        save_image(path, grid(values, columns))
    elif isinstance(kind, Sound):
        save_sounds(path, steps_to_floats(np, values), kind.rate, columns)
    else:
        save_scatter(path, values, real)


def rows_of_classes(classes: int, count: int | None = None) -> tuple[np.ndarray, int]:
    """(the class number of each sample, columns) of a picture with a row for each class.

    count: samples in all; None: up to 10 of each class, and about 100 in all. Where the classes do not share them equally, they
    come in turn, a column for each, so that no class has more than one sample above another.
    """
    if count is not None and count % classes:
        return np.arange(count) % classes, min(classes, count)
    columns = max(1, min(10, 100 // classes)) if count is None else count // classes
    return np.repeat(np.arange(classes), columns)[: 100 if count is None and classes > 100 else count], columns


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


def page_of_lines(lines: Sequence[str], length: int, columns: int) -> Image.Image:
    """Lines of up to `length` letters in columns, black on white, column by column."""
    import matplotlib
    from PIL import Image, ImageDraw, ImageFont

    # matplotlib brings a font that has most of the world's alphabets.
    font = ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSansMono.ttf")), FONT_PIXELS)
    width, height = int(font.getlength("m") * (length + 2)), FONT_PIXELS * 4 // 3
    rows = math.ceil(len(lines) / columns)
    picture = Image.new("L", (width * columns + MARGIN, height * rows + MARGIN), 255)
    draw = ImageDraw.Draw(picture)
    for index, line in enumerate(lines):
        column, row = divmod(index, rows)
        draw.text((MARGIN + column * width, MARGIN // 2 + row * height), line, fill=0, font=font)
    return picture


def save_nearest_lines(path: str | Path, kind: Text, samples: np.ndarray, neighbours: np.ndarray) -> None:
    """Values of text (N, L), and beside each the nearest ones of the training data (N, K, L), nearest first."""
    columns = [["sample", "", *kind.lines(samples)]]
    for place in range(neighbours.shape[1]):
        columns.append(["nearest" if not place else f"{place + 1}.", "", *kind.lines(neighbours[:, place])])
    lines = [line for column in columns for line in column]
    save_image(path, page_of_lines(lines, max(samples.shape[1], len("nearest")), len(columns)))


def to_image(pixels: np.ndarray) -> Image.Image:
    """uint8 (H, W, 1 or 3) as a picture."""
    from PIL import Image

    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def save_image(path: str | Path, image: Image.Image) -> None:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")  # optimised, it takes six times as long and is a fortieth smaller
    write_atomically(path, buffer.getvalue())


def save_neighbours(path: str | Path, samples: np.ndarray, neighbours: np.ndarray) -> None:
    """uint8 samples (N, H, W, C), and below each its nearest real images (N, K, H, W, C): the first half as they came, the
    other half those that are most like copies.
    """
    rows = np.concatenate([samples[:, None], neighbours], axis=1).swapaxes(0, 1)  # (1 + K, N, H, W, C)
    half, picture = len(samples) // 2, _figure(9, 3.1)
    parts = (("samples as they came", rows[:, :half]), ("samples that are most like copies", rows[:, half:]))
    for axes, (title, part) in zip(picture.subplots(1, 2), parts, strict=True):
        drawn = np.asarray(grid(part.reshape(-1, *part.shape[2:]), columns=part.shape[1]))
        axes.imshow(drawn, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        places = drawn.shape[0] * (np.arange(len(part)) + 0.5) / len(part)
        axes.set_yticks(places, ["sample", "nearest", *(f"{place}." for place in range(2, len(part)))])
        axes.set_xticks([])
        axes.set_title(title, fontsize=9)
    _save_figure(path, picture)


def save_sounds(path: str | Path, sounds: np.ndarray, rate: int, columns: int = 0) -> None:
    """Sounds (N, T, C) in [−1, 1] in rows: of each the waveform, between −1 and 1, and below it the spectrogram.

    In the spectrogram time goes to the right and frequency upwards, from 0 to rate/2; the darkest is −60 dB and less, the
    brightest 0 dB, the power of a sine of amplitude 1. Of stereo the mean of both channels is drawn.
    """
    from matplotlib import colormaps

    if len(sounds) > MOST_SOUNDS:
        raise MiniganError(
            f"a picture shows up to {MOST_SOUNDS:,} sounds, not {len(sounds):,}: draw fewer, or write another form"
        )
    mono = sounds.mean(axis=2, keepdims=True)
    wide, high = SOUND_SIZE
    waves = np.where(_outlines(mono[..., 0], wide, high // 2)[..., None], (255, 190, 90), (24, 24, 32))
    powers = power_spectra(mono, frame_of(mono.shape[1]), overlap=16)[..., 0].swapaxes(1, 2)[
        :, ::-1
    ]  # (N, frequencies, frames)
    levels = np.clip(1 + np.log10(powers + 1e-12) / 6, 0, 1)
    levels = levels[:, _stretched(levels.shape[1], high)][:, :, _stretched(levels.shape[2], wide)]
    spectra = np.rint(colormaps["magma"](levels)[..., :3] * 255)
    picture = grid(np.concatenate([waves, spectra], axis=1).astype(np.uint8), columns, gap=3)
    seconds = sounds.shape[1] / rate
    length = f"{1000 * seconds:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"
    figure = _figure(picture.width / 100, picture.height / 100 + 0.3, layout=None)
    axes = figure.add_axes((0, 0, 1, picture.height / (picture.height + 30)))
    axes.imshow(np.asarray(picture), interpolation="nearest", aspect="auto")
    axes.set_axis_off()
    axes.set_title(f"{length} each; spectrogram: 0 to {rate / 2:,.0f} Hz, −60 to 0 dB", fontsize=9)
    _save_figure(path, figure, few_colours=True)


def _outlines(waves: np.ndarray, width: int, height: int) -> np.ndarray:
    """bool (N, height, width): where waves (N, T) in [−1, 1] run, from the lowest to the highest value in each column."""
    edges = np.linspace(0, waves.shape[1], width + 1)
    starts = np.minimum(edges[:-1].astype(int), waves.shape[1] - 1)
    ends = np.maximum(np.ceil(edges[1:]).astype(int), starts + 1)
    ends = np.minimum(ends + 1, waves.shape[1])  # one value of the next column: the line is closed
    low, high = (
        np.stack([pick(waves[:, start:end], axis=1) for start, end in zip(starts, ends, strict=True)], axis=1)
        for pick in (np.min, np.max)
    )
    top, bottom = ((1 - np.clip(x, -1, 1)) / 2 * (height - 1) for x in (high, low))
    rows = np.arange(height)[:, None]
    return (rows >= np.rint(top)[:, None]) & (rows <= np.rint(bottom)[:, None])


def _stretched(count: int, size: int) -> np.ndarray:
    """The index of which of `count` stands at each of `size` places."""
    return np.arange(size) * count // size


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


def save_curves(path: str | Path, log: Columns) -> None:
    """A run's log against steps: the game's statistics, of a GAN with the values at which neither side can win.

    Where the log has them (minigan.training.monitor), also each layer's gradient and update norms, saturated logits
    and dead ReLUs, and how diverse the generated samples are. A value that is NaN leaves a gap.
    """
    panels = _panels(log)
    rows = math.ceil(len(panels) / 2)
    # With a constrained layout, and with places for titles that it looks for, matplotlib would take three times as long.
    figure = _figure(9, 3.2 * rows, layout=None)
    places = figure.subplots(rows, 2, squeeze=False, sharex=True)
    figure.subplots_adjust(left=0.1, right=0.98, bottom=0.5 / 3.2 / rows, top=1 - 0.3 / 3.2 / rows, hspace=0.18, wspace=0.25)
    for axes, draw in zip(places.flat, panels, strict=False):
        draw(axes, log)
        if axes.get_legend() is None and axes.get_lines():
            axes.legend(fontsize=8)
        axes.grid(alpha=0.3)
    if len(panels) % 2:
        places.flat[-1].set_axis_off()
    for axes in places.flat[: len(panels)][-2:]:  # the lowest of each column
        axes.set_xlabel("step")
        axes.tick_params(labelbottom=True)
    _save_figure(path, figure, few_colours=True)


def _panels(log: Columns) -> list[Panel]:
    """What draws each panel, for the columns that the log has."""
    networks = list(dict.fromkeys(name.partition(".")[0] for name in log if name.endswith(".gradient")))
    form = form_of(log)
    own = {"step", "epoch", "images_per_s", "seconds", *SHARED, *form.shares, *form.diversity}
    panels: list[Panel] = []
    if set(form.stats) <= log.keys():
        panels += form.panels
        own |= {*form.stats, *form.beside}
    others = [name for name in log if name not in own and "." not in name]
    panels += [partial(_plot_statistics, names=others)] if others else []
    for what in ("gradient", "update"):
        panels += [partial(_plot_layers, network=network, what=what) for network in networks]
    if any(name in form.shares or name.endswith(".dead") for name in log):
        panels += [partial(_plot_shares, form=form)]
    if "clusters" in log:
        panels += [partial(_plot_diversity, form=form)]
    measured = [name for name in log if name.startswith(PREFIX)]
    shares = [name for name in measured if name.removeprefix(PREFIX) in SHARES]
    distances = [name for name in measured if name.removeprefix(PREFIX) in DISTANCES]
    panels += [partial(_plot_measured, names=shares, title="Samples and data")] if shares else []
    panels += [partial(_plot_measured, names=distances, title="Distance of samples from data")] if distances else []
    return panels


def _plot_statistics(axes: Axes, log: Columns, names: Sequence[str]) -> None:
    for name in names:
        axes.plot(log["step"], log[name], label=name, linewidth=1)
    axes.set_title("Statistics", y=1)


def _plot_diversity(axes: Axes, log: Columns, form: LogForm) -> None:
    axes.plot(log["step"], log["diversity"], label="diversity of samples", linewidth=1)
    axes.plot(log["step"], log["clusters"], label="clusters of the data reached", linewidth=1)
    for name, label in form.diversity.items():
        if name in log:
            axes.plot(log["step"], log[name], label=label, linewidth=1, color="tab:purple")
    for name in ("fidelity", "coverage"):
        if name in log:  # a log of an earlier version lacks them
            axes.plot(log["step"], log[name], label=name, linewidth=1)
    axes.axhline(1, color="0.5", linestyle=":", linewidth=1)
    axes.set_ylabel("generated / real")
    axes.set_title("Diversity (0: all samples alike) and fidelity", y=1)
    axes.set_ylim(0, min(2.0, max(1.1, axes.get_ylim()[1])))


def _plot_measured(axes: Axes, log: Columns, names: Sequence[str], title: str) -> None:
    """Figures that only some rows have; distances on a logarithmic axis."""
    for name in names:
        found = [(step, value) for step, value in zip(log["step"], log[name], strict=True) if not math.isnan(value)]
        axes.plot(*zip(*found, strict=True) if found else ([], []), ".-", label=name.removeprefix(PREFIX), linewidth=1)
        if name.removeprefix(PREFIX) in DISTANCES and any(value > 0 for _, value in found):
            axes.set_yscale("log")
    axes.set_title(title, y=1)


def _plot_layers(axes: Axes, log: Columns, network: str, what: str) -> None:
    """One line for each layer of a network, from the first (dark) to the last (light)."""
    from matplotlib import colormaps
    from matplotlib.ticker import LogFormatter

    letter = LETTERS.get(network, network)
    loss = f"L_{letter}" if network in LETTERS else "L"
    norms = {
        "gradient": (rf"$\Vert\partial {loss}/\partial\theta\Vert_2$", f"Gradients of {letter}, by layer"),
        "update": (r"$\Vert\Delta\theta\Vert_2\,/\,\Vert\theta\Vert_2$", f"Updates of {letter}, by layer"),
    }
    label, title = norms[what]
    names = [name for name in log if name.startswith(f"{network}.") and name.endswith(f".{what}")]
    for position, name in enumerate(names):
        colour = colormaps["viridis"](0.9 * position / max(1, len(names) - 1))
        axes.plot(log["step"], log[name], label=f"layer {name.split('.')[1]}", linewidth=0.9, color=colour)
    if any(0 < value < math.inf for name in names for value in log[name]):
        axes.set_yscale("log")
        for set_formatter in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
            set_formatter(LogFormatter())  # 3e-02, which is narrower than 3×10⁻²
    axes.set_ylabel(label)
    axes.set_title(title, y=1)
    if names:
        axes.legend(fontsize=7, ncols=max(1, round(len(names) / 4)))


def _plot_shares(axes: Axes, log: Columns, form: LogForm) -> None:
    """The game's own shares, and dead ReLUs in that layer of each network which has most."""
    own = {name: label for name, label in form.shares.items() if name in log}
    for name, label in own.items():
        axes.plot(log["step"], log[name], label=label, linewidth=1)
    networks = [*LETTERS, *dict.fromkeys(name.partition(".")[0] for name in log if name.endswith(".dead"))]
    for network, colour in zip(dict.fromkeys(networks), ("tab:green", "tab:red", "tab:purple", "tab:brown"), strict=False):
        dead = [log[name] for name in log if name.startswith(f"{network}.") and name.endswith(".dead")]
        if dead:
            worst, letter = [max(values) for values in zip(*dead, strict=True)], LETTERS.get(network, network)
            axes.plot(log["step"], worst, label=f"dead ReLUs, {letter}'s worst layer", linewidth=1, color=colour)
    axes.set(ylabel="share", ylim=(-0.02, 1.02))
    axes.set_title(form.shares_title if own else "Dead units", y=1)


def save_animation_of_files(path: str | Path, frames: Sequence[Path], milliseconds: int = 150) -> None:
    """An endless GIF of PNG files of one size, the last one shown longer."""
    from PIL import Image

    pictures = []
    for frame in frames:
        try:
            with Image.open(frame) as image:
                pictures.append(image.convert("P", palette=Image.Palette.ADAPTIVE) if image.mode != "L" else image.copy())
        except OSError:
            raise MiniganError(f"{frame} is not a readable picture: remove it") from None
    if pictures:
        _save_gif(path, pictures, [milliseconds] * (len(pictures) - 1) + [2000])


def save_animation(path: str | Path, images: np.ndarray, milliseconds: int = 80) -> None:
    """uint8 images (N, H, W, C) one after the other as an endless GIF."""
    _save_gif(path, [grid(image[None], gap=0) for image in images], milliseconds)


def _save_gif(path: str | Path, pictures: Sequence[Image.Image], duration: int | list[int]) -> None:
    """Pictures that are larger than a GIF can be are made smaller by a whole factor."""
    if (factor := -(-max(pictures[0].size) // GIF_SIDE)) > 1:
        pictures = [picture.resize([max(1, side // factor) for side in picture.size]) for picture in pictures]
    buffer = io.BytesIO()
    pictures[0].save(buffer, "GIF", save_all=True, append_images=pictures[1:], duration=duration, loop=0)
    write_atomically(path, buffer.getvalue())


def _figure(width: float, height: float, layout: Literal["constrained"] | None = "constrained") -> Figure:
    from matplotlib.figure import Figure  # not pyplot: no global state, no window, and `import minigan` stays light

    return Figure(figsize=(width, height), dpi=100, layout=layout)


def _save_figure(path: str | Path, figure: Figure, few_colours: bool = False) -> None:
    """As a PNG. few_colours: of 256, a third of the bytes; lines and text look the same."""
    from PIL import Image

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    if few_colours:
        with Image.open(buffer) as picture:
            buffer = io.BytesIO()
            picture.convert("RGB").quantize(256, Image.Quantize.FASTOCTREE).save(buffer, "PNG", optimize=True)
    write_atomically(path, buffer.getvalue())
