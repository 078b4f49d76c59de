"""Mistakes in one path: the numeric gradient is taken apart into the paths by which L is reached, and one of them is wrong.

A decomposition is only used where its terms add up to the numeric gradient, to the tolerance of the check.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from minigan.checks.mistakes.evidence import Explanation, Gradient, Trial
from minigan.checks.mistakes.flows import true_flows
from minigan.checks.mistakes.sizes import in_words, is_named
from minigan.layers import Linear

Term = tuple[str, np.ndarray]
BOTH = "paths through μ and σ take their means"


@dataclass(frozen=True)
class Decomposition:
    """Terms by name that add up to the true gradient. proven: the formula of each was found right by their sum."""

    terms: list[Term]
    proven: bool = True
    alone: bool = True  # whether more than the first term may be missing: the others have no formula otherwise
    alike: bool = False  # whether all terms but the first are made alike, so that one mistake may stand in all of them


def path_left_out(trial: Trial, g: Gradient) -> Explanation | None:
    """A lacks one of the paths, or all but one"""
    for found in decompositions(trial, g):
        for name, term in found.terms if found.alone else found.terms[:1]:
            if g.fits(g.numeric - term):
                return Explanation("part left out", f"lacks {name}")
        for name, term in found.terms if found.alone else []:
            if g.fits(term):
                others = " and ".join(other for other, _ in found.terms if other != name)
                return Explanation("part left out", f"{name} alone: lacks {others}")
    return None


def statistics_held(trial: Trial, g: Gradient) -> Explanation | None:
    """A in training is that of constant statistics, or the other way round: train forgotten"""
    if g.name != "x":
        return None
    for norm in _normalisations(trial):
        direct, through_mean, through_std = norm.terms
        if 0 in norm.axes and g.agree(direct + through_mean + through_std, g.numeric) and g.fits(direct):
            return Explanation(
                "train", "lacks the paths through μ and σ, as at inference, where both are constant: is train forgotten?"
            )
        if not trial.train and g.agree(direct, g.numeric) and g.fits(direct + through_mean + through_std):
            words = "has the paths through μ and σ, which at inference are constant: backward forgets train"
            return Explanation("train", words)
    return None


def path_with_factor(trial: Trial, g: Gradient) -> Explanation | None:
    """One path has another sign, or a constant factor that has a name; or both paths through statistics have it"""
    for found in decompositions(trial, g):
        for name, term in _terms(found):
            if g.fits(g.numeric - 2 * term):
                return Explanation("sign", f"{name} has the wrong sign")
    for name, c in _factors(trial, g):
        doubled = trial.doubled
        measured = dict(_factors(doubled, doubled.gradients[g.name])).get(name) if doubled else None
        words = in_words(c, trial, measured, doubled)
        if is_named(words):
            return Explanation("factor", f"{name} is {words}")
    return None


def _factors(trial: Trial, g: Gradient) -> Iterator[tuple[str, float]]:
    """(a path, c) where A is g with c times that path in it"""
    known = ~np.isnan(g.numeric)
    for found in decompositions(trial, g):
        for name, term in _terms(found) if found.proven else []:
            size = float((term[known] ** 2).sum())
            c = 1 + float(((g.analytic - g.numeric)[known] * term[known]).sum()) / size if size else math.nan
            if math.isfinite(c) and c and g.fits(g.numeric + (c - 1) * term):
                yield name, c


def _terms(found: Decomposition) -> list[Term]:
    """The terms, then all but the first together, where these are several: the means of a normalisation, written alike."""
    (_, *others), both = found.terms, "what goes through the statistics, both its paths,"
    if len(others) < 2 or not found.alike:
        return found.terms
    return [*found.terms, (both, np.asarray(sum(term for _, term in others)))]


def mean_over_other_axes(trial: Trial, g: Gradient) -> Explanation | None:
    """The sums in the paths through μ and σ, or through Softmax's sum, run over other axes than they should"""
    if g.name != "x":
        return None
    for axis, (direct, through) in _softmaxes(trial):
        if g.agree(direct + through, g.numeric):
            for along, (_, instead) in _softmaxes(trial):
                if along != axis and g.fits(direct + instead):
                    return Explanation("axis", f"the sum in the path through the sum below runs over axis {along}, not {axis}")
    for norm in _normalisations(trial):
        if not g.agree(sum(norm.terms), g.numeric):  # type: ignore[arg-type]
            continue
        for other in _normalisations(trial):
            if other.axes == norm.axes or other.names != norm.names:
                continue
            means = {term: norm.mean_term(term, other.axes) for term in (1, 2)}
            for whose, changed in (
                ("path through μ takes its mean", (1,)),
                ("path through σ takes its mean", (2,)),
                (BOTH, (1, 2)),
            ):
                if g.fits(sum(means[term] if term in changed else norm.terms[term] for term in range(3))):
                    words = f"the {whose} over the axes {other.axes} and not over {norm.axes}"
                    return Explanation("axis", words)
    return None


