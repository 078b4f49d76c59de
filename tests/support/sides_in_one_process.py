"""What several sides of the benchmark compute, in one process: libraries are then imported once, and nothing is timed."""

import json
import os
from contextlib import suppress

from benchmarks import tasks
from benchmarks.sides import make_side
from benchmarks.sides.base import UnsupportedError

# XLA's optimisations take most of a small step's time; without them it computes the same.
QUICK_COMPILATION = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"


def evidence_of(names, several):
    """([{side: its evidence} for each task], {side: why it is missing}), for a process that has not imported JAX yet."""
    os.environ.update(XLA_FLAGS=QUICK_COMPILATION, JAX_PLATFORMS="cpu", MINIGAN_NUM_THREADS="1")
    sides, missing = {}, {}
    for name in names:
        try:
            sides[name] = make_side(name, threads=1)
        except ImportError as error:
            missing[name] = str(error)
    evidence = []
    for task in several:
        inputs, request = tasks.inputs_of(task), json.loads(json.dumps(tasks.in_full(task)))
        evidence.append({})
        for name, side in sides.items():
            with suppress(UnsupportedError):
                evidence[-1][name] = getattr(side, task["kind"])(request, inputs).evidence
    return evidence, missing
