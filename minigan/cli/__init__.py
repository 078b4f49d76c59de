"""The command `minigan` (also `python -m minigan`): train, sample, diagnose, explain, gradcheck, info."""

from __future__ import annotations

import argparse
import difflib
import itertools
import json
import math
import os
import platform
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import minigan
from minigan import diagnose, training
from minigan.backends import BACKENDS, PRECISIONS, get_backend
from minigan.checks import contract as own_layers
from minigan.checks import gradients as gradcheck
from minigan.data import DATASETS, floats_to_pixels, load, parse_size
from minigan.errors import MiniganError, nearest_name
from minigan.explain import game, worked
from minigan.files import write_atomically
from minigan.models import MODELS
from minigan.network import DTYPES
from minigan.optim import SCHEDULES
from minigan.training import plots

USER_ERROR = 2
INTERRUPTED = 130  # 128 + SIGINT, as shells have it
WALK_STEPS = 8  # images from one latent point to the next in an interpolation
COMMANDS = ("train", "sample", "diagnose", "explain", "gradcheck", "info")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status. A user's mistake is one line on standard error and status 2, never a traceback."""
    try:
        words = list(sys.argv[1:] if arguments is None else arguments)
        if words and not words[0].startswith("-") and words[0] not in COMMANDS:
            raise MiniganError(f"unknown command {words[0]!r}: {nearest_name(words[0], COMMANDS)}")
        options = _parser().parse_args(words)
        return options.run(options)
    except MiniganError as error:
        message = str(error)
    except MemoryError as error:
        message = f"out of memory ({error}): choose a smaller --batch-size, --width or data"
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader went away, as in `minigan info | head -1`
        return USER_ERROR
    except OSError as error:
        message = f"{error.filename or 'the output'}: {error.strerror or error}"
    except KeyboardInterrupt:
        print("minigan: interrupted", file=sys.stderr)
        return INTERRUPTED
    print(f"minigan: error: {message}", file=sys.stderr)
    return USER_ERROR


class _Parser(argparse.ArgumentParser):
    """Errors as one line, with the nearest command or option."""

    def error(self, message: str) -> Any:
        raise MiniganError(f"{message} (see {self.prog} --help)")

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        options, stray = self.parse_known_args(args, namespace)
        if stray:
            known = [text for action in options.parser._actions for text in action.option_strings]
            near = difflib.get_close_matches(stray[0], known, n=1) if stray[0].startswith("-") else []
            hint = f"did you mean {near[0]}? " if near else ""
            raise MiniganError(f"unknown argument {stray[0]!r}: {hint}see {options.parser.prog} --help")
        return options