def decompositions(trial: Trial, g: Gradient) -> Iterator[Decomposition]:
    """All that hold for this gradient."""
    kinds = (_through_statistics, _through_softmax, _through_std_channel, _straight, _through_matrices, _of_a_product)
    for kind in kinds if g.name == "x" else (_through_sigma,):
        for found in kind(trial, g):
            total = sum(term for _, term in found.terms)
            if len(found.terms) > 1 and g.agree(np.asarray(total), g.numeric):
                yield found


@dataclass(frozen=True)
class _Normalisation:
    """y = γ x̂ + β with x̂ = (x − μ)/σ over axes, and what that makes of dy."""

    axes: tuple[int, ...]
    names: tuple[str, str]
    g: np.ndarray  # γ dy
    x_hat: np.ndarray
    inv_std: np.ndarray

    @property
    def terms(self) -> list[np.ndarray]:
        return [self.g * self.inv_std, self.mean_term(1, self.axes), self.mean_term(2, self.axes)]

    def mean_term(self, which: int, axes: tuple[int, ...]) -> np.ndarray:
        """−⟨g⟩/σ, or −x̂ ⟨g x̂⟩/σ"""
        of, times = (self.g, np.ones(())) if which == 1 else (self.g * self.x_hat, self.x_hat)
        return -times * of.mean(axis=axes, keepdims=True) * self.inv_std + 0 * self.g


def _normalisations(trial: Trial) -> Iterator[_Normalisation]:
    """For all axes that may be normalised together, and all parameters that may be γ and β."""
    x, y = trial.x_value, trial.y
    if x.shape != y.shape or x.ndim < 2:
        return
    params = {name: trial.host(array) for name, array in trial.layer.params.items() if array.ndim <= x.ndim - 1}
    pairs: list[tuple[str, str]] = [("", ""), *itertools.permutations(params, 2), *((name, "") for name in params)]
    for names in pairs:
        gamma, beta = params.get(names[0], np.ones(())), params.get(names[1], np.zeros(()))
        try:
            x_hat, scaled = (y - beta) / gamma + 0 * x, gamma * trial.dy
        except ValueError:
            continue
        for axes in sorted({(0,), tuple(range(x.ndim - 1)), *(tuple(range(first, x.ndim)) for first in range(x.ndim))}):
            with np.errstate(all="ignore"):
                inv_std = x_hat.std(axis=axes, keepdims=True) / x.std(axis=axes, keepdims=True)
            if np.isfinite(inv_std).all():
                yield _Normalisation(axes, names, scaled, x_hat, inv_std)


def _through_statistics(trial: Trial, g: Gradient) -> Iterator[Decomposition]:
    names = ("the direct path, g/σ", "the path through μ, −⟨g⟩/σ", "the path through σ, −x̂⟨g x̂⟩/σ")
    for norm in _normalisations(trial):
        yield Decomposition(list(zip(names, norm.terms, strict=True)), alike=True)


def _through_softmax(trial: Trial, g: Gradient) -> Iterator[Decomposition]:
    names = ("the direct path, y dy", "the path through the sum below, −y Σ y dy")
    for _, terms in _softmaxes(trial):
        yield Decomposition(list(zip(names, terms, strict=True)))


def _softmaxes(trial: Trial) -> Iterator[tuple[int, tuple[np.ndarray, np.ndarray]]]:
    """(an axis, (y dy, −y Σ y dy)), for y = e^x / Σ e^x along it"""
    if trial.x_value.shape == trial.y.shape:
        for axis in range(trial.y.ndim):
            direct = trial.y * trial.dy
            yield axis, (direct, -trial.y * direct.sum(axis=axis, keepdims=True))


