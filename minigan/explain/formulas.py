"""What the page says of each layer: formulas in TeX notation, and why a cache holds what it holds.

They are those of the docstrings. A layer without an entry of its own is shown without them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from minigan.layers import (
    BatchNorm,
    Conv2d,
    ConvTranspose2d,
    Dense,
    DiffAugment,
    Dropout,
    Flatten,
    Layer,
    LayerNorm,
    LeakyReLU,
    MinibatchStd,
    PhaseShuffle,
    ReLU,
    Reshape,
    Residual,
    Sigmoid,
    Softmax,
    Softplus,
    SpectralNorm,
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
    back: str  # that of dx in words
    cache: str  # what it holds
    dx_needs: str  # what dx is made of, as far as the cache goes
    learning: str = ""  # the gradients of the parameters in words
    learning_needs: str = ""  # what these are made of
    symbols: str = ""  # what the letters stand for, with the layer's own numbers
    marked: dict[str, str] = field(default_factory=dict)  # the same for those that stand in some of the formulas alone

    def explained(self, shown: Sequence[str]) -> str:
        """What the letters of these formulas stand for."""
        more = [words for tex, words in self.marked.items() if any(tex in one for one in shown)]
        return "; ".join(filter(None, [self.symbols, *more]))


def _numbers(down: int, across: int) -> str:
    """One number, or two where height and width differ."""
    return str(down) if down == across else f"{down} down and {across} across"


def _linear(has_bias: bool, bias_grad: str, weight_grad: str, learning: str, bias_words: str) -> dict[str, Any]:
    """What the layers with weights have in common."""
    return {
        "param_grads": {"weight": weight_grad, **({"bias": bias_grad} if has_bias else {})},
        "cache": "x itself, not a copy",
        "dx_needs": "dx needs only dy and the weights",
        "learning": f"{learning}{bias_words if has_bias else ''}.",
        "learning_needs": "dw is made of x and dy",
    }


def _dense(layer: Dense) -> Formulas:
    (inputs,), (outputs,) = layer.input_shape or (0,), layer.output_shape or (0,)
    return Formulas(
        forward=(r"y_{no} = \sum_i x_{ni} \, w_{io}" + (" + b_o" if layer.has_bias else ""),),
        input_grad=(r"dx_{ni} = \sum_o dy_{no} \, w_{io}",),
        reading="Every output is a weighted sum of all inputs.",
        back="Every input collects the gradients of all outputs, each times its weight in them: the same matrix, transposed.",
        symbols=f"n: sample; i: input, of {inputs:,}; o: output, of {outputs:,}",
        **_linear(
            layer.has_bias,
            r"db_o = \sum_n dy_{no}",
            r"dw_{io} = \sum_n x_{ni} \, dy_{no}",
            "Every weight collects, from each sample, its input times the gradient of its output",
            "; a bias collects the gradients of its output alone",
        ),
    )


def _conv_symbols(layer: Conv2d | ConvTranspose2d) -> str:
    stride, dilation, padding = (_numbers(*pair) for pair in (layer.stride, layer.dilation, layer.padding))
    return (
        f"c, f: channel of x, of y; i, j: row and column of the kernel; stride s = {stride}, dilation d = {dilation}, "
        f"padding p = {padding}"
    )


_CONV_BIAS = (r"db_f = \sum_{n,o,q} dy_{noqf}", "; the bias of a channel collects the gradients of that channel's outputs")


def _conv(layer: Conv2d) -> Formulas:
    border = "x̄: x with a border of p zeros" if any(layer.padding) else "x̄: x itself, for p = 0"
    return Formulas(
        forward=(
            rf"y_{{noqf}} = {'b_f + ' if layer.has_bias else ''}\sum_{{i,j,c}} "
            r"\bar{x}_{n,\,os+id,\,qs+jd,\,c} \; w_{ijcf}",
        ),
        input_grad=(r"dx_{nhvc} = \sum_{(i,o):\,os+id=h+p} \; \sum_{(j,q):\,qs+jd=v+p} \; \sum_f dy_{noqf} \; w_{ijcf}",),
        reading="Every output pixel is a weighted sum of the window of the input below it; the weights are the same at every "
        "place.",
        back="Every input pixel collects the gradients of all outputs whose window it lay in, each times the weight it had "
        "there. That is a transposed convolution.",
        symbols=f"n: sample; h, v: row and column of x; o, q: of y; {_conv_symbols(layer)}",
        marked={r"\bar{x}": border},
        **_linear(
            layer.has_bias,
            _CONV_BIAS[0],
            r"dw_{ijcf} = \sum_{n,o,q} \bar{x}_{n,\,os+id,\,qs+jd,\,c} \; dy_{noqf}",
            "Every weight collects, at each place of each sample, the input that it met times the gradient of the output that "
            "it went into",
            _CONV_BIAS[1],
        ),
    )


def _conv_transpose(layer: ConvTranspose2d) -> Formulas:
    more = any(layer.output_padding)
    cut, border, extra = "", "dȳ: dy itself, for p = 0", {}
    if more:
        cut = r" \text{ without its first } p \text{ and its last } p - u \text{ rows and columns}"
        border = "dȳ: dy with p rows and columns of zeros before it and p − u after it"
        extra = {
            "- u": f"output padding u = {_numbers(*layer.output_padding)}; where p − u is below 0, zeros are added instead"
        }
    elif any(layer.padding):
        cut, border = r" \text{ without its border of } p", "dȳ: dy with a border of p zeros"
    bias = r", \text{ plus } b" if layer.has_bias else ""
    return Formulas(
        forward=(
            r"\bar{y}_{nabf} = \sum_{(h,i):\,hs+id=a} \; \sum_{(v,j):\,vs+jd=b} \; \sum_c x_{nhvc} \; w_{ijfc}",
            rf"y = \bar{{y}}{cut}{bias}",
        ),
        input_grad=(r"dx_{nhvc} = \sum_{i,j,f} d\bar{y}_{n,\,hs+id,\,vs+jd,\,f} \; w_{ijfc}",),
        reading="Every input pixel stamps a copy of the kernel, times its value, into the output; overlapping stamps add up.",
        back="Every input pixel collects the gradients from the window of the output that it stamped: an ordinary convolution.",
        symbols=f"n: sample; h, v: row and column of x; {_conv_symbols(layer)}",
        marked={r"\bar{y}_{nabf}": "a, b: row and column of ȳ", r"d\bar{y}": border, r"{n,o,q}": "o, q: of y", **extra},
        **_linear(
            layer.has_bias,
            _CONV_BIAS[0],
            r"dw_{ijfc} = \sum_{n,h,v} d\bar{y}_{n,\,hs+id,\,vs+jd,\,f} \; x_{nhvc}",
            "Every weight collects, from each pixel of each sample, that pixel times the gradient of the output that the stamp "
            "put there",
            _CONV_BIAS[1],
        ),
    )


_NORM_GRADS = {"gamma": r"d\gamma = \sum dy \, \hat{x}", "beta": r"d\beta = \sum dy"}
_NORM_LEARNING = "γ collects dy times x̂, and β collects dy alone."
_NORMALISED = r"y = \gamma \hat{x} + \beta, \qquad \hat{x} = \frac{x - \mu}{\sqrt{v + \varepsilon}}"


def _batch_norm(layer: BatchNorm) -> Formulas:
    places = len(layer.input_shape or ()) > 1
    over = "over batch and places" if places else "over the batch"
    values = "at all places of all samples" if places else "one from each sample"
    running = (
        f" Its running mean and variance move {layer.momentum:.0%} of the way towards those of this batch; they serve at "
        "inference, and no number of this step is made of them."
    )
    return Formulas(
        forward=(
            _NORMALISED,
            r"\mu = \frac{1}{M} \sum x, \quad v = \frac{1}{M} \sum (x - \mu)^2 \quad " rf"\text{{per channel, {over}}}",
        ),
        input_grad=(
            r"dx = \frac{\gamma}{\sqrt{v + \varepsilon}} \left( dy - \frac{1}{M} \sum dy "
            r"- \hat{x} \, \frac{1}{M} \sum dy \, \hat{x} \right)",
        ),
        param_grads=_NORM_GRADS,
        reading="Every channel is brought to mean 0 and, but for ε, variance 1 over the whole batch, then scaled and shifted."
        + (running if layer.momentum else ""),
        back="x acts on the output by three paths: by itself, through the mean μ (the second term) and through the variance v "
        "(the third). What all values of a channel have in common cancels.",
        cache="x, μ and 1/√(v + ε), from which x̂ is quicker computed again than kept",
        dx_needs="dx needs x̂",
        learning=_NORM_LEARNING,
        learning_needs="dγ is made of x̂ and dy",
        symbols=f"M: values per channel, {values}; sums run over them; ε = {layer.eps:g}",
    )


def _layer_norm(layer: LayerNorm) -> Formulas:
    shape = layer.input_shape or ()
    whole = layer.axes == len(shape)
    size = math.prod(shape[-layer.axes :])
    axes = "the last axis" if layer.axes == 1 else f"the last {layer.axes} axes"
    what = "Every sample is" if whole else f"At every place of every sample, the {size:,} values along {axes} are"
    return Formulas(
        forward=(rf"{_NORMALISED} \qquad \text{{per sample{'' if whole else ' and place'}}}",),
        input_grad=(
            r"g = \gamma \, dy, \qquad dx = \frac{1}{\sqrt{v + \varepsilon}} \left( g - \frac{1}{K} \sum g "
            r"- \hat{x} \, \frac{1}{K} \sum g \, \hat{x} \right)",
        ),
        param_grads=_NORM_GRADS,
        reading=f"{what} brought to mean 0 and, but for ε, variance 1, then scaled and shifted. No sample looks at another.",
        back="x acts on the output by three paths: by itself, through the mean μ (the second term) and through the variance v "
        "(the third), all within its own sample.",
        cache="x̂ and 1/√(v + ε)",
        dx_needs="dx needs both",
        learning=_NORM_LEARNING,
        learning_needs="dγ is made of x̂ and dy",
        symbols=f"K = {size:,}: values that are normalised together; sums in dx run over them, those in dγ and dβ over all "
        f"others; ε = {layer.eps:g}",
    )


def _element_wise(forward: str, dx: str, reading: str, back: str, needs: str, symbols: str = "") -> Formulas:
    return Formulas((forward,), (dx,), {}, reading, back, "y itself", needs, symbols=symbols)


def _leaky_relu(layer: LeakyReLU) -> Formulas:
    slope = f"{layer.options['slope']:g}"
    return _element_wise(
        rf"y = \max(x, \alpha x), \qquad \alpha = {slope}",
        r"dx = dy \cdot \begin{cases} 1 & x > 0 \\ \alpha & \text{else} \end{cases}",
        f"What is negative is multiplied by α = {slope}.",
        f"The gradient passes whole where x was positive, and times α = {slope} where it was not: no unit dies.",
        "y has the sign of x",
        f"α = {slope}",
    )


def _diff_augment(layer: DiffAugment) -> Formulas:
    colors = r"L x = \mu + (c + \tfrac{1}{2}) \left( g + 2 s (x - g) - \mu \right)"
    return Formulas(
        (r"y = T \left( L x + b - \tfrac{1}{2} \right)", colors) if layer.color else (r"y = T x",),
        (r"dx = L \, T^T dy",) if layer.color else (r"dx = T^T dy",),
        {},
        "Every image is moved" + (" and gets other colours" if layer.color else "") + ", as drawn for it alone.",
        "Every gradient moves back to where its pixel came from" + (" and is recoloured alike." if layer.color else "."),
        "what was drawn",
        "the way back needs the very draws of this pass",
        symbols=f"T moves an image by up to {layer.translation:g} of its size, zeros behind it"
        + ("; g: mean of a pixel's channels; μ: of the image; s, c, b: drawn from [0, 1)" if layer.color else ""),
    )


def _phase_shuffle(layer: PhaseShuffle) -> Formulas:
    return Formulas(
        (
            r"y_t = x_{r(t - k)}",
            r"r(j) = -j \text{ for } j < 0, \quad 2 (T - 1) - j \text{ for } j \ge T, \quad \text{else } j",
        ),
        (r"dx_j = \sum_{t:\; r(t - k) = j} dy_t",),
        {},
        "Every sample is moved in time by its own k, and what is missing at its end is mirrored there.",
        "Every gradient moves back to where its value came from, and those of mirrored values are added there.",
        "which k was drawn",
        "the way back needs the very k of this pass",
        symbols=f"t, j: places in time, of T = {layer.input_shape[-2]:,}; k: a whole number from −{layer.n} to {layer.n}"
        if layer.input_shape
        else "",
    )


def _dropout(layer: Dropout) -> Formulas:
    rate = layer.rate
    left_out = (
        f"Each value is left out with probability r = {rate:g}, and those that stay are multiplied by 1/(1 − r) = "
        f"{1 / (1 - rate):.4g}, which keeps the mean."
    )
    return Formulas(
        (r"y = x \, m, \qquad m = \begin{cases} 0 & \text{with probability } r \\ 1/(1-r) & \text{else} \end{cases}",),
        (r"dx = dy \; m",),
        {},
        left_out if rate else "With r = 0 nothing is left out: y = x.",
        "What was left out gets no gradient." if rate else "With m = 1 everywhere the gradient passes as it is.",
        "the mask m",
        "the way back needs the very mask of this pass",
        symbols=f"r = {rate:g}; m: the mask, drawn anew in every pass",
    )


def _reshape(layer: Reshape) -> Formulas:
    flat = isinstance(layer, Flatten)
    return Formulas(
        (r"y = x \text{ with each sample in one row}" if flat else r"y = x \text{ in another shape}",),
        (r"dx = dy \text{ in the shape of } x",),
        {},
        "The values stay in their order, one row for each sample."
        if flat
        else "The values stay in their order; only their indices change.",
        "The gradient goes back to the places where its values came from.",
        "x, as all linear layers keep it",
        "dx needs none of its values",
    )


def _upsample(layer: Upsample) -> Formulas:
    down, across = layer.factor
    return Formulas(
        (r"y_{n,h,w,c} = x_{n,\lfloor h/f \rfloor,\lfloor w/g \rfloor,c}",),
        (r"dx_{nhwc} = \sum_{a<f,\,b<g} dy_{n,\,hf+a,\,wg+b,\,c}",),
        {},
        f"Every pixel is copied into a block of {down} × {across}.",
        f"Every pixel gets the sum of the gradients of its {down * across} copies.",
        "x, as all linear layers keep it",
        "dx needs none of its values",
        symbols=f"n: sample; h, w: row and column; c: channel; f = {down}, g = {across}",
    )


def _spectral_norm(layer: SpectralNorm) -> Formulas:
    biased = layer.linear.has_bias
    return Formulas(
        (
            r"y = \frac{1}{\sigma} A_W x" + (r" + \text{bias}" if biased else ""),
            r"\sigma = u^T W v, \qquad \bar{W} = W / \sigma",
        ),
        (r"dx = A_W^T \, dy / \sigma",),
        {
            "weight": r"dW = \frac{1}{\sigma} \left( G - \langle G, \bar{W} \rangle \, u v^T \right), \qquad "
            r"G = \frac{\partial}{\partial W} \langle A_W x, dy \rangle",
            **({"bias": r"d\,\text{bias} = \sum dy"} if biased else {}),
        },
        f"A {layer.linear.name} layer, with its weight W divided by σ, its largest singular value. u "
        "and v, the singular vectors, follow W by power iteration in every pass.",
        "The gradient goes back by the same map, transposed, and divided by σ.",
        "x, u, v and σ",
        "dx needs only dy, σ and the weight",
        "W acts on the output by two paths, directly and through σ. What would only make W larger is taken out: W/σ does not "
        "feel it.",
        "dW is made of x and dy",
        "A_W: the layer's linear map with the weight W; u, v: first singular vectors of W as a matrix, a row for each output",
    )


def _residual(layer: Residual) -> Formulas | None:
    """None if one of the layers within has none."""
    within = [formulas_of(one) for one in layer.layers]
    param_grads = {
        f"{number}.{name}": tex
        for number, known in enumerate(within)
        if known is not None
        for name, tex in known.param_grads.items()
    }
    f = ", ".join(map(repr, layer.layers))
    return Formulas(
        (r"y = x + a \, f(x)",),
        (r"dx = dy + a \left( \frac{\partial f}{\partial x} \right)^T dy",),
        param_grads,
        f"x goes straight through, and a = {layer.scale:g} times what f makes of it is added.",
        "The gradient comes back by two paths: whole by the straight one, and once more through f.",
        "the caches of f's layers",
        "dx needs them",
        "The layers of f learn as anywhere, from a · dy." if param_grads else "",
        "their gradients are made of what these hold" if param_grads else "",
        f"a = {layer.scale:g}; f: {f}, in a row; in the formulas of its parameters, x and dy are those of their own layer",
    )


def _minibatch_std(layer: MinibatchStd) -> Formulas:
    groups = "the batch" if layer.group_size is None else f"a group of up to {layer.group_size} samples"
    return Formulas(
        (
            r"y = (x, r), \qquad r = \frac{1}{K} \sum_k s_k",
            r"s_k = \sqrt{v_k + \varepsilon}, \qquad v_k = \frac{1}{G} \sum_g (x_{gk} - \mu_k)^2",
        ),
        (r"dx_{gk} = dy_{gk} + e \, \frac{x_{gk} - \mu_k}{G K s_k}",),
        {},
        f"One more channel tells how much the samples of {groups} differ: the mean of their deviations over all K values.",
        "The gradient passes, and that of the new channel, e in all, drives the samples of a group apart or together.",
        "x, μ and 1/s",
        "dx needs them",
        symbols=f"g: sample, of G in {groups}; k: value, of K = {layer.size:,}; e: the sum of dy's last channel over the "
        f"group; ε = {layer.eps:g}",
    )


FORMULAS: dict[type[Layer], Callable[[Any], Formulas | None]] = {
    Dense: _dense,
    Conv2d: _conv,
    ConvTranspose2d: _conv_transpose,
    BatchNorm: _batch_norm,
    LayerNorm: _layer_norm,
    ReLU: lambda layer: _element_wise(
        r"y = \max(x, 0)",
        r"dx = dy \cdot [\,x > 0\,]",
        "What is negative becomes 0.",
        "The gradient passes where x was positive and stops where it was not.",
        "y > 0 exactly where x > 0",
    ),
    LeakyReLU: _leaky_relu,
    Tanh: lambda layer: _element_wise(
        r"y = \tanh x",
        r"dx = dy \, (1 - y^2)",
        "Every value is squeezed into (−1, 1).",
        "Where y is near ±1 almost no gradient comes through: such a value is hard to move.",
        "the derivative follows from the value",
    ),
    Sigmoid: lambda layer: _element_wise(
        r"y = \sigma(x) = \frac{1}{1 + e^{-x}}",
        r"dx = dy \; y \, (1 - y)",
        "Every value is squeezed into (0, 1).",
        "At most a quarter of the gradient comes through, and almost none where y is near 0 or 1.",
        "the derivative follows from the value",
    ),
    Softplus: lambda layer: _element_wise(
        r"y = \zeta(x) = \log(1 + e^x)",
        r"dx = dy \; \sigma(x)",
        "A ReLU with its corner rounded off.",
        "The gradient passes in part, by σ(x).",
        "σ(x) = 1 − e^−y",
    ),
    Softmax: lambda layer: Formulas(
        (r"y_k = \frac{e^{x_k}}{\sum_j e^{x_j}}",),
        (r"dx = y \left( dy - \sum_k y_k \, dy_k \right)",),
        {},
        "The scores along the last axis become probabilities, which add up to 1.",
        "A score that rises takes from all others of its row, so only what tells dy from its mean under y comes through.",
        "y itself",
        "the derivative follows from the value",
    ),
    Dropout: _dropout,
    DiffAugment: _diff_augment,
    PhaseShuffle: _phase_shuffle,
    Reshape: _reshape,
    Flatten: _reshape,
    Upsample: _upsample,
    SpectralNorm: _spectral_norm,
    Residual: _residual,
    MinibatchStd: _minibatch_std,
}


ADAM = (
    r"m \leftarrow \beta_1 m + (1 - \beta_1) \, g, \qquad v \leftarrow \beta_2 v + (1 - \beta_2) \, g^2",
    r"w \leftarrow w - \eta \; \frac{m / (1 - \beta_1^t)}{\sqrt{v / (1 - \beta_2^t)} + \varepsilon}",
)
ADAM_DECAY = (r"w \leftarrow (1 - \eta \lambda) \, w \qquad \text{first: the weight decay } \lambda",)
SGD_PLAIN = (r"w \leftarrow w - \eta \, g",)
SGD_MOMENTUM = (r"u \leftarrow \rho u + g, \qquad w \leftarrow w - \eta \, u",)
SGD_NESTEROV = (r"u \leftarrow \rho u + g, \qquad w \leftarrow w - \eta \, (g + \rho u)",)


OWN_CALCULUS = {"forward", "backward", "f", "df", "apply", "transpose", "weight_grad", "tangent", "curvature", "d2f"}


def entry_of(layer: Layer, table: Mapping[type[Layer], Any]) -> Any:
    """That of the layer's class in a table, or of the nearest class that it is derived from without calculus of its own."""
    for kind in type(layer).__mro__:
        if kind in table:
            return table[kind]
        if not OWN_CALCULUS.isdisjoint(vars(kind)):
            return None
    return None


def formulas_of(layer: Layer) -> Formulas | None:
    """Those of the layer's class, or of the nearest class that it is derived from without calculus of its own."""
    make: Callable[[Any], Formulas | None] | None = entry_of(layer, FORMULAS)
    return make(layer) if make else None


@cache
def mathml(tex: str) -> str:
    """A formula in TeX notation as MathML, which browsers set without any script."""
    from latex2mathml.converter import convert

    # Where no mathematics font is installed, "log D" and "tanh x" would run together.
    for name in ("log", "tanh"):
        tex = re.sub(rf"\\{name} (?=[A-Za-z])", rf"\\{name}\\, ", tex)
    return convert(tex, display="block")
