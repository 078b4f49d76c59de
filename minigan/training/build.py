"""The game that a configuration describes: a named model's, or one of networks that a user's file builds."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from minigan.backends import Backend, get_backend
from minigan.data import Dataset, Kind
from minigan.data.kinds import kind_from_json
from minigan.errors import CheckpointError, MiniganError, ModelError, UserFileError, shorten
from minigan.games import Game
from minigan.network import Sequential
from minigan.training import checkpoint
from minigan.training.config import OPTIONS, Config
from minigan.training.description import Networks
from minigan.training.folder import CHECKPOINT, refuse_python_run
from minigan.user_code import describe_error, digest_of, function_of, imports_beside, split_function

COUNTS = ("no", "one", "two", "three")
GIVEN = ("image_shape", "latent_dim", "backend", "dtype", "seed", "classes")  # what the function of a user's file may take


def build_game(config: Config, shape: tuple[int, ...], steps: int) -> Game:
    """The game that a resolved configuration describes, for samples of this shape and a run of so many steps.

    Where the networks come from a user's file, what they decide is noted in the configuration: its digest and latent_dim.
    Raises what the model raises, UserFileError for a mistake in a user's file, CheckpointError if the file is not the one that
    the configuration was made with.
    """
    backend = get_backend(config.backend, config.precision)
    networks = (_own_networks if config.is_built_in else _networks_of_user)(config, shape, backend)
    return config.description.build(networks, config, steps)


def _own_networks(config: Config, shape: tuple[int, ...], backend: Backend) -> Networks:
    """The pair of the model that the configuration names, told of it what that pair can be told."""
    pair = config.description.pairs[config.model or ""]
    given = {name: getattr(config, name) for name, option in OPTIONS.items() if config.model in option.models}
    given |= {"latent_dim": config.latent_dim, "dtype": config.dtype, "seed": config.seed, "pack": config.pack}
    given |= {"backend": backend, "classes": len(config.class_names or ())}
    given["bounded"] = len(shape) == 3 and config.sigma is not None  # the mean of an image's Gaussian likelihood
    wanted = inspect.signature(pair).parameters
    return pair(shape, **{name: value for name, value in given.items() if name in wanted})


class Loaded(NamedTuple):
    """A trained game, the configuration that built it, and what its samples are."""

    game: Game
    config: Config
    kind: Kind


def load_game(folder: str | Path, backend: str = "auto") -> Loaded:
    """The trained game of a run folder, to sample from, on any backend.

    Raises CheckpointError if there is none, or if its networks came from a user's file that is gone or has changed: weights
    that still fit might then make other images.
    """
    path = Path(folder) / CHECKPOINT
    arrays, info = checkpoint.load(path)
    config = config_of_checkpoint(info, folder)
    config.backend, config.precision = backend, "float32"
    game = build_game(config, tuple(info["shape"]), steps=1)  # its optimisers will take no step
    checkpoint.check_state(arrays, game.state_dict(), path)
    game.load_state_dict(arrays)
    return Loaded(game, config, kind_from_json(info.get("kind"), tuple(info["shape"])))


def config_of_checkpoint(info: Mapping[str, Any], folder: str | Path) -> Config:
    """The configuration in a checkpoint, filled in. Raises CheckpointError if no networks can be built from it."""
    refuse_python_run(info["config"], folder)
    try:
        config = Config.from_json(info["config"])
        shape = tuple(info["shape"])
        kind = kind_from_json(info.get("kind"), shape)
        config.resolve(Dataset(config.data, kind.no_values(shape), kind=kind))
    except MiniganError as error:
        raise CheckpointError(f"{Path(folder) / CHECKPOINT}: {error}") from None
    return config


# -- networks of a user's file -------------------------------------------------------------------------------------------


def _networks_of_user(config: Config, shape: tuple[int, ...], backend: Backend) -> Networks:
    """The networks of the game from the function that config.model names as FILE.py:function."""
    path, name = split_function(config.model or "")
    config.model_digest = _checked_digest(path, config.model_digest)
    function = function_of(path, name)
    where, classes = f"{path}: {name}", len(config.class_names or ())
    known = {"image_shape": shape, "backend": backend, "dtype": config.dtype, "seed": config.seed, "classes": classes}
    played = config.description
    usual = played.recipes[played.usual[config.kind or "images"]]["latent_dim"]
    expected = f"expected function({', '.join(GIVEN)}) -> ({', '.join(played.networks)}), or of fewer of these"
    arguments = _arguments(function, {**known, "latent_dim": config.latent_dim}, {"latent_dim": usual}, where, expected)
    try:
        with imports_beside(path):
            made = function(**arguments)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # also SystemExit, and what a user's file derives from BaseException
        raise UserFileError(f"{where} fails: {describe_error(error, path)}") from None
    _check_networks(made, config, shape, backend, where)
    config.latent_dim = made[played.sampler].input_shape[0] - classes
    return made


@contextmanager
def errors_of_user_file(config: Config) -> Iterator[None]:
    """Turn what layers of a user's file raise as they run into UserFileError, which names the file and the line."""
    try:
        yield
    except (MiniganError, MemoryError, OSError):
        raise
    except Exception as error:
        if config.is_built_in:
            raise
        path, _ = split_function(config.model or "")
        raise UserFileError(f"{path}: the networks fail: {describe_error(error, path)}") from None


