"""Decompose QR factorizations of small matrices into Householder reflections, unrolled over the columns.

Symptom: "No decompositions registered" for `aten.linalg_qr`, `aten.geqrf` and `aten.linalg_householder_product`.
Cause: the formats have no linear algebra but products.
Retired by: nothing known.

The signs are LAPACK's (Golub and Van Loan, Matrix Computations, 5.2). Larger matrices stay (linalg.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from export.passes.decompose.linalg import stays, unit
from export.passes.decompose.table import KEEP_OP, DecompositionTable

if TYPE_CHECKING:
    from torch import Tensor
    from torch.export import ExportedProgram


def decompositions(program: ExportedProgram) -> DecompositionTable:
    """Decompose `aten.linalg_qr`, `aten.geqrf` and products of Householder reflections."""
    return factors() | reflections()


def factors() -> DecompositionTable:
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


def reflections() -> DecompositionTable:
    """Decompose `aten.geqrf`: R, and below it the vectors of the reflections."""
    import torch

    def geqrf(a: Tensor) -> Any:
        if stays(a):
            return KEEP_OP
        m, n = a.shape[-2:]
        positions, rows = torch.arange(m).unsqueeze(-1), torch.arange(n)
        scales: list[Tensor] = []
        for k in range(min(m, n)):
            column = a[..., :, k : k + 1]
            head = column[..., k : k + 1, :]
            tail = torch.where(positions > k, column, torch.zeros_like(column))
            rest = (tail * tail).sum(-2, keepdim=True)
            norm = torch.sqrt(head * head + rest)
            beta = torch.where(head < 0, norm, -norm)
            # A column without a tail is not reflected.
            flat = rest == 0
            tau = torch.where(flat, torch.zeros_like(head), (beta - head) / torch.where(flat, 1.0, beta))
            v = tail / torch.where(flat, 1.0, head - beta) + unit(m, k, a).unsqueeze(-1)
            a = torch.where(rows >= k, a - (v * tau) @ (v.transpose(-1, -2) @ a), a)
            a = torch.where((rows == k) & (positions > k), v, a)
            scales.append(tau[..., 0, 0])
        return a, torch.stack(scales, -1)

    return {torch.ops.aten.geqrf.default: geqrf}
