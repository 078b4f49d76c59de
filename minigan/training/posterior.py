"""The rules by which a VAE is judged: whether its codes say something of their samples, and what is made of new ones."""

from __future__ import annotations

import math
from typing import Any

from minigan.training.advice import SOURCES, Advice, closer_to_data, settings_of, usual_rate
from minigan.training.findings import Finding, View, percent

# A posterior that says nothing: the KL is an average over samples, in nats. Beside it, a single bit about each is 0.69.
NO_KL = 0.1
# The share of active latent dimensions (minigan.training.monitor) below which most are idle.
FEW = 0.5
RISING = 1.15
# As for a GAN, see minigan.training.verdict: shares of fidelity and coverage, and √(diversity · clusters).
ALIKE, SPREAD = 0.6, 0.45
ALL_DEAD = 0.96


def judge_codes(view: View, likeness: str, go_on: Advice) -> list[Finding]:
    """What the log of a VAE shows: its troubles, else how it stands; none where it is too short to tell."""
    broken = _learning_rate(view)
    if view.is_short:
        return [broken] if broken else []
    troubles = [broken, _collapse(view, go_on)]
    return [finding for finding in troubles if finding] or [_no_trouble(view, likeness, go_on)]


def _learning_rate(view: View) -> Finding | None:
    evidence = []
    if view.broken.size:
        evidence.append(f"at step {int(view.broken[0]):,} numbers stopped being finite, and the run ended")
    for network in ("encoder", "decoder"):
        for name in view.names(network, "dead"):
            if view.median(name) >= ALL_DEAD:
                share, layer = percent(view.median(name)), name.split(".")[1]
                evidence.append(
                    f"{share} of the ReLUs in layer {layer} of the {network} are dead {view.since}, 0 for all samples"
                )
    if not evidence:
        return None
    return Finding("learning rate", tuple(evidence), (usual_rate(view.config),), SOURCES["learning rate"])


def _collapse(view: View, go_on: Advice) -> Finding | None:
    """The posterior is N(0, I) whatever the sample, in all latent dimensions or in most of them."""
    kl, active, before = view.median("kl"), view.median("active_units"), view.median("kl", view.middle)
    all_idle = kl < NO_KL or active == 0
    if not (all_idle or active < FEW) or _warms_up(view):
        return None
    evidence = [f"{view.since} the KL of the codes is {kl:.3g} nats a sample; where it is 0, q(z|x) is N(0, I) whatever x is"]
    if not math.isnan(active):
        count = view.config.latent_dim
        of = f"{active * count:.0f} of {count}" if count else percent(active)
        evidence.append(f"{of} latent dimensions are active: their mean code varies from sample to sample, by 0.01 or more")
    advice = _codes_that_pay(view) if all_idle else (*_fewer_dimensions(view, active), *_codes_that_pay(view))
    if kl > RISING * before:
        evidence.append(f"the KL rises: it was {before:.3g} in the second third of the log")
        advice = (go_on, *advice)
    kind = "posterior collapse" if all_idle else "idle units"
    return Finding(kind, tuple(evidence), advice, SOURCES["posterior collapse"])


def _warms_up(view: View) -> bool:
    """Whether the KL's weight has not yet reached its full size."""
    return view.last < (view.config.kl_warmup or 0)


def _codes_that_pay(view: View) -> tuple[Advice, ...]:
    """What makes it worth while to say something: a lower price of it, or more that it explains."""
    config, settings = view.config, settings_of(view.config)
    recipe, advice = settings["recipe"], list[Advice]()
    weight = settings.get("kl_weight") or 1.0
    if weight > 1:
        advice.append(Advice({"kl_weight": 1.0}, f"this run had {weight:g}, and 1 is the bound's own"))
    if (sigma := config.sigma) is not None:
        usual = recipe.get("sigma", sigma)
        changes = {"sigma": usual if sigma > 1.5 * usual else sigma / 2}
        advice.append(Advice(changes, f"this run had {sigma:g}: what differs by less than that need not be told by a code"))
    if settings["lr"] > 2 * recipe["lr"]:
        advice.append(usual_rate(config))
    if not config.kl_warmup and weight <= 1:
        steps = max(1, (config.steps or view.last) // 4)
        advice.append(Advice({"kl_warmup": steps}, "the KL costs little at first, and the decoder learns to use the codes"))
    if weight <= 1:
        advice.append(Advice({"kl_weight": weight / 2}, "a code then costs half as much, and the loss is no longer the bound"))
    return tuple(advice)


def _fewer_dimensions(view: View, active: float) -> tuple[Advice, ...]:
    count = view.config.latent_dim
    if not count:
        return ()
    used = max(1, math.ceil(active * count))
    return (Advice({"latent_dim": used}, "as many as are used: no worse a bound, and each dimension counts"),)


def _no_trouble(view: View, likeness: str, go_on: Advice) -> Finding:
    values: dict[str, Any] = {name: view.median(name) for name in view.stats}
    if lacking := [name for name, value in values.items() if math.isnan(value)]:
        return Finding("unmeasured", (f"{view.since} the log has nothing in {', '.join(lacking)}",), (go_on,))
    active = view.median("active_units")
    used = "" if math.isnan(active) else f"; {percent(active)} of the latent dimensions are active"
    evidence = [
        f"{view.since} the loss is {values['loss']:.4g} nats a sample: {values['reconstruction']:.4g} of reconstruction, and a "
        f"KL of {values['kl']:.3g}{used}"
    ]
    evidence += [f"{view.since} {likeness}"] if likeness else []
    if view.progress < 1 or _warms_up(view):
        return Finding("young", (*evidence, f"the run has {view.last:,} steps and is to go on"), (go_on,))
    fidelity, coverage, spread = view.median("fidelity"), view.median("coverage"), view.spread(view.late)
    if math.isnan(spread) or math.isnan(fidelity):
        return Finding("unmeasured", tuple(evidence), (go_on,))
    if min(fidelity, coverage) >= ALIKE and spread >= SPREAD:
        return Finding("healthy", tuple(evidence))
    kind = "unlike" if fidelity < ALIKE else "incomplete"
    return Finding(kind, tuple(evidence), (*closer_to_data(view.config), go_on), SOURCES["unlike"])
