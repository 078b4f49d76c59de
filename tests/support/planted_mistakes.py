"""Mistakes of known kinds planted in backward passes: the real source of the layers with one piece of it replaced.

A kind is that of the piece that is replaced, and never comes from what a check says of it. Where one replacement makes the very
function that another kind's would make, both kinds are right, and stand in its set. OTHER is what no explanation is meant for.
"""

import ast
import contextlib
import copy
import inspect
import itertools
import textwrap
from collections import Counter
from dataclasses import dataclass
from unittest import mock

import numpy as np
from planted_faults import compiled, faults

import minigan as mg
from minigan.layers import elementwise, minibatch_std, norm, softmax, spectral_norm

OTHER = "other"


@dataclass(frozen=True)
class Case:
    """A layer on which a mistake shows."""

    make: object
    shape: tuple
    train: bool = True
    batch: int = 3


@dataclass(frozen=True)
class Planted:
    kinds: frozenset
    what: str
    owner: object
    name: str
    tree: ast.AST
    case: Case

    def __str__(self):
        mode = "" if self.case.train else ", inference"
        return f"{self.case.make()!r}{self.case.shape}{mode}: {getattr(self.owner, '__name__', self.owner)}.{self.name}: {self.what}"

    @contextlib.contextmanager
    def in_place(self):
        module = self.owner if inspect.ismodule(self.owner) else inspect.getmodule(self.owner)
        function = compiled(self.tree, module)
        with contextlib.ExitStack() as patches:
            patches.enter_context(mock.patch.object(self.owner, self.name, function))
            if self.name == "df":  # the class made its dx = dy f′ of it
                made = staticmethod(elementwise._times(function))
                patches.enter_context(mock.patch.object(self.owner, "_dx", made))
            yield

    def report(self):
        """The report of the check on the layer with this mistake in it; None where it cannot even run."""
        with self.in_place(), np.errstate(all="ignore"), contextlib.suppress(Exception):
            report = mg.check_layer(
                self.case.make(), self.case.shape, batch=self.case.batch, backend="textbook", train=self.case.train
            )
            report.mistakes  # noqa: B018 (made on demand, so here, where the mistake is in place)
            return report
        return None


DENSE = Case(lambda: mg.Dense(4), (5,))
SQUARE = Case(lambda: mg.Dense(5), (5,), batch=4)
CONV = Case(lambda: mg.Conv2d(3, 3, stride=2, padding=1), (5, 6, 2))
SAME = Case(lambda: mg.Conv2d(2, 3, padding=1), (4, 5, 2))
DECONV = Case(lambda: mg.ConvTranspose2d(2, 3, stride=2, padding=1, output_padding=1), (3, 4, 3))
UPSAMPLE = Case(lambda: mg.Upsample((2, 3)), (3, 2, 2))
FLATTEN = Case(lambda: mg.Flatten(), (3, 2, 2))
TANH, SIGMOID, SOFTPLUS = (Case(kind, (4, 3)) for kind in (mg.Tanh, mg.Sigmoid, mg.Softplus))
RELU, LEAKY = Case(mg.ReLU, (4, 3)), Case(lambda: mg.LeakyReLU(0.3), (4, 3))
SOFTMAX, SOFTMAX_MAP = Case(mg.Softmax, (5,), batch=4), Case(mg.Softmax, (4, 3))
DROPOUT = Case(lambda: mg.Dropout(0.4), (4, 3))
BATCH_NORM, BATCH_NORM_MAP = Case(mg.BatchNorm, (4,), batch=7), Case(mg.BatchNorm, (3, 4, 2))
BATCH_NORM_STILL = Case(mg.BatchNorm, (3, 4, 2), train=False)
LAYER_NORM, LAYER_NORM_MAP = Case(mg.LayerNorm, (5,), batch=4), Case(lambda: mg.LayerNorm(axes=3), (3, 2, 2))
RESIDUAL = Case(lambda: mg.Residual([mg.Dense(6), mg.Tanh(), mg.Dense(5)], scale=0.3), (5,))
STD, STD_MAP = Case(mg.MinibatchStd, (4,)), Case(mg.MinibatchStd, (3, 2, 2))
SHUFFLE = Case(lambda: mg.PhaseShuffle(2), (1, 7, 2), batch=5)
AUGMENT = Case(lambda: mg.DiffAugment(translation=0.3), (4, 3, 2))
SPECTRAL = Case(lambda: mg.SpectralNorm(mg.Dense(4)), (5,))
SPECTRAL_CONV = Case(lambda: mg.SpectralNorm(mg.Conv2d(3, 3, stride=2, padding=1)), (5, 6, 2))

