"""What every game has: networks, optimisers, a step in two parts, samples, and a state that can be saved."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np

from minigan.backends import Array, Backend, Generator, Machine, stream
from minigan.capture import Step
from minigan.copying import CopiedAfterItsNetworks, undone_on_error
from minigan.errors import CheckpointError, OptionError, shorten
from minigan.network import Sequential
from minigan.optim import Optimizer
from minigan.sizes import check_kind, ignore_underflow, positive_int

SAMPLE_BATCH = 64  # images that `sample` makes at a time, so that its memory does not grow with n


class Picture(NamedTuple):
    """Samples (N, *sample shape) as networks make them, on the host, and in how many columns they are to be shown."""

    samples: np.ndarray
    columns: int


class Game(CopiedAfterItsNetworks, Step):
    """Networks that are trained together. A game writes compute(batch, …) -> its statistics by name, as 0-d device arrays.

    networks, optimizers: by the networks' names. stats: the names of the statistics; losses: which of them each network
    minimises, as a mean over its updates in the step, where these are several. batches_per_step: how many batches of data a
    step takes, one after the other in one array. classes: of how many classes a step takes the samples' labels, as the keyword
    `labels`, one-hot rows (N, classes); 0: it takes none. sampler: the network that makes samples from latent vectors, with
    classes from [z, one-hot label]. streams: the game's own random streams by name.
    observed: the networks that `observe` runs; none where a game has no such method. figures: the names of what it measures.
    """

    networks: dict[str, Sequential]
    optimizers: dict[str, Optimizer]
    stats: tuple[str, ...]
    losses: ClassVar[Mapping[str, str]]
    updates: Mapping[str, int] = {}
    batches_per_step: int = 1
    classes: int = 0
    observed: ClassVar[tuple[str, ...]] = ()
    figures: tuple[str, ...] = ()
    streams: dict[str, Generator]
    backend: Backend

    def compute(self, *batch: Any, **labels: Any) -> dict[str, Array]:
        raise NotImplementedError(f"{type(self).__name__} has no compute")

    @ignore_underflow
    def step(self, *batch: Any, **labels: Any) -> dict[str, Array]:
        """One training step on a batch: the host's part, then the device's. Returns its statistics, 0-d device arrays."""
        self.check(*batch, **labels)
        self.advance()
        return self.compute(*batch, **labels)

    def check(self, *batch: Any, **labels: Any) -> None:
        """Raise what a step on this batch would, before it moves anything. A game that refuses batches says so here."""

    def advance(self) -> None:
        self._share_threading()
        super().advance()

    def _share_threading(self) -> None:
        """Said before each step and each sample, so that what a game computes depends on no other game with its layers."""
        self.backend.share_threading(self, self._own_networks)

    # -- samples -------------------------------------------------------------------------------------------------------

    @property
    def sampler(self) -> Sequential:
        raise NotImplementedError(f"{type(self).__name__} makes no samples")

    @property
    def dtype(self) -> np.dtype:
        return self.sampler.dtype

    @property
    def latent_dim(self) -> int:
        return self.sampler.input_shape[0] - self.classes

    @property
    def sample_shape(self) -> tuple[int, ...]:
        return self.sampler.output_shape

    def sample(self, n: int, seed: int = 0, classes: Any = None) -> np.ndarray:
        """n samples as a host array, images in [−1, 1] or points in the data's own units.

        The same n and seed give the same samples. Networks run in inference mode, so no sample depends on the others.
        classes: which samples are asked for, in a game that takes labels: a class number, one for each sample, or None for all
        classes in turn.
        """
        return self.decode(self.latent(n, seed), classes)

    def one_hot(self, n: int, classes: Any = None) -> np.ndarray:
        """Labels of n samples as one-hot rows (n, K) on the host; classes: as for sample.

        Raises OptionError for what are no class numbers of this game, and for a game that takes no labels.
        """
        if not self.classes:
            raise OptionError(f"classes is {shorten(classes)}, and this game takes no labels: leave it out")
        numbers = np.arange(n) % self.classes if classes is None else np.asarray(classes)
        least_and_most = (numbers.min(initial=0), numbers.max(initial=0)) if numbers.dtype.kind in "iu" else (-1, -1)
        if numbers.shape not in ((), (n,)) or least_and_most[0] < 0 or least_and_most[1] >= self.classes:
            raise OptionError(
                f"classes is {shorten(classes)}: expected a class from 0 to {self.classes - 1}, {n} of them, or None for all"
            )
        return (np.broadcast_to(numbers, (n,))[:, None] == np.arange(self.classes)).astype(self.dtype)

    def with_labels(self, z: np.ndarray, classes: Any = None) -> np.ndarray:
        """What the sampler takes: host latent vectors z (N, latent), with classes [z, one-hot labels], (N, latent + K)."""
        if not self.classes and classes is None:
            return z
        return np.concatenate([z, self.one_hot(len(z), classes)], axis=1, dtype=self.dtype)

    def latent(self, n: int, seed: int = 0) -> np.ndarray:
        """n latent vectors from N(0, 1) on the host: the same on every backend."""
        n = positive_int(n, "n, how many samples to draw,", least=0)
        size = 20 * self.latent_dim + 8 * int(np.prod(self.sample_shape))  # float64, then copies; parts, then joined
        Machine().require_memory(n * size, f"drawing {shorten(n)} samples", "draw fewer at a time")
        return np.random.default_rng(stream("samples", seed)).standard_normal((n, self.latent_dim)).astype(self.dtype)

    def decode(self, z: np.ndarray, classes: Any = None) -> np.ndarray:
        """Samples from host latent vectors (N, latent): a host array. classes: as for sample."""
        return self.inferred(self.sampler, self.with_labels(np.asarray(z), classes), self.as_samples)

    def as_samples(self, y: Array) -> Array:
        """The samples that the sampler's output y stands for, which are y itself unless a game says otherwise."""
        return y

    def inferred(self, net: Sequential, x: np.ndarray, then: Callable[[Array], Array] = lambda y: y) -> np.ndarray:
        """`then` of a network's output for a host array x of any length, in inference mode: a host array."""
        self._share_threading()
        parts, x = [], np.asarray(x)
        for part in (x[start : start + SAMPLE_BATCH] for start in range(0, len(x), SAMPLE_BATCH)):
            # A few sizes of batches, filled up with zeros: for each size of its own, a backend would need other memory.
            filling = np.zeros((-len(part) % min(len(part), SAMPLE_BATCH // 4), *x.shape[1:]), x.dtype)
            y, _ = net.forward(self.backend.asarray(np.concatenate([part, filling]), net.dtype))
            parts.append(self.backend.to_numpy(then(y))[: len(part)])
        return np.concatenate(parts) if parts else np.empty((0, *net.output_shape), net.dtype)

    def pictures(self, real: np.ndarray) -> dict[str, Picture]:
        """What a run's folder shows of the game besides samples, by the names of the files: "reconstructions", "latent_map".

        real: samples of the data as networks see them, on the host.
        """
        return {}

    def observe(
        self, run: Callable[[str, Array], Array], real: Array, z: Array, labels: Sequence[Array | None]
    ) -> tuple[Array, dict[str, Array]]:
        """(generated samples, the game's own figures as 0-d arrays) for fixed samples and latent vectors, to be logged.

        run: the output of a network by its name, as in training, but on copies, so that it leaves no trace. real: samples as
        networks see them; z: what the sampler takes; labels: one-hot rows of both, where the game has classes.
        """
        raise NotImplementedError(f"{type(self).__name__} has no observe")

    # -- state ---------------------------------------------------------------------------------------------------------

    def _parts(self) -> Iterator[tuple[str, Any]]:
        """What has a state_dict, by name."""
        yield from self.networks.items()
        yield from ((f"optimizer_{name}", optimizer) for name, optimizer in self.optimizers.items())

    def state_dict(self) -> dict[str, np.ndarray]:
        """Networks and optimisers as host arrays by name: "generator.0.weight", "optimizer_generator.m_sum"."""
        return {f"{part}.{name}": a for part, object in self._parts() for name, a in object.state_dict().items()}

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Take over a state_dict. Raises CheckpointError, and changes nothing, unless all names and shapes agree."""
        check_kind(state, Mapping, "state", "arrays by name, as state_dict returns them")
        parts = dict(self._parts())
        stray = sorted({name.partition(".")[0] for name in state} ^ parts.keys())
        if stray:
            raise CheckpointError(f"the state is of another game: {', '.join(stray)} is in only one of the two")
        before = self.state_dict()
        with undone_on_error(lambda: _load(parts, before)):
            _load(parts, state)

    def load_networks(self, state: Mapping[str, np.ndarray]) -> None:
        """Take over the networks of another game's state_dict, and nothing of its optimisers.

        Raises CheckpointError, before anything is changed, for networks of other layers.
        """
        own = self.state_dict()
        names = {name for name in own if not name.startswith("optimizer_")}
        if lacking := sorted(names - state.keys()):
            raise CheckpointError(f"the networks are of another game: they lack {lacking[0]} and {len(lacking) - 1} more")
        self.load_state_dict({**own, **{name: state[name] for name in names}})

    @property
    def random_state(self) -> dict[str, Any]:
        """The states of the game's own streams and of all Dropout streams, plain JSON."""
        return {
            **{name: stream.state for name, stream in self.streams.items()},
            **{name: net.random_state for name, net in self.networks.items()},
        }

    @random_state.setter
    def random_state(self, state: Mapping[str, Any]) -> None:
        before = self.random_state
        if not isinstance(state, Mapping) or state.keys() != before.keys():
            raise CheckpointError(f"the random state is {shorten(state)}: expected that of {', '.join(before)}")
        with undone_on_error(lambda: _set_random(self, before)):
            _set_random(self, state)


def _load(parts: Mapping[str, Any], state: Mapping[str, np.ndarray]) -> None:
    for part, object in parts.items():
        prefix = f"{part}."
        try:
            object.load_state_dict({k[len(prefix) :]: a for k, a in state.items() if k.startswith(prefix)})
        except CheckpointError as error:
            raise CheckpointError(f"{part}: {error}") from None


def _set_random(game: Game, state: Mapping[str, Any]) -> None:
    for part, owner in {**game.streams, **game.networks}.items():
        setattr(owner, "state" if part in game.streams else "random_state", state[part])
