"""Run ONNX files with ONNX Runtime's CPU execution provider on this computer."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.evidence.profile import OpTime
from benchmarks.evidence.row import Label
from benchmarks.graph import Graph, Step, Value, conv_macs
from benchmarks.runtime import Array, Runtime, Tensors, from_file, to_file
from hydramobile.artifact import Entry
from hydramobile.errors import StageError

# Initializers of at most this many elements are scales, shapes or biases, not weights.
SMALL = 16
# Suffix of a node's name in ONNX Runtime's trace where the event is its kernel.
KERNEL = "_kernel_time"
# Warm-up runs before the runs that are profiled.
WARM_UP_RUNS = 3


class OnnxSession:
    """One entry of an artifact, loaded with all graph optimizations."""

    def __init__(self, path: Path, entry: Entry, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises a family of C++ exception types without a common base
            raise StageError("open", f"ONNX Runtime cannot load {path}: {error}") from error
        self.entry = entry
        present = {value.name for value in (*self.session.get_inputs(), *self.session.get_outputs())}
        for port in (*entry.inputs, *entry.outputs):
            if port.file_name not in present:
                raise StageError("open", f"{path} has no tensor {port.file_name!r} (has: {', '.join(sorted(present))})")
        self.names = [port.file_name for port in entry.outputs]
        self.feeds: dict[str, Array] = {}
        self.results: list[Array] = []

    def bind(self, inputs: Tensors) -> None:
        self.feeds = {port.file_name: to_file(port, inputs[port.name]) for port in self.entry.inputs}

    def invoke(self) -> float:
        started = time.perf_counter()
        self.results = self.session.run(self.names, self.feeds)
        return time.perf_counter() - started

    def fetch(self) -> dict[str, Array]:
        return {port.name: from_file(port, value) for port, value in zip(self.entry.outputs, self.results, strict=True)}

    def close(self) -> None:
        self.results, self.feeds = [], {}


class OnnxRuntime(Runtime):
    name = "onnxruntime"
    evidence: Label = "host"
    targets = ("onnx",)
    timed = True
    trace_kernels = "CPU kernels, graph optimizations off"
    about = "ONNX Runtime, CPU execution provider, on this computer; says nothing about a browser's or phone's build"

    def unavailable(self) -> str | None:
        return None if importlib.util.find_spec("onnxruntime") else "onnxruntime is not installed; run: make setup"

    def version(self) -> dict[str, str]:
        return {"onnxruntime": importlib.metadata.version("onnxruntime")}

    def open(self, folder: Path, entry: Entry, threads: int = 1) -> OnnxSession:
        return OnnxSession(folder / entry.file, entry, threads)

    def trace(self, folder: Path, entry: Entry, inputs: Tensors) -> dict[str, Array]:
        """Return every tensor of the graph by name.

        Graph optimizations are off, because they would remove most of the tensors. float16 is returned as float32.
        """
        import onnx
        import onnxruntime

        model = onnx.load(folder / entry.file)
        names = [name for node in model.graph.node for name in node.output if name]
        kept = {value.name for value in model.graph.output}
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in kept)
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads, options.log_severity_level = 1, 3
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        feeds = {port.file_name: to_file(port, inputs[port.name]) for port in entry.inputs}
        outputs = session.run(names, feeds)
        return {name: widen(value) for name, value in zip(names, outputs, strict=True)}

    def no_profile(self) -> str | None:
        return None

    def profile(self, folder: Path, entry: Entry, inputs: Tensors, runs: int) -> list[OpTime]:
        """Return the time of each node from ONNX Runtime's own trace, with all graph optimizations."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = 1, 1, 3
        feeds = {port.file_name: to_file(port, inputs[port.name]) for port in entry.inputs}
        with tempfile.TemporaryDirectory() as scratch:
            options.enable_profiling, options.profile_file_prefix = True, str(Path(scratch) / "trace")
            session = onnxruntime.InferenceSession(folder / entry.file, options, providers=["CPUExecutionProvider"])
            for _ in range(WARM_UP_RUNS + runs):
                session.run(None, feeds)
            trace = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
        return kernel_times(trace, runs)

    def read_dtypes(self, folder: Path, entry: Entry) -> dict[str, int]:
        import onnx

        try:
            graph = onnx.load(folder / entry.file).graph
        except Exception as error:  # protobuf raises a type of its own
            raise StageError("open", f"{folder / entry.file} is not a readable ONNX file: {error}") from error
        sizes: dict[str, int] = {}
        for tensor in graph.initializer:
            value: Any = onnx.numpy_helper.to_array(tensor)
            if value.size > SMALL:
                # Two 4-bit elements share a byte in the file; NumPy takes a byte for each.
                stored = -(-value.size // 2) if str(value.dtype).endswith("int4") else int(value.nbytes)
                sizes[str(np.dtype(value.dtype))] = sizes.get(str(np.dtype(value.dtype)), 0) + stored
        return sizes

    def graph(self, folder: Path, entry: Entry) -> Graph:
        return graph_of(folder / entry.file)


def kernel_times(trace: Sequence[Mapping[str, Any]], runs: int) -> list[OpTime]:
    """Return the mean time of each node's kernel over the last `runs` runs, in execution order.

    Raises StageError("profile") for a trace without kernels.
    """
    times: dict[tuple[str, str], list[float]] = {}
    for event in trace:
        if event.get("cat") == "Node" and str(event["name"]).endswith(KERNEL):
            key = (str(event["args"].get("op_name", "")), str(event["name"]).removesuffix(KERNEL))
            times.setdefault(key, []).append(float(event["dur"]))
    if not times:
        raise StageError("profile", "ONNX Runtime's trace names no kernel")
    return [OpTime(op, name, sum(each[-runs:]) / runs / 1e3, 1.0) for (op, name), each in times.items()]


def widen(value: Array) -> Array:
    return value.astype(np.float32) if value.dtype == np.float16 else value


def graph_of(path: Path) -> Graph:
    """Return the graph of an ONNX file with the shapes that ONNX infers.

    Raises StageError("read") for a tensor whose shape is not static.
    """
    import onnx

    try:
        model = onnx.load(path)
        # Converters leave the dtypes of the float32 graph at inner tensors, so all are inferred again.
        del model.graph.value_info[:]
        add_cast_constants(model.graph)
        model = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    except Exception as error:  # protobuf and the inference raise types of their own
        raise StageError("read", f"{path} is not a readable ONNX file: {error}") from error
    graph = model.graph
    constant = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    described = {value.name: value.type.tensor_type for value in (*graph.input, *graph.value_info, *graph.output)}
    values: dict[str, Value] = {}
    for name, tensor in described.items():
        shape = tuple(dim.dim_value for dim in tensor.shape.dim)
        if name not in constant:
            bits = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).itemsize * 8
            values[name] = Value(shape, bits)
    shapes = {**constant, **{name: value.shape for name, value in values.items()}}
    steps = []
    for node in graph.node:
        unsized = [name for name in node.output if name and (name not in values or 0 in values[name].shape)]
        if unsized:
            raise StageError("read", f"{path}: {unsized[0]!r} of {node.op_type} {node.name!r} has no fixed size")
        reads, writes = (tuple(filter(None, names)) for names in (node.input, node.output))
        steps.append(Step(node.op_type, node.name, reads, writes, macs_of(node, shapes)))
    inputs = tuple(value.name for value in graph.input if value.name not in constant)
    return Graph(tuple(steps), inputs, tuple(value.name for value in graph.output), values)


