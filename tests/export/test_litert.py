"""The LiteRT target: the contents of its files, its recipes, and the files that it refuses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.runtimes.litert import LiteRTRuntime
from export.targets.litert import LiteRTTarget, flatbuffer
from export.targets.litert.fuse import add_fused
from hydramobile.artifact import Artifact, read_artifact
from hydramobile.errors import StageError
from hydramobile.recipes import recipe
from hydramobile.spec import load_spec
from support.emit import emit, errors_of, run_entry, run_sealed
from support.programs import Part, calibrated, module_program, wired_program

RECIPES = ("float32", "float16", "w8")
Artifacts = Callable[[str, str, str], Path]
Golden = Callable[[str], dict[str, NDArray[np.float32]]]


@pytest.mark.parametrize("name", RECIPES)
def test_portrait_is_one_file_with_four_signatures(artifact: Artifacts, name: str) -> None:
    folder = artifact("portrait", "litert", name)
    sealed = read_artifact(folder)
    assert {entry.file for entry in sealed.entries} == {"portrait.tflite"}
    assert sealed.requires == {"litert": "2.10.0"}
    facts = LiteRTTarget().describe(folder / "portrait.tflite")
    entries = {entry["name"]: entry for entry in facts["entries"]}
    assert set(entries) == {"encoder", "depth", "segmentation", "portrait"}
    assert [item["name"] for item in entries["encoder"]["outputs"]] == ["f2", "f4", "f8", "f16", "f32"]
    assert entries["portrait"]["inputs"] == [
        {"name": "image", "shape": [1, 256, 192, 3], "dtype": "float32", "description": described(sealed)}
    ]
    assert all(item["dtype"] == "float32" for entry in entries.values() for item in entry["inputs"] + entry["outputs"])
    assert facts["ops"].get("TRANSPOSE", 0) == 0
    weight_bytes = facts["weight_bytes"]
    dtype = {"float32": "float32", "float16": "float16", "w8": "int8"}[name]
    assert weight_bytes[dtype] > 0.85 * sum(weight_bytes.values())


def described(sealed: Artifact) -> str:
    """Return the description of the input `image`."""
    return next(port.description for entry in sealed.entries for port in entry.inputs if port.name == "image")


@pytest.mark.parametrize(("name", "megabytes"), [("float32", 12.5), ("float16", 6.4), ("w8", 3.8)])
def test_portrait_size(artifact: Artifacts, name: str, megabytes: float) -> None:
    assert (artifact("portrait", "litert", name) / "portrait.tflite").stat().st_size < megabytes * 1e6


def test_metadata_is_read_back(artifact: Artifacts) -> None:
    folder = artifact("portrait", "litert", "w8")
    sealed = read_artifact(folder)
    metadata = LiteRTTarget().describe(folder / "portrait.tflite")["metadata"]
    content = metadata["hydra.json"]
    assert (content["model"], content["version"], content["recipe"]) == (sealed.model, sealed.version, "w8")
    assert (content["license"], tuple(content["authors"])) == (sealed.license, sealed.authors)
    assert set(content["tensors"]) == {"image", "f2", "f4", "f8", "f16", "f32", "depth", "alpha"}
    assert "nearer" in content["tensors"]["depth"]["description"]
    assert metadata["min_runtime_version"] == "2.10.0"
    assert metadata["description"].startswith("portrait ")


def test_constants_are_aligned(artifact: Artifacts) -> None:
    data = (artifact("portrait", "litert", "w8") / "portrait.tflite").read_bytes()
    model = flatbuffer.parse(data)
    # Constants that begin with zeros would match elsewhere in the file.
    heads = [bytes(bytearray(buffer.data[:64])) for buffer in model.buffers if buffer.data is not None]
    starts = [data.find(head) for head in heads if any(head)]
    assert len(starts) > 90
    assert all(start % 16 == 0 for start in starts)


def test_fused_signature_shares_weights_and_merges_operators_that_two_heads_share(artifact: Artifacts) -> None:
    model = flatbuffer.load(artifact("portrait", "litert", "float32") / "portrait.tflite", "test")
    graphs = {flatbuffer.text(graph.name): graph for graph in model.subgraphs}
    ops = {name: flatbuffer.count_ops(model, graph) for name, graph in graphs.items()}
    assert ops["depth"]["MEAN"] == ops["segmentation"]["MEAN"] == ops["portrait"]["MEAN"] == 1
    parts = [name for name in graphs if name != "portrait"]
    assert ops["portrait"]["CONV_2D"] == sum(ops[name]["CONV_2D"] for name in parts)
    used = {name: {int(t.buffer) for t in graph.tensors} for name, graph in graphs.items()}
    assert used["portrait"] <= set().union(*(used[name] for name in parts))


def test_fused_graph_has_no_operator_that_its_outputs_do_not_depend_on(
    artifact: Artifacts, model_dir: Callable[[str], Path]
) -> None:
    spec = load_spec(model_dir("portrait"))
    model = flatbuffer.load(artifact("portrait", "litert", "float32") / "portrait.tflite", "test")
    entry = spec.entries["portrait"]
    alone = type(entry)("half", entry.modules, entry.inputs, ("depth",), "")
    graph = add_fused(model, alone).subgraphs[-1]
    expected = sum(flatbuffer.count_ops(model, model.subgraphs[index])["CONV_2D"] for index in (0, 1))
    assert flatbuffer.count_ops(model, graph)["CONV_2D"] == expected


@pytest.mark.parametrize("name", ["float32", "w8"])
def test_a_fused_entry_that_enlarges_the_file_too_much_is_a_file_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    torch.manual_seed(0)
    parts = {
        "body": Part(nn.Conv2d(3, 8, 3, padding=1), ("x",), ("f",)),
        "head": Part(nn.Conv2d(8, 40, 3), ("f",), ("y",)),
    }
    pair = wired_program(parts, {"x": torch.randn(1, 3, 8, 8)}, fused="ops")
    monkeypatch.setattr("export.targets.litert.entries.MAX_FUSED_GROWTH", -1.0)
    built = emit(pair, "litert", tmp_path, name)
    # The entry is named after the model, and still needs a file name of its own.
    assert {entry.id: entry.file for entry in built.emitted.entries} == {
        "body": "ops.tflite",
        "head": "ops.tflite",
        "ops": "ops.fused.tflite",
    }
    assert any("ops.fused.tflite is a file of its own" in note and "%" in note for note in built.emitted.notes)
    facts = LiteRTTarget().describe(built.folder / "ops.fused.tflite")
    assert [entry["name"] for entry in facts["entries"]] == ["ops"]
    inputs = {key: tensor.numpy() for key, tensor in pair.tensors.items()}
    for entry in built.emitted.entries:
        errors = errors_of(pair, run_entry("litert", built.folder, entry, inputs))
        assert all(error.max_abs < (1e-5 if name == "float32" else 0.05) for error in errors.values())


def test_single_module_model_has_one_signature(artifact: Artifacts) -> None:
    folder = artifact("classifier", "litert", "float32")
    facts = LiteRTTarget().describe(folder / "classifier.tflite")
    assert len(facts["entries"]) == 1
    assert facts["ops"].get("TRANSPOSE", 0) == 0


@pytest.mark.parametrize("content", [b"", b"not a model at all, but long enough", b"\x1c\0\0\0TFL3" + bytes(40)])
def test_describe_refuses_a_broken_file_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.tflite"
    path.write_bytes(content)
    with pytest.raises(StageError, match=r"broken\.tflite is not a readable \.tflite"):
        LiteRTTarget().describe(path)


def test_describe_refuses_a_truncated_file(artifact: Artifacts, tmp_path: Path) -> None:
    data = (artifact("classifier", "litert", "float32") / "classifier.tflite").read_bytes()
    path = tmp_path / "short.tflite"
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(StageError, match=r"short\.tflite"):
        LiteRTTarget().describe(path)


def test_unknown_recipe_is_refused_with_a_reason() -> None:
    assert LiteRTTarget().refuses(recipe("w8")) is None
    assert "float32, float16, w8, w4, d8, w8a8, w8a16" in str(LiteRTTarget().refuses(recipe("p4")))


@pytest.mark.filterwarnings("ignore:Warning. Enabling .experimental_preserve_all_tensors")
@pytest.mark.parametrize(
    ("name", "stored", "least"), [("w4", "int4", 12.0), ("d8", "int8", 28.0), ("w8a16", "int8", 30.0)]
)
def test_integer_recipes_store_and_cost_so_many_bits(tmp_path: Path, name: str, stored: str, least: float) -> None:
    """The dtypes are read back, the SNR in dB is that of so many bits, and the ports stay float32."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(8, 32, 3, padding=1), nn.ReLU6(), nn.Conv2d(32, 32, 3, padding=1), nn.Conv2d(32, 8, 1)
    )
    program = calibrated(module_program(net, torch.randn(1, 8, 16, 16)))
    built = emit(program, "litert", tmp_path, name)
    (entry,) = built.emitted.entries
    assert {port.dtype for port in (*entry.inputs, *entry.outputs)} == {"float32"}
    weight_bytes = LiteRTRuntime().read_dtypes(built.folder, entry)
    # The first and the last layer may stay float: a tenth of the weights here.
    assert weight_bytes[stored] >= 9216 * recipe(name).weight_bits / 8
    snr = built.errors()["y"].snr_db
    assert least < snr < least + 40, f"{snr:.1f} dB"


