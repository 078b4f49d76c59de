"""A folder of answers, whatever they do: every file gets its row, and the table is written whole."""

import csv

import pytest
from exercise_answers import filled

from minigan import cli
from minigan.errors import LONGEST_MESSAGE
from minigan.exercises import grading
from minigan.exercises.grading import COLUMNS, CUT_OFF, grade_folder
from minigan.exercises.table import EXERCISES
from minigan.exercises.writing import file_text

TEXT = file_text(EXERCISES[3])
RIGHT = filled(TEXT, 3)
FILES = {
    "blank": (TEXT, "0", "not filled in: log p"),
    "crash": (RIGHT + "\nimport os\nos.abort()\n", "0", "the process ended by signal 6"),
    "hang": (RIGHT + "\nwhile True:\n    pass\n", "0", "not done within 2 s, at line"),
    "right": (RIGHT, "3", ""),
    "wrong": (filled(TEXT, 3, 'blank("∂L/∂s")', "np.exp(log_p) / N"), "2", ""),
}
WILD = {
    "exit": (RIGHT + "\nimport os\nos._exit(0)\n", "0", "the process ended with status 0"),
    "flood": (RIGHT + "\nwhile True:\n    print('x' * 10**5)\n", "0", "File too large"),
    "forks": (RIGHT + "\nimport os, time\nfor _ in range(9):\n    os.fork() or time.sleep(99)\n", None, ""),
    "memory": (RIGHT + "\nheld = []\nwhile True:\n    held.append(bytearray(10**8))\n", "0", ""),
    "no answer": ("x = 1\n", "0", "has no line EXERCISE = N"),
    "sleeps": (RIGHT + "\nimport time\ntime.sleep(99)\n", "0", "not done within 2 s, at line"),
    "stops": (RIGHT + "\nimport signal, os\nos.kill(os.getpid(), signal.SIGKILL)\n", "0", "ended by signal 9"),
    "syntax": (RIGHT + "\ndef f(:\n", "0", "this is not Python"),
    "=cmd()": (RIGHT, "3", ""),
}


def graded(tmp_path, files, capsys):
    folder = tmp_path / "answers"
    folder.mkdir()
    for name, (text, _, _) in files.items():
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    out = tmp_path / "marks.csv"
    assert cli.main(["exercise", "grade", str(folder), "--out", str(out), "--seconds", "2"]) == 0
    with open(out, encoding="utf-8", newline="") as table:
        rows = list(csv.DictReader(table))
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == len(files)
    for row in rows:
        text, right, error = files[row["file"].lstrip("'").removesuffix(".py")]
        assert right is None or row["parts right"] == right, row
        assert error in row["error"]
        assert len(row["error"]) <= LONGEST_MESSAGE
        assert not row["file"].startswith("=")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["answers", "marks.csv"]
    assert not [path for path in folder.iterdir() if path.suffix != ".py"]
    return {row["file"]: row for row in rows}, capsys.readouterr().out


def test_a_crash_a_hang_a_wrong_and_a_right_answer(tmp_path, capsys):
    rows, out = graded(tmp_path, FILES, capsys)
    assert rows["wrong.py"]["mistake named"].startswith("∂L/∂s: p/N: lacks −[k = c]")
    assert rows["right.py"]["mistake named"] == ""
    assert "exercise  3: 1 of 5 right" in out
    assert float(rows["hang.py"]["seconds"]) >= 2


@pytest.mark.slow
def test_whatever_a_file_does(tmp_path, capsys):
    graded(tmp_path, WILD, capsys)


def test_interrupted_it_keeps_what_it_has(tmp_path, monkeypatch):
    folder = tmp_path / "answers"
    folder.mkdir()
    for name in "ab":
        (folder / f"{name}.py").write_text("x = 1\n")
    done = []

    def interrupt(path, name, seconds):
        if done:
            raise KeyboardInterrupt
        done.append(name)
        return grading.Mark(name, error="one")

    monkeypatch.setattr(grading, "grade", interrupt)
    with pytest.raises(KeyboardInterrupt):
        grade_folder(folder, tmp_path / "marks.csv")
    text = (tmp_path / "marks.csv").read_text()
    assert "a.py,,0,0,,0.0,one" in text
    assert CUT_OFF in text
