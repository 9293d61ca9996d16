"""Fuse Reshape, InstanceNormalization, Reshape to GroupNormalization.

Symptom: a Transpose before and after every `nn.GroupNorm` of a channels-last graph.
Cause: at opset 20 PyTorch's exporter writes `aten.group_norm` as a Reshape to (N, groups, rest), an
InstanceNormalization with scale 1 and bias 0, and a Reshape back. The first Reshape merges channels and pixels into one
axis. ONNX's GroupNormalization has one scale per group up to opset 20, so the exporter cannot use it
(https://github.com/microsoft/onnxscript/issues/1205).
Retired by: an export at opset 21, whose GroupNormalization has one scale per channel
(https://github.com/pytorch/pytorch/pull/152138).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from export.passes.base import PassResult
from export.targets.tfjs.graph import Array
from export.targets.tfjs.onnx_facts import OnnxFacts, read_facts

if TYPE_CHECKING:
    import onnx


def fuse_group_norm(model: onnx.ModelProto) -> PassResult[onnx.ModelProto]:
    """Fuse the exporter's three nodes for `aten.group_norm`. Its scale and bias stay separate nodes.

    Before: Reshape(x, (N, groups, -1)), InstanceNormalization(scale=1, bias=0), Reshape(shape of x).
    After: GroupNormalization(x, num_groups=groups), without the operands scale and bias.
    """
    from onnx import helper, numpy_helper

    facts, modified = read_facts(model), False
    constants = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    producers = {name: node for node in model.graph.node for name in node.output}
    for reshape_back in list(model.graph.node):
        norm = producer_of(producers, reshape_back, "Reshape", "InstanceNormalization")
        reshape = producer_of(producers, norm, "InstanceNormalization", "Reshape") if norm else None
        if norm is None or reshape is None or not is_group_norm(reshape, norm, reshape_back, facts):
            continue
        if not has_unit_scale(norm, constants):
            continue
        fused = helper.make_node("GroupNormalization", [reshape.input[0]], [reshape_back.output[0]], name=norm.name)
        fused.attribute.append(helper.make_attribute("num_groups", facts.shapes[reshape.output[0]][1]))
        fused.attribute.append(helper.make_attribute("epsilon", epsilon_of(norm)))
        reshape_back.CopyFrom(fused)
        for node in (norm, reshape):
            model.graph.node.remove(node)
        modified = True
    return PassResult(model, modified)


def producer_of(
    producers: dict[str, onnx.NodeProto], node: onnx.NodeProto, op: str, producer_op: str
) -> onnx.NodeProto | None:
    """Return the node that computes operand 0 of `node`; None unless the two are `op` and `producer_op`."""
    producer = producers.get(node.input[0]) if node.op_type == op and node.input else None
    return producer if producer is not None and producer.op_type == producer_op else None


def is_group_norm(
    reshape: onnx.NodeProto, norm: onnx.NodeProto, reshape_back: onnx.NodeProto, facts: OnnxFacts
) -> bool:
    """Return whether the nodes have the shapes of a group norm, and no other node reads the tensors between them."""
    if facts.use_counts[norm.output[0]] != 1 or facts.use_counts[reshape.output[0]] != 1:
        return False
    shape, grouped = facts.shapes.get(reshape.input[0], ()), facts.shapes.get(reshape.output[0], ())
    if len(grouped) != 3 or len(shape) < 3 or shape != facts.shapes.get(reshape_back.output[0]):
        return False
    return shape[1] % grouped[1] == 0


def has_unit_scale(norm: onnx.NodeProto, constants: dict[str, Array]) -> bool:
    """Return whether scale is 1 and bias is 0."""
    scale, bias = constants.get(norm.input[1]), constants.get(norm.input[2])
    return scale is not None and bias is not None and bool(np.all(scale == 1) and np.all(bias == 0))


def epsilon_of(norm: onnx.NodeProto) -> float:
    return next((item.f for item in norm.attribute if item.name == "epsilon"), 1e-5)
