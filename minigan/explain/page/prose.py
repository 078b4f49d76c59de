"""What each station says, in sentences that are true of the page's own game; those of a VAE's own stations are in prose_vae.

Every sentence hangs on the fact that it states: a layer's own formulas and numbers, or what the step did.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np

from minigan.explain.formulas import formulas_of
from minigan.explain.objectives import LossFormulas
from minigan.explain.page.place import Place
from minigan.explain.second_order import PenaltyFormulas, SecondOrderFormulas
from minigan.explain.step import OpenedGAN, Pass, Update
from minigan.layers import BatchNorm, Layer
from minigan.losses import Penalty
from minigan.network import Sequential
from minigan.optim import SGD, Adam, Optimizer

DATA_GONE = (
    "The data of this run are not at hand, so other samples of G stand in for the real ones on this page. The step is computed "
    "as ever, but D is not shown a real sample."
)


def docstring(subject: Layer | Penalty) -> list[str]:
    """The lines of the first paragraph of the docstring of the own class of a layer or penalty, or that there is none."""
    own, kind = inspect.cleandoc(vars(type(subject)).get("__doc__") or ""), "layer" if isinstance(subject, Layer) else "penalty"
    missing = f"{type(subject).__name__} is no {kind} of minigan's, and has no docstring."
    return own.split("\n\n")[0].split("\n") if own else [missing]


def noise_and_batch(count: int, has_data: bool) -> list[str]:
    batch = "one real sample x" if count == 1 else f"a batch of {count} real samples x"
    return [
        f"The step begins with noise z, drawn from N(0, 1), and {batch}. D has to tell the real from what G makes of the "
        "noise; G has to make D fail. D takes its step first, then G.",
        *([] if has_data else [DATA_GONE]),
    ]


def labels_beside(step: OpenedGAN) -> list[str]:
    """What is to be said where the game has classes."""
    if step.real.labels is None:
        return []
    count = step.real.labels.shape[1]
    return [
        f"Each real sample has the label of one of {count} classes, y, a row with a one at its place. G gets it beside the "
        f"noise, as its last {count} inputs: its sample is to be of the same class."
    ]


def and_its_label(step: OpenedGAN) -> str:
    return "" if step.real.labels is None else ", and its label y"


def scores_of_classes(step: OpenedGAN) -> list[str]:
    if step.real.labels is None:
        return []
    return [
        "D puts out one number for all samples and one for each class, o. The score s is the first and that of the sample's "
        "own label, added; so these two get the gradient of s, and those of the other classes get none."
    ]


def generated(discriminator: Sequential) -> list[str]:
    mixed = any(isinstance(layer, BatchNorm) for layer in discriminator.layers)
    apart = ", so that the statistics of BatchNorm do not mix" if mixed else ""
    return [
        "This is x̃ = G(z). The caches of G's layers are kept: G's own step goes back through this very pass later.",
        f"D now judges real and generated samples, each in a pass of its own{apart}. Both passes, with their caches, are "
        "alive at once.",
    ]


def moved(update: Update) -> bool:
    return any(not np.array_equal(update.before[name], after) for name, after in update.after.items())


def forward(place: Place) -> list[str]:
    known = formulas_of(place.layer)
    return [known.reading] if known else docstring(place.layer)


def judged_again(update_d: Update) -> list[str]:
    """What is to be said as D's second pass begins."""
    return [
        "D has moved since its own step, so it judges x̃ again."
        if moved(update_d)
        else "Now D judges x̃ again, as in every step; this time it has not moved since its own."
    ]


def backward(place: Place, *, input_grad: bool, learned: Sequence[str], update: Update | None) -> list[str]:
    known = formulas_of(place.layer)
    text = docstring(place.layer) if known is None else [known.back] if input_grad else []
    if known and learned and known.learning:
        text.append(known.learning)
    if not input_grad:
        given = "the noise is given" if place.net == "G" else "the samples are given"
        text.append(f"No dx is made: nothing below learns, and {given}.")
    if place.layer.parameters and update is None:
        text.append("D's parameters get no gradient here: this is G's step, and D only passes the gradient on.")
    return text


