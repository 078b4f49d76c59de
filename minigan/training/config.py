"""Everything that decides a run: its options, what each model trains with, and the check of what a file says of it."""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import numpy as np

from minigan.backends import BACKENDS, PRECISIONS
from minigan.data import DATASETS, Dataset, load, parse_size
from minigan.data.text import check_alphabet
from minigan.errors import CheckpointError, ModelError, OptionError, shorten
from minigan.losses import OBJECTIVES, PENALTIES
from minigan.losses.penalty import HEAVIEST
from minigan.models import MODELS
from minigan.optim import SCHEDULES
from minigan.sizes import DTYPES
from minigan.training.options import Option, declared_options
from minigan.user_code import FUNCTION_IN_FILE, ask_for_function, names_function, split_function

LOG_EVERY, CHECKPOINT_EVERY = 20, 500  # steps


def _one_of(names: Iterable[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} or {last}"


def penalty_of(text: str) -> tuple[str, float] | None:
    """(name, weight) of a text NAME=WEIGHT, None if it is none."""
    name, _, number = text.partition("=")
    try:
        weight = float(number) if number.isascii() else math.nan
    except ValueError:
        return None
    return (name, weight) if name in PENALTIES and 0 < weight <= HEAVIEST else None


def is_penalty(text: str) -> bool:
    return penalty_of(text) is not None


def has_smoothing(loss: str | None) -> bool:
    """Whether an objective has labels to smooth."""
    return loss is not None and "smoothing" in inspect.signature(OBJECTIVES[loss]).parameters


# What each model trains with unless told otherwise: values that, of many tried, made the best samples in two minutes (mlp and
# points: one, text: four) on two cores. Without momentum (β₁ = 0) the two sides circle each other less.
RECIPES: dict[str, dict[str, Any]] = {
    "dcgan": {
        **{"steps": 2200, "batch_size": 64, "lr": 1e-3, "beta1": 0.0, "beta2": 0.99, "ema": 0.998, "smoothing": 0.0},
        **{"latent_dim": 32, "width": 32, "extra_conv": True, "loss": "non-saturating", "critic_steps": 1},
    },
    "mlp": {
        **{"steps": 8000, "batch_size": 64, "lr": 5e-4, "beta1": 0.5, "beta2": 0.999, "ema": 0.999, "smoothing": 0.1},
        **{"latent_dim": 100, "hidden": (256, 256), "loss": "non-saturating", "critic_steps": 1},
    },
    "points": {
        **{"steps": 5000, "batch_size": 256, "lr": 1e-3, "beta1": 0.0, "beta2": 0.99, "ema": 0.998, "smoothing": 0.0},
        **{"latent_dim": 16, "hidden": (128, 128), "loss": "non-saturating", "critic_steps": 1},
    },
    "text": {
        **{"steps": 4000, "batch_size": 64, "lr": 2e-3, "beta1": 0.0, "beta2": 0.9, "ema": 0.998, "smoothing": 0.0},
        **{"latent_dim": 64, "width": 64, "loss": "relativistic", "penalty": ("r1=0.1", "r2=0.1"), "critic_steps": 1},
        **{"penalty_every": 4, "instance_noise": 0.2},
    },
}


# By kind of data: the models that make it, the first where none is named, and the recipe by which networks of the user's own
# learn.
MODELS_OF = {"images": ("dcgan", "mlp"), "points": ("mlp",), "text": ("text",)}
RECIPE_OF = {"images": "dcgan", "points": "points", "text": "text"}


def recipe_of(model: str, kind: str) -> dict[str, Any]:
    """What a model trains with on data of a kind. Networks of the user's own have sizes of their own."""
    recipe = RECIPES[model if kind == "images" and model in MODELS else RECIPE_OF[kind]]
    return {name: value for name, value in recipe.items() if model in MODELS or OPTIONS[name].group != "model"}


@dataclass
class Config:
    """Everything that decides a run. None stands for the model's own default; `resolve` fills it in.

    This is the one place where an option of `minigan train` is declared: the command line, its help, and the check of what
    stands in a config.json follow from the fields, in this order.
    """

    data: Annotated[str, Option(f"{', '.join(DATASETS)}, or a .npy, .npz, IDX or .txt file, or a folder of images", "data")] = (
        "digits"
    )
    data_dir: Annotated[str | None, Option("where the IDX files of mnist and fashion-mnist are", "data", metavar="DIR")] = None
    image_size: Annotated[
        tuple[int, int] | None,
        Option("scale images to this size", "data", metavar="N|HxW", least=1, parse=parse_size),
    ] = None
    length: Annotated[
        int | None,
        Option("of text: places of a line (one more than the longest line has, at most 32)", "data", metavar="N", least=1),
    ] = None
    alphabet: Annotated[
        str | None,
        Option(
            "of text: its letters (those found)",
            *("data", "LETTERS"),
            fits=check_alphabet,
            expects="1 to 255 different letters, as abc",
        ),
    ] = None
    hold_out: Annotated[
        int | None,
        Option("of text: lines not trained on, to compare samples with (an eighth, at most 500)", "data", metavar="N", least=0),
    ] = None
    batch_size: Annotated[int | None, Option("samples in a batch", "data", metavar="N", least=1)] = None

    kind: Annotated[str | None, Option("what the data are, as images or points", on_command_line=False)] = None
    model: Annotated[
        str | None,
        Option(
            f"{', '.join(MODELS)}, or networks of your own, which learn as dcgan does: a function(image_shape, latent_dim, "
            "backend, dtype, seed) -> (G, D), or of fewer of these. A run notices when that file changes, but not when a "
            "file that it imports does. Default: dcgan, for points mlp",
            *("model", f"NAME|{FUNCTION_IN_FILE}"),
            choices=MODELS,
            other=FUNCTION_IN_FILE,
            is_other=names_function,
            other_hint=ask_for_function,
        ),
    ] = None
    model_digest: Annotated[str | None, Option("of the file that --model names", on_command_line=False)] = None
    width: Annotated[
        int | None,
        Option("channels of its widest images, or of lines", "model", metavar="N", least=1, models=("dcgan", "text")),
    ] = None
    extra_conv: Annotated[
        bool | None,
        Option(
            "one more convolution in G and in D, no BatchNorm in D; without it: the reference game", "model", models=("dcgan",)
        ),
    ] = None
    hidden: Annotated[
        tuple[int, ...] | None, Option("width of each hidden layer", "model", metavar="N", least=1, models=("mlp",))
    ] = None
    latent_dim: Annotated[int | None, Option("length of z", "model", metavar="N", least=1)] = None
    pack: Annotated[int, Option("samples that D judges at once, side by side as channels", "model", metavar="M", least=1)] = 1
    dtype: Annotated[str, Option(_one_of(DTYPES), "model", metavar="NAME", choices=DTYPES)] = "float32"

    epochs: Annotated[int | None, Option("passes over the data", "learning", metavar="N", least=1, alternative_to="length")] = (
        None
    )
    steps: Annotated[int | None, Option("batches in all", "learning", metavar="N", least=1, alternative_to="length")] = None
    lr: Annotated[float | None, Option("Adam's learning rate", "learning", above=0)] = None
    lr_d: Annotated[float | None, Option("the discriminator's, where it differs", "learning", metavar="LR", above=0)] = None
    beta1: Annotated[float | None, Option("Adam's decay of the mean gradient", "learning", metavar="B", least=0, below=1)] = (
        None
    )
    beta2: Annotated[float | None, Option("Adam's decay of the mean square", "learning", metavar="B", least=0, below=1)] = None
    schedule: Annotated[
        str, Option(f"of the learning rate: {_one_of(SCHEDULES)}", "learning", metavar="NAME", choices=tuple(SCHEDULES))
    ] = "constant"
    loss: Annotated[
        str | None,
        Option(f"what G and D minimise: {_one_of(OBJECTIVES)}", "learning", metavar="NAME", choices=tuple(OBJECTIVES)),
    ] = None
    penalty: Annotated[
        tuple[str, ...] | None,
        Option(
            f"on D's gradient: {_one_of(PENALTIES)}; may be given several times",
            *("learning", "NAME=WEIGHT"),
            fits=is_penalty,
            expects=f"NAME=WEIGHT, as r1=10, with {_one_of(PENALTIES)} and a weight above 0 and up to {HEAVIEST:g}",
        ),
    ] = None
    penalty_every: Annotated[
        int | None,
        Option(
            "steps from one with penalties to the next, 1 unless said otherwise; they weigh as much more",
            "learning",
            metavar="K",
            least=1,
        ),
    ] = None
    instance_noise: Annotated[
        float | None, Option("sigma of noise on all that D sees; 0: none", "learning", metavar="SIGMA", least=0)
    ] = None
    critic_steps: Annotated[
        int | None, Option("steps of D for one of G, each on a batch of its own", "learning", metavar="K", least=1)
    ] = None
    clip: Annotated[
        float | None, Option("after each step of D, clip its weights to [-C, C]", "learning", metavar="C", above=0)
    ] = None
    smoothing: Annotated[float | None, Option("one-sided label smoothing", "learning", metavar="A", least=0, below=1)] = None
    ema: Annotated[
        float | None,
        Option("sample with an average of G's weights that decays so; 0: none", "learning", metavar="DECAY", least=0, below=1),
    ] = None
    seed: Annotated[int, Option("decides everything random", "learning", metavar="N", least=0)] = 0

    backend: Annotated[
        str,
        Option(
            f"{_one_of((*BACKENDS, 'auto'))}: cupy if a GPU answers, else numpy",
            "running",
            metavar="NAME",
            choices=(*BACKENDS, "auto"),
        ),
    ] = "auto"
    precision: Annotated[
        str,
        Option(
            f"of products: {_one_of(PRECISIONS)}, which is quicker on a GPU and has 10 bits of mantissa",
            "running",
            metavar="NAME",
            choices=PRECISIONS,
        ),
    ] = "float32"
    log_every: Annotated[int, Option("steps between rows of the log", "running", metavar="STEPS", least=1)] = LOG_EVERY
    sample_every: Annotated[
        int | None,
        Option("steps between sample pictures (such that there are about 24)", "running", metavar="STEPS", least=1),
    ] = None
    evaluate_every: Annotated[
        int | None,
        Option("steps between measures of 1,000 samples, into the log and curves (never)", "running", metavar="STEPS", least=1),
    ] = None
    checkpoint_every: Annotated[int, Option("steps between checkpoints", "running", metavar="STEPS", least=1)] = (
        CHECKPOINT_EVERY
    )

    def resolve(self, dataset: Dataset) -> None:
        """Fill in what was left open, by model and data. What is filled in already stays, so that twice is once.

        Raises OptionError for a value of the wrong type or range, ModelError where model, options and data do not go together.
        """
        for name, option in OPTIONS.items():
            value = getattr(self, name)
            try:
                setattr(self, name, option.convert(value))
            except ValueError as error:
                raise OptionError(f"{name} is {shorten(value)}: {error}") from None
        self.kind = kind = dataset.kind.name
        self.model = self.model or MODELS_OF[kind][0]
        if self.precision != "float32" and self.dtype != "float32":
            raise OptionError(f"precision {self.precision} is for float32 networks, and dtype is {self.dtype}: choose one")
        for name in ("lr", "lr_d", "clip"):
            rate, least, most = getattr(self, name), float(np.finfo(self.dtype).tiny), float(np.finfo(self.dtype).max)
            if rate is not None and not least <= rate <= most:
                raise OptionError(f"{name} is {rate}, and {self.dtype} holds {least:.0e} to {most:.0e}: choose one within")
        if self.epochs is not None and self.steps is not None:
            raise OptionError("both epochs and steps are given: choose one")
        if self.model in MODELS and self.model not in MODELS_OF[kind]:
            makes, instead = " and ".join(name for name in MODELS_OF if self.model in MODELS_OF[name]), MODELS_OF[kind][0]
            raise ModelError(f"{self.model} makes {makes}, and {dataset.name} holds {kind}: take the model {instead}")
        for name, option in OPTIONS.items():
            if option.models and self.model not in option.models and getattr(self, name) is not None:
                raise ModelError(f"{name} does not apply to the model {self.model_name}: leave it out")
        recipe = recipe_of(self.model, kind)
        if self.loss not in (None, recipe["loss"]):  # penalties and critic steps of the recipe belong to its loss
            recipe |= {"penalty": None, "critic_steps": 1}
        if self.penalty or not recipe.get("penalty"):  # and how often they are taken to the penalties
            recipe.pop("penalty_every", None)
        if not has_smoothing(self.loss or recipe["loss"]):
            recipe["smoothing"] = 0.0
        for name, value in recipe.items():
            if getattr(self, name) is None and not (name == "steps" and self.epochs is not None):
                setattr(self, name, value)
        self._check_penalties()
        if self.batch_size and self.batch_size % self.pack:
            raise OptionError(
                f"batch_size is {self.batch_size}, and D judges {self.pack} samples at once: choose a multiple of that"
            )

    def _check_penalties(self) -> None:
        every = self.penalty_every or 1
        if every > 1 and not self.penalty:
            raise OptionError(f"penalty_every is {every}, and there is no penalty: name one, as penalty r1=10")
        heaviest = max((weight for _, weight in filter(None, map(penalty_of, self.penalty or ()))), default=0)
        if heaviest > HEAVIEST / every:
            raise OptionError(
                f"penalty weighs {heaviest:g}, {shorten(every)} times: expected at most {HEAVIEST:g}; choose less"
            )

    def load_data(self) -> Dataset:
        """The dataset that this configuration names."""
        of_text: dict[str, Any] = {"length": self.length, "alphabet": self.alphabet, "hold_out": self.hold_out}
        return load(self.data, self.data_dir, self.image_size, **of_text)

    @property
    def is_built_in(self) -> bool:
        """True if the model is one of minigan's own, False for a function in a user's file."""
        return self.model is None or self.model in MODELS

    @property
    def model_name(self) -> str | None:
        """The model in one word, fit for the name of a folder: of /home/me/nets.py:build it is nets-build."""
        if self.model is None or self.is_built_in:
            return self.model
        path, function = split_function(self.model)
        return f"{path.stem}-{function}"

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Config:
        """The configuration that to_json gave.

        Raises CheckpointError for entries that are unknown or missing, or of the wrong type or range.
        """
        unknown, missing = sorted(values.keys() - OPTIONS.keys()), sorted(OPTIONS.keys() - values.keys())
        if unknown:
            raise CheckpointError(
                f"the configuration has entries that this version does not know: {_listed(unknown)}; "
                "remove them, or use the version of minigan that wrote them"
            )
        if missing:
            raise CheckpointError(
                f"the configuration lacks entries: {_listed(missing)}; put them back, with null for the model's own default"
            )
        pairs = {}
        for name, value in values.items():
            try:
                pairs[name] = OPTIONS[name].convert(value)
            except ValueError as error:
                raise CheckpointError(f"the configuration's {name} is {shorten(value)}: {error}") from None
        return cls(**pairs)

    def to_json(self) -> dict[str, Any]:
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


OPTIONS: dict[str, Option] = declared_options(Config)  # by name, in the order of the fields


def with_absolute_paths(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Paths made absolute, so that a run can go on from any folder. Names of datasets and models stay names."""
    paths = {}
    for name, value in settings.items():
        if not isinstance(value, str):
            continue
        is_data = name == "data" and value not in DATASETS and os.path.exists(value)
        if name == "data_dir" or is_data or (name == "model" and names_function(value)):
            paths[name] = os.path.abspath(value)
    return {**settings, **paths}


def _listed(names: list[str]) -> str:
    """The first few names, in one line."""
    shown = [" ".join(name.split())[:30] for name in names[:5]]
    return ", ".join(shown) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