# Whose backward pass it is, and the layers on which it is tried.
BACKWARD = {
    mg.Linear: (DENSE, SQUARE, CONV, SAME, DECONV, UPSAMPLE, FLATTEN),
    mg.Elementwise: (TANH, SIGMOID, LEAKY),
    mg.Softmax: (SOFTMAX,),
    mg.Dropout: (DROPOUT,),
    mg.BatchNorm: (BATCH_NORM, BATCH_NORM_MAP),
    mg.LayerNorm: (LAYER_NORM, LAYER_NORM_MAP),
    mg.Residual: (RESIDUAL,),
    mg.MinibatchStd: (STD, STD_MAP),
    mg.PhaseShuffle: (SHUFFLE,),
    mg.DiffAugment: (AUGMENT,),
    mg.SpectralNorm: (SPECTRAL, SPECTRAL_CONV),
}

# What may become of the dx that is returned, E.
RETURNED = [
    ("sign", "-(E)"),
    ("factor", "2 * (E)"),
    ("factor", "(E) / 2"),
    ("factor", "(E) * len(dy)"),
    ("factor", "(E) / len(dy)"),
    ("factor", "(E) / dy[0].size"),
    ("factor", "(E) * dy.shape[-1]"),
    ("missing", "0 * (E)"),
    ("float32", "(E).astype('float32')"),
    ("flipped", "(E)[::-1]"),
    ("flipped", "(E)[..., ::-1]"),
    ("axis", "(E).sum(axis=0) + 0 * (E)"),
    ("axis", "(E).mean(axis=-1, keepdims=True) + 0 * (E)"),
    (OTHER, "self.backend.xp.roll((E), 1, axis=0)"),
    (OTHER, "self.backend.xp.roll((E), 1, axis=-1)"),
    (OTHER, "(E) ** 3"),
    (OTHER, "abs(E)"),
    (OTHER, "(E) + 0.01"),
    (OTHER, "(E).clip(-0.5, 0.5)"),
    (OTHER, "(E) * self.backend.xp.linspace(1, 2, (E).size).reshape((E).shape)"),
]

# What may become of dy at the beginning of a backward pass.
GIVEN = [
    ("factor", "dy = self.backend.xp.ones_like(dy)"),
    ("sign", "dy = -dy"),
    ("factor", "dy = dy / len(dy)"),
    ("factor", "dy = dy * 2"),
    ("float32", "dy = dy.astype('float32').astype('float64')"),
    ("factor", "dy = dy ** 2"),
    (OTHER, "dy = self.backend.xp.roll(dy, 1, axis=0)"),
    (OTHER, "dy = dy - dy.mean()"),
    (OTHER, "dy = dy.clip(-1, 1)"),
]

WEIGHT = 'self.weight_grad(x, dy, out=grads["weight"])'
BIAS = 'self.backend.column_sum(dy, out=grads["bias"])'
DW, DB = 'grads["weight"][...]', 'grads["bias"][...]'
IN_LOOP = 'for n in range(len(x)): self.weight_grad(x[n : n + 1], dy[n : n + 1], out=grads["weight"])'
MADE = f"room = self.backend.empty(self.weight.shape, dy.dtype); {WEIGHT.replace('grads[' + chr(34) + 'weight' + chr(34) + ']', 'room')}"
ALL_LINEAR, MATRIX, IMAGES = (DENSE, SQUARE, CONV, SAME, DECONV), (DENSE, SQUARE), (CONV, SAME, DECONV)
NORMS = (BATCH_NORM, BATCH_NORM_MAP)
LAYER_NORMS = (LAYER_NORM, LAYER_NORM_MAP)

