"""Write an .mlpackage without coremltools: with metadata and descriptions, and the same bytes for the same content."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from sys import modules
from typing import Any

from export.program import Program
from export.targets.coreml.names import file_name, function_name, port_names, restore_outputs
from hydramobile.artifact import Entry, Port
from hydramobile.errors import StageError
from hydramobile.files import sha256_bytes, write_bytes, write_text
from hydramobile.spec import EntrySpec

MODEL = "com.apple.CoreML/model.mlmodel"
WEIGHTS = "com.apple.CoreML/weights"
SCHEMA = "_coreml_proto"
# The function of a single-function package.
MAIN = "main"
# Metadata that coremltools adds beside its version. The date would make each export another file.
DATE = "com.github.apple.coremltools.conversion_date"
# ArrayFeatureType.ArrayDataType
MULTIARRAY = {65552: "float16", 65568: "float32", 65600: "float64", 131104: "int32"}


@dataclass(frozen=True, slots=True)
class Location:
    """Where an artifact holds an entry. `function` is None in a single-function package."""

    file: str
    function: str | None = None
    variant: str = ""


def load_schema() -> Any:
    """Import coremltools' generated protobuf module Model_pb2 by path.

    Importing coremltools itself takes 6 s. Raises StageError("open") where it is not installed.
    """
    if SCHEMA not in modules:
        package = find_spec("coremltools")
        if package is None or not package.submodule_search_locations:
            raise StageError("open", "coremltools is not installed; run: make setup")
        root = Path(package.submodule_search_locations[0]) / "proto"
        spec = spec_from_file_location(SCHEMA, root / "__init__.py", submodule_search_locations=[str(root)])
        if spec is None or spec.loader is None:
            raise StageError("open", f"{root} holds no Core ML schema")
        modules[SCHEMA] = module_from_spec(spec)
        spec.loader.exec_module(modules[SCHEMA])
    return import_module(f"{SCHEMA}.Model_pb2")


def read_model(package: Path) -> Any:
    """Parse the model.mlmodel of a package. Raises StageError("open") where it is missing or damaged."""
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
    """Copy the package that coremltools saved at `source` to `destination`, described and reproducible.

    Adds name, version, licence, authors and descriptions. Leaves out the conversion date, coremltools' side files and
    random identifiers. Returns the model as written.
    """
    model = read_model(source)
    entries = tuple(entries)
    describe_model(model, program, entries)
    functions = {function_name(entry.name): entry for entry in entries} if len(entries) > 1 else {MAIN: entries[0]}
    for name, description in function_descriptions(model).items():
        wanted = [file_name(program, tensor) for tensor in functions[name].outputs]
        restore_outputs(body(model.mlProgram.functions[name]), description.output, wanted)
        describe_features(description, program, functions[name])
    content = {MODEL: model.SerializeToString(deterministic=True)}
    weights = source / "Data" / WEIGHTS
    if weights.is_dir():
        content |= {f"{WEIGHTS}/{path.name}": path.read_bytes() for path in sorted(weights.iterdir())}
    for name, data in content.items():
        write_bytes(destination / "Data" / name, data)
    write_text(destination / "Manifest.json", manifest(content))
    return model


def function_descriptions(model: Any) -> dict[str, Any]:
    """Return the description of inputs and outputs of each function, by name.

    A single-function package has no list of functions: the description of the model describes MAIN.
    """
    return {row.name: row for row in model.description.functions} or {MAIN: model.description}


def body(function: Any) -> Any:
    """Return the operations of one of `mlProgram.functions`."""
    return function.block_specializations[function.opset]


def describe_model(model: Any, program: Program, entries: tuple[EntrySpec, ...]) -> None:
    """Fill in the metadata of the model: description, version, authors, licence, model and entry names."""
    spec = program.spec
    description = entries[0].description if len(entries) == 1 else ""
    metadata = model.description.metadata
    metadata.shortDescription = description or spec.description or spec.name
    metadata.versionString = spec.version
    metadata.author = ", ".join(spec.authors)
    metadata.license = spec.license
    metadata.userDefined["model"] = spec.name
    metadata.userDefined["entries"] = ", ".join(entry.name for entry in entries)
    metadata.userDefined.pop(DATE, None)


def describe_features(description: Any, program: Program, entry: EntrySpec) -> None:
    """Describe each tensor. Raises StageError("convert") where coremltools renamed one."""
    for side, features, names in (
        ("input", description.input, entry.inputs),
        ("output", description.output, entry.outputs),
    ):
        written = [feature.name for feature in features]
        known = {file_name(program, name): name for name in names}
        if sorted(written) != sorted(known):
            raise StageError("convert", f"entry {entry.name!r}: the file's {side}s are {written}, not {list(known)}")
        for feature in features:
            feature.shortDescription = tensor_text(program, known[feature.name])


def tensor_text(program: Program, name: str) -> str:
    """Return the description of a tensor in model.toml, or which module a feature comes from."""
    declared = program.spec.tensors.get(name)
    if declared and declared.description:
        return declared.description
    # Not the modules that read it: a new head must not change the files of the old ones.
    source, readers = program.spec.edges().get(name, ("", ()))
    return f"Feature of {source!r}" if readers else ""


def manifest(content: dict[str, bytes]) -> str:
    """Return Manifest.json as Core ML's own library writes it, but with identifiers derived from the content."""
    digest = sha256_bytes(b"".join(sha256_bytes(data).encode() for data in content.values()))
    model, weights = (
        str(uuid.UUID(sha256_bytes(f"{digest}/{name}".encode())[:32], version=4)) for name in (MODEL, WEIGHTS)
    )
    items = {model: manifest_item("CoreML Model Specification", MODEL)}
    if len(content) > 1:
        items[weights] = manifest_item("CoreML Model Weights", WEIGHTS)
    document = {"fileFormatVersion": "1.0.0", "itemInfoEntries": items, "rootModelIdentifier": model}
    return json.dumps(document, indent=4, sort_keys=True) + "\n"


