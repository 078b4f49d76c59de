"""Every command that a text of this repository names is one: the parser takes it, or pyproject.toml names its package."""

import re
import shlex
from pathlib import Path

import pytest
import tomllib

from minigan.cli import entry
from minigan.training import OPTIONS

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
FILES = [
    *(ROOT / name for name in ("README.md", "examples/README.md", "benchmarks/README.md")),
    *(path for folder in ("minigan", "examples", "tests", "benchmarks") for path in sorted((ROOT / folder).rglob("*.py"))),
]
TEXTS = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in FILES if path != Path(__file__)}
# In the words of a message, a value may stand in braces.
NAMES = "train|sample|evaluate|diagnose|explain|exercise|gradcheck|export|info"
COMMAND = re.compile(rf"(?:[`\"'$]|: |^ *)minigan ((?:{NAMES})(?: [\w./:{{}}=-]+)*)(?=[`\n\"'&|,;]|   )", re.M)
INSTALL = re.compile(r"pip install ((?:-e )?(?:'[^']+'|\"[^\"]+\"|\\\"[^\"]+\\\"|[\w.\[\]-]+))")
VALUED = {option.flag for option in OPTIONS.values() if option.kind is not bool}
IN_CI = {"nvidia-cuda-nvrtc"}  # which CI installs by this name


def test_the_commands_are_found():
    found = {name: len(COMMAND.findall(text)) for name, text in TEXTS.items() if not name.startswith("tests")}
    assert found["README.md"] >= 10
    assert sum(map(bool, found.values())) >= 10, "they stand in messages and help texts too"


@pytest.mark.parametrize("name", [name for name in TEXTS if not name.startswith("tests")])
def test_commands_of_minigan(name):
    for command in COMMAND.findall(TEXTS[name]):
        words = shlex.split(re.sub(r"\{[^}]*\}", "7", command.replace("{self.options}", "")))
        if (words[0] == "sample" and "--out" not in words) or len(words) == 1:
            continue  # the command is spoken of, and not to be typed
        if words[-1].startswith("--") and words[-1] in VALUED:
            continue  # an option is spoken of
        entry._parser().parse_args(words)


def test_packages_to_install():
    own = [*PROJECT["dependencies"], *(r for extra in PROJECT["optional-dependencies"].values() for r in extra)]
    known = {re.match(r"[\w-]+", requirement)[0] for requirement in own} | IN_CI
    found = [(name, what) for name, text in TEXTS.items() for what in INSTALL.findall(text)]
    assert len(found) > 5
    for name, what in found:
        target = what.removeprefix("-e ").strip("'\"\\")
        package, _, extra = re.match(r"([\w.-]+)(\[(\w+)\])?", target).groups()
        if package == ".":
            assert extra is None or extra in PROJECT["optional-dependencies"], (name, what)
        else:
            assert package in known, f"{name}: pip install {what} installs no package that pyproject.toml names"