# (whose function, its name, a piece of it, what stands there instead, the kinds, the layers on which it is tried)
REPLACED = [
    # linear maps: the weight
    (mg.Linear, "backward", WEIGHT, f"{WEIGHT}; {DW} *= -1", {"sign"}, ALL_LINEAR),
    (mg.Linear, "backward", WEIGHT, f"{WEIGHT}; {DW} *= 2", {"factor"}, (DENSE, CONV)),
    (mg.Linear, "backward", WEIGHT, f"{WEIGHT}; {DW} /= len(dy)", {"factor"}, ALL_LINEAR),
    (mg.Linear, "backward", WEIGHT, f"{WEIGHT}; {DW} /= dy[..., 0].size", {"factor"}, IMAGES),
    (mg.Linear, "backward", WEIGHT, f"{WEIGHT}; {DW} *= len(dy)", {"factor"}, (SQUARE, CONV)),
    (mg.Linear, "backward", WEIGHT, f"{WEIGHT}; {DW} = 0", {"missing"}, (DENSE, CONV)),
    (mg.Linear, "backward", WEIGHT, "pass", {"not written"}, (DENSE, CONV, DECONV)),
    (mg.Linear, "backward", WEIGHT, f"{MADE}; {DW} += room", {"added"}, ALL_LINEAR),
    (mg.Linear, "backward", WEIGHT, f"{MADE}; grads['weight'][1:] = room[1:]", {"not written"}, ALL_LINEAR),
    (mg.Linear, "backward", WEIGHT, f"{MADE}; grads['weight'][..., 0] = room[..., 0]", {"not written"}, (DENSE, SAME)),
    (mg.Linear, "backward", WEIGHT, IN_LOOP, {"not added up"}, ALL_LINEAR),
    (mg.Linear, "backward", WEIGHT, WEIGHT.replace("x, dy", "x[:1], dy[:1]"), {"not added up"}, ALL_LINEAR),
    (mg.Linear, "backward", WEIGHT, WEIGHT.replace("x, dy", "x[:-1], dy[:-1]"), {"axis"}, ALL_LINEAR),
    (mg.Linear, "backward", WEIGHT, WEIGHT.replace("x, dy", "x[1:], dy[1:]"), {"axis"}, (DENSE, CONV)),
    (mg.Linear, "backward", WEIGHT, f"{WEIGHT}; {DW} = grads['weight'].sum(axis=0)", {"axis"}, ALL_LINEAR),
    (mg.Linear, "backward", WEIGHT, f"{WEIGHT}; {DW} = grads['weight'].mean(axis=-1, keepdims=True)", {"axis"}, (DENSE, SAME)),
    (mg.Linear, "backward", WEIGHT, f"{WEIGHT}; {DW} = grads['weight'].T.copy()", {"transposed"}, (SQUARE,)),
    (
        mg.Linear,
        "backward",
        WEIGHT,
        f"{WEIGHT}; {DW} = grads['weight'].T.reshape(self.weight.shape).copy()",
        {"transposed"},
        MATRIX,
    ),
    (mg.Linear, "backward", WEIGHT, f"{WEIGHT}; {DW} = grads['weight'].swapaxes(2, 3).copy()", {"transposed"}, (SAME,)),
    (mg.Linear, "backward", WEIGHT, f"{WEIGHT}; {DW} = grads['weight'].swapaxes(0, 1).copy()", {"transposed"}, IMAGES),
    (mg.Linear, "backward", WEIGHT, f"{WEIGHT}; {DW} = grads['weight'][::-1, ::-1].copy()", {"flipped"}, IMAGES),
    (mg.Linear, "backward", WEIGHT, f"{WEIGHT}; {DW} = grads['weight'].astype('float32')", {"float32"}, (DENSE, CONV, DECONV)),
    (mg.Linear, "backward", WEIGHT, WEIGHT.replace("dy", "self.backend.xp.ones_like(dy)"), {"factor"}, ALL_LINEAR),
    (mg.Linear, "backward", WEIGHT, WEIGHT.replace("x, dy", "x[::-1], dy"), {OTHER}, (DENSE, CONV)),
    (mg.Linear, "backward", WEIGHT, WEIGHT.replace("x, dy", "abs(x), dy"), {OTHER}, (DENSE, SAME)),
    (mg.Linear, "backward", WEIGHT, f"{WEIGHT}; {DW} += 0.1 * self.weight", {OTHER}, (DENSE, DECONV)),
    (mg.Linear, "backward", WEIGHT, f"{WEIGHT}; grads['weight'][0] *= 1.5", {OTHER}, (DENSE, CONV)),
    # the bias
    (mg.Linear, "backward", BIAS, f"{BIAS}; {DB} *= -1", {"sign"}, (DENSE, CONV)),
    (mg.Linear, "backward", BIAS, f"{DB} = self.backend.column_mean(dy)", {"factor"}, ALL_LINEAR),
    (mg.Linear, "backward", BIAS, f"{DB} = dy.sum(axis=0).reshape(-1, dy.shape[-1]).mean(axis=0)", {"factor"}, IMAGES),
    (mg.Linear, "backward", BIAS, f"{DB} = dy.mean(axis=0).reshape(-1, dy.shape[-1]).sum(axis=0)", {"factor"}, ALL_LINEAR),
    (mg.Linear, "backward", BIAS, f"{DB} = 0", {"missing"}, (DENSE, CONV)),
    (mg.Linear, "backward", BIAS, "pass", {"not written"}, (DENSE, CONV)),
    (mg.Linear, "backward", BIAS, f"{DB} += self.backend.column_sum(dy)", {"added"}, (DENSE, CONV, DECONV)),
    (mg.Linear, "backward", BIAS, f"{DB} = dy.sum()", {"axis"}, ALL_LINEAR),
    (mg.Linear, "backward", BIAS, f"{DB} = dy.reshape(-1, dy.shape[-1])[-1]", {"not added up"}, ALL_LINEAR),
    (mg.Linear, "backward", BIAS, f"{DB} = dy.reshape(-1, dy.shape[-1])[0]", {"not added up"}, (DENSE, CONV)),
    (mg.Linear, "backward", BIAS, f"{DB} = dy[0].reshape(-1, dy.shape[-1]).sum(axis=0)", {"not added up"}, IMAGES),
    (mg.Linear, "backward", BIAS, f"{DB} = dy[:, 0].sum(axis=(0, 1))", {"not added up"}, IMAGES),
    (mg.Linear, "backward", BIAS, f"for row in dy.reshape(-1, dy.shape[-1]): {DB} = row", {"not added up"}, (SQUARE, DECONV)),
    (mg.Linear, "backward", BIAS, f"{DB} = self.backend.column_sum(dy[:-1])", {"axis"}, (DENSE, CONV)),
    (mg.Linear, "backward", BIAS, f"{DB} = self.backend.column_sum(dy * dy)", {"factor"}, (DENSE, CONV)),
    (mg.Linear, "backward", BIAS, f"{DB} = self.backend.xp.sort(self.backend.column_sum(dy))", {OTHER}, (DENSE, CONV)),
    (mg.Linear, "backward", BIAS, f"{DB} = dy.reshape(-1, dy.shape[-1]).max(axis=0)", {OTHER}, (DENSE, CONV)),
    # dx and what lies between the two passes
    (mg.Linear, "backward", "self.transpose(dy) if", "self.apply(dy) if", {"transposed"}, (SQUARE, SAME)),
    (mg.Linear, "backward", "self.transpose(dy) if", "self.transpose(dy) * x if", {"factor"}, (DENSE, CONV)),
    (
        mg.Linear,
        "backward",
        "return self.transpose",
        "dy -= dy.mean(axis=0)\n    return self.transpose",
        {"cache"},
        (DENSE, CONV),
    ),
    (mg.Linear, "backward", BIAS, f"{BIAS}; dy *= dy", {"cache"}, (DENSE, SAME, DECONV)),
    (mg.Linear, "forward", "return y, x", "return y, x.astype('float32').astype('float64')", {"float32"}, (DENSE, CONV)),
    (mg.Linear, "forward", "return y, x", "return y.astype('float32'), x", {"float32"}, (DENSE, DECONV)),
    (mg.Linear, "forward", "return y, x", "return y, y", {"x for y"}, (SQUARE, SAME)),
    (mg.Linear, "forward", "return y, x", "return y, x[::-1].copy()", {OTHER}, (DENSE, CONV)),
    (mg.Dense, "transpose", "self.weight.T", "self.weight", {"transposed"}, (SQUARE,)),
    (mg.Dense, "transpose", "self.weight.T", "self.weight[::-1].T", {"flipped"}, MATRIX),
    (mg.Conv2d, "transpose", "self.weight", "self.weight[::-1, ::-1]", {"flipped"}, (SAME, CONV)),
    (mg.ConvTranspose2d, "transpose", "self.weight", "self.weight[::-1, ::-1]", {"flipped"}, (DECONV,)),
    (mg.Upsample, "transpose", "copies.sum(axis=(2, 4))", "copies.mean(axis=(2, 4))", {"factor"}, (UPSAMPLE,)),
    (mg.Upsample, "transpose", "copies.sum(axis=(2, 4))", "copies[:, :, 0, :, 0]", {"not added up"}, (UPSAMPLE,)),
    (mg.Upsample, "transpose", "copies.sum(axis=(2, 4))", "copies[:, :, -1, :, -1]", {"not added up"}, (UPSAMPLE,)),
    (mg.Upsample, "transpose", "copies.sum(axis=(2, 4))", "copies.sum(axis=2).mean(axis=3)", {"factor"}, (UPSAMPLE,)),
    (mg.Upsample, "transpose", "copies.sum(axis=(2, 4))", "copies.max(axis=(2, 4))", {OTHER}, (UPSAMPLE,)),
    (mg.Reshape, "transpose", "*self.input_shape)", "*self.input_shape, order='F')", {"transposed"}, (FLATTEN,)),
    # element by element
    (mg.Elementwise, "forward", "return y, y", "return y, x", {"x for y"}, (TANH, SIGMOID, SOFTPLUS)),
    (mg.Tanh, "df", "1 - y * y", "1 - xp.tanh(y) ** 2", {"x for y"}, (TANH,)),
    (mg.Sigmoid, "df", "y * (1 - y)", "sigmoid(xp, y) * (1 - sigmoid(xp, y))", {"x for y"}, (SIGMOID,)),
    (mg.Softplus, "df", "-xp.expm1(-y)", "sigmoid(xp, y)", {"x for y"}, (SOFTPLUS,)),
    (
        mg.Elementwise,
        "backward",
        "self.backend.elementwise(self._dx, dy, cache, **self.options)",
        "dy * cache",
        {OTHER},
        (TANH,),
    ),
    (mg.Elementwise, "backward", "dy, cache, **", "dy.astype('float32'), cache, **", {"float32"}, (TANH, SOFTPLUS)),
    (mg.Elementwise, "forward", "return y, y", "return y, y.astype('float32')", {"float32"}, (TANH, SIGMOID, SOFTPLUS)),
    (mg.ReLU, "df", "y > 0", "y < 1", {OTHER}, (RELU,)),
    (mg.LeakyReLU, "df", "slope)", "1 - slope)", {OTHER}, (LEAKY,)),
    (mg.Tanh, "df", "1 - y * y", "1 - y * y * y", {OTHER}, (TANH,)),
    (mg.Softplus, "df", "-y", "-2 * y", {OTHER}, (SOFTPLUS,)),
    # Softmax
    (mg.Softmax, "forward", "return y, y", "return y, x", {"x for y"}, (SOFTMAX, SOFTMAX_MAP)),
    (mg.Softmax, "_mean", "sum(", "mean(", {"factor"}, (SOFTMAX, SOFTMAX_MAP)),
    (mg.Softmax, "_mean", "axis=-1", "axis=0", {"axis"}, (SOFTMAX, SOFTMAX_MAP)),
    (
        mg.Softmax,
        "backward",
        "cache, self._mean(dy, cache)",
        "cache, 0 * self._mean(dy, cache)",
        {"part left out"},
        (SOFTMAX, SOFTMAX_MAP),
    ),
    (mg.Softmax, "backward", "self._mean(dy, cache)", "-self._mean(dy, cache)", {"sign"}, (SOFTMAX, SOFTMAX_MAP)),
    (mg.Softmax, "backward", "self._mean(dy, cache)", "self._mean(dy, 1 - cache)", {OTHER}, (SOFTMAX,)),
    # Dropout. Without its mask, the backward pass is that of inference, where y = x.
    (mg.Dropout, "backward", "dy * cache", "dy", {"train", "factor"}, (DROPOUT,)),
    (mg.Dropout, "backward", "dy * cache", "dy * (cache > 0)", {"factor"}, (DROPOUT,)),
    (mg.Dropout, "backward", "dy * cache", "dy * cache * cache", {"factor"}, (DROPOUT,)),
    (mg.Dropout, "backward", "dy * cache", "dy * (cache == 0)", {OTHER}, (DROPOUT,)),
    # BatchNorm. In training, constant statistics are the direct path alone.
    (mg.BatchNorm, "forward", "inv_std, train)  #", "inv_std, not train)  #", {"train"}, (*NORMS, BATCH_NORM_STILL)),
    (mg.BatchNorm, "backward", "if not train:", "if True:", {"train"}, NORMS),
    (mg.BatchNorm, "backward", "if not train:", "if False:", {"train"}, (BATCH_NORM_STILL,)),
    (mg.BatchNorm, "backward", "d_beta / count,", "0 * d_beta,", {"part left out"}, NORMS),
    (mg.BatchNorm, "backward", ", d_gamma / count", ", 0 * d_gamma", {"part left out"}, NORMS),
    (mg.BatchNorm, "backward", "d_beta / count,", "-d_beta / count,", {"sign"}, NORMS),
    (mg.BatchNorm, "backward", ", d_gamma / count", ", -d_gamma / count", {"sign"}, NORMS),
    (mg.BatchNorm, "backward", "d_beta / count,", "d_beta,", {"factor"}, NORMS),
    (mg.BatchNorm, "backward", ", d_gamma / count", ", d_gamma", {"factor"}, NORMS),
    (mg.BatchNorm, "backward", ", d_gamma / count", ", 2 * d_gamma / count", {"factor"}, NORMS),
    (mg.BatchNorm, "backward", "d_gamma / count", "d_gamma / (count - 1)", {"factor"}, NORMS),
    (mg.BatchNorm, "backward", "count = dy.size // dy.shape[-1]", "count = len(dy)", {OTHER}, (BATCH_NORM_MAP,)),
    (mg.BatchNorm, "backward", "d_beta / count, d_gamma / count", "d_gamma / count, d_beta / count", {OTHER}, NORMS),
    (mg.BatchNorm, "backward", "self.gamma * inv_std, *means", "inv_std, *means", {"factor"}, NORMS),
    (mg.BatchNorm, "backward", "self.gamma * inv_std, *means", "self.gamma, *means", {"factor"}, NORMS),
    (mg.BatchNorm, "backward", "self.gamma * inv_std, *means", "self.gamma * inv_std ** 2, *means", {"factor"}, NORMS),
    (mg.BatchNorm, "backward", "dy, self.gamma * inv_std)", "dy, inv_std)", {"factor"}, (BATCH_NORM_STILL,)),
    (mg.BatchNorm, "backward", 'be.store(d_gamma, grads["gamma"])', 'be.store(d_beta, grads["gamma"])', {"factor"}, NORMS),
    (mg.BatchNorm, "backward", 'be.store(d_gamma, grads["gamma"])', 'be.store(d_gamma / count, grads["gamma"])', {OTHER}, ()),
    (mg.BatchNorm, "backward", 'be.store(d_gamma, grads["gamma"])', 'be.store(-d_gamma, grads["gamma"])', {"sign"}, NORMS),
    (
        mg.BatchNorm,
        "backward",
        'be.store(d_beta, grads["beta"])',
        'be.store(d_beta / len(dy), grads["beta"])',
        {"factor"},
        NORMS,
    ),
    (mg.BatchNorm, "backward", 'be.store(d_beta, grads["beta"])', 'be.store(d_beta.sum(), grads["beta"])', {"axis"}, NORMS),
    (mg.BatchNorm, "backward", 'be.store(d_beta, grads["beta"])', 'grads["beta"][...] += d_beta', {"added"}, NORMS),
    (
        mg.BatchNorm,
        "backward",
        'be.store(d_beta, grads["beta"])',
        'be.store(dy.reshape(-1, dy.shape[-1])[-1], grads["beta"])',
        {"not added up"},
        NORMS,
    ),
    (
        mg.BatchNorm,
        "backward",
        'be.store(d_gamma, grads["gamma"])',
        'be.store(d_beta, grads["gamma"]); be.store(d_gamma, grads["beta"]); return None',
        {"exchanged"},
        (),
    ),
    (mg.BatchNorm, "backward", "d_gamma, d_beta = be", "d_beta, d_gamma = be", {OTHER}, NORMS),
    (mg.BatchNorm, "forward", "return y, (x,", "return y, (y,", {"x for y"}, (*NORMS, BATCH_NORM_STILL)),
    (mg.BatchNorm, "forward", "return y, (x, mean,", "return y, (x, 0 * mean,", {OTHER}, NORMS),
    (mg.BatchNorm, "forward", "return y, (x,", "return y, (x.astype('float32'),", {"float32"}, NORMS),
    (mg.BatchNorm, "backward", "count = dy.size // dy.shape[-1]", "count = dy.size // dy.shape[-1]; x -= mean", {OTHER}, NORMS),
    (mg.BatchNorm, "backward", 'be.store(d_beta, grads["beta"])', 'be.store(d_beta, grads["beta"]); x *= 2', {"cache"}, NORMS),
    (
        mg.BatchNorm,
        "backward",
        'be.store(d_beta, grads["beta"])',
        'be.store(d_beta, grads["beta"]); inv_std *= self.gamma',
        {"cache"},
        NORMS,
    ),
    # LayerNorm
    (mg.LayerNorm, "_means", "a.mean(axis=1", "a.mean(axis=0", {"axis"}, LAYER_NORMS),
    (mg.LayerNorm, "_means", "a.mean(axis=1, keepdims=True)", "a.mean()", {"axis"}, LAYER_NORMS),
    (mg.LayerNorm, "_means", "x_hat).mean(axis=1", "x_hat).mean(axis=0", {"axis"}, LAYER_NORMS),
    (mg.LayerNorm, "_means", "a.mean(axis=1", "a.sum(axis=1", {"factor"}, LAYER_NORMS),
    (mg.LayerNorm, "_means", "x_hat).mean(axis=1", "x_hat).sum(axis=1", {"factor"}, LAYER_NORMS),
    (mg.LayerNorm, "_means", "a.mean(axis=1", "0 * a.mean(axis=1", {"part left out"}, LAYER_NORMS),
    (
        mg.LayerNorm,
        "_means",
        "self.backend.elementwise(product, a, x_hat)",
        "0 * self.backend.elementwise(product, a, x_hat)",
        {"part left out"},
        LAYER_NORMS,
    ),
    (mg.LayerNorm, "_means", "return a.mean(", "return -a.mean(", {"sign"}, LAYER_NORMS),
    (
        mg.LayerNorm,
        "_means",
        "self.backend.elementwise(product, a, x_hat)",
        "-self.backend.elementwise(product, a, x_hat)",
        {"sign"},
        LAYER_NORMS,
    ),
    (mg.LayerNorm, "backward", "x_hat, inv_std, *self", "x_hat, inv_std ** 2, *self", {"factor"}, LAYER_NORMS),
    (mg.LayerNorm, "backward", "x_hat, inv_std, *self", "x_hat, 1, *self", {"factor"}, LAYER_NORMS),
    (mg.LayerNorm, "backward", "product, rows, self.gamma.reshape(-1)", "product, rows, 1", {"factor"}, LAYER_NORMS),
    (mg.LayerNorm, "backward", "be.column_dot(rows, x_hat)", "be.column_sum(rows)", {"factor"}, LAYER_NORMS),
    (mg.LayerNorm, "backward", "be.column_dot(rows, x_hat)", "be.column_sum(x_hat)", {"factor"}, LAYER_NORMS),
    (mg.LayerNorm, "backward", "be.column_sum(rows)", "be.column_mean(rows)", {"factor"}, LAYER_NORMS),
    (mg.LayerNorm, "backward", "be.column_sum(rows)", "rows[-1]", {"not added up"}, LAYER_NORMS),
    (mg.LayerNorm, "backward", "be.column_dot(rows, x_hat)", "(rows * x_hat)[0]", {"not added up"}, LAYER_NORMS),
    (mg.LayerNorm, "backward", "be.column_dot(rows, x_hat)", "be.column_dot(rows[:-1], x_hat[:-1])", {"axis"}, LAYER_NORMS),
    (mg.LayerNorm, "backward", 'grads["gamma"])', 'grads["beta"])', {"not written"}, LAYER_NORMS),
    (mg.LayerNorm, "backward", "g = be", "x_hat *= rows; g = be", {OTHER}, LAYER_NORMS),
    (
        mg.LayerNorm,
        "backward",
        "be.column_dot(rows, x_hat)",
        "self.backend.xp.multiply(rows, x_hat, out=x_hat).sum(axis=0)",
        {"cache"},
        LAYER_NORMS,
    ),
    (
        mg.LayerNorm,
        "forward",
        "return y.reshape(x.shape), (x_hat, inv_std)",
        "return y.reshape(x.shape), (y, inv_std)",
        {OTHER},
        LAYER_NORMS,
    ),
    (mg.LayerNorm, "forward", "(x_hat, inv_std)", "(x_hat.astype('float32'), inv_std)", {"float32"}, LAYER_NORMS),
    # Residual, MinibatchStd, PhaseShuffle, SpectralNorm
    (mg.Residual, "backward", "scale=1.0", "scale=-1.0", {"sign"}, (RESIDUAL,)),
    (mg.Residual, "backward", "scale=1.0", "scale=self.scale", {"factor"}, (RESIDUAL,)),
    (mg.Residual, "backward", "scale=1.0", "scale=2", {"factor"}, (RESIDUAL,)),
    (mg.Residual, "backward", "scale=1.0", "scale=0", {"part left out"}, (RESIDUAL,)),
    (mg.Residual, "backward", "added, dy, last", "added, 0 * dy, last", {"part left out"}, (RESIDUAL,)),
    (mg.Residual, "backward", "added, dy, last", "added, -dy, last", {"sign"}, (RESIDUAL,)),
    (mg.Residual, "_gradients", "scale=self.scale", "scale=1.0", {"factor"}, (RESIDUAL,)),
    (mg.Residual, "_gradients", "scale=self.scale", "scale=1 - self.scale", {"factor"}, (RESIDUAL,)),
    (mg.MinibatchStd, "backward", "self._rate(dy, rows, inv_std)", "0 * inv_std", {"part left out"}, (STD, STD_MAP)),
    (mg.MinibatchStd, "backward", "along_deviation, direct", "along_deviation, 0 * direct", {"part left out"}, (STD, STD_MAP)),
    (mg.MinibatchStd, "backward", "self._rate(dy, rows, inv_std)", "-self._rate(dy, rows, inv_std)", {"sign"}, (STD, STD_MAP)),
    (mg.MinibatchStd, "_rate", ".sum(axis=(0, 2))", ".mean(axis=(0, 2))", {"factor"}, (STD, STD_MAP)),
    (mg.MinibatchStd, "_rate", "(len(rows) * self.size)", "self.size", {"factor"}, (STD, STD_MAP)),
    (mg.MinibatchStd, "_rate", "(len(rows) * self.size)", "len(rows)", {"factor"}, (STD, STD_MAP)),
    (mg.MinibatchStd, "_rate", "inv_std.reshape(-1, self.size)", "0 * inv_std.reshape(-1, self.size) + 1", {"factor"}, (STD,)),
    (mg.MinibatchStd, "_rate", "e = dy[..., -1]", "e = dy[..., 0]", {OTHER}, (STD,)),
    (mg.PhaseShuffle, "_moved_back", "dx[..., 1 : n + 1, :] +=", "dx[..., 1 : n + 1, :] =", {"not added up"}, (SHUFFLE,)),
    (
        mg.PhaseShuffle,
        "_moved_back",
        ":] += padded[..., n + length",
        ":] = padded[..., n + length",
        {"not added up"},
        (SHUFFLE,),
    ),
    (mg.PhaseShuffle, "_moved_back", "for m in range(len(masks))", "for m in reversed(range(len(masks)))", {OTHER}, (SHUFFLE,)),
    (mg.PhaseShuffle, "backward", "dy if cache is None", "dy if True", {"train"}, (SHUFFLE,)),
    (mg.DiffAugment, "backward", "dy if cache is None", "dy if True", {"train"}, (AUGMENT,)),
    (mg.DiffAugment, "backward", "cache, -1)", "cache, 1)", {OTHER}, (AUGMENT,)),
    (
        mg.DiffAugment,
        "backward",
        "self._recolored(self._moved(dy, cache, -1), cache)",
        "self._moved(dy, cache, -1)",
        {"part left out"},
        (AUGMENT,),
    ),
    (mg.SpectralNorm, "_weight_grad", "slope = _sum", "slope = 0 * _sum", {"part left out"}, (SPECTRAL, SPECTRAL_CONV)),
    (mg.SpectralNorm, "_weight_grad", "slope = _sum", "slope = -_sum", {"sign"}, (SPECTRAL, SPECTRAL_CONV)),
    (mg.SpectralNorm, "_weight_grad", "slope = _sum", "slope = 2 * _sum", {"factor"}, (SPECTRAL, SPECTRAL_CONV)),
    (
        mg.SpectralNorm,
        "backward",
        "self.linear.transpose(share)",
        "self.linear.transpose(dy)",
        {"factor"},
        (SPECTRAL, SPECTRAL_CONV),
    ),
    (mg.SpectralNorm, "backward", "column_sum(dy, ", "column_sum(share, ", {"factor"}, (SPECTRAL, SPECTRAL_CONV)),
    (
        mg.SpectralNorm,
        "_weight_grad",
        "self.linear.weight, sigma.shape",
        "abs(self.linear.weight), sigma.shape",
        {OTHER},
        (SPECTRAL,),
    ),
]

