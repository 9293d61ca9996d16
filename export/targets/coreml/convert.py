"""From a captured entry to a plain single-function .mlpackage."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from export.passes.decompose import uncommon_ops
from export.passes.decompose.dynamic_conv import computed_kernels
from export.passes.decompose.spell_out import rewritten
from export.passes.reduce_rank import of_fewer_axes
from export.program import Program
from export.targets.coreml.passes.copy_passthrough_outputs import copy_passed
from export.targets.coreml.passes.decompose_affine_grid import spell_out_affine_grids
from export.targets.coreml.passes.decompose_arguments import spell_out_arguments
from export.targets.coreml.passes.decompose_pad import spell_out_odd_pads
from export.targets.coreml.passes.decompose_pool import spell_out_odd_pools
from export.targets.coreml.passes.decompose_resize import spell_out_odd_resizes
from export.targets.coreml.passes.decompose_rms_norm import spell_out_rms_norms
from export.targets.coreml.passes.decompose_scatter import spell_out_writes
from export.targets.coreml.passes.decompose_unsupported import spell_out_unknown
from export.targets.coreml.passes.decompose_vector_matmul import spell_out_vector_products
from export.targets.coreml.passes.promote_where_scalars import spell_out_numbers
from export.targets.coreml.passes.remove_alias import erase_aliases
from export.targets.coreml.passes.replace_bitwise_bool import name_logical_ops
from export.targets.coreml.patches.gelu import register_gelu
from export.targets.coreml.patches.reciprocal import register_reciprocal
from export.targets.coreml.patches.reduce_transposes import keep_transposes
from export.targets.coreml.vendor import load_coremltools
from hydramobile.errors import StageError
from hydramobile.spec import EntrySpec

if TYPE_CHECKING:
    from torch.export import ExportedProgram

STAGE = "convert"
# The oldest system first: a net that needs a newer op set is converted for the next one and says so.
IOS = (16, 18)
# The most axes of a tensor in a MIL program.
AXES = 5
# What coremltools refuses on the export path, and what it gets wrong on every path; each explained in its file.
PROGRAM_FIXES = (
    spell_out_arguments,
    spell_out_writes,
    spell_out_odd_pads,
    spell_out_rms_norms,
    spell_out_odd_pools,
    spell_out_affine_grids,
    spell_out_numbers,
    spell_out_vector_products,
    spell_out_unknown,
)
GRAPH_FIXES = (erase_aliases, copy_passed, name_logical_ops)
CONVERTER_FIXES = (register_gelu, register_reciprocal, keep_transposes)
PRECISIONS = {"float32": "FLOAT32", "float16": "FLOAT16"}
UNSUPPORTED = (
    re.compile(r"Unsupported fx node \w+, kind (?P<op>[\w.:]+)"),
    re.compile(r"convert function for op '(?P<op>[\w.:]+)' not implemented"),
)


@dataclass(frozen=True, slots=True)
class Plain:
    """One entry as a single-function package. `ios`: the oldest system that loads it; `note`: what was unusual."""

    package: Path
    ios: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class Converted:
    """Every entry, by precision and entry name. float32 is made by `convert_all`, others when first asked for.

    `systems`: the iOS versions to convert for, the oldest first. `may_trace`: what torch.export or coremltools refuses
    may be traced instead. `later`: the same for a newer system alone, by its version, for recipes that older ones lack.
    """

    scratch: Path
    exported: dict[str, ExportedProgram | StageError]
    plain: dict[tuple[str, str], Plain] = field(default_factory=dict)
    systems: tuple[int, ...] = IOS
    may_trace: bool = True
    later: dict[int, Converted] = field(default_factory=dict)


def convert_all(program: Program, scratch: Path) -> Converted:
    """Export every entry once and convert it at float32. Raises StageError("convert") naming the entry and the op."""
    load_coremltools()
    for fix in CONVERTER_FIXES:
        fix()
    converted = Converted(scratch, {entry.name: decompose(program, entry) for entry in program.entries})
    for entry in program.entries:
        plain_package(program, converted, entry, "float32")
    return converted


def decompose(program: Program, entry: EntrySpec) -> ExportedProgram | StageError:
    """The entry's core ATen graph; where torch.export cannot make it, the reason (tracing is still to be tried)."""
    try:
        exported = spell_out_odd_resizes(program.exported(entry), program.example(entry))
        exported = rewritten(exported, uncommon_ops(exported) | computed_kernels(exported))
        exported = of_fewer_axes(exported, AXES).run_decompositions({})
        for fix in PROGRAM_FIXES:
            exported = fix(repaired(exported))
    except Exception as error:  # noqa: BLE001 - torch.export raises many types; told if tracing fails too
        return StageError(STAGE, f"torch.export: {first_line(error)}")
    return repaired(exported)


def repaired(exported: ExportedProgram) -> ExportedProgram:
    """The program with the graph fixes applied, in place; each run of decompositions may undo them."""
    for fix in GRAPH_FIXES:
        fix(exported)
    return exported


def plain_package(program: Program, converted: Converted, entry: EntrySpec, precision: str) -> Plain:
    """The entry at `precision` ("float32" or "float16"), converted when first asked for.

    torch.export comes first (it takes nets that tracing refuses, and names survive); jit.trace is the fallback.
    """
    key = (precision, entry.name)
    if key not in converted.plain:
        package = converted.scratch / f"{precision}-{entry.name}.mlpackage"
        converted.plain[key] = attempt(program, converted, entry, precision, package)
    return converted.plain[key]


