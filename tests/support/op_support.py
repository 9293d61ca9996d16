"""Determine how a target handles an op (as is, decomposed by a pass, or refused) from a real export of its case."""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from export.passes.base import Pass
from export.passes.decompose.table import DecomposeOps
from export.passes.pipelines import CAPTURE_PASSES
from export.program import Program
from hydramobile.errors import StageError
from support.emit import emit_run_compare
from support.op_cases import Case
from support.programs import ops_program

LIMIT = 1e-4
# (module, its tuples of passes in order); the second tuple of a target runs on the graph as a module.
PIPELINES = {
    "onnx": ("export.targets.onnx.pipeline", ("ATEN_PASSES",)),
    "coreml": ("export.targets.coreml.pipeline", ("ATEN_PASSES",)),
    "litert": ("export.targets.litert.pipeline", ("ATEN_PASSES", "MODULE_PASSES")),
    "tfjs": ("export.targets.tfjs.pipeline", ("ATEN_PASSES",)),
}
# Ops that many cases need beside the op that they are about.
PLUMBING = re.compile(
    r"aten\.(clone|select|slice|arange|ones|zeros|linspace|square|to|_to_copy|view|unsqueeze|expand_as|contiguous"
    r"|_assert_tensor_metadata|lift_fresh_copy|detach_)\."
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """`state` is "as is", "decomposed", "refused" or "wrong"; `detail` names the passes, or gives the reason."""

    state: str
    detail: str = ""


def ops_of(graph: torch.fx.Graph) -> Counter[str]:
    """Count the ATen ops of a graph by overload: "aten.topk.default"."""
    names = (str(node.target) for node in graph.nodes if node.op == "call_function")
    return Counter(name for name in names if name.startswith("aten."))


def captured_ops(program: Program) -> Counter[str]:
    """Return the ops of a program as torch.export captures it, before any pass."""
    return ops_of(raw(program).graph)


def raw(program: Program) -> torch.export.ExportedProgram:
    entry = program.entries[0]
    with torch.no_grad():
        return torch.export.export(program.callable(entry), program.example(entry), strict=False)


def main_ops(graphs: dict[str, Counter[str]]) -> dict[str, str]:
    """Return the op that each case is about: the one that the fewest other cases have, plumbing aside."""
    frequency = Counter(op for ops in graphs.values() for op in ops)
    chosen = {}
    for key, ops in graphs.items():
        candidates = [op for op in ops if not PLUMBING.match(op)] or list(ops)
        if candidates:
            chosen[key] = min(candidates, key=lambda op: frequency[op])
    return chosen


def passes_that_decompose(program: Program, op: str, target: str) -> list[str]:
    """Return the names of the passes of `target` that rewrite `op`, or ops that PyTorch decomposes it into."""
    graph: Any = raw(program)
    tracked, names = {op}, list[str]()
    for step in stages(target):
        if step is None:
            graph = graph.module(check_guards=False)
            continue
        table = {str(key) for key in step.table(graph)} if isinstance(step, DecomposeOps) else None
        before, nodes = ops_of(graph.graph), signature(graph.graph, tracked)
        result = step(graph)
        graph = result.program
        after = ops_of(graph.graph)
        changed = nodes != signature(graph.graph, tracked)
        if not changed or not result.modified:
            continue
        fewer = {name for name in tracked if after[name] < before[name]}
        if step.__name__ == "decompose_to_core_aten" or (table is not None and not tracked & table):
            # PyTorch's own decomposition: follow the ops that it brings.
            tracked |= {name for name in after if after[name] > before[name]} if fewer else set()
        elif step.__name__ not in names:
            names.append(step.__name__)
    return names


def stages(target: str) -> Iterator[Pass[Any] | None]:
    """Yield the passes of a target in order; None where the program becomes a module."""
    yield from CAPTURE_PASSES
    module, attributes = PIPELINES[target]
    for number, attribute in enumerate(attributes):
        if number:
            yield None
        yield from getattr(import_module(module), attribute)


def signature(graph: torch.fx.Graph, names: set[str]) -> list[str]:
    """Describe the nodes of some ops: arguments without names, and shapes of the inputs."""
    return sorted(
        f"{node.target}{[shape_of(arg) for arg in node.args]}{dict(node.kwargs)}"
        for node in graph.nodes
        if node.op == "call_function" and str(node.target) in names
    )


def shape_of(argument: Any) -> Any:
    if isinstance(argument, torch.fx.Node):
        value = argument.meta.get("val")
        return tuple(value.shape) if isinstance(value, torch.Tensor) else "node"
    return [shape_of(item) for item in argument] if isinstance(argument, list | tuple) else argument


def run_cases(cases: Sequence[Case], target: str) -> dict[str, str]:
    """Export cases of one shape together, run the file and compare. Return {key: ""}, or the reason of a refusal.

    A group that fails is split in halves until the case that fails is alone.
    """
    # Names that no exporter gives to a node of its own.
    names = {case.key: f"result_{number}" for number, case in enumerate(cases)}
    program = ops_program({names[case.key]: case.function for case in cases}, cases[0].shape)
    try:
        with tempfile.TemporaryDirectory() as folder:
            errors = emit_run_compare(program, target, Path(folder))
    except Exception as error:  # noqa: BLE001  # vendors raise any type, and each is a reason
        if len(cases) == 1:
            return {cases[0].key: reason(error)}
        half = len(cases) // 2
        return run_cases(cases[:half], target) | run_cases(cases[half:], target)
    scaled = {key: errors[name].scaled for key, name in names.items()}
    return {key: "" if error <= LIMIT else f"wrong: error {error:.1e}" for key, error in scaled.items()}


def reason(error: Exception) -> str:
    """Return one line of at most 160 characters, without paths and addresses."""
    text = error.message if isinstance(error, StageError) else f"{type(error).__name__}: {error}"
    line = " ".join((text.strip().splitlines() or [""])[0].split())
    return re.sub(r"/\S+/|0x[0-9a-f]+", "", line).replace("|", "/")[:160]


def outcome(case: Case, op: str, target: str, failure: str) -> Outcome:
    """Combine the result of an export with the passes that rewrote the op."""
    if failure.startswith("wrong: "):
        return Outcome("wrong", failure.removeprefix("wrong: "))
    if failure:
        return Outcome("refused", failure)
    names = passes_that_decompose(ops_program({"result": case.function}, case.shape), op, target)
    return Outcome("decomposed", ", ".join(names)) if names else Outcome("as is")