def add_cast_constants(graph: Any) -> None:
    """Fold each Cast of an initializer, in place: ONNX's shape inference reads initializers only.

    A float16 file has such a Cast before the scales of a Resize.
    """
    import onnx

    stored = {tensor.name: tensor for tensor in graph.initializer}
    for node in [node for node in graph.node if node.op_type == "Cast" and node.input[0] in stored]:
        dtype = onnx.helper.tensor_dtype_to_np_dtype(next(item.i for item in node.attribute if item.name == "to"))
        value: Any = onnx.numpy_helper.to_array(stored[node.input[0]])
        graph.initializer.append(onnx.numpy_helper.from_array(value.astype(dtype), node.output[0]))
        graph.node.remove(node)


def macs_of(node: Any, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Return a node's multiply-accumulates. Kernels: Conv [O, I/groups, h, w], ConvTranspose [I, O/groups, h, w]."""
    if node.op_type == "Conv":
        return conv_macs(shapes[node.output[0]], prod(shapes[node.input[1]][1:]))
    if node.op_type == "ConvTranspose":
        return conv_macs(shapes[node.input[0]], prod(shapes[node.input[1]][1:]))
    if node.op_type in ("Gemm", "MatMul"):
        output, first = shapes[node.output[0]], shapes[node.input[0]]
        rows = output[-2] if len(output) > 1 else 1
        return conv_macs(output, prod(first) // max(1, prod(first[:-2]) * rows))
    return 0
