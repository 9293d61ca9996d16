"""Read the facts that `inspect` shows from a Core AI asset."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hydramobile.errors import StageError


def describe_asset(path: Path) -> dict[str, Any]:
    """Return format, metadata, entries, elements per storage dtype and operation counts of an .aimodel.

    Raises StageError("inspect") where the file is no asset or holds no program.
    """
    from coreai.authoring.asset import AIModelAsset

    try:
        summary = AIModelAsset.load(path).summary()
    except RuntimeError as error:
        raise StageError("inspect", f"{path} is not a Core AI asset: {error}") from error
    if summary is None:
        raise StageError("inspect", f"{path} holds no program")
    return {
        "format": f"Core AI, program {summary._compatibility_version}",
        "metadata": json.loads((path / "metadata.json").read_text(encoding="utf-8")),
        "entries": [function_facts(summary, name) for name in summary.function_names],
        "weight_values": {str(dtype): int(count) for dtype, count in summary.storage_types},
        "ops": dict(sorted((str(op), int(count)) for op, count in summary.operation_distribution)),
    }


def function_facts(summary: Any, name: str) -> dict[str, Any]:
    """Return the name, inputs and outputs of one function."""
    sides = (("inputs", summary.function_inputs(name)), ("outputs", summary.function_outputs(name)))
    return {"name": name} | {side: [{"name": port, "type": dtype} for port, dtype in rows] for side, rows in sides}
