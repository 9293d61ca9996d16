"""Hashes, atomic writes of files and folders, and a file lock.

Everything that writes an output goes through here, so that a killed process or a full disk leaves the previous file or
folder untouched.
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from hydramobile.errors import StageError


def sha256_bytes(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def canonical_json(value: Any) -> str:
    """Return JSON with sorted keys, without spaces and NaN: equal values give equal text, so it can be hashed."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def dump_json(value: Any) -> str:
    """Return JSON for people and scripts: indented, keys in the given order, with a newline at the end."""
    return json.dumps(value, indent=2, allow_nan=False) + "\n"


def write_text(path: Path, text: str) -> None:
    """Replace `path` by `text` in one step."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Replace `path` by `data` in one step. The old file stays until the new one is complete and synced."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        # mkstemp creates 0600; an output is as readable as any other file of the user.
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(name, 0o666 & ~umask)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def refuse_special(path: Path, stage: str) -> None:
    """Raise StageError(`stage`) for a pipe, a device or a folder, also behind a link: reading it may never end."""
    if path.exists() and not path.is_file():
        raise StageError(stage, f"{path} is no regular file")


def read_json(path: Path, stage: str) -> Any:
    """Parse a JSON file. Raises StageError(`stage`) that names the file when it is missing or malformed."""
    refuse_special(path, stage)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise StageError(stage, f"{path} does not exist") from error
    except (OSError, ValueError, RecursionError) as error:  # ValueError: encoding, syntax, a number too long to read
        raise StageError(stage, f"{path} is not readable JSON: {error}") from error


def set_aside(path: Path, reason: str) -> Path:
    """Rename a damaged file to `<name>.broken`, say so on stderr, and return the new path.

    It is for files that the product can make again: the caller goes on as if there were none.
    """
    broken = path.with_name(path.name + ".broken")
    os.replace(path, broken)
    sys.stderr.write(f"note: {' '.join(reason.split())}; it is kept as {broken}, and made again\n")
    return broken


@contextmanager
def staging_folder(destination: Path) -> Iterator[Path]:
    """Provide a temporary folder beside `destination` that replaces it when the block ends without an error.

    Both change places in one step where the file system can (see `exchange`), and the old one is removed. A reader
    sees the old folder, then the new one, and never a mixture or none. On an error the old folder stays. A killed
    process leaves the temporary folder, which `sweep` removes.
    """
    destination.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(dir=destination.parent, prefix=f".{destination.name}.new-"))
    try:
        staging.chmod(0o755)
        yield staging
        replace_folder(staging, destination)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


def replace_folder(staging: Path, destination: Path) -> None:
    """Move `staging` to `destination`, and remove the old folder. It is restored when that fails."""
    if destination.exists() and exchange(staging, destination):
        shutil.rmtree(staging, ignore_errors=True)
        return
    retired = staging.with_name(staging.name + ".old")
    if destination.exists():
        os.rename(destination, retired)
    try:
        os.rename(staging, destination)
    except BaseException:
        if retired.exists():
            os.rename(retired, destination)
        raise
    shutil.rmtree(retired, ignore_errors=True)


def exchange(first: Path, second: Path) -> bool:
    """Let two paths change places in one step; return False where the system or the file system cannot.

    Linux has renameat2 with RENAME_EXCHANGE, macOS renamex_np with RENAME_SWAP; Python has neither.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    paths = os.fsencode(first), os.fsencode(second)
    try:
        if sys.platform == "darwin":
            return int(libc.renamex_np(*paths, ctypes.c_uint(2))) == 0
        here = ctypes.c_int(-100)  # AT_FDCWD
        return int(libc.renameat2(here, paths[0], here, paths[1], ctypes.c_uint(2))) == 0
    except AttributeError:  # an older C library
        return False


def sweep(folder: Path) -> None:
    """Remove the temporary folders that killed processes left beside `folder`/<name>.

    Whoever writes <name> holds the lock of `lock_of`: folders of a process that still works stay.
    """
    for path in folder.glob(".*.new-*"):
        name = path.name[1:].rpartition(".new-")[0]
        with lock_of(folder / name).open("a") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                continue
            shutil.rmtree(path, ignore_errors=True)


def lock_of(destination: Path) -> Path:
    """Return the lock file that is held while `destination` is written."""
    return destination.parent / f".{destination.name}.lock"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive advisory lock on `path`, which is created if absent, while the block runs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(stream, fcntl.LOCK_UN)


def inside(root: Path, relative: str, stage: str) -> Path:
    """Return `root / relative`.

    Raises StageError(`stage`) when `relative` is absolute, holds `..`, or leaves `root` through a symbolic link.
    """
    pure = PurePosixPath(relative)
    if not relative or pure.is_absolute() or ".." in pure.parts or "\\" in relative or "\0" in relative:
        raise StageError(stage, f"path {relative!r} must be relative and stay inside {root}")
    path = root / pure
    if not path.resolve().is_relative_to(root.resolve()):
        raise StageError(stage, f"path {relative!r} leaves {root} through a symbolic link")
    return path
