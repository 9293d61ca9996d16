"""Small nets as other people write them, each with ops that are hard for a converter. The test seeds their weights.

A name of `NETS` is a model: its modules as (class, inputs, outputs), its inputs, and its size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def block(inner: int, outer: int, size: int = 3, stride: int = 1, act: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inner, outer, size, stride, size // 2, bias=False), nn.BatchNorm2d(outer), act(inplace=True)
    )


class Body(nn.Module):
    """Three strided blocks: 1x3xHxW to 1x32x(H/8)x(W/8)."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(block(3, 16, 3, 2), block(16, 24, 3, 2), block(24, 32, 3, 2))

    def forward(self, image: Tensor) -> Tensor:
        return self.layers(image)


class Queries(nn.Module):
    """A detector's head: learned queries attend to the features and return classes and boxes (Carion et al. 2020)."""

    def __init__(self) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.randn(1, 48, 32))
        self.own, self.cross = (nn.MultiheadAttention(32, 4, batch_first=True) for _ in range(2))
        self.first, self.second = nn.LayerNorm(32), nn.LayerNorm(32)
        self.classes, self.box = nn.Linear(32, 6), nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4))

    def forward(self, feature: Tensor, queries: Tensor) -> tuple[Tensor, Tensor]:
        memory = feature.flatten(2).transpose(1, 2)
        x = self.first(queries + self.own(queries, queries, queries, need_weights=False)[0])
        x = self.second(x + self.cross(x, memory + self.place, memory)[0])
        return self.classes(x), self.box(x).sigmoid()


