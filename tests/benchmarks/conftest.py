"""Fixtures of the tests that run ARM code."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.runtimes.arm import sysroot
from models.files import locked


@pytest.fixture(scope="session")
def arm(root: Path) -> Path:
    """The ARM userland, assembled where it is not there yet (85 MB are downloaded, once a machine)."""
    if sys.platform != "linux" or shutil.which("apt-get") is None:
        pytest.skip("the ARM userland is made from Debian's packages")
    if shutil.which(sysroot.QEMU) is None and os.geteuid() != 0 and shutil.which("sudo") is None:
        pytest.skip(f"{sysroot.QEMU} is not installed, and only root can install it")
    set_up(root, "arm")
    return sysroot.verified()


@pytest.fixture(scope="session")
def adb_client(root: Path) -> None:
    """The system's adb client, installed where it is missing and may be."""
    if shutil.which("adb") is None and (
        shutil.which("apt-get") is None or (os.geteuid() != 0 and shutil.which("sudo") is None)
    ):
        pytest.skip("adb is not installed, and nothing here may install it; run: bash scripts/setup.sh android")
    set_up(root, "android")
    assert shutil.which("adb"), "scripts/setup.sh android installed no adb"


def set_up(root: Path, what: str) -> None:
    """`scripts/setup.sh what`, one at a time: two of the system's package managers refuse to run beside each other."""
    with locked(sysroot.sysroot().with_suffix(".setup.lock")):
        done = subprocess.run(
            ["bash", "scripts/setup.sh", what], cwd=root, capture_output=True, text=True, check=False, timeout=500
        )
    assert done.returncode == 0, done.stdout + done.stderr
