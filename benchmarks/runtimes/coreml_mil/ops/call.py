"""Define how the implementation of a MIL op reads its arguments."""

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
    """Hold one op with its arguments: float32, integer or bool arrays, strings, or tuples of arrays.

    An argument that the file leaves out has the default that MIL documents. It is given where the argument is read.
    """

    type: str
    name: str
    arguments: Mapping[str, Value]
    outputs: tuple[tuple[str, ValueType], ...]

    def tensor(self, key: str) -> Array:
        """Return a required tensor. Raises KeyError where it is absent, TypeError for a string or a list."""
        value = self.arguments[key]
        if not isinstance(value, np.ndarray):
            raise TypeError(f"argument {key!r} must be a tensor")
        return value

    def optional(self, key: str) -> Array | None:
        """Return a tensor, or None where it is absent."""
        return self.tensor(key) if key in self.arguments else None

    def tensors(self, key: str) -> tuple[Array, ...]:
        """Return a list of tensors. A single tensor is a list of one."""
        value = self.arguments[key]
        return value if isinstance(value, tuple) else (self.tensor(key),)

    def integers(self, key: str, default: tuple[int, ...] = ()) -> tuple[int, ...]:
        """Return a list of integers (shape, strides, axes, ...)."""
        return tuple(int(item) for item in self.tensor(key).ravel()) if key in self.arguments else default

    def integer(self, key: str, default: int = 0) -> int:
        return int(self.tensor(key)) if key in self.arguments else default

    def scalar(self, key: str, default: float = 0.0) -> np.float32:
        return np.float32(self.tensor(key)) if key in self.arguments else np.float32(default)

    def boolean(self, key: str, default: bool = False) -> bool:
        return bool(self.tensor(key)) if key in self.arguments else default

    def string(self, key: str, default: str = "") -> str:
        value = self.arguments.get(key, default)
        if not isinstance(value, str):
            raise TypeError(f"argument {key!r} must be a string")
        return value

    def per_channel(self, key: str, rank: int) -> Array:
        """Return a vector of one element per channel, shaped to broadcast over axis 1 of a tensor of `rank`."""
        return self.tensor(key).reshape((1, -1, *(1,) * (rank - 2)))
