"""The LiteRT target: what is in the files, and what the converter would get wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F

from benchmarks.runtimes.litert import LiteRTRuntime
from export.targets.litert import LiteRTTarget, flatbuffer
from export.targets.litert.fuse import add_fused
from hydramobile.artifact import Artifact, read_artifact
from hydramobile.errors import StageError
from hydramobile.recipes import recipe
from hydramobile.spec import load_spec
from support.emit import emit, emit_run_compare, errors_of, run_entry, run_sealed
from support.programs import Part, calibrated, module_program, wired_program

RECIPES = ("float32", "float16", "w8")
Artifacts = Callable[[str, str, str], Path]
Golden = Callable[[str], dict[str, NDArray[np.float32]]]


def converted_error(module: nn.Module, x: torch.Tensor, folder: Path) -> float:
    """Largest error of the converted float32 file against torch, over the largest value."""
    return emit_run_compare(module_program(module, x), "litert", folder)["y"].relative


@pytest.mark.parametrize("name", RECIPES)
def test_portrait_is_one_file_with_four_signatures(artifact: Artifacts, name: str) -> None:
    folder = artifact("portrait", "litert", name)
    sealed = read_artifact(folder)
    assert {entry.file for entry in sealed.entries} == {"portrait.tflite"}
    assert sealed.requires == {"litert": "2.10.0"}
    facts = LiteRTTarget().describe(folder / "portrait.tflite")
    found = {entry["name"]: entry for entry in facts["entries"]}
    assert set(found) == {"encoder", "depth", "segmentation", "portrait"}
    assert [item["name"] for item in found["encoder"]["outputs"]] == ["f2", "f4", "f8", "f16", "f32"]
    assert found["portrait"]["inputs"] == [
        {"name": "image", "shape": [1, 256, 192, 3], "dtype": "float32", "description": described(sealed)}
    ]
    assert all(item["dtype"] == "float32" for entry in found.values() for item in entry["inputs"] + entry["outputs"])
    assert facts["ops"].get("TRANSPOSE", 0) == 0
    kinds = facts["weight_bytes"]
    stored = {"float32": "float32", "float16": "float16", "w8": "int8"}[name]
    assert kinds[stored] > 0.85 * sum(kinds.values())


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
    told = metadata["hydra.json"]
    assert (told["model"], told["version"], told["recipe"]) == (sealed.model, sealed.version, "w8")
    assert (told["license"], tuple(told["authors"])) == (sealed.license, sealed.authors)
    assert set(told["tensors"]) == {"image", "f2", "f4", "f8", "f16", "f32", "depth", "alpha"}
    assert "nearer" in told["tensors"]["depth"]["description"]
    assert metadata["min_runtime_version"] == "2.10.0"
    assert metadata["description"].startswith("portrait ")


def test_constants_are_aligned(artifact: Artifacts) -> None:
    data = (artifact("portrait", "litert", "w8") / "portrait.tflite").read_bytes()
    model = flatbuffer.parse(data)
    # Zeros are found anywhere.
    held = [bytes(bytearray(buffer.data[:64])) for buffer in model.buffers if buffer.data is not None]
    starts = [data.find(begin) for begin in held if any(begin)]
    assert len(starts) > 90
    assert all(start % 16 == 0 for start in starts)


def test_fused_signature_shares_weights_and_runs_what_two_heads_share_once(artifact: Artifacts) -> None:
    model = flatbuffer.load(artifact("portrait", "litert", "float32") / "portrait.tflite", "test")
    graphs = {flatbuffer.text(graph.name): graph for graph in model.subgraphs}
    ops = {name: flatbuffer.count_ops(model, graph) for name, graph in graphs.items()}
    assert ops["depth"]["MEAN"] == ops["segmentation"]["MEAN"] == ops["portrait"]["MEAN"] == 1
    parts = [name for name in graphs if name != "portrait"]
    assert ops["portrait"]["CONV_2D"] == sum(ops[name]["CONV_2D"] for name in parts)
    used = {name: {int(t.buffer) for t in graph.tensors} for name, graph in graphs.items()}
    assert used["portrait"] <= set().union(*(used[name] for name in parts))


def test_fused_graph_keeps_only_what_its_outputs_need(artifact: Artifacts, model_dir: Callable[[str], Path]) -> None:
    spec = load_spec(model_dir("portrait"))
    model = flatbuffer.load(artifact("portrait", "litert", "float32") / "portrait.tflite", "test")
    entry = spec.entries["portrait"]
    alone = type(entry)("half", entry.modules, entry.inputs, ("depth",), "")
    graph = add_fused(model, alone).subgraphs[-1]
    expected = sum(flatbuffer.count_ops(model, model.subgraphs[index])["CONV_2D"] for index in (0, 1))
    assert flatbuffer.count_ops(model, graph)["CONV_2D"] == expected


@pytest.mark.parametrize("name", ["float32", "w8"])
def test_a_fused_entry_that_costs_too_much_is_a_file_of_its_own(
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
    # The model has the entry's name: the two files must not be the same one.
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
def test_integer_recipes_in_the_bytes_and_in_numbers(tmp_path: Path, name: str, stored: str, least: float) -> None:
    """Stored types read back; the error of so many bits and no more, in decibels; ports stay float32."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(8, 32, 3, padding=1), nn.ReLU6(), nn.Conv2d(32, 32, 3, padding=1), nn.Conv2d(32, 8, 1)
    )
    program = calibrated(module_program(net, torch.randn(1, 8, 16, 16)))
    built = emit(program, "litert", tmp_path, name)
    (entry,) = built.emitted.entries
    assert {port.dtype for port in (*entry.inputs, *entry.outputs)} == {"float32"}
    types = LiteRTRuntime().read_dtypes(built.folder, entry)
    # The first layer's and the last one's may stay float: a tenth of the weights here.
    assert types[stored] >= 9216 * recipe(name).weight_bits / 8
    noise = built.errors()["y"].snr_db
    assert least < noise < least + 40, f"{noise:.1f} dB"


