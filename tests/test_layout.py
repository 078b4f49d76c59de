"""The house: imports go downwards, nothing goes round in circles, the core stays short, and names are the field's own."""

import ast
import io
import re
import subprocess
import tokenize
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "minigan"

# What stands in each folder, from top to bottom: a file may import from lower lines of its own folder's list and, of the other
# parts of minigan, from those on lower lines of the first list. Names on one line do not import each other. A folder's
# __init__ stands above its files.
ORDER = {
    "": [
        *(
            "__main__",
            "cli",
            "__init__",
            "explain diagnose evaluate exercises",
            "training",
            "checks",
            "metrics",
            "export",
            "data",
            "models",
            "games",
        ),
        *(
            "losses optim ranges",
            "network",
            "layers",
            "capture",
            "backends",
            "forked",
            "copying distributed files initializers progress reachable schedules tables user_code",
            "sizes",
            "errors",
        ),
    ],
    "backends": ["cupy numpy", "expressions recording", "base", "random scalars", "geometry machine"],
    "backends/cupy": ["backend", "random scalars", "graph kernels cublas"],
    "backends/numpy": [
        *("backend", "convolution", "columns sub_pixel", "elementwise winograd", "products", "replay"),
        *("call_list threads", "memory workers"),
    ],
    "checks": [
        *("file", "contract smoothness suite", "second_order game", "entries gradients", "mistakes", "differences", "report"),
    ],
    "checks/mistakes": ["naming", "passes paths sums whole", "flows rounding sizes", "evidence"],
    "cli": ["entry", "diagnose evaluate exercise explain export gradcheck info sample train", "parser"],
    "data": [
        *(
            "loading",
            "files batches",
            "folders sounds",
            "cache decoding",
            "images numpy_files",
            "arrays text",
            "mnist idx dataset synthetic",
            "labels",
            "kinds",
            "wav",
            "reading",
        ),
        "bundled",
    ],
    "data/bundled": [],
    "exercises": [
        *("grading", "process", "worker", "checking report", "writing", "table", "adam convolutions functions_and_losses r1"),
        *("dense_and_norms gan_step", "layer_check", "naming", "answer library_source", "blanks exercise"),
    ],
    "explain": [
        *("subject", "page", "breaking game", "history", "step worked", "second_order"),
        "formulas likelihoods objectives places typeset",
    ],
    "explain/page": [
        *("build", "overview tour_gan tour_vae", "walk_gan walk_vae", "penalties walk"),
        *(
            "curves figures prose_vae switches timeline tour updates",
            "facts live plane",
            "prose",
            "arrays budget names pair place",
        ),
    ],
    "explain/step": ["opening", "gan vae", "plan", "looking", "rerun", "recorder", "records"],
    "explain/subject": ["build", "blocks tex"],
    "explain/worked": ["second_order", "generic layers losses optimizers", "registry running text", "calculator"],
    "export": ["from_torch to_onnx to_torch", "plan", "means rules version"],
    "games": ["gan", "game"],
    "layers": [
        "conv dense minibatch_std residual shape spectral_norm",
        "composite dropout elementwise linear norm",
        "base formulas",
    ],
    "losses": [
        *("gradient_penalty hinge relativistic_average saturating zero_centred", "penalty relativistic wasserstein"),
        *("f_gan least_squares non_saturating score supervised", "base"),
    ],
    "metrics": [
        *(
            "reference",
            "fidelity parzen prdc",
            "modes neighbours texts",
            "digits diversity frechet kid log_spectra ngrams sliced_wasserstein",
            "points",
        ),
    ],
    "models": ["dcgan mlp wave"],
    "training": [
        "from_config",
        "build run",
        "verdict",
        "demands folder",
        "config plots",
        "games",
        "gan vae",
        "description",
        "findings",
        "advice",
        "settings",
        "shares",
        "busy_cores checkpoint divergence evaluation lock memory_estimate messages monitor",
        "log options",
    ],
}
GROWING = {"layers", "losses", "models", "games"}  # here a new file needs no line: it stands on top of its folder
CORE = ["backends/base.py", "layers/*.py", "losses/*.py", "network.py", "optim.py", "games/gan.py", "checks/differences.py"]
MOST_LINES = 4300  # docstrings, and so the derivations, included; the second order and what came with it are 1,500 of them

