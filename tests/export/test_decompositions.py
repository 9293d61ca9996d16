"""ATen ops and arguments that converters refuse or get wrong: every target's file is compared with PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from export.onnx_export import convert as onnx_export
from export.onnx_export.refused_ops import REFUSED_OPS
from export.passes.decompose.scatter import decompositions
from export.passes.decompose.table import DecomposeOps
from export.targets.onnx.pipeline import DYNAMIC_ATEN_PASSES
from hydramobile.errors import StageError
from hydramobile.targets import TARGETS
from support.emit import beyond, emit_run_compare
from support.nets import one_channel_attention, relative_positions, seeded
from support.programs import Cases, ops_program

# Vendors' warnings: coremltools leaves its temporary folders to the garbage collector, and torch.export notices that
# recurrent layers assign their own weights.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore:The tensor attributes:UserWarning"),
]
# The largest error of an output, as a share of its peak where that is above 1.
LIMIT = 1e-4
MAPS, TOKENS, SQUARE = (1, 8, 11, 14), (1, 7, 16), (1, 8, 12, 12)


def demodulated(kernel: Tensor) -> Tensor:
    """StyleGAN2's weight demodulation: the kernel of every output channel has norm 1."""
    return kernel * torch.rsqrt(kernel.square().sum((1, 2, 3), keepdim=True) + 1e-8)


def scale_of(x: Tensor) -> Tensor:
    return 1 + x.square().mean()


