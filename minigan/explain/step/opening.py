"""Opening a step: it is taken and recorded, then its derivatives are compared with differences."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minigan.backends import Array, stream
from minigan.errors import DivergenceError, OptionError
from minigan.explain.step.gan import GANPlan
from minigan.explain.step.looking import Look, Snapshot
from minigan.explain.step.plan import Plan
from minigan.explain.step.recorder import Recorder
from minigan.explain.step.records import OpenedStep, Pass
from minigan.explain.step.rerun import Rerun, loss_alone
from minigan.explain.step.vae import VAEPlan
from minigan.games import Game

PLANS: tuple[type[Plan], ...] = (VAEPlan, GANPlan)


def open_step(
    game: Game,
    real: Array,
    noise: Array,
    labels: Array | None = None,
    *,
    shown: int = 4,
    seed: int = 0,
    tick: Callable[[], None] = lambda: None,
) -> OpenedStep:
    """Let the game take one step on real samples and noise, its networks moving as they do, and record it.

    noise: z of a GAN, ε of a VAE. labels: one-hot rows, of a game with classes. shown: derivatives are checked at entries of
    the first so many samples. tick is called after every array checked.
    Raises OptionError unless the game is a GAN or a VAE that computes in float64, without which differences prove nothing, and
    that makes the passes of the usual step; DivergenceError for a loss that is not finite.
    """
    plan, batch = _plan_of(game), (real, noise)
    if game.dtype != np.float64:
        raise OptionError(f"the game computes in {game.dtype}: build it with dtype='float64' to open a step")
    before = {name: Snapshot(net, game.optimizers[name]) for name, net in game.networks.items()}
    random_state = game.random_state
    passes, stats = _record(plan, batch, labels)
    after = {name: Snapshot(net, game.optimizers[name]) for name, net in game.networks.items()}
    plan.complete(passes, after, None if labels is None else game.backend.to_numpy(labels))
    moved_random_state = game.random_state
    ways = {player: [(network, number % len(passes[network])) for network, number in way] for player, way in plan.ways.items()}
    rerun = Rerun(game, ways, batch, labels, passes, random_state)
    look = Look(rerun, passes, before, after, shown, np.random.default_rng(stream("explain", seed)), tick)
    opened = plan.look(look, passes, batch, stats)
    game.random_state = moved_random_state  # its streams are the copy's, too
    for name, update in opened.updates.items():
        if not np.isfinite([update.loss_before, update.loss_after, *(v for n in update.nudges for v in n.losses)]).all():
            raise DivergenceError(
                f"{plan.losses[name]} is not finite in this step: the game has diverged; try a smaller learning rate"
            )
    return opened


def count_ticks(game: Game) -> int:
    """How often open_step will call tick."""
    return _plan_of(game).count_ticks()


def count_layers(game: Game) -> int:
    """How many layers the walk back through an opened step of the game passes: each once for every loss."""
    return _plan_of(game).count_layers()


def _plan_of(game: Game) -> Plan:
    kind = next((plan for plan in PLANS if plan.opens(game)), None)
    if kind is None:
        raise OptionError(
            f"the game's networks are {', '.join(game.networks)}: only a step of a generator and a discriminator, or of a VAE, "
            "can be opened"
        )
    return kind(game)


def _record(plan: Plan, batch: tuple[Array, Array], labels: Array | None) -> tuple[dict[str, list[Pass]], dict[str, float]]:
    """Take the step: its passes by network, and its statistics."""
    game = plan.game
    recorders = {name: Recorder(net) for name, net in game.networks.items()}
    watching = {name: net.watch for name, net in game.networks.items()}
    for name, net in game.networks.items():
        net.watch = recorders[name]
    try:
        found = game.step(*batch, **({} if labels is None else {"labels": labels}))
    finally:
        for name, net in game.networks.items():
            net.watch = watching[name]
    passes = {name: recorder.passes for name, recorder in recorders.items()}
    for name, records in passes.items():
        count, expected = len([record for record in records if record.second is None]), plan.count(name)
        if count != expected:
            raise OptionError(f"the {name} makes {count} passes in a step of this game, not {expected}: {plan.usual}")
    if missing := set(plan.stats) - found.keys():
        raise OptionError(f"a step of this game returns no {min(missing)}: {plan.usual}")
    stats = {name: float(game.backend.to_numpy(loss_alone(found, name))) for name in plan.stats}
    if odd := plan.difference(passes, batch, stats):
        raise OptionError(f"in a step of this game {odd}: {plan.usual}")
    return passes, stats
