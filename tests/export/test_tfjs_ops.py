"""Test the lowering of every op of the TF.js target against PyTorch, in both runtimes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from export.program import Program
from export.targets.tfjs.lower import gather_elements
from support.emit import beyond, emit
from support.programs import WRITES, Cases, Function, ops_program

RUNTIMES = ("tfjs-tensorflow", "tfjs-node")
CNN = (1, 8, 11, 14)
Check = Callable[..., list[str]]


def seeded(*shape: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(5).uniform(-1, 1, shape).astype(np.float32))


@pytest.fixture
def check(tmp_path: Path) -> Check:
    """`check(cases, shape)` exports, runs in both runtimes, compares with PyTorch and returns the ops of the graph."""
    return lambda cases, shape=CNN: compared(ops_program(cases, shape), tmp_path)


def compared(program: Program, folder: Path) -> list[str]:
    built = emit(program, "tfjs", folder)
    assert {name: wrong for name in RUNTIMES if (wrong := beyond(built.errors(name), 1e-4))} == {}
    ops: dict[str, int] = built.converted.target.describe(built.folder / "net")["ops"]
    return list(ops)


CONVOLUTIONS: Cases = {
    "plain": nn.Conv2d(8, 5, 3, padding=1),
    "pointwise": nn.Conv2d(8, 5, 1, bias=False),
    "valid": nn.Conv2d(8, 5, 3),
    "even_kernel": nn.Conv2d(8, 5, 4, padding=1),
    "strided": nn.Conv2d(8, 5, 3, stride=2, padding=1),
    "strided_five": nn.Conv2d(8, 5, 5, stride=2, padding=2),
    "strided_unequal": nn.Conv2d(8, 5, 3, stride=(1, 2), padding=1),
    "patch": nn.Conv2d(8, 5, 2, stride=2),
    "leaves_a_rest": nn.Conv2d(8, 5, 3, stride=3),
    "oblong": nn.Conv2d(8, 5, (1, 5), padding=(0, 2)),
    "dilated": nn.Conv2d(8, 5, 3, padding=2, dilation=2),
    "dilated_strided": nn.Conv2d(8, 5, 3, padding=2, dilation=2, stride=2),
    "groups": nn.Conv2d(8, 12, 3, padding=1, groups=4),
    "depthwise": nn.Conv2d(8, 8, 3, padding=1, groups=8),
    "depthwise_strided": nn.Conv2d(8, 8, 5, stride=2, padding=2, groups=8),
    "depthwise_multiplier": nn.Conv2d(8, 24, 3, padding=1, groups=8),
    "depthwise_dilated": nn.Conv2d(8, 8, 3, padding=3, dilation=3, groups=8),
    "depthwise_dilated_strided": nn.Conv2d(8, 8, 3, padding=2, dilation=2, stride=2, groups=8),
    "depthwise_unequal": nn.Conv2d(8, 8, 3, padding=1, stride=(2, 1), groups=8),
    "same_padding": nn.Conv2d(8, 5, 4, padding="same"),
    "asymmetric": nn.Sequential(nn.ZeroPad2d((0, 1, 2, 0)), nn.Conv2d(8, 5, 3, stride=2)),
    "relu": nn.Sequential(nn.Conv2d(8, 5, 3), nn.ReLU()),
    "relu6": nn.Sequential(nn.Conv2d(8, 5, 3), nn.ReLU6()),
    "depthwise_relu6": nn.Sequential(nn.Conv2d(8, 8, 3, groups=8), nn.ReLU6()),
    "batch_norm_folded": nn.Sequential(nn.Conv2d(8, 5, 3, bias=False), nn.BatchNorm2d(5), nn.ReLU()),
}
TRANSPOSED: Cases = {
    "up2": nn.ConvTranspose2d(8, 5, 2, stride=2),
    "up3": nn.ConvTranspose2d(8, 5, 3, stride=2, padding=1, output_padding=1),
    "up4": nn.ConvTranspose2d(8, 5, 4, stride=2, padding=1),
    "no_bias": nn.ConvTranspose2d(8, 5, 3, bias=False),
    "gap": nn.ConvTranspose2d(8, 5, 2, stride=3, output_padding=1),
    "grouped": nn.ConvTranspose2d(8, 6, 3, stride=2, groups=2),
    "depthwise": nn.ConvTranspose2d(8, 8, 4, stride=2, padding=1, groups=8),
    "dilated": nn.ConvTranspose2d(8, 5, 3, dilation=2, padding=1),
}
POOLS: Cases = {
    "max2": nn.MaxPool2d(2),
    "max3_padded": nn.MaxPool2d(3, 2, 1),
    "max3_same": nn.MaxPool2d(3, 1, 1),
    "max_ceil": nn.MaxPool2d(3, 2, ceil_mode=True),
    "max_ceil_padded": nn.MaxPool2d(3, 3, 1, ceil_mode=True),
    "max_dilated": nn.MaxPool2d(3, 2, 1, dilation=2),
    "average2": nn.AvgPool2d(2),
    "average3_counts_padding": nn.AvgPool2d(3, 2, 1),
    "average3_skips_padding": nn.AvgPool2d(3, 1, 1, count_include_pad=False),
    "average3_strided_skips_padding": nn.AvgPool2d(3, 2, 1, count_include_pad=False),
    "average_ceil": nn.AvgPool2d(3, 2, ceil_mode=True),
    "average_ceil_counts": nn.AvgPool2d(4, 3, 1, ceil_mode=True),
    "average_ceil_skips": nn.AvgPool2d(4, 3, 1, ceil_mode=True, count_include_pad=False),
    "global_average": nn.AdaptiveAvgPool2d(1),
    "global_max": nn.AdaptiveMaxPool2d(1),
    "divided": nn.AvgPool2d(3, 2, 1, divisor_override=5),
    "adaptive_max": nn.AdaptiveMaxPool2d((4, 5)),
    "adaptive_even": nn.AdaptiveAvgPool2d((11, 7)),
    "adaptive_odd": nn.AdaptiveAvgPool2d((3, 5)),
    "mean_of_space": lambda x: x.mean((2, 3)),
}
ACTIVATIONS: Cases = {
    "relu": nn.ReLU(),
    "relu6": nn.ReLU6(),
    "clamp": lambda x: x.clamp(-0.5, 1.0),
    "clamp_low": lambda x: x.clamp(min=-0.5),
    "clamp_high": lambda x: x.clamp(max=0.5),
    "hardtanh": nn.Hardtanh(),
    "prelu": nn.PReLU(8),
    "prelu_one": nn.PReLU(),
    "leaky": nn.LeakyReLU(0.1),
    "thresholded": nn.Threshold(0.3, 0.0),
    "threshold_value": nn.Threshold(0.3, -1.0),
    "elu": nn.ELU(),
    "elu_alpha": nn.ELU(0.7),
    "celu": nn.CELU(1.3),
    "selu": nn.SELU(),
    "silu": nn.SiLU(),
    "mish": nn.Mish(),
    "hard_sigmoid": nn.Hardsigmoid(),
    "hard_swish": nn.Hardswish(),
    "gelu": nn.GELU(),
    "gelu_tanh": nn.GELU(approximate="tanh"),
    "sigmoid": nn.Sigmoid(),
    "log_sigmoid": nn.LogSigmoid(),
    "tanh": nn.Tanh(),
    "softplus": nn.Softplus(),
    "softsign": nn.Softsign(),
    "softmax_channels": nn.Softmax(1),
    "softmax_width": nn.Softmax(3),
    "log_softmax": nn.LogSoftmax(1),
    "glu": nn.GLU(1),
}
ELEMENTWISE: Cases = {
    "add_channels": lambda x: x + seeded(8, 1, 1),
    "add_width": lambda x: x + seeded(14),
    "broadcast": lambda x: x * x.mean((2, 3), keepdim=True),
    "broadcast_lower_rank": lambda x: x + x[0],
    "outer": lambda x: x[:, :, :1] + x[:, :1, :, :1],
    "subtract_from": lambda x: 1.0 - x,
    "divide": lambda x: x / (x.abs() + 1.0),
    "reciprocal": lambda x: 1.0 / (x.abs() + 1.0),
    "hypot": lambda x: torch.hypot(x, x + 1),
    "fmod": lambda x: torch.fmod(x, 0.7),
    "trunc": lambda x: torch.trunc(x * 3),
    "square": lambda x: x**2,
    "cube": lambda x: x**3,
    "power": lambda x: (x.abs() + 0.1) ** 1.7,
    "sqrt": lambda x: x.abs().sqrt(),
    "rsqrt": lambda x: (x.abs() + 0.1).rsqrt(),
    "exp": torch.exp,
    "log": lambda x: torch.log(x.abs() + 0.1),
    "sin": torch.sin,
    "cos": torch.cos,
    "erf": torch.erf,
    "atan": torch.atan,
    "negative": torch.neg,
    "sign": torch.sign,
    "floor": torch.floor,
    "ceil": torch.ceil,
    "round": torch.round,
    "remainder": lambda x: torch.remainder(x, 0.7),
    "maximum": lambda x: torch.maximum(x, x.flip(3)),
    "minimum": lambda x: torch.minimum(x, seeded(8, 11, 14)),
    "where": lambda x: torch.where(x > 0.2, x, -x),
    "where_and": lambda x: torch.where((x > -0.5) & ~(x >= 0.5), x, torch.zeros(())),
    "where_or": lambda x: torch.where((x < -0.5) | (x <= 0.5), x, 2 * x),
    "masked": lambda x: x.masked_fill(x == x.max(), 5.0),
    "nan": lambda x: torch.where(torch.isnan(x.sqrt()), -1.0, x),
    "infinite": lambda x: torch.where(torch.isinf(x / (x > 0).float()), -1.0, x),
    "cast": lambda x: (x > 0).float() * x.to(torch.int32).float(),
}
REDUCTIONS: Cases = {
    "mean": lambda x: x.mean(1),
    "mean_kept": lambda x: x.mean((1, 2), keepdim=True),
    "total": lambda x: x.sum((1, 3)),
    "everything": lambda x: x.sum().reshape(1),
    "largest": lambda x: x.amax(2),
    "smallest": lambda x: x.amin((2, 3), keepdim=True),
    "product": lambda x: x[:, :, :3, :3].prod(1),
    "variance": lambda x: x.var((2, 3)),
    "deviation": lambda x: x.std(1, keepdim=True),
    "norm2": lambda x: x.norm(dim=1),
    "norm1": lambda x: x.abs().sum(1),
    "normalized": lambda x: F.normalize(x, dim=1),
    "log_sum_exp": lambda x: x.logsumexp(1),
    "running_sum": lambda x: x.cumsum(3),
    "arg_max": lambda x: x.argmax(1),
    "top3": lambda x: x.flatten(1).topk(3)[0],
    "cosine": lambda x: F.cosine_similarity(x[:, :4], x[:, 4:], dim=1),
}
NORMS: Cases = {
    "batch": nn.BatchNorm2d(8),
    "instance": nn.InstanceNorm2d(8, affine=True),
    "instance_plain": nn.InstanceNorm2d(8),
    "group": nn.GroupNorm(4, 8),
    "group_one": nn.GroupNorm(1, 8),
    "layer_all": nn.LayerNorm([8, 11, 14]),
    "layer_last": nn.LayerNorm(14),
    "layer_channels": lambda x: F.layer_norm(x.permute(0, 2, 3, 1), (8,)).permute(0, 3, 1, 2),
    "rms": lambda x: F.rms_norm(x, (14,)),
    "local_response_norm": nn.LocalResponseNorm(3, alpha=0.1),
    "local_response": lambda x: x / (1 + x.pow(2).mean(1, keepdim=True)).sqrt(),
}


def resized(mode: str, options: Mapping[str, Any]) -> Function:
    return lambda x: F.interpolate(x, mode=mode, **options)


RESIZE_OPTIONS: list[tuple[str, str, dict[str, Any]]] = [
    ("nearest", "double", {"scale_factor": 2.0}),
    ("nearest", "odd", {"size": (25, 33)}),
    ("nearest", "smaller", {"size": (7, 5)}),
    ("nearest", "ratio", {"scale_factor": 1.7}),
    ("nearest-exact", "odd", {"size": (25, 33)}),
    ("bilinear", "double", {"scale_factor": 2.0, "align_corners": False}),
    ("bilinear", "corners", {"scale_factor": 2.0, "align_corners": True}),
    ("bilinear", "odd", {"size": (25, 33), "align_corners": False}),
    ("bilinear", "odd_corners", {"size": (25, 33), "align_corners": True}),
    ("bilinear", "smaller", {"size": (7, 5), "align_corners": False}),
    ("bilinear", "ratio", {"scale_factor": 1.7, "align_corners": False}),
    ("bilinear", "to_one", {"size": (1, 1), "align_corners": False}),
    ("bilinear", "antialias", {"size": (6, 7), "align_corners": False, "antialias": True}),
    ("bicubic", "double", {"scale_factor": 2.0, "align_corners": False}),
    ("bicubic", "corners", {"size": (17, 20), "align_corners": True}),
]
RESIZES: Cases = {f"{mode}_{name}".replace("-", "_"): resized(mode, options) for mode, name, options in RESIZE_OPTIONS}
SHAPES: Cases = {
    "zero_pad": nn.ZeroPad2d((1, 2, 3, 0)),
    "constant_pad": nn.ConstantPad2d((1, 2, 3, 0), -1.5),
    "reflect": nn.ReflectionPad2d((2, 1, 3, 2)),
    "replicate": nn.ReplicationPad2d((2, 1, 3, 2)),
    "circular": nn.CircularPad2d((2, 1, 3, 2)),
    "crop": lambda x: F.pad(x, (-1, -2, -3, 1)),
    "pad_channels": lambda x: F.pad(x, (0, 0, 0, 0, 1, 2)),
    "slice": lambda x: x[:, 2:7, 1:-1, ::3],
    "flip": lambda x: x.flip(1, 3),
    "split": lambda x: torch.cat(x.split([3, 5], 1)[::-1], 1),
    "chunk": lambda x: torch.cat([part * (i + 1) for i, part in enumerate(x.chunk(3, 3))], 3),
    "concat": lambda x: torch.cat([x, x.mean(1, keepdim=True), seeded(1, 2, 11, 14)], 1),
    "concat_rows": lambda x: torch.cat([x, x * 2], 2),
    "stack": lambda x: torch.stack([x, -x], 2),
    "tile": lambda x: x.repeat(1, 2, 1, 3),
    "expand": lambda x: x.mean((2, 3), keepdim=True).expand(1, 8, 4, 6),
    "squeeze": lambda x: x[:, :, :1].squeeze(2),
    "unsqueeze": lambda x: x.unsqueeze(1),
    "transpose": lambda x: x.transpose(2, 3),
    "channels_last": lambda x: x.permute(0, 2, 3, 1),
    "there_and_back": lambda x: (x.permute(0, 2, 3, 1) + 1).permute(0, 3, 1, 2),
    "flatten": lambda x: x.flatten(1),
    "tokens": lambda x: x.flatten(2).transpose(1, 2),
    "reshape": lambda x: x.reshape(1, 4, 22, 14),
    "heads": lambda x: x.reshape(1, 2, 4, 154).permute(0, 1, 3, 2),
    "windows": lambda x: x[:, :, :10, :12].reshape(1, 8, 2, 5, 3, 4).permute(0, 2, 4, 3, 5, 1).reshape(6, 20, 8),
    "gather": lambda x: x[:, [3, 1, 1, 7]],
    "gather_columns": lambda x: x[..., torch.tensor([-1, 0, 5])],
    "gather_elements": lambda x: x.gather(1, torch.tensor([[[[1]], [[6]]]]).expand(1, 2, 11, 14)),
    "gather_computed": lambda x: x.gather(1, x[:, :3].argmax(1, keepdim=True)),
    "gather_last": lambda x: x.gather(3, x.topk(4, 3).indices),
    "points": lambda x: x[:, :, torch.tensor([0, 4, 9]), torch.tensor([1, 13, 2])],
    "index_select": lambda x: x.index_select(2, torch.tensor([4, 0])),
    "roll": lambda x: x.roll((2, -3), (2, 3)),
    "shuffle": lambda x: F.pixel_shuffle(x, 2),
    "unshuffle": lambda x: F.pixel_unshuffle(x[:, :, :10], 2),
    "channel_shuffle": lambda x: F.channel_shuffle(x, 4),
    "unfold": lambda x: F.unfold(x, 3, padding=1),
    "tril": lambda x: x.tril(1),
    "meshgrid": lambda x: x + torch.stack(torch.meshgrid(torch.arange(11.0), torch.arange(14.0), indexing="ij")).sum(0),
    "identity": lambda x: x,
    **WRITES,
}
LINEARS: Cases = {
    "gap_linear": nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)),
    "flat_linear": nn.Sequential(nn.Flatten(), nn.Linear(8 * 11 * 14, 5)),
    "tokens_linear": lambda x: F.linear(x.flatten(2).transpose(1, 2), seeded(6, 8), seeded(6)),
    "columns_linear": lambda x: F.linear(x, seeded(6, 14)),
    "gram": lambda x: x.flatten(2) @ x.flatten(2).transpose(1, 2),
    "rank4": lambda x: x @ x.transpose(2, 3),
    "broadcast": lambda x: seeded(3, 11) @ x,
    "vector": lambda x: x.flatten(2) @ seeded(154),
    "einsum": lambda x: torch.einsum("nchw,kc->nkhw", x, seeded(3, 8)),
    "einsum_turned": lambda x: torch.einsum("nchw->nwc", x),
    "einsum_loose": lambda x: torch.einsum("nchw,kcv->nhk", x, seeded(3, 8, 2)),
    "einsum_outer": lambda x: torch.einsum("nchw,nchv->nwv", x, x),
    "bilinear_form": lambda x: torch.baddbmm(seeded(1, 8, 8), x.flatten(2), x.flatten(2).transpose(1, 2)),
    "addmm": lambda x: torch.addmm(seeded(8), x.flatten(2)[0], seeded(154, 8), beta=0.5, alpha=2.0),
    "attention": lambda x: F.scaled_dot_product_attention(x, x * 0.5, x + 1),
    "masked_attention": lambda x: F.scaled_dot_product_attention(x, x, x, attn_mask=seeded(11, 11)),
    "causal": lambda x: F.scaled_dot_product_attention(x, x, x, is_causal=True),
}


def sampled(mode: str, outside: str, corners: bool) -> Function:
    """Return a grid_sample whose coordinates are computed from the input; some of them lie outside."""

    def function(x: Tensor) -> Tensor:
        grid = (x[:, :2, 1:8, 2:12] * 0.7).permute(0, 2, 3, 1)
        return F.grid_sample(x, grid, mode, outside, corners)

    return function


SAMPLES: Cases = {
    f"{mode}_{outside}_{corners}": sampled(mode, outside, corners)
    for mode in ("bilinear", "nearest")
    for outside in ("zeros", "border", "reflection")
    for corners in (False, True)
}
FAMILIES = {
    "convolutions": CONVOLUTIONS,
    "transposed": TRANSPOSED,
    "pools": POOLS,
    "activations": ACTIVATIONS,
    "elementwise": ELEMENTWISE,
    "reductions": REDUCTIONS,
    "norms": NORMS,
    "resizes": RESIZES,
    "shapes": SHAPES,
    "linears": LINEARS,
    "samples": SAMPLES,
}


@pytest.mark.parametrize("family", FAMILIES)
def test_ops_equal_pytorch(family: str, check: Check) -> None:
    ops = check(FAMILIES[family])
    if family in ("convolutions", "transposed"):
        assert "Transpose" not in ops


def test_scalar_kernels_are_scalars(check: Check) -> None:
    """TF.js accepts a bound of shape [1]; TensorFlow, which checks the graphs, refuses it."""
    check({"clamped": lambda x: x.clamp(-0.5, 1.0)}, (2, 3))


@pytest.mark.parametrize(
    ("shape", "cases"),
    [
        ((1, 8, 20), {"conv1d": nn.Conv1d(8, 6, 5, stride=2, padding=2), "pool": nn.MaxPool1d(2)}),
        ((1, 8, 20), {"up": nn.ConvTranspose1d(8, 6, 4, 2, 1), "resized": nn.Upsample(size=33, mode="linear")}),
        ((1, 10, 16), {"encoder": nn.TransformerEncoderLayer(16, 4, 32, batch_first=True, activation="gelu")}),
        ((3, 5), {"linear": nn.Linear(5, 4), "norm": nn.BatchNorm1d(5), "softmax": nn.Softmax(0)}),
    ],
)
def test_other_ranks(shape: tuple[int, ...], cases: Cases, check: Check) -> None:
    check(cases, shape)


def test_permutes_add_no_transpose(check: Check) -> None:
    """Blocks of ConvNeXt, squeeze-and-excitation nets and token mixers stay channels last throughout."""
    norm, wide, narrow = nn.LayerNorm(8), nn.Linear(8, 16), nn.Linear(16, 8)

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(8, 8, 7, padding=3, groups=8)
            self.norm, self.wide, self.narrow = norm, wide, narrow
            self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 8, 1), nn.Sigmoid())
            self.group = nn.GroupNorm(2, 8)

        def forward(self, x: Tensor) -> Tensor:
            y = self.norm(self.conv(x).permute(0, 2, 3, 1))
            y = self.narrow(F.gelu(self.wide(y))).permute(0, 3, 1, 2)
            output: Tensor = x + self.group(y) * self.gate(y)
            return output

    assert "Transpose" not in check({"block": Block()})


def test_outputs_that_are_one_tensor(check: Check) -> None:
    """Outputs that are the same tensor, or the input itself, have names of their own."""
    relu = nn.ReLU()

    class Twice(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            output: Tensor = relu(x)
            return output

    check({"one": Twice(), "two": Twice(), "three": lambda x: x})


class GatheredTable(nn.Module):
    """As BERT looks up token types: a gather whose table and indices are both constants."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("table", torch.arange(64.0).reshape(1, 64) / 64)
        self.register_buffer("places", torch.arange(63, -1, -1).reshape(1, 64))

    def forward(self, x: Tensor) -> Tensor:
        index = self.get_buffer("places")[:, : x.shape[-1]]
        return x + torch.gather(self.get_buffer("table").expand(x.shape[0], -1), 1, index)


def test_a_gather_of_constants(check: Check) -> None:
    check({"table": GatheredTable()})


@pytest.mark.parametrize(("shape", "index", "axis"), [((1, 64), (1, 16), 1), ((4, 6), (3, 5), 0), ((4, 6), (2, 9), -1)])
def test_folding_a_gather_is_pytorchs(shape: tuple[int, ...], index: tuple[int, ...], axis: int) -> None:
    data = seeded(*shape)
    indices = torch.from_numpy(np.random.default_rng(2).integers(0, shape[axis], index))
    assert np.array_equal(
        gather_elements(data.numpy(), indices.numpy(), axis), torch.gather(data, axis, indices).numpy()
    )
