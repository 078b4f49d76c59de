"""What an opened step holds: its passes, its updates, and their derivatives beside differences. All arrays are on the host."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minigan.backends import Backend
from minigan.checks.entries import Comparison
from minigan.games import VAE, Game
from minigan.losses import Penalty, Score
from minigan.network import Sequential
from minigan.optim import Optimizer


@dataclass
class SecondOrder:
    """The gradient of v · g in D's parameters, g = ∂(Σ_n s_n)/∂x of a pass: its three sweeps (Sequential.curvature).

    Lists by layer; None where a sweep did not come. penalty: whose gradient it is, P its value; None where nobody has said.
    """

    v: np.ndarray
    tangents: list[np.ndarray | None]  # ẏ
    curvatures: list[np.ndarray | None]  # c
    swept: list[np.ndarray | None]  # a of the layer's input
    own_grads: dict[str, np.ndarray] = field(default_factory=dict)  # what curvature wrote
    param_grads: dict[str, np.ndarray] = field(default_factory=dict)  # with the share of the last sweep: ∂P/∂θ
    penalty: Penalty | None = None
    value: float | None = None
    checks: dict[str, list[Comparison]] = field(default_factory=dict)  # of param_grads


@dataclass
class Pass:
    """One forward pass of a network and, where one was made, the backward pass through it, of the whole batch."""

    net: Sequential
    x: np.ndarray
    caches: list[Any]  # as the layers made them
    grads_before: dict[str, np.ndarray]  # what net.grads held when the pass began
    random_state: dict[str, Any]  # of the layers' own streams (Dropout) when it began
    outputs: list[np.ndarray] = field(default_factory=list)  # y of each layer
    output_grads: list[np.ndarray | None] = field(default_factory=list)  # ∂L/∂y of each layer, where the backward pass went
    input_grad: np.ndarray | None = None  # ∂L/∂x
    param_grads: dict[str, np.ndarray] = field(default_factory=dict)  # of this pass alone
    checks: list[list[Comparison]] = field(default_factory=list)  # of output_grads, by layer
    input_checks: list[Comparison] = field(default_factory=list)  # of input_grad
    state: dict[str, np.ndarray] = field(default_factory=dict)  # of the layers, as the pass left it
    second: SecondOrder | None = None  # of a penalty's pass
    labels: np.ndarray | None = None  # of a pass of D in a game with classes, one-hot rows

    @property
    def s(self) -> np.ndarray:
        """The scores (N, 1) of D's outputs."""
        return Score(Backend(), self.labels).value(self.outputs[-1])

    @property
    def ds(self) -> np.ndarray | None:
        """∂L/∂s (N, 1). With classes what went back is ∂L/∂o = ∂L/∂s [1, y], so it stands in the first column."""
        return None if self.output_grads[-1] is None else self.output_grads[-1][:, :1]


@dataclass
class Nudge:
    """The loss as one weight moves by ε, to be compared with L(w) + ε ∂L/∂w."""

    name: str  # of the array, as in net.params
    where: tuple[int, ...]
    value: float  # w
    gradient: float  # ∂L/∂w
    steps: list[float]  # ε
    losses: list[float]  # L(w + ε)


@dataclass
class Update:
    """What an optimiser did to its network: by parameter name, and the vectors that it keeps by slot and parameter name.

    gradients: those that it saw; loss_gradients: without those of penalties. checks and nudges are of the loss alone;
    loss_before and loss_after are of what the network minimises, the loss and the penalties.
    """

    optimizer: Optimizer
    lr: float
    before: dict[str, np.ndarray]
    gradients: dict[str, np.ndarray]
    loss_gradients: dict[str, np.ndarray]
    after: dict[str, np.ndarray]
    state_before: dict[str, dict[str, np.ndarray]]
    state_after: dict[str, dict[str, np.ndarray]]
    checks: dict[str, list[Comparison]] = field(default_factory=dict)
    nudges: list[Nudge] = field(default_factory=list)
    loss_before: float = float("nan")
    loss_after: float = float("nan")  # of the same batch, with the parameters moved


@dataclass
class OpenedStep:
    """One step of a game: its passes by network, in the order in which they began, its statistics, and its updates by network.

    Losses among the statistics are without penalties.
    """

    game: Game
    passes: dict[str, list[Pass]]
    stats: dict[str, float]
    updates: dict[str, Update]

    @property
    def batch(self) -> np.ndarray:
        """The samples that the step was taken on."""
        raise NotImplementedError(f"{type(self).__name__} has no batch")


class OpenedGAN(OpenedStep):
    """One step of D and one of G: four or five passes, and those of penalties."""

    @property
    def batch(self) -> np.ndarray:
        return self.real.x

    @property
    def generator(self) -> Pass:
        """G(z), whose backward pass belongs to G's step"""
        return self.passes["generator"][0]

    @property
    def real(self) -> Pass:
        """D(x)"""
        return self.passes["discriminator"][0]

    @property
    def fake(self) -> Pass:
        """D(x̃) in D's step"""
        return self.passes["discriminator"][1]

    @property
    def penalties(self) -> list[Pass]:
        """D at their points, in D's step"""
        return [record for record in self.passes["discriminator"] if record.second is not None]

    @property
    def rival(self) -> Pass | None:
        """D(x) in G's step, where the objective compares"""
        return next((record for record in self.passes["discriminator"][2:-1] if record.second is None), None)

    @property
    def judged(self) -> Pass:
        """D(x̃) in G's step"""
        return self.passes["discriminator"][-1]

    @property
    def loss_d(self) -> float:
        return self.stats["loss_d"]

    @property
    def loss_g(self) -> float:
        return self.stats["loss_g"]

    @property
    def update_d(self) -> Update:
        return self.updates["discriminator"]

    @property
    def update_g(self) -> Update:
        return self.updates["generator"]


@dataclass
class Share:
    """What one term of a VAE's loss sends back to h = (μ, log σ²): its gradient (N, 2J), and that beside differences."""

    gradient: np.ndarray
    checks: list[Comparison]


@dataclass
class OpenedVAE(OpenedStep):
    """One step of an encoder and a decoder: a pass of each, and two ways by which the gradient comes to h between them.

    noise: ε (N, J). weight: of the KL in this step. shares: by the statistic whose gradient each is, "reconstruction" (through
    the draw) and "kl", as the game made them; the gradient of h is the first, and the second times the weight.
    """

    game: VAE
    noise: np.ndarray
    weight: float
    shares: dict[str, Share]

    @property
    def batch(self) -> np.ndarray:
        return self.encoder.x

    @property
    def encoder(self) -> Pass:
        """h = (μ, log σ²) = E(x)"""
        return self.passes["encoder"][0]

    @property
    def decoder(self) -> Pass:
        """y = D(z)"""
        return self.passes["decoder"][0]
