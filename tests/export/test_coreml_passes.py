"""The passes and patches of the Core ML target, each on an op that coremltools refuses or converts wrongly without it.

Outputs are computed by our evaluator and compared with PyTorch's.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from export.program import Program
from export.targets.coreml import convert, patches, pipeline
from export.targets.coreml.patches import gelu, prune_weights, validate_once
from export.targets.coreml.vendor import load_coremltools
from hydramobile.errors import StageError
from hydramobile.spec import EntrySpec
from support.emit import emit_run_compare
from support.programs import WRITES, Cases, ops_program

# Vendors warn: coremltools leaves its temporary folders to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")
SHAPE = (1, 6, 11, 14)
# Errors relative to the largest magnitude of the output.
RIGHT, WRONG = 1e-5, 5e-5


def spatial_transformer(x: Tensor) -> Tensor:
    theta = torch.tensor([[[0.8, 0.2, 0.1], [-0.2, 0.9, 0.0]]])
    return F.grid_sample(x, F.affine_grid(theta, [1, 6, 8, 9], align_corners=False), align_corners=False)


def grouped_query_attention(x: Tensor) -> Tensor:
    query, key = x[..., :8], x[:, :2, :, 6:]
    return F.scaled_dot_product_attention(query, key, key, enable_gqa=True)


# Pass or patch to ops that need it.
CASES: dict[str, Cases] = {
    "remove_alias": {
        "detached": lambda x: (x * 2).detach() + 1,
        "detached_output": lambda x: (x * 3).detach(),
    },
    "copy_passthrough_outputs": {"input": lambda x: x, "cloned_input": lambda x: x.clone()},
    "replace_bitwise_bool": {
        "and": lambda x: ((x > 0) & (x < 1)).float(),
        "or": lambda x: ((x > 1) | (x < 0)).float(),
        "xor": lambda x: ((x > 0) ^ (x < 1)).float(),
    },
    "decompose_arguments": {
        "alpha": lambda x: torch.add(x, x.abs(), alpha=2),
        "softplus_threshold": lambda x: F.softplus(x, 2, 1),
        "mask_to_float": lambda x: torch.zeros_like(x > 0, dtype=torch.float32).masked_fill(x > 0, 2.0) + x,
        "integer_bounds": lambda x: torch.clamp(x, 0, 1),
        "integer_threshold": lambda x: F.threshold(x, 0, 20),
        "tensor_bounds": lambda x: torch.clamp(x, torch.linspace(-1, 0, 14), torch.linspace(0.1, 1, 14)),
    },
    "decompose_log_softmax": {"far_logits": lambda x: F.log_softmax(x * 100, 1)},
    "decompose_triangle": {
        "infinite_mask": lambda x: (x[:, :, :, :11] + torch.full((11, 11), -torch.inf).triu(1)).softmax(-1),
        "lower": lambda x: x.tril(-1),
    },
    "decompose_scalar_where": {"selected_sum": lambda x: torch.where(x.sum() > 0, x.sum(), x.mean()) * x},
    "decompose_rare_ops": {"grouped_query_attention": grouped_query_attention},
    "decompose_scatter": {**WRITES, "nan_to_num": lambda x: (x * 2).nan_to_num()},
    "decompose_pad": {
        "circular": lambda x: F.pad(x, (1, 2, 3, 0), mode="circular"),
        "negative": lambda x: F.pad(x, (-1, 2, -3, -2), value=0.5),
    },
    "decompose_rms_norm": {"rms_norm": lambda x: F.rms_norm(x, (14,), torch.linspace(0.5, 1.5, 14))},
    "decompose_pool": {
        "dilated": lambda x: F.max_pool2d(x, 2, 2, dilation=2),
        "dilated_ceil": lambda x: F.max_pool2d(x, 3, 2, 1, dilation=(1, 2), ceil_mode=True),
        "divisor": lambda x: F.avg_pool2d(x, 3, 2, 1, divisor_override=5),
        "divisor_ceil": lambda x: F.avg_pool2d(x, 4, 3, 1, ceil_mode=True, divisor_override=2),
    },
    "decompose_conv_transpose": {
        "beyond": nn.ConvTranspose2d(6, 4, 3, 3, 0, 1),
        "beyond_in_groups": nn.ConvTranspose2d(6, 4, (3, 2), (2, 3), (1, 0), (1, 2), groups=2),
    },
    "insert_default_arguments": {
        "padded_pool": lambda x: F.max_pool2d(F.pad(x, (1, 1, 1, 1), "circular"), 2),
        "similarity": lambda x: F.cosine_similarity(x, x.flip(1)),
    },
    "decompose_affine_grid": {"spatial_transformer": spatial_transformer},
    "promote_where_scalars": {
        "number_first": lambda x: torch.where(x > 0.3, 0, x),
        "number_last": lambda x: torch.where(x > 0.3, x, 0),
        "two_numbers": lambda x: torch.where(x > 0.3, 1.0, 0.0) + x,
        "hardshrink": lambda x: F.hardshrink(x, 0.1),
    },
    "decompose_vector_matmul": {
        "outer": lambda x: x + torch.outer(torch.arange(11), torch.linspace(-1, 1, 14)),
        "vector_last": lambda x: x @ torch.linspace(-1, 1, 14),
        "vector_first": lambda x: torch.linspace(-1, 1, 11) @ x,
    },
    "decompose_unsupported": {
        "celu": lambda x: F.celu(x, 1.3),
        "asinh": torch.asinh,
        "prod": lambda x: x.prod(1),
        "log_sigmoid": F.logsigmoid,
        "trunc": lambda x: torch.trunc(x * 3),
        "fmod": lambda x: torch.fmod(x, 0.7),
        "hypot": lambda x: torch.hypot(x, x + 1),
        "lerp": lambda x: torch.lerp(x, x * x, 0.3),
        "addcmul": lambda x: torch.addcmul(x, x, x, value=0.5),
        "logaddexp": lambda x: torch.logaddexp(x, x * 2),
        "logit": lambda x: torch.logit(x.sigmoid(), eps=1e-3),
        "isfinite": lambda x: torch.isfinite(x).float() + x,
        "float_power": lambda x: torch.float_power(x, 2).float(),
    },
    "decompose_resize": {
        "bilinear": lambda x: F.interpolate(x, scale_factor=1.7, mode="bilinear"),
        "nearest": lambda x: F.interpolate(x, scale_factor=1.6),
        "nearest_exact": lambda x: F.interpolate(x, size=(17, 9), mode="nearest-exact"),
        "bicubic": lambda x: F.interpolate(x, size=(16, 20), mode="bicubic"),
        "bicubic_corners": lambda x: F.interpolate(x, scale_factor=2, mode="bicubic", align_corners=True),
        "antialias": lambda x: F.interpolate(x, size=(5, 6), mode="bilinear", antialias=True),
    },
    "gelu_mode": {"gelu_tanh": lambda x: F.gelu(x, approximate="tanh")},
    "exact_reciprocal": {"reciprocal": lambda x: 1.0 / (x.abs() + 0.3)},
    "transposes_around_binary_ops": {
        "channel_exponents": lambda x: (
            (x.abs() + 0.1).permute(0, 2, 3, 1).pow(torch.linspace(0.5, 2, 6)).permute(0, 3, 1, 2)
        )
    },
}
# The fault of coremltools in each case without its pass or patch: the message of the refusal, or "" for silently wrong
# values.
FAULTS = (
    ("copy_passthrough_outputs", "input", "input name, 'x', is different from its corresponding var's name"),
    ("decompose_arguments", "alpha", ""),
    ("decompose_arguments", "softplus_threshold", ""),
    ("decompose_arguments", "integer_threshold", "must have the same data type"),
    ("decompose_arguments", "tensor_bounds", "truth value of an array"),
    ("decompose_rare_ops", "grouped_query_attention", "Incompatible dim"),
    ("decompose_log_softmax", "far_logits", ""),
    ("decompose_triangle", "infinite_mask", "invalid value encountered"),
    ("decompose_scalar_where", "selected_sum", "got 0 values"),
    ("decompose_scatter", "masked", "size"),
    ("decompose_pad", "circular", "Pad mode should be one of"),
    ("decompose_pad", "negative", "pad must be non-negative integer"),
    ("decompose_rms_norm", "rms_norm", r"got 3 input\(s\), expected \[4\]"),
    ("decompose_pool", "dilated", "@max_pool does not support dilation > 1"),
    ("decompose_pool", "divisor", "divisor_override is not supported for avg_pool2d"),
    ("decompose_conv_transpose", "beyond", "'NoneType' object is not iterable"),
    ("insert_default_arguments", "padded_pool", r"got 2 input\(s\), expected minimum 3 inputs"),
    ("insert_default_arguments", "similarity", r"got 2 input\(s\), expected \[4\]"),
    ("decompose_affine_grid", "spatial_transformer", "Torch var 0 not found in context"),
    ("promote_where_scalars", "number_first", "must have the same data type"),
    ("decompose_vector_matmul", "vector_last", "list index out of range"),
    ("decompose_vector_matmul", "outer", "must have the same data type"),
    ("decompose_unsupported", "celu", "Unsupported fx node celu"),
    ("decompose_unsupported", "asinh", "no attribute 'asinh'"),
    ("decompose_resize", "bilinear", "with float output size is not supported"),
    ("decompose_resize", "nearest", ""),
    ("gelu_mode", "gelu_tanh", ""),
    ("exact_reciprocal", "reciprocal", ""),
)


def errors_of(cases: Cases, folder: Path) -> dict[str, float]:
    """Return the relative error of each case's output."""
    errors = emit_run_compare(ops_program(cases, SHAPE), "coreml", folder)
    return {name: error.relative for name, error in errors.items()}


