"""Layers with a product x V inside, where what reaches it lacks the derivative of what follows."""

import numpy as np
import pytest

import minigan as mg

ACTIVATIONS = {"relu": (lambda a: np.maximum(a, 0), lambda a: a > 0), "tanh": (np.tanh, lambda a: 1 - np.tanh(a) ** 2)}


class Perceptron(mg.Layer):
    """y = f(x V + b) U, or without U, or times x W in its place; backward leaves f′ out where `wrong` names the gradient."""

    def __init__(self, activation="relu", then="U", wrong=("V", "b", "x")):
        super().__init__(activation=activation, then=then, wrong=wrong)
        self.activation, self.then, self.wrong = activation, then, wrong

    def build(self, input_shape):
        size, hidden = input_shape[0], 6
        self.add_parameter("V", (size, hidden), mg.glorot(), size, hidden)
        self.add_parameter("b", (hidden,), mg.constant(0.1))
        if self.then:
            shape = (hidden, 2) if self.then == "U" else (size, hidden)
            self.add_parameter(self.then, shape, mg.glorot(), *shape)
        return (2,) if self.then == "U" else (hidden,)

    def forward(self, x, train=False):
        a = x @ self.V + self.b
        h = ACTIVATIONS[self.activation][0](a)
        y = h @ self.U if self.then == "U" else h * (x @ self.W) if self.then else h
        return y, (x, a, h)

    def branch_signature(self, cache):
        return cache[1] > 0

    def backward(self, dy, cache, grads=None, input_grad=True):
        x, a, h = cache
        dh = dy @ self.U.T if self.then == "U" else dy * (x @ self.W) if self.then else dy
        da = {name: dh if name in self.wrong else dh * ACTIVATIONS[self.activation][1](a) for name in "Vbx"}
        if grads is not None:
            grads["V"][...] = x.T @ da["V"]
            grads["b"][...] = da["b"].sum(axis=0)
            if self.then:
                grads[self.then][...] = h.T @ dy if self.then == "U" else x.T @ (dy * h)
        if input_grad:
            return da["x"] @ self.V.T + (dy * h @ self.W.T if self.then == "W" else 0)
        return None


def check(layer, batch=4):
    return mg.check_layer(layer, (5,), batch=batch, backend="textbook", mode="full")


@pytest.mark.parametrize("batch", [4, 8])
@pytest.mark.parametrize("wrong", ["Vbx", "V", "x"])
@pytest.mark.parametrize(("then", "instead"), [("U", "dy Uᵀ"), ("", "dy")])
@pytest.mark.parametrize(
    ("activation", "lacks"),
    [("relu", "the mask of a ReLU (0 where it lets nothing through)"), ("tanh", "the derivative of what follows it")],
)
def test_the_gradient_before_the_activation_is_taken(activation, lacks, then, instead, wrong, batch):
    words = f"made of {instead} in the place of ∂L/∂(x V): {lacks} is left out"
    found = check(Perceptron(activation, then, tuple(wrong)), batch).mistakes
    assert {(each.kind, each.where, each.words) for each in found} == {
        ("factor", "x" if name == "x" else f"0.{name}", words) for name in wrong
    }


def test_the_mask_of_a_relu_within_a_product():
    """What reaches it has no name among dy and its products, and follows from the gradient of V."""
    found = check(Perceptron("relu", "W")).mistakes
    words = "what reaches x V lacks the mask of a ReLU (0 where it lets nothing through)"
    assert {(each.where, each.words) for each in found} == {(name, words) for name in ("0.V", "0.b", "x")}


@pytest.mark.parametrize(("activation", "batch"), [("relu", 8), ("tanh", 4)])
def test_nothing_is_said_where_any_gradient_would_be_made_of_some_flow(activation, batch):
    report = check(Perceptron(activation, "W"), batch)
    assert not report.ok
    assert not report.mistakes


@pytest.mark.parametrize("then", ["U", "W", ""])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_right_one_passes(activation, then):
    assert check(Perceptron(activation, then, ())).ok
