"""minigan export: a run's networks in other programs, and every mistake as one line with nothing written."""

import json
import os
import shlex

import numpy as np
import pytest
import quick_runs
from exported import TOLERANCE, difference, onnx, onnx_output, torch_module, torch_output

from minigan import cli
from minigan.training import load_game


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        quick_runs.draw_bytes(patch)
        quick_runs.make(folder, steps=8, lr=0.05, ema=0.9).train()
    return folder / "run"


def run(command):
    return cli.main(shlex.split(command))


def fails(capsys, command, *parts):
    assert run(command) == cli.USER_ERROR
    text = capsys.readouterr().err
    assert text.startswith("minigan: error: ")
    assert text.count("\n") == 1
    assert len(text) <= 301
    for part in parts:
        assert part in text


def test_both_programs_draw_what_sample_draws(trained, tmp_path, capsys):
    for program in ("onnx", "torch"):
        assert run(f"export {trained} --to {program} --out {tmp_path}/{program}") == 0
    assert sorted(os.listdir(tmp_path / "onnx")) == ["discriminator.onnx", "generator.onnx"]
    assert sorted(os.listdir(tmp_path / "torch")) == [
        f"{name}{suffix}" for name in ("discriminator", "generator") for suffix in (".py", ".safetensors")
    ]
    out = capsys.readouterr().out.splitlines()
    assert out[0] == f"{tmp_path}/onnx/generator.onnx: (N, 3) to (N, 4, 4, 1), 96 parameters"
    assert (
        out[2]
        == f"{tmp_path}/torch/generator.py and {tmp_path}/torch/generator.safetensors: (N, 3) to (N, 1, 4, 4), 96 parameters"
    )
    game = load_game(trained, "numpy").game
    z = game.latent(5, seed=1)
    images = game.decode(z)
    content = (tmp_path / "onnx" / "generator.onnx").read_bytes()
    module = torch_module(tmp_path / "torch" / "generator.py")
    assert difference(onnx_output(content, z), images) <= TOLERANCE
    assert difference(torch_output(module, z), images) <= TOLERANCE
    scores = game.inferred(game.discriminator, images)
    assert difference(onnx_output((tmp_path / "onnx" / "discriminator.onnx").read_bytes(), images), scores) <= TOLERANCE
    model = onnx.load_model_from_string(content)
    said = {p.key: p.value for p in model.metadata_props}
    assert said.keys() == {"version", "model", "data", "samples", "options"}
    assert (said["model"], said["data"]) == ("mlp", "own.npy"), "without the folders of this machine"
    assert json.loads(said["options"])["hidden"] == [4]
    assert [value.name for value in (*model.graph.input, *model.graph.output)] == ["z", "images"]
    text = (tmp_path / "torch" / "generator.py").read_text()
    assert text.startswith(
        '"""The generator of the model mlp, trained on own.npy; written by minigan.\n\nMakes images from 3 numbers'
    )


def test_the_last_weights(trained, tmp_path):
    for option in ("", "--no-average"):
        assert run(f"export {trained} --to onnx --out {tmp_path}/out{option} {option}") == 0
    game = load_game(trained, "numpy").game
    z = game.latent(5, seed=1)
    last = game.inferred(game.generator, z)
    assert difference(onnx_output((tmp_path / "out--no-average" / "generator.onnx").read_bytes(), z), last) <= TOLERANCE
    assert difference(onnx_output((tmp_path / "out" / "generator.onnx").read_bytes(), z), last) > 0.01


def test_into_the_runs_own_folder(trained, capsys):
    before = set(os.listdir(trained))
    assert run(f"export {trained} --to torch") == 0
    made = set(os.listdir(trained)) - before
    assert len(made) == 4
    (trained / "generator.py").write_text("mine")
    fails(capsys, f"export {trained} --to torch", "generator.", "is there already", "--overwrite")
    assert (trained / "generator.py").read_text() == "mine"
    assert run(f"export {trained} --to torch --overwrite") == 0
    assert (trained / "generator.py").read_text() != "mine"
    for name in made:
        (trained / name).unlink()


def test_mistakes(trained, tmp_path, capsys, monkeypatch):
    (tmp_path / "file").write_text("mine")
    out = f"--out {tmp_path}/out"
    fails(capsys, f"export {tmp_path}/none --to onnx {out}", "no checkpoint", "minigan train")
    fails(capsys, f"export {trained} --to tensorflow {out}", "--to", "onnx", "torch")
    fails(capsys, f"export {trained} {out}", "--to")
    fails(capsys, f"export {trained} --to onnx --out {tmp_path}/file", "a file: name a folder")
    fails(capsys, f"export {trained} --to onnx --out {tmp_path}/file/more", "file")
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    fails(capsys, f"export {trained} --to onnx {out}", "not installed: pip install onnx")
    assert os.listdir(tmp_path) == ["file"]


