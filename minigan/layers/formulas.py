"""Element-wise formulas that several layers and losses share."""

from __future__ import annotations

from typing import Any

from minigan.backends import Array


def add(xp: Any, a: Array, b: Array) -> tuple[Array]:
    """a ← a + b"""
    return (a + b,)


def product(xp: Any, x: Array, y: Array) -> Array:
    """x y"""
    return x * y


def scaled(xp: Any, x: Array, scale: float) -> Array:
    """a x"""
    return scale * x


def squared_deviation(xp: Any, x: Array, mean: Array) -> Array:
    """(x − μ)²"""
    return (x - mean) ** 2
