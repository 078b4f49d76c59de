"""The game: what one adversarial step is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from minigan.backends import Array
from minigan.errors import CheckpointError, ModelError, OptionError, ShapeError
from minigan.layers.activations import sigmoid
from minigan.losses import discriminator_loss, generator_loss
from minigan.network import Sequential
from minigan.optim import Adam, Optimizer, Schedule

SAMPLE_BATCH = 256  # images that `sample` makes at a time, so that its memory does not grow with n


def moving_average(xp: Any, average: Array, value: Array, rate: float) -> tuple[Array]:
    """a ← a + rate (w − a)"""
    return (average + rate * (value - average),)


def both_sigmoids(xp: Any, s_real: Array, s_fake: Array) -> tuple[Array, Array]:
    """D(x) = σ(s) of real and of generated images"""
    return sigmoid(xp, s_real), sigmoid(xp, s_fake)


class GAN:
    """A generator and a discriminator that play the minimax game of Goodfellow et al. 2014 (arXiv:1406.2661).

    generator: z (N, latent) -> images; discriminator: images -> logit s (N, 1), D(x) = σ(s); one backend and one dtype.
    lr, betas, eps: Adam's, for both networks; lr_d: D's learning rate where it differs. Each may be a schedule.
    smoothing: one-sided label smoothing of L_D. saturating: G minimises E log(1 − D(G(z))) instead of −E log D(G(z)).
    ema: decay of the moving average of G's weights and running statistics; sampling then uses the average. The decay rises as
    (1 + t)/(10 + t) until it reaches this value, so that the start is soon forgotten.
    optimizer_g, optimizer_d: in place of Adam. seed: of the noise that step draws.
    Raises ModelError if the two networks do not fit together, OptionError for an ema or a smoothing outside (0, 1) or [0, 1).
    """

    def __init__(
        self,
        generator: Sequential,
        discriminator: Sequential,
        *,
        lr: float | Schedule = 2e-4,
        lr_d: float | Schedule | None = None,
        betas: tuple[float, float] = (0.5, 0.999),
        eps: float = 1e-8,
        smoothing: float = 0.0,
        saturating: bool = False,
        ema: float | None = None,
        optimizer_g: Optimizer | None = None,
        optimizer_d: Optimizer | None = None,
        seed: int = 0,
    ) -> None:
        self.generator, self.discriminator = generator, discriminator
        self._check_networks()
        if ema is not None and not 0 < ema < 1:
            raise OptionError(f"ema is {ema!r}: expected a decay between 0 and 1, or None for no average")
        if not 0 <= smoothing < 1:
            raise OptionError(f"smoothing is {smoothing!r}: expected a number in [0, 1)")
        self.backend = generator.backend
        self.smoothing, self.saturating, self.ema = smoothing, saturating, ema
        self.optimizer_g = optimizer_g or Adam(lr, betas, eps)
        self.optimizer_d = optimizer_d or Adam(lr if lr_d is None else lr_d, betas, eps)
        self.optimizer_g.attach(generator)
        self.optimizer_d.attach(discriminator)
        self.average = generator.clone() if ema is not None else None
        self._average_rate = self.backend.number(generator.dtype)
        self._noise = self.backend.generator([seed, 2])  # G and D are seeded with (seed, 0) and (seed, 1)

    def _check_networks(self) -> None:
        g, d = self.generator, self.discriminator
        if g.output_shape != d.input_shape:
            raise ModelError(f"the generator makes {g.output_shape}, the discriminator takes {d.input_shape}: make them equal")
        if d.output_shape != (1,):
            raise ModelError(f"the discriminator must end in one logit, shape (1,); it ends in {d.output_shape}")
        if len(g.input_shape) != 1:
            raise ModelError(f"the generator must take latent vectors, shape (latent,); it takes {g.input_shape}")
        if g.backend is not d.backend or g.dtype != d.dtype:
            ours, theirs = f"{g.backend.name} {g.dtype}", f"{d.backend.name} {d.dtype}"
            raise ModelError(f"generator ({ours}) and discriminator ({theirs}) must share backend and dtype")

    # -- one round of the game -----------------------------------------------------------------------------------------

    def step(self, real: Array, z: Array | None = None) -> dict[str, Array]:
        """One step of D, then one of G, on a batch of real images; z: the noise, drawn from N(0, 1) where not given.

        z ~ p_z;  x̃ = G(z), one forward pass, its cache kept for G's step
        D:  L_D = −E log D(x) − E log(1 − D(x̃));  step on D's parameters
        G:  L_G = −E log D(x̃), D as just updated and run again on x̃;  step on G's parameters

        Returns 0-d arrays of the device: loss_d, loss_g, prob_real = E D(x), prob_fake = E D(x̃) (both as D's step saw them).
        Raises ShapeError unless real is an array (N, *image shape) and z (N, latent) of this backend and dtype.
        Source: Goodfellow et al. 2014, algorithm 1 with k = 1; Radford et al. 2015 (arXiv:1511.06434).
        """
        z = self.noise(len(real)) if z is None else z
        if len(z) != len(real):
            raise ShapeError(f"z has {len(z)} rows, real has {len(real)}: give one noise vector per image")
        fake, cache = self.generator.forward(z, train=True)

        loss_d, s_real, s_fake = self.discriminator_grads(real, fake)
        self.optimizer_d.step(self.discriminator)

        loss_g = self.generator_grads(fake, cache)
        self.optimizer_g.step(self.generator)
        self._update_average()

        prob_real, prob_fake = self.backend.means(both_sigmoids, s_real, s_fake)
        return {"loss_d": loss_d, "loss_g": loss_g, "prob_real": prob_real, "prob_fake": prob_fake}

    def discriminator_grads(self, real: Array, fake: Array) -> tuple[Array, Array, Array]:
        """∂L_D/∂θ_D into the discriminator's flat_grads; returns L_D and the logits of both passes.

        Real and fake images go through D separately, for BatchNorm's statistics must not mix; no gradient for the images. Where
        no layer of D mixes the samples of a batch, a backend may want both in one pass, with the same gradients.
        """
        d = self.discriminator
        if d.samples_apart and self.backend.joins(len(real) * d.largest_array):
            return self._joint_discriminator_grads(real, fake)
        s_real, cache_real = d.forward(real, train=True)
        s_fake, cache_fake = d.forward(fake, train=True)
        loss, ds_real, ds_fake = discriminator_loss(s_real, s_fake, self.smoothing)
        d.backward(ds_real, cache_real, input_grad=False, accumulate=False)
        d.backward(ds_fake, cache_fake, input_grad=False)
        return loss, s_real, s_fake

    def _joint_discriminator_grads(self, real: Array, fake: Array) -> tuple[Array, Array, Array]:
        """discriminator_grads in one pass: dW = [x, x̃]ᵀ [dy, dỹ] = xᵀ dy + x̃ᵀ dỹ."""
        d, n = self.discriminator, len(real)
        d.check_input(real)
        s, cache = d.forward(self.backend.join(real, fake), train=True)
        s_real, s_fake = s[:n], s[n:]
        loss, ds_real, ds_fake = discriminator_loss(s_real, s_fake, self.smoothing)
        d.backward(self.backend.join(ds_real, ds_fake), cache, input_grad=False, accumulate=False)
        return loss, s_real, s_fake

    def generator_grads(self, fake: Array, cache: list[Any]) -> Array:
        """∂L_G/∂θ_G = (∂x̃/∂θ_G)ᵀ ∂L_G/∂x̃ into the generator's flat_grads, for x̃ = G(z) and its cache; returns L_G.

        The gradient runs through D to the images; D's own parameters get none.
        """
        g, d = self.generator, self.discriminator
        s_fake, cache_fake = d.forward(fake, train=True)
        loss, ds_fake = generator_loss(s_fake, self.saturating)
        d_fake = d.backward(ds_fake, cache_fake, param_grads=False)
        g.backward(d_fake, cache, input_grad=False, accumulate=False)
        return loss

    def _update_average(self) -> None:
        if self.average is None or self.ema is None:
            return
        self.backend.on_host(self._set_average_rate)
        rate, update = self._average_rate.operand, self.backend.elementwise_update
        update(moving_average, (self.average.flat_params,), self.generator.flat_params, rate=rate)
        for name, value in self.generator.state.items():
            update(moving_average, (self.average.state[name],), value, rate=rate)

    def _set_average_rate(self) -> None:
        assert self.ema is not None
        steps = self.optimizer_g.steps
        self._average_rate.set(1 - min(self.ema, (1 + steps) / (10 + steps)))

    stats = ("loss_d", "loss_g", "prob_real", "prob_fake")

    @property
    def networks(self) -> dict[str, Sequential]:
        return {"generator": self.generator, "discriminator": self.discriminator}

    @property
    def optimizers(self) -> dict[str, Optimizer]:
        return {"generator": self.optimizer_g, "discriminator": self.optimizer_d}

    @property
    def dtype(self) -> np.dtype:
        return self.generator.dtype

    @property
    def sample_shape(self) -> tuple[int, ...]:
        return self.generator.output_shape

    # -- noise and samples ---------------------------------------------------------------------------------------------

    @property
    def latent_dim(self) -> int:
        return self.generator.input_shape[0]

    def noise(self, n: int) -> Array:
        """z ~ N(0, 1), (n, latent), from the game's own stream on the device."""
        return self._noise.normal((n, self.latent_dim), self.generator.dtype)

    def sample(self, n: int, seed: int = 0) -> np.ndarray:
        """n images G(z) as a host array in [−1, 1] (points: in the data's own units); the same n and seed, the same images.

        G runs in inference mode, with its averaged weights if there are any, so no image depends on the others.
        """
        return self.decode(self.latent(n, seed))

    def latent(self, n: int, seed: int = 0) -> np.ndarray:
        """n latent vectors from N(0, 1) on the host: the same on every backend."""
        if n < 0:
            raise OptionError(f"n is {n}: expected how many samples to draw, from 0 up")
        return np.random.default_rng(seed).standard_normal((n, self.latent_dim)).astype(self.generator.dtype)

    def decode(self, z: np.ndarray) -> np.ndarray:
        """G(z) for host latent vectors (N, latent), as sample does it: a host array."""
        net = self.average or self.generator
        parts = []
        for start in range(0, len(z), SAMPLE_BATCH):
            images, _ = net.forward(self.backend.asarray(z[start : start + SAMPLE_BATCH], net.dtype))
            parts.append(self.backend.to_numpy(images))
        return np.concatenate(parts) if parts else np.empty((0, *net.output_shape), net.dtype)

    # -- state ---------------------------------------------------------------------------------------------------------

    def _parts(self) -> dict[str, Any]:
        parts = {"generator": self.generator, "discriminator": self.discriminator}
        if self.average is not None:
            parts["average"] = self.average
        return {**parts, "optimizer_g": self.optimizer_g, "optimizer_d": self.optimizer_d}

    def state_dict(self) -> dict[str, np.ndarray]:
        """Both networks, the average and both optimisers as host arrays by name: "generator.0.weight", "optimizer_g.m_sum"."""
        return {f"{part}.{name}": a for part, object in self._parts().items() for name, a in object.state_dict().items()}

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Take over a state_dict. Raises CheckpointError unless all names and shapes agree."""
        parts = self._parts()
        stray = sorted({name.partition(".")[0] for name in state} ^ parts.keys())
        if stray:
            raise CheckpointError(f"the state is of another game: {', '.join(stray)} is in only one of the two")
        for part, object in parts.items():
            prefix = f"{part}."
            try:
                object.load_state_dict({k[len(prefix) :]: a for k, a in state.items() if k.startswith(prefix)})
            except CheckpointError as error:
                raise CheckpointError(f"{part}: {error}") from None

    @property
    def random_state(self) -> dict[str, Any]:
        """The states of the noise and of all Dropout streams, plain JSON."""
        nets = {"generator": self.generator, "discriminator": self.discriminator}
        return {"noise": self._noise.state, **{name: net.random_state for name, net in nets.items()}}

    @random_state.setter
    def random_state(self, state: Mapping[str, Any]) -> None:
        self._noise.state = state["noise"]
        self.generator.random_state = state["generator"]
        self.discriminator.random_state = state["discriminator"]
