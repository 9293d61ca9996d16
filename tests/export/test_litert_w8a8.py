"""LiteRT static int8: the integers in the file, the agreement of modules and fused entry, and refusals."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from export.driver import export
from export.program import Program, calibrate, capture
from export.quantize.observers import RangeObserver
from export.targets.litert import LiteRTTarget, flatbuffer, static
from export.targets.litert.biases import integer_layers
from hydramobile.artifact import Artifact, Port, artifact_folder, list_files, read_artifact
from hydramobile.errors import StageError
from hydramobile.files import sha256_file
from hydramobile.measures import snr
from hydramobile.ports import from_file, to_file
from hydramobile.recipes import recipe
from hydramobile.samples import load_samples
from hydramobile.spec import load_spec
from support.emit import emit, run_sealed
from support.programs import calibrated, ops_program

Artifacts = Callable[[str, str, str], Path]
Golden = Callable[[str], dict[str, NDArray[Any]]]
OwnModel = Callable[..., Path]
OutWith = Callable[..., Path]
Command = Callable[..., Any]
# The float layers of the portrait: the first ones before the first integer, the last ones after the last.
FLOAT32, INT8 = 0, 9
pytestmark = pytest.mark.filterwarnings("ignore:Warning. Enabling .experimental_preserve_all_tensors")


def graphs(folder: Path) -> dict[str, tuple[Any, Any]]:
    model = flatbuffer.load(folder / f"{read_artifact(folder).model}.tflite", "test")
    return {flatbuffer.text(s.signatureKey): (model, model.subgraphs[s.subgraphIndex]) for s in model.signatureDefs}


def weights_of(model: Any, graph: Any) -> list[tuple[str, int, int]]:
    """Return (operator, dtype of its weights, dtype of its output) of every convolution and dense layer."""
    found = []
    for operator in graph.operators:
        name = flatbuffer.opcode(model, operator)
        if name in static.WEIGHTED:
            constants = [
                i for i in operator.inputs if i >= 0 and model.buffers[graph.tensors[i].buffer].data is not None
            ]
            types = [graph.tensors[i].type for i in constants if len(graph.tensors[i].shape) > 1]
            found += [(name, kind, graph.tensors[operator.outputs[0]].type) for kind in types[:1]]
    return found


def test_the_portrait_within_the_ceilings(artifact: Artifacts, out_with: OutWith, command: Command, root: Path) -> None:
    """Worst of 12 photos, in every mode: matte IoU .980, order flips 4 %; and the file's integers are counted."""
    out = out_with("portrait", artifact("portrait", "litert", "w8a8"))
    done = command("benchmarks", "parity", "--out", out, "--runtime", "litert", "--json")
    assert done.code == 0, done.verdict
    rows = json.loads(done.out)["results"]
    measures = [measure for row in rows if row["mode"] != "drawn" for measure in row["measures"]]
    assert min(m["value"] for m in measures if m["metric"] == "iou") >= 0.980
    assert max(m["value"] for m in measures if m["metric"] == "order_flips") <= 0.04
    assert {row["mode"] for row in rows} >= {"direct", "boundary", "chain", "dtypes"}


def test_integer_layers_of_the_portrait(artifact: Artifacts) -> None:
    found = graphs(artifact("portrait", "litert", "w8a8"))
    kinds = {name: weights_of(*found[name]) for name in ("encoder", "depth", "segmentation", "portrait")}
    # Stem and first block of the encoder, the last convolution of each head, in three: few layers, .1 % of the weights.
    assert [sum(kind == FLOAT32 for _, kind, _ in kinds[name]) for name in ("depth", "segmentation")] == [3, 3]
    assert sum(kind == FLOAT32 for _, kind, _ in kinds["encoder"]) <= 3
    for name, layers in kinds.items():
        assert all(kind == made for _, kind, made in layers), f"{name}: integer weights make integer activations"
        assert sum(kind == INT8 for _, kind, _ in layers) >= len(layers) - 9
    model, _ = found["portrait"]
    assert all((np.abs(values) <= 2**30).all() for values in biases(model)), "room for the sum over a layer's inputs"
    # Two heads on one feature pass: the fused graph keeps features as integers between its modules.
    fused = flatbuffer.count_ops(*found["portrait"])
    assert (fused["QUANTIZE"], fused["DEQUANTIZE"]) == (1, 2)