def manifest_item(description: str, path: str) -> dict[str, str]:
    return {"author": "com.apple.CoreML", "description": description, "name": path.rpartition("/")[2], "path": path}


def describe_entry(model: Any, program: Program, entry: EntrySpec, location: Location) -> Entry:
    """Return the Entry at `location`, its tensors as the sealed `model` describes them.

    Its id is the entry's name, with "@" and the variant where there is one.
    """
    description = function_descriptions(model)[location.function or MAIN]
    names = port_names(program, entry)
    features = [*description.input, *description.output]
    ports = {names[feature.name]: read_port(program, names[feature.name], feature) for feature in features}
    return Entry(
        id=f"{entry.name}@{location.variant}" if location.variant else entry.name,
        name=entry.name,
        modules=entry.modules,
        file=location.file,
        inputs=tuple(ports[name] for name in entry.inputs),
        outputs=tuple(ports[name] for name in entry.outputs),
        function=location.function,
        variant=location.variant,
    )


def byte_scale(limits: tuple[float, float] | None) -> dict[str, Any]:
    """Return how a value of the range becomes a byte: `scale`, and `zero_point` where the range does not start at 0."""
    low, high = limits or (0.0, 1.0)
    scale = 255.0 / (high - low)
    return {"scale": scale, "zero_point": -low * scale} if low else {"scale": scale}


def read_port(program: Program, name: str, feature: Any) -> Port:
    """Return a feature as the app passes it. An image is the bytes of its pixel buffer: rows of interleaved RGB."""
    port = program.port(name, file_name=feature.name)
    if feature.type.WhichOneof("Type") == "imageType":
        image = feature.type.imageType
        return replace(
            port, shape=(1, image.height, image.width, 3), layout="NHWC", dtype="uint8", **byte_scale(port.range)
        )
    array = feature.type.multiArrayType
    # coremltools leaves the shape of some outputs open. Exports have fixed shapes: the reference's shape applies.
    shape = tuple(int(dim) for dim in array.shape) or port.shape
    return replace(port, shape=shape, dtype=MULTIARRAY[array.dataType])
