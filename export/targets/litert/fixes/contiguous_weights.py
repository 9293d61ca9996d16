"""Symptom: a model with channels-last (or otherwise strided) weights converts without an error and computes nonsense,
now and then.
Cause: litert_torch.backend.inline_consts caches constants by data pointer; a strided tensor is copied first, the copy
is freed, and the next copy of the same shape may get the same address and with it the first one's values.
Retired by: a litert-torch that keys the cache by value or keeps the copies alive (seen in 0.10.0).
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def apply(module: torch.nn.Module) -> torch.nn.Module:
    """The module, or a copy of it with contiguous parameters and buffers when some are not."""
    tensors = [*module.parameters(), *module.buffers()]
    if all(tensor.is_contiguous() for tensor in tensors):
        return module
    copied = copy.deepcopy(module)
    for tensor in [*copied.parameters(), *copied.buffers()]:
        tensor.data = tensor.data.contiguous()
    return copied
