"""The house: imports go downwards only, and nothing lies at the top level that does not belong there."""

import ast
import subprocess
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "minigan"
# From top to bottom; a module may import what stands on a later line, and errors from anywhere.
FLOORS = [
    ["__main__", "__init__"],
    ["cli"],
    ["explain", "diagnose"],
    ["training", "own_layers"],
    ["plots", "checkpoint", "gradcheck", "health"],
    ["models", "data", "files"],
    ["gan"],
    ["network"],
    ["losses", "optim"],
    ["layers"],
    ["backends"],
    ["errors"],
]
FLOOR = {name: floor for floor, names in enumerate(FLOORS) for name in names}


def imported(path):
    """The parts of minigan that a file imports when it runs (imports for type checkers alone do not count)."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only or not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("minigan"):
            continue
        parts = node.module.split(".")
        yield from [parts[1]] if len(parts) > 1 else [alias.name for alias in node.names]


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_downwards(path):
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if own == "datasets":
        return
    for name in imported(path):
        if name in FLOOR and name != own:
            assert FLOOR[name] > FLOOR[own], f"{own} imports {name}, which stands above or beside it"


def test_every_part_has_a_floor():
    parts = {p.name.removesuffix(".py") for p in PACKAGE.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()}
    assert parts - {"datasets"} == set(FLOOR)


def test_nothing_lies_about_at_the_top_level():
    kept = subprocess.run(["git", "ls-files"], cwd=PACKAGE.parent, capture_output=True, text=True)
    if kept.returncode:
        pytest.skip("not a clone")
    top = {name.partition("/")[0] for name in kept.stdout.split("\n") if name}
    own = {"pyproject.toml", "README.md", "LICENSE", "minigan", "tests", "examples", "benchmarks"}
    assert {name for name in top if not name.startswith(".")} == own