# Formulas in which each operand is dropped and each sign flipped in turn, and the layers on which that is tried.
FORMULAS = [
    *(
        (kind, "df", case)
        for kind, case in ((mg.Tanh, TANH), (mg.Sigmoid, SIGMOID), (mg.Softplus, SOFTPLUS), (mg.LeakyReLU, LEAKY))
    ),
    (norm, "batch_norm_grad", BATCH_NORM),
    (norm, "batch_norm_grad", BATCH_NORM_MAP),
    (norm, "batch_norm_sums", BATCH_NORM),
    (norm, "normalize_grad", LAYER_NORM),
    (softmax, "softmax_grad", SOFTMAX),
    (minibatch_std, "along_deviation", STD_MAP),
    (spectral_norm, "without_growth", SPECTRAL),
    (mg.PhaseShuffle, "_moved_back", SHUFFLE),
    (mg.MinibatchStd, "_rate", STD_MAP),
    (mg.BatchNorm, "backward", BATCH_NORM_MAP),
    (mg.Upsample, "transpose", UPSAMPLE),
]


def source_of(owner, name):
    return textwrap.dedent(inspect.getsource(getattr(owner, name)))


def all_planted():
    """Every mistake, in a fixed order."""
    for owner, cases in BACKWARD.items():
        source = source_of(owner, "backward")
        for (kind, text), case in itertools.product(RETURNED, cases):
            yield Planted(frozenset({kind}), f"returns {text}", owner, "backward", _returning(source, text), case)
        for (kind, text), case in itertools.product(GIVEN, cases):
            yield Planted(frozenset({kind}), f"begins with {text}", owner, "backward", _beginning(source, text), case)
    for owner, name, old, new, kinds, cases in REPLACED:
        source = source_of(owner, name)
        assert source.count(old) == 1, (owner, name, old, source.count(old))
        for case in cases:
            yield Planted(frozenset(kinds), f"{new} for {old}", owner, name, ast.parse(source.replace(old, new)), case)
    for owner, name, case in FORMULAS:
        source = ast.parse(source_of(owner, name))
        for (description, tree), kinds in zip(faults(getattr(owner, name)), _kinds_of_faults(source), strict=True):
            yield Planted(kinds, description, owner, name, tree, case)


