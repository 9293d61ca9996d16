"""Compare exported artifacts byte for byte before and after a change of the exporter.

    python scripts/same_bytes.py export OUT MODEL...    every recipe of budget.toml and the grid, on every target
    python scripts/same_bytes.py compare BEFORE AFTER   exit code 1 when a model file differs or is missing

`export` runs the exporter of the repository that the script is started in, one process per model. `compare` reads the
sealed artifact.json of each artifact folder. USAGE.md and artifact.json are left out: both hold prose and the hash of
the exporter's sources. Refusals are compared by state, not by wording.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

PROSE = {"USAGE.md"}
# The recipes of the test nets. Models with a budget.toml are exported under the recipes of the budget and the grid.
RECIPES = ("float32", "float16", "w8", "w8a8")


def export(out: Path, models: list[Path]) -> int:
    """Export each model folder to `out`/<model>. Returns the number of models whose export ended without a verdict."""
    lost = 0
    for model in models:
        grids = [(), ("grid",)] if (model / "budget.toml").is_file() else [RECIPES]
        for recipes in grids:
            asked = [word for recipe in recipes for word in ("--recipe", recipe)]
            command = [sys.executable, "-m", "export", "all", "--model", str(model), "--out", str(out), *asked]
            done = subprocess.run([*command, "--overwrite"], capture_output=True, text=True, check=False)
            last = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("verdict:")]
            print(model.name, *recipes, *last, flush=True)
            lost += not last
    return lost


def files(out: Path) -> dict[str, str]:
    """Map `<model>/<target>/<recipe>/<file>` to its sha256, and each refused recipe to its state."""
    found: dict[str, str] = {}
    for record in sorted(out.glob("*/export.json")):
        for key, row in json.loads(record.read_text(encoding="utf-8"))["outcomes"].items():
            found[f"{record.parent.name}/{key}"] = "exported" if row["state"] == "up to date" else row["state"]
    for path in sorted(out.glob("*/*/*/artifact.json")):
        folder = path.parent.relative_to(out).as_posix()
        for row in json.loads(path.read_text(encoding="utf-8"))["files"]:
            if row["path"] not in PROSE:
                found[f"{folder}/{row['path']}"] = row["sha256"]
    return found


def compare(before: Path, after: Path) -> int:
    """Print each file that differs, is missing or is new, and return their number."""
    old, new = files(before), files(after)
    common = [key for key in old if key in new]
    for key in sorted({*old, *new}):
        if old.get(key) != new.get(key):
            print(f"{key}: {old.get(key, 'absent')[:12]} -> {new.get(key, 'absent')[:12]}")
    differing = sum(old.get(key) != new.get(key) for key in {*old, *new})
    print(f"{len(common) - sum(old[key] != new[key] for key in common)} of {len(old)} entries are the same")
    # A comparison of nothing fails.
    return differing if old else 1


def main(arguments: list[str]) -> int:
    match arguments:
        case ["export", out, *models] if models:
            return int(export(Path(out), [Path(model) for model in models]) > 0)
        case ["compare", before, after]:
            return int(compare(Path(before), Path(after)) > 0)
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
