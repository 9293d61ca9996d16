"""The layers of the code hold, and the contracts that say so really bite."""

from __future__ import annotations

import shutil
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest

PACKAGES = ("hydramobile", "reference", "export", "benchmarks", "demo", "ship")


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)


def test_import_contracts_hold(root: Path) -> None:
    result = lint_imports(root)
    assert result.returncode == 0, result.stdout + result.stderr


def test_no_module_imports_itself_through_others() -> None:
    """Type annotations and imports inside functions count, and so does a package's __init__ as a module."""
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    modules = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    assert "export.quantize.plan" in modules["export.targets.onnx.target"]
    try:
        TopologicalSorter(modules).prepare()
    except CycleError as error:
        pytest.fail(f"an import circle: {' <- '.join(error.args[1])}")


@pytest.mark.parametrize(
    ("file", "line", "contract"),
    [
        ("hydramobile/intruder.py", "import export.target", "hydramobile is the ground floor"),
        ("benchmarks/intruder.py", "import reference.hydra", "meet on disk"),
        ("export/intruder.py", "import benchmarks.runtime", "meet on disk"),
        ("benchmarks/intruder.py", "import torch", "torch:"),
        ("export/targets/onnx/intruder.py", "def lazy():\n    import coremltools.models", "coremltools:"),
        ("benchmarks/runtimes/litert/intruder.py", "import tensorflow", "tensorflow:"),
        ("export/intruder.py", "import litert_torch", "LiteRT's converter"),
        ("benchmarks/intruder.py", "from ai_edge_litert import interpreter", "LiteRT's interpreter"),
        ("export/intruder.py", "import onnx", "onnx:"),
        ("reference/intruder.py", "import onnxruntime", "onnxruntime:"),
        ("export/verify/intruder.py", "from export.target import Emitted", "export is layered"),
        ("export/quantize/intruder.py", "def lazy():\n    import export.driver", "export is layered"),
        ("export/intruder.py", "# in no layer", "export is layered"),
        ("export/quantize/grids.py", "import export.quantize.plan", "export.quantize is layered"),
        ("hydramobile/errors.py", "import hydramobile.spec", "imports in a circle"),
        ("export/targets/first.py", "import export.targets.second", "no target knows"),
        ("benchmarks/runtimes/first.py", "import benchmarks.runtimes.second", "no runtime knows"),
    ],
)
def test_import_contracts_bite(root: Path, tmp_path: Path, file: str, line: str, contract: str) -> None:
    shutil.copy(root / "pyproject.toml", tmp_path)
    for package in PACKAGES:
        for source in (root / package).rglob("*.py"):
            copy = tmp_path / source.relative_to(root)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, copy)
    for name in ("export/targets/first.py", "export/targets/second.py"):
        (tmp_path / name).touch()
    for name in ("benchmarks/runtimes/first.py", "benchmarks/runtimes/second.py"):
        (tmp_path / name).touch()
    intruder = tmp_path / file
    intruder.parent.mkdir(exist_ok=True)
    (intruder.parent / "__init__.py").touch()
    intruder.write_text(line + "\n")

    result = lint_imports(tmp_path)

    assert result.returncode == 1, result.stdout + result.stderr
    broken = result.stdout.partition("Broken contracts")[2]
    assert contract in broken, result.stdout