def _returning(source, text):
    """The function with something else made of each dx that it returns."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Return) and not (isinstance(node.value, ast.Constant) and node.value.value is None):
            optional = isinstance(node.value, ast.IfExp) and ast.unparse(node.value.test) == "input_grad"
            value = node.value.body if optional else node.value
            made = ast.parse(text.replace("E", ast.unparse(value)), mode="eval").body
            if optional:
                node.value.body = made
            else:
                node.value = made
    return ast.fix_missing_locations(tree)


def _beginning(source, text):
    tree = ast.parse(source)
    tree.body[0].body[:0] = ast.parse(text).body
    return ast.fix_missing_locations(tree)


def _kinds_of_faults(tree):
    """The kind of each fault that planted_faults.faults plants, by the operator that it changes."""
    from planted_faults import _is_number, _replacements

    idle = {
        id(inner) for node in ast.walk(tree) if isinstance(node, ast.Assert) or _is_number(node) for inner in ast.walk(node)
    }
    counting = {id(inner) for node in ast.walk(tree) if _counts(node) for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if id(node) not in idle:
            for description, _ in _replacements(node):
                yield frozenset({OTHER} if id(node) in counting else _kinds_of_fault(node, description))


def _counts(node):
    """Whether a piece of source deals with places, shapes and counts, where a changed operator is no changed formula."""
    called = node.func.attr if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) else ""
    return isinstance(node, (ast.Slice, ast.Tuple)) or called in ("reshape", "_between_zeros")


def _kinds_of_fault(node, description):
    if isinstance(node, ast.BinOp) and "operand only" in description:
        return {"part left out"} if isinstance(node.op, (ast.Add, ast.Sub)) else {"factor"}
    if isinstance(node, ast.BinOp):
        return {"sign"} if isinstance(node.op, (ast.Add, ast.Sub)) else {"factor"}
    if description == "sign dropped":
        return {"sign"}
    if description == "not transposed":
        return {"transposed"}
    if description == "statement removed":  # a share that is not added is both left out and not added up
        return {"part left out", "not added up"} if isinstance(node, ast.AugAssign) else {"not written"}
    return {OTHER}


def drawn(count, seed):
    """So many mistakes: a tenth of them of no kind that is explained, the others dealt out over all kinds in turn."""
    rng, pool = np.random.default_rng(seed), {}
    for planted in all_planted():
        pool.setdefault(min(planted.kinds), []).append(planted)
    for of_kind in pool.values():
        rng.shuffle(of_kind)
    others, kinds = pool.pop(OTHER), sorted(pool)
    wanted = {OTHER: count // 10}
    return others, pool, kinds, wanted


def verdict(planted, report):
    """What the check says of a mistake: "right", "wrong", "none", or None where it does not show or cannot run."""
    if report is None or report.ok:
        return None
    kinds = Counter(kind for mistake in report.mistakes for kind in [mistake.kind])
    return kinds
