"""Channels equalized and biases corrected before static int8 (Nagel et al. 2019, "Data-Free Quantization Through Weight
Equalization and Bias Correction").

Integer activations share one scale a tensor, so a channel of small values keeps few of the 256 steps. Between two
convolutions with a ReLU in between, channel c may be divided by any s > 0 in the first and multiplied by it in the
second: relu(x / s) * s = relu(x). The paper picks s by the ranges of both weights. Here weights have a scale a
channel, so the first one costs nothing and activations take its place: s brings channel c near the largest range that
any has, in full before a depthwise convolution (which has a scale for that channel), by its square root against the
range of the weights that read it before others (as SmoothQuant, Xiao et al. 2023). Scales are powers of two, so that
dividing and multiplying round nothing.

A ReLU6 is no such function: it would clip at 6 / s. Channels that come near 6 on the calibration samples are left
alone, and others stay well below it; so every ReLU6 stays in its place, where runtimes fuse it, and the float function
is the same on every input that drives none of the moved channels beyond what the calibration samples do by a third.

Bias correction: rounding the weights of a layer shifts the mean of its outputs by (rounded - weight) * mean(input),
which is known from the calibration samples and taken from the bias. This does change the float function, by what
rounding is expected to add.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from export.passes.aten import schema_name
from export.program import Program
from export.quantize.observers import leading_allowed, raw_inputs
from hydramobile.errors import StageError
from hydramobile.spec import EntrySpec

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram
    from torch.fx import Node

STAGE = "equalize"
Array = NDArray[Any]
CONVOLUTIONS = frozenset({"aten::conv1d", "aten::conv2d"})
RELUS = frozenset({"aten::relu", "aten::relu_"})
CLIPPED = frozenset({"aten::relu6", "aten::relu6_", "aten::hardtanh", "aten::hardtanh_", "aten::clamp", "aten::clamp_"})
# An equalized channel stays this far below the value at which a ReLU6 clips, for inputs that were not seen.
ROOM = 0.75
# A channel that comes this near to it may be clipped, and is not touched.
NEAR = 0.98
MOST = 64.0


@dataclass(slots=True)
class Moments:
    """Of a tensor, by channel: the largest value, and the mean."""

    peak: Array = field(default_factory=lambda: np.zeros(0))
    total: Array = field(default_factory=lambda: np.zeros(0))
    count: int = 0

    def add(self, value: torch.Tensor) -> None:
        by_channel = value.detach().transpose(0, 1).flatten(1).double()
        peak, total = by_channel.amax(1).numpy(), by_channel.sum(1).numpy()
        first = not self.count
        self.peak = peak if first else np.maximum(self.peak, peak)
        self.total = total if first else self.total + total
        self.count += by_channel.shape[1]

    @property
    def mean(self) -> Array:
        return self.total / max(self.count, 1)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two convolutions with a rectifier in between that nothing else reads; by the nodes of the graph.

    `limit`: where the rectifier clips, or infinity.
    """

    first: Node
    rectifier: Node
    second: Node
    limit: float


@dataclass(frozen=True, slots=True)
class Equalized:
    """The program with equalized modules, and what was done: pairs and channels scaled, biases corrected."""

    program: Program
    pairs: int
    channels: int
    biases: int

    @property
    def note(self) -> str:
        return (
            f"before quantization {self.channels} channels between {self.pairs} pairs of convolutions were equalized "
            f"and {self.biases} biases corrected"
        )


def equalized(program: Program, bits: int) -> Equalized:
    """The program with every module equalized and its biases corrected for weights of `bits`, a scale a channel.

    Needs calibration samples. A module that torch.export does not take is left as it is.
    """
    if not program.calibration:
        raise StageError(STAGE, "equalizing needs calibration samples, and the program has none")
    modules = {name: copy.deepcopy(module) for name, module in program.modules.items()}
    made = replace(program, modules=modules)
    pairs = channels = biases = 0
    for name in program.spec.modules:
        entry = program.spec.entries[name]
        graph = exported_graph(made, entry)
        if graph is None:
            continue
        layers = Layers(graph, name, modules[name])
        moments = observe(made, entry, graph)
        for pair in find_pairs(graph, layers):
            scaled = scale_channels(layers, pair, moments)
            pairs, channels = pairs + bool(scaled), channels + scaled
        graph = exported_graph(made, entry)
        if graph is not None:
            layers = Layers(graph, name, modules[name])
            moments = observe(made, entry, graph)
            held = float_layers(made, entry, layers)
            for node in layers.convolutions():
                if node not in held:
                    biases += correct_bias(layers, node, moments, bits)
    return Equalized(made, pairs, channels, biases)


