"""Worked examples of the optimisers: a few steps down a bowl."""

from __future__ import annotations

import itertools

import numpy as np

from minigan.explain.worked.calculator import Working
from minigan.explain.worked.registry import example
from minigan.layers import Dense
from minigan.network import Sequential
from minigan.optim import SGD, Adam, Optimizer


def run_optimizer(page: Working, optimizer: Optimizer, steps: int, states: dict[str, tuple[str, float]]) -> None:
    """Steps on L = (w_0² + 4 w_1²) / 2: row t of w and of each state (name -> its vector and a factor) after t steps."""
    net = Sequential([Dense(1, bias=False)], (2,), "textbook", "float64")
    net.flat_params[...] = [1, -2]
    optimizer.attach(net)
    page.ran = optimizer
    rows: dict[str, list[np.ndarray]] = {name: [] for name in ("w", "dw", *states)}
    for step in range(steps + 1):
        if step:
            optimizer.update(net)
        net.flat_grads[...] = net.flat_params * [1, 4]
        rows["w"].append(net.flat_params.copy())
        rows["dw"].append(net.flat_grads.copy())
        for name, (vector, factor) in states.items():
            rows[name].append(factor * optimizer.state[vector])
    page.values |= {name: np.array(values) for name, values in rows.items()}
    page.write("Two numbers on their way down L = (w_0^2 + 4 w_1^2) / 2, whose gradient is (w_0, 4 w_1).")
    page.write("Row t of each table is the state after t steps; dw[t] is the gradient at w[t].")


def write_steps(page: Working, formulas: dict[str, str], steps: int) -> None:
    """Formulas for step t from row u = t − 1, written out for w_0; the others of w and of its states are compared unseen."""
    worst = 0.0
    for t, i in itertools.product(range(1, steps + 1), range(2)):
        if i == 0:
            page.write(f"Step {t}, the first number:")
        for entry, formula in formulas.items():
            left, right = (text.format(t=t, u=t - 1, i=i) for text in (entry, formula))
            if i == 0:
                page.write_out(left, right)
            worst = max(worst, abs(page.evaluate(left) - page.evaluate(right)))
    verdict = "ok" if worst < 1e-12 else "FAILED"
    page.ok &= verdict == "ok"
    page.write()
    page.write(f"Checked: both numbers in all {steps} steps against these formulas: {verdict}, largest difference {worst:.1e}.")


@example(SGD)
def sgd(page: Working) -> None:
    optimizer = SGD(lr=0.1, momentum=0.5)
    run_optimizer(page, optimizer, 2, {"u": ("momentum", 1.0)})
    page.values |= {"lr": 0.1, "momentum": optimizer.momentum}
    page.write("lr = 0.1, momentum μ = 0.5.")
    page.show("w", "dw", "u")
    write_steps(page, {"u[{t},{i}]": "momentum·u[{u},{i}] + dw[{u},{i}]", "w[{t},{i}]": "w[{u},{i}] - lr·u[{t},{i}]"}, 2)


@example(Adam)
def adam(page: Working) -> None:
    optimizer = Adam(lr=0.1)
    b1, b2 = optimizer.betas
    run_optimizer(page, optimizer, 2, {"m": ("m_sum", 1 - b1), "v": ("v_sum", 1 - b2)})
    m, v, t = page.values["m"], page.values["v"], np.arange(1, 3)[:, None]
    zero = np.zeros((1, 2))
    hats = {"m_hat": np.vstack([zero, m[1:] / (1 - b1**t)]), "v_hat": np.vstack([zero, v[1:] / (1 - b2**t)])}
    page.values |= {"lr": 0.1, "beta1": b1, "beta2": b2, "eps": optimizer.eps, **hats}
    page.write(f"lr = 0.1, betas = ({b1}, {b2}), eps = {optimizer.eps}.")
    page.show("w", "dw", "m", "v")
    formulas = {
        "m[{t},{i}]": "beta1·m[{u},{i}] + (1 - beta1)·dw[{u},{i}]",
        "v[{t},{i}]": "beta2·v[{u},{i}] + (1 - beta2)·dw[{u},{i}]^2",
        "m_hat[{t},{i}]": "m[{t},{i}] / (1 - beta1^{t})",
        "v_hat[{t},{i}]": "v[{t},{i}] / (1 - beta2^{t})",
        "w[{t},{i}]": "w[{u},{i}] - lr·m_hat[{t},{i}] / (sqrt(v_hat[{t},{i}]) + eps)",
    }
    write_steps(page, formulas, 2)
