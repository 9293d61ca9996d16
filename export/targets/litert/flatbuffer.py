"""A .tflite file as Python objects: read, write with aligned buffers, merge files, keep only what is used.

The objects are the schema's own (`ai_edge_litert.schema_py_generated`: ModelT, SubGraphT, TensorT, ...), typed as
Any because the schema ships no annotations.
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
CONSTANT = 16
"""Constants of more values than this count as weights; smaller ones are shapes, axes and scales."""


@functools.cache
def schema() -> Any:
    from ai_edge_litert import schema_py_generated

    return schema_py_generated


@functools.cache
def names_of(enum: str) -> dict[int, str]:
    """The names of one of the schema's enums by value, such as "TensorType" -> {0: "FLOAT32", ...}."""
    return {value: name for name, value in vars(getattr(schema(), enum)).items() if isinstance(value, int)}


def parse(data: bytes) -> Any:
    """The ModelT of a .tflite's bytes. Raises ValueError when they are not one."""
    if data[4:8] != IDENTIFIER:
        raise ValueError("it has no TFL3 identifier")
    try:
        model = schema().ModelT.InitFromPackedBuf(data, 0)
    except Exception as error:  # the generated reader follows offsets blindly: any exception means broken bytes
        raise ValueError(f"its flatbuffer is broken ({type(error).__name__}: {error})") from error
    if not model.subgraphs or not model.buffers:
        raise ValueError("it holds no graph")
    for buffer in model.buffers:
        # Some writers put large constants behind the flatbuffer and leave their place in the file.
        if buffer.offset > 1:
            if buffer.offset + buffer.size > len(data):
                raise ValueError("a constant lies beyond its end")
            buffer.data = np.frombuffer(data, np.uint8, buffer.size, buffer.offset)
            buffer.offset = buffer.size = 0
    return model


def load(path: Path, stage: str) -> Any:
    """The ModelT of a file. Raises StageError(`stage`) naming the file when it is missing or not a .tflite."""
    try:
        return parse(path.read_bytes())
    except (OSError, ValueError) as error:
        raise StageError(stage, f"{path} is not a readable .tflite file: {error}") from error


def serialize(model: Any) -> bytes:
    """The model's bytes: the same for equal models, constants aligned to 16 bytes as the schema asks.

    The generated Python writer ignores `force_align`, hence the own buffer writer. Equal quantization tables are
    written once: with a scale and a zero point a channel they weigh a tenth of a small int8 file.
    """
    import flatbuffers

    packed = copy.copy(model)
    packed.buffers = [_Aligned(buffer.data) for buffer in model.buffers]
    packed.subgraphs = [copy.copy(graph) for graph in model.subgraphs]
    written: dict[bytes, Any] = {}
    for graph in packed.subgraphs:
        graph.tensors = [copy.copy(tensor) for tensor in graph.tensors]
        for tensor in graph.tensors:
            if tensor.quantization is not None:
                tensor.quantization = _Shared(tensor.quantization, written)
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(packed.Pack(builder), file_identifier=IDENTIFIER)
    return bytes(builder.Output())


class _Aligned:
    """A BufferT whose bytes start at a multiple of ALIGNMENT in the file."""

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


class _Shared:
    """A table that is written once a file, however many others refer to it."""

    def __init__(self, table: Any, written: dict[bytes, Any]) -> None:
        self.table, self.written = table, written

    def Pack(self, builder: Any) -> Any:  # noqa: N802 - the name the generated writer calls
        content = packed_alone(self.table)
        if content not in self.written:
            self.written[content] = self.table.Pack(builder)
        return self.written[content]


def packed_alone(table: Any) -> bytes:
    """The bytes of one table as a flatbuffer of its own: equal for equal content."""
    import flatbuffers

    if table is None:
        return b""
    builder = flatbuffers.Builder(64)
    builder.Finish(table.Pack(builder))
    return bytes(builder.Output())


def text(value: bytes | str | None) -> str:
    """A flatbuffer string as str (the reader gives bytes, our own edits str)."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else (value or "")


def opcode(model: Any, operator: Any) -> str:
    """The name of an operator's op, such as "CONV_2D"; "CUSTOM:<name>" for custom ones."""
    code = model.operatorCodes[operator.opcodeIndex]
    name = names_of("BuiltinOperator")[max(code.builtinCode, code.deprecatedBuiltinCode)]
    return f"CUSTOM:{text(code.customCode)}" if name == "CUSTOM" else name


def count_ops(model: Any, graph: Any) -> Counter[str]:
    return Counter(opcode(model, operator) for operator in graph.operators or [])


def signature(model: Any, key: str) -> Any:
    """The SignatureDefT named `key`."""
    return next(item for item in model.signatureDefs if text(item.signatureKey) == key)


