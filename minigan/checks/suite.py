"""All that minigan has to prove: the table of its layers, its losses and its reference games."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import numpy as np

from minigan import layers, losses, models
from minigan.backends import Array, Backend, get_backend
from minigan.checks.game import check_game
from minigan.checks.gradients import check_layer, check_loss
from minigan.checks.report import Report
from minigan.checks.second_order import check_penalty, check_second_order, has_second_order
from minigan.games import GAN, VAE
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
from minigan.losses.variational import reparametrise_grad
from minigan.network import Sequential


def layer_table() -> list[tuple[Callable[[], Layer], tuple[int, ...]]]:
    """(a maker, an input shape) for every layer, in the configurations whose gradients differ.

    A layer that minigan.layers exports and no line here names stands in it as made without options, on the shape (4, 3).
    """
    table: list[tuple[Callable[[], Layer], tuple[int, ...]]] = [
        (lambda: Dense(4), (5,)),
        (lambda: Dense(4, bias=False), (5,)),
        (lambda: Conv2d(3, 3), (5, 6, 2)),
        (lambda: Conv2d(3, 3, padding=1, bias=False), (5, 4, 2)),
        (lambda: Conv2d(2, 4, stride=2, padding=1), (8, 6, 2)),
        (lambda: Conv2d(2, (2, 3), stride=(3, 2), padding=(1, 2), dilation=(2, 3)), (7, 8, 2)),
        (lambda: ConvTranspose2d(3, 3), (3, 4, 2)),
        (lambda: ConvTranspose2d(2, 4, stride=2, padding=1, bias=False), (3, 4, 2)),
        (lambda: ConvTranspose2d(2, 3, stride=2, padding=1, output_padding=1), (3, 4, 2)),
        (lambda: ConvTranspose2d(2, (2, 3), stride=(3, 2), padding=(1, 2), output_padding=(2, 1), dilation=(2, 3)), (3, 4, 2)),
        (lambda: BatchNorm(), (4,)),
        (lambda: BatchNorm(), (3, 4, 2)),
        (lambda: LayerNorm(), (5,)),
        (lambda: LayerNorm(axes=3), (3, 2, 2)),
        (lambda: ReLU(), (4, 3)),
        (lambda: LeakyReLU(0.2), (4, 3)),
        (lambda: Tanh(), (4, 3)),
        (lambda: Sigmoid(), (4, 3)),
        (lambda: Softplus(), (4, 3)),
        (lambda: Softmax(), (5,)),
        (lambda: Softmax(), (4, 3)),
        (lambda: Dropout(0.4), (4, 3)),
        (lambda: Flatten(), (3, 2, 2)),
        (lambda: Reshape((2, 3, 2)), (12,)),
        (lambda: Upsample((2, 3)), (3, 2, 2)),
        (lambda: DiffAugment(translation=0.3), (4, 3, 2)),
        (lambda: PhaseShuffle(2), (1, 7, 2)),
        (lambda: PhaseShuffle(3), (4, 2)),
        (lambda: MinibatchStd(), (4,)),
        (lambda: MinibatchStd(), (3, 2, 2)),
        (lambda: SpectralNorm(Dense(4)), (5,)),
        (lambda: SpectralNorm(Conv2d(3, 3, stride=2, padding=1)), (5, 6, 2)),
        (lambda: SpectralNorm(ConvTranspose2d(2, 4, stride=2, padding=1, bias=False)), (3, 4, 2)),
        (lambda: Residual([Dense(6), LeakyReLU(0.2), Dense(5)], scale=0.3), (5,)),
        (lambda: Residual([SpectralNorm(Conv2d(2, 3, padding=1)), Residual([BatchNorm(), Tanh()])]), (3, 4, 2)),
    ]
    exported = {getattr(layers, name) for name in layers.__all__} - {Layer, layers.Linear, layers.Elementwise}
    others = sorted(exported - {type(make()) for make, _ in table}, key=lambda kind: kind.__name__)
    return [*table, *((kind, (4, 3)) for kind in others)]


def block_table() -> list[tuple[Callable[[], Layer], tuple[int, ...], int]]:
    """(a maker, an input shape, a batch) of work large enough that a backend may deal it out in several blocks."""
    return [
        (lambda: Dense(300), (400,), 80),
        (lambda: Conv2d(8, 4, stride=2, padding=1), (16, 16, 8), 80),
        (lambda: ConvTranspose2d(8, 4, stride=2, padding=1), (8, 8, 16), 80),
        (lambda: Conv2d(128, 4, stride=2, padding=1), (14, 14, 64), 32),
        (lambda: Conv2d(128, 3, padding=1), (8, 8, 64), 32),
        (lambda: ConvTranspose2d(64, 4, stride=2, padding=1), (7, 7, 128), 32),
        (lambda: BatchNorm(), (32, 32, 8), 80),
        (lambda: LeakyReLU(0.2), (32, 32, 8), 80),
        (lambda: PhaseShuffle(2), (1, 256, 8), 80),
        (lambda: MinibatchStd(group_size=4), (16, 16, 8), 80),
        (lambda: SpectralNorm(Conv2d(128, 4, stride=2, padding=1)), (14, 14, 64), 32),
    ]


def check_all(backend: str | Backend = "auto") -> Iterator[Report]:
    """Every layer (those that differ at inference there too), every loss, and both reference games, one by one."""
    be = get_backend(backend)
    for make, shape in layer_table():
        yield check_layer(make(), shape, backend=be)
        if isinstance(make(), (BatchNorm, DiffAugment, Dropout, PhaseShuffle)):
            report = check_layer(make(), shape, backend=be, train=False)
            report.name += " at inference"
            yield report
    for make, shape in layer_table():
        if has_second_order(make()):
            yield check_second_order(make(), shape, backend=be)
    yield from _check_penalties(be)
    for make, shape, batch in block_table():
        report = check_layer(make(), shape, batch=batch, backend=be, mode="projection")
        report.name += f" on a batch of {batch}"
        yield report
    yield from _check_losses(be)
    yield from _check_games(be)


def _check_losses(be: Backend) -> Iterator[Report]:
    """Both losses of every objective, and the losses against targets."""
    rng = np.random.default_rng(0)
    s, s_fake, targets = (3 * rng.standard_normal((6, 1)) for _ in range(3))
    t, labels = be.asarray(rng.random((6, 1))), be.asarray(rng.integers(0, 4, 6))
    for objective in objective_table():
        yield from check_objective(objective, s, s_fake, be)
    yield check_loss(lambda a: losses.bce_with_logits(a, t), s, backend=be, name="bce_with_logits")
    yield check_loss(lambda a: losses.mse(a, be.asarray(targets)), s, backend=be, name="mse")
    yield from _check_bound(be, rng)
    logits = rng.standard_normal((6, 4))
    yield check_loss(lambda a: losses.softmax_cross_entropy(a, labels), logits, backend=be, name="softmax_cross_entropy")


def likelihood_table() -> list[losses.Likelihood]:
    """Every likelihood of a VAE, with a sigma that is not 1."""
    return [losses.Bernoulli(), losses.Gaussian(0.3)]


def _check_bound(be: Backend, rng: np.random.Generator) -> Iterator[Report]:
    """The pieces of a VAE's bound: the draw, the KL, and each likelihood."""
    h, noise, dz = rng.standard_normal((5, 6)), be.asarray(rng.standard_normal((5, 3))), be.asarray(rng.standard_normal((5, 3)))

    def drawn(a: Array) -> tuple[Array, ...]:
        return (losses.reparametrise(be, a, noise) * dz).sum(), reparametrise_grad(be, dz, a, noise)

    yield check_loss(drawn, h, backend=be, name="reparametrise")
    yield check_loss(lambda a: losses.gaussian_kl(be, a), h, backend=be, name="gaussian_kl")
    x, y = be.asarray(rng.uniform(-1, 1, (4, 3, 2))), 3 * rng.standard_normal((4, 3, 2))
    for likelihood in likelihood_table():
        bound = likelihood.bind(be)
        yield check_loss(lambda a, bound=bound: bound.loss(a, x), y, backend=be, name=repr(likelihood))


