"""What the page says of each likelihood of a VAE: formulas in TeX notation, what each value pays, and what that means for D.

They are those of the docstrings. A likelihood without an entry of its own is shown without them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigan.losses import Bernoulli, Gaussian, Likelihood
from minigan.losses.variational import bernoulli, gaussian


@dataclass(frozen=True)
class LikelihoodFormulas:
    """R = −log p(x|z) in TeX, with its gradient in D's output y and what a sample is shown as, and in words what y is.

    cost: what each value of a sample pays, from y and x. symbols: what the letters stand for.
    """

    value: str
    grad: str
    mean: str
    reading: str
    cost: Callable[[np.ndarray, np.ndarray], np.ndarray]
    symbols: str


def _bernoulli(likelihood: Bernoulli) -> LikelihoodFormulas:
    return LikelihoodFormulas(
        r"R = \frac{1}{N} \sum_{n,k} \left( \zeta(y_{nk}) - t_{nk} \, y_{nk} \right), "
        r"\qquad t = \frac{x + 1}{2}, \qquad \zeta(y) = \log(1 + e^y)",
        r"\frac{\partial R}{\partial y_{nk}} = \frac{\sigma(y_{nk}) - t_{nk}}{N}",
        r"\hat{x} = 2 \, \sigma(y) - 1 = \tanh \frac{y}{2}",
        "Each y is a logit: D says that this pixel is white with the probability σ(y). A pixel pays −log of the probability "
        "that D gave to what it is, and a grey one for both, in parts; so D pays most where it is sure, and wrong.",
        lambda y, x: bernoulli(np, y, x),
        "k: value of a sample; x̂: the mean of p(x|z)",
    )


def _gaussian(likelihood: Gaussian) -> LikelihoodFormulas:
    symbols = f"k: value of a sample, of K; s = {likelihood.sigma:g}, the likelihood's width, which is not the σ of the codes"
    constant = math.log(likelihood.sigma) + math.log(2 * math.pi) / 2
    return LikelihoodFormulas(
        r"R = \frac{1}{N} \sum_{n,k} \frac{1}{2} \left( \frac{x_{nk} - y_{nk}}{s} \right)^2 "
        r"+ K \left( \log s + \frac{1}{2} \log(2 \pi) \right)",
        r"\frac{\partial R}{\partial y_{nk}} = \frac{y_{nk} - x_{nk}}{s^2 N}",
        r"\hat{x} = y",
        "Each y is the mean of a Gaussian of fixed width s: a value pays for the square of its distance from y, measured in s. "
        "The gradient has the size of that distance, and its negative points straight at x.",
        lambda y, x: gaussian(np, y, x, likelihood.sigma) + constant,
        f"{symbols}; x̂: the mean of p(x|z)",
    )


LIKELIHOODS: dict[type[Likelihood], Callable[[Any], LikelihoodFormulas]] = {Bernoulli: _bernoulli, Gaussian: _gaussian}


def likelihood_formulas(likelihood: Likelihood) -> LikelihoodFormulas | None:
    """Those of exactly this class: a class derived from it may be another likelihood."""
    make = LIKELIHOODS.get(type(likelihood))
    return make(likelihood) if make else None
