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

from export.passes.base import run_passes
from export.program import Program
from export.targets.coreml import pipeline
from export.targets.coreml.patches import patched_converter
from export.targets.coreml.vendor import load_coremltools
from hydramobile.errors import StageError
from hydramobile.spec import EntrySpec

if TYPE_CHECKING:
    from torch.export import ExportedProgram

STAGE = "convert"
# The oldest system first: a net that needs a newer op set is converted for the next one and says so.
IOS = (16, 18)
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
    converted = Converted(scratch, {entry.name: decompose(program, entry) for entry in program.entries})
    for entry in program.entries:
        plain_package(program, converted, entry, "float32")
    return converted


def decompose(program: Program, entry: EntrySpec) -> ExportedProgram | StageError:
    """Return the entry's ATen graph after the pipeline, or the reason why there is none (tracing is tried then)."""
    try:
        return run_passes(program.exported(entry).program, pipeline.ATEN_PASSES).program
    except StageError as error:
        return StageError(STAGE, f"torch.export: {error.message}")
    except Exception as error:  # noqa: BLE001 - torch.export raises many types; reported if tracing fails too
        return StageError(STAGE, f"torch.export: {describe(error)}")


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
    mil_passes = ct.PassPipeline.DEFAULT
    # Merges equal strides, pads and axes too: the graph file of a multifunction package shrinks by a third.
    mil_passes.set_options("common::const_deduplication", {"const_threshold": 1})
    with patched_converter():
        model = ct.convert(
            source,
            inputs=[input_type(program, name, precision) for name in entry.inputs],
            outputs=[ct.TensorType(name=name, dtype=file_dtype(program, name, precision)) for name in entry.outputs],
            convert_to="mlprogram",
            compute_precision=getattr(ct.precision, PRECISIONS[precision]),
            minimum_deployment_target=getattr(ct.target, f"iOS{ios}"),
            pass_pipeline=mil_passes,
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
    reasons = "; ".join(f"{path}: {describe(error)}" for path, error in failures)
    return f"entry {entry.name!r} was converted through {source} for iOS {ios}, because of {reasons}"


def refusal(entry: EntrySpec, failures: list[tuple[str, Exception]]) -> StageError:
    """The error after every way failed: the unsupported op where one is the reason, and what each way said."""
    reasons = "; ".join(f"{path}: {describe(error)}" for path, error in failures)
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


def describe(error: Exception) -> str:
    text = str(error).strip()
    line = text.splitlines()[0] if text else ""
    return f"{type(error).__name__}: {line[:300]}"
