"""Mistakes of known kinds planted in backward passes: the real source of the layers with one piece of it replaced.

The pieces stand in planted_mistakes.txt; besides, every backward pass gets each wrong return value and each wrong beginning
of the tables below, and every operator of the formulas is changed in turn, as in planted_faults. A kind is that of what was
done to the source, and never comes from what a check says of it. Where one replacement makes the very function that another
kind's would make, both are right: forgetting Dropout's mask is forgetting train. OTHER is what no explanation is meant for.
"""

import ast
import contextlib
import functools
import inspect
import itertools
import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np
from planted_faults import _is_number, _replacements, compiled, faults

import minigan as mg
from minigan.layers import elementwise, minibatch_std, norm, softmax, spectral_norm

TABLE = Path(__file__).with_suffix(".txt")
OTHER = "other"


@dataclass(frozen=True)
class Case:
    """A layer on which a mistake shows."""

    make: Callable[[], mg.Layer]
    shape: tuple
    batch: int = 3
    train: bool = True

    def __str__(self):
        return f"{self.make()!r} on {self.shape}{'' if self.train else ' at inference'}"


CASES = {
    "dense": Case(lambda: mg.Dense(4), (5,)),
    "square": Case(lambda: mg.Dense(5), (5,), batch=4),
    "conv": Case(lambda: mg.Conv2d(3, 3, stride=2, padding=1), (5, 6, 2)),
    "same": Case(lambda: mg.Conv2d(2, 3, padding=1), (4, 5, 2)),
    "deconv": Case(lambda: mg.ConvTranspose2d(2, 3, stride=2, padding=1, output_padding=1), (3, 4, 3)),
    "upsample": Case(lambda: mg.Upsample((2, 3)), (3, 2, 3)),
    "flatten": Case(mg.Flatten, (3, 2, 3)),
    "tanh": Case(mg.Tanh, (4, 3)),
    "sigmoid": Case(mg.Sigmoid, (4, 3)),
    "softplus": Case(mg.Softplus, (4, 3)),
    "relu": Case(mg.ReLU, (4, 3)),
    "leaky": Case(lambda: mg.LeakyReLU(0.3), (4, 3)),
    "softmax": Case(mg.Softmax, (5,), batch=4),
    "softmax_map": Case(mg.Softmax, (4, 3)),
    "dropout": Case(lambda: mg.Dropout(0.4), (4, 3)),
    "batch_norm": Case(mg.BatchNorm, (4,), batch=7),
    "batch_norm_map": Case(mg.BatchNorm, (3, 4, 3)),
    "batch_norm_still": Case(mg.BatchNorm, (3, 4, 2), train=False),
    "layer_norm": Case(mg.LayerNorm, (5,), batch=4),
    "layer_norm_map": Case(lambda: mg.LayerNorm(axes=3), (3, 2, 3)),
    "residual": Case(lambda: mg.Residual([mg.Dense(6), mg.Tanh(), mg.Dense(5)], scale=0.3), (5,)),
    "std": Case(mg.MinibatchStd, (4,)),
    "std_map": Case(mg.MinibatchStd, (3, 2, 3)),
    "shuffle": Case(lambda: mg.PhaseShuffle(2), (1, 7, 3), batch=5),
    "augment": Case(lambda: mg.DiffAugment(translation=0.3), (4, 3, 3)),
    "spectral": Case(lambda: mg.SpectralNorm(mg.Dense(4)), (5,)),
    "spectral_conv": Case(lambda: mg.SpectralNorm(mg.Conv2d(3, 3, stride=2, padding=1)), (5, 6, 3)),
}

# Whose backward pass it is, and the layers on which it is tried.
BACKWARD = {
    mg.Linear: "dense square conv same deconv upsample flatten",
    mg.Elementwise: "tanh sigmoid leaky",
    mg.Softmax: "softmax",
    mg.Dropout: "dropout",
    mg.BatchNorm: "batch_norm batch_norm_map",
    mg.LayerNorm: "layer_norm layer_norm_map",
    mg.Residual: "residual",
    mg.MinibatchStd: "std std_map",
    mg.PhaseShuffle: "shuffle",
    mg.DiffAugment: "augment",
    mg.SpectralNorm: "spectral spectral_conv",
}

