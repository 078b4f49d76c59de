"""`minigan gradcheck FILE.py`: the layers that a user's own file defines."""

import subprocess
import sys

import pytest
from own_layers import GOOD

from minigan import cli


@pytest.fixture
def file(tmp_path):
    def write(text, name="own.py"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


def run(path, capsys):
    status = cli.main(["gradcheck", str(path), "--backend", "numpy"])
    return status, capsys.readouterr()


def test_a_right_layer_passes(file, capsys, backend):
    assert cli.main(["gradcheck", str(file(GOOD)), "--backend", backend]) == 0
    first, second, last = capsys.readouterr().out.splitlines()[1:]
    assert first.startswith("ok ")
    assert "Scale() on (4, 3)" in first
    assert "78 derivatives" in first, "3 factors and 3 × 12 inputs, in training and at inference"
    assert "Scale() on (5,)" in second
    assert "2 checks" in last
    assert "the layer contract is kept" in last


def test_several_files_and_nothing_written_beside_them(file, capsys):
    one, two = file(GOOD), file(GOOD.replace("Scale", "Gain"), "two.py")
    assert cli.main(["gradcheck", str(one), str(two), "--backend", "numpy"]) == 0
    out = capsys.readouterr().out
    assert "Scale() on (4, 3)" in out
    assert "Gain() on (5,)" in out
    assert sorted(path.name for path in one.parent.iterdir()) == ["own.py", "two.py"]


def test_a_file_may_import_its_neighbour(file, capsys):
    file("SHAPE = (2, 2)\n", "neighbour_of_own.py")
    path = file("import neighbour_of_own\n" + GOOD.replace("(5,)", "neighbour_of_own.SHAPE"))
    before = list(sys.path)
    assert run(path, capsys)[0] == 0
    assert sys.path == before


def test_a_fault_is_named_below_its_layer(file, capsys):
    status, (out, err) = run(file(GOOD.replace("return self.a * dy if", "dy *= 1.01 * self.a; return dy if")), capsys)
    assert (status, err) == (1, "")
    failed = [line for line in out.splitlines() if line.startswith("FAILED")]
    assert len(failed) == 2
    assert "2 of 2 FAILED" in out
    assert "x in training" in out
    assert "contract broken: backward writes to dy (in training)" in out


def test_only_what_is_amiss_is_printed_and_the_named_mistake_first(file, capsys):
    path = file(GOOD.replace("return self.a * dy if", "return -self.a * dy if"))
    assert cli.main(["gradcheck", str(path), "--backend", "numpy", "--verbose"]) == 1
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert [line.split("  ")[0] for line in lines[2:6]] == [
        "a in training",
        "x in training",
        "a at inference",
        "x at inference",
    ]
    lines = [line.strip() for line in run(path, capsys)[1].out.splitlines()]
    assert lines[2].startswith("gradients of x in training and x at inference: minus the true one")
    assert [line.split("  ")[0] for line in lines[3:5]] == ["x in training", "x at inference"]
    assert lines[5].startswith("FAILED")


def test_a_note_is_printed_below_a_layer_that_passes(file, capsys):
    status, (out, _) = run(file(GOOD.replace("column_dot(cache, dy)", "column_dot(cache, dy).astype('float32')")), capsys)
    assert status == 0
    assert out.count("but only as exact as float32") == 2


MISTAKES = {
    "no list": (GOOD.partition("CHECKS")[0], "defines Scale but no list CHECKS", "CHECKS = [(Scale(), (4, 4, 3))]"),
    "no layer": ("x = 1\n", "defines no layer and no list CHECKS", "[(MyLayer(), (4, 4, 3))]"),
    "empty": ("CHECKS = []\n", "CHECKS is []: expected a list of (layer, input shape)"),
    "not Python": ("def f(:\n", "line 1: this is not Python (invalid syntax)"),
    "null bytes": ("\0", "this is not Python"),
    "raises": ("import os\n\nos.environ['NO SUCH NAME']\n", "line 3, in <module>: KeyError"),
    "ends the program": ("import sys\nsys.exit(3)\n", "line 2, in <module>: SystemExit", "__main__"),
    "a class": (GOOD.replace("(Scale(), (5,))", "(Scale, (5,))"), "CHECKS[1] holds the class Scale: write a layer, Scale()"),
    "no pair": (GOOD.replace("(Scale(), (5,))", "Scale()"), "CHECKS[1] is Scale(): expected (layer, input shape)"),
    "no shape": (GOOD.replace("(5,)", "5"), "CHECKS[1] has the shape 5: expected whole numbers"),
    "an impossible shape": (GOOD.replace("(5,)", "(0, 2)"), "CHECKS[1] has the shape (0, 2)"),
    "no layer object": (GOOD.replace("(Scale(), (5,))", "(len, (5,))"), "which is no minigan.Layer"),
    "a shape refused": (
        "import minigan as mg\nCHECKS = [(mg.Dense(3), (4,)), (mg.Conv2d(2, 3), (5,))]\n",
        "CHECKS[1], shape (5,): Conv2d (layer 0) needs (H, W, C), got (5,)".replace("Conv2d (layer 0)", "Conv2d"),
    ),
    "no super().__init__": (
        GOOD.replace("    def build", "    def __init__(self):\n        self.b = 1\n\n    def build"),
        "Scale.__init__ must call super().__init__(**options)",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_and_status_2(mistake, file, capsys):
    text, *said = MISTAKES[mistake]
    status, (_, err) = run(file(text), capsys)
    assert status == 2
    assert err.count("\n") == 1
    assert err.startswith("minigan: error: ")
    assert "own.py" in err
    for part in said:
        assert part in err


def test_a_missing_file_and_a_folder(tmp_path, capsys):
    for path, reason in ((tmp_path / "none.py", "No such file"), (tmp_path, "Is a directory")):
        status, (out, err) = run(path, capsys)
        assert (status, out) == (2, "")
        assert f"cannot read {path}: {reason}" in err


def test_the_first_file_is_not_checked_when_the_second_is_missing(file, tmp_path, capsys):
    assert cli.main(["gradcheck", str(file(GOOD)), str(tmp_path / "none.py")]) == 2
    assert capsys.readouterr().out == ""


def test_the_help_says_what_a_file_must_hold():
    result = subprocess.run(
        [sys.executable, "-m", "minigan", "gradcheck", "--help"], capture_output=True, text=True, check=True
    )
    assert "FILE.py" in result.stdout
    assert "a line for every array, right ones too" in " ".join(result.stdout.split())
    assert "CHECKS = [(layer, input shape), ...]" in " ".join(result.stdout.split())
