"""What an opened step holds: its passes, its updates, and their derivatives beside differences. All arrays are on the host."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minigan.backends import Backend
from minigan.checks.entries import Comparison
from minigan.games import Game
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
    loss_before: float
    loss_after: float  # of the same batch, with the parameters moved
    checks: dict[str, list[Comparison]]
    nudges: list[Nudge]


@dataclass
class OpenedStep:
    """One step of the game: its four or five passes, those of penalties, two losses (without the penalties) and two updates."""

    game: Game
    generator: Pass  # G(z), whose backward pass belongs to G's step
    real: Pass  # D(x)
    fake: Pass  # D(x̃) in D's step
    penalties: list[Pass]  # D at their points, in D's step
    rival: Pass | None  # D(x) in G's step, where the objective compares
    judged: Pass  # D(x̃) in G's step
    loss_d: float
    loss_g: float
    update_d: Update
    update_g: Update
