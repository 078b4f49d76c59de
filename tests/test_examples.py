"""Every example runs, shortened, and leaves the picture it promises."""

import subprocess
import sys
from pathlib import Path

from PIL import Image

EXAMPLES = Path(__file__).parents[1] / "examples"


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
