"""Everything that decides a run, and the check of what a file says of it."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, get_args, get_type_hints

from minigan import models
from minigan.data import Dataset
from minigan.errors import CheckpointError, MiniganError, ModelError, nearest_name
from minigan.network import DTYPES
from minigan.optim import SCHEDULES

LATER_OPTIONS = {"precision"}  # that earlier versions did not have

# What each model trains with unless told otherwise: values that, of many tried, made the best samples in two minutes (mlp and
# points: one) on two cores. Without momentum (β₁ = 0) the two sides circle each other less.
RECIPES: dict[str, dict[str, Any]] = {
    "dcgan": {
        **{"steps": 2200, "batch_size": 64, "lr": 1e-3, "beta1": 0.0, "beta2": 0.99, "ema": 0.998, "smoothing": 0.0},
        **{"latent_dim": 32, "width": 32, "extra_conv": True},
    },
    "mlp": {
        **{"steps": 8000, "batch_size": 64, "lr": 5e-4, "beta1": 0.5, "beta2": 0.999, "ema": 0.999, "smoothing": 0.1},
        **{"latent_dim": 100, "hidden": (256, 256)},
    },
    "points": {
        **{"steps": 5000, "batch_size": 256, "lr": 1e-3, "beta1": 0.0, "beta2": 0.99, "ema": 0.998, "smoothing": 0.0},
        **{"latent_dim": 16, "hidden": (128, 128)},
    },
}


@dataclass
class Config:
    """Everything that decides a run. None stands for the model's own default; `resolve` fills it in.

    Its length is given in steps or in epochs, never in both. sample_every stays None unless given: about 24 pictures a run.
    """

    data: str = "digits"
    data_dir: str | None = None
    image_size: tuple[int, int] | None = None
    model: str | None = None
    backend: str = "auto"
    dtype: str = "float32"
    precision: str = "float32"
    seed: int = 0
    epochs: int | None = None
    steps: int | None = None
    batch_size: int | None = None
    lr: float | None = None
    lr_d: float | None = None
    beta1: float | None = None
    beta2: float | None = None
    schedule: str = "constant"
    smoothing: float | None = None
    saturating: bool = False
    ema: float | None = None
    latent_dim: int | None = None
    width: int | None = None
    extra_conv: bool | None = None
    hidden: tuple[int, ...] | None = None
    log_every: int = 20
    sample_every: int | None = None
    checkpoint_every: int = 500

    def resolve(self, dataset: Dataset) -> None:
        """Fill in what was left open, by model and data. What is filled in already stays, so that twice is once."""
        self.model = self.model or ("dcgan" if dataset.is_images else "mlp")
        self._check_names()
        if self.precision != "float32" and self.dtype != "float32":
            raise MiniganError(f"precision {self.precision} is for float32 networks, and dtype is {self.dtype}: choose one")
        if self.epochs is not None and self.steps is not None:
            raise MiniganError("both epochs and steps are given: choose one")
        recipe = RECIPES[self.model if dataset.is_images else "points"]
        if self.model == "dcgan" and not dataset.is_images:
            raise ModelError(f"dcgan makes images, and {dataset.name} holds points: take the model mlp")
        foreign = {"dcgan": ("hidden",), "mlp": ("width", "extra_conv")}[self.model]
        for name in foreign:
            if getattr(self, name) is not None:
                raise ModelError(f"{name} is no option of the model {self.model}: leave it out")
        for name, value in recipe.items():
            if getattr(self, name) is None and not (name == "steps" and self.epochs is not None):
                setattr(self, name, value)
        self._check_numbers()

    def _check_names(self) -> None:
        for name, known in (("model", models.MODELS), ("dtype", DTYPES), ("schedule", SCHEDULES)):
            value = getattr(self, name)
            if value is not None and value not in known:
                raise MiniganError(f"unknown {name} {value!r}: {nearest_name(value, known)}")

    def _check_numbers(self) -> None:
        counts = ("epochs", "steps", "batch_size", "latent_dim", "width", "log_every", "sample_every", "checkpoint_every")
        for name in counts:
            value = getattr(self, name)
            if value is not None and value < 1:
                raise MiniganError(f"{name} is {value}: expected a whole number from 1 up")
        for name in ("lr", "lr_d"):
            value = getattr(self, name)
            if value is not None and not (0 < value < math.inf):
                raise MiniganError(f"{name} is {value}: expected a learning rate above 0")
        if self.seed < 0:
            raise MiniganError(f"seed is {self.seed}: expected a whole number from 0 up")

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Config:
        """The configuration that to_json gave; what an earlier version had no entry for is as it was then, the default.

        Raises CheckpointError for entries that are unknown or missing or of another type than the field's, MiniganError for
        unknown names and for numbers out of range.
        """
        known = {field.name for field in fields(cls)}
        unknown, missing = sorted(values.keys() - known), sorted(known - values.keys() - LATER_OPTIONS)
        if unknown:
            raise CheckpointError(
                f"the configuration has entries that this version does not know: {', '.join(unknown)}; "
                "remove them, or use the version of minigan that wrote them"
            )
        if missing:
            raise CheckpointError(
                f"the configuration lacks entries: {', '.join(missing)}; put them back, with null for the model's own default"
            )
        pairs: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
        for name, hint in get_type_hints(cls).items():
            if name in pairs and not any(_is_of(pairs[name], kind) for kind in get_args(hint) or (hint,)):
                expected = " or ".join(_KINDS[kind] for kind in get_args(hint) or (hint,))
                raise CheckpointError(f"the configuration's {name} is {values[name]!r}: expected {expected}")
        config = cls(**pairs)
        config._check_names()
        config._check_numbers()
        return config

    def to_json(self) -> dict[str, Any]:
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}


_KINDS: dict[Any, str] = {  # the types of Config's fields, as JSON has them
    str: "a text",
    bool: "true or false",
    int: "a whole number",
    float: "a finite number",
    tuple[int, int]: "a list of two whole numbers",
    tuple[int, ...]: "a list of whole numbers",
    type(None): "null",
}


def _is_of(value: Any, kind: Any) -> bool:
    """Whether a value is of the type of a field; a whole number is one where a float is meant, and true and false are none."""
    if isinstance(value, tuple):
        pair = kind == tuple[int, int] and len(value) == 2
        return (pair or kind == tuple[int, ...]) and all(_is_of(entry, int) for entry in value)
    if kind is float:
        return type(value) in (int, float) and abs(value) <= sys.float_info.max
    return type(value) is kind
