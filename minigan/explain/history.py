"""How a game came to where its step is opened: its samples, losses and D's outputs at moments of its training.

Of a small game, which trains here, all weights are kept at each moment, and the opened batch is looked at with them. Of a run
what its folder holds is shown: the pictures of samples that it drew, and its log.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from minigan.backends import Array
from minigan.checks.game import still
from minigan.data import Dataset, Kind
from minigan.errors import MiniganError, shorten
from minigan.explain.step.recorder import Recorder
from minigan.games import VAE, Game
from minigan.training import plots
from minigan.training.folder import LOG, SAMPLES, RunFolder
from minigan.training.log import STEP, read_log

MOMENTS = 13  # at most, the first and the last included
PICTURED = 16  # samples in a picture, of a small game
PICTURE_BYTES = 500_000  # of all pictures together
WIDTHS = (480, 320, 240, 160, 80)  # pixels, to which pictures are made smaller until they fit
CURVES = {  # statistics of games, by the chart they belong to
    **dict.fromkeys(("loss_d", "loss_g", "loss", "reconstruction", "kl", "penalty"), "losses"),
    **dict.fromkeys(("prob_real", "prob_fake", "score_real", "score_fake"), "outputs"),
}

Weights = dict[str, dict[str, np.ndarray]]  # by network and, as Sequential.state_dict has them, by name


@dataclass
class Moment:
    """The game after so many steps.

    picture: PNG of samples; or points, where samples are points in the plane. numbers: statistics by the game's own names.
    scores: D's outputs for the opened batch, "real" and "generated". weights: of the networks.
    """

    step: int
    picture: bytes = b""
    points: np.ndarray | None = None
    numbers: dict[str, float] = field(default_factory=dict)
    scores: dict[str, np.ndarray] = field(default_factory=dict)
    weights: Weights = field(default_factory=dict)


@dataclass
class History:
    """Moments in order, and curves over steps: (steps, values) by statistic. about: in a sentence, what is shown."""

    moments: list[Moment]
    curves: dict[str, tuple[list[int], list[float]]]
    about: str


def moments_of(steps: int) -> list[int]:
    """After which steps of a training a moment is kept: from before the first to after the last."""
    return sorted({round(steps * k / (MOMENTS - 1)) for k in range(MOMENTS)})


def weights_of(game: Game) -> Weights:
    """Copies on the host."""
    return {name: net.state_dict() for name, net in game.networks.items()}


def small_history(
    game: Game, kept: Mapping[int, Weights], batch: tuple[Array, Array], labels: Array | None, dataset: Dataset
) -> History:
    """Of a small game: the same batch (samples, noise) seen with the weights of each moment, by its step."""
    twin = still(game)
    moments = [_moment(twin, step, weights, batch, labels, dataset.kind) for step, weights in kept.items()]
    fit_pictures(moments)
    names = [name for name in CURVES if all(name in moment.numbers for moment in moments)]
    steps = [moment.step for moment in moments]
    about = (
        f"This small game was trained here, and its weights were kept {len(moments)} times. All numbers are of the batch that "
        "this page opens, seen with the weights of that time"
    )
    about += "." if isinstance(game, VAE) else "; so are the samples, which G makes of the noise of this batch."
    return History(moments, {name: (steps, [moment.numbers[name] for moment in moments]) for name in names}, about)


def _moment(twin: Any, step: int, weights: Weights, batch: tuple[Array, Array], labels: Array | None, kind: Kind) -> Moment:
    recorders = {}
    for name, net in twin.networks.items():
        net.load_state_dict(weights[name])
        recorders[name] = Recorder(net)
    drawn = twin.sample(len(batch[0]), seed=0)  # before a training pass moves the running statistics
    for name, net in twin.networks.items():
        net.watch = recorders[name]
    stats = twin.compute(*(part.copy() for part in batch), **({} if labels is None else {"labels": labels.copy()}))
    for net in twin.networks.values():
        net.watch = None
    numbers = {name: float(twin.backend.to_numpy(value)) for name, value in stats.items() if name in CURVES}
    moment = Moment(step, numbers=numbers, weights=weights)
    samples = drawn if isinstance(twin, VAE) else recorders["generator"].passes[0].outputs[-1]
    for who, record in zip(
        ("real", "generated"), recorders["discriminator"].passes if "discriminator" in recorders else (), strict=False
    ):
        record.labels = None if labels is None else twin.backend.to_numpy(labels)
        moment.scores[who] = record.s.ravel()
    if samples.shape[1:] == (2,):
        moment.points = samples
    else:
        moment.picture = _picture(kind, samples[:PICTURED])
    return moment


def _picture(kind: Kind, samples: np.ndarray) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "samples.png"
        plots.save_samples(path, kind, samples)
        return path.read_bytes()


def history_of_run(folder: str | Path) -> History | None:
    """What a run's folder holds: its pictures, at most MOMENTS of them, and its log. None where it holds neither.

    Raises MiniganError, naming the file, for a picture or a log that cannot be read.
    """
    files = RunFolder(folder)
    frames = _some([(int(path.stem.removeprefix("step_")), path) for path in files.frames()])
    rows = read_log(files.path / LOG)
    if not rows and not frames:
        return None
    curves = {name: _curve(rows, name) for name in CURVES if rows and name in rows[0]}
    curves = {name: curve for name, curve in curves.items() if curve[0]}
    moments = [Moment(step, _read_picture(path)) for step, path in frames]
    for moment in moments:
        moment.numbers = {name: values[at] for name, (steps, values) in curves.items() if (at := _at(steps, moment.step)) >= 0}
    fit_pictures(moments)
    count = f"{len(moments)} of its pictures of samples" if len(moments) < len(files.frames()) else "its pictures of samples"
    about = (
        f"What the run left in its folder: {count}, from {SAMPLES}/, and its log. A run keeps the weights of its last step "
        "alone, so nothing here was computed anew."
    )
    return History(moments, curves, about)


def _read_picture(path: Path) -> bytes:
    from PIL import Image

    try:
        data = path.read_bytes()
        Image.open(io.BytesIO(data)).load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise MiniganError(f"{path} is no picture that can be read ({shorten(str(error), 80)}): remove it") from None
    return data


def _some(frames: Sequence[Any]) -> list[Any]:
    """At most MOMENTS, evenly, the first and the last among them."""
    if len(frames) <= MOMENTS:
        return list(frames)
    return [frames[round(k * (len(frames) - 1) / (MOMENTS - 1))] for k in range(MOMENTS)]


def _curve(rows: Sequence[Mapping[str, str]], name: str) -> tuple[list[int], list[float]]:
    """Steps and values; cells that are empty or not finite are left out."""
    found = [(int(row[STEP]), float(row[name])) for row in rows if row.get(name)]
    kept = [(step, value) for step, value in found if np.isfinite(value)]
    return [step for step, _ in kept], [value for _, value in kept]


def _at(steps: Sequence[int], step: int) -> int:
    """The index of the row that a moment's numbers stand in: the last that is not after it, or −1."""
    return int(np.searchsorted(steps, step, side="right")) - 1


def fit_pictures(moments: Sequence[Moment]) -> None:
    """Make the pictures smaller until all of them fit into PICTURE_BYTES, with few colours; the smallest may be larger."""
    wholes = [moment.picture for moment in moments]
    for width in WIDTHS:
        for moment, whole in zip(moments, wholes, strict=True):
            if whole:
                moment.picture = _smaller(whole, width)
        if sum(len(moment.picture) for moment in moments) <= PICTURE_BYTES:
            return


def _smaller(picture: bytes, width: int) -> bytes:
    """The picture as a PNG of at most this width and 64 colours; as it is where that is no smaller."""
    from PIL import Image

    image = Image.open(io.BytesIO(picture)).convert("RGB")
    if image.width > width:
        image = image.resize((width, max(1, round(image.height * width / image.width))), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    image.quantize(64).save(out, "PNG", optimize=True)
    return min(picture, out.getvalue(), key=len) if image.width <= width and width == WIDTHS[0] else out.getvalue()
