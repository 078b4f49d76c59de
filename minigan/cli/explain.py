"""minigan explain: a training step opened up, or a layer derived."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minigan.cli.parser import add_command, add_option, flag_of, in_words, whole_number
from minigan.errors import MiniganError, nearest_name
from minigan.explain import game, worked
from minigan.training import Config

if TYPE_CHECKING:
    from minigan.explain.step import OpenedStep

LONGEST_NAME = 255  # bytes of a file's name, on all common file systems
OF_PAGE = ("batch_size", "seed", "backend")
OF_SMALL_GAME = (
    *("data", "data_dir", "image_size", "game", "model", "width", "hidden", "latent_dim", "lr", "loss", "penalty", "classes"),
    *("likelihood", "sigma", "kl_weight", "kl_warmup"),
)


def add(commands: Any) -> None:
    about = (
        "Without TARGET, or for a run folder: one training step opened up, a GAN's or a VAE's, as a page for the browser that "
        "walks through it; for two run folders, a step of each side by side. "
        "Over time, the small game is shown with the weights that it had, and a run, which keeps its last weights alone, by "
        "the pictures and the log that it left. "
        "With a name: the gradients of a layer, loss or penalty derived, worked through on a few numbers and checked; or an "
        "optimiser. It is printed; with --html it is a page whose numbers can be picked."
    )
    parser = add_command(commands, "explain", "open up a step, or derive a layer", about, explain)
    names = f"a run folder, or two, or one of {', '.join(worked.EXAMPLES)}"
    parser.add_argument("target", metavar="TARGET", nargs="*", help=names)
    page = parser.add_argument_group("the page")
    page.add_argument("--html", action="store_true", help="with a name: a page in place of text")
    page.add_argument("--out", metavar="FILE", help="where to write it (explain.html; with a name that in small letters)")
    shown = {"batch_size": str(game.BATCH), "backend": "textbook"}
    for name in OF_PAGE:
        add_option(page, name, shown=shown.get(name))
    page.add_argument("--quiet", action="store_true", help="no progress bar")
    small = parser.add_argument_group("the small game, where no run is named")
    for name in OF_SMALL_GAME:
        add_option(small, name, shown=_size(name))
    own = "".join(f", {kind} {steps}" for kind, steps in game.TRAINED_OF.items())
    after = f"steps of training before the one that is opened ({game.TRAINED}{own})"
    small.add_argument("--after", default=argparse.SUPPRESS, type=whole_number(0), metavar="STEPS", help=after)


def _size(name: str) -> str | None:
    """The default of the small games in words, or None where they have that of Config."""
    found = {model: in_words(sizes[name]) for model, sizes in game.SMALL.items() if name in sizes}
    if len(set(found.values())) > 1:
        return ", ".join(f"{model} {value}" for model, value in found.items())
    return next(iter(found.values()), None)


def explain(options: argparse.Namespace) -> int:
    if len(options.target) > 1:
        return _explain_two(options)
    target = next(iter(options.target), None)
    given = _given(options)
    if target is not None and not _exists(target):
        return _explain_name(target, list(given), options.out, options.html)
    if options.html:
        raise MiniganError("--html is for one layer, loss, penalty or optimiser: name it, as in minigan explain Conv2d --html")
    out = Path(options.out or "explain.html")
    _check_out(out)
    if target is not None:
        _check_options_of_run(given, target)
    return _explain_step(target, given, out, options.quiet)


def _given(options: argparse.Namespace) -> dict[str, Any]:
    """The options of a game and its step that were given."""
    own = ("command", "run", "parser", "target", "out", "quiet", "html")
    return {name: value for name, value in vars(options).items() if name not in own}


def _check_options_of_run(given: dict[str, Any], target: str) -> None:
    foreign = sorted(given.keys() - set(OF_PAGE))
    if foreign:
        raise MiniganError(f"{flag_of(foreign[0])} is for the small game, and {target} is opened: leave it out")


def _explain_two(options: argparse.Namespace) -> int:
    """Write the page of a step of each of two runs."""
    from minigan.explain.page import make_pair

    targets, given, out = options.target, _given(options), Path(options.out or "explain.html")
    if len(targets) > 2:
        raise MiniganError(
            f"{len(targets)} targets are given: expected a name, a run folder, or two of these folders side by side"
        )
    for target in targets:
        if not _exists(target):
            raise MiniganError(
                f"{target[:60]!r} is no run folder: two targets are the folders of two runs, to be put side by side"
            )
    if options.html:
        raise MiniganError("--html is for one layer, loss, penalty or optimiser, and two runs are opened: leave it out")
    _check_options_of_run(given, targets[0])
    _check_out(out)
    since = time.perf_counter()
    opened = [_open(target, dict(given), options.quiet) for target in targets]
    text = make_pair([(step, of.about, of.has_data) for of, step in opened])
    return _write(text, out, " beside ".join(of.about for of, _ in opened), since)


def _exists(target: str) -> bool:
    """Whether a file or folder of this name is there. Raises MiniganError where that is not for us to know."""
    try:
        os.stat(target)
    except PermissionError as error:
        raise MiniganError(f"cannot look into {target}: {error.strerror}; make it readable") from None
    except (OSError, ValueError):  # a name that no file can have is not there either
        return False
    return True


def _check_out(out: Path) -> None:
    """Raise MiniganError, before any work, for a file that could not be written or is no page of ours."""
    size = len(os.fsencode(out.name))
    if size > LONGEST_NAME:
        raise MiniganError(f"--out is {out.name[:40]}…, a name of {size} bytes: expected at most {LONGEST_NAME}")
    if out.suffix.lower() not in (".html", ".htm") or os.path.isdir(out):
        raise MiniganError(f"--out is {out}: expected a file name in .html")
    above = next(folder for folder in out.absolute().parents if os.path.lexists(folder))
    try:
        tempfile.TemporaryFile(dir=above).close()  # the folders that are still missing will be made in it
        start = out.read_bytes()[:4096] if out.is_file() else b""
    except OSError as error:
        raise MiniganError(f"--out is {out}, which cannot be written ({error.strerror}): choose another place") from None
    from minigan.explain import page, subject

    is_ours = any(mark.encode() in start for mark in (page.PAGE_MARK, subject.PAGE_MARK))
    if os.path.lexists(out) and (not out.is_file() or (start and not is_ours)):
        raise MiniganError(f"--out is {out}, which holds something else than a page of minigan: choose another name")


def _explain_name(target: str, options: Sequence[str], out: str | None, as_page: bool) -> int:
    """Print a derivation and its worked example, or write them as a page; status 1 if the check in it fails."""
    name = worked.find(target)
    if name is None:
        hint = nearest_name(target, worked.EXAMPLES)
        raise MiniganError(f"{target[:60]!r} is neither a run folder nor a name: {hint}")
    if options:
        raise MiniganError(f"{flag_of(options[0])} is for the page of a step, and {name} is explained: leave it out")
    if as_page:
        return _write_name(name, Path(out or f"{name.lower()}.html"))
    if out is not None:
        raise MiniganError(f"--out is for a page, and {name} is printed: leave it out, or add --html")
    text, agrees = worked.explain(name)
    print(worked.printable(text, sys.stdout.encoding or "ascii"), flush=True)
    return 0 if agrees else 1


def _write_name(name: str, out: Path) -> int:
    from minigan.explain import subject
    from minigan.files import write_atomically

    _check_out(out)
    text, agrees = subject.make_page(name)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, text.encode())
    failed = "" if agrees else "; what minigan computes and its formulas do not agree, see the page"
    print(f"{name}: {out}, {len(text.encode()) / 1e3:.0f} kB; open it in a browser{failed}")
    return 0 if agrees else 1


def _explain_step(folder: str | None, given: dict[str, Any], out: Path, quiet: bool) -> int:
    """Write the page of one step of a run, or of a small game."""
    from threadpoolctl import threadpool_limits

    from minigan.explain.breaking import Breaking
    from minigan.explain.page import make_page
    from minigan.explain.step import count_layers
    from minigan.progress import tqdm_bar

    since = time.perf_counter()
    opened, step = _open(folder, given, quiet)
    with (
        threadpool_limits(1, user_api="blas"),
        tqdm_bar(total=count_layers(opened.game), unit="layer", desc="planting mistakes", disable=quiet, leave=False) as bar,
    ):
        text = make_page(step, opened.about, opened.has_data, breaking=Breaking(bar.update), history=opened.history)
    return _write(text, out, opened.about, since)


def _open(folder: str | None, given: dict[str, Any], quiet: bool) -> tuple[game.Opened, OpenedStep]:
    """A step of a run, or of a small game, taken and checked."""
    from threadpoolctl import threadpool_limits

    from minigan.explain.page import SAMPLES
    from minigan.explain.step import count_ticks, open_step
    from minigan.progress import tqdm_bar

    given = {"backend": "textbook", **given}
    # Thousands of passes of small arrays: BLAS's threads would spend more time waiting for each other than working.
    with threadpool_limits(1, user_api="blas"):
        if folder is not None:
            opened = game.game_of_run(folder, given["backend"], given.get("batch_size"), given.get("seed", 0))
        else:
            steps = given.pop("after", None)
            progress = partial(tqdm_bar, unit="step", desc="training", disable=quiet, leave=False)
            opened = game.small_game(Config(**given), steps, progress)
        with tqdm_bar(total=count_ticks(opened.game), unit="array", desc="checking", disable=quiet, leave=False) as bar:
            return opened, open_step(opened.game, opened.real, opened.noise, opened.labels, shown=SAMPLES, tick=bar.update)


def _write(text: str, out: Path, about: str, since: float) -> int:
    """Write a page whose making began at `since`, and say so."""
    from minigan.files import write_atomically

    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, text.encode())
    size, seconds = len(text.encode()) / 1e6, time.perf_counter() - since
    print(f"{about}: {out}, {size:.1f} MB, in {seconds:.0f} s; open it in a browser")
    return 0
