"""The campaigns in short; `python -m tests.campaigns` runs them in full."""

import subprocess
import sys
from pathlib import Path

import pytest
from mpi import needs_mpi

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("campaign", "cases"),
    [("kills", 5), ("damage", 11), ("options", 12), pytest.param("ranks", 4, marks=needs_mpi)],
)
def test_a_short_campaign_finds_no_problem(campaign, cases):
    command = [sys.executable, "-m", "tests.campaigns", campaign, "--cases", str(cases), "--jobs", "1"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
