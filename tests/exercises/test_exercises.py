"""Every exercise: blanks are told, the library's source and a reader's answer pass, a mistake is told and rightly named."""

import re

import pytest
from exercise_answers import RIGHT, TOLD, WRONG, filled

from minigan.errors import LONGEST_MESSAGE, UserFileError
from minigan.exercises import exercise
from minigan.exercises.checking import check_answer, exercise_of
from minigan.exercises.library_source import excerpt, source_text
from minigan.exercises.report import listing, told
from minigan.exercises.table import EXERCISES
from minigan.exercises.writing import file_text
from minigan.explain import worked


@pytest.fixture
def check(tmp_path):
    def run(text):
        path = tmp_path / "answer.py"
        path.write_text(text, encoding="utf-8")
        return check_answer(path)

    return run


def shown(verdict):
    return "\n".join(f"{o.part}: {o.status}, {o.mistake}, {o.lines}" for o in verdict.outcomes)


def test_there_are_twelve():
    assert sorted(EXERCISES) == list(range(1, 13)) == sorted(RIGHT)


@pytest.mark.parametrize("number", EXERCISES)
def test_a_file_with_blanks_is_not_filled_in(number, check):
    text = file_text(EXERCISES[number])
    verdict = check(text)
    assert {outcome.status for outcome in verdict.outcomes} == {exercise.BLANK}, shown(verdict)
    assert [outcome.part for outcome in verdict.outcomes] == [part.name for part in EXERCISES[number].parts]
    assert set(verdict.blanks) == set(re.findall(r'blank\("([^"]+)"\)', text))
    for piece in EXERCISES[number].answer:
        assert source_text(piece) not in text, "the solution"


@pytest.mark.parametrize("number", EXERCISES)
def test_the_librarys_source_is_right(number, check):
    verdict = check(file_text(EXERCISES[number], solved=True))
    assert verdict.ok, shown(verdict)
    assert verdict.blanks == []


@pytest.mark.parametrize("number", EXERCISES)
def test_a_readers_answer_is_right(number, check):
    verdict = check(filled(file_text(EXERCISES[number]), number))
    assert verdict.ok, shown(verdict)


@pytest.mark.parametrize("case", range(len(WRONG)))
def test_a_mistake_is_named(case, check, tmp_path):
    number, blank, by, part, kind = WRONG[case]
    verdict = check(filled(file_text(EXERCISES[number]), number, blank, by))
    (outcome,) = (outcome for outcome in verdict.outcomes if outcome.part == part)
    assert outcome.status == exercise.WRONG, shown(verdict)
    assert outcome.mistake == kind, shown(verdict)
    assert all(len(line) <= LONGEST_MESSAGE for outcome in verdict.outcomes for line in outcome.lines)
    text = told(verdict, tmp_path / "answer.py")
    assert outcome.lines[0].split(":")[0][:40] in " ".join(text.split())
    assert "--hint 1" in text


@pytest.mark.parametrize("case", range(len(TOLD)))
def test_a_slip_is_told_and_no_other(case, check):
    number, pieces, part, words = TOLD[case]
    verdict = check(filled(file_text(EXERCISES[number]), number, pieces))
    (outcome,) = (outcome for outcome in verdict.outcomes if outcome.part == part)
    assert outcome.status == exercise.WRONG, shown(verdict)
    assert words in outcome.lines[0], shown(verdict)
    assert "or else" not in outcome.lines[0]
    assert "−x̂" not in outcome.lines[0], "the formula is for the hints"
    assert all(len(line) <= LONGEST_MESSAGE for outcome in verdict.outcomes for line in outcome.lines)


def test_each_exercise_has_three_mistakes():
    assert all(sum(number == case[0] for case in WRONG) >= 3 for number in EXERCISES)


@pytest.mark.parametrize("number", EXERCISES)
def test_what_is_quoted_stands_in_the_docstring(number, tmp_path):
    """Formulas come from there alone, and the three hints differ."""
    own = EXERCISES[number]
    for part in own.parts:
        assert excerpt(part.subject or own.subject, *part.formula)
    assert set(own.explained) <= worked.EXAMPLES.keys()
    blank = exercise.Verdict(number, [exercise.Outcome(part.name, exercise.BLANK) for part in own.parts])
    hints = [told(blank, tmp_path / "answer.py", hint) for hint in (1, 2, 3)]
    assert all(part.hint.split()[0] in hints[0] for part in own.parts)
    assert "From the docstring of" in hints[1]
    assert "def " in hints[2]
    assert f"minigan exercise solution {number}" in hints[2]
    assert own.title in listing()


