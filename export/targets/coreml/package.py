"""Writing an .mlpackage ourselves: metadata and descriptions in it, the same bytes for the same content."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from sys import modules
from typing import Any

from export.program import Program
from hydramobile.artifact import Entry, Port
from hydramobile.errors import StageError
from hydramobile.files import sha256_bytes, write_bytes, write_text
from hydramobile.spec import EntrySpec

MODEL = "com.apple.CoreML/model.mlmodel"
WEIGHTS = "com.apple.CoreML/weights"
SCHEMA = "_coreml_proto"
# What coremltools notes beside its version; the date would make every export another file.
DATE = "com.github.apple.coremltools.conversion_date"
MULTIARRAY = {65552: "float16", 65568: "float32", 65600: "float64", 131104: "int32"}


def load_schema() -> Any:
    """coremltools' generated protobuf module Model_pb2, without the 6 s that importing coremltools itself takes."""
    if SCHEMA not in modules:
        found = find_spec("coremltools")
        if found is None or not found.submodule_search_locations:
            raise StageError("open", "coremltools is not installed; run: make setup")
        root = Path(found.submodule_search_locations[0]) / "proto"
        spec = spec_from_file_location(SCHEMA, root / "__init__.py", submodule_search_locations=[str(root)])
        if spec is None or spec.loader is None:
            raise StageError("open", f"{root} holds no Core ML schema")
        modules[SCHEMA] = module_from_spec(spec)
        spec.loader.exec_module(modules[SCHEMA])
    return import_module(f"{SCHEMA}.Model_pb2")


def read_model(package: Path) -> Any:
    """The parsed model.mlmodel of a package. Raises StageError("open") when there is none or it is not one."""
    path = package / "Data" / MODEL
    if not path.is_file():
        raise StageError("open", f"{package} is not an .mlpackage: it has no Data/{MODEL}")
    model = load_schema().Model()
    try:
        model.ParseFromString(path.read_bytes())
    except Exception as error:  # protobuf's DecodeError; its class depends on protobuf's backend
        raise StageError("open", f"{path} is not a Core ML model: {error}") from error
    return model


def seal(source: Path, destination: Path, program: Program, entries: Iterable[EntrySpec]) -> Any:
    """Copy the package coremltools saved at `source` to `destination` with everything a reader should find in it.

    Name, version, licence, authors and descriptions are written; the conversion date, coremltools' side files and
    random identifiers are left behind. Returns the model as written.
    """
    model = read_model(source)
    entries = tuple(entries)
    describe_package(model, program, entries)
    for description, entry in zip(descriptions(model), ordered(model, entries), strict=True):
        describe_features(description, program, entry)
    content = {MODEL: model.SerializeToString(deterministic=True)}
    weights = source / "Data" / WEIGHTS
    if weights.is_dir():
        content |= {f"{WEIGHTS}/{path.name}": path.read_bytes() for path in sorted(weights.iterdir())}
    for name, data in content.items():
        write_bytes(destination / "Data" / name, data)
    write_text(destination / "Manifest.json", manifest(content))
    return model


def descriptions(model: Any) -> list[Any]:
    """One description of inputs and outputs a function; a single-function package has it at the top."""
    return list(model.description.functions) or [model.description]


def body(function: Any) -> Any:
    """The operations of one of `mlProgram.functions`."""
    return function.block_specializations[function.opset]


def ordered(model: Any, entries: tuple[EntrySpec, ...]) -> list[EntrySpec]:
    """The entries in the order of the package's functions."""
    named = {function_name(entry.name): entry for entry in entries}
    functions = [function.name for function in model.description.functions]
    return [named[name] for name in functions] if functions else list(entries)


def function_name(entry: str) -> str:
    """An entry's name as a MIL function: an identifier, so "-" becomes "_"."""
    return entry.replace("-", "_")


def describe_package(model: Any, program: Program, entries: tuple[EntrySpec, ...]) -> None:
    spec = program.spec
    alone = entries[0] if len(entries) == 1 else None
    metadata = model.description.metadata
    metadata.shortDescription = (alone.description if alone else "") or spec.description or spec.name
    metadata.versionString = spec.version
    metadata.author = ", ".join(spec.authors)
    metadata.license = spec.license
    metadata.userDefined["model"] = spec.name
    metadata.userDefined["entries"] = ", ".join(entry.name for entry in entries)
    metadata.userDefined.pop(DATE, None)


def describe_features(description: Any, program: Program, entry: EntrySpec) -> None:
    """Check that coremltools kept the names that were asked for, and describe each tensor."""
    for side, features, names in (
        ("input", description.input, entry.inputs),
        ("output", description.output, entry.outputs),
    ):
        found = [feature.name for feature in features]
        if sorted(found) != sorted(names):
            raise StageError("convert", f"entry {entry.name!r}: the file's {side}s are {found}, not {list(names)}")
        for feature in features:
            declared = program.spec.tensors.get(feature.name)
            feature.shortDescription = (
                declared.description if declared and declared.description else feature_text(program, feature.name)
            )


def feature_text(program: Program, name: str) -> str:
    # Not whom it is for: a new head must not change the files of the old ones.
    source, readers = program.spec.edges().get(name, ("", ()))
    return f"Feature of {source!r}" if readers else ""


def manifest(content: dict[str, bytes]) -> str:
    """Manifest.json as Core ML's own library writes it, but its identifiers are derived from the content."""
    digest = sha256_bytes(b"".join(sha256_bytes(data).encode() for data in content.values()))
    model, weights = (
        str(uuid.UUID(sha256_bytes(f"{digest}/{name}".encode())[:32], version=4)) for name in (MODEL, WEIGHTS)
    )
    items = {model: item("CoreML Model Specification", MODEL)}
    if len(content) > 1:
        items[weights] = item("CoreML Model Weights", WEIGHTS)
    rows = {"fileFormatVersion": "1.0.0", "itemInfoEntries": items, "rootModelIdentifier": model}
    return json.dumps(rows, indent=4, sort_keys=True) + "\n"


def item(description: str, path: str) -> dict[str, str]:
    return {"author": "com.apple.CoreML", "description": description, "name": path.rpartition("/")[2], "path": path}


def describe_entry(
    model: Any, program: Program, entry: EntrySpec, ident: str, where: tuple[str, str | None, str]
) -> Entry:
    """The Entry of a sealed package, its tensors read from the file. `where` is (file, function, variant)."""
    file, function, variant = where
    description = next(row for row in descriptions(model) if function is None or row.name == function)
    ports = {feature.name: read_port(program, feature) for feature in [*description.input, *description.output]}
    return Entry(
        id=ident,
        name=entry.name,
        modules=entry.modules,
        file=file,
        inputs=tuple(ports[name] for name in entry.inputs),
        outputs=tuple(ports[name] for name in entry.outputs),
        function=function,
        variant=variant,
    )


def read_port(program: Program, feature: Any) -> Port:
    """A feature as the app meets it. An image is the bytes of its pixel buffer: rows of interleaved 8-bit RGB."""
    port = program.port(feature.name)
    if feature.type.WhichOneof("Type") == "imageType":
        image = feature.type.imageType
        return replace(port, shape=(1, image.height, image.width, 3), layout="NHWC", dtype="uint8", scale=255.0)
    array = feature.type.multiArrayType
    # coremltools leaves the shape of some outputs open; the reference run is fixed, so its shape is the file's.
    shape = tuple(int(dim) for dim in array.shape) or port.shape
    return replace(port, shape=shape, dtype=MULTIARRAY[array.dataType])
