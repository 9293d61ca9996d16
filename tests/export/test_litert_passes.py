"""The passes and patches of the LiteRT target, each on an op that the converter refuses or gets wrong without it."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from export.targets.litert import convert, flatbuffer, pipeline
from export.targets.litert.patches.constant_lifetime import keep_constants_alive
from hydramobile.errors import StageError
from support.emit import emit, emit_run_compare
from support.nets import one_channel_attention, relative_positions, seeded
from support.programs import WRITES, Cases, module_program, ops_program

SHAPE = (1, 8, 11, 14)
# Errors relative to the largest magnitude of the output.
RIGHT, WRONG = 1e-5, 1e-3


class ExpandedOperand(nn.Module):
    """Between convolutions, an operand expanded along one axis meets one that is broadcast along another."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.rows = rows
        self.first = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.second = nn.Conv2d(8, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.second(self.first(x[:, :, : self.rows]))
        tall, wide = y.mean((2, 3), keepdim=True).expand(-1, -1, y.shape[2], -1), y.mean((1, 2), keepdim=True)
        mixed: Tensor = self.second(torch.minimum(tall, wide).float())
        return mixed


def predicted_blur(x: Tensor) -> Tensor:
    kernel = F.softmax(x[:, 0, 0, :9], 1).view(1, 1, 3, 3).expand(8, 1, 3, 3)
    return F.conv2d(F.pad(x, (1, 1, 1, 1), "reflect"), kernel, groups=8)


def both_outputs(x: Tensor) -> Tensor:
    values, indices = x.topk(3, 3)
    return values + indices.float()


def float64_positions(x: Tensor) -> Tensor:
    """Add a position embedding that is computed in float64, as in detectors."""
    rates = 1.0 / 10_000 ** (torch.arange(4, dtype=torch.float64) / 4)
    angles = torch.outer(torch.arange(x.shape[-1], dtype=torch.float64), rates)
    return x + torch.cat([angles.sin(), angles.cos()], 1).T.float()[:, None]


# Pass to ops that need it.
CASES: dict[str, Cases] = {
    "decompose_unsupported": {
        "hypot": lambda x: torch.hypot(x, x + 1),
        "exp2": torch.exp2,
        "floor_division": lambda x: torch.div(seeded(14), x.abs() + 0.3, rounding_mode="floor"),
        "alpha": lambda x: torch.add(x, x.flip(3), alpha=3),
        "masked_write": WRITES["masked"],
        "adaptive_max_pool": lambda x: F.adaptive_max_pool2d(x, (3, 4)),
        "einsum_in_another_order": lambda x: torch.einsum("bchw,wc->bh", x, seeded(14, 8)),
        "square_of_rank_5": lambda x: (x.reshape(1, 2, 4, 11, 14) ** 2).sum(2),
        "computed_grouped_kernel": lambda x: F.conv_transpose2d(
            x, seeded(8, 2, 3, 3) * (1 + x.square().mean()), stride=2, groups=2, dilation=(1, 2)
        ),
    },
    "sink_expand": {
        "expanded_operand": ExpandedOperand(11),
        "as_many_rows_as_channels": ExpandedOperand(8),
        "along_channels": lambda x: x.mean(1, keepdim=True).expand_as(x) * 2,
        "condition": lambda x: torch.where((x.mean((2, 3), keepdim=True) > 0).expand(1, 8, 11, 14), x, -x),
    },
    "decompose_expand": {
        "relative_positions": relative_positions,
        "permuted": lambda x: x[:, :, :8, :8].reshape(8, 1, 8, 8).expand(-1, 8, -1, -1).permute(0, 2, 1, 3) * 1.5,
        "size_0": lambda x: torch.cat([x[:, :0].expand(1, 0, 11, 14), x], 1) * 2,
        "tiled": lambda x: F.conv2d(torch.tile(F.conv2d(x, seeded(6, 8, 1, 1)), (2, 1, 3)), seeded(4, 12, 1, 1)),
        "pooled": lambda x: F.conv2d(
            torch.cat([x, F.adaptive_avg_pool2d(x, 1).expand(-1, -1, 11, 14)], 1), seeded(4, 16, 1, 1)
        ),
    },
    "replace_outer_product": {"one_channel_attention": one_channel_attention},
    "replace_transposed_matmul": {
        "both_transposed": lambda x: x[:, :4, :, 0].transpose(1, 2) @ F.relu(x[:, :5, :4, 0]).transpose(1, 2),
        "square": lambda x: x[:, :4, :4, 0].transpose(1, 2) @ F.relu(x[:, :4, :4, 1]).transpose(1, 2),
        "of_convolutions": lambda x: (
            F.conv2d(x, seeded(4, 8, 1, 1)).flatten(2).transpose(1, 2) @ F.conv1d(x[:, :, :5, 0], seeded(4, 8, 1))
        ),
    },
    "insert_kernel_reshape": {"predicted_blur": predicted_blur},
    "keep_topk_indices": {"values": lambda x: x.topk(3, 3)[0], "both": both_outputs},
    "fold_float64_constants": {"positions": float64_positions},
    "decompose_upsample_nearest2d": {
        "size": lambda x: F.interpolate(x, size=(25, 31), mode="nearest"),
        "one_axis": lambda x: F.interpolate(x, size=(22, 31), mode="nearest"),
        "factor": lambda x: F.interpolate(x, scale_factor=2.5, mode="nearest"),
        "integer_ratio": lambda x: F.interpolate(x, size=(22, 28), mode="nearest"),
    },
    "replace_resize_with_matmul": {
        "factor": lambda x: F.interpolate(x * 2, scale_factor=1.7, mode="bilinear", align_corners=False),
        "antialias": lambda x: F.interpolate(x, size=(6, 7), mode="bicubic", antialias=True),
    },
    "decompose_conv_transpose2d": {
        "output_padding": nn.ConvTranspose2d(8, 3, 3, 2, 1, output_padding=1),
        "asymmetric": nn.ConvTranspose2d(8, 3, 3, 2, 1),
        "same": nn.ConvTranspose2d(8, 3, 4, 2, 1),
        "valid": nn.ConvTranspose2d(8, 3, 2, 2),
        "output_padding_per_axis": nn.ConvTranspose2d(8, 3, 5, 3, 2, output_padding=(1, 2)),
        "groups": nn.ConvTranspose2d(8, 6, 4, 2, 1, groups=2),
        "depthwise": nn.ConvTranspose2d(8, 8, 3, 2, groups=8, bias=False),
        "dilation": nn.ConvTranspose2d(8, 3, 3, 2, 2, 1, dilation=2),
        "per_axis": nn.ConvTranspose2d(8, 3, (2, 3), (1, 3), (0, 2), (0, 1)),
        "beyond_the_full_output": nn.ConvTranspose2d(8, 3, 5, 3, 1, 2),
    },
    "replace_view": {
        # exp2 has the graph decomposed, which turns the reshape into a view.
        "flattened": lambda x: torch.exp2(x).flatten(1)[:, :50],
        "viewed": lambda x: (
            F.conv2d(x, seeded(8, 8, 1, 1)).view(1, 2, 4, 11, 14).permute(0, 2, 1, 3, 4).reshape(1, 8, 11, 14)
        ),
    },
}
# The fault of the converter or the runtime in each case without its pass: the message of the refusal, or "" for wrong
# values without an error.
FAULTS = (
    ("decompose_unsupported", "hypot", "op 'aten.hypot.default' is not supported"),
    ("decompose_unsupported", "exp2", "op 'aten.exp2.default' is not supported"),
    ("decompose_unsupported", "floor_division", "mhlo.round_nearest_afz"),
    ("decompose_unsupported", "alpha", "unexpected keyword argument 'alpha'"),
    ("decompose_unsupported", "masked_write", "NonConcreteBooleanIndexError"),
    ("decompose_unsupported", "adaptive_max_pool", "op 'aten.adaptive_max_pool2d.default' is not supported"),
    ("decompose_unsupported", "einsum_in_another_order", ""),
    ("decompose_unsupported", "square_of_rank_5", "tfl.pow"),
    ("decompose_unsupported", "computed_grouped_kernel", "mhlo.convolution"),
    ("decompose_expand", "relative_positions", ""),
    ("decompose_expand", "permuted", ""),
    ("decompose_expand", "tiled", r"weight of size \[4, 12, 1, 1\], expected input"),
    ("replace_outer_product", "one_channel_attention", "contracting dimension sizes must match"),
    ("replace_transposed_matmul", "both_transposed", "fully_connected.cc"),
    ("replace_transposed_matmul", "square", ""),
    ("insert_kernel_reshape", "predicted_blur", r"weight of size \[8, 3, 3, 1\], expected input"),
    ("keep_topk_indices", "values", "STABLEHLO_SORT"),
    ("fold_float64_constants", "positions", "tfl.pow"),
    ("decompose_upsample_nearest2d", "size", ""),
    ("replace_resize_with_matmul", "factor", ""),
    ("replace_resize_with_matmul", "antialias", "op 'aten._upsample_bicubic2d_aa.default' is not supported"),
    ("decompose_conv_transpose2d", "output_padding", "mhlo.convolution"),
    ("replace_view", "flattened", "view size is not compatible|Cannot view a tensor"),
)
PIPELINE = ("ATEN_PASSES", "MODULE_PASSES", "LAYOUT_PASSES")


def relative_errors(cases: Cases, folder: Path) -> dict[str, float]:
    """Return the relative error of each case's output."""
    errors = emit_run_compare(ops_program(cases, SHAPE), "litert", folder)
    return {name: error.relative for name, error in errors.items()}


def leave_out(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Remove passes from the pipeline."""
    for tuple_name in PIPELINE:
        passes = vars(pipeline)[tuple_name]
        monkeypatch.setattr(pipeline, tuple_name, tuple(each for each in passes if each.__name__ not in names))


@pytest.mark.parametrize("name", CASES)
def test_ops_are_right_with_the_pass(name: str, tmp_path: Path) -> None:
    errors = relative_errors(CASES[name], tmp_path)
    assert {case: error for case, error in errors.items() if not error <= RIGHT} == {}


@pytest.mark.parametrize(("name", "case", "symptom"), FAULTS, ids=[f"{name}-{case}" for name, case, _ in FAULTS])
def test_op_is_refused_or_wrong_without_the_pass(
    name: str, case: str, symptom: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When this fails, litert-torch has retired the pass: delete it."""
    leave_out(monkeypatch, name)
    cases = {case: CASES[name][case]}
    if symptom:
        with pytest.raises((StageError, RuntimeError), match=symptom):
            relative_errors(cases, tmp_path)
    else:
        assert relative_errors(cases, tmp_path)[case] > WRONG


def test_expanded_operands_are_not_copied_with_sink_expand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = ops_program({"condition": CASES["sink_expand"]["condition"]}, SHAPE)

    def copies(folder: Path) -> int:
        built = emit(program, "litert", folder)
        model = flatbuffer.load(built.folder / built.entry.file, "test")
        ops = flatbuffer.count_ops(model, model.subgraphs[0])
        return sum(ops[name] for name in ("CONCATENATION", "GATHER", "TILE", "BROADCAST_TO"))

    with_pass = copies(tmp_path / "with")
    leave_out(monkeypatch, "sink_expand")
    assert copies(tmp_path / "without") > with_pass


def test_expanded_operands_are_refused_without_both_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leave_out(monkeypatch, "sink_expand", "decompose_expand")
    with pytest.raises((StageError, RuntimeError), match="BROADCAST_TO"):
        relative_errors({"y": ExpandedOperand(11)}, tmp_path)


def test_every_pass_has_a_case_and_a_fault() -> None:
    shared = {"reduce_rank_to_5"}
    names = {each.__name__ for tuple_name in PIPELINE for each in vars(pipeline)[tuple_name]}
    assert names - shared == set(CASES) == {name for name, _, _ in FAULTS} | {"sink_expand"}


@pytest.mark.parametrize(
    "function",
    [lambda x: 1 - x, lambda x: 1 / x, lambda x: seeded(8, 1, 1) - F.relu(x), torch.reciprocal],
    ids=["difference", "quotient", "of_relu", "reciprocal"],
)
def test_operands_are_swapped_without_keep_operand_order(
    function: Callable[[Tensor], Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When this fails, litert-converter has retired the patch: delete it."""
    program = ops_program({"y": function}, SHAPE, 0.1, 2.0)
    assert emit_run_compare(program, "litert", tmp_path / "with")["y"].relative < RIGHT
    monkeypatch.setattr(convert, "keep_operand_order", lambda inputs: contextlib.nullcontext())
    assert emit_run_compare(program, "litert", tmp_path / "without")["y"].max_abs > 0.1


def test_strided_weights_are_exchanged_without_keep_constants_alive(tmp_path: Path) -> None:
    """When this fails, litert-torch has retired the patch: delete it."""
    import litert_torch

    torch.manual_seed(0)
    net = nn.Sequential(*(nn.Conv2d(8, 8, 3, padding=1, bias=False) for _ in range(6)))
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in the stubs
    x = torch.randn(1, 8, 8, 8)
    program = module_program(net, x)
    assert emit_run_compare(program, "litert", tmp_path)["y"].relative < RIGHT
    with torch.no_grad():
        output = litert_torch.convert(net, (x,))(x.numpy())
    assert np.abs(output - program.tensors["y"].numpy()).max() > WRONG


def test_keep_constants_alive_holds_references_while_it_lasts() -> None:
    """Whether an address is used again depends on the allocator, so the reference itself is looked at."""
    module: Any = import_module("litert_torch.backend.inline_consts")
    fingerprint = module._ConstantFingerprint
    with keep_constants_alive():
        value = torch.zeros(1000)
        reference = weakref.ref(value)
        assert isinstance(module._ConstantFingerprint.from_tensor(value), fingerprint)
        del value
        assert reference() is not None
    assert module._ConstantFingerprint is fingerprint
