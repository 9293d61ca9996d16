"""Decompose factorizations and solvers of small matrices into the steps of their algorithms, unrolled over the columns.

Symptom: "No decompositions registered" for `aten.linalg_inv_ex`, `_linalg_det`, `linalg_cholesky_ex`, `linalg_qr`, ...;
"For non-const input, the lowering for Torch `linalg_inv` op is not supported".
Cause: the formats have no linear algebra but products, and ONNX has `Det` alone.
Retired by: nothing known.

The algorithms are LAPACK's: LU with partial pivoting, Cholesky, substitution (Golub and Van Loan, Matrix
Computations, 3.1, 3.4, 4.2). Each column is a handful of nodes, so matrices of more than `MOST_COLUMNS` columns
are left as they are, and the target names the op. A singular matrix gives infinity or NaN where PyTorch raises an
error.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from export.passes.decompose.table import KEEP_OP, DecompositionTable

if TYPE_CHECKING:
    from torch import Tensor
    from torch.export import ExportedProgram

MOST_COLUMNS = 16


def decompositions(program: ExportedProgram) -> DecompositionTable:
    """Decompose determinants, inverses, solvers, and the LU and Cholesky factorizations of real matrices."""
    return lu_family() | solvers() | factored() | cholesky_family() | triangular_family()


def stays(*matrices: Tensor) -> bool:
    """Return whether an op of `matrices` is left as it is: complex, empty or large ones."""
    return any(
        not matrix.is_floating_point() or matrix.numel() == 0 or min(matrix.shape[-2:]) > MOST_COLUMNS
        for matrix in matrices
    )


def unit(size: int, index: int, like: Tensor) -> Tensor:
    """Return the vector of `size` elements that is 1 at `index`, as a constant."""
    import torch

    # Not torch.tensor, whose constant `run_decompositions` does not know.
    return (torch.arange(size) == index).to(like.dtype)


def lu_rows(a: Tensor, pivot: bool = True) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
    """Factorize a [..., m, n] = P L U. Return L and U in one tensor, P^T [..., m, m], its sign, and the pivots.

    Rows change places by products with one-hot vectors: no format writes rows at an index that is computed.
    """
    import torch

    m, n = a.shape[-2:]
    order = torch.eye(m, dtype=a.dtype).expand(*a.shape[:-2], m, m)
    # With a last axis of 1: Core ML fills no tensor without axes.
    sign = torch.ones(*a.shape[:-2], 1, dtype=a.dtype)
    pivots: list[Tensor] = []
    positions = torch.arange(m, dtype=a.dtype)
    for k in range(min(m, n)):
        own = unit(m, k, a)
        if pivot and k + 1 < m:
            size = torch.where(positions >= k, torch.abs(a[..., k]), torch.full_like(a[..., k], -1.0))
            # The first of the largest, as LAPACK chooses.
            largest = size == size.amax(-1, keepdim=True)
            first = torch.where(largest, positions, float(m)).amin(-1, keepdim=True)
            chosen = (positions == first).to(a.dtype)
            change = (chosen - own).unsqueeze(-1)
            a = a - change * (change.transpose(-1, -2) @ a)
            order = order - change * (change.transpose(-1, -2) @ order)
            sign = sign * torch.where(first == k, torch.ones_like(sign), -torch.ones_like(sign))
            pivots.append(first)
        else:
            pivots.append(torch.full_like(sign, float(k)))
        below = positions > k
        head = a[..., k : k + 1, k : k + 1]
        factor = torch.where(below.unsqueeze(-1), a[..., k : k + 1] / head, torch.zeros_like(a[..., k : k + 1]))
        right = torch.arange(n) > k
        row = torch.where(right, a[..., k : k + 1, :], torch.zeros_like(a[..., k : k + 1, :]))
        a = a - factor * row
        column = torch.where(below.unsqueeze(-1), factor, a[..., k : k + 1])
        a = torch.where(torch.arange(n) == k, column, a)
    return a, order, sign.squeeze(-1), pivots


def diagonal(a: Tensor) -> Tensor:
    import torch

    size = min(a.shape[-2:])
    return torch.cat([a[..., k : k + 1, k] for k in range(size)], -1)


def product(x: Tensor) -> Tensor:
    """Return the product over the last axis."""
    result = x[..., 0]
    for k in range(1, x.shape[-1]):
        result = result * x[..., k]
    return result


def substitute(a: Tensor, b: Tensor, upper: bool, unit_diagonal: bool) -> Tensor:
    """Solve a x = b for a triangular a [..., n, n] and b [..., n, k], one row after the other."""
    import torch

    n = a.shape[-1]
    rows: dict[int, Tensor] = {}
    for k in reversed(range(n)) if upper else range(n):
        known = range(k + 1, n) if upper else range(k)
        rest = b[..., k : k + 1, :]
        if known:
            low, high = known[0], known[-1] + 1
            rest = rest - a[..., k : k + 1, low:high] @ torch.cat([rows[i] for i in known], -2)
        rows[k] = rest if unit_diagonal else rest / a[..., k : k + 1, k : k + 1]
    if n == 1:
        return rows[0]
    return torch.cat([rows[k] for k in range(n)], -2)


def solve_matrix(a: Tensor, b: Tensor) -> Tensor:
    factors, order, _, _ = lu_rows(a)
    return substitute(factors, substitute(factors, order @ b, False, True), True, False)


def is_vector(a: Tensor, b: Tensor) -> bool:
    """Return whether b is a batch of vectors, as `torch.linalg.solve` decides it."""
    return b.ndim == 1 or (a.ndim - 1 == b.ndim and b.shape == a.shape[:-1])


def no_errors(a: Tensor) -> Tensor:
    import torch

    return torch.zeros(*a.shape[:-2], 1, dtype=torch.int32).squeeze(-1)


def pivots_of(pivots: list[Tensor]) -> Tensor:
    """Return LAPACK's pivots: counted from 1."""
    import torch

    return (torch.cat(pivots, -1) + 1).to(torch.int32)


