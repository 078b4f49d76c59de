"""The training steps of minigan's games in PyTorch, written as one would for speed: fused Adam, no gradients that nobody asks
for, penalties on the passes that the loss takes anyway.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from benchmarks.sides.base import NOISED, Inputs, UnsupportedError
from benchmarks.sides.torch_networks import ACTIVATIONS, Builder, FromImage, Shifts

_DENSE = (nn.Linear, FromImage, *(getattr(nn, name) for name in ACTIVATIONS))  # of which no layer mixes a batch
Compile = Callable[[Callable[..., Any]], Callable[..., Any]]
Stats = dict[str, torch.Tensor]


class MovingAverage:
    """Of a network's parameters and running statistics, with a decay that rises as (1 + t) / (10 + t) up to `decay`."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._decay, self._steps = decay, 0
        self._parameters = [p.detach() for p in network.parameters()]
        self._statistics = [b for b in network.buffers() if b.is_floating_point()]
        self._now = [*self._parameters, *self._statistics]
        self._average = [tensor.clone() for tensor in self._now]

    def update(self) -> None:
        self._steps += 1
        rate = 1 - min(self._decay, (1 + self._steps) / (10 + self._steps))
        torch._foreach_lerp_(self._average, self._now, rate)  # what torch.optim.swa_utils averages with

    def pairs(self) -> list[tuple[np.ndarray, ...]]:
        """(now, average) of the parameters and of the statistics, each in one row."""
        count = len(self._parameters)
        parts = (slice(count), slice(count, None))
        return [tuple(_in_one_row(each[part]) for each in (self._now, self._average)) for part in parts]

    def take_place(self) -> None:
        """Let the network hold the averages, to sample with them."""
        torch._foreach_copy_(self._now, self._average)


def _in_one_row(tensors: list[torch.Tensor]) -> np.ndarray:
    return torch.cat([torch.empty(0), *(x.flatten().cpu() for x in tensors)]).numpy()


def adam_of(task: dict[str, Any], parameters: Any, fused: bool) -> torch.optim.Adam:
    training = task["training"]
    return torch.optim.Adam(parameters, lr=training["lr"], betas=tuple(training["betas"]), eps=1e-8, fused=fused)


# -- the data and the draws of a step ------------------------------------------------------------------------------------


@dataclass
class Batch:
    """What a step is handed. t: [1, y] for labels y; noise: on what D sees; turn: which of the steps it is."""

    turn: int
    real: torch.Tensor
    z: torch.Tensor
    t: torch.Tensor | None = None
    noise: dict[str, torch.Tensor] = field(default_factory=dict)


def batches_of(builder: Builder, inputs: Inputs) -> list[Batch]:
    """The batches that a step goes through again and again."""
    batches = []
    for turn, (real, z) in enumerate(zip(inputs["real"], inputs["z"], strict=True)):
        batch = Batch(turn, builder.tensor(real), builder.tensor(z))
        if "labels" in inputs:
            labels = builder.tensor(inputs["labels"][turn])
            batch.t, batch.z = torch.cat([torch.ones_like(labels[:, :1]), labels], 1), torch.cat([batch.z, labels], 1)
        if "instance noise" in inputs:
            batch.noise = dict(zip(NOISED, map(builder.tensor, inputs["instance noise"][turn]), strict=True))
        batches.append(batch)
    return batches


# -- generator and discriminator -----------------------------------------------------------------------------------------


def _non_saturating_d(s_real: torch.Tensor, s_fake: torch.Tensor, smoothing: float) -> torch.Tensor:
    loss = F.softplus(-s_real).mean() + F.softplus(s_fake).mean()
    return loss + smoothing * s_real.mean() if smoothing else loss


LOSSES: dict[str, tuple[Callable[..., torch.Tensor], Callable[..., torch.Tensor], bool]] = {  # of D, of G, whether G's compares
    "non-saturating": (_non_saturating_d, lambda s_fake, s_real: F.softplus(-s_fake).mean(), False),
    "relativistic": (
        lambda s_real, s_fake, smoothing: F.softplus(s_fake - s_real).mean(),
        lambda s_fake, s_real: F.softplus(s_real - s_fake).mean(),
        True,
    ),
}