def signature_tensors(model: Any, name: str) -> dict[str, str]:
    """Names in the signature -> names of the tensors in its graph."""
    found = signature(model, name)
    tensors = model.subgraphs[found.subgraphIndex].tensors
    return {text(item.name): text(tensors[item.tensorIndex].name) for item in [*found.inputs, *found.outputs]}


def called_graphs(operator: Any) -> Iterator[tuple[Any, str]]:
    """The (options, attribute) pairs by which an operator names graphs to call: control flow, composites, reducers."""
    for options in (operator.builtinOptions, operator.builtinOptions2):
        for attribute, value in sorted(vars(options).items()) if options is not None else ():
            if "subgraph" in attribute.lower() and isinstance(value, int) and value >= 0:
                yield options, attribute


def merge(parts: Iterable[Any]) -> Any:
    """One model with the graphs and signatures of all `parts`, whose operator codes are shared. Consumes the parts."""
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


def only(model: Any, key: str) -> Any:
    """A model with one signature and the graphs that it reaches. Consumes `model`: graph indices in options move."""
    alone = copy.copy(model)
    chosen = copy.copy(signature(model, key))
    reached = [chosen.subgraphIndex]
    for index in reached:  # grows while it is walked
        for operator in model.subgraphs[index].operators:
            for options, attribute in called_graphs(operator):
                if getattr(options, attribute) not in reached:
                    reached.append(getattr(options, attribute))
    for index in reached:
        for operator in model.subgraphs[index].operators:
            for options, attribute in called_graphs(operator):
                setattr(options, attribute, reached.index(getattr(options, attribute)))
    alone.subgraphs = [model.subgraphs[index] for index in reached]
    chosen.subgraphIndex = 0
    alone.signatureDefs = [chosen]
    return alone


def compact(model: Any) -> Any:
    """A copy in which equal constants share a buffer, and nothing unused is kept.

    Tensors without a constant all point to buffer 0, which the schema reserves for that.
    """
    api = schema()
    result = copy.copy(model)
    result.buffers, result.subgraphs = [api.BufferT()], []
    known: dict[str, int] = {}

    def place(data: Any) -> int:
        if data is None or len(data) == 0:
            return 0
        digest = sha256_bytes(bytes(bytearray(data)))
        if digest not in known:
            known[digest] = len(result.buffers)
            buffer = api.BufferT()
            buffer.data = data
            result.buffers.append(buffer)
        return known[digest]

    for graph in model.subgraphs:
        kept = copy.copy(graph)
        kept.tensors = [copy.copy(tensor) for tensor in graph.tensors]
        for tensor in kept.tensors:
            tensor.buffer = place(model.buffers[tensor.buffer].data)
        result.subgraphs.append(kept)
    result.metadata = [copy.copy(item) for item in model.metadata or []]
    for item in result.metadata:
        item.buffer = place(model.buffers[item.buffer].data)
    used = sorted({operator.opcodeIndex for graph in result.subgraphs for operator in graph.operators})
    result.operatorCodes = [model.operatorCodes[index] for index in used]
    renumbered = {old: new for new, old in enumerate(used)}
    for graph in result.subgraphs:
        graph.operators = [copy.copy(operator) for operator in graph.operators]
        for operator in graph.operators:
            operator.opcodeIndex = renumbered[operator.opcodeIndex]
    return result


def store(model: Any, tensor: Any, values: NDArray[Any]) -> None:
    """Give the tensor a buffer of its own with `values`: the old one may be another tensor's too."""
    buffer = schema().BufferT()
    buffer.data = np.frombuffer(values.tobytes(), np.uint8)
    model.buffers.append(buffer)
    tensor.buffer = len(model.buffers) - 1


def add_metadata(model: Any, name: str, content: bytes) -> None:
    api = schema()
    buffer, item = api.BufferT(), api.MetadataT()
    buffer.data = np.frombuffer(content, np.uint8)
    item.name, item.buffer = name, len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or []), item]


def read_metadata(model: Any) -> dict[str, bytes]:
    return {text(item.name): bytes(bytearray(model.buffers[item.buffer].data)) for item in model.metadata or []}


def rename_tensors(graph: Any, prefix: str, ports: dict[int, str], taken: Counter[str]) -> None:
    """Readable names, unique in `taken`: `ports` by index, "<prefix>/<path in the module>" for the rest.

    The converter's names hold the Python class of every wrapper around a layer, joined for all layers that were
    fused, and make up 4 % of a small file.
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
    """The attribute names on the way to a layer, from the converter's name for what the layer made.

    "a.Wrapper/b.Wired_wrapped/c.Net_net/d.Block_block/e.Conv2d_conv;5;;..." -> "block/conv".
    """
    first = name.split(";", 1)[0]
    steps = [re.sub(r"^.*\.", "", step).partition("_")[2] for step in first.split("/")]
    kept = [step for step in steps if step]
    # The layout wrapper and the entry's own module say nothing.
    return "/".join(kept[2:] if kept[:1] == ["wrapped"] else kept) or "graph"
