"""The MIL evaluator on real packages: parity with the reference, refusals, and Apple's runtime away from a Mac."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.runtime import load_runtime, run
from benchmarks.runtimes.coreml_mil import MILRuntime
from benchmarks.runtimes.coreml_mil.program import Literal, load_function, read_model
from hydramobile.artifact import Entry, read_artifact
from hydramobile.errors import StageError
from support.fixtures import Artifacts, Golden

BLOB = "Data/com.apple.CoreML/weights/weight.bin"
MODEL = "Data/com.apple.CoreML/model.mlmodel"
# Mean absolute error of the outputs, all of them in [0, 1].
MEANS = {"float32": 1e-5, "float16": 1e-3, "w8": 6e-3}


def open_and_run(folder: Path, entry: Entry, values: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    with MILRuntime().open(folder, entry) as session:
        return run(session, {port.name: values[port.name] for port in entry.inputs})


@pytest.fixture
def copied(artifact: Artifacts, tmp_path: Path) -> Path:
    """A copy of the classifier's artifact, for tests that damage it."""
    return Path(shutil.copytree(artifact("classifier", "coreml", "float32"), tmp_path / "copy"))


@pytest.mark.parametrize("name", MEANS)
def test_portrait_agrees_with_the_reference(artifact: Artifacts, golden: Golden, name: str) -> None:
    folder, values = artifact("portrait", "coreml", name), golden("portrait")
    for entry in read_artifact(folder).entries:
        outputs = open_and_run(folder, entry, values)
        for port in entry.outputs:
            error = np.abs(outputs[port.name] - values[port.name])
            if port.judge:
                assert error.mean() <= MEANS[name], (entry.id, port.name)
            if name == "float32":
                assert error.max() <= 1e-4 * max(1.0, float(np.abs(values[port.name]).max())), (entry.id, port.name)


def test_separate_packages_equal_the_functions(artifact: Artifacts, golden: Golden) -> None:
    folder, values = artifact("portrait", "coreml", "w8"), golden("portrait")
    sealed = read_artifact(folder)
    for name in ("depth", "portrait"):
        merged, separate = (open_and_run(folder, sealed.entry(i), values) for i in (name, f"{name}@separate"))
        assert all(np.array_equal(merged[key], separate[key]) for key in merged)


def test_encoder_then_head_agrees_with_the_fused_entry(artifact: Artifacts, golden: Golden) -> None:
    folder, values = artifact("portrait", "coreml", "float16"), golden("portrait")
    sealed = read_artifact(folder)
    features = open_and_run(folder, sealed.entry("encoder"), values)
    split = open_and_run(folder, sealed.entry("depth"), {**values, **features})["depth"]
    fused = open_and_run(folder, sealed.entry("portrait"), values)["depth"]
    assert np.abs(split - fused).mean() < 1e-3


def test_classifier(artifact: Artifacts, golden: Golden) -> None:
    folder, values = artifact("classifier", "coreml", "float32"), golden("classifier")
    (entry,) = read_artifact(folder).entries
    outputs = open_and_run(folder, entry, values)
    for port in entry.outputs:
        assert np.abs(outputs[port.name] - values[port.name]).max() < 1e-5


def test_dtypes_are_read_from_the_file(artifact: Artifacts) -> None:
    runtime = MILRuntime()
    sizes = {}
    for name in MEANS:
        folder = artifact("portrait", "coreml", name)
        sizes[name] = runtime.read_dtypes(folder, read_artifact(folder).entry("portrait"))
    assert set(sizes["float32"]) == {"float32"} and set(sizes["float16"]) == {"float16"}
    assert sizes["w8"]["int8"] > 0.9 * sum(sizes["w8"].values())
    assert sizes["float32"]["float32"] == 2 * sizes["float16"]["float16"]


def test_intermediate_values_are_observed_by_name(artifact: Artifacts, golden: Golden) -> None:
    folder = artifact("classifier", "coreml", "float32")
    (entry,) = read_artifact(folder).entries
    names: list[str] = []
    with MILRuntime().open(folder, entry) as session:
        session.observe = lambda name, value: names.append(name)
        run(session, {port.name: golden("classifier")[port.name] for port in entry.inputs})
    assert set(names) >= {port.file_name for port in entry.outputs} and len(names) > 20


