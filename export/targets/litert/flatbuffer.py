"""Read and write .tflite files as Python objects, merge models, and remove their unused parts.

The objects are the schema's own (`ai_edge_litert.schema_py_generated`: ModelT, SubGraphT, TensorT, ...), typed as Any
because the schema ships no annotations.
"""

from __future__ import annotations

import copy
import functools
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hydramobile.errors import StageError
from hydramobile.files import sha256_bytes

IDENTIFIER = b"TFL3"
# Buffer.data is declared force_align: 16 in the schema; kernels read weights in place.
ALIGNMENT = 16
# Constants of more elements than this count as weights. Smaller ones are shapes, axes and scales.
MAX_SMALL_CONSTANT = 16


@functools.cache
def schema() -> Any:
    """Import the generated schema."""
    from ai_edge_litert import schema_py_generated

    return schema_py_generated


@functools.cache
def names_of(enum: str) -> dict[int, str]:
    """Return the names of one of the schema's enums by value: "TensorType" gives {0: "FLOAT32", ...}."""
    return {value: name for name, value in vars(getattr(schema(), enum)).items() if isinstance(value, int)}


def parse(data: bytes) -> Any:
    """Return the ModelT of a .tflite's bytes. Raises ValueError where they are not one."""
    if data[4:8] != IDENTIFIER:
        raise ValueError("it has no TFL3 identifier")
    try:
        model = schema().ModelT.InitFromPackedBuf(data, 0)
    except Exception as error:  # the generated reader follows offsets blindly: any exception means broken bytes
        raise ValueError(f"its flatbuffer is broken ({type(error).__name__}: {error})") from error
    if not model.subgraphs or not model.buffers:
        raise ValueError("it holds no graph")
    for buffer in model.buffers:
        # Some writers put large constants behind the flatbuffer, and store their offset and size.
        if buffer.offset > 1:
            if buffer.offset + buffer.size > len(data):
                raise ValueError("a constant lies beyond its end")
            buffer.data = np.frombuffer(data, np.uint8, buffer.size, buffer.offset)
            buffer.offset = buffer.size = 0
    return model


def load(path: Path, stage: str) -> Any:
    """Return the ModelT of a file. Raises StageError(`stage`) naming the file if it is missing or not a .tflite."""
    try:
        return parse(path.read_bytes())
    except (OSError, ValueError) as error:
        raise StageError(stage, f"{path} is not a readable .tflite file: {error}") from error


def serialize(model: Any) -> bytes:
    """Return the model's bytes: the same for equal models, with constants aligned to 16 bytes as the schema asks.

    The generated Python writer ignores `force_align`, hence `AlignedBuffer`. Equal quantization tables are written
    once: with one scale and one zero point per channel, they are a tenth of a small int8 file.
    """
    import flatbuffers

    result = copy.copy(model)
    result.buffers = [AlignedBuffer(buffer.data) for buffer in model.buffers]
    result.subgraphs = [copy.copy(graph) for graph in model.subgraphs]
    written: dict[bytes, Any] = {}
    for graph in result.subgraphs:
        graph.tensors = [copy.copy(tensor) for tensor in graph.tensors]
        for tensor in graph.tensors:
            if tensor.quantization is not None:
                tensor.quantization = SharedTable(tensor.quantization, written)
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(result.Pack(builder), file_identifier=IDENTIFIER)
    return bytes(builder.Output())


class AlignedBuffer:
    """Write a BufferT whose bytes start at a multiple of ALIGNMENT in the file."""

    def __init__(self, data: Any) -> None:
        self.data = None if data is None or len(data) == 0 else np.frombuffer(bytes(bytearray(data)), np.uint8)

    def Pack(self, builder: Any) -> Any:  # noqa: N802 - the name the generated writer calls
        api = schema()
        vector = None
        if self.data is not None:
            builder.StartVector(1, len(self.data), ALIGNMENT)
            builder.head = builder.head - len(self.data)
            builder.Bytes[builder.head : builder.head + len(self.data)] = self.data.tobytes()
            vector = builder.EndVector()
        api.BufferStart(builder)
        if vector is not None:
            api.BufferAddData(builder, vector)
        return api.BufferEnd(builder)


