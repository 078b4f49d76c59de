"""What a run says of itself: its first line, what to type next, and how it looks in a notebook."""

from __future__ import annotations

import base64
import html
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minigan.data import Dataset
from minigan.games import Game
from minigan.progress import tqdm_bar

LETTERS = {"generator": "G", "discriminator": "D"}


def print_now(text: str) -> None:
    """Print a line that is seen at once even where standard output is a file or a pipe."""
    print(text, flush=True)


def tell(log: Callable[[str], None], text: str) -> None:
    """A line that may get lost: a run does not end because nobody can read what it says."""
    with suppress(Exception):  # whatever a stream, or a `log` of the user's, raises
        log(text)


@dataclass(frozen=True)
class Hints:
    """What a run tells its user to type: to go on with it, to make it longer, to replace it or other files, to draw from it."""

    resume: str
    lengthen: str
    replace: str
    replace_files: str
    sample: str


def python_hints(folder: Path) -> Hints:
    again = f"mg.Run.resume({str(folder)!r}, game=game, data=data"
    return Hints(
        resume=f"{again}).train()",
        lengthen=f"{again}, steps=…) goes on with it",
        replace="mg.Run.resume continues it, overwrite=True replaces it, out= names another",
        replace_files="overwrite=True replaces a run's own names and nothing else, out= names another folder",
        sample="game.sample(64)",
    )


class ProgressBar:
    """A bar of tqdm's, in a notebook as in a terminal. A run does not end for its sake: where it cannot be written (a closed
    stream, a full disk, a pipe without a reader), it is dropped.
    """

    def __init__(self, total: int, done: int, is_shown: bool) -> None:
        self._bar: Any = None
        if is_shown:
            self._attempt(lambda: self._open(total, done))

    def _open(self, total: int, done: int) -> None:
        self._bar = tqdm_bar(total=total, initial=done, unit="step", mininterval=0.3, dynamic_ncols=True)

    def update(self) -> None:
        if self._bar is not None:
            self._attempt(self._bar.update)

    def show(self, values: Mapping[str, str]) -> None:
        """Values by name, from the next update on."""
        if self._bar is not None:
            self._attempt(lambda: self._bar.set_postfix(values, refresh=False))

    def clear(self) -> None:
        if self._bar is not None:
            self._attempt(self._bar.clear)

    def silence(self) -> None:
        """Draw nothing more, not even as it goes: another process draws on."""
        if self._bar is not None:
            self._bar.disable = True
            self._bar = None

    def close(self) -> None:
        if self._bar is not None:
            self._attempt(self._bar.close)

    def _attempt(self, act: Callable[[], Any]) -> None:
        try:
            act()
        except Exception:  # whatever a stream, a terminal or a notebook raises
            if self._bar is not None:
                self._bar.disable = True  # or it would write once more as it goes
            self._bar = None


def headline(
    game: Game, data: Dataset, model: str, batch_size: int, steps: int, sharing: Mapping[str, int] | None = None
) -> str:
    """The first line of a run: device, backend, model and data sizes, and how many share each batch, by what they are."""
    size = "x".join(map(str, data.shape))
    counts = " + ".join(f"{LETTERS.get(name, name)} {net.num_params:,}" for name, net in game.networks.items())
    precision = "" if game.backend.precision == "float32" else f" with {game.backend.precision} products"
    classes = f" of {game.classes} classes" if game.classes else ""
    groups = [(count, name) for name, count in (sharing or {}).items() if count > 1]
    shares = "".join(f" | {count} {name}, {batch_size // count} each" for count, name in groups)
    return (
        f"{game.backend.device} | backend {game.backend.name} | {model} {game.dtype}{precision}, {counts} parameters | "
        f"{data.name}: {len(data):,} {data.kind.counted} {size}{classes} | batch {batch_size}, {steps:,} steps{shares}"
    )


def as_html(cells: Mapping[str, str], pictures: Sequence[Path]) -> str:
    """A table of names and values, and pictures below it, in one piece of HTML that needs no other file."""
    rows = "".join(f"<tr><th>{html.escape(name)}</th><td>{html.escape(text)}</td></tr>" for name, text in cells.items())
    images = ""
    for path in pictures:
        data = base64.b64encode(path.read_bytes()).decode()
        images += f'<img alt="{html.escape(path.stem)}" style="max-width: 480px" src="data:image/png;base64,{data}">'
    return f"<table>{rows}</table>{images}"
