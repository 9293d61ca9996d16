"""Replace complex tensors by pairs of real tensors: no format but ONNX has complex dtypes.

A program with complex tensors inside (Fourier features, rotary embeddings) is run once more with pairs in their place
and exported from that run. Its inputs, outputs and weights are real.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from export.passes.aten import op_name
from export.passes.base import PassResult
from export.passes.complex_to_real.arithmetic import Pair, as_pair, conj, handlers
from export.passes.complex_to_real.fourier import Transform, fft, irfft, rfft
from export.passes.complex_to_real.stft import istft, stft

if TYPE_CHECKING:
    import torch
    from torch import fx
    from torch.export import ExportedProgram

# Ops that apply to the real and imaginary parts separately.
PER_PART = {
    "view", "reshape", "_unsafe_view", "permute", "transpose", "unsqueeze", "squeeze", "expand", "flatten", "unflatten",
    "slice", "select", "narrow", "cat", "stack", "flip", "roll", "index_select", "clone", "contiguous", "repeat", "t",
    "split", "split_with_sizes", "chunk", "unbind", "constant_pad_nd", "pad", "sum", "mean", "neg", "detach", "alias",
    "copy_", "movedim", "resolve_conj", "resolve_neg", "lift_fresh_copy", "expand_as", "swapaxes", "zeros_like",
}  # fmt: skip


def complex_to_real(program: ExportedProgram) -> PassResult[ExportedProgram]:
    """Replace complex tensors by pairs of real tensors, by running the program once more and exporting that run.

    The program stays as it is where it has no complex tensor. It also stays where it has an op on complex tensors
    without an implementation on pairs: ONNX supports some of these ops, and the other targets name the op in their
    error.
    """
    import torch

    if not any(is_complex(node) or is_transform(node) for node in program.graph_module.graph.nodes):
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


def is_transform(node: fx.Node) -> bool:
    """Return whether a node is a Fourier transform: `hfft` of a real tensor has no complex tensor outside of it."""
    name = op_name(node.target) if node.op == "call_function" else ""
    return name.startswith("fft_") and not name.endswith("shift")


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
                # The operand is a spectrum without an imaginary part, stored as a real tensor.
                if name.startswith("fft_") and not name.endswith("shift"):
                    return transform(name, *args, **kwargs)
                return super().call_function(target, args, kwargs)
            return call_on_pairs(target, name, args, kwargs)

        def get_attr(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            value = super().get_attr(target, args, kwargs)
            if isinstance(value, torch.Tensor) and value.is_complex():
                return Pair(value.real.clone(), value.imag.clone())
            return value

    return Pairs(graph)


def has_pair(values: Any) -> bool:
    from torch.utils import _pytree

    return any(isinstance(value, Pair) for value in _pytree.tree_leaves(values))


def call_on_pairs(target: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call an op that takes or returns complex tensors.

    Raises NotImplementedError for an op without an implementation on pairs.
    """
    import operator

    if target is operator.getitem:
        return args[0][args[1]]
    if name in ("fft_fftshift", "fft_ifftshift"):
        return fftshift(name, *args, **kwargs)
    if name.startswith("fft_"):
        return transform(name, *args, **kwargs)
    if name == "stft":
        return stft(*args, **kwargs)
    if name == "istft":
        return istft(*args, **kwargs)
    if name in PER_PART:
        return apply_per_part(target, args, kwargs)
    if name in ("zeros", "ones", "empty", "new_zeros"):
        return create(target, args, kwargs)
    implementations = handlers()
    if name.removesuffix("_") not in implementations:
        supported = ", ".join(sorted(implementations))
        raise NotImplementedError(f"aten.{name} on complex tensors (supported: {supported})")
    result = implementations[name.removesuffix("_")](*args, **kwargs)
    if name.endswith("_"):
        args[0].real.copy_(result.real)
        args[0].imag.copy_(result.imag)
        return args[0]
    return result


def apply_per_part(target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Apply an op to the real parts and to the imaginary parts; the imaginary part of a real operand is zero."""
    import torch
    from torch.utils import _pytree

    def part_of(part: str, value: Any) -> Any:
        if isinstance(value, Pair):
            return getattr(value, part)
        real = isinstance(value, torch.Tensor) and value.is_floating_point()
        return torch.zeros_like(value) if real and part == "imag" else value

    def apply_to(part: str) -> Any:
        of_part = partial(_pytree.tree_map, partial(part_of, part))
        return target(*of_part(args), **{key: of_part(value) for key, value in kwargs.items() if key != "dtype"})

    real, imag = apply_to("real"), apply_to("imag")
    if isinstance(real, list | tuple):
        return [Pair(*both) for both in zip(real, imag, strict=True)]
    return Pair(real, imag)


def create(target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Pair:
    """Return zeros or ones as a pair with a zero imaginary part."""
    import torch

    real = target(*args, **kwargs | {"dtype": torch.float32})
    return Pair(real, torch.zeros_like(real))


def transform(name: str, x: Any, size: Any = None, dim: Any = None, norm: str | None = None) -> Any:
    """Compute `aten.fft_fft`, `fft_rfft2` and the like, one axis after another; the last one has the half spectrum.

    A Hermitian transform is the real one of the conjugate, scaled in the other direction. Raises NotImplementedError
    for a transform that torch.fft does not have.
    """
    import torch

    full = name.removeprefix("fft_")
    if full.startswith(("hfft", "ihfft")):
        other = {None: "forward", "backward": "forward", "forward": "backward"}.get(norm, norm)
        if full.startswith("i"):
            return conj(transform(f"fft_r{full[2:]}", x, size, dim, other))
        return transform(f"fft_ir{full[1:]}", conj(as_pair(x)), size, dim, other)
    base = full.rstrip("2n") if full not in ("fft", "ifft", "rfft", "irfft") else full
    if base == full:
        dims, sizes = [-1 if dim is None else dim], [size]
    else:
        count = len(size) if size is not None else (2 if full.endswith("2") else rank(x))
        dims = list(range(-count, 0)) if dim is None else list(dim)
        sizes = [None] * len(dims) if size is None else [None if each == -1 else each for each in size]
    steps = [Transform(axis, each, norm) for axis, each in zip(dims, sizes, strict=True)]
    if base == "rfft":
        spectrum = rfft(x, steps[-1])
        for step in reversed(steps[:-1]):
            spectrum = fft(spectrum, step)
        return spectrum
    pair = x if isinstance(x, Pair) else Pair(x, torch.zeros_like(x))
    if base == "irfft":
        for step in steps[:-1]:
            pair = fft(pair, step, inverse=True)
        return irfft(pair, steps[-1])
    if base not in ("fft", "ifft"):
        raise NotImplementedError(f"aten.{name} (supported: fft, ifft, rfft, irfft, hfft and ihfft)")
    for step in steps:
        pair = fft(pair, step, inverse=base == "ifft")
    return pair


def fftshift(name: str, x: Pair, dim: Any = None) -> Pair:
    """Roll the zero frequency to the middle (`fftshift`), or back (`ifftshift`)."""
    import torch

    axes = list(range(rank(x))) if dim is None else list(dim)
    halves = [x.real.shape[axis] // 2 for axis in axes]
    steps = halves if name == "fft_fftshift" else [-half for half in halves]
    return Pair(torch.roll(x.real, steps, axes), torch.roll(x.imag, steps, axes))


def rank(x: Any) -> int:
    axes: int = (x.real if isinstance(x, Pair) else x).ndim
    return axes
