"""Answers to the exercises, as a reader would write them, and the same with a mistake in one blank."""


def _swept(down="a", kept="c if below is None else below if c is None else below + c", added="own[k] + more[k]"):
    """The last sweep of R1: what goes down through a layer, what is kept of that, and what becomes of own."""
    return f"""more = {{k: np.zeros_like(p) for k, p in layer.params.items()}}
            down = {down}
            below = None if down is None else layer.backward(down, cache, more)
            for k in own: own[k][...] = {added}
            a = {kept}"""


def _norm(direct="g", mu="g.mean(axis=axes)", v="x_hat * (g * x_hat).mean(axis=axes)"):
    """BatchNorm's dx in training, of its three paths."""
    return f"inv_std * ({direct} - {mu} - {v})"


def _layer_norm(g="gamma * rows", v=" - x_hat * (g * x_hat).mean(axis=1, keepdims=True)"):
    return f"g = {g}; dx = inv_std * (g - g.mean(axis=1, keepdims=True){v})"


_M_HAT, _V_HAT = "m / (1 - b1**t)", "v / (1 - b2**t)"
_STEP = f"lr * ({_M_HAT}) / (np.sqrt({_V_HAT}) + self.eps)"
_PIXEL = "x_bar[:, o * s + i * d, p * t + j * e]"
_TAP = "[:, :, :, i, j]"
_READ = "x_bar[:, i * d : i * d + s * (OH - 1) + 1 : s, j * e : j * e + t * (OW - 1) + 1 : t]"
_P, _OF_G = "w / (2 * N) * (g * g).sum()", "w / N * g"
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
        'blank("y")': f"{_PIXEL} @ w[i, j]",
        'blank("dw")': f"{_PIXEL}.T @ y[:, o, p]",
        'dx_bar[:, 0, 0] += blank("dx")': f"d{_PIXEL} += y[:, o, p] @ w[i, j].T",
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
        'blank("dx in training")': _norm(),
    },
    9: {
        'blank("dγ")': "(rows * x_hat).sum(axis=0).reshape(self.gamma.shape)",
        'blank("dβ")': "rows.sum(axis=0).reshape(self.beta.shape)",
        'dx = blank("dx")': _layer_norm(),
    },
    10: {
        'blank("m")': "b1 * m + (1 - b1) * dw",
        'blank("v")': "b2 * v + (1 - b2) * dw**2",
        'blank("w")': f"w - {_STEP}",
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
        _PV: f"{_P}, {_OF_G}",
        'blank("tangents")': "layer.tangent(moves[-1], cache)",
        'blank("curvature")': "layer.curvature(moves[index], dy, cache, own)",
        'a = blank("the last sweep")': _swept(),
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
    (5, 'blank("y")', f"{_PIXEL} @ w[KH - 1 - i, KW - 1 - j]", "y", "flipped"),
    (5, 'blank("dw")', f"{_PIXEL}.T @ y[:, o, p] / len(x)", "dw", "factor"),
    (5, 'dx_bar[:, 0, 0] += blank("dx")', f"d{_PIXEL} = y[:, o, p] @ w[i, j].T", "dx",
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
    (8, 'blank("dx in training")', _norm(v="0"), "dx in training", "part left out"),
    (8, 'blank("dx in training")', _norm() + " / inv_std", "dx in training", "factor"),
    (8, 'blank("dγ")', "(g * x_hat).sum(axis=axes)", "dγ", "factor"),
    (8, 'blank("dx at inference")', "g", "dx at inference", "factor"),
    (8, 'blank("dx in training")', _norm(mu="np.median(g, axis=axes)", v="0"), "dx in training", ""),
    (9, 'dx = blank("dx")', _layer_norm("rows") + " * gamma", "dx", "factor"),
    (9, 'blank("dβ")', "rows.mean(axis=0).reshape(self.beta.shape)", "dβ", "factor"),
    (9, 'dx = blank("dx")', _layer_norm(v=""), "dx", "part left out"),
    (10, 'blank("w")', "w - lr * m / (np.sqrt(v) + self.eps)", "ten updates", "part left out"),
    (10, 'blank("w")', f"w - lr * ({_M_HAT}) / np.sqrt({_V_HAT} + self.eps)", "ten updates where dw is tiny",
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
    (12, _PV, f"2 * ({_P}), {_OF_G}", "P", "factor"),
    (12, _PV, f"{_P}, w * g", "v = ∂P/∂g", "factor"),
    (12, 'a = blank("the last sweep")', "a = None", "∂P/∂θ, D curved", "part left out"),
    (12, 'blank("∂P/∂θ")', "0 * gradient", "∂P/∂θ, D curved", "missing"),
    (12, "[...] += blank(\"∂P/∂θ\")", "[...] = gradient", "P returned, its gradient added", "added"),
]  # fmt: skip


_M, _V, _W, _A = 'm[...] = blank("m")', 'v[...] = blank("v")', 'blank("w")', 'a = blank("the last sweep")'
_DX, _AT_INFERENCE, _OF_LAYER = 'blank("dx in training")', 'blank("dx at inference")', 'dx = blank("dx")'
_STORED_M, _STORED_V = (
    f"m[...] = b1 * m + (1 - b1) * dw; m[...] = {_M_HAT}",
    f"v[...] = b2 * v + (1 - b2) * dw**2; v[...] = {_V_HAT}",
)
_A_AND_C, _BELOW = "c if a is None else a if c is None else a + c", "below"
_OWN_INPUT = "of this layer's own input: it must not go through this layer again"
_MU, _PATH_V = "g.mean(axis=axes)", "x_hat * (g * x_hat).mean(axis=axes)"

# (the number, what is filled in wrongly and by what, the part that is wrong, what must be told of it)
TOLD = [
    (3, {'blank("L")': "-log_p[np.arange(N), labels].sum() / K"}, "L", "4/5 of the true one: 4 is N, 5 is"),
    (3, {'blank("L")': "np.log(np.exp(s).sum(0)).mean() - s[np.arange(N), labels].mean()"}, "L", "the log's sum runs over"),
    (10, {"w[...] = " + _W: f"w = w - {_STEP}"}, "the first update", "w is as it was: write into it"),
    (10, {"w[...] = " + _W: f"w = w - {_STEP}"}, "ten updates", "w is as it was: write into it"),
    (10, {_W: _STEP}, "ten updates", "w ← the step alone"),
    (10, {_W: f"-{_STEP}"}, "ten updates where dw is tiny", "w ← minus the step alone"),
    (10, {_M: _STORED_M, _V: _STORED_V, _W: "w - lr * m / (np.sqrt(v) + self.eps)"}, "ten updates", "are stored in m and v"),
    (10, {_M: _STORED_M, _W: f"w - lr * m / (np.sqrt({_V_HAT}) + self.eps)"}, "ten updates", "the corrected m̂ is stored"),
    (10, {_V: _STORED_V, _W: f"w - lr * ({_M_HAT}) / (np.sqrt(v) + self.eps)"}, "ten updates", "the corrected v̂ is stored"),
    (10, {'blank("m")': "b1 * m + dw", 'blank("v")': "b2 * v + dw**2"}, "the first update", "the factors 1 − β₁ and 1 − β₂"),
    (10, {'blank("m")': "(1 - b1) * m + b1 * dw"}, "the first update", "β₁ and 1 − β₁ are exchanged in m"),
    (10, {'blank("v")': "(1 - b2) * v + b2 * dw**2"}, "ten updates", "β₂ and 1 − β₂ are exchanged in v"),
    (10, {_M: "m = b1 * m + (1 - b1) * dw"}, "ten updates", "m begins at 0 in every update"),
    (10, {_V: "v = b2 * v + (1 - b2) * dw**2"}, "ten updates", "v begins at 0 in every update"),
    (10, {_W: f"w - {_STEP} * t"}, "ten updates", "no common mistake explains it"),
    (10, {_W: f"w - {_STEP} * (t - 1)"}, "the first update", "0 everywhere"),
    (10, {_W: "w - lr * m / np.sqrt(v + self.eps)"}, "the first update", "no common mistake explains it"),
    (12, {_A: _swept("a", added="own[k]")}, "∂P/∂θ, D curved", "nothing of the last sweep arrives at a weight"),
    (12, {_A: "a = c"}, "∂P/∂θ, D curved", "nothing of the last sweep arrives at a weight"),
    (12, {_A: _swept(_A_AND_C, _BELOW)}, "∂P/∂θ, D curved", f"gets a + c, and should get a: c is ∂Q/∂x {_OWN_INPUT}"),
    (12, {_A: _swept("a if c is None else c", _BELOW)}, "∂P/∂θ, D curved",
     f"gets c, and should get a: c is ∂Q/∂x {_OWN_INPUT}"),
    (12, {_A: _swept(kept="below if c is None else c if a is None else a + c")}, "∂P/∂θ, D curved",
     "from before layer.backward"),
    (12, {_A: _swept(kept="c")}, "∂P/∂θ, D curved", "a is c alone"),
    (12, {_A: _swept(kept="c if below is None else below if c is None else below + 2 * c")}, "∂P/∂θ, D curved",
     "no common mistake"),
    (12, {_PV: f"{_P}, g"}, "v = ∂P/∂g", "g alone: the w/N before it is left out"),
    (12, {_PV: f"{_P}, 2 * {_OF_G}"}, "v = ∂P/∂g", "the ½ of P is left out"),
    (12, {_PV: f"w / N * (g * g).sum(), {_OF_G}"}, "P", "the ½ of w/2N is left out"),
    (12, {_PV: f"w / (2 * N) * g.sum() ** 2, {_OF_G}"}, "P", "(Σ g)² over all of g"),
    (12, {_PV: f"w / (2 * N) * (g.sum(axis=1) ** 2).sum(), {_OF_G}"}, "P", "(Σ_k g_nk)² stands where"),
    (8, {_DX: f"{_norm()} * (dy.size // dy.shape[-1])"}, "dx in training", "M times the true one: divide by M"),
    (8, {_DX: _norm(mu="g.sum(axis=axes)", v="x_hat * (g * x_hat).sum(axis=axes)")}, "dx in training",
     "both sums in place of means"),
    (8, {_DX: _norm(mu="g.sum(axis=axes)")}, "dx in training", "the path through μ has a sum where a mean is meant"),
    (8, {_DX: _norm(v="x_hat * (g * x_hat).sum(axis=axes)")}, "dx in training", "the path through v has a sum where a mean"),
    (8, {_DX: _norm(mu="g.sum(axis=axes) / len(x)", v="x_hat * (g * x_hat).sum(axis=axes) / len(x)")}, "dx in training",
     "divided by the N of the batch: M, the number"),
    (8, {_DX: _norm(mu="g.sum(axis=axes) / len(x)")}, "dx in training", "the path through μ is divided by the N of the batch"),
    (8, {_DX: _norm(v=f"{_PATH_V} / inv_std")}, "dx in training", "the path through v has one 1/σ too few"),
    (8, {_DX: _norm(v="(x - mean) * (g * x_hat).mean(axis=axes)")}, "dx in training", "where (x − μ) stands for x̂"),
    (8, {_DX: _norm(v="(x - mean) * (g * (x - mean)).mean(axis=axes)")}, "dx in training", "(x − μ) stands for x̂ both times"),
    (8, {_DX: _norm(v=f"{_PATH_V} * inv_std")}, "dx in training", "the path through v has 1/σ once too often"),
    (8, {_DX: _norm(mu=f"{_MU} / inv_std")}, "dx in training", "the path through μ has one 1/σ too few"),
    (8, {_DX: _norm(direct="g / inv_std")}, "dx in training", "the direct path has one 1/σ too few"),
    (8, {_DX: _norm(direct="dy")}, "dx in training", "γ is left out of the direct path"),
    (8, {_DX: _norm(mu="dy.mean(axis=axes)")}, "dx in training", "γ is left out of the path through μ"),
    (8, {_DX: _norm(v="x_hat * (dy * x_hat).mean(axis=axes)")}, "dx in training", "γ is left out of the path through v"),
    (8, {_DX: _norm(v="x_hat * (g * x_hat).sum(axis=axes) / (dy.size // dy.shape[-1] - 1)")}, "dx in training",
     "the path through v is divided by M − 1"),
    (8, {_DX: _norm(v=f"2 * {_PATH_V}")}, "dx in training", "the path through v is twice what it should be"),
    (8, {_DX: _norm(v="0")}, "dx in training", "the path through v is missing: x_n moves v"),
    (8, {_DX: _norm(mu="0")}, "dx in training", "the path through μ is missing: x_n moves μ"),
    (8, {_DX: _norm(direct="0 * g", v="0")}, "dx in training", "the path through μ alone"),
    (8, {_DX: _norm(mu=f"3 * {_MU}**2")}, "dx in training", "what is off is the same for all values of a channel"),
    (8, {_DX: _norm(v="x_hat * (g * x_hat).mean(axis=axes)**3")}, "dx in training", "what is off is proportional to x̂"),
    (8, {_DX: _norm(mu=f"{_MU}**2", v="x_hat * (g * x_hat).mean(axis=axes)**3")}, "dx in training", "what is off is a + b x̂"),
    (8, {_DX: _norm(direct="g * abs(x_hat)")}, "dx in training", "no common mistake explains it"),
    (8, {'blank("dγ")': "(dy * x_hat).mean(axis=axes)"}, "dγ", "a mean over all that γ multiplies"),
    (8, {'blank("dβ")': "dy.mean(axis=axes)"}, "dβ", "a mean over all that β is added to"),
    (8, {_AT_INFERENCE: f"inv_std * (g - {_MU})"}, "dx at inference",
     "the path through μ is kept: at inference it is constant"),
    (8, {_AT_INFERENCE: "g * inv_std**2"}, "dx at inference", "g/σ²: 1/σ stands in it twice"),
    (9, {_OF_LAYER: _layer_norm(v="")}, "dx", "the path through v is missing"),
    (9, {_OF_LAYER: _layer_norm(v=" - x_hat * (g * x_hat).sum(axis=1, keepdims=True)")}, "dx", "divide it by K"),
]  # fmt: skip


def filled(text, number, blank="", by=""):
    """The text of an exercise's file filled in rightly, but for one piece of it; or, of a dict, for several."""
    replacements = blank if isinstance(blank, dict) else {blank: by} if blank else {}
    for piece, value in {**replacements, **{k: v for k, v in RIGHT[number].items() if k not in replacements}}.items():
        assert piece in text or (piece.partition("blank")[1] and replacements), piece
        text = text.replace(piece, value)
    return text
