"""The sides of every comparison, by name. Each runs in a process of its own (worker.py) and is imported only there."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from typing import Any

from benchmarks.sides.base import Side


@dataclass(frozen=True)
class Entry:
    """How to make a side: its module and the options of that module's class, and what it is in words."""

    module: str
    words: str
    options: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def peer(self) -> bool:
        """True for another library's side. A peer that fails is reported as missing; our own failures stop the run."""
        return self.module not in ("minigan_side", "products_side")


SIDES = {
    "numpy": Entry("minigan_side", "minigan, backend numpy, the step as it is trained", {"backend": "numpy", "captured": True}),
    "baseline": Entry(
        "minigan_side", "minigan of another checkout (--baseline), backend numpy, the step as it is trained there"
    ),
    "numpy-layers": Entry("minigan_side", "minigan, backend numpy, layer by layer: never captured", {"backend": "numpy"}),
    "textbook": Entry("minigan_side", "minigan, backend textbook", {"backend": "textbook"}),
    "cupy": Entry("minigan_side", "minigan, backend cupy, the step as one CUDA graph", {"backend": "cupy", "captured": True}),
    "cupy-launches": Entry("minigan_side", "minigan, backend cupy, kernel by kernel", {"backend": "cupy"}),
    "numpy-avx2": Entry(
        "minigan_side",
        "minigan, backend numpy, started with OPENBLAS_CORETYPE=Haswell: products as on a processor without AVX-512",
        {"backend": "numpy", "captured": True},
        {"OPENBLAS_CORETYPE": "Haswell"},
    ),
    "products": Entry("products_side", "the step's matrix products alone: np.matmul into arrays made beforehand"),
    "torch": Entry("torch_side", "PyTorch eager, channels first, Adam(fused=True)"),
    "torch-defaults": Entry("torch_side", "PyTorch eager, channels first, Adam as it is by default", {"fused": False}),
    "torch-last": Entry("torch_side", "PyTorch eager, channels last, Adam(fused=True)", {"channels_last": True}),
    "torch-compile": Entry(
        "torch_side",
        "torch.compile of G and both losses, channels last, Adam(fused=True)",
        {"channels_last": True, "compiled": "default"},
    ),
    "jax": Entry("jax_side", "JAX, the whole step under jit", environment={"JAX_PLATFORMS": "cpu"}),
    "torch-gpu": Entry(
        "torch_side", "PyTorch eager on the GPU, channels first, cuDNN's best algorithm, Adam(fused=True)", {"device": "cuda"}
    ),
    "torch-gpu-last": Entry(
        "torch_side",
        "PyTorch eager on the GPU, channels last, cuDNN's best algorithm, Adam(fused=True)",
        {"device": "cuda", "channels_last": True},
    ),
    "torch-gpu-compile": Entry(
        "torch_side",
        'torch.compile(mode="reduce-overhead") of G and both losses on the GPU, channels last, Adam(fused=True)',
        {"device": "cuda", "channels_last": True, "compiled": "reduce-overhead"},
    ),
    "jax-gpu": Entry(
        "jax_side",
        "JAX on the GPU, the whole step under jit",
        {"device": "gpu"},
        {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"},  # or it would take most of the GPU's memory from the others
    ),
}
BASELINE = "baseline"  # the side that runs in another checkout, by baseline_worker.py
ON_GPU = ("cupy", "cupy-launches", "torch-gpu", "torch-gpu-last", "torch-gpu-compile", "jax-gpu")


def make_side(name: str, threads: int) -> Side:
    """The side of that name, in this process. Raises ImportError or MiniganError where it cannot run here."""
    entry = SIDES[name]
    return importlib.import_module(f"benchmarks.sides.{entry.module}").make(threads, **entry.options)
