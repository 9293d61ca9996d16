"""The net of a .pt2 archive as an nn.Module that runs its graph op by op."""

from __future__ import annotations

from typing import Any

import torch

from hydramobile.pt2.archive import Archive, ArchiveError, safe_path
from hydramobile.pt2.graph import GraphReader
from hydramobile.pt2.layers import Layer
from hydramobile.pt2.steps import Graph, Ref, last_uses, refs


class ArchivedNet(torch.nn.Module):
    """The net of an archive: takes the graph's inputs by position, returns a tuple of its output tensors.

    Its own attributes have names that no layer of a net has: layers called `graph` or `last` are the archive's.
    """

    def __init__(self, archive: Archive, graph: Graph) -> None:
        super().__init__()
        self._archived_graph = graph
        for path, layer in {step.call.path: step.call for step in graph.steps if isinstance(step.call, Layer)}.items():
            put(self, path, layer.module)
        for path, value in state_of(archive, graph).items():
            owner, _, name = path.rpartition(".")
            parent = parent_of(self, path)
            if not isinstance(getattr(parent, name, None), torch.Tensor) or not owner:
                parameter = path in parameter_paths(archive)
                if parameter and value.is_floating_point():
                    parent.register_parameter(name, torch.nn.Parameter(value, requires_grad=False))
                else:
                    parent.register_buffer(name, value)
            else:
                with torch.no_grad():
                    getattr(parent, name).data = value
        self._archived_last_uses = last_uses(graph)
        self.eval()

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        graph = self._archived_graph
        known: dict[str, Any] = {item.name: value for item, value in zip(graph.inputs, inputs, strict=True)}

        def value(argument: Any) -> Any:
            if isinstance(argument, Ref):
                path = graph.places.get(argument.name)
                return known[argument.name] if path is None else attribute(self, path)
            return [value(item) for item in argument] if isinstance(argument, list) else argument

        for index, step in enumerate(graph.steps):
            call = self.get_submodule(step.call.path) if isinstance(step.call, Layer) else step.call
            result = call(*map(value, step.args), **{name: value(item) for name, item in step.kwargs.items()})
            results = result if step.unpack else (result,)
            known.update({name: item for name, item in zip(step.results, results, strict=False) if name})
            for name in self._archived_last_uses[index]:
                known.pop(name, None)
        for path, ref in graph.mutated:
            attribute(self, path).copy_(value(ref))
        return tuple(value(ref) for ref in graph.outputs)


def graph_of(net: ArchivedNet) -> Graph:
    """Return the graph that the net runs."""
    return net._archived_graph


def net_of(archive: Archive) -> ArchivedNet:
    """Return the archive's net in evaluation mode. Raises ArchiveError that names the refused part."""
    try:
        return ArchivedNet(archive, GraphReader(archive).graph())
    except (KeyError, TypeError, IndexError, AttributeError, ValueError, RuntimeError) as error:
        raise ArchiveError(archive.path, f"its graph cannot be read: {type(error).__name__}: {error}") from error


def state_of(archive: Archive, graph: Graph) -> dict[str, torch.Tensor]:
    """Return the tensors that the graph reads, by path."""
    everything = {**archive.constants, **archive.state}
    layers = tuple(f"{step.call.path}." for step in graph.steps if isinstance(step.call, Layer))
    read = {*refs(graph.outputs), *(name for step in graph.steps for name in refs((step.args, step.kwargs)))}
    wanted = {path for name, path in graph.places.items() if name in read or path.startswith(layers)}
    wanted |= {path for path, _ in graph.mutated}
    missing = wanted - set(everything)
    if missing:
        raise ArchiveError(archive.path, f"holds no tensor {sorted(missing)[0]!r}, which its graph reads")
    return {path: value for path, value in everything.items() if path in wanted}


def parameter_paths(archive: Archive) -> set[str]:
    specs = archive.program["graph_module"]["signature"]["input_specs"]
    return {safe_path(spec["parameter"]["parameter_name"]) for spec in specs if "parameter" in spec}


def parent_of(root: torch.nn.Module, path: str) -> torch.nn.Module:
    """Return the module that owns the attribute `path`; missing modules on the way are added."""
    parent = root
    for part in path.split(".")[:-1]:
        if part not in parent._modules:
            parent.add_module(part, torch.nn.Module())
        parent = getattr(parent, part)
    return parent


def put(root: torch.nn.Module, path: str, module: torch.nn.Module) -> None:
    parent_of(root, path).add_module(path.rpartition(".")[2], module)


def attribute(root: torch.nn.Module, path: str) -> Any:
    owner, _, name = path.rpartition(".")
    return getattr(root.get_submodule(owner) if owner else root, name)
