"""Run TF.js graph models in TensorFlow, as an independent check: other kernels, and another reader of the weights.

A graph model is a TensorFlow GraphDef except for TF.js's two fused convolutions, which `as_graph_def` rewrites:

    _FusedConv2D                 TensorFlow requires the attributes TArgs and num_host_args
    FusedDepthwiseConv2dNative   no TensorFlow op; becomes DepthwiseConv2dNative, BiasAdd and the activation. A dilated
                                 kernel gets zeros between its taps: TensorFlow has no dilated depthwise CPU kernel
"""

from __future__ import annotations

import base64
import importlib.metadata
import importlib.util
import os
import time
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.adapters.tfjs_files import GraphModel, read_graph_model, read_weights, weight_dtypes
from benchmarks.evidence.row import Label
from benchmarks.graph import Graph, Step, Value, conv_macs
from benchmarks.runtime import Array, Runtime, Tensors, from_file, to_file
from hydramobile.artifact import Entry
from hydramobile.errors import StageError

PACKAGES = ("tensorflow-cpu", "tensorflow")


def quiet_tensorflow() -> Any:
    """Import TensorFlow without its start-up lines on stderr."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # its kernels reorder sums
    import tensorflow

    # Grappler multiplies constants with each other, and the check is about the graph as it is written.
    tensorflow.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    return tensorflow


class TensorFlowSession:
    """One entry of an artifact as a TensorFlow function on the CPU."""

    def __init__(self, model: GraphModel, entry: Entry, threads: int) -> None:
        tensorflow = quiet_tensorflow()
        self.entry = entry
        self.feeds: list[Any] = []
        self.results: list[Any] = []
        configure(tensorflow, threads)
        graph_def = as_graph_def(tensorflow, model)

        def imported() -> None:
            tensorflow.compat.v1.import_graph_def(graph_def, name="")

        try:
            with tensorflow.device("/CPU:0"):
                wrapped = tensorflow.compat.v1.wrap_function(imported, [])
            find = wrapped.graph.as_graph_element
            inputs = [find(f"{port.file_name}:0") for port in entry.inputs]
            self.function = wrapped.prune(inputs, [find(f"{port.file_name}:0") for port in entry.outputs])
            self.wrapped, self.inputs = wrapped, inputs
        except (ValueError, KeyError, tensorflow.errors.OpError) as error:
            raise StageError("open", f"TensorFlow cannot load {model.file}: {error}") from error
        self.tensorflow = tensorflow

    def bind(self, inputs: Tensors) -> None:
        constant = self.tensorflow.constant
        self.feeds = [constant(to_file(port, inputs[port.name])) for port in self.entry.inputs]

    def invoke(self) -> float:
        started = time.perf_counter()
        try:
            self.results = list(self.function(*self.feeds))
        except self.tensorflow.errors.OpError as error:
            # The message wraps the reason in a Python stack of its own.
            reasons = [line.strip() for line in error.message.splitlines() if "[[{{node" in line or "node name" in line]
            raise StageError("run", f"TensorFlow failed in {self.entry.file}: {' '.join(reasons) or error}") from error
        return time.perf_counter() - started

    def trace(self) -> dict[str, Array]:
        """Return the float output of every node but constants and inputs, in graph order, by node name."""
        nodes = [
            operation
            for operation in self.wrapped.graph.get_operations()
            if operation.type not in ("Const", "Placeholder") and operation.outputs
        ]
        tensors = [node.outputs[0] for node in nodes if node.outputs[0].dtype == self.tensorflow.float32]
        values = self.wrapped.prune(self.inputs, tensors)(*self.feeds)
        return {tensor.op.name: value.numpy() for tensor, value in zip(tensors, values, strict=True)}

    def fetch(self) -> dict[str, Array]:
        pairs = zip(self.entry.outputs, self.results, strict=True)
        return {port.name: from_file(port, value.numpy()) for port, value in pairs}

    def close(self) -> None:
        self.feeds, self.results = [], []


def configure(tensorflow: Any, threads: int) -> None:
    """Set the numbers of threads. TensorFlow allows it before its first op only: a later session keeps the first's."""
    try:
        tensorflow.config.threading.set_intra_op_parallelism_threads(threads)
        tensorflow.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError:
        return


