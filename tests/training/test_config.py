"""The options of a run: declared once, checked wherever they come from, and told of in one line where they are wrong."""

import ast
import json
import math
from dataclasses import fields
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigan import cli, training
from minigan.data import load
from minigan.errors import CheckpointError, MiniganError, ModelError, OptionError
from minigan.training import OPTIONS, RECIPES, Config, monitor, recipe_of
from minigan.training.build import build_game
from minigan.training.config import with_absolute_paths
from minigan.training.games import GAMES, model_names

PACKAGE = Path(training.__file__).parents[1]
WRITTEN = Config(hidden=(3, 4), image_size=(28, 28), lr=0.5).to_json()


def refusal(values):
    """The error of a configuration in a file; it must be one line, and not too long."""
    with pytest.raises(CheckpointError) as caught:
        Config.from_json(values)
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) <= 300
    return text


# -- one declaration -----------------------------------------------------------------------------------------------------


def test_every_field_has_a_declaration():
    assert list(OPTIONS) == [field.name for field in fields(Config)]
    for name, option in OPTIONS.items():
        assert option.name == name
        assert option.help
        assert "\n" not in option.help
        assert not option.on_command_line or option.group in ("data", "model", "learning", "running")
        assert set(option.models) <= set(model_names())
        if option.default is not None:
            assert option.convert(option.default) == option.default
        else:
            assert option.nullable


def test_no_option_is_declared_a_second_time():
    """No flag of Config stands as a literal anywhere: every command takes it from the declaration."""
    flags = {option.flag for option in OPTIONS.values()}
    for path in PACKAGE.rglob("*.py"):
        constants = [node.value for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Constant)]
        assert not flags & {value for value in constants if isinstance(value, str)}, path


def test_the_help_of_train_lists_every_option(capsys):
    with pytest.raises(SystemExit):
        cli.main(["train", "--help"])
    text = " ".join(capsys.readouterr().out.split()).replace("- ", "-")  # names are broken behind their hyphens
    for option in OPTIONS.values():
        assert (f"{option.flag}" in text) == option.on_command_line, option.name
        if option.on_command_line:
            assert option.help.replace("- ", "-") in text, option.name
        for choice in option.names:
            assert choice in text
    for words in (
        "(dcgan 64, mlp 64, points 256, text 64, wave 32, sound mlp 64, vae mlp 128,",
        "dcgan, conv, text, wave: channels of its largest images, of lines or of sounds",
        "text relativistic, wave relativistic, sound mlp relativistic)",
        "(on)",
        "(text 0.2)",
    ):
        assert words in text


def test_recipes_name_options_that_their_models_have():
    for game in GAMES.values():
        for name, recipe in game.recipes.items():
            model = name if name in model_names() else "mlp"
            assert recipe.keys() <= OPTIONS.keys()
            for option, value in recipe.items():
                assert OPTIONS[option].convert(value) == value
                assert not OPTIONS[option].models or model in OPTIONS[option].models
                assert option in game.options or not any(option in other.options for other in GAMES.values())
            own = {option.name for option in OPTIONS.values() if model in option.models}
            assert own <= recipe.keys()


def test_a_users_networks_learn_as_a_model_does_and_have_sizes_of_their_own():
    recipe = recipe_of("nets.py:build", "images")
    assert recipe == {
        name: RECIPES["dcgan"][name] for name in RECIPES["dcgan"].keys() - {"width", "extra_conv", "upsample", "latent_dim"}
    }
    assert recipe_of("nets.py:build", "points")["lr"] == RECIPES["points"]["lr"]


# -- files ---------------------------------------------------------------------------------------------------------------


def test_what_is_written_is_read_back():
    config = Config.from_json(json.loads(json.dumps(WRITTEN)))
    assert (config.hidden, config.image_size, config.lr) == ((3, 4), (28, 28), 0.5)
    assert config.to_json() == WRITTEN
    assert Config.from_json(Config().to_json()) == Config()


