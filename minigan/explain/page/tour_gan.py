"""The tour through a GAN's step."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigan.explain.page import tour as ask
from minigan.explain.page.tour import Stop, number, station
from minigan.explain.page.walk_gan import GANWalk


def gan_tour(walk: GANWalk) -> list[dict[str, Any]]:
    step, at, penalised = walk.step, walk.stations, "L_D + P" if walk.step.penalties else "L_D"
    z = (
        "How many numbers is G given for a sample, compared with those that it makes?",
        "G is given {given} numbers and makes {made} of them. What is not in the noise must come out of G's weights.",
    )
    last, first = step.judged.output_grads[-1], step.generator.output_grads[0]
    stops = [
        _who_scores_higher(walk),
        _sign_for_real(walk),
        _wish(walk),
        _judged_again(walk),
        ask.goes_down(station(at, kind="update", act="D"), step.update_d, penalised),
        _slope(walk),
        _classes(walk),
        _undecided(walk),
        ask.stride(station(at, kind="update", act="G"), step.update_g),
        ask.sizes(station(at, kind="input", label="z"), step.generator.x, step.generator.outputs[-1], *z),
        *(
            [
                ask.change_of_size(
                    station(at, kind="backward", net="G", index=0), last, first, "from L_G through D to G's first layer"
                )
            ]
            if last is not None and first is not None
            else []
        ),
        ask.sum_through_norm(at, "G", step.generator),
        ask.zeros(at, "G", step.generator),
        ask.through_activation(at, "D", "D", step.fake),
    ]
    return ask.tour(stops)


def _who_scores_higher(walk: GANWalk) -> Stop | None:
    at, step = station(walk.stations, kind="input", label="x̃"), walk.step
    real, fake = float(step.real.s.mean()), float(step.fake.s.mean())
    name = "logit" if walk.is_logit else "score"
    if at is None:
        return None
    return Stop(
        at,
        f"D is about to judge both batches. Which of them gets the higher mean {name} s?",
        (walk.real_samples, "they are level", "generated samples"),
        2 - ask.compared(real, fake),
        f"The mean is {number(real)} for {walk.real_samples} and {number(fake)} for generated ones. The higher s is, the more "
        "D takes the samples for real.",
    )


def _undecided(walk: GANWalk) -> Stop | None:
    at, undecided, loss = station(walk.stations, kind="loss", label="L_D"), walk.curves.undecided("D"), walk.step.loss_d
    if at is None or undecided is None:
        return None
    return Stop(
        at,
        f"A D that gives every sample s = 0 pays {undecided:.4f}. This D, on this batch, pays",
        ("less", "the same", "more"),
        ask.compared(loss, undecided),
        f"L_D = {loss:.4f}, {number(abs(loss - undecided))} {'above' if loss > undecided else 'below'} that of a D that cannot "
        "tell at all.",
    )


def _sign_for_real(walk: GANWalk) -> Stop | None:
    step, last = walk.step, len(walk.step.real.net.layers) - 1
    at, ds = station(walk.stations, kind="backward", net="D", act="D", index=last), step.real.ds
    if at is None or ds is None:
        return None
    negative, positive = int((ds < 0).sum()), int((ds > 0).sum())
    right = 0 if not positive and negative else 2 if positive and not negative else 1
    return Stop(
        at,
        f"The first gradient on its way back is ∂L_D/∂s. What is its sign for {walk.real_samples}?",
        ("negative for all", "mixed, or 0", "positive for all"),
        right,
        f"It is negative for {negative} of {ds.size} and positive for {positive}. Where it is negative, L_D falls as s rises: "
        "D is told to score that sample higher.",
    )


def _slope(walk: GANWalk) -> Stop | None:
    at = station(walk.stations, kind="penalty")
    if at is None:
        return None
    g = walk.step.penalties[0].input_grad
    assert g is not None
    slopes = np.sqrt((g.reshape(len(g), -1) ** 2).sum(axis=1))
    return Stop(
        at,
        "The penalty looks at D's slope ‖g_n‖ at each of its points. On average, the slope is",
        ("below 1", "1", "above 1"),
        ask.compared(float(slopes.mean()), 1.0),
        f"Its mean is {number(float(slopes.mean()))}, from {number(float(slopes.min()))} to {number(float(slopes.max()))}: by "
        "so much s changes when a sample moves by a distance of 1 the way in which s changes most.",
    )


def _classes(walk: GANWalk) -> Stop | None:
    step, last = walk.step, len(walk.step.real.net.layers) - 1
    at, do = station(walk.stations, kind="backward", net="D", act="G", index=last), step.judged.output_grads[-1]
    if at is None or do is None or step.judged.labels is None:
        return None
    counts = np.count_nonzero(do, axis=1)
    return Stop(
        at,
        f"D puts out {do.shape[1]} numbers for a sample: one for all, and one for each class. How many of them get a gradient?",
        ("one", "two", f"all {do.shape[1]}"),
        {1: 0, 2: 1}.get(int(counts.max()), 2),
        f"{int(counts.max())} for each sample of this batch: the score is the sum of the first and of that of the sample's own "
        "label, and the outputs of other classes play no part in it.",
    )


def _judged_again(walk: GANWalk) -> Stop | None:
    at, step = station(walk.stations, kind="loss", label="L_G"), walk.step
    before, after = float(step.fake.s.mean()), float(step.judged.s.mean())
    if at is None:
        return None
    return Stop(
        at,
        f"D has made its step since it judged x̃ (mean s = {number(before)}). The mean s of the same samples is now",
        ("lower", "the same", "higher"),
        ask.compared(after, before),
        f"It is {number(after)}. D moved to tell real from generated, so as a rule it falls, and G has to make up for that.",
    )


def _wish(walk: GANWalk) -> Stop | None:
    """The sign of what D asks for, at the number for which it asks most among the samples that the page shows."""
    at, grad = station(walk.stations, kind="backward", label="∂/∂x̃"), walk.step.judged.input_grad
    if at is None or grad is None:
        return None
    shown = grad[: walk.budget.samples]
    n, *place = (int(k) for k in np.unravel_index(int(np.abs(shown).argmax()), shown.shape))
    wish, where = -float(grad[(n, *place)]), ", ".join(map(str, place))
    if not wish:
        return None
    is_plane = grad.shape[1:] == (2,)
    words = (("to the left", "to the right") if place[0] == 0 else ("down", "up")) if is_plane else ("lower", "higher")
    words = ("darker", "brighter") if grad.ndim == 4 and grad.shape[-1] in (1, 3) else words
    what = "the point" if is_plane else "that pixel" if grad.ndim == 4 else "that number"
    return Stop(
        at,
        f"Of sample {n}, D's wish is strongest at [{where}]. To be taken for real, {what} should go {words[0]} or {words[1]}? "
        f"Look at x̃ first: it is {number(float(walk.step.judged.x[(n, *place)]))} there.",
        words,
        int(wish > 0),
        f"−∂L_G/∂x̃[{n}, {where}] = {number(wish)}, so {words[int(wish > 0)]}. This is all that G ever learns of real samples.",
    )
