"""Arrays as text."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from minigan.errors import MiniganError


class Arrays:
    """Arrays of the page as one text: float32, little-endian, base64; equal arrays are kept once."""

    def __init__(self) -> None:
        self.table: list[dict[str, Any]] = []  # shape, and the place of the first value
        self._known: dict[bytes, int] = {}
        self._parts: list[bytes] = []
        self._length = 0

    def add(self, array: np.ndarray) -> int:
        """Its number in the table."""
        if np.abs(array).max(initial=0) > np.finfo(np.float32).max:
            raise MiniganError("the step holds numbers beyond float32, which the page cannot show: try a smaller --lr")
        data = np.ascontiguousarray(array, "<f4").tobytes()
        if data not in self._known:
            self._known[data] = self._length
            self._parts.append(data)
            self._length += len(data) // 4
        self.table.append({"shape": list(array.shape), "at": self._known[data]})
        return len(self.table) - 1

    def text(self) -> str:
        return base64.b64encode(b"".join(self._parts)).decode()
