"""Build a generated Swift package on Linux, against the stubs of Apple's modules, and run its tests there."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from support.swift.compiler import LIMIT, STRICT, Toolchain

STUBS = Path(__file__).parents[2] / "stubs/apple"
PROBES = Path(__file__).parent / "probes"
# In the order in which they import each other.
MODULES = ("CoreGraphics", "CoreVideo", "ImageIO", "CoreImage", "CryptoKit", "CoreML")
VIEWS = ("SwiftUI", "PhotosUI")
# XCTest on Linux and its list of tests are not ready for complete checks of concurrency.
LAX = ("-swift-version", "5", *(flag for flag in STRICT if flag.startswith("-solver")))


@dataclass(frozen=True, slots=True)
class Built:
    """The object files of a package's two libraries, in the folder of its modules."""

    folder: Path
    name: str
    objects: tuple[Path, ...]

    @property
    def flags(self) -> tuple[str, ...]:
        return ("-package-name", self.name, "-I", str(self.folder))


def build_stubs(toolchain: Toolchain, folder: Path, modules: Sequence[str] = MODULES) -> tuple[Path, ...]:
    """Compile the stubs into `folder`."""
    flags = ("-parse-as-library", "-swift-version", "5", "-O")
    return tuple(toolchain.build(name, [STUBS / f"{name}.swift"], folder, flags) for name in modules)


def build_package(toolchain: Toolchain, package: Path, folder: Path, stubs: Path) -> Built:
    """Compile both libraries of a package with complete checks of concurrency. `folder` gets their modules."""
    name = package_name(package)
    folder.mkdir(parents=True, exist_ok=True)
    accessor = write_accessor(folder / "resources.swift", package / "Sources" / name)
    flags = (*STRICT, "-parse-as-library", "-package-name", name, "-I", str(stubs))
    core = toolchain.build(f"{name}Core", swift_files(package / f"Sources/{name}Core"), folder, (*flags, "-O"))
    net = toolchain.build(name, [*swift_files(package / f"Sources/{name}"), accessor], folder, flags)
    return Built(folder, name, (core, net))


def check_tests(toolchain: Toolchain, package: Path, built: Built, stubs: Path) -> None:
    """Type-check the package's own tests with complete checks of concurrency."""
    accessor = write_accessor(built.folder / "golden.swift", package / f"Tests/{built.name}Tests")
    sources = [*swift_files(package / f"Tests/{built.name}Tests"), accessor]
    flags = (*STRICT, *built.flags, "-I", str(stubs), "-parse-as-library")
    toolchain.frontend(["-typecheck"], f"{built.name}Tests", sources, flags)


def check_swift_6(toolchain: Toolchain, package: Path, built: Built, stubs: Path) -> None:
    """Type-check the net's library in the language mode of Swift 6, where a data race is an error."""
    sources = [*swift_files(package / "Sources" / built.name), built.folder / "resources.swift"]
    flags = ("-swift-version", "6", "-parse-as-library", *built.flags, "-I", str(stubs))
    toolchain.frontend(["-typecheck"], built.name, sources, flags)


def check_sample(toolchain: Toolchain, package: Path, built: Built, stubs: Path) -> None:
    """Type-check the sample app with complete checks of concurrency. `stubs` gets the modules of views."""
    build_stubs(toolchain, stubs, VIEWS)
    sources = [path for path in swift_files(package / "samples/ios/Sample.swiftpm") if path.name != "Package.swift"]
    flags = (*STRICT, "-I", str(built.folder), "-I", str(stubs), "-parse-as-library")
    toolchain.frontend(["-typecheck"], "Sample", sources, flags)


def run_tests(toolchain: Toolchain, package: Path, built: Built, stubs: Sequence[Path]) -> str:
    """Run the package's own tests and the probes'; return XCTest's output. Raises AssertionError where one fails."""
    module = f"{built.name}Tests"
    sources = [*swift_files(package / f"Tests/{module}"), built.folder / "golden.swift"]
    write_accessor(sources[-1], package / "Tests" / module)
    for name in ("FakeNet", "EngineTests", "PhotoTests", "main"):
        # A file called main.swift may hold statements outside functions.
        path = built.folder / (f"{name}.swift" if name == "main" else f"probe-{name}.swift")
        text = (PROBES / f"{name}.swift").read_text(encoding="utf-8")
        path.write_text(text.replace("import HydraNet", f"import {built.name}"), encoding="utf-8")
        sources.append(path)
    flags = (*LAX, *built.flags, "-I", str(stubs[0].parent))
    tests = toolchain.build(module, sources, built.folder, flags)
    program = toolchain.link([*built.objects, tests, *stubs], built.folder / "tests")
    environment = {**os.environ, "HOME": str(built.folder), "XDG_CACHE_HOME": str(built.folder / "caches")}
    done = subprocess.run([program], env=environment, capture_output=True, text=True, check=False, timeout=LIMIT)
    assert not done.returncode, done.stdout + done.stderr
    return done.stdout + done.stderr


def write_accessor(path: Path, folder: Path) -> Path:
    """Write the accessor of a target's resources, as Swift's package manager does: here they stay where they are."""
    text = f'import Foundation\nextension Bundle {{ static var module: Bundle {{ Bundle(path: "{folder}")! }} }}\n'
    path.write_text(text, encoding="utf-8")
    return path


def package_name(package: Path) -> str:
    (name,) = (path.name for path in (package / "Sources").iterdir() if not path.name.endswith("Core"))
    return name


def swift_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.swift"))
