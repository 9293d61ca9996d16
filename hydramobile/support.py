"""Read support.json beside a model: the recipes that were judged on each target, and their verdicts (`make grid`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydramobile.files import read_json
from hydramobile.spec import ModelSpec
from hydramobile.toml_table import Table

FILE = "support.json"
GOOD = ("ships", "passes")
# The target has no such recipe, or a package that it needs is not installed; the reason says which.
UNMADE = "not made"


def support_path(spec: ModelSpec) -> Path:
    return spec.folder / FILE


def read_support(spec: ModelSpec) -> dict[str, Any] | None:
    """Read the model's support.json; None where it has none. Raises StageError("support") for a damaged one."""
    path = support_path(spec)
    if not path.is_file():
        return None
    table = Table(read_json(path, "support"), str(path), "support")
    table.string("weights_sha256")
    for row in table.rows("results"):
        for key in ("target", "recipe", "state", "reason"):
            row.string(key)
    return dict(table.data)


def standing(spec: ModelSpec, target: str, recipe: str) -> tuple[str, str]:
    """Return (state, reason) of a recipe from the model's support.json.

    The state is one of GOOD, "refused", "broken", "failed" or UNMADE. It is "not judged" where the file or its row is
    missing, and where the file was written for other weights.
    """
    document = read_support(spec)
    if document is None:
        return "not judged", f"{spec.name} has no {FILE}; make it with: make grid"
    rows = [row for row in document["results"] if (row["target"], row["recipe"]) == (target, recipe)]
    if not rows:
        return "not judged", f"not in {FILE}"
    if document["weights_sha256"] != spec.weights_sha256:
        return "not judged", f"{FILE} is of other weights; renew it with: make grid"
    return rows[0]["state"], rows[0]["reason"]


def caution(spec: ModelSpec, target: str, recipe: str) -> str:
    """Return a warning about a recipe, or "" where it passed or the model has no support.json."""
    document = read_support(spec)
    if document is None:
        return ""
    rows = [row for row in document["results"] if (row["target"], row["recipe"]) == (target, recipe)]
    if not rows:
        return f"{target} {recipe} is not in {FILE}: no one judged it"
    if document["weights_sha256"] != spec.weights_sha256:
        return f"{target} {recipe} was judged with other weights"
    if rows[0]["state"] in GOOD:
        return ""
    return f"{target} {recipe} is {rows[0]['state']}: {rows[0]['reason']}"