ANSWER = filled(file_text(EXERCISES[8]), 8)
ODD = {
    "None": (ANSWER.replace("return inv_std * (g", "inv_std * (g"), "dx in training", "dx is None, expected an array"),
    "a shape": (
        ANSWER.replace("return g * inv_std", "return (g * inv_std)[0]"),
        "dx at inference",
        "has the shape (4,), expected (6, 4)",
    ),
    "NaN": (ANSWER.replace("return g * inv_std", "return g * np.nan"), "dx at inference", "dx holds NaN"),
    "text": (ANSWER.replace("return g * inv_std", "return 'dx'"), "dx at inference", "is of type str"),
    "an error": (ANSWER.replace("return g * inv_std", "return g * sigma"), "dx at inference", "NameError: name 'sigma'"),
    "an ellipsis": (ANSWER.replace("return g * inv_std", "return ..."), "dx at inference", "is not filled in"),
    "an array put in": (ANSWER.replace('grads["beta"][...] =', 'grads["beta"] ='), "dβ", 'grads["beta"][...] = …'),
    "dy overwritten": (
        ANSWER.replace("g = self.gamma * dy", "dy *= self.gamma; g = dy"),
        "the contract of a layer",
        "backward writes to dy",
    ),
}


@pytest.mark.parametrize("name", ODD)
def test_what_cannot_be_compared_is_told_with_its_line(name, check):
    text, part, words = ODD[name]
    assert text != ANSWER
    verdict = check(text)
    (outcome,) = (outcome for outcome in verdict.outcomes if outcome.part == part)
    assert any(words in line for line in outcome.lines), shown(verdict)
    assert all(len(line) <= LONGEST_MESSAGE for line in outcome.lines)
    if name in ("None", "a shape", "text", "an error", "NaN"):
        assert any(line.startswith("line ") for line in outcome.lines)
        assert next(o.status for o in verdict.outcomes if o.part == "dγ") == exercise.RIGHT, "it was written before"


def test_the_line_of_one_gradient_fails_and_the_others_are_judged(check):
    """With the shape that was expected, and with errors of any kind."""
    wrong = 'grads["gamma"][...] = '
    for value, words in (("dy * x_hat", "has the shape (5, 3, 4, 2), expected (2,)"), ("dy @ x", "ValueError: matmul")):
        verdict = check(ANSWER.replace(wrong, f"{wrong}{value}; grads['gamma'][...] = "))
        status = {outcome.part: outcome.status for outcome in verdict.outcomes}
        assert words in verdict.outcomes[0].lines[0], shown(verdict)
        assert verdict.outcomes[0].lines[0].startswith("line ")
        assert status["dx in training"] == status["dx at inference"] == exercise.RIGHT
        assert (status["dβ"] == exercise.RIGHT) == (value == "dy * x_hat"), "what is never come to is not known"
        assert not verdict.ok


def test_a_dx_that_is_wrong_is_named_beside_a_line_that_fails(check):
    text = ANSWER.replace('grads["beta"][...] = ', 'grads["beta"][...] = beta + ').replace("g - g.mean(axis=axes)", "g")
    found = {outcome.part: outcome.lines for outcome in check(text).outcomes}
    assert "NameError: name 'beta'" in found["dβ"][0]
    assert found["dx in training"][0].startswith("the path through μ is missing")
    assert found["dγ"] == []


LAST = 'a = blank("the last sweep")'


