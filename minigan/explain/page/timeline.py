"""The time slider: what a page holds of the moments before its step."""

from __future__ import annotations

import base64
from typing import Any

from minigan.explain.history import CURVES, History
from minigan.explain.page.arrays import Arrays

MOST_POINTS = 300  # of a curve
LABELS = {
    **{"loss_d": "L_D", "loss_g": "L_G", "loss": "L", "reconstruction": "R", "kl": "KL", "penalty": "P"},
    **{"prob_real": "D(x), mean over real samples", "prob_fake": "D(x̃), mean over generated samples"},
    **{"score_real": "s(x), mean over real samples", "score_fake": "s(x̃), mean over generated samples"},
}


def timeline(history: History, arrays: Arrays) -> dict[str, Any]:
    labels = {**LABELS, "loss_d": "L_D + P"} if "penalty" in history.curves else LABELS
    moments = []
    for moment in history.moments:
        shown: dict[str, Any] = {
            "step": moment.step,
            "numbers": [[labels[name], value] for name, value in moment.numbers.items()],
            "scores": {who: arrays.add(scores) for who, scores in moment.scores.items()},
        }
        if moment.picture:
            shown["picture"] = f"data:image/png;base64,{base64.b64encode(moment.picture).decode()}"
        if moment.points is not None:
            shown["points"] = arrays.add(moment.points)
        moments.append(shown)
    curves = [
        {"chart": CURVES[name], "label": labels[name], "points": _thinned(*curve)} for name, curve in history.curves.items()
    ]
    return {"about": history.about, "moments": moments, "curves": curves}


def _thinned(steps: list[int], values: list[float]) -> list[list[float]]:
    """Pairs of step and value, at most MOST_POINTS of them and the last."""
    every = -(-len(steps) // MOST_POINTS)
    kept = sorted({*range(0, len(steps), every), len(steps) - 1})
    return [[steps[k], float(f"{values[k]:.5g}")] for k in kept]
