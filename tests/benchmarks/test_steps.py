"""Steps of every recipe: the games are those of `minigan train`, sides prove the same work, and faults in it are seen."""

import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache

import numpy as np
import pytest
import sides_in_one_process

from benchmarks import report, tasks
from benchmarks.__main__ import main
from benchmarks.games import GAMES, build, load_data
from benchmarks.rounds import BenchmarkError, Settings, Sides, prove_same_work
from benchmarks.sides import make_side
from minigan.cli.entry import _parser
from minigan.cli.parser import given_options
from minigan.losses import R1
from minigan.training import Config

RECIPES = [name for name, game in GAMES.items() if not game.sizes]


def small(game):
    return tasks.game_task("step", game, 4, width=8)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_what_its_command_trains(name):
    """The command that the help names, parsed by minigan's own command line, against what the sides are handed."""
    game = GAMES[name]
    config = Config(**given_options(_parser().parse_args(game.command.split()[1:])), backend="numpy")
    config.resolve(load_data(config))
    assert game.config().to_json() == config.to_json()
    assert game.batches == (config.batch_size,)
    assert game.kind == config.kind
    task = tasks.in_full(tasks.game_task("step", name, config.batch_size))
    trained = build(config)
    assert [len(task[net]["layers"]) for net in task["networks"]] == [len(net.layers) for net in trained.networks.values()]
    for optimizer in trained.optimizers.values():
        assert task["training"]["lr"] == optimizer.schedule(0)
        assert task["training"]["betas"] == [*optimizer.betas]
        assert optimizer.eps == 1e-8
    assert task["training"]["ema"] == getattr(trained, "ema", None)
    if config.game == "gan":
        rules = task["rules"]
        assert [weight * rules["penalty_every"] for _, weight in rules["penalties"]] == [p.weight for p in trained.penalties]
        assert rules["smoothing"] == trained.objective.options.get("smoothing", 0)
        assert (rules["classes"], task["period"]) == (trained.classes, trained.penalty_every)


def test_the_reference_games_are_plain():
    for name in ("mlp", "dcgan", "recipe"):
        full = tasks.in_full(small(name))
        assert full["plain"]
        assert full["training"]["ema"] == (0.998 if name == "recipe" else None)
    assert [tasks.in_full(small(name))["plain"] for name in ("conditional", "r1", "vae", "text")] == [False] * 4