def part(function: Any, which: int | slice) -> Any:
    """Return a decomposition into some results of `function`."""

    def some(*args: Any, **kwargs: Any) -> Any:
        results = function(*args, **kwargs)
        return results if results is KEEP_OP else results[which]

    return some


def lu_family() -> DecompositionTable:
    """Decompose the LU factorization and determinants."""
    import torch

    def lu_factor_ex(a: Tensor, *, pivot: bool = True, check_errors: bool = False) -> Any:
        if stays(a):
            return KEEP_OP
        factors, _, _, pivots = lu_rows(a, pivot)
        return factors, pivots_of(pivots), no_errors(a)

    def lu(a: Tensor, *, pivot: bool = True) -> Any:
        if stays(a):
            return KEEP_OP
        factors, order, _, _ = lu_rows(a, pivot)
        m, n = a.shape[-2:]
        size = min(m, n)
        lower = torch.tril(factors[..., :, :size], -1) + torch.eye(m, size, dtype=a.dtype)
        return order.transpose(-1, -2), lower, torch.triu(factors[..., :size, :])

    def determinant(a: Tensor) -> Any:
        if stays(a):
            return KEEP_OP
        factors, _, sign, pivots = lu_rows(a)
        return sign * product(diagonal(factors)), factors, pivots_of(pivots)

    def slogdet(a: Tensor) -> Any:
        if stays(a):
            return KEEP_OP
        factors, _, sign, pivots = lu_rows(a)
        values = diagonal(factors)
        return sign * product(torch.sign(values)), torch.log(torch.abs(values)).sum(-1), factors, pivots_of(pivots)

    def logdet(a: Tensor) -> Any:
        if stays(a):
            return KEEP_OP
        sign, size, _, _ = slogdet(a)
        return torch.where(sign < 0, torch.full_like(size, float("nan")), size)

    aten = torch.ops.aten
    return {
        aten.linalg_lu_factor_ex.default: lu_factor_ex,
        aten.linalg_lu_factor.default: part(lu_factor_ex, slice(2)),
        aten._lu_with_info.default: lambda a, pivot=True, check_errors=True: lu_factor_ex(a, pivot=pivot),
        aten.linalg_lu.default: lu,
        aten._linalg_det.default: determinant,
        aten.linalg_det.default: part(determinant, 0),
        aten.det.default: part(determinant, 0),
        aten._linalg_slogdet.default: slogdet,
        aten.linalg_slogdet.default: part(slogdet, slice(2)),
        aten.slogdet.default: part(slogdet, slice(2)),
        aten.logdet.default: logdet,
    }