# Names of our own where the field has one.
BANNED_WORDS = {"tape", "stranger", "hindrance", "film", "refine"}  # also as a part of an identifier, and BANNED_PROSE in text
BANNED_PROSE = {"tape", "stranger", "hindrance", "film"}
BANNED_NAMES = {
    *(
        "leaves",
        "begin_pass",
        "joins",
        "samples_apart",
        "mixes_batch",
        "kinks",
        "free_folder",
        "Health",
        "on_host",
        "may_record",
    ),
    *("Number", "Kept", "say", "zero_grads", "add_grad", "forget_grads", "settle_grads", "largest_array"),
}
BANNED_IN = {"minigan/backends/numpy/winograd.py": {"points"}}


def modules(package):
    """{path of a module as parts, ("data", "idx") or for a folder's own ("data", "__init__"): its file}."""
    return {path.relative_to(package).with_suffix("").parts: path for path in sorted(package.rglob("*.py"))}


def imports(text, module, known):
    """(line, module) for all that a module's text imports of minigan: in functions and for type checkers too."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(["minigan", *module[: len(module) - node.level], *filter(None, [node.module])])
            names = [f"{base}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            first, *parts = name.split(".")
            if first == "minigan":
                yield node.lineno, resolve(tuple(parts), known)


def resolve(parts, known):
    """The module that a dotted name stands for: its longest beginning that is one; what comes after is a name in it."""
    while parts not in known and (*parts, "__init__") not in known:
        parts = parts[:-1]
    return parts if parts in known else (*parts, "__init__")


def rank(folder, name, order):
    """On which line of its folder's list a file or folder stands, or None."""
    if name == "__init__" and folder:
        return -1
    listed_at = next((index for index, line in enumerate(order.get(folder, ())) if name in line.split()), None)
    return 0 if listed_at is None and folder in GROWING else listed_at


def upward_imports(sources, order):
    """What speaks against a {module: text}: each import of something that stands above or beside the importing module."""
    for module, text in sources.items():
        for line, target in sorted(set(imports(text, module, sources))):
            if target == module:
                continue
            depth = next(i for i, (own, other) in enumerate(zip(module, target, strict=False)) if own != other)
            own, other = (rank("/".join(module[:depth]), name, order) for name in (module[depth], target[depth]))
            if own is None or other is None or other <= own:
                yield f"{'/'.join(module)}, line {line}: {'/'.join(target)} does not stand below it in ORDER"


def cycle(sources):
    """The modules of a cycle of imports, or None."""
    graph = {module: {target for _, target in imports(text, module, sources)} - {module} for module, text in sources.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return None


def places(sources):
    """{folder/name} of all files and folders."""
    return {"/".join(module[: depth + 1]) for module in sources for depth in range(len(module)) if module[depth] != "__init__"}


def listed(order):
    """The same from an ORDER; each folder has an __init__, which need not be listed."""
    names = [(folder, name) for folder, lines in order.items() for line in lines for name in line.split()]
    return {f"{folder}/{name}".lstrip("/") for folder, name in names if name != "__init__"}


@cache
def words(name):
    """The words of an identifier: save_film and FilmWriter hold film."""
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)}


def banned(text, names=frozenset()):
    """Every banned name in a source, with its line: in identifiers those of both lists and `names`, in text those of prose.

    `map` is Python's own function, and as any other name it hides that.
    """
    tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    for before, token, after in zip([None, *tokens], tokens, [*tokens[1:], None], strict=False):
        if token.type == tokenize.NAME:
            hides_map = token.string == "map" and (after.string != "(" or (before and before.string == "def"))
            if hides_map or token.string in BANNED_NAMES | names or words(token.string) & BANNED_WORDS:
                yield f"line {token.start[0]}: {token.string}"
        elif token.type in (tokenize.STRING, tokenize.COMMENT, getattr(tokenize, "FSTRING_MIDDLE", None)):
            for word in BANNED_PROSE & {word.rstrip("s") for word in re.findall(r"[a-z]+", token.string.lower())}:
                yield f"line {token.start[0]}: {word} in text"


def core_lines(package):
    return sum(len(path.read_text(encoding="utf-8").splitlines()) for pattern in CORE for path in package.glob(pattern))


@pytest.fixture(scope="module")
def sources():
    return {module: path.read_text(encoding="utf-8") for module, path in modules(PACKAGE).items()}


def test_imports_go_downwards(sources):
    found = list(upward_imports(sources, ORDER))
    assert not found, "\n".join(found)


def test_no_imports_in_a_circle(sources):
    assert cycle(sources) is None


def test_every_file_has_its_place(sources):
    """In ORDER, and nothing stands there that is gone."""
    expected = listed(ORDER)
    there = {place for place in places(sources) if place in expected or place.rpartition("/")[0] not in GROWING}
    assert not there ^ expected, f"not in ORDER: {sorted(there - expected)}; in ORDER alone: {sorted(expected - there)}"


