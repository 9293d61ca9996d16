"""Seal an artifact: write its golden, USAGE.md, its provenance, and artifact.json with the hash of every file."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from export.golden import write_golden
from export.program import Program, file_dtype
from export.provenance import PROVENANCE, SBOM, bill_of_materials, statement
from export.target import Emitted, Target
from hydramobile.artifact import Artifact, Edge, digest, list_files, write_artifact
from hydramobile.errors import StageError
from hydramobile.files import canonical_json, dump_json, sha256_bytes, sha256_file, write_text
from hydramobile.float32 import dtype_name, upcasts
from hydramobile.markdown import plain
from hydramobile.model_code import code_files
from hydramobile.preprocess import contract
from hydramobile.recipes import Recipe
from hydramobile.samples import assumed_ranges, load_samples
from hydramobile.spec import ModelSpec, TensorSpec

ROOT = Path(__file__).resolve().parent.parent
# Makes packages of artifacts that are sealed already.
BUNDLE = ROOT / "export" / "bundle"


def toolchain(target: Target) -> dict[str, str]:
    """Return the versions of Python and of every package on which the bytes of `target`'s files depend."""
    versions = {"python": ".".join(map(str, sys.version_info[:2]))}
    for package in ("torch", *target.toolchain):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return versions


def source_hash(spec: ModelSpec, target: Target) -> str:
    """Return the hash of the code that shapes an artifact.

    It covers `export` without `export/bundle`, `hydramobile`, the code of the factory, and the target's package where
    that lies elsewhere.
    """
    files = code_files(spec)
    for package in {"export", "hydramobile", type(target).__module__.partition(".")[0]}:
        sources = (path for path in (ROOT / package).rglob("*.py") if BUNDLE not in path.parents)
        files |= {path.relative_to(ROOT).as_posix(): path for path in sources}
    return sha256_bytes(canonical_json({name: sha256_file(path) for name, path in files.items()}).encode())


def input_hash(spec: ModelSpec, target: Target, recipe: Recipe, calibration: Sequence[str] = ()) -> str:
    """Return the hash of all inputs of an artifact.

    They are the spec, the weights, the recipe, the calibration photos of a calibrated recipe, the toolchain and the
    exporter.
    """
    parts: dict[str, Any] = {
        "spec": spec.sha256,
        "weights": spec.weights_sha256,
        "target": target.name,
        # A recipe's own weights count by their content, not by their path.
        "recipe": {**asdict(recipe), "weights": ""},
        "calibration": sorted(calibration) if recipe.calibrated else [],
        "toolchain": toolchain(target),
        "sources": source_hash(spec, target),
    }
    return sha256_bytes(canonical_json(parts).encode())


def seal(program: Program, target: Target, recipe: Recipe, emitted: Emitted, folder: Path) -> Artifact:
    """Complete `folder`, which holds the target's files, and write its artifact.json.

    Raises StageError("seal") when the target described an entry that it did not write.
    """
    spec = program.spec
    check_entries(folder, emitted, spec)
    sample = next(sample for sample in load_samples(spec, "judge") if not sample.private)
    tensors = {name: value.numpy() for name, value in program.tensors.items()}
    golden = write_golden(folder, emitted.entries, tensors, recipe, sample.name)
    write_text(folder / "USAGE.md", usage_text(program, target, recipe, emitted))
    inputs, versions = input_hash(spec, target, recipe, program.calibration_hashes), toolchain(target)
    made = list_files(folder)
    parameters = {"target": target.name, "recipe": recipe.name}
    write_text(folder / SBOM, dump_json(bill_of_materials(spec, versions, made)))
    write_text(folder / PROVENANCE, dump_json(statement(spec, parameters, inputs, versions, made)))
    artifact = Artifact(
        model=spec.name,
        version=spec.version,
        target=target.name,
        recipe=recipe.name,
        license=spec.license,
        authors=spec.authors,
        description=spec.description,
        size=program.size,
        input_hash=inputs,
        spec_sha256=spec.sha256,
        weights_sha256=spec.weights_sha256,
        entries=emitted.entries,
        edges=tuple(Edge(name, source, readers) for name, (source, readers) in spec.edges().items()),
        preprocessing=preprocessing(spec),
        requires=emitted.requires,
        toolchain=versions,
        golden={"folder": "golden", "sample": golden["sample"]},
        notes=(*emitted.notes, *border_notes(program)),
        files=list_files(folder),
        layers=emitted.layers,
        calibration=tuple(sorted(program.calibration_hashes)) if recipe.calibrated else (),
    )
    artifact = replace(artifact, sha256=digest(artifact))
    write_artifact(folder, artifact)
    return artifact


def border_notes(program: Program) -> tuple[str, ...]:
    """Return notes on dtypes and samples: weights and casts that were upcast, and ranges that model.toml lacks."""
    notes = [
        f"module {name!r}: {', '.join(words)} computed in float32, which upcasts weights exactly; parity compares with "
        "this float32 upcast"
        for name, words in upcasts(program.modules).items()
    ]
    for name, (low, high) in assumed_ranges(program.spec, program.size).items():
        notes.append(f"samples of {name!r} lie in [{low:g}, {high:g}]: the smallest table that it indexes bounds it")
    for name, value in program.tensors.items():
        declared, stored = dtype_name(value.dtype), dtype_name(file_dtype(value.dtype))
        if declared != stored and declared not in ("float16", "bfloat16"):
            notes.append(f"{name!r} is {declared} in PyTorch and {stored} in the files")
    return tuple(notes)


def check_entries(folder: Path, emitted: Emitted, spec: ModelSpec) -> None:
    """Raise StageError("seal") where a file is missing, or the entries differ from the entries of the spec."""
    for entry in emitted.entries:
        if not (folder / entry.file).exists():
            raise StageError("seal", f"entry {entry.id!r} names {entry.file}, which was not written")
        if entry.name not in spec.entries:
            raise StageError("seal", f"entry {entry.name!r} is not in the spec (has: {', '.join(spec.entries)})")
    missing = [name for name in spec.entries if name not in {entry.name for entry in emitted.entries}]
    if missing:
        raise StageError("seal", f"no file holds the entry {missing[0]!r}")


def preprocessing(spec: ModelSpec) -> Mapping[str, Any]:
    """Return the photo contract where the model takes a photo; an empty table where it takes other tensors."""
    photos = [name for name in spec.inputs() if spec.tensors[name].kind == "rgb-photo"]
    return {"inputs": photos, **contract(spec.tensors[photos[0]].range)} if photos else {}


def usage_text(program: Program, target: Target, recipe: Recipe, emitted: Emitted) -> str:
    """Return USAGE.md: a heading, the model's description, and the target's own text."""
    spec = program.spec
    head = f"# {spec.name} {plain(spec.version)}: {target.name}, {recipe.name}\n\n{plain(spec.description)}\n\n"
    inside = [normalization(name, tensor) for name, tensor in spec.tensors.items() if tensor.mean]
    return head + "".join(inside) + target.usage(emitted).strip() + "\n"


def normalization(name: str, tensor: TensorSpec) -> str:
    """Return the paragraph on the mean that the files subtract."""
    low, high = tensor.range or (0.0, 1.0)
    mean, std = (", ".join(f"{value:g}" for value in values) for values in (tensor.mean, tensor.std))
    return (
        f"`{name}` takes values from {low:g} to {high:g}. The files themselves subtract the mean ({mean}) and divide "
        f"by the standard deviation ({std}), channel by channel: do not do it a second time.\n\n"
    )
