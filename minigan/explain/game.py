"""Which game's step is opened: a small one, trained for a moment, or that of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from minigan import training
from minigan.backends import Array, get_backend
from minigan.data import Batches, Dataset
from minigan.errors import CheckpointError, DataError, DivergenceError
from minigan.explain.history import History, history_of_run, moments_of, small_history, weights_of
from minigan.games import GAN, VAE
from minigan.training import CHECKPOINT, Config, checkpoint
from minigan.training.config import models_of

TRAINED = 400  # steps of a small game before the one that is opened: strokes can be seen by then
TRAINED_OF = {"points": 1500}  # by kind of data, where it takes another number: all modes of ring are there by then
BATCH = 32
# Small enough that every array can be looked at; else as `minigan train` has them. By game and model, as the recipes are.
SMALL: dict[str, dict[str, Any]] = {
    "dcgan": {"width": 8, "latent_dim": 16, "extra_conv": False, "lr": 2e-3},
    "mlp": {"hidden": (32,), "latent_dim": 16, "lr": 2e-3},
    "points": {"hidden": (32, 32), "latent_dim": 2, "lr": 2e-3},
    "wave": {"width": 4, "latent_dim": 16},
    "text": {"width": 8, "latent_dim": 16},
    "vae mlp": {"hidden": (80,), "latent_dim": 8, "lr": 2e-3},
    "vae conv": {"width": 4, "latent_dim": 8, "lr": 5e-3},
    "vae points": {"hidden": (32,), "lr": 2e-3},
}


@dataclass
class Opened:
    """A game in float64, about to take a step on `real` and noise, and in words which one it is.

    noise: z of a GAN, ε of a VAE. has_data: False where the data are gone, so that the game's own samples stand in for the real
    ones. labels: one-hot rows, where the game has classes. history: how the game came here, where that is known.
    """

    game: GAN | VAE
    real: Array
    noise: Array
    about: str
    has_data: bool = True
    labels: Array | None = None
    history: History | None = None


def small_game(config: Config, steps: int | None, progress: Callable[[range], Iterable[int]] = iter) -> Opened:
    """A game of the configuration's kind, SMALL where that leaves it open, after so many steps, which run through `progress`.

    steps: None for those of TRAINED_OF, or TRAINED.

    Raises what Config.resolve and load raise, and DivergenceError if the steps lead to numbers that are not finite.
    """
    backend = get_backend(config.backend)
    dataset = config.load_data()
    steps = TRAINED_OF.get(dataset.kind.name, TRAINED) if steps is None else steps
    model = config.model or models_of(config.game, dataset.kind.name)[0]
    own = {**_small(config.game, model, dataset.kind.name), **_plain(config)}
    size = {name: value for name, value in own.items() if getattr(config, name) is None}
    config = replace(config, model=model, dtype="float64", steps=max(steps, 1), batch_size=config.batch_size or BATCH, **size)
    config.resolve(dataset)
    game: Any = training.build_game(config, dataset.shape, max(steps, 1))
    assert config.batch_size is not None
    batches = Batches(dataset, config.batch_size, backend, "float64", config.seed, config.classes)
    kept, due = {0: weights_of(game)}, set(moments_of(steps))
    for step in progress(range(1, steps + 1)):
        game.step(batches.next(), **batches.labels())
        if step in due:
            kept[step] = weights_of(game)
    if not all(bool(backend.xp.isfinite(net.flat_params).all()) for net in game.networks.values()):
        raise DivergenceError(f"after {_steps(steps)} the parameters are not finite: try a smaller learning rate (--lr)")
    classes = f", {game.classes} classes" if game.classes else ""
    about = f"{config.title} on {config.data}{classes} after {_steps(steps)}, batch {config.batch_size}, seed {config.seed}"
    opened = _about_to_step(game, batches, about)
    opened.history = small_history(game, kept, (opened.real, opened.noise), opened.labels, dataset)
    return opened


def game_of_run(folder: str | Path, backend: str = "auto", batch_size: int | None = None, seed: int = 0) -> Opened:
    """The game of a run folder where its checkpoint left it, optimisers included; the batch and the noise are drawn by seed.

    Where its data are gone, or have another shape now, the game's own samples stand in for them. Raises CheckpointError if
    there is no checkpoint, or if a schedule of epochs cannot be laid out without the data.
    """
    path = Path(folder) / CHECKPOINT
    arrays, info = checkpoint.load(path)
    config = training.config_of_checkpoint(info, folder)
    config = replace(config, backend=backend, dtype="float64", precision="float32", seed=seed)
    shape = tuple(info["shape"])
    dataset = _data_of_run(config, shape)
    game: Any = training.build_game(replace(config, **_plain(config)), shape, _length(config, dataset, info, folder))
    checkpoint.check_state(arrays, game.state_dict(), path, any_precision=True)
    game.load_state_dict(arrays)
    about = f"{folder}: {config.title} on {config.data} after {_steps(info['step'])}"
    if config.instance_noise:  # the page shows D on the very samples
        about += ", without its noise"
    critic_steps = config.critic_steps or 1
    if critic_steps > 1:  # the page shows one step of D; its optimiser counts them all, and its schedule the game's
        optimizer_d = game.optimizers["discriminator"]
        schedule, optimizer_d.schedule = optimizer_d.schedule, lambda step: schedule(step // critic_steps)
        about += f", one of D's {critic_steps} steps"
    if dataset is None:
        count = batch_size or BATCH
        real = game.backend.asarray(game.sample(count, seed), "float64")
        labels = game.backend.asarray(game.one_hot(count), "float64") if game.classes else None
        about = f"{about}, which is not at hand, batch {count}, seed {seed}"
        return Opened(game, real, game.noise(count), about, False, labels, history_of_run(folder))
    changed = "" if dataset.digest_of(config.classes) == info["dataset"] else ", which has changed since"
    batches = Batches(dataset, batch_size or min(BATCH, len(dataset)), game.backend, "float64", seed, config.classes)
    opened = _about_to_step(game, batches, f"{about}{changed}, batch {batches.batch_size}, seed {seed}")
    opened.history = history_of_run(folder)
    return opened


def _small(game: str, model: str, kind: str) -> dict[str, Any]:
    """The sizes of a small game; networks of the user's own have sizes of their own."""
    prefix = "" if game == Config.game else f"{game} "
    return (SMALL.get(prefix + kind) or SMALL.get(prefix + model, {})) if model in models_of(game, kind) else {}


