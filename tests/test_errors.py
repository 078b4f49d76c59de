"""Messages: one line of a length that can be read, whatever was typed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigan as mg
from minigan.data import load
from minigan.errors import LONGEST_MESSAGE, MiniganError, shorten

HUGE = 10**400


@given(st.text(max_size=900), st.text(max_size=60))
def test_a_long_message_loses_its_middle(text, advice):
    message = f"{text}: {advice}"
    shown = str(MiniganError(message))
    assert len(shown) <= LONGEST_MESSAGE
    assert shown == message if len(message) <= LONGEST_MESSAGE else shown.endswith(advice) and shown[:100] == message[:100]


VALUES = [np.eye(9), [np.zeros((2, 2))], "two\nlines", HUGE, 10**9999, object()]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_value_in_one_line(value):
    assert "\n" not in shorten(value)
    assert len(shorten(value)) <= 60


@pytest.mark.parametrize(
    "act",
    [
        lambda game: game.sample(10**15),
        lambda game: game.sample(HUGE),
        lambda game: load(np.zeros((3, 4, 4), np.uint8), image_size=HUGE),
        lambda game: load(np.zeros((3, 4, 4), np.uint8), image_size=10**7),
        lambda game: mg.Sequential([mg.Dense(HUGE)], (3,)),
        lambda game: mg.Sequential([mg.Dense(3)], (HUGE,)),
        lambda game: mg.check_layer(mg.Dense(3), (HUGE,)),
        lambda game: mg.Batches(load("ring"), HUGE, game.backend),
        lambda game: mg.Run(game, "ring", "o" * 300, steps=1, batch_size=4),
        lambda game: mg.Run(game, "ring", "o" * 300 + "/run", steps=1, batch_size=4),
    ],
)
def test_sizes_beyond_everything_are_refused_before_anything_is_made(act, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MiniganError) as caught:
        act(mg.GAN(*mg.models.mlp((2,), 3, 4, "textbook")))
    assert len(str(caught.value)) <= LONGEST_MESSAGE
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())