def test_flipped_weight_bytes_change_the_outputs(copied: Path, golden: Golden) -> None:
    (entry,) = read_artifact(copied).entries
    before = open_and_run(copied, entry, golden("classifier"))
    function = load_function(copied / entry.file, None)
    constants = [arg for op in function.operations for arg in op.arguments.values() if isinstance(arg, Literal)]
    largest = max((arg for arg in constants if arg.blob), key=lambda arg: arg.size)
    assert largest.blob is not None
    path = copied / entry.file / BLOB
    data = bytearray(path.read_bytes())
    # A blob is 64 bytes of metadata, then its elements.
    start = largest.blob[1] + 64
    for index in range(start, start + largest.size // 2):
        data[index] ^= 0x3F
    path.write_bytes(data)
    after = open_and_run(copied, entry, golden("classifier"))
    assert any(not np.allclose(before[key], after[key], atol=1e-3) for key in before)


def test_unknown_ops_are_named_before_anything_runs(copied: Path) -> None:
    (entry,) = read_artifact(copied).entries
    model = read_model(copied / entry.file)
    function = model.mlProgram.functions["main"]
    operations = function.block_specializations[function.opset].operations
    next(op for op in operations if op.type == "conv").type = "warp_drive"
    (copied / entry.file / MODEL).write_bytes(model.SerializeToString())
    with pytest.raises(StageError, match=r"unsupported ops \['warp_drive'\] \(supported: .*conv_transpose"):
        MILRuntime().open(copied, entry)


def test_damaged_packages_are_clear_errors(copied: Path) -> None:
    (entry,) = read_artifact(copied).entries
    runtime, blob = MILRuntime(), copied / entry.file / BLOB
    with pytest.raises(StageError, match=r"no function 'encoder' \(available: main\)"):
        runtime.open(copied, replace(entry, function="encoder"))
    with pytest.raises(StageError, match=r"outputs \['nothing'\] do not match the file's"):
        runtime.open(copied, replace(entry, outputs=(replace(entry.outputs[0], file_name="nothing"),)))
    blob.write_bytes(blob.read_bytes()[: blob.stat().st_size // 2])
    with pytest.raises(StageError, match=r"truncated|no blob"):
        runtime.open(copied, entry)
    blob.unlink()
    with pytest.raises(StageError, match="does not exist"):
        runtime.open(copied, entry)
    (copied / entry.file / MODEL).write_bytes(b"\xff\xff\xff")
    with pytest.raises(StageError, match="not a Core ML model"):
        runtime.open(copied, entry)
    (copied / entry.file / MODEL).unlink()
    with pytest.raises(StageError, match=r"not an \.mlpackage"):
        runtime.open(copied, entry)


def test_wrong_input_shapes_are_refused(copied: Path, golden: Golden) -> None:
    (entry,) = read_artifact(copied).entries
    with MILRuntime().open(copied, entry) as session:
        with pytest.raises(StageError, match="no inputs are bound"):
            session.invoke()
        with pytest.raises(StageError, match="has shape"):
            session.bind({port.name: golden("classifier")[port.name][..., :-1] for port in entry.inputs})


def test_it_needs_neither_torch_nor_the_converter(artifact: Artifacts, root: Path) -> None:
    script = """
import sys
for name in ("torch", "tensorflow", "coremltools"):
    sys.modules[name] = None
from pathlib import Path
import numpy as np
del sys.modules["coremltools"]
from benchmarks.runtime import load_runtime, run
from hydramobile.artifact import read_artifact
folder = Path(sys.argv[1])
(entry,) = read_artifact(folder).entries
session = load_runtime("coreml-mil").open(folder, entry)
shape = entry.inputs[0].shape
outputs = run(session, {entry.inputs[0].name: np.full((1, 3, shape[1], shape[2]), 0.5, np.float32)})
assert "coremltools" not in sys.modules
print(sorted(outputs))
"""
    command = [sys.executable, "-c", script, str(artifact("classifier", "coreml", "float32"))]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(sys.platform == "darwin", reason="Core ML itself is there")
def test_apples_runtime_says_why_it_is_not_here(artifact: Artifacts) -> None:
    runtime = load_runtime("coreml-predict")
    assert "macOS only" in (runtime.unavailable() or "")
    assert runtime.version()["compute_units"] == "CPU_ONLY"
    folder = artifact("classifier", "coreml", "float32")
    with pytest.raises(StageError, match="macOS only"):
        runtime.open(folder, read_artifact(folder).entries[0])