OWN = """
import minigan as mg

class Twice(mg.Layer):
    def forward(self, x, train=False):
        return 2 * x, None
    def backward(self, dy, cache, grads=None, input_grad=True):
        return 2 * dy if input_grad else None

def build(image_shape, latent_dim, backend, dtype):
    layers = [mg.Dense(16), Twice(), mg.Reshape(image_shape)]
    G = mg.Sequential(layers, (latent_dim,), backend, dtype)
    return G, mg.Sequential([mg.Flatten(), mg.Dense(1)], image_shape, backend, dtype)
"""
RULE = """
mg.export.add_rule(Twice, onnx=lambda graph, layer, x: graph.node("Add", [x, x]))
"""


def test_the_columns_of_a_game_with_classes_are_told(tmp_path, monkeypatch):
    """In the docstring of the module and at the output of the ONNX file; and it is so: the score is the sum of two columns."""
    quick_runs.draw_bytes(monkeypatch)
    quick_runs.make(tmp_path, steps=2, classes=True, data="digits").train()
    for program in ("onnx", "torch"):
        assert run(f"export {tmp_path / 'run'} --to {program} --out {tmp_path}") == 0
    told = [(tmp_path / "discriminator.py").read_text(), output_words(tmp_path / "discriminator.onnx")]
    names = ", ".join(load_game(tmp_path / "run", "numpy").config.class_names)
    for text in told:
        assert "Column 0 is the score that holds for every class, column 1 + k what class k adds to it" in text
        assert f"The classes, from k = 0: {names}." in text
    assert output_words(tmp_path / "generator.onnx") == ""


def output_words(path):
    return onnx.load(path).graph.output[0].doc_string


def test_networks_of_a_users_file(tmp_path, capsys, monkeypatch):
    quick_runs.draw_bytes(monkeypatch)
    wrong = RULE.replace("[x, x]", "[x, x.y]")
    for name, text in (("without", OWN), ("with", OWN + RULE), ("wrong", OWN + wrong)):
        (tmp_path / f"{name}.py").write_text(text)
        own = {"model": f"{tmp_path}/{name}.py:build", "hidden": None, "steps": 2}
        quick_runs.make(tmp_path, name, **own).train()
    capsys.readouterr()
    fails(
        capsys, f"export {tmp_path}/without --to onnx --out {tmp_path}/out", "Twice (layer 1) has no rule", "mg.export.add_rule"
    )
    fails(capsys, f"export {tmp_path}/wrong --to onnx --out {tmp_path}/out", "wrong.py", "'str' object has no attribute 'y'")
    assert not (tmp_path / "out").exists()
    assert run(f"export {tmp_path}/with --to onnx") == 0
    game = load_game(tmp_path / "with", "numpy").game
    z = game.latent(3)
    assert difference(onnx_output((tmp_path / "with" / "generator.onnx").read_bytes(), z), game.decode(z)) <= TOLERANCE
    model = onnx.load(tmp_path / "with" / "generator.onnx")
    assert {p.key: p.value for p in model.metadata_props}["model"] == "with-build"


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        *("", "--classes", "--model mlp", "--data ring", "--data names", "--data tones", "--data tones --model mlp"),
        *("--game vae", "--game vae --model conv", "--loss hinge --pack 2", "--upsample resize --image-size 32"),
    ],
)
def test_every_recipe_as_it_is_trained(options, tmp_path, capsys):
    folder = tmp_path / "run"
    assert run(f"train {options} --steps 12 --out {folder} --backend numpy --quiet") == 0
    game, config, _ = load_game(folder, "numpy")
    z = game.latent(9, seed=1)
    x, expected = game.with_labels(z, 1 if game.classes else None), game.decode(z, 1 if game.classes else None)
    name = "decoder" if config.game == "vae" else "generator"
    other, judge = next((name, net) for name, net in game.networks.items() if name in ("discriminator", "encoder"))
    seen = np.random.default_rng(0).uniform(-1, 1, (4, *judge.input_shape)).astype(np.float32)
    judged = game.inferred(judge, seen)
    for program in ("onnx", "torch"):
        assert run(f"export {folder} --to {program}") == 0
        for stem, given, made in ((name, x, expected), (other, seen, judged)):
            if program == "onnx":
                found = onnx_output((folder / f"{stem}.onnx").read_bytes(), given)
            else:
                found = torch_output(torch_module(folder / f"{stem}.py"), given)
            largest = difference(found, made)
            print(f"{options or 'dcgan'}, {stem}, {program}: {largest:.1e}")
            assert largest <= TOLERANCE
