"""minigan export: the networks of a run for other programs."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from minigan.cli.parser import add_command
from minigan.data import Kind
from minigan.errors import MiniganError
from minigan.export.means import trained_networks
from minigan.export.to_onnx import onnx_bytes, package
from minigan.export.to_torch import torch_files
from minigan.files import write_atomically
from minigan.games import Game
from minigan.network import Sequential
from minigan.training import OPTIONS, Config, errors_of_user_file, load_game

PROGRAMS = ("onnx", "torch")
MOST_NAMED = 20  # classes that are all named where a column of the output is explained


def add(commands: Any) -> None:
    about = (
        "Write the networks of a run for other programs: generator and discriminator, or of a VAE encoder and decoder, as they "
        "are at inference, in float32. ONNX: generator.onnx, for onnxruntime, Netron, browsers; images are (N, H, W, C) as in "
        "minigan. PyTorch: generator.py, a module of PyTorch's own layers to read and to import, with its weights in "
        "generator.safetensors; images are (N, C, H, W). Neither needs minigan to be loaded."
    )
    parser = add_command(commands, "export", "write networks for ONNX or PyTorch", about, export)
    parser.add_argument("folder", metavar="RUN", help="a run folder")
    parser.add_argument("--to", required=True, choices=PROGRAMS, help="the program that is to read them")
    parser.add_argument("--out", metavar="FOLDER", help="where to write them (the run's folder)")
    average = "G's weights as the last step left them, not their moving average, with which `minigan sample` draws"
    parser.add_argument("--no-average", action="store_true", help=average)
    parser.add_argument("--overwrite", action="store_true", help="replace files that are there")


def export(options: argparse.Namespace) -> int:
    if options.to == "onnx":
        package()  # that it is missing is told before anything is read
    folder = Path(options.out or options.folder)
    if folder.exists() and not folder.is_dir():
        raise MiniganError(f"--out is {folder}, a file: name a folder for the networks")
    game, config, kind = load_game(options.folder, "numpy")
    files: dict[Path, bytes] = {}
    lines = []
    for name, net in trained_networks(game, averaged=not options.no_average).items():
        with errors_of_user_file(config):
            made = _files(folder / name, options.to, net, Words(name, game, config, kind))
        lines.append(f"{' and '.join(map(str, reversed(made)))}: {_shown(net, options.to)}")
        files |= made
    taken = [path for path in files if path.exists()]
    if taken and not options.overwrite:
        raise MiniganError(f"{taken[0]} is there already: name another folder with --out, or add --overwrite")
    _write(folder, files)
    print("\n".join(lines))
    return 0


def _write(folder: Path, files: dict[Path, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for path, content in files.items():
        write_atomically(path, content)


def _files(stem: Path, program: str, net: Sequential, words: Words) -> dict[Path, bytes]:
    """What is to be written for one network."""
    if program == "torch":
        title = f"The {words.name} of {words.recipe}; written by minigan."
        more = {"title": title, "about": words.about, "example": words.example}
        return torch_files(net, stem.with_suffix(".py"), **more, metadata=words.metadata)
    names, texts = (words.takes, words.makes), {"about": words.about, "columns": words.columns}
    content = onnx_bytes(net, words.name, names=names, **texts, metadata=words.metadata)
    return {stem.with_suffix(".onnx"): content}


def _shown(net: Sequential, program: str) -> str:
    """The shapes of a network's input and output, and its size."""
    first = program == "torch"
    shapes = (shape[-1:] + shape[:-1] if first else shape for shape in (net.input_shape, net.output_shape))
    takes, makes = (f"({', '.join(map(str, ('N', *shape)))})" for shape in shapes)
    return f"{takes} to {makes}, {net.num_params:,} parameters"


class Words:
    """What is said of a network in the file that holds it."""

    def __init__(self, name: str, game: Game, config: Config, kind: Kind) -> None:
        self.name, self._game, self._classes, self._samples = name, game, config.class_names or (), kind.counted
        model = config.title if config.is_built_in else config.model_name
        self.recipe = f"the model {model}, trained on {Path(config.data).name}"
        self.takes = "z" if name in ("generator", "decoder") else kind.name
        self.makes = {"discriminator": "score", "encoder": "code"}.get(name, kind.name)
        self.metadata = {
            "model": str(model),
            "data": Path(config.data).name,
            "samples": json.dumps(kind.to_json()),
            "options": json.dumps({name: getattr(config, name) for name in config.recipe if name in OPTIONS}),
            **({"classes": json.dumps(list(self._classes))} if self._classes else {}),
        }

    @property
    def example(self) -> str:
        """What PyTorch may call it with, where that is not random numbers alone."""
        count = len(self._classes)
        if self.name != "generator" or not count:
            return ""
        return f"torch.cat([torch.randn({count}, {self._game.latent_dim}), torch.eye({count})], 1)"

    @property
    def columns(self) -> str:
        """What each column of the output is, where it has several that differ: of a discriminator with classes."""
        if self.name != "discriminator" or not self._classes:
            return ""
        shown = [*self._classes] if len(self._classes) <= MOST_NAMED else [*self._classes[:3], "…", self._classes[-1]]
        return (
            "Column 0 is the score that holds for every class, column 1 + k what class k adds to it: a sample of class k has "
            f"the score y[:, 0] + y[:, 1 + k]. The classes, from k = 0: {', '.join(map(str, shown))}."
        )

    @property
    def about(self) -> str:
        """What goes in and what comes out."""
        latent, count = self._game.latent_dim, len(self._classes)
        what, label = f"{latent} numbers from N(0, 1)", f"{count} numbers, 1 for the class and 0 for the others"
        return {
            "generator": f"Makes {self._samples} from {what}{f', and behind them {label}' if count else ''}.",
            "discriminator": "Judges whether "
            + f"{self._samples} are real: {'1 + ' + str(count) + ' numbers' if count else 'a score'} each."
            + (f" {self.columns}" if count else ""),
            "encoder": f"Makes the code of {self._samples}: {latent} means, then {latent} logarithms of variances.",
            "decoder": f"Makes {self._samples} from a code of {what}.",
        }.get(self.name, f"The {self.name} of a game.")
