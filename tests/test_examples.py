"""Every example runs, shortened, and leaves the picture it promises."""

import subprocess
import sys
from pathlib import Path

from PIL import Image

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_train_digits(tmp_path):
    picture = tmp_path / "digits.png"
    command = [sys.executable, str(EXAMPLES / "train_digits.py"), "50", str(picture)]
    result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert "total" in result.stdout
    assert "'loss_d'" in result.stdout
    with Image.open(picture) as image:
        assert image.size == (466, 466)
        assert image.convert("L").getextrema()[1] > 128
