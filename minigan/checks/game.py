"""A whole game proved: the gradients with which its own step moves each network, against differences of its own losses."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from typing import Any

import numpy as np

from minigan.backends import Array, stream
from minigan.checks.differences import Target, compare, with_state_held
from minigan.checks.gradients import in_float64
from minigan.checks.report import TOLERANCE, Report, Row
from minigan.copying import parts_by_identity
from minigan.errors import OptionError, shorten
from minigan.games import Game
from minigan.layers import Layer
from minigan.network import Sequential, Watcher
from minigan.optim import Optimizer, constant
from minigan.reachable import walk

UPDATES = 3  # of an optimiser, that are looked at


class StillOptimizer(Optimizer):
    """Moves nothing, and keeps a copy of the gradients with which it was to move, for each update."""

    def __init__(self, net: Sequential, original: Optimizer) -> None:
        super().__init__(lr=1.0)
        self.seen: list[Array] = []
        self.steps, self.original = original.steps, original
        self.attach(net)

    def scalars(self, lr: float, step: int) -> dict[str, float]:
        return {}

    def compute(self, net: Sequential, turn: int = 0) -> None:
        if net is not self._net:
            raise OptionError("the game's step hands an optimiser the gradients of another network than its own")
        self.seen.append(net.flat_grads.copy())

    def steepest_climb(self) -> tuple[str, float]:
        """Where a copy of the optimiser itself goes uphill most: (the array of parameters, cos of Δθ and g, at most 1).

        Δθ: what an update with the gradient g does beyond one with the gradient 0, which leaves out a decay of the weights.
        Each array and each of the first UPDATES counts. 1 for a network that does not move although it has a gradient.
        """
        g = self.seen[-1]
        with_g, without = (self._path(gradient) for gradient in (g, 0 * g))
        moves = [here - there for here, there in zip(with_g, without, strict=True)]
        if not any(bool(move.any()) for move in moves):
            return "nothing moves", float(bool(g.any()))
        gradients = _split(self._net, self._net.backend.to_numpy(g))  # type: ignore[arg-type, union-attr]
        parts = [(name, part, gradients[name]) for move in moves for name, part in _split(self._net, move).items()]  # type: ignore[arg-type]
        return max(((name, _cosine(part, gradient)) for name, part, gradient in parts), key=lambda found: found[1])

    def _path(self, gradient: Array) -> list[np.ndarray]:
        """What each of the first updates adds to the parameters, all with one gradient; 0 where that is no number."""
        net, optimizer = self._net.clone(), copy.copy(self.original)  # type: ignore[union-attr]
        with suppress(Exception):  # else what it holds of its own is shared with the original
            optimizer = copy.deepcopy(self.original, {id(self.original._net): None})
        optimizer._net, optimizer.steps, optimizer.state, optimizer.schedule = None, 0, {}, constant(1e-3)
        optimizer._scalars = []
        moves, to_numpy = [], net.backend.to_numpy
        for _ in range(UPDATES):
            before = to_numpy(net.flat_params).copy()
            net.flat_grads[...] = gradient
            try:
                optimizer.update(net)
            except Exception as error:
                raise OptionError(f"{type(optimizer).__name__}: its update fails: {shorten(error, 100)}") from None
            moves.append(np.nan_to_num(to_numpy(net.flat_params) - before, nan=0, posinf=0, neginf=0))
        return moves


def _cosine(x: np.ndarray, y: np.ndarray) -> float:
    """cos of the angle between two arrays; 0 where one of them is 0, or all but 0 beside rounding."""
    product = float(np.linalg.norm(x) * np.linalg.norm(y))
    return float((x * y).sum()) / product if product > 1e-15 * float(np.linalg.norm(y)) else 0.0


def still(game: Game) -> Any:
    """A copy of this very game in float64, with all that it holds, whose optimisers do not move.

    Raises OptionError for a game that holds what cannot be copied, or an optimiser that game.optimizers does not name.
    """
    memo: dict[int, Any] = {}
    held = [value for _, value, _ in walk(game, "")]
    for net in (value for value in held if isinstance(value, Sequential) and id(value) not in memo):
        memo[id(net)] = with_state_held(net.clone(dtype="float64"))
        memo.update(parts_by_identity(net, memo[id(net)]))
    networks = {id(optimizer): game.networks.get(name) for name, optimizer in game.optimizers.items()}
    for optimizer in (value for value in held if isinstance(value, Optimizer)):
        if (trained := networks.get(id(optimizer))) is None:
            raise OptionError(f"{type(game).__name__} holds an optimiser that game.optimizers does not name beside its network")
        memo[id(optimizer)] = StillOptimizer(memo[id(trained)], optimizer)
    try:
        return copy.deepcopy(game, memo)
    except Exception as error:
        raise OptionError(
            f"{type(game).__name__} cannot be copied, and a copy is what is checked: {shorten(error, 100)}"
        ) from None


class _Repeated:
    """The step of a still game, always from the same state: the same draws, counts and running statistics."""

    def __init__(self, twin: Any, random_state: Any, real: Array, labels: Mapping[str, Array]) -> None:
        self.twin, self.real, self.labels, self.random_state = twin, real, labels, random_state
        self.streams = [value for _, value, _ in walk(twin, "") if isinstance(value, np.random.Generator)]
        self.states = [stream.bit_generator.state for stream in self.streams]
        self.plain = {name: value for name, value in vars(twin).items() if isinstance(value, (bool, int, float, str))}
        self.counts = {name: optimizer.steps for name, optimizer in twin.optimizers.items()}
        self.before = np.random.get_state(), random.getstate()

    def __call__(self, watch: Watcher | None = None) -> dict[str, Array]:
        twin = self.twin
        for generator, state in zip(self.streams, self.states, strict=True):
            generator.bit_generator.state = state
        twin.random_state = self.random_state
        vars(twin).update(self.plain)
        for name, optimizer in twin.optimizers.items():
            optimizer.steps = self.counts[name]
            optimizer.seen.clear()
        for net in twin.networks.values():
            net.watch = watch
        try:
            stats: dict[str, Array] = twin.step(self.real, **self.labels)
        finally:  # the streams that all of Python shares
            np.random.set_state(self.before[0])
            random.setstate(self.before[1])
        return stats


@contextmanager
def unused(game: Game) -> Iterator[None]:
    """Within it, networks of the game itself may neither run nor move: a copy is checked, which must know no way to them."""
    name = type(game).__name__
    nets = {id(value): value for _, value, _ in walk(game, "") if isinstance(value, Sequential)}
    before = {key: (dict(vars(net)), net.flat_params.copy()) for key, net in nets.items()}

    def refuse(*_: Any, **options: Any) -> None:
        raise OptionError(f"{name}: its step runs a network from within a function; keep the network as the game's attribute")

    for net in nets.values():
        vars(net).update(dict.fromkeys(("forward", "forward_each", "backward", "backward_each"), refuse))
    try:
        yield
    finally:
        moved = [net for key, net in nets.items() if not bool((net.flat_params == before[key][1]).all())]
        for key, net in nets.items():
            net.flat_params[...] = before[key][1]
            net.__dict__ = before[key][0]
    if moved:
        raise OptionError(f"{name}: its step moves a network from within a function; keep the network as the game's attribute")


@contextmanager
def forward_only(game: Game) -> Iterator[None]:
    """Within it, backward passes of the game's networks do no work: they return zeros, and write no gradients."""

    def zeros(
        net: Sequential, dy: Array, caches: Any, grads: Any = None, input_grad: bool = True, dys: list[Array] | None = None
    ) -> Array | None:
        if dys is not None:
            dys += [net.backend.zeros((len(dy), *layer.output_shape), net.dtype) for layer in net.layers]
        return net.backend.zeros((len(dy), *net.input_shape), net.dtype) if input_grad else None

    def nothing(net: Sequential, x_dot: Array, caches: Any, dys: Any, grads: Any) -> None:
        for grad in grads.values():
            grad[...] = 0

    def zeros_each(net: Sequential, dys: Any, caches: Any, grads: Any = None, input_grad: bool = True) -> Any:
        return tuple(zeros(net, dy, caches, grads, input_grad) for dy in dys)

    for net in game.networks.values():
        net.backward = partial(zeros, net)  # type: ignore[method-assign]
        net.backward_each = partial(zeros_each, net)  # type: ignore[method-assign]
        net.curvature = partial(nothing, net)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for net in game.networks.values():
            del net.backward, net.backward_each, net.curvature