class SharedTable:
    """Write a table once per file, however many other tables refer to it. `written` maps content to offset."""

    def __init__(self, table: Any, written: dict[bytes, Any]) -> None:
        self.table, self.written = table, written

    def Pack(self, builder: Any) -> Any:  # noqa: N802 - the name the generated writer calls
        content = packed(self.table)
        if content not in self.written:
            self.written[content] = self.table.Pack(builder)
        return self.written[content]


def packed(table: Any) -> bytes:
    """Return the bytes of one table as a flatbuffer of its own, equal for equal content. Empty for None."""
    import flatbuffers

    if table is None:
        return b""
    builder = flatbuffers.Builder(64)
    builder.Finish(table.Pack(builder))
    return bytes(builder.Output())


def text(value: bytes | str | None) -> str:
    """Return a flatbuffer string as str. The reader gives bytes, edits of this package str."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else (value or "")


def opcode(model: Any, operator: Any) -> str:
    """Return the name of an operator's op, such as "CONV_2D", or "CUSTOM:<name>"."""
    code = model.operatorCodes[operator.opcodeIndex]
    name = names_of("BuiltinOperator")[max(code.builtinCode, code.deprecatedBuiltinCode)]
    return f"CUSTOM:{text(code.customCode)}" if name == "CUSTOM" else name


def count_ops(model: Any, graph: Any) -> Counter[str]:
    """Count the operators of a graph by op."""
    return Counter(opcode(model, operator) for operator in graph.operators or [])


def signature(model: Any, key: str) -> Any:
    """Return the SignatureDefT named `key`."""
    return next(item for item in model.signatureDefs if text(item.signatureKey) == key)


def signature_tensors(model: Any, name: str) -> dict[str, str]:
    """Map the names of the signature's inputs and outputs to the names of their tensors in its graph."""
    definition = signature(model, name)
    tensors = model.subgraphs[definition.subgraphIndex].tensors
    ports = [*definition.inputs, *definition.outputs]
    return {text(port.name): text(tensors[port.tensorIndex].name) for port in ports}


def called_graphs(operator: Any) -> Iterator[tuple[Any, str]]:
    """Yield the (options, attribute) that hold the indices of graphs that an operator calls.

    Control flow, composites and reducers have such attributes.
    """
    for options in (operator.builtinOptions, operator.builtinOptions2):
        for attribute, value in sorted(vars(options).items()) if options is not None else ():
            if "subgraph" in attribute.lower() and isinstance(value, int) and value >= 0:
                yield options, attribute


def merge(parts: Iterable[Any]) -> Any:
    """Return one model with the graphs and signatures of all `parts`, which share operator codes. Consumes `parts`."""
    api = schema()
    merged = api.ModelT()
    merged.version, merged.description = 3, ""
    merged.operatorCodes, merged.subgraphs, merged.signatureDefs, merged.metadata = [], [], [], []
    merged.buffers = [api.BufferT()]
    codes: dict[tuple[Any, ...], int] = {}
    for part in parts:
        renumbered = []
        for code in part.operatorCodes:
            key = (code.builtinCode, code.deprecatedBuiltinCode, code.customCode, code.version)
            if key not in codes:
                codes[key] = len(codes)
                merged.operatorCodes.append(code)
            renumbered.append(codes[key])
        for graph in part.subgraphs:
            for operator in graph.operators:
                operator.opcodeIndex = renumbered[operator.opcodeIndex]
                for options, attribute in called_graphs(operator):
                    setattr(options, attribute, getattr(options, attribute) + len(merged.subgraphs))
            for tensor in graph.tensors:
                tensor.buffer = tensor.buffer + len(merged.buffers)
        for item in part.signatureDefs:
            item.subgraphIndex += len(merged.subgraphs)
        merged.buffers += part.buffers
        merged.signatureDefs += part.signatureDefs
        merged.subgraphs += part.subgraphs
    return merged


