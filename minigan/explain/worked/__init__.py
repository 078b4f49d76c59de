"""Every layer, loss, penalty and optimiser worked through on numbers small enough for a pencil: `minigan explain Conv2d`.

An example chooses inputs and says which entries to write out, and by which formula; all else is computed. The arrays are
those of minigan's own forward and backward in float64. Each gradient that is written out is also measured by nudging its entry,
and gradcheck checks the layer or loss as a whole. A layer or objective without an example of its own runs on small random
numbers.
"""

from __future__ import annotations

import inspect
from typing import Any

from minigan.checks.suite import layer_table
from minigan.errors import OptionError, nearest_name
from minigan.explain.worked import layers, losses, optimizers, text  # noqa: F401 (three of them register their examples)
from minigan.explain.worked.calculator import Working
from minigan.explain.worked.generic import add_layers, add_objectives
from minigan.explain.worked.registry import EXAMPLES
from minigan.explain.worked.second_order import add_penalties
from minigan.losses import OBJECTIVES, PENALTIES, Objective, Penalty

COMPUTED = "Computed in float64, shown to five digits."
FAILED = "FAILED: minigan does not compute what its formulas say."

add_layers(layer_table())
add_objectives(OBJECTIVES.values())
add_penalties(PENALTIES.values())


def find(name: str) -> str | None:
    """The example that is meant, whatever the name's case; None if there is none. Losses also have names of options."""
    options = {option: kind.__name__ for option, kind in {**OBJECTIVES, **PENALTIES}.items()}
    return {**options, **{known.lower(): known for known in EXAMPLES}}.get(name.lower())


def derivation(subject: Any) -> str:
    """Its docstring; for a penalty, and an objective without a source of its own, also those that it is derived from."""
    if not (inspect.isclass(subject) and issubclass(subject, (Penalty, Objective))):
        return inspect.cleandoc(subject.__doc__)
    sourced = issubclass(subject, Penalty) or "Source: " in (subject.__doc__ or "")
    above = (Penalty,) if sourced else tuple(OBJECTIVES.values())
    kinds = [kind for kind in subject.__mro__ if (kind is subject or issubclass(kind, above)) and kind.__doc__]
    return "\n\n".join(
        f"{'' if kind is subject else f'{kind.__name__}, on which it builds: '}{inspect.cleandoc(kind.__doc__ or '')}"
        for kind in kinds
    )


def source(subject: Any) -> str:
    """The file in which it stands."""
    return f"{subject.__module__.replace('.', '/')}.py"


def printable(words: str, encoding: str) -> str:
    """The text for a terminal of this encoding: where it lacks a letter, signs of arithmetic are plain and others are "?"."""
    try:
        words.encode(encoding)
        return words
    except UnicodeEncodeError:
        return words.replace("·", "*").replace("−", "-").encode(encoding, "replace").decode(encoding)


def work_through(name: str) -> tuple[str, Any, Working]:
    """(the example's name, its subject, its page). Raises OptionError for a name that nothing has."""
    known = find(name)
    if known is None:
        raise OptionError(f"unknown name {name!r}: {nearest_name(name, EXAMPLES)}")
    subject, write = EXAMPLES[known]
    page = Working()
    write(page)
    page.nudge()
    page.conclude()
    return known, subject, page


def explain(name: str) -> tuple[str, bool]:
    """(the derivation, the worked example and its check, as text; whether all of it agreed).

    Raises OptionError for a name that nothing has.
    """
    known, subject, page = work_through(name)
    head = [f"{known}  ({source(subject)})", "", *derivation(subject).split("\n"), ""]
    head += ["Worked through", "--------------", COMPUTED, ""]
    tail = [] if page.ok else ["", FAILED]
    return "\n".join([*head, *text.lines(page.blocks), *tail]), page.ok
