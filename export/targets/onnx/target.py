"""ONNX: a file a module and a file a fused entry, for the web (onnxruntime-web) and for servers.

float16 computes in half precision (half.py) with float32 inputs and outputs; w8 stores int8 weights per channel behind
DequantizeLinear, which ONNX Runtime folds when it loads, so it is smaller to download and as fast as float32;
w8a8 is static QDQ with uint8 activations, w8a8s the same with int8 ones, w8a16 with uint16 ones, for NPUs.
"""

from __future__ import annotations

import importlib.util
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from export.onnx_export.convert import onnx_program
from export.onnx_export.pipeline import DYNAMIC_PASSES
from export.program import Program
from export.quantize.layers import make_plan
from export.target import Emitted, LayerStorage
from export.targets.onnx import half, layerwise, readback
from export.targets.onnx.static import note, quantize_static
from export.targets.onnx.usage import usage_javascript
from export.targets.onnx.weights import quantize_weights
from export.verify.readback import Saved, Wanted
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
        """Entry id -> float32 model; with `[options.onnx] dynamic = true` also "<name>@dynamic"."""
        options = program.spec.options.get("onnx", {})
        unknown = [key for key in options if key not in OPTIONS]
        if unknown:
            raise StageError("convert", f"[options.onnx] has no {unknown[0]!r} (known: {', '.join(OPTIONS)})")
        models: dict[str, onnx.ModelProto] = {}
        for entry in program.entries:
            models[entry.name] = onnx_program(program, entry)
            if options.get("dynamic"):
                models[f"{entry.name}@dynamic"] = onnx_program(program, entry, DYNAMIC_PASSES, dynamic=True)
        return models

    def emit(self, program: Program, converted: dict[str, onnx.ModelProto], recipe: Recipe, folder: Path) -> Emitted:
        entries, least = [], program.least_quantized()
        plan = make_plan(program, recipe, self.name, self.storage) if recipe.base else None
        opset, ir = 0, 0
        for ident, model in converted.items():
            name, _, variant = ident.partition("@")
            spec = program.spec.entries[name]
            if recipe.activation_bits:
                saved = quantize_static(program, spec, model, recipe)
            elif recipe.name == "float16":
                saved = half.halve(program, spec, model)
            else:
                saved = weights_quantized(model, recipe, least)
            if plan:
                layerwise.store_layers(saved, plan)
            # Static quantization moves to a later one where its integers need that.
            opset, ir = max(opset, opset_of(saved)), max(ir, saved.ir_version)
            annotate(saved, program.spec, spec)
            file = f"{name}.{variant}.onnx" if variant else f"{name}.onnx"
            write_bytes(folder / file, saved.SerializeToString(deterministic=True))
            entries.append(self.entry(program, spec, ident, file, variant))
        notes = plan.finish(self.name) if plan else (note(recipe),) if recipe.activation_bits else ()
        if recipe.name == "float16":
            notes = half.note(program, converted)
        requires = {"opset": str(opset), "ir": str(ir)}
        return Emitted(tuple(entries), requires, notes, plan.stored() if plan else {})

    def entry(self, program: Program, spec: EntrySpec, ident: str, file: str, variant: str) -> Entry:
        return Entry(
            id=ident,
            name=spec.name,
            modules=spec.modules,
            file=file,
            inputs=tuple(program.port(name) for name in spec.inputs),
            outputs=tuple(program.port(name) for name in spec.outputs),
            variant=variant,
        )

    def read_weights(self, folder: Path, emitted: Emitted) -> Iterator[Saved]:
        return readback.read_weights(folder, emitted.entries)

    def originals(
        self, program: Program, converted: dict[str, onnx.ModelProto], recipe: Recipe
    ) -> Mapping[str, Wanted]:
        return readback.originals(program, converted, recipe)

    def describe(self, path: Path) -> dict[str, Any]:
        import onnx

        try:
            model = onnx.load(path)
            onnx.checker.check_model(model)
        except Exception as error:  # protobuf and the checker raise types of their own
            raise StageError("inspect", f"{path} is not a valid ONNX file: {error}") from error
        initial = [onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer]
        weights: Counter[str] = Counter()
        for value in initial:
            weights[str(value.dtype)] += value.nbytes
        return {
            "format": f"ONNX opset {opset_of(model)}, IR {model.ir_version}",
            "metadata": {item.key: item.value for item in model.metadata_props},
            "entries": [
                {
                    "inputs": [tensor_facts(value) for value in model.graph.input],
                    "outputs": [tensor_facts(value) for value in model.graph.output],
                }
            ],
            "weight_bytes": dict(sorted(weights.items())),
            "ops": dict(sorted(Counter(node.op_type for node in model.graph.node).items())),
        }

    def usage(self, emitted: Emitted) -> str:
        return usage_javascript(emitted)


def opset_of(model: onnx.ModelProto) -> int:
    """The version of ONNX's own operators; a file may import others' beside them."""
    return int(next(item.version for item in model.opset_import if item.domain in ("", "ai.onnx")))


def weights_quantized(model: onnx.ModelProto, recipe: Recipe, least: int) -> onnx.ModelProto:
    """A copy of `model`, at w8 with weights of `least` elements or more in int8."""
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    if recipe.name == "w8":
        quantize_weights(copy, least)
    return copy


def annotate(model: onnx.ModelProto, spec: ModelSpec, entry: EntrySpec) -> None:
    """Name, version, licence, authors, description and per-tensor descriptions, where the format has places."""
    model.producer_name = "hydra-mobile"
    model.producer_version = spec.version
    model.doc_string = entry.description or spec.description
    del model.metadata_props[:]
    content = {
        "authors": ", ".join(spec.authors),
        "description": spec.description,
        "entry": entry.name,
        "license": spec.license,
        "name": spec.name,
        "tensors": json.dumps(
            {name: tensor.description for name, tensor in spec.tensors.items() if tensor.description}
        ),
        "version": spec.version,
    }
    for key, text in content.items():
        model.metadata_props.add(key=key, value=text)
    for value in (*model.graph.input, *model.graph.output):
        tensor = spec.tensors.get(value.name)
        value.doc_string = tensor.description if tensor else ""


def tensor_facts(value: onnx.ValueInfoProto) -> dict[str, Any]:
    import onnx

    kind = value.type.tensor_type
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
    dims = [dim.dim_param or dim.dim_value for dim in kind.shape.dim]
    return {"name": value.name, "shape": dims, "dtype": str(dtype), "description": value.doc_string}
