"""The random streams of one seed: none shares its draws with another, whatever the seeds are made of."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigan as mg
from minigan.backends.random import STREAMS, stream
from minigan.errors import OptionError, shorten

SEEDS = st.one_of(st.integers(0, 2**70), st.lists(st.integers(0, 2**70), min_size=1, max_size=5).map(tuple))
ARGUMENTS = st.tuples(st.sampled_from(sorted(STREAMS)), SEEDS, st.lists(st.integers(0, 2**33), max_size=3).map(tuple))


def state(name, seed, place=()):
    return np.random.SeedSequence(stream(name, seed, *place)).generate_state(8).tolist()


@given(ARGUMENTS, ARGUMENTS)
def test_other_arguments_give_another_stream(one, other):
    (name, seed, place), (other_name, other_seed, other_place) = one, other
    as_row = lambda value: (value,) if isinstance(value, int) else value  # noqa: E731
    alike = (name, as_row(seed), place) == (other_name, as_row(other_seed), other_place)
    assert (state(*one) == state(*other)) == alike


def test_no_padding_makes_two_seeds_one():
    seeds = [5, (5, 0), (5, 0, 0), (5, 0, 0, 0, 0), (0, 5), 5 << 32, (5 << 32, 0), 0, (0, 0)]
    states = [tuple(state("weights", seed)) for seed in seeds] + [tuple(state("weights", 5, place)) for place in ((0,), (0, 0))]
    assert len(set(states)) == len(states)
    assert state("weights", 5) == state("weights", [5]) == state("weights", np.int64(5)) == state("weights", np.array([5]))


def drawn(seed):
    """What each part of minigan draws from one seed, as numbers of mean 0 and variance 1, by name."""
    shape, be = (20, 20, 1), mg.get_backend("textbook")
    g, d = mg.models.mlp(shape, 40, 40, be, seed=seed)
    dropped = mg.Sequential([mg.Dropout(0.5), mg.Dropout(0.5)], (800,), be, seed=seed)
    gan = mg.GAN(g, d, seed=seed)
    values = {"G": g.params["0.weight"], "D": d.params["1.weight"], "own": dropped.layers[0].rng.normal((20, 40), "f8")}
    values |= {
        "second Dropout": dropped.layers[1].rng.normal((20, 40), "f8"),
        "noise": gan.streams["noise"].normal((20, 40), "f8"),
    }
    values |= {"samples": gan.latent(20, seed), "own network": mg.Sequential([mg.Dense(40)], (40,), be, seed=seed).flat_params}
    values |= {
        name: np.random.default_rng(stream(name, seed)).standard_normal(800) for name in ("data order", "explain", "checks")
    }
    values |= {"the user's": np.random.default_rng(seed).standard_normal(800)}
    flat = {name: np.asarray(value, float).reshape(-1)[:800] for name, value in values.items()}
    return {name: (value - value.mean()) / value.std() for name, value in flat.items()}


@pytest.mark.parametrize("seed", [0, 1, 7, 2**40])
def test_no_two_streams_of_a_seed_are_correlated(seed):
    for (one, x), (other, y) in itertools.combinations(drawn(seed).items(), 2):
        assert abs(x @ y) / len(x) < 0.2, f"{one} and {other}"  # chance alone makes 0.035


def test_latents_of_a_seed_are_not_the_first_weights():
    g, d = mg.models.dcgan((8, 8, 1), 5, 3, backend="textbook", seed=3)
    weights = g.params["0.weight"].reshape(-1)
    latents = mg.GAN(g, d).latent(len(weights) // 5, seed=3).reshape(-1)
    assert abs(np.corrcoef(latents, weights[: len(latents)])[0, 1]) < 0.5


@pytest.mark.parametrize(
    "seed", [-1, 1.0, "1", True, None, (), (1, -1), (1, 2.0), float("nan"), b"1", {1}, -(10**5000)], ids=shorten
)
def test_what_is_no_seed_is_refused(seed):
    for make in (
        lambda: mg.Sequential([mg.Dense(1)], (1,), "textbook", seed=seed),
        lambda: mg.models.mlp((2,), 2, 2, "textbook", seed=seed),
        lambda: mg.Batches(np.zeros((4, 2), "f4"), 2, mg.get_backend("textbook"), seed=seed),
        lambda: mg.get_backend("numpy").generator(seed),
    ):
        with pytest.raises(OptionError, match=r"^seed is .*: expected a whole number from 0 up, or several$") as error:
            make()
        assert len(str(error.value)) <= 300
