"""Where the ARM userland lies that qemu runs (made by `bash scripts/setup.sh arm`), and whether it is whole.

rootfs/         C library, C++ library, CPython 3.11 for arm64, from Debian's packages
site/           the aarch64 wheels of requirements.txt: numpy, LiteRT, ONNX Runtime, pinned by hash
cpus/<name>/    rootfs by symbolic links, with that processor's /proc/cpuinfo
insn.so         the qemu plugin that counts instructions, for the host
sysroot.json    versions and hashes of what it was made of, and the hash of every file
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
# What CPython needs to start, to load extension modules, and to call C (ctypes).
DEBS = (
    *("libbz2-1.0", "libc6", "libexpat1", "libffi8", "libgcc-s1", "liblzma5", "libpython3.11-minimal"),
    *("libpython3.11-stdlib", "libstdc++6", "python3.11-minimal", "zlib1g"),
)
# Of what else the layout depends on: raised when the assembly changes.
LAYOUT = 1


def key() -> str:
    """Twelve hex digits over everything the sysroot is made from, so that a change is assembled anew."""
    recipe = {
        "layout": LAYOUT,
        "debs": DEBS,
        "requirements": REQUIREMENTS.read_text(encoding="utf-8"),
        "plugin": PLUGIN.read_text(encoding="utf-8"),
        "cpus": {name: cpu.cpuinfo for name, cpu in CPUS.items()},
    }
    return sha256_bytes(canonical_json(recipe).encode())[:12]


def sysroot() -> Path:
    """The folder, whether it is there or not. It outlives `make clean`, and clones share it."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "hydra-mobile" / f"arm-{key()}"


def absent() -> str | None:
    """Why no ARM code can run here, with the command that helps; None where it can. Looks at names only."""
    if shutil.which(QEMU) is None:
        return f"{QEMU} is not installed; run: {MAKE}"
    if not (sysroot() / FILE).is_file():
        return f"the ARM userland was not assembled; run: {MAKE}"
    return None


def listed(root: Path) -> Iterator[tuple[str, Path]]:
    """(relative path, path) of every regular file below `root` but the manifest, sorted. Links are what they name."""
    for path in sorted(root.rglob("*")):
        if path.is_file() and not path.is_symlink() and path.name != FILE:
            yield path.relative_to(root).as_posix(), path


@cache
def verified() -> Path:
    """The folder, every file of it checked against its hash, once a process. Raises StageError("sysroot")."""
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
    document: dict[str, Any] = read_json(sysroot() / FILE, "sysroot")
    return document


def versions() -> dict[str, str]:
    """Versions of what the sysroot was made of: packages of Debian and wheels."""
    made: dict[str, str] = manifest()["versions"]
    return made
