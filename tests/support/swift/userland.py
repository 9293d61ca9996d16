"""Find and verify the Swift compiler of the tests, which `bash scripts/setup.sh swift` assembles.

rootfs/         swift-frontend, lld, the standard library, Foundation, XCTest, and the C library that they need
userland.json   versions and hashes of its packages, and the hash of every file

Nothing of it is installed, and no privilege is needed: its programs are started through its own dynamic linker.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from hydramobile.errors import StageError
from hydramobile.files import canonical_json, read_json, sha256_bytes, sha256_file

FILE = "userland.json"
MAKE = "bash scripts/setup.sh swift"
STAGE = "swift"
SUITE = "trixie"
# The compiler and its library are pinned. The other packages get security updates under the same name.
PINNED = {
    "swiftlang": ("6.0.3-2", "be005017c07f0932564c48761f7f69d2f4e942d514e106932913ca8cf594c4a1"),
    "libswiftlang": ("6.0.3-2", "8279334aaf16e6b62b8d124d6d5d94cb2a92666986cec491bf4ad03a0a9ae3e4"),
}
DEBS = (
    *("libc6", "libc6-dev", "libcrypt-dev", "libgcc-14-dev", "libgcc-s1", "libicu76", "liblzma5", "libstdc++6"),
    *("libstdc++-14-dev", "libtinfo6", "libuuid1", "libxml2", "libzstd1", "linux-libc-dev", "zlib1g"),
)
SWIFT = "usr/libexec/swift"
# What is unpacked of `swiftlang`: 2.3 GB without a choice, with debuggers, a package manager and other platforms.
WANTED = {
    "swiftlang": (
        *(f"{SWIFT}/bin/{name}" for name in ("swift-frontend", "lld")),
        *(f"{SWIFT}/lib/swift/{name}" for name in ("Block", "CoreFoundation", "_FoundationCShims", "clang")),
        *(
            f"{SWIFT}/lib/swift/{name}"
            for name in ("_foundation_unicode", "dispatch", "linux", "os", "pm/ManifestAPI", "shims")
        ),
        f"{SWIFT}/lib/clang/*/include",
    ),
}
# Raise it when the assembly changes in a way that the tables above do not show.
LAYOUT = 1


def key() -> str:
    """Return twelve hex digits over the recipe of the userland, so that a change of it is assembled anew."""
    recipe = {"layout": LAYOUT, "suite": SUITE, "pinned": PINNED, "debs": DEBS, "wanted": WANTED}
    return sha256_bytes(canonical_json(recipe).encode())[:12]


def userland() -> Path:
    """Return the folder, whether it exists or not. It outlives `make clean`, and clones share it."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "hydra-mobile" / f"swift-{key()}"


def absent() -> str | None:
    """Return why no Swift can be compiled here, with the command that helps, or None. Checks only that files exist."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        return "the Swift compiler of the tests is for x86-64 Linux"
    if not (userland() / FILE).is_file():
        return f"the Swift compiler is not here; run: {MAKE} (464 MB to download)"
    return None


def listed(root: Path) -> Iterator[tuple[str, Path]]:
    """Yield (relative path, path) of every regular file below `root`, sorted, without links and the manifest."""
    for path in sorted(root.rglob("*")):
        if path.is_file() and not path.is_symlink() and path.name != FILE:
            yield path.relative_to(root).as_posix(), path


@cache
def verified() -> Path:
    """Return the folder, with the hash of every file checked, once per process. Raises StageError("swift")."""
    missing = absent()
    if missing:
        raise StageError(STAGE, missing)
    root = userland()
    known: dict[str, str] = read_json(root / FILE, STAGE)["files"]
    for name, expected in known.items():
        path = root / name
        if not path.is_file() or sha256_file(path) != expected:
            raise StageError(STAGE, f"{path} is missing or was changed; remove {root} and run: {MAKE}")
    return root