def _number(kind: type, least: float | None = None) -> Any:
    def convert(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or (least is not None and value < least):
            noun = "a whole number" if kind is int else "a number"
            raise argparse.ArgumentTypeError(f"{text!r} is not {noun}{'' if least is None else f' from {least:g} up'}")
        return value

    return convert


def _one_of(names: Sequence[str]) -> Any:
    def convert(text: str) -> str:
        if text not in names:
            raise argparse.ArgumentTypeError(f"unknown name {text!r}: {nearest_name(text, names)}")
        return text

    return convert


def _parser() -> argparse.ArgumentParser:
    about = "Generative adversarial networks from scratch on plain arrays: every gradient by hand, on NumPy and CuPy."
    parser = _Parser(prog="minigan", description=about, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"minigan {minigan.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)
    _add_train(commands)
    _add_sample(commands)
    _add_diagnose(commands)
    _add_explain(commands)
    _add_gradcheck(commands)
    _add_info(commands)
    return parser


# -- train ---------------------------------------------------------------------------------------------------------------


def _add_backend(parser: Any, default: str, said: str = "auto") -> None:
    """default: what stands where the option is not given; said: what the help calls the default."""
    about = f"{', '.join(BACKENDS)}, or auto: cupy if a GPU answers, else numpy ({said})"
    parser.add_argument("--backend", type=_one_of((*BACKENDS, "auto")), default=default, metavar="NAME", help=about)


def _defaults(name: str) -> str:
    """The default of an option by model, for its help: (dcgan 64, points 256)."""
    shown = {model: recipe[name] for model, recipe in training.RECIPES.items() if name in recipe}
    words = [f"{model} {' '.join(map(str, v)) if isinstance(v, tuple) else f'{v:g}'}" for model, v in shown.items()]
    return f"({', '.join(words)})"


def _add_train(commands: Any) -> None:
    about = "Train a game and write its run folder. With no options: digits out of noise in about three minutes on two cores."
    parser = commands.add_parser("train", help="train a game", description=about, allow_abbrev=False)
    # Options that are not given stay out of the namespace, so that --resume can tell them from defaults.
    unset = argparse.SUPPRESS
    whole, real = _number(int, 1), _number(float, 0)

    data = parser.add_argument_group("data")
    data.add_argument(
        "--data", default=unset, help=f"{', '.join(DATASETS)}, or a .npy, .npz or IDX file, or a folder of images"
    )
    data.add_argument("--data-dir", default=unset, metavar="DIR", help="where the IDX files of mnist and fashion-mnist are")
    data.add_argument("--image-size", default=unset, type=_image_size, metavar="N|HxW", help="scale images to this size")
    data.add_argument(
        "--batch-size", default=unset, type=whole, metavar="N", help="images in a batch " + _defaults("batch_size")
    )

    model = parser.add_argument_group("model")
    model.add_argument("--model", default=unset, type=_one_of(MODELS), metavar="NAME", help=f"{' or '.join(MODELS)} (dcgan)")
    model.add_argument(
        "--width", default=unset, type=whole, metavar="N", help="dcgan: channels of its widest images " + _defaults("width")
    )
    extra_conv = "dcgan: one more convolution in G and in D, no BatchNorm in D (on); --no-extra_conv: the reference game"
    model.add_argument("--extra_conv", default=unset, action=argparse.BooleanOptionalAction, help=extra_conv)
    model.add_argument(
        "--hidden",
        default=unset,
        type=whole,
        nargs="+",
        metavar="N",
        help="mlp: width of each hidden layer " + _defaults("hidden"),
    )
    model.add_argument("--latent-dim", default=unset, type=whole, metavar="N", help="length of z " + _defaults("latent_dim"))
    model.add_argument("--dtype", default=unset, type=_one_of(DTYPES), metavar="NAME", help="float32 (default) or float64")

    learning = parser.add_argument_group("learning")
    length = learning.add_mutually_exclusive_group()
    length.add_argument("--epochs", default=unset, type=whole, metavar="N", help="passes over the data")
    length.add_argument("--steps", default=unset, type=whole, metavar="N", help="batches in all " + _defaults("steps"))
    learning.add_argument("--lr", default=unset, type=real, help="Adam's learning rate " + _defaults("lr"))
    learning.add_argument("--lr-d", default=unset, type=real, metavar="LR", help="the discriminator's, where it differs")
    learning.add_argument(
        "--beta1", default=unset, type=real, metavar="B", help="Adam's decay of the mean gradient " + _defaults("beta1")
    )
    learning.add_argument(
        "--beta2", default=unset, type=real, metavar="B", help="Adam's decay of the mean square " + _defaults("beta2")
    )
    learning.add_argument(
        "--schedule", default=unset, type=_one_of(tuple(SCHEDULES)), metavar="NAME", help=", ".join(SCHEDULES)
    )
    learning.add_argument(
        "--smoothing", default=unset, type=real, metavar="A", help="one-sided label smoothing " + _defaults("smoothing")
    )
    learning.add_argument("--saturating", default=unset, action="store_true", help="the minimax generator loss")
    learning.add_argument(
        "--ema",
        default=unset,
        type=real,
        metavar="DECAY",
        help="average G's weights for sampling; 0: do not " + _defaults("ema"),
    )
    learning.add_argument("--seed", default=unset, type=_number(int, 0), metavar="N", help="decides everything random (0)")

    running = parser.add_argument_group("running")
    _add_backend(running, default=unset)
    precise = "of products: float32 (default), or tf32 on a GPU, for speed: 10 bits of mantissa on tensor cores"
    running.add_argument("--precision", default=unset, type=_one_of(PRECISIONS), metavar="NAME", help=precise)
    running.add_argument("--out", default=None, metavar="DIR", help="run folder (runs/DATA, numbered where taken)")
    running.add_argument(
        "--resume", action="store_true", help="go on with the run in --out, to the same bytes; --steps extends it"
    )
    running.add_argument("--overwrite", action="store_true", help="replace the run in --out")
    for name, what in (("log", "a row in the log (20)"), ("sample", "a sample picture"), ("checkpoint", "a checkpoint (500)")):
        running.add_argument(f"--{name}-every", default=unset, type=whole, metavar="STEPS", help=f"steps between {what}")
    running.add_argument("--quiet", action="store_true", help="no progress bar")
    parser.set_defaults(run=_train, parser=parser)


def _image_size(text: str) -> tuple[int, int]:
    try:
        return parse_size(text)
    except MiniganError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _train(options: argparse.Namespace) -> int:
    known = training.Config.__dataclass_fields__
    given: dict[str, Any]
    given = {name: tuple(v) if name == "hidden" else v for name, v in vars(options).items() if name in known}
    if options.resume:
        if not options.out:
            raise MiniganError("--resume needs --out, the folder of the run to go on with")
        if options.overwrite:
            raise MiniganError("--resume and --overwrite exclude each other: choose one")
        run = training.resume_run(options.out, changes=given)
    else:
        config = training.Config(**given)
        out = options.out or training.default_run_dir(config.data, config.model)
        run = training.start_run(config, out, overwrite=options.overwrite)
    return 0 if run.train(progress=not options.quiet) else INTERRUPTED


# -- sample --------------------------------------------------------------------------------------------------------------


def _add_sample(commands: Any) -> None:
    about = "Draw images (or points) from a trained run."
    parser = commands.add_parser("sample", help="draw from a trained run", description=about, allow_abbrev=False)
    parser.add_argument("folder", metavar="RUN", help="a run folder")
    parser.add_argument("-n", type=_number(int, 1), default=64, metavar="N", help="how many (64)")
    parser.add_argument("--seed", type=_number(int, 0), default=0, metavar="N", help="the same seed, the same images (0)")
    what = "a grid as .png; uint8 (N, H, W, C) as .npy, or .npz under the key images; a film as .gif; else a folder of PNGs"
    parser.add_argument("--out", required=True, metavar="FILE|DIR", help=what)
    walk = f"walk on great circles from one latent point to the next, about {WALK_STEPS} images to each, and back to the first"
    parser.add_argument("--interpolate", action="store_true", help=walk)
    _add_backend(parser, default="auto")
    parser.add_argument("--overwrite", action="store_true", help="write into a folder that is not empty")
    parser.set_defaults(run=_sample, parser=parser)


def _sample(options: argparse.Namespace) -> int:
    out = Path(options.out)
    suffix = "" if out.is_dir() else out.suffix.lower()
    if suffix not in ("", ".png", ".gif", ".npz", ".npy"):
        raise MiniganError(f"--out is {options.out}: expected a name in .png, .npz, .npy or .gif, or a folder")
    game, config = training.load_game(options.folder, options.backend)
    is_images = len(game.generator.output_shape) == 3
    if not is_images and suffix in ("", ".gif"):
        raise MiniganError(f"--out is {options.out}: points can be written as .png, .npz or .npy")
    if suffix == "" and out.is_dir() and any(out.iterdir()) and not options.overwrite:
        raise MiniganError(f"--out is {options.out}, a folder that is not empty: choose another, or add --overwrite")
    z = (
        _walk(game.latent(_corners(options.n), options.seed), options.n)
        if options.interpolate
        else game.latent(options.n, options.seed)
    )
    samples = game.decode(z)
    # Points are drawn over those they were learned from, where these are at hand.
    real = load(config.data).values if not is_images and config.data in DATASETS else None
    _write_samples(out, suffix, samples, WALK_STEPS if options.interpolate else 0, real)
    print(f"{len(samples)} {'images' if is_images else 'points'} of {options.folder} in {out}")
    return 0


def _write_samples(out: Path, suffix: str, samples: np.ndarray, columns: int, real: np.ndarray | None) -> None:
    import io

    is_images = samples.ndim == 4
    values = floats_to_pixels(samples) if is_images else samples
    (out if suffix == "" else out.parent).mkdir(parents=True, exist_ok=True)
    if suffix == "":
        digits = max(4, len(str(len(values) - 1)))
        for index, image in enumerate(values):
            plots.save_image(out / f"{index:0{digits}d}.png", plots.to_image(image))
    elif suffix == ".png":
        plots.save_samples(out, samples, real, columns)
    elif suffix == ".gif":
        plots.save_animation(out, values)
    else:
        buffer = io.BytesIO()
        if suffix == ".npy":
            np.save(buffer, values)
        else:
            named: dict[str, Any] = {"images" if is_images else "points": values}
            np.savez_compressed(buffer, **named)
        write_atomically(out, buffer.getvalue())


def _corners(count: int) -> int:
    """Latent points that a walk of so many images visits: at least three, or it would come back the way it went."""
    return max(3, count // WALK_STEPS)


def _walk(corners: np.ndarray, count: int) -> np.ndarray:
    """count points, evenly spread over the great circles from corner to corner and back to the first."""
    positions = [len(corners) * i / count for i in range(count)]
    return np.stack([_slerp(corners[int(p)], corners[(int(p) + 1) % len(corners)], p - int(p)) for p in positions])


def _slerp(a: np.ndarray, b: np.ndarray, t: float) -> np.ndarray:
    """sin((1−t)ω)/sin ω · a + sin(tω)/sin ω · b, with ω the angle between a and b.

    The points between are about as long as a and b; those of a straight line would be shorter than any that G has seen.
    Source: White 2016 (arXiv:1609.04468), section 2.1.
    """
    cosine = float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))
    omega = math.acos(max(-1.0, min(1.0, cosine)))
    if math.sin(omega) < 1e-6:
        return ((1 - t) * a + t * b).astype(a.dtype)
    return ((math.sin((1 - t) * omega) * a + math.sin(t * omega) * b) / math.sin(omega)).astype(a.dtype)


# -- diagnose --------------------------------------------------------------------------------------------------------------


def _add_diagnose(commands: Any) -> None:
    about = "Say what is wrong with a run, by the figures of its log.csv, and what to try."
    parser = commands.add_parser("diagnose", help="say what is wrong with a run", description=about, allow_abbrev=False)
    parser.add_argument("folder", metavar="RUN", help="a run folder")
    parser.add_argument("--json", action="store_true", help="the same as JSON")
    parser.set_defaults(run=_diagnose, parser=parser)


def _diagnose(options: argparse.Namespace) -> int:
    findings, about = diagnose.diagnose_run(options.folder)
    if options.json:
        print(json.dumps([finding.to_json() for finding in findings], indent=1, ensure_ascii=False))
    else:
        print(f"{about}\n\n{diagnose.report(findings)}")
    return 0


# -- explain ---------------------------------------------------------------------------------------------------------------


def _add_explain(commands: Any) -> None:
    about = (
        "Without TARGET, or for a run folder: one training step opened up, as a page for the browser that walks through it. "
        "With a name: a layer's or loss's gradients derived, worked through on a few numbers and checked; or an optimiser."
    )
    parser = commands.add_parser("explain", help="open up a step, or derive a layer", description=about, allow_abbrev=False)
    names = f"a run folder, or one of {', '.join(worked.EXAMPLES)}"
    parser.add_argument("target", metavar="TARGET", nargs="?", help=names)
    unset, whole = argparse.SUPPRESS, _number(int, 1)
    page = parser.add_argument_group("the page")
    page.add_argument("--out", default=None, metavar="FILE", help="where to write it (explain.html)")
    page.add_argument("--batch-size", default=unset, type=whole, metavar="N", help=f"samples of the step ({game.BATCH})")
    page.add_argument("--seed", default=unset, type=_number(int, 0), metavar="N", help="decides everything random (0)")
    _add_backend(page, default=unset, said="textbook")
    page.add_argument("--quiet", action="store_true", help="no progress bar")
    small = parser.add_argument_group("the small game, where no run is named")
    data = f"{', '.join(DATASETS)}, or a .npy, .npz or IDX file, or a folder of images"
    small.add_argument("--data", default=unset, help=data)
    small.add_argument("--data-dir", default=unset, metavar="DIR", help="where the IDX files of mnist and fashion-mnist are")
    small.add_argument("--image-size", default=unset, type=_image_size, metavar="N|HxW", help="scale images to this size")
    small.add_argument("--model", default=unset, type=_one_of(MODELS), metavar="NAME", help=f"{' or '.join(MODELS)} (dcgan)")
    small.add_argument("--width", default=unset, type=whole, metavar="N", help="dcgan: channels of its widest images (8)")
    small.add_argument(
        "--hidden", default=unset, type=whole, nargs="+", metavar="N", help="mlp: width of each hidden layer (32)"
    )
    small.add_argument("--latent-dim", default=unset, type=whole, metavar="N", help="length of z (16)")
    small.add_argument("--lr", default=unset, type=_number(float, 0), help="Adam's learning rate (0.002)")
    small.add_argument("--saturating", default=unset, action="store_true", help="the minimax generator loss")
    after = f"steps of training before the one that is opened ({game.TRAINED})"
    small.add_argument("--after", default=unset, type=_number(int, 0), metavar="STEPS", help=after)
    parser.set_defaults(run=_explain, parser=parser)


def _explain(options: argparse.Namespace) -> int:
    target = options.target
    given = {name: v for name, v in vars(options).items() if name not in ("command", "run", "parser", "target", "out", "quiet")}
    if target is not None and not Path(target).exists():
        return _explain_name(target, [*given, *(["out"] if options.out else [])])
    out = Path(options.out or "explain.html")
    if out.suffix.lower() not in (".html", ".htm") or out.is_dir():
        raise MiniganError(f"--out is {out}: expected a file name in .html")
    if target is not None:
        stray = sorted(given.keys() - {"batch_size", "seed", "backend"})
        if stray:
            raise MiniganError(f"--{stray[0].replace('_', '-')} is for the small game, and {target} is opened: leave it out")
    return _explain_step(target, given, out, options.quiet)


def _explain_name(target: str, options: Sequence[str]) -> int:
    """Print a derivation and its worked example; status 1 if the check in it fails."""
    name = worked.find(target)
    if name is None:
        hint = nearest_name(target, worked.EXAMPLES)
        raise MiniganError(f"{target!r} is neither a run folder nor a name: {hint}")
    if options:
        raise MiniganError(f"--{options[0].replace('_', '-')} is for the page, and {name} is printed: leave it out")
    text, agrees = worked.explain(name)
    print(worked.printable(text, sys.stdout.encoding or "ascii"), flush=True)
    return 0 if agrees else 1


def _explain_step(folder: str | None, given: dict[str, Any], out: Path, quiet: bool) -> int:
    """Write the page of one step of a run, or of a small game."""
    from threadpoolctl import threadpool_limits
    from tqdm import tqdm

    from minigan.explain.page import SAMPLES, make_page
    from minigan.explain.step import count_ticks, open_step

    since = time.perf_counter()
    given = {"backend": "textbook", **given}
    # Thousands of passes of small arrays: BLAS's threads would spend more time waiting for each other than working.
    with threadpool_limits(1, user_api="blas"):
        if folder is not None:
            opened = game.game_of_run(folder, given["backend"], given.get("batch_size"), given.get("seed", 0))
        else:
            steps = given.pop("after", game.TRAINED)
            hidden = {"hidden": tuple(given["hidden"])} if "hidden" in given else {}
            progress = partial(tqdm, unit="step", desc="training", disable=quiet, leave=False)
            opened = game.small_game(training.Config(**{**given, **hidden}), steps, progress)
        with tqdm(total=count_ticks(opened.gan), unit="array", desc="checking", disable=quiet, leave=False) as bar:
            step = open_step(opened.gan, opened.real, opened.z, shown=SAMPLES, tick=bar.update)
    text = make_page(step, opened.about)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, text.encode())
    size, seconds = len(text.encode()) / 1e6, time.perf_counter() - since
    print(f"{opened.about}: {out}, {size:.1f} MB, in {seconds:.0f} s; open it in a browser")
    return 0


