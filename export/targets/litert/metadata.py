"""Write the description and the metadata entries `hydra.json` and `min_runtime_version` of a .tflite."""

from __future__ import annotations

import copy
from typing import Any

from export.program import Program
from export.targets.litert import flatbuffer
from hydramobile.files import canonical_json
from hydramobile.recipes import Recipe

# The entry with the model's name, version, licence, authors and a description of every tensor, as JSON.
NAME = "hydra.json"
# The converter's own entry.
RUNTIME = "min_runtime_version"
# The converter's entry covers every op but the DEQUANTIZE that a recipe adds: the first runtimes whose DEQUANTIZE reads
# float16, and int8 with one scale per channel (tensorflow/lite/tools/versioning/runtime_version.cc).
DEQUANTIZE = {"FLOAT16": "1.15.0", "INT8": "2.7.0"}


def minimum_runtime(model: Any) -> str:
    """Return the oldest TFLite runtime that has every op of the model, such as "2.10.0".

    "unknown" where the model has no such entry.
    """
    versions = [
        flatbuffer.text(content).strip("\0")
        for name, content in flatbuffer.read_metadata(model).items()
        if name == RUNTIME
    ]
    types = flatbuffer.names_of("TensorType")
    versions += [
        DEQUANTIZE.get(types[graph.tensors[operator.inputs[0]].type], "")
        for graph in model.subgraphs
        for operator in graph.operators
        if flatbuffer.opcode(model, operator) == "DEQUANTIZE"
    ]
    return max((version for version in versions if version), key=version_key, default="unknown")


def version_key(version: str) -> tuple[int, ...]:
    """Return the key to compare versions by: "2.10.0" gives (2, 10, 0), "unknown" gives ()."""
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def annotate(model: Any, program: Program, recipe: Recipe, runtime: str) -> bytes:
    """Return the bytes of the model with its description and metadata, and with its ports' own names on tensors."""
    spec = program.spec
    annotated = copy.copy(model)
    annotated.buffers = list(model.buffers)
    annotated.metadata = []
    for item in annotated.signatureDefs:
        for port in (*item.inputs, *item.outputs):
            annotated.subgraphs[item.subgraphIndex].tensors[port.tensorIndex].name = flatbuffer.text(port.name)
    annotated.description = f"{spec.name} {spec.version} ({recipe.name}). {spec.description} Licence: {spec.license}."
    flatbuffer.add_metadata(annotated, NAME, canonical_json(describe(model, program, recipe)).encode())
    # The converter pads this entry to 16 bytes, and readers expect 16.
    flatbuffer.add_metadata(annotated, RUNTIME, runtime.encode().ljust(16, b"\0"))
    return flatbuffer.serialize(annotated)


def describe(model: Any, program: Program, recipe: Recipe) -> dict[str, Any]:
    """Return the content of `hydra.json`: the spec's facts, with the signatures and tensors that the model has."""
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
    return {
        "model": spec.name,
        "version": spec.version,
        "license": spec.license,
        "authors": list(spec.authors),
        "description": spec.description,
        "recipe": recipe.name,
        "signatures": {name: entry.description for name, entry in entries.items()},
        "tensors": tensors,
    }
