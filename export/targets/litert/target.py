"""LiteRTTarget: the steps of the LiteRT export, in order."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.passes.base import run_passes
from export.program import Program
from export.quantize.layers import make_plan
from export.target import Emitted, LayerStorage
from export.targets.litert import flatbuffer, layerwise, readback
from export.targets.litert.convert import convert_modules, file_ports
from export.targets.litert.describe import DTYPES, describe_file
from export.targets.litert.fuse import add_fused
from export.targets.litert.metadata import annotate, minimum_runtime
from export.targets.litert.pipeline import FLATBUFFER_PASSES
from export.targets.litert.recipes import SUPPORTED, apply_recipe
from export.targets.litert.static import quantize_static
from export.targets.litert.usage import usage_kotlin
from export.verify.readback import Saved, Wanted
from hydramobile.artifact import Entry, Port
from hydramobile.errors import StageError
from hydramobile.files import write_bytes
from hydramobile.ports import to_file
from hydramobile.recipes import Recipe
from hydramobile.spec import EntrySpec

# A fused signature shares the weights of its modules: more than this would be weights stored twice.
FUSED_LIMIT = 0.05
# int8_io: recipes with integer activations take and return int8.
OPTIONS = ("int8_io",)


class LiteRTTarget:
    name = "litert"
    static_bits = 8
    toolchain = ("torch", "litert-torch", "litert-converter", "ai-edge-quantizer", "ai-edge-litert", "flatbuffers")
    storage: LayerStorage = layerwise

    def refuses(self, recipe: Recipe) -> str | None:
        return None if recipe.plain in SUPPORTED or recipe.base else f"litert has {', '.join(SUPPORTED)}"

    def unavailable(self) -> str | None:
        needed = ("torch", "litert_torch", "ai_edge_quantizer", "ai_edge_litert")
        missing = [name for name in needed if importlib.util.find_spec(name) is None]
        return f"{', '.join(missing)} not installed; run: make setup" if missing else None

    def convert(self, program: Program, scratch: Path) -> bytes:
        """The modules as one float32 .tflite; fused entries and recipes are made of it by `emit`."""
        options = program.spec.options.get("litert", {})
        if unknown := [key for key in options if key not in OPTIONS]:
            raise StageError("convert", f"[options.litert] has no {unknown[0]!r} (known: {', '.join(OPTIONS)})")
        return convert_modules(program)

    def emit(self, program: Program, converted: bytes, recipe: Recipe, folder: Path) -> Emitted:
        spec = program.spec
        plan = make_plan(program, recipe, self.name, self.storage) if recipe.base else None
        data = layerwise.store_layers(converted, plan) if plan else quantized(program, converted, recipe)
        model = flatbuffer.compact(run_passes(flatbuffer.parse(data), FLATBUFFER_PASSES).program)
        runtime = minimum_runtime(model)
        bare = flatbuffer.serialize(model)
        file = f"{spec.name}.tflite"
        files = dict.fromkeys(spec.modules, file)
        notes: list[str] = []
        separate: dict[str, Any] = {}
        for entry in program.entries:
            if not entry.fused:
                continue
            fused = add_fused(model, entry)
            grown = len(flatbuffer.serialize(fused)) / len(flatbuffer.serialize(model)) - 1
            difference = fused_difference(program, entry, fused)
            facts = f"adds {grown:.2%} to the file; its outputs differ by {difference:g} at most from {chain(entry)}"
            if grown <= FUSED_LIMIT and difference == 0.0:
                model, files[entry.name] = fused, file
                notes.append(f"signature {entry.name!r} {facts}")
            else:
                files[entry.name] = f"{entry.name}.tflite" if entry.name != spec.name else f"{entry.name}.fused.tflite"
                # A graph is shared by reference between models: parse a fresh one before its indices move.
                again = add_fused(flatbuffer.parse(bare), entry)
                separate[entry.name] = flatbuffer.compact(flatbuffer.only(again, entry.name))
                notes.append(f"{files[entry.name]} is a file of its own: as a signature of {file} it {facts}")
        notes.append(transposes(model))
        for name, content in {file: model, **{files[key]: value for key, value in separate.items()}}.items():
            write_bytes(folder / name, annotate(content, program, recipe, runtime))
        # Read from what was written, not from what was asked for.
        saved = {name: flatbuffer.load(folder / name, "emit") for name in set(files.values())}
        entries = tuple(read_entry(program, entry, files[entry.name], saved) for entry in program.entries)
        notes += plan.finish(self.name) if plan else ()
        return Emitted(entries, {"litert": runtime}, tuple(notes), plan.stored() if plan else {})

    def read_weights(self, folder: Path, emitted: Emitted) -> Iterator[Saved]:
        return readback.read_weights(folder, emitted.entries)

    def originals(self, program: Program, converted: bytes, recipe: Recipe) -> Mapping[str, Wanted]:
        return readback.originals(program, converted, recipe)

    def describe(self, path: Path) -> dict[str, Any]:
        return describe_file(path)

    def usage(self, emitted: Emitted) -> str:
        return usage_kotlin(emitted)


def quantized(program: Program, converted: bytes, recipe: Recipe) -> bytes:
    """The float32 file of the modules in the recipe's types."""
    if recipe.calibrated:
        return quantize_static(program, converted, recipe)
    return apply_recipe(converted, recipe, program.least_quantized())


