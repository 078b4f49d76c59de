"""Evaluation: which real samples are compared, what the table says, and every mistake in one line."""

import json
import re
import shutil

import numpy as np
import pytest
from quick_runs import draw_bytes

import minigan as mg
from minigan import cli
from minigan import evaluate as evaluation
from minigan.data import Dataset
from minigan.training import Config, start_run
from minigan.training.folder import METRICS, NEIGHBOURS

SMALL = {"model": "mlp", "hidden": (8,), "latent_dim": 3, "batch_size": 8, "steps": 2, "backend": "numpy"}


def made(folder, data, **options):
    """A trained run, whose pictures cost more than its steps and are left out."""
    run = start_run(Config(data=str(data), **{**SMALL, **options}), folder, overwrite=True, log=lambda text: None)
    with pytest.MonkeyPatch.context() as patch:
        draw_bytes(patch)
        run.train(progress=False)
    return folder


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Runs on small images of one's own, on points, and on the ring."""
    home = tmp_path_factory.mktemp("evaluated")
    rng = np.random.default_rng(0)
    np.save(home / "own.npy", rng.integers(0, 256, (80, 8, 8), dtype=np.uint8))
    np.save(home / "held.npy", rng.integers(0, 256, (60, 8, 8), dtype=np.uint8))
    np.save(home / "few.npy", rng.integers(0, 256, (20, 8, 8), dtype=np.uint8))
    np.save(home / "wide.npy", rng.integers(0, 256, (60, 8, 9), dtype=np.uint8))
    for name, seed in (("one", 0), ("two", 1)):
        made(home / name, home / "own.npy", seed=seed)
    made(home / "ring", "ring")
    (home / "own.py").write_text(
        "import numpy as np\n"
        "def means(x):\n    return x.mean(axis=2)[..., 0]\n"
        "def fails(x):\n    return x[:, 99]\n"
        "def flat(x):\n    return x.mean()\n"
        "def nan(x):\n    return np.full((len(x), 2), np.nan)\n"
        "def imaginary(x):\n    return 1j * means(x)\n"
        "def emptied(x):\n    rows = x.reshape(len(x), -1).copy()\n    x[:] = 0\n    return rows\n"
    )
    return home


