"""The pages of the reference: what minigan exports, each layer, loss and penalty on a page of its own with its derivation."""

import inspect
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from docstring_markup import as_rst

import minigan as mg
from minigan.checks.report import Report
from minigan.checks.suite import layer_table
from minigan.data import Dataset, Kind
from minigan.explain import formulas, second_order, worked
from minigan.explain.formulas import formulas_of, mathml
from minigan.explain.likelihoods import likelihood_formulas
from minigan.explain.objectives import objective_formulas
from minigan.explain.page import walk_vae

BASES = {"Layer", "Linear", "Elementwise"}
LOSS_FUNCTIONS = ("bce_with_logits", "mse", "softmax_cross_entropy", "gaussian_kl", "reparametrise")
OF_OPTIMIZERS = {
    "Adam": {"": formulas.ADAM, "with weight decay": formulas.ADAM_DECAY},
    "SGD": {
        "": formulas.SGD_PLAIN,
        "with momentum ρ": formulas.SGD_MOMENTUM,
        "after Nesterov": formulas.SGD_NESTEROV,
    },
}
OF_FUNCTIONS = {
    "gaussian_kl": {"value and gradient": walk_vae.KL},
    "reparametrise": {"forward": walk_vae.DRAW, "backward": walk_vae.DRAW_GRAD},
}


def _callables(module: Any, names: Iterable[str], base: type = object) -> list[str]:
    """Those of the names that are functions, or classes derived from base: of constants there is no docstring to show."""
    found = {name: getattr(module, name) for name in names}
    return [n for n, v in found.items() if (issubclass(v, base) if inspect.isclass(v) else callable(v) and base is object)]


# The other pages: title, names and the module that they are looked up in. A star: with its methods.
PAGES = {
    "networks": ("Networks and optimisers", ["Sequential*"], "minigan"),
    "initializers": ("Initial values", ["normal", "glorot", "he", "constant", "zeros"], "minigan"),
    "games": ("Games", ["Game*", "GAN*", "VAE*"], "minigan"),
    "training": ("Training", ["train", "Run*", "capture", "Step*"], "minigan"),
    "models": ("Models", _callables(mg.models, mg.models.__all__), "minigan.models"),
    "data": ("Data", ["load", "as_dataset", "as_text", "read_idx", "Batches*"], "minigan.data"),
    "metrics": ("Metrics", _callables(mg.metrics, mg.metrics.__all__), "minigan.metrics"),
    "checks": ("Checks", ["check_layer", "check_gradients", "check_loss", "check_game"], "minigan"),
    "export": ("Export", ["onnx", "torch", "add_rule", "from_torch"], "minigan.export"),
    "backends": ("Backends", ["get_backend", "Backend*", "ConvGeometry"], "minigan.backends"),
    "errors": ("Errors", _callables(mg.errors, vars(mg.errors), mg.MiniganError), "minigan.errors"),
}
MORE = {"data": [Dataset, Kind], "checks": [Report]}  # on these pages too, with their methods


def write(folder: Path) -> None:
    """All of it, as reStructuredText, into a folder."""
    parts: dict[str, list[str]] = {
        "Layers": [_layer_page(folder, name) for name in mg.layers.__all__ if name not in BASES],
        "Objectives, penalties and likelihoods": [_loss_page(folder, kind) for kind in _losses()],
        "Loss functions": [_function_page(folder, name) for name in LOSS_FUNCTIONS],
        "Optimisers": [_optimizer_page(folder, name) for name in OF_OPTIMIZERS],
        "Base classes": [_base_page(folder, *base) for base in _bases()],
        "The rest": [_plain_page(folder, name) for name in PAGES],
    }
    lines = _title("Reference")
    lines += ["The names that ``import minigan as mg`` gives, and what stands beside them in its modules.", ""]
    for part, pages in parts.items():
        lines += ["", *_title(part, "-"), *_table(pages), ""]
        lines += [".. toctree::", f"   :caption: {part}", "   :hidden:", "", *(f"   {page}" for page in pages), ""]
    _save(folder / "index.rst", lines)


def _losses() -> list[type]:
    return [*mg.losses.OBJECTIVES.values(), *mg.losses.PENALTIES.values(), *mg.losses.LIKELIHOODS.values()]


def _bases() -> list[tuple[str, str]]:
    of_losses = [(name, "minigan.losses") for name in ("Objective", "Penalty", "Likelihood", "Score")]
    return [*((name, "minigan") for name in sorted(BASES)), *of_losses, ("Optimizer", "minigan.optim")]


def _layer_page(folder: Path, name: str) -> str:
    make, shape = next((make, shape) for make, shape in layer_table() if type(make()).__name__ == name)
    layer = make()
    layer.input_shape, layer.output_shape = shape, layer.build(shape)
    known, second = formulas_of(layer), second_order.second_order_of(layer)
    rows: list[tuple[str, Iterable[str], str]] = []
    if known:
        rows.append(("Forward", known.forward, known.reading))
        rows.append(("Input gradient", known.input_grad, known.back))
        rows += [(f"Gradient of {key}", [tex], "") for key, tex in known.param_grads.items()]
        rows[-1] = (*rows[-1][:2], rows[-1][2] or known.learning)
    if second:
        rows.append(("Tangent", [second.tangent], second.reading))
        rows += [(f"Curvature, of {key}", [tex], "") for key, tex in second.param_grads.items()]
        rows += [("Curvature, of x", [second.c], "")] if second.c else []
    shown = [tex for _, texs, _ in rows for tex in texs]
    about = [f"For {layer!r} on x of shape (N, {', '.join(map(str, shape))})"] if known else []
    symbols = filter(None, [*about, known.explained(shown) if known else "", second.symbols if second else ""])
    return _page(folder, "layers", name, "minigan", rows, "; ".join(symbols))