def _through_matrices(trial: Trial, g: Gradient) -> Iterator[Decomposition]:
    """x (N, I) stands in products x W with several parameters W (I, O): a path ∂L/∂(x W) Wᵀ through each, one through none."""
    terms = [
        (f"the path through {name}, ∂L/∂(x {name}) {name}ᵀ", flow @ trial.gradients[name].value.T)
        for name, flow in true_flows(trial)
    ]
    if terms:
        rest = g.numeric - sum(term for _, term in terms)
        if np.nanmax(np.abs(rest)) > 1e-4 * np.nanmax(np.abs(g.numeric)):
            terms.append(("the path that goes through no matrix", rest))
        yield Decomposition(terms)


def _through_std_channel(trial: Trial, g: Gradient) -> Iterator[Decomposition]:
    """y holds x and more channels that are made of it"""
    x, y = trial.x_value, trial.y
    if x.shape[:-1] == y.shape[:-1] and x.shape[-1] < y.shape[-1] and np.array_equal(y[..., : x.shape[-1]], x):
        straight = trial.dy[..., : x.shape[-1]]
        more = "the path through the channels that are appended"
        yield Decomposition([("the path straight through, dy's own channels", straight), (more, g.numeric - straight)])


def _straight(trial: Trial, g: Gradient) -> Iterator[Decomposition]:
    """x goes straight through, and by another path: y = x + f(x). Where nothing is within, dy is but a term of the formula."""
    if trial.x_value.shape != trial.y.shape:
        return
    rest = g.numeric - trial.dy
    within = bool(trial.layer.layers)
    names = ("the term dy", "all terms but dy")
    if within:
        names = ("the path straight through, dy", "the path through the layers within")
    yield Decomposition(list(zip(names, (trial.dy + 0 * rest, rest), strict=True)), proven=within)


def _of_a_product(trial: Trial, g: Gradient) -> Iterator[Decomposition]:
    """Element by element: y = x s(x) has dx = dy s + dy x s′; and a formula in y has terms dy y"""
    if not _elementwise(g, trial):
        return
    x, y, dy = trial.x_value, trial.y, trial.dy
    for name, term in (
        ("the share of the first operand of the product x s(x), dy s", dy * y / x),
        ("the term dy y", dy * y),
        ("the term dy y²", dy * y * y),
    ):
        other = "the rest" if "term" in name else "that of the second operand, dy x s′"
        yield Decomposition([(name, term), (other, g.numeric - term)], proven=False, alone="term" not in name)


def _elementwise(g: Gradient, trial: Trial) -> bool:
    """Whether y_i depends on x_i alone."""
    if g.parts is None or trial.x_value.shape != trial.y.shape:
        return False
    parts = np.nan_to_num(g.parts.reshape(g.analytic.size, -1))
    return bool(np.abs(parts - np.diag(np.diag(parts))).max() < 1e-9 * np.abs(parts).max())


def _through_sigma(trial: Trial, g: Gradient) -> Iterator[Decomposition]:
    """A linear layer within, whose weight is divided by a norm σ = ⟨W, R⟩: dW = G − ⟨G, W⟩/σ R, R = u vᵀ of the state"""
    layer = trial.layer
    inner = layer.layers[0] if len(layer.layers) == 1 else None
    if not isinstance(inner, Linear) or g.name != "weight" or not g.complete:
        return
    for names in itertools.combinations(layer.state, 2):
        r = np.asarray(math.prod(trial.host(layer.state[name]) for name in names))
        if r.shape != g.value.shape:
            continue
        r = r / np.linalg.norm(r)
        sigma = float((r * g.value).sum())
        fixed = _of_linear(trial, inner) / sigma
        through = -(fixed * g.value).sum() / sigma * r
        yield Decomposition([("the path through the map, G/σ", fixed), ("the path through σ, −⟨G, W⟩/σ² u vᵀ", through)])


def _of_linear(trial: Trial, inner: Linear) -> np.ndarray:
    """∂⟨A x, dy⟩/∂W: A is linear in W, so each entry is what a W of one 1 makes."""
    weight, found = inner.weight, np.empty(inner.weight.shape)
    kept = weight.copy()
    for where in np.ndindex(weight.shape):
        weight[...] = 0
        weight[where] = 1
        found[where] = (trial.host(inner.apply(trial.x.copy())) * trial.dy).sum()
    weight[...] = kept
    return found
