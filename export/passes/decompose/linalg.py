"""Decompose factorizations and solvers of small matrices into the steps of their algorithms, unrolled over the columns.

Symptom: "No decompositions registered" for `aten.linalg_inv_ex`, `_linalg_det`, `linalg_cholesky_ex`, `linalg_qr`, ...;
"For non-const input, the lowering for Torch `linalg_inv` op is not supported".
Cause: the formats have no linear algebra but products, and ONNX has `Det` alone.
Retired by: nothing known.

The algorithms are LAPACK's: LU with partial pivoting, Cholesky, Householder QR, substitution (Golub and Van Loan, Matrix
Computations, 3.4, 4.2, 5.2). Each column is a handful of nodes, so matrices of more than `MOST_COLUMNS` columns are left
as they are, and the target names the op. A singular matrix gives infinity or NaN where PyTorch raises an error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from export.passes.decompose.table import KEEP_OP, DecompositionTable

if TYPE_CHECKING:
    from torch import Tensor
    from torch.export import ExportedProgram

MOST_COLUMNS = 16


def decompositions(program: ExportedProgram) -> DecompositionTable:
    """Decompose determinants, inverses, solvers, and the LU, Cholesky and QR factorizations of real matrices."""
    return lu_family() | cholesky_family() | triangular_family() | qr_family()


def stays(*matrices: Tensor) -> bool:
    """Return whether an op of `matrices` is left as it is: complex, empty or large ones."""
    return any(
        not matrix.is_floating_point() or matrix.numel() == 0 or min(matrix.shape[-2:]) > MOST_COLUMNS
        for matrix in matrices
    )


def unit(size: int, index: int, like: Tensor) -> Tensor:
    """Return the vector of `size` elements that is 1 at `index`, as a constant."""
    import torch

    vector = [0.0] * size
    vector[index] = 1.0
    return torch.tensor(vector, dtype=like.dtype)


def lu_rows(a: Tensor, pivot: bool = True) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
    """Factorize a [..., m, n] = P L U. Return L and U in one tensor, P^T [..., m, m], its sign, and each pivot's index.

    Rows change places by products with one-hot vectors: no format writes rows at an index that is computed.
    """
    import torch

    m, n = a.shape[-2:]
    order = torch.eye(m, dtype=a.dtype).expand(*a.shape[:-2], m, m)
    sign = torch.ones(a.shape[:-2], dtype=a.dtype)
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
            sign = sign * torch.where(first.squeeze(-1) == k, 1.0, -1.0)
            pivots.append(first.squeeze(-1))
        else:
            pivots.append(torch.full(a.shape[:-2], float(k), dtype=a.dtype))
        below = positions > k
        head = a[..., k : k + 1, k : k + 1]
        factor = torch.where(below.unsqueeze(-1), a[..., k : k + 1] / head, torch.zeros_like(a[..., k : k + 1]))
        right = torch.arange(n) > k
        row = torch.where(right, a[..., k : k + 1, :], torch.zeros_like(a[..., k : k + 1, :]))
        a = a - factor * row
        column = torch.where(below.unsqueeze(-1), factor, a[..., k : k + 1])
        a = torch.where(torch.arange(n) == k, column, a)
    return a, order, sign, pivots


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
        known = [i for i in (range(k + 1, n) if upper else range(k))]
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

    return torch.zeros(a.shape[:-2], dtype=torch.int32)


def lu_family() -> DecompositionTable:
    """Decompose what LAPACK computes by LU: factors, determinants, inverses, solutions."""
    import torch

    def pivots_of(pivots: list[Tensor]) -> Tensor:
        return (torch.stack(pivots, -1) + 1).to(torch.int32)

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
        result = solve(a, b, left=left)
        if result is KEEP_OP:
            return KEEP_OP
        factors, _, _, pivots = lu_rows(a)
        return result, factors, pivots_of(pivots), no_errors(a)

    def first(function: Any) -> Any:
        def one(*args: Any, **kwargs: Any) -> Any:
            results = function(*args, **kwargs)
            return results if results is KEEP_OP else results[0]

        return one

    def pair(function: Any) -> Any:
        def two(*args: Any, **kwargs: Any) -> Any:
            results = function(*args, **kwargs)
            return results if results is KEEP_OP else results[:2]

        return two

    def logdet(a: Tensor) -> Any:
        results = slogdet(a)
        if results is KEEP_OP:
            return KEEP_OP
        sign, size = results[:2]
        return torch.where(sign < 0, torch.full_like(size, float("nan")), size)

    aten = torch.ops.aten
    return {
        aten.linalg_lu_factor_ex.default: lu_factor_ex,
        aten.linalg_lu_factor.default: pair(lu_factor_ex),
        aten._lu_with_info.default: lambda a, pivot=True, check_errors=True: lu_factor_ex(a, pivot=pivot),
        aten.linalg_lu.default: lu,
        aten._linalg_det.default: determinant,
        aten.linalg_det.default: first(determinant),
        aten.det.default: first(determinant),
        aten._linalg_slogdet.default: slogdet,
        aten.linalg_slogdet.default: pair(slogdet),
        aten.slogdet.default: pair(slogdet),
        aten.logdet.default: logdet,
        aten.linalg_inv_ex.default: inverse,
        aten.linalg_inv.default: first(inverse),
        aten.inverse.default: first(inverse),
        aten.linalg_solve.default: solve,
        aten.linalg_solve_ex.default: lambda a, b, *, left=True, check_errors=False: (
            KEEP_OP if stays(a) else (solve(a, b, left=left), no_errors(a))
        ),
        aten._linalg_solve_ex.default: solve_ex,
    }


def cholesky_family() -> DecompositionTable:
    """Decompose the Cholesky factorization and what is computed from its factor."""
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


def qr_family() -> DecompositionTable:
    """Decompose the QR factorization by Householder reflections, and products of reflections."""
    import torch

    def qr(a: Tensor, mode: str = "reduced") -> Any:
        if stays(a):
            return KEEP_OP
        m, n = a.shape[-2:]
        size = min(m, n)
        q = torch.eye(m, dtype=a.dtype).expand(*a.shape[:-2], m, m)
        positions = torch.arange(m).unsqueeze(-1)
        for k in range(min(m - 1, n)):
            column = a[..., :, k : k + 1]
            v = torch.where(positions >= k, column, torch.zeros_like(column))
            norm = torch.sqrt((v * v).sum(-2, keepdim=True))
            head = column[..., k : k + 1, :]
            # LAPACK's sign: the diagonal of R has the opposite sign of the column's head.
            v = v + torch.where(head < 0, -norm, norm) * unit(m, k, a).unsqueeze(-1)
            square = (v * v).sum(-2, keepdim=True)
            scale = torch.where(square == 0, torch.zeros_like(square), 2 / square)
            a = a - (v * scale) @ (v.transpose(-1, -2) @ a)
            q = q - (q @ v) @ (v * scale).transpose(-1, -2)
        if mode == "complete":
            return q, torch.triu(a)
        r = torch.triu(a[..., :size, :])
        return (torch.empty(0, dtype=a.dtype) if mode == "r" else q[..., :, :size]), r

    def householder_product(v: Tensor, tau: Tensor) -> Any:
        if stays(v):
            return KEEP_OP
        m, n = v.shape[-2:]
        q = torch.eye(m, n, dtype=v.dtype).expand(*v.shape[:-2], m, n)
        positions = torch.arange(m).unsqueeze(-1)
        for k in reversed(range(tau.shape[-1])):
            column = torch.where(positions > k, v[..., :, k : k + 1], unit(m, k, v).unsqueeze(-1))
            q = q - (column * tau[..., k : k + 1].unsqueeze(-1)) @ (column.transpose(-1, -2) @ q)
        return q

    aten = torch.ops.aten
    return {
        aten.linalg_qr.default: qr,
        aten.qr.default: lambda a, some=True: qr(a, "reduced" if some else "complete"),
        aten.linalg_householder_product.default: householder_product,
        aten.orgqr.default: householder_product,
    }