def test_unsupported_op_is_named(tmp_path: Path) -> None:
    class Unsupported(nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor]:
            return (torch.linalg.svdvals(x),)

    with pytest.raises(StageError, match=r"entry 'net'.*svd"):
        emit(module_program(Unsupported(), torch.randn(1, 1, 4, 4)), "litert", tmp_path)


def test_usage_names_the_signatures_and_tensors_of_the_file(artifact: Artifacts) -> None:
    text = (artifact("portrait", "litert", "float16") / "USAGE.md").read_text(encoding="utf-8")
    for word in ("portrait.tflite", '"segmentation"', '"f16"', "[1, 256, 192, 3]", "bundle android", "CompiledModel"):
        assert word in text
    assert "those of TensorFlow Lite 2.10.0" in text and "LiteRT 2.10.0" not in text
    assert not any(word in text for word in ("Interpreter", "createScaledBitmap", "openFd"))


@pytest.mark.slow
def test_mixed_net_converts(artifact: Artifacts, golden: Golden) -> None:
    folder = artifact("mixed", "litert", "float32")
    tensors = golden("mixed")
    for entry in read_artifact(folder).entries:
        for name, value in run_sealed(folder, entry.id, tensors).items():
            assert np.abs(value - tensors[name]).max() <= 1e-4 * max(1.0, float(np.abs(tensors[name]).max())), name