@pytest.mark.parametrize("model", ["classifier", "mixed"])
def test_other_nets_keep_their_signal(artifact: Artifacts, golden: Golden, model: str) -> None:
    folder = artifact(model, "litert", "w8a8")
    tensors = golden(model)
    for entry in read_artifact(folder).entries:
        for name, value in run_sealed(folder, entry.id, tensors).items():
            wanted = tensors[name].astype(np.float64)
            noise = float(np.square(value - wanted).sum())
            assert snr(float(np.square(wanted - wanted.mean()).sum()), noise) > 8, (entry.id, name)


@pytest.mark.parametrize("model", ["portrait", "mixed"])
def test_module_after_module_is_the_fused_entry(artifact: Artifacts, golden: Golden, model: str) -> None:
    """Bit for bit: features between modules lie on the grid that the next module rounds them to."""
    folder = artifact(model, "litert", "w8a8")
    spec, known = modules_of(folder), dict(golden(model))
    (fused,) = [entry for entry in read_artifact(folder).entries if len(entry.modules) > 1]
    whole = run_sealed(folder, fused.id, known)
    for module in spec:
        known |= run_sealed(folder, module, known)
    for name, value in whole.items():
        np.testing.assert_array_equal(value, known[name])


def modules_of(folder: Path) -> list[str]:
    """Return the modules in the order in which they run."""
    return [entry.name for entry in read_artifact(folder).entries if len(entry.modules) == 1]


def test_a_feature_has_one_scale_in_every_module(artifact: Artifacts) -> None:
    found = graphs(artifact("portrait", "litert", "w8a8"))
    scales: dict[str, set[tuple[float, int]]] = {}
    for model, graph in found.values():
        for operator in graph.operators:
            name = flatbuffer.opcode(model, operator)
            side = {"QUANTIZE": operator.outputs, "DEQUANTIZE": operator.inputs}.get(name)
            other = {"QUANTIZE": operator.inputs, "DEQUANTIZE": operator.outputs}.get(name)
            if side is None or other is None:
                continue
            port = flatbuffer.text(graph.tensors[other[0]].name).rpartition("/")[2].removesuffix("_dequant")
            found_scale = graph.tensors[side[0]].quantization
            scales.setdefault(port, set()).add((float(found_scale.scale[0]), int(found_scale.zeroPoint[0])))
    assert {"f4", "f8", "f16", "f32"} <= set(scales)
    assert all(len(scales[name]) == 1 for name in ("f2", "f4", "f8", "f16", "f32"))


def test_the_same_bytes_twice(model_dir: Callable[[str], Path], artifact: Artifacts, tmp_path: Path) -> None:
    first = artifact("mixed", "litert", "w8a8")
    export(load_spec(model_dir("mixed")), ["litert"], ["w8a8"], tmp_path, overwrite=False)
    assert list_files(artifact_folder(tmp_path, "mixed", "litert", "w8a8")) == list_files(first)


@pytest.fixture
def classifier(model_dir: Callable[[str], Path]) -> Program:
    return capture(load_spec(model_dir("classifier")))


def test_nothing_to_calibrate_with(classifier: Program, tmp_path: Path) -> None:
    with pytest.raises(StageError, match="w8a8 needs calibration samples"):
        emit(classifier, "litert", tmp_path, "w8a8")


def test_ranges_come_from_the_calibration_samples(classifier: Program, tmp_path: Path) -> None:
    """The input's range is that of the calibration samples, the rarest elements clipped."""
    program = calibrate(classifier, load_samples(classifier.spec, "calibrate"))
    data = LiteRTTarget().convert(program, tmp_path)
    observer = RangeObserver("percentile")
    entry = program.spec.entries["classifier"]
    static.observe(program, entry, data, flatbuffer.parse(data), observer)
    ranges = observer.ranges()
    low, high = ranges["classifier/image"]
    seen = np.stack([feed["image"] for feed in program.feeds(entry)])
    assert seen.min() <= low < high <= seen.max()
    assert len(ranges) > 20


