"""Decompose ops with an argument that coremltools drops or misreads.

Before                                                   After
aten.add(x, y, alpha=a), aten.sub(x, y, alpha=a)         x + a * y, x - a * y
aten.softplus(x, beta, threshold < 20)                   where(beta * x > threshold, x, aten.softplus(x, beta))
aten.zeros_like(x, dtype=d), aten.ones_like(x, dtype=d)  aten.full(shape of x, 0 or 1, dtype=d)
aten.clamp.Tensor(x, low, high)                          minimum(maximum(x, low), high)
aten.clamp, aten.hardtanh, aten.threshold by integers    the same ops by floats
aten.std(x), aten.var(x) of a whole tensor               the mean of squares times n / (n - 1), and its root
aten.addmm(x, a, b, beta=2, alpha=3) and the like        x * 2.0 + (a @ b) * 3.0

Symptom: `torch.add(x, y, alpha=2)` silently converts to x + y, and `softplus` as if its threshold were infinite. A
boolean mask that is converted to float (attn_mask of nn.MultiheadAttention) fails with "`y` must have the same data
type", and so do clamp, hardtanh and threshold of floats with integer bounds. clamp with tensors as bounds fails with
"truth value of an array", matrix products with whole factors with "`y` must have the same data type". `x.std()` divides
by n, not by n - 1.
Cause: coremltools 9.0 reads neither `alpha` (apple/coremltools#2573) nor `threshold` nor the dtype of `zeros_like` and
`ones_like`, and gives bounds the dtype that they are written in.
Retired by: a coremltools that reads these arguments as PyTorch does (tests/export/test_coreml_passes.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from export.passes.decompose.elementwise import add_alpha, float_clamp_bounds
from export.passes.decompose.table import KEEP_OP, DecomposeOps, DecompositionTable

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram

# PyTorch's default. Above it, softplus and its asymptote are the same float32.
SOFTPLUS_THRESHOLD = 20.0


def clamp_tensor_bounds(program: ExportedProgram) -> DecompositionTable:
    """Decompose `aten.clamp.Tensor` into `aten.maximum` and `aten.minimum`."""
    import torch

    def clamp(x: torch.Tensor, low: torch.Tensor | None = None, high: torch.Tensor | None = None) -> torch.Tensor:
        x = x if low is None else torch.maximum(x, low.to(x.dtype))
        return x if high is None else torch.minimum(x, high.to(x.dtype))

    return {torch.ops.aten.clamp.Tensor: clamp}


def constants_like(program: ExportedProgram) -> DecompositionTable:
    """Decompose `aten.zeros_like` and `aten.ones_like` to another dtype into `aten.full`."""
    import torch

    aten = torch.ops.aten

    def filled_with(value: float) -> Any:
        def like(x: torch.Tensor, *, dtype: torch.dtype | None = None, **more: Any) -> Any:
            return KEEP_OP if dtype in (None, x.dtype) else torch.full(x.shape, value, dtype=dtype)

        return like

    return {aten.zeros_like.default: filled_with(0), aten.ones_like.default: filled_with(1)}


def softplus_threshold(program: ExportedProgram) -> DecompositionTable:
    """Decompose `aten.softplus` with a threshold below the default into `aten.where`."""
    import torch

    aten = torch.ops.aten

    def softplus(x: torch.Tensor, beta: float = 1.0, threshold: float = SOFTPLUS_THRESHOLD) -> Any:
        if threshold >= SOFTPLUS_THRESHOLD:
            return KEEP_OP
        return torch.where(x * beta > threshold, x, aten.softplus.default(x, beta))

    return {aten.softplus.default: softplus}


def deviations_of_all(program: ExportedProgram) -> DecompositionTable:
    """Decompose `aten.std` and `aten.var` without axes into means. Empty where every node has axes."""
    import torch

    aten = torch.ops.aten
    targets = (aten.std.correction, aten.var.correction)

    def over_all_axes(target: Any) -> Any:
        def deviation(x: torch.Tensor, dim: list[int] | None = None, **more: Any) -> Any:
            if dim is not None:
                return KEEP_OP
            correction = 1 if more.get("correction") is None else more["correction"]
            variance = (x - x.mean()).square().mean() * (x.numel() / (x.numel() - correction))
            result = variance.sqrt() if target is aten.std.correction else variance
            return result.reshape([1] * x.ndim) if more.get("keepdim") else result

        return deviation

    nodes = [node for node in program.graph_module.graph.nodes if node.target in targets]
    whole = any(len(node.args) < 2 or node.args[1] is None for node in nodes)
    return {target: over_all_axes(target) for target in targets} if whole else {}


def product_factors(program: ExportedProgram) -> DecompositionTable:
    """Decompose `aten.addmm`, `baddbmm` and `addmv` with factors other than 1. Empty where every factor is 1."""
    import torch

    aten = torch.ops.aten
    products = {aten.addmm.default: torch.mm, aten.baddbmm.default: torch.bmm, aten.addmv.default: torch.mv}

    def scaled(product: Any) -> Any:
        def add(x: torch.Tensor, a: torch.Tensor, b: torch.Tensor, *, beta: float = 1, alpha: float = 1) -> Any:
            if beta == alpha == 1 or not x.is_floating_point():
                return KEEP_OP
            return x * float(beta) + product(a, b) * float(alpha)

        return add

    nodes = [node for node in program.graph_module.graph.nodes if node.target in products]
    factors = any(node.kwargs.get(key, 1) != 1 for node in nodes for key in ("alpha", "beta"))
    return {target: scaled(product) for target, product in products.items()} if factors else {}


decompose_arguments = DecomposeOps(
    "decompose_arguments",
    clamp_tensor_bounds,
    constants_like,
    softplus_threshold,
    add_alpha,
    float_clamp_bounds,
    deviations_of_all,
    product_factors,
)
