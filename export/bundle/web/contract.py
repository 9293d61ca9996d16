"""Describe one artifact for the JavaScript runtime: its modules, files and golden tensors, and the package's paths."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from export.bundle.package import Content, ModelPart
from export.bundle.plan import PHOTO, STAGE, Plan, Source, Step
from hydramobile.artifact import FileRecord, Port, files_of
from hydramobile.errors import StageError
from hydramobile.files import sha256_bytes

# Bytes of the largest part of a model file: what a phone loses when its connection breaks.
PART = 4 << 20
# The dtypes that the runtime has arrays for (sources/tensors.js).
DTYPES = ("float32", "int64", "int32", "int8", "uint8", "bool")


@dataclass(frozen=True, slots=True)
class Parted:
    """A model file of an artifact: its path there, and its parts in the package with their content."""

    path: str
    parts: Mapping[str, Content]
    rows: tuple[FileRecord, ...]


def parted_files(plan: Plan) -> tuple[Parted, ...]:
    """Return the files of the steps' modules, each once, below models/<target>/ of the package."""
    records = {record.path: record for step in plan.steps for record in files_of(plan.artifact, step.entry)}
    return tuple(split(plan, record, index) for index, record in enumerate(records.values()))


def split(plan: Plan, record: FileRecord, index: int) -> Parted:
    """Return one file in parts of at most `PART` bytes."""
    safe = record.path if re.fullmatch(r"[\w./-]+", record.path, re.ASCII) else f"file{index}"
    name = f"{plan.artifact.target}/{safe}"
    if record.bytes <= PART:
        row = FileRecord(name, record.bytes, record.sha256)
        return Parted(record.path, {f"models/{name}": plan.folder / record.path}, (row,))
    content = (plan.folder / record.path).read_bytes()
    blocks = [ModelPart(content[start : start + PART]) for start in range(0, len(content), PART)]
    rows = tuple(
        FileRecord(f"{name}.part{number}", len(block), sha256_bytes(block)) for number, block in enumerate(blocks)
    )
    return Parted(record.path, {f"models/{row.path}": block for row, block in zip(rows, blocks, strict=True)}, rows)


def contract(plan: Plan, files: tuple[Parted, ...], keys: Mapping[str, str]) -> dict[str, Any]:
    """Return `Contract` of sources/types.d.ts. `keys` maps an output to its field in the result."""
    return {
        "target": plan.artifact.target,
        "recipe": plan.artifact.recipe,
        "sha256": plan.artifact.sha256,
        "unproven": plan.unproven,
        "steps": {step.name: step_row(step, keys) for step in plan.steps},
        "wholes": {whole.name: {"steps": whole.steps, "outputs": whole.outputs} for whole in plan.wholes},
        "files": [{"path": file.path, "parts": [part_row(row) for row in file.rows]} for file in files],
    }


def part_row(row: FileRecord) -> dict[str, Any]:
    return {"path": row.path, "bytes": row.bytes, "sha256": row.sha256}


def step_row(step: Step, keys: Mapping[str, str]) -> dict[str, Any]:
    entry = step.entry
    return {
        "file": entry.file,
        "signature": entry.function or entry.name,
        "inputs": [input_row(source) for source in step.sources],
        "outputs": [{**port_row(port), "key": keys[port.name]} for port in entry.outputs],
        "features": step.features,
        "results": step.results,
    }


def input_row(source: Source) -> dict[str, Any]:
    photo = source.port.kind == PHOTO and not source.step
    return {**port_row(source.port), "step": source.step, "photo": photo}


def port_row(port: Port) -> dict[str, Any]:
    """Return `Port` of sources/types.d.ts. Raises StageError("bundle") for a dtype that browsers' arrays lack."""
    if port.dtype not in DTYPES:
        raise StageError(STAGE, f"{port.name!r} is {port.dtype}; packages for the web take {', '.join(DTYPES)}")
    keys = ("name", "file_name", "shape", "dtype", "layout", "reference_layout", "range", "scale", "zero_point")
    return {key: getattr(port, key) for key in keys}


@dataclass(frozen=True, slots=True)
class Golden:
    """The golden tensors of what the caller gives and gets: files of the package, and `Golden` of sources/check.js."""

    files: Mapping[str, Content]
    inputs: Mapping[str, FileRecord]
    outputs: Mapping[str, tuple[FileRecord, float]]


def golden_tensors(plan: Plan) -> Golden:
    """Return the golden inputs and results of all steps, below golden/<target>/ of the package."""
    root, target = plan.artifact.golden["folder"], plan.artifact.target
    known = {record.path: record for record in plan.artifact.files}
    files: dict[str, Content] = {}

    def record_of(stored: Mapping[str, Any], name: str) -> FileRecord:
        path = f"{root}/{stored['file']}"
        if path not in known:
            raise StageError(STAGE, f"{plan.folder} has no file {path}")
        safe = name if re.fullmatch(r"[\w.-]+", name, re.ASCII) else f"tensor{len(files)}"
        own = f"{target}/{safe}.bin"
        files[f"golden/{own}"] = plan.folder / path
        return FileRecord(own, known[path].bytes, known[path].sha256)

    inputs: dict[str, FileRecord] = {}
    outputs: dict[str, tuple[FileRecord, float]] = {}
    for step in plan.steps:
        stored = plan.golden["entries"][step.entry.id]
        for port in step.asked:
            inputs[port.name] = record_of(stored["inputs"][port.file_name], port.name)
        for port in step.entry.outputs:
            if port.name in step.results:
                row = stored["outputs"][port.file_name]
                outputs[port.name] = (record_of(row, port.name), float(row["mean_abs"]))
    return Golden(files, inputs, outputs)


def quoted(value: Any) -> str:
    """Return a value as JavaScript: JSON without the two line separators that older JavaScript ends lines at."""
    return json.dumps(value, ensure_ascii=True, allow_nan=False)