def test_a_blank_last_sweep_is_a_blank(check):
    whole = filled(file_text(EXERCISES[12]), 12, LAST, LAST)
    verdict = check(whole)
    right, blank = [exercise.RIGHT] * 3, [exercise.BLANK] * 2
    assert [outcome.status for outcome in verdict.outcomes] == right + blank, shown(verdict)
    twice = check(whole.replace("layer.tangent(moves[-1], cache)", "2 * layer.tangent(moves[-1], cache)"))
    assert twice.outcomes[2].status == exercise.WRONG, "what D of straight pieces needs is filled in"
    assert " for 4.weight at (" in twice.outcomes[2].lines[-1]
    empty = filled(file_text(EXERCISES[12]), 12, 'blank("curvature")', 'blank("curvature")')
    assert [outcome.status for outcome in check(empty).outcomes][2:] == [exercise.BLANK] * 3


def test_what_is_returned_is_looked_at_once_the_passes_run(check):
    verdict = check(filled(file_text(EXERCISES[12]), 12, 'blank("tangents")', "layer.tanget(moves[-1], cache)"))
    assert "AttributeError" in verdict.outcomes[2].lines[0]
    assert verdict.outcomes[-1].lines == ["is looked at once the passes run"]
    assert len(verdict.errors) == 1


def test_the_second_hint_quotes_where_the_formula_stands(tmp_path):
    for number, name, words in (
        (12, "Sequential.curvature", "a_{l−1} = J_lᵀ a_l + c_l"),
        (8, "Layer", "is written to grads[name]"),
    ):
        open_parts = [exercise.Outcome(part.name, exercise.BLANK) for part in EXERCISES[number].parts]
        text = told(exercise.Verdict(number, open_parts), tmp_path / "answer.py", 2)
        assert f"From the docstring of {name}:" in text
        assert words in text
        assert text.count("From the docstring of") == 2, "each docstring once"


def test_a_changed_forward_pass_is_told(check):
    verdict = check(ANSWER.replace("batch_norm, x, mean", "batch_norm, 2 * x, mean"))
    assert [outcome.part for outcome in verdict.outcomes] == ["the forward pass, as it was given"]
    assert not verdict.ok


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = 1\n", "has no line EXERCISE = N"),
        ("EXERCISE = 13\n", "expected a number from 1 to 12"),
        ("EXERCISE = len('a')\n", "EXERCISE is len('a')"),
        ("EXERCISE = 1\ndef f(:\n", "line 2: this is not Python"),
        ("EXERCISE = 1\n", "needs a class Dense made from minigan's Dense, as the exercise's file had it; the file has no"),
        ("EXERCISE = 1\nclass Dense: pass\n", "the Dense that the file has is not one"),
        ("EXERCISE = 3\ndef softmax_crossentropy(): pass\n", "is softmax_crossentropy meant for it?"),
        ("EXERCISE = 3\n", "needs a function softmax_cross_entropy"),
        (
            "EXERCISE = 8\nimport minigan as mg\nclass BatchNorm(mg.BatchNorm): pass\n",
            "BatchNorm has no backward of its own: put it",
        ),
        (
            "EXERCISE = 12\nimport minigan as mg\nclass R1(mg.losses.R1):\n    def value_and_gard(self, be, g): pass\n",
            "the class R1 has no value_and_grad of its own: is value_and_gard meant for it?",
        ),
        ("EXERCISE = 1\n1 / 0\n", "line 2, in <module>: ZeroDivisionError"),
    ],
)
def test_a_file_that_is_no_answer(text, words, check):
    with pytest.raises(UserFileError) as caught:
        check(text)
    assert words in str(caught.value)
    assert len(str(caught.value)) <= LONGEST_MESSAGE


def test_the_number_is_read_without_running_the_file(tmp_path):
    path = tmp_path / "answer.py"
    path.write_text("EXERCISE = 8\nraise SystemExit\n")
    assert exercise_of(path).title == "BatchNorm"


def test_an_answer_that_writes_to_dy_is_compared_with_the_true_gradients(check):
    """What it computes from the dy that it has spoilt is wrong, and what it computes before that is right."""
    after = ANSWER.replace("return inv_std * (g", "dy *= 2; return inv_std * (g").replace(
        "return g * inv_std", "dy *= 2; return g * inv_std"
    )
    verdict = check(after)
    status = {outcome.part: outcome.status for outcome in verdict.outcomes}
    assert set(status.values()) == {exercise.RIGHT, exercise.WRONG}, shown(verdict)
    assert [part for part, found in status.items() if found == exercise.WRONG] == ["the contract of a layer"]
