"""How good a game's samples are, measured as it is trained."""

from __future__ import annotations

import numpy as np

from minigan.backends import stream
from minigan.data import Dataset
from minigan.errors import MiniganError, OptionError
from minigan.games import Game
from minigan.metrics.reference import reference_of

PREFIX = "measured."  # of its columns in the log
SAMPLES = 1000
PATCHED = 250  # where there are no features
LEAST = 12


class Evaluation:
    """Measures as many samples of a game as real ones, by `minigan.metrics.reference`; the same latent vectors each time.

    Real ones are those that are held out, where there are such.

    columns: what it measures, as named in the log. Raises OptionError for data of which nothing can be measured.
    """

    def __init__(self, game: Game, dataset: Dataset, seed: int) -> None:
        values = dataset.values if dataset.held_out is None else dataset.held_out
        chosen = np.random.default_rng(stream("evaluate", seed)).permutation(len(values))[:SAMPLES]
        if len(chosen) < LEAST:
            raise OptionError(
                f"evaluate_every needs at least {LEAST} real samples, {dataset.name} has {len(chosen)}: leave it out"
            )
        reference = reference_of(dataset, values[chosen])
        if not reference.has_features:
            reference = reference_of(dataset, values[chosen[:PATCHED]])
        if not reference.quick_names:
            raise OptionError(f"evaluate_every: images of {dataset.shape} have neither features nor patches: leave it out")
        self._game, self._reference, self._seed = game, reference, seed
        self.columns = tuple(f"{PREFIX}{name}" for name in reference.quick_names)

    def measure(self) -> dict[str, float]:
        """The figures of the game's samples now, by column. Raises MiniganError where these are not finite."""
        samples = self._game.sample(len(self._reference.values), self._seed)
        if not np.isfinite(samples).all():
            raise MiniganError("samples are not finite")
        values = self._reference.kind.from_floats(samples)
        found = self._reference.quick(values, self._reference.rows(values))
        return {column: found[column.removeprefix(PREFIX)] for column in self.columns}
