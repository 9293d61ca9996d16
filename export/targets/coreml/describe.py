"""What a saved .mlpackage says about itself, for `inspect`."""

from __future__ import annotations

from collections import Counter
from math import prod
from pathlib import Path
from typing import Any

from export.targets.coreml.package import MULTIARRAY, body, descriptions, read_model

# MIL.DataType to (name, bits)
DTYPES = {
    1: ("bool", 8), 2: ("string", 0), 10: ("float16", 16), 11: ("float32", 32), 12: ("float64", 64),
    21: ("int8", 8), 22: ("int16", 16), 23: ("int32", 32), 24: ("int64", 64), 25: ("int4", 4),
    31: ("uint8", 8), 32: ("uint16", 16), 33: ("uint32", 32), 34: ("uint64", 64), 35: ("uint4", 4),
    36: ("uint2", 2), 37: ("uint1", 1), 38: ("uint6", 6), 39: ("uint3", 3),
}  # fmt: skip
IOS = {6: "15.0", 7: "16.0", 8: "17.0", 9: "18.0", 10: "26.0"}
# Scales, shapes and biases of a few values are not weights.
SMALL = 16


def describe_package(path: Path) -> dict[str, Any]:
    """Format, metadata, entries with their tensors, weight bytes by dtype, op counts; all from the file's bytes."""
    model = read_model(path)
    metadata = model.description.metadata
    functions = model.mlProgram.functions
    entries = []
    for description in descriptions(model):
        name = getattr(description, "name", "") or "main"
        operations = body(functions[name]).operations
        ops = Counter(op.type for op in operations if op.type != "const")
        entries.append(
            {
                "name": name,
                "inputs": [feature(row) for row in description.input],
                "outputs": [feature(row) for row in description.output],
                "ops": dict(sorted(ops.items())),
            }
        )
    return {
        "format": "mlpackage (ML program)",
        "specification": model.specificationVersion,
        "ios": IOS.get(model.specificationVersion, "unknown"),
        "metadata": {
            "description": metadata.shortDescription,
            "version": metadata.versionString,
            "author": metadata.author,
            "license": metadata.license,
            **dict(sorted(metadata.userDefined.items())),
        },
        "default": model.description.defaultFunctionName or "main",
        "entries": entries,
        "weights": weight_bytes(functions.values()),
        "bytes": sum(file.stat().st_size for file in path.rglob("*") if file.is_file()),
    }


def feature(row: Any) -> dict[str, Any]:
    kind = row.type.WhichOneof("Type")
    found = {"name": row.name, "type": kind, "description": row.shortDescription}
    if kind == "imageType":
        image = row.type.imageType
        space = type(image).ColorSpace.Name(image.colorSpace)
        return {**found, "shape": [1, image.height, image.width, 3], "dtype": "uint8", "color": space}
    array = row.type.multiArrayType
    return {**found, "shape": list(array.shape), "dtype": MULTIARRAY.get(array.dataType, str(array.dataType))}


def weight_bytes(functions: Any) -> dict[str, int]:
    """Bytes of constants of more than 16 values by dtype; a blob that functions share counts once."""
    found: Counter[str] = Counter()
    seen: set[tuple[str, int]] = set()
    for function in functions:
        for op in body(function).operations:
            for value in constants(op):
                tensor = value.type.tensorType
                count = prod(dim.constant.size for dim in tensor.dimensions)
                blob = (value.blobFileValue.fileName, value.blobFileValue.offset)
                if count <= SMALL or tensor.dataType not in DTYPES or blob in seen:
                    continue
                if value.WhichOneof("value") == "blobFileValue":
                    seen.add(blob)
                name, bits = DTYPES[tensor.dataType]
                found[name] += (count * bits + 7) // 8
    return dict(sorted(found.items()))


def constants(op: Any) -> list[Any]:
    """The literal tensors of an op: a const's value, and what a constexpr op holds in attributes or arguments."""
    values = [value for key, value in op.attributes.items() if key != "name"]
    values += [row.value for argument in op.inputs.values() for row in argument.arguments if row.HasField("value")]
    return [value for value in values if value.type.WhichOneof("type") == "tensorType"]
