"""Each way to spoil an artifact fails its parity, in every runtime that runs it: a check that cannot fail proves
nothing. The seal is renewed after each edit, so that the numbers themselves must speak."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.evidence.parity import ParityRow
from benchmarks.parity.artifact import judge_artifact
from benchmarks.parity.bench import Bench
from benchmarks.runtime import GROUPS, REGISTRY, load_runtime, on_request
from hydramobile.artifact import Artifact, Entry, Port
from hydramobile.budget import load_budget
from hydramobile.goldens import load_goldens
from hydramobile.samples import load_samples
from hydramobile.spec import load_spec

Artifacts = Callable[[str, str, str], Path]
Reseal = Callable[..., Artifact]
Tensor = NDArray[np.generic]
# Two samples: an error is judged against how far the output moves between them.
SAMPLES = 2
RUNTIMES = {
    "onnxruntime": "onnx",
    "litert": "litert",
    "coreml-mil": "coreml",
    "tfjs-tensorflow": "tfjs",
    "tfjs-node": "tfjs",
}
EVERY = pytest.mark.parametrize("runtime", RUNTIMES)


@pytest.fixture(scope="module")
def bench(root: Path, build: Callable[[str], Path], model_dir: Callable[[str], Path]) -> Callable[[str], Bench]:
    def make(model: str) -> Bench:
        spec = load_spec(model_dir(model))
        samples = load_samples(spec, "judge")[:SAMPLES]
        return Bench(spec, load_budget(spec), load_goldens(spec, samples, spec.size, build(model)))

    return make


@pytest.fixture
def judged(bench: Callable[[str], Bench]) -> Callable[[str, str, Path], list[ParityRow]]:
    def judge(model: str, runtime: str, folder: Path) -> list[ParityRow]:
        adapter = load_runtime(runtime)
        missing = adapter.unavailable()
        if missing:
            pytest.skip(f"{runtime}: {missing}")
        return list(judge_artifact(bench(model), adapter, folder))

    return judge


@pytest.fixture
def spoilt(artifact: Artifacts, tmp_path: Path) -> Callable[[str, str], Path]:
    """A copy of an artifact folder that may be spoilt."""

    def copy(model: str, runtime: str) -> Path:
        return shutil.copytree(artifact(model, RUNTIMES[runtime], "float32"), tmp_path / "spoilt")

    return copy


Judged = Callable[[str, str, Path], list[ParityRow]]
Spoilt = Callable[[str, str], Path]


def mismatches(results: list[ParityRow]) -> list[ParityRow]:
    """The results that noticed; a failure to load is no judgement, so it is an error here."""
    assert [result for result in results if result.measures], [(r.verdict, r.stage, r.reason) for r in results]
    found = [result for result in results if result.verdict == "mismatch"]
    assert all("would have passed" in result.reason for result in found)
    return found


def ports(artifact: Artifact, change: Callable[[Port], Port], side: str = "inputs") -> Artifact:
    """The artifact with `change` applied to every port of one side."""

    def changed(entry: Entry) -> Entry:
        if side == "inputs":
            return replace(entry, inputs=tuple(change(port) for port in entry.inputs))
        return replace(entry, outputs=tuple(change(port) for port in entry.outputs))

    return replace(artifact, entries=tuple(changed(entry) for entry in artifact.entries))


def heaviest(folder: Path) -> Path:
    """The file that holds the weights."""
    files = [path for path in folder.rglob("*") if path.is_file() and "golden" not in path.parts]
    return max(files, key=lambda path: path.stat().st_size)


def test_every_runtime_is_here() -> None:
    # The reference; those with tests of their own: browsers, emulated and absent devices, extras.
    others = {"pytorch", "coreml-predict", "coreai", *GROUPS["browser"], *filter(on_request, REGISTRY)}
    assert set(REGISTRY) - set(RUNTIMES) == others, "a runtime without a sabotage test"


@EVERY
@pytest.mark.parametrize("model", ["classifier"])
def test_sound_files_pass(artifact: Artifacts, judged: Judged, runtime: str, model: str) -> None:
    results = judged(model, runtime, artifact(model, RUNTIMES[runtime], "float32"))
    assert [(result.verdict, result.reason) for result in results if result.verdict != "pass"] == []


@EVERY
def test_a_block_of_weight_bytes(spoilt: Spoilt, judged: Judged, reseal: Reseal, runtime: str) -> None:
    """512 bytes in the middle of the weights with a bit of each float's exponent flipped: still finite numbers."""
    folder = spoilt("classifier", runtime)
    path = heaviest(folder)
    data = np.frombuffer(path.read_bytes(), np.uint8).copy()
    # A run of plausible float32 weights, so that headers and names stay intact; formats align them to 4 bytes at least.
    middle = best_block(data)
    block = data[middle : middle + 512].view(np.uint8)
    block[2::4] ^= 0x80  # the lowest exponent bit
    block[3::4] ^= 0x80  # the sign
    path.write_bytes(data.tobytes())
    reseal(folder)
    assert mismatches(judged("classifier", runtime, folder))