SORT: Cases = {
    "kth": lambda x: x.kthvalue(3, 1)[0],
    "median": lambda x: x.median(3)[0],
    "median_of_all": lambda x: x.median().reshape(1),
    "quantile": lambda x: torch.quantile(x, 0.3, dim=3),
    "sorted": lambda x: x.sort(3)[0],
    "descending": lambda x: x.sort(1, descending=True)[0],
    "by_rank": lambda x: torch.take_along_dim(x, x.argsort(1), 1),
    "smallest": lambda x: x.topk(3, 1, largest=False)[0],
    "largest": lambda x: x.topk(3, 3)[0],
    "search": lambda x: torch.searchsorted(torch.tensor([-1.0, 0, 1]), x).float(),
    "buckets": lambda x: torch.bucketize(x, torch.tensor([-1.0, 0, 1]), right=True).float(),
    "arg_max_of_all": lambda x: x.argmax().float().reshape(1),
}
ELEMENTWISE: Cases = {
    "fmax": lambda x: torch.fmax(x, x.flip(3)),
    "fmin": lambda x: torch.fmin(x, x.flip(3)),
    "copysign": lambda x: torch.copysign(x, x.flip(3)),
    "signbit": lambda x: torch.signbit(x).float(),
    "close": lambda x: torch.isclose(x, x.abs()).float(),
    "exclusive": lambda x: torch.logical_xor(x > 0, x.flip(3) > 0).float(),
    "decimals": lambda x: x.round(decimals=1),
    "ldexp": lambda x: torch.ldexp(x, torch.tensor(2)),
    "erfc": torch.erfc,
    "angles_on_the_axes": lambda x: torch.atan2(x.round() + 0.0, x.flip(3).round() + 0.0),
    "asinh": torch.asinh,
    "acosh": lambda x: torch.acosh(x.abs() + 1.1),
    "whole_quotient": lambda x: ((x * 20).int() // 3).float(),
    "rounded_down": lambda x: torch.div(seeded(14), x.abs() + 0.3, rounding_mode="floor"),
    "running_product": lambda x: x.cumprod(3),
    "product": lambda x: x[:, :, :5, :3].prod(2),
    "product_of_all": lambda x: x[0, 0, 0].prod().reshape(1),
    "deviations": lambda x: sum(torch.std_mean(x, 1)),  # type: ignore[dict-item,return-value]  # of two tensors
    "variances": lambda x: sum(torch.var_mean(x, (1, 2, 3), keepdim=True)),  # type: ignore[dict-item,return-value]  # the same
}
INDEX: Cases = {
    "one_hot": lambda x: F.one_hot(x.argmax(1), 8).float(),
    "scattered": lambda x: torch.zeros(1, 8, 11, 14).scatter(1, x.topk(2, 1)[1], x.topk(2, 1)[0]),
    "scattered_number": lambda x: torch.zeros(1, 8, 11, 14).scatter(1, x.argmax(1, keepdim=True), 1.5),
    "scattered_sum": lambda x: x.scatter_add(1, x.argmax(1, keepdim=True), x[:, :1]),
    "rows_added": lambda x: x.index_add(1, torch.tensor([0, 5]), x[:, :2], alpha=2),
    "rows_filled": lambda x: x.index_fill(1, torch.tensor([0, 3]), 2.0),
    "rows_copied": lambda x: x.index_copy(1, torch.tensor([0, 3]), x[:, 5:7]),
    "diagonal": lambda x: x.diagonal(1, 2, 3),
    "eye": lambda x: x[:, :, :11, :11] + torch.eye(11),
    "beside": lambda x: torch.hstack([x, -x]),
    "deep": lambda x: torch.dstack([x, -x]),
    "windows": lambda x: x.unfold(3, 4, 2),
    "strides": lambda x: x.contiguous().as_strided((1, 8, 5, 5), (1232, 154, 28, 2)),
    "folded": lambda x: F.fold(F.unfold(x, 3, padding=1), (11, 14), 3, padding=1),
    "folded_apart": lambda x: F.fold(F.unfold(x, 3, 2, 2, 2), (11, 14), 3, 2, 2, 2),
    "adaptive_1d": lambda x: F.adaptive_max_pool1d(x[:, :, 0], 5),
}
MATMUL: Cases = {
    "distances": lambda x: torch.cdist(x[0, :4], x[0, 4:]),
    "distances_1": lambda x: torch.cdist(x[0, :4], x[0, 4:], p=1),
    "bilinear": lambda x: F.bilinear(x[0, 0], x[0, 1], seeded(5, 14, 14), seeded(5)),
    "summed": lambda x: torch.addbmm(seeded(11, 11), x[0], x[0].transpose(1, 2)),
    "both_transposed": lambda x: x[:, :4, :, 0].transpose(1, 2) @ F.relu(x[:, :5, :4, 0]).transpose(1, 2),
    "square_transposed": lambda x: x[:, :4, :4, 0].transpose(1, 2) @ F.relu(x[:, :4, :4, 1]).transpose(1, 2),
    "through_layouts": lambda x: (
        F.conv2d(x, seeded(4, 8, 1, 1)).flatten(2).transpose(1, 2) @ F.conv1d(x[:, :, :5, 0], seeded(4, 8, 1))
    ),
    "over_one_value": one_channel_attention,
    "number_as_matrix": lambda x: (torch.ones(1, 1) * x.mean()) @ x[0, :1, 0],
    "einsum_dots": lambda x: torch.einsum("...ij,kj->...ik", x, seeded(6, 14)),
    "einsum_three": lambda x: torch.einsum("bchw,cd,we->bdhe", x, seeded(8, 3), seeded(14, 4)),
    "einsum_diagonal": lambda x: torch.einsum("bhqq->bhq", x[:, :, :11, :11]),
    "einsum_turned": lambda x: torch.einsum("bchw,wc->bh", x, seeded(14, 8)),
    "einsum_implied": lambda x: torch.einsum("bchw,cd,dw", x, seeded(8, 3), seeded(3, 14)),
}
DYNAMIC_CONV: Cases = {
    "modulated": lambda x: F.conv2d(x, demodulated(seeded(4, 8, 3, 3) * x.mean((2, 3)).view(1, 8, 1, 1)), padding=1),
    "with_bias": lambda x: F.conv2d(x, seeded(4, 8, 3, 3), x.mean((0, 2, 3))[:4], stride=2, padding=1),
    "depthwise": lambda x: F.conv2d(x, seeded(16, 1, 3, 3) * scale_of(x), padding=2, dilation=2, groups=8),
    "grouped": lambda x: F.conv2d(x, seeded(6, 4, 3, 3) * scale_of(x), x.mean() * seeded(6), groups=2),
    "correlation": lambda x: F.conv2d(x, x[:, :, 2:6, 3:8].reshape(8, 1, 4, 5), groups=8),
    "predicted_blur": lambda x: F.conv2d(
        F.pad(x, (1, 1, 1, 1), "reflect"), F.softmax(x[:, 0, 0, :9], 1).view(1, 1, 3, 3).expand(8, 1, 3, 3), groups=8
    ),
    "of_rows": lambda x: F.conv1d(x[:, :, 0], seeded(4, 8, 3) * scale_of(x), padding=1),
    "scattered": lambda x: F.conv_transpose2d(x, seeded(8, 4, 3, 3) * scale_of(x), x.mean() * seeded(4), 2, 1, 1),
    "scattered_groups": lambda x: F.conv_transpose2d(
        x, seeded(8, 2, 3, 3) * scale_of(x), stride=2, groups=2, dilation=(1, 2)
    ),
}
ARGUMENTS: Cases = {
    "sum_with_factor": lambda x: torch.add(x, x.flip(3), alpha=3),
    "difference_with_factor": lambda x: torch.sub(x, seeded(14), alpha=2),
    "softplus": lambda x: F.softplus(x, 2, 3),
    "mixed_bounds": lambda x: torch.clamp(x, 0, 0.5),
    "tensors_as_bounds": lambda x: torch.clamp(x, seeded(8, 1, 1) - 1, seeded(8, 1, 1) + 0.2),
    "whole_bounds": lambda x: F.hardtanh(x, 0, 6),
    "whole_threshold": lambda x: F.threshold(x, 0, 20),
    "exponents": lambda x: (x.abs() + 0.1).permute(0, 2, 3, 1).pow(seeded(8).abs() + 1).permute(0, 3, 1, 2),
    "squares_of_five_axes": lambda x: (x.reshape(1, 2, 4, 11, 14) ** 2).sum(2),
    "antialiased": lambda x: F.interpolate(x, size=(6, 7), mode="bicubic", antialias=True),
}
UNPOOL: Cases = {
    "ordinary": lambda x: F.max_pool2d(x, 3, 2, 1, return_indices=True)[0],
    "unpooled": lambda x: F.max_unpool2d(
        *F.max_pool2d(F.relu(x), 2, return_indices=True), [2, 2], output_size=x.shape[2:]
    ),
    "unpooled_threes": lambda x: F.max_unpool2d(
        *F.max_pool2d(x, 3, return_indices=True), [3, 3], output_size=x.shape[2:]
    ),
}
EXPAND: Cases = {
    "relative": relative_positions,
    "permuted": lambda x: x[:, :, :8, :8].reshape(8, 1, 8, 8).expand(-1, 8, -1, -1).permute(0, 2, 1, 3) * 1.5,
    "along_channels": lambda x: x.mean(1, keepdim=True).expand_as(x) * 2,
    "truth_values": lambda x: torch.where((x.mean((2, 3), keepdim=True) > 0).expand(1, 8, 11, 14), x, -x),
    "nothing": lambda x: torch.cat([x[:, :0].expand(1, 0, 11, 14), x], 1) * 2,
    "between_convolutions": lambda x: F.conv2d(
        torch.tile(F.conv2d(x, seeded(6, 8, 1, 1)), (2, 1, 3)), seeded(4, 12, 1, 1)
    ),
    "viewed": lambda x: (
        F.conv2d(x, seeded(8, 8, 1, 1)).view(1, 2, 4, 11, 14).permute(0, 2, 1, 3, 4).reshape(1, 8, 11, 14)
    ),
    "pooled": lambda x: F.conv2d(
        torch.cat([x, F.adaptive_avg_pool2d(x, 1).expand(-1, -1, 11, 14)], 1), seeded(4, 16, 1, 1)
    ),
}


def heads(x: Tensor) -> Tensor:
    return x.reshape(1, 7, 2, 8).transpose(1, 2)


def attention(x: Tensor, **more: Any) -> Tensor:
    return F.scaled_dot_product_attention(x, x * 0.5, x + 1, **more)


def masked(x: Tensor) -> Tensor:
    later = torch.triu(torch.ones(7, 7), 1).bool()
    weights = (seeded(48, 16), seeded(48), None, None, False, 0.0, seeded(16, 16), seeded(16))
    t = x.transpose(0, 1)
    output, _ = F.multi_head_attention_forward(t, t, t, 16, 4, *weights, training=False, attn_mask=later)
    return output.transpose(0, 1)


ATTENTION: Cases = {
    "three_axes": lambda x: attention(heads(x)[0], attn_mask=seeded(7, 7)),
    "five_axes": lambda x: attention(heads(x)[None], is_causal=True),
    "shared_keys": lambda x: F.scaled_dot_product_attention(
        x.reshape(1, 7, 4, 4).transpose(1, 2), heads(x)[..., :4], heads(x)[..., 4:], enable_gqa=True
    ),
    "masked": masked,
}


class First(nn.Module):
    """The outputs of a recurrent layer, without its last state."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.layer(x)[0]
        return output


RECURRENT: Cases = {
    "gru": First(nn.GRU(16, 8, batch_first=True)),
    "lstm": First(nn.LSTM(16, 8, 2, batch_first=True, bidirectional=True)),
}
SHARED_OPERANDS: Cases = {
    "transposed_too": lambda x: x @ seeded(12, 12) + x.transpose(2, 3) @ seeded(12, 12) * 2,
    "turned_too": lambda x: torch.cat(
        [x.permute(0, *axes).flatten(1)[:, :50] for axes in ((1, 2, 3), (1, 3, 2), (2, 3, 1), (3, 2, 1))], 1
    ),
}
FAMILIES = {
    "sort": (SORT, MAPS),
    "elementwise": (ELEMENTWISE, MAPS),
    "index": (INDEX, MAPS),
    "matmul": (MATMUL, MAPS),
    "dynamic_conv": (DYNAMIC_CONV, MAPS),
    "arguments": (ARGUMENTS, MAPS),
    "unpool": (UNPOOL, MAPS),
    "expand": (EXPAND, MAPS),
    "attention": (ATTENTION, TOKENS),
    "recurrent": (RECURRENT, TOKENS),
    "shared_operands": (SHARED_OPERANDS, SQUARE),
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("target", TARGETS)
def test_every_target_computes_them(target: str, family: str, tmp_path: Path) -> None:
    cases, shape = FAMILIES[family]
    assert beyond(emit_run_compare(ops_program(cases, shape), target, tmp_path), LIMIT) == {}


@pytest.mark.parametrize("name", ["kth", "fmax", "scattered", "distances"])
def test_without_the_table(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ONNX exporter, from which TF.js starts, fails without the decompositions."""
    without = DecomposeOps("decompose_for_tfjs", *REFUSED_OPS)
    monkeypatch.setattr("export.targets.tfjs.target.ATEN_PASSES", (without,))
    case = next(cases[name] for cases, _ in FAMILIES.values() if name in cases)
    with pytest.raises(StageError, match="net"):
        emit_run_compare(ops_program({"y": case}, MAPS), "tfjs", tmp_path)


def test_a_scatter_of_many_rows_stays() -> None:
    """Decomposed, it would take one `aten.where` per row."""
    x = torch.zeros(40, 3)
    program = torch.export.export(nn.Identity(), (x,))
    scatter = decompositions(program)[torch.ops.aten.scatter.src]
    assert scatter(x, 0, torch.zeros(17, 3, dtype=torch.int64), x) is NotImplemented
    few = scatter(x, 0, torch.tensor([[1, 2, 39]]), torch.ones(1, 3))
    torch.testing.assert_close(few, x.scatter(0, torch.tensor([[1, 2, 39]]), 1.0))


def test_open_sizes_stay_open() -> None:
    """A decomposition for one size would be wrong at another, so none is used for a dynamic one."""
    program = ops_program({"y": lambda x: (x - torch.std_mean(x, (2, 3), keepdim=True)[1]).diagonal(0, 2, 3)}, MAPS)
    model = onnx_export.onnx_program(program, program.spec.entries["net"], DYNAMIC_ATEN_PASSES, dynamic=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    x = seeded(1, 8, 17, 9)
    (found,) = session.run(None, {"x": x.numpy()})
    with torch.no_grad():
        (wanted,) = program.modules["net"](x)
    np.testing.assert_allclose(found, wanted.numpy(), atol=1e-5)
