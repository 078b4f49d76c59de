"""One training step, opened up: every array of its passes, every derivative beside its central difference.

It is the step of GAN.step, taken apart into the calls that make it, in float64, and recorded on the way:
    D's step:  x̃ = G(z);  s = D(x) and D(x̃);  L_D;  back to θ_D, once for each pass;  D moves
    G's step:  s = D(x̃), by D as it has moved;  L_G;  back through D to x̃ and through G to θ_G;  G moves
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minigan.backends import Array
from minigan.checks.gradients import Comparison, compare_entries
from minigan.errors import DivergenceError, OptionError
from minigan.games import GAN
from minigan.layers import Layer
from minigan.losses import discriminator_loss, generator_loss
from minigan.network import Sequential
from minigan.optim import Optimizer

CHECKED = 3  # entries of each array that are compared with finite differences
NUDGED = 3  # weights of each array whose loss is drawn against the weight
# The steps ε of a nudge, in units of the array's typical value: from where the derivative tells all to where the loss bends.
_NUDGES = (0.001, 0.01, 0.1, 0.3, 0.6, 1.0, 1.5, 2.0)
NUDGES = (*(-part for part in reversed(_NUDGES)), 0.0, *_NUDGES)
Loss = Callable[[Array, list[Array]], tuple[Array, list[Array]]]  # (a network's output, kink sides) -> (L, kink sides)


@dataclass
class Pass:
    """One forward pass of a network and, where one was made, the backward pass through it; host arrays of the whole batch."""

    net: Sequential
    x: np.ndarray
    outputs: list[np.ndarray]  # y of each layer
    caches: list[Any]  # as the layers made them
    output_grads: list[np.ndarray | None]  # ∂L/∂y of each layer, where the backward pass went
    input_grad: np.ndarray | None = None  # ∂L/∂x
    param_grads: dict[str, np.ndarray] = field(default_factory=dict)  # what this pass added
    checks: list[list[Comparison]] = field(default_factory=list)  # of output_grads, by layer
    random_state: Any = None  # of the layers' own streams (Dropout) when the pass began

    def continue_from(self, index: int, y: Array) -> tuple[Array, list[Array]]:
        """The network's output, and the kink sides on the way there, had layer `index` put out y (−1: y is the input)."""
        self.net.random_state = self.random_state
        sides = []
        for layer in self.net.layers[index + 1 :]:
            y, cache = layer.forward(y, True)
            side = layer.branch_signature(cache)
            if side is not None:
                sides.append(side)
        return y, sides


@dataclass
class Nudge:
    """The loss as one weight moves by ε, to be held against L(w) + ε ∂L/∂w."""

    name: str  # of the array, as in net.params
    where: tuple[int, ...]
    value: float  # w
    gradient: float  # ∂L/∂w
    steps: list[float]  # ε
    losses: list[float]  # L(w + ε)


@dataclass
class Update:
    """What an optimiser did to its network: by parameter name, and the vectors that it keeps by slot and parameter name."""

    optimizer: Optimizer
    lr: float
    before: dict[str, np.ndarray]
    gradients: dict[str, np.ndarray]
    after: dict[str, np.ndarray]
    state_before: dict[str, dict[str, np.ndarray]]
    state_after: dict[str, dict[str, np.ndarray]]
    loss_before: float
    loss_after: float  # of the same batch, with the parameters moved
    checks: dict[str, list[Comparison]]
    nudges: list[Nudge]


@dataclass
class OpenedStep:
    """One step of the game: its four passes, two losses (nats) and two updates."""

    gan: GAN
    generator: Pass  # G(z), whose backward pass belongs to G's step
    real: Pass  # D(x)
    fake: Pass  # D(x̃) in D's step
    judged: Pass  # D(x̃) in G's step
    loss_d: float
    loss_g: float
    update_d: Update
    update_g: Update


