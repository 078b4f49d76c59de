"""What to try against each trouble of a run, as options of `minigan train` or in words."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minigan.data.synthetic import MODES
from minigan.training.settings import Settings, has_smoothing, penalty_of

HEAVY, USUAL_WEIGHT = 1e4, 10.0  # of a penalty: beyond all that has been of use, and what is taken in its place


@dataclass(frozen=True)
class Advice:
    """changes: of the configuration, by name; reason: what they are good for. own: the options that the run was given."""

    changes: Mapping[str, Any]
    reason: str
    own: Mapping[str, Any] = field(default_factory=dict)

    @property
    def options(self) -> str:
        """The changes as options of `minigan train`."""
        given = [_option(name, value) for name, value in self.changes.items() if not _is_left_out(value)]
        left = [_option(name, value) for name, value in self.changes.items() if _is_left_out(value)]
        return " and ".join(part for part in (" ".join(given), ", ".join(left)) if part)

    @property
    def command(self) -> str:
        """The whole command, which can be run as it stands: it goes on with the run, or is a new one with these changes."""
        if self.changes.get("resume"):
            return f"minigan train {self.options}"
        replaced = {"steps", "epochs"} if self.changes.keys() & {"steps", "epochs"} else set()
        values = {name: value for name, value in self.own.items() if name not in replaced} | dict(self.changes)
        return " ".join(["minigan train", *(_option(name, value) for name, value in values.items() if value not in (None, ()))])


def _is_left_out(value: Any) -> bool:
    return value is None or value is False


def _option(name: str, value: Any) -> str:
    option = "--" + name.replace("_", "-")
    if value is False:
        return f"--no-{option[2:]}"
    if _is_left_out(value):
        return f"leave out {option}"
    if value is True:
        return option
    if name == "image_size":
        return f"{option} {'x'.join(map(str, value))}"
    values = value if isinstance(value, tuple) else (value,)
    return " ".join([option, *(f"{v:g}" if isinstance(v, float) else shlex.quote(str(v)) for v in values)])


def settings_of(config: Settings) -> dict[str, Any]:
    """The recipe of this kind of model, and what the run has in place of it."""
    recipe = config.recipe
    own = {name: getattr(config, name) for name in recipe if getattr(config, name) is not None}
    return {"recipe": recipe, **recipe, **own}


def go_on(config: Settings, folder: str, last: int, epoch: float, reason: str, least: int = 0) -> Advice:
    """To go on with the run, to the end that it has or, where that is reached or before the step `least`, to a later one.

    last, epoch: of the run's last row.
    """
    changes: dict[str, Any] = {"resume": True, "out": folder}
    longer: dict[str, Any] = {}
    if config.steps and (last >= config.steps or config.steps < least):
        longer = {"steps": max(least, 2 * config.steps)}
    elif config.epochs and epoch + 1 >= config.epochs:
        longer = {"epochs": 2 * config.epochs}
    if longer and config.schedule != "constant":
        length = f"{config.steps:,} steps" if config.steps else f"{config.epochs:,} epochs"
        reason = f"in a new run, for the {config.schedule} schedule of this one was laid out for {length}; {reason}"
        return Advice(longer, reason)
    return Advice({**changes, **longer}, reason)


def _fraction(rate: float, of: int) -> float:
    """rate / of in the six digits of a command that names it, so that the command makes the very run."""
    return float(f"{rate / of:g}")


def usual_rate(config: Settings) -> Advice:
    """The recipe's learning rate, or a tenth of the run's where that is no higher."""
    settings = settings_of(config)
    lr, usual = settings["lr"], settings["recipe"]["lr"]
    reason = f"this run had {lr:g}, and {usual:g} is what the model trains with by default"
    return Advice({"lr": usual if lr > 2 * usual else _fraction(lr, 10)}, reason)


def shorter_steps(config: Settings) -> tuple[Advice, ...]:
    settings = settings_of(config)
    lr, usual = settings["lr"], settings["recipe"]["lr"]
    changes: dict[str, Any] = (
        {"lr": usual} if lr > 2 * usual else {} if config.lr_d and config.lr_d > 2 * lr else {"lr": _fraction(lr, 10)}
    )
    if config.lr_d:
        changes["lr_d"] = None
    used = " and ".join(f"{value:g}" for value in (lr, config.lr_d) if value)
    rates = Advice(changes, f"this run had {used}, and {usual:g} is what the model trains with by default")
    return (*_excesses(config), rates)


def _excesses(config: Settings) -> list[Advice]:
    """What of the penalties and the noise is so large that any learning rate is too high for it."""
    given = [found for found in map(penalty_of, config.penalty or ()) if found]
    heaviest = (config.penalty_every or 1) * max((weight for _, weight in given), default=0.0)
    advice = []
    if heaviest > HEAVY:
        lighter = tuple(f"{name}={min(weight, USUAL_WEIGHT):g}" for name, weight in given)
        changes: dict[str, Any] = {"penalty": lighter, **({"penalty_every": 1} if (config.penalty_every or 1) > 1 else {})}
        advice.append(Advice(changes, f"this run's weighed up to {heaviest:g}, and 0.1 to 10 are usual"))
    if config.instance_noise and config.instance_noise > 1:
        advice.append(Advice({"instance_noise": 0.1}, f"this run had {config.instance_noise:g}, which hides the data"))
    return advice


def weaker_d(config: Settings) -> tuple[Advice, ...]:
    settings = settings_of(config)
    lr, usual = settings["lr"], settings["recipe"]["lr"]
    advice = []
    rates: dict[str, Any] = {} if usual / 2 <= lr <= 2 * usual else {"lr": usual}
    if config.lr_d and config.lr_d > 2 * lr:
        rates["lr_d"] = None
        reason = f"D learns {config.lr_d / lr:.3g} times as fast as G, at {config.lr_d:g} against {lr:g}"
    else:
        reason = f"G learns at {lr:g}, and {usual:g} is what the model trains with by default"
    if rates:
        advice.append(Advice(rates, reason))
    if config.loss == "saturating":
        advice.append(Advice({"loss": "non-saturating"}, "−log D(G(z)) is steepest where D rejects what G makes"))
    if not rates:
        advice.append(Advice({"lr_d": _fraction(config.lr_d or lr, 4)}, "a slower D"))
    if not settings["smoothing"] and has_smoothing(config.loss):
        advice.append(Advice({"smoothing": 0.1}, "D then aims at 0.9 for real samples, which keeps it from being sure"))
    return (*advice, *_flat_d(config))


def _flat_d(config: Settings) -> list[Advice]:
    """R1, whose weight depends on the unit of the data: on points of radius 1 and on letters, 0.1 was enough, and 10 blurred
    the modes.
    """
    if config.penalty:
        return []
    weight = "r1=0.1" if _is_points(config) or config.kind == "text" else "r1=10"
    return [Advice({"penalty": (weight,)}, "D's slope at the data then stays small, and G is not driven from mode to mode")]


def _is_points(config: Settings) -> bool:
    return config.data in MODES


def stronger_d(config: Settings) -> tuple[Advice, ...]:
    settings = settings_of(config)
    lr, usual = settings["lr"], settings["recipe"]["lr"]
    rates: dict[str, Any] = {} if lr <= 2 * usual else {"lr": usual}
    if config.lr_d and config.lr_d < lr:
        rates["lr_d"] = None
        reason = f"D learns {config.lr_d / lr:.2g} times as fast as G, at {config.lr_d:g} against {lr:g}"
    else:
        reason = f"G learns at {lr:g}, and {usual:g} is what the model trains with by default"
    advice = [Advice(rates, reason)] if rates else [Advice({"lr_d": 4 * (config.lr_d or lr)}, "a faster D")]
    if settings["smoothing"]:
        advice.append(Advice({"smoothing": 0.0}, f"D then aims at 1 for real samples, not at {1 - settings['smoothing']:g}"))
    return tuple(advice)


def more_diversity(config: Settings) -> tuple[Advice, ...]:
    settings = settings_of(config)
    recipe, lr, batch = settings["recipe"], settings["lr"], settings["batch_size"]
    advice = []
    rates: dict[str, Any] = {}
    if settings["beta1"] > recipe["beta1"]:
        rates["beta1"] = 0.0
    if lr > 2 * recipe["lr"]:
        rates["lr"] = recipe["lr"]
    if config.lr_d and not lr / 2 <= config.lr_d <= 2 * lr:
        rates["lr_d"] = None
    if rates:
        had = ", ".join(f"{name.replace('_', '-')} {settings.get(name) or getattr(config, name):g}" for name in rates)
        advice.append(
            Advice(rates, f"this run had {had}: where the two sides overshoot, they chase each other from mode to mode")
        )
    advice += _larger_networks(settings)
    advice += _flat_d(config) if _is_points(config) else _paired(config, settings)
    if config.pack == 1 and not batch % 2:
        advice.append(Advice({"pack": 2}, "D judges two samples at once, and sees that those of G are too much alike"))
    advice.append(Advice({"batch_size": 2 * batch}, "D sees more of what G makes at a time"))
    if not rates:
        advice.append(Advice({"lr": lr / 2}, f"this run had {lr:g}"))
    return tuple(advice)


def _paired(config: Settings, settings: Mapping[str, Any]) -> list[Advice]:
    """R3GAN's loss. Of dense games on digits of 12x12 pixels with β₁ = 0.9, which made 2 or 3 digits, it made 10 in each."""
    if config.penalty or not has_smoothing(config.loss):
        return []
    changes: dict[str, Any] = {"loss": "relativistic", "penalty": ("r1=1", "r2=1")}
    if settings["smoothing"]:
        changes["smoothing"] = 0.0  # which the recipe leaves out, but not where the option was named
    return [Advice(changes, "each real sample then pulls at a generated one of its own, so no mode can be left out for good")]


