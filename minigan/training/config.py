"""What decides a run: its options, what its model trains with, and the check of what a file says of it."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import numpy as np

from minigan.data import DATASETS, Dataset, load
from minigan.errors import CheckpointError, ModelError, OptionError, shorten
from minigan.losses.penalty import HEAVIEST
from minigan.training.description import Description
from minigan.training.games import GAMES, games_with, model_names
from minigan.training.options import Option, declared_options
from minigan.training.settings import Settings, has_smoothing, one_of, penalty_of
from minigan.user_code import FUNCTION_IN_FILE, ask_for_function, names_function, split_function


def models_of(game: str, kind: str) -> tuple[str, ...]:
    """The models of a game that make data of a kind. Raises ModelError where there are none."""
    models = GAMES[game].models
    if kind not in models:
        raise ModelError(f"the game {game} makes {one_of(models)}, and the data are {kind}: take another --game, or other data")
    return models[kind]


def recipe_of(model: str, kind: str, game: str = "gan") -> dict[str, Any]:
    """What a model trains with on data of a kind. Networks of the user's own have sizes of their own."""
    played, is_built_in = GAMES[game], model in model_names()
    own = model if kind == "images" and is_built_in else f"{kind} {model}"
    recipe = played.recipes.get(own) or played.recipes[played.usual[kind]]
    return {name: value for name, value in recipe.items() if is_built_in or OPTIONS[name].group != "model"}


@dataclass
class Config(Settings):
    """Everything that decides a run. None stands for the model's own default; `resolve` fills it in."""

    game: Annotated[
        str,
        Option(
            f"{one_of(GAMES)}: {', or '.join(game.about for game in GAMES.values())}",
            *("model", "NAME"),
            choices=GAMES,
        ),
    ] = "gan"

    model: Annotated[
        str | None,
        Option(
            f"{', '.join(model_names())}, or networks of your own, which learn as dcgan does: a function(image_shape, "
            "latent_dim, backend, dtype, seed, classes) -> (G, D), or of fewer of these; of a vae (encoder, decoder). A run "
            "notices when that file changes, but not when a file that it imports does. Default: dcgan for images, mlp for "
            "points and a vae, text for text, wave for sound",
            *("model", f"NAME|{FUNCTION_IN_FILE}"),
            choices=model_names,
            other=FUNCTION_IN_FILE,
            is_other=names_function,
            other_hint=ask_for_function,
        ),
    ] = None

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
            games = games_with(name)
            if games and self.game not in games and getattr(self, name) != option.default:
                raise OptionError(f"{name} is an option of --game {games[0]}, and the game is {self.game}: leave it out")
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
        if self.classes and self.is_built_in and not self._takes_classes():
            raise ModelError(f"classes does not apply to the model {self.model_name}: leave it out")
        if self.classes and self.pack > 1:
            raise OptionError(f"pack is {self.pack}, and with classes D judges one sample at a time: leave one of them out")

    def _takes_classes(self) -> bool:
        pair = self.description.pairs.get(self.model or "")
        return pair is not None and "classes" in inspect.signature(pair).parameters

    def _check_model(self, models: tuple[str, ...], dataset: Dataset) -> None:
        """Raise ModelError for a model that makes no such data, and for options that it does not have."""
        if self.is_built_in and self.model not in models:
            table = self.description.models
            makes, instead = " and ".join(name for name in table if self.model in table[name]), models[0]
            if not makes:
                raise ModelError(f"{self.model} is no model of the game {self.game}: take {one_of(models)}")
            raise ModelError(
                f"{self.model} makes {makes}, and {dataset.name} holds {dataset.kind.name}: take the model {instead}"
            )
        for name, option in OPTIONS.items():
            if option.models and self.model not in option.models and getattr(self, name) is not None:
                raise ModelError(f"{name} does not apply to the model {self.model_name}: leave it out")

    def _recipe(self, dataset: Dataset) -> dict[str, Any]:
        """What the model trains with, less what does not go with the options that are given."""
        recipe, kind = self.recipe, dataset.kind.name
        if self.loss not in (None, recipe.get("loss")):  # what else the recipe does belongs to its loss
            recipe |= {"penalty": None, "critic_steps": 1, "instance_noise": None}
        if self.penalty or not recipe.get("penalty"):  # and how often they are taken to the penalties
            recipe.pop("penalty_every", None)
        if "smoothing" in recipe and not has_smoothing(self.loss or recipe["loss"]):
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
    def description(self) -> Description:
        """What is told of its game."""
        return GAMES[self.game]

    @property
    def recipe(self) -> dict[str, Any]:
        kind = self.kind or "images"
        return recipe_of(self.model or models_of(self.game, kind)[0], kind, self.game)

    @property
    def title(self) -> str:
        """The model and, where it is not the usual one, its game."""
        return with_game(self.game, self.model)

    def own_options(self) -> dict[str, Any]:
        """The options that make this configuration, without those that only say how a run is watched."""
        recipe, own = self.recipe, {}
        for name, option in OPTIONS.items():
            value, usual = getattr(self, name), recipe.get(name, option.default)
            if name == "model":
                usual = models_of(self.game, self.kind or "images")[0]
            elif name == "smoothing" and not has_smoothing(self.loss):
                usual = 0.0
            elif name == "steps" and self.epochs is not None:
                usual = None
            elif name == "penalty_every":
                usual = usual or 1
            if value not in (None, usual) and option.on_command_line and (option.group != "running" or name == "precision"):
                own[name] = value
        return own

    @property
    def is_built_in(self) -> bool:
        """True if the model is one of minigan's own, False for a function in a user's file."""
        return self.model is None or self.model in model_names()

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


def with_game(game: str, model: str | None) -> str:
    """A model's name, with that of its game before it where that is not the usual one: "mlp", "vae mlp"."""
    return str(model) if game == OPTIONS["game"].default else f"{game} {model}"


# What each model of each game trains with, by that name.
RECIPES = {with_game(name, model): recipe for name, game in GAMES.items() for model, recipe in game.recipes.items()}


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
