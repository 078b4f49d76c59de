"""How a game fares as it is played: norms of gradients and updates, dead units, saturation of D, diversity of samples, codes.

Everything is measured beside the game, on copies of its networks and with samples of its own, so that a run that is measured
ends in the same bytes as one that is not.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigan.backends import Array, Backend, stream
from minigan.data import Dataset
from minigan.data.synthetic import MODES
from minigan.games import Game
from minigan.layers import Layer, ReLU
from minigan.metrics import (
    WITHIN,
    Clusters,
    bandwidth,
    effective_number,
    fidelity_and_coverage,
    neighbour_radii,
    same_cluster,
)
from minigan.network import Sequential

SHARED = ("diversity", "clusters", "fidelity", "coverage")  # of all games that can be observed, after their own figures
LIKENESS = SHARED[2:]  # not of sound: waveforms that sound alike may differ everywhere
PROBE_SIZE = 64  # real and generated samples that are looked at
POINTS = 500  # the same for fidelity and coverage of points, which cost next to nothing
CLUSTERED = 1000  # samples of the data that clusters are found in


class Monitor:
    """Measures a game after a step: `measure` gives one number for each of `columns`, on the device.

    First the game's own figures, see Game.observe. Of a GAN saturated_real, saturated_fake: the share of D's logits s with σ(s)
    within 1e-3 of 0 or 1, of real and of generated samples; none where s is a score. Of a VAE active_units: the share of its
    latent dimensions whose mean code μ_j(x) varies with x, by a variance above 0.01 over the real samples (Burda et al. 2016,
    arXiv:1509.00519, section 5.2).
    diversity: (n − 1)/(n_real − 1) of the effective numbers of generated and of real samples, see effective_number. 0: all
    generated samples are alike; 1: they differ as much as real ones.
    clusters: over how many of the data's clusters generated samples are spread, over the same of the data, see Clusters. About
    0.1: all lie in one; 1: they are spread as evenly as the data.
    fidelity, coverage: the share of samples that resemble the data, and of the data that samples resemble, see
    fidelity_and_coverage: of the modes within 3 σ where these are known ("ring", "grid"), else of as many real samples within
    the distance of their 5th nearest other, where samples of the data have 0.97. Samples are those that the game shows (of its
    averaged generator, in inference mode). Sound has neither.
    Of each network (such as "generator" and "discriminator") and layer (by its index):
    generator.0.gradient: ‖∂L_G/∂θ‖₂ of the last step, for each layer that learns; discriminator.0.gradient: ‖∂L_D/∂θ‖₂.
    generator.0.update: ‖Δθ‖₂ / ‖θ‖₂ of the last step, NaN unless `snapshot` was called before it.
    generator.1.dead: for each ReLU, the share of its units (of its last axis) that are 0 at every position of every sample.

    All but the norms need a game that can be observed, and makes samples of the data's shape; the columns of others lack them.
    The 64 real samples and latent vectors are drawn
    once, from `seed`, by streams that nothing else uses; the networks see them as in training (train=True). So the figures
    depend on the seed and the game's state alone.
    """

    def __init__(self, game: Game, dataset: Dataset, seed: int = 0) -> None:
        self.backend, self._dtype = game.backend, game.dtype
        self._networks = dict(game.networks)
        self._probe: _Probe | None = None
        if game.observed and game.networks.keys() >= set(game.observed) and game.sample_shape == dataset.shape:
            self._probe = _Probe(game, dataset, seed)
        self._before: dict[str, Array] | None = None
        named = [f"{name}.{column}" for name, net in self._networks.items() for column in self._columns_of(net)]
        shared = (*game.figures, *SHARED) if self._probe else ()
        if dataset.kind.name == "sound":
            shared = tuple(name for name in shared if name not in LIKENESS)
        self.columns = (*shared, *named)

    def _columns_of(self, net: Sequential) -> list[str]:
        """The columns of one network, in the order of its layers."""
        names = []
        for layer in net.layers:
            names += [f"{layer.index}.gradient", f"{layer.index}.update"] if layer.params else []
            names += [f"{layer.index}.dead"] if self._probe and isinstance(layer, ReLU) else []
        return names

    def snapshot(self) -> None:
        """Keep the parameters as they are before the next step, for the norm of its update."""
        self._before = {name: net.flat_params.copy() for name, net in self._networks.items()}

    def measure(self) -> Array:
        """The game as the last step left it: a vector (columns,), still on the device."""
        values = self._probe.measure(self._networks) if self._probe else {}
        for name, net in self._networks.items():
            learners = [layer for layer in net.layers if layer.params]
            values |= _named(name, "gradient", learners, layer_norms(net, net.flat_grads))
            if self._before is not None:
                changes = layer_norms(net, net.flat_params - self._before[name])
                sizes = layer_norms(net, net.flat_params)
                tiny = float(np.finfo(net.dtype).tiny)
                relative = [change / self.backend.xp.maximum(size, tiny) for change, size in zip(changes, sizes, strict=True)]
                values |= _named(name, "update", learners, relative)
        self._before = None
        missing = self.backend.xp.asarray(math.nan, dtype=self._dtype)
        vector = [values.get(column, missing) for column in self.columns]
        return self.backend.xp.stack(vector) if vector else self.backend.zeros((0,), self._dtype)


class NoMonitor(Monitor):
    """Of a rank that writes no log: it measures nothing."""

    def __init__(self, game: Game) -> None:
        self.backend, self.columns, self._dtype = game.backend, (), game.dtype

    def snapshot(self) -> None:
        pass

    def measure(self) -> Array:
        return self.backend.zeros((0,), self._dtype)


class _Probe:
    """Copies of a game's networks that look at fixed real samples and latent vectors."""

    def __init__(self, game: Game, dataset: Dataset, seed: int) -> None:
        self.backend, self._kind = game.backend, dataset.kind
        dtype, rng = game.dtype, np.random.default_rng(stream("monitor", seed))
        chosen = rng.choice(len(dataset), min(PROBE_SIZE, len(dataset)), replace=False)
        real = as_floats(dataset.values[chosen], dataset, dtype)
        z = rng.standard_normal((PROBE_SIZE, game.latent_dim)).astype(dtype)
        self._real, self._z = self.backend.asarray(real), self.backend.asarray(game.with_labels(z))
        classes = None if dataset.labels is None else dataset.labels[chosen]
        self._labels: tuple[Array | None, Array | None] = (None, None)
        if game.classes:  # of z all in turn
            rows = game.one_hot(len(real), classes), game.one_hot(len(z))
            self._labels = self.backend.asarray(rows[0]), self.backend.asarray(rows[1])

        flat = real.reshape(len(real), -1).astype(np.float64)
        centre = flat.mean(axis=0)
        self._bandwidth = bandwidth(flat - centre)
        self._excess = float(effective_number(Backend(), flat - centre, self._bandwidth)) - 1  # 0 where all are alike
        self._centre = self.backend.asarray(centre, dtype)
        some = dataset.values[rng.choice(len(dataset), min(CLUSTERED, len(dataset)), replace=False)]
        self._clusters = Clusters(as_floats(some, dataset, dtype).reshape(len(some), -1), rng)
        self._cluster_centres = self.backend.asarray(self._clusters.centres - centre, dtype)

        self._game, self._sampler = game, game.sampler.clone()
        count = POINTS if dataset.kind.name == "points" else PROBE_SIZE
        self._z_shown = self.backend.asarray(game.with_labels(rng.standard_normal((count, game.latent_dim))), dtype)
        chosen = dataset.values[rng.choice(len(dataset), min(count, len(dataset)), replace=False)]
        balls = as_floats(chosen, dataset, dtype).reshape(len(chosen), -1).astype(np.float64) - centre
        radii = neighbour_radii(balls)
        if dataset.name in MODES:
            balls, sigma = MODES[dataset.name][0] - centre, MODES[dataset.name][1]
            radii = np.full(len(balls), WITHIN * sigma)
        self._balls, self._radii = self.backend.asarray(balls, dtype), self.backend.asarray(radii, dtype)

        self._twins = {name: game.networks[name].clone() for name in game.observed}
        for index, twin in enumerate(self._twins.values()):
            for layer in twin.layers:
                if layer.random:
                    noise = self.backend.generator(stream("monitor's dropout", seed, index, layer.index))
                    layer.bind(layer.backend, layer.params, layer.state, noise)
        self._random = {name: twin.random_state for name, twin in self._twins.items()}

    def measure(self, networks: dict[str, Sequential]) -> dict[str, Array]:
        """What the networks make of the fixed samples, by column."""
        for name, twin in self._twins.items():
            _copy_values(networks[name], twin)
            twin.random_state = self._random[name]
        peaks: dict[Layer, Array] = {}

        def run(name: str, x: Array) -> Array:
            y, own = _peaks(self._twins[name], x)
            for layer, peak in own.items():
                peaks[layer] = self.backend.xp.maximum(peaks[layer], peak) if layer in peaks else peak
            return y

        fake, figures = self._game.observe(run, self._real, self._z, self._labels)
        return figures | self._of_samples(fake) | self._dead(peaks)

    def _of_samples(self, fake: Array) -> dict[str, Array]:
        """How diverse generated samples are, and of the shown ones how like the data."""
        flat = self._flat(fake)
        values = {"clusters": self._clusters.evenness / same_cluster(self.backend, flat, self._cluster_centres)}
        if self._excess:
            values["diversity"] = (effective_number(self.backend, flat, self._bandwidth) - 1) / self._excess
            values["fidelity"], values["coverage"] = self._of_shown_samples()
        return values

    def _flat(self, samples: Array) -> Array:
        """Samples as they are shown, one in a row, from the centre of the data."""
        settled = self._kind.settled(self.backend.xp, samples)
        return settled.reshape(len(settled), -1) - self._centre

    def _dead(self, peaks: dict[Layer, Array]) -> dict[str, Array]:
        """The share of dead units of each ReLU, from the largest values of its units."""
        values: dict[str, Array] = {}
        for name, twin in self._twins.items():
            own = [layer for layer in twin.layers if layer in peaks]
            values |= _named(name, "dead", own, [(peaks[layer] <= 0).astype(peaks[layer].dtype).mean() for layer in own])
        return values

    def _of_shown_samples(self) -> tuple[Array, Array]:
        """Fidelity and coverage of what the game's sampler makes of fixed latent vectors."""
        _copy_values(self._game.sampler, self._sampler)
        shown = self._game.as_samples(self._sampler.forward(self._z_shown)[0])
        return fidelity_and_coverage(self.backend, self._flat(shown), self._balls, self._radii)


def _copy_values(net: Sequential, twin: Sequential) -> None:
    twin.flat_params[...] = net.flat_params
    for key, value in net.state.items():
        twin.state[key][...] = value


def as_floats(values: np.ndarray, dataset: Dataset, dtype: np.dtype) -> np.ndarray:
    """Samples of a dataset as networks see them, on the host."""
    return dataset.kind.to_floats(Backend(), dtype)(values.astype(dtype))


def _named(network: str, what: str, layers: list[Layer], values: list[Array]) -> dict[str, Array]:
    return {f"{network}.{layer.index}.{what}": value for layer, value in zip(layers, values, strict=True)}


def _peaks(net: Sequential, x: Array) -> tuple[Array, dict[Layer, Array]]:
    """The output for a batch, and of each ReLU the largest value of every unit (C,)."""
    peaks: dict[Layer, Array] = {}

    def look(layer: Layer | None, what: str, value: Any) -> None:
        if isinstance(layer, ReLU) and what == "output":
            peaks[layer] = value.reshape(-1, value.shape[-1]).max(axis=0)

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
