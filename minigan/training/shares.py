"""What several ranks ask of a run before its first step: equal shares of each batch, equal data and settings, and a game whose
step on shares is its step on the whole.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from minigan.backends import Array, Backend
from minigan.capture import custom_part, is_builtin, is_unchanged
from minigan.data import Dataset
from minigan.distributed import Communicator
from minigan.errors import ModelError, OptionError
from minigan.games import Game
from minigan.layers import BatchNorm
from minigan.losses import Objective, Penalty
from minigan.training.checkpoint import digest_of

OF_PLACES = {"data", "data_dir", "model", "memory_share"}  # settings that may differ from machine to machine
SAMPLES, VALUES = 4, 3  # of what objectives and penalties of the user's own are tried on
ALIKE = 1e-3  # relative difference that rounding may make


def check_alike(ranks: Communicator, game: Game, dataset: Dataset, settings: Mapping[str, Any]) -> None:
    """Raise RankError, naming the ranks that differ from rank 0 in a version, in the data or in a setting."""
    of_packages = {"the version of minigan": getattr(sys.modules.get("minigan"), "__version__", "")}
    of_packages |= {"the version of NumPy": np.__version__}
    of_packages |= {f"the version of {name}": version for name, version in game.backend.versions.items() if name == "CuPy"}
    ranks.check_same(of_packages, "install the same on all machines")
    ranks.check_same({name: v for name, v in settings.items() if name not in OF_PLACES}, "start all ranks by the same command")
    held = "the digest of the values and labels" if game.classes else "the digest of the values"
    ranks.check_same({held: dataset.digest_of(game.classes > 0)}, f"give all ranks the same {dataset.name}")


def check_same_state(ranks: Communicator, game: Game, step: int, advice: str = "give all ranks one checkpoint") -> None:
    """Raise RankError, naming the ranks, unless all have the same weights and random streams after the same step."""
    if ranks.size == 1:
        return  # without a copy of all weights
    digest = digest_of(game.state_dict(), repr(game.random_state))
    ranks.check_same({"the number of steps": step, "the digest of weights and random streams": digest}, advice)


def check_share(ranks: Communicator, game: Game, batch_size: int) -> None:
    """Raise OptionError unless each rank can have an equal share of a batch, in whole packs; ModelError for a game of which a
    part of the user's own mixes the samples of a batch, in a way that is not known here.
    """
    pack = getattr(game, "pack", 1)
    if batch_size % (ranks.size * pack):
        packs = f", in whole packs of {pack}" if pack > 1 else ""
        unit = ranks.size * pack
        near = [size for size in (batch_size // unit * unit, -(-batch_size // unit) * unit) if size]
        raise OptionError(
            f"batch_size is {batch_size}, and each of {ranks.size} ranks takes an equal share of it{packs}: choose a multiple "
            f"of {unit}, as {' or '.join(map(str, near))}"
        )
    if ranks.size == 1:
        return
    alone = f"start one process, for each of {ranks.size} ranks sees only its share of a batch"
    for layer in (part for net in game.networks.values() for whole in net.layers for part in whole.nested()):
        if layer.cross_sample and not is_builtin(type(layer)):
            raise ModelError(
                f"{layer.label} may mix the samples of a batch: say cross_sample = False if it mixes none, or {alone}"
            )
    for part in (getattr(game, "objective", None), *getattr(game, "penalties", ())):
        if part is not None and not is_builtin(type(part)) and _mixes(part, game.backend):
            raise ModelError(f"{part!r} is no mean over the samples of a batch: {alone}")


def _mixes(part: Any, be: Backend) -> bool:
    """Whether an objective or a penalty of two halves of a batch is not, on average, that of the whole."""
    rng = np.random.default_rng(0)
    if isinstance(part, Penalty):
        return _differs(be, lambda g: part.value_and_grad(be, g), rng.standard_normal((1, SAMPLES, VALUES)))
    if not isinstance(part, Objective):
        return False
    s = rng.standard_normal((2, SAMPLES, 1))

    def discriminator(s_real: Array, s_fake: Array) -> tuple[Array, ...]:
        loss, ds = part.discriminator(s_real, s_fake)
        return (loss, *ds)

    return _differs(be, discriminator, s) or _differs(be, lambda s_real, s_fake: part.generator(s_fake, s_real), s)


def _differs(be: Backend, function: Callable[..., tuple[Array, ...]], batches: np.ndarray) -> bool:
    """Whether a value and its gradients, by sample, of halves of the batches are other ones than those of the whole."""
    middle = batches.shape[1] // 2
    whole, *halves = (
        [be.to_numpy(x) for x in function(*(be.asarray(batch, "float64") for batch in part))]
        for part in (batches, batches[:, :middle], batches[:, middle:])
    )
    values = np.mean([half[0] for half in halves], axis=0), *map(np.concatenate, zip(*(h[1:] for h in halves), strict=True))
    scales = 1, *(2 for _ in whole[1:])  # a gradient of a mean over half as many samples is twice as large
    return any(
        not np.allclose(ours, scale * theirs, ALIKE, ALIKE) for ours, theirs, scale in zip(values, whole, scales, strict=True)
    )


def processes_for(game: Game, batch_size: int) -> int:
    """How many processes, copies of this one, are best to share each batch of a run.

    One alone where a part of the game is of the user's own, which may look at the whole batch, or keep what it sees in a place
    that no other process has; and where a layer compares the samples of a group.
    """
    parts = [getattr(game, "objective", None), *getattr(game, "penalties", ()), *game.networks.values()]
    layers = [layer for net in game.networks.values() for layer in net.layers]
    single = [part for layer in layers for part in layer.nested() if not part.layers]
    if (
        not all(is_unchanged(part) for part in (game, *parts) if part is not None)
        or custom_part(game)
        or any(net.watch for net in game.networks.values())
        or any(part.cross_sample and not isinstance(part, BatchNorm) for part in single)
    ):
        return 1
    return game.backend.processes(layers, batch_size // getattr(game, "pack", 1))
