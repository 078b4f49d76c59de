"""The game of a generator and a discriminator: what its models train with, how it is built, drawn and judged."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from minigan.errors import ModelError, OptionError
from minigan.games import GAN
from minigan.losses import OBJECTIVES, PENALTIES, Objective
from minigan.models import MODELS
from minigan.optim import SCHEDULES
from minigan.training.advice import SOURCES, Advice, closer_to_data, more_diversity, shorter_steps, stronger_d, weaker_d
from minigan.training.description import Columns, Description, LogForm, Networks, adam_of
from minigan.training.findings import ALIKE, ALL_DEAD, COLLAPSED, RISING, Finding, View, percent
from minigan.training.settings import Settings, has_smoothing, penalty_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# What each model trains with unless told otherwise: values that, of many tried, made the best samples in two minutes (mlp and
# points: one, text: four) on two cores; those of wave were the best of a dozen, and take longer. Without momentum (β₁ = 0) the
# two sides circle each other less.
RECIPES: dict[str, dict[str, Any]] = {
    "dcgan": {
        **{"steps": 1300, "batch_size": 64, "lr": 1.5e-3, "beta1": 0.0, "beta2": 0.99, "ema": 0.998, "smoothing": 0.0},
        **{"latent_dim": 32, "width": 32, "extra_conv": True, "loss": "non-saturating", "critic_steps": 1},
        **{"upsample": "transposed"},
    },
    "mlp": {
        **{"steps": 8000, "batch_size": 64, "lr": 5e-4, "beta1": 0.5, "beta2": 0.999, "ema": 0.999, "smoothing": 0.1},
        **{"latent_dim": 100, "hidden": (256, 256), "loss": "non-saturating", "critic_steps": 1},
    },
    "points": {
        **{"steps": 5000, "batch_size": 256, "lr": 1e-3, "beta1": 0.0, "beta2": 0.99, "ema": 0.998, "smoothing": 0.0},
        **{"latent_dim": 16, "hidden": (128, 128), "loss": "non-saturating", "critic_steps": 1},
    },
    "text": {
        **{"steps": 4000, "batch_size": 64, "lr": 2e-3, "beta1": 0.0, "beta2": 0.9, "ema": 0.998, "smoothing": 0.0},
        **{"latent_dim": 64, "width": 64, "loss": "relativistic", "penalty": ("r1=0.1", "r2=0.1"), "critic_steps": 1},
        **{"penalty_every": 4, "instance_noise": 0.2},
    },
    "wave": {
        **{"steps": 5500, "batch_size": 32, "lr": 1e-3, "beta1": 0.0, "beta2": 0.99, "ema": 0.998, "smoothing": 0.0},
        **{"latent_dim": 100, "width": 32, "loss": "relativistic", "penalty": ("r1=0.02", "r2=0.02"), "critic_steps": 1},
    },
    "sound mlp": {
        **{"steps": 14_000, "batch_size": 64, "lr": 1e-3, "beta1": 0.0, "beta2": 0.99, "ema": 0.998, "smoothing": 0.0},
        **{
            "latent_dim": 16,
            "hidden": (256, 256),
            "loss": "relativistic",
            "penalty": ("r1=0.05", "r2=0.05"),
            "critic_steps": 1,
        },
    },
}

# The limits of the rules; those of all games stand in minigan.training.findings.
# The largest losses in nats, each a mean over the steps of one row. At learning rates of 0.2 and more L_D rose above 10 and L_G
# above 9. Elsewhere L_D stayed below 5.3, but for one game that D won with a first row of 8.9; where D hardly learned, L_D rose
# to 13.5, and L_G stayed below 2.
PEAK_D, PEAK_G = 9.0, 5.0
# D's mean probabilities. Where D won, D(G(z)) was below 0.085; in games that went on, above 0.1. D(x) is compared with what L_D
# aims at: 1, or 1 − smoothing.
WON_FAKE, WON_REAL = 0.09, 0.9
# Where G won, medians of D(G(z)) were 0.8 or more and of L_D above 2; in games that went on, at most 0.5 and 1.45.
FOOLED, FOOLED_LOSS = 0.75, 1.8
# √(diversity · clusters). A young G passes through all of this: so what is below COLLAPSED must not be rising, and in the first
# quarter of a run it must have fallen from above YOUNG. At the end of a run one that rises must have come above YOUNG.
YOUNG, FIRST_PART = 0.2, 0.25

OWN_SOURCES = {
    "discriminator wins": (
        "Goodfellow et al. 2014 (arXiv:1406.2661), end of section 3: log(1 − D(G(z))) saturates where G is poor",
        "Arjovsky and Bottou 2017 (arXiv:1701.04862), section 2: what a perfect D does to both losses of G",
        "Salimans et al. 2016 (arXiv:1606.03498), section 3.4: one-sided label smoothing",
        "Mescheder et al. 2018 (arXiv:1801.04406), section 4.1: R1",
    ),
    "generator wins": (
        "Goodfellow et al. 2014 (arXiv:1406.2661), section 6: G must not be trained too much without updating D",
        "Heusel et al. 2017 (arXiv:1706.08500), section 2: a learning rate for each side, with D the faster one",
    ),
    "collapse": (
        "Goodfellow 2016 (arXiv:1701.00160), section 5.1.1: mode collapse",
        "Radford et al. 2015 (arXiv:1511.06434), section 4: a momentum of 0.9 made training oscillate, 0.5 did not",
        "Huang et al. 2024 (arXiv:2501.05441), section 2: pairs, with R1 and R2",
        "Lin et al. 2018 (arXiv:1712.04086), table 1: modes of a ring and a grid with packs of two to four",
    ),
}


# -- how it is built -----------------------------------------------------------------------------------------------------


def build(networks: Networks, config: Settings, steps: int) -> GAN:
    assert config.lr is not None
    return GAN(
        *networks,
        **adam_of(config, steps),
        lr_d=SCHEDULES[config.schedule](config.lr_d or config.lr, steps),
        objective=_objective(config),
        penalties=[PENALTIES[name](weight) for name, weight in filter(None, map(penalty_of, config.penalty or ()))],
        penalty_every=config.penalty_every or 1,
        pack=config.pack,
        classes=len(config.class_names or ()),
        instance_noise=config.instance_noise or None,
        critic_steps=config.critic_steps or 1,
        clip=config.clip,
        ema=config.ema or None,
        seed=config.seed,
    )


def _objective(config: Settings) -> Objective:
    """The objective that the configuration names. Raises OptionError where it is to smooth labels and has none."""
    assert config.loss is not None
    kind, smoothing = OBJECTIVES[config.loss], config.smoothing or 0.0
    if has_smoothing(config.loss):
        return kind(smoothing=smoothing)
    if smoothing:
        raise OptionError(f"smoothing is {smoothing}, and the loss {config.loss} has no labels to smooth: set it to 0")
    return kind()


def check(networks: Networks, classes: int, where: str) -> None:
    """Raise ModelError for a G or a D that has no place for so many classes."""
    g, d = networks
    if classes and (g.input_shape[0] <= classes or d.output_shape != (1 + classes,)):
        raise ModelError(
            f"{where}: G takes {g.input_shape} and D puts out {d.output_shape}; for {classes} classes G takes "
            f"latent_dim + {classes} numbers, and D puts out 1 + {classes}: build them by the argument classes"
        )


# -- how it is drawn -----------------------------------------------------------------------------------------------------


def plot_losses(axes: Axes, log: Columns) -> None:
    axes.plot(log["step"], log["loss_d"], label="$L_D$, penalty included" if "penalty" in log else "$L_D$", linewidth=1)
    axes.plot(log["step"], log["loss_g"], label="$L_G$", linewidth=1)
    if "penalty" in log:
        axes.plot(log["step"], log["penalty"], label="penalty", linewidth=1)
    if "prob_real" in log:
        axes.axhline(2 * math.log(2), color="tab:blue", linestyle=":", linewidth=1, label="$L_D$ at D = 1/2: 2 log 2")
        axes.axhline(math.log(2), color="tab:orange", linestyle=":", linewidth=1, label="$L_G$ at D = 1/2: log 2")
    axes.set(ylabel="loss (nats)" if "prob_real" in log else "loss")
    axes.set_title("Losses", y=1)


def plot_scores(axes: Axes, log: Columns) -> None:
    axes.plot(log["step"], log["score_real"], label="s(x), real", linewidth=1)
    axes.plot(log["step"], log["score_fake"], label="s(G(z)), generated", linewidth=1)
    axes.set(ylabel="mean score")
    axes.set_title("What D believes", y=1)


def plot_probabilities(axes: Axes, log: Columns) -> None:
    axes.plot(log["step"], log["prob_real"], label="D(x), real", linewidth=1)
    axes.plot(log["step"], log["prob_fake"], label="D(G(z)), generated", linewidth=1)
    axes.axhline(0.5, color="0.5", linestyle=":", linewidth=1)
    axes.set(ylabel="mean probability", ylim=(0, 1))
    axes.set_title("What D believes", y=1)


# -- how it is judged ----------------------------------------------------------------------------------------------------


def _has_scores(view: View) -> bool:
    return view.stats == SCORES.stats


def judge(view: View) -> list[Finding]:
    """The troubles of a log, the main one first, else how both sides stand; none where it is too short to tell."""
    if "penalty" in view.columns:  # the limits are those of L_D itself
        view.columns["loss_d"] = view.columns["loss_d"] - view.columns["penalty"]
    rate = _learning_rate(view)
    if view.is_short and not rate:
        return []
    troubles = (rate, _discriminator_wins(view), _generator_wins(view), _collapse(view))
    return [finding for finding in troubles if finding] or [_no_trouble(view)]


def _learning_rate(view: View) -> Finding | None:
    if not len(view.steps):
        return None
    evidence = []
    if view.broken.size:
        evidence.append(f"at step {int(view.broken[0]):,} numbers stopped being finite, and the run ended")
    (peak_d, step_d), (peak_g, step_g) = view.peak("loss_d"), view.peak("loss_g")
    if peak_d > PEAK_D and peak_g > PEAK_G and not _has_scores(view):
        evidence.append(
            f"the losses are thrown about: L_D rose to {peak_d:,.3g} (step {step_d:,}) and L_G to {peak_g:,.3g} "
            f"(step {step_g:,}); where D only guesses they are 1.39 and 0.69"
        )
    dead = [
        f"{percent(view.median(name))} in layer {name.split('.')[1]} of the {network}"
        for network in ("generator", "discriminator")
        for name in view.names(network, "dead")
        if view.median(name) >= ALL_DEAD
    ]
    if dead:
        evidence.append(
            f"ReLUs are dead {view.since}, 0 for every sample and without gradient: {', '.join(dead)}; what too long a step "
            f"has killed, no later one revives"
        )
    if not evidence:
        return None
    return Finding("learning rate", tuple(evidence), shorter_steps(view.config), SOURCES["learning rate"])


def _discriminator_wins(view: View) -> Finding | None:
    if _has_scores(view):
        return None
    fake, real, saturated = (view.median(name) for name in ("prob_fake", "prob_real", "saturated_fake"))
    if not (fake <= WON_FAKE and real >= WON_REAL * (1 - (view.config.smoothing or 0))):
        return None
    evidence = [f"{view.since} D(x) is {real:.3g} and D(G(z)) is {fake:.2g}; where D only guesses both are 0.5"]
    if saturated > 0:
        evidence.append(
            f"{percent(saturated)} of D's logits s of generated samples are saturated: σ(s) is within 0.001 of 0 or 1"
        )
    if view.config.loss == "saturating":
        slope = "with --loss saturating the slope of L_G by D's logit is −D(G(z))"
        evidence.append(f"{slope}: {percent(fake)} of the most it can be")
    before, after = view.gradient("generator", view.early), view.gradient("generator", view.late)
    if after < before / 3:
        evidence.append(f"G's gradient has vanished: its norm was {before:.2g} at the start and is {after:.2g}")
    elif not math.isnan(after):
        evidence.append(
            f"the norm of G's gradient was {before:.2g} at the start and is {after:.2g}, and yet G does not catch up"
        )
    return Finding("discriminator wins", tuple(evidence), weaker_d(view.config), OWN_SOURCES["discriminator wins"])


def _generator_wins(view: View) -> Finding | None:
    if _has_scores(view):
        return None
    fake, real, loss_d, loss_g = (view.median(name) for name in ("prob_fake", "prob_real", "loss_d", "loss_g"))
    fooled = fake >= FOOLED or (view.config.loss != "saturating" and loss_g <= -math.log(FOOLED))
    if not (fooled and loss_d >= FOOLED_LOSS):
        return None
    evidence = (
        f"{view.since} L_D is {loss_d:.3g} and L_G is {loss_g:.2g}; where D only guesses L_D is 1.39",
        f"D(G(z)) is {fake:.3g} and D(x) is {real:.3g}: D follows G too slowly to reject what it makes, good or bad",
    )
    return Finding("generator wins", evidence, stronger_d(view.config), OWN_SOURCES["generator wins"])


def _is_young(view: View) -> bool:
    """Whether samples that are not diverse may yet become so: see COLLAPSED and the limits beside it."""
    now, before = view.spread(view.late), view.spread(view.middle)
    fell = before > YOUNG and now < before / RISING
    if now > RISING * before:
        return not view.progress >= 1 or now >= YOUNG
    return view.progress < FIRST_PART and not fell


def _collapse(view: View) -> Finding | None:
    if not view.spread(view.late) < COLLAPSED or _is_young(view):
        return None
    best, step = view.peak("clusters")
    evidence = (
        f"{view.since} {_diversity(view)}",
        f"the share of clusters was {percent(best)} at step {step:,}, the most; 10 % or so says that all samples lie in one",
    )
    advice = more_diversity(view.config)
    if view.spread(view.late) > RISING * view.spread(view.middle):
        advice = (*advice, view.go_on("clusters and diversity still rise together, so G may only be young"))
    return Finding("collapse", evidence, advice, OWN_SOURCES["collapse"])


def _no_trouble(view: View) -> Finding:
    if lacking := [name for name in view.stats if math.isnan(view.median(name))]:
        told = f"{view.since} the log has nothing in {', '.join(lacking)}"
        what = "say how the two sides stand" if _has_scores(view) else "say which side wins"
        return Finding("sides unmeasured", (told,), (view.go_on(f"the rows it adds {what}"),))
    judgement = f"D(x) is {view.median('prob_real'):.2g} and D(G(z)) {view.median('prob_fake'):.2g}"
    if _has_scores(view):
        judgement = f"D's mean score of real samples is {view.median('score_real'):.3g}, of generated ones "
        judgement += f"{view.median('score_fake'):.3g}"
    overview = f"{view.since} {judgement}, L_D {view.median('loss_d'):.3g} and L_G {view.median('loss_g'):.3g}"
    if _has_scores(view):
        overview += "; scores and their losses have no scale of their own, so which side wins cannot be judged from them"
    spread, before = view.spread(view.late), view.spread(view.middle)
    if math.isnan(spread):
        told = "the log has no columns diversity and clusters, or nothing in them, as where an earlier version wrote it"
        look = Advice({}, f"look at {view.samples}: if samples of one picture are all alike, G has collapsed")
        return Finding("unmeasured", (overview, told), (look, view.go_on("the rows it adds say how diverse the samples are")))
    evidence = [overview, _diversity(view)]
    fidelity, coverage = view.median("fidelity"), view.median("coverage")
    measured = [share for share in (fidelity, coverage) if not math.isnan(share)]
    if spread >= COLLAPSED and len(measured) < 2 and min(measured, default=1) >= ALIKE:
        lacking = [name for name in ("fidelity", "coverage") if math.isnan(view.median(name))]
        told = f"{view.since} the log has nothing in {' and '.join(lacking)}, as where an earlier version wrote it"
        look = Advice({}, f"look at {view.samples}")
        if view.config.kind == "sound":
            told = "fidelity and coverage are not measured of sound, for what sounds alike may differ in all its values"
            look = Advice({}, f"listen to {view.samples}; minigan evaluate measures their spectra")
            return Finding("fidelity unmeasured", (*evidence, told), (look,))
        longer = view.go_on("the rows it adds say how many samples resemble the data")
        return Finding("fidelity unmeasured", (*evidence, told), (look, longer))
    evidence += [f"{view.since} {likeness}" for likeness in [view.likeness] if likeness]
    if spread >= COLLAPSED and min(measured) >= ALIKE:
        return Finding("healthy", tuple(evidence))
    if spread >= COLLAPSED and not view.progress < 1:
        kind = "unlike" if fidelity < ALIKE else "incomplete"
        advice = (*closer_to_data(view.config), view.go_on("while the share rises, more steps help"))
        return Finding(kind, tuple(evidence), advice, SOURCES["unlike"])
    if RISING * before < spread < COLLAPSED:
        evidence.append(f"both together, √(diversity · clusters), rise: from {before:.2g} in the second third to {spread:.2g}")
    if view.progress < 1:
        steps, epochs = view.config.steps, view.config.epochs
        done = f"{view.last:,} of {steps:,} steps" if steps else f"into epoch {view.epoch + 1:,.0f} of {epochs:,}"
        evidence.append(f"the run has gone {done}")
    reason = "then ask again" + (": if they stay alike, G has collapsed" if spread < COLLAPSED else "")
    return Finding("young", tuple(evidence), (view.go_on(reason),))


def _diversity(view: View) -> str:
    return (
        f"generated samples are spread over {percent(view.median('clusters'))} as many clusters of the data as real ones are, "
        f"and their diversity is {view.median('diversity'):.2g} (0: all alike, 1: they differ as real ones do)"
    )


SHARES = {"saturated_real": "saturated logits, real", "saturated_fake": "saturated logits, generated"}
TITLES = {
    "discriminator wins": "The discriminator wins: it tells nearly all samples apart, and the generator does not catch up.",
    "generator wins": "The generator wins: the discriminator takes its samples for real, and has nothing left to teach it.",
    "collapse": "The generator has collapsed: for different z it makes the same few samples.",
    "sides unmeasured": "The log does not say which side wins.",
}
TITLES_OF_LOGITS = {
    "unlike": "Neither side wins and samples are diverse, but too few of them resemble the data.",
    "incomplete": "Neither side wins and samples resemble the data, but they miss much of it.",
    "healthy": "Nothing wrong shows: neither side wins, and samples are diverse and resemble the data.",
    "unmeasured": "Neither side wins, but the log does not say whether samples are diverse.",
    "fidelity unmeasured": "Neither side wins and samples are diverse; the log does not say whether they resemble the data.",
}
IN_WORDS = {
    "discriminator wins": (
        "a slower D, as lr_d = lr / 4",
        "one-sided label smoothing of 0.1, which keeps D from being sure",
        "a penalty on D's slope, as penalties=[mg.losses.R1(10)] for images",
    ),
    "generator wins": ("a faster D, as lr_d = 4 lr", "no label smoothing"),
    "collapse": (
        "β₁ = 0 and smaller learning rates",
        "objective=mg.losses.Relativistic(), penalties=[mg.losses.R1(1), mg.losses.R2(1)]",
        "a larger batch: D sees more of what G makes at a time",
    ),
}
LOGITS = LogForm(
    ("loss_d", "loss_g", "prob_real", "prob_fake"),
    (plot_losses, plot_probabilities),
    judge,
    beside=("penalty",),
    titles={**TITLES, **TITLES_OF_LOGITS},
    in_words=IN_WORDS,
    shares=SHARES,
    shares_title="Saturation of D and dead units",
)
SCORES = replace(  # which do not tell who wins
    LOGITS, stats=("loss_d", "loss_g", "score_real", "score_fake"), panels=(plot_losses, plot_scores), titles=TITLES
)

GAME = Description(
    about="a generator against a discriminator",
    networks=("G", "D"),
    sampler=0,
    pairs=MODELS["gan"],
    models={"images": ("dcgan", "mlp"), "points": ("mlp",), "text": ("text",), "sound": ("wave", "mlp")},
    recipes=RECIPES,
    usual={"images": "dcgan", "points": "points", "text": "text", "sound": "wave"},
    options=(
        *("pack", "classes", "lr_d", "loss", "penalty", "penalty_every", "instance_noise"),
        *("critic_steps", "clip", "smoothing", "ema"),
    ),
    build=build,
    check=check,
    logs=(LOGITS, SCORES),
)
