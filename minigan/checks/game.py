"""A whole game proved: the gradients with which its own step moves each network, against differences of its own losses."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import numpy as np

from minigan.backends import Array
from minigan.checks.differences import Target, compare
from minigan.checks.report import TOLERANCE, Report, Row
from minigan.errors import OptionError
from minigan.games import Game
from minigan.layers import Layer
from minigan.network import Sequential, Watcher
from minigan.optim import Optimizer


class StillOptimizer(Optimizer):
    """Moves nothing, and keeps a copy of the gradients with which it was to move, for each update."""

    def __init__(self, net: Sequential) -> None:
        super().__init__(lr=1.0)
        self.seen: list[Array] = []
        self.attach(net)

    def scalars(self, lr: float, step: int) -> dict[str, float]:
        return {}

    def apply(self, net: Sequential) -> None:  # type: ignore[override]
        self.seen.append(net.flat_grads.copy())


def still(game: Game) -> Any:
    """A copy of this very game in float64, of the same class and with the same objective, whose optimisers do not move.

    Its networks are copies; its own random streams are the game's.
    """
    twins: dict[int, Any] = {}

    def twin_of(value: Any) -> Any:
        if isinstance(value, Sequential):
            return twins.setdefault(id(value), value.clone(dtype="float64"))
        if isinstance(value, Optimizer):
            return twins.setdefault(id(value), StillOptimizer(twin_of(net_of[id(value)])))
        if isinstance(value, dict):
            return {key: twin_of(part) for key, part in value.items()}
        return type(value)(map(twin_of, value)) if type(value) in (list, tuple) else value

    net_of = {id(optimizer): game.networks[name] for name, optimizer in game.optimizers.items()}
    twin = copy.copy(game)
    for name, value in vars(game).items():
        if not isinstance(value, Optimizer) or id(value) in net_of:
            setattr(twin, name, twin_of(value))
    return twin


@contextmanager
def forward_only(game: Game) -> Iterator[None]:
    """Within it, backward passes of the game's networks do no work: they return zeros, and write no gradients."""

    def zeros(
        net: Sequential, dy: Array, caches: Any, grads: Any = None, input_grad: bool = True, dys: list[Array] | None = None
    ) -> Array | None:
        if dys is not None:
            dys += [net.backend.zeros((len(dy), *layer.output_shape), net.dtype) for layer in net.layers]  # type: ignore[misc]
        return net.backend.zeros((len(dy), *net.input_shape), net.dtype) if input_grad else None

    def zeros_each(net: Sequential, dys: Any, caches: Any, grads: Any = None, input_grad: bool = True) -> Any:
        return tuple(zeros(net, dy, caches, grads, input_grad) for dy in dys)

    for net in game.networks.values():
        net.backward = partial(zeros, net)  # type: ignore[method-assign]
        net.backward_each = partial(zeros_each, net)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for net in game.networks.values():
            del net.backward, net.backward_each


def check_game(
    game: Game,
    real: Any,
    *,
    mode: str = "full",
    max_entries: int | None = None,
    tolerance: float = TOLERANCE,
    seed: int = 0,
    name: str = "game",
) -> Report:
    """Compare the gradient that each optimiser of a game gets, in the game's own step, with differences of the loss in it.

    real: a batch; modes as for check_gradients. What is differentiated is the statistic that game.losses names for the network,
    as the step returns it: a subclass is checked with its own losses and its own order. Biases and the like are moved off their
    initial values, for a unit that is dead because its bias is 0 proves nothing. The wiring is checked too: what an optimiser
    gets does not depend on the gradients of the step before, and the rest of the step leaves it alone.
    Raises OptionError for a game whose step does not do what game.losses and game.optimizers say.
    """
    twin, be, rng = still(game), game.backend, np.random.default_rng(seed)
    for vector in (a for net in twin.networks.values() for a in net.params.values() if a.ndim == 1):
        vector += be.asarray(0.1 * rng.standard_normal(vector.shape))
    random_state = game.random_state
    real = be.asarray(be.to_numpy(real) if be.owns(real) else real, np.float64)

    def step(watch: Watcher | None = None) -> dict[str, Array]:
        twin.random_state = random_state  # the same noise and the same Dropout masks at every step
        for optimizer in twin.optimizers.values():
            optimizer.seen.clear()
        for net in twin.networks.values():
            net.watch = watch
        return twin.step(real)

    for net in twin.networks.values():
        net.flat_grads[...] = np.nan  # left from the step before
    stats = step()
    seen = {name: _seen(twin, game, name, loss, stats) for name, loss in game.losses.items()}
    for net in twin.networks.values():
        net.flat_grads[...] = np.nan
    with forward_only(twin):
        # Where no loss depends on a gradient, as a penalty does, differences need no backward passes.
        quick = all(bool((value == stats[name]).all()) for name, value in step().items())
    report = Report(name, tolerance)
    for network, loss in game.losses.items():
        net = twin.networks[network]
        targets = [Target(f"{loss} {network}.{key}", net.params[key], grad) for key, grad in _split(net, seen[network]).items()]
        evaluate = partial(_loss_and_signatures, step, loss)
        with forward_only(twin) if quick else nullcontext():
            report.rows += compare(name, be, evaluate, 1.0, targets, mode, max_entries, tolerance, rng).rows
    step()
    for network, gradients in seen.items():
        touched = int((be.to_numpy(twin.networks[network].flat_grads) != gradients).sum())
        error = float("inf") if touched else 0.0
        report.rows.append(Row(f"{network}: gradients after its update", 1, 0, error, f"{touched} touched", touched, 0.0))
    game.random_state = random_state
    return report


def _loss_and_signatures(step: Callable[[Watcher], dict[str, Array]], loss: str) -> tuple[Array, list[Array]]:
    """A statistic of a watched step, and the branch signatures of all its passes."""
    signatures: list[Array] = []

    def watch(layer: Layer | None, what: str, value: Any) -> None:
        if layer is not None and what == "cache" and (signature := layer.branch_signature(value)) is not None:
            signatures.append(signature)

    return step(watch)[loss], signatures


def _seen(twin: Any, game: Game, network: str, loss: str, stats: dict[str, Array]) -> np.ndarray:
    """The gradients that a network's optimiser got in the step that returned these statistics, on the host.

    Raises OptionError where it got none, or several that differ: only one of them could be that of the loss.
    """
    optimizer = twin.optimizers.get(network)
    if loss not in stats or optimizer is None or not optimizer.seen:
        raise OptionError(f"{type(game).__name__}: its step must return {loss!r} and update the {network} by its optimiser")
    *others, last = map(game.backend.to_numpy, optimizer.seen)
    if not all(np.allclose(other, last, rtol=1e-9, atol=0, equal_nan=True) for other in others):
        raise OptionError(
            f"{type(game).__name__}: its step updates the {network} {len(optimizer.seen)} times, by different gradients, and "
            f"returns one {loss!r}: check a game with one update a step"
        )
    return last.copy()


def _split(net: Sequential, vector: np.ndarray) -> dict[str, np.ndarray]:
    """A host vector laid out as flat_params, by the parameters' names."""
    sizes = [array.size for array in net.params.values()]
    parts = np.split(vector, np.cumsum(sizes)[:-1])
    return {name: part.reshape(net.params[name].shape) for name, part in zip(net.params, parts, strict=True)}
