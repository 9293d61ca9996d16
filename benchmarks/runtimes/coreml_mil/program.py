"""Read a saved .mlpackage: its functions as lists of operations, with decoded constants. Nothing is run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.runtimes.coreml_mil.schema import load_schema
from benchmarks.runtimes.coreml_mil.values import BY_NAME, Constant, ValueType, read_value, value_type
from hydramobile.errors import StageError

STAGE = "open"
MODEL = "Data/com.apple.CoreML/model.mlmodel"
WEIGHTS = "Data/com.apple.CoreML/weights"
# Constants of so many elements and fewer (scales, shapes, biases) are not counted as weights.
SMALL = 16


@dataclass(frozen=True, slots=True)
class Operation:
    """One MIL operation. An argument is the name of a value, a list of names, or a literal."""

    type: str
    name: str
    arguments: Mapping[str, Argument]
    outputs: tuple[tuple[str, ValueType], ...]


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant of the file. `size` is its bytes as stored, `blob` its file and offset; None where it is inline."""

    value: Constant
    type: ValueType
    size: int
    blob: tuple[str, int] | None


Argument = str | tuple[str, ...] | Literal


@dataclass(frozen=True, slots=True)
class Image:
    """An image input. Core ML passes 0..255 in the channel `order` of the file; the program divides by 255."""

    width: int
    height: int
    order: str


@dataclass(frozen=True, slots=True)
class Function:
    """One function of a program. `images` are the inputs described as images; all others are MultiArrays.

    `outputs` maps the name of each output to the value that it is.
    """

    name: str
    inputs: Mapping[str, ValueType]
    images: Mapping[str, Image]
    operations: tuple[Operation, ...]
    outputs: Mapping[str, str]


def load_function(package: Path, name: str | None) -> Function:
    """Read one function of a package: `name`, or its default function. Raises StageError("open")."""
    model = read_model(package)
    functions = model.mlProgram.functions
    chosen = name or model.description.defaultFunctionName or "main"
    if chosen not in functions:
        raise StageError(STAGE, f"{package} has no function {chosen!r} (available: {', '.join(sorted(functions))})")
    proto = functions[chosen]
    body = proto.block_specializations[proto.opset]
    described = [row for row in model.description.functions if row.name == chosen] or [model.description]
    operations = tuple(read_operation(op, package / WEIGHTS) for op in body.operations)
    return Function(
        name=chosen,
        inputs={row.name: value_type(row.type) for row in proto.inputs},
        images=read_images(described[0].input),
        operations=operations,
        # A program may name an output otherwise than its description does. The two lists have the same order.
        outputs={row.name: result for row, result in zip(described[0].output, body.outputs, strict=True)}
        if {row.name for row in described[0].output} != set(body.outputs)
        else {result: result for result in body.outputs},
    )


def read_model(package: Path) -> Any:
    """Parse the model of a package. Raises StageError("open") where it is missing, damaged, or no ML program."""
    path = package / MODEL
    if not path.is_file():
        raise StageError(STAGE, f"{package} is not an .mlpackage: it has no {MODEL}")
    model = load_schema().Model()
    try:
        model.ParseFromString(path.read_bytes())
    except Exception as error:  # protobuf's DecodeError; its class depends on protobuf's backend
        raise StageError(STAGE, f"{path} is not a Core ML model: {error}") from error
    model_type = model.WhichOneof("Type")
    if model_type != "mlProgram":
        raise StageError(STAGE, f"{path} is a {model_type} model; only ML programs are evaluated here")
    return model


def read_images(features: Any) -> dict[str, Image]:
    """Return the features that are images, by name."""
    images = {}
    for feature in features:
        if feature.type.WhichOneof("Type") == "imageType":
            image = feature.type.imageType
            order = type(image).ColorSpace.Name(image.colorSpace)
            images[feature.name] = Image(int(image.width), int(image.height), order)
    return images


def read_operation(proto: Any, weights: Path) -> Operation:
    if proto.blocks:
        raise StageError(STAGE, f"op {proto.type!r} holds blocks (control flow), which is not supported")
    arguments: dict[str, Argument] = {}
    for key, value in proto.attributes.items():
        if key != "name":
            arguments[key] = read_literal(value, weights)
    for key, argument in proto.inputs.items():
        rows = list(argument.arguments)
        if len(rows) == 1 and key != "values":
            is_name = rows[0].WhichOneof("binding") == "name"
            arguments[key] = str(rows[0].name) if is_name else read_literal(rows[0].value, weights)
        elif all(row.WhichOneof("binding") == "name" for row in rows):
            arguments[key] = tuple(str(row.name) for row in rows)
        else:
            raise StageError(STAGE, f"op {proto.type!r}: a literal in a list argument ({key!r}) is not supported")
    outputs = tuple((row.name, value_type(row.type)) for row in proto.outputs)
    return Operation(proto.type, outputs[0][0] if outputs else proto.type, arguments, outputs)


def read_literal(proto: Any, weights: Path) -> Literal:
    type_ = value_type(proto.type)
    value = read_value(proto, weights)
    is_blob = proto.WhichOneof("value") == "blobFileValue"
    blob = (str(proto.blobFileValue.fileName), int(proto.blobFileValue.offset)) if is_blob else None
    count = 1 if isinstance(value, str) else value.size
    return Literal(value, type_, (count * BY_NAME[type_.dtype].bits + 7) // 8, blob)


def weight_bytes(function: Function) -> dict[str, int]:
    """Return the bytes of constants of more than SMALL elements by stored dtype. A shared blob counts once."""
    totals: dict[str, int] = {}
    counted: set[tuple[str, int]] = set()
    for operation in function.operations:
        for key, argument in operation.arguments.items():
            if not isinstance(argument, Literal) or isinstance(argument.value, str) or argument.value.size <= SMALL:
                continue
            if argument.blob is not None:
                if argument.blob in counted:
                    continue
                counted.add(argument.blob)
            dtype = packed_dtype(operation, key) or argument.type.dtype
            totals[dtype] = totals.get(dtype, 0) + argument.size
    return dict(sorted(totals.items()))


def packed_dtype(operation: Operation, argument: str) -> str | None:
    """Return the dtype of an argument that iOS 16 packs into bytes: a palette's indices, a mask. None for any other."""
    if "shape" not in operation.arguments:
        return None
    lut = operation.arguments.get("lut")
    if operation.type == "constexpr_lut_to_dense" and argument == "indices" and isinstance(lut, Literal):
        return f"uint{(np.size(lut.value) - 1).bit_length()}"
    return "uint1" if operation.type == "constexpr_sparse_to_dense" and argument == "mask" else None
