"""Answers to the exercises, as a reader would write them, and the same with a mistake in one blank."""

_NEW = "{k: np.zeros_like(p) for k, p in layer.params.items()}"
_SWEEP = f"""more = {_NEW}
            below = None if a is None else layer.backward(a, cache, more)
            for k in own: own[k] += more[k]
            a = c if below is None else below if c is None else below + c"""
_TAP = "[:, :, :, i, j]"
_READ = "x_bar[:, i * d : i * d + s * (OH - 1) + 1 : s, j * e : j * e + t * (OW - 1) + 1 : t]"
_P, _V = "w / (2 * N) * (g * g).sum()", "w / N * g"
_PV = 'blank("P"), blank("v = ∂P/∂g")'

RIGHT = {
    1: {'blank("dW")': "x.T @ dy", 'blank("db")': "dy.sum(axis=0)", 'blank("dx")': "dy @ W.T"},
    2: {
        'blank("σ(x)")': "xp.where(x > 0, 1 / (1 + xp.exp(-abs(x))), xp.exp(-abs(x)) / (1 + xp.exp(-abs(x))))",
        'blank("σ′")': "y - y**2",
        'blank("tanh′")': "1 - y**2",
    },
    3: {
        'blank("log p")': "shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))",
        'blank("L")': "-log_p[np.arange(N), labels].mean()",
        'blank("∂L/∂s")': "(np.exp(log_p) - np.eye(K)[labels]) / N",
    },
    4: {'blank("L")': "np.mean(zeta - targets * s)", 'blank("∂L/∂s")': "(sigmoid(np, s) - targets) / s.size"},
    5: {
        'blank("y")': "x_bar[:, o * s + i * d, p * t + j * e] @ w[i, j]",
        'blank("dw")': "x_bar[:, o * s + i * d, p * t + j * e].T @ y[:, o, p]",
        'dx_bar[:, 0, 0] += blank("dx")': "dx_bar[:, o * s + i * d, p * t + j * e] += y[:, o, p] @ w[i, j].T",
    },
    6: {
        'blank("im2col")': _READ,
        'x_bar[...] = blank("col2im")': f"for i, j in np.ndindex(KH, KW): {_READ} += windows{_TAP}",
        'blank("conv2d")': "(columns @ w.reshape(-1, w.shape[-1])).reshape(len(x), *g.output, -1)",
    },
    7: {
        'blank("y")': "self.backend.conv2d_transpose(x, self.weight, self.geometry)",
        'blank("dx")': "self.backend.conv2d(dy, self.weight, self.geometry)",
        'blank("dw")': "self.backend.conv2d_weight_grad(dy, x, self.geometry)",
    },
    8: {
        'blank("dγ")': "(dy * x_hat).sum(axis=axes)",
        'blank("dβ")': "dy.sum(axis=axes)",
        'blank("dx at inference")': "g * inv_std",
        'blank("dx in training")': "inv_std * (g - g.mean(axis=axes) - x_hat * (g * x_hat).mean(axis=axes))",
    },
    9: {
        'blank("dγ")': "(rows * x_hat).sum(axis=0).reshape(self.gamma.shape)",
        'blank("dβ")': "rows.sum(axis=0).reshape(self.beta.shape)",
        'dx = blank("dx")': "g = gamma * rows; dx = inv_std * (g - g.mean(axis=1, keepdims=True) "
        "- x_hat * (g * x_hat).mean(axis=1, keepdims=True))",
    },
    10: {
        'blank("m")': "b1 * m + (1 - b1) * dw",
        'blank("v")': "b2 * v + (1 - b2) * dw**2",
        'blank("w")': "w - lr * (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + self.eps)",
    },
    11: {
        'blank("L_D")': "np.log1p(np.exp(-s_real)).mean() + np.log1p(np.exp(s_fake)).mean()",
        'blank("∂L_D/∂s_real"), blank("∂L_D/∂s_fake")': "-1 / (1 + np.exp(s_real)) / N, 1 / (1 + np.exp(-s_fake)) / N",
        'D.flat_grads[...] = blank("D\'s gradient")': "room = D.empty_grads(); D.backward(ds_real, cache_real, grads=D.grads); "
        "D.backward(ds_fake, cache_fake, grads=room); D.add_grads(D.grads, room)",
        'blank("D on x̃"), blank("D on x̃")': "D.forward(fake, train=True)",
        'blank("L_G")': "np.log1p(np.exp(-s_judged)).mean()",
        'blank("∂L_G/∂s")': "-1 / (1 + np.exp(s_judged)) / N",
        'G.flat_grads[...] = blank("G\'s gradient")': "G.backward(D.backward(ds, cache_d), cache_g, grads=G.grads)",
    },
    12: {
        _PV: f"{_P}, {_V}",
        'blank("tangents")': "layer.tangent(moves[-1], cache)",
        'blank("curvature")': "layer.curvature(moves[index], dy, cache, own)",
        'a = blank("the last sweep")': _SWEEP,
        'blank("∂P/∂θ")': "gradient",
    },
}


