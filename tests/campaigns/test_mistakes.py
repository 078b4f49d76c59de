"""Planted mistakes are named rightly or not at all: a few of each kind here, 200 where slow tests run."""

import pytest
from planted_mistakes import CASES, OTHER, all_planted, by_turns

from tests.campaigns.mistakes import Outcome, outcomes, rates, table


def check(found, least_right):
    right, wrong = rates(found)
    assert right >= least_right, table(found)
    assert wrong <= 0.02, table(found)


def test_a_few_planted_mistakes():
    found = list(outcomes(24, seed=0))
    assert len({each.kinds for each in found}) > 10, "of most kinds"
    check(found, 0.6)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_200_planted_mistakes(seed):
    found = list(outcomes(200, seed))
    assert len(found) == 200
    check(found, 0.6)


def test_each_tenth_is_of_no_kind():
    others = [OTHER in all_planted()[index].kinds for index in by_turns(0)]
    assert [sum(others[start : start + 10]) for start in range(0, 200, 10)] == [1] * 20
    assert len(others) == len(set(by_turns(0))) == len(all_planted()) > 1000


def test_every_layer_is_in_the_pool():
    assert {id(each.case) for each in all_planted()} == {id(case) for case in CASES.values()}


def test_verdicts_and_table():
    said = [(), ("sign",), ("factor",), ("sign", "factor"), ("factor or sign",), ("factor or axis",)]
    found = [Outcome("", frozenset({"sign"}), frozenset(kinds), ()) for kinds in said]
    assert [each.verdict for each in found] == ["none", "right", "wrong", "wrong", "undecided", "wrong"]
    assert Outcome("", frozenset({OTHER}), frozenset({"sign"}), ()).verdict == "wrong"
    assert rates(found[:2]) == (0.5, 0.0)
    assert table(found[:3]).splitlines() == [
        "planted   1   2   3",
        "sign      1   1   1",
        "  said 1: sign",
        "  said 2: factor",
        "  said 3: (nothing)",
    ]
