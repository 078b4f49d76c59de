"""The walk through a VAE's step: x becomes a code, a draw from it a reconstruction; the gradient comes back, both move."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from minigan.backends import Backend, get_backend
from minigan.checks.entries import Comparison
from minigan.explain.breaking import Breaking
from minigan.explain.likelihoods import LikelihoodFormulas, likelihood_formulas
from minigan.explain.page import prose_vae as prose
from minigan.explain.page.arrays import Arrays
from minigan.explain.page.budget import Budget
from minigan.explain.page.facts import checks, fact, shape_fact, size_fact
from minigan.explain.page.place import Way
from minigan.explain.page.plane import Plane
from minigan.explain.page.walk import Walk, in_mathml
from minigan.explain.step import OpenedVAE
from minigan.losses import gaussian_kl
from minigan.losses.variational import divergence, halves

THERE, BACK = "there", "back"  # the acts
IDLE = 0.01  # nats: a dimension of the code whose KL is below tells all but nothing
DRAW = (r"z = \mu + \sigma \, \varepsilon, \qquad \sigma = e^{\ell / 2}, \qquad h = (\mu, \ell)",)
DRAW_GRAD = (
    r"\frac{\partial R}{\partial \mu} = dz, \qquad "
    r"\frac{\partial R}{\partial \ell} = \frac{1}{2} \, \sigma \, \varepsilon \, dz",
)
KL = (
    r"\text{KL} = \frac{1}{N} \sum_{n,j} \frac{1}{2} \left( \mu_{nj}^2 + e^{\ell_{nj}} - 1 - \ell_{nj} \right)",
    r"\frac{\partial \, \text{KL}}{\partial \mu_{nj}} = \frac{\mu_{nj}}{N}, \qquad "
    r"\frac{\partial \, \text{KL}}{\partial \ell_{nj}} = \frac{e^{\ell_{nj}} - 1}{2 N}",
)
LOSS = (r"L = R + \beta \, \text{KL}, \qquad R = -\log p(x \mid z)",)
BOUND = (r"\log p(x) \ge \mathbb{E}_q \log p(x \mid z) - \text{KL} \left( q(z \mid x) \, \| \, N(0, I) \right)",)
ADDED = (r"\frac{\partial L}{\partial h} = \frac{\partial R}{\partial h} + \beta \, \frac{\partial \, \text{KL}}{\partial h}",)
HALVES = {"mean": "μ", "log_var": "ℓ"}


class VAEWalk(Walk):
    """Forwards to the loss, and back."""

    acts = (
        {"name": THERE, "aim": "Forwards: x becomes a code, and the code a reconstruction", "step": "the VAE's step"},
        {"name": BACK, "aim": "Backwards: what D, the code and E should do", "step": "the VAE's step"},
    )
    intro = (
        "A VAE is two networks that learn together: an encoder E turns a sample into a few numbers, its code, and a decoder D "
        "turns the code into the sample again, as well as it can.",
        "As the codes are also held close to plain random noise, D can afterwards be given such noise alone, and what it makes "
        "of it are new samples.",
    )
    gaps: ClassVar = {"x": (0, "x"), "z = μ + σ ε": (1, "z"), "∂/∂z": (1, "z"), "∂/∂h": (1, "h")}
    seam = "E ends at h = (μ, ℓ), which says where the code lies; the code z is drawn there, and D begins at z."

    def __init__(
        self, step: OpenedVAE, arrays: Arrays, budget: Budget, has_data: bool = True, breaking: Breaking | None = None
    ) -> None:
        super().__init__(arrays, budget, has_data, breaking)
        self.step = step
        self.x, self.h, self.z, self.y = step.batch, step.encoder.outputs[-1], step.decoder.x, step.decoder.outputs[-1]
        self.mean, self.log_var = halves(self.h)
        self.sigma = np.exp(self.log_var / 2)
        self.likelihood = step.game.likelihood.bind(get_backend("textbook"))
        self.reconstructed = self.likelihood.mean(self.y)
        self.known = self._known_likelihood()
        self.knows_kl = bool(np.isclose(gaussian_kl(Backend(), self.h)[0], step.stats["kl"], rtol=1e-9))
        self.unit = " (nats)" if self.known and self.knows_kl else ""
        self.players = (("E", "E, the encoder", step.encoder), ("D", "D, the decoder", step.decoder))
        e, d = step.updates["encoder"], step.updates["decoder"]
        makes_samples = bool(np.array_equal(self.reconstructed, self.y))
        self.coded = Way("E", {"": step.encoder}, "L", e.before, e, takes_samples=True)
        self.decoded = Way("D", {"": step.decoder}, "L", d.before, d, makes_samples=makes_samples)
        self.ways_back = ((BACK, self.decoded), (BACK, self.coded))
        self.samples = step.game.sample(len(self.x), seed=0)
        shown = np.concatenate([self.reconstructed, self.samples])
        names = {"real": self.real_samples, "generated": "reconstructions"}
        self.plane = Plane(arrays, {"real": self.x, "generated": shown}, names) if self.x.shape[1:] == (2,) else None
        codes = {"real": self.mean, "generated": self.z}
        self.codes = Plane(arrays, codes, {"real": "means μ", "generated": "codes z"}) if self.z.shape[1] == 2 else None

    def _known_likelihood(self) -> LikelihoodFormulas | None:
        """Its formulas, where the step's numbers are those that it makes."""
        value, dy = self.likelihood.loss(self.y, self.x)
        found = self.step.decoder.output_grads[-1]
        assert found is not None
        agrees = np.isclose(value, self.step.stats["reconstruction"], rtol=1e-9) and np.allclose(
            dy, found, rtol=1e-9, atol=1e-12
        )
        return likelihood_formulas(self.likelihood) if agrees else None

    def walk(self) -> None:
        self._begin()
        self._all_forward(THERE, self.coded)
        self._draw()
        self._all_forward(THERE, self.decoded)
        self._likelihood()
        self._kl()
        self._loss()
        self._all_backward(BACK, self.decoded)
        self._draw_back()
        self._added()
        self._all_backward(BACK, self.coded)
        self._update(BACK, self.coded, prose.encoder_update(self.step), "E: ")
        self._update(BACK, self.decoded, prose.decoder_update(self.step), "D: ")
        self._sampled()

    def _rows(self, role: str, caption: str, array: np.ndarray, image: bool = False) -> dict[str, Any]:
        return self.figures.samples(role, caption, {"": array}, image)

    def _as_picture(self, role: str, caption: str, samples: np.ndarray) -> dict[str, Any]:
        """Images that may leave [−1, 1], as pictures."""
        outside = samples.ndim == 4 and float(np.abs(samples).max()) > 1
        clipped = np.clip(samples, -1, 1) if outside else samples
        return self._rows(role, f"{caption}{', cut to [−1, 1]' if outside else ''}", clipped, image=True)

    def _draw_plane(
        self, plane: Plane | None, caption: str, points: Mapping[str, np.ndarray], arrows: np.ndarray | None = None
    ) -> dict[str, Any]:
        return {"plane": plane.picture(caption, points, arrows=arrows)} if plane else {}

    # -- forwards ------------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        noise = self.step.noise
        self._add(
            *(THERE, "input", "E", "x", "A batch of samples, and noise for their codes"),
            prose.batch_and_noise(self.step, self.has_data),
            figures=[
                self._rows("x", f"{self.real_samples} x", self.x, image=True),
                self._rows("noise", "ε of this sample", noise),
            ],
            facts=[shape_fact("x", self.x), shape_fact("ε", noise)],
            **self._draw_plane(self.plane, f"{self.real_samples}: the whole batch", {"real": self.x}),
        )

    def _draw(self) -> None:
        sigma = self.sigma.mean()
        self._add(
            *(THERE, "forward", "", "z = μ + σ ε", "A code is drawn: z = μ + σ ε"),
            prose.draw(self.z.shape[1]),
            formulas=in_mathml(DRAW),
            symbols="ℓ = log σ², element by element",
            figures=[
                self._rows("mean", "μ: the first half of h", self.mean),
                self._rows("log_var", "ℓ: the second half of h", self.log_var),
                self._rows("sigma", "σ = exp(ℓ/2)", self.sigma),
                self._rows("noise", "ε", self.step.noise),
                self._rows("z", "z: what D is given", self.z),
            ],
            facts=[
                shape_fact("h → z", self.h, self.z),
                fact("σ", f"mean {sigma:.4g}, from {self.sigma.min():.4g} to {self.sigma.max():.4g}"),
                size_fact("μ", {"": self.mean}),
            ],
            **self._draw_plane(
                self.codes, "The codes of the batch: means, and draws", {"real": self.mean, "generated": self.z}
            ),
        )

    def _likelihood(self) -> None:
        known, step = self.known, self.step
        figures = [
            self._rows("x", f"{self.real_samples} x", self.x, image=True),
            self._as_picture("reconstruction", "x̂, the mean of p(x|z): its reconstruction", self.reconstructed),
        ]
        if known:
            figures.append(self._rows("cost", "what each value pays, in nats", known.cost(self.y, self.x)))
        dy = step.decoder.output_grads[-1]
        assert dy is not None
        figures.append(self._rows("dy", "∂R/∂y", dy))
        points = {"real": self.x, "generated": self.reconstructed}
        self._add_term(
            "R",
            f"The reconstruction: {self.likelihood!r}",
            prose.likelihood(known),
            (known.value, known.grad, known.mean) if known else (),
            f"N = {len(self.x)}; {known.symbols}" if known else "",
            step.stats["reconstruction"],
            figures=figures,
            checks=checks("∂R/∂y", {"": step.decoder.checks[-1]}),
            **self._draw_plane(self.plane, "The batch, its reconstructions, and −∂R/∂y as arrows", points, -dy),
        )

    def _kl(self) -> None:
        step, cost = self.step, divergence(np, self.mean, self.log_var)
        share, by_dimension = step.shares["kl"], cost.mean(axis=0)
        idle = int((by_dimension < IDLE).sum())
        figures = [self._rows("mean", "μ", self.mean), self._rows("log_var", "ℓ", self.log_var)]
        more = []
        if self.knows_kl:
            figures.append(self._rows("cost", "what each dimension of the code costs, in nats", cost))
            more = [fact("by dimension, mean over the batch", f"from {by_dimension.min():.3g} to {by_dimension.max():.3g}")]
        for role, gradient in zip(HALVES, halves(share.gradient), strict=True):
            figures.append(self._rows(f"d{role}", f"∂KL/∂{HALVES[role]}", gradient))
        self._add_term(
            "KL",
            "The KL divergence from N(0, I)",
            prose.kl(self.knows_kl, idle, len(by_dimension)),
            KL if self.knows_kl else (),
            f"N = {len(self.x)}; j: dimension of the code, of {len(by_dimension)}" if self.knows_kl else "",
            step.stats["kl"],
            more,
            figures=figures,
            checks=_of_halves("KL", share.checks, len(by_dimension)),
        )

    def _loss(self) -> None:
        stats, weight = self.step.stats, self.step.weight
        parts = [fact("R", f"{stats['reconstruction']:.6f}"), fact("KL", f"{stats['kl']:.6f}"), fact("β", f"{weight:g}")]
        bound, symbols = (BOUND, "; 𝔼_q: the mean over draws of z, of which R takes one") if weight == 1 else ((), "")
        text, name = prose.loss(self.step), "The loss of both networks"
        self._add_term("L", name, text, (*LOSS, *bound), f"β = {weight:g}{symbols}", stats["loss"], parts)

    def _add_term(
        self,
        name: str,
        title: str,
        text: Sequence[str],
        tex: Sequence[str],
        symbols: str,
        value: float,
        facts: Sequence[dict[str, Any]] = (),
        **more: Any,
    ) -> None:
        """A station of a loss or of one of its terms."""
        found = [fact(name, f"{value:.6f}{' nats a sample' if self.unit else ''}"), *facts]
        more |= {"formulas": in_mathml(tex), "symbols": symbols, "facts": found, "loss": value}
        self._add(THERE, "loss", "", name, title, text, **more)

    # -- back ----------------------------------------------------------------------------------------------------------

    def _draw_back(self) -> None:
        share, dz = self.step.shares["reconstruction"], self.step.decoder.input_grad
        assert dz is not None
        figures = [
            self._rows("dz", "dz = ∂L/∂z, coming from D", dz),
            self._rows("noise", "ε", self.step.noise),
            self._rows("sigma", "σ", self.sigma),
        ]
        for role, gradient in zip(HALVES, halves(share.gradient), strict=True):
            figures.append(self._rows(f"d{role}", f"∂R/∂{HALVES[role]}, going on to h", gradient))
        points = {"real": self.mean, "generated": self.z}
        self._add(
            *(BACK, "backward", "", "∂/∂z", "Back through the draw: from z to μ and ℓ"),
            prose.draw_back(),
            formulas=in_mathml(DRAW_GRAD),
            figures=figures,
            facts=[size_fact("dz", {"": dz}), size_fact("∂R/∂h", {"": share.gradient})],
            checks=[
                *checks("∂L/∂z", {"": self.step.decoder.input_checks}),
                *_of_halves("R", share.checks, self.z.shape[1]),
            ],
            **self._draw_plane(self.codes, "The codes, and −∂L/∂z as arrows", points, -dz),
        )

    def _added(self) -> None:
        step, weight = self.step, self.step.weight
        of_draw, of_kl = step.shares["reconstruction"].gradient, weight * step.shares["kl"].gradient
        whole = step.encoder.output_grads[-1]
        assert whole is not None
        figures = []
        for half, (role, letter) in enumerate(HALVES.items()):
            parts = {
                f"draw_{role}": (f"∂R/∂{letter}, by the draw", of_draw),
                f"kl_{role}": (f"β ∂KL/∂{letter}", of_kl),
                f"d{role}": (f"∂L/∂{letter}: their sum", whole),
            }
            figures += [self._rows(name, caption, halves(array)[half]) for name, (caption, array) in parts.items()]
        self._add(
            *(BACK, "backward", "", "∂/∂h", "Two gradients meet at h"),
            prose.added(step),
            formulas=in_mathml(ADDED),
            symbols=f"β = {weight:g}",
            figures=figures,
            facts=[
                size_fact("∂R/∂h", {"": of_draw}),
                size_fact("β ∂KL/∂h", {"": of_kl}),
                size_fact("∂L/∂h", {"": whole}),
            ],
            checks=_of_halves("L", step.encoder.checks[-1], self.z.shape[1]),
        )

    def _sampled(self) -> None:
        made = self.samples
        points = {"real": self.x, "generated": made}
        self._add(
            *(BACK, "input", "", "samples", "What D makes of codes from N(0, I)"),
            prose.samples(self.x[0]),
            figures=[
                self._as_picture("sample", "a sample", made),
                self._rows("x", f"{self.real_samples} x, to compare", self.x, image=True),
            ],
            facts=[shape_fact("the samples", made)],
            **self._draw_plane(self.plane and self.plane.named(generated="samples"), "Samples beside the batch", points),
        )


def _of_halves(of: str, found: Sequence[Comparison], size: int) -> list[dict[str, Any]]:
    """Derivatives in h as those in μ and ℓ."""
    rows = []
    for half, letter in enumerate(HALVES.values()):
        own = [replace(c, where=(c.where[0], c.where[1] - half * size)) for c in found if c.where[1] // size == half]
        rows += checks(f"∂{of}/∂{letter}", {"": own})
    return rows
