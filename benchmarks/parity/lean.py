"""What a lean run of parity leaves out because other rows show it: said in a row, never silently.

Emulated processors take seconds a run. Where a file computes in float32, two of them differ by the order of sums alone
(litert and onnx, float32 and w8, Cortex-A53 against A76: equal in the three digits that parity prints), so one is run;
where it computes in float16 or integers, each has kernels of its own, and all are. Of a module that others feed, the
chain on features that the files made is judged; on the reference's own features it is judged in the full run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.runtime import Runtime
from hydramobile.artifact import Artifact
from hydramobile.recipes import recipe

# The stage of rows that say so.
STAGE = "left out"
BOUNDARY = "judged on the features that the files make; `make parity` judges it on the reference's, on this computer"


def computes_in_float32(artifact: Artifact) -> bool:
    """Whether integers and halves are only how the file stores its weights."""
    if artifact.layers:
        return True  # layer by layer: of weights alone
    own = recipe(artifact.recipe)
    return not (own.activation_bits or own.dynamic or own.name == "float16")


def shown_by(runtime: Runtime, artifact: Artifact, others: Sequence[Runtime]) -> str | None:
    """Which of `others` judges instead of `runtime` what computes in float32: the last that runs the same target's
    files of all recipes. None where `runtime` has to: other arithmetic, or it is that one itself."""
    able = [other.name for other in others if other.targets == runtime.targets and takes_all(other)]
    if not able or runtime.name == able[-1] or not takes_all(runtime) or not computes_in_float32(artifact):
        return None
    return able[-1]


def takes_all(runtime: Runtime) -> bool:
    recipes: Sequence[str] = getattr(runtime, "recipes", ())
    return not recipes


def left_out(row: Mapping[str, Any]) -> bool:
    return bool(row["stage"] == STAGE)


def summary(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line for each reason, naming what was left out and where."""
    grouped: dict[str, dict[str, dict[str, None]]] = {}
    for row in filter(left_out, rows):
        what = "modules on the reference's features" if row["mode"] else f"{row['target']}/{row['recipe']}"
        grouped.setdefault(row["reason"], {}).setdefault(row["runtime"], {})[what] = None
    places = {
        reason: "; ".join(f"{', '.join(own)} in {name}" for name, own in by.items()) for reason, by in grouped.items()
    }
    return [f"{where}: {reason}" for reason, where in places.items()]
