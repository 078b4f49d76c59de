"""What the page says of the gradient of a gradient: of each layer's tangent and curvature, and of each penalty.

The formulas are those of the docstrings, with b for the gradient ∂(Σ s)/∂y that made D's slope g, and Q = v · g. A layer or
penalty without an entry of its own is shown without them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from minigan.explain.formulas import entry_of
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
from minigan.losses import DRAGAN, R1, R2, GradientPenalty, Penalty


@dataclass(frozen=True)
class SecondOrderFormulas:
    """A layer's tangent, ∂Q/∂θ by parameter, and c = ∂Q/∂x in TeX, "" where it is zero; and in words."""

    tangent: str
    reading: str
    param_grads: dict[str, str] = field(default_factory=dict)
    c: str = ""
    symbols: str = ""


_OF_WEIGHT = r"\frac{\partial Q}{\partial w} = \frac{\partial}{\partial w} \langle A_w \, \dot{x}, b \rangle"
_OF_BIAS = r"\frac{\partial Q}{\partial \text{bias}} = 0"
_LINEAR = "ẏ is what the layer makes of ẋ"


def _without(layer: Any) -> str:
    return ", without its bias" if layer.has_bias else ""


def _weighted(layer: Any) -> SecondOrderFormulas:
    bias = {"bias": _OF_BIAS} if layer.has_bias else {}
    return SecondOrderFormulas(
        r"\dot{y} = A_w \, \dot{x}",
        f"{_LINEAR}{_without(layer)}. The weights get the products that make dw, with ẋ in place of x and b in place of dy"
        + (", and the bias, which ẏ does not feel, gets none of them. " if bias else ". ")
        + "The map is linear: whatever x is, Q is the same, and c is zero.",
        {"weight": _OF_WEIGHT, **bias},
    )


def _spectral_norm(layer: SpectralNorm) -> SecondOrderFormulas:
    bias = {"bias": _OF_BIAS} if layer.linear.has_bias else {}
    weight = (
        r"\frac{\partial Q}{\partial W} = \frac{1}{\sigma} \left( G' - \langle G', \bar{W} \rangle \, u v^T \right), \qquad "
        r"G' = \frac{\partial}{\partial W} \langle A_W \, \dot{x}, b \rangle"
    )
    return SecondOrderFormulas(
        r"\dot{y} = \frac{1}{\sigma} A_W \, \dot{x}",
        f"{_LINEAR}{_without(layer.linear)}. W gets what it gets of L, with ẋ in place of x and b in place of dy; σ "
        "is made of W as well, so what would only make W larger is taken out. c is zero.",
        {"weight": weight, **bias},
    )


def _moves(reading: str) -> str:
    return f"{reading} So where x moves, ẏ moves by another slope, and c is not zero."


def _element_wise(slope: str, reading: str, second: str = "", symbols: str = "") -> Callable[[Layer], SecondOrderFormulas]:
    """f' and f'' in TeX."""
    c = rf"c = {second} \; \dot{{x}} \, b" if second else ""
    return lambda layer: SecondOrderFormulas(
        rf"\dot{{y}} = {slope} \; \dot{{x}}", _moves(reading) if second else reading, c=c, symbols=symbols
    )


_KINKED = "ẋ passes by the slope that x has there. Within a piece the slope is the same, whatever x is, so c is zero."


