"""words: first names letter by letter, against 500 that no run is trained on, beside what other models of letters make.

Source of the measure: Gulrajani et al. 2017 (arXiv:1704.00028), section 5.4; runs of letters of lines padded to one length.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

import minigan as mg
from benchmarks.quality.protocol import Figure, Figures, Protocol, trained
from minigan.data import Dataset, load
from minigan.data.kinds import Text
from minigan.metrics.texts import GRAMS, TextReference
from minigan.training import RECIPES, Config, build_game

SAMPLES = 500
ORDER = 4  # letters of a run in the Markov model: each letter is drawn given the three before it
RECIPE = RECIPES["text"]
FIGURES = {
    **{f"jsd_{n}": Figure(f"JSD {n}", 4) for n in GRAMS},
    **{"copied": Figure("in the training data, %", 1, 100), "distinct": Figure("different, %", 1, 100)},
}


def train(seed: int, steps: int) -> tuple[mg.GAN, Figures]:
    data = load("names")
    config = Config(data="names", seed=seed, steps=steps, backend="numpy")
    config.resolve(data)
    return trained(build_game(config, data.shape, steps), data, RECIPE["batch_size"], steps, seed)


def figures(data: Dataset, values: np.ndarray) -> Figures:
    """Of lines uint8 (N, L)."""
    assert data.held_out is not None
    return TextReference(data, data.held_out[:SAMPLES]).all(values, values)


def measure(game: mg.GAN) -> Figures:
    data = load("names")
    return figures(data, data.kind.from_floats(game.sample(SAMPLES)))


def markov(lines: Sequence[str], count: int, longest: int, rng: np.random.Generator) -> list[str]:
    """So many lines, each letter drawn as often as it follows the ORDER − 1 letters before it; longer ones are drawn again."""
    start, end = "\0", "\n"
    after: dict[str, Counter[str]] = defaultdict(Counter)
    for line in lines:
        padded = start * (ORDER - 1) + line + end
        for place in range(len(line) + 1):
            after[padded[place : place + ORDER - 1]][padded[place + ORDER - 1]] += 1
    shares = {before: np.array(list(found.values())) / found.total() for before, found in after.items()}
    made: list[str] = []
    while len(made) < count:
        line = start * (ORDER - 1)
        while not line.endswith(end) and len(line) < longest + ORDER:
            before = line[1 - ORDER :]
            line += rng.choice(list(after[before]), p=shares[before])
        if line.endswith(end):
            made.append(line[ORDER - 1 : -1])
    return made


def references() -> dict[str, tuple[float | None, ...]]:
    """The figures of lines that no GAN made."""
    data, rng = load("names"), np.random.default_rng(0)
    kind = data.kind
    assert isinstance(kind, Text)
    assert data.held_out is not None
    length, own = data.shape[0], kind.lines(data.values)
    drawn = [own[index] for index in rng.permutation(len(own))[:SAMPLES]]
    uniform = ["".join(rng.choice(list(kind.alphabet), len(line))) for line in drawn]
    rows = {"other real names": drawn, "a 4-gram Markov model": markov(own, SAMPLES, length, rng)}
    rows["uniform letters of the right lengths"] = uniform
    found = {who: figures(data, kind.numbers(lines, length)) for who, lines in rows.items()}
    return {who: tuple(values[name] for name in FIGURES) for who, values in found.items()}


WORDS = Protocol(
    name="words",
    about=f"`minigan train --data names`; {SAMPLES} samples against {SAMPLES} names that it was not trained on, 12 places, "
    "padding counted, in bits",
    figures=FIGURES,
    published={},
    settings=RECIPE,
    steps=RECIPE["steps"],
    seeds=1,
    train=train,
    measure=measure,
    references=references,
)