def no_tracing(program: Program, entry: EntrySpec) -> None:
    raise RuntimeError("jit.trace, the fallback, has other faults")


@pytest.fixture(scope="module")
def errors(tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    """Return the error of every case with all passes and patches, from one conversion."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(convert, "trace", no_tracing)
        cases = {name: case for group in CASES.values() for name, case in group.items()}
        return errors_of(cases, tmp_path_factory.mktemp("passes"))


@pytest.mark.parametrize("name", CASES)
def test_ops_are_right_with_the_pass(name: str, errors: dict[str, float]) -> None:
    wrong = {case: errors[case] for case in CASES[name] if not errors[case] <= RIGHT}
    assert not wrong


@pytest.mark.parametrize(("name", "case", "symptom"), FAULTS, ids=[f"{name}-{case}" for name, case, _ in FAULTS])
def test_op_is_refused_or_wrong_without_the_pass(
    name: str, case: str, symptom: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When this fails, coremltools has retired the pass: delete it."""
    monkeypatch.setattr(convert, "trace", no_tracing)
    monkeypatch.setattr(pipeline, "ATEN_PASSES", without(pipeline.ATEN_PASSES, name))
    monkeypatch.setattr(patches, "CONVERTER_PATCHES", without(patches.CONVERTER_PATCHES, name))
    cases = {case: CASES[name][case]}
    if symptom:
        with pytest.raises(StageError, match=symptom):
            errors_of(cases, tmp_path)
    else:
        assert errors_of(cases, tmp_path)[case] > WRONG


def without(steps: tuple[Any, ...], name: str) -> tuple[Any, ...]:
    """Return `steps` without those called `name`."""
    return tuple(step for step in steps if step.__name__ != name)


def test_every_pass_and_patch_has_a_case() -> None:
    # `insert_scalar_axis` is tested on a model with an input of shape [] (test_border.py).
    shared = {"reduce_rank_to_5", "decompose_to_core_aten", "insert_scalar_axis"}
    names = {each.__name__ for each in pipeline.ATEN_PASSES} | {each.__name__ for each in patches.CONVERTER_PATCHES}
    assert names - shared == set(CASES) >= {name for name, _, _ in FAULTS}


def torch_ops() -> dict[str, Callable[..., Any]]:
    """Return coremltools' conversions by the name of the torch op: the registry itself, not a copy."""
    load_coremltools()
    registry = import_module("coremltools.converters.mil.frontend.torch.torch_op_registry")
    mapping: dict[str, Callable[..., Any]] = registry._TORCH_OPS_REGISTRY.name_to_func_mapping
    return mapping


@pytest.mark.parametrize("case", [lambda x: F.gelu(x, approximate="tanh"), torch.special.airy_ai])
def test_a_conversion_leaves_coremltools_as_it_was(
    case: Callable[[Tensor], Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it succeeds or fails."""
    monkeypatch.setattr(convert, "trace", no_tracing)
    optimization = import_module("coremltools.converters.mil.mil.passes.defs.optimize_repeat_ops")
    conversions, unary = dict(torch_ops()), optimization._TransposeOptimization._UNARY_LIKE_OP_TYPES
    try:
        errors_of({"y": case}, tmp_path)
    except StageError as error:
        assert "airy_ai" in str(error)
    assert torch_ops() == conversions
    assert optimization._TransposeOptimization._UNARY_LIKE_OP_TYPES is unary


def test_a_patched_conversion_leaves_aliases_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    original = torch_ops()["gelu"]
    monkeypatch.setitem(torch_ops(), "gelu_alias", original)
    with gelu.gelu_mode():
        assert torch_ops()["gelu"] is not original
        assert torch_ops()["gelu_alias"] is original
    assert torch_ops()["gelu"] is original


def test_pruning_of_a_tensor_with_more_elements_than_float16_counts() -> None:
    """Without the patch coremltools prunes nothing."""
    load_coremltools()
    pruning = import_module("coremltools.optimize.coreml._quantization_passes").prune_weights
    original = vars(pruning)["compress_by_magnitude"]
    weights = np.random.default_rng(1).normal(size=(256, 257)).astype(np.float16)
    assert weights.size > float(np.finfo(np.float16).max)
    with np.errstate(all="ignore"):
        assert len(pruning.compress_by_magnitude(weights, 0.5).nonzero_data) == np.count_nonzero(weights)
    with prune_weights.magnitudes_in_float32():
        pruned = pruning.compress_by_magnitude(weights, 0.5)
    assert vars(pruning)["compress_by_magnitude"] is original
    assert pruned.nonzero_data.dtype == np.float16 and pruned.shape == weights.shape
    largest = np.sort(np.abs(weights), axis=None)[-len(pruned.nonzero_data) :]
    assert abs(len(largest) / weights.size - 0.5) < 1e-3
    np.testing.assert_array_equal(np.sort(np.abs(pruned.nonzero_data)), largest)


def test_a_program_is_validated_once_per_pipeline(monkeypatch: pytest.MonkeyPatch) -> None:
    """It used to be validated after each pass. An invalid program is still refused, before and after the passes."""
    load_coremltools()
    ct: Any = import_module("coremltools.converters.mil")
    passes: Any = import_module("coremltools.converters.mil.mil.passes.pass_pipeline")
    program_type = import_module("coremltools.converters.mil.mil.program").Program
    validate, apply = program_type.validate, vars(passes.PassPipelineManager)["apply_pipeline"]
    calls: list[object] = []

    def counting(*given: Any, **named: Any) -> None:
        calls.append(given)
        validate(*given, **named)

    def body(x: Any) -> Any:
        return ct.Builder.relu(x=ct.Builder.add(x=x, y=1.0))

    monkeypatch.setattr(program_type, "validate", counting)
    program = ct.Builder.program(input_specs=[ct.Builder.TensorSpec(shape=(2, 3))])(body)
    pipeline = passes.PassPipeline(["common::const_elimination", "common::dead_code_elimination"], "two")
    with validate_once.validate_once():
        passes.PassPipelineManager.apply_pipeline(program, pipeline)
        assert len(calls) == 2
        add = program.functions["main"].find_ops(op_type="add")[0]
        add.outputs[0].child_ops.clear()
        with pytest.raises(Exception, match="should be consumed by op"):
            passes.PassPipelineManager.apply_pipeline(program, pipeline)
    assert vars(passes.PassPipelineManager)["apply_pipeline"] is apply
