"""Every example runs, shortened, and leaves the picture it promises."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

EXAMPLES = Path(__file__).parents[1] / "examples"
COURSE = sorted(EXAMPLES.glob("[0-9][0-9]_*.py"))
README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def test_the_layer_in_the_readme_prints_what_it_says():
    """The names and counts; the last digits are the machine's."""
    code, _, rest = README.split("```python")[2].partition("```")
    printed = rest.split("```")[1]
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    def head(text):
        return [line.split(",")[0] if line.startswith("Scale") else line.split()[0] for line in text.split("\n") if line]

    assert head(result.stdout) == head(printed)


def test_the_readme_trains_as_the_example_does():
    """The Python interface is shown twice: once to read, once to run."""
    shown = README.split("```python")[1].split("```")[0]
    example = (EXAMPLES / "train_digits.py").read_text(encoding="utf-8")
    for line in shown.split("\n"):
        if line.strip() and "range(" not in line and "save_samples(" not in line:
            assert line in example.split("\n")


def test_train_digits(tmp_path):
    picture = tmp_path / "digits.png"
    command = [sys.executable, str(EXAMPLES / "train_digits.py"), "50", str(picture)]
    result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert "total" in result.stdout
    assert "'loss_d'" in result.stdout
    with Image.open(picture) as image:
        assert image.size == (466, 466)
        assert image.convert("L").getextrema()[1] > 128


def run(example, folder, *options):
    """The example in a process of its own, on one thread."""
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "MINIGAN_NUM_THREADS": "1"}
    command = [sys.executable, str(example), *options]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment)


@pytest.fixture(scope="module")
def shortened(tmp_path_factory):
    """{lesson: (folder, future of its process)}, two at a time: half of each is the start of Python and matplotlib."""
    pool = ThreadPoolExecutor(max_workers=2)
    folders = {example: tmp_path_factory.mktemp(example.stem) for example in COURSE}
    yield {
        example: (folder, pool.submit(run, example, folder, "--quick", "--backend", "numpy"))
        for example, folder in folders.items()
    }
    pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("example", COURSE, ids=lambda path: path.stem)
def test_lesson(shortened, example):
    """It runs through, all its own assertions included, and leaves one picture, which is not blank."""
    folder, process = shortened[example]
    result = process.result()
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


def test_each_lesson_has_its_place_in_the_table_of_contents():
    """A heading, its command and its figure."""
    contents = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    for example in COURSE:
        assert f"## {example.stem[:2]} " in contents
        assert f"python examples/{example.name}" in contents
        assert f"](images/{example.stem}.png)" in contents
        assert (EXAMPLES / "images" / f"{example.stem}.png").stat().st_size < 150_000
