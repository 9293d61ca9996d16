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
    with locked(sysroot.sysroot().with_suffix(".setup.lock")):
        done = subprocess.run(
            ["bash", "scripts/setup.sh", "arm"], cwd=root, capture_output=True, text=True, check=False, timeout=500
        )
    assert done.returncode == 0, done.stdout + done.stderr
    return sysroot.verified()