def best_block(data: NDArray[np.uint8]) -> int:
    """The offset nearest to the middle at which 128 floats in a row look like weights."""
    middle = len(data) // 2
    for step in range(len(data) // 2 - 512):
        for offset in (middle + step, middle - step):
            values = data[offset : offset + 512].view("<f4") if offset % 4 == 0 else aligned(data, offset)
            if np.isfinite(values).all() and (np.abs(values) > 1e-4).mean() > 0.95 and np.abs(values).max() < 4:
                return offset
    raise AssertionError("no block of weights was found")


def aligned(data: NDArray[np.uint8], offset: int) -> NDArray[np.float32]:
    return np.frombuffer(data[offset : offset + 512].tobytes(), "<f4")


@EVERY
def test_a_swapped_output_name(spoilt: Spoilt, judged: Judged, reseal: Reseal, runtime: str) -> None:
    """`front` and `back` have one shape; only their values can tell."""
    folder = spoilt("mixed", runtime)

    def swap(entry: Entry) -> Entry:
        if {port.name for port in entry.outputs} != {"front", "back"}:
            return entry
        first, second = entry.outputs
        return replace(entry, outputs=(replace(first, name=second.name), replace(second, name=first.name)))

    reseal(folder, lambda artifact: replace(artifact, entries=tuple(map(swap, artifact.entries))))
    found = {result.entry for result in mismatches(judged("mixed", runtime, folder))}
    assert {"paint", "whole"} <= found


@EVERY
def test_a_layout_that_is_not_the_files(spoilt: Spoilt, judged: Judged, reseal: Reseal, runtime: str) -> None:
    """artifact.json says NHWC of an NCHW file, or the reverse: nothing passes."""
    folder = spoilt("classifier", runtime)

    def mix_up(port: Port) -> Port:
        return replace(port, layout="NHWC" if port.layout == "NCHW" else "NCHW", reference_layout="NCHW")

    reseal(folder, lambda artifact: ports(artifact, mix_up))
    results = judged("classifier", runtime, folder)
    assert {result.verdict for result in results if result.mode != "dtypes"} <= {"failed", "mismatch"}
    assert any(result.entry for result in results)


class Interleaved:
    """A runtime that is fed a photo's bytes pixel by pixel where its file wants planes, or the reverse."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def open(self, *arguments: Any) -> Interleaved:
        return Interleaved(self.inner.open(*arguments))

    def bind(self, inputs: Mapping[str, Tensor]) -> None:
        self.inner.bind({name: np.moveaxis(value, 1, -1).reshape(value.shape) for name, value in inputs.items()})


@EVERY
def test_channels_last_bytes_for_channels_first(
    artifact: Artifacts, bench: Callable[[str], Bench], runtime: str
) -> None:
    folder = artifact("classifier", RUNTIMES[runtime], "float32")
    results = list(judge_artifact(bench("classifier"), Interleaved(load_runtime(runtime)), folder))
    assert mismatches(results)
    assert not [result for result in results if result.verdict == "pass" and result.measures]


@EVERY
def test_a_missing_division_by_255(spoilt: Spoilt, judged: Judged, reseal: Reseal, runtime: str) -> None:
    folder = spoilt("classifier", runtime)
    reseal(folder, lambda artifact: ports(artifact, lambda port: replace(port, scale=port.scale * 255)))
    found = judged("classifier", runtime, folder)
    assert mismatches(found)
    assert not [result for result in found if result.verdict == "pass" and result.measures]
