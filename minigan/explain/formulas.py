"""What the page says of each layer and objective: formulas in TeX notation, and why a cache holds what it holds.

They are those of the docstrings. A layer or objective without an entry of its own is shown without them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from minigan.layers import (
    BatchNorm,
    Conv2d,
    ConvTranspose2d,
    Dense,
    Dropout,
    Flatten,
    Layer,
    LayerNorm,
    LeakyReLU,
    ReLU,
    Reshape,
    Sigmoid,
    Softplus,
    Tanh,
    Upsample,
)
from minigan.losses import NonSaturating, Objective, Saturating


@dataclass(frozen=True)
class Formulas:
    """A layer's formulas in TeX and in words."""

    forward: tuple[str, ...]
    input_grad: tuple[str, ...]  # dx
    param_grads: dict[str, str]  # by parameter
    reading: str  # the forward formula in words
    back: str  # the backward formula in words
    cache: str  # what it holds, and why
    symbols: str = ""  # what the letters stand for


_BIAS_GRAD = r"db_f = \sum_{n,o,q} dy_{noqf}"
_LINEAR_CACHE = "x itself, not a copy: dw is made of x and dy. dx needs only the weights."
_CONV_SYMBOLS = "c, f: channel of x, of y; i, j: row and column of the kernel; s: stride, d: dilation, p: padding"
_SHAPE = "x, as all linear layers keep it; the way back needs none of its values, for moving values about loses none."

