"""The variational autoencoder: an encoder and a decoder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import NormalDist
from typing import Any, ClassVar

import numpy as np

from minigan.backends import Array, stream
from minigan.errors import ModelError, ShapeError, shorten
from minigan.games.game import SAMPLE_BATCH, Game, Picture
from minigan.losses import Bernoulli, Likelihood, gaussian_kl, reparametrise
from minigan.losses.variational import halves, reparametrise_grad
from minigan.network import Sequential
from minigan.optim import Adam, Optimizer, Schedule, constant
from minigan.ranges import RangeCheck
from minigan.sizes import check_finite, check_kind, ignore_underflow, real

HEAVIEST = 1e6  # weight of the KL
PAIRS_IN_A_ROW = 4  # of an original and its reconstruction, in a picture
ACTIVE = 0.01  # variance over samples of a latent dimension's mean: Burda et al. 2016, section 5.2, found a wide gap there
MAP_SIDE = 20  # images in a row of a latent map
MEANS_ONLY = "Bernoulli likelihoods are of values in [-1, 1] alone"


def weighted_sum(xp: Any, x: Array, y: Array, weight: float) -> Array:
    """x + w y"""
    return x + weight * y


def active_units(xp: Any, mean: Array) -> Array:
    """The share of latent dimensions whose mean code (N, J) has a variance above ACTIVE over the samples."""
    return (mean.var(axis=0) > ACTIVE).astype(mean.dtype).mean()


def _checked_weight(weight: Any) -> float:
    expected = f"a number from 0 to {HEAVIEST:,.0f}, or a schedule of such numbers"
    return real(weight, "kl_weight", expected, lambda w: 0 <= w <= HEAVIEST)


def _likelihood(given: Any) -> Likelihood:
    """A likelihood, or the one of that name."""
    if isinstance(given, str) and given != "bernoulli":
        raise ModelError(f"likelihood is {shorten(given)}: expected 'bernoulli', or an object, as losses.Gaussian(0.1)")
    check_kind(given, (str, Likelihood), "likelihood", "a likelihood, as minigan.losses.Gaussian(0.1), or 'bernoulli'")
    return Bernoulli() if isinstance(given, str) else given


class VAE(Game):
    """An encoder and a decoder that together raise the bound of Kingma and Welling 2014 (arXiv:1312.6114).

    encoder: x -> (μ, log σ²) (N, 2J), the code of x as q(z|x) = N(μ, σ²); decoder: z (N, J) -> y of the samples' shape, which
    `likelihood` turns into p(x|z): "bernoulli", of which y are logits, or an object, as losses.Gaussian(0.1).
    kl_weight: of the KL in the loss, a number or a schedule, as one that rises from 0 to 1. At 1 the loss is the bound's
    negative; above it, codes are made to resemble N(0, I) more than the bound asks (Higgins et al. 2017, "β-VAE").
    lr, betas, eps: Adam's, for both networks; lr may be a schedule. optimizer_e, optimizer_d: in place of Adam.
    seed: of the noise that step draws.
    Raises ModelError if the two networks do not fit together, OptionError for a value out of its range.
    """

    stats: tuple[str, ...] = ("loss", "reconstruction", "kl")
    losses: ClassVar[Mapping[str, str]] = {"encoder": "loss", "decoder": "loss"}
    observed: ClassVar[tuple[str, ...]] = ("encoder", "decoder")
    figures: tuple[str, ...] = ("active_units",)

    def __init__(
        self,
        encoder: Sequential,
        decoder: Sequential,
        *,
        lr: float | Schedule = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        likelihood: str | Likelihood = "bernoulli",
        kl_weight: float | Schedule = 1.0,
        optimizer_e: Optimizer | None = None,
        optimizer_d: Optimizer | None = None,
        seed: int = 0,
    ) -> None:
        self.encoder, self.decoder = encoder, decoder
        self._check_networks()
        self.backend = encoder.backend
        self.likelihood = _likelihood(likelihood).bind(self.backend)
        self.kl_weight: Schedule = kl_weight if callable(kl_weight) else constant(_checked_weight(kl_weight))
        self.weight = self.backend.scalar(encoder.dtype)  # of the KL in the step under way
        self.optimizer_e, self.optimizer_d = optimizer_e or Adam(lr, betas, eps), optimizer_d or Adam(lr, betas, eps)
        check_kind(self.optimizer_e, Optimizer, "optimizer_e", "an optimiser, as minigan.Adam(1e-3)")
        check_kind(self.optimizer_d, Optimizer, "optimizer_d", "an optimiser, as minigan.Adam(1e-3)")
        self._range_check = RangeCheck(decoder, MEANS_ONLY if isinstance(self.likelihood, Bernoulli) else "")
        self.networks = {"encoder": encoder, "decoder": decoder}
        self.optimizers = {"encoder": self.optimizer_e, "decoder": self.optimizer_d}
        for name, optimizer in self.optimizers.items():
            optimizer.attach(self.networks[name], 1)
        self.streams = {"noise": self.backend.generator(stream("noise", seed))}

    def _check_networks(self) -> None:
        e, d = self.encoder, self.decoder
        check_kind(e, Sequential, "the encoder", "a minigan.Sequential")
        check_kind(d, Sequential, "the decoder", "a minigan.Sequential")
        if len(d.input_shape) != 1:
            raise ModelError(f"the decoder must take codes, shape (latent,); it takes {d.input_shape}")
        if e.output_shape != (2 * d.input_shape[0],):
            wanted = (2 * d.input_shape[0],)
            raise ModelError(
                f"the encoder makes {e.output_shape}, and the decoder takes {d.input_shape}: the encoder must end in μ and "
                f"log σ², shape {wanted}"
            )
        if d.output_shape != e.input_shape:
            raise ModelError(f"the decoder makes {d.output_shape}, and the encoder takes {e.input_shape}: make them equal")
        if e.backend is not d.backend or e.dtype != d.dtype:
            ours, theirs = f"{e.backend.name} {e.dtype}", f"{d.backend.name} {d.dtype}"
            raise ModelError(f"encoder ({ours}) and decoder ({theirs}) must share backend and dtype")

    # -- one step of the game ------------------------------------------------------------------------------------------

    def step(self, x: Array, noise: Array | None = None) -> dict[str, Array]:
        """One step of both networks on a batch x. noise: ε, a row of J numbers a sample, from N(0, 1) where not given.

        Returns 0-d arrays of the device, in nats an image: reconstruction = −log p(x|z), kl = KL(q(z|x) ‖ N(0, I)), and
        loss = reconstruction + kl_weight · kl, which at a weight of 1 is the negative of the bound.
        Raises ShapeError unless x is an array (N, *sample shape) and noise (N, J) of this backend and dtype.
        """
        return super().step(x, noise)

    def check(self, x: Array, noise: Array | None = None) -> None:
        self.encoder.check_input(x, train=True)
        self.decoder.check_batch(len(x), train=True)
        if noise is not None:
            self.decoder.check_input(noise, train=True)
            if len(noise) != len(x):
                raise ShapeError(f"noise has {len(noise)} rows, x has {len(x)}: give one row per image")
            check_finite(noise, "noise")
        self._range_check(x)

    def advance(self) -> None:
        """Count the step of both optimisers, and set the weight of the KL."""
        self.weight.set(_checked_weight(self.kl_weight(self.optimizer_e.steps)))
        super().advance()

    def compute(self, x: Array, noise: Array | None = None) -> dict[str, Array]:  # type: ignore[override]
        """The step itself, whose order stands here and nowhere else.

        E:  h = (μ, log σ²) = E(x);  z = μ + σ ε
        D:  y = D(z);  −log p(x|z);  back through D to ∂L/∂z, D's gradient on the way
        E:  back through the draw, to which the KL's own gradient comes;  back through E;  a step on both networks' parameters
        Source: Kingma and Welling 2014, algorithm 1, with one draw of ε an image (L = 1).
        """
        e, d, be, weight = self.encoder, self.decoder, self.backend, self.weight.value
        noise = self.noise(len(x)) if noise is None else noise
        h, cache_e = e.forward_in_parts(x, train=True)
        z = reparametrise(be, h, noise)
        y, cache_d = d.forward_in_parts(z, train=True)
        reconstruction, dy = self.likelihood.loss(y, x)
        kl, dh_kl = gaussian_kl(be, h)

        dz = d.backward_in_parts(dy, cache_d, grads=d.grads)
        dh = be.elementwise(weighted_sum, reparametrise_grad(be, dz, h, noise), dh_kl, weight=weight)
        e.backward_in_parts(dh, cache_e, grads=e.grads, input_grad=False)
        self.optimizer_e.compute(e)
        self.optimizer_d.compute(d)
        loss = be.elementwise(weighted_sum, reconstruction, kl, weight=weight)
        return {"loss": be.xp.asanyarray(loss), "reconstruction": reconstruction, "kl": kl}

    def noise(self, n: int) -> Array:
        """ε ~ N(0, 1), (n, J), from the game's own stream on the device."""
        return self.streams["noise"].normal((n, self.latent_dim), self.encoder.dtype)

    # -- codes and what they stand for ---------------------------------------------------------------------------------

    @property
    def sampler(self) -> Sequential:
        return self.decoder

    def as_samples(self, y: Array) -> Array:
        """The mean of p(x|z), for a draw from it would only add noise."""
        return self.likelihood.mean(y)

    def encode(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """μ and log σ², each (N, J), of the codes of host samples x, as networks see them (images in [−1, 1])."""
        return halves(self.inferred(self.encoder, self._checked(x)))

    def reconstruct(self, x: np.ndarray) -> np.ndarray:
        """What the decoder makes of the mean code μ of each host sample: a host array."""
        return self.decode(self.encode(x)[0])

    @ignore_underflow
    def bound(self, x: np.ndarray, seed: int = 0) -> float:
        """The bound in nats an image, the mean over host samples x: log p(x) is at least that much, on average.

        E_q log p(x|z) − KL(q(z|x) ‖ N(0, I)) with one ε an image, drawn by seed; both networks in inference mode. kl_weight
        does not count. Raises ShapeError for samples of another shape or dtype, or none.
        """
        x, be, total = self._checked(x), self.backend, 0.0
        if not len(x):
            raise ShapeError("x holds no samples: a bound needs at least one")
        noise = np.random.default_rng(stream("evaluate", seed)).standard_normal((len(x), self.latent_dim)).astype(self.dtype)
        for start in range(0, len(x), SAMPLE_BATCH):
            own, draws = (be.asarray(a[start : start + SAMPLE_BATCH]) for a in (x, noise))
            h, _ = self.encoder.forward(own)
            y, _ = self.decoder.forward(reparametrise(be, h, draws))
            parts = self.likelihood.loss(y, own)[0], gaussian_kl(be, h)[0]
            total -= len(own) * sum(float(be.to_numpy(part)) for part in parts)
        return total / len(x)

    def observe(
        self, run: Callable[[str, Array], Array], real: Array, z: Array, labels: Sequence[Array | None]
    ) -> tuple[Array, dict[str, Array]]:
        """What the decoder makes of z, and the share of latent dimensions that say something of real samples."""
        active = active_units(self.backend.xp, run("encoder", real)[:, : self.latent_dim])
        return self.as_samples(run("decoder", z)), {"active_units": active}

    def _checked(self, x: Any) -> np.ndarray:
        """Host samples that the encoder takes, or a ShapeError."""
        x = np.asarray(x)
        if x.dtype != self.dtype or x.shape[1:] != self.sample_shape:
            wanted = f"{self.dtype} (N, {', '.join(map(str, self.sample_shape))}), images in [-1, 1]"
            raise ShapeError(f"x is {x.dtype} {shorten(x.shape)}: expected {wanted}")
        return x

    def pictures(self, real: np.ndarray) -> dict[str, Picture]:
        """Each original with its reconstruction to the right; of a latent space with two dimensions also a map.

        Its places are the Gaussian's quantiles Φ⁻¹((i + ½)/20), so that each image stands for as much of p(z): Kingma and
        Welling 2014, appendix A.
        """
        pairs = np.stack([real, self.reconstruct(real)], axis=1).reshape(-1, *self.sample_shape)
        found = {"reconstructions": Picture(pairs, 2 * PAIRS_IN_A_ROW)}
        if self.latent_dim == 2:
            found["latent_map"] = Picture(self.decode(latent_grid(MAP_SIDE).astype(self.dtype)), MAP_SIDE)
        return found


def latent_grid(side: int) -> np.ndarray:
    """The codes (side², 2) of a map, row by row: the first grows to the right, the second upwards."""
    quantiles = np.array([NormalDist().inv_cdf((place + 0.5) / side) for place in range(side)])
    right, up = np.meshgrid(quantiles, quantiles[::-1])
    return np.stack([right.ravel(), up.ravel()], axis=1)