def _checked_digest(path: Path, before: str | None) -> str:
    """The file's digest; before: the one that it had when the run began, None for a new run."""
    try:
        digest = digest_of(path)
    except UserFileError as error:
        if before is None:
            raise
        raise CheckpointError(f"the networks of this run were built by a file that is gone: put it back ({error})") from None
    if before not in (None, digest):
        raise CheckpointError(
            f"{path}, which built the networks of this run, has changed since it began: put back the file as it was, "
            "or begin a new run with the new one"
        )
    return digest


def _arguments(
    function: Callable[..., Any], known: dict[str, Any], usual: dict[str, Any], where: str, expected: str
) -> dict[str, Any]:
    """Those of the known arguments that the function's signature names.

    usual: in place of a known None where the function has no default of its own.
    Raises UserFileError if it needs others.
    """
    try:
        wanted = inspect.signature(function).parameters
    except (TypeError, ValueError):
        raise UserFileError(f"{where} has no signature: {expected}") from None
    arguments = {}
    for name, parameter in wanted.items():
        is_named = parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        is_needed = parameter.default is parameter.empty and parameter.kind not in (
            parameter.VAR_POSITIONAL,
            parameter.VAR_KEYWORD,
        )
        if is_named and name in known and (known[name] is not None or is_needed):
            arguments[name] = usual[name] if known[name] is None else known[name]
        elif is_needed:
            raise UserFileError(f"{where} needs {name!r}, which minigan does not give: {expected}; give it a default")
    return arguments


def _check_networks(made: Any, config: Config, shape: tuple[int, ...], backend: Backend, where: str) -> None:
    """Raise ModelError unless a user's function returned networks for the run's samples, latent_dim, backend and dtype."""
    played, name = config.description, config.description.sampler_name
    count = len(played.networks)
    if not (isinstance(made, (tuple, list)) and len(made) == count and all(isinstance(net, Sequential) for net in made)):
        wanted = f"({', '.join(played.networks)}), {COUNTS[count]} minigan.Sequential"
        raise ModelError(f"{where} must return {wanted}; it returns {shorten(made)}")
    sampler, classes = made[played.sampler], len(config.class_names or ())
    if len(sampler.input_shape) != 1:
        raise ModelError(f"{where}: {name} must take latent vectors, shape (latent,); it takes {sampler.input_shape}")
    if sampler.output_shape != shape:
        raise ModelError(f"{where}: {name} makes {sampler.output_shape}, and the data are {shape}: build it by image_shape")
    played.check(tuple(made), classes, where)
    if config.latent_dim is not None and sampler.input_shape != (config.latent_dim + classes,):
        beside = f" beside {classes} classes" if classes else ""
        raise ModelError(
            f"{where}: {name} takes {sampler.input_shape}, and latent_dim is {config.latent_dim}{beside}: leave that out, or "
            f"build {name} by it"
        )
    if sampler.backend is not backend or sampler.dtype != config.dtype:
        built, wanted = f"{sampler.dtype} on {sampler.backend.name}", f"{config.dtype} on {backend.name}"
        raise ModelError(f"{where} builds {name} in {built}, the run is in {wanted}: hand backend and dtype on to Sequential")
