"""The exercise on R1: a penalty on D's slope, and its gradient in D's parameters, held against central differences."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigan import losses
from minigan.backends import Array
from minigan.checks.report import TOLERANCE
from minigan.exercises.answer import Answer, Attempt, as_array, misfit
from minigan.exercises.exercise import BLANK, ERROR, WRONG, Exercise, Outcome, Part, Source
from minigan.exercises.gan_step import central_differences
from minigan.exercises.layer_check import with_methods
from minigan.exercises.naming import Guess, judge, relative_error
from minigan.layers import Dense, Layer, LeakyReLU, Tanh
from minigan.layers.composite import sweep_curvature
from minigan.losses import R1
from minigan.losses.penalty import Penalty
from minigan.network import Sequential

WEIGHT, N, K = 7.0, 4, 3
SWEEP = "the last sweep"  # a blank, which D of straight pieces does without
LEFT = 0.7  # what lies in grads before
SIZES = {
    "N": float(N),
    "the number K of values in an image": float(K),
    "the number of values in the batch": float(N * K),
    "the weight w": WEIGHT,
    "2N": 2.0 * N,
}
SQUARED = "N², as if g were the slope of the mean of s and not of its sum"
OWN_INPUT = "c is ∂Q/∂x of this layer's own input: it must not go through this layer again"
SLIPS = {
    "none": (
        "part left out",
        "nothing of the last sweep arrives at a weight: layers whose c is None pass a on too, by "
        "layer.backward(a, cache, more), and what that writes to more must be added to own",
    ),
    "a + c down": ("part left out", f"layer.backward gets a + c, and should get a: {OWN_INPUT}"),
    "c down": ("part left out", f"layer.backward gets c, and should get a: {OWN_INPUT}"),
    "old a": ("part left out", "a + c with the a from before layer.backward: what that returns belongs there, a ← Jᵀ a + c"),
    "c alone": ("part left out", "a is c alone: what came from above must go on through layer.backward, a ← Jᵀ a + c"),
    "c dropped": ("part left out", "the c of a lower layer is left out where an a comes from above: a ← Jᵀ a + c"),
    "overwritten": ("part left out", "layer.backward overwrites what curvature wrote to own: give it room of its own, and add"),
    "sign of c": ("sign", "a sign is wrong in the tangents or in the last sweep: a ← Jᵀ a + c, own ← own + more"),
}


def _discriminator(curved: bool) -> tuple[Sequential, Array, Array]:
    """A D of two hidden layers, linear piece by piece or curved; real and generated samples, away from its kinks."""
    bend: list[Layer] = [Tanh(), Tanh()] if curved else [LeakyReLU(0.2), LeakyReLU(0.2)]
    net = Sequential([Dense(4), bend[0], Dense(5), bend[1], Dense(1)], (K,), "textbook", "float64", seed=1)
    rng = np.random.default_rng(5)
    net.flat_params[...] += 0.2 * rng.standard_normal(net.num_params)
    return net, rng.standard_normal((N, K)), rng.standard_normal((N, K))


def _check_value(answer: Answer, kind: type[Penalty]) -> list[Outcome]:
    g, be = np.random.default_rng(3).standard_normal((N, K)), _discriminator(True)[0].backend
    done = answer.attempt(lambda: kind(WEIGHT).value_and_grad(be, g.copy()))
    parts = ("P", "v = ∂P/∂g")
    if not done.error and (not isinstance(done.value, tuple) or len(done.value) != 2):
        done.error = f"{answer.place(kind.value_and_grad)}must return (P, v), it returns {type(done.value).__name__}"
    if done.error:
        return [done.unusable(part) or Outcome(part, WRONG) for part in parts]
    true_value, true_v = R1(WEIGHT).value_and_grad(be, g)
    of_value = [
        Guess("factor", "w/N Σ ‖g_n‖²: the ½ of w/2N is left out", 2 * true_value),
        Guess(
            "part left out",
            "(Σ_k g_nk)² stands where Σ_k g_nk² belongs: square first, then add up",
            WEIGHT / (2 * N) * (g.sum(axis=1) ** 2).sum(),
        ),
        Guess(
            "part left out",
            "(Σ g)² over all of g stands where Σ g² belongs: square first, then add up",
            WEIGHT / (2 * N) * g.sum() ** 2,
        ),
        Guess("part left out", "mean ‖g_n‖ without the square", WEIGHT / 2 * np.linalg.norm(g, axis=1).mean()),
        Guess(
            "part left out",
            "(‖g‖ − 1)² stands where ‖g‖² belongs: that is WGAN-GP's penalty",
            WEIGHT * ((np.linalg.norm(g, axis=1) - 1) ** 2).mean(),
        ),
        Guess(
            "factor",
            "the mean runs over all N·K values: ‖g_n‖² is a sum over K, and the mean over N alone",
            WEIGHT / 2 * (g * g).mean(),
        ),
        Guess("factor", "the ½ of w/2N is missing, and the mean runs over all N·K values", WEIGHT * (g * g).mean()),
    ]
    of_v = [
        Guess(
            "part left out",
            "g/‖g‖: that of the norm, not of its square",
            WEIGHT / N * g / np.linalg.norm(g, axis=1, keepdims=True),
        ),
        Guess("factor", "w g/2N: the derivative of ‖g‖² is 2g, and its 2 takes away the ½", WEIGHT / (2 * N) * g),
        Guess("factor", "2w g/N: that of w/N Σ ‖g_n‖²; the ½ of P is left out, which takes away the 2 of 2g", 2 * true_v),
        Guess("factor", "g alone: the w/N before it is left out", g),
    ]
    outcomes = []
    for part, own, true, guesses in zip(parts, done.value, (true_value, true_v), (of_value, of_v), strict=True):
        error = misfit(own, np.shape(true), part)
        attempt = Attempt(
            own if error else as_array(own, np.shape(true)),
            f"{answer.place(kind.value_and_grad)}{error}" if error else "",
            done.blanks,
        )
        outcomes.append(attempt.unusable(part) or judge(part, attempt.value, true, guesses, SIZES))
    return outcomes


def _added(kind: type[Penalty], curved: bool, left: float) -> tuple[Any, np.ndarray]:
    """What add_grads returns, and what it adds to grads in which `left` lay."""
    net, real, fake = _discriminator(curved)
    grads, params = net.empty_grads(), net.flat_params.copy()
    grads.flat[...] = left
    value = kind(WEIGHT).add_grads(net, real.copy(), fake.copy(), grads)
    if not np.array_equal(net.flat_params, params):
        raise ValueError("add_grads moves D's parameters: it may only add to grads")
    return value, grads.flat


def _gradients_with_slips(curved: bool) -> tuple[np.ndarray, list[Guess]]:
    """∂P/∂θ by central differences of the library's own P, and what it is with common mistakes."""
    net, real, fake = _discriminator(curved)
    be, penalty = net.backend, R1(WEIGHT)

    def value(x: Array = real) -> float:
        s, caches = net.forward(x, train=True)
        return float(penalty.slope(be, net.backward(np.ones_like(s), caches))[0])

    true = central_differences(value, net.flat_params)
    s, caches = net.forward(real, train=True)
    dys: list[Array] = []
    own = net.empty_grads()
    g = net.backward(np.ones_like(s), caches, grads=own, dys=dys)
    _, v = penalty.slope(be, g)
    of_score = own.flat.copy()
    of_fake = central_differences(lambda: value(fake), net.flat_params)
    swept = {slip: _swept(net, v, caches, dys, slip) for slip in ("", *SLIPS)}
    guesses = [
        Guess(
            "part left out",
            "∂(Σ s)/∂θ, that of the scores: the way on through g is left out, v · g = Σ ṡ must be differentiated",
            of_score,
        ),
        Guess("other samples", "g is taken at generated samples: R1 takes it at real ones", of_fake),
        Guess("part left out", "the tangents start from g, and not from v = ∂P/∂g", true * N / WEIGHT),
    ]
    if relative_error(swept[""], true) < TOLERANCE:
        guesses += [Guess(*SLIPS[slip], swept[slip]) for slip in SLIPS]
    return true, guesses