def test_entries_that_are_unknown_or_missing_are_named():
    assert "does not know: bogus, more; remove them" in refusal({**WRITTEN, "more": 1, "bogus": 2})
    assert "lacks entries: seed; put them back" in refusal({k: v for k, v in WRITTEN.items() if k != "seed"})
    assert "and 95 more" in refusal({**WRITTEN, **{f"more\n{'x' * 100}{n}": n for n in range(100)}})


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("lr", "x", "lr is 'x': expected a finite number above 0 or null"),
        ("lr_d", "fast", "lr_d is 'fast': expected a finite number above 0 or null"),
        ("lr", True, "lr is True: expected a finite number"),
        ("lr", math.nan, "lr is nan: expected a finite number"),
        ("lr", math.inf, "lr is inf: expected a finite number"),
        ("lr", -(10**400), "expected a finite number"),
        ("lr", 0, "lr is 0: expected a finite number above 0"),
        ("smoothing", "a", "smoothing is 'a': expected a number from 0 to below 1 or null"),
        ("beta1", 1, "beta1 is 1: expected a number from 0 to below 1"),
        ("ema", -0.1, "ema is -0.1: expected a number from 0 to below 1"),
        ("log_every", "a", "log_every is 'a': expected a whole number"),
        ("log_every", 2.5, "log_every is 2.5: expected a whole number"),
        ("log_every", None, "log_every is None: expected a whole number from 1 up"),
        ("log_every", 0, "log_every is 0: expected a whole number from 1 up"),
        ("seed", -1, "seed is -1: expected a whole number from 0 up"),
        ("model", "zz", "model is 'zz': an unknown name; choose from mlp, dcgan, text, wave, conv, FILE.py:function"),
        ("model", "nets.py", "model is 'nets.py': a Python file without the name of a function: write FILE.py:NAME"),
        ("dtype", "float3", "dtype is 'float3': an unknown name; did you mean 'float32'"),
        ("schedule", "zz", "schedule is 'zz': an unknown name"),
        ("loss", "saturated", "loss is 'saturated': an unknown name; did you mean 'saturating'?"),
        ("backend", "cuda", "backend is 'cuda': an unknown name"),
        ("precision", "half", "precision is 'half': an unknown name"),
        ("data", 5, "data is 5: expected a string"),
        ("data", "x" * 5, None),
        ("hidden", 3, "hidden is 3: expected a list of whole numbers from 1 up or null"),
        ("hidden", [3, "a"], "hidden is [3, 'a']: expected a list of whole numbers"),
        ("hidden", [], "hidden is []: expected a list of whole numbers"),
        ("hidden", [3, 0], "hidden is [3, 0]: expected a list of whole numbers from 1 up"),
        ("image_size", [28], "image_size is [28]: expected a list of 2 whole numbers from 1 up"),
        ("extra_conv", 1, "extra_conv is 1: expected true or false or null"),
        ("penalty", "r1=1", "penalty is 'r1=1': expected a list of NAME=WEIGHT, as r1=10, with r1, r2, wgan-gp or dragan and"),
        ("penalty", ["r1=1", "r1=0"], "expected a list of NAME=WEIGHT"),
        ("penalty", ["r1=1", "wgan-gp=0.5"], None),
        ("critic_steps", 0, "critic_steps is 0: expected a whole number from 1 up"),
        ("clip", 0, "clip is 0: expected a finite number above 0 or null"),
        ("steps", {}, "steps is {}: expected a whole number from 1 up or null"),
    ],
)
def test_wrong_entries_are_named(name, value, message):
    if message is None:
        taken = getattr(Config.from_json({**WRITTEN, name: value}), name)
        assert taken == (tuple(value) if isinstance(value, list) else value)
    else:
        assert message in refusal({**WRITTEN, name: value})


def test_every_option_refuses_what_json_can_hold_in_its_place():
    for name, option in OPTIONS.items():
        for value in ({}, {"a": 1}, [[1]], [None], [] if option.kind is not str else [1]):
            assert f"the configuration's {name} is {value}: expected " in refusal({**WRITTEN, name: value})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def is_of(value, option):
    """Whether a value is one that the option may have, written without the library that decides it."""
    if value is None:
        return option.nullable
    if option.is_list:
        length = None if ... in get_args(option.kind) else len(get_args(option.kind))
        right = isinstance(value, list) and (len(value) == length if length else len(value) >= 1)
        if option.item is str:
            return right and all(type(text) is str and (option.fits is None or option.fits(text)) for text in value)
        return right and all(type(n) is int and n >= option.least for n in value)
    if option.kind is float:
        if type(value) not in (int, float) or not abs(value) < math.inf:
            return False
    elif type(value) is not option.kind:
        return False
    if option.kind is str:
        return option.is_known(value)
    if option.kind is int and value >= 2**63:
        return False
    low = -math.inf if option.least is None else option.least
    inside = low <= value < (math.inf if option.below is None else option.below)
    return option.kind is bool or (inside and (option.above is None or value > option.above))