def _larger_networks(settings: Mapping[str, Any]) -> list[Advice]:
    """The recipe's sizes, where the run had smaller ones."""
    recipe = settings["recipe"]
    return [
        Advice({name: recipe[name]}, f"this run had {_option(name, settings[name]).partition(' ')[2]}")
        for name in ("width", "hidden", "latent_dim")
        if name in recipe and np.max(settings[name], initial=0) < np.max(recipe[name])
    ]


def closer_to_data(config: Settings) -> tuple[Advice, ...]:
    settings = settings_of(config)
    advice, lr, usual = _larger_networks(settings), settings["lr"], settings["recipe"]["lr"]
    if lr > usual:
        advice.append(Advice({"lr": usual}, f"this run had {lr:g}, and {usual:g} is what the model trains with by default"))
    if config.schedule == "constant":
        advice.append(Advice({"schedule": "linear"}, "in a new run: with ever shorter steps samples settle on the data"))
    return tuple(advice)


IN_WORDS = {  # what helps against the troubles that games share, where the run's options are not known
    "learning rate": ("smaller learning rates, ten times smaller where nothing else is known",),
    "unlike": ("larger networks", "a learning rate that falls towards the end"),
    "incomplete": ("larger networks", "a larger batch: D sees more of what G makes at a time"),
}

SOURCES = {  # on these troubles
    "learning rate": (
        "Radford et al. 2015 (arXiv:1511.06434), section 4: 0.001 was too high for their networks, 0.0002 was not",
        "Mescheder et al. 2018 (arXiv:1801.04406), section 2: when alternating gradient descent converges",
    ),
    "unlike": (
        "Kynkäänniemi et al. 2019 (arXiv:1904.06991), section 2: the share of samples that resemble the data",
        "Naeem et al. 2020 (arXiv:2002.09797), section 3: the share of the data that samples resemble",
        "Lin et al. 2018 (arXiv:1712.04086), section 4.1: modes reached and samples of high quality",
    ),
}
