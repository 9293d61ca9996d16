"""The TF.js target: every op against PyTorch in both runtimes, the files' form, recipes and refusals."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.runtime import load_runtime, run
from export.program import Program
from export.targets.tfjs import TFJSTarget
from models.artifact import read_artifact
from models.errors import StageError
from models.recipes import recipe
from models.spec import EntrySpec, ModelSpec, ModuleSpec, TensorSpec

RUNTIMES = ("tfjs-tensorflow", "tfjs-node")
Function = Callable[[Tensor], Tensor]
Cases = dict[str, Function]
CNN = (1, 8, 11, 14)


def assigned(x: Tensor) -> Tensor:
    """Parts of a tensor written to: what would be scatters."""
    y = x.clone()
    y[:, :2] = x[:, 2:4] * 2
    y[:, 1, 3:9, ::3] = 0.25
    return y


def masked(x: Tensor) -> Tensor:
    y = x + 0
    y[y < 0.4] = 0.4
    return y


class Several(nn.Module):
    """Many ops on one input, an output each: one export tests them all."""

    def __init__(self, cases: Cases) -> None:
        super().__init__()
        self.names = list(cases)
        self.functions = list(cases.values())
        self.parts = nn.ModuleList([case for case in self.functions if isinstance(case, nn.Module)])

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(function(x) for function in self.functions)


def program_of(cases: Cases, shape: tuple[int, ...], low: float = -2.0, high: float = 2.0) -> Program:
    """A one-module model around `cases`, with seeded weights and input."""
    torch.manual_seed(3)
    net = Several(cases).eval().requires_grad_(False)
    for module in net.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
        if getattr(module, "bias", None) is not None and isinstance(module.bias, Tensor):
            nn.init.uniform_(module.bias, -0.5, 0.5)
    x = torch.rand(shape) * (high - low) + low
    with torch.no_grad():
        tensors = {"x": x, **dict(zip(cases, net(x), strict=True))}
    names = tuple(cases)
    layout = "NCHW" if len(shape) == 4 else "any"
    specs = {"x": TensorSpec("x", shape, layout, "float32", None, "tensor", None, "the input")}
    modules = {"net": ModuleSpec("net", ("x",), names, "")}
    entries = {"net": EntrySpec("net", ("net",), ("x",), names, "")}
    about = ("ops", "1", "Apache-2.0", ("Tests",), "one op an output", "none:none", "none", "0")
    spec = ModelSpec(Path(), *about, ((1, 1),), specs, modules, entries, {}, "0")
    return Program(spec, (1, 1), {"net": net}, tensors)


def check(cases: Cases, folder: Path, shape: tuple[int, ...] = CNN, low: float = -2.0, high: float = 2.0) -> list[str]:
    """Export, run in both runtimes, compare each output with PyTorch; returns the ops of the graph."""
    target, program = TFJSTarget(), program_of(cases, shape, low, high)
    emitted = target.emit(program, target.convert(program, folder), recipe("float32"), folder)
    wrong = {}
    for name in RUNTIMES:
        session = load_runtime(name).open(folder, emitted.entries[0])
        try:
            made = run(session, {"x": program.tensors["x"].numpy()})
        finally:
            session.close()
        for output, value in made.items():
            wanted = program.tensors[output].numpy()
            assert value.shape == wanted.shape, (name, output)
            error = float(np.abs(value.astype(np.float64) - wanted).max())
            if not error <= 1e-4 * max(1.0, float(np.abs(wanted).max())):
                wrong[f"{name} {output}"] = error
    assert not wrong, wrong
    ops: dict[str, int] = target.describe(folder / "net")["ops"]
    return list(ops)


def seeded(*shape: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(5).uniform(-1, 1, shape).astype(np.float32))


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
    "not_a_number": lambda x: torch.where(torch.isnan(x.sqrt()), -1.0, x),
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
RESIZES: Cases = {
    f"{mode}_{name}": (lambda x, m=mode, o=options: F.interpolate(x, mode=m, **o))
    for mode, name, options in [
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
}
RESIZES = {name.replace("-", "_"): case for name, case in RESIZES.items()}
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
    "assigned": assigned,
    "masked": masked,
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
}


@pytest.mark.parametrize("family", FAMILIES)
def test_ops_equal_pytorch(family: str, tmp_path: Path) -> None:
    ops = check(FAMILIES[family], tmp_path)
    if family in ("convolutions", "transposed"):
        assert "Transpose" not in ops


def test_scalar_kernels_are_scalars(tmp_path: Path) -> None:
    """A bound of shape [1] runs in TF.js and is refused by TensorFlow."""
    check({"clamped": lambda x: x.clamp(-0.5, 1.0)}, tmp_path, (2, 3))


@pytest.mark.parametrize(
    ("shape", "cases"),
    [
        ((1, 8, 20), {"conv1d": nn.Conv1d(8, 6, 5, stride=2, padding=2), "pool": nn.MaxPool1d(2)}),
        ((1, 8, 20), {"up": nn.ConvTranspose1d(8, 6, 4, 2, 1), "resized": nn.Upsample(size=33, mode="linear")}),
        ((1, 10, 16), {"encoder": nn.TransformerEncoderLayer(16, 4, 32, batch_first=True, activation="gelu")}),
        ((3, 5), {"linear": nn.Linear(5, 4), "norm": nn.BatchNorm1d(5), "softmax": nn.Softmax(0)}),
    ],
)
def test_other_ranks(shape: tuple[int, ...], cases: Cases, tmp_path: Path) -> None:
    check(cases, tmp_path, shape)


def test_layout_changes_cost_no_transpose(tmp_path: Path) -> None:
    """Blocks as in ConvNeXt, SE nets and token mixers stay channels last from end to end."""
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
            return x + self.group(y) * self.gate(y)

    assert "Transpose" not in check({"block": Block()}, tmp_path)


def test_two_names_for_one_value(tmp_path: Path) -> None:
    """Outputs that are the same tensor, or the input itself, keep their own names."""
    relu = nn.ReLU()

    class Twice(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return relu(x)

    check({"one": Twice(), "two": Twice(), "three": lambda x: x}, tmp_path)


def test_unsupported_op_names_entry_and_op(tmp_path: Path) -> None:
    program = program_of({"y": lambda x: F.grid_sample(x, seeded(1, 4, 4, 2), align_corners=False)}, CNN)
    with pytest.raises(StageError, match=r"convert: entry 'net': op 'GridSample' .* \(supported: Abs, .*Conv, "):
        TFJSTarget().convert(program, tmp_path)


def test_unsupported_form_says_why(tmp_path: Path) -> None:
    program = program_of({"y": nn.Conv3d(2, 3, 3)}, (1, 2, 5, 5, 5))
    with pytest.raises(StageError, match=r"op 'Conv' .* has 3 spatial axes; 1 and 2 are supported"):
        TFJSTarget().convert(program, tmp_path)


@pytest.mark.parametrize("name", ["float32", "float16", "w8", "w16"])
def test_takes(name: str) -> None:
    assert TFJSTarget().refuses(recipe(name)) is None


@pytest.mark.parametrize(
    ("name", "reason"),
    [("w4", "uint8 or uint16"), ("w4g32", "one a block"), ("w8a8", "no integer kernels"), ("p4", "no palettes")],
)
def test_refuses_with_the_reason(name: str, reason: str) -> None:
    assert reason in (TFJSTarget().refuses(recipe(name)) or "")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Program, object]:
    program = program_of({"y": nn.Sequential(nn.Conv2d(8, 64, 3), nn.ReLU(), nn.Conv2d(64, 300, 1))}, CNN)
    return program, TFJSTarget().convert(program, tmp_path_factory.mktemp("scratch"))


@pytest.mark.parametrize("name", ["float32", "float16", "w8", "w16"])
def test_same_bytes_twice(name: str, small: tuple[Program, tuple[object, ...]], tmp_path: Path) -> None:
    program, _ = small
    target, folders = TFJSTarget(), [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        target.emit(program, target.convert(program, folder), recipe(name), folder)
    files = [{path.name: path.read_bytes() for path in (folder / "net").iterdir()} for folder in folders]
    assert files[0] == files[1]
    assert b"/work" not in files[0]["model.json"] and str(tmp_path).encode() not in files[0]["model.json"]


@pytest.mark.parametrize(
    ("name", "stored", "error"), [("float16", "float16", 2e-3), ("w8", "uint8", 0.02), ("w16", "uint16", 2e-4)]
)
def test_compressed_weights(
    name: str, stored: str, error: float, small: tuple[Program, object], tmp_path: Path
) -> None:
    """Kernels are compressed, biases and shapes are not, and zero stays zero."""
    program, converted = small
    target = TFJSTarget()
    emitted = target.emit(program, converted, recipe(name), tmp_path)
    rows = json.loads((tmp_path / "net/model.json").read_text())["weightsManifest"][0]["weights"]
    kinds = {tuple(row["shape"]): row.get("quantization", {}).get("dtype") for row in rows if row["dtype"] == "float32"}
    # The small kernel keeps 16 bits under w8.
    first = "uint16" if name == "w8" else stored
    assert kinds == {(3, 3, 8, 64): first, (64,): None, (1, 1, 64, 300): stored, (300,): None}
    sizes = target.describe(tmp_path / "net")["weight_bytes"]
    assert sizes["float32"] == 4 * 364 and sizes[stored] >= 64 * 300
    for row in rows:
        coded = row.get("quantization", {})
        if "scale" in coded:
            assert abs(coded["min"] / coded["scale"] - round(coded["min"] / coded["scale"])) < 1e-9
    wanted = program.tensors["y"].numpy()
    for runtime in RUNTIMES:
        session = load_runtime(runtime).open(tmp_path, emitted.entries[0])
        made = run(session, {"x": program.tensors["x"].numpy()})["y"]
        session.close()
        assert 0 < np.abs(made - wanted).mean() <= error * np.abs(wanted).max()


def test_shards_are_at_most_four_megabytes(tmp_path: Path) -> None:
    program = program_of({"y": nn.Linear(1500, 1500)}, (1, 1500))
    target = TFJSTarget()
    target.emit(program, target.convert(program, tmp_path), recipe("float32"), tmp_path)
    shards = target.describe(tmp_path / "net")["shards"]
    sizes = [(tmp_path / "net" / name).stat().st_size for name in shards]
    assert len(sizes) == 3 and max(sizes) == 4 << 20 and sum(sizes) >= 1500 * 1500 * 4


def test_describe_reads_the_file(artifact: Callable[[str, str, str], Path]) -> None:
    facts = TFJSTarget().describe(artifact("portrait", "tfjs", "float16") / "encoder/model.json")
    assert facts["metadata"]["name"] == "portrait" and facts["metadata"]["license"] == "Apache-2.0"
    assert facts["metadata"]["recipe"] == "float16" and facts["metadata"]["authors"]
    (image,) = facts["entries"]["encoder"]["inputs"]
    assert image["name"] == "image" and image["shape"] == [1, 256, 192, 3] and "sRGB" in image["description"]
    assert [row["name"] for row in facts["entries"]["encoder"]["outputs"]] == ["f2", "f4", "f8", "f16", "f32"]
    assert facts["weight_bytes"]["float16"] > 5e6 and "Transpose" not in facts["ops"]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: (folder / "model.json").write_text("{}"), "not a TF.js graph model"),
        (lambda folder: (folder / "model.json").unlink(), "does not exist"),
        (lambda folder: (folder / "group1-shard1of1.bin").unlink(), "group1-shard1of1.bin"),
        (lambda folder: (folder / "group1-shard1of1.bin").write_bytes(b"12"), "hold 2"),
    ],
)
def test_describe_refuses_damage(
    damage: Callable[[Path], object], said: str, small: tuple[Program, object], tmp_path: Path
) -> None:
    program, converted = small
    TFJSTarget().emit(program, converted, recipe("float32"), tmp_path)
    damage(tmp_path / "net")
    with pytest.raises(StageError, match=said):
        TFJSTarget().describe(tmp_path / "net")


@pytest.mark.parametrize(("model", "name"), [("portrait", "float32"), ("portrait", "w8"), ("classifier", "float32")])
def test_usage_runs(
    model: str, name: str, artifact: Callable[[str, str, str], Path], root: Path, tmp_path: Path
) -> None:
    """The module of USAGE.md, as it stands, beside the artifact: it checks itself against the golden tensors."""
    folder = tmp_path / "artifact"
    shutil.copytree(artifact(model, "tfjs", name), folder)
    (tmp_path / "node_modules").symlink_to(root / "node_modules")
    source = (folder / "USAGE.md").read_text().split("```js\n")[1].split("```")[0]
    (folder / "hydra.mjs").write_text(source)
    photo = "m.photoTensor({data: Array(999999).fill(51)}).dataSync()[7].toFixed(3)"
    use = f"import('./hydra.mjs').then((m) => m.photoTensor ? console.log({photo}) : 0)"
    done = subprocess.run(["node", "-e", use], cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    entries = read_artifact(folder).entries
    assert done.stdout.count("mean error") == sum(len(entry.outputs) for entry in entries)
    if model == "portrait":
        assert done.stdout.strip().endswith("0.200")
