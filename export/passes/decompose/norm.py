"""Decompose normalization ops."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from export.passes.decompose.table import KEEP_OP, DecompositionTable

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram


def rms_norm(program: ExportedProgram) -> DecompositionTable:
    """Decompose `aten.rms_norm` into x * rsqrt(mean(x^2) + eps) * weight (Zhang and Sennrich 2019).

    Without `eps`, PyTorch adds the machine epsilon of the input's dtype.
    """
    import torch

    def normalize(
        x: torch.Tensor, shape: list[int], weight: torch.Tensor | None = None, eps: float | None = None
    ) -> torch.Tensor:
        axes = list(range(x.ndim - len(shape), x.ndim))
        epsilon = torch.finfo(x.dtype).eps if eps is None else eps
        output = x * torch.rsqrt(x.square().mean(axes, keepdim=True) + epsilon)
        return output if weight is None else output * weight

    return {torch.ops.aten.rms_norm.default: normalize}


def statistics(program: ExportedProgram) -> DecompositionTable:
    """Decompose `aten.batch_norm` that normalizes by its batch, and `aten.instance_norm` that has running statistics.

    Before: batch_norm(x, training=True)                 After: (x - mean) * rsqrt(variance + eps) * weight + bias
    Before: instance_norm(x, mean, variance, use_input_stats=False)      After: batch_norm(x, mean, variance)

    PyTorch's own decompositions turn the first into `aten._native_batch_norm_legit.no_stats`, which is decomposed as
    well.

    Symptom: "a statistic is computed at run time" in TF.js. coremltools 9.0 ignores `use_input_stats`, and its values
    are silently wrong. The table is empty where neither stands.
    """
    import torch

    aten = torch.ops.aten
    batch, instance = aten.batch_norm.default, aten.instance_norm.default

    def batch_norm(x: torch.Tensor, *arguments: Any) -> Any:
        weight, bias, _, _, training, momentum, eps, *_ = arguments
        return native(x, weight, bias, training, momentum, eps)[0] if training else KEEP_OP

    def native(x: torch.Tensor, weight: Any, bias: Any, training: bool, momentum: float, eps: float) -> Any:
        axes = [axis for axis in range(x.ndim) if axis != 1]
        mean = x.mean(axes, keepdim=True)
        # The mean is subtracted before squaring: a difference of two large sums would cancel.
        centred = x - mean
        scale = torch.rsqrt(centred.square().mean(axes, keepdim=True) + eps)
        return scale_channels(centred * scale, weight, bias), mean.flatten(), scale.flatten()

    def instance_norm(x: torch.Tensor, *arguments: Any) -> Any:
        weight, bias, mean, variance, use_input_stats, momentum, eps, *_ = arguments
        if use_input_stats:
            return KEEP_OP
        return batch(x, weight, bias, mean, variance, False, momentum, eps, False)

    # The flag follows x, weight, bias, running_mean and running_var in both schemas.
    nodes = program.graph_module.graph.nodes
    by_batch = any(node.target is batch and node.args[5] for node in nodes)
    by_running = any(node.target is instance and not node.args[5] for node in nodes)
    table: DecompositionTable = {
        batch: batch_norm,
        instance: instance_norm,
        aten._native_batch_norm_legit.no_stats: native,
    }
    return table if by_batch or by_running else {}


def scale_channels(x: torch.Tensor, weight: torch.Tensor | None, bias: torch.Tensor | None) -> torch.Tensor:
    """Multiply channel c of x [N, C, ...] by weight[c] and add bias[c], where they are given."""
    shape = [1, -1] + [1] * (x.ndim - 2)
    x = x if weight is None else x * weight.reshape(shape)
    return x if bias is None else x + bias.reshape(shape)