# -- gradcheck -------------------------------------------------------------------------------------------------------------


def _add_gradcheck(commands: Any) -> None:
    about = (
        "Prove every gradient: all layers, all losses and both reference games against central differences in float64. "
        "With FILE.py: the layers of your own that it names in CHECKS = [(layer, input shape), ...], with the layer contract."
    )
    parser = commands.add_parser("gradcheck", help="prove every gradient", description=about, allow_abbrev=False)
    parser.add_argument("files", nargs="*", metavar="FILE.py", help="layers of your own (all of minigan's)")
    _add_backend(parser, default="auto")
    parser.add_argument("--verbose", action="store_true", help="one line per array, with the worst entry")
    parser.set_defaults(run=_gradcheck, parser=parser)


def _gradcheck(options: argparse.Namespace) -> int:
    backend = get_backend(options.backend)
    own = [own_layers.check_file(file, backend) for file in options.files]
    print(f"{backend.device} | backend {backend.name} | float64, tolerance {gradcheck.TOLERANCE:.0e} relative", flush=True)
    since, count, failed = time.perf_counter(), 0, 0
    for report in itertools.chain(*own) if own else gradcheck.check_all(backend):
        count, failed = count + 1, failed + (not report.ok)
        checked = sum(row.checked for row in report.rows)
        print(
            f"{'ok    ' if report.ok else 'FAILED'}  {report.max_error:8.1e}  {checked:>4} derivatives  {report.name}",
            flush=True,
        )
        if options.verbose or not report.ok:
            print(*(f"          {line}" for line in report.lines), sep="\n")
    agree = "all gradients agree, the layer contract is kept" if own else "all gradients agree"
    verdict = agree if not failed else f"{failed} of {count} FAILED"
    print(f"{count} checks in {time.perf_counter() - since:.1f} s: {verdict}")
    return 1 if failed else 0


