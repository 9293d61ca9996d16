"""Convert the entries of a program to single-function packages by coremltools."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from export.passes.base import first_line, run_passes
from export.program import Program
from export.targets.coreml import pipeline
from export.targets.coreml.half_steps import NO_PLAN, HalfPlan, half_plan
from export.targets.coreml.names import file_name
from export.targets.coreml.patches import patched_converter
from export.targets.coreml.vendor import load_coremltools
from hydramobile.errors import StageError
from hydramobile.spec import EntrySpec

if TYPE_CHECKING:
    from torch.export import ExportedProgram

STAGE = "convert"
# The stage of an error of the net itself: no other source of the graph helps.
CAPTURE = "capture"
# Deployment targets to try, the oldest first. An entry that needs a newer op set gets the next one, and a note.
IOS = (16, 18)
PRECISIONS = {"float32": "FLOAT32", "float16": "FLOAT16"}
UNSUPPORTED_OP = (
    re.compile(r"Unsupported fx node \w+, kind (?P<op>[\w.:]+)"),
    re.compile(r"convert function for op '(?P<op>[\w.:]+)' not implemented"),
)


@dataclass(frozen=True, slots=True)
class SingleFunctionPackage:
    """One entry as a package. `ios` is the oldest system that loads it, `note` says why it is not the usual one."""

    package: Path
    ios: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class Conversion:
    """A request to coremltools: an entry at a precision ("float32" or "float16") for a deployment target."""

    program: Program
    entry: EntrySpec
    precision: str
    ios: int
    half: HalfPlan = NO_PLAN


@dataclass(frozen=True, slots=True)
class Failure:
    """A conversion that failed. `attempt` names the source of the graph and the deployment target."""

    attempt: str
    error: Exception

    def __str__(self) -> str:
        return f"{self.attempt}: {describe_error(self.error)}"


class PackageCache:
    """Convert each entry to a single-function package when it is first asked for, and keep the package.

    `exported` holds the ATen graph of each entry, or the error that a pass raised. `systems` are the
    deployment targets to try, the oldest first. `may_trace` allows jit.trace for entries that cannot be converted from
    their ATen graph.
    """

    def __init__(
        self,
        program: Program,
        scratch: Path,
        exported: Mapping[str, ExportedProgram | StageError],
        systems: tuple[int, ...] = IOS,
        may_trace: bool = True,
    ) -> None:
        self.program = program
        self.scratch = scratch
        self.exported = dict(exported)
        self.systems = systems
        self.may_trace = may_trace
        self._packages: dict[tuple[str, str], SingleFunctionPackage] = {}
        self._newer: dict[int, PackageCache] = {}
        self._half: dict[str, HalfPlan] = {}

    def package(self, entry: str, precision: str) -> SingleFunctionPackage:
        """Return the package of an entry at `precision`. Raises StageError("convert") naming the entry and the op."""
        key = (precision, entry)
        if key not in self._packages:
            path = self.scratch / f"{precision}-{entry}.mlpackage"
            self._packages[key] = self._convert(self.program.spec.entries[entry], precision, path)
        return self._packages[key]

    def for_system(self, ios: int) -> PackageCache:
        """Return the cache of the same entries for one newer system, for recipes that older systems do not read."""
        if ios not in self._newer:
            scratch = self.scratch / f"ios{ios}"
            scratch.mkdir()
            self._newer[ios] = PackageCache(self.program, scratch, self.exported, (ios,), self.may_trace)
        return self._newer[ios]

    def half_plan(self, entry: EntrySpec) -> HalfPlan:
        """Return which operators of the entry stay float32 at float16; none for an entry that can only be traced."""
        if entry.name not in self._half:
            exported = self.exported[entry.name]
            if isinstance(exported, StageError):
                return NO_PLAN
            self._half[entry.name] = half_plan(self.program, entry, exported)
        return self._half[entry.name]

    def _convert(self, entry: EntrySpec, precision: str, path: Path) -> SingleFunctionPackage:
        """Convert one entry from the first source, for the oldest system, that works.

        torch.export comes first: it takes nets that tracing refuses, and keeps names.
        """
        exported, failures = self.exported[entry.name], list[Failure]()
        sources: dict[str, Callable[[], Any]] = {}
        if isinstance(exported, StageError):
            failures.append(Failure("torch.export", exported))
        else:
            sources["torch.export"] = lambda: exported
        half = self.half_plan(entry) if precision == "float16" else NO_PLAN
        if self.may_trace:
            sources["jit.trace"] = lambda: trace(self.program, entry)
        for source, load in sources.items():
            for ios in self.systems:
                try:
                    save_package(load(), Conversion(self.program, entry, precision, ios, half), path)
                except Exception as error:  # noqa: BLE001 - coremltools raises any type; reported if nothing works
                    failures.append(Failure(f"{source} for iOS {ios}", error))
                else:
                    note = "; ".join(filter(None, (fallback_note(entry, source, ios, failures), *half.notes)))
                    return SingleFunctionPackage(path, ios, note)
        raise conversion_error(entry, failures)


def convert_all(program: Program, scratch: Path) -> PackageCache:
    """Export each entry and convert it at float32. Raises StageError("convert") naming the entry and the op."""
    load_coremltools()
    packages = PackageCache(program, scratch, {entry.name: aten_graph(program, entry) for entry in program.entries})
    for entry in program.entries:
        packages.package(entry.name, "float32")
    return packages


def aten_graph(program: Program, entry: EntrySpec) -> ExportedProgram | StageError:
    """Return the ATen graph of an entry after the pipeline, or the error that a pass raised.

    Raises StageError("capture") for a net that torch.export refuses.
    """
    try:
        return run_passes(program.exported(entry).program, pipeline.ATEN_PASSES).program
    except StageError as error:
        if error.stage == CAPTURE:
            raise
        return StageError(STAGE, f"torch.export: {error.message}")
    except Exception as error:  # noqa: BLE001 - passes raise many types; reported if tracing fails too
        return StageError(STAGE, f"torch.export: {describe_error(error)}")


def trace(program: Program, entry: EntrySpec) -> Any:
    """Return the entry as a TorchScript module, traced on the program's example.

    The captured graph is traced, never the net's own code: a trace of the code would fix each branch on data to the
    branch that the example takes, and a captured graph has no branches.
    """
    import torch

    module = program.exported(entry).program.module(check_guards=False)
    # The module of an ExportedProgram checks the shapes of its inputs, which tracing takes for data.
    plain = torch.fx.GraphModule(module, module.graph)
    with torch.no_grad():
        return torch.jit.trace(plain, program.example(entry), check_trace=False)


def save_package(source: Any, conversion: Conversion, path: Path) -> None:
    """Convert `source`, an ExportedProgram or a traced module, and save the package at `path`."""
    ct = load_coremltools()
    entry = conversion.entry
    precision = ct.precision[PRECISIONS[conversion.precision]]
    if conversion.half.wide.steps:
        precision = ct.transform.FP16ComputePrecision(op_selector=conversion.half.selector())
    mil_passes = ct.PassPipeline.DEFAULT
    # Deduplicates strides, pads and axes too: the graph file of a multifunction package shrinks by a third.
    mil_passes.set_options("common::const_deduplication", {"const_threshold": 1})
    if rounds(source):
        # It multiplies by the reciprocal of a constant, which moves quotients across the steps of a rounding.
        mil_passes.remove_passes({"common::divide_to_multiply"})
    with patched_converter():
        model = ct.convert(
            source,
            inputs=[input_type(conversion, name) for name in entry.inputs],
            outputs=[
                ct.TensorType(name=file_name(conversion.program, name), dtype=array_dtype(conversion, name))
                for name in entry.outputs
            ],
            convert_to="mlprogram",
            compute_precision=precision,
            minimum_deployment_target=ct.target[f"iOS{conversion.ios}"],
            pass_pipeline=mil_passes,
            skip_model_load=True,
        )
    model.save(str(path))


def rounds(source: Any) -> bool:
    """Return whether an ExportedProgram rounds floats to whole numbers, so that the last bit of a quotient matters."""
    import torch

    ops = (torch.ops.aten.floor, torch.ops.aten.ceil, torch.ops.aten.round, torch.ops.aten.trunc)
    if not isinstance(source, torch.export.ExportedProgram):
        return False
    return any(getattr(node.target, "overloadpacket", None) in ops for node in source.graph.nodes)


def input_type(conversion: Conversion, name: str) -> Any:
    """Return coremltools' type of an input: an 8-bit RGB image for a photo, a MultiArray for any other tensor.

    The program scales an image's bytes to the declared range: by 1/255 for [0, 1].
    """
    ct, program = load_coremltools(), conversion.program
    # A scalar has an axis in the file (passes/insert_scalar_axis.py).
    shape, stored = tuple(program.tensors[name].shape) or (1,), file_name(program, name)
    declared = program.spec.tensors.get(name)
    if declared is not None and declared.kind == "rgb-photo":
        low, high = declared.range or (0.0, 1.0)
        offset = {"bias": [low] * 3} if low else {}
        return ct.ImageType(
            name=stored, shape=shape, scale=(high - low) / 255.0, color_layout=ct.colorlayout.RGB, **offset
        )
    return ct.TensorType(name=stored, shape=shape, dtype=array_dtype(conversion, name))


def array_dtype(conversion: Conversion, name: str) -> type[np.generic]:
    """Return the dtype of a tensor as a MultiArray, which Core ML has in float32, float16 and int32."""
    if not conversion.program.tensors[name].is_floating_point():
        return np.int32
    half = conversion.precision == "float16" and not conversion.half.is_wide(name)
    return np.float16 if half else np.float32


def merge_functions(packages: Mapping[str, Path], default: str, path: Path) -> None:
    """Save one multifunction package of single-function ones, by function name. Equal weights are stored once."""
    ct = load_coremltools()
    descriptor = ct.utils.MultiFunctionDescriptor()
    for name, package in packages.items():
        descriptor.add_function(str(package), src_function_name="main", target_function_name=name)
    descriptor.default_function_name = default
    ct.utils.save_multifunction(descriptor, str(path))


def fallback_note(entry: EntrySpec, source: str, ios: int, failures: list[Failure]) -> str:
    """Return an entry's source and system, and why the first ones failed; "" for the first source and system."""
    if not failures:
        return ""
    reasons = "; ".join(map(str, failures))
    return f"entry {entry.name!r} was converted through {source} for iOS {ios}, because of {reasons}"


