"""Write proof.json of a package: the artifacts in it, their verdicts in every runtime, and the hash of every file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from export.bundle.plan import Plan
from hydramobile.files import sha256_bytes, sha256_file
from hydramobile.verdicts import passed

FILE = "proof.json"
SCHEMA = 1


def proof(platform: str, package: str, plans: Sequence[Plan], files: Mapping[str, Any], ran: str) -> dict[str, Any]:
    """Return the content of proof.json. `files` holds the package's other files as bytes or paths."""
    return {
        "schema": SCHEMA,
        "platform": platform,
        "package": package,
        "model": {"name": plans[0].artifact.model, "version": plans[0].artifact.version},
        "artifacts": [artifact_row(plan) for plan in plans],
        "ran": ran,
        "files": {
            path: sha256_bytes(content) if isinstance(content, bytes) else sha256_file(content)
            for path, content in sorted(files.items())
        },
    }


def artifact_row(plan: Plan) -> dict[str, Any]:
    """Return what is known of one artifact: its hash, and each comparison that it passed, with its limits."""
    return {
        "target": plan.artifact.target,
        "recipe": plan.artifact.recipe,
        "sha256": plan.artifact.sha256,
        "proven": not plan.unproven,
        "reason": plan.unproven,
        "verdicts": [verdict_row(row) for row in passed(plan.rows)],
    }


def verdict_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return one comparison of parity.json, with the measures that have a limit."""
    keys = ("runtime", "evidence", "entry", "mode", "samples", "verdict")
    measures = [
        {key: measure[key] for key in ("output", "metric", "value", "limit")}
        for measure in row["measures"]
        if measure.get("limit") is not None
    ]
    return {**{key: row[key] for key in keys}, "measures": measures}


def summary(plan: Plan) -> str:
    """Return a sentence on the proof of one artifact, for the package's README."""
    name = f"{plan.artifact.target}/{plan.artifact.recipe} ({plan.artifact.sha256[:12]})"
    if plan.unproven:
        return f"{name} is UNPROVEN: {plan.unproven}."
    where = dict.fromkeys(f"{row['runtime']} ({row['evidence']})" for row in passed(plan.rows))
    return (
        f"{name} computes what the PyTorch reference computes, within the limits of budget.toml, in {', '.join(where)}."
    )