def _normalised(b: str, of_gamma: str) -> SecondOrderFormulas:
    """BatchNorm's and LayerNorm's; b: what stands for b in the means, of_gamma: ∂Q/∂γ."""
    xu, xb, u = r"\langle \hat{x} \dot{x} \rangle", rf"\langle \hat{{x}} {b} \rangle", r"\langle \dot{x} \rangle"
    flow = rf"\dot{{x}} - {u} - \hat{{x}} {xu}"
    scale = r"\frac{\gamma}{v + \varepsilon}" if b == "b" else r"\frac{1}{v + \varepsilon}"
    c = (
        rf"c = -{scale} \left( {xu} \, ({b} - \langle {b} \rangle) + {xb} \, (\dot{{x}} - {u}) "
        rf"- \hat{{x}} \, (2 \, {xu} {xb} - q) \right), \qquad q = \langle {b} \, ({flow}) \rangle"
        + ("" if b == "b" else r", \qquad h = \gamma \, b")
    )
    return SecondOrderFormulas(
        rf"\dot{{y}} = \frac{{\gamma}}{{\sqrt{{v + \varepsilon}}}} \left( {flow} \right)",
        _moves("What all values that are normalised together have in common cancels in ẏ, as it does in dx."),
        {
            "gamma": rf"\frac{{\partial Q}}{{\partial \gamma}} = {of_gamma} b \, \frac{{{flow}}}{{\sqrt{{v + \varepsilon}}}}",
            "beta": r"\frac{\partial Q}{\partial \beta} = 0",
        },
        c,
        "⟨·⟩: the mean over the values that are normalised together",
    )


def _reshape(layer: Layer) -> SecondOrderFormulas:
    return SecondOrderFormulas(r"\dot{y} = A \, \dot{x}", f"{_LINEAR}. It has no weights, and c is zero.")


def _residual(layer: Residual) -> SecondOrderFormulas:
    return SecondOrderFormulas(
        r"\dot{y} = \dot{x} + a \, \frac{\partial f}{\partial x} \dot{x}",
        "ẋ goes straight through, and once more through f, whose layers make their own tangents and curvatures from a · b: the "
        "three sweeps of the page, within this layer.",
    )


def _minibatch_std(layer: MinibatchStd) -> SecondOrderFormulas:
    return SecondOrderFormulas(
        r"\dot{y} = (\dot{x}, \dot{r}), \qquad \dot{r} = \frac{1}{K} \sum_k \frac{t_k}{s_k}, \qquad "
        r"t_k = \langle (x - \mu) \, \dot{x} \rangle_k",
        _moves("ẋ passes, and moves the spread r of its group."),
        c=r"c = \frac{e}{G K s_k} \left( \dot{x} - \langle \dot{x} \rangle_k - (x - \mu_k) \frac{t_k}{s_k^2} \right)",
    )


SECOND_ORDER: dict[type[Layer], Callable[[Any], SecondOrderFormulas]] = {
    **dict.fromkeys((Dense, Conv2d, ConvTranspose2d), _weighted),
    **dict.fromkeys((Flatten, Reshape, Upsample), _reshape),
    ReLU: _element_wise(r"[\,x > 0\,]", _KINKED),
    LeakyReLU: lambda layer: _element_wise(
        r"\begin{cases} 1 & x > 0 \\ \alpha & \text{else} \end{cases}", _KINKED, symbols=f"α = {layer.options['slope']:g}"
    )(layer),
    Tanh: _element_wise(r"(1 - y^2)", "ẋ passes by the slope that x has there.", r"-2 y \, (1 - y^2)"),
    Sigmoid: _element_wise(r"y \, (1 - y)", "ẋ passes by the slope that x has there.", r"(1 - 2 y) \, y \, (1 - y)"),
    Softplus: _element_wise(r"\sigma(x)", "ẋ passes by the slope that x has there.", r"\sigma(x) \, (1 - \sigma(x))"),
    Softmax: lambda layer: SecondOrderFormulas(
        r"\dot{y} = y \, (\dot{x} - \langle \dot{x} \rangle)",
        _moves("What all scores of a row have in common cancels in ẏ, as it does in dx."),
        c=r"c = y \left( (\dot{x} - \langle \dot{x} \rangle) (b - \langle b \rangle) - \langle b \, (\dot{x} - \langle "
        r"\dot{x} \rangle) \rangle \right)",
        symbols="⟨a⟩ = Σ_k y_k a_k, the mean under y",
    ),
    DiffAugment: lambda layer: SecondOrderFormulas(
        r"\dot{y} = T \, L \, \dot{x}" if layer.color else r"\dot{y} = T \, \dot{x}",
        "ẋ passes by the very draws of this pass, but for the brightness, which is added. The map is affine, so c is zero."
        if layer.color
        else "ẋ is moved by the very draws of this pass, and c is zero.",
    ),
    PhaseShuffle: lambda layer: SecondOrderFormulas(
        r"\dot{y}_t = \dot{x}_{r(t - k)}", "ẋ is moved as x was, by the k of this pass, and c is zero."
    ),
    Dropout: lambda layer: SecondOrderFormulas(r"\dot{y} = m \, \dot{x}", "ẋ passes by the mask of this pass, and c is zero."),
    BatchNorm: lambda layer: _normalised("b", r"\sum"),
    LayerNorm: lambda layer: _normalised("h", r"\sum"),
    SpectralNorm: _spectral_norm,
    MinibatchStd: _minibatch_std,
    Residual: _residual,
}