def exported_graph(program: Program, entry: EntrySpec) -> ExportedProgram | None:
    try:
        return program.exported(entry).program
    except Exception:  # noqa: BLE001 - torch.export raises many types, and targets will say why where they need it
        return None


@dataclass(slots=True)
class Layers:
    """The parameters of a module by the convolution nodes of its graph; those that one node alone reads."""

    exported: ExportedProgram
    name: str
    module: torch.nn.Module

    def convolutions(self) -> Iterator[Node]:
        for node in self.exported.graph.nodes:
            if schema_name(node) in CONVOLUTIONS and self.parameter(node, 1) is not None:
                yield node

    def parameter(self, node: Node, place: int) -> torch.nn.Parameter | None:
        """The module's own parameter at an argument of `node`, where nothing else reads it."""
        if len(node.args) <= place or not hasattr(node.args[place], "users"):
            return None
        source: Any = node.args[place]
        path = self.exported.graph_signature.inputs_to_parameters.get(source.name, "")
        if len(source.users) != 1 or not path.startswith(f"{self.name}."):
            return None
        return self.module.get_parameter(path.removeprefix(f"{self.name}."))

    def owns(self, node: Node) -> bool:
        """Whether weight and bias (where it has one) are the module's own and of this node alone."""
        biased = len(node.args) > 2 and node.args[2] is not None
        return self.parameter(node, 1) is not None and (not biased or self.parameter(node, 2) is not None)


def groups_of(node: Node) -> int:
    arguments: Any = node.args
    return int(arguments[6]) if len(arguments) > 6 else 1


def limit_of(node: Node) -> float | None:
    """Where a rectifier clips: infinity for a ReLU, None where the node is none."""
    name = schema_name(node)
    if name in RELUS:
        return float("inf")
    if name in ("aten::relu6", "aten::relu6_"):
        return 6.0
    if name in CLIPPED:
        low, high = (node.args[place] if len(node.args) > place else None for place in (1, 2))
        if low == 0 and isinstance(high, int | float) and high > 0:
            return float(high)
    return None


def find_pairs(exported: ExportedProgram, layers: Layers) -> Iterator[Pair]:
    own = [node for node in layers.convolutions() if layers.owns(node)]
    for first in own:
        rectifier = next(iter(first.users), None)
        limit = limit_of(rectifier) if rectifier is not None and len(first.users) == 1 else None
        if rectifier is None or limit is None or len(rectifier.users) != 1:
            continue
        second = next(iter(rectifier.users))
        if second in own and second.args[0] is rectifier:
            yield Pair(first, rectifier, second, limit)


def observe(program: Program, entry: EntrySpec, exported: ExportedProgram) -> Mapping[str, Moments]:
    """The moments of every convolution's input and of every rectifier's output, by node name."""
    import torch
    from torch.fx import Interpreter

    wanted: set[str] = set()
    for node in exported.graph.nodes:
        if schema_name(node) in CONVOLUTIONS:
            wanted.add(node.args[0].name)
        if limit_of(node) is not None:
            wanted.add(node.name)
    moments: dict[str, Moments] = {}

    class Observer(Interpreter):
        def run_node(self, n: Node) -> Any:
            value = super().run_node(n)
            if n.name in wanted and isinstance(value, torch.Tensor) and value.ndim >= 3:
                moments.setdefault(n.name, Moments()).add(value)
            return value

    graph: Any = exported.module(check_guards=False)
    with torch.no_grad():
        for feed in program.feeds(entry):
            Observer(graph).run(*(torch.from_numpy(feed[name]) for name in entry.inputs))
    return moments


