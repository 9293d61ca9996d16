"""Judging needs no torch: the committed goldens hold what the reference computes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

STUB = """
import importlib.abc, importlib.util, sys

class NoTorch(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError(f"No module named {name!r} (blocked by a test)", name=name)
        return None

sys.meta_path.insert(0, NoTorch())
find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name == "torch" else find_spec(name, package)
"""


def test_parity_of_the_portrait(
    artifact: Callable[[str, str, str], Path], command: Callable[..., Any], root: Path, tmp_path: Path
) -> None:
    import shutil

    folder = artifact("portrait", "onnx", "float32")
    shutil.copytree(folder, tmp_path / "out/portrait/onnx/float32")
    (tmp_path / "blocked").mkdir()
    (tmp_path / "blocked/sitecustomize.py").write_text(STUB)
    env = {"PYTHONPATH": str(tmp_path / "blocked")}
    proof = command("timeit", "-n1", "-r1", "import torch", env=env)
    assert "blocked by a test" in proof.err, "the block does not hold"

    done = command(
        *("benchmarks", "parity", "--model", root / "models/portrait", "--out", tmp_path / "out", "--json"),
        *("--runtime", "onnxruntime"),
        env=env,
    )

    assert done.code == 0, done.err
    document = json.loads(done.out)
    assert len(document["samples"]) == 2
    assert document["samples_asked"] > 2, "the report says how many were not judged"
    assert {row["mode"] for row in document["results"]} == {"dtypes", "direct", "boundary", "chain", "labels"}
    assert {row["verdict"] for row in document["results"]} == {"pass"}
