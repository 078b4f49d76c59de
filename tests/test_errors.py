"""Messages: one line of a length that can be read, whatever was typed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigan as mg
from minigan.data import Dataset, load
from minigan.errors import LONGEST_MESSAGE, MiniganError, shorten

HUGE = 10**400


@pytest.mark.parametrize("message", [None, 5, ValueError("x"), "two\nlines"])
def test_any_message_is_a_line(message):
    assert str(MiniganError(message)) == str(message).replace("\n", " ")


@given(st.text(max_size=900), st.text(max_size=60))
def test_a_long_message_loses_its_middle(text, advice):
    message = f"{text}: {advice}"
    shown = str(MiniganError(message))
    assert len(shown) <= LONGEST_MESSAGE
    line = " ".join(message.split()) if "\n" in message else message
    assert "\n" not in shown
    assert shown == line if len(line) <= LONGEST_MESSAGE else (shown[:100], shown[-60:]) == (line[:100], line[-60:])


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
        lambda game: mg.check_layer(mg.Dense(3), (4,), batch=HUGE),
        lambda game: mg.metrics.modes(np.zeros((3, 2)), np.zeros((1, 2)), HUGE),
        *(
            lambda game, out=out: mg.Run(game, "ring", out, steps=1, batch_size=4)
            for out in (None, 5, b"a", "a\0b", "\ud800", "")
        ),
        *(lambda game, n=n: mg.Run(game, "ring", "r", steps=n, batch_size=4) for n in (None, 0, "a", HUGE)),
        lambda game: mg.Run(game, "ring", "r", steps=1, batch_size=None),
        lambda game: mg.Run.resume("a\nb", game=game, data="ring"),
        lambda game: mg.Sequential(3, (2,)),
        lambda game: mg.Sequential([3], (2,)),
        lambda game: mg.GAN(None, game.discriminator),
        lambda game: mg.GAN(game.generator, "D"),
        lambda game: mg.GAN(game.generator, game.discriminator, optimizer_g="adam"),
        lambda game: mg.GAN(game.generator, game.discriminator, objective="hinge"),
        lambda game: mg.Batches(load("ring"), 4, "nump"),
        lambda game: mg.Batches(load("ring"), 4, "numpy", dtype="int8"),
        lambda game: game.load_state_dict(None),
        lambda game: setattr(game, "random_state", {}),
        lambda game: Dataset(None, np.zeros((3, 2), "f4")),
        lambda game: Dataset("a", np.zeros((3, 2), "f4"), "a"),
        lambda game: Dataset("a", np.zeros((3, 2), "f4"), np.zeros(2, int)),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_made(act, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MiniganError) as caught:
        act(mg.GAN(*mg.models.mlp((2,), 3, 4, "textbook")))
    assert len(str(caught.value)) <= LONGEST_MESSAGE
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())