def test_unsupported_op_is_named(tmp_path: Path) -> None:
    class Unsupported(nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor]:
            return (torch.linalg.svdvals(x),)

    with pytest.raises(StageError, match=r"entry 'net'.*svd"):
        emit(module_program(Unsupported(), torch.randn(1, 1, 4, 4)), "litert", tmp_path)


class Nearest(nn.Module):
    def __init__(self, size: tuple[int, int] | None = None, scale: float | None = None) -> None:
        super().__init__()
        self.size, self.scale = size, scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        resized: torch.Tensor = F.interpolate(x, size=self.size, scale_factor=self.scale, mode="nearest")
        return resized


@pytest.mark.parametrize("layer", [Nearest((7, 7)), Nearest((7, 6)), Nearest(scale=2.5), Nearest((6, 6))])
def test_nearest_resize_at_any_ratio(tmp_path: Path, layer: nn.Module) -> None:
    torch.manual_seed(0)
    assert converted_error(layer, torch.randn(1, 2, 3, 3), tmp_path) == 0.0


class Bilinear(nn.Module):
    """A factor that makes no whole size, the odd axis in the middle of a net."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.interpolate(x * 2, scale_factor=1.7, mode="bilinear", align_corners=False)


def test_bilinear_resize_by_a_factor(tmp_path: Path) -> None:
    torch.manual_seed(0)
    assert converted_error(Bilinear(), torch.randn(1, 2, 7, 6), tmp_path) < 1e-5


def channels_last(net: nn.Module) -> nn.Module:
    converted: nn.Module = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in the stubs
    return converted


def test_channels_last_weights(tmp_path: Path) -> None:
    torch.manual_seed(0)
    layers = [nn.Conv2d(8, 8, 3, padding=1, bias=False) for _ in range(6)]
    assert converted_error(channels_last(nn.Sequential(*layers)), torch.randn(1, 8, 8, 8), tmp_path) < 1e-5


@pytest.mark.parametrize(
    "layer",
    [
        nn.ConvTranspose2d(4, 3, 3, 2, 1, output_padding=1),
        nn.ConvTranspose2d(4, 3, 3, 2, 1),
        nn.ConvTranspose2d(4, 3, 4, 2, 1),
        nn.ConvTranspose2d(4, 3, 2, 2),
        nn.ConvTranspose2d(4, 3, 5, 3, 2, output_padding=(1, 2)),
        nn.ConvTranspose2d(4, 6, 4, 2, 1, groups=2),
        nn.ConvTranspose2d(4, 4, 3, 2, groups=4, bias=False),
        nn.ConvTranspose2d(4, 3, 3, 2, 2, 1, dilation=2),
        nn.ConvTranspose2d(4, 3, (2, 3), (1, 3), (0, 2), (0, 1)),
        nn.ConvTranspose2d(4, 3, 5, 3, 1, 2),
    ],
)
def test_transposed_convolution_of_any_padding(tmp_path: Path, layer: nn.Module) -> None:
    torch.manual_seed(0)
    assert converted_error(layer, torch.randn(1, 4, 5, 6), tmp_path) < 1e-5


class Spread(nn.Module):
    """Between convolutions, an operand expanded along one axis meets one that is broadcast along another."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        self.second = nn.Conv2d(4, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.second(self.first(x))
        tall, wide = y.mean((2, 3), keepdim=True).expand(-1, -1, y.shape[2], -1), y.mean((1, 2), keepdim=True)
        mixed: torch.Tensor = self.second(torch.minimum(tall, wide).float())
        return mixed


