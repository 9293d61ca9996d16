"""Type-check, compile, link and run Swift by the userland's programs. Every function raises AssertionError with the
compiler's messages where it fails."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from support.swift.userland import SWIFT, verified

LIBRARIES = (
    *("Foundation", "FoundationEssentials", "FoundationInternationalization", "dispatch", "BlocksRuntime", "XCTest"),
    *("swiftCore", "swiftSwiftOnoneSupport", "swiftDispatch", "swift_Concurrency", "swift_StringProcessing"),
    *("swiftGlibc", "c", "m", "gcc_s"),
    "stdc++",  # Foundation needs it, and does not find it by its own path
)
# As Xcode builds the package: Swift 5 with complete checks of concurrency, and no warning left.
STRICT = (
    *("-swift-version", "5", "-strict-concurrency=complete", "-warnings-as-errors"),
    "-solver-expression-time-threshold=10",  # seconds: some closures take the type checker minutes, here and in Xcode
)
LIMIT = 300


@dataclass(frozen=True, slots=True)
class Toolchain:
    """The programs of one userland. `cache` is a folder for compiled C modules."""

    root: Path
    cache: Path

    @staticmethod
    def find(cache: Path) -> Toolchain:
        return Toolchain(verified() / "rootfs", cache)

    @property
    def swift(self) -> Path:
        return self.root / SWIFT / "lib/swift"

    @property
    def libraries(self) -> Path:
        return self.root / "usr/lib/x86_64-linux-gnu"

    @property
    def loader(self) -> Path:
        return self.root / "usr/lib64/ld-linux-x86-64.so.2"

    def start(self, program: str, name: str = "") -> list[str]:
        """Return the command that starts a program of the userland on any system: through its dynamic linker."""
        paths = ":".join(map(str, (self.libraries, self.swift / "linux")))
        argv0 = ["--argv0", name] if name else []
        return [str(self.loader), *argv0, "--library-path", paths, str(self.root / SWIFT / "bin" / program)]

    def frontend(self, action: Sequence[str], module: str, sources: Sequence[Path], flags: Sequence[str]) -> str:
        """Run the compiler on the sources of one module, and return its messages."""
        command = [*self.start("swift-frontend"), "-frontend", *action, *map(str, sources), "-module-name", module]
        command += ["-sdk", str(self.root), "-resource-dir", str(self.swift), "-module-cache-path", str(self.cache)]
        return run([*command, *flags])

    def build(self, module: str, sources: Sequence[Path], folder: Path, flags: Sequence[str] = STRICT) -> Path:
        """Compile a module: `folder`/<module>.swiftmodule and .o, the returned path. Modules there can be imported."""
        folder.mkdir(parents=True, exist_ok=True)
        compiled = folder / f"{module}.o"
        emit = ["-emit-module-path", str(folder / f"{module}.swiftmodule"), "-o", str(compiled)]
        self.frontend(["-c", "-enable-testing"], module, sources, [*emit, "-I", str(folder), *flags])
        return compiled

    def link(self, objects: Sequence[Path], program: Path) -> Path:
        """Link a program that runs with the userland's own libraries."""
        gcc = next(self.root.glob("usr/lib/gcc/x86_64-linux-gnu/*"))
        runtime = f"{self.swift}/linux:{self.libraries}"
        command = [*self.start("lld", "ld.lld"), "-pie", "--disable-new-dtags", "-o", str(program)]
        command += ["--sysroot", str(self.root), "--dynamic-linker", str(self.loader), "--rpath", runtime]
        command += [word for path in (self.swift / "linux", self.libraries, gcc) for word in ("-L", str(path))]
        command += [str(self.libraries / name) for name in ("Scrt1.o", "crti.o")] + [str(gcc / "crtbeginS.o")]
        command += [str(self.swift / "linux/x86_64/swiftrt.o"), *map(str, objects)]
        command += [f"-l{name}" for name in LIBRARIES] + [str(gcc / "crtendS.o"), str(self.libraries / "crtn.o")]
        run(command)
        return program


def run(command: Sequence[str], text: str = "") -> str:
    """Run a command with `text` as input; return its output. Raises AssertionError with all of it where it fails."""
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        command, env=environment, input=text, capture_output=True, text=True, check=False, timeout=LIMIT
    )
    assert not done.returncode, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
    return done.stdout