def open_step(
    gan: GAN, real: Array, z: Array, *, shown: int = 4, seed: int = 0, tick: Callable[[], None] = lambda: None
) -> OpenedStep:
    """Take one step of the game on real and z, both networks as GAN.step moves them, and record it.

    shown: derivatives are checked at entries of the first so many samples. tick is called after every array checked.
    Raises OptionError unless the game computes in float64, without which differences prove nothing; DivergenceError for a loss
    that is not finite.
    """
    if gan.generator.dtype != np.float64:
        raise OptionError(f"the game computes in {gan.generator.dtype}: build it with dtype='float64' to open a step")
    g, d, rng = gan.generator, gan.discriminator, np.random.default_rng(seed)
    on_device = gan.backend.asarray
    look = _Look(gan, shown, rng, tick)

    made = _forward(g, z)
    fake_images = on_device(made.outputs[-1])
    of_real, of_fake = _forward(d, real), _forward(d, fake_images)
    s_real, s_fake = on_device(of_real.outputs[-1]), on_device(of_fake.outputs[-1])
    loss_d, ds_real, ds_fake = discriminator_loss(s_real, s_fake, gan.smoothing)
    d.zero_grads()
    _backward(of_real, ds_real, input_grad=False)
    _backward(of_fake, ds_fake, input_grad=False)

    def whole_d() -> tuple[Array, list[Array]]:
        (a, sides), (b, more) = of_real.continue_from(-1, real), of_fake.continue_from(-1, fake_images)
        return discriminator_loss(a, b, gan.smoothing)[0], sides + more

    look.check_outputs(of_real, lambda s, sides: (discriminator_loss(s, s_fake, gan.smoothing)[0], sides))
    look.check_outputs(of_fake, lambda s, sides: (discriminator_loss(s_real, s, gan.smoothing)[0], sides))
    update_d = look.update(d, gan.optimizer_d, whole_d)

    judged = _forward(d, fake_images)
    loss_g, ds = generator_loss(on_device(judged.outputs[-1]), gan.saturating)
    g.zero_grads()
    _backward(made, _backward(judged, ds, param_grads=False), input_grad=False)

    def judge(images: Array, sides: list[Array]) -> tuple[Array, list[Array]]:
        s, more = judged.continue_from(-1, images)
        return generator_loss(s, gan.saturating)[0], sides + more

    look.check_outputs(judged, lambda s, sides: (generator_loss(s, gan.saturating)[0], sides))
    look.check_outputs(made, judge)
    update_g = look.update(g, gan.optimizer_g, lambda: judge(*made.continue_from(-1, z)))
    for name, update in (("L_D", update_d), ("L_G", update_g)):
        if not np.isfinite([update.loss_before, update.loss_after, *(v for n in update.nudges for v in n.losses)]).all():
            raise DivergenceError(f"{name} is not finite in this step: the game has diverged; try a smaller learning rate")
    return OpenedStep(gan, made, of_real, of_fake, judged, float(loss_d), float(loss_g), update_d, update_g)


def count_ticks(gan: GAN) -> int:
    """How often open_step will call tick."""
    g, d = gan.generator, gan.discriminator
    return len(g.layers) + 3 * len(d.layers) + len(g.params) + len(d.params)


# -- recorded passes -------------------------------------------------------------------------------------------------------


def _forward(net: Sequential, x: Array) -> Pass:
    host, outputs = net.backend.to_numpy, []
    random_state = net.random_state
    net.watch = lambda layer, what, array: outputs.append(host(array).copy())
    try:
        _, caches = net.forward(x, train=True)
    finally:
        net.watch = None
    none: list[np.ndarray | None] = [None] * len(outputs)
    return Pass(net, host(x).copy(), outputs, caches, none, random_state=random_state)


def _backward(record: Pass, dy: Array, **switches: bool) -> Array | None:
    """The backward pass of a recorded forward pass; its gradients are added to flat_grads, and its own share is recorded."""
    net, host = record.net, record.net.backend.to_numpy
    before = {name: host(grad).copy() for name, grad in net.grads.items()}
    record.output_grads[-1] = host(dy).copy()

    def watch(layer: Layer, what: str, array: Array) -> None:
        if what != "input gradient":
            name = f"{layer.index}.{what.removeprefix('gradient of ')}"
            record.param_grads[name] = host(array) - before[name]
        elif layer.index:
            record.output_grads[layer.index - 1] = host(array).copy()

    net.watch = watch
    try:
        dx = net.backward(dy, record.caches, **switches)
    finally:
        net.watch = None
    record.input_grad = None if dx is None else host(dx).copy()
    return dx


