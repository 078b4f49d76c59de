"""The notebooks of examples/notebooks match their sources, hold the same code, and run from top to bottom."""

import ast
import importlib.util
import shutil
from pathlib import Path

import pytest

nbformat, nbclient, *_ = (
    pytest.importorskip(needed, reason=f"{needed} is not installed: pip install '.[notebook]'")
    for needed in ("nbformat", "nbclient", "jupytext", "ipykernel")
)

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "examples" / "notebooks"
SPEC = importlib.util.spec_from_file_location("make_notebooks", FOLDER / "make.py")
make = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(make)
SHORT = {"01", "04"}  # run by default too


def cells_of(notebook):
    return [(cell.cell_type, cell.source) for cell in notebook.cells]


def test_every_source_has_its_notebook_and_no_other_is_there():
    assert {path.stem for path in FOLDER.glob("*.ipynb")} == {path.stem for path in make.SOURCES}
    assert len(make.SOURCES) > 20


@pytest.mark.parametrize("source", make.SOURCES, ids=lambda path: path.stem)
def test_a_notebook_matches_its_source(source):
    """Made again, it has the same cells; its outputs are stripped. `python examples/notebooks/make.py` makes them all."""
    kept = nbformat.read(FOLDER / f"{source.stem}.ipynb", 4)
    assert cells_of(kept) == cells_of(make.notebook(source))
    nbformat.validate(kept)
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in kept.cells)
    assert len({cell.id for cell in kept.cells}) == len(kept.cells)


def code_of(notebook):
    return "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")


@pytest.mark.parametrize("source", make.LESSONS, ids=lambda path: path.stem)
def test_the_code_is_that_of_the_example(source):
    """The same statements in the same order, but for what a notebook needs at its start and the docstring, which is text."""
    notebook = make.notebook(source)
    opening, _, rest = code_of(notebook).partition(make.opening(source))
    assert opening == ""
    body = ast.parse(source.read_text(encoding="utf-8")).body[1:]
    assert list(map(ast.dump, ast.parse(rest).body)) == list(map(ast.dump, body))
    assert notebook.cells[0].source.startswith(f"# {source.stem[:2]} ")


def test_a_source_that_changed_is_noticed(tmp_path):
    source = tmp_path / "01_one_neuron.py"
    text = (ROOT / "examples" / source.name).read_text(encoding="utf-8")
    for change in (
        ("STEPS, RATE = 20", "STEPS, RATE = 21"),
        ("with a pencil", "with a pen"),
        ("# The same with", "# Again with"),
    ):
        source.write_text(text.replace(*change), encoding="utf-8")
        assert text != source.read_text(encoding="utf-8")
        assert cells_of(make.notebook(source)) != cells_of(make.notebook(make.LESSONS[0]))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a_b * c ~ <d> $e$", r"a\_b \* c \~ \<d> \$e\$"),
        ("`a_b` stays, https://a.example/b_c too", "`a_b` stays, https://a.example/b_c too"),
        ("(arXiv:1406.2661)", "([arXiv:1406.2661](https://arxiv.org/abs/1406.2661))"),
        ("see 10_dcgan.py.", r"see [10\_dcgan](10_dcgan.ipynb)."),
        ("that is\n    L_D = 1\n    L_G = 2\nand so on", "that is\n\n```text\nL_D = 1\nL_G = 2\n```\n\nand so on"),
        ("  a_1   one\n        goes on\n  b     two", "- **a\\_1**: one\n  goes on\n- **b**: two"),
        ("  a   1\n  b   2", "```text\na   1\nb   2\n```"),
    ],
)
def test_text_is_shown_as_it_stands(text, shown):
    assert make.as_markdown(text) == shown


def run(source, folder, *options, cells=None):
    """What the notebook, or its first cells, put out, run in a folder beside a copy of course.py with these options."""
    (folder / "notebooks").mkdir()
    shutil.copy(ROOT / "examples" / "course.py", folder)
    notebook = make.notebook(source)
    given = "".join(f', "{option}"' for option in options)
    notebook.cells = notebook.cells[:cells]
    for cell in notebook.cells:
        cell.source = cell.source.replace(f'"{source.name}"]', f'"{source.name}"{given}]').replace("STEPS = 400", "STEPS = 16")
    place = {"metadata": {"path": folder / "notebooks"}}
    nbclient.NotebookClient(notebook, timeout=1800, kernel_name="python3", resources=place, allow_errors=True).execute()
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


@pytest.mark.parametrize(
    "source",
    [pytest.param(p, id=p.stem, marks=() if p.stem[:2] in SHORT else pytest.mark.slow) for p in make.SOURCES],
)
def test_a_notebook_runs_from_top_to_bottom(source, tmp_path):
    """Shortened; it shows its figure, and what it printed says nothing of an error."""
    if source.stem == "11_beside_pytorch":
        pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")
    outputs = run(source, tmp_path, "--quick", "--backend", "numpy")
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    printed = "".join(output.text for output in outputs if output.get("name") == "stdout")
    assert [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"] == []
    if source in make.LESSONS:
        assert len(pictures) == 1
        assert f"figure: {source.stem}.png" in printed
        assert (tmp_path / "notebooks" / f"{source.stem}.png").exists()
    else:
        assert len(pictures) >= 7
        assert "by nudging" in printed
    sounds = [output for output in outputs if "<audio" in output.get("data", {}).get("text/html", "")]
    assert len(sounds) == (source.stem == "14_sound")


def test_a_wrong_option_is_one_line_in_a_notebook_too(tmp_path):
    outputs = run(make.LESSONS[0], tmp_path, "--backnd", cells=3)
    told = "".join(output.text for output in outputs if output.get("name") == "stderr")
    assert told.startswith("01_one_neuron.py: error: unknown argument '--backnd': did you mean --backend?")
    assert told.count("\n") == 1
    assert [output for output in outputs if output.output_type == "error"] == []
