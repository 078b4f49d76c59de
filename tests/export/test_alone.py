"""Exported files load in a process where minigan cannot be imported."""

import os
import subprocess
import sys

import numpy as np
from exported import TOLERANCE, difference, onnx, output, samples, settled

import minigan as mg

SCRIPT = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "minigan":
            raise ImportError("minigan is not installed here")

sys.meta_path.insert(0, Blocked())
try:
    import minigan
except ImportError:
    pass
else:
    raise SystemExit("minigan was imported")

import numpy as np
import onnxruntime
import torch
from net import load

x = np.load("x.npy")
session = onnxruntime.InferenceSession("net.onnx", providers=["CPUExecutionProvider"])
np.save("onnx.npy", session.run(None, {"x": x})[0])
model = load()
assert not model.training
with torch.no_grad():
    np.save("torch.npy", model(torch.tensor(x).movedim(-1, 1)).movedim(1, -1).numpy())
assert "minigan" not in sys.modules
print(onnxruntime.__version__, torch.__version__)
"""


def test_without_minigan(tmp_path):
    """Every helper class that a file of PyTorch may hold is in this one."""
    within = [mg.SpectralNorm(mg.Conv2d(3, 3, padding=1)), mg.LeakyReLU(0.2)]
    layers = [mg.Conv2d(3, 3), mg.Residual(within, 0.3), mg.LayerNorm(), mg.MinibatchStd(2), mg.BatchNorm(), mg.Upsample(2)]
    net = settled(mg.Sequential(layers, (7, 6, 2), "numpy"), 0)
    x = samples(net)
    mg.export.onnx(net, tmp_path / "net.onnx")
    mg.export.torch(net, tmp_path / "net.py")
    np.save(tmp_path / "x.npy", x)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    result = subprocess.run([sys.executable, "-c", SCRIPT], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert onnx.load(tmp_path / "net.onnx").producer_name == "minigan"
    for name in ("onnx", "torch"):
        assert difference(np.load(tmp_path / f"{name}.npy"), output(net, x)) <= TOLERANCE


def test_minigan_imports_none_of_them(tmp_path):
    """Not even where it writes for PyTorch, and onnx only where it writes that."""
    script = (
        "import sys, minigan as mg\n"
        "net = mg.Sequential([mg.Dense(2)], (3,), 'numpy')\n"
        "assert 'minigan.export' not in sys.modules\n"
        "mg.export.torch(net, sys.argv[1])\n"
        "print(sorted({'onnx', 'torch', 'onnxruntime'} & sys.modules.keys()))"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "net.py")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "[]"
