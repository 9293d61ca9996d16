"""Test the ONNX target: numbers, dtypes and sizes per recipe, metadata, dynamic sizes, refusals."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.runtime import load_runtime
from export.driver import export
from export.targets.onnx import OnnxTarget
from export.targets.onnx.weights import quantize
from hydramobile.artifact import read_artifact, verify
from hydramobile.errors import StageError
from hydramobile.loader import load_modules
from hydramobile.recipes import recipe
from hydramobile.samples import load_samples, sample_inputs
from hydramobile.spec import load_spec
from support.emit import convert, emit, emit_run_compare
from support.programs import Cases, calibrated, ops_program

Artifacts = Callable[[str, str, str], Path]
Command = Callable[..., Any]
OutWith = Callable[..., Path]
OwnModel = Callable[..., Path]


def values(document: dict[str, Any], recipe_name: str, output: str, metric: str) -> list[float]:
    """Return a metric of one output in every mode in which parity judged it by samples."""
    return [
        measure["value"]
        for row in document["results"]
        if row["recipe"] == recipe_name and row["mode"] != "drawn"
        for measure in row["measures"]
        if (measure["output"], measure["metric"]) == (output, metric)
    ]


def test_portrait_parity_per_recipe(artifact: Artifacts, out_with: OutWith, command: Command, root: Path) -> None:
    """The worst judging sample keeps the limits, in every mode: direct, boundary, chain."""
    out = out_with("portrait", *(artifact("portrait", "onnx", name) for name in ("float32", "float16", "w8")))
    model = ("--model", root / "models/portrait", "--out", out, "--runtime", "onnxruntime", "--json")
    done = command("benchmarks", "parity", *model)
    assert done.code == 0, done.verdict
    document = json.loads(done.out)
    assert document["samples_asked"] == len(document["samples"]) == 12

    for output in ("depth", "alpha"):
        assert len(values(document, "float32", output, "max_abs")) == 3  # its module in two modes, and the fused entry
        assert max(values(document, "float32", output, "max_abs")) <= 1e-4
        assert max(values(document, "float16", output, "mean_abs")) <= 1e-3
    assert min(values(document, "float16", "alpha", "iou")) >= 0.998
    assert max(values(document, "float16", "depth", "order_flips")) <= 0.005
    assert min(values(document, "w8", "alpha", "iou")) >= 0.990
    assert max(values(document, "w8", "depth", "order_flips")) <= 0.015
    for name in ("float32", "float16", "w8"):
        worst = {metric: max(values(document, name, "depth", metric)) for metric in ("max_abs", "order_flips")}
        print(name, worst, "iou", min(values(document, name, "alpha", "iou")))


def test_sizes_follow_the_recipe(artifact: Artifacts) -> None:
    sizes = {
        name: sum(path.stat().st_size for path in artifact("portrait", "onnx", name).glob("*.onnx"))
        for name in ("float32", "float16", "w8")
    }
    assert sizes["float16"] < 0.55 * sizes["float32"]
    assert sizes["w8"] < 0.35 * sizes["float32"]


@pytest.mark.parametrize("name", ["float32", "float16", "w8"])
def test_files_have_metadata(artifact: Artifacts, name: str) -> None:
    folder = artifact("portrait", "onnx", name)
    spec = read_artifact(folder)
    assert {entry.id: entry.file for entry in spec.entries} == {
        entry: f"{entry}.onnx" for entry in ("encoder", "depth", "segmentation", "portrait")
    }
    assert spec.requires == {"opset": "20", "ir": "9"}
    for entry in spec.entries:
        facts = OnnxTarget().describe(folder / entry.file)
        metadata = facts["metadata"]
        assert metadata["name"] == "portrait"
        assert metadata["version"] == spec.version
        assert metadata["license"] == spec.license
        assert metadata["authors"] == ", ".join(spec.authors)
        assert metadata["description"] == spec.description
        (described,) = facts["entries"]
        for port, tensor in zip(
            (*entry.inputs, *entry.outputs), described["inputs"] + described["outputs"], strict=True
        ):
            assert (tensor["name"], tuple(tensor["shape"])) == (port.file_name, port.shape)
            assert tensor["dtype"] == "float32", "a float16 file has float32 ports"
            assert tensor["description"] == port.description
        model = onnx.load(folder / entry.file)
        assert model.producer_name == "hydra-mobile"
        assert str(Path.cwd()) not in str(model), "the file holds a path of this machine"


def test_float16_keeps_the_stem_in_float32(artifact: Artifacts) -> None:
    """In the saved files the photo enters the stem without a Cast; all other layers are float16."""
    folder = artifact("portrait", "onnx", "float16")
    float_weights = {}
    for name in ("encoder", "portrait", "depth", "segmentation"):
        model = onnx.load(folder / f"{name}.onnx")
        onnx.checker.check_model(model, full_check=True)
        stored = {tensor.name: tensor for tensor in model.graph.initializer}
        types = {tensor.name: tensor.data_type for tensor in stored.values()}
        for value in (*model.graph.value_info, *model.graph.input, *model.graph.output):
            types[value.name] = value.type.tensor_type.elem_type
        layers = [node for node in model.graph.node if node.op_type == "Conv"]
        assert all(types[node.input[0]] == types[node.input[1]] == types[node.output[0]] for node in layers)
        float_weights[name] = [node.input[1] for node in layers if types[node.input[1]] == onnx.TensorProto.FLOAT]
        if float_weights[name]:
            producers = {node.output[0]: node for node in model.graph.node}
            (stem,) = [node for node in layers if node.input[1] in float_weights[name]]
            ops_before = []
            tensor = stem.input[0]
            while tensor in producers:
                ops_before.append(producers[tensor].op_type)
                tensor = producers[tensor].input[0]
            assert tensor == "image" and ops_before == ["Mul", "Sub"], "a Cast stands between the photo and the stem"
    stems = {name: ["encoder.stem.conv.weight"] * (name in ("encoder", "portrait")) for name in float_weights}
    assert float_weights == stems
    notes = read_artifact(folder).notes
    assert any("stays float32" in note and "encoder.stem.conv.weight" in note for note in notes)


@pytest.mark.parametrize(("widths", "floats"), [((8, 256), 1), ((64, 2), 0)])
def test_float16_halves_a_large_input_layer(tmp_path: Path, widths: tuple[int, int], floats: int) -> None:
    """An input layer with 0.6 % of the weights stays float32; one with 57 % is float16 like the others."""
    first, second = widths
    layers: list[Any] = [nn.Conv2d(3, first, 3), nn.ReLU(), nn.Conv2d(first, second, 3), nn.ReLU()]
    program = ops_program({"y": nn.Sequential(*layers, nn.Conv2d(second, 8, 3))}, (1, 3, 16, 16))
    built = emit(program, "onnx", tmp_path, "float16")
    model = onnx.load(built.folder / built.entry.file)
    onnx.checker.check_model(model, full_check=True)
    stored = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    weights = [stored[node.input[1]] for node in model.graph.node if node.op_type == "Conv"]
    assert weights == [onnx.TensorProto.FLOAT] * floats + [onnx.TensorProto.FLOAT16] * (3 - floats)
    assert len(built.emitted.notes) == floats
    assert built.errors()["y"].relative < 2e-3


def test_float16_keeps_the_casts_of_the_net(tmp_path: Path) -> None:
    """Casts of bool and int64 stay, although those around the float32 stem are removed."""
    cases: Cases = {
        "y": nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 256, 3), nn.Conv2d(256, 4, 3)),
        "any": lambda x: (x > 1.9).any(dim=1).float(),
        "index": lambda x: x.argmax(dim=1).float() * 0.5,
        "larger": lambda x: torch.maximum(x, -x) + x.mean(),
    }
    built = emit(ops_program(cases, (1, 3, 16, 16)), "onnx", tmp_path, "float16")
    onnx.checker.check_model(onnx.load(built.folder / built.entry.file), full_check=True)
    for name, error in built.errors().items():
        assert error.max_abs <= 2e-3 * error.peak, name


def test_w8_has_one_scale_per_channel(artifact: Artifacts) -> None:
    model = onnx.load(artifact("portrait", "onnx", "w8") / "encoder.onnx")
    stored = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    dequantized = [node for node in model.graph.node if node.op_type == "DequantizeLinear"]
    assert len(dequantized) > 20
    for node in dequantized:
        integers, scales = (stored[name] for name in node.input[:2])
        axis = next(item.i for item in node.attribute if item.name == "axis")
        assert integers.dtype == np.int8
        assert integers.min() >= -127
        assert scales.shape == (integers.shape[axis],)


def test_quantize_to_int8() -> None:
    weights = np.array([[1.27, -0.635], [0.0, 0.0], [-2.54, 0.02]], np.float32)
    integers, scales = quantize(weights, axis=0)
    assert integers.tolist() == [[127, -64], [0, 0], [-127, 1]]  # 63.5 rounds to even
    assert scales == pytest.approx([0.01, 1.0, 0.02])


def test_w8a16_is_finer_than_w8a8(tmp_path: Path) -> None:
    """Activations are uint16, weights use all 8 bits, and the file needs opset 21."""
    layers = (nn.Conv2d(8, 32, 3, padding=1), nn.ReLU6(), nn.Conv2d(32, 32, 3, padding=1), nn.Conv2d(32, 8, 1))
    converted = convert(calibrated(ops_program({"y": nn.Sequential(*layers)}, (1, 8, 16, 16))), "onnx", tmp_path)
    eight, sixteen = (converted.emit(name, tmp_path / name) for name in ("w8a8", "w8a16"))
    # A quarter of the noise is 6 dB less; w8a8 itself stays below 4e-3 of the signal, 24 dB.
    assert sixteen.errors()["y"].snr_db - 6.02 > eight.errors()["y"].snr_db > 23.98
    model = onnx.load(sixteen.folder / sixteen.entry.file)
    onnx.checker.check_model(model)
    stored = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    points = {stored[node.input[2]].dtype for node in model.graph.node if node.op_type == "QuantizeLinear"}
    assert points == {np.dtype(np.uint16)}
    assert max(np.abs(value.astype(int)).max() for value in stored.values() if value.dtype == np.int8) == 127
    assert sixteen.emitted.requires["opset"] == "21" and "NPUs" in sixteen.emitted.notes[0]


def test_two_clamps_of_one_tensor(tmp_path: Path) -> None:
    """The bounds of both are in the file (export/onnx_export/patches/distinct_initializers.py)."""
    # The exporter writes Min and Max for int bounds, and its rewriter fuses them to Clip.
    cases: Cases = {"y": lambda x: torch.clamp(x, 0, 1) * 2 + torch.clamp(x, -1, 1)}
    errors = emit_run_compare(ops_program(cases, (1, 8, 5, 6)), "onnx", tmp_path)
    assert errors["y"].max_abs < 1e-6


def test_dynamic_sizes(own_model: OwnModel, command: Command, tmp_path: Path) -> None:
    folder = own_model("classifier", {"[tensors.image]": "[options.onnx]\ndynamic = true\n\n[tensors.image]"})
    spec = load_spec(folder)
    (outcome,) = export(spec, ["onnx"], ["float32"], tmp_path / "out", overwrite=False)
    assert outcome.state == "exported", outcome.reason
    folder = tmp_path / "out/classifier/onnx/float32"
    entry = read_artifact(folder).entry("classifier@dynamic")
    assert (entry.file, entry.variant) == ("classifier.dynamic.onnx", "dynamic")

    session = onnxruntime.InferenceSession(folder / entry.file, providers=["CPUExecutionProvider"])
    height, width = session.get_inputs()[0].shape[2:]
    assert isinstance(height, str)
    assert isinstance(width, str)
    net = load_modules(spec)["classifier"]
    sample = load_samples(spec, "judge")[0]
    for size in (*spec.sizes, (128, 160)):
        image: NDArray[np.generic] = sample_inputs(spec, sample, size)["image"]
        (output,) = session.run(None, {"image": image})
        with torch.no_grad():
            reference = net(torch.from_numpy(image)).numpy()
        assert np.abs(output - reference).max() < 1e-4, size


def test_unknown_option_is_refused(own_model: OwnModel, tmp_path: Path) -> None:
    folder = own_model("classifier", {"[tensors.image]": "[options.onnx]\ndynamc = true\n\n[tensors.image]"})
    (outcome,) = export(load_spec(folder), ["onnx"], ["float32"], tmp_path, overwrite=False)
    assert (outcome.state, outcome.stage) == ("failed", "convert")
    assert "'dynamc' (known: dynamic)" in outcome.reason


@pytest.mark.parametrize("name", ["p1", "w2", "w8g32"])
def test_refuses_other_recipes(name: str) -> None:
    assert "float32, float16, w8" in (OnnxTarget().refuses(recipe(name)) or "")


@pytest.mark.parametrize("damage", [b"", b"not a graph", bytes(1000)])
def test_describe_refuses_a_damaged_file(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "a.onnx").write_bytes(damage)
    with pytest.raises(StageError, match=r"a\.onnx is not a valid ONNX file"):
        OnnxTarget().describe(tmp_path / "a.onnx")


def test_artifact_holds_its_golden(artifact: Artifacts, golden: Any) -> None:
    folder = artifact("portrait", "onnx", "float32") / "golden"
    content = json.loads((folder / "golden.json").read_text())
    tensors = golden("portrait")
    assert set(content["entries"]) == {"encoder", "depth", "segmentation", "portrait"}
    for entry in content["entries"].values():
        for name, port in {**entry["inputs"], **entry["outputs"]}.items():
            stored = np.frombuffer((folder / port["file"]).read_bytes(), "<f4").reshape(port["shape"])
            # The last bits of a feature of +-40 depend on the number of threads that summed it.
            assert np.abs(stored - tensors[name]).max() < 1e-5 * max(1.0, float(np.abs(tensors[name]).max()))


def test_moved_artifact_verifies_and_opens(artifact: Artifacts, tmp_path: Path) -> None:
    """An artifact holds no path of the folder that it was exported to."""
    moved = shutil.copytree(artifact("classifier", "onnx", "float32"), tmp_path / "elsewhere")
    verify(moved, read_artifact(moved))
    load_runtime("onnxruntime").open(moved, read_artifact(moved).entry("classifier")).close()
