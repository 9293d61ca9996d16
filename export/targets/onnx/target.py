"""The ONNX target: one file per entry, for the web (onnxruntime-web) and for servers.

float32   PyTorch's ONNX graph (export/onnx_export)
float16   float16 arithmetic with float32 inputs and outputs (half.py)
w8        per-channel int8 weights behind DequantizeLinear, which ONNX Runtime folds when it loads the file: a smaller
          download, and the speed of float32 (weights.py)
w8a8      static QDQ with uint8 activations; w8a8s with int8 and w8a16 with uint16 activations, for NPUs (static.py)
named     one storage per layer (layerwise.py)
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from export.onnx_export.convert import onnx_program
from export.program import Program
from export.quantize.plan import LayerMatcher, build_plan
from export.quantize.storage import LayerStorage
from export.target import Emitted
from export.targets.onnx import half, layerwise, readback
from export.targets.onnx.describe import describe_model, opset_of
from export.targets.onnx.metadata import write_metadata
from export.targets.onnx.pipeline import ATEN_PASSES, DYNAMIC_ATEN_PASSES
from export.targets.onnx.static import insert_qdq, note
from export.targets.onnx.usage import usage_javascript
from export.targets.onnx.weights import quantize_weights
from export.verify.expected import Expected
from export.verify.readback import Saved
from hydramobile.artifact import Entry
from hydramobile.errors import StageError
from hydramobile.files import write_bytes
from hydramobile.recipes import Recipe
from hydramobile.spec import EntrySpec, ModelSpec

if TYPE_CHECKING:
    import onnx

SUPPORTED = ("float32", "float16", "w8", "w8a8", "w8a8s", "w8a16")
OPTIONS = ("dynamic",)


class OnnxTarget:
    """The Target of ONNX files. `convert` returns float32 models by entry id, which is "<name>@dynamic" for a variant
    with symbolic height and width."""

    name = "onnx"
    static_bits = 7
    toolchain = ("onnx", "onnxscript", "onnxruntime")
    storage: LayerStorage = layerwise

    def refuses(self, recipe: Recipe) -> str | None:
        if recipe.plain in SUPPORTED or recipe.base:
            return None
        return f"onnx has {', '.join(SUPPORTED)}"

    def unavailable(self) -> str | None:
        missing = [name for name in ("torch", *self.toolchain) if importlib.util.find_spec(name) is None]
        return f"{', '.join(missing)} not installed; run: make setup" if missing else None

    def convert(self, program: Program, scratch: Path) -> dict[str, onnx.ModelProto]:
        dynamic = has_dynamic_variant(program.spec)
        models: dict[str, onnx.ModelProto] = {}
        for entry in program.entries:
            models[entry.name] = onnx_program(program, entry, ATEN_PASSES)
            if dynamic:
                models[f"{entry.name}@dynamic"] = onnx_program(program, entry, DYNAMIC_ATEN_PASSES, dynamic=True)
        return models

    def emit(self, program: Program, converted: dict[str, onnx.ModelProto], recipe: Recipe, folder: Path) -> Emitted:
        matcher = LayerMatcher(build_plan(program, recipe, self.name, self.storage)) if recipe.base else None
        entries, opset, ir_version = [], 0, 0
        for ident, float_model in converted.items():
            entry = file_entry(program, ident)
            spec = program.spec.entries[entry.name]
            model = apply_recipe(program, spec, float_model, recipe)
            if matcher:
                layerwise.store_layers(model, matcher)
            write_metadata(model, program.spec, spec)
            write_bytes(folder / entry.file, model.SerializeToString(deterministic=True))
            entries.append(entry)
            # Quantization raises the opset of a file whose integer types need a newer one.
            opset, ir_version = max(opset, opset_of(model)), max(ir_version, model.ir_version)
        notes = matcher.notes(self.name) if matcher else (note(recipe),) if recipe.activation_bits else ()
        if recipe.name == "float16":
            notes = half.note(program, converted)
        requires = {"opset": str(opset), "ir": str(ir_version)}
        return Emitted(tuple(entries), requires, notes, matcher.stored() if matcher else {})

    def read_weights(self, folder: Path, emitted: Emitted) -> Iterator[Saved]:
        return readback.read_weights(folder, emitted.entries)

    def originals(
        self, program: Program, converted: dict[str, onnx.ModelProto], recipe: Recipe
    ) -> Mapping[str, Expected]:
        return readback.originals(program, converted, recipe)

    def describe(self, path: Path) -> dict[str, Any]:
        return describe_model(path)

    def usage(self, emitted: Emitted) -> str:
        return usage_javascript(emitted)


def has_dynamic_variant(spec: ModelSpec) -> bool:
    """Return `[options.onnx] dynamic` of model.toml. Raises StageError("convert") for an unknown option."""
    options = spec.options.get("onnx", {})
    unknown = [key for key in options if key not in OPTIONS]
    if unknown:
        raise StageError("convert", f"[options.onnx] has no {unknown[0]!r} (known: {', '.join(OPTIONS)})")
    return bool(options.get("dynamic"))


def apply_recipe(program: Program, entry: EntrySpec, model: onnx.ModelProto, recipe: Recipe) -> onnx.ModelProto:
    """Return a copy of the float32 `model` under `recipe`. Under a named recipe it stays float32."""
    if recipe.activation_bits:
        return insert_qdq(program, entry, model, recipe)
    if recipe.name == "float16":
        return half.to_float16(program, entry, model)
    return weights_quantized(model, recipe, program.least_quantized())


def weights_quantized(model: onnx.ModelProto, recipe: Recipe, least: int) -> onnx.ModelProto:
    """Return a copy of `model`; under w8, weights of at least `least` elements are int8."""
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    if recipe.name == "w8":
        quantize_weights(copy, least)
    return copy


def file_entry(program: Program, ident: str) -> Entry:
    """Return the artifact entry of the model with entry id `ident`: "<name>" or "<name>@<variant>"."""
    name, _, variant = ident.partition("@")
    spec = program.spec.entries[name]
    return Entry(
        id=ident,
        name=name,
        modules=spec.modules,
        file=f"{name}.{variant}.onnx" if variant else f"{name}.onnx",
        inputs=tuple(program.port(port) for port in spec.inputs),
        outputs=tuple(program.port(port) for port in spec.outputs),
        variant=variant,
    )