def scale_channels(layers: Layers, pair: Pair, moments: Mapping[str, Moments]) -> int:
    """Equalize one pair in place; returns how many channels moved."""
    import torch

    weight, bias = layers.parameter(pair.first, 1), layers.parameter(pair.first, 2)
    reader = layers.parameter(pair.second, 1)
    found = moments.get(pair.rectifier.name)
    if weight is None or reader is None or found is None or len(found.peak) != weight.shape[0]:
        return 0
    channels, groups = weight.shape[0], groups_of(pair.second)
    if groups not in (1, channels):
        return 0
    scales = choose_scales(found.peak, None if groups == channels else reading_ranges(reader), pair.limit)
    factor = torch.from_numpy(scales)
    along = (-1, *(1,) * (weight.ndim - 1))
    with torch.no_grad():
        weight.copy_((weight.double() / factor.reshape(along)).to(weight.dtype))
        if bias is not None:
            bias.copy_((bias.double() / factor).to(bias.dtype))
        if groups == 1:
            spread = factor.reshape(1, -1, *(1,) * (reader.ndim - 2))
        else:
            spread = factor.repeat_interleave(reader.shape[0] // channels).reshape(along)
        reader.copy_((reader.double() * spread).to(reader.dtype))
    return int(np.sum(scales != 1))


def reading_ranges(weight: torch.Tensor) -> Array:
    """The largest absolute weight that reads each input channel; each weight as a share of its row's largest, since a
    row has a scale of its own."""
    rows = weight.detach().double().abs().flatten(2).amax(2).numpy()
    found: Array = np.max(rows / np.maximum(rows.max(axis=1, keepdims=True), 1e-30), axis=0)
    return found


def choose_scales(peak: Array, reading: Array | None, limit: float) -> Array:
    """What to divide each channel by. `peak`: its largest value; `reading`: the range of the weights that read it, or
    None where they have a scale for that channel. Powers of two, 1 at most: channels are only raised."""
    alive = (peak > 0) & (peak < limit * NEAR)
    if not alive.any():
        return np.ones_like(peak)
    target = min(float(peak.max()), limit * ROOM)
    wanted = np.where(alive, peak, target) / target
    if reading is not None:
        wanted = np.sqrt(wanted / np.maximum(reading / max(float(reading.max()), 1e-30), 1e-6))
    # A channel raised beyond the target would be clipped, or set the range of the whole tensor.
    wanted = np.clip(np.maximum(wanted, peak / target), 1 / MOST, 1.0)
    return np.where(alive, np.minimum(2.0 ** np.ceil(np.log2(wanted) - 1e-9), 1.0), 1.0)


def float_layers(program: Program, entry: EntrySpec, layers: Layers) -> set[Node]:
    """Return the convolutions that every target leaves in float (export/quantize/observers.py).

    They are the first ones of the net and the last one before a dense output.
    """
    held: set[Node] = set()
    left = leading_allowed(program) if raw_inputs(program, entry.inputs) else 0
    for node in layers.convolutions():
        weight = layers.parameter(node, 1)
        left -= weight.numel() if weight is not None else 0
        if left < 0:
            break
        held.add(node)
    final = set(program.final())
    returned: Any = layers.exported.graph.output_node().args[0]
    for name, node in zip(entry.outputs, returned, strict=True):
        waiting = [node] if name in final and program.tensors[name].ndim == 4 else []
        seen: set[Node] = set()
        while waiting:
            current = waiting.pop()
            if schema_name(current) in CONVOLUTIONS:
                held.add(current)
            elif current not in seen:
                seen.add(current)
                waiting += current.all_input_nodes
    return held


def correct_bias(layers: Layers, node: Node, moments: Mapping[str, Moments], bits: int) -> bool:
    """Take from a bias what rounding its layer's weights is expected to add, in place; whether that was possible."""
    import torch

    weight, bias = layers.parameter(node, 1), layers.parameter(node, 2)
    source: Any = node.args[0]
    found, groups = moments.get(source.name), groups_of(node)
    if weight is None or bias is None or found is None or len(found.mean) != weight.shape[1] * groups:
        return False
    values = weight.detach().double()
    peak = values.abs().flatten(1).amax(1).reshape(-1, *(1,) * (values.ndim - 1))
    step = torch.where(peak > 0, peak / (2 ** (bits - 1) - 1), torch.ones_like(peak))
    error = (torch.round(values / step) * step - values).flatten(2).sum(2)
    mean = torch.from_numpy(found.mean).reshape(groups, 1, -1)
    mean = mean.expand(groups, weight.shape[0] // groups, weight.shape[1]).reshape(weight.shape[0], weight.shape[1])
    with torch.no_grad():
        bias.copy_((bias.double() - (error * mean).sum(1)).to(bias.dtype))
    return True
