"""What an exercise is, and what comes out of a check."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

RIGHT, WRONG, BLANK = "right", "wrong", "not filled in yet"
ERROR = "error"  # the mistake of a part that could not be judged


@dataclass(frozen=True)
class Source:
    """A function of the library as a piece of a file. name: what it is called there, where that is another name."""

    function: Any
    name: str = ""


@dataclass(frozen=True)
class Part:
    """What is marked by itself.

    hint: the first hint, a question or where to look. formula: from which words of the subject's docstring up to which others
    the second hint quotes it; with "" for the latter to the end of the line. subject: whose docstring, where it is not the
    exercise's. The third hint is the library's source.
    """

    name: str
    hint: str
    formula: tuple[str, str]
    subject: Any = None


@dataclass
class Outcome:
    """One part of an answer. lines: what is wrong with it, and how that shows. mistake: the kind that was recognised, or ""."""

    part: str
    status: str
    lines: list[str] = field(default_factory=list)
    mistake: str = ""


@dataclass
class Verdict:
    """The outcome of a whole file. blanks: those that are still open. seconds: what the check took."""

    number: int
    outcomes: list[Outcome]
    blanks: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def right(self) -> int:
        return sum(outcome.status == RIGHT for outcome in self.outcomes)

    @property
    def mistakes(self) -> list[str]:
        """The mistakes that were recognised, each with its part."""
        return [f"{o.part}: {o.lines[0]}" for o in self.outcomes if o.status == WRONG and o.mistake not in ("", ERROR)]

    @property
    def errors(self) -> list[str]:
        """What kept parts from being judged, each once."""
        return list(dict.fromkeys(o.lines[0] for o in self.outcomes if o.mistake == ERROR))

    @property
    def ok(self) -> bool:
        return self.right == len(self.outcomes)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Verdict:
        return cls(**{**values, "outcomes": [Outcome(**outcome) for outcome in values["outcomes"]]})


Check = Callable[[Any], list[Outcome]]  # takes an answer.Answer


@dataclass(frozen=True)
class Exercise:
    """A file with blanks, made of the library's own docstrings and sources, and the check of what is filled in.

    task: what one derives, in a line. subject: whose docstring holds the derivation. opening: the pieces of it that the file
    quotes, each from which words up to which others. explained: the names for `minigan explain`; examples: of the course.
    head: the line of the class, or "" for functions. given: sources that the file holds; blanks: the text of the rest of it.
    answer: the sources that stand in the place of the blanks in the solution, with these class attributes of the subject; more:
    what the sources call, for the last hint.
    """

    number: int
    title: str
    task: str
    subject: Any
    opening: tuple[tuple[str, str], ...]
    explained: tuple[str, ...]
    examples: tuple[str, ...]
    head: str
    given: tuple[Source, ...]
    blanks: str
    answer: tuple[Source, ...]
    parts: tuple[Part, ...]
    check: Check
    more: tuple[Any, ...] = ()
    attributes: tuple[str, ...] = ()