class AdversarialGame:
    """The game of two networks, by a task's rules. step: one training step; its statistics by minigan's names."""

    def __init__(self, builder: Builder, task: dict[str, Any], inputs: Inputs, fused: bool, compiled: Compile | None) -> None:
        self.rules = task["rules"]
        if self.rules["loss"] not in LOSSES:
            raise UnsupportedError(f"has no loss {self.rules['loss']}")
        if compiled and self.rules["penalties"]:
            raise UnsupportedError("torch.compile does not take second derivatives")
        self.networks = {name: builder.network(name, task, inputs) for name in ("generator", "discriminator")}
        self.generator, self.discriminator = self.networks.values()
        self.optimizers = {name: adam_of(task, net.parameters(), fused) for name, net in self.networks.items()}
        self._adam_g, self._adam_d = self.optimizers.values()
        self._learned = list(self.discriminator.parameters())
        self._loss_d, self._loss_g, self._compares = LOSSES[self.rules["loss"]]
        self.average = MovingAverage(self.generator, task["training"]["ema"]) if task["training"]["ema"] else None
        # One pass over real and generated samples is 1.02 to 1.1 times as fast through dense layers, 0.9 through convolutions.
        self._joins = all(isinstance(layer, _DENSE) for layer in self.discriminator)
        self._shifts, self._steps = Shifts(self.discriminator, inputs, builder.device), 0
        functions: list[Callable[..., Any]] = [self.generator, self._judge_both, self._losses_of_g]
        self._make_fake, self._judge, self._losses_g = map(compiled, functions) if compiled else functions

    def step(self, batch: Batch) -> Stats:
        takes_penalties = bool(self.rules["penalties"]) and self._steps % self.rules["penalty_every"] == 0
        self._steps += 1
        fake = self._make_fake(batch.z)
        seen = [self._shown(batch, which, x) for which, x in (("real", batch.real), ("fake", fake.detach()))]
        stats = self._step_of_d(batch, seen, takes_penalties)
        stats["loss_g"] = self._step_of_g(batch, seen[0], fake)
        if self.average:
            self.average.update()
        return stats

    def _shown(self, batch: Batch, which: str, x: torch.Tensor) -> torch.Tensor:
        """Samples as D sees them."""
        return torch.add(x, batch.noise[which], alpha=self.rules["instance_noise"]) if batch.noise else x

    def _output(self, batch: Batch, which: str, x: torch.Tensor) -> torch.Tensor:
        self._shifts.move(batch.turn, which)
        return self.discriminator(x)

    def _score(self, batch: Batch, o: torch.Tensor) -> torch.Tensor:
        return o if batch.t is None else (o * batch.t).sum(1, keepdim=True)

    def _judge_both(self, batch: Batch, real: torch.Tensor, fake: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """L_D, what D believes of both, and both scores."""
        if self._joins:
            outputs = self.discriminator(torch.cat([real, fake])).chunk(2)
        else:
            outputs = self._output(batch, "real", real), self._output(batch, "fake", fake)
        s_real, s_fake = (self._score(batch, o) for o in outputs)
        with torch.no_grad():
            scores = (s_real, s_fake) if self._compares else (torch.sigmoid(s_real), torch.sigmoid(s_fake))
            beliefs = [score.mean() for score in scores]
        return self._loss_d(s_real, s_fake, self.rules["smoothing"]), *beliefs, s_real, s_fake

    def _step_of_d(self, batch: Batch, seen: list[torch.Tensor], takes_penalties: bool) -> Stats:
        points = {"r1": 0, "r2": 1}
        asked = [points[name] for name, _ in self.rules["penalties"]] if takes_penalties else []
        real, fake = (x.detach().requires_grad_() if index in asked else x for index, x in enumerate(seen))
        loss, believed_real, believed_fake, *scores = self._judge(batch, real, fake)
        kind = "score" if self._compares else "prob"
        stats = {"loss_d": loss.detach(), f"{kind}_real": believed_real, f"{kind}_fake": believed_fake}
        if takes_penalties:
            inputs = [(real, fake)[index] for index in asked]
            slopes = torch.autograd.grad([scores[index].sum() for index in asked], inputs, create_graph=True)
            weights = [weight * self.rules["penalty_every"] for _, weight in self.rules["penalties"]]
            penalty = sum(w / 2 * g.square().sum() / len(g) for w, g in zip(weights, slopes, strict=True))
            loss = loss + penalty
            stats |= {"loss_d": loss.detach(), "penalty": penalty.detach()}
        elif self.rules["penalties"]:
            stats["penalty"] = torch.zeros(())
        self._adam_d.zero_grad()
        loss.backward(inputs=self._learned)
        self._adam_d.step()
        return stats

    def _losses_of_g(self, batch: Batch, fake: torch.Tensor, s_real: torch.Tensor | None) -> torch.Tensor:
        o = self._output(batch, "judged", self._shown(batch, "judged", fake))
        return self._loss_g(self._score(batch, o), s_real)

    def _step_of_g(self, batch: Batch, real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
        self.discriminator.requires_grad_(False)  # no gradients for D's parameters
        s_real = self._score(batch, self._output(batch, "rival", real)) if self._compares else None
        loss = self._losses_g(batch, fake, s_real)
        self._adam_g.zero_grad()
        loss.backward()
        self._adam_g.step()
        self.discriminator.requires_grad_(True)
        return loss.detach()


# -- encoder and decoder -------------------------------------------------------------------------------------------------


class VariationalGame:
    """A VAE with a Bernoulli likelihood; one Adam learns both networks."""

    average = None

    def __init__(self, builder: Builder, task: dict[str, Any], inputs: Inputs, fused: bool, compiled: Compile | None) -> None:
        if task["rules"]["likelihood"] != "bernoulli":
            raise UnsupportedError(f"has no likelihood {task['rules']['likelihood']}")
        self.networks = {name: builder.network(name, task, inputs) for name in ("encoder", "decoder")}
        self._weight = task["rules"]["kl_weight"]
        self._adam = adam_of(task, [p for net in self.networks.values() for p in net.parameters()], fused)
        self._terms = compiled(self._both_terms) if compiled else self._both_terms

    def _both_terms(self, x: torch.Tensor, noise: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """−log p(x|z) and the KL, in nats an image."""
        mean, log_var = self.networks["encoder"](x).chunk(2, 1)
        y = self.networks["decoder"](torch.addcmul(mean, (log_var / 2).exp(), noise))
        reconstruction = F.binary_cross_entropy_with_logits(y, (x + 1) / 2, reduction="sum") / len(x)
        return reconstruction, (mean.square() + torch.expm1(log_var) - log_var).sum() / (2 * len(x))

    def step(self, batch: Batch) -> Stats:
        reconstruction, kl = self._terms(batch.real, batch.z)
        loss = reconstruction + self._weight * kl
        self._adam.zero_grad()
        loss.backward()
        self._adam.step()
        return {"loss": loss.detach(), "reconstruction": reconstruction.detach(), "kl": kl.detach()}


PLAYED: dict[str, type[AdversarialGame] | type[VariationalGame]] = {"gan": AdversarialGame, "vae": VariationalGame}
