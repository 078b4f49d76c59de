"""The health of a game as it is played: norms of gradients and updates, dead units, saturation of D, diversity of G.

Everything is measured beside the game, on copies of its networks and with samples of its own, so that a run that is measured
ends in the same bytes as one that is not.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigan.backends import Array, Backend, Formula
from minigan.data import Dataset, pixels_to_floats
from minigan.games import GAN
from minigan.layers import Layer, ReLU
from minigan.network import Sequential

SHARED = ("saturated_real", "saturated_fake", "diversity", "clusters")  # columns that every game has
PROBE = 64  # real and generated samples that are looked at
SATURATED = 1e-3  # σ this near to 0 or 1
DISTINCT = 4.0  # the bandwidth is chosen so that the real samples count as so many distinct ones
CLUSTERS, CLUSTERED, ROUNDS = 10, 1000, 10  # k-means: how many clusters, of how many samples, in how many rounds


class Monitor:
    """Measures a game after a step: `measure` gives one number for each of `columns`, on the device.

    saturated_real, saturated_fake: the share of D's logits s with σ(s) within 1e-3 of 0 or 1, of real and of generated samples.
    diversity: (n − 1)/(n_real − 1) of the effective numbers of generated and of real samples, see effective_number. 0: all
    generated samples are alike; 1: they differ as much as real ones.
    clusters: over how many of the data's clusters generated samples are spread, over the same of the data, see Clusters. About
    0.1: all lie in one; 1: they are spread as evenly as the data.
    Of each network ("generator", "discriminator") and layer (by its index):
    generator.0.gradient: ‖∂L_G/∂θ‖₂ of the last step, for each layer that learns; discriminator.0.gradient: ‖∂L_D/∂θ‖₂.
    generator.0.update: ‖Δθ‖₂ / ‖θ‖₂ of the last step, NaN unless `remember` was called before it.
    generator.1.dead: for each ReLU, the share of its units (of its last axis) that are 0 at every position of every sample.

    The 64 real samples and latent vectors are drawn once, from `seed`, by streams that nothing else uses; both networks see
    them as in training (train=True). So the figures depend on the seed and the game's state alone.
    """

    def __init__(self, gan: GAN, dataset: Dataset, seed: int = 0) -> None:
        self.gan, self.backend = gan, gan.backend
        dtype, rng = gan.generator.dtype, np.random.default_rng([seed, 4])
        chosen = dataset.values[rng.choice(len(dataset), min(PROBE, len(dataset)), replace=False)]
        real = (pixels_to_floats(np, chosen.astype(dtype)) if dataset.is_images else chosen).astype(dtype)
        z = rng.standard_normal((PROBE, gan.latent_dim)).astype(dtype)
        self._real, self._z = self.backend.asarray(real), self.backend.asarray(z)

        flat = real.reshape(len(real), -1).astype(np.float64)
        centre = flat.mean(axis=0)
        self._bandwidth = bandwidth(flat - centre)
        self._excess = float(effective_number(Backend(), flat - centre, self._bandwidth)) - 1  # 0 where all are alike
        self._centre = self.backend.asarray(centre, dtype)
        some = dataset.values[rng.choice(len(dataset), min(CLUSTERED, len(dataset)), replace=False)].reshape(-1, flat.shape[1])
        self._clusters = Clusters(pixels_to_floats(np, some.astype(dtype)) if dataset.is_images else some.astype(dtype), rng)
        self._cluster_centres = self.backend.asarray(self._clusters.centres - centre, dtype)

        self._nets = {"generator": gan.generator, "discriminator": gan.discriminator}
        self._twins = {name: net.clone() for name, net in self._nets.items()}
        for index, twin in enumerate(self._twins.values()):
            for layer in twin.layers:
                if layer.random:
                    layer.rng = self.backend.generator([seed, 4, index, layer.index or 0])
        self._random = {name: twin.random_state for name, twin in self._twins.items()}
        self._before: dict[str, Array] | None = None
        self.columns = (*SHARED, *(f"{name}.{column}" for name, net in self._nets.items() for column in _columns(net)))

    def remember(self) -> None:
        """Keep the parameters as they are before the next step, for the norm of its update."""
        self._before = {name: net.flat_params.copy() for name, net in self._nets.items()}

    def measure(self) -> Array:
        """The game as the last step left it: a vector (columns,), not yet brought to the host."""
        values = self._probe()
        for name, net in self._nets.items():
            learners = [layer for layer in net.layers if layer.params]
            values |= _named(name, "gradient", learners, layer_norms(net, net.flat_grads))
            if self._before is not None:
                changes = layer_norms(net, net.flat_params - self._before[name])
                sizes = layer_norms(net, net.flat_params)
                tiny = float(np.finfo(net.dtype).tiny)
                relative = [change / self.backend.xp.maximum(size, tiny) for change, size in zip(changes, sizes, strict=True)]
                values |= _named(name, "update", learners, relative)
        self._before = None
        missing = self.backend.xp.asarray(math.nan, dtype=self.gan.generator.dtype)
        return self.backend.xp.stack([values.get(column, missing) for column in self.columns])

    def _probe(self) -> dict[str, Array]:
        """What the two networks make of the fixed samples, by column."""
        for name, twin in self._twins.items():
            net = self._nets[name]
            twin.flat_params[...] = net.flat_params
            for key, value in net.state.items():
                twin.state[key][...] = value
            twin.random_state = self._random[name]
        generator, discriminator = self._twins["generator"], self._twins["discriminator"]
        fake, peaks_g = _watched(generator, self._z)
        s_real, peaks_real = _watched(discriminator, self._real)
        s_fake, peaks_fake = _watched(discriminator, fake)
        xp = self.backend.xp
        peaks_d = {layer: xp.maximum(peak, peaks_fake[layer]) for layer, peak in peaks_real.items()}
        flat = fake.reshape(len(fake), -1) - self._centre
        values = {
            "saturated_real": saturation(xp, s_real),
            "saturated_fake": saturation(xp, s_fake),
            "clusters": self._clusters.evenness / same_cluster(self.backend, flat, self._cluster_centres),
            **(
                {"diversity": (effective_number(self.backend, flat, self._bandwidth) - 1) / self._excess}
                if self._excess
                else {}
            ),
        }
        for name, peaks in (("generator", peaks_g), ("discriminator", peaks_d)):
            shares = [(peak <= 0).astype(peak.dtype).mean() for peak in peaks.values()]
            values |= _named(name, "dead", list(peaks), shares)
        return values


def _columns(net: Sequential) -> list[str]:
    """Of one network, in the order of its layers."""
    names = []
    for layer in net.layers:
        names += [f"{layer.index}.gradient", f"{layer.index}.update"] if layer.params else []
        names += [f"{layer.index}.dead"] if isinstance(layer, ReLU) else []
    return names


def _named(network: str, what: str, layers: list[Layer], values: list[Array]) -> dict[str, Array]:
    return {f"{network}.{layer.index}.{what}": value for layer, value in zip(layers, values, strict=True)}


def _watched(net: Sequential, x: Array) -> tuple[Array, dict[Layer, Array]]:
    """The output for a batch, and of each ReLU the largest value of every unit (C,)."""
    peaks: dict[Layer, Array] = {}

    def look(layer: Layer, what: str, array: Array) -> None:
        if isinstance(layer, ReLU):
            peaks[layer] = array.reshape(-1, array.shape[-1]).max(axis=0)

    net.watch = look
    y, _ = net.forward(x, train=True)
    net.watch = None
    return y, peaks


def layer_norms(net: Sequential, vector: Array) -> list[Array]:
    """‖v_l‖₂ = a √Σ (v/a)² for each layer l that learns, of a vector laid out as flat_params is.

    a = max |v| keeps the squares of very small and of very large entries within the dtype's range.
    """
    xp = net.backend.xp
    if not vector.size:
        return []
    largest = xp.maximum(xp.abs(vector).max(), float(np.finfo(net.dtype).tiny))
    return [largest * xp.sqrt(xp.vdot(part, part)) for layer, part in net.split(vector / largest) if layer.params]


def saturation(xp: Any, s: Array) -> Array:
    """The share of logits s for which σ(s) is within 1e-3 of 0 or 1, that is |s| > log(1/0.001 − 1)."""
    return (xp.abs(s) > math.log(1 / SATURATED - 1)).astype(s.dtype).mean()


def squared_distances(xp: Any, products: Array, squares: Array, other_squares: Array) -> Array:
    """‖x_i − y_j‖² = ‖x_i‖² + ‖y_j‖² − 2 x_i·y_j"""
    return xp.maximum(squares + other_squares - 2 * products, 0)


def similarity(xp: Any, products: Array, squares: Array, other_squares: Array, scale: float) -> Array:
    """K_ij = exp(−‖x_i − y_j‖² / 2h²), with scale = 1/2h²"""
    return xp.exp(-scale * squared_distances(xp, products, squares, other_squares))


def pairs(backend: Backend, formula: Formula, x: Array, y: Array, **constants: Any) -> Array:
    """A formula of x_i·y_j, ‖x_i‖² and ‖y_j‖² for all pairs of x (N, K) and y (M, K): (N, M)."""
    squares, other_squares = (x * x).sum(axis=1), (y * y).sum(axis=1)
    return backend.elementwise(formula, backend.matmul(x, y.T), squares[:, None], other_squares[None, :], **constants)


def effective_number(backend: Backend, x: Array, bandwidth: float) -> Array:
    """How many distinct samples x (N, K) holds, from 1 (all alike) to N (each unlike all others), as a 0-d array.

    1 / Σ_ij p_i p_j K_ij with p_i = 1/N and K_ij = exp(−‖x_i − x_j‖² / 2h²): one over the mean similarity of two samples.
    Source: Leinster and Cobbold 2012, "Measuring diversity: the importance of species similarity", the diversity of order 2;
    cf. the Vendi score of Friedman and Dieng 2023 (arXiv:2210.02410), of order 1.
    """
    return 1 / pairs(backend, similarity, x, x, scale=1 / (2 * bandwidth**2)).mean()


def bandwidth(x: np.ndarray) -> float:
    """h for which samples x (N, K) on the host count as 4 distinct ones; 1 where all are alike.

    Where so many cannot be reached, for they are few or repeated, half of what can.
    """
    distances = pairs(Backend(), squared_distances, x, x)
    apart = np.sqrt(distances[distances > 1e-12 * (x * x).sum(axis=1).max()])
    if not apart.size:
        return 1.0
    least, most = apart.min() / 10, apart.max() * 10
    wanted = min(DISTINCT, (1 + float(effective_number(Backend(), x, least))) / 2)
    for _ in range(50):  # bisection: the number falls as h grows
        middle = math.sqrt(least * most)
        least, most = (middle, most) if effective_number(Backend(), x, middle) > wanted else (least, middle)
    return middle


class Clusters:
    """k-means of samples x (N, K) on the host: `centres` (C, K), at most 10, and `evenness` = Σ p_c² of the samples' shares.

    Source: as bins to count generated samples in, Richardson and Weiss 2018 (arXiv:1805.12462), section 2; the first centres
    are drawn as in Arthur and Vassilvitskii 2007 (k-means++), section 2.2.
    """

    def __init__(self, x: np.ndarray, rng: np.random.Generator) -> None:
        centres = x[[rng.integers(len(x))]]
        distances = ((x - centres) ** 2).sum(axis=1, dtype=np.float64)
        while len(centres) < CLUSTERS and distances.any():
            chosen = x[[rng.choice(len(x), p=distances / distances.sum())]]
            centres = np.concatenate([centres, chosen])
            distances = np.minimum(distances, ((x - chosen) ** 2).sum(axis=1, dtype=np.float64))
        for _ in range(ROUNDS):
            nearest = pairs(Backend(), squared_distances, x, centres).argmin(axis=1)
            for index in np.unique(nearest):
                centres[index] = x[nearest == index].mean(axis=0)
        self.centres = centres
        nearest = pairs(Backend(), squared_distances, x, centres).argmin(axis=1)
        self.evenness = float(((np.bincount(nearest) / len(x)) ** 2).sum())


def same_cluster(backend: Backend, x: Array, centres: Array) -> Array:
    """The share of pairs of samples x (N, K) that have the same nearest centre: Σ_c n_c (n_c − 1) / (N (N − 1)), a 0-d array.

    Without bias it estimates Σ p_c², which is 1 where all lie in one cluster and 1/C where they are spread evenly over C.
    """
    xp = backend.xp
    nearest = pairs(backend, squared_distances, x, centres).argmin(axis=1)
    counts = (nearest[:, None] == xp.arange(len(centres))[None, :]).astype(x.dtype).sum(axis=0)
    return (counts * (counts - 1)).sum() / (len(x) * (len(x) - 1))
