"""Core ML static int8: the integers in the packages, the agreement of modules and fused entry, and refusals."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from export.driver import export
from export.program import Program, calibrate, capture
from export.targets.coreml import static
from export.targets.coreml.package import body, read_model
from hydramobile.artifact import artifact_folder, list_files, read_artifact
from hydramobile.errors import StageError
from hydramobile.measures import snr
from hydramobile.samples import load_samples
from hydramobile.spec import load_spec
from support.emit import convert, emit, run_sealed

# Vendors warn: coremltools leaves its temporary folders to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

Artifacts = Callable[[str, str, str], Path]
Golden = Callable[[str], dict[str, NDArray[Any]]]
ENTRIES = ("encoder", "depth", "segmentation", "portrait")


def operations(folder: Path, entry: str) -> list[Any]:
    model = read_model(folder / "separate" / f"{entry}.mlpackage")
    return list(body(model.mlProgram.functions["main"]).operations)


def argument(op: Any, key: str) -> str:
    return str(op.inputs[key].arguments[0].name)


def test_the_portrait_within_the_ceilings(artifact: Artifacts, out_with: Callable[..., Path], command: Any) -> None:
    """Worst of 12 photos, in every mode: matte IoU .980, order flips 4 %."""
    out = out_with("portrait", artifact("portrait", "coreml", "w8a8"))
    done = command("benchmarks", "parity", "--out", out, "--runtime", "coreml-mil", "--json")
    assert done.code == 0, done.verdict
    rows = json.loads(done.out)["results"]
    measures = [measure for row in rows if row["mode"] != "drawn" for measure in row["measures"]]
    assert min(m["value"] for m in measures if m["metric"] == "iou") >= 0.980
    assert max(m["value"] for m in measures if m["metric"] == "order_flips") <= 0.04
    assert {row["mode"] for row in rows} >= {"direct", "boundary", "chain", "dtypes"}


def test_integer_layers_of_the_portrait(artifact: Artifacts) -> None:
    """A convolution that reads integers has integer weights; every other convolution has neither."""
    folder = artifact("portrait", "coreml", "w8a8")
    floats = {}
    for entry in ENTRIES:
        ops = operations(folder, entry)
        maker = {row.name: op.type for op in ops for row in op.outputs}
        layers = [op for op in ops if op.type == "conv"]
        kinds = [(maker.get(argument(op, "x")), maker[argument(op, "weight")]) for op in layers]
        integer = ("dequantize", "constexpr_affine_dequantize")
        assert all((x == integer[0]) == (w == integer[1]) for x, w in kinds), entry
        floats[entry] = sum(kind != integer for kind in kinds)
        assert floats[entry] < len(layers) / 6
    # Stem and first block of the encoder, the last convolution of each head: few layers, .1 % of the weights.
    assert floats == {"encoder": 3, "depth": 1, "segmentation": 1, "portrait": 5}
    assert read_artifact(folder).requires == {"ios": "18.0", "ios-separate": "17.0"}


def test_scales_are_exact_in_float16(artifact: Artifacts) -> None:
    """A scale that float16 rounds would move every element of its tensor."""
    ops = operations(artifact("portrait", "coreml", "w8a8"), "portrait")
    constants = {op.outputs[0].name: op.attributes["val"].immediateValue.tensor for op in ops if op.type == "const"}
    scales = {
        name: np.frombuffer(held.bytes.values, np.float16)[0]
        for name, held in constants.items()
        if len(held.bytes.values) == 2
    }
    for op in ops:
        if op.type not in ("quantize", "dequantize"):
            continue
        value = scales[argument(op, "scale")]
        assert static.LEAST_SCALE <= value < 100


@pytest.mark.parametrize("model", ["classifier", "mixed"])
def test_other_nets_keep_their_signal(artifact: Artifacts, golden: Golden, model: str) -> None:
    folder = artifact(model, "coreml", "w8a8")
    tensors = golden(model)
    for entry in read_artifact(folder).entries:
        for name, value in run_sealed(folder, entry.id, tensors).items():
            wanted = tensors[name].astype(np.float64)
            noise = float(np.square(value - wanted).sum())
            assert snr(float(np.square(wanted - wanted.mean()).sum()), noise) > 8, (entry.id, name)


@pytest.mark.parametrize("model", ["portrait", "mixed"])
def test_module_after_module_is_the_fused_entry(artifact: Artifacts, golden: Golden, model: str) -> None:
    """Bit for bit: features between modules lie on the grid that the next module rounds them to."""
    folder = artifact(model, "coreml", "w8a8")
    entries = [entry for entry in read_artifact(folder).entries if not entry.variant]
    (fused,) = [entry for entry in entries if len(entry.modules) > 1]
    known = dict(golden(model))
    whole = run_sealed(folder, fused.id, known)
    for module in fused.modules:
        known |= run_sealed(folder, module, known)
    for name, value in whole.items():
        np.testing.assert_array_equal(value, known[name])


def test_the_same_bytes_twice(model_dir: Callable[[str], Path], artifact: Artifacts, tmp_path: Path) -> None:
    first = artifact("mixed", "coreml", "w8a8")
    export(load_spec(model_dir("mixed")), ["coreml"], ["w8a8"], tmp_path, overwrite=False)
    assert list_files(artifact_folder(tmp_path, "mixed", "coreml", "w8a8")) == list_files(first)


@pytest.fixture
def classifier(model_dir: Callable[[str], Path]) -> Program:
    return capture(load_spec(model_dir("classifier")))


def test_nothing_to_calibrate_with(classifier: Program, tmp_path: Path) -> None:
    with pytest.raises(StageError, match="w8a8 needs calibration samples"):
        emit(classifier, "coreml", tmp_path, "w8a8")


def test_an_entry_that_torch_export_refuses_is_refused(classifier: Program, tmp_path: Path) -> None:
    """Tracing would drop the integers without an error."""
    program = calibrate(classifier, load_samples(classifier.spec, "calibrate")[:1])
    converted = convert(program, "coreml", tmp_path)
    converted.graphs.exported["classifier"] = StageError("convert", "torch.export: Unsupported: a branch on data")
    with pytest.raises(StageError, match=r"integers need torch\.export, and torch\.export: Unsupported"):
        converted.emit("w8a8", tmp_path / "artifact")


@pytest.mark.parametrize(
    ("low", "high", "scale"),
    [
        (0.0, 255.0, (1.0, "uint8")),
        (-127.0, 10.0, (1.0, "int8")),
        (-1.0, 127.0, (1.0, "int8")),
        (0.0, 1e-5, None),
        (0.0, 0.0, None),
        (0.0, 2e7, None),
    ],
)
def test_scale_of_a_range(low: float, high: float, scale: tuple[float, str] | None) -> None:
    assert static.scale_of({"x": (low, high)}, "x") == scale


def test_a_scale_holds_its_whole_range() -> None:
    """Scales are rounded up to float16, never down: the largest element is not clipped."""
    for high in np.random.default_rng(0).uniform(0.02, 500, 200):
        scale = static.scale_of({"x": (-1e-3, float(high))}, "x")
        assert scale is not None
        assert high <= scale[0] * 127 <= high * 1.001
        assert float(np.float16(scale[0])) == scale[0]
