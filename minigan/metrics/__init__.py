"""How good samples are, as numbers."""

from minigan.metrics.digits import digit_features
from minigan.metrics.diversity import Clusters, bandwidth, effective_number, same_cluster
from minigan.metrics.fidelity import fidelity_and_coverage, neighbour_radii
from minigan.metrics.frechet import frechet
from minigan.metrics.kid import kid
from minigan.metrics.log_spectra import log_spectra
from minigan.metrics.modes import WITHIN, modes
from minigan.metrics.neighbours import authenticity, nearest
from minigan.metrics.ngrams import ngram_jsd
from minigan.metrics.parzen import parzen
from minigan.metrics.prdc import prdc
from minigan.metrics.sliced_wasserstein import sliced_wasserstein

__all__ = [
    "WITHIN",
    "Clusters",
    "authenticity",
    "bandwidth",
    "digit_features",
    "effective_number",
    "fidelity_and_coverage",
    "frechet",
    "kid",
    "log_spectra",
    "modes",
    "nearest",
    "neighbour_radii",
    "ngram_jsd",
    "parzen",
    "prdc",
    "same_cluster",
    "sliced_wasserstein",
]