def extract_signature(model: Any, key: str) -> Any:
    """Return a model with one signature and the graphs that it reaches.

    Consumes `model`: the graph indices in its operators' options change.
    """
    result = copy.copy(model)
    definition = copy.copy(signature(model, key))
    reached = [definition.subgraphIndex]
    for index in reached:  # grows during the loop
        for operator in model.subgraphs[index].operators:
            for options, attribute in called_graphs(operator):
                if getattr(options, attribute) not in reached:
                    reached.append(getattr(options, attribute))
    for index in reached:
        for operator in model.subgraphs[index].operators:
            for options, attribute in called_graphs(operator):
                setattr(options, attribute, reached.index(getattr(options, attribute)))
    result.subgraphs = [model.subgraphs[index] for index in reached]
    definition.subgraphIndex = 0
    result.signatureDefs = [definition]
    return result


def compact(model: Any) -> Any:
    """Return a copy in which equal constants share a buffer, without unused buffers and operator codes.

    Tensors that are no constants point to buffer 0, which the schema reserves for them.
    """
    api = schema()
    result = copy.copy(model)
    result.buffers, result.subgraphs = [api.BufferT()], []
    indices: dict[str, int] = {}

    def buffer_index(data: Any) -> int:
        if data is None or len(data) == 0:
            return 0
        digest = sha256_bytes(bytes(bytearray(data)))
        if digest not in indices:
            indices[digest] = len(result.buffers)
            buffer = api.BufferT()
            buffer.data = data
            result.buffers.append(buffer)
        return indices[digest]

    for original in model.subgraphs:
        graph = copy.copy(original)
        graph.tensors = [copy.copy(tensor) for tensor in original.tensors]
        for tensor in graph.tensors:
            tensor.buffer = buffer_index(model.buffers[tensor.buffer].data)
        result.subgraphs.append(graph)
    result.metadata = [copy.copy(item) for item in model.metadata or []]
    for item in result.metadata:
        item.buffer = buffer_index(model.buffers[item.buffer].data)
    used = sorted({operator.opcodeIndex for graph in result.subgraphs for operator in graph.operators})
    result.operatorCodes = [model.operatorCodes[index] for index in used]
    renumbered = {old: new for new, old in enumerate(used)}
    for graph in result.subgraphs:
        graph.operators = [copy.copy(operator) for operator in graph.operators]
        for operator in graph.operators:
            operator.opcodeIndex = renumbered[operator.opcodeIndex]
    return result


def store(model: Any, tensor: Any, values: NDArray[Any]) -> None:
    """Store `values` in a new buffer for the tensor: others may share its old one."""
    buffer = schema().BufferT()
    buffer.data = np.frombuffer(values.tobytes(), np.uint8)
    model.buffers.append(buffer)
    tensor.buffer = len(model.buffers) - 1


def add_metadata(model: Any, name: str, content: bytes) -> None:
    """Add a metadata entry in a buffer of its own."""
    api = schema()
    buffer, item = api.BufferT(), api.MetadataT()
    buffer.data = np.frombuffer(content, np.uint8)
    item.name, item.buffer = name, len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or []), item]


def read_metadata(model: Any) -> dict[str, bytes]:
    """Return the metadata entries by name."""
    return {text(item.name): bytes(bytearray(model.buffers[item.buffer].data)) for item in model.metadata or []}


def rename_tensors(graph: Any, prefix: str, ports: dict[int, str], taken: Counter[str]) -> None:
    """Rename the tensors of a graph: `ports` by index, the others "<prefix>/<path in the module>", unique in `taken`.

    The converter's names hold the Python class of every wrapper around a layer, joined for all layers that were fused,
    and make up 4 % of a small file.
    """
    taken.update(ports.values())
    for index, tensor in enumerate(graph.tensors):
        if index in ports:
            tensor.name = ports[index]
            continue
        name = f"{prefix}/{layer_path(text(tensor.name))}"
        taken[name] += 1
        tensor.name = name if taken[name] == 1 else f"{name}:{taken[name] - 1}"


def layer_path(name: str) -> str:
    """Return the attribute path to a layer from the converter's name for the layer's output.

    "a.Wrapper/b.Wired_wrapped/c.Net_net/d.Block_block/e.Conv2d_conv;5;;..." gives "block/conv".
    """
    first = name.split(";", 1)[0]
    attributes = [re.sub(r"^.*\.", "", step).partition("_")[2] for step in first.split("/")]
    path = [attribute for attribute in attributes if attribute]
    # The first two are the layout wrapper and the entry's own module: the same for every layer.
    return "/".join(path[2:] if path[:1] == ["wrapped"] else path) or "graph"
