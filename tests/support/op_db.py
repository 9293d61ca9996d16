"""Read the sample inputs of PyTorch's own op tests (`op_db` of torch.testing) as modules with tensors as inputs.

`op_db` lists every op that PyTorch tests, with inputs that PyTorch's developers chose. An op is swept at float32 with
at most `MOST_SAMPLES` of its samples, evenly spread over the variants of its name. Tensors are inputs of the module,
all other arguments are baked into it. Complex results are returned as pairs of reals, and tensors without axes are
passed as tensors of one element: the border of a file is tested elsewhere.
"""

from __future__ import annotations

import random
import sys
import unittest
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

MOST_SAMPLES = 6
# Samples of one variant that are read at most. Some ops have hundreds.
MOST_READ = 400
# The largest number of elements of a sample's inputs: a few samples of PyTorch are made to fill a GPU.
MOST_ELEMENTS = 1_000_000
SEED = 20261130

# Why an op of `op_db` is not swept. Ops that fail a check of `sample_fault` are found by running them.
NO_FORWARD = "no float32 forward"
RANDOM = "random: its results are drawn"
IN_PLACE = "writes into its input: torch.export makes it functional, and its functional form is swept"
CONSTANT = "has no tensor among its inputs: a constant of the file"
NO_TENSOR = "returns no tensor"
UNINITIALISED = "returns uninitialised memory"
CUDA_ONLY = "runs on CUDA only"
SPARSE = "takes or returns sparse tensors"
EMPTY = "its samples are all empty, complex, too large or fail in PyTorch itself"
DATA_DEPENDENT = "its output shape depends on the values of its inputs"


@dataclass(frozen=True, slots=True)
class Sample:
    """One call of an op: a tree of arguments whose tensors are `tensors`, in order."""

    op: Any
    leaves: tuple[Any, ...]
    tree: pytree.TreeSpec
    tensors: tuple[Tensor, ...]

    def call(self, tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Call the op with other tensors, and return its results as a flat tuple of real tensors."""
        supply = (given if own.ndim else given.reshape(()) for given, own in zip(tensors, self.tensors, strict=True))
        leaves = [next(supply) if isinstance(leaf, Tensor) else leaf for leaf in self.leaves]
        first, args, kwargs = pytree.tree_unflatten(leaves, self.tree)
        flat = pytree.tree_leaves(self.op(first, *args, **kwargs))
        return tuple(real(value) for value in flat if isinstance(value, Tensor))


@dataclass(frozen=True, slots=True)
class SweptOp:
    """An op with its samples, or with the reason for which it is left out."""

    name: str
    samples: tuple[Sample, ...] = ()
    left_out: str = ""


class Calls(nn.Module):
    """The calls of some samples, one after the other: their tensors are the inputs, their results the outputs."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        super().__init__()
        self.samples = tuple(samples)

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        supply = iter(tensors)
        return tuple(
            value for sample in self.samples for value in sample.call(tuple(islice(supply, len(sample.tensors))))
        )


def real(value: Tensor) -> Tensor:
    """Return complex elements as pairs, and a tensor without axes as one of one element."""
    value = torch.view_as_real(value.resolve_conj()) if value.is_complex() else value
    return value if value.ndim else value.reshape(1)


@lru_cache(maxsize=1)
def op_infos() -> dict[str, tuple[Any, ...]]:
    """Return the variants of every op of `op_db` by name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # torch.testing derives its TestCase from this package's, and uses nothing else of it here.
        stub = ModuleType("expecttest")
        # mypy: a module made here has no declared attributes.
        stub.TestCase = unittest.TestCase  # type: ignore[attr-defined]
        sys.modules.setdefault("expecttest", stub)
        from torch.testing._internal import common_methods_invocations
    # Random ops are called with a fixed seed, which hides that they draw from the generator.
    vars(common_methods_invocations)["wrapper_set_seed"] = lambda op, *args, **kwargs: op(*args, **kwargs)
    by_name: dict[str, list[Any]] = {}
    for info in common_methods_invocations.op_db:
        by_name.setdefault(info.name, []).append(info)
    return {name: tuple(infos) for name, infos in sorted(by_name.items())}


def swept_op(name: str) -> SweptOp:
    """Return the op called `name` with its samples. The samples are the same in every process."""
    infos = [info for info in op_infos()[name] if torch.float32 in info.dtypes]
    if not infos:
        return SweptOp(name, left_out=NO_FORWARD)
    if name.startswith("jiterator"):
        return SweptOp(name, left_out=CUDA_ONLY)
    if "empty" in name.split(".")[-1].split("_"):
        return SweptOp(name, left_out=UNINITIALISED)
    seed_all()
    read = [sample for info in infos for sample in islice(samples_of(info), MOST_READ)]
    faults, good = [], []
    for sample in spread(read):
        fault = sample_fault(sample)
        if fault:
            faults.append(fault)
        else:
            good.append(sample)
        if len(good) == MOST_SAMPLES:
            break
    return SweptOp(name, tuple(good)) if good else SweptOp(name, left_out=faults[0] if faults else EMPTY)


def seed_all() -> None:
    random.seed(SEED)
    np.random.seed(SEED)  # noqa: NPY002  # the generator that PyTorch's samples are drawn from
    torch.manual_seed(SEED)


def samples_of(info: Any) -> Iterator[Sample]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for item in info.sample_inputs("cpu", torch.float32):
            leaves, tree = pytree.tree_flatten((item.input, tuple(item.args), dict(item.kwargs)))
            leaves = [owned(leaf) if isinstance(leaf, Tensor) else leaf for leaf in leaves]
            yield Sample(info.op, tuple(leaves), tree, tuple(leaf for leaf in leaves if isinstance(leaf, Tensor)))


def owned(tensor: Tensor) -> Tensor:
    """Return a copy as a file's input is: contiguous, without history."""
    tensor = tensor.detach()
    return tensor if tensor.layout is not torch.strided else tensor.clone(memory_format=torch.contiguous_format)


def spread(samples: Sequence[Sample]) -> Iterator[Sample]:
    """Yield all samples in an order in which any first few are evenly spread: by halves, quarters, eighths."""
    count, seen = len(samples), set[int]()
    step = count
    while len(seen) < count and step:
        for index in range(0, count, step):
            if index not in seen:
                seen.add(index)
                yield samples[index]
        step = step // 2


def sample_fault(sample: Sample) -> str:
    """Return why a sample cannot be swept, or ""."""
    if any(tensor.layout is not torch.strided for tensor in sample.tensors):
        return SPARSE
    if not sample.tensors:
        return CONSTANT
    sizes = [tensor.numel() for tensor in sample.tensors]
    if min(sizes) == 0 or sum(sizes) > MOST_ELEMENTS or any(tensor.is_complex() for tensor in sample.tensors):
        return EMPTY
    return run_fault(sample)


def run_fault(sample: Sample) -> str:
    """Run the op once and return why its result cannot be judged, or "". A random op draws from the generator."""
    state, inputs = torch.get_rng_state(), [tensor.clone() for tensor in sample.tensors]
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            results = sample.call(inputs)
    except Exception:  # noqa: BLE001  # samples of errors, and ops that need another build of PyTorch
        return EMPTY
    if not torch.equal(state, torch.get_rng_state()):
        return RANDOM
    if any(
        not torch.equal(new.nan_to_num(), old.nan_to_num()) for new, old in zip(inputs, sample.tensors, strict=True)
    ):
        return IN_PLACE
    if any(value.layout is not torch.strided for value in results):
        return SPARSE
    if not results:
        return NO_TENSOR
    return EMPTY if any(value.numel() == 0 for value in results) else ""
