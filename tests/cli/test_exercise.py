"""`minigan exercise`: what it prints, writes and refuses."""

import pytest
from exercise_answers import filled

from minigan import cli
from minigan.errors import LONGEST_MESSAGE


def test_from_the_list_to_a_right_answer(tmp_path, capsys):
    assert cli.main(["exercise"]) == 0
    assert "12  R1:" in capsys.readouterr().out
    path = tmp_path / "answer.py"
    assert cli.main(["exercise", "3", "--out", str(path)]) == 0
    blank = path.read_text(encoding="utf-8")
    assert cli.main(["exercise", "check", str(path), "--hint", "2"]) == 1
    out = capsys.readouterr().out
    assert "0 of 3 parts are right" in out
    assert "∂log p_nc/∂s_nk" in out, "the docstring's derivation"
    assert "--hint 3" in out
    path.write_text("print('mine')\n" + filled(blank, 3).replace("from __future__ import annotations", ""), encoding="utf-8")
    assert cli.main(["exercise", "check", str(path)]) == 0
    out, err = capsys.readouterr()
    assert "3 of 3 parts are right" in out
    assert "mine" in err
    before = path.read_bytes()
    assert cli.main(["exercise", "3", "--out", str(path)]) == 2
    assert path.read_bytes() == before


def test_the_solution_is_the_librarys_source(capsys):
    assert cli.main(["exercise", "solution", "8"]) == 0
    assert "batch_norm_grad, dy, x, mean" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["13"], "expected a number from 1 to 12"),
        (["chek"], "did you mean 'check'?"),
        (["check"], "needs a FILE"),
        (["norm.py", "--hint", "1"], "write minigan exercise check norm.py"),
        (["check", "gone.py"], "cannot read gone.py"),
        (["grade", "."], "needs --out"),
        (["grade", "gone", "--out", "marks.csv"], "holds no Python files"),
        (["3", "answer.py"], "--out FILE"),
        (["3", "--hint", "1"], "--hint is for exercise check"),
        (["solution"], "needs the number"),
        (["check", "x.py", "--seconds", "0"], "a number above 0"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(words, told, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["exercise", *words]) == 2
    out, err = capsys.readouterr()
    assert told in err
    assert out == ""
    assert err.count("\n") == 1
    assert len(err) <= LONGEST_MESSAGE + 1
    assert not list(tmp_path.iterdir())