def as_graph_def(tensorflow: Any, model: GraphModel) -> Any:
    """Return the model as a GraphDef, with its weights filled in and the two fused ops rewritten.

    Raises StageError("open") naming the file when a constant has no weight or the JSON is no GraphDef.
    """
    from google.protobuf import json_format

    weights = read_weights(model)
    nodes = [rewritten for node in model.topology["node"] for rewritten in rewrite(node, weights)]
    try:
        graph_def = json_format.ParseDict(
            {**model.topology, "node": nodes}, tensorflow.compat.v1.GraphDef(), ignore_unknown_fields=False
        )
    except json_format.ParseError as error:
        raise StageError("open", f"{model.file} holds no GraphDef: {error}") from error
    for node in graph_def.node:
        if node.op == "Const":
            if node.name not in weights:
                raise StageError("open", f"{model.file}: constant {node.name!r} is not in the weights manifest")
            node.attr["value"].tensor.CopyFrom(tensorflow.make_tensor_proto(weights[node.name]))
    return graph_def


def rewrite(node: dict[str, Any], weights: dict[str, Array]) -> Iterator[dict[str, Any]]:
    """Yield the node as TensorFlow takes it. A kernel that gets zeros between its taps is added to `weights`."""
    if node["op"] == "_FusedConv2D":
        types = {"TArgs": {"list": {"type": ["DT_FLOAT"] * (len(node["input"]) - 2)}}, "num_host_args": {"i": "0"}}
        yield {**node, "attr": {**node["attr"], **types}}
    elif node["op"] == "FusedDepthwiseConv2dNative":
        yield from unfused(inflated(node, weights) if dilation(node) != (1, 1) else node)
        if dilation(node) != (1, 1):
            yield {"name": inflated_name(node), "op": "Const", "attr": {"dtype": {"type": "DT_FLOAT"}, "value": {}}}
    else:
        yield node


def dilation(node: dict[str, Any]) -> tuple[int, int]:
    rows, columns = (int(step) for step in node["attr"]["dilations"]["list"]["i"][1:3])
    return rows, columns


def inflated_name(node: dict[str, Any]) -> str:
    return f"{node['name']}/inflated"


def inflated(node: dict[str, Any], weights: dict[str, Array]) -> dict[str, Any]:
    """Return the node without dilation, and a kernel with zeros between its taps in `weights`: the same sums."""
    (rows, columns), kernel = dilation(node), weights[node["input"][1]]
    height, width = kernel.shape[:2]
    dense = np.zeros(((height - 1) * rows + 1, (width - 1) * columns + 1, *kernel.shape[2:]), kernel.dtype)
    dense[::rows, ::columns] = kernel
    weights[inflated_name(node)] = dense
    attr = {**node["attr"], "dilations": {"list": {"i": ["1", "1", "1", "1"]}}}
    return {**node, "input": [node["input"][0], inflated_name(node), *node["input"][2:]], "attr": attr}


