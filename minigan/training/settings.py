"""Every option of a run, declared: its type, its range, its help."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any

from minigan.backends import BACKENDS, PRECISIONS
from minigan.data import DATASETS, FITS, MEMORY_SHARE, parse_size
from minigan.data.text import check_alphabet
from minigan.losses import LIKELIHOODS, OBJECTIVES, PENALTIES
from minigan.losses.penalty import HEAVIEST
from minigan.losses.variational import WIDEST
from minigan.models.dcgan import UPSAMPLINGS
from minigan.optim import SCHEDULES
from minigan.sizes import DTYPES
from minigan.training.options import Option

LOG_EVERY, CHECKPOINT_EVERY = 20, 500  # steps
FITS_IN_WORDS = "; ".join(f"{name}: {words}" for name, words in FITS.items())


def one_of(names: Iterable[str]) -> str:
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


@dataclass
class Settings:
    """Every option of a run. None stands for the model's own default, which `Config.resolve` fills in.

    This is the one place where an option of `minigan train` is declared: the command line, its help, and the check of what
    stands in a config.json follow from the fields, in this order. Which of them a game has, its description says.
    """

    data: Annotated[
        str, Option(f"{', '.join(DATASETS)}, or a .npy, .npz, IDX or text file, or a folder of images or WAV files", "data")
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

    game: str = "gan"  # its names and those of models: see Config
    kind: Annotated[str | None, Option("what the data are, as images or sound", on_command_line=False)] = None
    model: str | None = None
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
    pack: Annotated[int, Option("samples that D judges at once, side by side as channels", "model", metavar="M", least=1)] = 1
    classes: Annotated[
        bool,
        Option("learn each class of the data by its label, so that one may ask for it: sample RUN --class 7", "model"),
    ] = False
    class_names: Annotated[tuple[str, ...] | None, Option("of the classes learned", on_command_line=False)] = None
    dtype: Annotated[str, Option(one_of(DTYPES), "model", metavar="NAME", choices=DTYPES)] = "float32"

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
        str, Option(f"of the learning rate: {one_of(SCHEDULES)}", "learning", metavar="NAME", choices=tuple(SCHEDULES))
    ] = "constant"
    loss: Annotated[
        str | None,
        Option(f"what G and D minimise: {one_of(OBJECTIVES)}", "learning", metavar="NAME", choices=tuple(OBJECTIVES)),
    ] = None
    penalty: Annotated[
        tuple[str, ...] | None,
        Option(
            f"on D's gradient: {one_of(PENALTIES)}; may be given several times",
            *("learning", "NAME=WEIGHT"),
            fits=is_penalty,
            expects=f"NAME=WEIGHT, as r1=10, with {one_of(PENALTIES)} and a weight above 0 and up to {HEAVIEST:g}",
        ),
    ] = None
    penalty_every: Annotated[
        int | None,
        Option(
            "steps from one with penalties to the next, 1 unless said otherwise; they weigh as much more",
            *("learning", "K"),
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
        Option(*("sample with an average of G's weights that decays so; 0: none", "learning", "DECAY"), least=0, below=1),
    ] = None
    likelihood: Annotated[
        str | None,
        Option(f"of an image given its code: {one_of(LIKELIHOODS)}", "learning", "NAME", choices=tuple(LIKELIHOODS)),
    ] = None
    sigma: Annotated[
        float | None,
        Option("of a gaussian likelihood", "learning", "S", fits=is_sigma, expects=f"a number from 1e-06 to {WIDEST:g}"),
    ] = None
    kl_weight: Annotated[
        float | None,
        Option("weight of the KL in the loss; 1: the bound", "learning", metavar="W", least=0, below=1e6),
    ] = None
    kl_warmup: Annotated[
        int | None, Option("steps in which that weight rises from 0", "learning", metavar="STEPS", least=1)
    ] = None
    seed: Annotated[int, Option("decides everything random", "learning", metavar="N", least=0)] = 0

    backend: Annotated[
        str,
        Option(
            f"{one_of((*BACKENDS, 'auto'))}: cupy if a GPU answers, else numpy",
            "running",
            metavar="NAME",
            choices=(*BACKENDS, "auto"),
        ),
    ] = "auto"
    precision: Annotated[
        str,
        Option(
            f"of products: {one_of(PRECISIONS)}, which is quicker on a GPU and has 10 bits of mantissa",
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

    @property
    def recipe(self) -> dict[str, Any]:
        """What the model trains with unless told otherwise."""
        raise NotImplementedError(f"{type(self).__name__} has no recipe")
