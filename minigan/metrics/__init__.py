"""How good samples are, as numbers."""

from minigan.metrics.diversity import Clusters, bandwidth, effective_number, same_cluster

__all__ = ["Clusters", "bandwidth", "effective_number", "same_cluster"]