def _swept(net: Sequential, v: Array, caches: list[Any], dys: list[Array], slip: str) -> np.ndarray:
    """∂Q/∂θ of Q = Σ ṡ, as Sequential.curvature has it, with a slip of SLIPS in it."""
    grads, moves, a = net.empty_grads(), [v], None
    for layer, cache in zip(net.layers[:-1], caches, strict=False):
        moves.append(layer.tangent(moves[-1], cache))
    for index in reversed(range(len(net.layers))):
        layer, own = net.layers[index], grads.of_layer[index]
        c = layer.curvature(moves[index], dys[index], caches[index], own)
        through = {name: np.zeros_like(param) for name, param in layer.params.items()}
        down = _down(a, c, slip)
        below = None if down is None else layer.backward(down, caches[index], through)
        for name in own:
            own[name][...] = (
                through[name] if slip == "overwritten" and down is not None else own[name] + (slip != "none") * through[name]
            )
        if slip in ("c alone", "a + c down", "c down"):
            a = c if slip == "c alone" else below
        elif slip == "old a" and c is not None:
            a = c if a is None else a + c
        elif slip == "c dropped":
            a = c if below is None else below
        else:
            c = -c if slip == "sign of c" and c is not None else c
            a = c if below is None else below if c is None else below + c
    return grads.flat


