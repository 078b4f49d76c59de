"""What is measured: the tasks, the weights and data that all sides start from, and how much work each one is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import minigan as mg
from minigan.data import Batches, load
from minigan.training import RECIPES

Task = dict[str, Any]
Inputs = dict[str, np.ndarray]

R1_WEIGHT = 10.0
RING = 5  # batches of data and noise that every side is handed, and goes through again and again
BATCHES = (1, 16, 64, 128, 512)


@dataclass(frozen=True)
class Game:
    """A game to be measured: the model that makes its networks, and how they are trained.

    training: lr, betas and ema of mg.GAN. size: which option of the model makes it larger. batches: the batch sizes to measure.
    """

    model: str
    options: dict[str, Any]
    training: dict[str, Any]
    size: str
    batches: tuple[int, ...] = BATCHES


def _default_recipe() -> Game:
    """What `minigan train` trains with no options."""
    recipe = RECIPES["dcgan"]
    options = {name: recipe[name] for name in ("latent_dim", "width", "extra_conv")}
    training = {"lr": recipe["lr"], "betas": [recipe["beta1"], recipe["beta2"]], "ema": recipe["ema"]}
    return Game("dcgan", options, training, "width", (recipe["batch_size"],))


_REFERENCE = {"lr": 2e-4, "betas": [0.5, 0.999], "ema": None}
GAMES = {
    "mlp": Game("mlp", {"latent_dim": 100, "hidden": 128}, _REFERENCE, "hidden"),
    "dcgan": Game("dcgan", {"latent_dim": 100, "width": 64}, _REFERENCE, "width"),
    "recipe": _default_recipe(),
}


def game_task(
    kind: str, game: str, batch: int, image: int = 28, width: int = 0, train: int = 0, precision: str = "float32"
) -> Task:
    """A step of one of GAMES, or samples from its G. width: dcgan's width or mlp's hidden units, 0 for the game's own.

    train: steps that G has been trained for beforehand. precision: of products on a GPU, "float32" or "tf32".
    """
    sizes = {"batch": batch, "image": image, "width": width}
    return {"kind": kind, "game": game, **sizes, "train": train, "precision": precision}


def d_step_task(batch: int, width: int = 0, precision: str = "float32") -> Task:
    """A step of the reference dcgan's D alone, without its BatchNorm, on real and generated images that are handed in."""
    return game_task("d_step", "dcgan", batch, width=width, precision=precision)


def networks(task: Task) -> tuple[mg.Sequential, mg.Sequential]:
    """G and D of a task, with the weights that every side starts from."""
    game, shape = GAMES[task["game"]], (task["image"], task["image"], 1)
    options = {**game.options, **({game.size: task["width"]} if task["width"] else {})}
    g, d = mg.models.build(game.model, image_shape=shape, **options, backend="numpy", seed=0)
    if task["kind"] == "d_step":  # a penalty through BatchNorm would mix the samples
        layers = [layer.fresh() for layer in d.layers if not isinstance(layer, mg.BatchNorm)]
        d = mg.Sequential(layers, d.input_shape, "numpy", seed=0)
    return g, d


def in_full(task: Task) -> Task:
    """The task as a side gets it: with the layers of its networks and what trains them, so that no side needs our models."""
    if "game" not in task:
        return task
    described = {name: _describe(net) for name, net in zip(("generator", "discriminator"), networks(task), strict=True)}
    return {**task, **described, "training": GAMES[task["game"]].training, "r1": R1_WEIGHT}


def _describe(net: mg.Sequential) -> dict[str, Any]:
    layers = [{"name": layer.name, "options": layer.options, "output_shape": layer.output_shape} for layer in net.layers]
    return {"input_shape": net.input_shape, "layers": layers}


def game_inputs(task: Task) -> Inputs:
    """Weights by minigan's names, real images, and noise or, for D's step alone, generated images: the same for every side."""
    batch, (g, d) = task["batch"], networks(task)
    digits = load("digits", image_size=g.output_shape[:2])
    if task["train"]:
        gan, batches = mg.GAN(g, d, **GAMES[task["game"]].training), Batches(digits, 64, g.backend)
        for _ in range(task["train"]):
            gan.step(batches.next())
    weights = {
        f"{name}.{key}": a for name, net in (("generator", g), ("discriminator", d)) for key, a in net.state_dict().items()
    }
    if task["kind"] == "sample":
        return {**weights, "z": np.random.default_rng(1).standard_normal((1, batch, *g.input_shape), dtype=np.float32)}
    data, rng = Batches(digits, batch, mg.get_backend("textbook")), np.random.default_rng(1)
    z = rng.standard_normal((RING, batch, *g.input_shape), dtype=np.float32)
    given = {"real": np.stack([data.next() for _ in range(RING)])}
    given["z" if task["kind"] == "step" else "fake"] = (
        z if task["kind"] == "step" else np.stack([g.forward(own)[0] for own in z])
    )
    return {**weights, **given}


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