def unfused(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield DepthwiseConv2dNative, BiasAdd and the activation. The last of them has the name of the fused node."""
    steps = [base64.b64decode(step).decode() for step in node["attr"]["fused_ops"]["list"]["s"]]
    kept = ("T", "strides", "dilations", "padding", "explicit_paddings", "data_format")
    names = [f"{node['name']}/unfused_{index}" for index in range(len(steps))] + [node["name"]]
    source, kernel, bias = node["input"]
    yield {
        "name": names[0],
        "op": "DepthwiseConv2dNative",
        "input": [source, kernel],
        "attr": {key: value for key, value in node["attr"].items() if key in kept},
    }
    for index, step in enumerate(steps):
        extra = [bias] if step == "BiasAdd" else []
        attr = {"T": node["attr"]["T"]}
        yield {"name": names[index + 1], "op": step, "input": [names[index], *extra], "attr": attr}


class TensorFlowRuntime(Runtime):
    name = "tfjs-tensorflow"
    evidence: Label = "host"
    targets = ("tfjs",)
    timed = False
    trace_kernels = "TensorFlow's CPU kernels on the rewritten graph"
    about = "TensorFlow on this computer, as an independent check of the graph and its weights; it is not what ships"

    def unavailable(self) -> str | None:
        return None if importlib.util.find_spec("tensorflow") else "tensorflow is not installed; run: make setup"

    def version(self) -> dict[str, str]:
        for package in PACKAGES:
            try:
                return {package: importlib.metadata.version(package)}
            except importlib.metadata.PackageNotFoundError:
                continue
        return {}

    def open(self, folder: Path, entry: Entry, threads: int = 1) -> TensorFlowSession:
        return TensorFlowSession(read_graph_model(folder, entry), entry, threads)

    def trace(self, folder: Path, entry: Entry, inputs: Tensors) -> dict[str, Array]:
        session = self.open(folder, entry)
        session.bind(inputs)
        return session.trace()

    def read_dtypes(self, folder: Path, entry: Entry) -> dict[str, int]:
        return weight_dtypes(read_graph_model(folder, entry))

    def graph(self, folder: Path, entry: Entry) -> Graph:
        session = self.open(folder, entry)
        operations = session.wrapped.graph.get_operations()
        return graph_of(operations, [tensor.name for tensor in session.inputs], entry)


def graph_of(operations: Any, inputs: list[str], entry: Entry) -> Graph:
    """Return TensorFlow's graph with the shapes that it infers. A fused depthwise convolution counts as its parts.

    Raises StageError("read") for a tensor whose shape is not static.
    """
    values: dict[str, Value] = {}
    steps: list[Step] = []
    for operation in operations:
        for tensor in () if operation.type == "Const" else operation.outputs:
            if not tensor.shape.is_fully_defined():
                raise StageError("read", f"{entry.file}: {tensor.name!r} ({tensor.shape}) has no fixed size")
            values[tensor.name] = Value(tuple(tensor.shape.as_list()), tensor.dtype.size * 8)
        if operation.type not in ("Const", "Placeholder", "NoOp"):
            reads = tuple(tensor.name for tensor in operation.inputs)
            writes = tuple(tensor.name for tensor in operation.outputs)
            steps.append(Step(operation.type, operation.name, reads, writes, macs_of(operation)))
    return Graph(tuple(steps), tuple(inputs), tuple(f"{port.file_name}:0" for port in entry.outputs), values)


def macs_of(operation: Any) -> int:
    """Return the multiply-accumulates of an operation.

    Kernels: Conv2D [h, w, I/groups, O], depthwise [h, w, I, multiplier], Conv2DBackpropInput [h, w, O, I]. The operands
    of Conv2DBackpropInput are sizes, kernel, input.
    """
    operands = [tuple(tensor.shape.as_list() or ()) for tensor in operation.inputs]
    output = tuple(operation.outputs[0].shape.as_list() or ()) if operation.outputs else ()
    if operation.type in ("Conv2D", "_FusedConv2D"):
        return conv_macs(output, prod(operands[1][:3]))
    if operation.type == "DepthwiseConv2dNative":
        return conv_macs(output, prod(operands[1][:2]))
    if operation.type == "Conv2DBackpropInput":
        return conv_macs(operands[2], prod(operands[1][:3]))
    if operation.type in ("MatMul", "_FusedMatMul", "BatchMatMulV2"):
        return conv_macs(output, prod(operands[0]) // max(1, prod(operands[0][:-2]) * output[-2]))
    return 0