@settings(max_examples=300)
@given(st.sampled_from(sorted(OPTIONS)), JSON)
def test_any_json_is_read_or_refused_in_one_line(name, value):
    values = {**WRITTEN, name: value}
    if is_of(value, OPTIONS[name]):
        rounded = {name: float(value)} if type(value) is int and OPTIONS[name].kind is float else {}
        assert Config.from_json(values).to_json() == {**values, **rounded}
    else:
        assert f"the configuration's {name} is " in refusal(values)


@given(st.dictionaries(st.text() | st.sampled_from(sorted(OPTIONS)), JSON, max_size=8))
def test_any_object_is_refused_in_one_line(values):
    if values.keys() != OPTIONS.keys():
        refusal(values)


# -- the command line ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "part"),
    [
        ("batch_size", "0", "argument --batch-size: '0' is not a whole number from 1 up"),
        ("seed", "1.5", "argument --seed: '1.5' is not a whole number from 0 up"),
        ("lr", "nan", "argument --lr: 'nan' is not a finite number above 0"),
        ("beta2", "1", "argument --beta2: '1' is not a number from 0 to below 1"),
        ("ema", "x", "argument --ema: 'x' is not a number"),
        ("hidden", "8 0", "argument --hidden: '0' is not a whole number from 1 up"),
        ("image_size", "0x4", "an image size is '0x4': expected a number of pixels"),
        ("loss", "hinged", "argument --loss: unknown name 'hinged': did you mean 'hinge'?"),
        ("penalty", "r3=1", "argument --penalty: 'r3=1' is not NAME=WEIGHT, as r1=10"),
        ("penalty", "r1=1 r2=nan", "argument --penalty: 'r2=nan' is not NAME=WEIGHT"),
        ("penalty", "r1=٣", "argument --penalty: 'r1=٣' is not NAME=WEIGHT"),
        ("penalty_every", "4", "penalty_every is 4, and there is no penalty: name one"),
        ("critic_steps", "10000", "critic_steps is 10000: expected a whole number from 1 to 1,000"),
        ("critic_steps", "100", "a step takes 100 batches of 64, and digits has 5000: choose fewer"),
        ("pack", "3", "batch_size is 64, and D judges 3 samples at once: choose a multiple of that"),
        ("pack", "0", "argument --pack: '0' is not a whole number from 1 up"),
        ("instance_noise", "-1", "argument --instance-noise: '-1' is not a finite number from 0 up"),
        ("instance_noise", "1e30", "instance_noise is 1e+30: expected a number from 0 to 1,000,000"),
        ("clip", "-1", "argument --clip: '-1' is not a finite number above 0"),
        ("model", "x" * 500, "argument --model: unknown name 'xxx"),
        ("extra_conv", "=5", "argument --extra-conv"),
    ],
)
def test_a_wrong_option_is_one_line(name, text, part, capsys, tmp_path):
    flag = OPTIONS[name].flag
    words = [flag + text] if text.startswith("=") else [flag, *text.split()]
    assert cli.main(["train", "--out", str(tmp_path / "run"), *words]) == 2
    line = capsys.readouterr().err
    assert part in line
    assert line.count("\n") == 1
    assert len(line) <= 300
    assert not (tmp_path / "run").exists()


def test_options_that_are_not_given_stay_out():
    from minigan.cli.entry import _parser
    from minigan.cli.parser import given_options

    words = "train --hidden 3 4 --image-size 8x6 --lr 1 --no-extra-conv --model a/b.py:build --out x --resume"
    given = given_options(_parser().parse_args(words.split()))
    assert given == {"hidden": (3, 4), "image_size": (8, 6), "lr": 1.0, "extra_conv": False, "model": "a/b.py:build"}
    assert given_options(_parser().parse_args(["train"])) == {}
    several = "train --penalty r1=1 --penalty r2=2 wgan-gp=3"
    assert given_options(_parser().parse_args(several.split())) == {"penalty": ("r1=1", "r2=2", "wgan-gp=3")}