def cache(place: Place, *, next_keeps_it: bool) -> str:
    """What the layer's cache holds, and what this step makes of it."""
    known = formulas_of(place.layer)
    if known is None:
        return ""
    made_dx, learned = bool(place.input_grads()), place.learned()
    also = ", which the next layer keeps as well" if next_keeps_it and known.cache == "y itself" else ""
    needs = [known.learning_needs if learned else "", known.dx_needs if made_dx else ""]
    words = "; ".join(filter(None, needs))
    if not words:
        words = "no gradient of this step is made of it"
    elif known.learning_needs and not learned:
        words += ", and no gradient of a parameter is made in this pass"
    return f"{known.cache}{also}: {words}."


# -- losses ---------------------------------------------------------------------------------------------------------------

OWN_LOSS = "This game computes this loss in a way of its own, so no formula and no curve stand here, only what it made."


def discriminator_loss(formulas: LossFormulas | None, count: int) -> list[str]:
    if formulas is None:
        own = f"D ends in a number s for each sample. {OWN_LOSS}"
        return [f"{own} The gradient ∂L_D/∂s of every sample starts on its way back here."]
    share = "" if count == 1 else f", divided by N = {count},"
    meaning = (
        "its logit, and believes with probability σ(s) that the sample is real."
        if formulas.is_logit
        else "its score: the higher it is, the more D takes the sample for real."
    )
    paid = f"Each sample pays for how wrong D was; the slope at its place{share} is the gradient that starts on its way back."
    return [f"D ends in a number s for each sample, {meaning}{f' {paid}' if formulas.per_sample else ''}", formulas.reading_d]


def generator_loss(formulas: LossFormulas | None) -> list[str]:
    if formulas is None:
        return [f"{OWN_LOSS} The gradient ∂L_G/∂s of every sample starts on its way back here."]
    again = "" if formulas.per_sample else " Before this, D as just updated judged the real samples again, for L_G compares."
    return [f"L_G falls as D takes G's samples for real. {formulas.reading_g}{again}"]


def part_of(sample: np.ndarray) -> str:
    """What one number of a sample is."""
    return "pixel" if sample.ndim == 3 else "coordinate" if sample.shape == (2,) else "value"


def image_gradient(sample: np.ndarray, formulas: LossFormulas | None) -> list[str]:
    value = part_of(sample)
    aim = "to make D take the sample for real" if formulas else "to lower L_G"
    return [
        f"Here the gradient leaves D and enters G. Its negative is how each {value} should change {aim}: all that G learns of "
        "the real samples comes through here.",
    ]


# -- penalties ------------------------------------------------------------------------------------------------------------


def also_penalised(step: OpenedGAN) -> list[str]:
    """What is to be said beside L_D."""
    return (
        ["That is not all that D pays: L_D + P is what it minimises, and P comes after the way back."] if step.penalties else []
    )


def penalty(record: Pass, known: PenaltyFormulas | None, step: OpenedGAN, sweeps_back: bool) -> list[str]:
    """The station of a penalty: what it wants, how g was made, and by which ways its gradient comes."""
    net, one = record.net, record.second.penalty if record.second else None
    text = [known.reading] if known else docstring(one) if one is not None else ["D also pays for its slope g."]
    every, start = (
        getattr(step.game, "penalty_every", 1),
        "ds = 1" if record.labels is None else "ds = 1, which is do = [1, y],",
    )
    if every > 1:
        text.append(f"It is taken in one step of {every}, with {every} times its weight.")
    mixed = "".join(
        f" {layer.name} lets the samples of a batch act on each other, so g_n also holds how x_n moves the other logits."
        for layer in [layer for layer in net.layers if layer.cross_sample][:1]
    )
    shared = (
        " Where no one watches, this pass and that of L_D are one, for D is linear piece by piece; here they run apart."
        if net.piecewise_linear and one is not None and one.batch is not None
        else ""
    )
    falls_away = (
        "Where a layer's slope moves with its input, that is felt too, by c; from there a last sweep leads down through D."
        if sweeps_back
        else "No slope in D moves with what comes in, piece by piece, so there is no c and no last sweep."
    )
    return [
        *text,
        f"D's slope g was made by a pass of its own: forwards, and backwards from {start} for every sample. The gradient b at "
        f"each layer's output was kept.{mixed}{shared}",
        "P reaches D's weights through g alone. With v = ∂P/∂g held fixed, its gradient is that of v · g, and v · g is how "
        "much the logits change, in sum, as x moves along v. So v is pushed forwards through D: the tangents ẏ. What each of "
        f"them owes to the weights is P's gradient, and no backward pass is ever differentiated. {falls_away}",
    ]


