"""support.json beside a model: which recipes were judged on which target, and how they stand (`make grid`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from models.files import read_json
from models.spec import ModelSpec

FILE = "support.json"
GOOD = ("ships", "passes")


def support_path(spec: ModelSpec) -> Path:
    return spec.folder / FILE


def read_support(spec: ModelSpec) -> dict[str, Any] | None:
    """The model's support.json, or None where it has none. Raises StageError("support") for a damaged one."""
    path = support_path(spec)
    return dict(read_json(path, "support")) if path.is_file() else None


def caution(spec: ModelSpec, target: str, recipe: str) -> str:
    """What whoever asks for a recipe should know: "" where it stands, or where the model has no such file."""
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