def check_game(
    game: Game,
    real: Any,
    *,
    labels: Any = None,
    mode: str = "full",
    max_entries: int | None = None,
    tolerance: float = TOLERANCE,
    seed: int = 0,
    name: str = "game",
) -> Report:
    """Compare the gradient that each optimiser of a game gets, in the game's own step, with differences of the loss in it.

    real: a batch; labels: its class numbers, of a game that takes them; modes as for check_gradients. What is differentiated is
    the statistic that game.losses names for the network, as the step returns it: a subclass is checked with its own losses and
    its own order. Biases and the like are moved off their
    initial values, for a unit that is dead because its bias is 0 proves nothing. The wiring is checked too: what an optimiser
    gets does not depend on the gradients of the step before, the rest of the step leaves it alone, and the optimiser's own
    first updates go down the slope, in each array of parameters.
    Raises OptionError for a game whose step does not do what game.losses and game.optimizers say.
    """
    if not isinstance(game, Game):
        raise OptionError(f"game is {shorten(game)}: expected a game, as minigan.GAN(G, D); for a network use check_gradients")
    with unused(game):
        return _check_game(game, real, labels, mode, max_entries, tolerance, seed, name)


def _check_game(
    game: Game, real: Any, labels: Any, mode: str, max_entries: int | None, tolerance: float, seed: int, name: str
) -> Report:
    twin, be, rng = still(game), game.backend, np.random.default_rng(stream("checks", seed))
    for vector in (a for net in twin.networks.values() for a in net.params.values() if a.ndim == 1):
        vector += be.asarray(0.1 * rng.standard_normal(vector.shape))
    real = in_float64(be, real, "real")
    rows = {} if labels is None else {"labels": be.asarray(game.one_hot(len(real), labels), np.float64)}
    step = _Repeated(twin, game.random_state, real, rows)
    for net in twin.networks.values():
        net.flat_grads[...] = np.nan  # left from the step before
    before = [net.flat_params.copy() for net in twin.networks.values()]
    stats = step()
    _refuse_unproved(twin, game, before)
    seen = {name: _seen(twin, game, name, loss, stats) for name, loss in game.losses.items()}
    if not _same(step(), stats):
        raise OptionError(
            f"{type(game).__name__}: its step does not repeat itself from the same state, so nothing can be compared: it draws "
            "from a random stream that game.streams does not name, or counts"
        )
    for net in twin.networks.values():
        net.flat_grads[...] = np.nan
    with forward_only(twin):
        # Where no loss depends on a gradient, as a penalty does, differences need no backward passes.
        quick = _same(step(), stats)
    report = Report(name, tolerance)
    for network, loss in game.losses.items():
        net = twin.networks[network]
        targets = [Target(f"{loss} {network}.{key}", net.params[key], grad) for key, grad in _split(net, seen[network]).items()]
        evaluate = partial(_loss_and_signatures, step, loss)
        with forward_only(twin) if quick else nullcontext():
            report.rows += compare(name, be, evaluate, 1.0, targets, mode, max_entries, tolerance, rng).rows
    step()
    for network in seen:
        touched = int((twin.networks[network].flat_grads != twin.optimizers[network].seen[-1]).sum())
        error = float("inf") if touched else 0.0
        report.rows.append(Row(f"{network}: gradients after its update", 1, 0, error, f"{touched} touched", touched, 0.0))
        where, climb = twin.optimizers[network].steepest_climb()
        error = float("inf") if climb > 1e-6 else 0.0
        report.rows.append(Row(f"{network}: its updates go downhill", 1, 0, error, where, climb, 0.0))
    return report


def _refuse_unproved(twin: Any, game: Game, before: list[Array]) -> None:
    """Raise OptionError where a network learns by what is not compared."""
    name = type(game).__name__
    if left_out := sorted(game.optimizers.keys() - game.losses.keys()):
        raise OptionError(f"{name}.losses does not say what the {left_out[0]} minimises, so its gradient cannot be checked")
    for (network, net), params in zip(twin.networks.items(), before, strict=True):
        if not bool((net.flat_params == params).all()):
            raise OptionError(f"{name}: its step moves the {network} by more than its optimiser, and that cannot be checked")


def _same(stats: dict[str, Any], others: dict[str, Any]) -> bool:
    return stats.keys() == others.keys() and all(bool(np.all(value == others[name])) for name, value in stats.items())


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
    if 1 < game.updates.get(network, 1) == len(optimizer.seen):
        return np.mean([*others, last], axis=0)
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