def _plain(config: Config) -> dict[str, Any]:
    """What the page's step is without, where the game has it: D learns once, and from the very samples."""
    plain = {"critic_steps": 1, "instance_noise": 0.0}
    return {name: value for name, value in plain.items() if name in config.description.options}


def _data_of_run(config: Config, shape: tuple[int, ...]) -> Dataset | None:
    """The data of a run; None if they are gone or have another shape now."""
    try:
        dataset = config.load_data()
    except (DataError, OSError):
        return None
    has_classes = not config.classes or dataset.class_names == config.class_names
    return dataset if dataset.shape == shape and has_classes else None


def _length(config: Config, dataset: Dataset | None, info: Mapping[str, Any], folder: str | Path) -> int:
    """Steps of the whole run, for which its schedule was laid out."""
    if config.steps or config.schedule == "constant":
        return config.steps or 1
    assert config.batch_size is not None
    place = info["data"]
    if dataset is not None:
        per_epoch = dataset.epoch_size // config.batch_size
    elif place["epoch"]:
        per_epoch = (info["step"] - place["batch"]) // place["epoch"]
    else:
        raise CheckpointError(
            f"the {config.schedule} schedule of {folder} is laid out in epochs, whose length only its data tell: put back "
            f"{config.data}"
        )
    return max(1, (config.epochs or 1) * per_epoch)


def _steps(count: int) -> str:
    return f"{count:,} step{'' if count == 1 else 's'}"


def _about_to_step(game: GAN | VAE, batches: Batches, about: str) -> Opened:
    return Opened(game, batches.next(), game.noise(batches.batch_size), about, labels=batches.labels().get("labels"))