def _down(a: Array | None, c: Array | None, slip: str) -> Array | None:
    """What goes down through a layer: a, but with a slip of SLIPS."""
    if slip == "c down" and c is not None:
        return c
    return (c if a is None else a + c) if slip == "a + c down" and c is not None else a


def _check_gradient(answer: Answer, kind: type[Penalty], curved: bool) -> Outcome:
    part = "∂P/∂θ, D curved" if curved else "∂P/∂θ, D of straight pieces"
    fixed = with_methods(kind, kind.__name__, {"value_and_grad": R1.value_and_grad})
    done = answer.attempt(lambda: _added(fixed, curved, 0.0)[1])
    if unusable := done.unusable(part):
        return unusable
    true, guesses = _gradients_with_slips(curved)
    outcome = judge(part, done.value, true, guesses, {**SIZES, SQUARED: float(N * N)}, place=_entry)
    if outcome.status == WRONG and set(done.blanks) - (set() if curved else {SWEEP}):
        return Outcome(part, BLANK)  # without the last sweep, D's straight pieces have all
    if not done.value.any():
        told = (
            "nothing is added to grads: ∂P/∂θ, by way of g = ∂(Σ s)/∂x, must be computed, and written there: grads[…][...] += …"
        )
        return Outcome(part, WRONG, [told], "missing")
    return outcome


def _entry(where: tuple[int, ...]) -> str:
    """An entry of the flat vector by its layer and parameter: "for 2.weight at (0, 3)"."""
    (index,) = where
    for name, array in _discriminator(True)[0].params.items():
        if index < array.size:
            return f"for {name} at {tuple(int(i) for i in np.unravel_index(index, array.shape))}"
        index -= array.size
    raise IndexError(f"D has no parameter {where}")


def _check_adding(answer: Answer, kind: type[Penalty], gradients: list[Outcome]) -> Outcome:
    part = "P returned, its gradient added"
    if any(outcome.status == BLANK for outcome in gradients):
        return Outcome(part, BLANK)
    if any(outcome.mistake == ERROR for outcome in gradients):
        return Outcome(part, WRONG, ["is looked at once the passes run"])
    fixed = with_methods(kind, kind.__name__, {"value_and_grad": R1.value_and_grad})
    done = answer.attempt(lambda: (_added(fixed, True, 0.0), _added(fixed, True, LEFT)))
    if unusable := done.unusable(part):
        return unusable
    (value, empty), (_, filled) = done.value
    if np.allclose(filled, empty, rtol=1e-9, atol=1e-12):
        told = "what lay in grads is overwritten: D's own gradient lies there, the penalty's must be added, +="
        return Outcome(part, WRONG, [told], "added")
    if not np.allclose(filled, empty + LEFT, rtol=1e-9, atol=1e-12):
        return Outcome(part, WRONG, ["what lay in grads before changes what is added"], "added")
    net, real, fake = _discriminator(True)
    true, of_fake = (R1(WEIGHT).add_grads(net, x, x, net.empty_grads()) for x in (real, fake))
    if error := misfit(value, (), "P"):
        return Outcome(part, WRONG, [f"{answer.place(kind.add_grads)}{error}"], ERROR)
    guesses = [Guess("other samples", "P is taken at generated samples: R1 takes it at real ones", of_fake)]
    return judge(part, value, true, guesses, SIZES)


