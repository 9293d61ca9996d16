"""Every sabotage is found where it was done: at the layer by tensor name, or at the module by its boundary."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file

from benchmarks.optional import Tracer
from benchmarks.parity.bisect import (
    FLOAT32,
    Sealed,
    bisect_artifact,
    bisect_boundaries,
    bisect_entry,
    first_divergence,
    summary,
)
from benchmarks.parity.run import run_parity
from benchmarks.request import Request
from benchmarks.runtime import load_runtime
from hydramobile.artifact import Artifact, Entry, Port, read_artifact
from hydramobile.goldens import Golden, load_goldens
from hydramobile.samples import load_samples
from hydramobile.spec import load_spec

Artifacts = Callable[[str, str, str], Path]
Reseal = Callable[..., Artifact]
Tensor = NDArray[np.generic]
RUNTIMES = {"onnxruntime": "onnx", "litert": "litert", "coreml-mil": "coreml", "tfjs-tensorflow": "tfjs"}
EVERY = pytest.mark.parametrize("runtime", RUNTIMES)
# The squeeze of the last block: the only tensor of the net with as many values, and no normalization to fold in.
LAYER, SIZE = "features.6.layers.5.reduce", 30
pytestmark = pytest.mark.filterwarnings("ignore:Warning. Enabling .experimental_preserve_all_tensors")


@pytest.fixture(scope="module")
def golden_of(build: Callable[[str], Path], model_dir: Callable[[str], Path]) -> Callable[[str], Golden]:
    def load(model: str) -> Golden:
        spec = load_spec(model_dir(model))
        return load_goldens(spec, load_samples(spec, "judge")[:1], spec.size, build(model))[0]

    return load


@pytest.fixture
def spoilt(artifact: Artifacts, tmp_path: Path) -> Callable[[str, str], tuple[Path, Path]]:
    """A copy of a float32 artifact folder that may be spoilt, and the sound one."""

    def copy(model: str, runtime: str) -> tuple[Path, Path]:
        sound = artifact(model, RUNTIMES[runtime], "float32")
        return shutil.copytree(sound, tmp_path / "spoilt"), sound

    return copy


Spoilt = Callable[[str, str], tuple[Path, Path]]
GoldenOf = Callable[[str], Golden]


def replace_weight(folder: Path, value: NDArray[np.float32]) -> None:
    """Negate a weight wherever the files hold its bytes, in any order of its axes."""
    images = {np.ascontiguousarray(axes).tobytes() for axes in (value, value.transpose(2, 3, 1, 0))}
    negated = {image: (-np.frombuffer(image, np.float32)).tobytes() for image in images}
    found = 0
    for path in folder.rglob("*"):
        if path.is_file() and "golden" not in path.parts:
            data = path.read_bytes()
            for image, other in negated.items():
                found += data.count(image)
                data = data.replace(image, other)
            path.write_bytes(data)
    assert found, "the weight is not in the files"


@EVERY
def test_a_layer_with_other_weights(
    spoilt: Spoilt, reseal: Reseal, golden_of: GoldenOf, root: Path, runtime: str
) -> None:
    folder, sound = spoilt("classifier", runtime)
    weights = load_file(root / "tests/nets/classifier/weights.safetensors")
    replace_weight(folder, weights[f"classifier.{LAYER}.weight"])
    artifact = reseal(folder)
    adapter: Any = load_runtime(runtime)
    golden = golden_of("classifier")

    (entry,) = artifact.entries
    candidate = Sealed(folder, artifact)
    found = bisect_entry(adapter, entry.id, candidate, Sealed(sound, read_artifact(sound)), golden)

    assert found.tensor is not None and found.error > 0.1 and found.before <= FLOAT32, found
    inputs = {port.name: golden.value(port.name) for port in entry.inputs}
    assert bisect_boundaries(adapter, candidate, golden).tensor == "classifier.scores"
    assert isinstance(adapter, Tracer) and adapter.trace(folder, entry, inputs)[found.tensor].size == SIZE
    assert found.kernels == adapter.trace_kernels != ""


@EVERY
def test_a_sound_file_leaves_nowhere(artifact: Artifacts, golden_of: GoldenOf, runtime: str) -> None:
    folder = artifact("mixed", RUNTIMES[runtime], "float32")
    same = Sealed(folder, read_artifact(folder))
    rows = bisect_artifact(load_runtime(runtime), same, same, golden_of("mixed"))
    assert len(rows) > 3
    assert all(row.tensor is None and row.compared > 0 for row in rows), rows
    assert summary(rows) == "leaves nowhere"


@EVERY
def test_swapped_outputs_at_their_module(spoilt: Spoilt, reseal: Reseal, golden_of: GoldenOf, runtime: str) -> None:
    """No tensor of the file is wrong: the boundary is, and of the module that was renamed."""
    folder, sound = spoilt("mixed", runtime)

    def swap(entry: Entry) -> Entry:
        if entry.name != "paint":
            return entry
        first, second = entry.outputs
        return replace(entry, outputs=(replace(first, name=second.name), replace(second, name=first.name)))

    artifact = reseal(folder, lambda found: replace(found, entries=tuple(map(swap, found.entries))))
    truth = Sealed(sound, read_artifact(sound))
    rows = bisect_artifact(load_runtime(runtime), Sealed(folder, artifact), truth, golden_of("mixed"))
    assert rows[0].tensor in ("paint.front", "paint.back")
    assert all(row.tensor is None for row in rows[1:])


def change_inputs(artifact: Artifact, change: Callable[[Port], Port]) -> Artifact:
    entries = [replace(entry, inputs=tuple(map(change, entry.inputs))) for entry in artifact.entries]
    return replace(artifact, entries=tuple(entries))


def mix_up(port: Port) -> Port:
    return replace(port, layout="NHWC" if port.layout == "NCHW" else "NCHW", reference_layout="NCHW")


@EVERY
@pytest.mark.parametrize(
    "change", [lambda port: replace(port, scale=port.scale * 255), mix_up], ids=["missing-255", "layout"]
)
def test_a_wrong_input_before_any_layer(
    spoilt: Spoilt, reseal: Reseal, golden_of: GoldenOf, runtime: str, change: Callable[[Port], Port]
) -> None:
    """The first tensor of all is off, or the file refuses the input by its name."""
    folder, sound = spoilt("classifier", runtime)
    artifact = reseal(folder, lambda found: change_inputs(found, change))
    truth = Sealed(sound, read_artifact(sound))
    rows = bisect_artifact(load_runtime(runtime), Sealed(folder, artifact), truth, golden_of("classifier"))
    if rows[0].tensor is None:
        assert "image" in rows[0].reason and summary(rows) == f"not compared: {rows[0].reason}"
        return
    assert rows[0].tensor == "classifier.scores"
    assert rows[1].tensor is not None and rows[1].compared == 1, rows[1]


@EVERY
def test_interleaved_bytes_before_any_layer(artifact: Artifacts, golden_of: GoldenOf, runtime: str) -> None:
    folder = artifact("classifier", RUNTIMES[runtime], "float32")
    (entry,) = read_artifact(folder).entries
    golden, adapter = golden_of("classifier"), load_runtime(runtime)
    assert isinstance(adapter, Tracer)
    inputs = {port.name: golden.value(port.name) for port in entry.inputs}
    pixels = {name: np.moveaxis(value, 1, -1).reshape(value.shape) for name, value in inputs.items()}
    spoilt, sound = (adapter.trace(folder, entry, given) for given in (pixels, inputs))
    found = first_divergence(spoilt, sound, FLOAT32, "")
    assert found.tensor is not None and found.compared == 1


def test_a_runtime_that_shows_no_tensors_says_so(
    artifact: Artifacts, golden_of: GoldenOf, out_with: Callable[..., Path], model_dir: Callable[[str], Path]
) -> None:
    """Its modules are still compared at their boundaries, and the row of parity is "unavailable" with the reason."""
    folders = [artifact("classifier", "tfjs", recipe) for recipe in ("float32", "float16")]
    runtime = load_runtime("tfjs-node")
    assert not isinstance(runtime, Tracer)
    candidate, truth = (Sealed(folder, read_artifact(folder)) for folder in reversed(folders))
    boundary, *layers = bisect_artifact(runtime, candidate, truth, golden_of("classifier"))
    assert boundary.compared == 1 and not boundary.reason
    assert {row.reason for row in layers} == {"tfjs-node shows no intermediate tensors"}

    request = Request(
        load_spec(model_dir("classifier")),
        out_with("classifier", *folders),
        only=(("tfjs", "float16"),),
        runtimes=("tfjs-node",),
        bisect=True,
    )
    (row,) = (row for row in run_parity(request).results if row.mode == "bisect")
    assert row.verdict == "unavailable"
    assert row.reason == "leaves nowhere; not compared: tfjs-node shows no intermediate tensors"
