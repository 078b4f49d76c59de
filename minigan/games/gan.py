"""The adversarial game: a generator and a discriminator."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from minigan.backends import Array, stream
from minigan.errors import ModelError, ShapeError
from minigan.games.game import Game
from minigan.layers.elementwise import sigmoid
from minigan.losses import NonSaturating, Objective
from minigan.network import Sequential
from minigan.optim import Adam, Optimizer, Schedule
from minigan.ranges import RangeCheck
from minigan.sizes import check_finite, check_kind, real


def moving_average(xp: Any, average: Array, value: Array, rate: float) -> tuple[Array]:
    """a ← a + rate (w − a)"""
    return (average + rate * (value - average),)


def both_sigmoids(xp: Any, s_real: Array, s_fake: Array) -> tuple[Array, Array]:
    """D(x) = σ(s) of real and of generated images"""
    return sigmoid(xp, s_real), sigmoid(xp, s_fake)


class GAN(Game):
    """A generator and a discriminator that play the game of Goodfellow et al. 2014 (arXiv:1406.2661).

    generator: z (N, latent) -> images; discriminator: images -> logit s (N, 1), D(x) = σ(s); one backend and one dtype.
    objective: the losses of both, NonSaturating where not given (minigan.losses).
    lr, betas, eps: Adam's, for both networks; lr_d: D's learning rate where it differs. Each may be a schedule.
    ema: decay of the moving average of G's weights and running statistics; sampling then uses the average. The decay rises as
    (1 + t)/(10 + t) until it reaches this value, so that the start is soon forgotten.
    optimizer_g, optimizer_d: in place of Adam. seed: of the noise that step draws.
    Raises ModelError if the two networks do not fit together, OptionError for an ema outside (0, 1).
    """

    stats = ("loss_d", "loss_g", "prob_real", "prob_fake")
    losses: ClassVar[Mapping[str, str]] = {"discriminator": "loss_d", "generator": "loss_g"}

    def __init__(
        self,
        generator: Sequential,
        discriminator: Sequential,
        *,
        objective: Objective | None = None,
        lr: float | Schedule = 2e-4,
        lr_d: float | Schedule | None = None,
        betas: tuple[float, float] = (0.5, 0.999),
        eps: float = 1e-8,
        ema: float | None = None,
        optimizer_g: Optimizer | None = None,
        optimizer_d: Optimizer | None = None,
        seed: int = 0,
    ) -> None:
        self.generator, self.discriminator = generator, discriminator
        self._check_networks()
        self.ema = None if ema is None else real(ema, "ema", "a decay between 0 and 1, or None", lambda decay: 0 < decay < 1)
        self.backend = generator.backend
        self.optimizer_g = optimizer_g or Adam(lr, betas, eps)
        self.optimizer_d = optimizer_d or Adam(lr if lr_d is None else lr_d, betas, eps)
        check_kind(self.optimizer_g, Optimizer, "optimizer_g", "an optimiser, as minigan.Adam(2e-4)")
        check_kind(self.optimizer_d, Optimizer, "optimizer_d", "an optimiser, as minigan.Adam(2e-4)")
        check_kind(objective or NonSaturating(), Objective, "objective", "an objective, as minigan.losses.NonSaturating()")
        self.objective = (objective or NonSaturating()).bind(self.backend)
        self._range_check = RangeCheck(generator)
        self.networks = {"generator": generator, "discriminator": discriminator}
        self.optimizers = {"generator": self.optimizer_g, "discriminator": self.optimizer_d}
        for name, optimizer in self.optimizers.items():
            optimizer.attach(self.networks[name])
        self.average = generator.clone() if ema is not None else None
        self._average_rate = self.backend.scalar(generator.dtype)
        self.streams = {"noise": self.backend.generator(stream("noise", seed))}

    def _check_networks(self) -> None:
        g, d = self.generator, self.discriminator
        check_kind(g, Sequential, "the generator", "a minigan.Sequential")
        check_kind(d, Sequential, "the discriminator", "a minigan.Sequential")
        if g.output_shape != d.input_shape:
            raise ModelError(f"the generator makes {g.output_shape}, the discriminator takes {d.input_shape}: make them equal")
        if d.output_shape != (1,):
            raise ModelError(f"the discriminator must end in one logit, shape (1,); it ends in {d.output_shape}")
        if len(g.input_shape) != 1:
            raise ModelError(f"the generator must take latent vectors, shape (latent,); it takes {g.input_shape}")
        if g.backend is not d.backend or g.dtype != d.dtype:
            ours, theirs = f"{g.backend.name} {g.dtype}", f"{d.backend.name} {d.dtype}"
            raise ModelError(f"generator ({ours}) and discriminator ({theirs}) must share backend and dtype")

    # -- one step of the game ------------------------------------------------------------------------------------------

    def step(self, real: Array, z: Array | None = None) -> dict[str, Array]:
        """One step of D, then one of G, on a batch of real images; z: the noise, drawn from N(0, 1) where not given.

        Returns 0-d arrays of the device: loss_d, loss_g, prob_real = E D(x), prob_fake = E D(x̃) (both as D's step saw them).
        Raises ShapeError unless real is an array (N, *image shape) and z (N, latent) of this backend and dtype.
        """
        return super().step(real, z)

    def check(self, real: Array, z: Array | None = None) -> None:
        self.discriminator.check_input(real, train=True)
        self.generator.check_batch(len(real), train=True)
        if z is not None:
            self.generator.check_input(z, train=True)
            if len(z) != len(real):
                raise ShapeError(f"z has {len(z)} rows, real has {len(real)}: give one noise vector per image")
            check_finite(z, "z")
        self._range_check(real)

    def advance(self) -> None:
        """Count the step of both optimisers, and set the rate of the moving average."""
        super().advance()
        if self.ema is not None:
            steps = self.optimizer_g.steps
            self._average_rate.set(1 - min(self.ema, (1 + steps) / (10 + steps)))

    def compute(self, real: Array, z: Array | None = None) -> dict[str, Array]:  # type: ignore[override]
        """The step itself, whose order stands here and nowhere else.

        z ~ p_z;  x̃ = G(z), one forward pass, its cache kept for G's step
        D:  L_D of D(x) and D(x̃), two passes, for BatchNorm's statistics of the two must not mix;  step on D's parameters
        G:  L_G of D(x̃), D as just updated and run again on x̃;  back through D, whose parameters get no gradient, and
            through G, ∂L_G/∂θ_G = (∂x̃/∂θ_G)ᵀ ∂L_G/∂x̃;  step on G's parameters
        Source: Goodfellow et al. 2014, algorithm 1 with k = 1; Radford et al. 2015 (arXiv:1511.06434).
        """
        g, d = self.generator, self.discriminator
        fake, cache = g.forward(self.noise(len(real)) if z is None else z, train=True)

        (s_real, s_fake), caches = d.forward_each((real, fake), train=True)
        loss_d, ds = self.objective.discriminator(s_real, s_fake)
        d.backward_each(ds, caches, grads=d.grads, input_grad=False)
        del ds, caches  # or their memory would be held through G's step
        self.optimizer_d.compute(d)

        s_judged, cache_d = d.forward(fake, train=True)
        loss_g, ds_fake = self.objective.generator(s_judged, s_real)
        g.backward(d.backward(ds_fake, cache_d), cache, grads=g.grads, input_grad=False)
        self.optimizer_g.compute(g)
        self._update_average()

        prob_real, prob_fake = self.backend.means(both_sigmoids, s_real, s_fake)
        return {"loss_d": loss_d, "loss_g": loss_g, "prob_real": prob_real, "prob_fake": prob_fake}

    def _update_average(self) -> None:
        if self.average is None:
            return
        rate, update = self._average_rate.value, self.backend.elementwise_update
        update(moving_average, (self.average.flat_params,), self.generator.flat_params, rate=rate)
        for name, value in self.generator.state.items():
            update(moving_average, (self.average.state[name],), value, rate=rate)

    def noise(self, n: int) -> Array:
        """z ~ N(0, 1), (n, latent), from the game's own stream on the device."""
        return self.streams["noise"].normal((n, self.latent_dim), self.generator.dtype)

    # -- the moving average --------------------------------------------------------------------------------------------

    @property
    def sampler(self) -> Sequential:
        """G with its averaged weights, if there are any."""
        return self.average or self.generator

    def arrays(self) -> Iterator[Array]:
        yield from super().arrays()
        if self.average is not None:
            yield from (self.average.flat_params, *self.average.state.values())

    def _parts(self) -> Iterator[tuple[str, Any]]:
        yield from super()._parts()
        if self.average is not None:
            yield "average", self.average
