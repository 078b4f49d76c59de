"""The matrix products of the dense game's step and nothing else: what the step would cost if all the rest were free."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.sides.base import Inputs, Prepared, Side, UnsupportedError


class ProductsSide(Side):
    """np.matmul into arrays made beforehand, by BLAS with its own threads."""

    def versions(self) -> dict[str, str]:
        return {"numpy": np.__version__}

    def step(self, task: dict[str, Any], inputs: Inputs) -> Prepared:
        if task["game"] != "mlp":
            raise UnsupportedError("counts the products of mlp only")
        pairs = [_operands(shape) for shape in self.shapes(task, inputs)]

        def products() -> None:
            for a, b, out in pairs:
                np.matmul(a, b, out=out)

        return Prepared({"step": products}, {})

    @staticmethod
    def shapes(task: dict[str, Any], inputs: Inputs) -> list[tuple[int, int, int, str]]:
        """(M, K, N, which operand is transposed) of every product of one step.

        forward (N, I)(I, O);  dW = xᵀ dy (I, N)(N, O);  dx = dy Wᵀ (N, O)(O, I). G goes forward once, D three times: on
        real, on fake, and on fake again for G. D's step takes dW twice and dx of the upper layer twice; G's step takes both
        dx through D, and through G all but the lowest dx.
        """
        batch, latent = inputs["z"].shape[1:]
        hidden, pixels = inputs["discriminator.1.weight"].shape[1], inputs["discriminator.1.weight"].shape[0]

        def layer(inside: int, outside: int, forward: int, weight: int, data: int) -> list[tuple[int, int, int, str]]:
            return (
                forward * [(batch, inside, outside, "")]
                + weight * [(inside, batch, outside, "first")]
                + data * [(batch, outside, inside, "second")]
            )

        generator = layer(latent, hidden, 1, 1, 0) + layer(hidden, pixels, 1, 1, 1)
        discriminator = layer(pixels, hidden, 3, 2, 1) + layer(hidden, 1, 3, 2, 3)
        return generator + discriminator


def _operands(shape: tuple[int, int, int, str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    m, k, n, transposed = shape
    rng = np.random.default_rng(0)

    def draw(rows: int, columns: int, turned: bool) -> np.ndarray:
        array = rng.standard_normal((columns, rows) if turned else (rows, columns), dtype=np.float32)
        return array.T if turned else array

    return draw(m, k, transposed == "first"), draw(k, n, transposed == "second"), np.empty((m, n), np.float32)


def make(threads: int) -> Side:
    return ProductsSide()
