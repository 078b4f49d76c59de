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
from minigan.data import DATASETS, FITS, MEMORY_SHARE, Dataset, load, parse_size
from minigan.data.text import check_alphabet
from minigan.errors import CheckpointError, ModelError, OptionError, shorten
from minigan.losses import LIKELIHOODS, OBJECTIVES, PENALTIES
from minigan.losses.penalty import HEAVIEST
from minigan.losses.variational import WIDEST
from minigan.models import NAMES as MODELS
from minigan.models import takes_classes
from minigan.models.dcgan import UPSAMPLINGS
from minigan.optim import SCHEDULES
from minigan.sizes import DTYPES
from minigan.training.options import Option, declared_options
from minigan.user_code import FUNCTION_IN_FILE, ask_for_function, names_function, split_function

LOG_EVERY, CHECKPOINT_EVERY = 20, 500  # steps
GAN, VAE = ("gan",), ("vae",)  # the games that have an option
FITS_IN_WORDS = "; ".join(f"{name}: {words}" for name, words in FITS.items())


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


def is_sigma(sigma: float) -> bool:
    return 1 / WIDEST <= sigma <= WIDEST


def has_smoothing(loss: str | None) -> bool:
    """Whether an objective has labels to smooth."""
    return loss is not None and "smoothing" in inspect.signature(OBJECTIVES[loss]).parameters


