"""Decompose sums of products: distances between rows, bilinear forms, and einsums that converters refuse."""

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
    """Decompose `aten.cdist`, `aten.bilinear`, `aten.addbmm`, and `aten.einsum` into einsums of one or two operands.

    An einsum with at most two operands, every letter once per operand, no ellipsis and a named output stays.
    """
    import torch

    def cdist(x: torch.Tensor, y: torch.Tensor, p: float = 2.0, compute_mode: int | None = None) -> Any:
        difference = torch.abs(x.unsqueeze(-2) - y.unsqueeze(-3))
        if p == math.inf:
            return difference.amax(-1)
        if p == 1:
            return difference.sum(-1)
        if p == 2:
            return difference.square().sum(-1).sqrt()
        return difference.pow(p).sum(-1).pow(1 / p)

    def bilinear(
        x: torch.Tensor, y: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
    ) -> torch.Tensor:
        outputs, rows, columns = weight.shape
        matrix = weight.permute(1, 0, 2).reshape(rows, outputs * columns)
        products: torch.Tensor = (x @ matrix).reshape(*x.shape[:-1], outputs, columns)
        result = (products * y.unsqueeze(-2)).sum(-1)
        return result if bias is None else result + bias

    def addbmm(x: torch.Tensor, a: torch.Tensor, b: torch.Tensor, *, beta: float = 1, alpha: float = 1) -> torch.Tensor:
        # As floats: coremltools multiplies no float by an int.
        return torch.add(x * float(beta), torch.bmm(a, b).sum(0) * float(alpha))

    def einsum(equation: str, operands: list[torch.Tensor], *, path: list[int] | None = None) -> Any:
        total = sum_of_all(equation, operands)
        if total is not None:
            return total
        expanded = expand_equation(equation, [operand.ndim for operand in operands])
        if expanded is None:
            return KEEP_OP
        terms, output = expanded
        sides = [take_diagonals(term, operand) for term, operand in zip(terms, operands, strict=True)]
        term, side = sides[0]
        # From left to right, two operands at a time; letters that a later operand or the output needs are kept.
        for count, (other, operand) in enumerate(sides[1:], 2):
            needed = set(output).union(*(later for later, _ in sides[count:]))
            kept = "".join(dict.fromkeys(letter for letter in term + other if letter in needed))
            kept = output if count == len(sides) else kept
            term, side = kept, torch.einsum(f"{term},{other}->{kept}", [side, operand])
        return torch.einsum(f"{term}->{output}", [side]) if term != output else side

    aten = torch.ops.aten
    return {
        aten.cdist.default: cdist,
        aten.bilinear.default: bilinear,
        aten.addbmm.default: addbmm,
        aten.einsum.default: einsum,
    }


def sum_of_all(equation: str, operands: list[torch.Tensor]) -> torch.Tensor | None:
    """Return an einsum without output letters, of one operand or of two with the same letters; None for any other."""
    left, arrow, output = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    plain = "." not in left and all(len(set(term)) == len(term) for term in terms)
    if not arrow or output or not plain or len({"".join(sorted(term)) for term in terms}) > 1 or len(terms) > 2:
        return None
    if len(terms) == 1:
        return operands[0].sum()
    return (operands[0] * operands[1].permute([terms[1].index(letter) for letter in terms[0]])).sum()


def expand_equation(equation: str, ranks: list[int]) -> tuple[list[str], str] | None:
    """Return the operands' terms and the output term of an einsum, with letters in place of ellipses.

    `ranks` are the ranks of the operands. Returns None where the einsum needs no decomposition: one or two operands,
    every letter once per operand, no ellipsis, the output named.
    """
    left, arrow, output = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if arrow and len(terms) < 3 and all(len(set(term)) == len(term) for term in terms):  # an ellipsis repeats its dots
        return None
    free = [letter for letter in string.ascii_letters if letter not in equation]
    widths = [rank - len(term.replace("...", "")) for term, rank in zip(terms, ranks, strict=True)]
    # Ellipses are aligned at their ends, as broadcasting aligns axes.
    batch = free[: max((width for width, term in zip(widths, terms, strict=True) if "..." in term), default=0)]
    expanded = [
        term.replace("...", "".join(batch[len(batch) - width :])) for term, width in zip(terms, widths, strict=True)
    ]
    if arrow:
        return expanded, output.replace("...", "".join(batch))
    counts = Counter("".join(expanded))
    return expanded, "".join(batch) + "".join(sorted(key for key in counts if counts[key] == 1 and key not in batch))


def take_diagonals(term: str, operand: torch.Tensor) -> tuple[str, torch.Tensor]:
    """Replace axes of one letter by their diagonal, which becomes the last axis; return the new term and operand."""
    while repeated := next((letter for letter in term if term.count(letter) > 1), None):
        first = term.index(repeated)
        second = term.index(repeated, first + 1)
        operand = operand.diagonal(0, first, second)
        term = term[:first] + term[first + 1 : second] + term[second + 1 :] + repeated
    return term, operand
