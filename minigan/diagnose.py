"""What is wrong with a run, in words: the trouble that its log shows, the evidence and a remedy."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from minigan.training.advice import Advice
from minigan.training.verdict import TITLES, Finding, diagnose, diagnose_run

__all__ = ["TITLES", "Finding", "diagnose", "diagnose_run", "report"]


def report(findings: Sequence[Finding]) -> str:
    """The findings as text for a terminal. Of those after the first, the evidence alone: they often follow from the first."""
    first, *others = findings
    lines = [first.title]
    lines += ["", "What the log shows:", *_bullets(first.evidence)]
    lines += ["", "What to try:", *(line for one in first.advice for line in _advised(one))] if first.advice else []
    lines += ["", "Where to read on:", *_bullets(first.sources)] if first.sources else []
    for other in others:
        lines += ["", f"Also, and perhaps because of it: {other.title[0].lower()}{other.title[1:]}", *_bullets(other.evidence)]
    return "\n".join(lines)


def _advised(advice: Advice) -> list[str]:
    """What to type on a line of its own, whatever its length, so that it can be copied; below it what it is good for."""
    if not advice.changes:
        return _bullets([advice.reason])
    reason = textwrap.wrap(advice.reason, 96, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False)
    return [f"  - {advice.command}", *reason]


def _bullets(entries: Sequence[str]) -> list[str]:
    wrap = textwrap.TextWrapper(96, initial_indent="  - ", subsequent_indent="    ", break_on_hyphens=False)
    return [line for entry in entries for line in wrap.wrap(entry)]
