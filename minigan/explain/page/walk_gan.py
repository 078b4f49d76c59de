"""The walk through a GAN's step: D judges, learns and moves, judges once more, and G moves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from minigan.explain.breaking import Breaking
from minigan.explain.history import History
from minigan.explain.page import prose
from minigan.explain.page.arrays import Arrays
from minigan.explain.page.budget import Budget
from minigan.explain.page.curves import Curves
from minigan.explain.page.facts import checks, fact, shape_fact, size_fact
from minigan.explain.page.live import Live
from minigan.explain.page.penalties import PenaltyStations
from minigan.explain.page.place import Way
from minigan.explain.page.plane import Plane, in_inference
from minigan.explain.page.walk import Walk, in_mathml
from minigan.explain.step import OpenedGAN, Pass
from minigan.layers.elementwise import sigmoid
from minigan.network import Sequential

SCORE = (
    r"s_n = \langle o_n, t_n \rangle, \qquad t_n = [1, y_n]",
    r"\frac{\partial L}{\partial o_n} = \frac{\partial L}{\partial s_n} \, t_n",
)


class GANWalk(Walk):
    """D's step, then G's."""

    acts = (
        {"name": "D", "aim": "D's step: tell real from generated", "step": "D's step"},
        {"name": "G", "aim": "G's step: make D take the generated for real", "step": "G's step"},
    )
    intro = (
        "A GAN is two networks that learn from each other: a generator G turns random noise into samples, and a discriminator "
        "D is shown real samples and G's, and learns to tell which is which.",
        "A training step moves D a little towards telling them apart and then G a little towards what D takes for real, "
        "until, after many steps, what G makes looks real.",
    )
    gaps: ClassVar = {"z": (0, "z"), "x̃": (1, "x̃"), "∂/∂x̃": (1, "x̃")}

    def __init__(
        self,
        step: OpenedGAN,
        arrays: Arrays,
        budget: Budget,
        has_data: bool = True,
        breaking: Breaking | None = None,
        history: History | None = None,
    ) -> None:
        super().__init__(arrays, budget, has_data, breaking)
        self.step = step
        self.curves = Curves(step, arrays)
        self.formulas = self.curves.formulas if self.curves.known else None
        self.unit = " (nats)" if self.formulas and self.formulas.in_nats else ""
        self.is_logit = self.formulas is not None and self.formulas.is_logit
        points = {"real": step.real.x, "generated": step.fake.x}
        names = {"real": self.real_samples, "generated": "generated samples"}
        # With classes, D has a landscape for each of them.
        is_plane = step.real.x.shape[1:] == (2,) and step.real.labels is None
        self.plane = Plane(arrays, points, names, probabilities=self.is_logit) if is_plane else None
        self.live = Live.of(step, arrays) if self.plane else None
        self.moments = self.live.moments(history.moments) if self.live and history else []
        self.players = (("G", "G, the generator", step.generator), ("D", "D, the discriminator", step.real))
        self.seam = f"G ends at x̃, what it makes, and D begins there: it is given x̃, and {self.real_samples} x beside it."
        both, d, g = {"real": step.real, "generated": step.fake}, step.update_d, step.update_g
        self.made = Way("G", {"": step.generator}, "L_G", g.before, g, makes_samples=True)
        self.both = Way("D", both, "L_D", d.before, d, takes_samples=True)
        self.judged = Way("D", {"": step.judged}, "L_G", d.after, None, takes_samples=True)
        self.ways_back = (("D", self.both), ("G", self.judged), ("G", self.made))

    def walk(self) -> None:
        step = self.step
        self._begin()
        self._all_forward("D", self.made)
        self._generated()
        self._all_forward("D", self.both)
        self._loss_d()
        self._all_backward("D", self.both)
        for record in step.penalties:
            stations = PenaltyStations(step, record, self.figures)
            self.stations += [{"act": "D", **station} for station in (stations.overview(), *stations.layers())]
        self._update("D", self.both, prose.discriminator_update(step))
        self._all_forward("G", self.judged, prose.judged_again(step.update_d))
        self._loss_g()
        self._all_backward("G", self.judged)
        self._image_gradient()
        self._all_backward("G", self.made)
        self._update("G", self.made, prose.generator_update(step))

    # -- noise, samples, losses, the way into G ------------------------------------------------------------------------

    def _begin(self) -> None:
        z, real = self.step.generator.x, self.step.real.x
        figures = [
            self.figures.samples("z", f"noise z of this sample{prose.and_its_label(self.step)}", {"": z}),
            self.figures.samples("x", f"{self.real_samples} x", {"": real}, image=True),
        ]
        more: dict[str, Any] = {"figures": figures, "facts": [shape_fact("z", z), shape_fact("x", real)]}
        if self.plane:
            more["plane"] = self.plane.picture(f"{self.real_samples}: the whole batch", {"real": real})
        text = prose.noise_and_batch(len(real), self.has_data) + prose.labels_beside(self.step)
        self._add("D", "input", "G", "z", "Noise, and a batch of real samples", text, **more)

    def _generated(self) -> None:
        fake, real, d = self.step.fake.x, self.step.real.x, self.step.real.net
        figures = [
            self.figures.samples("x", "x̃: what G made", {"": fake}, image=True),
            self.figures.samples("x", f"x: {self.real_samples} beside it", {"": real}, image=True),
        ]
        more: dict[str, Any] = {"figures": figures, "facts": [shape_fact("x̃", fake)]}
        if self.plane:
            points, judge = {"real": real, "generated": fake}, (d, self.step.update_d.before)
            caption = f"The batch in its plane, and {self._landscape()} before D's step{in_inference(d)}"
            more["plane"] = self.plane.picture(caption, points, judge) | self._alive(judge)
        self._add("D", "input", "D", "x̃", "What G made, beside the real", prose.generated(d), **more)

    def _alive(self, judge: tuple[Sequential, Mapping[str, np.ndarray]]) -> dict[str, Any]:
        """D's parameters, with which the page runs it itself; nothing where it cannot."""
        return {"live": self.live.params(judge[1])} if self.live else {}

    def _landscape(self) -> str:
        return "D = σ(s) at every place" if self.is_logit else "D's output s at every place"

    def _loss_d(self) -> None:
        known, step = self.formulas, self.step
        labels = known.labels_d if known else ("real samples", "generated samples")
        curves = self.curves.discriminator(labels)
        text = prose.discriminator_loss(known, len(step.real.x)) + prose.scores_of_classes(step) + prose.also_penalised(step)
        tex = (*(known.value_d if known else ()), *(known.grad_d if known else ()), *self._of_classes())
        judged = {self.real_samples: step.real, "generated samples": step.fake}
        self._add_loss("D", "The discriminator's loss", text, tex, curves, step.loss_d, judged)

    def _loss_g(self) -> None:
        known, step = self.formulas, self.step
        curves = self.curves.generator(known.label_g if known else "generated samples")
        text = prose.generator_loss(known)
        tex = (*(known.value_g if known else ()), *(known.grad_g if known else ()), *self._of_classes())
        self._add_loss("G", "The generator's loss", text, tex, curves, step.loss_g, {"generated samples": step.judged})

    def _of_classes(self) -> tuple[str, ...]:
        """The score of a game with classes, and its gradient, in TeX."""
        return () if self.step.real.labels is None else SCORE

    def _add_loss(
        self,
        act: str,
        title: str,
        text: list[str],
        tex: Sequence[str],
        curves: list[dict[str, Any]],
        loss: float,
        judged: dict[str, Pass],
    ) -> None:
        name, known, count = f"L_{act}", self.formulas, len(self.step.real.x)
        undecided = self.curves.undecided(act)
        indifferent = "could not tell at all, D = ½" if self.is_logit else "gave every sample s = 0"
        beside = "" if undecided is None else f" ({undecided:.3f} if D {indifferent})"
        logits = {who: record.s for who, record in judged.items()}
        means = {who: float(np.mean(sigmoid(np, s) if self.is_logit else s)) for who, s in logits.items()}
        facts = [
            fact(name, f"{loss:.6f}{' nats' if self.unit else ''}{beside}"),
            fact(
                "D(sample), mean" if self.is_logit else "s, mean", ", ".join(f"{who} {mean:.3f}" for who, mean in means.items())
            ),
        ]
        symbols = f"N = {count}{f'; {known.symbols}' if known.symbols and act == 'D' else ''}" if known else ""
        more = {
            "formulas": in_mathml(tex),
            "symbols": symbols,
            "facts": facts,
            "curves": curves,
            "loss": loss,
            "is_logit": self.is_logit,
        }
        self._add(act, "loss", "D", name, title, text, unit=self.unit, **more)

    def _image_gradient(self) -> None:
        record = self.step.judged
        assert record.input_grad is not None
        figures = [
            self.figures.samples("x", "x̃: what G made", {"": record.x}, image=True),
            self.figures.samples("wish", "−∂L_G/∂x̃: the change that D asks for", {"": -record.input_grad}),
        ]
        more: dict[str, Any] = {
            "figures": figures,
            "facts": [size_fact("∂L_G/∂x̃", {"": record.input_grad})],
            "checks": checks("∂L_G/∂x̃", {"": record.input_checks}),
        }
        if self.plane:
            judge = (record.net, self.step.update_d.after)
            caption = f"What G made, {self._landscape()} after D's step{in_inference(record.net)}, and −∂L_G/∂x̃ as arrows"
            picture = self.plane.picture(caption, {"generated": record.x}, judge, -record.input_grad)
            more["plane"] = picture | self._alive(judge)
        title = f"From D into G: what each {prose.part_of(record.x[0])} should do"
        self._add("G", "backward", "G", "∂/∂x̃", title, prose.image_gradient(record.x[0], self.formulas), **more)