def second_order_of(layer: Layer) -> SecondOrderFormulas | None:
    """The entry of the layer's class, or of the nearest class that it is derived from without calculus of its own."""
    make = entry_of(layer, SECOND_ORDER)
    return make(layer) if make else None


@dataclass(frozen=True)
class PenaltyFormulas:
    """A penalty's value and v in TeX, where it is taken, and in words what it wants."""

    value: str
    v: str
    where: str
    reading: str
    symbols: str
    points: str = ""  # in TeX, where they are drawn


def _zero_centred(kind: str, images: str) -> Callable[[Any], PenaltyFormulas]:
    def make(penalty: R1) -> PenaltyFormulas:
        return PenaltyFormulas(
            r"P = \frac{\gamma}{2N} \sum_n \| g_n \|^2",
            r"v_n = \frac{\partial P}{\partial g_n} = \frac{\gamma}{N} \, g_n",
            f"at the {images} themselves",
            f"{kind} wants D to be flat at the {images}: it pays for every slope of D there.",
            f"γ = {penalty.weight:g}",
        )

    return make


def _unit_norm(points: str, where: str, reading: str, symbols: str) -> Callable[[Any], PenaltyFormulas]:
    def make(penalty: GradientPenalty) -> PenaltyFormulas:
        return PenaltyFormulas(
            r"P = \frac{\lambda}{N} \sum_n \left( \| g_n \| - 1 \right)^2",
            r"v_n = \frac{\partial P}{\partial g_n} = \frac{2 \lambda}{N} \left( 1 - \frac{1}{\| g_n \|} \right) g_n",
            where,
            reading,
            f"λ = {penalty.weight:g}; {symbols}",
            points,
        )

    return make


PENALTIES: dict[type[Penalty], Callable[[Any], PenaltyFormulas]] = {
    R1: _zero_centred("R1", "real samples"),
    R2: _zero_centred("R2", "generated samples"),
    GradientPenalty: _unit_norm(
        r"\hat{x}_n = \varepsilon_n x_n + (1 - \varepsilon_n) \, \tilde{x}_n",
        "at points between real and generated samples",
        "WGAN-GP wants the slope of D to be 1 between real and generated samples: it pays for steeper and for flatter ones.",
        "ε: drawn from U[0, 1), one for each pair",
    ),
    DRAGAN: _unit_norm(
        r"\hat{x}_n = x_n + \alpha_n \cdot \frac{1}{2} \, \text{std}(x) \, u_n",
        "at points around the real samples",
        "DRAGAN wants the slope of D to be 1 around the real samples: it pays for steeper and for flatter ones.",
        "α: drawn from U[0, 1), one for each sample; u: drawn from U[0, 1), one for each value",
    ),
}


def penalty_formulas(penalty: Penalty | None) -> PenaltyFormulas | None:
    """Those of exactly this class: a class derived from it may be another penalty."""
    make = PENALTIES.get(type(penalty)) if penalty is not None else None
    return make(penalty) if make else None
