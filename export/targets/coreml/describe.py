"""Describe a saved .mlpackage from its bytes, for `inspect`."""

from __future__ import annotations

from collections import Counter
from math import prod
from pathlib import Path
from typing import Any

from export.targets.coreml.package import MAIN, MULTIARRAY, body, function_descriptions, read_model

# MIL.DataType to (name, bits per element)
DTYPES = {
    1: ("bool", 8), 2: ("string", 0), 10: ("float16", 16), 11: ("float32", 32), 12: ("float64", 64),
    21: ("int8", 8), 22: ("int16", 16), 23: ("int32", 32), 24: ("int64", 64), 25: ("int4", 4),
    31: ("uint8", 8), 32: ("uint16", 16), 33: ("uint32", 32), 34: ("uint64", 64), 35: ("uint4", 4),
    36: ("uint2", 2), 37: ("uint1", 1), 38: ("uint6", 6), 39: ("uint3", 3),
}  # fmt: skip
# Specification version to the oldest iOS that reads it.
IOS = {6: "15.0", 7: "16.0", 8: "17.0", 9: "18.0", 10: "26.0"}
# Constants of at most this many elements (scales, shapes, biases) are not counted as weights.
SMALL = 16


def describe_package(path: Path) -> dict[str, Any]:
    """Return format, metadata, entries with tensors and op counts, and the weight bytes by dtype."""
    model = read_model(path)
    metadata = model.description.metadata
    functions = model.mlProgram.functions
    entries = []
    for name, description in function_descriptions(model).items():
        ops = Counter(op.type for op in body(functions[name]).operations if op.type != "const")
        entries.append(
            {
                "name": name,
                "inputs": [describe_feature(feature) for feature in description.input],
                "outputs": [describe_feature(feature) for feature in description.output],
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
        "default": model.description.defaultFunctionName or MAIN,
        "entries": entries,
        "weights": weight_bytes(functions.values()),
        "bytes": sum(file.stat().st_size for file in path.rglob("*") if file.is_file()),
    }


def describe_feature(feature: Any) -> dict[str, Any]:
    """Return the name, type, description, shape and dtype of an input or output; an image has a colour space too."""
    type_name = feature.type.WhichOneof("Type")
    row = {"name": feature.name, "type": type_name, "description": feature.shortDescription}
    if type_name == "imageType":
        image = feature.type.imageType
        space = type(image).ColorSpace.Name(image.colorSpace)
        return {**row, "shape": [1, image.height, image.width, 3], "dtype": "uint8", "color": space}
    array = feature.type.multiArrayType
    return {**row, "shape": list(array.shape), "dtype": MULTIARRAY.get(array.dataType, str(array.dataType))}


def weight_bytes(functions: Any) -> dict[str, int]:
    """Return the bytes by dtype of constants of more than SMALL elements. A blob that functions share counts once."""
    totals: Counter[str] = Counter()
    counted: set[tuple[str, int]] = set()
    for function in functions:
        for op in body(function).operations:
            for value in constants(op):
                tensor = value.type.tensorType
                count = prod(dim.constant.size for dim in tensor.dimensions)
                blob = (value.blobFileValue.fileName, value.blobFileValue.offset)
                if count <= SMALL or tensor.dataType not in DTYPES or blob in counted:
                    continue
                if value.WhichOneof("value") == "blobFileValue":
                    counted.add(blob)
                name, bits = DTYPES[tensor.dataType]
                totals[name] += (count * bits + 7) // 8
    return dict(sorted(totals.items()))


def constants(op: Any) -> list[Any]:
    """Return the literal tensors of an op: the value of a `const`, the attributes and arguments of a `constexpr_*`."""
    values = [value for key, value in op.attributes.items() if key != "name"]
    values += [row.value for argument in op.inputs.values() for row in argument.arguments if row.HasField("value")]
    return [value for value in values if value.type.WhichOneof("type") == "tensorType"]
