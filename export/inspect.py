"""`inspect`: facts read from a saved file or artifact folder, whichever format it is."""

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
    """Facts about one file, or about every file of an artifact folder. Raises UsageError for anything else."""
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
    name = path.name if path.name in FORMATS else path.suffix
    if path.is_dir() and (path / "model.json").is_file():
        name = "model.json"
    if name not in FORMATS:
        raise UsageError(f"{path} is no artifact folder and has none of the known kinds: {', '.join(FORMATS)}")
    facts = load_target(FORMATS[name]).describe(path)
    size = path.stat().st_size if path.is_file() else sum(p.stat().st_size for p in path.rglob("*") if p.is_file())
    return {"path": str(path), "target": FORMATS[name], "bytes": size, **facts}
