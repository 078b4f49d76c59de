"""The layers that a user's file defines: their gradients, and what they break of the layer contract."""

from __future__ import annotations

import math
import traceback
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from minigan.backends import Backend, get_backend
from minigan.checks.contract import check_contract
from minigan.checks.gradients import check_layer
from minigan.checks.report import TOLERANCE, Report, Row
from minigan.checks.smoothness import crosses_kink
from minigan.errors import MiniganError, UserFileError
from minigan.layers import Layer
from minigan.user_code import describe_error, run_file

Case = tuple[Layer, tuple[int, ...]]  # a layer, and its input shape without the batch axis


def check_file(path: str | Path, backend: str | Backend = "auto") -> Iterator[Report]:
    """Check the layers that a Python file names in its list CHECKS = [(layer, input shape), …], one report for each.

    A report holds the gradients in training and at inference, and what the layer breaks of the layer contract. Every check is
    made on layer.fresh(). Raises UserFileError before the first report if the file cannot be read or run, or has no such list,
    and when a layer refuses its shape.
    """
    path = Path(path)
    cases = _load_cases(path)
    return (_check_case(path, number, layer, shape, get_backend(backend)) for number, (layer, shape) in enumerate(cases))


def _check_case(path: Path, number: int, layer: Layer, shape: tuple[int, ...], be: Backend) -> Report:
    report = Report(f"{layer!r} on {shape}", TOLERANCE)
    reports: dict[str, Report] = {}
    report.explain = lambda: [
        replace(mistake, where=f"{mistake.where.removeprefix('0.')} {mode}")
        for mode, of_mode in reports.items()
        for mistake in of_mode.mistakes
    ]
    report.observe = lambda: [
        replace(note, where=f"{note.where.removeprefix('0.')} {mode}")
        for mode, of_mode in reports.items()
        for note in of_mode.notes
    ]
    try:
        made = layer.fresh().build(shape)
        if not isinstance(made, tuple) or not all(isinstance(n, (int, np.integer)) for n in made):
            report.broken.append(f"build must return the output shape without the batch axis, as {shape}; it returns {made!r}")
            return report
        for train, mode in ((True, "in training"), (False, "at inference")):
            broken = check_contract(layer, shape, train=train, backend=be)
            report.broken += [f"{sentence} ({mode})" for sentence in broken]
            if any(sentence.startswith("forward must return") or sentence.endswith("returns NoneType") for sentence in broken):
                continue  # there is no gradient to check
            reports[mode] = check_layer(layer.fresh(), shape, backend=be, train=train)
            for row in reports[mode].rows:
                report.hint = report.hint or _kink_hint(layer, shape, row, train, be)
                row.name = f"{row.name.removeprefix('0.')} {mode}"
                report.rows.append(row)
    except MiniganError as error:
        if not _inside(error, "build"):
            report.broken.append(describe_error(error, path))
        else:
            raise UserFileError(f"{path}: CHECKS[{number}], shape {shape}: {error}") from None
    except Exception as error:
        report.broken.append(describe_error(error, path))
    return report


def _kink_hint(layer: Layer, shape: tuple[int, ...], row: Row, train: bool, be: Backend) -> str:
    """What to do about a wrong derivative that was found across a kink; "" for any other row."""
    is_wrong = TOLERANCE <= row.max_error < math.inf and isinstance(row.where, tuple)
    if not is_wrong or not crosses_kink(layer, shape, row, train, be):
        return ""
    return "the formula has a kink there (max, abs, …): branch_signature(cache) must say on which side of it each value lay"


def _inside(error: BaseException, function: str) -> bool:
    return any(frame.name == function for frame in traceback.extract_tb(error.__traceback__))


def _load_cases(path: Path) -> list[Case]:
    module = run_file(path)
    own = [
        name
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, Layer) and value.__module__ == module.__name__
    ]
    form = f"[({own[0] if own else 'MyLayer'}(), (4, 4, 3))]"
    if not hasattr(module, "CHECKS"):
        found = f"defines {', '.join(own)} but no list CHECKS" if own else "defines no layer and no list CHECKS"
        raise UserFileError(
            f"{path} {found}: say what to check by a line of (layer, input shape without the batch axis), as CHECKS = {form}"
        )
    cases = module.CHECKS
    if not isinstance(cases, (list, tuple)) or not cases:
        raise UserFileError(f"{path}: CHECKS is {cases!r}: expected a list of (layer, input shape), as {form}")
    return [_as_case(case, f"{path}: CHECKS[{number}]", form) for number, case in enumerate(cases)]


def _as_case(case: Any, where: str, form: str) -> Case:
    wanted = f"expected (layer, input shape), as in {form}"
    if not isinstance(case, (tuple, list)) or len(case) != 2:
        raise UserFileError(f"{where} is {case!r}: {wanted}")
    layer, shape = case
    if isinstance(layer, type) and issubclass(layer, Layer):
        raise UserFileError(f"{where} holds the class {layer.__name__}: write a layer, {layer.__name__}()")
    if not isinstance(layer, Layer):
        raise UserFileError(f"{where} holds {layer!r}, which is no minigan.Layer: {wanted}")
    if "options" not in vars(layer):
        raise UserFileError(f"{where}: {layer.name}.__init__ must call super().__init__(**options)")
    sizes = shape if isinstance(shape, (tuple, list)) else ()
    if not sizes or not all(isinstance(n, int) and n >= 1 for n in sizes):
        raise UserFileError(
            f"{where} has the shape {shape!r}: expected whole numbers without the batch axis, as (4, 4, 3) or (5,)"
        )
    return layer, tuple(sizes)
