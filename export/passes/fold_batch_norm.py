"""Batch norms become part of the layer before them, once, before any converter sees the net.

In evaluation mode a batch norm scales and shifts each channel by constants, so a convolution or linear layer can
carry it. Every converter folds them by itself, each in its own arithmetic; done here, all files of all targets hold
the same weights, and a layer of the PyTorch net can be found in any of them by its values.
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
class Seen:
    """What one run did: calls by module, who made a tensor, how many operations (and callers) read it; by `id`.

    `kept` holds every tensor, so that no id is used twice.
    """

    inputs: dict[int, list[torch.Tensor]] = field(default_factory=dict)
    maker: dict[int, nn.Module] = field(default_factory=dict)
    reads: Counter[int] = field(default_factory=Counter)
    kept: list[object] = field(default_factory=list)


def fold_batch_norm(model: EagerModel) -> PassResult[EagerModel]:
    """Fold each batch norm that is the only reader of a layer's output into the layer; the norm becomes an Identity.

    Which module reads which tensor is observed in one run of the model. A layer or norm that is called twice, has
    hooks, shares weights, or whose output has another reader stays as it is.
    """
    from torch import nn

    seen = watch(model)
    owners = Counter(id(parameter) for layer in model.submodules() for parameter in layer.parameters(recurse=False))
    identities: dict[int, nn.Module] = {}
    for norm in model.submodules():
        layer = carrier(norm, seen)
        own = [*norm.parameters(recurse=False), *(layer.parameters(recurse=False) if layer else ())]
        if layer is None or any(owners[id(parameter)] > 1 for parameter in own):
            continue
        made = folded(layer, norm)
        layer.weight, layer.bias = made.weight, made.bias
        identities[id(norm)] = nn.Identity().train(norm.training)
    for parent in model.submodules():
        for name, child in list(parent.named_children()):
            if id(child) in identities:
                setattr(parent, name, identities[id(child)])
    return PassResult(model, bool(identities))


def carrier(norm: nn.Module, seen: Seen) -> nn.Module | None:
    """The layer that can carry `norm`, or None."""
    from torch import nn

    kinds = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    calls = seen.inputs.get(id(norm), [])
    if type(norm) not in kinds or len(calls) != 1 or norm.training or norm.running_mean is None:
        return None
    layer = seen.maker.get(id(calls[0]))
    if layer is None or len(seen.inputs[id(layer)]) != 1 or seen.reads[id(calls[0])] != 1:
        return None
    flat, transposed = type(layer) is nn.Linear, isinstance(layer, nn.modules.conv._ConvTransposeNd)
    convolution = type(layer) in (nn.Conv1d, nn.Conv2d, nn.Conv3d)
    fits = convolution or (transposed and layer.groups == 1) or (flat and calls[0].ndim == 2)
    hooked = any(module._forward_hooks or module._forward_pre_hooks for module in (layer, norm))
    return layer if fits and not hooked and calls[0].dtype == layer.weight.dtype else None


def folded(layer: nn.Module, norm: nn.Module) -> Any:
    """A copy of `layer` that does what `layer` and then `norm` do; the products in double precision."""
    from torch import nn
    from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

    dtype: Any = layer.weight.dtype
    pair: Any = (copy.deepcopy(layer).double(), copy.deepcopy(norm).double())
    if isinstance(layer, nn.Linear):
        made: Any = fuse_linear_bn_eval(pair[0], pair[1])
    else:
        made = fuse_conv_bn_eval(pair[0], pair[1], transpose=isinstance(layer, nn.modules.conv._ConvTransposeNd))
    return made.to(dtype).requires_grad_(False)


def watch(model: EagerModel) -> Seen:
    """Run the model once and record its calls."""
    seen = Seen()
    with hooks(model, seen), reading(seen):
        ends = model.run()
    seen.kept += ends.values()
    seen.reads.update([id(value) for value in ends.values()])
    return seen


@contextmanager
def hooks(model: EagerModel, seen: Seen) -> Iterator[None]:
    import torch

    def before(module: nn.Module, given: tuple[Any, ...]) -> None:
        if not given:
            return
        seen.inputs.setdefault(id(module), []).append(given[0])
        seen.kept += given

    def after(module: nn.Module, given: tuple[Any, ...], made: Any) -> None:
        if isinstance(made, torch.Tensor) and not list(module.children()):
            seen.maker[id(made)] = module
            seen.kept.append(made)

    placed = [leaf.register_forward_pre_hook(before) for leaf in model.submodules()]
    placed += [leaf.register_forward_hook(after) for leaf in model.submodules()]
    try:
        yield
    finally:
        for hook in placed:
            hook.remove()


@contextmanager
def reading(seen: Seen) -> Iterator[None]:
    """Count the operations that make tensors of a tensor; looking at its shape is no reading."""
    import torch
    from torch.overrides import TorchFunctionMode
    from torch.utils._pytree import tree_leaves

    class Counting(TorchFunctionMode):
        def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            made = function(*args, **(kwargs or {}))
            tensors = [value for value in tree_leaves(made) if isinstance(value, torch.Tensor)]
            if tensors:
                given = {id(v): v for v in tree_leaves((args, kwargs)) if isinstance(v, torch.Tensor)}
                seen.reads.update(list(given))
                seen.kept += [*given.values(), *tensors]
            return made

    with Counting():
        yield
