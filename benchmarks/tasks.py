"""What is measured: the tasks, the weights and data that all sides start from, and how much work each one is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import minigan as mg
from benchmarks.games import GAMES, IMAGE, PLAIN, adam_of, build, describe, load_data, rules_of
from benchmarks.sides.base import NOISED, SEEN
from minigan.data import Batches
from minigan.training import Config

Task = dict[str, Any]
Inputs = dict[str, np.ndarray]

R1_WEIGHT = 10.0
STEEP = 20  # steps that a game with penalties has been trained for: at first D is so flat that its penalty decides nothing
RING = 5  # batches of data and noise that every side is handed, and goes through again and again


def game_task(
    kind: str, game: str, batch: int, image: int = IMAGE, width: int = 0, train: int = 0, precision: str = "float32"
) -> Task:
    """A step of one of GAMES, or samples from its G. width: channels or hidden units, 0 for the game's own.

    train: steps that G has been trained for beforehand. precision: of products on a GPU, "float32" or "tf32".
    """
    sizes = {"batch": batch, "image": image, "width": width}
    return {"kind": kind, "game": game, **sizes, "train": train, "precision": precision}


def d_step_task(batch: int, width: int = 0, precision: str = "float32") -> Task:
    """A step of the reference dcgan's D alone, without its BatchNorm, on real and generated images that are handed in."""
    return game_task("d_step", "dcgan", batch, width=width, precision=precision)


def config_of(task: Task) -> Config:
    return GAMES[task["game"]].config(task["image"], task["width"])


def networks(task: Task) -> dict[str, mg.Sequential]:
    """The networks of a task by name, with the weights that every side starts from."""
    nets = build(config_of(task)).networks
    if task["kind"] == "d_step":  # a penalty through BatchNorm would mix the samples
        d = nets["discriminator"]
        layers = [layer.fresh() for layer in d.layers if not isinstance(layer, mg.BatchNorm)]
        nets["discriminator"] = mg.Sequential(layers, d.input_shape, "numpy", seed=0)
    return nets


def in_full(task: Task) -> Task:
    """The task as a side gets it: with the layers of its networks and what trains them, so that no side needs our models."""
    if "game" not in task:
        return task
    described = {name: {"input_shape": net.input_shape, "layers": describe(net.layers)} for name, net in networks(task).items()}
    config = config_of(task)
    rules = rules_of(config)
    return {
        **{**task, **described, "networks": list(described), "training": adam_of(config), "rules": rules},
        **{"plain": rules == PLAIN, "period": config.penalty_every or 1, "config": config.to_json(), "r1": R1_WEIGHT},
    }


def game_inputs(task: Task) -> Inputs:
    """Weights by minigan's names and all data and noise of RING steps, the same for every side.

    Of a step: real, labels where the game has classes, z (of a VAE its ε), and what draws_of makes. For D's step alone real and
    generated images, for samples z.
    """
    batch, config, nets = task["batch"], config_of(task), networks(task)
    dataset, rng = load_data(config), np.random.default_rng(1)
    if steps := task["train"] or (STEEP if config.penalty else 0):
        nets = _trained(config, steps)
    weights = {f"{name}.{key}": a for name, net in nets.items() for key, a in net.state_dict().items()}
    sampler = [*nets.values()][config.description.sampler]
    if task["kind"] == "sample":
        return {**weights, "z": rng.standard_normal((1, batch, *sampler.input_shape), dtype=np.float32)}
    data = Batches(dataset, batch, mg.get_backend("textbook"), classes=config.classes)
    assert config.latent_dim is not None
    z = rng.standard_normal((RING, batch, config.latent_dim), dtype=np.float32)
    dealt = [(data.next(), data.labels()) for _ in range(RING)]
    given = {"real": np.stack([real for real, _ in dealt])}
    if config.classes:
        given["labels"] = np.stack([own["labels"] for _, own in dealt])
    if task["kind"] == "d_step":
        return {**weights, **given, "fake": np.stack([sampler.forward(own)[0] for own in z])}
    return {**weights, **given, "z": z, **_draws(config, nets, given["real"].shape, rng)}


def _trained(config: Config, steps: int) -> dict[str, mg.Sequential]:
    """The networks of a game after so many steps."""
    game = build(config)
    batches = Batches(load_data(config), config.batch_size or 1, game.backend, classes=config.classes)
    for _ in range(steps):
        game.step(batches.next(), **batches.labels())
    return game.networks


def _draws(config: Config, nets: dict[str, mg.Sequential], shape: Sequence[int], rng: np.random.Generator) -> Inputs:
    """All else that a step would draw: noise on what D sees, from N(0, 1), and for every layer of D that moves its samples
    numbers from U[0, 1), from which the places follow. One of each for every one of base.SEEN, in that order.
    """
    draws, (steps, batch) = {}, shape[:2]
    if config.instance_noise:
        draws["instance noise"] = rng.standard_normal((steps, len(NOISED), *shape[1:]), dtype=np.float32)
    for layer in nets["discriminator"].layers if config.game == "gan" else ():
        if layer.random:
            draws[f"draws.{layer.index}"] = rng.random((steps, len(SEEN), batch), dtype=np.float32)
    return draws


