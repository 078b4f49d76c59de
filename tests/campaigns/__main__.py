"""python -m tests.campaigns: the attacks in full, with their counts."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "support")]
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # a game so small gains nothing from threads

from campaigns import damage, forked, kills, options, ranks  # noqa: E402 (found through the path above)

CAMPAIGNS = {"kills": (kills, 200), "damage": (damage, 1000), "options": (options, 0), "ranks": (ranks, 20)}  # 0: all


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns", description=__doc__)
    parser.add_argument("campaign", nargs="*", default=list(CAMPAIGNS), help=f"of {', '.join(CAMPAIGNS)} (all)")
    parser.add_argument("--cases", type=int, help="how many of each (kills 200, damage 1000, options all, ranks 20)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    given = parser.parse_args()
    forked.preload()
    failed = 0
    for name in given.campaign:
        campaign, full = CAMPAIGNS[name]
        since, count, problems = time.perf_counter(), 0, []
        with multiprocessing.get_context("fork").Pool(given.jobs) as pool:
            cases = campaign.cases(full if given.cases is None else given.cases, given.seed)
            for done, found in pool.imap_unordered(campaign.attempt, cases):
                count += done
                problems += found
                print(*found, sep="\n", end="\n" if found else "", flush=True)
        print(f"{name}: {count:,} in {time.perf_counter() - since:.0f} s, {len(problems)} problems", flush=True)
        failed += len(problems)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
