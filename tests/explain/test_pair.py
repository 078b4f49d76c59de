"""Two opened steps side by side: which stations belong together, what is said of them, and what cannot be compared."""

import json
import re

import pytest
from explained_games import convolutions, mlp, opening, warmed

import minigan as mg
from minigan import cli
from minigan.errors import OptionError
from minigan.explain import page, step
from minigan.explain.page import build, names


def compared(text):
    return json.loads(re.search(r'<script id="compared" type="application/json">(.*?)</script>', text, re.S)[1])


def opened(game, name):
    return step.open_step(*opening(warmed(game))), name, True


@pytest.fixture(scope="module")
def with_and_without():
    """BatchNorm in A alone."""
    return opened(convolutions(normalised=True), "runs/a: a game"), opened(convolutions(normalised=False), "runs/b: a game")


def test_partners_are_the_same_layers_of_both(with_and_without):
    """Each station once, in the order of its step; BatchNorm's are A's alone."""
    found = compared(page.make_pair(with_and_without))
    for side in (0, 1):
        numbers = [pair["stations"][side] for pair in found["pairs"] if pair["stations"][side] is not None]
        assert numbers == list(range(len(numbers)))
    alone = [pair for pair in found["pairs"] if None in pair["stations"]]
    assert len(alone) == 6, "forwards in three passes, backwards in three"
    assert all("BatchNorm" in pair["titles"][0] and pair["stations"][1] is None for pair in alone)
    for pair in found["pairs"]:
        if None not in pair["stations"]:
            kinds = [re.sub(r", layer \d+", "", title) for title in pair["titles"]]
            assert kinds[0] == kinds[1]
    assert found["notes"] == ["Both steps are taken on the same samples."]


def test_what_differs_stands_in_rows(with_and_without):
    """A bias before a BatchNorm gets no gradient: the mean takes away what it adds."""
    found = compared(page.make_pair(with_and_without))
    pair = next(p for p in found["pairs"] if p["name"] == "d-backward-2-conv2d")
    name, a, b = next(row for row in pair["rows"] if row[0] == "size of ∂L_D/∂bias, both passes added")
    sizes = [float(re.search(r"= ([\d.e+-]+),", words)[1]) for words in (a, b)]
    assert sizes[0] < 1e-14 < 1e-3 < sizes[1], name
    rows = [row for row in found["sizes"] if row["label"] == "D BatchNorm"]
    assert rows
    assert all(row["rms"][0] > 0 and row["rms"][1] is None for row in rows)


def test_other_losses_have_their_formulas_beside_each_other():
    games = [mlp(objective=kind()) for kind in (mg.losses.NonSaturating, mg.losses.Saturating)]
    found = compared(page.make_pair([opened(game, f"{k}: a game") for k, game in enumerate(games)]))
    different = [pair["name"] for pair in found["pairs"] if pair["formulas"]]
    assert different == ["g-loss"], "L_D is the same in both"


def test_other_architectures_are_compared_as_far_as_they_can_be(with_and_without):
    other = opened(mlp(), "runs/c: another")
    found = compared(page.make_pair([with_and_without[0], other]))
    assert found["notes"][0].startswith("The layers of the generators and the discriminators cannot be put side by side")
    assert {pair["name"] for pair in found["pairs"]} == {
        *("d-input-g-z", "d-input-x", "d-loss", "d-update-adam", "g-loss", "g-backward-x", "g-update-adam")
    }
    assert all(None not in pair["stations"] for pair in found["pairs"])
    assert {row["label"].split()[0] for row in found["sizes"]} == {"D", "G"}


def test_a_gan_and_a_vae_are_refused(with_and_without):
    vae = mg.VAE(*mg.models.vae_mlp((8, 8, 1), latent_dim=3, hidden=4, backend="textbook", dtype="float64"))
    other = (step.open_step(*opening(vae)), "runs/v: a VAE", True)
    with pytest.raises(OptionError, match="runs/a is a GAN's and runs/v is a VAE's: their steps have no station in common"):
        page.make_pair([with_and_without[0], other])


def test_the_page_of_two_keeps_within_its_limit(with_and_without, monkeypatch):
    whole = len(page.make_pair(with_and_without).encode())
    monkeypatch.setattr(build, "LIMIT", whole - 1)
    assert len(page.make_pair(with_and_without).encode()) < whole


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("Conv2d Dense", "'Conv2d' is no run folder"),
        (". . .", "3 targets are given"),
        (". . --html", "--html is for one layer"),
        (". . --lr 1", "--lr is for the small game"),
        ("--html", "--html is for one layer"),
        ("Conv2d --html --seed 1", "--seed is for the page of a step"),
        ("Conv2d --html --out conv.txt", "expected a file name in .html"),
    ],
)
def test_a_wrong_request_is_one_line(arguments, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["explain", *arguments.split()]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
    assert len(said) <= 300
    assert not list(tmp_path.iterdir())


def test_a_subject_is_written_and_written_again(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert cli.main(["explain", "leakyrelu", "--html"]) == 0
    assert "LeakyReLU: leakyrelu.html" in capsys.readouterr().out
    (tmp_path / "mine.html").write_text("mine")
    assert cli.main(["explain", "Dense", "--html", "--out", "mine.html"]) == 2
    assert (tmp_path / "mine.html").read_text() == "mine"


def test_names_of_stations_are_plain_and_their_own():
    made = [("D", "input", "G", "z", None), ("D", "forward", "D", "Conv2d", 3), ("G", "backward", "D", "Conv2d", 3)]
    made += [("G", "loss", "D", "L_G", None), ("D", "penalty", "D", "P", None), ("D", "penalty", "D", "P", None)]
    stations = [dict(zip(("act", "kind", "net", "label", "index"), one, strict=True)) for one in made]
    for station in stations:
        if station["index"] is None:
            del station["index"]
    names.name_stations(stations)
    assert [station["name"] for station in stations] == [
        *("d-input-g-z", "d-forward-3-conv2d", "g-backward-d-3-conv2d", "g-loss", "d-penalty-p", "d-penalty-p-2")
    ]
