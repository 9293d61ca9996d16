"""Say what `bundle` wrote."""

from __future__ import annotations

from typing import Any

from export.bundle.build import Built


def built_lines(built: Built) -> list[str]:
    """Return lines for a terminal: the package, its artifacts, its size, and the warning of an unproven one."""
    lines = [f"{built.package}: {built.bytes / 1e6:.2f} MB, of which the model {built.model_bytes / 1e6:.2f} MB"]
    for plan in built.plans:
        state = f"UNPROVEN: {plan.unproven}" if plan.unproven else "passed parity"
        lines.append(f"  {plan.artifact.target}/{plan.artifact.recipe}  {plan.artifact.sha256[:12]}  {state}")
    return [*lines, f"{built.folder}/README.md: two minutes to the first result"]


def built_json(built: Built) -> dict[str, Any]:
    return {
        "folder": str(built.folder),
        "package": built.package,
        "bytes": built.bytes,
        "model_bytes": built.model_bytes,
        "artifacts": [
            {
                "target": plan.artifact.target,
                "recipe": plan.artifact.recipe,
                "sha256": plan.artifact.sha256,
                "unproven": plan.unproven,
            }
            for plan in built.plans
        ],
    }