def discriminator_table() -> list[tuple[Callable[[], list[Layer]], tuple[int, ...]]]:
    """(a maker of layers, an input shape) of discriminators that penalties are checked through: all layers stand in one."""
    return [
        (
            lambda: [
                *(Conv2d(4, 4, stride=2, padding=1), LeakyReLU(0.2), ConvTranspose2d(3, 3), ReLU(), Upsample(2), Flatten()),
                *(Dense(5), LeakyReLU(0.2), Dense(1)),
            ],
            (6, 6, 2),
        ),
        (
            lambda: [
                *(Conv2d(4, 3, padding=1), Tanh(), BatchNorm(), ConvTranspose2d(3, 4, stride=2, padding=1), LayerNorm(axes=3)),
                *(Softplus(), Flatten(), Dense(6), Sigmoid(), Dropout(0.3), Reshape((2, 3)), Softmax(), LayerNorm(), Flatten()),
                Dense(1),
            ],
            (3, 4, 2),
        ),
        (
            lambda: [
                Residual([SpectralNorm(Conv2d(2, 3, padding=1)), Residual([BatchNorm(), Tanh()]), Dropout(0.3)], scale=0.5),
                *(SpectralNorm(ConvTranspose2d(3, 4, stride=2, padding=1)), MinibatchStd(), Softplus(), Flatten()),
                SpectralNorm(Dense(1)),
            ],
            (3, 4, 2),
        ),
    ]


