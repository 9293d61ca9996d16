"""Compile and run packages for Android on this machine: Kotlin from build/kotlin, stubs from tests/stubs/android."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from export.bundle.android.generator import TEMPLATE_PACKAGE

ROOT = Path(__file__).resolve().parents[2]
STUBS = ROOT / "tests/stubs/android"
SET_UP = "scripts/setup.sh kotlin"
COMPILER = ("kotlin-compiler", "kotlin-script-runtime", "kotlin-reflect", "annotations-13.0")
RUNTIME = ("kotlin-stdlib", "kotlinx-coroutines-core-jvm")


@dataclass(frozen=True, slots=True)
class Compiled:
    """Classes of packages, of the stubs and of the probe, which is in the Kotlin package `probe`."""

    classes: Path
    probe: str


def libraries() -> Path:
    """Return the folder of the pinned compiler's jars. It may be absent."""
    version = re.search(r"^KOTLIN=(\S+)$", (ROOT / "scripts/setup.sh").read_text(), re.MULTILINE)
    assert version is not None
    return ROOT / "build/kotlin" / version[1] / "lib"


def unavailable() -> str:
    """Return why no Kotlin can be compiled here, with the command that changes this; "" where it can."""
    if shutil.which("javac") is None:
        return f"no JDK here: {SET_UP}"
    return "" if (libraries() / "kotlin-compiler.jar").is_file() else f"no Kotlin compiler here: {SET_UP}"


def jars(names: Sequence[str]) -> str:
    return ":".join(str(libraries() / f"{name}.jar") for name in names)


def compile_packages(packages: Sequence[Path], out: Path, extra: Sequence[Path] = ()) -> Compiled:
    """Compile every Kotlin file of the packages, their tests and samples included, with the stubs and the probe.

    Warnings are errors. `extra` are further files. The probe is compiled in the package of the first one.
    """
    out.mkdir(parents=True)
    java = [str(path) for path in sorted((STUBS / "java").rglob("*.java"))]
    done = subprocess.run(["javac", "-d", str(out), *java], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    name = next(packages[0].rglob("src/main/kotlin/*/*/Session.kt")).parent.name
    probe = out / "Probe.kt"
    probe.write_text((STUBS / "kotlin/Probe.kt").read_text().replace(TEMPLATE_PACKAGE, f"hydramobile.{name}"))
    sources = [path for package in packages for path in sorted(package.rglob("*.kt"))]
    sources += [STUBS / "kotlin/LiteRt.kt", STUBS / "kotlin/Stub.kt", probe, *extra]
    words = ["java", "-Xmx1500m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", jars([*COMPILER, *RUNTIME])]
    words += ["org.jetbrains.kotlin.cli.jvm.K2JVMCompiler", "-no-stdlib", "-no-reflect", "-jvm-target", "11", "-Werror"]
    words += ["-cp", f"{jars(RUNTIME)}:{out}", "-d", str(out), *map(str, sources)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return Compiled(out, name)


def run_probe(compiled: Compiled, package: Path, commands: Sequence[str], *properties: str) -> list[str]:
    """Run the probe's commands with the assets of the folder `package`. Return the lines that it prints."""
    listed = compiled.classes / "commands.txt"
    listed.write_text("".join(f"{line}\n" for line in commands))
    parts = ("main/assets", "golden/files")
    assets = ":".join(str(path) for part in parts for path in package.glob(f"*/src/{part}")) or str(package)
    words = ["java", "-Xmx1500m", f"-Dstub.assets={assets}", f"-Dstub.python={sys.executable}"]
    words += [f"-Dstub.server={STUBS / 'litert_server.py'}", *properties]
    words += [
        "-cp",
        f"{compiled.classes}:{assets}:{jars(RUNTIME)}",
        f"hydramobile.{compiled.probe}.ProbeKt",
        str(listed),
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def run_tests(compiled: Compiled, package: Path, classes: Sequence[str], *properties: str) -> list[str]:
    """Run test classes, and return the names of their methods. Fails with the lines of the tests that failed."""
    lines = run_probe(compiled, package, [f"test {name}" for name in classes], *properties)
    failed = [line for line in lines if line.startswith("FAILED")]
    assert not failed, "\n".join(failed)
    return [line.split()[1].rpartition(".")[2] for line in lines if line.startswith("passed")]
