"""Find what a command imports."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

VENDORS = {
    "ai_edge_litert",
    "ai_edge_quantizer",
    "coremltools",
    "jax",
    "keras",
    "litert_converter",
    "litert_torch",
    "matplotlib",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "scipy",
    "tensorflow",
    "torch",
    "transformers",
}
IMPORTED = re.compile(r"^import time:\s+\d+ \|\s+\d+ \|\s*(\S+)$", re.MULTILINE)


def imported_by(root: Path, folder: Path, words: Sequence[str]) -> tuple[subprocess.CompletedProcess[str], set[str]]:
    """Run `python -m WORDS` in a folder. Return (the ended process, the top-level modules that it imported)."""
    command = [sys.executable, "-X", "importtime", "-m", *words]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    modules = {name.split(".")[0] for name in IMPORTED.findall(done.stderr)}
    assert "typing" in modules, "the import log was not understood"
    return done, modules