@pytest.mark.parametrize("height", [6, 4], ids=["refused", "as many rows as channels"])
def test_an_expanded_operand(tmp_path: Path, height: int) -> None:
    torch.manual_seed(0)
    assert converted_error(Spread(), torch.randn(1, 4, height, 8), tmp_path) < 1e-5


class Missing(nn.Module):
    """Ops that litert-torch has no lowering of."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.hypot(x, x + 1) + torch.exp2(x)
        y[y < 1.5] = 0.5
        return F.adaptive_max_pool2d(y, (3, 4))


def test_missing_ops(tmp_path: Path) -> None:
    torch.manual_seed(0)
    assert converted_error(Missing(), torch.randn(1, 2, 7, 9), tmp_path) < 1e-5


class Doubles(nn.Module):
    """A position embedding made in float64, as detectors have it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rates = 1.0 / 10_000 ** (torch.arange(4, dtype=torch.float64) / 4)
        turns = torch.outer(torch.arange(x.shape[-1], dtype=torch.float64), rates)
        return x + torch.cat([turns.sin(), turns.cos()], 1).T.float()


def test_constants_of_double_precision(tmp_path: Path) -> None:
    assert converted_error(Doubles(), torch.randn(1, 8, 12), tmp_path) < 1e-6


def test_the_converter_still_needs_the_fixes(monkeypatch: pytest.MonkeyPatch) -> None:
    """When this fails, a new litert-torch has retired a fix: delete the fix."""
    import litert_torch

    torch.manual_seed(0)

    def error(module: nn.Module, value: torch.Tensor) -> float:
        module.eval()
        with torch.no_grad():
            made = litert_torch.convert(module, (value,))(value.numpy())
            return float(np.abs(made - module(value).numpy()).max())

    assert error(Nearest((7, 7)), torch.randn(1, 2, 3, 3)) > 0.1
    assert error(Bilinear(), torch.randn(1, 2, 7, 6)) > 0.01
    layers = [nn.Conv2d(8, 8, 3, padding=1, bias=False) for _ in range(6)]
    assert error(channels_last(nn.Sequential(*layers)), torch.randn(1, 8, 8, 8)) > 1e-3
    with pytest.raises(ValueError, match=r"mhlo\.convolution"):
        error(nn.ConvTranspose2d(4, 3, 3, 2, 1, output_padding=1), torch.randn(1, 4, 5, 6))
    with pytest.raises(Exception, match=r"Lowering not found|NonConcreteBooleanIndex"):
        error(Missing(), torch.randn(1, 2, 7, 9))
    with pytest.raises(Exception, match=r"tfl\.(pow|sin|cos)"):
        error(Doubles(), torch.randn(1, 8, 12))
    with pytest.raises(RuntimeError, match="BROADCAST_TO"):
        error(litert_torch.to_channel_last_io(Spread(), [0], [0]), torch.randn(1, 6, 8, 4))


def test_usage_names_what_is_in_the_file(artifact: Artifacts) -> None:
    text = (artifact("portrait", "litert", "float16") / "USAGE.md").read_text(encoding="utf-8")
    for word in ("portrait.tflite", '"segmentation"', '"f16"', "[1, 256, 192, 3]", "not compiled here", "2.10.0"):
        assert word in text


@pytest.mark.slow
def test_mixed_net_converts(artifact: Artifacts, golden: Golden) -> None:
    folder = artifact("mixed", "litert", "float32")
    tensors = golden("mixed")
    for entry in read_artifact(folder).entries:
        for name, value in run_sealed(folder, entry.id, tensors).items():
            assert np.abs(value - tensors[name]).max() <= 1e-4 * max(1.0, float(np.abs(tensors[name]).max())), name