def solvers() -> DecompositionTable:
    """Decompose inverses and solutions by LU."""
    import torch

    def inverse(a: Tensor, *, check_errors: bool = False) -> Any:
        if stays(a):
            return KEEP_OP
        return solve_matrix(a, torch.eye(a.shape[-1], dtype=a.dtype).expand(a.shape)), no_errors(a)

    def solve(a: Tensor, b: Tensor, *, left: bool = True) -> Any:
        if stays(a):
            return KEEP_OP
        if left and is_vector(a, b):
            return solve_matrix(a, b.unsqueeze(-1)).squeeze(-1)
        return solve_matrix(a, b) if left else solve_matrix(a.mT, b.mT).mT

    def solve_ex(a: Tensor, b: Tensor, *, left: bool = True, check_errors: bool = False) -> Any:
        return KEEP_OP if stays(a) else (solve(a, b, left=left), no_errors(a))

    def solve_with_factors(a: Tensor, b: Tensor, *, left: bool = True, check_errors: bool = False) -> Any:
        if stays(a):
            return KEEP_OP
        factors, _, _, pivots = lu_rows(a)
        return solve(a, b, left=left), factors, pivots_of(pivots), no_errors(a)

    def tensorinv(a: Tensor, ind: int = 2) -> Any:
        size = math.prod(a.shape[:ind])
        flat = a.reshape(size, -1)
        if stays(flat):
            return KEEP_OP
        return inverse(flat)[0].reshape(*a.shape[ind:], *a.shape[:ind])

    aten = torch.ops.aten
    return {
        aten.linalg_tensorinv.default: tensorinv,
        aten.linalg_inv_ex.default: inverse,
        aten.linalg_inv.default: part(inverse, 0),
        aten.inverse.default: part(inverse, 0),
        aten.linalg_solve.default: solve,
        aten.linalg_solve_ex.default: solve_ex,
        aten._linalg_solve_ex.default: solve_with_factors,
    }


def factored() -> DecompositionTable:
    """Decompose `lu_unpack`, `lu_solve` and other readers of the factors and pivots of an LU factorization."""
    import torch

    def lu_solve(factors: Tensor, pivots: Tensor, b: Tensor, *, left: bool = True, adjoint: bool = False) -> Any:
        if stays(factors):
            return KEEP_OP
        order = order_of(pivots, factors.shape[-1], factors.dtype)
        if not left:
            # x a = b is a^T x^T = b^T.
            return lu_solve(factors, pivots, b.mT, adjoint=not adjoint).mT
        if adjoint:
            inner = substitute(factors.mT, b, False, False)
            return order.mT @ substitute(factors.mT, inner, True, True)
        return substitute(factors, substitute(factors, order @ b, False, True), True, False)

    def lu_unpack(factors: Tensor, pivots: Tensor, unpack_data: bool = True, unpack_pivots: bool = True) -> Any:
        if stays(factors):
            return KEEP_OP
        m, n = factors.shape[-2:]
        size, nothing = min(m, n), torch.empty(0, dtype=factors.dtype)
        order = order_of(pivots, m, factors.dtype).transpose(-1, -2) if unpack_pivots else nothing
        if not unpack_data:
            return order, nothing, nothing
        lower = torch.tril(factors[..., :, :size], -1) + torch.eye(m, size, dtype=factors.dtype)
        return order, lower, torch.triu(factors[..., :size, :])

    aten = torch.ops.aten
    return {aten.linalg_lu_solve.default: lu_solve, aten.lu_unpack.default: lu_unpack}


