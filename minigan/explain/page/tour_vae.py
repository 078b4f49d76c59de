"""The tour through a VAE's step."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigan.explain.page import tour as ask
from minigan.explain.page.tour import Stop, number, station
from minigan.explain.page.walk_vae import BACK, IDLE, VAEWalk
from minigan.losses.variational import divergence, halves


def vae_tour(walk: VAEWalk) -> list[dict[str, Any]]:
    step, at = walk.step, walk.stations
    code = (
        "How many numbers has a code, compared with the sample that it stands for?",
        "A code has {given} numbers, a sample {made}. What the code does not say, D must know by itself.",
    )
    e, last, first = step.updates["encoder"], step.decoder.output_grads[-1], step.encoder.output_grads[0]
    stops = [
        _sign_of_reconstruction(walk),
        _width(walk),
        _idle(walk),
        _larger_part(walk),
        _through_draw(walk),
        _two_gradients(walk),
        ask.goes_down(station(at, kind="update", net="E"), e, "L"),
        _nearer(walk),
        ask.sizes(station(at, kind="input", label="x"), walk.z, walk.x, *code),
        ask.stride(station(at, kind="update", net="D"), step.updates["decoder"]),
        *(
            [
                ask.change_of_size(
                    station(at, kind="backward", net="E", index=_lowest(walk)), last, first, "from R through D to E"
                )
            ]
            if last is not None and first is not None
            else []
        ),
        ask.through_activation(at, BACK, "D", step.decoder),
    ]
    return ask.tour(stops)


def _lowest(walk: VAEWalk) -> int | None:
    """E's lowest layer with a station of its backward pass."""
    return min((s["index"] for s in walk.stations if (s["kind"], s["net"]) == ("backward", "E") and "index" in s), default=None)


def _width(walk: VAEWalk) -> Stop | None:
    at, sigma = station(walk.stations, label="z = μ + σ ε"), float(walk.sigma.mean())
    if at is None:
        return None
    return Stop(
        at,
        "E gives each sample a Gaussian of codes. Beside the σ = 1 of N(0, I), its σ is, on average,",
        ("less than half as wide", "between half as wide and as wide", "wider"),
        0 if sigma < 0.5 else 1 if sigma <= 1 else 2,
        f"The mean of σ is {number(sigma)}, from {number(float(walk.sigma.min()))} to {number(float(walk.sigma.max()))}. The "
        "narrower it is, the more exactly the code says which sample it stands for, and the more it costs.",
    )


def _sign_of_reconstruction(walk: VAEWalk) -> Stop | None:
    at, dy = station(walk.stations, kind="loss", label="R"), walk.step.decoder.output_grads[-1]
    if at is None or dy is None:
        return None
    below = walk.reconstructed < walk.x
    signs = dy[below]
    if not signs.size:
        return None
    negative = float(np.mean(signs < 0))
    return Stop(
        at,
        "Where the reconstruction x̂ lies below x, what is the sign of ∂R/∂y?",
        ("negative", "either", "positive"),
        0 if negative > 0.99 else 2 if negative < 0.01 else 1,
        f"x̂ lies below x in {signs.size:,} of {dy.size:,} values, and in {100 * negative:.1f} % of them ∂R/∂y is negative: "
        "where it is, R falls as y rises.",
    )


def _idle(walk: VAEWalk) -> Stop | None:
    at = station(walk.stations, kind="loss", label="KL")
    if at is None or not walk.knows_kl:
        return None
    cost = divergence(np, walk.mean, walk.log_var).mean(axis=0)
    idle = int((cost < IDLE).sum())
    return Stop(
        at,
        f"A dimension of the code that costs less than {IDLE} nats tells all but nothing. Of these {cost.size} dimensions, so "
        "cheap are",
        ("none", "some", "all"),
        0 if not idle else 2 if idle == cost.size else 1,
        f"{idle} of {cost.size}. They cost from {number(float(cost.min()))} to {number(float(cost.max()))} nats, in the mean "
        "over the batch.",
    )


def _larger_part(walk: VAEWalk) -> Stop | None:
    at, stats = station(walk.stations, kind="loss", label="L"), walk.step.stats
    reconstruction, kl = stats["reconstruction"], walk.step.weight * stats["kl"]
    if at is None:
        return None
    return Stop(
        at,
        "L = R + β KL. The larger of the two parts is",
        ("β KL", "they are level", "R"),
        ask.compared(reconstruction, kl),
        f"R = {number(reconstruction, 4)} and β KL = {number(kl, 4)}. Which is larger does not say which moves the weights "
        "more: that is for the gradients to say.",
    )


def _through_draw(walk: VAEWalk) -> Stop | None:
    at, dz = station(walk.stations, kind="backward", label="∂/∂z"), walk.step.decoder.input_grad
    if at is None or dz is None:
        return None
    share, _ = halves(walk.step.shares["reconstruction"].gradient)
    choices = {"1": np.ones_like(dz), "σ": walk.sigma, "ε": walk.step.noise}
    off = {name: float(np.abs(share - factor * dz).max()) for name, factor in choices.items()}
    best = min(off, key=lambda name: off[name])
    return Stop(
        at,
        "z = μ + σ ε. By which factor does dz become ∂R/∂μ?",
        tuple(choices),
        list(choices).index(best),
        f"By {best}: in this batch ∂R/∂μ and that product differ by at most {number(off[best], 2)}, with the other factors by "
        f"{' and '.join(number(value, 2) for name, value in off.items() if name != best)}.",
    )


def _two_gradients(walk: VAEWalk) -> Stop | None:
    at, step = station(walk.stations, kind="backward", label="∂/∂h"), walk.step
    draw, kl = step.shares["reconstruction"].gradient.ravel(), step.weight * step.shares["kl"].gradient.ravel()
    sizes = float(np.linalg.norm(draw) * np.linalg.norm(kl))
    if at is None or not sizes:
        return None
    cosine = float(draw @ kl) / sizes
    return Stop(
        at,
        "Two gradients meet at h, that of R and that of β KL. Taken over the whole batch, they pull",
        ("against each other", "at right angles", "the same way"),
        1 if abs(cosine) < 1e-12 else 2 if cosine > 0 else 0,
        f"The cosine of the angle between them is {number(cosine)}; their norms are {number(float(np.linalg.norm(draw)))} and "
        f"{number(float(np.linalg.norm(kl)))}. Where training has come to rest, they would cancel.",
    )


def _nearer(walk: VAEWalk) -> Stop | None:
    at = station(walk.stations, kind="input", label="samples")
    x = walk.x.reshape(len(walk.x), -1)

    def nearest(made: np.ndarray) -> float:
        return float(np.mean([np.sqrt(((x - one) ** 2).sum(axis=1)).min() for one in made.reshape(len(made), -1)]))

    samples, again = nearest(walk.samples), nearest(walk.reconstructed)
    if at is None:
        return None
    return Stop(
        at,
        "Which lie nearer to this batch (the distance to the nearest x, on average): reconstructions of it, or new samples?",
        ("new samples", "they are level", "reconstructions"),
        ask.compared(samples, again),
        f"New samples: {number(samples)}; reconstructions: {number(again)}. E saw the batch and tells D of it; a sample "
        "is made of a code that stands for nothing real.",
    )
