"""Three modules of ordinary PyTorch code whose ops the portrait does not have.

`stem` sees the photo, `context` lets its tokens attend to each other, `paint` reads both.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


class Stem(nn.Module):
    """1x3xHxW to local features 1x16x(H/4)x(W/4)."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 12, 3, 2, 1), nn.GroupNorm(3, 12), nn.GELU(), nn.Conv2d(12, 16, 3, 2, 1), nn.SiLU()
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.layers(image - 0.5)


class Attention(nn.Module):
    """Multi-head self-attention, written out (Vaswani et al. 2017)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        count, tokens, width = x.shape
        q, k, v = self.qkv(x).reshape(count, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        weights = torch.softmax(q @ k.transpose(-2, -1) * (width // self.heads) ** -0.5, dim=-1)
        return self.out((weights @ v).transpose(1, 2).reshape(count, tokens, width))


class Context(nn.Module):
    """Local features to 1x24x(H/8)x(W/8): a pre-norm transformer layer over the flattened pixels."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.embed = nn.Conv2d(16, width, 2, 2)
        self.before = nn.LayerNorm(width)
        self.attention = Attention(width, 3)
        self.between = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 48), nn.GELU(), nn.Linear(48, width))

    def forward(self, local: torch.Tensor) -> torch.Tensor:
        grid = self.embed(local)
        count, width, height, length = grid.shape
        tokens = grid.flatten(2).transpose(1, 2)
        tokens = tokens + self.attention(self.before(tokens))
        tokens = tokens + self.mlp(self.between(tokens))
        return tokens.transpose(1, 2).reshape(count, width, height, length)


class Paint(nn.Module):
    """Local features and context to two maps, 1x1xHxW in [0, 1] each."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(24, 16, 4, 2, 1)
        self.mix = nn.Conv2d(32, 16, 3, padding=1)
        self.rise = nn.ConvTranspose2d(16, 8, 3, 2, 1, output_padding=1)
        self.last = nn.Conv2d(8, 2, 1)

    def forward(self, local: torch.Tensor, context: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = torch.cat([local, F.gelu(self.up(context), approximate="tanh")], dim=1)
        x = F.leaky_relu(self.rise(F.leaky_relu(self.mix(x), 0.1)), 0.1)
        x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=True)
        front, back = torch.sigmoid(self.last(x)).split(1, dim=1)
        return front, back


def build() -> dict[str, nn.Module]:
    """Return the modules that model.toml names."""
    return {"stem": Stem(), "context": Context(), "paint": Paint()}
