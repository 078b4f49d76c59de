"""A whole training as a script for PyTorch: `python -m benchmarks.sides.torch_train JOB.json [SAMPLES.npy]`.

The job names a side of PyTorch, its threads, the task with its networks (see tasks.in_full), a file with first weights and
data, the seeds of all that is random, the number of steps and the folder to write into: log.csv, samples.npy, weights.pt, and
result.json, what this process says of itself. With SAMPLES.npy it draws samples with the weights that it left there.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.sides import SIDES
from benchmarks.sides.base import Inputs, distances
from benchmarks.sides.torch_games import AdversarialGame, Batch
from benchmarks.sides.torch_side import TorchSide

COLUMNS = ("step", "loss_d", "loss_g", "prob_real", "prob_fake")
SAMPLE_BATCH = 64


class TorchTraining(TorchSide):
    def train(self, job: dict[str, Any], inputs: Inputs) -> None:
        """From the first weights to samples of the averaged G on disk."""
        play, out, pending = self.play(job["task"], inputs), Path(job["out"]), []
        with (out / "log.csv").open("w", encoding="utf-8") as log:
            print(*COLUMNS, sep=",", file=log)
            for step, (real, z) in zip(range(1, job["steps"] + 1), self._batches(job, inputs["values"]), strict=False):
                stats = play.step(Batch(step, real, z))
                pending.append(torch.stack([stats[name] for name in COLUMNS[1:]]))
                if step % job["log_every"] == 0 or step == job["steps"]:
                    print(step, *torch.stack(pending).mean(0).tolist(), sep=",", file=log, flush=True)
                    pending.clear()
        updates = {int(state["step"]) for adam in play.optimizers.values() for state in adam.state.values()}
        average = distances(play.average.pairs())["average"].tolist() if play.average else []
        self._save(play, out)
        np.save(out / "samples.npy", self.samples(play, job, job["shown"]))
        told = {"updates": sorted(updates), "average": average, "versions": self.versions()}
        (out / "result.json").write_text(json.dumps(told), encoding="utf-8")

    def _batches(self, job: dict[str, Any], values: np.ndarray) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Real images and noise, in the order and from the streams that the job names."""
        pixels, rng, batch = torch.from_numpy(values), np.random.default_rng(job["noise"]), job["task"]["batch"]
        for order in job["orders"]:
            rows = torch.from_numpy(np.random.default_rng(order).permutation(len(values)))
            for start in range(0, len(values) - batch + 1, batch):
                real = pixels[rows[start : start + batch]].float().div_(127.5).sub_(1)
                z = rng.standard_normal((batch, *job["task"]["generator"]["input_shape"]), dtype=np.float32)
                yield self.builder.tensor(real.numpy()), self.builder.tensor(z)

    def _save(self, play: AdversarialGame, out: Path) -> None:
        """The weights of all networks; G is left with its averages, where there are any."""
        state = {name: {key: value.clone() for key, value in net.state_dict().items()} for name, net in play.networks.items()}
        if play.average:
            play.average.take_place()
        optimizers = {f"optimizer_{name}": adam.state_dict() for name, adam in play.optimizers.items()}
        torch.save({**state, **optimizers, "sampler": play.networks["generator"].state_dict()}, out / "weights.pt")

    @torch.inference_mode()
    def samples(self, play: AdversarialGame, job: dict[str, Any], count: int) -> np.ndarray:
        """So many images (N, H, W, C) of G as it is, in inference mode."""
        generator, latent = play.networks["generator"].eval(), job["task"]["generator"]["input_shape"]
        z = np.random.default_rng(job["samples"]).standard_normal((count, *latent)).astype(np.float32)
        parts = [self._host(generator(self.builder.tensor(z[at : at + SAMPLE_BATCH]))) for at in range(0, count, SAMPLE_BATCH)]
        return np.concatenate(parts)

    def draw(self, job: dict[str, Any], inputs: Inputs, path: Path) -> None:
        """Samples with the weights of a training that has ended."""
        play = self.play(job["task"], inputs)
        play.networks["generator"].load_state_dict(torch.load(Path(job["out"]) / "weights.pt")["sampler"])
        np.save(path, self.samples(play, job, job["drawn"]))


def main(arguments: list[str]) -> None:
    job = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    side = TorchTraining(job["threads"], **SIDES[job["side"]].options)
    with np.load(job["inputs"]) as file:
        inputs = dict(file)
    if len(arguments) > 1:
        side.draw(job, inputs, Path(arguments[1]))
    else:
        side.train(job, inputs)


if __name__ == "__main__":
    main(sys.argv[1:])