@pytest.fixture
def there(home, tmp_path, monkeypatch):
    """A copy of all that, as the working folder."""
    shutil.copytree(home, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_two_runs_side_by_side(there, capsys):
    assert cli.main(["evaluate", "one", "two", "--features", "own.py:means", "--quiet"]) == 0
    out, err = capsys.readouterr()
    assert not err
    lines = out.splitlines()
    assert lines[0].endswith("own.npy, 80 samples; features: own.py:means")
    assert lines[2].split() == ["best", "real", "one", "two"]
    assert [line.split()[-3:] for line in lines[4:6]] == [["40", "40", "40"]] * 2
    assert lines[6].split()[-2:] == ["100%", "100%"]
    (frechet,) = (line for line in lines if line.startswith("Fréchet"))
    for name, cell in zip(("one", "two"), frechet.split()[-2:], strict=True):
        written = json.loads((there / name / METRICS).read_text())
        assert f"{written['generated']['frechet']:.3f}" == cell
        assert written["step"] == 2
        assert written["samples"] == 40
        assert written["trained_on"] == 1
        assert written["features"] == "own.py:means"
        assert written["real"]["frechet"] == pytest.approx(float(frechet.split()[-3]), abs=6e-4)
        assert (there / name / NEIGHBOURS).read_bytes()[:4] == b"\x89PNG"


def test_the_same_command_gives_the_same_bytes(there):
    found = []
    for seed in (0, 0, 1):
        evaluation.evaluate(["one"], samples=20, seed=seed)
        found.append([(there / "one" / name).read_bytes() for name in (METRICS, NEIGHBOURS)])
    assert found[0] == found[1]
    assert found[0][0] != found[2][0]


def test_held_out_data(there):
    table = evaluation.evaluate(["one"], against="held.npy")
    (row,) = (line for line in table.splitlines() if line.startswith("trained on them"))
    assert row.split()[-1] == "0%"
    assert json.loads((there / "one" / METRICS).read_text())["trained_on"] == 0
    assert "features: none" in table
    assert "of 8x8" in table


def test_data_of_which_some_were_trained_on(there):
    """As the bundled digits are a part of MNIST."""
    own, held = np.load("own.npy"), np.load("held.npy")
    np.save("mixed.npy", np.concatenate([own[:20], held]))
    evaluation.evaluate(["one"], against="mixed.npy", samples=80)
    assert json.loads((there / "one" / METRICS).read_text())["trained_on"] == 20 / 80


def test_points_of_a_mixture(there):
    table = evaluation.evaluate(["ring"], samples=100)
    rows = {line.split("  ")[0]: line.split()[-2:] for line in table.splitlines()}
    assert rows["modes"][0] == "8"
    assert float(rows["high quality, %"][0]) > 95
    assert {"reverse KL, nats", "Fréchet distance", "coverage", "authenticity"} <= rows.keys()
    assert (there / "ring" / NEIGHBOURS).read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(("count", "sizes"), [(None, (10, 10, 10)), (6, (6, 6, 6)), (10, (10, 10, 10)), (15, (15, 10, 10))])
def test_split(count, sizes, monkeypatch):
    """Real samples on the two sides of the floor are never the same."""
    monkeypatch.setattr(evaluation, "LEAST", 5)
    dataset = Dataset("own", np.arange(40, dtype=np.float32).reshape(20, 2))
    parts = evaluation.split(dataset, count, 0)
    assert tuple(map(len, parts[:3])) == sizes
    assert parts.floor_labels is None
    labelled = Dataset("own", dataset.values, np.arange(20) % 3)
    same = evaluation.split(labelled, count, 0)
    np.testing.assert_array_equal(same.floor, parts.floor)
    np.testing.assert_array_equal(same.floor_labels, same.floor[:, 0].astype(int) // 2 % 3)
    assert not {*parts.floor[:, 0]} & {*parts.floor_reference[:, 0]}
    assert len({*parts.reference[:, 0]}) == sizes[0]
    assert not np.array_equal(parts.reference, evaluation.split(dataset, count, 1).reference)


def test_most_samples_unless_told_otherwise(monkeypatch):
    monkeypatch.setattr(evaluation, "MOST", 30)
    assert len(evaluation.split(Dataset("own", np.zeros((200, 2), np.float32)), None, 0).reference) == 30


def test_features_that_write_to_the_samples_change_no_figure(there):
    """The coordinates, by a function that returns them and empties what it was given."""
    figures = []
    for features in (None, "own.py:emptied"):
        evaluation.evaluate(["ring"], features=features, samples=40)
        figures.append(json.loads((there / "ring" / METRICS).read_text()))
    assert figures[0]["generated"] == figures[1]["generated"]
    assert figures[0]["real"] == figures[1]["real"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "no checkpoint"),
        (["one", "ring"], "trained on different data: name the real data by --against"),
        (["one", "--against", "ring"], r"ring holds \(2,\), and one makes \(8, 8, 1\)"),
        (["one", "--against", "few.npy"], "has 20 samples: expected at least 24"),
        (["one", "--against", "gone.npy"], "no file or folder 'gone.npy'"),
        (["one", "--samples", "81"], "samples is 81, and .* has 80 real ones"),
        (["one", "--samples", "3"], "'3' is not a whole number from 12 up"),
        (["one", "--features", "own.py"], "'own.py': expected FILE.py:function"),
        (["one", "--features", "own.py:mean"], "did you mean 'means'"),
        (["one", "--features", "gone.py:f"], "cannot read gone.py"),
        (["one", "--features", "own.py:fails"], "own.py: fails fails: line 5, in fails: IndexError"),
        (["one", "--features", "own.py:flat"], r"returns an array \(\): expected features \(40, K\) of 40 samples"),
        (["one", "--features", "own.py:nan"], "numbers that are not finite"),
        (["one", "--features", "own.py:imaginary"], "returns an array of complex64: expected features that are real"),
        (["one", "--against", "wide.npy"], r"wide.npy holds \(8, 9, 1\)"),
    ],
)
def test_mistakes(arguments, words, there, capsys):
    before = sorted(path.name for path in (there / "one").iterdir())
    assert cli.main(["evaluate", *arguments, "--quiet"]) == cli.USER_ERROR
    _, err = capsys.readouterr()
    assert err.count("\n") == 1
    assert len(err) <= 301
    assert re.search(words, err), err
    assert sorted(path.name for path in (there / "one").iterdir()) == before


def test_data_that_have_moved_or_changed(there):
    made(there / "one", "own.npy")
    (there / "own.npy").rename(there / "moved.npy")
    with pytest.raises(mg.MiniganError, match="--against names where the data of one lie now"):
        evaluation.evaluate(["one"])
    assert json.loads(_metrics(there, "moved.npy"))["trained_on"] == 1
    shutil.copy(there / "held.npy", there / "own.npy")
    with pytest.raises(mg.MiniganError, match="has changed since one was trained on it: name the real data by --against"):
        evaluation.evaluate(["one"])
    assert json.loads(_metrics(there, "own.npy"))["trained_on"] is None


def _metrics(there, against):
    evaluation.evaluate(["one"], against=against)
    return (there / "one" / METRICS).read_text()


def test_a_new_run_leaves_no_figures_of_the_old_one(there):
    evaluation.evaluate(["one"])
    made(there / "one", "own.npy")
    assert not (there / "one" / METRICS).exists()
    assert not (there / "one" / NEIGHBOURS).exists()
