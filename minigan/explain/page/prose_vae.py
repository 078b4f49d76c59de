"""What the stations of a VAE's step say that no other game has, in sentences that are true of the page's own game."""

from __future__ import annotations

import numpy as np

from minigan.explain.likelihoods import LikelihoodFormulas
from minigan.explain.page.prose import moved, part_of, update
from minigan.explain.step import OpenedVAE

DATA_GONE = (
    "The data of this run are not at hand, so samples that D made stand in for the real ones on this page. The step is "
    "computed as ever, but E is not shown a real sample."
)
OWN_LIKELIHOOD = "This game computes −log p(x|z) in a way of its own, so no formula stands here, only what it made."
OWN_KL = "This game computes the KL in a way of its own, so no formula stands here, only what it made."


def batch_and_noise(step: OpenedVAE, has_data: bool) -> list[str]:
    count, size = step.noise.shape
    batch = "one real sample x" if count == 1 else f"a batch of {count} real samples x"
    return [
        f"The step begins with {batch}. The encoder E turns each into a distribution of codes z, the decoder D a code into a "
        "distribution of samples. They share one loss: D should find x likely when it is given a code drawn for x, and the "
        "codes of x should not stray far from N(0, I), for from there codes are drawn when samples are made.",
        f"ε is noise from N(0, 1), {_numbers(size)} for each sample: with it, E's distribution becomes a draw. Wherever this "
        "page runs the step again, ε is held fixed.",
        *([] if has_data else [DATA_GONE]),
    ]


def _numbers(count: int) -> str:
    return "one number" if count == 1 else f"{count} numbers"


def draw(size: int) -> list[str]:
    halves = "a mean μ and a log variance ℓ" if size == 1 else f"{size} means μ and {size} log variances ℓ"
    return [
        f"E ends in h, {halves}: a Gaussian of codes for each sample, q(z|x) = N(μ, σ²). As σ = exp(ℓ/2), it is above 0 "
        "whatever E puts out.",
        "From it one code is drawn, z = μ + σ ε. All the chance is in ε, which depends on no weight; so z can be "
        "differentiated in μ and σ, as an output of any layer can: the reparametrisation.",
    ]


def likelihood(known: LikelihoodFormulas | None) -> list[str]:
    start = "Its gradient ∂R/∂y starts on its way back here; that of the KL starts at E's output."
    return [known.reading if known else OWN_LIKELIHOOD, start]


def kl(known: bool, idle: int, size: int) -> list[str]:
    if not known:
        return [OWN_KL]
    text = [
        "How far each q(z|x) is from N(0, I), in nats: what the code tells of x, and what it costs. It needs no draw, and D "
        "takes no part in it. A dimension with μ = 0 and σ = 1 for every sample costs nothing and tells nothing.",
    ]
    if idle:
        which = "The one dimension of this code is" if size == 1 else f"{idle} of the {size} dimensions of this code are"
        text.append(f"{which} all but idle: less than 0.01 nats, in the mean over the batch.")
    return text


def loss(step: OpenedVAE) -> list[str]:
    weight = step.weight
    text = ["Both networks minimise L, the sum of the two."]
    if weight == 1:
        text.append("As the KL weighs 1, L is the negative of a bound: on average, log p(x) is at least −L.")
    elif weight == 0:
        text.append("The KL weighs 0 in this step, so nothing holds the codes near N(0, I), and L says nothing of log p(x).")
    else:
        much = "less" if weight < 1 else "more"
        text.append(f"The KL weighs β = {weight:g}, {much} than the 1 at which −L would be the bound of log p(x).")
    coming = float(step.game.kl_weight(step.game.optimizer_e.steps))
    if coming != weight:
        text.append(f"The schedule {'lowers' if coming < weight else 'raises'} that weight from here to {coming:.4g}.")
    return text


def draw_back() -> list[str]:
    return [
        "The gradient leaves D and enters the draw. z moves as μ moves, one to one, so μ gets dz as it is. It moves with ℓ by "
        "½ σ ε: what a sample learns of its spread depends on where its ε happened to fall.",
        "What arrives at h is ∂R/∂h, R's share of L's gradient: all that E learns of how well x is made comes through here.",
    ]


def added(step: OpenedVAE) -> list[str]:
    weighed = {1.0: "the KL's is added as it is", 0.0: "the KL's is added with a weight of 0"}
    how = weighed.get(step.weight, f"β = {step.weight:g} times the KL's is added")
    return [
        f"h acts on L by two ways, through the draw and through the KL, so it gets two gradients: {how}. The KL's draws μ to 0 "
        "and σ to 1, which makes all codes alike; R's draws the codes of samples that look different apart.",
        "The sum goes back through E.",
    ]


def encoder_update(step: OpenedVAE) -> list[str]:
    still = "D stands where it was in that comparison; it moves next, by the gradient that it has got already."
    return [*update(step.updates["encoder"], "L"), *([still] if moved(step.updates["decoder"]) else [])]


def decoder_update(step: OpenedVAE) -> list[str]:
    before = "E has moved already in that comparison; the gradients of both were made before."
    return [*update(step.updates["decoder"], "L"), *([before] if moved(step.updates["encoder"]) else [])]


def samples(sample: np.ndarray) -> list[str]:
    return [
        "After the step, D makes samples of codes drawn from N(0, I): E takes no part. They look like x as far as N(0, I) is "
        f"where E puts its codes. Each {part_of(sample)} is the mean of what D finds likely there.",
    ]