def test_a_game_is_what_its_options_say():
    config = Config(data="ring", loss="hinge", penalty=("r1=2", "wgan-gp=3"), penalty_every=4, critic_steps=2, clip=0.1)
    config.resolve(load("ring"))
    gan = build_game(config, (2,), 10)
    assert repr(gan.penalties) == "(R1(8), GradientPenalty(12))", "four times as heavy in every fourth step"
    assert (gan.penalty_every, gan.critic_steps, gan.optimizer_d.clip, repr(gan.objective)) == (4, 2, 0.1, "Hinge()")


@pytest.mark.parametrize(("data", "shape"), [("ring", (2,)), ("digits", (28, 28, 1))])
def test_a_packed_game_is_monitored_as_any_other(data, shape):
    logs = []
    for pack in (1, 4):
        config = Config(data=data, pack=pack, instance_noise=0.1, width=4 if data == "digits" else None, backend="numpy")
        config.resolve(load(data))
        gan = build_game(config, shape, 10)
        assert gan.discriminator.input_shape == (*shape[:-1], pack * shape[-1])
        watcher = monitor.Monitor(gan, load(data))
        assert np.isfinite(gan.backend.to_numpy(watcher.measure())[: len(gan.figures) + len(monitor.SHARED)]).all()
        logs.append(watcher.columns)
    assert logs[0] == logs[1]


def test_losses_without_labels_are_not_smoothed():
    """The recipe of mlp smooths labels: it is left out where there are none, and refused where it is asked for."""
    config = Config(data="digits", model="mlp", loss="wasserstein")
    config.resolve(load("digits"))
    assert config.smoothing == 0
    config = Config(data="digits", model="mlp", loss="wasserstein", smoothing=0.1)
    config.resolve(load("digits"))
    with pytest.raises(OptionError, match=r"smoothing is 0.1, and the loss wasserstein has no labels"):
        build_game(config, (28, 28, 1), 10)


# -- Python --------------------------------------------------------------------------------------------------------------


def test_resolving_fills_in_the_recipe_and_twice_is_once():
    config = Config(batch_size=np.int64(8), epochs=2)
    config.resolve(load("digits"))
    assert (config.model, config.width, config.batch_size, type(config.batch_size)) == ("dcgan", 32, 8, int)
    assert config.steps is None, "its length is given in epochs"
    before = config.to_json()
    config.resolve(load("digits"))
    assert config.to_json() == before
    points = Config(hidden=[5])
    points.resolve(load("ring"))
    assert (points.model, points.hidden, points.latent_dim) == ("mlp", (5,), 16)


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"lr": math.nan}, OptionError, "lr is nan: expected a finite number above 0 or null"),
        ({"model": "dcgam"}, OptionError, "model is 'dcgam': an unknown name; did you mean 'dcgan'?"),
        ({"epochs": 1, "steps": 1}, OptionError, "both epochs and steps are given: choose one"),
        ({"precision": "tf32", "dtype": "float64"}, OptionError, "precision tf32 is for float32 networks"),
        ({"model": "mlp", "width": 3}, ModelError, "width does not apply to the model mlp: leave it out"),
        ({"model": "a.py:b", "hidden": (3,)}, ModelError, "hidden does not apply to the model a-b: leave it out"),
    ],
)
def test_resolving_refuses(options, kind, message):
    with pytest.raises(kind) as caught:
        Config(**options).resolve(load("digits"))
    assert message in str(caught.value)
    assert isinstance(caught.value, MiniganError)


def test_paths_become_absolute_and_names_stay(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.npy").write_bytes(b"")
    given_paths = {"data": "own.npy", "data_dir": "here", "model": "nets.py:build", "lr": 1.0}
    made = with_absolute_paths(given_paths)
    assert made == {
        "data": str(tmp_path / "own.npy"),
        "data_dir": str(tmp_path / "here"),
        "model": str(tmp_path / "nets.py:build"),
        "lr": 1.0,
    }
    assert with_absolute_paths({"data": "digits", "model": "mlp"}) == {"data": "digits", "model": "mlp"}