def conversion_error(entry: EntrySpec, failures: list[Failure]) -> StageError:
    """Return the error of an entry that cannot be converted: the unsupported op, if that is it, and each failure."""
    reasons = "; ".join(map(str, failures))
    for failure in failures:
        for pattern in UNSUPPORTED_OP:
            if match := pattern.search(str(failure.error)):
                op = match["op"]
                return StageError(
                    STAGE,
                    f"entry {entry.name!r}: op {op!r} is not supported by coremltools ({supported_ops(op)}): {reasons}",
                )
    return StageError(STAGE, f"entry {entry.name!r} cannot be converted: {reasons}")


def supported_ops(op: str) -> str:
    """Return how many ops coremltools converts, and the names that are nearest to `op`."""
    load_coremltools()
    registry = import_module("coremltools.converters.mil.frontend.torch.torch_op_registry")
    names = sorted(registry._TORCH_OPS_REGISTRY.name_to_func_mapping)
    short = op.rpartition("::")[2].partition(".")[0]
    nearest = difflib.get_close_matches(short, names, n=3, cutoff=0.6)
    return f"supported: {len(names)} ops" + (f"; nearest: {', '.join(nearest)}" if nearest else "")


def describe_error(error: Exception) -> str:
    """Return the type of an error and the first line of its message."""
    return f"{type(error).__name__}: {first_line(error)}"
