"""The game of an encoder and a decoder: what its models train with, how it is built, drawn and judged."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from minigan.games import VAE
from minigan.losses import LIKELIHOODS, Gaussian, Likelihood
from minigan.models import MODELS
from minigan.optim import Schedule, constant
from minigan.training.advice import SOURCES, Advice, closer_to_data, settings_of, usual_rate
from minigan.training.description import Columns, Description, LogForm, Networks, adam_of
from minigan.training.findings import ALIKE, ALL_DEAD, COLLAPSED, RISING, Finding, View, percent
from minigan.training.settings import Settings

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# A posterior that says nothing: the KL is an average over samples, in nats. Beside it, a single bit about each is 0.69.
NO_KL = 0.1
# The share of active latent dimensions below which most are idle.
FEW = 0.5
OF_COLLAPSE = (
    "Bowman et al. 2016 (arXiv:1511.06349), section 3: why a decoder leaves its code unused, and a KL that is phased in",
    "Sønderby et al. 2016 (arXiv:1602.02282), section 2.3: warm-up keeps more latent units active",
    "Burda et al. 2016 (arXiv:1509.00519), section 5.2: active units",
    "Lucas et al. 2019 (arXiv:1911.02469), sections 3 and 4: when a code pays, given σ of the likelihood",
)

# What each model trains with unless told otherwise. Nothing circles here: Adam with the moments of its paper.
RECIPES: dict[str, dict[str, Any]] = {
    "mlp": {
        **{"steps": 5000, "batch_size": 128, "lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "latent_dim": 20, "hidden": (400,)},
        **{"likelihood": "bernoulli", "sigma": 0.3, "kl_weight": 1.0},
    },
    "conv": {
        **{"steps": 3000, "batch_size": 64, "lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "latent_dim": 20, "width": 32},
        **{"likelihood": "bernoulli", "sigma": 0.3, "kl_weight": 1.0},
    },
    "points": {
        **{"steps": 5000, "batch_size": 256, "lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "latent_dim": 2, "hidden": (128, 128)},
        **{"likelihood": "gaussian", "sigma": 0.05, "kl_weight": 1.0},
    },
}


# -- how it is built -----------------------------------------------------------------------------------------------------


def build(networks: Networks, config: Settings, steps: int) -> VAE:
    kind = LIKELIHOODS[config.likelihood or ""]
    likelihood: Likelihood = Gaussian(config.sigma or 0) if kind is Gaussian else kind()
    weight = warmed_up(config.kl_weight or 0.0, config.kl_warmup)
    return VAE(*networks, **adam_of(config, steps), likelihood=likelihood, kl_weight=weight, seed=config.seed)


def warmed_up(weight: float, steps: int | None) -> Schedule:
    """A weight that rises in equal parts from weight/steps, in the first step, to its full size in as many steps.

    Source: Bowman et al. 2016 (arXiv:1511.06349), section 3.1; Sønderby et al. 2016 (arXiv:1602.02282), section 2.3.
    """
    if steps is None:
        return constant(weight)
    return lambda step: weight * min(1.0, (step + 1) / steps)


# -- how it is drawn -----------------------------------------------------------------------------------------------------


def plot_bound(axes: Axes, log: Columns) -> None:
    axes.plot(log["step"], log["loss"], label="loss: reconstruction + weight · KL", linewidth=1)
    axes.plot(log["step"], log["reconstruction"], label="reconstruction, $-\\log p(x|z)$", linewidth=1)
    axes.set(ylabel="nats per sample")
    axes.set_title("The bound's negative and its reconstruction", y=1)


def plot_kl(axes: Axes, log: Columns) -> None:
    axes.plot(log["step"], log["kl"], label="KL(q(z|x) || N(0, I))", linewidth=1, color="tab:green")
    axes.set(ylabel="nats per sample")
    axes.set_title("What the codes say of their samples", y=1)


# -- how it is judged ----------------------------------------------------------------------------------------------------


def judge(view: View) -> list[Finding]:
    """What the log shows: its troubles, else how it stands; none where it is too short to tell."""
    broken = _learning_rate(view)
    if view.is_short:
        return [broken] if broken else []
    troubles = [broken, _collapse(view)]
    return [finding for finding in troubles if finding] or [_no_trouble(view)]


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


def _collapse(view: View) -> Finding | None:
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
        advice = (_later(view), *advice)
    kind = "posterior collapse" if all_idle else "idle units"
    return Finding(kind, tuple(evidence), advice, OF_COLLAPSE)


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


def _no_trouble(view: View) -> Finding:
    values: dict[str, Any] = {name: view.median(name) for name in view.stats}
    if lacking := [name for name, value in values.items() if math.isnan(value)]:
        return Finding("unmeasured", (f"{view.since} the log has nothing in {', '.join(lacking)}",), (_later(view),))
    active = view.median("active_units")
    used = "" if math.isnan(active) else f"; {percent(active)} of the latent dimensions are active"
    evidence = [
        f"{view.since} the loss is {values['loss']:.4g} nats a sample: {values['reconstruction']:.4g} of reconstruction, and a "
        f"KL of {values['kl']:.3g}{used}"
    ]
    evidence += [f"{view.since} {view.likeness}"] if view.likeness else []
    if view.progress < 1 or _warms_up(view):
        return Finding("young", (*evidence, f"the run has {view.last:,} steps and is to go on"), (_later(view),))
    fidelity, coverage, spread = view.median("fidelity"), view.median("coverage"), view.spread(view.late)
    if math.isnan(spread) or math.isnan(fidelity):
        return Finding("unmeasured", tuple(evidence), (_later(view),))
    if min(fidelity, coverage) >= ALIKE and spread >= COLLAPSED:
        return Finding("healthy", tuple(evidence))
    kind = "unlike" if fidelity < ALIKE else "incomplete"
    return Finding(kind, tuple(evidence), (*closer_to_data(view.config), _later(view)), SOURCES["unlike"])


def _later(view: View) -> Advice:
    return view.go_on("then ask again")


IN_WORDS = {
    "posterior collapse": (
        "kl_weight of at most 1, or a schedule that rises from 0 to it",
        "a smaller sigma, where the likelihood is losses.Gaussian(sigma)",
        "a learning rate of 0.001",
    ),
    "idle units": ("fewer latent dimensions: the bound gets no worse", "kl_weight as a schedule that rises from 0 to 1"),
}
BOUND = LogForm(
    stats=("loss", "reconstruction", "kl"),
    panels=(plot_bound, plot_kl),
    judge=judge,
    titles={
        "posterior collapse": "The posterior has collapsed: codes say nothing of their samples, and the decoder ignores them.",
        "idle units": "Most latent dimensions are idle: they say nothing of any sample.",
        "unlike": "Codes say something of their samples, but what is made of new ones resembles too little of the data.",
        "incomplete": "Codes say something of their samples, but what is made of new ones misses much of the data.",
        "healthy": (
            "Nothing wrong shows: codes say something of their samples, and what is made of new ones resembles the data."
        ),
        "unmeasured": "The log does not say whether codes and samples are of use.",
    },
    in_words=IN_WORDS,
    diversity={"active_units": "active latent dimensions"},
)

GAME = Description(
    about="a variational autoencoder",
    networks=("encoder", "decoder"),
    sampler=1,
    pairs=MODELS["vae"],
    models={"images": ("mlp", "conv"), "points": ("mlp",)},
    recipes=RECIPES,
    usual={"images": "mlp", "points": "points"},
    options=("likelihood", "sigma", "kl_weight", "kl_warmup"),
    build=build,
    logs=(BOUND,),
)
