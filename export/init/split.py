"""Split one net into an encoder and its heads: python -m export init DEST FACTORY --split encoder=... heads.depth=...

The net runs once with hooks on all of its submodules. The encoder must read the net's inputs, each head tensors that
the encoder returned, and every output of the net must be returned by one of the parts. Then the parts run alone on
drawn inputs, and their outputs must be the net's.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from export.init.net import KnownInput, Origin, flatten
from export.init.observe import Seen, example_of, infer_ranges, match_inputs, run_module
from export.init.request import InitRequest, Part
from hydramobile.errors import UsageError
from hydramobile.spec import TENSOR_NAME
from hydramobile.submodules import leaves, pack, unknown_path

if TYPE_CHECKING:
    import torch

# Drawn inputs by which the parts are compared with the net.
DRAWS = 3
# The parts run the kernels of the net. A larger difference, as a share of the largest element, is another function.
TOLERANCE = 1e-6

Leaves = list[tuple[tuple[str, ...], Any]]


@dataclass(slots=True)
class Calls:
    """One run of the net: the arguments and results of each submodule's calls, and the net's outputs."""

    arguments: dict[torch.nn.Module, list[tuple[tuple[Any, ...], dict[str, Any]]]] = field(default_factory=dict)
    results: dict[torch.nn.Module, list[Leaves]] = field(default_factory=dict)
    outputs: Leaves = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Cut:
    """A part: its module, the nested arguments of its forward by tensor name, and its outputs by name."""

    part: Part
    module: torch.nn.Module
    arguments: list[Any]
    outputs: Mapping[str, Any]

    @property
    def inputs(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(leaves(self.arguments)))


def split_net(origin: Origin, request: InitRequest) -> None:
    """Replace the origin's net by its parts. Raises UsageError where the parts do not compute the net's outputs."""
    if len(origin.modules) != 1:
        raise UsageError(f"--split: {request.origins[0]} returns modules already: {', '.join(origin.modules)}")
    ((old, net),) = origin.modules.items()
    modules = find_parts(net, request)
    given = match_inputs(origin, request.inputs)[old]
    infer_ranges(net, given, [example_of(seen) for seen in given])
    values = {seen.name: example_of(seen) for seen in given}
    calls = record(net, list(values.values()))
    cuts = cut(request.split, modules, calls, values)
    sources = match_outputs(net, calls, cuts)
    compare(net, given, cuts, sources)

    encoder = cuts[0].part.name
    origin.inputs, origin.modules = {encoder: origin.inputs[old]}, modules
    origin.outputs = {encoder: tuple(cuts[0].outputs)}
    for each in cuts:
        pack(each.module, each.inputs, each.arguments)
        origin.arguments[each.part.name], origin.submodules[each.part.name] = each.arguments, each.part.path
        origin.inputs.setdefault(each.part.name, tuple(map(KnownInput, each.inputs)))
    parts = ", ".join(f"{part.name} ({part.path})" for part in request.split)
    origin.notes.append(f"split: {parts}; on {DRAWS} drawn inputs they compute the outputs of the net")


def find_parts(net: torch.nn.Module, request: InitRequest) -> dict[str, torch.nn.Module]:
    known = dict(net.named_modules(remove_duplicate=False))
    for part in request.split:
        if part.path not in known:
            unknown = unknown_path(part.path, known)
            raise UsageError(f"--split {part.name}: {request.origins[0]} gives a net without {unknown}")
    return {part.name: known[part.path] for part in request.split}


def record(net: torch.nn.Module, values: Sequence[torch.Tensor]) -> Calls:
    """Run the net with hooks on its submodules. The tensors of the result stay alive, so that `is` identifies them."""
    calls = Calls()

    def before(module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        calls.arguments.setdefault(module, []).append((args, kwargs))

    def after(module: torch.nn.Module, args: tuple[Any, ...], result: Any) -> None:
        calls.results.setdefault(module, []).append(flatten(result))

    handles = []
    for path, module in net.named_modules():
        if path:
            handles.append(module.register_forward_pre_hook(before, with_kwargs=True))
            handles.append(module.register_forward_hook(after))
    try:
        calls.outputs = run_module("net", net, values)
    finally:
        for handle in handles:
            handle.remove()
    return calls


def cut(
    parts: Sequence[Part], modules: Mapping[str, torch.nn.Module], calls: Calls, values: Mapping[str, torch.Tensor]
) -> list[Cut]:
    """Return the parts with the tensors that they read and return; the encoder comes first."""
    cuts: list[Cut] = []
    for part in parts:
        module = modules[part.name]
        count = len(calls.arguments.get(module, ()))
        if count != 1:
            raise UsageError(
                f"--split {part.name}: the net calls the module {part.path} {count} times, and a part runs once"
                + (" (calls of its methods other than forward do not count)" if not count else "")
            )
        readable, where = (cuts[0].outputs, parts[0].path) if cuts else (values, "")
        arguments = [
            named(item, readable, part, where) for item in positional(part, module, *calls.arguments[module][0])
        ]
        taken = {*values, *modules}
        outputs = dict(
            zip(tensor_names(calls.results[module][0], taken), values_of(calls.results[module][0]), strict=True)
        )
        cuts.append(Cut(part, module, arguments, outputs))
        if not cuts[-1].inputs:
            raise UsageError(f"--split {part.name}: {part.path} reads no tensor")
    if unread := [name for name in values if name not in cuts[0].inputs]:
        raise UsageError(f"--split encoder: {parts[0].path} does not read the net's input {unread[0]!r}")
    return cuts


def values_of(found: Leaves) -> list[Any]:
    return [value for _, value in found]


def tensor_names(found: Leaves, taken: set[str]) -> list[str]:
    """Return names for features: the keys of a dict, else features, features_0, ..."""
    names: list[str] = []
    for path, _ in found:
        text = re.sub(r"\W", "_", "_".join(path))
        if not TENSOR_NAME.fullmatch(text) or text in taken or text in names:
            text = "_".join(("features", *filter(None, [text])))
        names.append(text if text not in names else f"{text}_{len(names)}")
    return names


def positional(part: Part, module: torch.nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[Any]:
    """Return the arguments of a call by position. A trailing None is left to the parameter's default."""
    bound = inspect.signature(module.forward).bind(*args, **kwargs)
    if bound.kwargs:
        raise UsageError(f"--split {part.name}: {part.path} takes {', '.join(bound.kwargs)} by keyword only")
    result = list(bound.args)
    while result and result[-1] is None:
        result.pop()
    return result


