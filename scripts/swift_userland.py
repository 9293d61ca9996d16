"""Assemble the Swift compiler that the tests of the iOS package use: see tests/support/swift/userland.py.

`python scripts/swift_userland.py` assembles it if it does not exist yet (464 MB are downloaded, about a minute). It
needs Debian's apt-get and dpkg (the packages of trixie are only unpacked, with a private state of apt: nothing is
installed) and tar, but no root.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from hydramobile.errors import HydraError, StageError  # noqa: E402  # importable only once the repository is on the path
from hydramobile.files import dump_json, locked, sha256_file, staging_folder, write_text  # noqa: E402  # the same
from support.swift import userland as swift  # noqa: E402  # the same

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
# Seconds per command: enough for a slow package server, and an end for a command that hangs.
LIMIT = 1800


def run(command: Sequence[str], cwd: Path | None = None) -> str:
    """Run a command and return its standard output. Raises StageError("swift") with its messages if it fails."""
    try:
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=LIMIT)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StageError(swift.STAGE, f"{command[0]}: {error}") from error
    if done.returncode:
        message = (done.stderr or done.stdout).strip()[-1500:]
        raise StageError(swift.STAGE, f"{command[0]} failed with exit code {done.returncode}: {message}")
    return done.stdout


def repository() -> str:
    """Return the address of Debian's main archive, as the system's own apt is configured."""
    columns = "$(REPO_URI) $(CODENAME) $(ORIGIN) $(COMPONENT)"
    rows = [row.split() for row in run(["apt-get", "indextargets", "--format", columns]).splitlines()]
    for row in rows:
        # Suites of updates and security fixes have a codename with a suffix, and archives of their own.
        if len(row) == 4 and row[2:] == ["Debian", "main"] and "-" not in row[1]:
            return row[0]
    raise StageError(
        swift.STAGE, "the compiler is made from Debian's packages, and apt here knows no archive of Debian"
    )


def apt_options(state: Path) -> list[str]:
    """Write a private state of apt below `state`, and return the options that select it."""
    for folder in ("lists/partial", "cache/archives/partial"):
        (state / folder).mkdir(parents=True)
    (state / "status").touch()
    sources = state / "sources.list"
    sources.write_text(f"deb [signed-by={KEYRING}] {repository()} {swift.SUITE} main\n", encoding="utf-8")
    options = [f"Dir::State={state}", f"Dir::State::status={state / 'status'}", f"Dir::Cache={state / 'cache'}"]
    options += [f"Dir::Etc::sourcelist={sources}", "Dir::Etc::sourceparts=/dev/null", "APT::Sandbox::User=root"]
    options += ["APT::Architecture=amd64", "APT::Architectures::=amd64"]
    return [word for option in options for word in ("-o", option)]


def download(scratch: Path) -> list[Path]:
    """Download the packages; apt checks their signatures. Raises StageError("swift") for another one than is pinned."""
    debs = scratch / "debs"
    debs.mkdir()
    apt = ["apt-get", "-q", *apt_options(scratch / "apt")]
    run([*apt, "update"])
    run([*apt, "download", *swift.DEBS, *(f"{name}={version}" for name, (version, _) in swift.PINNED.items())], debs)
    for name, (_, expected) in swift.PINNED.items():
        (path,) = debs.glob(f"{name}_*.deb")
        if sha256_file(path) != expected:
            raise StageError(swift.STAGE, f"{path.name} has another sha256 than {swift.__name__} pins")
    return sorted(debs.glob("*.deb"))


def unpack(deb: Path, rootfs: Path, wanted: Sequence[str]) -> None:
    """Unpack a package into `rootfs`: all of it, or the paths that match `wanted`."""
    if not wanted:
        run(["dpkg", "-x", str(deb), str(rootfs)])
        return
    patterns = [f"./{path}" for path in wanted]
    with subprocess.Popen(["dpkg", "--fsys-tarfile", str(deb)], stdout=subprocess.PIPE) as archive:
        tar = ["tar", "-x", "-C", str(rootfs), "--wildcards", *patterns]
        done = subprocess.run(tar, stdin=archive.stdout, capture_output=True, text=True, check=False, timeout=LIMIT)
    if done.returncode or archive.returncode:
        raise StageError(swift.STAGE, f"{deb.name} cannot be unpacked: {done.stderr.strip()[-1500:]}")


def assemble() -> Path:
    """Return the userland, assembled if it does not exist. A lock keeps two processes from assembling it twice."""
    target = swift.userland()
    with locked(target.with_suffix(".lock")):
        if (target / swift.FILE).is_file():
            return target
        with staging_folder(target) as folder, tempfile.TemporaryDirectory() as scratch:
            sys.stderr.write(f"swift: assembling {target} (464 MB to download)\n")
            rootfs = folder / "rootfs"
            rootfs.mkdir()
            # The scripts of the C library's linker name /lib; Debian's packages hold files below /usr alone.
            for name in ("lib", "lib64"):
                (rootfs / name).symlink_to(f"usr/{name}")
            packages = {}
            for deb in download(Path(scratch)):
                name, version = run(["dpkg-deb", "--show", "--showformat=${Package} ${Version}", str(deb)]).split()
                unpack(deb, rootfs, swift.WANTED.get(name, ()))
                packages[name] = {"version": version, "sha256": sha256_file(deb)}
            files = {name: sha256_file(path) for name, path in swift.listed(folder)}
            write_text(folder / swift.FILE, dump_json({"packages": packages, "files": files}))
    return target


if __name__ == "__main__":
    try:
        if sys.argv[1:]:
            sys.exit("usage: swift_userland.py")
        sys.stdout.write(f"swift: {assemble()}\n")
    except HydraError as error:
        sys.exit(str(error))
