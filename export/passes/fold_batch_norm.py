"""Fold batch norms into the layers before them, once, before any converter sees the net.

In evaluation mode a batch norm scales and shifts each channel by constants, so the weight and bias of the convolution
or linear layer before it can carry them. Every converter folds norms in its own arithmetic. Because norms are folded
here, the files of all targets hold the same weights, and a layer of the PyTorch net is identified in any file by its
elements.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from export.passes.base import PassResult
from export.passes.eager import EagerModel

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(slots=True)
class Trace:
    """Record one run of the model, keyed by `id` of modules and tensors.

    `inputs`: the first argument of each call of a module. `producer`: the leaf module that returned a tensor. `reads`:
    how many functions read a tensor; being an output of the model counts as one. `alive` holds every tensor, so that no
    id is reused during the run.
    """

    inputs: dict[int, list[torch.Tensor]] = field(default_factory=dict)
    producer: dict[int, nn.Module] = field(default_factory=dict)
    reads: Counter[int] = field(default_factory=Counter)
    alive: list[object] = field(default_factory=list)


def fold_batch_norm(model: EagerModel) -> PassResult[EagerModel]:
    """Fold each batch norm that is the only reader of a layer's output into the layer; the norm becomes an Identity.

    Before: BatchNorm(Conv(x)). After: Identity(Conv'(x)), exact in real arithmetic.
    Which module reads which tensor is observed in one run of the model. A layer or norm that is called twice, has
    hooks, shares weights, or whose output has another reader stays as it is.
    """
    from torch import nn

    trace = record(model)
    owners = Counter(id(parameter) for layer in model.submodules() for parameter in layer.parameters(recurse=False))
    identities: dict[int, nn.Module] = {}
    for norm in model.submodules():
        layer = foldable_layer(norm, trace)
        parameters = [*norm.parameters(recurse=False), *(layer.parameters(recurse=False) if layer else ())]
        if layer is None or any(owners[id(parameter)] > 1 for parameter in parameters):
            continue
        fused = fuse(layer, norm)
        layer.weight, layer.bias = fused.weight, fused.bias
        identities[id(norm)] = nn.Identity().train(norm.training)
    for parent in model.submodules():
        for name, child in list(parent.named_children()):
            if id(child) in identities:
                setattr(parent, name, identities[id(child)])
    return PassResult(model, bool(identities))


def foldable_layer(norm: nn.Module, trace: Trace) -> nn.Module | None:
    """Return the layer that `norm` can be folded into, or None."""
    from torch import nn

    norms = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    calls = trace.inputs.get(id(norm), [])
    if type(norm) not in norms or len(calls) != 1 or norm.training or norm.running_mean is None:
        return None
    layer = trace.producer.get(id(calls[0]))
    if layer is None or len(trace.inputs[id(layer)]) != 1 or trace.reads[id(calls[0])] != 1:
        return None
    linear, transposed = type(layer) is nn.Linear, isinstance(layer, nn.modules.conv._ConvTransposeNd)
    convolution = type(layer) in (nn.Conv1d, nn.Conv2d, nn.Conv3d)
    fits = convolution or (transposed and layer.groups == 1) or (linear and calls[0].ndim == 2)
    hooked = any(module._forward_hooks or module._forward_pre_hooks for module in (layer, norm))
    return layer if fits and not hooked and calls[0].dtype == layer.weight.dtype else None


def fuse(layer: nn.Module, norm: nn.Module) -> Any:
    """Return a copy of `layer` that computes `norm(layer(x))`; the weights are multiplied in float64."""
    from torch import nn
    from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

    dtype: Any = layer.weight.dtype
    pair: Any = (copy.deepcopy(layer).double(), copy.deepcopy(norm).double())
    if isinstance(layer, nn.Linear):
        fused: Any = fuse_linear_bn_eval(pair[0], pair[1])
    else:
        fused = fuse_conv_bn_eval(pair[0], pair[1], transpose=isinstance(layer, nn.modules.conv._ConvTransposeNd))
    return fused.to(dtype).requires_grad_(False)


def record(model: EagerModel) -> Trace:
    """Run the model once and return which module read and returned which tensor."""
    trace = Trace()
    with module_hooks(model, trace), counted_reads(trace):
        tensors = model.run()
    trace.alive += tensors.values()
    trace.reads.update([id(value) for value in tensors.values()])
    return trace


@contextmanager
def module_hooks(model: EagerModel, trace: Trace) -> Iterator[None]:
    """Record the inputs of every module and the outputs of leaf modules while the context lasts."""
    import torch

    def before(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if not inputs:
            return
        trace.inputs.setdefault(id(module), []).append(inputs[0])
        trace.alive += inputs

    def after(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if isinstance(output, torch.Tensor) and not list(module.children()):
            trace.producer[id(output)] = module
            trace.alive.append(output)

    handles = [module.register_forward_pre_hook(before) for module in model.submodules()]
    handles += [module.register_forward_hook(after) for module in model.submodules()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def counted_reads(trace: Trace) -> Iterator[None]:
    """Count the functions that compute tensors from a tensor; reading its shape does not count."""
    import torch
    from torch.overrides import TorchFunctionMode
    from torch.utils._pytree import tree_leaves

    class Counting(TorchFunctionMode):
        def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            output = function(*args, **(kwargs or {}))
            tensors = [value for value in tree_leaves(output) if isinstance(value, torch.Tensor)]
            if tensors:
                inputs = {id(v): v for v in tree_leaves((args, kwargs)) if isinstance(v, torch.Tensor)}
                trace.reads.update(list(inputs))
                trace.alive += [*inputs.values(), *tensors]
            return output

    with Counting():
        yield
