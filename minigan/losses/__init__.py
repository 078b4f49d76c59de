"""Losses: value and gradient side by side. All are means over the batch, in nats, and finite for logits of ±1000.

Objectives of the game have both players' losses; the functions compare with given targets. With ζ(s) = log(1 + e^s) (softplus)
and σ = ζ' (sigmoid): −log σ(s) = ζ(−s) and −log(1 − σ(s)) = ζ(s).
"""

from minigan.losses.base import Objective
from minigan.losses.non_saturating import NonSaturating
from minigan.losses.saturating import Saturating
from minigan.losses.supervised import bce_with_logits, mse, softmax_cross_entropy

# By the names of `--loss`. A new objective is a file here and a line in this table.
OBJECTIVES: dict[str, type[Objective]] = {"non-saturating": NonSaturating, "saturating": Saturating}

__all__ = [
    "OBJECTIVES",
    "NonSaturating",
    "Objective",
    "Saturating",
    "bce_with_logits",
    "mse",
    "softmax_cross_entropy",
]
