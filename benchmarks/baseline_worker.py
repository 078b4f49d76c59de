"""The worker of another checkout: its minigan on the networks and training that this checkout's tasks describe.

`python benchmarks/baseline_worker.py THREADS`, with the other checkout first on PYTHONPATH, so that all imports below come from
there. Of its benchmarks only the worker is used, and how its side captures a step: MiniganSide._captured(gan, inputs).
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

import minigan as mg
from benchmarks import worker
from benchmarks.sides import base, minigan_side
from minigan.training import Config


class BaselineSide(minigan_side.MiniganSide):
    def versions(self) -> dict[str, str]:
        folder = Path(mg.__file__).parent
        command = ["git", "-C", str(folder), "rev-parse", "--short", "HEAD"]
        commit = subprocess.run(command, capture_output=True, text=True).stdout.strip()
        return {**super().versions(), "commit": commit or "unknown"}

    def step(self, task: dict[str, Any], inputs: dict[str, np.ndarray]) -> base.Prepared:
        if not task["plain"]:
            if not hasattr(minigan_side, "give_draws"):
                raise base.UnsupportedError("that checkout's benchmarks play the plain game of two networks alone")
            known = Config().to_json()
            return super().step({**task, "config": known | {n: v for n, v in task["config"].items() if n in known}}, inputs)
        g, d = (self._made(name, task, inputs) for name in ("generator", "discriminator"))
        gan = mg.GAN(g, d, **task["training"])
        step = self._captured(gan, inputs)
        for _ in inputs["real"]:  # once through the batches records it; from the start again, what is proved is the replay
            step()
        self._restart(gan, inputs)
        # What proof_of of this checkout's sides/base.py has of a plain game: the other one's may have something else.
        first, evidence = step(), {}
        if gan.average is not None:
            pairs = [(net.flat_params, np.concatenate([np.empty(0), *net.state.values()])) for net in (g, gan.average)]
            evidence["average"] = np.array([np.sqrt(np.sum((a - b) ** 2)) for a, b in zip(*pairs, strict=True)])
        second = step()
        evidence["losses"] = np.array([float(first["loss_d"]), float(first["loss_g"])])
        evidence["loss after both updates"] = np.array([float(second["loss_d"])])
        return base.Prepared({"step": step}, evidence)

    def _made(self, name: str, task: dict[str, Any], inputs: dict[str, np.ndarray]) -> mg.Sequential:
        layers = [getattr(mg, layer["name"])(**layer["options"]) for layer in task[name]["layers"]]
        net = mg.Sequential(layers, task[name]["input_shape"], self.backend)
        net.load_state_dict(_weights(name, inputs))
        return net

    def _restart(self, gan: mg.GAN, inputs: dict[str, np.ndarray]) -> None:
        """As the function of that name in this checkout's minigan_side."""
        for net, name in ((gan.generator, "generator"), (gan.discriminator, "discriminator"), (gan.average, "generator")):
            if net is not None:
                net.load_state_dict(_weights(name, inputs))
        for optimizer in (gan.optimizer_g, gan.optimizer_d):
            optimizer.steps = 0
            for array in optimizer.state.values():
                array[...] = 0


def _weights(name: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {key.removeprefix(f"{name}."): array for key, array in inputs.items() if key.startswith(f"{name}.")}


if __name__ == "__main__":
    minigan_side.MiniganSide = BaselineSide  # which the other checkout's worker then makes
    worker.serve("numpy", int(sys.argv[1]))