def chain(entry: EntrySpec) -> str:
    return " then ".join(repr(name) for name in entry.modules)


def transposes(model: Any) -> str:
    """Layout changes left in the file: none for a convolutional net; attention has its own."""
    found = {flatbuffer.text(graph.name): flatbuffer.count_ops(model, graph)["TRANSPOSE"] for graph in model.subgraphs}
    listed = ", ".join(f"{name} {count}" for name, count in found.items() if count)
    return f"{sum(found.values())} TRANSPOSE operators" + (f" ({listed})" if listed else "")


def read_entry(program: Program, entry: EntrySpec, file: str, saved: Mapping[str, Any]) -> Entry:
    """The Entry as the written file has it: dtypes from the file, names checked against it."""
    model = saved[file]
    signature = flatbuffer.signature(model, entry.name)
    graph = model.subgraphs[signature.subgraphIndex]

    def ports(items: Any, names: tuple[str, ...]) -> tuple[Port, ...]:
        tensors = {flatbuffer.text(item.name): graph.tensors[item.tensorIndex] for item in items}
        if set(tensors) != set(names):
            raise StageError("emit", f"{file}: signature {entry.name!r} has {sorted(tensors)}, not {sorted(names)}")
        return tuple(port_of(port, tensors[port.name]) for port in file_ports(program, names))

    return Entry(
        id=entry.name,
        name=entry.name,
        modules=entry.modules,
        file=file,
        inputs=ports(signature.inputs, entry.inputs),
        outputs=ports(signature.outputs, entry.outputs),
        function=entry.name,
    )


def port_of(port: Port, tensor: Any) -> Port:
    """The port with the dtype of the file's tensor, and its scale and zero point where it is quantized."""
    quantization = tensor.quantization
    if quantization is None or quantization.scale is None or not len(quantization.scale):
        return replace(port, dtype=DTYPES[tensor.type])
    scale, zero_point = 1.0 / float(quantization.scale[0]), int(quantization.zeroPoint[0])
    return replace(port, dtype=DTYPES[tensor.type], scale=scale, zero_point=zero_point)


def fused_difference(program: Program, entry: EntrySpec, model: Any) -> float:
    """The largest difference between the fused signature and its modules run one by one, on the real sample."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=flatbuffer.serialize(model), num_threads=1)
    known: dict[str, NDArray[np.generic]] = {
        port.name: to_file(port, program.tensors[port.name].numpy())
        for port in read_entry(program, entry, "", {"": model}).inputs
    }

    def call(name: str, inputs: tuple[str, ...]) -> dict[str, NDArray[np.generic]]:
        runner = interpreter.get_signature_runner(name)
        details = runner.get_input_details()
        given = {key: known[key].astype(details[key]["dtype"], copy=False) for key in inputs}
        return {key: np.array(value) for key, value in runner(**given).items()}

    fused = call(entry.name, entry.inputs)
    for name in entry.modules:
        known.update(call(name, program.spec.modules[name].inputs))
    worst = 0.0
    for name, value in fused.items():
        if not np.array_equal(value, known[name]):
            worst = max(worst, float(np.max(np.abs(value.astype(np.float64) - known[name].astype(np.float64)))))
    return worst