def test_int8_ports_on_request(own_model: OwnModel, golden: Golden, tmp_path: Path) -> None:
    folder = own_model("mixed", {"[tensors.image]": "[options.litert]\nint8_io = true\n\n[tensors.image]"})
    export(load_spec(folder), ["litert"], ["w8a8", "float32"], tmp_path / "out", overwrite=False)
    made = artifact_folder(tmp_path / "out", "mixed", "litert", "w8a8")
    entries = read_artifact(made).entries
    ports: list[Port] = [port for entry in entries for port in (*entry.inputs, *entry.outputs)]
    assert {port.dtype for port in ports} == {"int8"}
    assert all(len({(p.scale, p.zero_point) for p in ports if p.name == name}) == 1 for name in {p.name for p in ports})
    whole, known = run_sealed(made, "whole", golden("mixed")), dict(golden("mixed"))
    for module in ("stem", "context", "paint"):
        known |= run_sealed(made, module, known)
    for name, value in whole.items():
        np.testing.assert_array_equal(value, known[name])
        assert np.abs(value - golden("mixed")[name]).mean() < 0.05
    # Recipes without integer activations keep float32.
    plain: Artifact = read_artifact(artifact_folder(tmp_path / "out", "mixed", "litert", "float32"))
    assert {port.dtype for entry in plain.entries for port in entry.inputs} == {"float32"}


def biases(model: Any) -> list[NDArray[np.int64]]:
    numbers = [(graph, bias) for graph in model.subgraphs for *_, bias in integer_layers(model, graph)]
    found = (bytes(bytearray(model.buffers[graph.tensors[bias].buffer].data)) for graph, bias in numbers)
    return [np.frombuffer(data, np.int32).astype(np.int64) for data in found]


@pytest.mark.parametrize("value", [1.0, -1.0])
def test_a_channel_of_tiny_weights_keeps_its_bias(classifier: Program, tmp_path: Path, value: float) -> None:
    """A positive bias once came out as the most negative int32."""
    channel = 3
    conv = classifier.modules["classifier"].get_submodule("features.3.layers.0")
    assert isinstance(conv, nn.Conv2d) and conv.bias is not None
    conv.weight.data[channel] *= 1e-12
    conv.bias.data[channel] = value
    program = calibrate(classifier, load_samples(classifier.spec, "calibrate"))
    built = emit(program, "litert", tmp_path, "w8a8")
    assert built.entry.file == "classifier.tflite"
    model = flatbuffer.load(built.folder / "classifier.tflite", "test")
    assert all((np.abs(found) <= 2**30).all() for found in biases(model))
    restored = [
        found[channel] * graph.tensors[bias].quantization.scale[channel]
        for graph in model.subgraphs
        for (*_, bias), found in zip(integer_layers(model, graph), biases(model), strict=True)
        if len(found) > channel and abs(found[channel]) == 2**30
    ]
    assert restored == [pytest.approx(value)]


NET = """
import torch
from torch import nn
from torch.nn import functional as F


def layer(i, o):
    return nn.Sequential(nn.Conv2d(i, o, 3, 2, 1), nn.ReLU())


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = layer(3, 12), layer(12, 16), layer(16, 24)

    def forward(self, image):
        a = self.a(image)
        b = self.b(a)
        return a, b, self.c(b)


class Decoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.mix, self.out = nn.Conv2d(40, 16, 3, 1, 1), nn.Conv2d(16, 1, 1)

    def forward(self, b, c):
        return self.out(F.relu(self.mix(torch.cat([b, F.interpolate(c, size=b.shape[2:])], 1))))


def build():
    torch.manual_seed(5)
    return {"encoder": Encoder().eval(), "decoder": Decoder().eval()}
"""
MODULES = """
[tensors.image]
shape = [1, 3, "H", "W"]
range = [0, 1]
kind = "rgb-photo"

[modules.encoder]
inputs = ["image"]
outputs = ["a", "b", "c"]

[modules.decoder]
inputs = ["b", "c"]
outputs = ["map"]
"""


def test_a_feature_that_is_returned_and_read_by_integers(own_model: OwnModel, golden: Golden, tmp_path: Path) -> None:
    """Every integer convolution reads integers, and the returned feature stays close to the float file.

    The feature b is 15x11 here: a strided convolution over odd sides needs no padding operator, and reads b itself.
    """
    folder = own_model("mixed")
    (folder / "net.py").write_text(NET)
    scope: dict[str, Any] = {}
    exec(NET, scope)
    modules = scope["build"]()
    state = {f"{name}.{key}": value for name, each in modules.items() for key, value in each.state_dict().items()}
    save_file(state, folder / "weights.safetensors")
    head = f'schema = 1\nname = "mixed"\nversion = "1"\nfactory = "{folder.name}.net:build"\nsizes = [[60, 44]]\n'
    digest = sha256_file(folder / "weights.safetensors")
    head += f'weights = {{ path = "weights.safetensors", sha256 = "{digest}" }}\n'
    (folder / "model.toml").write_text(head + MODULES)
    export(load_spec(folder), ["litert"], ["w8a8", "float32"], tmp_path / "out", overwrite=False)
    made, plain = (artifact_folder(tmp_path / "out", "mixed", "litert", name) for name in ("w8a8", "float32"))
    for model, graph in graphs(made).values():
        for source, weight, _ in integer_layers(model, graph):
            assert {graph.tensors[number].type for number in (source, weight)} == {INT8}
    inputs = {"image": golden("mixed")["image"][:, :, :60, :44]}
    wanted = run_sealed(plain, "encoder", inputs)
    for name, value in run_sealed(made, "encoder", inputs).items():
        assert snr(float(np.square(wanted[name]).sum()), float(np.square(value - wanted[name]).sum())) > 25


