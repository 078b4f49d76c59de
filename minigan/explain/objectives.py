"""What the page says of each objective: formulas in TeX notation, what each sample pays, and what that means for G.

They are those of the docstrings. An objective without an entry of its own is shown without them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from minigan import losses
from minigan.losses import NonSaturating, Objective


@dataclass(frozen=True)
class LossFormulas:
    """An objective's formulas in TeX, what each sample pays, and in words what that means for G.

    per_sample: whether each sample pays for its own score alone, so that a curve over that score shows what. is_logit: whether
    σ(s) is a probability. in_nats: whether the losses are logarithms of probabilities.
    """

    value_d: tuple[str, ...]
    grad_d: tuple[str, ...]
    labels_d: tuple[str, str]  # of the curves for real and for generated samples
    value_g: tuple[str, ...]
    grad_g: tuple[str, ...]
    label_g: str
    reading_g: str
    reading_d: str = "Where the curve is flat a sample hardly moves D."
    symbols: str = ""
    per_sample: bool = True
    is_logit: bool = False
    in_nats: bool = False


_LOGIT = r"D = \sigma(s), \qquad \zeta(s) = \log(1 + e^s)"
_LOSS_D = (
    r"L_D = -\frac{1}{N} \sum \log D(x) - \frac{1}{N} \sum \log \left( 1 - D(\tilde{x}) \right)"
    r" = \frac{1}{N} \sum \zeta(-s_{\text{real}}) + \frac{1}{N} \sum \zeta(s_{\text{fake}})",
    _LOGIT,
)
_LOSS_D_SMOOTHED = (
    r"L_D = \frac{1}{N} \sum \left( \zeta(-s_{\text{real}}) + \alpha \, s_{\text{real}} \right)"
    r" + \frac{1}{N} \sum \zeta(s_{\text{fake}})",
    rf"{_LOGIT}, \qquad \text{{targets }} 1 - \alpha \text{{ for real samples}}",
)
_GRAD_REAL = r"\frac{\partial L_D}{\partial s_{\text{real}}} = \frac{\sigma(s_{\text{real}}) - 1}{N}"
_GRAD_REAL_SMOOTHED = r"\frac{\partial L_D}{\partial s_{\text{real}}} = \frac{\sigma(s_{\text{real}}) - 1 + \alpha}{N}"
_GRAD_FAKE = r"\frac{\partial L_D}{\partial s_{\text{fake}}} = \frac{\sigma(s_{\text{fake}})}{N}"


def _logistic(objective: NonSaturating, **generator: Any) -> LossFormulas:
    smoothed = bool(objective.smoothing)
    paid = "ζ(−s) + α s" if smoothed else "−log D(x)"
    alpha, words = objective.smoothing, {}
    if smoothed:
        lowest = math.log((1 - alpha) / alpha)
        words = {
            "reading_d": f"With label smoothing, D's target for real samples is {1 - alpha:g}, not 1: their curve is lowest at "
            f"s = {lowest:.3g} and rises beyond it, so D pays for being too sure.",
            "symbols": f"α = {alpha:g}",
        }
    return LossFormulas(
        value_d=_LOSS_D_SMOOTHED if smoothed else _LOSS_D,
        grad_d=(_GRAD_REAL_SMOOTHED if smoothed else _GRAD_REAL, _GRAD_FAKE),
        labels_d=(f"real samples: {paid}", "generated samples: −log(1 − D(x̃))"),
        is_logit=True,
        in_nats=True,
        **{**words, **generator},
    )


def _non_saturating(objective: NonSaturating) -> LossFormulas:
    return _logistic(
        objective,
        value_g=(r"L_G = -\frac{1}{N} \sum \log D(\tilde{x}) = \frac{1}{N} \sum \zeta(-s)",),
        grad_g=(r"\frac{\partial L_G}{\partial s} = \frac{\sigma(s) - 1}{N}",),
        label_g="generated samples: −log D(x̃)",
        reading_g="Where D is sure that a sample is generated the curve is steepest: there G learns most.",
    )


def _saturating(objective: NonSaturating) -> LossFormulas:
    return _logistic(
        objective,
        value_g=(r"L_G = \frac{1}{N} \sum \log \left( 1 - D(\tilde{x}) \right) = -\frac{1}{N} \sum \zeta(s)",),
        grad_g=(r"\frac{\partial L_G}{\partial s} = -\frac{\sigma(s)}{N}",),
        label_g="generated samples: log(1 − D(x̃))",
        reading_g="In this minimax form the curve is flat where D is sure that a sample is generated: there G learns almost "
        "nothing.",
    )


_S_REAL, _S_FAKE = r"s_{\text{real}}", r"s_{\text{fake}}"
_MEAN = r"\frac{1}{N} \sum"
_D_REAL, _D_FAKE = (rf"\frac{{\partial L_D}}{{\partial {s}}}" for s in (_S_REAL, _S_FAKE))
_D_G = r"\frac{\partial L_G}{\partial s}"


Make = Callable[[Any], LossFormulas]  # from an objective


def _of_scores(
    real: str, fake: str, judged: str, slopes: tuple[str, str, str], words: tuple[str, str, str], **more: Any
) -> Make:
    """Of an objective of scores, from what a real, a generated and a judged sample pays, with its slope, in TeX and in words.

    In the terms s stands for the sample's score.
    """

    def of(term: str, score: str) -> str:
        return term.replace("{s}", score)

    formulas = LossFormulas(
        value_d=(rf"L_D = {_MEAN} {of(real, _S_REAL)} + {_MEAN} {of(fake, _S_FAKE)}",),
        grad_d=(
            rf"{_D_REAL} = \frac{{{of(slopes[0], _S_REAL)}}}{{N}}",
            rf"{_D_FAKE} = \frac{{{of(slopes[1], _S_FAKE)}}}{{N}}",
        ),
        labels_d=(f"real samples: {words[0]}", f"generated samples: {words[1]}"),
        value_g=(rf"L_G = {_MEAN} {of(judged, 's')}",),
        grad_g=(rf"{_D_G} = \frac{{{of(slopes[2], 's')}}}{{N}}",),
        label_g=f"generated samples: {words[2]}",
        **more,
    )
    return lambda objective: formulas


_LEAST_SQUARES = _of_scores(
    r"\frac{1}{2} \left( {s} - 1 \right)^2",
    r"\frac{1}{2} {s}^2",
    r"\frac{1}{2} \left( {s} - 1 \right)^2",
    ("{s} - 1", "{s}", "{s} - 1"),
    ("½ (s − 1)²", "½ s²", "½ (s − 1)²"),
    reading_d="D aims at 1 for real samples and at 0 for generated ones; the further off a score is, on either side, the "
    "harder it is drawn back.",
    reading_g="G aims at 1 too. A sample that D takes for real by far is drawn back as well, which log losses leave alone.",
)
_HINGE = _of_scores(
    r"\max \left( 0, 1 - {s} \right)",
    r"\max \left( 0, 1 + {s} \right)",
    "( -{s} )",
    (r"-[ {s} \lt 1 ]", r"[ {s} \gt -1 ]", "-1"),
    ("max(0, 1 − s)", "max(0, 1 + s)", "−s"),
    reading_d="D stops where a real sample has s ≥ 1 or a generated one s ≤ −1: there the curve is flat, and the sample no "
    "longer moves D.",
    reading_g="For G the curve is a straight line: each sample is pushed alike, however sure D is.",
    symbols="[…]: 1 where that holds, else 0",
)
_WASSERSTEIN = _of_scores(
    "( -{s} )",
    "{s}",
    "( -{s} )",
    ("-1", "1", "-1"),
    ("−s", "s", "−s"),
    reading_d="The curve is a straight line, so every sample moves D alike, however sure D is: only what limits D's slope, "
    "as a penalty or clipped weights, keeps its scores from growing without end.",
    reading_g="Each sample is pushed alike, however sure D is. Where D's slope is at most 1 everywhere, −L_D estimates how far "
    "apart the two distributions lie.",
)
_TIGHT = (
    "−L_D is a bound from below on how far apart the two distributions lie; D makes it as tight as it can, and G lowers it."
)
_KL = _of_scores(
    "( -{s} )",
    "e^{{s} - 1}",
    "( -e^{{s} - 1} )",
    ("-1", "e^{{s} - 1}", "-e^{{s} - 1}"),
    ("−s", "exp(s − 1)", "−exp(s − 1)"),
    reading_d=f"{_TIGHT} Generated samples with high scores cost D exponentially much.",
    reading_g="G learns most from the samples that D already takes for real, and hardly anything from bad ones.",
)
_REVERSE_KL = _of_scores(
    "e^{-{s}}",
    r"\left( {s} - 1 \right)",
    r"\left( 1 - {s} \right)",
    ("-e^{-{s}}", "1", "-1"),
    ("exp(−s)", "s − 1", "1 − s"),
    reading_d=f"{_TIGHT} Real samples with low scores cost D exponentially much.",
    reading_g="For G the curve is a straight line: each sample is pushed alike.",
)
_PEARSON = _of_scores(
    "( -{s} )",
    r"\left( \frac{1}{4} {s}^2 + {s} \right)",
    r"\left( -\frac{1}{4} {s}^2 - {s} \right)",
    ("-1", r"\frac{1}{2} {s} + 1", r"-\frac{1}{2} {s} - 1"),
    ("−s", "s²/4 + s", "−s²/4 − s"),
    reading_d=f"{_TIGHT} The cost of a generated sample is least at s = −2.",
    reading_g="The higher D scores a sample, the harder it is pushed on; at s = −2 it is not pushed at all.",
)
_ZETA = r"\zeta(t) = \log(1 + e^t)"


def _relativistic(objective: losses.Relativistic) -> LossFormulas:
    r = f"r = {_S_REAL} - {_S_FAKE}"
    return LossFormulas(
        value_d=(rf"L_D = {_MEAN} \zeta(-r), \qquad {r}, \qquad {_ZETA}",),
        grad_d=(rf"{_D_REAL} = \frac{{\sigma(r) - 1}}{{N}}", rf"{_D_FAKE} = \frac{{1 - \sigma(r)}}{{N}}"),
        labels_d=("real samples", "generated samples"),
        value_g=(rf"L_G = {_MEAN} \zeta(r), \qquad {r}",),
        grad_g=(rf"{_D_G} = \frac{{\sigma(-r) - 1}}{{N}}",),
        label_g="generated samples",
        reading_d="Each real sample is compared with a generated one, its partner: what counts is how much higher it scores. "
        "So D gains nothing by giving all generated samples one low score, and no curve over s alone tells what a sample pays.",
        reading_g="Each of G's samples wants to score higher than the real one that it is compared with.",
        per_sample=False,
        in_nats=True,
    )


def _relativistic_average(objective: losses.RelativisticAverage) -> LossFormulas:
    a, b = rf"a = {_S_REAL} - \bar{{s}}_{{\text{{fake}}}}", rf"b = {_S_FAKE} - \bar{{s}}_{{\text{{real}}}}"
    mean_b, mean_a = rf"{_MEAN} \sigma(b)", rf"{_MEAN} ( \sigma(a) - 1 )"
    return LossFormulas(
        value_d=(rf"L_D = {_MEAN} \zeta(-a) + {_MEAN} \zeta(b), \qquad {a}, \qquad {b}", _ZETA),
        grad_d=(
            rf"{_D_REAL} = \frac{{1}}{{N}} \left( \sigma(a) - 1 - {mean_b} \right)",
            rf"{_D_FAKE} = \frac{{1}}{{N}} \left( \sigma(b) - {mean_a} \right)",
        ),
        labels_d=("real samples", "generated samples"),
        value_g=(rf"L_G = {_MEAN} \zeta(-b) + {_MEAN} \zeta(a)",),
        grad_g=(rf"{_D_G} = \frac{{1}}{{N}} \left( \sigma(b) - 1 - {_MEAN} \sigma(a) \right)",),
        label_g="generated samples",
        reading_d="Each sample is compared with the average score of the other kind, so no curve over s alone tells what it "
        "pays.",
        reading_g="The same with both sides exchanged: each of G's samples wants to score above the average real one, and its "
        "own share in the average of its kind counts too.",
        symbols="s̄: the mean score of a kind",
        per_sample=False,
        in_nats=True,
    )


OBJECTIVES: dict[type[Objective], Make] = {
    NonSaturating: _non_saturating,
    losses.Saturating: _saturating,
    losses.LeastSquares: _LEAST_SQUARES,
    losses.Hinge: _HINGE,
    losses.Wasserstein: _WASSERSTEIN,
    losses.Relativistic: _relativistic,
    losses.RelativisticAverage: _relativistic_average,
    losses.KL: _KL,
    losses.ReverseKL: _REVERSE_KL,
    losses.Pearson: _PEARSON,
}


def objective_formulas(objective: Objective | None) -> LossFormulas | None:
    """Those of exactly this class: a class derived from it may have other losses."""
    make = OBJECTIVES.get(type(objective)) if objective is not None else None
    return make(objective) if make else None
