"""Collect the op cases of the export tests: one small function per op or argument, with the shape of its input.

The cases are the tables of the tests themselves, so docs/supported-ops.md speaks of tested ops. EXTRA adds ops that no
other test has on every target: composites, volumes, embeddings, and ops that targets refuse.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from support.programs import Cases, Function

TESTS = Path(__file__).resolve().parents[1] / "export"
MAPS, VOLUMES = (1, 8, 11, 14), (1, 4, 6, 8, 10)
# (file of tests, its tables of cases, the shape of their inputs, or "" where each table has its own)
TABLES = (
    ("test_tfjs_ops.py", "FAMILIES", "CNN"),
    ("test_decompositions.py", "FAMILIES", ""),
    ("test_complex_to_real.py", "NETS", "SHAPE"),
)


def indices(x: Tensor) -> Tensor:
    """Return int64 indices from 0 to 3, computed from a map."""
    return (x[:, 0, 0].abs() * 2).long().clamp(max=3)


def positive_definite(x: Tensor) -> Tensor:
    rows = x[0, 0, :4, :6]
    return rows @ rows.T + torch.eye(4)


def bicubic_grid(x: Tensor) -> Tensor:
    return F.grid_sample(x, x[:, :2].permute(0, 2, 3, 1), mode="bicubic", align_corners=False)


EXTRA: dict[str, tuple[Cases, tuple[int, ...]]] = {
    "composites": (
        {
            "addcmul": lambda x: torch.addcmul(x, x, x, value=0.5),
            "lerp": lambda x: torch.lerp(x, x * x, 0.3),
            "logaddexp": lambda x: torch.logaddexp(x, x * 2),
            "logit": lambda x: torch.logit(x.sigmoid(), eps=1e-3),
            "isfinite": lambda x: torch.isfinite(x).float() + x,
            "float_power": lambda x: torch.float_power(x, 2).float(),
            "hardshrink": lambda x: F.hardshrink(x, 0.1),
            "nan_to_num": lambda x: (x * 2).nan_to_num(),
            "where_numbers": lambda x: torch.where(x > 0.3, 1.0, 0.0) + x,
            "outer": lambda x: x + torch.outer(torch.arange(11), torch.linspace(-1, 1, 14)),
        },
        MAPS,
    ),
    "volumes": (
        {
            "conv3d": nn.Conv3d(4, 6, 3, padding=1),
            "conv3d_strided": nn.Conv3d(4, 6, 3, stride=2),
            "conv3d_grouped": nn.Conv3d(4, 8, 3, groups=2),
            "conv_transpose3d": nn.ConvTranspose3d(4, 6, 2, stride=2),
            "max_pool3d": nn.MaxPool3d(2),
            "avg_pool3d": nn.AvgPool3d(2),
            "batch_norm3d": nn.BatchNorm3d(4),
            "trilinear": lambda x: F.interpolate(x, scale_factor=2, mode="trilinear"),
        },
        VOLUMES,
    ),
    "tables": (
        {
            "embedding": lambda x: F.embedding(indices(x), torch.arange(20.0).reshape(4, 5)),
            "embedding_bag": lambda x: F.embedding_bag(indices(x), torch.arange(20.0).reshape(4, 5), mode="sum"),
            "bincount": lambda x: torch.bincount(indices(x).flatten(), minlength=4).float(),
        },
        MAPS,
    ),
    "special": (
        {
            "lgamma": lambda x: torch.lgamma(x.abs() + 0.5),
            "digamma": lambda x: torch.digamma(x.abs() + 0.5),
            "erfinv": lambda x: torch.erfinv(x * 0.4),
            "i0": torch.i0,
            "sinc": torch.sinc,
            "expm1": torch.expm1,
            "log1p": lambda x: torch.log1p(x.abs()),
            "log2": lambda x: torch.log2(x.abs() + 0.1),
            "exp2": torch.exp2,
            "tan": lambda x: torch.tan(x * 0.5),
            "asin": lambda x: torch.asin(x * 0.4),
            "acos": lambda x: torch.acos(x * 0.4),
            "sinh": torch.sinh,
            "cosh": torch.cosh,
            "atanh": lambda x: torch.atanh(x * 0.4),
            "frac": torch.frac,
            "xlogy": lambda x: torch.xlogy(x, x.abs() + 0.5),
        },
        MAPS,
    ),
    "integers": (
        {
            "gcd": lambda x: torch.gcd((x * 10).int(), torch.tensor(6, dtype=torch.int32)).float(),
            "bitwise_and": lambda x: ((x * 10).int() & 6).float(),
            "shift": lambda x: ((x * 10).abs().int() << 1).float(),
            "remainder": lambda x: ((x * 20).int() % 3).float(),
        },
        MAPS,
    ),
    "matrices": (
        {
            "inverse": lambda x: torch.linalg.inv(positive_definite(x)),
            "det": lambda x: torch.linalg.det(positive_definite(x)).reshape(1),
            "cholesky": lambda x: torch.linalg.cholesky(positive_definite(x)),
            "singular_values": lambda x: torch.linalg.svdvals(x[0, 0]),
            "cross": lambda x: torch.linalg.cross(x[:, :3], x[:, 3:6], dim=1),
            "trace": lambda x: torch.trace(x[0, 0]).reshape(1),
        },
        MAPS,
    ),
    "order": (
        {
            "cummax": lambda x: x.cummax(3)[0],
            "cummin": lambda x: x.cummin(3)[0],
            "unique": lambda x: torch.unique(x[0, 0, 0]),
            "nonzero": lambda x: (x > 0).nonzero().float(),
            "bicubic_grid": bicubic_grid,
        },
        MAPS,
    ),
}


@dataclass(frozen=True, slots=True)
class Case:
    """One case. `table` names the file of tests and the table in it."""

    table: str
    name: str
    function: Function
    shape: tuple[int, ...]

    @property
    def key(self) -> str:
        return f"{self.table}/{self.name}"


@lru_cache(maxsize=1)
def op_cases() -> tuple[Case, ...]:
    """Return every case of TABLES and EXTRA, in order."""
    tables = [case for file, name, shape in TABLES for case in cases_of(file, name, shape)]
    return (*tables, *flat("extra", EXTRA, ()))


def cases_of(file: str, name: str, shape: str) -> Iterator[Case]:
    """Yield the cases of the tables called `name` in a file of tests."""
    module = load(TESTS / file)
    tables = getattr(module, name)
    nested = all(isinstance(value, Mapping | tuple) for value in tables.values())
    prefix = file.removeprefix("test_").removesuffix(".py")
    yield from flat(prefix, tables if nested else {"cases": tables}, getattr(module, shape) if shape else ())


def flat(prefix: str, tables: Mapping[str, Any], shape: tuple[int, ...]) -> Iterator[Case]:
    """Yield the cases of tables whose values are cases, or (cases, shape)."""
    for table, content in tables.items():
        cases, input_shape = content if isinstance(content, tuple) else (content, shape)
        for name, function in cases.items():
            yield Case(f"{prefix}/{table}", name, function, input_shape)


def load(path: Path) -> ModuleType:
    """Import a file of tests by its path, since tests are not a package."""
    spec = importlib.util.spec_from_file_location(f"op_cases_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
