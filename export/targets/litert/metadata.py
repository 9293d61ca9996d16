"""What a .tflite says about itself: a description and the metadata entries `hydra.json` and `min_runtime_version`."""

from __future__ import annotations

import copy
from typing import Any

from export.program import Program
from export.targets.litert import flatbuffer
from hydramobile.files import canonical_json
from hydramobile.recipes import Recipe

NAME = "hydra.json"
"""Name of the metadata buffer with model name, version, licence, authors and a description of every tensor, as JSON."""

RUNTIME = "min_runtime_version"
# The converter's own entry knows every op but the DEQUANTIZE that a recipe adds: the first runtime that takes it from
# float16, and from int8 with a scale a channel (tensorflow/lite/tools/versioning/runtime_version.cc).
DEQUANTIZE = {"FLOAT16": "1.15.0", "INT8": "2.7.0"}


def minimum_runtime(model: Any) -> str:
    """The oldest TFLite runtime that has every op of the model, such as "2.10.0"; "unknown" when it does not say."""
    found = [
        flatbuffer.text(content).strip("\0")
        for name, content in flatbuffer.read_metadata(model).items()
        if name == RUNTIME
    ]
    types = flatbuffer.names_of("TensorType")
    found += [
        DEQUANTIZE.get(types[graph.tensors[operator.inputs[0]].type], "")
        for graph in model.subgraphs
        for operator in graph.operators
        if flatbuffer.opcode(model, operator) == "DEQUANTIZE"
    ]
    return max((version for version in found if version), key=order, default="unknown")


def order(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def annotate(model: Any, program: Program, recipe: Recipe, runtime: str) -> bytes:
    """The file's bytes with its description and metadata."""
    spec = program.spec
    present = {flatbuffer.text(item.signatureKey) for item in model.signatureDefs}
    entries = {name: entry for name, entry in spec.entries.items() if name in present}
    tensors = {}
    for name in dict.fromkeys(name for entry in entries.values() for name in (*entry.inputs, *entry.outputs)):
        port = program.port(name, nhwc=True)
        tensors[name] = {
            "description": port.description,
            "layout": port.layout,
            "range": list(port.range) if port.range else None,
            "kind": port.kind,
        }
    content = {
        "model": spec.name,
        "version": spec.version,
        "license": spec.license,
        "authors": list(spec.authors),
        "description": spec.description,
        "recipe": recipe.name,
        "signatures": {name: entry.description for name, entry in entries.items()},
        "tensors": tensors,
    }
    annotated = copy.copy(model)
    annotated.buffers = list(model.buffers)
    annotated.metadata = []
    for item in annotated.signatureDefs:
        for port in (*item.inputs, *item.outputs):
            annotated.subgraphs[item.subgraphIndex].tensors[port.tensorIndex].name = flatbuffer.text(port.name)
    annotated.description = f"{spec.name} {spec.version} ({recipe.name}). {spec.description} Licence: {spec.license}."
    flatbuffer.add_metadata(annotated, NAME, canonical_json(content).encode())
    # The converter pads this entry to 16 bytes, and readers expect it so.
    flatbuffer.add_metadata(annotated, RUNTIME, runtime.encode().ljust(16, b"\0"))
    return flatbuffer.serialize(annotated)
