"""A classifier of gratings: one module of the blocks of small mobile nets (MobileNetV3, Howard et al. 2019)."""

from __future__ import annotations

import torch
from torch import nn


class SqueezeExcite(nn.Module):
    """Scales each channel by a gate computed from all channels' means (Hu et al. 2018)."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, hidden, 1)
        self.expand = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gate = torch.relu(self.reduce(nn.functional.adaptive_avg_pool2d(x, 1)))
        return x * nn.functional.hardsigmoid(self.expand(gate))


def conv(inside: int, outside: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    return [
        nn.Conv2d(inside, outside, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outside),
    ]


class Block(nn.Module):
    """Inverted residual: expand, depthwise, squeeze-excite, project; x + f(x) where the shapes allow."""

    def __init__(self, inside: int, outside: int, kernel: int, stride: int) -> None:
        super().__init__()
        wide = 3 * inside
        self.residual = inside == outside and stride == 1
        self.layers = nn.Sequential(
            *conv(inside, wide, 1),
            nn.Hardswish(),
            *conv(wide, wide, kernel, stride, groups=wide),
            SqueezeExcite(wide, wide // 4),
            nn.Hardswish(),
            *conv(wide, outside, 1),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made = self.layers(x)
        return x + made if self.residual else made


class Classifier(nn.Module):
    """1x3xHxW in [0, 1] to 1x10 class scores (logits): five orientations of a grating, in warm and in cool colours."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *conv(3, 16, 3, stride=2),
            nn.Hardswish(),
            Block(16, 24, 3, 2),
            Block(24, 24, 3, 1),
            Block(24, 40, 5, 2),
            Block(40, 40, 5, 1),
            *conv(40, 96, 1),
            nn.Hardswish(),
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Sequential(nn.Linear(96, 64), nn.Hardswish(), nn.Dropout(0.2), nn.Linear(64, 10))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.head(self.pool(self.features(image * 2 - 1)).flatten(1))


def build() -> dict[str, nn.Module]:
    """Return the modules that model.toml names."""
    return {"classifier": Classifier()}
