"""Write constraints.txt: the closure of pyproject.toml's dependencies, at the versions installed in .venv.

Run it with the environment's interpreter after a dependency has changed and the tests pass:
`.venv/bin/python scripts/pin.py`. Packages that were installed by hand and that no dependency requires are listed, not
pinned.
"""

from __future__ import annotations

import sys
import tomllib
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
HEAD = """\
# Every package of the environment, pinned; written by scripts/pin.py, read by scripts/setup.sh (pip install -c).
# TensorFlow has another name where it has no CPU-only wheel. torch is pinned without its build: the CPU build of
# Linux (+cpu) and the build of macOS both satisfy it. Every package has wheels for x86-64 Linux and for macOS on arm64.
"""
CPU_WHEEL = "sys_platform == 'linux' and platform_machine == 'x86_64'"
OTHERS = "sys_platform != 'linux' or platform_machine != 'x86_64'"
INSTALLER = {"pip"}


def direct_dependencies() -> list[Requirement]:
    """Return the direct dependencies, including those for development."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [Requirement(line) for line in project["dependencies"] + project["optional-dependencies"]["dev"]]


def closure(direct: list[Requirement]) -> dict[str, str]:
    """Return name -> version of all packages that `direct` requires on this platform; a missing package raises."""
    pins: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    queue = [(requirement, "") for requirement in direct]
    while queue:
        requirement, extra = queue.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        distribution = metadata.distribution(name)
        pins[name] = Version(distribution.version).public
        for required_extra in ("", *sorted(requirement.extras)):
            if (name, required_extra) not in seen:
                seen.add((name, required_extra))
                queue += [(Requirement(line), required_extra) for line in distribution.requires or ()]
    return pins


def lines_of(pins: dict[str, str]) -> list[str]:
    """Return one constraint per line, sorted; TensorFlow under both its names."""
    tensorflow = pins.get("tensorflow-cpu") or pins["tensorflow"]
    lines = [f"{name}=={version}" for name, version in pins.items() if name not in ("tensorflow", "tensorflow-cpu")]
    lines += [f"tensorflow-cpu=={tensorflow} ; {CPU_WHEEL}", f"tensorflow=={tensorflow} ; {OTHERS}"]
    return sorted(lines)


def main() -> None:
    pins = closure(direct_dependencies())
    (ROOT / "constraints.txt").write_text(HEAD + "\n".join(lines_of(pins)) + "\n", encoding="utf-8")
    installed = {canonicalize_name(distribution.metadata["Name"]) for distribution in metadata.distributions()}
    extraneous = sorted(installed - set(pins) - INSTALLER)
    if extraneous:
        sys.stderr.write(f"installed, but no dependency requires it: {', '.join(extraneous)}\n")


if __name__ == "__main__":
    main()
