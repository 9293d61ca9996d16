"""MIL ops that no torch function converts to, built with coremltools' builder.

Each is saved, read back, evaluated, and compared with a formula in torch. test_mil_ops.py has the other ops,
test_coreml_mil_weights.py the storage formats of weights.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.runtimes.coreml_mil.ops import CONSTANT_OPS, OPS

Evaluated = Callable[..., tuple[set[str], np.ndarray]]
IMAGE = (1, 6, 9, 7)

# Vendors warn: coremltools leaves its temporary folders to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@dataclass(frozen=True)
class Built:
    """`build(mb, *inputs)` builds the op with coremltools' builder, `expected(*tensors)` is the formula in torch.

    `integers` are the indices of int32 inputs.
    """

    name: str
    build: Callable[..., Any]
    expected: Callable[..., Tensor | tuple[Tensor, ...]]
    ops: str
    shapes: tuple[tuple[int, ...], ...] = (IMAGE,)
    ios: int = 18
    low: float = -2.0
    high: float = 2.0
    integers: frozenset[int] = field(default_factory=frozenset)


def interpolated(x: Tensor, grid: Tensor) -> Tensor:
    """Interpolate linearly along the last axis at the positions of `grid`."""
    low = grid.floor().long().clamp(max=x.shape[-1] - 1)
    high = (low + 1).clamp(max=x.shape[-1] - 1)
    return x[..., low] + (x[..., high] - x[..., low]) * (grid - low)


# The sampling grids of a resize from 7 to 5 columns, from MIL's documentation.
GRIDS = {
    "STRICT_ALIGN_CORNERS": torch.arange(5) * 6 / 4,
    "ALIGN_CORNERS": torch.arange(5) * 6 / 4,
    "DEFAULT": torch.arange(5) * 7 / 5,
    "OFFSET_CORNERS": torch.arange(5) * 6 / 5 + 0.6,
    "UNALIGN_CORNERS": (torch.arange(5) + 0.5) * 7 / 5 - 0.5,
}

BUILT = [
    *(
        Built(
            f"resize_bilinear_{mode.lower()}",
            lambda mb, x, mode=mode: mb.resize_bilinear(
                x=x, target_size_height=9, target_size_width=5, sampling_mode=mode
            ),
            lambda x, mode=mode: interpolated(x, GRIDS[mode]),
            "resize_bilinear",
        )
        for mode in GRIDS
    ),
    Built(
        "resize_linear",
        lambda mb, x: mb.resize(x=x, shape=[0, 5], resized_dims=np.uint32(2), sampling_mode="UNALIGN_CORNERS"),
        lambda x: interpolated(x, GRIDS["UNALIGN_CORNERS"]),
        "resize",
    ),
    Built(
        "resize_nearest_neighbor",
        lambda mb, x: mb.resize_nearest_neighbor(x=x, target_size_height=18, target_size_width=14),
        lambda x: F.interpolate(x, scale_factor=2),
        "resize_nearest_neighbor",
    ),
    Built(
        "clamped_relu",
        lambda mb, x: mb.clamped_relu(x=x, alpha=0.1, beta=1.0),
        lambda x: torch.where(x >= 0, x, x * 0.1).clamp(max=1.0),
        "clamped_relu",
    ),
    Built(
        "linear_activation",
        lambda mb, x: mb.linear_activation(x=x, alpha=2.0, beta=0.5),
        lambda x: 2 * x + 0.5,
        "linear_activation",
    ),
    Built(
        "scaled_tanh",
        lambda mb, x: mb.scaled_tanh(x=x, alpha=2.0, beta=0.5),
        lambda x: 2 * torch.tanh(x / 2),
        "scaled_tanh",
    ),
    Built(
        "thresholded_relu",
        lambda mb, x: mb.thresholded_relu(x=x, alpha=0.5),
        lambda x: torch.where(x >= 0.5, x, 0.0),
        "thresholded_relu",
    ),
    Built(
        "gelu_sigmoid",
        lambda mb, x: mb.gelu(x=x, mode="SIGMOID_APPROXIMATION"),
        lambda x: x * torch.sigmoid(1.702 * x),
        "gelu",
    ),
    Built(
        "gelu_tanh",
        lambda mb, x: mb.gelu(x=x, mode="TANH_APPROXIMATION"),
        lambda x: F.gelu(x, approximate="tanh"),
        "gelu",
    ),
    Built("square", lambda mb, x: mb.square(x=x), torch.square, "square"),
    Built("identity", lambda mb, x: mb.identity(x=x), lambda x: x, "identity"),
    Built(
        "l2_norm",
        lambda mb, x: mb.l2_norm(x=x, epsilon=1e-6),
        lambda x: x / torch.sqrt(x.square().sum((1, 2, 3), keepdim=True) + 1e-6),
        "l2_norm",
    ),
    Built(
        "l2_pool",
        lambda mb, x: mb.l2_pool(x=x, kernel_sizes=[2, 3], strides=[2, 2], pad_type="valid"),
        lambda x: F.avg_pool2d(x * x, (2, 3), 2).mul(6).sqrt(),
        "l2_pool",
    ),
    Built(
        "same_pool",
        lambda mb, x: mb.max_pool(x=x, kernel_sizes=[2, 2], strides=[2, 2], pad_type="same"),
        lambda x: F.max_pool2d(F.pad(x, (0, 1, 0, 1), value=-9), 2),
        "max_pool",
    ),
    Built(
        "same_lower_pool",
        lambda mb, x: mb.max_pool(x=x, kernel_sizes=[2, 2], strides=[2, 2], pad_type="same_lower"),
        lambda x: F.max_pool2d(F.pad(x, (1, 0, 1, 0), value=-9), 2),
        "max_pool",
    ),
    Built(
        "reduce_log_sum",
        lambda mb, x: mb.reduce_log_sum(x=x, axes=[1]),
        lambda x: torch.log(x.sum(1)),
        "reduce_log_sum",
        low=0.1,
    ),
    Built(
        "reduce_sum_square",
        lambda mb, x: mb.reduce_sum_square(x=x, axes=[1], keep_dims=True),
        lambda x: x.square().sum(1, keepdim=True),
        "reduce_sum_square",
    ),
    Built(
        "slice_by_size",
        lambda mb, x: mb.slice_by_size(x=x, begin=[0, 1, 2, 3], size=[1, 3, -1, 2]),
        lambda x: x[:, 1:4, 2:, 3:5],
        "slice_by_size",
    ),
    Built(
        "slice_update",
        lambda mb, x, y: mb.slice_update(x=x, update=y, begin=[0, 1, 0, 0], end=[1, 3, 9, 7]),
        lambda x, y: torch.cat([x[:, :1], y, x[:, 3:]], 1),
        "slice_update",
        (IMAGE, (1, 2, 9, 7)),
    ),
    Built(
        "crop", lambda mb, x: mb.crop(x=x, crop_height=[1, 2], crop_width=[3, 1]), lambda x: x[..., 1:7, 3:6], "crop"
    ),
    Built("flatten2d", lambda mb, x: mb.flatten2d(x=x, axis=2), lambda x: x.reshape(6, 63), "flatten2d"),
    Built(
        "depth_to_space",
        lambda mb, x: mb.depth_to_space(x=x, block_size=2),
        lambda x: F.pixel_shuffle(x.reshape(1, 4, 2, 3, 5).transpose(1, 2).reshape(1, 8, 3, 5), 2),
        "depth_to_space",
        ((1, 8, 3, 5),),
    ),
    Built(
        "space_to_depth",
        lambda mb, x: mb.space_to_depth(x=x, block_size=2),
        lambda x: F.pixel_unshuffle(x, 2).reshape(1, 3, 4, 3, 2).transpose(1, 2).reshape(1, 12, 3, 2),
        "space_to_depth",
        ((1, 3, 6, 4),),
    ),
    Built(
        "interleave",
        lambda mb, x, y: mb.concat(values=(x, y), axis=1, interleave=True),
        lambda x, y: torch.stack([x, y], 2).reshape(1, 12, 9, 7),
        "concat",
        (IMAGE, IMAGE),
    ),
    Built(
        "attention_mask",
        lambda mb, q, k, v, m: mb.scaled_dot_product_attention(query=q, key=k, value=v, attn_mask=m),
        lambda q, k, v, m: F.scaled_dot_product_attention(q, k, v, attn_mask=m),
        "scaled_dot_product_attention",
        ((2, 3, 5, 8), (2, 3, 4, 8), (2, 3, 4, 8), (2, 3, 5, 4)),
    ),
    Built(
        "gather_batch",
        lambda mb, x, i: mb.gather(x=x, indices=i, axis=1, batch_dims=1),
        lambda x, i: torch.stack([a[b.long()] for a, b in zip(x, i, strict=True)]),
        "gather",
        ((3, 5, 2), (3, 4)),
        low=0,
        high=4.9,
        integers=frozenset({1}),
    ),
    Built(
        "gather_nd",
        lambda mb, x, i: mb.gather_nd(x=x, indices=i),
        lambda x, i: x[i[:, 0].long(), i[:, 1].long()],
        "gather_nd",
        ((5, 6, 2), (4, 2)),
        low=0,
        high=4.9,
        integers=frozenset({1}),
    ),
    Built(
        "scatter_nd",
        lambda mb, x, i, u: mb.scatter_nd(data=x, indices=i, updates=u, mode="add"),
        lambda x, i, u: x.index_put((i[:, 0].long(), i[:, 1].long()), u, accumulate=True),
        "scatter_nd",
        ((5, 6, 2), (4, 2), (4, 2)),
        low=0,
        high=4.9,
        integers=frozenset({1}),
    ),
    Built(
        "scatter",
        lambda mb, x, i, u: mb.scatter(data=x, indices=i, updates=u, axis=1, mode="add"),
        lambda x, i, u: x.index_add(1, i, u),
        "scatter",
        ((2, 6, 3), (4,), (2, 4, 3)),
        15,
        low=0,
        high=4.9,
        integers=frozenset({1}),
    ),
    Built(
        "scatter_along_axis",
        lambda mb, x, i, u: mb.scatter_along_axis(data=x, indices=i, updates=u, axis=-1, mode="add"),
        lambda x, i, u: x.scatter_add(2, i.long(), u),
        "scatter_along_axis",
        ((2, 6, 5), (2, 6, 5), (2, 6, 5)),
        low=0,
        high=4.9,
        integers=frozenset({1}),
    ),
    Built(
        "fill_like", lambda mb, x: mb.add(x=mb.fill_like(ref_tensor=x, value=2.0), y=x), lambda x: x + 2, "fill_like"
    ),
    Built(
        "range_1d",
        lambda mb, x: mb.range_1d(start=0.0, end=mb.squeeze(x=x), step=1.0),
        lambda x: torch.arange(5.0),
        "range_1d",
        ((1,),),
        low=4.5,
        high=5.0,
    ),
    Built(
        "einsum",
        lambda mb, x, y: mb.einsum(values=(x, y), equation="nchw,nwhu->nchu"),
        lambda x, y: torch.einsum("nchw,nwhu->nchu", x, y),
        "einsum",
        ((2, 3, 4, 5), (2, 5, 4, 6)),
    ),
    Built(
        "local_response_norm",
        lambda mb, x: mb.local_response_norm(x=x, size=3, alpha=0.1, beta=0.75, k=1.0),
        lambda x: F.local_response_norm(x, 3, alpha=0.1),
        "local_response_norm",
    ),
    Built("softsign", lambda mb, x: mb.softsign(x=x), F.softsign, "softsign"),
    Built("mod", lambda mb, x, y: mb.mod(x=x, y=y), torch.remainder, "mod", (IMAGE, IMAGE), low=0.5, high=9),
    Built(
        "reduce_l1_norm",
        lambda mb, x: mb.reduce_l1_norm(x=x, axes=[1, 3]),
        lambda x: x.abs().sum((1, 3)),
        "reduce_l1_norm",
    ),
    Built(
        "reduce_prod",
        lambda mb, x: mb.reduce_prod(x=x, axes=[-1], keep_dims=True),
        lambda x: x.prod(-1, keepdim=True),
        "reduce_prod",
    ),
    Built("inverse", lambda mb, x: mb.inverse(x=x, epsilon=1e-3), lambda x: 1 / (x + 1e-3), "inverse", low=0.5),
    Built(
        "fill", lambda mb, x: mb.fill(shape=mb.shape(x=x), value=2.0), lambda x: torch.full_like(x, 2.0), "fill shape"
    ),
    Built("erf_far", lambda mb, x: mb.erf(x=x), torch.erf, "erf", low=-9, high=9),
    Built(
        "quantize",
        lambda mb, x: mb.dequantize(
            input=mb.quantize(input=x, scale=np.float32(0.05), zero_point=np.int8(3), output_dtype="int8"),
            scale=np.float32(0.05),
            zero_point=np.int8(3),
        ),
        lambda x: torch.fake_quantize_per_tensor_affine(x, 0.05, 3, -128, 127),
        "quantize dequantize",
    ),
    Built(
        "quantize_channels",
        lambda mb, x: mb.dequantize(
            input=mb.quantize(input=x, scale=np.linspace(0.01, 0.06, 6, dtype=np.float32), axis=1, output_dtype="int8"),
            scale=np.linspace(0.01, 0.06, 6, dtype=np.float32),
            axis=1,
        ),
        lambda x: torch.fake_quantize_per_channel_affine(
            x, torch.linspace(0.01, 0.06, 6), torch.zeros(6, dtype=torch.int32), 1, -128, 127
        ),
        "quantize dequantize",
    ),
]


@pytest.mark.parametrize("case", BUILT, ids=lambda case: case.name)
def test_built_op(case: Built, evaluated: Evaluated) -> None:
    generator = torch.Generator().manual_seed(3)
    tensors = [torch.rand(shape, generator=generator) * (case.high - case.low) + case.low for shape in case.shapes]
    tensors = [value.int() if index in case.integers else value for index, value in enumerate(tensors)]
    ops, output = evaluated(case.build, [tensor.numpy() for tensor in tensors], case.ios)
    assert set(case.ops.split()) <= ops
    formula = case.expected(*tensors)
    assert isinstance(formula, Tensor)
    expected = formula.numpy()
    assert output.shape == expected.shape
    assert np.abs(output - expected).max() <= 1e-5 * max(1.0, float(np.abs(expected).max()))


def test_every_op_has_a_case(root: Path) -> None:
    names = ("test_mil_ops.py", "test_coreml_mil_ops.py", "test_coreml_mil_weights.py")
    text = "".join((root / "tests/benchmarks" / name).read_text() for name in names)
    named = set(re.findall(r'"([a-z_0-9 ]+)"', text))
    covered = {op for row in named for op in row.split()} | {"const"}
    assert {*OPS, *CONSTANT_OPS} - covered == set()