class Windows(nn.Module):
    """Attention in shifted windows with relative position biases (Liu et al. 2021), merged by strided slices."""

    def __init__(self, width: int = 24, side: int = 4, heads: int = 3, grid: int = 8) -> None:
        super().__init__()
        self.patch, self.side, self.heads = nn.Conv2d(3, width, 4, 4), side, heads
        self.norm, self.qkv, self.out = nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.table = nn.Parameter(torch.randn((2 * side - 1) ** 2, heads))
        at = torch.stack(torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")).flatten(1)
        apart = (at[:, :, None] - at[:, None, :]).permute(1, 2, 0) + side - 1
        self.register_buffer("index", apart[..., 0] * (2 * side - 1) + apart[..., 1])
        self.merge, self.scores = nn.Linear(4 * width, 2 * width, bias=False), nn.Linear(2 * width, 10)

    def attend(self, x: Tensor, shift: int) -> Tensor:
        count, height, length, width = x.shape
        side, grid = self.side, (height // self.side, length // self.side)
        y = torch.roll(self.norm(x), (-shift, -shift), (1, 2)) if shift else self.norm(x)
        y = y.view(count, grid[0], side, grid[1], side, width).permute(0, 1, 3, 2, 4, 5).reshape(-1, side**2, width)
        q, k, v = self.qkv(y).reshape(-1, side**2, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        bias = self.table[self.index.view(-1)].view(side**2, side**2, -1).permute(2, 0, 1).contiguous().unsqueeze(0)
        y = (q * (width // self.heads) ** -0.5 @ k.transpose(-2, -1) + bias).softmax(-1) @ v
        y = self.out(y.transpose(1, 2).reshape(-1, side**2, width)).view(count, *grid, side, side, width)
        y = y.permute(0, 1, 3, 2, 4, 5).reshape(count, height, length, width)
        return x + (torch.roll(y, (shift, shift), (1, 2)) if shift else y)

    def forward(self, image: Tensor) -> Tensor:
        x = self.attend(self.attend(self.patch(image).permute(0, 2, 3, 1), 0), 2)
        x = torch.cat([x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2]], -1)
        return self.scores(self.merge(x).mean((1, 2)))


class Style(nn.Module):
    """Reflected edges, instance norms, nearest resizing: style transfer (Johnson et al. 2016)."""

    def __init__(self) -> None:
        super().__init__()

        def conv(inner: int, outer: int, size: int, stride: int) -> nn.Sequential:
            return nn.Sequential(nn.ReflectionPad2d(size // 2), nn.Conv2d(inner, outer, size, stride))

        self.down = nn.Sequential(
            conv(3, 8, 9, 1), nn.InstanceNorm2d(8, affine=True), nn.PReLU(8), conv(8, 16, 3, 2), nn.InstanceNorm2d(16)
        )
        self.up = nn.Sequential(nn.Upsample(scale_factor=2), conv(16, 8, 3, 1), nn.ELU(0.5), conv(8, 3, 9, 1))

    def forward(self, image: Tensor) -> Tensor:
        return torch.tanh(self.up(self.down(image)))


class Larger(nn.Module):
    """Super-resolution: pixel shuffle beside a bicubic copy."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 16, 5, padding=2), nn.Conv2d(16, 27, 3, padding=1)
        self.bend, self.shuffle = nn.PReLU(16), nn.PixelShuffle(3)

    def forward(self, image: Tensor) -> Tensor:
        made = self.shuffle(self.second(self.bend(self.first(image))))
        return (made + F.interpolate(image, scale_factor=3, mode="bicubic", align_corners=False)).clamp(0, 1)


class Written(nn.Module):
    """Writes into slices, in-place arithmetic, a border of zeros written by hand, odd resizes and pools."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.last = block(3, 8, 3, 2), nn.Conv2d(8, 2, 1)
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = self.body((image - self.mean).div_(0.22)).mul_(2).add_(0.1)
        x[x < 0.4] = 0.4
        wide = torch.zeros(x.shape[0], 8, x.shape[2] + 2, x.shape[3] + 2)
        wide[:, :, 1:-1, 1:-1] = x
        wide[:, 1, 3:9, ::3] = 0.25
        odd = F.interpolate(x, scale_factor=1.7, mode="bilinear", align_corners=False)
        return self.last(wide), self.last(odd), F.adaptive_max_pool2d(x, (4, 3)) + F.adaptive_avg_pool2d(x, (4, 3))


class Rotary(nn.Module):
    """Causal and masked attention over rotated queries, RMS norms, a gated layer: a small language-model block."""

    def __init__(self, width: int = 32, heads: int = 4, tokens: int = 12) -> None:
        super().__init__()
        self.heads, self.qkv, self.out = heads, nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width)
        turns = torch.outer(torch.arange(tokens).float(), 1 / 100 ** (torch.arange(0, 8, 2) / 8))
        self.register_buffer("cos", torch.cos(torch.cat([turns, turns], -1)))
        self.register_buffer("sin", torch.sin(torch.cat([turns, turns], -1)))
        self.norm, self.gate = nn.RMSNorm(width), nn.Linear(width, 48)
        self.wide, self.narrow = nn.Linear(width, 48), nn.Linear(48, width)

    def turned(self, x: Tensor) -> Tensor:
        first, second = x.chunk(2, -1)
        return x * self.cos + torch.cat([-second, first], -1) * self.sin

    def forward(self, x: Tensor, keep: Tensor) -> Tensor:
        count, tokens, width = x.shape
        q, k, v = self.qkv(self.norm(x)).view(count, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(self.turned(q), self.turned(k), v, is_causal=True)
        y = y + F.scaled_dot_product_attention(q, k, v, attn_mask=keep[:, None, None, :])
        x = x + self.out(y.transpose(1, 2).reshape(count, tokens, width))
        return x + self.narrow(F.silu(self.gate(x)) * self.wide(x))


class Decoded(nn.Module):
    """Transposed convolutions of every kind: groups, dilation, paddings of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            [
                nn.ConvTranspose2d(32, 8, 3, 2, 1, 1),
                nn.ConvTranspose2d(32, 8, 4, 2, 1, groups=4),
                nn.ConvTranspose2d(32, 4, 3, 2, 2, 1, dilation=2),
                nn.ConvTranspose2d(32, 4, (2, 3), (1, 3), (0, 2), (0, 1)),
            ]
        )

    def forward(self, feature: Tensor) -> tuple[Tensor, ...]:
        return tuple(torch.relu(layer(feature)) for layer in self.layers)


@dataclass(frozen=True)
class Net:
    """`modules`: name to (class, inputs, outputs); `inputs`: name to lines of its [tensors.*] table."""

    modules: dict[str, tuple[Callable[[], nn.Module], list[str], list[str]]]
    inputs: dict[str, str] = field(default_factory=lambda: {"image": PHOTO})
    size: tuple[int, int] = (64, 48)


PHOTO = 'shape = [1, 3, "H", "W"]\nkind = "rgb-photo"\nrange = [0, 1]'
NETS = {
    "queries": Net(
        {"body": (Body, ["image"], ["feature"]), "head": (Queries, ["feature", "queries"], ["classes", "boxes"])},
        {"image": PHOTO, "queries": "shape = [1, 9, 32]\nrange = [-1, 1]"},
    ),
    "windows": Net({"net": (Windows, ["image"], ["scores"])}, size=(64, 32)),
    "style": Net({"net": (Style, ["image"], ["picture"])}, size=(56, 40)),
    "larger": Net({"net": (Larger, ["image"], ["large"])}, size=(24, 36)),
    "written": Net({"net": (Written, ["image"], ["framed", "odd", "pooled"])}, size=(38, 34)),
    "rotary": Net(
        {"net": (Rotary, ["tokens", "keep"], ["made"])},
        {"tokens": "shape = [1, 12, 32]\nrange = [-1, 1]", "keep": 'shape = [1, 12]\ndtype = "bool"'},
    ),
    "decoded": Net(
        {
            "body": (Body, ["image"], ["feature"]),
            "head": (Decoded, ["feature"], ["plain", "grouped", "dilated", "uneven"]),
        },
        size=(40, 48),
    ),
}
