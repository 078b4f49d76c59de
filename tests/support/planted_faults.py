"""Faults planted in a function: its real source with one operand dropped, one sign flipped or one statement removed."""

import ast
import copy
import inspect
import textwrap

import numpy as np


def faults(function):
    """(description, faulty source tree) for every term of a function's source."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    # Assertions compute nothing, and -1 stands for "the last axis" or "as many as fit": NumPy takes -2 for the same there.
    idle = {
        id(inner) for node in ast.walk(tree) if isinstance(node, ast.Assert) or _is_number(node) for inner in ast.walk(node)
    }
    for index, node in enumerate(ast.walk(tree)):
        if id(node) in idle:
            continue
        for description, replace in _replacements(node):
            faulty = copy.deepcopy(tree)
            target = list(ast.walk(faulty))[index]
            replace(faulty, target)
            yield f"line {node.lineno}: {description} in {ast.unparse(node)}", ast.fix_missing_locations(faulty)


def _is_number(node):
    """Whether a node is a number with a sign."""
    return isinstance(node, ast.UnaryOp) and isinstance(node.operand, ast.Constant)


def _replacements(node):
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Sub, ast.Mult, ast.Div)):
        yield "left operand only", lambda tree, n: _swap(tree, n, n.left)
        yield "right operand only", lambda tree, n: _swap(tree, n, n.right)
        other = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult}[type(node.op)]
        yield f"{other.__name__} for {type(node.op).__name__}", lambda tree, n: setattr(n, "op", other())
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield "sign dropped", lambda tree, n: _swap(tree, n, n.operand)
    if isinstance(node, ast.AugAssign) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)):
        yield "statement removed", lambda tree, n: _swap(tree, n, ast.Pass())
    if isinstance(node, ast.Attribute) and node.attr == "T":
        yield "not transposed", lambda tree, n: _swap(tree, n, n.value)
    if isinstance(node, ast.Compare):
        # Arrays are negated by ~; of True and False, which `is` returns, ~ is true in both cases.
        negation = ast.Not if isinstance(node.ops[0], (ast.Is, ast.IsNot)) else ast.Invert
        yield "comparison negated", lambda tree, n: _swap(tree, n, ast.UnaryOp(negation(), copy.deepcopy(n)))

    if isinstance(node, ast.Constant) and type(node.value) is int:
        yield "one more", lambda tree, n: setattr(n, "value", n.value + 1)


def exchanges(function):
    """(description, faulty source tree) for every call in a function's source that has two arguments to exchange."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    for index, node in enumerate(ast.walk(tree)):
        if isinstance(node, ast.Call) and len(node.args) > 1:
            faulty = copy.deepcopy(tree)
            target = list(ast.walk(faulty))[index]
            target.args[:2] = target.args[1::-1]
            yield f"line {node.lineno}: arguments exchanged in {ast.unparse(node)}", ast.fix_missing_locations(faulty)


def _swap(tree, old, new):
    class Swap(ast.NodeTransformer):
        def visit(self, node):
            return new if node is old else self.generic_visit(node)

    Swap().visit(tree)


def compiled(tree, module):
    scope = {}
    exec(compile(tree, "<planted fault>", "exec"), vars(module), scope)
    return next(iter(scope.values()))


def check_catches_every_fault(monkeypatch, check, module, name, *others):
    """check() is well as it stands, and notices each fault planted in the function of that name, also where others hold it."""
    check()
    planted = list(faults(getattr(module, name)))
    assert planted
    for description, tree in planted:
        with monkeypatch.context() as patch:
            faulty = compiled(tree, module)
            patch.setattr(module, name, faulty)
            for scope in others:
                patch.setitem(scope, name, faulty)
            assert is_caught(check), description


def is_caught(check):
    """A check that fails or cannot even run has noticed."""
    with np.errstate(all="ignore"):
        try:
            return not check().ok
        except Exception:
            return True
