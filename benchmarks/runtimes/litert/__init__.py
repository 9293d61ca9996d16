"""Run LiteRT on this computer's CPU: the interpreter with its default XNNPACK delegate, as an app would load it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import time
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.evidence.profile import OpTime
from benchmarks.evidence.row import Label
from benchmarks.evidence.size import Delegated
from benchmarks.graph import Graph
from benchmarks.runtime import Array, Runtime, Tensors, from_file, to_file
from benchmarks.runtimes.litert import profile as litert_profile
from benchmarks.runtimes.litert.graph import graph_of
from hydramobile.artifact import Entry
from hydramobile.errors import StageError

# Constants of up to this many elements are scales, shapes or axes, not weights.
SMALL = 16


class LiteRTSession:
    """Run one signature of a .tflite.

    A signature runner copies inputs in, runs, and copies outputs out in one call. This class makes the same calls of
    the wrapper below it one by one, so that `invoke` times the graph alone.
    """

    def __init__(self, path: Path, entry: Entry, threads: int) -> None:
        self.path, self.entry = path, entry
        self.interpreter = load(path, threads)
        signatures = self.interpreter.get_signature_list()
        name = entry.function or entry.name
        if name not in signatures:
            raise StageError("open", f"{path} has no signature {name!r} (has: {', '.join(signatures)})")
        for side, ports in (("inputs", entry.inputs), ("outputs", entry.outputs)):
            for port in ports:
                if port.file_name not in signatures[name][side]:
                    has = ", ".join(signatures[name][side])
                    raise StageError("open", f"{path}: {name!r} has no tensor {port.file_name!r} in its {side} ({has})")
        runner = self.interpreter.get_signature_runner(name)
        self.inputs = {key: int(value["index"]) for key, value in runner.get_input_details().items()}
        self.outputs = {key: int(value["index"]) for key, value in runner.get_output_details().items()}
        self.wrapper = self.interpreter._interpreter
        self.graph = self.wrapper.GetSubgraphIndexFromSignature(name)
        self.wrapper.AllocateTensors(self.graph)

    def bind(self, inputs: Tensors) -> None:
        for port in self.entry.inputs:
            value = to_file(port, inputs[port.name])
            try:
                self.wrapper.SetTensor(self.inputs[port.file_name], value, self.graph)
            except ValueError as error:
                raise StageError("run", f"{self.path}: {self.entry.id}.{port.file_name}: {error}") from error

    def invoke(self) -> float:
        started = time.perf_counter()
        try:
            self.wrapper.Invoke(self.graph)
        except RuntimeError as error:
            raise StageError("run", f"{self.path}: {self.entry.id}: {error}") from error
        return time.perf_counter() - started

    def fetch(self) -> dict[str, Array]:
        return {
            port.name: from_file(port, self.wrapper.GetTensor(self.outputs[port.file_name], self.graph))
            for port in self.entry.outputs
        }

    def close(self) -> None:
        self.interpreter = self.wrapper = None


class LiteRTRuntime(Runtime):
    name = "litert"
    evidence: Label = "host"
    targets = ("litert",)
    timed = True
    trace_kernels = "builtin kernels, without XNNPACK"
    about = (
        "LiteRT's interpreter with XNNPACK on this computer's CPU; a phone has other kernels, and GPU and NPU delegates"
    )

    def unavailable(self) -> str | None:
        return (
            None if importlib.util.find_spec("ai_edge_litert") else "ai-edge-litert is not installed; run: make setup"
        )

    def version(self) -> dict[str, str]:
        return {"ai-edge-litert": importlib.metadata.version("ai-edge-litert")}

    def open(self, folder: Path, entry: Entry, threads: int = 1) -> LiteRTSession:
        return LiteRTSession(folder / entry.file, entry, threads)

    def trace(self, folder: Path, entry: Entry, inputs: Tensors) -> dict[str, Array]:
        """Return every tensor of the entry's graph, from the builtin kernels: under XNNPACK LiteRT keeps none."""
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        session = self.open(folder, entry)
        interpreter = Interpreter(
            model_content=first_graph(folder / entry.file, entry),
            num_threads=1,
            experimental_preserve_all_tensors=True,
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
        interpreter.allocate_tensors()
        for port in entry.inputs:
            interpreter.set_tensor(session.inputs[port.file_name], to_file(port, inputs[port.name]))
        interpreter.invoke()
        details = {int(item["index"]): item for item in interpreter.get_tensor_details()}
        order = [int(index) for node in interpreter._get_ops_details() for index in node["outputs"]]
        shown = [index for index in order if index in details]
        return {str(details[index]["name"]): real(interpreter.get_tensor(index), details[index]) for index in shown}

    def no_profile(self) -> str | None:
        return litert_profile.no_profile()

    def profile(self, folder: Path, entry: Entry, inputs: Tensors, runs: int) -> list[OpTime]:
        feeds = {port.file_name: to_file(port, inputs[port.name]) for port in entry.inputs}
        return litert_profile.profile(folder / entry.file, entry.function or entry.name, feeds, runs)

    def read_dtypes(self, folder: Path, entry: Entry) -> dict[str, int]:
        """Return the bytes of weights that this entry reads, by dtype. Other signatures of the file may share them."""
        path = folder / entry.file
        model, graph = read_graph(path, entry)
        buffers: dict[int, tuple[str, int]] = {}
        for index in range(graph.TensorsLength()):
            tensor = graph.Tensors(index)
            buffer = model.Buffers(tensor.Buffer())
            # Some writers put large constants behind the flatbuffer.
            size = buffer.DataLength() or buffer.Size()
            elements = prod(tensor.Shape(axis) for axis in range(tensor.ShapeLength()))
            if size and elements > SMALL:
                buffers[tensor.Buffer()] = (dtype_name(tensor.Type()), size)
        total: dict[str, int] = {}
        for dtype, size in buffers.values():
            total[dtype] = total.get(dtype, 0) + size
        return dict(sorted(total.items()))

    def graph_order(self, folder: Path, entry: Entry) -> tuple[list[str], list[str]]:
        """Return the signature's (input, output) names in the order in which its graph lists their tensors."""
        _, graph = read_graph(folder / entry.file, entry)
        runner = load(folder / entry.file, 1).get_signature_runner(entry.function or entry.name)
        sides = []
        for details, order in (
            (runner.get_input_details(), graph.InputsAsNumpy()),
            (runner.get_output_details(), graph.OutputsAsNumpy()),
        ):
            names = {int(detail["index"]): name for name, detail in details.items()}
            sides.append([names[int(index)] for index in order])
        return sides[0], sides[1]

    def graph(self, folder: Path, entry: Entry) -> Graph:
        return graph_of(*read_graph(folder / entry.file, entry), folder / entry.file)

    def delegation(self, folder: Path, entry: Entry) -> Delegated:
        return delegation(folder, entry)


def real(value: Array, detail: Mapping[str, Any]) -> Array:
    """Return a copy of a tensor, dequantized where it has one scale."""
    scales, zeros = detail["quantization_parameters"]["scales"], detail["quantization_parameters"]["zero_points"]
    if value.dtype.kind == "f" or len(scales) != 1:
        return value.copy()
    return (value.astype(np.float32) - np.float32(zeros[0])) * np.float32(scales[0])


def delegation(folder: Path, entry: Entry) -> Delegated:
    """Return how much of the entry XNNPACK takes, from the file and from the interpreter after delegation.

    Every operator outside is run by LiteRT's own kernels; one more partition is one more copy in and out.
    """
    from ai_edge_litert.interpreter import Interpreter

    path = folder / entry.file
    interpreter = Interpreter(model_content=first_graph(path, entry), num_threads=1)
    interpreter.allocate_tensors()
    # Its own operators first, in file order, then one DELEGATE a partition.
    nodes = interpreter._get_ops_details()
    partitions = [node for node in nodes if node["op_name"] == "DELEGATE"]
    own = [node for node in nodes if node["op_name"] != "DELEGATE"]
    maker = {int(tensor): index for index, node in enumerate(own) for tensor in node["outputs"]}
    inside: set[int] = set()
    for partition in partitions:
        given = {int(tensor) for tensor in partition["inputs"]}
        waiting = [int(tensor) for tensor in partition["outputs"]]
        while waiting:
            tensor = waiting.pop()
            if tensor not in given and tensor in maker and maker[tensor] not in inside:
                inside.add(maker[tensor])
                waiting += [int(source) for source in own[maker[tensor]]["inputs"]]
    return Delegated(len(own), len(inside), len(partitions))


def first_graph(path: Path, entry: Entry) -> bytes:
    """Return the file with the entry's graph first: the interpreter lists the operators of the first graph only."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    read_graph(path, entry)
    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    name = (entry.function or entry.name).encode()
    index = next(item.subgraphIndex for item in model.signatureDefs if item.signatureKey == name)
    graphs = model.subgraphs
    graphs[0], graphs[index] = graphs[index], graphs[0]
    model.signatureDefs = []
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def load(path: Path, threads: int) -> Any:
    """Return an interpreter of the file. Raises StageError("open") naming the file where it is none."""
    from ai_edge_litert.interpreter import Interpreter

    check_file(path, "open")
    try:
        return Interpreter(model_path=str(path), num_threads=threads)
    except (ValueError, RuntimeError) as error:
        raise StageError("open", f"LiteRT cannot load {path}: {error}") from error


def check_file(path: Path, stage: str) -> None:
    """Raise StageError(`stage`) where the file cannot be read or has no TFL3 identifier."""
    try:
        with path.open("rb") as stream:
            head = stream.read(8)
    except OSError as error:
        raise StageError(stage, f"{path} cannot be read: {error}") from error
    if head[4:8] != b"TFL3":
        raise StageError(stage, f"{path} is not a .tflite file: it has no TFL3 identifier")


def read_graph(path: Path, entry: Entry) -> tuple[Any, Any]:
    """Return the flatbuffer's Model, and the SubGraph of the entry's signature."""
    from ai_edge_litert import schema_py_generated as schema

    check_file(path, "read")
    try:
        model = schema.Model.GetRootAs(path.read_bytes(), 0)
        for index in range(model.SignatureDefsLength()):
            signature = model.SignatureDefs(index)
            if signature.SignatureKey().decode() == (entry.function or entry.name):
                return model, model.Subgraphs(signature.SubgraphIndex())
    except Exception as error:  # the generated reader follows offsets blindly: any exception means broken bytes
        raise StageError("read", f"{path} is a broken .tflite file: {type(error).__name__}: {error}") from error
    raise StageError("read", f"{path} has no signature {entry.function or entry.name!r}")


def dtype_name(tensor_type: int) -> str:
    """Return the name of a TensorType of the schema, such as "float32"."""
    from ai_edge_litert import schema_py_generated as schema

    name: str = next(name for name, value in vars(schema.TensorType).items() if value == tensor_type)
    return name.lower()
