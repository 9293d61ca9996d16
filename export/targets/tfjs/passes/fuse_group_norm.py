"""Group norm, put together again.

Symptom: a Transpose before and after every group norm of a channels-last graph.
Cause: at opset 20 PyTorch's exporter writes nn.GroupNorm as Reshape to (N, groups, rest), InstanceNormalization with
unit scale and zero shift, and Reshape back, which mixes channels and pixels into one axis.
Retired by: exporting at opset 21, whose GroupNormalization scales per channel.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from export.passes.base import PassResult
from export.targets.tfjs.graph import Array
from export.targets.tfjs.onnx_facts import read_facts

if TYPE_CHECKING:
    import onnx


def fuse_group_norm(model: onnx.ModelProto) -> PassResult[onnx.ModelProto]:
    """Replace Reshape, InstanceNormalization, Reshape by one GroupNormalization without scale and shift.

    Before: Reshape(x, (N, groups, -1)), InstanceNormalization(scale=1, bias=0), Reshape(shape of x).
    After: GroupNormalization(x, num_groups=groups).
    """
    from onnx import helper, numpy_helper

    shapes, modified = read_facts(model).shapes, False
    known = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    makers = {name: node for node in model.graph.node for name in node.output}
    uses = Counter(name for node in model.graph.node for name in node.input)
    uses.update(output.name for output in model.graph.output)
    nodes = list(model.graph.node)
    for back in nodes:
        norm = made_by(makers, back, "Reshape", "InstanceNormalization")
        there = made_by(makers, norm, "InstanceNormalization", "Reshape") if norm else None
        if norm is None or there is None or uses[norm.output[0]] != 1 or uses[there.output[0]] != 1:
            continue
        source, groups = there.input[0], shapes.get(there.output[0], ())
        if len(groups) != 3 or len(shapes.get(source, ())) < 3 or shapes[source] != shapes.get(back.output[0]):
            continue
        if shapes[source][1] % groups[1] or not neutral(norm, known):
            continue
        joined = helper.make_node("GroupNormalization", [source], [back.output[0]], name=norm.name)
        joined.attribute.append(helper.make_attribute("num_groups", groups[1]))
        joined.attribute.append(helper.make_attribute("epsilon", epsilon_of(norm)))
        back.CopyFrom(joined)
        for node in (norm, there):
            model.graph.node.remove(node)
        modified = True
    return PassResult(model, modified)


def made_by(makers: dict[str, onnx.NodeProto], node: onnx.NodeProto, op: str, maker: str) -> onnx.NodeProto | None:
    found = makers.get(node.input[0]) if node.op_type == op and node.input else None
    return found if found is not None and found.op_type == maker else None


def neutral(norm: onnx.NodeProto, known: dict[str, Array]) -> bool:
    """Whether the instance norm neither scales nor shifts."""
    scale, shift = known.get(norm.input[1]), known.get(norm.input[2])
    return scale is not None and shift is not None and bool(np.all(scale == 1) and np.all(shift == 0))


def epsilon_of(norm: onnx.NodeProto) -> float:
    return next((item.f for item in norm.attribute if item.name == "epsilon"), 1e-5)
