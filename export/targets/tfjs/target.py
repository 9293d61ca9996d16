"""TF.js: a graph model for each entry, written straight from its ONNX graph, with no converter in between."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from export.onnx_export.convert import onnx_program
from export.program import Program
from export.quantize.layers import make_plan
from export.target import Emitted, LayerStorage
from export.targets.tfjs import layerwise, readback
from export.targets.tfjs.describe import describe_model
from export.targets.tfjs.encode import EIGHT_BIT_VALUES, TFJS, Ports, Style, metadata, write_model
from export.targets.tfjs.lower import Lowered, lower
from export.targets.tfjs.pipeline import ATEN_PASSES
from export.targets.tfjs.usage import usage_text
from export.verify.readback import Saved, Wanted
from hydramobile.artifact import Entry, Port
from hydramobile.recipes import Recipe
from hydramobile.spec import EntrySpec

WEIGHT_BITS = (8, 16)
BY_CHANNEL = "w8g1"


@dataclass(frozen=True, slots=True)
class Converted:
    entry: EntrySpec
    ports: Ports
    graph: Lowered


class TFJSTarget:
    """A folder `<entry>/` with model.json and weight shards of at most 4 MB, NHWC for image-like tensors."""

    name = "tfjs"
    static_bits = 8
    toolchain = ("torch", "onnx", "onnxscript", "numpy")
    storage: LayerStorage = layerwise

    def refuses(self, recipe: Recipe) -> str | None:
        if recipe.base:
            return None
        if recipe.scheme == "palette":
            return "a graph model has no palettes; use w8 or w16 (affine codes, one scale a weight)"
        if recipe.activation_bits:
            return "TF.js has no integer kernels for activations; use w8 (integer weights, float activations)"
        if recipe.sparsity:
            return "a graph model stores every weight, zero or not; use w8 or w16"
        if recipe.dynamic:
            return "TF.js has no integer kernels for activations; use w8 (integer weights, float activations)"
        if recipe.block and recipe.name != BY_CHANNEL:
            return f"a graph model has one scale a weight, or one an output channel ({BY_CHANNEL}), not one a block"
        if recipe.scheme == "int" and recipe.weight_bits not in WEIGHT_BITS:
            return f"a graph model stores uint8 or uint16 weights, not {recipe.weight_bits} bits; use w8 or w16"
        return None

    def unavailable(self) -> str | None:
        missing = [name for name in self.toolchain if importlib.util.find_spec(name) is None]
        return f"{', '.join(missing)} not installed; run: make setup" if missing else None

    def convert(self, program: Program, scratch: Path) -> tuple[Converted, ...]:
        return tuple(convert_entry(program, entry) for entry in program.entries)

    def emit(self, program: Program, converted: tuple[Converted, ...], recipe: Recipe, folder: Path) -> Emitted:
        entries = []
        plan = make_plan(program, recipe, self.name, self.storage) if recipe.base else None
        for item in converted:
            name = item.entry.name
            kinds = layerwise.kinds(item.graph, plan) if plan else {}
            about = metadata(program, item.entry, recipe, item.ports)
            style = Style(recipe, program.least_quantized(), kinds)
            write_model(folder / name, item.graph, style, item.ports, about)
            file = f"{name}/model.json"
            entries.append(Entry(name, name, item.entry.modules, file, item.ports.inputs, item.ports.outputs))
        told = notes(recipe) + (plan.finish(self.name) if plan else ())
        return Emitted(tuple(entries), {"tfjs": TFJS}, told, plan.stored() if plan else {})

    def read_weights(self, folder: Path, emitted: Emitted) -> Iterator[Saved]:
        return readback.read_weights(folder, emitted.entries)

    def originals(self, program: Program, converted: tuple[Converted, ...], recipe: Recipe) -> Mapping[str, Wanted]:
        return {
            name: wanted
            for item in converted
            for name, wanted in readback.originals(program, item.entry.name, item.graph, recipe).items()
        }

    def describe(self, path: Path) -> dict[str, Any]:
        return describe_model(path)

    def usage(self, emitted: Emitted) -> str:
        return usage_text(emitted)


def notes(recipe: Recipe) -> tuple[str, ...]:
    if recipe.scheme == "float" and recipe.weight_bits == 32:
        return ()
    loads = "TF.js decodes the weights to float32 when it loads them"
    shared = f"{loads}: the recipe changes the download, not the speed"
    if recipe.block:
        return (f"{loads}; small and depthwise kernels are made from codes and scales at every run",)
    if recipe.weight_bits == 8 and not recipe.base:
        small = f"depthwise kernels and those under {EIGHT_BIT_VALUES} values are stored as uint16, the others as uint8"
        return shared, small
    return (shared,)


def convert_entry(program: Program, entry: EntrySpec) -> Converted:
    ports = Ports(
        tuple(file_port(program, name) for name in entry.inputs),
        tuple(file_port(program, name) for name in entry.outputs),
    )
    model = onnx_program(program, entry, ATEN_PASSES)
    return Converted(entry, ports, lower(model, ports.inputs, ports.outputs, entry.name))


def file_port(program: Program, name: str) -> Port:
    """The tensor as the file has it: channels last, and int32 where PyTorch has int64."""
    port = program.port(name, nhwc=True)
    return replace(port, dtype="int32") if port.dtype == "int64" else port