def penalty_table() -> list[losses.Penalty]:
    """Every penalty, with a weight that is not 1."""
    return [make(3.0) for make in losses.PENALTIES.values()]


def _check_penalties(be: Backend) -> Iterator[Report]:
    """Every penalty through every discriminator of the table."""
    rng = np.random.default_rng(0)
    for make, shape in discriminator_table():
        net = Sequential(make(), shape, be, "float64", seed=1)
        real, fake = (be.asarray(rng.standard_normal((4, *shape))) for _ in range(2))
        kind = "piecewise linear" if net.piecewise_linear else "curved"
        for penalty in penalty_table():
            name = f"{penalty!r} through a {kind} discriminator"
            yield check_penalty(penalty, net, real, fake, mode="projection", name=name)


def objective_table() -> list[losses.Objective]:
    """Every objective, in the configurations whose gradients differ."""
    return [*(make() for make in losses.OBJECTIVES.values()), losses.NonSaturating(smoothing=0.1)]


def check_objective(objective: losses.Objective, s_real: Array, s_fake: Array, be: Backend) -> Iterator[Report]:
    """D's loss in both logits, then G's in the logits of generated images."""
    bound, name = objective.bind(be), repr(objective)

    def discriminator(a: Array, b: Array) -> tuple[Array, ...]:
        loss, ds = bound.discriminator(a, b)
        return (loss, *ds)

    yield check_loss(discriminator, s_real, s_fake, backend=be, name=f"{name}.discriminator")
    real = be.asarray(s_real)
    yield check_loss(lambda b: bound.generator(b, real), s_fake, backend=be, name=f"{name}.generator")


def _check_games(be: Backend) -> Iterator[Report]:
    """Both VAEs; the reference games, and two whose penalties share a pass with D's loss, one of them with classes, each in a
    few entries of every array and then in directions through all of it.
    """
    real = np.random.default_rng(0).uniform(-1, 1, (2, 28, 28, 1))
    for (name, build), likelihood in zip(models.MODELS["vae"].items(), likelihood_table(), strict=True):
        vae = VAE(*build((8, 8, 1), 3, 4, backend=be, dtype="float64"), likelihood=likelihood, kl_weight=0.7)
        yield check_game(vae, real[:, :8, :8], mode="full", max_entries=6, name=f"game vae {name} ({likelihood!r})")
    for (name, make), (mode, count) in itertools.product(
        (("mlp", models.mlp), ("dcgan", models.dcgan)), (("full", 6), ("projection", 2))
    ):
        gan = GAN(*make(backend=be, dtype="float64"))
        yield check_game(gan, real, mode=mode, max_entries=count, name=f"game {name} ({mode})")
    for mode, count in (("full", 6), ("projection", 2)):
        make, shape = discriminator_table()[0]
        d = Sequential(make(), shape, be, "float64", seed=1)
        g = Sequential([Dense(int(np.prod(shape))), Reshape(shape), Tanh()], (5,), be, "float64")
        gan = GAN(g, d, penalties=[losses.R1(3.0), losses.R2(2.0)])
        batch = np.random.default_rng(0).uniform(-1, 1, (4, *shape))
        yield check_game(
            gan, batch, mode=mode, max_entries=count, name=f"game with R1 and R2 in one pass with the loss ({mode})"
        )
    for mode, count in (("full", 6), ("projection", 2)):
        gan = GAN(*models.mlp((4, 4, 1), 5, 8, be, "float64", classes=3), classes=3, penalties=[losses.R1(3.0)])
        batch, labels = np.random.default_rng(0).uniform(-1, 1, (4, 4, 4, 1)), [0, 2, 1, 0]
        yield check_game(
            gan, batch, labels=labels, mode=mode, max_entries=count, name=f"game with classes and R1, likewise ({mode})"
        )
