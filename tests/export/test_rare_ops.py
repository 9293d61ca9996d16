"""Special functions, running extremes, computed writes and linear algebra, against PyTorch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from export.passes.decompose import linalg, select_reduce
from export.passes.decompose.special import decompositions
from export.passes.decompose.table import DecomposeOps
from export.passes.pipelines import RARE_OPS
from support.emit import beyond, emit_run_compare
from support.programs import Cases, ops_program

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")
LIMIT = 1e-4
ROWS = (4, 6)


def positive_definite(x: Tensor) -> Tensor:
    return x @ x.T + torch.eye(4)


def square(x: Tensor) -> Tensor:
    return x[:, :4] + 3 * torch.eye(4)


def places(x: Tensor) -> Tensor:
    """Return int64 indices from 0 to 3, computed from x."""
    return (x.abs() * 1.9).long()


SPECIAL: Cases = {
    "lgamma": lambda x: torch.lgamma(x * 3 + 0.05),
    "digamma": lambda x: torch.digamma(x + 2.3),
    "trigamma": lambda x: torch.polygamma(1, x + 2.3),
    "erfinv": lambda x: torch.erfinv(x * 0.49),
    "ndtri": lambda x: torch.special.ndtri(x * 0.2 + 0.5),
    "erfcx": torch.special.erfcx,
    "log_ndtr": lambda x: torch.special.log_ndtr(x * 4),
    "i0": lambda x: torch.i0(x * 6),
    "i1e": lambda x: torch.special.i1e(x * 6),
    "k0": lambda x: torch.special.modified_bessel_k0(x.abs() * 2 + 0.1),
    "k1e": lambda x: torch.special.scaled_modified_bessel_k1(x.abs() * 2 + 0.1),
    "j0": lambda x: torch.special.bessel_j0(x * 6),
    "j1": lambda x: torch.special.bessel_j1(x * 6),
    "y0": lambda x: torch.special.bessel_y0(x.abs() * 6 + 0.1),
    "y1": lambda x: torch.special.bessel_y1(x.abs() * 6 + 0.3),
    "spherical_j0": torch.special.spherical_bessel_j0,
}
MATRICES: Cases = {
    "inverse": lambda x: torch.linalg.inv(square(x)),
    "determinant": lambda x: torch.linalg.det(square(x)).reshape(1),
    "log_determinant": lambda x: torch.linalg.slogdet(square(x))[1].reshape(1),
    "solved": lambda x: torch.linalg.solve(square(x), x[:, 4:]),
    "lu": lambda x: torch.linalg.lu(square(x))[2],
    "cholesky": lambda x: torch.linalg.cholesky(positive_definite(x)),
    "triangular": lambda x: torch.linalg.solve_triangular(square(x), x[:, 4:], upper=True),
    "orthogonal": lambda x: torch.linalg.qr(x.T)[0],
}
RUNNING: Cases = {
    "cummax": lambda x: x.cummax(1)[0],
    "cummin_index": lambda x: x.cummin(0)[1].float(),
    "logcumsumexp": lambda x: x.logcumsumexp(1),
}
SELECTIONS: Cases = {
    "largest_of": lambda x: torch.zeros(4, 6).scatter_reduce(0, places(x), x, "amax"),
    "mean_of": lambda x: x.scatter_reduce(0, places(x), x * 2, "mean", include_self=False),
    "smallest_of": lambda x: x.index_reduce(0, places(x)[:, 0], x * 2, "amin"),
    "put": lambda x: x.put(places(x)[0], x[1] * 3, accumulate=True),
    "masked": lambda x: x.masked_scatter(x > 0, x.flip(0)),
    "bag": lambda x: torch.nn.functional.embedding_bag(places(x)[:, :3], x, mode="mean"),
    "mode": lambda x: (x * 2).round().mode(1)[0],
    "nanmedian": lambda x: torch.where(x > 1, torch.nan, x).nanmedian(1)[0],
    "histogram": lambda x: torch.histc(x, 5, -2, 2),
    "member": lambda x: torch.isin(places(x), torch.arange(2)).float(),
    "rows": lambda x: torch.searchsorted(x.sort(1)[0], x * 0.5).float(),
    "diagonal": lambda x: torch.diag(x, 1) + torch.trace(x),
    "on_diagonal": lambda x: torch.diagonal_scatter(x, x[0, :4] * 5),
}
FAMILIES = {"special": SPECIAL, "running": RUNNING, "selections": SELECTIONS}
# The other pairs have not been run yet.
PROVEN = [
    ("coreml", "special"),
    ("litert", "special"),
    ("tfjs", "special"),
    ("litert", "running"),
    ("tfjs", "running"),
    ("onnx", "selections"),
    ("coreml", "selections"),
    ("tfjs", "selections"),
]


@pytest.mark.parametrize(("target", "family"), PROVEN)
def test_targets_compute_them(target: str, family: str, tmp_path: Path) -> None:
    assert beyond(emit_run_compare(ops_program(FAMILIES[family], ROWS), target, tmp_path), LIMIT) == {}


@pytest.mark.parametrize("name", MATRICES)
def test_linear_algebra_becomes_steps(name: str) -> None:
    program = ops_program({"y": MATRICES[name]}, ROWS)
    exported = program.exported(program.spec.entries["net"]).program
    decomposed = DecomposeOps("decompose_rare_ops", *RARE_OPS)(exported).program
    left = [str(node.target) for node in decomposed.graph_module.graph.nodes if "linalg" in str(node.target)]
    assert not left
    (y,) = decomposed.module()(program.tensors["x"])
    torch.testing.assert_close(y, program.tensors["y"], atol=1e-5, rtol=1e-4)


def test_special_functions_hold_on_a_wide_range() -> None:
    """Poles, branch points and large arguments give PyTorch's values, infinities and NaN."""
    x = torch.cat([torch.linspace(-11.9, 40, 2001), torch.tensor([0.0, 1.0, 2.0, 1e-6, 7.9999, 8.0, 80.0])])
    for op, function in decompositions(torch.export.export(torch.nn.Identity(), (x,))).items():
        name = str(op)
        if "polygamma" in name or "mvlgamma" in name:
            continue
        expected, result = op(x), function(x)
        scale = expected.abs().nan_to_num(posinf=0, neginf=0) + 1
        assert torch.equal(expected.isfinite(), result.isfinite()), name
        torch.testing.assert_close((result / scale), (expected / scale), atol=5e-6, rtol=0, equal_nan=True, msg=name)


def test_large_matrices_and_many_pairs_stay() -> None:
    program = torch.export.export(torch.nn.Identity(), (torch.zeros(1),))
    matrix = torch.eye(linalg.MOST_COLUMNS + 1)
    assert linalg.decompositions(program)[torch.ops.aten.linalg_inv.default](matrix) is NotImplemented
    x = torch.zeros(2000)
    reduce = select_reduce.decompositions(program)[torch.ops.aten.scatter_reduce.two]
    assert reduce(x, 0, torch.zeros(2000, dtype=torch.int64), x, "sum") is NotImplemented
