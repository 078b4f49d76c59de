"""Analytic against numeric gradients: a layer, a network, a loss, the whole game.

The numeric derivative of f along a direction is the fourth-order central difference
    f' ≈ (8 (f(h) − f(−h)) − (f(2h) − f(−2h))) / 12h,   error O(h⁴)
in float64. A vector output y is contracted with a random dy, after the subtraction, so that outputs which do not move
cancel exactly; with dy = 1 some wrong gradients pass (BatchNorm's sum to 0). A difference is only taken between passes on
the same side of every kink (ReLU at 0): h shrinks until that holds, and an entry for which it never does is counted as
skipped, never tolerated.

Checks run on float64 copies: the networks that one passes in are left as they are.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minigan import losses, models
from minigan.backends import Array, Backend, get_backend
from minigan.errors import OptionError
from minigan.games import GAN
from minigan.layers import (
    BatchNorm,
    Conv2d,
    ConvTranspose2d,
    Dense,
    Dropout,
    Flatten,
    Layer,
    LayerNorm,
    LeakyReLU,
    ReLU,
    Reshape,
    Sigmoid,
    Softplus,
    Tanh,
    Upsample,
)
from minigan.network import Sequential

TOLERANCE = 1e-6
STEPS = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7)  # h: the largest that crosses no kink is the most exact
Evaluate = Callable[[], tuple[Array, list[Array]]]  # () -> (outputs, kink sides of the pass)


@dataclass
class Row:
    """One array of derivatives: how many entries (or directions) were compared, and the worst of them."""

    name: str
    checked: int
    skipped: int
    max_error: float
    where: tuple[int, ...] | str
    analytic: float
    numeric: float

    def __str__(self) -> str:
        text = f"{self.name:<28} {self.max_error:9.1e}  {self.checked:>5} checked"
        skipped = f", {self.skipped} skipped at kinks" if self.skipped else ""
        return f"{text}{skipped}; worst at {self.where}: analytic {self.analytic:+.9e}, numeric {self.numeric:+.9e}"


@dataclass
class Report:
    """The outcome of a check: a row per parameter and one for x. print(report) shows the table.

    broken: what the layer breaks of the layer contract, a sentence each, where that was checked too. hint: what may be amiss
    if a gradient is wrong.
    """

    name: str
    tolerance: float
    rows: list[Row] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    hint: str = ""

    @property
    def max_error(self) -> float:
        """The largest relative error |a − n| / max(|a|, |n|, floor) of all rows."""
        return max((row.max_error for row in self.rows), default=float("inf"))

    @property
    def ok(self) -> bool:
        """All errors below the tolerance, more entries checked than skipped per row, some gradient not 0, nothing broken."""
        return bool(self.rows) and not self.unproved and not self.broken and self.max_error < self.tolerance

    @property
    def unproved(self) -> list[str]:
        """Why gradients that agree would prove nothing."""
        reasons = []
        if any(row.checked <= row.skipped for row in self.rows):
            reasons.append("too many entries lie on a kink to prove anything")
        if all(row.numeric == 0 and row.analytic == 0 for row in self.rows):
            reasons.append("all gradients are 0, which proves nothing: try another shape")
        return reasons

    def __str__(self) -> str:
        verdict = "ok" if self.ok else "FAILED"
        head = f"{self.name}: {verdict}, largest relative error {self.max_error:.1e} (tolerance {self.tolerance:.0e})"
        return "\n".join([head, *(f"  {line}" for line in self.lines)])

    @property
    def lines(self) -> list[str]:
        """The table without its head: a line per row, then one for each thing that is wrong beside them."""
        doubts = self.unproved if self.rows else []
        if self.hint and any(row.max_error >= self.tolerance for row in self.rows):
            doubts.append(self.hint)
        return [*map(str, self.rows), *doubts, *(f"contract broken: {sentence}" for sentence in self.broken)]


@dataclass
class _Target:
    """An array to vary, and its analytic gradient."""

    name: str
    array: Array
    gradient: np.ndarray


def check_gradients(
    net: Sequential,
    x: Any,
    *,
    train: bool = True,
    mode: str = "full",
    max_entries: int | None = None,
    tolerance: float = TOLERANCE,
    seed: int = 0,
    name: str = "network",
) -> Report:
    """Compare a network's gradients with central differences: every parameter's and dx, for a random dy.

    x: a batch (N, *input_shape). mode "full" varies single entries, all or `max_entries` drawn per array; "projection" varies
    each array along random directions v and compares <gradient, v>, which touches every entry at the cost of a few passes.
    Returns a Report: .ok, .max_error, one row per array. Raises OptionError for an unknown mode.
    """
    net = net.clone(dtype="float64")
    be, random_state, rng = net.backend, net.random_state, np.random.default_rng(seed)
    x = be.asarray(net.backend.to_numpy(x) if be.owns(x) else x, np.float64).copy()

    def forward() -> tuple[Array, list[Any]]:
        net.random_state = random_state  # the same Dropout masks at every pass
        return net.forward(x, train)

    def evaluate() -> tuple[Array, list[Array]]:
        y, caches = forward()
        return y.copy(), _kinks(net, caches)  # a copy: Reshape and the like hand out x itself, which is about to move

    y, caches = forward()
    dy = be.asarray(rng.standard_normal(y.shape))
    net.zero_grads()
    dx = net.backward(dy, caches)
    targets = [_Target(name, net.params[name], be.to_numpy(net.grads[name])) for name in net.params]
    targets.append(_Target("x", x, be.to_numpy(dx)))
    return _compare(name, be, evaluate, dy, targets, mode, max_entries, tolerance, rng)


def check_layer(
    layer: Layer, input_shape: Sequence[int], *, batch: int = 3, backend: str | Backend = "auto", **options: Any
) -> Report:
    """check_gradients for one layer on random input (batch, *input_shape), its parameters moved off their initial values.

    A bias of 0 or a γ of 1 would hide a term that they multiply.
    """
    rng = np.random.default_rng(1)
    net = moved_network(layer, input_shape, backend, "float64", rng)
    x = rng.standard_normal((batch, *input_shape))
    return check_gradients(net, x, name=repr(layer), **options)


def moved_network(
    layer: Layer, input_shape: Sequence[int], backend: str | Backend, dtype: str, rng: np.random.Generator
) -> Sequential:
    """A network of one layer whose parameters and state are not those it starts with."""
    net = Sequential([layer], input_shape, backend, dtype)
    net.flat_params[...] += net.backend.asarray(0.5 * rng.standard_normal(net.num_params), dtype)
    for value in net.state.values():
        value[...] += net.backend.asarray(rng.random(value.shape), dtype)
    return net


def check_loss(
    loss: Callable[..., tuple[Array, ...]],
    *inputs: Any,
    backend: str | Backend = "auto",
    tolerance: float = TOLERANCE,
    name: str = "",
) -> Report:
    """Compare the gradients that loss(*inputs) -> (value, gradient of input 0, …) returns with central differences.

    inputs: float arrays; wrap targets and options into the function. The value itself is the output that is varied.
    """
    be = get_backend(backend)
    arrays = [be.asarray(a, np.float64).copy() for a in inputs]
    gradients = loss(*arrays)[1:]
    targets = [_Target(f"input {i}", a, be.to_numpy(da)) for i, (a, da) in enumerate(zip(arrays, gradients, strict=True))]
    title = name or loss.__name__
    rng = np.random.default_rng(0)
    return _compare(title, be, lambda: (loss(*arrays)[0], []), 1.0, targets, "full", None, tolerance, rng)


def check_game(
    gan: GAN,
    real: Any,
    *,
    mode: str = "full",
    max_entries: int | None = None,
    tolerance: float = TOLERANCE,
    seed: int = 0,
    name: str = "game",
) -> Report:
    """Compare both gradients of the game with central differences: ∂L_G/∂θ_G, through D, and ∂L_D/∂θ_D.

    real: a batch of real images; modes as for check_gradients. The losses are those of gan.step, in the same order of passes.
    Biases and the like are moved off their initial values, for a unit that is dead because its bias is 0 proves nothing. The
    wiring is checked too: each step starts from gradients of its own, and G's step leaves D's alone.
    """
    game = GAN(
        gan.generator.clone(dtype="float64"),
        gan.discriminator.clone(dtype="float64"),
        smoothing=gan.smoothing,
        saturating=gan.saturating,
    )
    g, d, be, rng = game.generator, game.discriminator, game.backend, np.random.default_rng(seed)
    for vector in (a for net in (g, d) for a in net.params.values() if a.ndim == 1):
        vector += be.asarray(0.1 * rng.standard_normal(vector.shape))
    random_state = game.random_state
    real = be.asarray(be.to_numpy(real) if be.owns(real) else real, np.float64)
    z = be.asarray(rng.standard_normal((len(real), game.latent_dim)))

    def loss_g() -> tuple[Array, list[Array]]:
        game.random_state = random_state
        fake, cache = g.forward(z, train=True)
        s_fake, cache_d = d.forward(fake, train=True)
        return losses.generator_loss(s_fake, game.saturating)[0], _kinks(g, cache) + _kinks(d, cache_d)

    def loss_d() -> tuple[Array, list[Array]]:
        game.random_state = random_state
        s_real, cache_real = d.forward(real, train=True)
        s_fake, cache_fake = d.forward(fake, train=True)
        return losses.discriminator_loss(s_real, s_fake, game.smoothing)[0], _kinks(d, cache_real) + _kinks(d, cache_fake)

    for net in (g, d):
        net.flat_grads[...] = 1  # left from the step before
    fake, cache = g.forward(z, train=True)
    game.random_state = random_state
    game.discriminator_grads(real, fake)
    targets_d = [_Target(f"L_D discriminator.{key}", d.params[key], be.to_numpy(d.grads[key]).copy()) for key in d.params]

    game.random_state = random_state
    fake, cache = g.forward(z, train=True)
    before = be.to_numpy(d.flat_grads).copy()
    game.generator_grads(fake, cache)
    touched = int((be.to_numpy(d.flat_grads) != before).sum())
    wiring = Row("D's gradients in G's step", 1, 0, float("inf") if touched else 0.0, f"{touched} touched", touched, 0.0)
    targets_g = [_Target(f"L_G generator.{key}", g.params[key], be.to_numpy(g.grads[key])) for key in g.params]

    rest = (mode, max_entries, tolerance, rng)
    report_g = _compare(name, be, loss_g, 1.0, targets_g, *rest)
    report_d = _compare(name, be, loss_d, 1.0, targets_d, *rest)
    return Report(name, tolerance, [*report_g.rows, *report_d.rows, wiring])


@dataclass(frozen=True)
class Comparison:
    """One derivative, found in both ways; numeric is None where no difference could be taken that crosses no kink.

    uncertainty: what rounding may make of the numeric one, about 100 ε |L| / h for a machine epsilon ε.
    """

    where: tuple[int, ...]
    analytic: float
    numeric: float | None
    uncertainty: float = 0.0

    @property
    def error(self) -> float | None:
        """|a − n| / max(|a|, |n|)"""
        if self.numeric is None:
            return None
        largest = max(abs(self.analytic), abs(self.numeric))
        return abs(self.analytic - self.numeric) / largest if largest else 0.0


def compare_entries(
    backend: Backend, evaluate: Evaluate, array: Array, gradient: np.ndarray, places: Sequence[tuple[int, ...]]
) -> list[Comparison]:
    """∂L/∂array at single places beside central differences of evaluate() -> (L, kink sides), which reads `array`.

    array: float64, C-contiguous, varied in place and put back; gradient: the analytic one, of its shape, on the host. It is
    varied in units of its typical value, for where all values are small a step of fixed size would be a leap.
    """
    target = _Target("", array, gradient)
    unit = min(1.0, float(np.sqrt(np.mean(backend.to_numpy(array) ** 2)))) or 1.0
    probes = _chosen_entries(target, [int(np.ravel_multi_index(place, gradient.shape)) for place in places], unit)
    rounding = 100 * float(np.finfo(np.float64).eps) * abs(float(evaluate()[0])) / unit
    return [
        Comparison(where, a / unit, None if n is None else n / unit, rounding / h)
        for where, a, n, h in _differences(backend, evaluate, 1.0, target, probes)
    ]


# -- the comparison --------------------------------------------------------------------------------------------------------


def _kinks(net: Sequential, caches: list[Any]) -> list[Array]:
    sides = (layer.branch_signature(cache) for layer, cache in zip(net.layers, caches, strict=True))
    return [side for side in sides if side is not None]


def _compare(
    name: str,
    be: Backend,
    evaluate: Evaluate,
    dy: Array | float,
    targets: list[_Target],
    mode: str,
    max_entries: int | None,
    tolerance: float,
    rng: np.random.Generator,
) -> Report:
    if mode not in ("full", "projection"):
        raise OptionError(f"unknown mode {mode!r}: choose full or projection")
    pick = _entries if mode == "full" else _directions
    compared = [
        (target, [found[:3] for found in _differences(be, evaluate, dy, target, pick(be, target, max_entries, rng))])
        for target in targets
    ]
    largest = [
        max([float(np.abs(target.gradient).max(initial=0.0))] + [abs(n) for _, _, n in pairs if n is not None])
        for target, pairs in compared
    ]
    scale = max(largest, default=0.0)
    rows = [_row(target.name, pairs, own, scale) for (target, pairs), own in zip(compared, largest, strict=True)]
    return Report(name, tolerance, rows)


Probe = tuple[Any, Callable[[float], None], float]  # where, a move by t along the probe, the analytic derivative


def _entries(be: Backend, target: _Target, max_entries: int | None, rng: np.random.Generator) -> Iterator[Probe]:
    """Single entries: all of them, or max_entries drawn without replacement."""
    indices = np.arange(target.gradient.size)
    if max_entries is not None and max_entries < target.gradient.size:
        indices = np.sort(rng.choice(target.gradient.size, max_entries, replace=False))
    return _chosen_entries(target, indices.tolist())


def _chosen_entries(target: _Target, indices: Sequence[int], unit: float = 1.0) -> Iterator[Probe]:
    """The single entries at these places of the flattened array, moved in this unit."""
    flat, gradient = target.array.reshape(-1), target.gradient.reshape(-1)
    for i in indices:
        start = float(flat[i])

        def move(t: float, i: int = i, start: float = start) -> None:
            flat[i] = start + t * unit

        yield tuple(int(k) for k in np.unravel_index(i, target.gradient.shape)), move, float(gradient[i]) * unit


def _directions(be: Backend, target: _Target, max_entries: int | None, rng: np.random.Generator) -> Iterator[Probe]:
    """Random unit directions through the whole array, four unless max_entries says otherwise."""
    start = target.array.copy()
    for k in range(max_entries or 4):
        direction = rng.standard_normal(target.gradient.shape)
        direction /= np.linalg.norm(direction)
        on_device = be.asarray(direction)

        def move(t: float, v: Array = on_device) -> None:
            target.array[...] = start + t * v

        yield f"direction {k}", move, float((target.gradient * direction).sum())


def _differences(
    be: Backend, evaluate: Evaluate, dy: Array | float, target: _Target, probes: Iterator[Probe]
) -> Iterator[tuple[Any, float, float | None, float]]:
    """(where, analytic, numeric, h) for every probe; numeric is None where each step h crosses a kink."""
    for where, move, analytic in probes:
        numeric = None
        for h in STEPS:
            passes = {}
            for t in (h, -h, 2 * h, -2 * h):
                move(t)
                passes[t] = evaluate()
            if _same_side([kinks for _, kinks in passes.values()]):
                near, far = passes[h][0] - passes[-h][0], passes[2 * h][0] - passes[-2 * h][0]
                numeric = float((dy * (8 * near - far)).sum()) / (12 * h)
                break
        move(0.0)
        yield where, analytic, numeric, h


def _same_side(passes: list[list[Array]]) -> bool:
    first = passes[0]
    return all(bool((a == b).all()) for other in passes[1:] for a, b in zip(first, other, strict=True))


def _row(name: str, pairs: list[tuple[Any, float, float | None]], own: float, scale: float) -> Row:
    """The worst entry by |a − n| / max(|a|, |n|, floor).

    An entry far below the largest of its array, or an array far below the largest gradient of all (a bias before BatchNorm
    has none), is rounding noise in a difference. The floor is 1e-2 of the array's largest (own), or 1e-5 of the largest
    of all (scale).
    """
    checked = [(where, a, n) for where, a, n in pairs if n is not None]
    floor = max(1e-2 * own, 1e-5 * scale, np.finfo(float).tiny)
    worst = (0.0, "-", 0.0, 0.0)
    for where, a, n in checked:
        error = abs(a - n) / max(abs(a), abs(n), floor)
        if not error <= worst[0] or worst[1] == "-":  # also takes a NaN
            worst = (float("inf") if np.isnan(error) else error, where, a, n)
    return Row(name, len(checked), len(pairs) - len(checked), worst[0], worst[1], worst[2], worst[3])


# -- the table of all layers, losses and games -------------------------------------------------------------------------------


def layer_table() -> list[tuple[Callable[[], Layer], tuple[int, ...]]]:
    """(a maker, an input shape) for every layer, in the configurations whose gradients differ."""
    return [
        (lambda: Dense(4), (5,)),
        (lambda: Dense(4, bias=False), (5,)),
        (lambda: Conv2d(3, 3), (5, 6, 2)),
        (lambda: Conv2d(3, 3, padding=1, bias=False), (5, 4, 2)),
        (lambda: Conv2d(2, 4, stride=2, padding=1), (8, 6, 2)),
        (lambda: Conv2d(2, (2, 3), stride=(3, 2), padding=(1, 2), dilation=(2, 3)), (7, 8, 2)),
        (lambda: ConvTranspose2d(3, 3), (3, 4, 2)),
        (lambda: ConvTranspose2d(2, 4, stride=2, padding=1, bias=False), (3, 4, 2)),
        (lambda: ConvTranspose2d(2, 3, stride=2, padding=1, output_padding=1), (3, 4, 2)),
        (lambda: ConvTranspose2d(2, (2, 3), stride=(3, 2), padding=(1, 2), output_padding=(2, 1), dilation=(2, 3)), (3, 4, 2)),
        (lambda: BatchNorm(), (4,)),
        (lambda: BatchNorm(), (3, 4, 2)),
        (lambda: LayerNorm(), (5,)),
        (lambda: LayerNorm(axes=3), (3, 2, 2)),
        (lambda: ReLU(), (4, 3)),
        (lambda: LeakyReLU(0.2), (4, 3)),
        (lambda: Tanh(), (4, 3)),
        (lambda: Sigmoid(), (4, 3)),
        (lambda: Softplus(), (4, 3)),
        (lambda: Dropout(0.4), (4, 3)),
        (lambda: Flatten(), (3, 2, 2)),
        (lambda: Reshape((2, 3, 2)), (12,)),
        (lambda: Upsample((2, 3)), (3, 2, 2)),
    ]


def block_table() -> list[tuple[Callable[[], Layer], tuple[int, ...], int]]:
    """(a maker, an input shape, a batch) of work large enough that a backend may deal it out in several blocks."""
    return [
        (lambda: Dense(300), (400,), 80),
        (lambda: Conv2d(8, 4, stride=2, padding=1), (16, 16, 8), 80),
        (lambda: ConvTranspose2d(8, 4, stride=2, padding=1), (8, 8, 16), 80),
        (lambda: Conv2d(128, 4, stride=2, padding=1), (14, 14, 64), 32),
        (lambda: Conv2d(128, 3, padding=1), (8, 8, 64), 32),
        (lambda: ConvTranspose2d(64, 4, stride=2, padding=1), (7, 7, 128), 32),
        (lambda: BatchNorm(), (32, 32, 8), 80),
        (lambda: LeakyReLU(0.2), (32, 32, 8), 80),
    ]


def check_all(backend: str | Backend = "auto") -> Iterator[Report]:
    """Every layer (BatchNorm and Dropout in training and at inference), every loss, and both reference games, one by one."""
    be = get_backend(backend)
    for make, shape in layer_table():
        yield check_layer(make(), shape, backend=be)
        if isinstance(make(), (BatchNorm, Dropout)):
            report = check_layer(make(), shape, backend=be, train=False)
            report.name += " at inference"
            yield report
    for make, shape, batch in block_table():
        report = check_layer(make(), shape, batch=batch, backend=be, mode="projection")
        report.name += f" on a batch of {batch}"
        yield report
    yield from _check_losses(be)
    yield from _check_games(be)


def _check_losses(be: Backend) -> Iterator[Report]:
    rng = np.random.default_rng(0)
    s, s_fake, targets = (3 * rng.standard_normal((6, 1)) for _ in range(3))
    t, labels = be.asarray(rng.random((6, 1))), be.asarray(rng.integers(0, 4, 6))
    yield check_loss(lambda a, b: losses.discriminator_loss(a, b), s, s_fake, backend=be, name="discriminator_loss")
    smoothed = "discriminator_loss(smoothing=0.1)"
    yield check_loss(lambda a, b: losses.discriminator_loss(a, b, 0.1), s, s_fake, backend=be, name=smoothed)
    yield check_loss(lambda a: losses.generator_loss(a), s, backend=be, name="generator_loss")
    yield check_loss(lambda a: losses.generator_loss(a, True), s, backend=be, name="generator_loss(saturating=True)")
    yield check_loss(lambda a: losses.bce_with_logits(a, t), s, backend=be, name="bce_with_logits")
    yield check_loss(lambda a: losses.mse(a, be.asarray(targets)), s, backend=be, name="mse")
    logits = rng.standard_normal((6, 4))
    yield check_loss(lambda a: losses.softmax_cross_entropy(a, labels), logits, backend=be, name="softmax_cross_entropy")


def _check_games(be: Backend) -> Iterator[Report]:
    """The reference games at full size, a few entries of every array and then directions through all of it."""
    real = np.random.default_rng(0).uniform(-1, 1, (2, 28, 28, 1))
    for (name, make), (mode, count) in itertools.product(
        (("mlp", models.mlp), ("dcgan", models.dcgan)), (("full", 6), ("projection", 2))
    ):
        gan = GAN(*make(backend=be, dtype="float64"))
        yield check_game(gan, real, mode=mode, max_entries=count, name=f"game {name} ({mode})")