# (the number, the blank that is filled in wrongly, by what, the part that is wrong, the kind of mistake or "")
WRONG = [
    (1, 'blank("dW")', "(dy.T @ x).reshape(W.shape)", "dW", "transposed"),
    (1, 'blank("dW")', "x.T @ dy / len(x)", "dW", "factor"),
    (1, 'blank("db")', "dy.mean(axis=0)", "db", "factor"),
    (1, 'blank("dx")', "-dy @ W.T", "dx", "sign"),
    (1, 'blank("dx")', "np.sort(dy @ W.T)", "dx", ""),
    (2, 'blank("σ′")', "y", "σ′", "factor"),
    (2, 'blank("σ′")', "-y * (1 - y)", "σ′", "sign"),
    (2, 'blank("tanh′")', "1 - xp.tanh(y)**2", "tanh′", "x for y"),
    (2, 'blank("σ(x)")', "1 / (1 + xp.exp(-x))", "σ of large x", "overflow"),
    (3, 'blank("L")', "-log_p[np.arange(N), labels].sum()", "L", "factor"),
    (3, 'blank("L")', "-log_p.mean()", "L", "not added up"),
    (3, 'blank("∂L/∂s")', "np.exp(log_p) / N", "∂L/∂s", "part left out"),
    (3, 'blank("∂L/∂s")', "np.exp(log_p) - np.eye(K)[labels]", "∂L/∂s", "factor"),
    (3, 'blank("∂L/∂s")', "np.exp(2 * log_p) / N", "∂L/∂s", ""),
    (4, 'blank("L")', "np.mean(zeta + targets * s)", "L", "sign"),
    (4, 'blank("∂L/∂s")', "(sigmoid(np, s) - targets) / len(s)", "∂L/∂s", "factor"),
    (4, 'blank("∂L/∂s")', "(targets - sigmoid(np, s)) / s.size", "∂L/∂s", "sign"),
    (4, 'blank("L")', "np.mean(np.log1p(np.exp(s)) - targets * s)", "large logits", "overflow"),
    (5, 'blank("y")', "x_bar[:, o + i * d, p + j * e] @ w[i, j]", "y", "option"),
    (5, 'blank("y")', "x_bar[:, o * s + i * d, p * t + j * e] @ w[KH - 1 - i, KW - 1 - j]", "y", "flipped"),
    (5, 'blank("dw")', "x_bar[:, o * s + i * d, p * t + j * e].T @ y[:, o, p] / len(x)", "dw", "factor"),
    (5, 'dx_bar[:, 0, 0] += blank("dx")', "dx_bar[:, o * s + i * d, p * t + j * e] = y[:, o, p] @ w[i, j].T", "dx",
     "not added up"),
    (6, 'blank("im2col")', _READ.replace("i * d", "(KH - 1 - i) * d").replace("j * e", "(KW - 1 - j) * e"), "im2col",
     "flipped"),
    (6, 'x_bar[...] = blank("col2im")', f"for i, j in np.ndindex(KH, KW): {_READ} = windows{_TAP}", "col2im", "not added up"),
    (6, 'blank("conv2d")', "(columns @ w[::-1, ::-1].reshape(-1, w.shape[-1])).reshape(len(x), *g.output, -1)", "conv2d",
     "flipped"),
    (7, 'blank("y")', "self.backend.conv2d_transpose(x, self.weight[::-1, ::-1], self.geometry)", "y", "flipped"),
    (7, 'blank("dw")', "-self.backend.conv2d_weight_grad(dy, x, self.geometry)", "dw", "sign"),
    (7, 'blank("dx")', "2 * self.backend.conv2d(dy, self.weight, self.geometry)", "dx", "factor"),
    (8, 'blank("dx in training")', "g * inv_std", "dx in training", "train"),
    (8, 'blank("dx in training")', "inv_std * (g - g.mean(axis=axes))", "dx in training", "part left out"),
    (8, 'blank("dx in training")', "g - g.mean(axis=axes) - x_hat * (g * x_hat).mean(axis=axes)", "dx in training", "factor"),
    (8, 'blank("dγ")', "(g * x_hat).sum(axis=axes)", "dγ", "factor"),
    (8, 'blank("dx at inference")', "g", "dx at inference", "factor"),
    (8, 'blank("dx in training")', "inv_std * (g - np.median(g, axis=axes))", "dx in training", ""),
    (9, 'dx = blank("dx")', "dx = inv_std * gamma * (rows - rows.mean(axis=1, keepdims=True) "
     "- x_hat * (rows * x_hat).mean(axis=1, keepdims=True))", "dx", "factor"),
    (9, 'blank("dβ")', "rows.mean(axis=0).reshape(self.beta.shape)", "dβ", "factor"),
    (9, 'dx = blank("dx")', "g = gamma * rows; dx = inv_std * (g - g.mean(axis=1, keepdims=True))", "dx", "part left out"),
    (10, 'blank("w")', "w - lr * m / (np.sqrt(v) + self.eps)", "ten updates", "part left out"),
    (10, 'blank("w")', "w - lr * (m / (1 - b1**t)) / np.sqrt(v / (1 - b2**t) + self.eps)", "ten updates where dw is tiny",
     "part left out"),
    (10, 'blank("v")', "b2 * v + (1 - b2) * abs(dw)", "ten updates", ""),
    (10, "(b1, b2), t = self.betas", "(b2, b1), t = self.betas", "ten updates", "exchanged"),
    (11, 'blank("L_G")', "-np.log1p(np.exp(s_judged)).mean()", "L_G", "other loss"),
    (11, 'blank("L_D")', "np.log1p(np.exp(-s_real)).sum() + np.log1p(np.exp(s_fake)).sum()", "L_D", "factor"),
    (11, "D.flat_grads[...] = blank(\"D's gradient\")", "D.backward(ds_real, cache_real, grads=D.grads); "
     "D.backward(ds_fake, cache_fake, grads=D.grads)", "D's gradient", "part left out"),
    (11, 'blank("D on x̃"), blank("D on x̃")', "s_fake, cache_fake", "L_G", "part left out"),
    (11, "G.flat_grads[...] = blank(\"G's gradient\")",
     "G.backward(D.backward(ds, cache_d, grads=D.grads), cache_g, grads=G.grads)",
     "what each player leaves alone", "contract"),
    (11, 'blank("∂L_G/∂s")', "1 / (1 + np.exp(-s_judged)) / N", "G's gradient", ""),
    (12, _PV, f"2 * ({_P}), {_V}", "P", "factor"),
    (12, _PV, f"{_P}, w * g", "v = ∂P/∂g", "factor"),
    (12, 'a = blank("the last sweep")', "a = None", "∂P/∂θ, D curved", "part left out"),
    (12, 'blank("∂P/∂θ")', "0 * gradient", "∂P/∂θ, D curved", "missing"),
    (12, "[...] += blank(\"∂P/∂θ\")", "[...] = gradient", "P returned, its gradient added", "added"),
]  # fmt: skip


def filled(text, number, blank="", by=""):
    """The text of an exercise's file filled in rightly, but for one piece of it."""
    replacements = {blank: by} if blank else {}
    for piece, value in {**replacements, **{k: v for k, v in RIGHT[number].items() if k not in replacements}}.items():
        assert piece in text or (piece.partition("blank")[1] and by), piece
        text = text.replace(piece, value)
    return text