def layer_task(layer: str, shape: Sequence[int], **options: Any) -> Task:
    """A layer's passes on a batch of that shape (with the batch axis); Adam's update of a vector of that length."""
    return {"kind": "layer", "layer": layer, "shape": list(shape), "options": options}


STRIDED = {"kernel_size": 4, "stride": 2, "padding": 1}
CONV_TRIPLE = layer_task("Conv2d", (128, 14, 14, 64), channels=128, **STRIDED)
LAYERS = [
    layer_task("Dense", (128, 784), units=128),
    layer_task("Dense", (128, 100), units=6272),
    layer_task("Conv2d", (128, 28, 28, 1), channels=64, **STRIDED),
    CONV_TRIPLE,
    layer_task("Conv2d", (128, 14, 14, 64), channels=64, kernel_size=3, padding=1),
    layer_task("ConvTranspose2d", (128, 7, 7, 128), channels=64, **STRIDED),
    layer_task("ConvTranspose2d", (128, 14, 14, 64), channels=1, **STRIDED),
    layer_task("BatchNorm", (128, 7, 7, 128)),
    layer_task("BatchNorm", (128, 14, 14, 64)),
    layer_task("ReLU", (128, 14, 14, 64)),
    layer_task("LeakyReLU", (128, 14, 14, 64), slope=0.2),
    layer_task("Tanh", (128, 28, 28, 1)),
    layer_task("Sigmoid", (128, 14, 14, 64)),
    layer_task("Softplus", (128, 14, 14, 64)),
    layer_task("Adam", (100_000,)),
    layer_task("Adam", (1_000_000,)),
]


def layer_inputs(task: Task) -> Inputs:
    """x, dy and parameters by name, from N(0, 1) (weights scaled by their fan)."""
    rng, shape = np.random.default_rng(0), tuple(task["shape"])

    def draw(*size: int) -> np.ndarray:
        return rng.standard_normal(size, dtype=np.float32)

    if task["layer"] == "Adam":
        return {"w": draw(*shape), "dw": draw(*shape)}
    layer = getattr(mg, task["layer"])(**task["options"])
    net = mg.Sequential([layer], shape[1:], "textbook")
    params = {name: array.copy() for name, array in layer.params.items()}
    return {"x": draw(*shape), "dy": draw(shape[0], *net.output_shape), **params}


def layer_work(task: Task, call: str) -> tuple[float, float]:
    """(floating-point operations, bytes) of one call: two operations a multiplication; each array read or written once.

    Only the products count as operations, and only the arrays a perfect implementation would touch as bytes (float32).
    """
    shape = task["shape"]
    if task["layer"] == "Adam":
        return 0.0, 4 * 7 * shape[0]  # reads w, m, v, dw and writes w, m, v
    layer = getattr(mg, task["layer"])(**task["options"])
    net = mg.Sequential([layer], shape[1:], "textbook")
    inside, outside = int(np.prod(shape)), int(shape[0] * np.prod(net.output_shape))
    weights = layer.params["weight"].size if "weight" in layer.params else 0
    positions = {"Dense": shape[0], "Conv2d": outside // (net.output_shape[-1] or 1), "ConvTranspose2d": inside // shape[-1]}
    operations = 2.0 * positions.get(task["layer"], 0) * weights
    arrays = {"forward": inside + outside, "input_grad": inside + outside, "weight_grad": inside + outside}[call]
    if task["layer"] == "BatchNorm" and call == "input_grad":
        arrays = 2 * inside + outside  # dy and x in, dx out
    if not weights and task["layer"] != "BatchNorm" and call == "input_grad":
        arrays = 2 * outside + inside  # dy and y in, dx out
    return operations, 4.0 * (arrays + weights)


def layer_title(task: Task) -> str:
    """Conv2d 128×14×14×64 → 128, k4 s2"""
    options, shape = task["options"], "×".join(map(str, task["shape"]))
    ending = f" → {options.get('channels') or options.get('units')}" if {"channels", "units"} & options.keys() else ""
    kernel = f", k{options['kernel_size']} s{options.get('stride', 1)}" if "kernel_size" in options else ""
    return f"{task['layer']} {shape}{ending}{kernel}"


def ceiling_task(size: int = 2048) -> Task:
    """A product of two square matrices: the most arithmetic a library gets out of the machine."""
    return {"kind": "ceiling", "size": size}


def inputs_of(task: Task) -> Inputs:
    """The arrays that a task starts from."""
    if task["kind"] == "layer":
        return layer_inputs(task)
    if task["kind"] == "ceiling":
        rng = np.random.default_rng(0)
        return {name: rng.standard_normal((task["size"], task["size"]), dtype=np.float32) for name in "ab"}
    return game_inputs(task)


def save_inputs(task: Task, folder: Path) -> Path:
    """The inputs as a file that every side reads."""
    path = folder / "inputs.npz"
    np.savez(path, **inputs_of(task))
    return path
