"""One training step, opened up: every array of its passes, every derivative beside its central difference.

The step is the game's own, run once in float64 and watched. Derivatives are checked by running it again, each time with one
number moved a little, on a copy of the game whose optimisers hold still; so a game with another loss is opened as it is.
"""

from minigan.explain.step.looking import CHECKED, NUDGED
from minigan.explain.step.opening import count_layers, count_ticks, open_step
from minigan.explain.step.records import Nudge, OpenedGAN, OpenedStep, OpenedVAE, Pass, Share, Update

__all__ = [
    "CHECKED",
    "NUDGED",
    "Nudge",
    "OpenedGAN",
    "OpenedStep",
    "OpenedVAE",
    "Pass",
    "Share",
    "Update",
    "count_layers",
    "count_ticks",
    "open_step",
]
