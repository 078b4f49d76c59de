"""What each station says, in sentences that are true of the page's own game."""

from __future__ import annotations

import inspect

import numpy as np

from minigan.explain.formulas import LossFormulas, formulas_of
from minigan.explain.page.place import Place
from minigan.explain.step import Update
from minigan.network import Sequential
from minigan.optim import Adam


def docstring(subject: object) -> list[str]:
    """The lines of the first paragraph of a class's docstring."""
    return [line for line in (inspect.getdoc(type(subject)) or "").split("\n\n")[0].split("\n") if line]


def noise_and_batch() -> list[str]:
    return [
        "The step begins with noise z, drawn from N(0, 1), and a batch of real samples x. D has to tell them from what "
        "G makes of the noise; G has to make D fail. D takes its step first, then G."
    ]


def generated(discriminator: Sequential) -> list[str]:
    crossing = list(dict.fromkeys(layer.name for layer in discriminator.layers if layer.cross_sample))
    apart = f", so that the statistics of {' and '.join(crossing)} do not mix" if crossing else ""
    return [
        "This is x̃ = G(z). The caches of G's layers are kept: G's own step goes back through this very pass later.",
        f"D now judges real and generated samples, each in a pass of its own{apart}. Both passes, with their caches, are "
        "alive at once.",
    ]


def forward(place: Place, act: str) -> list[str]:
    known = formulas_of(place.layer)
    text = [known.reading] if known else docstring(place.layer)
    return [*text, "D has moved since its own step, so it judges x̃ again."] if act == "G" else text


def backward(place: Place, *, input_grad: bool, update: Update | None) -> list[str]:
    known = formulas_of(place.layer)
    text = [known.back] if known else docstring(place.layer)
    if not input_grad:
        what, it = ("the noise", "it") if place.net == "G" else ("the samples", "them")
        text.append(f"No gradient is made for {what}: this step does not move {it}.")
    if place.layer.parameters and update is None:
        text.append("D's parameters get no gradient here: this is G's step, and D only passes the gradient on.")
    return text


OWN_LOSS = "This game computes this loss in a way of its own, so no formula and no curve stand here, only what it made."


def discriminator_loss(known: bool) -> list[str]:
    return [
        "D ends in a logit s, and believes with probability σ(s) that the sample is real. Each sample pays for how wrong D "
        "was; the slope at its place, divided by N, is the gradient that starts on its way back.",
        "Where the curve is flat a sample hardly moves D." if known else OWN_LOSS,
    ]


def generator_loss(formulas: LossFormulas | None, known: bool) -> list[str]:
    reading = [formulas.reading_g] if known and formulas else []
    return [" ".join(["G pays for every sample that D does not take for real.", *reading, *([] if known else [OWN_LOSS])])]


def image_gradient(sample: np.ndarray) -> list[str]:
    value = "pixel" if sample.ndim == 3 else "value"
    return [
        f"Here the gradient leaves D and enters G. Its negative is how D would change each {value} to make the sample look "
        "more real: all that G ever learns of the real samples comes through here.",
    ]


def update(act: str, update: Update) -> list[str]:
    adam = (
        " Adam divides each gradient by the root mean square of that weight's recent ones: what counts is how unusual a "
        "gradient is for its weight, not how large it is."
    )
    return [
        f"The gradients are all there; now the parameters move.{adam if isinstance(update.optimizer, Adam) else ''}",
        f"On this same batch L_{act} goes from {update.loss_before:.5f} to {update.loss_after:.5f}.",
    ]