FORMULAS: dict[type[Layer], Formulas] = {
    Dense: Formulas(
        (r"y_{no} = \sum_i x_{ni} \, w_{io} + b_o",),
        (r"dx_{ni} = \sum_o dy_{no} \, w_{io}",),
        {"weight": r"dw_{io} = \sum_n x_{ni} \, dy_{no}", "bias": r"db_o = \sum_n dy_{no}"},
        "Every output is a weighted sum of all inputs.",
        "Every input collects the gradients of all outputs, each times its weight in them: the same matrix, transposed.",
        _LINEAR_CACHE,
        "n: sample; i: input; o: output",
    ),
    Conv2d: Formulas(
        (r"y_{noqf} = b_f + \sum_{i,j,c} \bar{x}_{n,\,os+id,\,qs+jd,\,c} \; w_{ijcf}",),
        (r"dx_{nhvc} = \sum_{(i,o):\,os+id=h+p} \; \sum_{(j,q):\,qs+jd=v+p} \; \sum_f dy_{noqf} \; w_{ijcf}",),
        {"weight": r"dw_{ijcf} = \sum_{n,o,q} \bar{x}_{n,\,os+id,\,qs+jd,\,c} \; dy_{noqf}", "bias": _BIAS_GRAD},
        "Every output pixel is a weighted sum of the window of the input below it; the weights are the same at every place.",
        "Every input pixel collects the gradients of all outputs whose window it lay in, each times the weight it had there. "
        "That is a transposed convolution.",
        _LINEAR_CACHE,
        f"n: sample; h, v: row and column of x; o, q: of y; {_CONV_SYMBOLS}; x̄: x with a border of p zeros",
    ),
    ConvTranspose2d: Formulas(
        (
            r"\bar{y}_{nabf} = \sum_{(h,i):\,hs+id=a} \; \sum_{(v,j):\,vs+jd=b} \; \sum_c x_{nhvc} \; w_{ijfc}",
            r"y = \bar{y} \text{ without its border of } p, \text{ plus } b",
        ),
        (r"dx_{nhvc} = \sum_{i,j,f} d\bar{y}_{n,\,hs+id,\,vs+jd,\,f} \; w_{ijfc}",),
        {"weight": r"dw_{ijfc} = \sum_{n,h,v} d\bar{y}_{n,\,hs+id,\,vs+jd,\,f} \; x_{nhvc}", "bias": _BIAS_GRAD},
        "Every input pixel stamps a copy of the kernel, times its value, into the output; where stamps overlap they add up.",
        "Every input pixel collects the gradients from the window of the output that it stamped: an ordinary convolution.",
        _LINEAR_CACHE,
        f"n: sample; h, v: row and column of x; a, b: of ȳ; {_CONV_SYMBOLS}; dȳ: dy with a border of p zeros",
    ),
    BatchNorm: Formulas(
        (
            r"y = \gamma \hat{x} + \beta, \qquad \hat{x} = \frac{x - \mu}{\sqrt{v + \varepsilon}}",
            r"\mu = \frac{1}{M} \sum x, \quad v = \frac{1}{M} \sum (x - \mu)^2 \quad \text{per channel, over batch and places}",
        ),
        (
            r"dx = \frac{\gamma}{\sqrt{v + \varepsilon}} \left( dy - \frac{1}{M} \sum dy "
            r"- \hat{x} \, \frac{1}{M} \sum dy \, \hat{x} \right)",
        ),
        {"gamma": r"d\gamma = \sum dy \, \hat{x}", "beta": r"d\beta = \sum dy"},
        "Every channel is brought to mean 0 and variance 1 over the whole batch, then scaled and shifted.",
        "x acts on the output by three paths: by itself, through the mean μ (the second term) and through the variance v "
        "(the third). What all values of a channel have in common cancels.",
        "x, μ and 1/√(v + ε): x̂ is quicker computed again from them than kept.",
        "M: values per channel, at all places of all samples; sums run over them",
    ),
    LayerNorm: Formulas(
        (r"y = \gamma \hat{x} + \beta, \qquad \hat{x} = \frac{x - \mu}{\sqrt{v + \varepsilon}} \qquad \text{per sample}",),
        (
            r"g = \gamma \, dy, \qquad dx = \frac{1}{\sqrt{v + \varepsilon}} \left( g - \frac{1}{K} \sum g "
            r"- \hat{x} \, \frac{1}{K} \sum g \, \hat{x} \right)",
        ),
        {"gamma": r"d\gamma = \sum dy \, \hat{x}", "beta": r"d\beta = \sum dy"},
        "Every sample is brought to mean 0 and variance 1 by itself, then scaled and shifted.",
        "By three paths, as in batch normalisation, but the sums run within a sample.",
        "x̂ and 1/√(v + ε).",
        "K: values per sample that are normalised together; sums in dx run over them, in dγ and dβ over all others",
    ),
    ReLU: Formulas(
        (r"y = \max(x, 0)",),
        (r"dx = dy \cdot [\,x > 0\,]",),
        {},
        "What is negative becomes 0.",
        "The gradient passes where x was positive and stops where it was not.",
        "y itself, which the next layer keeps alive anyway: y > 0 exactly where x > 0.",
    ),
    LeakyReLU: Formulas(
        (r"y = \max(x, \alpha x), \qquad \alpha = \text{slope}",),
        (r"dx = dy \cdot \begin{cases} 1 & x > 0 \\ \alpha & \text{else} \end{cases}",),
        {},
        "What is negative is made small, but not 0.",
        "The gradient passes whole where x was positive, and a small part of it where it was not: no unit dies.",
        "y itself, which the next layer keeps alive anyway: y has the sign of x.",
    ),
    Tanh: Formulas(
        (r"y = \tanh x",),
        (r"dx = dy \, (1 - y^2)",),
        {},
        "Every value is squeezed into (−1, 1).",
        "Where y is near ±1 almost no gradient comes through: such a value is hard to move.",
        "y itself: the derivative follows from the value.",
    ),
    Sigmoid: Formulas(
        (r"y = \sigma(x) = \frac{1}{1 + e^{-x}}",),
        (r"dx = dy \; y \, (1 - y)",),
        {},
        "Every value is squeezed into (0, 1).",
        "At most a quarter of the gradient comes through, and almost none where y is near 0 or 1.",
        "y itself: the derivative follows from the value.",
    ),
    Softplus: Formulas(
        (r"y = \zeta(x) = \log(1 + e^x)",),
        (r"dx = dy \; \sigma(x)",),
        {},
        "A ReLU with its corner rounded off.",
        "The gradient passes in part, by σ(x).",
        "y itself: σ(x) = 1 − e^−y.",
    ),
    Dropout: Formulas(
        (r"y = x \, m, \qquad m = \begin{cases} 0 & \text{with probability } r \\ 1/(1-r) & \text{else} \end{cases}",),
        (r"dx = dy \; m",),
        {},
        "A random part of the values is left out, and the rest is scaled up to make good for it.",
        "What was left out gets no gradient.",
        "the mask m, which must be the same on the way back.",
    ),
    Reshape: Formulas(
        (r"y = x \text{ in another shape}",),
        (r"dx = dy \text{ in the shape of } x",),
        {},
        "The values stay in their order; only their indices change.",
        "So do those of the gradient.",
        _SHAPE,
    ),
    Flatten: Formulas(
        (r"y = x \text{ with each sample in one row}",),
        (r"dx = dy \text{ in the shape of } x",),
        {},
        "The values stay in their order, one row for each sample.",
        "The gradient goes back to the places where its values came from.",
        _SHAPE,
    ),
    Upsample: Formulas(
        (r"y_{n,h,w,c} = x_{n,\lfloor h/f \rfloor,\lfloor w/f \rfloor,c}",),
        (r"dx_{nhwc} = \sum_{a,b < f} dy_{n,\,hf+a,\,wf+b,\,c}",),
        {},
        "Every pixel is copied into a block of f × f.",
        "Every pixel gets the sum of its copies' gradients.",
        _SHAPE,
    ),
}


