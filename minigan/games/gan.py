"""The adversarial game: a generator and a discriminator."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from minigan.backends import Array, stream
from minigan.errors import ModelError, OptionError, ShapeError, shorten
from minigan.games.game import Game
from minigan.layers.elementwise import sigmoid
from minigan.losses import GradientPenalty, NonSaturating, Objective, Penalty
from minigan.losses.penalty import HEAVIEST, backward_with_penalties
from minigan.losses.score import Score, beside
from minigan.network import Sequential
from minigan.optim import Adam, Optimizer, Schedule, constant
from minigan.ranges import RangeCheck
from minigan.sizes import check_finite, check_kind, positive_int, real

MOST_CRITIC_STEPS = 1000  # each has numbers of its own on the device
LARGEST_NOISE = 1e6
SATURATED = 1e-3  # σ this near to 0 or 1


def moving_average(xp: Any, average: Array, value: Array, rate: float) -> tuple[Array]:
    """a ← a + rate (w − a)"""
    return (average + rate * (value - average),)


def noisy(xp: Any, x: Array, noise: Array, size: float) -> Array:
    """x + σ n"""
    return x + size * noise


def both(xp: Any, s_real: Array, s_fake: Array) -> tuple[Array, Array]:
    """s of real and of generated images"""
    return s_real, s_fake


def both_sigmoids(xp: Any, s_real: Array, s_fake: Array) -> tuple[Array, Array]:
    """D(x) = σ(s) of real and of generated images"""
    return sigmoid(xp, s_real), sigmoid(xp, s_fake)


def saturation(xp: Any, s: Array) -> Array:
    """The share of logits s for which σ(s) is within 1e-3 of 0 or 1, that is |s| > log(1/0.001 − 1)."""
    return (xp.abs(s) > math.log(1 / SATURATED - 1)).astype(s.dtype).mean()


def _checked_noise(size: Any) -> float:
    expected = f"a number from 0 to {LARGEST_NOISE:,.0f}, or a schedule of such numbers"
    return real(size, "instance_noise", expected, lambda size: 0 <= size <= LARGEST_NOISE)


class GAN(Game):
    """A generator and a discriminator that play the game of Goodfellow et al. 2014 (arXiv:1406.2661).

    generator: z (N, latent) -> images; discriminator: images -> logit s (N, 1), D(x) = σ(s); one backend and one dtype.
    objective: the losses of both, NonSaturating where not given (minigan.losses). Where its s is no logit but a score, the
    statistics are score_real = E s and score_fake in place of the probabilities.
    penalties: of D's gradient in its input, as R1(10); D minimises its loss and them. loss_d then is their sum, and the
    statistic "penalty" the penalties' part of it. penalty_every: they are taken in every so manieth step alone, with weights
    so many times as large, in the other steps "penalty" is 0 (Karras et al. 2020, arXiv:1912.04958, appendix B).
    pack: images that D judges at once, side by side along their last axis: it takes (…, pack · C), and one logit says whether
    all of them are real. Generated images that are too much alike give themselves away (Lin et al. 2018, arXiv:1712.04086).
    classes: K, for a game with labels (Mirza and Osindero 2014, arXiv:1411.1784): G takes [z, y], y a one-hot row beside z, and
    D puts out 1 + K numbers, of which `minigan.losses.Score` makes s(x, y). G's images get the labels of the batch's real ones.
    instance_noise: σ of noise from N(0, σ²) that is added to all images as D sees them, so that real and generated ones overlap
    (Sønderby et al. 2017, arXiv:1610.04490, section 2.4). A number or a schedule, as linear(0.1, steps).
    critic_steps: updates of D in a step, for one of G. clip: D's weights are clipped to [−clip, clip] after each.
    lr, betas, eps: Adam's, for both networks; lr_d: D's learning rate where it differs. Each may be a schedule.
    ema: decay of the moving average of G's weights and running statistics; sampling then uses the average. The decay rises as
    (1 + t)/(10 + t) until it reaches this value, so that the start is soon forgotten.
    optimizer_g, optimizer_d: in place of Adam. seed: of the noise that step draws.
    Raises ModelError if the two networks do not fit together or D has a layer that penalties do not go through, OptionError for
    a value out of its range.
    """

    stats: tuple[str, ...] = ("loss_d", "loss_g", "prob_real", "prob_fake")
    losses: ClassVar[Mapping[str, str]] = {"discriminator": "loss_d", "generator": "loss_g"}
    observed: ClassVar[tuple[str, ...]] = ("generator", "discriminator")
    figures: tuple[str, ...] = ("saturated_real", "saturated_fake")

    def __init__(
        self,
        generator: Sequential,
        discriminator: Sequential,
        *,
        objective: Objective | None = None,
        penalties: Sequence[Penalty] = (),
        penalty_every: int = 1,
        pack: int = 1,
        classes: int = 0,
        instance_noise: float | Schedule | None = None,
        critic_steps: int = 1,
        clip: float | None = None,
        lr: float | Schedule = 2e-4,
        lr_d: float | Schedule | None = None,
        betas: tuple[float, float] = (0.5, 0.999),
        eps: float = 1e-8,
        ema: float | None = None,
        optimizer_g: Optimizer | None = None,
        optimizer_d: Optimizer | None = None,
        seed: int = 0,
    ) -> None:
        self.generator, self.discriminator, self.pack = generator, discriminator, positive_int(pack, "pack")
        self.classes = positive_int(classes, "classes", least=0)
        self._check_networks()
        self.ema = None if ema is None else real(ema, "ema", "a decay between 0 and 1, or None", lambda decay: 0 < decay < 1)
        self.backend = generator.backend
        check_kind(objective or NonSaturating(), Objective, "objective", "an objective, as minigan.losses.NonSaturating()")
        self.objective = (objective or NonSaturating()).bind(self.backend)
        expected = f"a whole number from 1 to {MOST_CRITIC_STEPS:,}"
        most = lambda steps: type(steps) is int and 1 <= steps <= MOST_CRITIC_STEPS  # noqa: E731
        self.batches_per_step = self.critic_steps = int(real(critic_steps, "critic_steps", expected, most))
        self.updates = {"discriminator": self.critic_steps}
        self.penalty_every = positive_int(penalty_every, "penalty_every")
        self.penalties = tuple(self._own_penalties(penalties))
        self._takes_penalties = bool(self.penalties)
        judgement = self.stats[2:] if self.objective.is_logit else ("score_real", "score_fake")
        self.stats = (*self.stats[:2], *judgement, *(("penalty",) if self.penalties else ()))
        self.figures = self.figures if self.objective.is_logit else ()
        self.optimizer_g = optimizer_g or Adam(lr, betas, eps)
        self.optimizer_d = optimizer_d or Adam(lr if lr_d is None else lr_d, betas, eps)
        check_kind(self.optimizer_g, Optimizer, "optimizer_g", "an optimiser, as minigan.Adam(2e-4)")
        check_kind(self.optimizer_d, Optimizer, "optimizer_d", "an optimiser, as minigan.Adam(2e-4)")
        self._range_check = RangeCheck(generator)
        self.networks = {"generator": generator, "discriminator": discriminator}
        self.optimizers = {"generator": self.optimizer_g, "discriminator": self.optimizer_d}
        for name, optimizer in self.optimizers.items():
            optimizer.attach(self.networks[name], self.updates.get(name, 1))
        if clip is not None:
            self.optimizer_d.clip = real(clip, "clip", "a number above 0, or None to clip nothing", lambda limit: limit > 0)
        self.average = generator.clone() if ema is not None else None
        self._average_rate = self.backend.scalar(generator.dtype)
        self.streams = {"noise": self.backend.generator(stream("noise", seed))}
        self._noise_schedule: Schedule | None = instance_noise if callable(instance_noise) else None
        if instance_noise is not None:
            self._noise_schedule = self._noise_schedule or constant(_checked_noise(instance_noise))
            self._noise_size = self.backend.scalar(generator.dtype)
            self.streams["instance noise"] = self.backend.generator(stream("instance noise", seed))
        for index, penalty in enumerate(self.penalties):
            if isinstance(penalty, GradientPenalty):
                penalty.noise = self.streams[f"penalty_{index}"] = self.backend.generator(stream("penalty", seed, index))

    def _own_penalties(self, penalties: Any) -> Iterator[Penalty]:
        """Copies of penalties, with their weights as in a step that takes them."""
        check_kind(penalties, (list, tuple), "penalties", "a list, as [minigan.losses.R1(10)]")
        for penalty in penalties:
            check_kind(penalty, Penalty, "one of penalties", "a penalty, as minigan.losses.R1(10)")
            if self.penalty_every > HEAVIEST or penalty.weight * self.penalty_every > HEAVIEST:
                told = f"{shorten(self.penalty_every)}, and {penalty!r} then weighs so many times as much"
                raise OptionError(f"penalty_every is {told}: expected no more than {HEAVIEST:g} of both")
            own = copy.copy(penalty)
            own.weight *= self.penalty_every
            yield own
        for layer in self.discriminator.layers if penalties else ():
            layer.require_second_order()

    def _check_networks(self) -> None:
        g, d = self.generator, self.discriminator
        check_kind(g, Sequential, "the generator", "a minigan.Sequential")
        check_kind(d, Sequential, "the discriminator", "a minigan.Sequential")
        if not g.output_shape or (*g.output_shape[:-1], self.pack * g.output_shape[-1]) != d.input_shape:
            fitting = f"its last axis must hold {self.pack} of them, side by side"
            fitting = "make them equal, or give pack, how many D judges at once" if self.pack == 1 else fitting
            raise ModelError(f"the generator makes {g.output_shape}, the discriminator takes {d.input_shape}: {fitting}")
        if self.classes and self.pack > 1:
            raise OptionError(f"pack is {self.pack}, and a game with classes judges one image at a time: leave one of them out")
        if d.output_shape != (1 + self.classes,):
            ending = f"1 + {self.classes} outputs for its classes" if self.classes else "one logit"
            raise ModelError(
                f"the discriminator must end in {ending}, shape {(1 + self.classes,)}; it ends in {d.output_shape}"
            )
        if len(g.input_shape) != 1 or g.input_shape[0] <= self.classes:
            also = f" beside {self.classes} numbers for the class" if self.classes else ""
            raise ModelError(f"the generator must take latent vectors, shape (latent,){also}; it takes {g.input_shape}")
        if g.backend is not d.backend or g.dtype != d.dtype:
            ours, theirs = f"{g.backend.name} {g.dtype}", f"{d.backend.name} {d.dtype}"
            raise ModelError(f"generator ({ours}) and discriminator ({theirs}) must share backend and dtype")

    # -- one step of the game ------------------------------------------------------------------------------------------

    def step(self, real: Array, z: Array | None = None, labels: Array | None = None) -> dict[str, Array]:
        """critic_steps steps of D, then one of G, on as many batches of real images, one after the other in `real`.

        z: the noise, as many rows, drawn from N(0, 1) where not given. labels: with classes, one-hot rows (critic_steps · N, K)
        of the real images, as Batches hands them out, or class numbers on the host. G's step takes the images of D's last step.
        Returns 0-d arrays of the device: loss_d, loss_g, prob_real = E D(x), prob_fake = E D(x̃), penalty if there are any; all
        but loss_g are means over D's steps, as these saw them. (With an objective of scores, score_real and score_fake.)
        Raises ShapeError unless real is an array (critic_steps · N, *image shape) and z (critic_steps · N, latent) of this
        backend and dtype, and labels are there for a game with classes alone.
        """
        if self.classes and isinstance(labels, (list, tuple, np.ndarray)) and np.ndim(labels) == 1:
            labels = self.backend.asarray(self.one_hot(len(real), labels))
        return super().step(real, z, **({} if labels is None else {"labels": labels}))

    def check(self, real: Array, z: Array | None = None, labels: Array | None = None) -> None:
        self.discriminator.check_input(real, shape=self.sample_shape)
        if len(real) % self.critic_steps:
            raise ShapeError(f"real has {len(real)} images: {self.critic_steps} critic steps take as many batches of one size")
        count = len(real) // self.critic_steps
        if count % self.pack:
            raise ShapeError(f"a batch has {count} images, and D judges {self.pack} at once: give a multiple of {self.pack}")
        self.generator.check_batch(count, train=True)
        self.discriminator.check_batch(count // self.pack, train=True)
        if z is not None:
            self.generator.check_input(z, train=True, shape=(self.latent_dim,))
            if len(z) != len(real):
                raise ShapeError(f"z has {len(z)} rows, real has {len(real)}: give one noise vector per image")
            check_finite(z, "z")
        self._check_labels(labels, len(real))
        self._range_check(real)

    def _check_labels(self, labels: Any, count: int) -> None:
        if not self.classes:
            if labels is not None:
                raise ShapeError("labels are given, and this game takes none: leave them out, or build it with classes")
            return
        form = (getattr(labels, "shape", None), getattr(labels, "dtype", None))
        if not self.backend.owns(labels) or form != ((count, self.classes), self.dtype):
            found = shorten(labels) if None in form else f"{type(labels).__name__} {form[1]} {form[0]}"
            raise ShapeError(
                f"labels is {found}: expected one-hot rows ({count}, {self.classes}), {self.dtype} on {self.backend.name}, as "
                "Batches(…, classes=True).labels() hands them out"
            )
        check_finite(labels, "labels")

    def advance(self) -> None:
        """Count the step of both optimisers, and set the rate of the moving average and the size of the noise."""
        self._takes_penalties = self.variant
        super().advance()
        if self.ema is not None:
            steps = self.optimizer_g.steps
            self._average_rate.set(1 - min(self.ema, (1 + steps) / (10 + steps)))
        if self._noise_schedule is not None:
            self._noise_size.set(_checked_noise(self._noise_schedule(self.optimizer_g.steps - 1)))

    @property
    def variant(self) -> bool:
        """Whether the next step takes the penalties: steps with and without them are recorded apart."""
        return bool(self.penalties) and self.optimizer_g.steps % self.penalty_every == 0

    def compute(  # type: ignore[override]
        self, real: Array, z: Array | None = None, labels: Array | None = None
    ) -> dict[str, Array]:
        """The step itself, whose order stands here and nowhere else.

        z ~ p_z;  x̃ = G(z), with classes G([z, y]), one forward pass, its cache kept for G's step. D sees x and x̃ with their
            noise and packed, if so; s(x) is what D puts out, with classes s(x, y) = ⟨o, [1, y]⟩ of its outputs o
        D:  L_D of D(x) and D(x̃), two passes, for BatchNorm's statistics of the two must not mix, and the penalties on D's
            gradient;  step on D's parameters. All this critic_steps times, each on batches and noise of its own
        G:  L_G of D(x̃), D as just updated and run again on x̃;  back through D, whose parameters get no gradient, and
            through G, ∂L_G/∂θ_G = (∂x̃/∂θ_G)ᵀ ∂L_G/∂x̃;  step on G's parameters. Objectives that compare also get D(x) of the
            same real images, by D as just updated, as their authors have it; for the others that pass is not run
        Source: Goodfellow et al. 2014, algorithm 1; Radford et al. 2015 (arXiv:1511.06434); for critic_steps Gulrajani et al.
        2017 (arXiv:1704.00028), algorithm 1, where G's step draws noise of its own.
        """
        g, d, count = self.generator, self.discriminator, len(real) // self.critic_steps
        seen = []
        for turn in range(self.critic_steps):
            batch, noise, y = real, z, labels
            if self.critic_steps > 1:
                batch, noise, y = (a if a is None else a[turn * count : (turn + 1) * count] for a in (real, z, labels))
            noise = self.noise(count) if noise is None else noise
            fake, cache = g.forward(noise if y is None else beside(self.backend, noise, y), train=True)

            shown = self._as_shown(batch), self._as_shown(fake)
            score = Score(self.backend, y)
            (o_real, o_fake), caches = d.forward_each(shown, train=True)
            s_real, s_fake = score.value(o_real), score.value(o_fake)
            loss_d, ds = self.objective.discriminator(s_real, s_fake)
            if self._takes_penalties:
                penalty = backward_with_penalties(d, shown, ds, caches, self.penalties, d.grads, score)
            else:
                do = [score.backward(part) for part in ds]
                d.backward_each(do, caches, grads=d.grads, input_grad=False)
                penalty = None
            del ds, caches  # or their memory would be held through G's step
            self.optimizer_d.compute(d, turn)
            seen.append(self._judgement(loss_d, s_real, s_fake, penalty))

        s_rival = score.value(d.forward(shown[0], train=True)[0]) if self.objective.compares else None
        o_judged, cache_d = d.forward(self._as_shown(fake), train=True)
        s_judged = score.value(o_judged)
        loss_g, ds_fake = self.objective.generator(s_judged, s_rival)
        g.backward(self.unpacked(d.backward(score.backward(ds_fake), cache_d)), cache, grads=g.grads, input_grad=False)
        self.optimizer_g.compute(g)
        self._update_average()

        stats = seen[0]
        if self.critic_steps > 1:
            total = {name: sum(part[name] for part in seen) for name in stats}
            stats = {name: self.backend.xp.asanyarray(value / self.critic_steps) for name, value in total.items()}
        return {"loss_d": stats.pop("loss_d"), "loss_g": loss_g, **stats}

    def _as_shown(self, x: Array) -> Array:
        """Images as D sees them: with noise that is drawn anew each time, and packed."""
        if self._noise_schedule is not None:
            noise = self.streams["instance noise"].normal(x.shape, x.dtype)
            x = self.backend.elementwise(noisy, x, noise, size=self._noise_size.value)
        return self.packed(x)

    def packed(self, x: Array) -> Array:
        """(N, …, C) -> (N/pack, …, pack · C): so many images, one after the other in x, side by side along their last axis."""
        if self.pack == 1:
            return x
        n, *places, channels = x.shape
        parts = x.reshape(n // self.pack, self.pack, *places, channels).transpose(0, *range(2, x.ndim), 1, x.ndim)
        return parts.reshape(n // self.pack, *places, self.pack * channels)

    def unpacked(self, dx: Array) -> Array:
        """The transpose of packed, (M, …, pack · C) -> (M · pack, …, C), and as that moves values alone, its inverse."""
        if self.pack == 1:
            return dx
        m, *places, channels = dx.shape
        parts = dx.reshape(m, *places, self.pack, channels // self.pack).transpose(
            0, dx.ndim - 1, *range(1, dx.ndim - 1), dx.ndim
        )
        return parts.reshape(m * self.pack, *places, channels // self.pack)

    def _judgement(self, loss_d: Array, s_real: Array, s_fake: Array, penalty: Array | None) -> dict[str, Array]:
        """The statistics of one step of D."""
        means = self.backend.means(both_sigmoids if self.objective.is_logit else both, s_real, s_fake)
        stats = dict(zip(self.stats[2:], means, strict=False))
        if penalty is not None:
            stats["penalty"], loss_d = (self.backend.xp.asanyarray(value) for value in (penalty, loss_d + penalty))
        elif self.penalties:
            stats["penalty"] = self.backend.zeros((), self.discriminator.dtype)
        return {"loss_d": loss_d, **stats}

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

    def observe(
        self, run: Callable[[str, Array], Array], real: Array, z: Array, labels: Sequence[Array | None]
    ) -> tuple[Array, dict[str, Array]]:
        """G's samples, and the share of D's logits that are saturated. Samples that fill no pack are left out."""
        fake, shares = run("generator", z), list[Array]()
        for x, y in zip((real, fake), labels, strict=True):
            o = run("discriminator", self.packed(x[: len(x) // self.pack * self.pack]))
            shares.append(saturation(self.backend.xp, Score(self.backend, y).value(o)))
        return fake, dict(zip(self.figures, shares, strict=False))

    # -- the moving average --------------------------------------------------------------------------------------------

    @property
    def sampler(self) -> Sequential:
        """G with its averaged weights, if there are any."""
        return self.average or self.generator

    def arrays(self) -> Iterator[Array]:
        yield from super().arrays()
        if self.average is not None:
            yield from (self.average.flat_params, *self.average.state.values())

    def load_networks(self, state: Mapping[str, np.ndarray]) -> None:
        """An average of G's weights that only this game keeps starts at them."""
        if self.average is not None and not any(name.startswith("average.") for name in state):
            weights = {name.partition(".")[2]: a for name, a in state.items() if name.startswith("generator.")}
            state = {**state, **{f"average.{name}": a for name, a in weights.items()}}
        super().load_networks(state)

    def _parts(self) -> Iterator[tuple[str, Any]]:
        yield from super()._parts()
        if self.average is not None:
            yield "average", self.average