def test_help_says_what_the_games_are(capsys):
    with pytest.raises(SystemExit):
        main(["steps", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    for name, game in GAMES.items():
        assert f"{name}: {game.words}" in text


@lru_cache
def made(game, steep=tasks.STEEP, **sizes):
    """(task, what a side is told, its inputs), made once for all tests. steep: steps that the game has been trained for."""
    sizes = {"batch": 4, "width": 8, "train": steep if GAMES[game].config().penalty else 0, **sizes}
    task = tasks.game_task("step", game, **sizes)
    return task, json.dumps(tasks.in_full(task)), tasks.inputs_of(task)


def evidence_of(side, text, inputs, change=lambda request, inputs: None):
    request, inputs = json.loads(text), dict(inputs)
    change(request, inputs)
    return make_side(side, threads=1).step(request, inputs).evidence


def _other_slope(request, inputs):
    request["discriminator"]["layers"][1]["options"]["slope"] = 0.21


def _config(**changes):
    return lambda request, inputs: request["config"].update(changes)


def _rolled(name):
    def change(request, inputs):
        inputs[name] = np.roll(inputs[name], 1, axis=-1 if name == "labels" else 2)

    return change


@pytest.mark.slow
@pytest.mark.parametrize(
    ("game", "change"),
    [
        ("recipe", _other_slope),
        ("conditional", _rolled("labels")),
        ("r1", _config(penalty=["r1=1.01"])),
        ("r1", _config(penalty=None)),
        ("recipe-mlp", _config(smoothing=0.11)),
        ("points", _config(ema=0.1)),
        ("vae", _config(kl_weight=1.1)),
        ("text", _config(loss="non-saturating")),
        ("text", _config(penalty_every=2)),
        ("text", _config(instance_noise=0.21)),
        ("text", _rolled("instance noise")),
        ("wave", _rolled("draws.3")),
    ],
)
def test_a_fault_in_the_work_is_seen(game, change):
    task, *given = made(game)
    good = evidence_of("textbook", *given)
    prove_same_work(task, {"textbook": good, "numpy": evidence_of("numpy", *given)})
    with pytest.raises(BenchmarkError, match=r"do not do the same work|differ on"):
        prove_same_work(task, {"textbook": good, "numpy": evidence_of("numpy", *given, change)})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("game", "sizes"), [("r1", {"steep": 60}), ("text", {}), ("sound-mlp", {"batch": 64, "width": 256})], ids=str
)
def test_a_penalty_that_is_counted_alone_is_seen(game, sizes, monkeypatch):
    """As where create_graph is forgotten: it stands in the loss, and D learns nothing from it."""
    task, *given = made(game, **sizes)
    good, plain = evidence_of("textbook", *given), R1.value_and_grad
    monkeypatch.setattr(R1, "value_and_grad", lambda *of: (plain(*of)[0], 0 * plain(*of)[1]))
    with pytest.raises(BenchmarkError, match="do not do the same work: losses differ"):
        prove_same_work(task, {"textbook": good, "numpy": evidence_of("numpy", *given)})


def agree(names, games):
    several = [small(game) for game in games]
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        evidence, missing = pool.submit(sides_in_one_process.evidence_of, names, several).result()
    if "torch" in missing:
        pytest.skip("PyTorch is not installed")
    for task, of_sides in zip(several, evidence, strict=True):
        prove_same_work(task, of_sides)
    return [[*of_sides] for of_sides in evidence]


@pytest.mark.slow
def test_pytorch_plays_every_recipe():
    with_layout = {"recipe", "conditional", "r1", "vae-conv", "text", "wave"}
    played = agree(["textbook", "torch", "torch-last"], RECIPES)
    assert played == [["textbook", "torch", *(["torch-last"] if name in with_layout else [])] for name in RECIPES]


def test_a_figure_is_a_mean_over_whole_periods(monkeypatch):
    """Of steps with and without penalties, as many of each are timed in every round, however long one takes."""
    sides, asked = Sides.__new__(Sides), []
    sides._period = 4

    def answer(name, do, call, calls, warmup):
        asked.append(calls)
        return {"seconds": 0.03}

    monkeypatch.setattr(sides, "ask", answer)
    for seconds in (0.01, 0.1, 0.5):
        sides.time({"numpy": ["step"]}, Settings(rounds=2, seconds=seconds))
    assert {calls % 4 for calls in asked} == {0}
    assert asked[-1] == 16


def test_the_chart_has_lines_and_ratios(tmp_path):
    def point(game, batch):
        seconds = {"numpy": 0.1, "torch": 0.2}
        ratios = {name: {"median": value / 0.1} for name, value in seconds.items()}
        return {"task": {"game": game, "batch": batch}, "title": game, "seconds": seconds, "ratios": ratios}

    machine = {"date": "today", "cpu": "any", "cores": 1, "threads": 1, "python": "3", "numpy": "2", "blas": []}
    for points in ([point("mlp", 1), point("mlp", 2), point("vae", 4), point("text", 4)], [point("vae", 4)]):
        report.write({"command": "steps", "points": points, "machine": machine}, tmp_path)
        assert (tmp_path / "steps.png").read_bytes()[:4] == b"\x89PNG"


def test_sampling_has_games_whose_samples_are_compared(capsys):
    assert main(["sampling", "--games", "vae"]) == 2
    assert "unknown game 'vae'" in capsys.readouterr().err
