"""Distances between rows, bilinear forms and sums of products."""

from __future__ import annotations

import math
import string
from collections import Counter
from typing import TYPE_CHECKING, Any

from export.passes.decompose.table import KEEP_OP, DecompositionTable

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram


def decompositions(program: ExportedProgram) -> DecompositionTable:
    """Distances between rows, bilinear forms and sums of products."""
    import torch

    def cdist(x: torch.Tensor, y: torch.Tensor, p: float = 2.0, compute_mode: int | None = None) -> Any:
        apart = torch.abs(x.unsqueeze(-2) - y.unsqueeze(-3))
        if p == math.inf:
            return apart.amax(-1)
        if p == 1:
            return apart.sum(-1)
        if p == 2:
            return apart.square().sum(-1).sqrt()
        made: torch.Tensor = apart.pow(p).sum(-1).pow(1 / p)
        return made

    def bilinear(
        x: torch.Tensor, y: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
    ) -> torch.Tensor:
        made, rows, columns = weight.shape
        table = weight.permute(1, 0, 2).reshape(rows, made * columns)
        pairs: torch.Tensor = (x @ table).reshape(*x.shape[:-1], made, columns)
        found = (pairs * y.unsqueeze(-2)).sum(-1)
        return found if bias is None else found + bias

    def addbmm(x: torch.Tensor, a: torch.Tensor, b: torch.Tensor, *, beta: float = 1, alpha: float = 1) -> torch.Tensor:
        return torch.add(x * beta, torch.bmm(a, b).sum(0) * alpha)

    def einsum(equation: str, operands: list[torch.Tensor], *, path: list[int] | None = None) -> Any:
        plain = plain_terms(equation, [operand.ndim for operand in operands])
        if plain is None:
            return KEEP_OP
        terms, made = plain
        sides = [diagonals(term, operand) for term, operand in zip(terms, operands, strict=True)]
        term, side = sides[0]
        for place, (other, more) in enumerate(sides[1:], 2):
            rest = set(made).union(*(later for later, _ in sides[place:]))
            kept = "".join(dict.fromkeys(letter for letter in term + other if letter in rest))
            kept = made if place == len(sides) else kept
            term, side = kept, torch.einsum(f"{term},{other}->{kept}", [side, more])
        return torch.einsum(f"{term}->{made}", [side]) if term != made else side

    aten = torch.ops.aten
    return {
        aten.cdist.default: cdist,
        aten.bilinear.default: bilinear,
        aten.addbmm.default: addbmm,
        aten.einsum.default: einsum,
    }


def plain_terms(equation: str, ranks: list[int]) -> tuple[list[str], str] | None:
    """The terms of an einsum with letters for its ellipses, and those of what it makes.

    None where there is nothing to spell out: one or two operands, every letter once, no ellipsis, what it makes named.
    """
    left, arrow, made = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if arrow and len(terms) < 3 and all(len(set(term)) == len(term) for term in terms):  # an ellipsis repeats its dots
        return None
    free = [letter for letter in string.ascii_letters if letter not in equation]
    widths = [rank - len(term.replace("...", "")) for term, rank in zip(terms, ranks, strict=True)]
    # Ellipses are aligned at their ends.
    most = free[: max((width for width, term in zip(widths, terms, strict=True) if "..." in term), default=0)]
    spelled = [
        term.replace("...", "".join(most[len(most) - width :])) for term, width in zip(terms, widths, strict=True)
    ]
    if arrow:
        return spelled, made.replace("...", "".join(most))
    counted = Counter("".join(spelled))
    return spelled, "".join(most) + "".join(sorted(key for key in counted if counted[key] == 1 and key not in most))


def diagonals(term: str, operand: torch.Tensor) -> tuple[str, torch.Tensor]:
    """The operand with the diagonal in place of axes of one letter."""
    while repeated := next((letter for letter in term if term.count(letter) > 1), None):
        first = term.index(repeated)
        second = term.index(repeated, first + 1)
        operand = operand.diagonal(0, first, second)
        term = term[:first] + term[first + 1 : second] + term[second + 1 :] + repeated
    return term, operand