def named(item: Any, readable: Mapping[str, Any], part: Part, encoder: str) -> Any:
    """Return an argument with names for its tensors. Raises UsageError for a tensor that is not among `readable`."""
    import torch

    if isinstance(item, torch.Tensor):
        name = next((name for name, value in readable.items() if value is item), None)
        if name is not None:
            return name
        what = f"is no output of {encoder}" if encoder else "is no input of the net"
        place = f"between {encoder} and {part.path}" if encoder else f"before {part.path}"
        raise UsageError(
            f"--split {part.name}: {part.path} reads a tensor {list(item.shape)} that {what}: the net computes "
            f"something {place}{differences(item, readable)}; move it into a submodule, or write a factory that "
            "returns a dict of modules"
        )
    if isinstance(item, Mapping) and all(isinstance(key, str) for key in item):
        return {key: named(value, readable, part, encoder) for key, value in item.items()}
    if isinstance(item, list) or (isinstance(item, tuple) and not hasattr(item, "_fields")):
        return [named(value, readable, part, encoder) for value in item]
    if isinstance(item, bool | int | float):
        return item
    raise UsageError(
        f"--split {part.name}: {part.path} is called with a {type(item).__name__}; features are tensors, lists, tuples "
        "or dicts of tensors"
    )


def differences(tensor: torch.Tensor, others: Mapping[str, Any]) -> str:
    """Return " (largest difference from ...)" for the nearest tensor of the same shape, "" where there is none."""
    found = {
        name: difference(tensor, other)
        for name, other in others.items()
        if other.shape == tensor.shape and tensor.numel()
    }
    if not found:
        return ""
    name = min(found, key=lambda key: found[key])
    return f" (largest difference from {name!r}: {found[name]:.3g})"


def difference(one: torch.Tensor, other: torch.Tensor) -> float:
    return 0.0 if not one.numel() else float((one.detach().double() - other.detach().double()).abs().max())


def match_outputs(net: torch.nn.Module, calls: Calls, cuts: Sequence[Cut]) -> list[tuple[int, int]]:
    """Return for each output of the net (index of the part, index of its output). Raises UsageError for others."""
    sources = []
    for path, value in calls.outputs:
        source = next(
            (
                (index, position)
                for index, each in enumerate(cuts)
                for position, output in enumerate(each.outputs.values())
                if output is value
            ),
            None,
        )
        if source is None:
            raise UsageError(
                f"--split: the net's output {'.'.join(path) or 'output'!r} {foreign(net, calls, cuts, value)}"
            )
        sources.append(source)
    return sources


def foreign(net: torch.nn.Module, calls: Calls, cuts: Sequence[Cut], value: torch.Tensor) -> str:
    """Say where an output comes from that no part returns."""
    makers = [
        path
        for path, module in net.named_modules()
        for found in calls.results.get(module, ())
        if any(leaf is value for leaf in values_of(found))
    ]
    if makers:
        name = re.sub(r"\W", "_", makers[0])
        return f"is what {makers[0]} returns, and no part is that module; add heads.{name}={makers[0]}"
    heads = {f"heads.{each.part.name}": output for each in cuts[1:] for output in each.outputs.values()}
    return f"is computed after its parts{differences(value, heads)}; move the rest of the net's forward into the head"


def compare(
    net: torch.nn.Module, given: Sequence[Seen], cuts: Sequence[Cut], sources: Sequence[tuple[int, int]]
) -> None:
    """Run the net and its parts on drawn inputs. Raises UsageError, with the difference, where they differ."""
    for draw in range(1, DRAWS + 1):
        values = {seen.name: example_of(seen, draw) for seen in given}
        wanted = run_module("net", net, [value.clone() for value in values.values()])
        tensors, results = values, list[list[Any]]()
        for each in cuts:
            handle = pack(each.module, each.inputs, each.arguments)
            try:
                # Clones: a head that writes into its features must not change those of the next.
                found = run_module(each.part.name, each.module, [tensors[name].clone() for name in each.inputs])
            finally:
                if handle:
                    handle.remove()
            results.append(values_of(found))
            if len(results) == 1:
                tensors = dict(zip(each.outputs, results[0], strict=True))
        for (path, value), (index, position) in zip(wanted, sources, strict=True):
            own = results[index][position]
            off = difference(own, value) if own.shape == value.shape else float("inf")
            if not off <= TOLERANCE * max(1e-30, float(value.detach().double().abs().max())):
                raise UsageError(
                    f"--split: {cuts[index].part.path} alone does not compute the net's output "
                    f"{'.'.join(path) or 'output'!r}: largest difference {off:.3g}; the net changes the features, or "
                    "its modules share a state"
                )
