"""What a side must be able to do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Inputs = dict[str, np.ndarray]

COPIED = 1 << 24  # numbers in the array of the large copy: 64 MiB in float32, more than caches hold

PROOF_STEPS = 2  # of D alone
SEEN = ("real", "fake", "rival", "judged")  # the passes of D in a step: of D's own step the first two, of G's the others
NOISED = ("real", "fake", "judged")  # samples as D sees them: in G's step the real ones are those of D's step


AFTER_UPDATES = "loss after both updates"


def refuse_unless_plain(task: dict[str, Any]) -> None:
    if not task["plain"]:
        raise UnsupportedError("plays the plain game of two networks alone")


def first_losses(steps: Sequence[tuple[float, float]]) -> Inputs:
    """The evidence of a game: L_D and L_G of the first step, and L_D of the second, which has seen both first updates.

    No more, for rounding grows from step to step: Adam takes equal steps along gradients however small, and one that is nearly
    0 may turn its step round. In dcgan honest sides differ by up to 1.1e-4 in the second step, and so AFTER_UPDATES may.
    """
    (first_d, first_g), (second_d, _) = steps
    return {"losses": np.array([first_d, first_g]), AFTER_UPDATES: np.array([second_d])}


def proof_of(
    step: Callable[[], Mapping[str, Any]],
    averages: Callable[[], Iterable[tuple[np.ndarray, ...]]] | None,
    task: dict[str, Any],
) -> Inputs:
    """The evidence of a game, from the statistics that its first steps return, by minigan's names; the steps are taken here.

    first_losses and the penalties in both steps, or all that a VAE tells of both. averages: pairs for `distances`, asked for
    after the first step. Where penalties are not taken in every step, which of the steps that follow take them.
    """

    def told() -> dict[str, float]:
        return {name: float(value) for name, value in step().items()}  # before the next step may write to the same place

    first, evidence = told(), distances(averages()) if averages else {}
    second, is_vae = told(), "reconstruction" in first
    if not is_vae:
        evidence |= first_losses([(stats["loss_d"], stats["loss_g"]) for stats in (first, second)])
    evidence |= {name: np.array([first[name], second[name]]) for name in first if is_vae or name == "penalty"}
    if task["period"] > 1:
        evidence["rhythm"] = np.array([told()["penalty"] > 0 for _ in range(task["period"])], float)
    return evidence


def distances(pairs: Iterable[tuple[np.ndarray, ...]]) -> Inputs:
    """The evidence of a moving average: how far G's parameters, and its running statistics, are from their averages.

    Lengths of the differences, for single weights may differ where the sign of a gradient near 0 does.
    """
    return {"average": np.array([float(np.sqrt(np.sum((now - average) ** 2))) for now, average in pairs])}


@dataclass
class Prepared:
    """Work made ready: calls to be timed by name, and evidence, what this side computed, for the proof that all sides agree."""

    calls: dict[str, Callable[[], Any]]
    evidence: dict[str, np.ndarray]


def d_steps(begin: Callable[[float], Callable[[], Sequence[Any]]], r1: float) -> Prepared:
    """What a side's d_step returns. begin(weight of R1): a step from the start, whose calls return the loss and the penalty."""
    variants, evidence = {"D": 0.0, "D with R1": r1}, {}
    for name, weight in variants.items():
        step = begin(weight)
        seen = np.array([[float(term) for term in step()] for _ in range(PROOF_STEPS)])
        evidence |= {f"{name}: {what}": terms for what, terms in zip(("loss", "penalty"), seen.T, strict=False)}
    return Prepared({name: begin(weight) for name, weight in variants.items()}, evidence)


class Side:
    """One library with the same threads as all others. `task` says what to do, `inputs` holds the weights and data for it.

    A task of a game describes its networks layer by layer, with weights by minigan's names, what trains them and by what rules
    (see tasks.in_full). Its inputs are all that a step would take from the data or draw (see tasks.game_inputs).

    A side that has no form of a task raises UnsupportedError, and has a dash in the table.
    """

    def versions(self) -> dict[str, str]:
        """The versions that matter for this side's speed."""
        raise NotImplementedError

    def step(self, task: dict[str, Any], inputs: Inputs) -> Prepared:
        """One training step: D's update, then G's, then that of the moving average of G where the task's training has one; or
        that of a VAE. Where penalties are not taken in every step, the first one takes them.

        Evidence: proof_of.
        """
        raise UnsupportedError("has no training step")

    def d_step(self, task: dict[str, Any], inputs: Inputs) -> Prepared:
        """One step of D alone on given images: its loss, the gradients of its parameters, Adam's update. Two calls, "D" and
        "D with R1", which adds r1/(2N) Σ ‖∂s_n/∂x_n‖² at the real images; each with a D of its own.

        Evidence: the loss of the first steps of each, and of the second the penalty too.
        """
        raise UnsupportedError("has no step of D alone")

    def layer(self, task: dict[str, Any], inputs: Inputs) -> Prepared:
        """A layer's forward, input_grad and weight_grad, or Adam's update. Evidence: the arrays they make."""
        raise UnsupportedError("has no single layers")

    def sample(self, task: dict[str, Any], inputs: Inputs) -> Prepared:
        """Latent vectors to images, by G in inference mode. Evidence: the images."""
        raise UnsupportedError("draws no samples")

    def ceiling(self, task: dict[str, Any], inputs: Inputs) -> Prepared:
        """A large matrix product, the most arithmetic that this library gets out of the machine, and a large copy."""
        raise UnsupportedError("has no ceiling of its own")

    def synchronize(self) -> None:
        """Wait for work that was given to a device and is not yet done."""


class UnsupportedError(Exception):
    """This side has no such task."""
