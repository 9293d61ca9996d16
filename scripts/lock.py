"""Write a lock of the Python packages: each at its version in constraints.txt, with the sha256 of its distribution.

    .venv/bin/python -m scripts.lock build/requirements.lock [--extra-index-url URL]
    make setup LOCK=build/requirements.lock     # installs these bytes and no others

constraints.txt pins versions for every platform and index. A lock is of one platform and of the index that it was made
with, so each user makes their own and hands it to their machines. pip resolves and hashes; nothing is installed.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scripts.pin import direct_dependencies

ROOT = Path(__file__).resolve().parents[1]
HEAD = "# Written by scripts/lock.py. Install it: pip install --require-hashes -r FILE\n"


def installation_report(words: Sequence[str]) -> dict[str, Any]:
    """Return pip's installation report of the direct dependencies and all of theirs, as if nothing was installed.

    `words` are further options of pip. Raises CalledProcessError where pip fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        wanted, report = Path(folder) / "wanted.txt", Path(folder) / "report.json"
        wanted.write_text("\n".join(map(str, direct_dependencies())) + "\n", encoding="utf-8")
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
        pip += ["--dry-run", "--ignore-installed", "--report", str(report)]
        subprocess.run([*pip, "-c", str(ROOT / "constraints.txt"), "-r", str(wanted), *words], check=True)
        content: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    return content


def lines_of(report: dict[str, Any]) -> list[str]:
    """Return `name==version --hash=sha256:...` of every package in pip's report, sorted.

    Raises SystemExit where pip tells no sha256, as for a folder.
    """
    lines = []
    for row in report["install"]:
        name, version = row["metadata"]["name"].lower(), row["metadata"]["version"]
        digest = row["download_info"].get("archive_info", {}).get("hashes", {}).get("sha256")
        if not digest:
            raise SystemExit(f"lock: pip tells no sha256 of {name} {version}: {row['download_info'].get('url')}")
        lines.append(f"{name}=={version} --hash=sha256:{digest}")
    return sorted(lines)


def main() -> None:
    target, words = Path(sys.argv[1]), sys.argv[2:]
    lines = lines_of(installation_report(words))
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(HEAD + "\n".join(lines) + "\n", encoding="utf-8")
    sys.stderr.write(f"lock: {len(lines)} packages in {target}\n")


if __name__ == "__main__":
    main()
