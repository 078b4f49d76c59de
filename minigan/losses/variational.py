"""The pieces of a variational autoencoder's bound, each value with its gradient.

For an image x, a code z and the encoder's q(z|x) = N(μ, σ²), Kingma and Welling 2014 (arXiv:1312.6114), equation 3, have
    log p(x) ≥ E_q log p(x|z) − KL(q(z|x) ‖ p(z)),  p(z) = N(0, I)
Its negative is what is minimised: a reconstruction, −log p(x|z) for one z drawn from q (a Likelihood), and the KL. Both are in
nats an image: sums over its K values or its J latent dimensions, means over the N images of a batch.
"""

from __future__ import annotations

import copy
import math
from typing import Any

from minigan.backends import Array, Backend, Formula, get_backend
from minigan.sizes import ignore_underflow, real

WIDEST = 1e6  # σ of a Gaussian likelihood


def halves(h: Array) -> tuple[Array, Array]:
    """μ and log σ², each (N, J), of an encoder's output h (N, 2J)"""
    size = h.shape[1] // 2
    return h[:, :size], h[:, size:]


def per_sample(be: Backend, formula: Formula, x: Array, y: Array, **constants: Any) -> Array:
    """Σ_nk f_nk / N of an element-wise formula of two arrays (N, …), a 0-d array"""
    rows = (a.reshape(len(a), -1) for a in (x, y))
    (sums,) = be.column_sums(formula, *rows, **constants)
    return be.xp.asanyarray(sums.sum() / len(x))


def drawn(xp: Any, mean: Array, log_var: Array, noise: Array) -> Array:
    """z = μ + exp(½ log σ²) ε"""
    return mean + xp.exp(log_var / 2) * noise


def drawn_grad(xp: Any, dz: Array, log_var: Array, noise: Array) -> Array:
    """½ exp(½ log σ²) ε dz"""
    return xp.exp(log_var / 2) * noise * dz / 2


@ignore_underflow
def reparametrise(be: Backend, h: Array, noise: Array) -> Array:
    """z = μ + σ ε (N, J) from h = (μ, log σ²) (N, 2J) and ε ~ N(0, I): a draw from N(μ, σ²) that μ and σ can be differentiated
    through, for the chance in it does not depend on them.

    With ℓ = log σ², σ = exp(½ ℓ), which is above 0 whatever the encoder puts out.
    Gradient, element by element: ∂z/∂μ = 1 and ∂z/∂ℓ = ½ exp(½ ℓ) ε, so dμ = dz and dℓ = ½ σ ε dz (reparametrise_grad).
    Source: Kingma and Welling 2014, section 2.4, and equation 10 for the Gaussian.
    """
    return be.elementwise(drawn, *halves(h), noise)


@ignore_underflow
def reparametrise_grad(be: Backend, dz: Array, h: Array, noise: Array) -> Array:
    """dh = (dz, ½ σ ε dz) (N, 2J), the gradient of `reparametrise`."""
    return be.xp.concatenate([dz, be.elementwise(drawn_grad, dz, halves(h)[1], noise)], axis=1)


def divergence(xp: Any, mean: Array, log_var: Array) -> Array:
    """½ (μ² + e^ℓ − 1 − ℓ); expm1 keeps the digits where ℓ is near 0"""
    return (mean * mean + (xp.expm1(log_var) - log_var)) / 2


def divergence_grad(xp: Any, log_var: Array, count: float) -> Array:
    """½ (e^ℓ − 1) / N"""
    return xp.expm1(log_var) / (2 * count)


@ignore_underflow
def gaussian_kl(be: Backend, h: Array) -> tuple[Array, Array]:
    """KL(N(μ, σ²) ‖ N(0, I)) of h = (μ, ℓ) (N, 2J) with ℓ = log σ²: (the mean over the batch, ∂KL/∂h).

    In one dimension, with E z = μ and E z² = μ² + σ² under q:
        KL = E_q (log q(z) − log p(z)) = E_q (−½ ℓ − ½ (z − μ)²/σ² + ½ z²) = ½ (−ℓ − 1 + μ² + σ²)
        KL = Σ_nj ½ (μ_nj² + e^{ℓ_nj} − 1 − ℓ_nj) / N
    Gradient: each μ_nj and ℓ_nj stands in its own term alone, ∂KL/∂μ = μ/N and ∂KL/∂ℓ = ½ (e^ℓ − 1)/N; both are 0 at μ = 0,
    σ = 1, where the code says nothing of the image.
    Source: Kingma and Welling 2014, appendix B.
    """
    mean, log_var = halves(h)
    dh = be.xp.concatenate([mean / len(h), be.elementwise(divergence_grad, log_var, count=float(len(h)))], axis=1)
    return per_sample(be, divergence, mean, log_var), dh


