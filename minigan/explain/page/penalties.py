"""The stations of a penalty: D's slope g and what P makes of it, then layer by layer what it owes to the weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigan.backends import Backend
from minigan.explain.formulas import mathml
from minigan.explain.page import prose
from minigan.explain.page.facts import checks, fact, norm, shape_fact, size_fact
from minigan.explain.page.figures import Figures
from minigan.explain.page.place import Place, Way
from minigan.explain.second_order import penalty_formulas, second_order_of
from minigan.explain.step import OpenedGAN, Pass
from minigan.losses import Score

SWEEPS = (
    r"\dot{y}_l = J_l \, \dot{y}_{l-1}, \qquad \dot{y}_0 = v",
    r"\frac{\partial Q}{\partial \theta_l} = \frac{\partial}{\partial \theta_l} \left( b_l \cdot J_l \, \dot{y}_{l-1} \right), "
    r"\qquad c_l = \frac{\partial}{\partial y_{l-1}} \left( b_l \cdot J_l \, \dot{y}_{l-1} \right)",
)
LAST_SWEEP = (
    r"a_{l-1} = J_l^T a_l + c_l, \quad a_L = 0, \qquad "
    r"\frac{\partial Q}{\partial \theta_l} \text{ also gets } "
    r"\left( \frac{\partial f_l}{\partial \theta_l} \right)^T a_l"
)
SYMBOLS = (
    "Q = v · g, with v held fixed; J_l: the derivative of layer l's output in its input; b_l = ∂(Σ s)/∂y_l; θ_l: its parameters"
)


class PenaltyStations:
    """Of one penalty's pass in a step: each station as a dict, without its place in the walk."""

    def __init__(self, step: OpenedGAN, record: Pass, figures: Figures) -> None:
        assert record.second is not None
        assert record.input_grad is not None
        self.step, self.record, self.second, self.figures = step, record, record.second, figures
        self.g = record.input_grad
        self.known = penalty_formulas(record.second.penalty)
        self.name = repr(record.second.penalty) if record.second.penalty is not None else "a penalty"
        self.sweeps_back = any(c is not None for c in record.second.curvatures)

    def overview(self) -> dict[str, Any]:
        known, second, record = self.known, self.second, self.record
        slopes = np.sqrt((self.g.reshape(len(self.g), -1) ** 2).sum(axis=1))
        along, through = float((second.v * self.g).sum()), second.tangents[-1]
        facts = [
            *([] if second.value is None else [fact("P", f"{second.value:.6f}")]),
            fact("‖g_n‖", f"mean {slopes.mean():.4g}, from {slopes.min():.4g} to {slopes.max():.4g}"),
            *([] if through is None else [fact("v · g, and Σ ṡ", f"{along:.6g}, and {self._sum_of(through):.6g}")]),
            shape_fact("g, and of v", self.g),
            size_fact("v", {"": second.v}),
            *(
                fact(f"‖ẏ‖ after layer {index}, {record.net.layers[index].name}", f"{norm(tangent):.4g}")
                for index, tangent in enumerate(second.tangents)
                if tangent is not None
            ),
        ]
        figures = [
            self.figures.samples("x", "x: the points at which D's slope is taken", {"": record.x}, image=True),
            self.figures.samples("g", "g = ∂(Σ s)/∂x: D's slope there", {"": self.g}),
            self.figures.samples("v", "v = ∂P/∂g: held fixed from here on", {"": second.v}),
        ]
        tex = [r"g_n = \frac{\partial}{\partial x_n} \sum_m s_m"]
        tex += [self.known.value, self.known.v] if self.known else []
        tex += [known.points] if known and known.points else []
        tex += [*SWEEPS, *([LAST_SWEEP] if self.sweeps_back else [])]
        symbols = f"N = {len(self.g)}; {f'{known.symbols}; ' if known else ''}{SYMBOLS}"
        title = f"The penalty {self.name}{f', {known.where}' if known else ''}"
        return {
            **{"kind": "penalty", "net": "D", "label": "P", "title": title},
            **{"text": prose.penalty(record, known, self.step, self.sweeps_back), "formulas": [mathml(t) for t in tex]},
            **{"symbols": symbols, "facts": facts, "figures": figures},
        }

    def _sum_of(self, through: np.ndarray) -> float:
        """Σ ṡ of the outputs' tangent: s is linear in them."""
        return float(Score(Backend(), self.record.labels).value(through).sum())

    def layers(self) -> list[dict[str, Any]]:
        """A station for each layer that the sweeps downwards reached, from the last to the first."""
        learners = [int(name.partition(".")[0]) for name in self.second.own_grads]
        lowest = min(learners, default=len(self.record.net.layers))
        return [self._layer(index) for index in reversed(range(lowest, len(self.record.net.layers)))]

    def _layer(self, index: int) -> dict[str, Any]:
        place, second = Place(Way("D", {"": self.record}), index), self.second
        layer, known = place.layer, second_order_of(place.layer)
        x_dot = second.tangents[index - 1] if index else second.v
        b, c, a_above = self.record.output_grads[index], second.curvatures[index], self._swept_above(index)
        arrays = {"x_dot": x_dot, "y_dot": second.tangents[index], "b": b, "c": c, "a": a_above}
        words = {
            "x_dot": "ẋ: the tangent of the layer's input" if index else "ẋ = v",
            "y_dot": "ẏ: the tangent of its output" if not place.is_last else self._last_tangent(),
            "b": "b = ∂(Σ s)/∂y, kept from the pass that made g" if not place.is_last else self._last_b(),
            "c": "c: what Q feels of the layer's input, for its slope moves with it",
            "a": "a: what Q feels of the layer's output, from the layers above",
        }
        shown = {role: array for role, array in arrays.items() if array is not None}
        figures = [self.figures.samples(role, words[role], {"": array}) for role, array in shown.items()]
        facts = [size_fact(role.replace("x_dot", "ẋ").replace("y_dot", "ẏ"), {"": array}) for role, array in shown.items()]
        found: list[dict[str, Any]] = []
        for name in layer.parameters:
            key = f"{index}.{name}"
            own, whole = second.own_grads[key], second.param_grads[key]
            if a_above is not None:
                figures.append(self.figures.weights(layer, name, f"own_{name}", own, f"what curvature writes for {name}"))
                facts.append(size_fact(f"what curvature writes for {name}", {"": own}))
            caption = f"∂P/∂{name}{', with what a adds' if a_above is not None else ''}"
            figures.append(self.figures.weights(layer, name, f"d{name}", whole, caption))
            facts.append(size_fact(caption, {"": whole}))
            found += checks(f"∂P/∂{name}", {"": second.checks[key]})
        tex = [known.tangent, *(known.param_grads.get(name, "") for name in layer.parameters), known.c] if known else []
        return {
            **{"kind": "curvature", "net": "D", "label": layer.name, "index": index},
            "title": f"What P asks of D's layer {index}: {layer!r}",
            "text": prose.curvature(place, known, c is not None, a_above is not None),
            **{"formulas": [mathml(t) for t in tex if t], "symbols": known.symbols if known else ""},
            **{"figures": figures, "facts": facts, "checks": found},
        }

    def _last_b(self) -> str:
        return "b = ∂(Σ s)/∂s = 1" if self.record.labels is None else "b = ∂(Σ s)/∂o = t = [1, y]"

    def _last_tangent(self) -> str:
        return "ẏ = ṡ: how each logit changes along v" if self.record.labels is None else "ȯ: how D's outputs change along v"

    def _swept_above(self, index: int) -> np.ndarray | None:
        """a at the layer's output."""
        return self.second.swept[index + 1] if index + 1 < len(self.second.swept) else None
