"""Losses: value and gradient side by side. All are means over the batch (log losses in nats), and finite for logits of
±1000, but for the exponentials of the f-GANs.

Objectives of the game have both players' losses; the functions compare with given targets. With ζ(s) = log(1 + e^s) (softplus)
and σ = ζ' (sigmoid): −log σ(s) = ζ(−s) and −log(1 − σ(s)) = ζ(s).
"""

from minigan.losses.base import Objective
from minigan.losses.f_gan import KL, Pearson, ReverseKL
from minigan.losses.gradient_penalty import DRAGAN, GradientPenalty
from minigan.losses.hinge import Hinge
from minigan.losses.least_squares import LeastSquares
from minigan.losses.non_saturating import NonSaturating
from minigan.losses.penalty import Penalty
from minigan.losses.relativistic import Relativistic
from minigan.losses.relativistic_average import RelativisticAverage
from minigan.losses.saturating import Saturating
from minigan.losses.score import Score
from minigan.losses.supervised import bce_with_logits, mse, softmax_cross_entropy
from minigan.losses.variational import Bernoulli, Gaussian, Likelihood, gaussian_kl, reparametrise
from minigan.losses.wasserstein import Wasserstein
from minigan.losses.zero_centred import R1, R2

# By the names of `--loss`. A new objective is a file here and a line in this table.
OBJECTIVES: dict[str, type[Objective]] = {
    **{"non-saturating": NonSaturating, "saturating": Saturating, "least-squares": LeastSquares, "hinge": Hinge},
    **{"wasserstein": Wasserstein, "kl": KL, "reverse-kl": ReverseKL, "pearson": Pearson},
    **{"relativistic": Relativistic, "relativistic-average": RelativisticAverage},
}
PENALTIES: dict[str, type[Penalty]] = {"r1": R1, "r2": R2, "wgan-gp": GradientPenalty, "dragan": DRAGAN}
LIKELIHOODS: dict[str, type[Likelihood]] = {"bernoulli": Bernoulli, "gaussian": Gaussian}  # of a VAE, by `--likelihood`

__all__ = ["DRAGAN", "KL", "OBJECTIVES", "PENALTIES", "R1", "R2", "GradientPenalty", "Hinge", "LeastSquares", "NonSaturating"]
__all__ += ["Objective", "Pearson", "Penalty", "Relativistic", "RelativisticAverage", "ReverseKL", "Saturating", "Score"]
__all__ += ["Wasserstein", "bce_with_logits", "mse", "softmax_cross_entropy"]
__all__ += ["LIKELIHOODS", "Bernoulli", "Gaussian", "Likelihood", "gaussian_kl", "reparametrise"]