class Likelihood:
    """p(x|z), the decoder's output y turned into a distribution of x: a new one writes loss and mean.

    x, y (N, …) with K values an image; images in [−1, 1]. backend: what it runs on; a game binds it to that of its networks.
    """

    def __init__(self, **options: Any) -> None:
        self.options = options  # what it was made with, for its repr
        self.backend = get_backend("textbook")

    def bind(self, backend: Backend) -> Likelihood:
        """The same likelihood on this backend."""
        bound = copy.copy(self)
        bound.backend = backend
        return bound

    def loss(self, y: Array, x: Array) -> tuple[Array, Array]:
        """−log p(x|z) as a mean over the batch, a 0-d array, and its gradient in y."""
        raise NotImplementedError(f"{type(self).__name__} has no loss")

    def mean(self, y: Array) -> Array:
        """E (x|z), what a sample is shown as."""
        raise NotImplementedError(f"{type(self).__name__} has no mean")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.options.items())})"


def bernoulli(xp: Any, y: Array, x: Array) -> Array:
    """ζ(y) − t y = log(1 + e^−|y|) + ½ (|y| − x y), for t = (x + 1)/2 and ζ(y) = ½ (y + |y|) + log(1 + e^−|y|)"""
    size = xp.abs(y)  # log1p below would keep digits that the sum drops, and take ten times as long
    return xp.log(1 + xp.exp(-size)) + (size - x * y) / 2


def bernoulli_grad(xp: Any, y: Array, x: Array, count: float) -> Array:
    """(σ(y) − t) / N = (tanh(y/2) − x) / 2N"""
    return (xp.tanh(y / 2) - x) / (2 * count)


def bernoulli_mean(xp: Any, y: Array) -> Array:
    """2 σ(y) − 1 = tanh(y/2)"""
    return xp.tanh(y / 2)


class Bernoulli(Likelihood):
    """A pixel is white with the probability p = σ(y): −log p(x|z) = −Σ_k (t_k log p_k + (1 − t_k) log(1 − p_k)).

    t = (x + 1)/2 brings images from [−1, 1] to [0, 1]; a grey pixel counts as a share of white ones. From the logits y, with
    −log σ(y) = ζ(−y) = ζ(y) − y and −log(1 − σ(y)) = ζ(y), where ζ(y) = log(1 + e^y):
        L = Σ_nk (t_nk (ζ(y_nk) − y_nk) + (1 − t_nk) ζ(y_nk)) / N = Σ_nk (ζ(y_nk) − t_nk y_nk) / N
    which is finite for any logit.
    Gradient: ζ' = σ, so ∂L/∂y_nk = (σ(y_nk) − t_nk) / N. The mean of x is 2 p − 1 = (1 − e^−y)/(1 + e^−y) = tanh(y/2), so the
    gradient is also half of (mean − x)/N.
    Source: Kingma and Welling 2014, appendix C.1.
    """

    @ignore_underflow
    def loss(self, y: Array, x: Array) -> tuple[Array, Array]:
        dy = self.backend.elementwise(bernoulli_grad, y, x, count=float(len(y)))
        return per_sample(self.backend, bernoulli, y, x), dy

    @ignore_underflow
    def mean(self, y: Array) -> Array:
        return self.backend.elementwise(bernoulli_mean, y)


def gaussian(xp: Any, y: Array, x: Array, sigma: float) -> Array:
    """½ ((x − y)/σ)²"""
    return ((x - y) / sigma) ** 2 / 2


def gaussian_grad(xp: Any, y: Array, x: Array, scale: float) -> Array:
    """(y − x) / (σ² N)"""
    return (y - x) * scale


class Gaussian(Likelihood):
    """x = y + σ n with n ~ N(0, I) and a fixed σ: −log p(x|z) = Σ_k (½ ((x_k − y_k)/σ)² + log σ + ½ log 2π).

        L = Σ_nk ½ ((x_nk − y_nk)/σ)² / N + K (log σ + ½ log 2π)
    Gradient: ∂L/∂y_nk = (y_nk − x_nk) / (σ² N). The mean of x is y.
    σ says how much of x need not be told by z: the larger it is, the less a code is worth its KL.
    Raises OptionError unless sigma is a number from 1e-6 to 1e6.
    Source: Kingma and Welling 2014, appendix C.2, with σ for all values alike.
    """

    def __init__(self, sigma: float) -> None:
        expected = f"a number from {1 / WIDEST:g} to {WIDEST:g}"
        super().__init__(sigma=float(real(sigma, "Gaussian: sigma", expected, lambda s: 1 / WIDEST <= s <= WIDEST)))
        self.sigma: float = self.options["sigma"]

    @ignore_underflow
    def loss(self, y: Array, x: Array) -> tuple[Array, Array]:
        be, size = self.backend, math.prod(y.shape[1:])
        value = per_sample(be, gaussian, y, x, sigma=self.sigma)
        dy = be.elementwise(gaussian_grad, y, x, scale=1 / (self.sigma**2 * len(y)))
        return be.xp.asanyarray(value + size * (math.log(self.sigma) + math.log(2 * math.pi) / 2)), dy

    def mean(self, y: Array) -> Array:
        return y
