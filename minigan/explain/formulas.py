"""What the page says of each layer: its formulas in TeX notation, and why its cache holds what it holds.

They are those of the layers' docstrings. A layer without an entry of its own shows its docstring.
"""

from __future__ import annotations

from dataclasses import dataclass

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
_CONV_CACHE = (
    "x itself, not a copy: dw is made of x and dy. dx needs only the weights. "
    "On a large batch the numpy backend adds what it has computed from x on the way to y, for dw."
)
_CONV_SYMBOLS = "c, f: channel of x, of y; i, j: row and column of the kernel; s: stride, d: dilation, p: padding"
_SHAPE = "the input's shape, and no values: moving values about loses none."

FORMULAS: dict[type[Layer], Formulas] = {
    Dense: Formulas(
        (r"y_{no} = \sum_i x_{ni} \, w_{io} + b_o",),
        (r"dx_{ni} = \sum_o dy_{no} \, w_{io}",),
        {"weight": r"dw_{io} = \sum_n x_{ni} \, dy_{no}", "bias": r"db_o = \sum_n dy_{no}"},
        "Every output is a weighted sum of all inputs.",
        "Every input gets back what each output wants of it, weighted as it went forward: the same matrix, transposed.",
        "x itself, not a copy: dw is made of x and dy. dx needs only the weights.",
        "n: sample; i: input; o: output",
    ),
    Conv2d: Formulas(
        (r"y_{noqf} = b_f + \sum_{i,j,c} \bar{x}_{n,\,os+id,\,qs+jd,\,c} \; w_{ijcf}",),
        (r"dx_{nhvc} = \sum_{(i,o):\,os+id=h+p} \; \sum_{(j,q):\,qs+jd=v+p} \; \sum_f dy_{noqf} \; w_{ijcf}",),
        {"weight": r"dw_{ijcf} = \sum_{n,o,q} \bar{x}_{n,\,os+id,\,qs+jd,\,c} \; dy_{noqf}", "bias": _BIAS_GRAD},
        "Every output pixel is a weighted sum of the window of the input below it; the weights are the same at every place.",
        "Every input pixel collects the gradients of all outputs whose window it lay in, each times the weight it had there. "
        "That is a transposed convolution.",
        _CONV_CACHE,
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
        _CONV_CACHE,
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
        "(the third). What all values of a channel have in common goes nowhere.",
        "x, μ and 1/√(v + ε): x̂ is quicker made again from them than kept.",
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
        "As in batch normalisation by three paths, but the sums run within a sample.",
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
        "Every value is squeezed into (−1, 1): the range of the images.",
        "Where y is near ±1 almost no gradient comes through: a pixel that is quite black or white is hard to move.",
        "y itself: the derivative is told by the value.",
    ),
    Sigmoid: Formulas(
        (r"y = \sigma(x) = \frac{1}{1 + e^{-x}}",),
        (r"dx = dy \; y \, (1 - y)",),
        {},
        "Every value is squeezed into (0, 1).",
        "At most a quarter of the gradient comes through, and almost none where y is near 0 or 1.",
        "y itself: the derivative is told by the value.",
    ),
    Softplus: Formulas(
        (r"y = \zeta(x) = \log(1 + e^x)",),
        (r"dx = dy \; \sigma(x)",),
        {},
        "A ReLU with its corner rounded off.",
        "The gradient passes in part, by σ(x).",
        "x itself.",
    ),
    Dropout: Formulas(
        (r"y = x \, m, \qquad m = \begin{cases} 0 & \text{with probability } r \\ 1/(1-r) & \text{else} \end{cases}",),
        (r"dx = dy \; m",),
        {},
        "A random part of the values is left out, and the rest made larger in turn.",
        "What was left out gets no gradient.",
        "the mask m, for it must be the same on the way back.",
    ),
    Reshape: Formulas(
        (r"y = x \text{ in another shape}",),
        (r"dx = dy \text{ in the shape of } x",),
        {},
        "The values stay in their order; only their places get other names.",
        "So does the gradient.",
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
        "nothing: the shapes say all.",
    ),
}

LOSS_D = (
    r"L_D = -\frac{1}{N} \sum \log D(x) - \frac{1}{N} \sum \log \left( 1 - D(\tilde{x}) \right)"
    r" = \frac{1}{N} \sum \zeta(-s_{\text{real}}) + \frac{1}{N} \sum \zeta(s_{\text{fake}})",
    r"D = \sigma(s), \qquad \zeta(s) = \log(1 + e^s)",
)
LOSS_D_SMOOTHED = (
    r"L_D = \frac{1}{N} \sum \left( \zeta(-s_{\text{real}}) + \alpha \, s_{\text{real}} \right)"
    r" + \frac{1}{N} \sum \zeta(s_{\text{fake}})",
    r"D = \sigma(s), \qquad \zeta(s) = \log(1 + e^s), \qquad \text{targets } 1 - \alpha \text{ for real images}",
)
LOSS_D_GRAD = (r"\frac{\partial L_D}{\partial s_{\text{real}}} = \frac{\sigma(s_{\text{real}}) - 1}{N}",
               r"\frac{\partial L_D}{\partial s_{\text{fake}}} = \frac{\sigma(s_{\text{fake}})}{N}")  # fmt: skip
LOSS_D_GRAD_SMOOTHED = (
    r"\frac{\partial L_D}{\partial s_{\text{real}}} = \frac{\sigma(s_{\text{real}}) - 1 + \alpha}{N}",
    LOSS_D_GRAD[1],
)
LOSS_G = (r"L_G = -\frac{1}{N} \sum \log D(\tilde{x}) = \frac{1}{N} \sum \zeta(-s)",)
LOSS_G_GRAD = (r"\frac{\partial L_G}{\partial s} = \frac{\sigma(s) - 1}{N}",)
LOSS_G_SATURATING = (r"L_G = \frac{1}{N} \sum \log \left( 1 - D(\tilde{x}) \right) = -\frac{1}{N} \sum \zeta(s)",)
LOSS_G_SATURATING_GRAD = (r"\frac{\partial L_G}{\partial s} = -\frac{\sigma(s)}{N}",)
ADAM = (
    r"m \leftarrow \beta_1 m + (1 - \beta_1) \, g, \qquad v \leftarrow \beta_2 v + (1 - \beta_2) \, g^2",
    r"w \leftarrow w - \eta \; \frac{m / (1 - \beta_1^t)}{\sqrt{v / (1 - \beta_2^t)} + \varepsilon}",
)


def formulas_of(layer: Layer) -> Formulas | None:
    """The entry of the layer's class, or of the nearest class that it is derived from without a backward of its own."""
    for kind in type(layer).__mro__:
        if kind in FORMULAS:
            return FORMULAS[kind]
        if "forward" in vars(kind) or "backward" in vars(kind):
            return None
    return None


def mathml(tex: str) -> str:
    """A formula in TeX notation as MathML, which browsers set without any script."""
    from latex2mathml.converter import convert

    return convert(tex, display="block")
