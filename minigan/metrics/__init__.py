"""How good samples are, as numbers."""

from minigan.metrics.diversity import Clusters, bandwidth, effective_number, same_cluster
from minigan.metrics.fidelity import fidelity_and_coverage, neighbour_radii
from minigan.metrics.modes import WITHIN, modes

__all__ = [
    "WITHIN",
    "Clusters",
    "bandwidth",
    "effective_number",
    "fidelity_and_coverage",
    "modes",
    "neighbour_radii",
    "same_cluster",
]