# -- derivatives beside their differences ----------------------------------------------------------------------------------


class _Look:
    """Chooses entries and compares their derivatives with central differences."""

    def __init__(self, gan: GAN, shown: int, rng: np.random.Generator, tick: Callable[[], None]) -> None:
        self.gan, self.backend, self.shown, self.rng, self.tick = gan, gan.backend, shown, rng, tick

    def check_outputs(self, record: Pass, loss: Loss) -> None:
        """∂L/∂y of every layer, for L = loss(what the rest of the network makes of y). Random streams stay where they are."""
        random_state = self.gan.random_state
        for index, gradient in enumerate(record.output_grads):
            found: list[Comparison] = []
            if gradient is not None:
                array = self.backend.asarray(record.outputs[index].copy())

                def evaluate(index: int = index, array: Array = array) -> tuple[Array, list[Array]]:
                    return loss(*record.continue_from(index, array))

                places = self._places(gradient[: self.shown], CHECKED)
                found = compare_entries(self.backend, evaluate, array, gradient, places)
            record.checks.append(found)
            self.tick()
        self.gan.random_state = random_state

    def update(self, net: Sequential, optimizer: Optimizer, evaluate: Callable[[], tuple[Array, list[Array]]]) -> Update:
        """Check the gradients in net.grads, nudge some weights, and let the optimiser take its step."""
        host, random_state = self.backend.to_numpy, self.gan.random_state
        before, gradients = ({name: host(a).copy() for name, a in of.items()} for of in (net.params, net.grads))
        loss_before = float(evaluate()[0])
        checks, nudges = {}, []
        for name, gradient in gradients.items():
            checks[name] = compare_entries(self.backend, evaluate, net.params[name], gradient, self._places(gradient, CHECKED))
            nudges += [self._nudge(net, name, place, gradient, evaluate) for place in self._places(gradient, NUDGED)]
            self.tick()
        state_before = _state(net, optimizer)
        lr = optimizer.schedule(optimizer.steps)
        optimizer.step(net)
        after = {name: host(a).copy() for name, a in net.params.items()}
        loss_after = float(evaluate()[0])
        state_after = _state(net, optimizer)
        self.gan.random_state = random_state
        return Update(
            optimizer, lr, before, gradients, after, state_before, state_after, loss_before, loss_after, checks, nudges
        )

    def _nudge(
        self, net: Sequential, name: str, place: tuple[int, ...], gradient: np.ndarray, evaluate: Callable[[], Any]
    ) -> Nudge:
        array = net.params[name]
        value = float(array[place])
        unit = float(np.sqrt(np.mean(self.backend.to_numpy(array) ** 2))) or 1.0  # all are 0: a bias at the start
        steps, losses = [], []
        for step in (unit * part for part in NUDGES):
            array[place] = value + step
            steps.append(step)
            losses.append(float(evaluate()[0]))
        array[place] = value
        return Nudge(name, place, value, float(gradient[place]), steps, losses)

    def _places(self, gradient: np.ndarray, count: int) -> list[tuple[int, ...]]:
        """The entry with the largest gradient, and others drawn among those that are not negligible beside it."""
        sizes = np.abs(gradient).ravel()
        largest = int(sizes.argmax())
        others = np.flatnonzero(sizes > 1e-3 * sizes[largest])
        others = others[others != largest]
        drawn = self.rng.choice(others, min(count - 1, len(others)), replace=False)
        flat = [largest, *sorted(drawn.tolist())] if sizes[largest] > 0 else []
        return [tuple(int(k) for k in np.unravel_index(i, gradient.shape)) for i in flat]


def _state(net: Sequential, optimizer: Optimizer) -> dict[str, dict[str, np.ndarray]]:
    """Copies of the optimiser's vectors by slot, cut up as the parameters are."""
    optimizer.attach(net)
    state: dict[str, dict[str, np.ndarray]] = {}
    for slot, vector in optimizer.state.items():
        parts, start = net.backend.to_numpy(vector), 0
        state[slot] = {}
        for name, array in net.params.items():
            state[slot][name] = parts[start : start + array.size].reshape(array.shape).copy()
            start += array.size
    return state
