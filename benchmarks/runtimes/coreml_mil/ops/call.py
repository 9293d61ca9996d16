"""What an op's implementation is given, and how it reads its arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.runtimes.coreml_mil.values import ValueType

Array = NDArray[Any]
Value = Array | str | tuple[Array, ...]
Op = Callable[["Call"], Array | tuple[Array, ...]]


@dataclass(frozen=True, slots=True)
class Call:
    """One op and its argument values: float32, integer or bool arrays, strings, or tuples of arrays.

    An argument that the file leaves out takes the default MIL documents, given where it is read.
    """

    type: str
    name: str
    arguments: Mapping[str, Value]
    outputs: tuple[tuple[str, ValueType], ...]

    def tensor(self, key: str) -> Array:
        value = self.arguments[key]
        if not isinstance(value, np.ndarray):
            raise TypeError(f"argument {key!r} must be a tensor")
        return value

    def maybe(self, key: str) -> Array | None:
        return self.tensor(key) if key in self.arguments else None

    def tensors(self, key: str) -> tuple[Array, ...]:
        value = self.arguments[key]
        return value if isinstance(value, tuple) else (self.tensor(key),)

    def numbers(self, key: str, default: tuple[int, ...] = ()) -> tuple[int, ...]:
        """A list of whole numbers (shape, strides, axes, ...)."""
        return tuple(int(item) for item in self.tensor(key).ravel()) if key in self.arguments else default

    def whole(self, key: str, default: int = 0) -> int:
        return int(self.tensor(key)) if key in self.arguments else default

    def real(self, key: str, default: float = 0.0) -> np.float32:
        return np.float32(self.tensor(key)) if key in self.arguments else np.float32(default)

    def flag(self, key: str, default: bool = False) -> bool:
        return bool(self.tensor(key)) if key in self.arguments else default

    def text(self, key: str, default: str = "") -> str:
        value = self.arguments.get(key, default)
        if not isinstance(value, str):
            raise TypeError(f"argument {key!r} must be a string")
        return value

    def channels(self, key: str, rank: int) -> Array:
        """A per-channel vector, shaped to broadcast over axis 1 of a tensor of `rank`."""
        return self.tensor(key).reshape((1, -1, *(1,) * (rank - 2)))