def _loss_page(folder: Path, kind: type) -> str:
    rows: list[tuple[str, Iterable[str], str]] = []
    symbols = ""
    if issubclass(kind, mg.losses.Objective):
        known = objective_formulas(kind())
        rows = [("Loss of D", known.value_d, known.reading_d), ("Its gradient", known.grad_d, "")]
        rows += [("Loss of G", known.value_g, known.reading_g), ("Its gradient", known.grad_g, "")]
    elif issubclass(kind, mg.losses.Penalty):
        known = second_order.penalty_formulas(kind(1.0))
        rows = [("Value", [known.value], f"{known.reading} It is taken {known.where}.")]
        rows += [("Points", [known.points], "")] if known.points else []
        rows += [("Gradient in the slopes g", [known.v], "")]
    else:
        known = likelihood_formulas(kind(1.0) if kind is mg.losses.Gaussian else kind())
        rows = [("Value", [known.value], known.reading), ("Gradient", [known.grad], ""), ("What is shown", [known.mean], "")]
    symbols = known.symbols
    return _page(folder, "losses", kind.__name__, "minigan.losses", rows, symbols)


def _function_page(folder: Path, name: str) -> str:
    rows = [(title.capitalize(), texs, "") for title, texs in OF_FUNCTIONS.get(name, {}).items()]
    return _page(folder, "losses", name, "minigan.losses", rows, "")


def _optimizer_page(folder: Path, name: str) -> str:
    rows = [(f"Update {title}".strip(), texs, "") for title, texs in OF_OPTIMIZERS[name].items()]
    return _page(folder, "optimizers", name, "minigan", rows, "g: gradient; w: parameters; η: learning rate")


def _page(folder: Path, part: str, name: str, module: str, rows: Iterable[tuple[str, Iterable[str], str]], symbols: str) -> str:
    """A page with formulas, the docstring, and the example of minigan explain: its name from the reference's folder."""
    subject = getattr(__import__(module, fromlist=[name]), name)
    lines = [*_title(name), *_formulas(rows, symbols)]
    lines += [*_title("Derivation", "-"), *_object(name, module, subject, members=False)]
    example = worked.find(name)
    if example:
        text, _ = worked.explain(example)
        body = text.partition("Worked through\n--------------\n")[2].strip("\n").split("\n")
        lines += [*_title("Worked through", "-"), f"``minigan explain {name}`` prints this too.", ""]
        lines += ["::", "", *(f"   {line}" for line in body), ""]
    _save(folder / part / f"{name}.rst", lines)
    return f"{part}/{name}"


def _formulas(rows: Iterable[tuple[str, Iterable[str], str]], symbols: str) -> Iterator[str]:
    rows = list(rows)
    if not rows:
        return
    yield from _title("Formulas", "-")
    for title, texs, words in rows:
        yield from [f".. rubric:: {title}", ""]
        for tex in texs:
            yield from [".. raw:: html", "", f'   <div class="formula">{mathml(tex)}</div>', ""]
        yield from as_rst(words)
    if symbols:
        yield from as_rst(f"{symbols}.")


def _object(name: str, module: str, subject: Any, members: bool) -> list[str]:
    """The directive of autodoc for it."""
    if inspect.isclass(subject):
        directive = "autoexception" if issubclass(subject, Exception) else "autoclass"
    else:
        directive = "autofunction"
    options = ["   :members:"] if members else []
    return [f".. {directive}:: {module}.{name}", *options, ""]


def _base_page(folder: Path, name: str, module: str) -> str:
    subject = getattr(__import__(module, fromlist=[name]), name)
    _save(folder / "bases" / f"{name}.rst", [*_title(name), *_object(name, module, subject, members=True)])
    return f"bases/{name}"


def _plain_page(folder: Path, page: str) -> str:
    title, names, module = PAGES[page]
    lines = _title(title)
    for entry in names:
        name = entry.rstrip("*")
        subject = getattr(__import__(module, fromlist=[name]), name)
        place = "minigan" if getattr(mg, name, None) is subject else module
        lines += _object(name, place, subject, entry.endswith("*"))
    for kind in MORE.get(page, ()):
        lines += _object(kind.__name__, kind.__module__, kind, members=True)
    _save(folder / f"{page}.rst", lines)
    return page


def _table(pages: list[str]) -> list[str]:
    return [".. list-table::", "   :class: names", "   :widths: auto", "", *(line for page in pages for line in _row(page)), ""]


def _row(page: str) -> list[str]:
    if page in PAGES:
        title, names, _ = PAGES[page]
        about = ", ".join(f"``{name.rstrip('*')}``" for name in names)
    else:
        title = page.rpartition("/")[2]
        about = " ".join(as_rst(_first_sentence(title))).strip()
    return [f"   * - :doc:`{title} <{page}>`", f"     - {about}"]


def _first_sentence(name: str) -> str:
    """Of the docstring of whatever has this name."""
    places: list[Callable[[], Any] | Any] = [mg, mg.losses, mg.optim]
    subject = next(getattr(place, name) for place in places if hasattr(place, name))
    return (inspect.getdoc(subject) or "").partition("\n")[0].rstrip(":")


def _title(text: str, sign: str = "=") -> list[str]:
    return [text, sign * len(text), ""]


def _save(path: Path, lines: Iterable[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
