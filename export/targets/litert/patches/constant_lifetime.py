"""Keep the tensors that litert-torch writes as constants alive until the conversion is done.

Symptom: a model with channels-last or otherwise strided weights, or with constants that its forward computes, converts
without an error and gives wrong values now and then: one constant has the elements of another.
Cause: `litert_torch.backend.inline_consts` caches constants by data pointer. It writes a contiguous copy of a strided
tensor, and frees the copy, as it frees results that it computes from constants. The next copy of the same shape may get
the same address, and with it the elements of the first copy.
Upstream: https://github.com/google-ai-edge/litert-torch/issues/1061 and
https://github.com/google-ai-edge/litert-torch/issues/1238 (open).
Retired by: a litert-torch that keys the cache by value, or keeps the copies alive (seen in 0.10.0).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any


@contextmanager
def keep_constants_alive() -> Iterator[None]:
    """Hold a reference to every constant that is fingerprinted for the cache, so that no address is used twice."""
    module: Any = import_module("litert_torch.backend.inline_consts")
    fingerprint = module._ConstantFingerprint
    references: list[Any] = []

    class FingerprintWithReference(fingerprint):  # type: ignore[misc,valid-type]  # a vendor's private class
        @classmethod
        def from_tensor(cls, tensor: Any) -> Any:
            references.append(tensor)
            return fingerprint.from_tensor(tensor)

    module._ConstantFingerprint = FingerprintWithReference
    try:
        yield
    finally:
        module._ConstantFingerprint = fingerprint
