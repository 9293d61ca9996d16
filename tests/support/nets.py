"""Small functions of real nets that several tests export, and seeded constants for them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


def seeded(*shape: int) -> Tensor:
    """Return a constant of this shape, uniform in [-1, 1]."""
    return torch.from_numpy(np.random.default_rng(5).uniform(-1, 1, shape).astype(np.float32))


def relative_positions(x: Tensor) -> Tensor:
    """Shift relative positions as BoTNet does: pads, reshapes, a slice, an expand that is permuted."""
    side = 8
    logits = x[:, :, :side, :side].reshape(1, side, side * side).transpose(1, 2).reshape(1, side, side, side)
    logits = (logits @ seeded(side, 2 * side - 1)).reshape(-1, side, 2 * side - 1)
    flat = F.pad(F.pad(logits, [0, 1]).flatten(1), [0, side - 1])
    shifted = flat.reshape(-1, side + 1, 2 * side - 1)[:, :side, side - 1 :]
    return shifted.reshape(1, side, 1, side, side).expand(-1, -1, side, -1, -1).permute(0, 1, 3, 2, 4) + 0


def one_channel_attention(x: Tensor) -> Tensor:
    """Attend over one channel, as CSATv2 does: both products are over an axis of size 1."""
    query, key, value = F.linear(x[:, :1].flatten(2).transpose(1, 2), seeded(3, 1)).unbind(-1)
    return (query @ key.transpose(-1, -2)).sigmoid() @ value
