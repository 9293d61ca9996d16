"""Find and verify the ARM userland that qemu runs, which `bash scripts/setup.sh arm` assembles.

rootfs/         C library, C++ library, CPython 3.11 for arm64, from Debian's packages
site/           the aarch64 wheels of requirements.txt: numpy, LiteRT, ONNX Runtime, pinned by hash
cpus/<name>/    rootfs by symbolic links, with that processor's /proc/cpuinfo
insn.so         the qemu plugin that counts instructions, for the host
sysroot.json    versions and hashes of its sources, and the hash of every file
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.runtimes.arm.cpus import CPUS
from hydramobile.errors import StageError
from hydramobile.files import canonical_json, read_json, sha256_bytes, sha256_file

HERE = Path(__file__).parent
REQUIREMENTS = HERE / "requirements.txt"
PLUGIN = HERE / "insn.c"
QEMU = "qemu-aarch64"
FILE = "sysroot.json"
MAKE = "bash scripts/setup.sh arm"
# Packages that CPython needs to start, to load extension modules, and to call C (ctypes).
DEBS = (
    *("libbz2-1.0", "libc6", "libexpat1", "libffi8", "libgcc-s1", "liblzma5", "libpython3.11-minimal"),
    *("libpython3.11-stdlib", "libstdc++6", "python3.11-minimal", "zlib1g"),
)
# Raise it when the assembly changes in a way that the sources do not show.
LAYOUT = 1


def key() -> str:
    """Return twelve hex digits over all sources of the sysroot, so that a change of one is assembled anew."""
    recipe = {
        "layout": LAYOUT,
        "debs": DEBS,
        "requirements": REQUIREMENTS.read_text(encoding="utf-8"),
        "plugin": PLUGIN.read_text(encoding="utf-8"),
        "cpus": {name: cpu.cpuinfo for name, cpu in CPUS.items()},
    }
    return sha256_bytes(canonical_json(recipe).encode())[:12]


def sysroot() -> Path:
    """Return the folder, whether it exists or not. It outlives `make clean`, and clones share it."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "hydra-mobile" / f"arm-{key()}"


def absent() -> str | None:
    """Return why no ARM code can run here, with the command that helps, or None. Checks only that files exist."""
    if shutil.which(QEMU) is None:
        return f"{QEMU} is not installed; run: {MAKE}"
    if not (sysroot() / FILE).is_file():
        return f"the ARM userland was not assembled; run: {MAKE}"
    return None


def listed(root: Path) -> Iterator[tuple[str, Path]]:
    """Yield (relative path, path) of every regular file below `root`, sorted, without links and the manifest."""
    for path in sorted(root.rglob("*")):
        if path.is_file() and not path.is_symlink() and path.name != FILE:
            yield path.relative_to(root).as_posix(), path


@cache
def verified() -> Path:
    """Return the folder, with the hash of every file checked, once per process. Raises StageError("sysroot")."""
    missing = absent()
    if missing:
        raise StageError("sysroot", missing)
    root = sysroot()
    known: dict[str, str] = manifest()["files"]
    for name, expected in known.items():
        path = root / name
        if not path.is_file() or sha256_file(path) != expected:
            raise StageError("sysroot", f"{path} is missing or was changed; remove {root} and run: {MAKE}")
    return root


def manifest() -> dict[str, Any]:
    """Read sysroot.json."""
    document: dict[str, Any] = read_json(sysroot() / FILE, "sysroot")
    return document


def versions() -> dict[str, str]:
    """Return the versions of the Debian packages and wheels in the sysroot."""
    result: dict[str, str] = manifest()["versions"]
    return result
