"""A write either completes or leaves the old file untouched."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from hydramobile.errors import StageError
from hydramobile.files import inside, staging_folder, write_bytes, write_text


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_write_replaces_and_is_readable_by_others(tmp_path: Path) -> None:
    write_text(tmp_path / "deep/file", "old")
    write_text(tmp_path / "deep/file", "new")
    assert (tmp_path / "deep/file").read_text() == "new"
    assert names(tmp_path / "deep") == ["file"]
    (tmp_path / "plain").write_text("")
    assert (tmp_path / "deep/file").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_full_disk_keeps_the_old_file(tmp_path: Path) -> None:
    """A file-size limit simulates a full disk: the write fails."""
    write_bytes(tmp_path / "file", b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            write_bytes(tmp_path / "file", bytes(5000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert (tmp_path / "file").read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_folder_replaces_the_old_one(tmp_path: Path) -> None:
    for text in ("old", "new"):
        with staging_folder(tmp_path / "made") as staging:
            (staging / text).write_text(text)
            assert not (tmp_path / "made/new").exists()
    assert names(tmp_path / "made") == ["new"]
    assert names(tmp_path) == ["made"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_an_error_keeps_the_old_folder(tmp_path: Path, error: type[BaseException]) -> None:
    (tmp_path / "made").mkdir()
    (tmp_path / "made/old").write_text("old")
    with pytest.raises(error), staging_folder(tmp_path / "made") as staging:
        (staging / "new").write_text("half")
        raise error
    assert names(tmp_path / "made") == ["old"]
    assert names(tmp_path) == ["made"]


def test_a_kill_keeps_the_old_folder(tmp_path: Path, root: Path) -> None:
    (tmp_path / "made").mkdir()
    (tmp_path / "made/old").write_text("old")
    program = """
        import os, signal, sys
        from pathlib import Path
        from hydramobile.files import staging_folder
        with staging_folder(Path(sys.argv[1])) as staging:
            (staging / "new").write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), str(tmp_path / "made")], cwd=root, check=False, timeout=60
    )
    assert done.returncode == -signal.SIGKILL
    assert names(tmp_path / "made") == ["old"]
    with staging_folder(tmp_path / "made") as staging:
        (staging / "new").write_text("whole")
    assert names(tmp_path / "made") == ["new"], "what the killed one left must not stand in the way"


# Processes of their own, not forks: other tests of this run may have loaded libraries that threads run in.
ADD_FIFTY = """
import sys
from pathlib import Path
from hydramobile.files import locked, write_text

path = Path(sys.argv[1])
for _ in range(50):
    with locked(path.with_suffix(".lock")):
        write_text(path, str(int(path.read_text()) + 1))
"""


def test_lock_excludes(tmp_path: Path, root: Path) -> None:
    path = tmp_path / "count"
    path.write_text("0")
    workers = [subprocess.Popen([sys.executable, "-c", ADD_FIFTY, str(path)], cwd=root) for _ in range(4)]
    assert [worker.wait(60) for worker in workers] == [0, 0, 0, 0]
    assert path.read_text() == "200"


@pytest.mark.parametrize("relative", ["", "/etc/passwd", "..", "a/../../b", "a\\b", "a\0b"])
def test_inside_refuses(tmp_path: Path, relative: str) -> None:
    with pytest.raises(StageError, match="must be relative and stay inside"):
        inside(tmp_path, relative, "stage")


def test_inside_follows_links_out(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root/out").symlink_to(tmp_path)
    with pytest.raises(StageError, match="through a symbolic link"):
        inside(tmp_path / "root", "out/file", "stage")
    assert inside(tmp_path / "root", "a/b.bin", "stage") == tmp_path / "root/a/b.bin"
