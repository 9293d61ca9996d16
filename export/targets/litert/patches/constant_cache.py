"""Symptom: a model with channels-last (or otherwise strided) weights, or with constants that its forward makes,
converts without an error and computes nonsense, now and then: one constant has another's values.
Cause: litert_torch.backend.inline_consts caches constants by data pointer; of a strided tensor a copy is written, as of
what it computes from constants, that copy is freed, and the next one of the same shape may get the same address.
Instead: what it has written is kept until it is done.
Retired by: a litert-torch that keys the cache by value or keeps the copies alive (seen in 0.10.0).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any


@contextmanager
def constants_kept() -> Iterator[None]:
    """Have no constant's memory used again while this lasts."""
    module: Any = import_module("litert_torch.backend.inline_consts")
    vendors = module._ConstantFingerprint
    kept: list[Any] = []

    class Kept(vendors):  # type: ignore[misc,valid-type]  # a vendor's private class
        @classmethod
        def from_tensor(cls, tensor: Any) -> Any:
            kept.append(tensor)
            return vendors.from_tensor(tensor)

    module._ConstantFingerprint = Kept
    try:
        yield
    finally:
        module._ConstantFingerprint = vendors