def _has_avx512() -> bool:
    try:
        return "avx512f" in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False


# -- info ------------------------------------------------------------------------------------------------------------------


def _add_info(commands: Any) -> None:
    about = "Show versions, the BLAS library, and which backends can run here, or why one cannot."
    parser = commands.add_parser("info", help="show versions, backends and devices", description=about, allow_abbrev=False)
    parser.set_defaults(run=_info, parser=parser)


def _info(options: argparse.Namespace) -> int:
    from importlib import metadata

    from threadpoolctl import threadpool_info

    print(f"minigan {minigan.__version__}, Python {platform.python_version()}, {platform.platform()}")
    names = (
        "numpy",
        "matplotlib",
        "pillow",
        "safetensors",
        "threadpoolctl",
        "tqdm",
        "cupy-cuda12x",
        "cupy-cuda13x",
        "torch",
        "jax",
    )
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    print("packages:", ", ".join(f"{name} {version}" for name, version in found.items()))
    for pool in threadpool_info():
        if pool["user_api"] == "blas":
            kernels = pool.get("architecture", "unknown")
            print(f"BLAS: {pool['internal_api']} {pool['version']}, {pool['num_threads']} threads, {kernels} kernels")
            if kernels in ("Haswell", "Zen") and _has_avx512():
                chosen = os.environ.get("OPENBLAS_CORETYPE")
                advice = (
                    f"OPENBLAS_CORETYPE={chosen} chose them; unset it" if chosen else "OPENBLAS_CORETYPE=SkylakeX may be faster"
                )
                print(f"      this processor has AVX-512, which these kernels do not use: {advice}")
    for name in BACKENDS:
        try:
            backend = get_backend(name)
            memory = "{:,.0f} of {:,.0f} MiB free".format(*backend.memory) if backend.memory else "memory unknown"
            versions = "".join(f", {what} {version}" for what, version in backend.versions.items())
            print(f"backend {name}: {backend.device}, {memory}{versions}")
        except MiniganError as error:
            print(f"backend {name}: not available, {str(error).partition(': ')[2]}")
    print(f"auto is {get_backend('auto').name}")
    return 0
