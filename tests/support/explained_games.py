"""Small games to be opened, and what a page holds."""

import base64
import json
import re

import numpy as np

import minigan as mg
from minigan.explain.step import looking

SHAPE = (8, 8, 1)
BATCH = 5


def open_fewer_numbers(patch):
    """Of an opened step's arrays, one entry each is checked and nudged. What is written does not hang on how many."""
    patch.setattr(looking, "CHECKED", 1)
    patch.setattr(looking, "NUDGED", 1)
    patch.setattr(looking, "NUDGES", (-1.0, 0.0, 1.0))


def dcgan(backend="textbook", **options):
    pair = mg.models.dcgan(SHAPE, latent_dim=3, width=2, backend=backend, dtype="float64")
    return mg.GAN(*pair, lr=0.01, **options)


def mlp(backend="textbook", make=mg.GAN, **options):
    return make(*mg.models.mlp(SHAPE, latent_dim=3, hidden=4, backend=backend, dtype="float64"), lr=0.01, **options)


def convolutions(normalised, seed=0):
    """A game of convolutions, with BatchNorm or without."""

    def norm():
        return [mg.BatchNorm()] if normalised else []

    up = [mg.Dense(32), mg.Reshape((4, 4, 2)), *norm(), mg.ReLU(), mg.ConvTranspose2d(1, 4, stride=2, padding=1), mg.Tanh()]
    down = [mg.Conv2d(3, 4, stride=2, padding=1), mg.LeakyReLU(0.2), mg.Conv2d(4, 3), *norm(), mg.LeakyReLU(0.2)]
    g = mg.Sequential(up, (3,), "textbook", "float64", seed=(seed, 0))
    d = mg.Sequential([*down, mg.Flatten(), mg.Dense(1)], SHAPE, "textbook", "float64", seed=(seed, 1))
    return mg.GAN(g, d, lr=0.01)


def with_dropout(backend="textbook", **options):
    g, _ = mg.models.mlp(SHAPE, latent_dim=3, hidden=4, backend=backend, dtype="float64")
    d = mg.Sequential([mg.Flatten(), mg.Dense(6), mg.Softplus(), mg.Dropout(0.4), mg.Dense(1)], SHAPE, backend, "float64")
    return mg.GAN(g, d, **options)


def batch(gan, seed=0):
    rng = np.random.default_rng(seed)
    return tuple(gan.backend.asarray(rng.uniform(-1, 1, shape)) for shape in ((BATCH, *SHAPE), (BATCH, gan.latent_dim)))


def opening(gan):
    return gan, *batch(gan)


def warmed(gan):
    """A game whose optimisers have a past, and whose biases are not 0."""
    for seed in (1, 2):
        gan.step(*batch(gan, seed))
    return gan


def twin(gan):
    """Another game in the same state."""
    options = {"lr": gan.optimizer_g.schedule, "betas": gan.optimizer_g.betas, "objective": gan.objective}
    other = type(gan)(gan.generator.clone(), gan.discriminator.clone(), **options)
    other.load_state_dict(gan.state_dict())
    other.random_state = gan.random_state
    return other


def all_comparisons(opened):
    for record in (opened.generator, opened.real, opened.fake, opened.judged):
        for found in record.checks:
            yield from found
    for update in (opened.update_d, opened.update_g):
        for found in update.checks.values():
            yield from found


def content(text):
    return json.loads(re.search(r'<script id="stations" type="application/json">(.*?)</script>', text, re.S)[1])


def decoded(text):
    """Every array of the page, as the browser reads it."""
    values = np.frombuffer(base64.b64decode(re.search(r'<script id="arrays" type="text/plain">(.*?)</script>', text)[1]), "<f4")
    table = content(text)["arrays"]
    return [values[a["at"] : a["at"] + int(np.prod(a["shape"]))].reshape(a["shape"]) for a in table]
