"""Read facts from a saved .tflite, without TensorFlow."""

from __future__ import annotations

import json
from collections import Counter
from math import prod
from pathlib import Path
from typing import Any

from export.targets.litert import flatbuffer
from export.targets.litert.metadata import NAME

# NumPy's names of the schema's TensorType values.
DTYPES = {
    0: "float32", 1: "float16", 2: "int32", 3: "uint8", 4: "int64", 6: "bool",
    7: "int16", 9: "int8", 10: "float64", 12: "uint64", 15: "uint32", 16: "uint16", 17: "int4",
}  # fmt: skip


def describe_file(path: Path) -> dict[str, Any]:
    """Return the signatures with their tensors, the weight bytes by dtype, the op counts and the metadata of a .tflite.

    Raises StageError("inspect") naming the file where it is not one.
    """
    model = flatbuffer.load(path, "inspect")
    metadata = {}
    for name, content in flatbuffer.read_metadata(model).items():
        value = content.rstrip(b"\0").decode("utf-8", "replace")
        metadata[name] = read_json(value) if name == NAME else value
    notes = metadata.get(NAME)
    tensors = notes.get("tensors", {}) if isinstance(notes, dict) else {}
    ops: Counter[str] = Counter()
    for graph in model.subgraphs:
        ops += flatbuffer.count_ops(model, graph)
    return {
        "format": f"TFLite flatbuffer, schema {model.version}",
        "metadata": {"description": flatbuffer.text(model.description), **metadata},
        "entries": [entry_facts(model, item, tensors) for item in model.signatureDefs or []],
        "weight_bytes": weight_bytes(model),
        "ops": dict(sorted(ops.items())),
    }


def read_json(value: str) -> Any:
    """Parse JSON, or return the text where it is none."""
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        return value


def entry_facts(model: Any, signature: Any, notes: dict[str, Any]) -> dict[str, Any]:
    """Return the name, inputs, outputs and op counts of one signature. `notes`: the tensors of `hydra.json`."""
    graph = model.subgraphs[signature.subgraphIndex]

    def facts(item: Any) -> dict[str, Any]:
        tensor, name = graph.tensors[item.tensorIndex], flatbuffer.text(item.name)
        return {
            "name": name,
            "shape": [int(side) for side in (tensor.shape if tensor.shape is not None else ())],
            "dtype": dtype_name(tensor),
            "description": notes.get(name, {}).get("description", ""),
        }

    return {
        "name": flatbuffer.text(signature.signatureKey),
        "inputs": [facts(item) for item in signature.inputs],
        "outputs": [facts(item) for item in signature.outputs],
        "ops": dict(sorted(flatbuffer.count_ops(model, graph).items())),
    }


def weight_bytes(model: Any) -> dict[str, int]:
    """Return the bytes of constants of more than 16 elements, by dtype. A buffer that graphs share counts once."""
    counted: dict[int, tuple[str, int]] = {}
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            data = model.buffers[tensor.buffer].data
            elements = prod(int(side) for side in (tensor.shape if tensor.shape is not None else ()))
            if data is not None and elements > flatbuffer.MAX_SMALL_CONSTANT:
                counted[tensor.buffer] = (dtype_name(tensor), len(data))
    total: Counter[str] = Counter()
    for dtype, size in counted.values():
        total[dtype] += size
    return dict(sorted(total.items()))


def dtype_name(tensor: Any) -> str:
    """Return NumPy's name of a tensor's dtype, or the schema's where NumPy has none."""
    return DTYPES.get(tensor.type, flatbuffer.names_of("TensorType")[tensor.type].lower())
