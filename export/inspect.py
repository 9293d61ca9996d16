"""Read facts from a saved file or artifact folder of any format, for `inspect`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from export.target import load_target
from hydramobile.artifact import FILE, read_artifact, verify
from hydramobile.errors import UsageError
from hydramobile.targets import TARGET_ROWS

# File suffix, or whole file name, -> target.
FORMATS = {suffix: row.name for row in TARGET_ROWS for suffix in row.suffixes}


def inspect_path(path: Path) -> dict[str, Any]:
    """Return facts about one file, or about every file of an artifact folder. Raises UsageError for other paths."""
    if not path.exists():
        raise UsageError(f"{path} does not exist")
    if (path / FILE).is_file():
        artifact = read_artifact(path)
        verify(path, artifact)
        files = dict.fromkeys(entry.file for entry in artifact.entries)
        return {
            "artifact": asdict(artifact),
            "files": {name: describe(path / name) for name in files},
        }
    return describe(path)


def describe(path: Path) -> dict[str, Any]:
    """Return the facts that the file's target reads from it, with its bytes. Raises UsageError for unknown formats."""
    name = path.name if path.name in FORMATS else path.suffix
    if path.is_dir() and (path / "model.json").is_file():
        name = "model.json"
    if name not in FORMATS:
        raise UsageError(f"{path} is no artifact folder and no file of a known format: {', '.join(FORMATS)}")
    facts = load_target(FORMATS[name]).describe(path)
    size = path.stat().st_size if path.is_file() else sum(p.stat().st_size for p in path.rglob("*") if p.is_file())
    return {"path": str(path), "target": FORMATS[name], "bytes": size, **facts}
