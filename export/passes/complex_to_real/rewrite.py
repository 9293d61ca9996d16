"""Complex numbers as pairs of real ones: no format but ONNX has them.

A program that computes with complex tensors somewhere (Fourier features, rotary embeddings) is run once more with
pairs in their place, and exported from that. What enters and leaves it, its weights too, is real.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from export.passes.aten import op_name
from export.passes.base import PassResult
from export.passes.complex_to_real.arithmetic import Pair, handlers
from export.passes.complex_to_real.fourier import Transform, fft, irfft, rfft

if TYPE_CHECKING:
    import torch
    from torch import fx
    from torch.export import ExportedProgram

# Ops that do to each part what they do to the whole.
BOTH = {
    "view", "reshape", "_unsafe_view", "permute", "transpose", "unsqueeze", "squeeze", "expand", "flatten", "unflatten",
    "slice", "select", "narrow", "cat", "stack", "flip", "roll", "index_select", "clone", "contiguous", "repeat", "t",
    "split", "split_with_sizes", "chunk", "unbind", "constant_pad_nd", "pad", "sum", "mean", "neg", "detach", "alias",
    "copy_", "movedim", "resolve_conj", "resolve_neg", "lift_fresh_copy", "expand_as", "swapaxes", "zeros_like",
}  # fmt: skip


def complex_to_real(program: ExportedProgram) -> PassResult[ExportedProgram]:
    """Replace complex tensors by pairs of real tensors, by running the program once more and exporting that run.

    The program stays as it is where it has no complex tensor, and where it has an op on complex tensors without a
    real counterpart here: ONNX takes some of these ops, and the other targets name the op that they refuse.
    """
    import torch

    if not any(is_complex(node) for node in program.graph_module.graph.nodes):
        return PassResult(program, False)
    graph = program.module(check_guards=False)

    class Real(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for name, child in graph.named_children():
                self.add_module(name, child)

        def forward(self, *inputs: torch.Tensor) -> Any:
            return interpreter(graph).run(*inputs)

    try:
        with torch.no_grad():
            real = torch.export.export(Real().eval(), program.example_inputs[0], strict=False)
    except (NotImplementedError, TypeError):  # an op, or an argument of an op, without a real counterpart
        return PassResult(program, False)
    if any(is_complex(node) for node in real.graph_module.graph.nodes):  # a complex weight
        return PassResult(program, False)
    return PassResult(real, True)


def is_complex(node: fx.Node) -> bool:
    from torch.utils import _pytree

    values = _pytree.tree_leaves(node.meta.get("val"))
    return any(getattr(value, "dtype", None) is not None and value.dtype.is_complex for value in values)


def interpreter(graph: fx.GraphModule) -> fx.Interpreter:
    import torch

    class Pairs(torch.fx.Interpreter):
        node: fx.Node

        def run_node(self, n: fx.Node) -> Any:
            self.node = n
            return super().run_node(n)

        def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            name = op_name(target)
            if not has_pair((args, kwargs)) and not is_complex(self.node):
                # Of real to real: back from a spectrum that was given as real.
                if name.startswith("fft_") and not name.endswith("shift"):
                    return fourier(name, *args, **kwargs)
                return super().call_function(target, args, kwargs)
            return on_pairs(target, name, args, kwargs)

        def get_attr(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            value = super().get_attr(target, args, kwargs)
            if isinstance(value, torch.Tensor) and value.is_complex():
                return Pair(value.real.clone(), value.imag.clone())
            return value

    return Pairs(graph)


def has_pair(values: Any) -> bool:
    from torch.utils import _pytree

    return any(isinstance(value, Pair) for value in _pytree.tree_leaves(values))


def on_pairs(target: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The op on pairs, or one that makes a pair."""
    import operator

    if target is operator.getitem:
        return args[0][args[1]]
    if name in ("fft_fftshift", "fft_ifftshift"):
        return shifted(name, *args, **kwargs)
    if name.startswith("fft_"):
        return fourier(name, *args, **kwargs)
    if name in BOTH:
        return apart(target, args, kwargs)
    if name in ("zeros", "ones", "empty", "new_zeros"):
        return created(target, args, kwargs)
    ways = handlers()
    if name.removesuffix("_") not in ways:
        raise NotImplementedError(f"complex numbers in {name!r} (there is a way for {', '.join(sorted(ways))})")
    made = ways[name.removesuffix("_")](*args, **kwargs)
    if name.endswith("_"):
        args[0].real.copy_(made.real)
        args[0].imag.copy_(made.imag)
        return args[0]
    return made


def apart(target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The op on the real parts and on the imaginary ones; a real operand has none."""
    import torch
    from torch.utils import _pytree

    def one(part: str, value: Any) -> Any:
        if isinstance(value, Pair):
            return getattr(value, part)
        real = isinstance(value, torch.Tensor) and value.is_floating_point()
        return torch.zeros_like(value) if real and part == "imag" else value

    def side(part: str) -> Any:
        of_part = partial(_pytree.tree_map, partial(one, part))
        return target(*of_part(args), **{key: of_part(value) for key, value in kwargs.items() if key != "dtype"})

    real, imag = side("real"), side("imag")
    if isinstance(real, list | tuple):
        return [Pair(*both) for both in zip(real, imag, strict=True)]
    return Pair(real, imag)


def created(target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Pair:
    """Zeros or ones; a number is the real part of each value."""
    import torch

    real = target(*args, **kwargs | {"dtype": torch.float32})
    return Pair(real, torch.zeros_like(real))


def fourier(name: str, x: Any, size: Any = None, dim: Any = None, norm: str | None = None) -> Any:
    """`fft_rfft2` and its kin: along one axis after another; the half spectrum is of the last."""
    import torch

    kind = name.removeprefix("fft_")
    base = kind.rstrip("2n") if kind not in ("fft", "ifft", "rfft", "irfft") else kind
    if base == kind:
        dims, sizes = [-1 if dim is None else dim], [size]
    else:
        count = len(size) if size is not None else (2 if kind.endswith("2") else rank(x))
        dims = list(range(-count, 0)) if dim is None else list(dim)
        sizes = [None] * len(dims) if size is None else [None if each == -1 else each for each in size]
    steps = [Transform(axis, each, norm) for axis, each in zip(dims, sizes, strict=True)]
    if base == "rfft":
        made = rfft(x, steps[-1])
        for step in reversed(steps[:-1]):
            made = fft(made, step)
        return made
    pair = x if isinstance(x, Pair) else Pair(x, torch.zeros_like(x))
    if base == "irfft":
        for step in steps[:-1]:
            pair = fft(pair, step, inverse=True)
        return irfft(pair, steps[-1])
    if base not in ("fft", "ifft"):
        raise NotImplementedError(f"complex numbers in {name!r} (there is a way for fft, ifft, rfft and irfft)")
    for step in steps:
        pair = fft(pair, step, inverse=base == "ifft")
    return pair


def shifted(name: str, x: Pair, dim: Any = None) -> Pair:
    """The first value in the middle, or back."""
    import torch

    axes = list(range(rank(x))) if dim is None else list(dim)
    halves = [x.real.shape[axis] // 2 for axis in axes]
    steps = halves if name == "fft_fftshift" else [-half for half in halves]
    return Pair(torch.roll(x.real, steps, axes), torch.roll(x.imag, steps, axes))


def rank(x: Any) -> int:
    found: int = (x.real if isinstance(x, Pair) else x).ndim
    return found
