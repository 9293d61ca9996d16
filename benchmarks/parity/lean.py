"""What a lean run of parity leaves out because other rows show it; a row says so, with the reason.

Emulated processors take seconds per run. Where a file computes in float32, two of them differ by the order of sums
alone (litert and onnx, float32 and w8, Cortex-A53 against A76: equal in the three digits that parity prints), so one
is run; where it computes in float16 or integers, each has kernels of its own, and all are. A module that other
modules feed is judged in the chain, on features that the files computed; the full run also judges it on the
reference's own features.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from benchmarks.evidence.parity import ParityRow
from benchmarks.parity.rows import left_out
from benchmarks.runtime import Runtime
from hydramobile.artifact import Artifact
from hydramobile.recipes import recipe

BOUNDARY = "judged on the features that the files make; `make parity` judges it on the reference's, on this computer"


def computes_in_float32(artifact: Artifact) -> bool:
    """Return whether integers and halves are only how the file stores its weights."""
    if artifact.layers:
        return True  # a named recipe stores weights alone
    own = recipe(artifact.recipe)
    return not (own.activation_bits or own.dynamic or own.name == "float16")


def shown_by(runtime: Runtime, artifact: Artifact, others: Sequence[Runtime]) -> str | None:
    """Return which of `others` judges what computes in float32 instead of `runtime`.

    It is the last that runs the same target's files of all recipes. None where `runtime` has to: other arithmetic,
    or it is that one itself.
    """
    able = [other.name for other in others if other.targets == runtime.targets and not other.recipes]
    if not able or runtime.name == able[-1] or runtime.recipes or not computes_in_float32(artifact):
        return None
    return able[-1]


def summary(rows: Iterable[ParityRow]) -> list[str]:
    """Return one line per reason, naming what was left out and where."""
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
