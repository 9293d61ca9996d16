"""The storage formats of Core ML weights: each decoded by the MIL evaluator, and compared with a formula in numpy.

coremltools' builder makes a linear layer with the weight in that format. It is saved, read back and evaluated.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

Evaluated = Callable[..., tuple[set[str], np.ndarray]]

# Vendors warn: coremltools leaves its temporary folders to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@dataclass(frozen=True)
class Stored:
    """`weight(mb)` builds the constant [4, 6] with coremltools' builder, `decoded` is the weight that it encodes."""

    name: str
    weight: Callable[[Any], Any]
    decoded: np.ndarray
    op: str
    ios: int = 18


WEIGHT = np.random.default_rng(5).normal(size=(4, 6)).astype(np.float32)
CODES = np.random.default_rng(6).integers(-100, 100, (4, 6)).astype(np.int8)
SCALES = np.array([[0.1], [0.2], [0.3], [0.05]], np.float32)
SPARSE_MASK = np.array([[1, 1, 0, 0, 0, 0], [0, 0, 1, 1, 1, 0], [0, 0, 0, 0, 0, 0], [1, 0, 0, 1, 0, 1]])


def bits(values: np.ndarray) -> np.ndarray:
    """Return values in coremltools' one-bit dtype."""
    return values.astype(import_module("coremltools.converters.mil.mil.types").np_uint1_dtype)


def scattered(values: np.ndarray) -> np.ndarray:
    """Return zeros with `values` where SPARSE_MASK is 1, in its order."""
    dense = np.zeros(SPARSE_MASK.shape)
    dense[SPARSE_MASK == 1] = values
    return dense


def sparse(mb: Any, packed: Any) -> Any:
    """Build the dense weight of a packed one, which is a pair of mask and elements."""
    return mb.constexpr_sparse_to_dense(**dict(zip(("mask", "nonzero_data"), packed, strict=True)))


STORED = [
    Stored(
        "affine_dequantize",
        lambda mb: mb.constexpr_affine_dequantize(
            quantized_data=CODES, zero_point=np.int8(2), scale=SCALES[:, 0], axis=0
        ),
        SCALES * (CODES.astype(np.float32) - 2),
        "constexpr_affine_dequantize",
        16,
    ),
    Stored(
        "blockwise",
        lambda mb: mb.constexpr_blockwise_shift_scale(
            data=CODES, scale=np.repeat(SCALES, 3, 1), offset=np.full((4, 3), 5, np.int8)
        ),
        SCALES * (CODES.astype(np.float32) - 5),
        "constexpr_blockwise_shift_scale",
    ),
    Stored(
        "lut_packed",
        lambda mb: mb.constexpr_lut_to_dense(
            indices=np.array([0b00011011] * 6, np.uint8),
            lut=np.array([1, 2, 4, 8], np.float32),
            shape=np.array([4, 6], np.uint32),
        ),
        np.tile(np.array([8, 4, 2, 1]), 6).reshape(4, 6),
        "constexpr_lut_to_dense",
        16,
    ),
    Stored(
        "sparse_packed",
        lambda mb: mb.constexpr_sparse_to_dense(
            nonzero_data=np.arange(1, 7, dtype=np.float32),
            mask=np.array([0b11, 0b1100, 0b110000], np.uint8),
            shape=np.array([4, 6], np.uint32),
        ),
        np.array([1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0, 5, 6, 0, 0]).reshape(4, 6),
        "constexpr_sparse_to_dense",
        16,
    ),
    Stored(
        "lut_to_sparse",
        lambda mb: sparse(
            mb,
            mb.constexpr_lut_to_sparse(
                indices_mask=bits(SPARSE_MASK),
                indices_nonzero_data=bits(np.array([0, 1, 1, 0, 1, 0, 1, 0])),
                lut=np.array([2.5, -3], np.float32).reshape(1, 1, 2, 1),
            ),
        ),
        scattered(np.where([0, 1, 1, 0, 1, 0, 1, 0], -3, 2.5)),
        "constexpr_lut_to_sparse",
    ),
    Stored(
        "sparse_blockwise",
        lambda mb: sparse(
            mb,
            mb.constexpr_sparse_blockwise_shift_scale(
                data_mask=bits(SPARSE_MASK),
                nonzero_data=np.arange(-4, 4, dtype=np.int8),
                scale=SCALES,
                offset=np.full((4, 1), 3, np.int8),
            ),
        ),
        scattered(np.arange(-4, 4) - 3.0) * SCALES,
        "constexpr_sparse_blockwise_shift_scale",
    ),
    Stored(
        "constexpr_cast",
        lambda mb: mb.constexpr_cast(source_val=WEIGHT.astype(np.float16), output_dtype="fp32"),
        WEIGHT.astype(np.float16),
        "constexpr_cast",
        16,
    ),
]


@pytest.mark.parametrize("case", STORED, ids=lambda case: case.name)
def test_decoded_weight(case: Stored, evaluated: Evaluated) -> None:
    x = torch.rand((2, 6), generator=torch.Generator().manual_seed(3)) * 4 - 2
    ops, output = evaluated(lambda mb, value: mb.linear(x=value, weight=case.weight(mb)), [x.numpy()], case.ios)
    assert case.op in ops
    expected = F.linear(x, torch.from_numpy(case.decoded.astype(np.float32))).numpy()
    assert output.shape == expected.shape
    assert np.abs(output - expected).max() <= 1e-5 * max(1.0, float(np.abs(expected).max()))
