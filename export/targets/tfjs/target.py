"""The TF.js target: one graph model per entry, lowered from PyTorch's ONNX graph without a converter in between.

float32, float16 and w16 or w8 (affine codes, one scale per weight) store weights in fewer bits; all arithmetic is
float32. w8g1 stores small and depthwise kernels with one scale per output channel (channels.py).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from export.onnx_export.convert import onnx_program
from export.program import Program
from export.quantize.plan import LayerMatcher, build_plan
from export.quantize.storage import LayerStorage
from export.target import Emitted
from export.targets.tfjs import layerwise, readback
from export.targets.tfjs.describe import describe_model
from export.targets.tfjs.encode import EIGHT_BIT_VALUES, TFJS, Ports, Style, metadata, write_model
from export.targets.tfjs.lower import Lowered, lower
from export.targets.tfjs.pipeline import ATEN_PASSES
from export.targets.tfjs.usage import usage_text
from export.verify.expected import Expected
from export.verify.readback import Saved
from hydramobile.artifact import Entry, Port
from hydramobile.recipes import Recipe
from hydramobile.spec import EntrySpec

WEIGHT_BITS = (8, 16)
BY_CHANNEL = "w8g1"


@dataclass(frozen=True, slots=True)
class Converted:
    """The float32 graph of an entry, and its ports as the file has them."""

    entry: EntrySpec
    ports: Ports
    graph: Lowered


class TFJSTarget:
    """The Target of TF.js graph models.

    A folder per entry holds model.json and weight shards of at most 4 MiB. Image-like tensors are NHWC.
    """

    name = "tfjs"
    static_bits = 8
    toolchain = ("torch", "onnx", "onnxscript", "numpy")
    storage: LayerStorage = layerwise

    def refuses(self, recipe: Recipe) -> str | None:
        if recipe.base:
            return None
        if recipe.scheme == "palette":
            return "a graph model has no palettes; use w8 or w16 (affine codes, one scale per weight)"
        if recipe.activation_bits or recipe.dynamic:
            return "TF.js has no integer kernels for activations; use w8 (integer weights, float activations)"
        if recipe.sparsity:
            return "a graph model stores every weight, zero or not; use w8 or w16"
        if recipe.block and recipe.name != BY_CHANNEL:
            return f"a graph model has one scale per weight or per output channel ({BY_CHANNEL}), not one per block"
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
        matcher = LayerMatcher(build_plan(program, recipe, self.name, self.storage)) if recipe.base else None
        for item in converted:
            name, ports = item.entry.name, item.ports
            storage = layerwise.storage_by_weight(item.graph, matcher) if matcher else {}
            style = Style(recipe, program.least_quantized(), storage)
            write_model(folder / name, item.graph, style, ports, metadata(program, item.entry, recipe, ports))
            entries.append(Entry(name, name, item.entry.modules, f"{name}/model.json", ports.inputs, ports.outputs))
        remarks = notes(recipe) + (matcher.notes(self.name) if matcher else ())
        return Emitted(tuple(entries), {"tfjs": TFJS}, remarks, matcher.stored() if matcher else {})

    def read_weights(self, folder: Path, emitted: Emitted) -> Iterator[Saved]:
        return readback.read_weights(folder, emitted.entries)

    def originals(self, program: Program, converted: tuple[Converted, ...], recipe: Recipe) -> Mapping[str, Expected]:
        return {
            name: wanted
            for item in converted
            for name, wanted in readback.originals(program, item.entry.name, item.graph, recipe).items()
        }

    def describe(self, path: Path) -> dict[str, Any]:
        return describe_model(path)

    def usage(self, emitted: Emitted) -> str:
        return usage_text(emitted)


def convert_entry(program: Program, entry: EntrySpec) -> Converted:
    """Export the entry to ONNX and lower it. Raises StageError("convert")."""
    ports = Ports(
        tuple(file_port(program, name) for name in entry.inputs),
        tuple(file_port(program, name) for name in entry.outputs),
    )
    model = onnx_program(program, entry, ATEN_PASSES)
    return Converted(entry, ports, lower(model, ports.inputs, ports.outputs, entry.name))


def file_port(program: Program, name: str) -> Port:
    """Return the port as the file has it: NHWC, and int32 where PyTorch has int64."""
    port = program.port(name, nhwc=True)
    return replace(port, dtype="int32") if port.dtype == "int64" else port


def notes(recipe: Recipe) -> tuple[str, ...]:
    """Return the notes of artifact.json: how the recipe affects an app, and which weights keep 16 bits."""
    if recipe.scheme == "float" and recipe.weight_bits == 32:
        return ()
    decoded = "TF.js decodes the weights to float32 when it loads them"
    if recipe.block:
        return (f"{decoded}; small and depthwise kernels are computed from codes and scales in every run",)
    download_only = f"{decoded}: the recipe changes the download, not the speed"
    if recipe.weight_bits == 8 and not recipe.base:
        wide = (
            f"depthwise kernels, matrices of uneven rows and kernels under {EIGHT_BIT_VALUES} elements are stored as "
            "uint16, others as uint8"
        )
        return download_only, wide
    return (download_only,)