def test_the_core_is_short():
    assert 1000 < core_lines(PACKAGE) < MOST_LINES


@pytest.mark.parametrize("folder", ["minigan", "tests", "benchmarks", "examples"])
def test_names_are_the_fields(folder):
    found = [
        f"{path.relative_to(ROOT)}, {what}"
        for path in sorted((ROOT / folder).rglob("*.py"))
        if path != Path(__file__)
        for what in banned(path.read_text(encoding="utf-8"), BANNED_IN.get(str(path.relative_to(ROOT)), frozenset()))
    ]
    assert not found, "\n".join(found)


def test_nothing_lies_about_at_the_top_level():
    kept = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if kept.returncode:
        pytest.skip("not a clone")
    top = {name.partition("/")[0] for name in kept.stdout.split("\n") if name}
    own = {"pyproject.toml", "README.md", "LICENSE", "minigan", "tests", "examples", "benchmarks"}
    assert {name for name in top if not name.startswith(".")} == own


# -- each of these finds what it looks for -----------------------------------------------------------------------------

HOUSE = {("__init__",): "", ("top", "__init__"): "", ("top", "a"): "", ("top", "b"): "", ("base",): "", ("side",): ""}
HOUSE_ORDER = {"": ["__init__", "top", "base side"], "top": ["a", "b"]}


@pytest.mark.parametrize(
    ("module", "text"),
    [
        (("base",), "from minigan.top.a import x"),
        (("base",), "from minigan.top import a"),
        (("base",), "import minigan.top.a as a"),
        (("base",), "import minigan"),
        (("base",), "from minigan import __version__"),
        (("base",), "from minigan.side import x"),
        (("base",), "def f():\n    from minigan.top.a import x"),
        (("base",), "if TYPE_CHECKING:\n    from minigan.top.a import x"),
        (("base",), "from .top import a"),
        (("top", "b"), "from minigan.top.a import x"),
        (("top", "b"), "from minigan.top import a"),
        (("top", "b"), "from minigan.top import x"),
        (("top", "b"), "from .a import x"),
        (("top", "b"), "from .. import top"),
    ],
)
def test_an_upward_import_is_found(module, text):
    assert len(list(upward_imports({**HOUSE, module: text}, HOUSE_ORDER))) == 1


@pytest.mark.parametrize(
    ("module", "text"),
    [
        (("top", "a"), "from minigan.top.b import x\nfrom minigan.top import b\nfrom . import b\nfrom ..base import x"),
        (("top", "b"), "import minigan.base, numpy\nfrom minigan import base, side\nfrom minigans import x"),
        (("__init__",), "from minigan.top import a, x\nfrom minigan.base import y"),
        (("top", "__init__"), "from minigan.top.a import a"),
    ],
)
def test_a_downward_import_is_not(module, text):
    assert list(upward_imports({**HOUSE, module: text}, HOUSE_ORDER)) == []


def test_a_file_without_a_place_is_found():
    with_new = {**HOUSE, ("top", "new"): "", ("top", "a"): "from minigan.top import new"}
    assert len(list(upward_imports(with_new, HOUSE_ORDER))) == 1
    assert places(with_new) != listed(HOUSE_ORDER)
    assert places(HOUSE) == listed(HOUSE_ORDER)


def test_a_cycle_is_found():
    there, back = "from minigan.side import x", "def f():\n    import minigan.base"
    assert cycle({**HOUSE, ("base",): there}) is None
    assert set(cycle({**HOUSE, ("base",): there, ("side",): back})) == {("base",), ("side",)}


def test_a_core_that_grew_is_found(tmp_path):
    for name in ("layers", "checks"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "differences.py").write_text('"""Text."""\n' * (MOST_LINES // 2))
    assert core_lines(tmp_path) == MOST_LINES


@pytest.mark.parametrize(
    "text",
    [
        *("tape = 1", "class RecordingTape: ...", "x.save_film()", "FILM = 1", "leaves(x)", "Health()"),
        *("def map(): ...", "map = 1", "g.map[0]", "f(map=1)"),
        *("# hindrances", '"""A stranger."""', 'f"a film of {x}"'),
    ],
)
def test_a_banned_name_is_found(text):
    assert len(list(banned(text + "\n"))) == 1


def test_other_names_are_not():
    text = "tree_leaves(x)\nlist(map(f, x))\npool.map(f, x)\nHealthCheck.all()\nescaped = 'tapestry, mapped'\npoints = 1\n"
    assert list(banned(text)) == []
    assert len(list(banned(text, {"points"}))) == 1
