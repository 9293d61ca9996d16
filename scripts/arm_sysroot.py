"""Assemble the ARM userland that `make parity-arm` runs: see benchmarks/runtimes/arm/sysroot.py.

`python scripts/arm_sysroot.py` assembles it if it does not exist yet (85 MB are downloaded). `--pin` hashes the wheels
of the versions in constraints.txt again and writes requirements.txt. It needs apt-get (the packages for arm64 are only
unpacked, with a private state of apt: nothing is installed), a C compiler and pip, but no root.
"""

from __future__ import annotations

import compileall
import hashlib
import py_compile
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.runtimes.arm import sysroot  # noqa: E402  # importable only once the repository is on the path
from benchmarks.runtimes.arm.cpus import CPUS  # noqa: E402  # the same
from hydramobile.errors import HydraError, StageError  # noqa: E402  # the same
from hydramobile.files import dump_json, locked, sha256_file, staging_folder, write_text  # noqa: E402  # the same

# Oldest first: a wheel may be tagged with any of them.
PLATFORMS = ("manylinux2014_aarch64", "manylinux_2_17_aarch64", "manylinux_2_27_aarch64", "manylinux_2_28_aarch64")
FOREIGN = ["--only-binary=:all:", "--no-deps", "--python-version", "3.11", "--implementation", "cp", "--abi", "cp311"]
FOREIGN += [word for name in PLATFORMS for word in ("--platform", name)]
PIP = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input"]
# Seconds per command: enough for a slow package server, and an end for a command that hangs.
LIMIT = 600


def run(command: list[str], cwd: Path | None = None) -> str:
    """Run a command and return its standard output. Raises StageError("sysroot") with its messages if it fails."""
    try:
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=LIMIT)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StageError("sysroot", f"{command[0]}: {error}") from error
    if done.returncode:
        message = (done.stderr or done.stdout).strip()[-1500:]
        raise StageError("sysroot", f"{' '.join(command[:6])} ... failed with exit code {done.returncode}: {message}")
    return done.stdout


def unpack_debs(scratch: Path, rootfs: Path) -> dict[str, dict[str, str]]:
    """Unpack Debian's packages for arm64 into `rootfs`; return {package: {version, sha256}}. apt checks signatures."""
    state, debs = scratch / "apt", scratch / "debs"
    for folder in (state / "lists/partial", state / "cache/archives/partial", debs):
        folder.mkdir(parents=True)
    (state / "status").touch()
    options = ["APT::Architecture=arm64", "APT::Architectures::=arm64", "APT::Sandbox::User=root"]
    options += [f"Dir::State={state}", f"Dir::State::status={state / 'status'}", f"Dir::Cache={state / 'cache'}"]
    apt = ["apt-get", "-q", *(word for option in options for word in ("-o", option))]
    run([*apt, "update"])
    run([*apt, "download", *sysroot.DEBS], cwd=debs)
    packages = {}
    for deb in sorted(debs.glob("*.deb")):
        run(["dpkg", "-x", str(deb), str(rootfs)])
        name, version = run(["dpkg-deb", "--show", "--showformat=${Package} ${Version}", str(deb)]).split()
        packages[name] = {"version": version, "sha256": sha256_file(deb)}
    missing = sorted(set(sysroot.DEBS) - set(packages))
    if missing:
        raise StageError("sysroot", f"apt-get has no {', '.join(missing)} for arm64 (needs Debian 12)")
    return packages


def install_wheels(site: Path) -> dict[str, str]:
    """Install the pinned wheels into `site`; return {package: version}. pip checks each against its hash."""
    arguments = ["install", "--require-hashes", "--no-compile", "--target", str(site), "-r", str(sysroot.REQUIREMENTS)]
    run([*PIP, *arguments, *FOREIGN])
    return dict(line.split(" --hash")[0].split("==") for line in pinned())


def compile_modules(folder: Path) -> None:
    """Write byte code beside each Python module: compiling under emulation, at every start, would cost the most time.

    The format is the same for every CPython 3.11. Modules that do not compile (templates of test suites) are not used.
    """
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    compileall.compile_dir(folder, quiet=2, invalidation_mode=mode, stripdir=str(folder))


def pinned() -> list[str]:
    lines = sysroot.REQUIREMENTS.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def compile_plugin(library: Path) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise StageError("sysroot", "there is no C compiler (Debian: gcc libc6-dev)")
    command = [compiler, "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", str(library)]
    run([*command, str(sysroot.PLUGIN)])


def link_cpus(folder: Path) -> None:
    for cpu in CPUS.values():
        root = folder / "cpus" / cpu.name
        (root / "proc").mkdir(parents=True)
        (root / "proc/cpuinfo").write_text(cpu.cpuinfo, encoding="utf-8")
        for name in ("usr", "lib", "etc"):
            (root / name).symlink_to(Path("../../rootfs") / name)


def assemble() -> Path:
    """Return the sysroot, assembled if it does not exist. A lock keeps two processes from assembling it twice."""
    target = sysroot.sysroot()
    with locked(target.with_suffix(".lock")):
        if (target / sysroot.FILE).is_file():
            return target
        with staging_folder(target) as folder, tempfile.TemporaryDirectory() as scratch:
            sys.stderr.write(f"sysroot: assembling {target} (85 MB to download)\n")
            debs = unpack_debs(Path(scratch), folder / "rootfs")
            wheels = install_wheels(folder / "site")
            compile_modules(folder / "site")
            compile_modules(folder / "rootfs/usr/lib/python3.11")
            compile_plugin(folder / "insn.so")
            link_cpus(folder)
            document = {
                "versions": {name: package["version"] for name, package in debs.items()} | wheels,
                "debs": debs,
                "wheels": {line.split("==")[0]: line.rpartition(":")[2] for line in pinned()},
                "files": {name: sha256_file(path) for name, path in sysroot.listed(folder)},
            }
            write_text(folder / sysroot.FILE, dump_json(document))
    return target


def pin() -> None:
    """Write requirements.txt for the versions in constraints.txt."""
    pins = dict(
        line.split("==") for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").split() if "==" in line
    )
    names = [line.split("==")[0] for line in pinned()]
    head = sysroot.REQUIREMENTS.read_text(encoding="utf-8").splitlines()[0]
    lines = [head]
    with tempfile.TemporaryDirectory() as scratch:
        run([*PIP, "download", "-d", scratch, *FOREIGN, *(f"{name}=={pins[name]}" for name in names)])
        for name in names:
            (wheel,) = Path(scratch).glob(f"{name.replace('-', '_')}-*.whl")
            lines.append(f"{name}=={pins[name]} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}")
    write_text(sysroot.REQUIREMENTS, "\n".join(lines) + "\n")


if __name__ == "__main__":
    try:
        if sys.argv[1:] == ["--pin"]:
            pin()
        elif sys.argv[1:]:
            sys.exit("usage: arm_sysroot.py [--pin]")
        else:
            sys.stdout.write(f"sysroot: {assemble()}\n")
    except HydraError as error:
        sys.exit(str(error))
