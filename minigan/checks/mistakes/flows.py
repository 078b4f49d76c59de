"""Mistakes in what reaches a product x W of a layer's input with a parameter: the flow ∂L/∂(x W), of which all else is made."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minigan.checks.mistakes.evidence import FEW, Explanation, Gradient, Trial


def true_flows(trial: Trial) -> Iterator[tuple[str, np.ndarray]]:
    """(the name of W (I, O), ∂L/∂(x W) (N, O)), for all parameters that x (N, I) stands in a product with.

    Of one sample, ∂L/∂W = x aᵀ with a = ∂L/∂(x W), so a is found from the parts of W's numeric gradient.
    """
    x = trial.x_value
    if x.ndim != 2 or len(trial.y) != len(x):
        return
    for name, of_weight in trial.gradients.items():
        if name == "x" or of_weight.value.ndim != 2 or len(of_weight.value) != x.shape[1] or of_weight.parts is None:
            continue
        parts = of_weight.parts.sum(axis=tuple(range(3, of_weight.parts.ndim)))  # (I, O, N)
        a = np.einsum("ni,ion->no", x, parts) / (x**2).sum(axis=1, keepdims=True)
        if np.allclose(np.einsum("ni,no->ion", x, a), parts, rtol=1e-6, atol=1e-6 * np.abs(parts).max()):
            yield name, a


def derivative_left_out(trial: Trial, g: Gradient) -> Explanation | None:
    """What reaches x W is taken for what comes before it on the way back: dy, or dy Uᵀ, without the derivative in between"""
    for name, true in true_flows(trial):
        for what, taken in _taken_instead(trial, name, true):
            if g.fits(_made_of(trial, g, name, true, taken)):
                mask = _mask_is_missing(true, taken)
                lacks = "the mask of a ReLU (0 where it lets nothing through)" if mask else "the derivative of what follows it"
                of = f"made of {what} in the place of ∂L/∂(x {name})" if what else f"what reaches x {name}"
                return Explanation("factor", f"{of} lacks {lacks}" if not what else f"{of}: {lacks} is left out")
    return None


def _made_of(trial: Trial, g: Gradient, name: str, true: np.ndarray, taken: np.ndarray) -> np.ndarray:
    """The gradient g if `taken` stood for the true flow into x W: of W itself, of x, or of the bias that is added to x W."""
    if g.name == name:
        return np.asarray(trial.x_value.T @ taken)
    if g.name == "x":
        return np.asarray(g.numeric + (taken - true) @ trial.gradients[name].value.T)
    is_bias = g.numeric.shape == true.shape[1:] and g.agree(g.numeric, true.sum(axis=0))
    return taken.sum(axis=0) if is_bias else g.numeric


def _taken_instead(trial: Trial, name: str, true: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """(its name, a flow that could have been taken for the true one)"""
    dy = trial.dy
    if dy.shape == true.shape:
        yield "dy", dy
    for other, gradient in trial.gradients.items():
        if other not in (name, "x") and dy.ndim == 2 and gradient.value.shape == (true.shape[1], dy.shape[1]):
            yield f"dy {other}ᵀ", dy @ gradient.value.T
    found = trial.gradients[name].analytic
    if len(trial.x_value) < trial.x_value.shape[1] and np.isfinite(found).all():  # else any gradient would be made of some flow
        taken = np.linalg.lstsq(trial.x_value.T, found, rcond=None)[0]
        if trial.gradients[name].agree(trial.x_value.T @ taken, found) and _mask_is_missing(true, taken):
            yield "", taken


def _mask_is_missing(true: np.ndarray, taken: np.ndarray) -> bool:
    """Whether the two are equal but for where the true one is 0."""
    largest = np.abs(true).max(initial=0)
    blocked = np.abs(true) <= 1e-9 * largest
    passed = np.abs(taken - true)[~blocked] <= 1e-6 * largest
    return bool(passed.size >= FEW and passed.all() and (np.abs(taken[blocked]) > 1e-3 * largest).any())
