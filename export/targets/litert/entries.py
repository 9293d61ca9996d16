"""Decide which file holds each entry, and describe the entries of the written files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.program import Program
from export.targets.litert import flatbuffer
from export.targets.litert.convert import file_ports
from export.targets.litert.describe import DTYPES
from export.targets.litert.fuse import add_fused
from hydramobile.artifact import Entry, Port
from hydramobile.errors import StageError
from hydramobile.ports import to_file
from hydramobile.spec import EntrySpec

STAGE = "emit"
# The most by which a fused signature may enlarge the file. It shares the weights of its modules: more than this means
# that weights are stored twice.
MAX_FUSED_GROWTH = 0.05


@dataclass(frozen=True, slots=True)
class Files:
    """The models to write by file name, the file name of each entry, and notes for artifact.json."""

    models: Mapping[str, Any]
    by_entry: Mapping[str, str]
    notes: tuple[str, ...]


def assign_files(program: Program, model: Any) -> Files:
    """Add the fused entries to `model`, which has a signature per module, or give them files of their own.

    A fused entry becomes a signature of the shared file where it adds at most MAX_FUSED_GROWTH to it and computes
    exactly what its modules compute.
    """
    shared_file = f"{program.spec.name}.tflite"
    by_entry = dict.fromkeys(program.spec.modules, shared_file)
    separate: dict[str, Any] = {}
    notes: list[str] = []
    modules_only = flatbuffer.serialize(model)
    for entry in program.entries:
        if not entry.fused:
            continue
        fused = add_fused(model, entry)
        growth = len(flatbuffer.serialize(fused)) / len(flatbuffer.serialize(model)) - 1
        difference = fused_difference(program, entry, fused)
        modules = " then ".join(repr(name) for name in entry.modules)
        facts = f"adds {growth:.2%} to the file; its outputs differ by {difference:g} at most from {modules}"
        if growth <= MAX_FUSED_GROWTH and difference == 0.0:
            model, by_entry[entry.name] = fused, shared_file
            notes.append(f"signature {entry.name!r} {facts}")
        else:
            own_file = f"{entry.name}.tflite" if entry.name != program.spec.name else f"{entry.name}.fused.tflite"
            # Models share graphs by reference, and extract_signature consumes them: parse them anew.
            alone = add_fused(flatbuffer.parse(modules_only), entry)
            separate[own_file] = flatbuffer.compact(flatbuffer.extract_signature(alone, entry.name))
            by_entry[entry.name] = own_file
            notes.append(f"{own_file} is a file of its own: as a signature of {shared_file} it {facts}")
    return Files({shared_file: model, **separate}, by_entry, (*notes, transposes_note(model)))


def transposes_note(model: Any) -> str:
    """Count the TRANSPOSE operators: 0 for a convolutional net in NHWC; attention has its own."""
    counts = {flatbuffer.text(graph.name): flatbuffer.count_ops(model, graph)["TRANSPOSE"] for graph in model.subgraphs}
    listed = ", ".join(f"{name} {count}" for name, count in counts.items() if count)
    return f"{sum(counts.values())} TRANSPOSE operators" + (f" ({listed})" if listed else "")


def fused_difference(program: Program, entry: EntrySpec, model: Any) -> float:
    """Return the largest difference between the fused signature and its modules run one by one, on the example."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=flatbuffer.serialize(model), num_threads=1)
    known: dict[str, NDArray[np.generic]] = {
        port.name: to_file(port, program.tensors[port.name].numpy())
        for port in read_entry(program, entry, model, "").inputs
    }

    def call(name: str, inputs: tuple[str, ...]) -> dict[str, NDArray[np.generic]]:
        runner = interpreter.get_signature_runner(name)
        details = runner.get_input_details()
        feeds = {key: known[key].astype(details[key]["dtype"], copy=False) for key in inputs}
        return {key: np.array(value) for key, value in runner(**feeds).items()}

    fused = call(entry.name, entry.inputs)
    for name in entry.modules:
        known.update(call(name, program.spec.modules[name].inputs))
    largest = 0.0
    for name, value in fused.items():
        if not np.array_equal(value, known[name]):
            largest = max(largest, float(np.max(np.abs(value.astype(np.float64) - known[name].astype(np.float64)))))
    return largest


def read_entries(program: Program, folder: Path, files: Files) -> tuple[Entry, ...]:
    """Return the entries of the program from the written files in `folder`, not from the models in memory."""
    models = {name: flatbuffer.load(folder / name, STAGE) for name in files.models}
    located = ((entry, files.by_entry[entry.name]) for entry in program.entries)
    return tuple(read_entry(program, entry, models[file], file) for entry, file in located)


def read_entry(program: Program, entry: EntrySpec, model: Any, file: str) -> Entry:
    """Return the Entry with the dtypes that the signature of `model` has. `file` is the model's file name.

    Raises StageError where the names of the signature's tensors are not the entry's.
    """
    signature = flatbuffer.signature(model, entry.name)
    graph = model.subgraphs[signature.subgraphIndex]

    def ports(items: Any, names: tuple[str, ...]) -> tuple[Port, ...]:
        tensors = {flatbuffer.text(item.name): graph.tensors[item.tensorIndex] for item in items}
        if set(tensors) != set(names):
            raise StageError(STAGE, f"{file}: signature {entry.name!r} has {sorted(tensors)}, not {sorted(names)}")
        return tuple(file_port(port, tensors[port.name]) for port in file_ports(program, names))

    return Entry(
        id=entry.name,
        name=entry.name,
        modules=entry.modules,
        file=file,
        inputs=ports(signature.inputs, entry.inputs),
        outputs=ports(signature.outputs, entry.outputs),
        function=entry.name,
    )


def file_port(port: Port, tensor: Any) -> Port:
    """Return the port with the dtype of the file's tensor, and its scale and zero point where it is quantized."""
    quantization = tensor.quantization
    if quantization is None or quantization.scale is None or not len(quantization.scale):
        return replace(port, dtype=DTYPES[tensor.type])
    scale, zero_point = 1.0 / float(quantization.scale[0]), int(quantization.zeroPoint[0])
    return replace(port, dtype=DTYPES[tensor.type], scale=scale, zero_point=zero_point)
