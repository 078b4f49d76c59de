"""Every layer, loss and optimiser worked through on numbers small enough for a pencil: `minigan explain Conv2d`.

An example chooses inputs and says which entries to write out, and by which formula; all else is computed. The arrays are
those of minigan's own forward and backward in float64. Each gradient that is written out is also measured by nudging its entry,
and gradcheck checks the layer or loss as a whole. A layer or objective without an example of its own runs on small random
numbers.
"""

from __future__ import annotations

import inspect

from minigan.checks.suite import layer_table
from minigan.errors import OptionError, nearest_name
from minigan.explain.worked import layers, losses, optimizers  # noqa: F401 (importing them registers their examples)
from minigan.explain.worked.calculator import Working
from minigan.explain.worked.generic import add_layers, add_objectives
from minigan.explain.worked.registry import EXAMPLES
from minigan.losses import OBJECTIVES

add_layers(layer_table())
add_objectives(OBJECTIVES.values())


def find(name: str) -> str | None:
    """The name of the layer, loss or optimiser that is meant, whatever its case; None if there is none."""
    return {known.lower(): known for known in EXAMPLES}.get(name.lower())


def printable(text: str, encoding: str) -> str:
    """The text for a terminal of this encoding: where it lacks a letter, signs of arithmetic are plain and others are "?"."""
    try:
        text.encode(encoding)
        return text
    except UnicodeEncodeError:
        return text.replace("·", "*").replace("−", "-").encode(encoding, "replace").decode(encoding)


def explain(name: str) -> tuple[str, bool]:
    """(the derivation, the worked example and its check, as text; whether all of it agreed).

    Raises OptionError for a name that is no layer, loss or optimiser.
    """
    known = find(name)
    if known is None:
        raise OptionError(f"unknown name {name!r}: {nearest_name(name, EXAMPLES)}")
    subject, write = EXAMPLES[known]
    page = Working()
    page.lines += [
        f"{known}  ({subject.__module__.replace('.', '/')}.py)",
        "",
        *inspect.cleandoc(subject.__doc__).split("\n"),
        "",
    ]
    page.lines += ["Worked through", "--------------", "Computed in float64, shown to five digits.", ""]
    write(page)
    page.nudge()
    page.conclude()
    if not page.ok:
        page.write()
        page.write("FAILED: minigan does not compute what its formulas say.")
    return "\n".join(page.lines), page.ok