@dataclass(frozen=True)
class LossFormulas:
    """An objective's formulas in TeX, what each sample pays, and in words what that means for G."""

    value_d: tuple[str, ...]
    grad_d: tuple[str, ...]
    labels_d: tuple[str, str]  # of the curves for real and for generated samples
    value_g: tuple[str, ...]
    grad_g: tuple[str, ...]
    label_g: str
    reading_g: str


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
    return LossFormulas(
        value_d=_LOSS_D_SMOOTHED if smoothed else _LOSS_D,
        grad_d=(_GRAD_REAL_SMOOTHED if smoothed else _GRAD_REAL, _GRAD_FAKE),
        labels_d=(f"real samples: {paid}", "generated samples: −log(1 − D(x̃))"),
        **generator,
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


OBJECTIVES: dict[type[Objective], Callable[[Any], LossFormulas]] = {NonSaturating: _non_saturating, Saturating: _saturating}


def objective_formulas(objective: Objective | None) -> LossFormulas | None:
    """Those of exactly this class: a class derived from it may have other losses."""
    make = OBJECTIVES.get(type(objective)) if objective is not None else None
    return make(objective) if make else None


ADAM = (
    r"m \leftarrow \beta_1 m + (1 - \beta_1) \, g, \qquad v \leftarrow \beta_2 v + (1 - \beta_2) \, g^2",
    r"w \leftarrow w - \eta \; \frac{m / (1 - \beta_1^t)}{\sqrt{v / (1 - \beta_2^t)} + \varepsilon}",
)
ADAM_DECAY = (r"w \leftarrow (1 - \eta \lambda) \, w \qquad \text{first: the weight decay } \lambda",)


OWN_CALCULUS = {"forward", "backward", "f", "df", "apply", "transpose", "weight_grad"}


def formulas_of(layer: Layer) -> Formulas | None:
    """The entry of the layer's class, or of the nearest class that it is derived from without calculus of its own."""
    for kind in type(layer).__mro__:
        if kind in FORMULAS:
            return FORMULAS[kind]
        if not OWN_CALCULUS.isdisjoint(vars(kind)):
            return None
    return None


@cache
def mathml(tex: str) -> str:
    """A formula in TeX notation as MathML, which browsers set without any script."""
    from latex2mathml.converter import convert

    return convert(tex, display="block")