def curvature(place: Place, known: SecondOrderFormulas | None, has_c: bool, has_a: bool) -> list[str]:
    text = [known.reading] if known else docstring(place.layer)
    if has_a:
        added = ": what it owes to this layer's parameters is added" if place.layer.parameters else ""
        text.append(f"a comes down from the layers above, whose slopes moved{added}.")
    return text


# -- updates --------------------------------------------------------------------------------------------------------------


def follows(optimizer: Optimizer, kind: type[Optimizer]) -> bool:
    """True if the update is the one that this class of minigan's writes down, and not that of a class derived from it."""
    own = type(optimizer)
    return isinstance(optimizer, kind) and own.apply is kind.apply and own.scalars is kind.scalars


def update(update: Update, minimised: str) -> list[str]:
    """What the optimiser did, and what that made of what is minimised, by its name."""
    optimizer = update.optimizer
    text = ["The gradients are all there; now the parameters move."]
    if not moved(update):
        text = [
            "The gradients are all there, but the parameters stay where they are"
            + (": the learning rate is 0." if not update.lr else ".")
        ]
    elif follows(optimizer, Adam):
        text[0] += _adam(optimizer)
    elif follows(optimizer, SGD):
        text[0] += _sgd(optimizer)
    coming = optimizer.schedule(optimizer.steps)
    if coming != update.lr:
        text.append(f"The schedule {'lowers' if coming < update.lr else 'raises'} the learning rate from here to {coming:.4g}.")
    return [*text, f"On this same batch {minimised} goes from {update.loss_before:.5f} to {update.loss_after:.5f}."]


def discriminator_update(step: OpenedGAN) -> list[str]:
    if not step.penalties:
        return update(step.update_d, "L_D")
    return ["D minimises L_D + P, so the gradients of both were added.", *update(step.update_d, "L_D + P")]


def generator_update(step: OpenedGAN) -> list[str]:
    decay = getattr(step.game, "ema", None)
    average = (
        f"A moving average of G's weights then follows them, with a decay of {decay:g} (less in the first steps). Samples "
        "are drawn with that average; in this step it plays no part."
        if decay
        else ""
    )
    return [*update(step.update_g, "L_G"), *filter(None, [average])]


def _adam(adam: Any) -> str:
    b1, b2 = adam.betas
    what = "each gradient" if b1 == 0 else f"a running mean of each weight's gradients (β₁ = {b1:g})"
    by = "its own size" if b2 == 0 else f"the root mean square of that weight's recent ones (β₂ = {b2:g})"
    lesson = ": what counts is how unusual a gradient is for its weight, not how large it is." if b2 else "."
    if adam.steps == 1:
        lesson = "; in a first step all that remains is the sign, and every weight moves by about the learning rate."
    first = f" Weight decay shrinks every weight first (λ = {adam.weight_decay:g})." if adam.weight_decay else ""
    return f"{first} Adam divides {what} by {by}{lesson}"


def _sgd(sgd: Any) -> str:
    if not sgd.momentum:
        return " SGD moves every weight against its gradient, by the learning rate times its size."
    ahead = " Nesterov's form adds the gradient once more, as if taken a step ahead." if sgd.nesterov else ""
    keeps = f"keeps a running sum u of the gradients, of which a part ρ = {sgd.momentum:g} stays from step to step"
    return f" SGD with momentum {keeps}.{ahead}"