def _check_r1(answer: Answer) -> list[Outcome]:
    kind = answer.find("R1", R1)
    gradients = [_check_gradient(answer, kind, curved) for curved in (False, True)]
    return [*_check_value(answer, kind), *gradients, _check_adding(answer, kind, gradients)]


R1_PENALTY = Exercise(
    12,
    "R1",
    "the gradient of a gradient, by one more pass forwards and one more sweep back.",
    losses.R1,
    (("P = w/(2N)", "v_n"),),
    ("R1",),
    ("15_gradient_of_a_gradient.py", "16_why_games_spiral.py"),
    "class R1(mg.losses.R1):",
    (),
    '''
def value_and_grad(self, be, g):
    """P and v = ∂P/∂g of the slopes g (N, K), a row for each sample; w is self.weight."""
    w, N = self.weight, len(g)
    return blank("P"), blank("v = ∂P/∂g")

def add_grads(self, discriminator, real, fake, grads, score=None):
    """P, and ∂P/∂θ added to grads."""
    D = discriminator
    s, caches = D.forward(real, train=True)
    dys = []
    g = D.backward(np.ones_like(s), caches, dys=dys)  # ∂(Σ s)/∂x; dys[l] is ∂(Σ s)/∂y of layer l
    value, v = self.slope(D.backend, g)  # P and v by the method above

    # P reaches θ through g alone, so ∂P/∂θ = ∂(v · g)/∂θ with v held fixed. And v · g = Σ ṡ: the derivative of the scores as
    # the samples move along v. So the samples' movement is pushed forwards through D:
    moves = [v]  # ẋ of each layer, the movement of what goes in
    for layer, cache in zip(D.layers[:-1], caches[:-1]):
        moves.append(blank("tangents"))  # layer.tangent(ẋ, cache) is the movement of what comes out
    # and Q = Σ ṡ is differentiated, from the last layer to the first. For Q = dy · (∂f/∂x) ẋ of one layer,
    # layer.curvature(ẋ, dy, cache, own) writes ∂Q/∂θ of its parameters to own, and returns c = ∂Q/∂x, or None where it is 0.
    a = None  # ∂Q/∂y of the layer: what the layers above have brought so far, None for 0
    for index in reversed(range(len(D.layers))):
        layer, cache, dy = D.layers[index], caches[index], dys[index]
        own = {name: np.zeros_like(param) for name, param in layer.params.items()}
        c = blank("curvature")
        # θ also moves y, and with it what the layers above make of it: where a is not None, layer.backward(a, cache, more)
        # overwrites the arrays of more, a dictionary like own, by what is to be added to those of own, and returns what is to
        # be added to c, of which None stands for 0.
        a = blank("the last sweep")
        for name, gradient in own.items():
            grads[f"{index}.{name}"][...] += blank("∂P/∂θ")
    return value
''',
    (Source(R1.value_and_grad), Source(Penalty.add_grads)),
    (
        Part(
            "P",
            "‖g_n‖² is a sum over the K values of a sample. Over what is the mean, and what stands before it?",
            ("P = w/(2N)", ""),
        ),
        Part("v = ∂P/∂g", "Each number of g stands squared in one ‖g_n‖². What becomes of the ½?", ("v_n =", "When")),
        Part(
            "∂P/∂θ, D of straight pieces",
            "Where all layers are linear piece by piece, c is None everywhere: only tangents and curvature are needed.",
            ("Q is also", "a_{l−1} ="),
            Sequential.curvature,
        ),
        Part(
            "∂P/∂θ, D curved",
            "A tanh's slope depends on its x, so it brings a c = ∂Q/∂x. Who else, further down, moves that x?",
            ("Q is also", "Written to grads"),
            Sequential.curvature,
        ),
        Part(
            "P returned, its gradient added",
            "D's own gradient lies in grads already. And what does the caller want back?",
            ("P = w/(2N)", ""),
        ),
    ),
    _check_r1,
    more=(Sequential.curvature, sweep_curvature),
)
