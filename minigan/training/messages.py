"""What a run says of itself: its first line, what to type next, and how it looks in a notebook."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from minigan.data import Dataset
from minigan.games import Game

LETTERS = {"generator": "G", "discriminator": "D"}


def print_now(text: str) -> None:
    """Print a line that is seen at once even where standard output is a file or a pipe."""
    print(text, flush=True)


@dataclass(frozen=True)
class Hints:
    """What a run tells its user to type: to go on with it, to make it longer, to replace it, to draw from it."""

    resume: str
    lengthen: str
    replace: str
    sample: str


def python_hints(folder: Path) -> Hints:
    again = f"mg.Run.resume({str(folder)!r}, game=game, data=data"
    return Hints(
        resume=f"{again}).train()",
        lengthen=f"{again}, steps=…) goes on with it",
        replace="mg.Run.resume continues it, overwrite=True replaces it, out= names another",
        sample="game.sample(64)",
    )


def headline(game: Game, data: Dataset, model: str, batch_size: int, steps: int) -> str:
    """The first line of a run: device, backend, model and data sizes."""
    size, kind = "x".join(map(str, data.shape)), "images" if data.is_images else "points"
    counts = " + ".join(f"{LETTERS.get(name, name)} {net.num_params:,}" for name, net in game.networks.items())
    precision = "" if game.backend.precision == "float32" else f" with {game.backend.precision} products"
    return (
        f"{game.backend.device} | backend {game.backend.name} | {model} {game.dtype}{precision}, {counts} parameters | "
        f"{data.name}: {len(data):,} {kind} {size} | batch {batch_size}, {steps:,} steps"
    )


def as_html(cells: Mapping[str, str], pictures: Sequence[Path]) -> str:
    """A table of names and values, and pictures below it, in one piece of HTML that needs no other file."""
    rows = "".join(f"<tr><th>{html.escape(name)}</th><td>{html.escape(text)}</td></tr>" for name, text in cells.items())
    images = ""
    for path in pictures:
        data = base64.b64encode(path.read_bytes()).decode()
        images += f'<img alt="{html.escape(path.stem)}" style="max-width: 480px" src="data:image/png;base64,{data}">'
    return f"<table>{rows}</table>{images}"
