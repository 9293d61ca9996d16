"""Comparisons that a lean run of parity skips, because other rows cover them. A row records each with its reason.

Emulated processors take seconds per run. If a file computes in float32, two of them differ by the order of sums alone
(litert and onnx, float32 and w8, Cortex-A53 against A76: equal in the three digits that parity prints), so only one
is run. If it computes in float16 or integers, each processor has different kernels, and all of them are run. A module
whose inputs are features is judged in the chain, on features that the files computed. The full run judges it on the
reference's features too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from benchmarks.evidence.parity import ParityRow
from benchmarks.parity.rows import left_out
from benchmarks.runtime import Runtime
from hydramobile.artifact import Artifact
from hydramobile.recipes import GRAMMAR, recipe

BOUNDARY = "judged on the features that the files make; `make parity` judges it on the reference's, on this computer"


def computes_in_float32(artifact: Artifact) -> bool:
    """Return whether the file computes in float32, whatever the storage dtype of its weights."""
    if GRAMMAR.fullmatch(artifact.recipe) is None:
        return True  # a named recipe stores weights alone
    chosen = recipe(artifact.recipe)
    return not (chosen.activation_bits or chosen.dynamic or chosen.name == "float16")


def shown_by(runtime: Runtime, artifact: Artifact, others: Sequence[Runtime]) -> str | None:
    """Return the runtime of `others` that judges a float32 artifact instead of `runtime`; None if `runtime` must.

    It is the last runtime that runs all recipes of the same target. `runtime` must judge the artifact if it does not
    compute in float32, or if `runtime` is that last runtime.
    """
    able = [other.name for other in others if other.targets == runtime.targets and not other.recipes]
    if not able or runtime.name == able[-1] or runtime.recipes or not computes_in_float32(artifact):
        return None
    return able[-1]


def summary(rows: Iterable[ParityRow]) -> list[str]:
    """Return one line per reason, which names the skipped artifacts and runtimes."""
    grouped: dict[str, dict[str, dict[str, None]]] = {}
    for row in filter(left_out, rows):
        by_runtime = grouped.setdefault(row.reason, {})
        by_runtime.setdefault(row.runtime, {})[subject(row)] = None
    lines = []
    for reason, by_runtime in grouped.items():
        places = [f"{', '.join(subjects)} in {name}" for name, subjects in by_runtime.items()]
        lines.append(f"{'; '.join(places)}: {reason}")
    return lines


def subject(row: ParityRow) -> str:
    if row.mode in ("labels", "against"):
        return "labels"
    return "modules on the reference's features" if row.mode else row.name