# What each model trains with unless told otherwise: values that, of many tried, made the best samples in two minutes (mlp and
# points: one, text: four) on two cores; those of wave were the best of a dozen, and take longer. Without momentum (β₁ = 0) the
# two sides circle each other less.
RECIPES: dict[str, dict[str, Any]] = {
    "dcgan": {
        **{"steps": 2200, "batch_size": 64, "lr": 1e-3, "beta1": 0.0, "beta2": 0.99, "ema": 0.998, "smoothing": 0.0},
        **{"latent_dim": 32, "width": 32, "extra_conv": True, "loss": "non-saturating", "critic_steps": 1},
        **{"upsample": "transposed"},
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
    "wave": {
        **{"steps": 5500, "batch_size": 32, "lr": 1e-3, "beta1": 0.0, "beta2": 0.99, "ema": 0.998, "smoothing": 0.0},
        **{"latent_dim": 100, "width": 32, "loss": "relativistic", "penalty": ("r1=0.02", "r2=0.02"), "critic_steps": 1},
    },
    "sound mlp": {
        **{"steps": 14_000, "batch_size": 64, "lr": 1e-3, "beta1": 0.0, "beta2": 0.99, "ema": 0.998, "smoothing": 0.0},
        **{
            "latent_dim": 16,
            "hidden": (256, 256),
            "loss": "relativistic",
            "penalty": ("r1=0.05", "r2=0.05"),
            "critic_steps": 1,
        },
    },
    # Of a VAE, where nothing circles: Adam with the moments of its paper.
    "vae mlp": {
        **{"steps": 5000, "batch_size": 128, "lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "latent_dim": 20, "hidden": (400,)},
        **{"likelihood": "bernoulli", "sigma": 0.3, "kl_weight": 1.0},
    },
    "vae conv": {
        **{"steps": 3000, "batch_size": 64, "lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "latent_dim": 20, "width": 32},
        **{"likelihood": "bernoulli", "sigma": 0.3, "kl_weight": 1.0},
    },
    "vae points": {
        **{"steps": 5000, "batch_size": 256, "lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "latent_dim": 2, "hidden": (128, 128)},
        **{"likelihood": "gaussian", "sigma": 0.05, "kl_weight": 1.0},
    },
}


# By kind of data: the models that make it, the first where none is named, and the recipe by which networks of the user's own
# learn.
MODELS_OF = {"images": ("dcgan", "mlp"), "points": ("mlp",), "text": ("text",), "sound": ("wave", "mlp")}
RECIPE_OF = {"images": "dcgan", "points": "points", "text": "text", "sound": "wave"}
# The same of a VAE, whose recipes have names of their own.
MODELS_OF_VAE = {"images": ("mlp", "conv"), "points": ("mlp",)}
RECIPE_OF_VAE = {"images": "mlp", "points": "points"}
GAMES = {"gan": (MODELS_OF, RECIPE_OF, ""), "vae": (MODELS_OF_VAE, RECIPE_OF_VAE, "vae ")}


def models_of(game: str, kind: str) -> tuple[str, ...]:
    """The models of a game that make data of a kind. Raises ModelError where there are none."""
    models = GAMES[game][0]
    if kind not in models:
        raise ModelError(
            f"the game {game} makes {_one_of(models)}, and the data are {kind}: take another --game, or other data"
        )
    return models[kind]


def recipe_of(model: str, kind: str, game: str = "gan") -> dict[str, Any]:
    """What a model trains with on data of a kind. Networks of the user's own have sizes of their own."""
    _, usual, prefix = GAMES[game]
    own = model if kind == "images" and model in MODELS else f"{kind} {model}"
    recipe = RECIPES.get(prefix + own) or RECIPES[prefix + usual[kind]]
    return {name: value for name, value in recipe.items() if model in MODELS or OPTIONS[name].group != "model"}


@dataclass
class Config:
    """Everything that decides a run. None stands for the model's own default; `resolve` fills it in.

    This is the one place where an option of `minigan train` is declared: the command line, its help, and the check of what
    stands in a config.json follow from the fields, in this order.
    """

    data: Annotated[
        str, Option(f"{', '.join(DATASETS)}, or a .npy, .npz, IDX or .txt file, or a folder of images or WAV files", "data")
    ] = "digits"
    data_dir: Annotated[str | None, Option("where the IDX files of mnist and fashion-mnist are", "data", metavar="DIR")] = None
    image_size: Annotated[
        tuple[int, int] | None,
        Option("scale images to this size", "data", metavar="N|HxW", least=1, parse=parse_size),
    ] = None
    fit: Annotated[str, Option(f"how they come to it: {FITS_IN_WORDS}", "data", metavar="HOW", choices=tuple(FITS))] = "cut"
    mirror: Annotated[bool, Option("learn from every image's reflection, left to right, too", "data")] = False
    memory_share: Annotated[
        float,
        Option(
            "of what memory is free, that a folder's images may fill; more are streamed from a file in the user's cache",
            *("data", "SHARE"),
            least=0,
            below=1,
        ),
    ] = MEMORY_SHARE
    length: Annotated[
        int | None,
        Option(
            "places of a line (one more than the longest has, at most 32), or values in a piece of sound (4096; of tones 256)",
            *("data", "N"),
            least=1,
        ),
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
    rate: Annotated[
        int | None, Option("values a second that sound is resampled to (that of most files)", "data", metavar="HZ", least=1)
    ] = None
    batch_size: Annotated[int | None, Option("samples in a batch", "data", metavar="N", least=1)] = None

    game: Annotated[
        str,
        Option(
            f"{_one_of(GAMES)}: a generator against a discriminator, or a variational autoencoder",
            *("model", "NAME"),
            choices=tuple(GAMES),
        ),
    ] = "gan"
    kind: Annotated[str | None, Option("what the data are, as images or sound", on_command_line=False)] = None
    model: Annotated[
        str | None,
        Option(
            f"{', '.join(MODELS)}, or networks of your own, which learn as dcgan does: a function(image_shape, latent_dim, "
            "backend, dtype, seed, classes) -> (G, D), or of fewer of these; of a vae (encoder, decoder). A run notices when "
            "that file changes, but not when a file that it imports does. Default: dcgan for images, mlp for points and a "
            "vae, text for text, wave for sound",
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
        Option(
            "channels of its largest images, of lines or of sounds",
            *("model", "N"),
            least=1,
            models=("dcgan", "conv", "text", "wave"),
        ),
    ] = None
    extra_conv: Annotated[
        bool | None,
        Option(
            "one more convolution in G and in D, no BatchNorm in D; without it: the reference game", "model", models=("dcgan",)
        ),
    ] = None
    upsample: Annotated[
        str | None,
        Option(
            "how G doubles an image: transposed convolution, or resize by nearest neighbours and convolve",
            *("model", "HOW"),
            choices=UPSAMPLINGS,
            models=("dcgan",),
        ),
    ] = None
    hidden: Annotated[
        tuple[int, ...] | None, Option("width of each hidden layer", "model", metavar="N", least=1, models=("mlp",))
    ] = None
    latent_dim: Annotated[int | None, Option("length of z", "model", metavar="N", least=1)] = None
    pack: Annotated[
        int, Option("samples that D judges at once, side by side as channels", "model", metavar="M", least=1, games=GAN)
    ] = 1
    classes: Annotated[
        bool,
        Option(
            "learn each class of the data by its label, so that one may ask for it: sample RUN --class 7", "model", games=GAN
        ),
    ] = False
    class_names: Annotated[tuple[str, ...] | None, Option("of the classes learned", on_command_line=False)] = None
    dtype: Annotated[str, Option(_one_of(DTYPES), "model", metavar="NAME", choices=DTYPES)] = "float32"

    epochs: Annotated[int | None, Option("passes over the data", "learning", metavar="N", least=1, alternative_to="length")] = (
        None
    )
    steps: Annotated[int | None, Option("batches in all", "learning", metavar="N", least=1, alternative_to="length")] = None
    lr: Annotated[float | None, Option("Adam's learning rate", "learning", above=0)] = None
    lr_d: Annotated[
        float | None, Option("the discriminator's, where it differs", "learning", metavar="LR", above=0, games=GAN)
    ] = None
    beta1: Annotated[float | None, Option("Adam's decay of the mean gradient", "learning", metavar="B", least=0, below=1)] = (
        None
    )
    beta2: Annotated[float | None, Option("Adam's decay of the mean square", "learning", metavar="B", least=0, below=1)] = None
    schedule: Annotated[
        str, Option(f"of the learning rate: {_one_of(SCHEDULES)}", "learning", metavar="NAME", choices=tuple(SCHEDULES))
    ] = "constant"
    loss: Annotated[
        str | None,
        Option(
            f"what G and D minimise: {_one_of(OBJECTIVES)}", "learning", metavar="NAME", choices=tuple(OBJECTIVES), games=GAN
        ),
    ] = None
    penalty: Annotated[
        tuple[str, ...] | None,
        Option(
            f"on D's gradient: {_one_of(PENALTIES)}; may be given several times",
            *("learning", "NAME=WEIGHT"),
            fits=is_penalty,
            expects=f"NAME=WEIGHT, as r1=10, with {_one_of(PENALTIES)} and a weight above 0 and up to {HEAVIEST:g}",
            games=GAN,
        ),
    ] = None
    penalty_every: Annotated[
        int | None,
        Option(
            "steps from one with penalties to the next, 1 unless said otherwise; they weigh as much more",
            *("learning", "K"),
            least=1,
            games=GAN,
        ),
    ] = None
    instance_noise: Annotated[
        float | None, Option("sigma of noise on all that D sees; 0: none", "learning", metavar="SIGMA", least=0, games=GAN)
    ] = None
    critic_steps: Annotated[
        int | None, Option("steps of D for one of G, each on a batch of its own", "learning", metavar="K", least=1, games=GAN)
    ] = None
    clip: Annotated[
        float | None, Option("after each step of D, clip its weights to [-C, C]", "learning", metavar="C", above=0, games=GAN)
    ] = None
    smoothing: Annotated[
        float | None, Option("one-sided label smoothing", "learning", metavar="A", least=0, below=1, games=GAN)
    ] = None
    ema: Annotated[
        float | None,
        Option(
            *("sample with an average of G's weights that decays so; 0: none", "learning", "DECAY"), least=0, below=1, games=GAN
        ),
    ] = None
    likelihood: Annotated[
        str | None,
        Option(
            f"of an image given its code: {_one_of(LIKELIHOODS)}", "learning", "NAME", choices=tuple(LIKELIHOODS), games=VAE
        ),
    ] = None
    sigma: Annotated[
        float | None,
        Option(
            "of a gaussian likelihood", "learning", "S", fits=is_sigma, expects=f"a number from 1e-06 to {WIDEST:g}", games=VAE
        ),
    ] = None
    kl_weight: Annotated[
        float | None,
        Option("weight of the KL in the loss; 1: the bound", "learning", metavar="W", least=0, below=1e6, games=VAE),
    ] = None
    kl_warmup: Annotated[
        int | None, Option("steps in which that weight rises from 0", "learning", metavar="STEPS", least=1, games=VAE)
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
        models = models_of(self.game, kind)
        self.model = self.model or models[0]
        for name, option in OPTIONS.items():
            if option.games and self.game not in option.games and getattr(self, name) != option.default:
                raise OptionError(f"{name} is an option of --game {option.games[0]}, and the game is {self.game}: leave it out")
        self._check_classes(dataset)
        if self.precision != "float32" and self.dtype != "float32":
            raise OptionError(f"precision {self.precision} is for float32 networks, and dtype is {self.dtype}: choose one")
        for name in ("lr", "lr_d", "clip"):
            rate, least, most = getattr(self, name), float(np.finfo(self.dtype).tiny), float(np.finfo(self.dtype).max)
            if rate is not None and not least <= rate <= most:
                raise OptionError(f"{name} is {rate}, and {self.dtype} holds {least:.0e} to {most:.0e}: choose one within")
        if self.epochs is not None and self.steps is not None:
            raise OptionError("both epochs and steps are given: choose one")
        self._check_model(models, dataset)
        for name, value in self._recipe(dataset).items():
            if getattr(self, name) is None and not (name == "steps" and self.epochs is not None):
                setattr(self, name, value)
        self._check_penalties()
        if self.batch_size and self.batch_size % self.pack:
            raise OptionError(
                f"batch_size is {self.batch_size}, and D judges {self.pack} samples at once: choose a multiple of that"
            )

    def _check_classes(self, dataset: Dataset) -> None:
        self.class_names = (dataset.class_names or self.class_names) if self.classes else None
        if self.classes and not self.class_names:
            raise OptionError(f"classes is on, and {dataset.name} has no labels: leave it out, or name data that have")
        if self.classes and len(self.class_names or ()) < 2:
            raise OptionError(f"classes is on, and all of {dataset.name} is of one class: leave it out")
        if self.classes and self.model in MODELS and not takes_classes(self.model):
            raise ModelError(f"classes does not apply to the model {self.model_name}: leave it out")
        if self.classes and self.pack > 1:
            raise OptionError(f"pack is {self.pack}, and with classes D judges one sample at a time: leave one of them out")

    def _check_model(self, models: tuple[str, ...], dataset: Dataset) -> None:
        """Raise ModelError for a model that makes no such data, and for options that it does not have."""
        if self.model in MODELS and self.model not in models:
            table = GAMES[self.game][0]
            makes, instead = " and ".join(name for name in table if self.model in table[name]), models[0]
            if not makes:
                raise ModelError(f"{self.model} is no model of the game {self.game}: take {_one_of(models)}")
            raise ModelError(
                f"{self.model} makes {makes}, and {dataset.name} holds {dataset.kind.name}: take the model {instead}"
            )
        for name, option in OPTIONS.items():
            if option.models and self.model not in option.models and getattr(self, name) is not None:
                raise ModelError(f"{name} does not apply to the model {self.model_name}: leave it out")

    def _recipe(self, dataset: Dataset) -> dict[str, Any]:
        """What the model trains with, less what does not go with the options that are given."""
        assert self.model is not None
        kind = dataset.kind.name
        recipe = recipe_of(self.model, kind, self.game)
        if self.loss not in (None, recipe.get("loss")):  # what else the recipe does belongs to its loss
            recipe |= {"penalty": None, "critic_steps": 1, "instance_noise": None}
        if self.penalty or not recipe.get("penalty"):  # and how often they are taken to the penalties
            recipe.pop("penalty_every", None)
        if self.game == "gan" and not has_smoothing(self.loss or recipe["loss"]):
            recipe["smoothing"] = 0.0
        likelihood = self.likelihood or recipe.get("likelihood")
        if likelihood == "bernoulli" and kind != "images":
            raise OptionError(f"likelihood is bernoulli, which is for pixels, and {dataset.name} holds {kind}: take gaussian")
        if likelihood == "bernoulli" and self.sigma is not None:
            raise OptionError(f"sigma is {self.sigma:g}, and a bernoulli likelihood has none: leave it out, or take gaussian")
        if likelihood == "bernoulli":
            del recipe["sigma"]
        return recipe

    def _check_penalties(self) -> None:
        every = self.penalty_every or 1
        if every > 1 and not self.penalty:
            raise OptionError(f"penalty_every is {every}, and there is no penalty: name one, as penalty r1=10")
        heaviest = max((weight for _, weight in filter(None, map(penalty_of, self.penalty or ()))), default=0)
        if heaviest > HEAVIEST / every:
            raise OptionError(
                f"penalty weighs {heaviest:g}, {shorten(every)} times: expected at most {HEAVIEST:g}; choose less"
            )

    def load_data(self, labels: bool = False, progress: bool = False) -> Dataset:
        """The dataset that this configuration names. labels: with the classes, as --classes reads it; progress: whether to show
        a bar where decoding images takes long.
        """
        names = ("fit", "mirror", "memory_share", "length", "alphabet", "hold_out", "rate")
        reading: dict[str, Any] = {name: getattr(self, name) for name in names}
        return load(self.data, self.data_dir, self.image_size, self.classes or labels, progress=progress, **reading)

    def load_other(self, data: str, **reading: Any) -> Dataset:
        """Another dataset in its place, of the same form where it can have that. reading: more options of load."""
        return load(data, image_size=self.image_size, fit=self.fit, memory_share=self.memory_share, **reading)

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
