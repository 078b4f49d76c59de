"""Mistakes planted in the layers' real source, and what the gradient check says of each: the confusion table.

    python -m tests.campaigns.mistakes [--cases 200] [--seed 0] [--jobs 1] [--list]

A mistake is named rightly if all that the report names is of the kind that was planted, wrongly if anything is not, and also if
a mistake is named that no explanation is meant for ("other"). --cases 0 takes all that can be planted.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "support")]
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import planted_mistakes  # noqa: E402 (found through the path above)
from planted_mistakes import OTHER  # noqa: E402

NOTHING = "(nothing)"


@dataclass(frozen=True)
class Outcome:
    """What was planted, by kinds of which each is right, and what the check says: kinds, and its lines."""

    planted: str
    kinds: frozenset[str]
    said: frozenset[str]
    lines: tuple[str, ...]

    @property
    def verdict(self) -> str:
        if not self.said:
            return "none"
        if self.said <= self.kinds:
            return "right"
        undecided = all(self.kinds & set(kind.split(" or ")) for kind in self.said)
        return "undecided" if undecided else "wrong"


def outcome(index: int) -> Outcome | None:
    """Of the mistake of this number; None where it does not show in this layer, or where it cannot run."""
    planted = planted_mistakes.all_planted()[index]
    report = planted.report()
    if report is None or report.ok:
        return None
    said = frozenset(mistake.kind for mistake in report.mistakes)
    return Outcome(str(planted), planted.kinds, said, tuple(map(str, report.mistakes)))


def outcomes(count: int, seed: int, jobs: int = 1) -> Iterator[Outcome]:
    """Of so many mistakes that show (0: all), drawn by turns from all kinds; each tenth is of no kind that is explained."""
    with contextlib.nullcontext() if jobs == 1 else multiprocessing.get_context("fork").Pool(jobs) as pool:
        order = planted_mistakes.by_turns(seed)
        tried = pool.imap(outcome, order) if pool else (outcome(index) for index in order)
        yield from itertools.islice((each for each in tried if each is not None), count or None)


def rates(found: list[Outcome]) -> tuple[float, float]:
    """The shares of all mistakes that are named rightly and wrongly."""
    verdicts = Counter(each.verdict for each in found)
    return verdicts["right"] / len(found), verdicts["wrong"] / len(found)


def table(found: list[Outcome]) -> str:
    """A row for each kind that was planted, a column for each that was said."""
    counts = Counter((_row(each), _column(each)) for each in found)
    rows = sorted({row for row, _ in counts}, key=lambda row: (row == OTHER, row))
    columns = sorted({column for _, column in counts}, key=lambda column: (column == NOTHING, column not in rows, column))
    width = max(map(len, ["planted", *rows])) + 1
    heads = [f"{'planted':<{width}}" + " ".join(f"{number:>3}" for number in range(1, len(columns) + 1))]
    body = [f"{row:<{width}}" + " ".join(f"{counts[row, column] or '.':>3}" for column in columns) for row in rows]
    legend = [f"  said {number}: {column}" for number, column in enumerate(columns, start=1)]
    return "\n".join([*heads, *body, *legend])


def _row(each: Outcome) -> str:
    return " / ".join(sorted(each.kinds))


def _column(each: Outcome) -> str:
    return " + ".join(sorted(each.said)) or NOTHING


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns.mistakes", description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=200, help="mistakes that show (0: all)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--list", action="store_true", help="each mistake, with what the check says of it")
    given = parser.parse_args()
    since = time.perf_counter()
    found = list(outcomes(given.cases, given.seed, given.jobs))
    for each in found:
        if given.list or each.verdict == "wrong":
            print(f"{each.verdict}: {_row(each)} | {each.planted}", *(f"    {line}" for line in each.lines), sep="\n")
    print(table(found))
    right, wrong = rates(found)
    verdicts = Counter(each.verdict for each in found)
    counts = ", ".join(f"{verdicts[name]} {name}" for name in ("right", "wrong", "undecided", "none"))
    seconds = time.perf_counter() - since
    print(f"{len(found)} mistakes in {seconds:.0f} s: {counts}; {right:.1%} named rightly, {wrong:.1%} wrongly")
    return 0 if right >= 0.6 and wrong <= 0.02 else 1


if __name__ == "__main__":
    sys.exit(main())
