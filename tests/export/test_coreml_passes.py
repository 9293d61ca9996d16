"""What coremltools refuses or gets wrong on other people's nets, put right: each rewrite against PyTorch, in the
evaluator; and that without the rewrites the same net is refused or wrong."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from export.program import Program
from export.targets.coreml import convert, pipeline
from export.targets.coreml.patches import prune_weights
from hydramobile.errors import StageError
from hydramobile.spec import EntrySpec
from support.emit import emit_run_compare
from support.programs import WRITES, Cases, ops_program

# Vendors warn: coremltools leaves its temporary folders to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")
SHAPE = (1, 6, 11, 14)


def turned(x: Tensor) -> Tensor:
    theta = torch.tensor([[[0.8, 0.2, 0.1], [-0.2, 0.9, 0.0]]])
    return F.grid_sample(x, F.affine_grid(theta, [1, 6, 8, 9], align_corners=False), align_corners=False)


# The fix that each needs is the one whose file is named; the first case of each is tried without it too.
FIXED: dict[str, Cases] = {
    "decompose_unsupported": {
        "celu": lambda x: F.celu(x, 1.3),
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
    "decompose_scatter": {**WRITES, "numbers": lambda x: (x * 2).nan_to_num()},
    "promote_where_scalars": {
        "number_first": lambda x: torch.where(x > 0.3, 0, x),
        "number_last": lambda x: torch.where(x > 0.3, x, 0),
        "numbers_alone": lambda x: torch.where(x > 0.3, 1.0, 0.0) + x,
        "hardshrink": lambda x: F.hardshrink(x, 0.1),
    },
    "decompose_pad": {
        "circular": lambda x: F.pad(x, (1, 2, 3, 0), mode="circular"),
        "negative": lambda x: F.pad(x, (-1, 2, -3, -2), value=0.5),
    },
    "decompose_vector_matmul": {
        "outer": lambda x: x + torch.outer(torch.arange(11), torch.linspace(-1, 1, 14)),
        "vector_last": lambda x: x @ torch.linspace(-1, 1, 14),
        "vector_first": lambda x: torch.linspace(-1, 1, 11) @ x,
    },
    "decompose_rms_norm": {"rms": lambda x: F.rms_norm(x, (14,), torch.linspace(0.5, 1.5, 14))},
    "decompose_pool": {
        "dilated": lambda x: F.max_pool2d(x, 2, 2, dilation=2),
        "dilated_ceil": lambda x: F.max_pool2d(x, 3, 2, 1, dilation=(1, 2), ceil_mode=True),
        "divided": lambda x: F.avg_pool2d(x, 3, 2, 1, divisor_override=5),
        "divided_ceil": lambda x: F.avg_pool2d(x, 4, 3, 1, ceil_mode=True, divisor_override=2),
    },
    "decompose_affine_grid": {"turned": turned},
    "decompose_resize": {
        "bilinear": lambda x: F.interpolate(x, scale_factor=1.7, mode="bilinear"),
        "nearest": lambda x: F.interpolate(x, scale_factor=1.6),
        "nearest_exact": lambda x: F.interpolate(x, size=(17, 9), mode="nearest-exact"),
        "bicubic": lambda x: F.interpolate(x, size=(16, 20), mode="bicubic"),
        "bicubic_corners": lambda x: F.interpolate(x, scale_factor=2, mode="bicubic", align_corners=True),
        "antialias": lambda x: F.interpolate(x, size=(5, 6), mode="bilinear", antialias=True),
    },
}


def errors(cases: Cases, folder: Path) -> dict[str, float]:
    """The largest error of each output, over the largest value."""
    measured = emit_run_compare(ops_program(cases, SHAPE), "coreml", folder)
    return {name: error.relative for name, error in measured.items()}


def not_traced(program: Program, entry: EntrySpec) -> None:
    raise RuntimeError("tracing is another way, with other faults")


def test_every_rewrite_is_right(tmp_path: Path) -> None:
    found = errors({name: case for cases in FIXED.values() for name, case in cases.items()}, tmp_path)
    assert {name: error for name, error in found.items() if error > 1e-5} == {}


@pytest.mark.parametrize("fix", FIXED)
def test_without_the_rewrite(fix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When this fails, coremltools has retired a fix: delete the fix."""
    # Tracing, the other way, takes some of these, with other faults.
    monkeypatch.setattr(convert, "trace", not_traced)
    kept = tuple(each for each in pipeline.ATEN_PASSES if each.__name__ != fix)
    assert len(kept) < len(pipeline.ATEN_PASSES)
    monkeypatch.setattr(pipeline, "ATEN_PASSES", kept)
    name, case = next(iter(FIXED[fix].items()))
    try:
        error = errors({name: case}, tmp_path)[name]
    except StageError:
        return
    assert error > 1e-4, f"coremltools takes {name} by itself"


def test_the_smallest_weights_of_a_large_tensor() -> None:
    """float16 ends at 65,504: coremltools finds no place beyond it, and prunes nothing."""
    pruning = import_module("coremltools.optimize.coreml._quantization_passes").prune_weights
    weights = np.random.default_rng(1).normal(size=(256, 257)).astype(np.float16)
    assert weights.size > float(np.finfo(np.float16).max)
    with np.errstate(all="ignore"):
        assert len(pruning.compress_by_magnitude(weights, 0.5).nonzero_data) == np.count_nonzero(weights)
    with prune_weights.magnitudes_in_float32():
        made = pruning.compress_by_magnitude(weights, 0.5)
    assert made.nonzero_data.dtype == np.float16 and made.shape == weights.shape
    kept = np.sort(np.abs(weights), axis=None)[-len(made.nonzero_data) :]
    assert abs(len(kept) / weights.size - 0.5) < 1e-3
    np.testing.assert_array_equal(np.sort(np.abs(made.nonzero_data)), kept)