RETURNED = [  # what becomes of the dx that is returned, E
    ("sign", "-(E)"),
    ("factor", "2 * (E)"),
    ("factor", "(E) / 2"),
    ("factor", "(E) * len(dy)"),
    ("factor", "(E) / len(dy)"),
    ("factor", "(E) / dy[0].size"),
    ("factor", "(E) * dy.shape[-1]"),
    ("missing", "0 * (E)"),
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

GIVEN = [  # what becomes of dy at the beginning
    ("factor", "dy = self.backend.xp.ones_like(dy)"),
    ("factor", "dy = dy ** 2"),
    ("sign", "dy = -dy"),
    ("factor", "dy = dy / len(dy)"),
    ("factor", "dy = dy * 2"),
    ("float32", "dy = dy.astype('float32').astype('float64')"),
    (OTHER, "dy = abs(dy)"),
    (OTHER, "dy = self.backend.xp.roll(dy, 1, axis=0)"),
    (OTHER, "dy = dy - dy.mean()"),
    (OTHER, "dy = dy.clip(-1, 1)"),
]

FORMULAS = [  # in which each operator is changed in turn, and the layer on which that is tried
    *((getattr(mg, name), "df", name.lower()) for name in ("Tanh", "Sigmoid", "Softplus")),
    (norm, "batch_norm_grad", "batch_norm"),
    (norm, "batch_norm_grad", "batch_norm_map"),
    (norm, "batch_norm_sums", "batch_norm"),
    (norm, "normalize_grad", "layer_norm"),
    (softmax, "softmax_grad", "softmax"),
    (minibatch_std, "along_deviation", "std_map"),
    (spectral_norm, "without_growth", "spectral"),
    (mg.PhaseShuffle, "_moved_back", "shuffle"),
    (mg.MinibatchStd, "_rate", "std_map"),
    (mg.BatchNorm, "backward", "batch_norm_map"),
    (mg.Upsample, "transpose", "upsample"),
]


@dataclass(frozen=True)
class Planted:
    """One mistake: kinds of which each is right, what was done to the source of owner's function, and where it is tried."""

    kinds: frozenset
    what: str
    owner: object
    name: str
    tree: ast.AST
    case: Case

    def __str__(self):
        whose = getattr(self.owner, "__name__", "").removeprefix("minigan.layers.")
        return f"{self.case}: {whose}.{self.name}: {self.what}"

    @contextlib.contextmanager
    def in_place(self):
        function = compiled(self.tree, self.owner if inspect.ismodule(self.owner) else inspect.getmodule(self.owner))
        with contextlib.ExitStack() as patches:
            patches.enter_context(mock.patch.object(self.owner, self.name, function))
            if self.name == "df":  # the class made its dx = dy f′ of it
                made = staticmethod(elementwise._times(function))
                patches.enter_context(mock.patch.object(self.owner, "_dx", made))
            yield

    def report(self):
        """The report of the check, mistakes named, on the layer with this mistake in it; None where it cannot even run."""
        case = self.case
        with self.in_place(), np.errstate(all="ignore"):
            try:
                report = mg.check_layer(case.make(), case.shape, batch=case.batch, backend="textbook", train=case.train)
            except Exception:
                return None
            assert report.ok or report.mistakes is not None  # named now, for the mistake is in place only here
            return report


@functools.cache
def all_planted():
    """Every mistake, in a fixed order."""
    return [*_in_backward(), *_replaced(), *_in_formulas()]


def _source(owner, name):
    return textwrap.dedent(inspect.getsource(getattr(owner, name)))


def _in_backward():
    for owner, cases in BACKWARD.items():
        source = _source(owner, "backward")
        for make, verb, texts in ((_returning, "returns", RETURNED), (_beginning, "begins with", GIVEN)):
            for kind, text in texts:
                tree = make(source, text)
                for case in cases.split():
                    yield Planted(frozenset({kind}), f"{verb} {text}", owner, "backward", tree, CASES[case])


def _returning(source, text):
    """The function with something else made of each dx that it returns."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Return) and ast.unparse(node.value) != "None":
            optional = isinstance(node.value, ast.IfExp) and ast.unparse(node.value.test) == "input_grad"
            holder, field = (node.value, "body") if optional else (node, "value")
            value = ast.unparse(getattr(holder, field))
            setattr(holder, field, ast.parse(re.sub(r"\bE\b", lambda _, value=value: value, text), mode="eval").body)
    return ast.fix_missing_locations(tree)


def _beginning(source, text):
    tree = ast.parse(source)
    tree.body[0].body[:0] = ast.parse(text).body
    return ast.fix_missing_locations(tree)


def _replaced():
    for line in TABLE.read_text(encoding="utf-8").splitlines():
        if head := re.fullmatch(r"\[(\w+)\.(\w+)\] (.*)", line):
            owner, name, piece = getattr(mg, head[1]), head[2], head[3].replace("\\n", "\n")
            source = _source(owner, name)
            assert source.count(piece) == 1, f"{line}: {source.count(piece)} times in the source"
        elif line and not line.startswith("#"):
            kinds, cases, new = (part.strip() for part in line.split("|", 2))
            text = new.replace("\\n", "\n").replace("@", piece)
            tree = ast.parse(source.replace(piece, text))
            for case in cases.split():
                yield Planted(frozenset(kinds.split(" or ")), f"{new} for {piece}", owner, name, tree, CASES[case])


def _in_formulas():
    for owner, name, case in FORMULAS:
        kinds = _kinds_of_faults(ast.parse(_source(owner, name)))
        for (description, tree), kind in zip(faults(getattr(owner, name)), kinds, strict=True):
            yield Planted(frozenset(kind), description, owner, name, tree, CASES[case])


def _kinds_of_faults(tree):
    """The kinds of each fault that planted_faults.faults plants in a function, by the operator that it changes."""
    parents = {id(inner): node for node in ast.walk(tree) for inner in ast.iter_child_nodes(node)}
    idle = {id(inner) for node in ast.walk(tree) if _is_number(node) for inner in ast.walk(node)}
    counting = {id(inner) for node in ast.walk(tree) if _counts(node) for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if id(node) not in idle:
            for description, _ in _replacements(node):
                yield {OTHER} if id(node) in counting else _kinds_of_fault(node, parents[id(node)], description)


def _counts(node):
    """Whether a piece of source deals with places and shapes, where a changed operator is no changed formula."""
    called = node.func.attr if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) else ""
    return isinstance(node, ast.Slice) or called in ("reshape", "_between_zeros")


def _kinds_of_fault(node, parent, description):
    if isinstance(node, ast.BinOp) and "operand only" in description:
        kept = ast.unparse(node.left if "left" in description else node.right)
        is_factor = isinstance(node.op, (ast.Mult, ast.Div)) or (
            kept == "1" and isinstance(getattr(parent, "op", None), ast.Mult)
        )
        return {"factor"} if is_factor else {"part left out"}  # y (1 − y) without its − y is y, as without the factor (1 − y)
    if isinstance(node, ast.BinOp):
        return {"sign"} if isinstance(node.op, (ast.Add, ast.Sub)) else {"factor"}
    if isinstance(node, ast.AugAssign):  # a share that is not added is both left out and not added up
        return {"part left out", "not added up"}
    if isinstance(node, ast.Compare) and ast.unparse(node.left) == "grads":
        return {"not written"}
    return {
        {"sign dropped": "sign", "not transposed": "transposed", "statement removed": "not written"}.get(description, OTHER)
    }


def by_turns(seed):
    """The numbers of all mistakes in all_planted(): one of each kind in turn, and each tenth of no kind that is explained."""
    rng, pool = np.random.default_rng(seed), {}
    for index in rng.permutation(len(all_planted())).tolist():
        pool.setdefault(min(all_planted()[index].kinds), []).append(index)
    others = pool.pop(OTHER)
    turns = [
        index for turn in itertools.zip_longest(*(pool[kind] for kind in sorted(pool))) for index in turn if index is not None
    ]
    rounds = (turns[start : start + 9] + others[start // 9 : start // 9 + 1] for start in range(0, len(turns), 9))
    return [*itertools.chain(*rounds), *others[-(-len(turns) // 9) :]]