def order_of(pivots: Tensor, size: int, dtype: Any) -> Tensor:
    """Return P^T [..., size, size] of LAPACK's pivots: row k changes places with row pivots[k] - 1, one by one."""
    import torch

    order = torch.eye(size, dtype=dtype).expand(*pivots.shape[:-1], size, size)
    positions = torch.arange(1, size + 1)
    for k in range(pivots.shape[-1]):
        chosen = (positions == pivots[..., k : k + 1]).to(dtype)
        change = (chosen - unit(size, k, order)).unsqueeze(-1)
        order = order - change * (change.transpose(-1, -2) @ order)
    return order


def cholesky_family() -> DecompositionTable:
    """Decompose the Cholesky factorization and the ops that read its factor."""
    import torch

    def factor(a: Tensor) -> Tensor:
        """Return L of a = L L^T, from the lower triangle of a, column by column."""
        n = a.shape[-1]
        positions = torch.arange(n).unsqueeze(-1)
        columns: list[Tensor] = []
        for k in range(n):
            column = a[..., :, k : k + 1]
            if columns:
                done = torch.cat(columns, -1) if len(columns) > 1 else columns[0]
                column = column - done @ done[..., k : k + 1, :].transpose(-1, -2)
            scaled = column / torch.sqrt(column[..., k : k + 1, :])
            columns.append(torch.where(positions >= k, scaled, torch.zeros_like(scaled)))
        return torch.cat(columns, -1) if n > 1 else columns[0]

    def cholesky(a: Tensor, upper: bool = False) -> Any:
        if stays(a):
            return KEEP_OP
        return factor(a.mT).mT if upper else factor(a)

    def solve(b: Tensor, a: Tensor, upper: bool = False) -> Any:
        if stays(a):
            return KEEP_OP
        lower = a.mT if upper else a
        return substitute(lower.mT, substitute(lower, b, False, False), True, False)

    def inverse(a: Tensor, upper: bool = False) -> Any:
        return solve(torch.eye(a.shape[-1], dtype=a.dtype).expand(a.shape), a, upper)

    def cholesky_ex(a: Tensor, *, upper: bool = False, check_errors: bool = False) -> Any:
        return KEEP_OP if stays(a) else (cholesky(a, upper), no_errors(a))

    aten = torch.ops.aten
    return {
        aten.cholesky.default: cholesky,
        aten.linalg_cholesky.default: lambda a, *, upper=False: cholesky(a, upper),
        aten.linalg_cholesky_ex.default: cholesky_ex,
        aten.cholesky_solve.default: solve,
        aten.cholesky_inverse.default: inverse,
    }


def triangular_family() -> DecompositionTable:
    """Decompose solvers whose matrix is triangular, or is factorized already."""
    import torch

    def triangular(a: Tensor, b: Tensor, upper: bool, left: bool, unit_diagonal: bool) -> Tensor:
        if left:
            return substitute(a, b, upper, unit_diagonal)
        return substitute(a.mT, b.mT, not upper, unit_diagonal).mT

    def solve_triangular(a: Tensor, b: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False) -> Any:
        return KEEP_OP if stays(a) else triangular(a, b, upper, left, unitriangular)

    def triangular_solve(
        b: Tensor, a: Tensor, upper: bool = True, transpose: bool = False, unitriangular: bool = False
    ) -> Any:
        if stays(a):
            return KEEP_OP
        matrix, upper = (a.mT, not upper) if transpose else (a, upper)
        batch = torch.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        triangle = torch.triu(a) if upper != transpose else torch.tril(a)
        return triangular(matrix, b, upper, True, unitriangular), triangle.expand(*batch, *a.shape[-2:])

    aten = torch.ops.aten
    return {
        aten.linalg_solve_triangular.default: solve_triangular,
        aten.triangular_solve.default: triangular_solve,
    }
