"""Every example runs, shortened, and saves its figure; the README stays short, its links lead somewhere and its code runs."""

import ast
import os
import re
import subprocess
import sys
import wave
from functools import cache
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
COURSE = sorted(EXAMPLES.glob("[0-9][0-9]_*.py"))
LONG = (
    "03",
    "06",
    "07",
    "08",
    "09",
    "10",
    "11",
    "13",
    "14",
    "15",
    "16",
    "17",
    "18",
    "19",
)  # more than two seconds of work each
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_readme_has_at_most_a_thousand_words():
    assert len(README.partition("## Licence")[0].split()) <= 1000


@pytest.mark.parametrize("path", [ROOT / "README.md", EXAMPLES / "README.md"], ids=["README", "examples"])
def test_links_lead_to_files(path):
    links = [
        link.partition("#")[0] for link in re.findall(r"\]\(([^)]+)\)", path.read_text(encoding="utf-8")) if "://" not in link
    ]
    assert len(links) > 10
    assert [link for link in links if not (path.parent / link).exists()] == []


def test_the_layer_in_the_readme_prints_what_it_says():
    """Names and counts; the last digits depend on the machine."""
    code, _, rest = README.split("```python")[2].partition("```")
    printed = rest.split("```")[1]
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    def head(text):
        return [line.split(",")[0] if line.startswith("Scale") else line.split()[0] for line in text.split("\n") if line]

    assert head(result.stdout) == head(printed)


def calls(code, *names):
    """{name: its options, except those for the place and the seed} of the calls in a piece of Python."""
    where = {"backend", "seed"}
    return {
        node.func.attr: {k.arg: ast.unparse(k.value) for k in node.keywords if k.arg not in where}
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in names
    }


def test_the_readme_trains_as_the_example_does(tmp_path):
    """The README shows the same training as the example; it runs too, shortened."""
    shown = README.split("```python")[1].split("```")[0]
    example = (EXAMPLES / "10_dcgan.py").read_text(encoding="utf-8").replace("data.shape", "digits.shape")
    assert calls(shown, "dcgan", "GAN") == calls(example.replace("8 if options.quick else 32", "32"), "dcgan", "GAN")
    shorter = shown.replace("range(1, 201)", "range(1, 21)").replace("step % 50", "step % 10")
    assert shorter.count("range(1, 21)") == shorter.count("step % 10") == 1
    result = subprocess.run([sys.executable, "-c", shorter], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert "total" in result.stdout
    assert "'loss_d'" in result.stdout
    with Image.open(tmp_path / "digits.png") as image:
        assert image.size == (466, 466)
        assert image.convert("L").getextrema()[1] > 128


def run(example, folder, *options):
    """The example in a process of its own, on one thread."""
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "MINIGAN_NUM_THREADS": "1"}
    command = [sys.executable, str(example), *options]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment)


@pytest.fixture(scope="module")
def shortened(tmp_path_factory):
    """shortened(example) -> (folder, finished process); each example runs once."""

    @cache
    def finished(example):
        folder = tmp_path_factory.mktemp(example.stem)
        return folder, run(example, folder, "--quick", "--backend", "numpy")

    return finished


@pytest.mark.parametrize(
    "example",
    [pytest.param(path, id=path.stem, marks=pytest.mark.slow if path.stem.startswith(LONG) else ()) for path in COURSE],
)
def test_lesson(shortened, example):
    """It runs, its own assertions included, and saves one figure, which is not blank."""
    if example.stem == "11_beside_pytorch":
        pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")
    folder, result = shortened(example)
    assert result.returncode == 0, result.stderr
    assert not result.stderr
    assert f"figure: {example.stem}.png" in result.stdout.splitlines()
    with Image.open(folder / f"{example.stem}.png") as image:
        assert min(image.size) >= 300
        shades = image.convert("L").histogram()
    assert sum(shades[250:]) < 0.99 * sum(shades)
    assert sum(count > 0 for count in shades) > 20


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--backnd", "numpy"], "unknown argument '--backnd': did you mean --backend?"),
        (["--out", "no/such/folder.png"], "expected a name that ends in .png, in a folder that exists"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_wrong_option_is_one_line(tmp_path, options, expected):
    result = run(EXAMPLES / "07_digit_classifier.py", tmp_path, *options)
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert expected in result.stderr
    assert not list(tmp_path.iterdir())


def test_without_pytorch_its_example_says_what_to_install(tmp_path):
    (tmp_path / "torch.py").write_text("raise ImportError\n", encoding="utf-8")
    command = [sys.executable, str(EXAMPLES / "11_beside_pytorch.py"), "--quick"]
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": path})
    assert result.returncode == 2
    assert result.stderr == (
        "11_beside_pytorch.py: error: this example needs PyTorch, which is not installed: pip install torch\n"
    )


@pytest.mark.slow
def test_the_sound_is_a_wav_file_and_its_spectrum_comes_nearer(shortened):
    folder, result = shortened(EXAMPLES / "14_sound.py")
    shares = [float(line.split()[2].rstrip("%")) for line in result.stdout.splitlines() if line.startswith("step ")]
    assert shares[-1] < 0.6 * shares[0]
    with wave.open(str(folder / "14_sound.wav")) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 4000)
        assert len(set(file.readframes(file.getnframes()))) > 100


def test_each_lesson_has_its_place_in_the_table_of_contents():
    """A heading, its command and its figure."""
    contents = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    for example in COURSE:
        assert f"## {example.stem[:2]} " in contents
        assert f"python examples/{example.name}" in contents
        assert f"](images/{example.stem}.png)" in contents
        assert (EXAMPLES / "images" / f"{example.stem}.png").stat().st_size < 150_000


@pytest.mark.parametrize("example", COURSE, ids=lambda path: path.stem)
def test_each_lesson_has_two_questions_with_folded_answers(example):
    """What is to be changed stands in the file as it is quoted."""
    contents = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    section = re.search(rf"^## {example.stem[:2]} .*?(?=^## |\Z)", contents, re.M | re.S)[0]
    found = re.findall(r"\*\*Question (\d)\.\*\* (.+)\n\n<details><summary>Answer</summary>\n\n(.+)\n\n</details>\n", section)
    assert [number for number, *_ in found] == ["1", "2"]
    assert section.count("<details>") == section.count("</details>") == 2
    for _, question, answer in found:
        assert "?" in question or "By pencil" in question
        assert re.search(r"\d", answer)
        changes = re.findall("`([^`]+)` → `[^`]+`", question)
        assert [old for old in changes if old not in example.read_text(encoding="utf-8")] == []


def test_the_guide_to_a_layer_of_ones_own_makes_one_that_is_proved(tmp_path):
    """Its blocks of Python, put together; and the mistake that it asks for is caught."""
    guide = (EXAMPLES / "your_own_layer.md").read_text(encoding="utf-8")
    blocks = re.findall("```python\n(.*?)```", guide, re.S)
    assert len(blocks) == 5
    code = "\n".join(blocks)
    broken = " + self.backend.matmul(db, self.V.T)"
    assert f"leave `{broken.strip()}` out" in guide
    for text, status, words in ((code, 0, "ok"), (code.replace(broken, ""), 1, "lacks the path through V")):
        (tmp_path / "gate.py").write_text(text, encoding="utf-8")
        command = [sys.executable, "-m", "minigan", "gradcheck", "gate.py"]
        result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=os.environ)
        assert result.returncode == status, result.stdout + result.stderr
        assert words in result.stdout