class Tokens(nn.Module):
    """A class token concatenated with a photo's tokens; three convolutions read one constant as their bias."""

    bias: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.randn(1, 1, 16))
        self.register_buffer("bias", torch.linspace(-0.2, 0.2, 16))
        self.layers = nn.ModuleList(nn.Conv2d(channels, 16, 3, 2, bias=False) for channels in (3, 16, 16))
        self.scores = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = F.relu(F.conv2d(x, layer.get_parameter("weight"), self.bias, 2))
        scores: Tensor = self.scores(torch.cat([self.token, x.flatten(2).transpose(1, 2)], 1))
        return scores


class Unit(nn.Module):
    """Features normalized to length one (EdgeNeXt's attention); the features of a part of the photo are zero."""

    seen: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(channels, 16, 3, bias=False) for channels in (3, 16, 16, 16))
        self.register_buffer("seen", (torch.arange(36) > 15).float())

    def forward(self, x: Tensor) -> Tensor:
        first, second, third, last = self.layers
        x = F.relu(second(F.relu(first(x * self.seen))))
        output: Tensor = last(third(F.normalize(x, dim=1)).relu())
        return output


@pytest.mark.parametrize("net", [Tokens, Unit])
def test_nets_that_the_quantizer_or_a_kernel_refused(net: type[nn.Module], tmp_path: Path) -> None:
    """The quantizer refused constants concatenated with results, as in vision transformers, and equal biases, as in
    mobile nets with folded norms. The integer DIV kernel aborted where a divisor rounds to zero."""
    torch.manual_seed(3)
    built = emit(calibrated(ops_program({"y": net()}, (1, 3, 44, 36))), "litert", tmp_path, "w8a8")
    assert built.read_back()
    assert built.errors()["y"].snr_db > 25


def test_an_unknown_option_is_named(own_model: OwnModel, tmp_path: Path) -> None:
    spec = load_spec(
        own_model("classifier", {"[tensors.image]": "[options.litert]\nint4_io = true\n\n[tensors.image]"})
    )
    with pytest.raises(StageError, match=r"no 'int4_io' \(known: int8_io\)"):
        LiteRTTarget().convert(capture(spec), tmp_path)


def test_integers_at_a_port() -> None:
    """Elements are rounded to the nearest, clipped, and come back within half a step."""
    port = Port("x", "x", (5,), "any", "int8", scale=1 / 0.1, zero_point=-20)
    values = np.array([-99.0, -1.04, 0.0, 1.26, 99.0], np.float32)
    stored = to_file(port, values)
    assert stored.dtype == np.int8
    assert stored.tolist() == [-128, -30, -20, -7, 127]
    np.testing.assert_allclose(from_file(port, stored)[1:4], values[1:4], atol=0.051)


@pytest.mark.slow
def test_the_quantizer_still_returns_the_wrong_copy(
    model_dir: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fault that `restore_boundaries` repairs: when this test fails, the quantizer does not need it any more."""
    program = capture(load_spec(model_dir("portrait")))
    program = calibrate(program, load_samples(program.spec, "calibrate")[:1])
    monkeypatch.setattr(static, "restore_boundaries", flatbuffer.parse)
    model = flatbuffer.parse(static.quantize_static(program, LiteRTTarget().convert(program, tmp_path), recipe("w8a8")))
    graph = model.subgraphs[flatbuffer.signature(model, "encoder").subgraphIndex]
    named = [int(port.tensorIndex) for port in flatbuffer.signature(model, "encoder").outputs]
    assert list(map(int, graph.outputs)) != named