def attempt(program: Program, converted: Converted, entry: EntrySpec, precision: str, package: Path) -> Plain:
    exported = converted.exported[entry.name]
    failures: list[tuple[str, Exception]] = []
    if isinstance(exported, StageError):
        failures.append(("torch.export", exported))
    sources: dict[str, Callable[[], Any]] = {"jit.trace": lambda: trace(program, entry)} if converted.may_trace else {}
    if not isinstance(exported, StageError):
        sources = {"torch.export": lambda: exported, **sources}
    for source, make in sources.items():
        for ios in converted.systems:
            try:
                save(make(), program, entry, precision, (ios, package))
            except Exception as error:  # noqa: BLE001 - coremltools raises every type; all are told if nothing works
                failures.append((f"{source} for iOS {ios}", error))
            else:
                return Plain(package, ios, explain(entry, source, ios, failures))
    raise refusal(entry, failures)


def trace(program: Program, entry: EntrySpec) -> Any:
    import torch

    with torch.no_grad():
        return torch.jit.trace(program.callable(entry), program.example(entry), check_trace=False)


def save(source: Any, program: Program, entry: EntrySpec, precision: str, where: tuple[int, Path]) -> None:
    """Convert `source` (an ExportedProgram or a traced module) and save it. `where` is (iOS version, package)."""
    ct = load_coremltools()
    ios, package = where
    pipeline = ct.PassPipeline.DEFAULT
    # Merges equal strides, pads and axes too: the graph file of a multifunction package shrinks by a third.
    pipeline.set_options("common::const_deduplication", {"const_threshold": 1})
    model = ct.convert(
        source,
        inputs=[input_type(program, name, precision) for name in entry.inputs],
        outputs=[ct.TensorType(name=name, dtype=file_dtype(program, name, precision)) for name in entry.outputs],
        convert_to="mlprogram",
        compute_precision=getattr(ct.precision, PRECISIONS[precision]),
        minimum_deployment_target=getattr(ct.target, f"iOS{ios}"),
        pass_pipeline=pipeline,
        skip_model_load=True,
    )
    model.save(str(package))


def input_type(program: Program, name: str, precision: str) -> Any:
    """A photo is an image of 8-bit RGB whose /255 lies in the graph; anything else a MultiArray."""
    ct = load_coremltools()
    shape = tuple(program.tensors[name].shape)
    declared = program.spec.tensors.get(name)
    if declared is not None and declared.kind == "rgb-photo":
        return ct.ImageType(name=name, shape=shape, scale=1 / 255.0, color_layout=ct.colorlayout.RGB)
    return ct.TensorType(name=name, shape=shape, dtype=file_dtype(program, name, precision))


def file_dtype(program: Program, name: str, precision: str) -> type[np.generic]:
    """The MultiArray type of a tensor: Core ML has float32, float16 and int32 only."""
    value = program.tensors[name]
    if not value.is_floating_point():
        return np.int32
    return np.float16 if precision == "float16" else np.float32


def merge(functions: dict[str, Path], default: str, package: Path) -> None:
    """One multifunction package of single-function ones, equal weights stored once."""
    ct = load_coremltools()
    descriptor = ct.utils.MultiFunctionDescriptor()
    for name, path in functions.items():
        descriptor.add_function(str(path), src_function_name="main", target_function_name=name)
    descriptor.default_function_name = default
    ct.utils.save_multifunction(descriptor, str(package))


def explain(entry: EntrySpec, source: str, ios: int, failures: list[tuple[str, Exception]]) -> str:
    if not failures:
        return ""
    reasons = "; ".join(f"{path}: {first_line(error)}" for path, error in failures)
    return f"entry {entry.name!r} was converted through {source} for iOS {ios}, because of {reasons}"


def refusal(entry: EntrySpec, failures: list[tuple[str, Exception]]) -> StageError:
    """The error after every way failed: the unsupported op where one is the reason, and what each way said."""
    reasons = "; ".join(f"{path}: {first_line(error)}" for path, error in failures)
    for _, error in failures:
        for pattern in UNSUPPORTED:
            if match := pattern.search(str(error)):
                op = match["op"]
                return StageError(
                    STAGE,
                    f"entry {entry.name!r}: op {op!r} is not supported by coremltools ({supported(op)}): {reasons}",
                )
    return StageError(STAGE, f"entry {entry.name!r} cannot be converted: {reasons}")


def supported(op: str) -> str:
    """How many ops coremltools converts, and those whose names come near."""
    load_coremltools()
    registry = import_module("coremltools.converters.mil.frontend.torch.torch_op_registry")
    names = sorted(registry._TORCH_OPS_REGISTRY.name_to_func_mapping)
    short = op.rpartition("::")[2].partition(".")[0]
    near = difflib.get_close_matches(short, names, n=3, cutoff=0.6)
    return f"supported: {len(names)} ops" + (f"; nearest: {', '.join(near)}" if near else "")


def first_line(error: Exception) -> str:
    text = str(error).strip()
    line = text.splitlines()[0] if text else ""
    return f"{type(error).__name__}: {line[:300]}"
