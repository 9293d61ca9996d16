"""The Core ML target: the contents of packages, read back from their bytes; tracing as the fallback; refusals."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.runtime import load_runtime
from export.program import Program, capture
from export.target import Emitted
from export.targets.coreml import pipeline
from export.targets.coreml.target import CoreMLTarget, check_names
from hydramobile.artifact import read_artifact
from hydramobile.errors import StageError
from hydramobile.recipes import recipe
from hydramobile.spec import load_spec
from support.emit import emit
from support.fixtures import Artifacts, ModelDir
from support.programs import module_program

# Vendors warn: coremltools leaves its temporary folders to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

RECIPES = ("float32", "float16", "w8")
# Recipe, dtype of the stored weights, oldest system that reads them.
COMPRESSED_ROWS = (
    ("p8", "uint8", "16.0"),
    ("p6", "uint6", "16.0"),
    ("p4", "uint4", "16.0"),
    ("p4g8", "uint4", "18.0"),
    ("w4", "int4", "18.0"),
    ("w4g8", "int4", "18.0"),
)
COMPRESSED = tuple(name for name, _, _ in COMPRESSED_ROWS)
# The least signal-to-noise ratio of a small random net. Integers give 6 dB per bit, less the peak of normal weights;
# palettes that k-means fits give more.
SNR_DB = {"p8": 35.0, "p6": 25.0, "p4": 14.0, "p4g8": 16.0, "w4": 12.0, "w4g8": 12.0}
FEATURES = {"float32": "float32", "float16": "float16", "w8": "float16"}


def tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def size_of(package: Path) -> int:
    return sum(len(data) for data in tree(package).values())


class Masked(nn.Module):
    """Select by `&` of booleans, and return an alias.

    Without passes, coremltools converts the net from TorchScript and refuses its ATen graph.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1, stride=2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = F.gelu(self.conv(x), approximate="tanh")
        inverse = 1.0 / (y.abs() + 0.3)
        return torch.where((y > 0) & (inverse < 3), y, y * 0.5).detach(), inverse


class Unsupported(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return torch.special.airy_ai(x), x * 2


class Convolutions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 32, 3, padding=1)
        self.second = nn.Conv2d(32, 32, 3, padding=1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.second(F.relu(self.first(x)))
        return y, y.mean(dim=(2, 3))


def two_outputs(net: nn.Module) -> Program:
    """Return the program of a net that reads three channels and returns `first` and `second`."""
    torch.manual_seed(0)
    return module_program(net, torch.rand(1, 3, 16, 24), ("first", "second"))


@pytest.mark.parametrize("name", RECIPES)
def test_portrait_has_a_multifunction_package_and_a_package_per_entry(artifact: Artifacts, name: str) -> None:
    sealed = read_artifact(artifact("portrait", "coreml", name))
    ids = ["encoder", "depth", "segmentation", "portrait"]
    assert [entry.id for entry in sealed.entries] == [*ids, *(f"{ident}@separate" for ident in ids)]
    assert {entry.file for entry in sealed.entries[:4]} == {"portrait.mlpackage"}
    assert [entry.function for entry in sealed.entries[:4]] == ids
    image = sealed.entry("portrait").inputs[0]
    assert (image.shape, image.layout, image.dtype, image.scale) == ((1, 256, 192, 3), "NHWC", "uint8", 255.0)
    features = [*sealed.entry("encoder").outputs, *sealed.entry("depth").inputs]
    assert {port.dtype for port in features} == {FEATURES[name]}
    assert sealed.requires == {"ios": "18.0", "ios-separate": "16.0"}


@pytest.mark.parametrize("name", RECIPES)
def test_functions_share_their_weights(artifact: Artifacts, name: str) -> None:
    folder = artifact("portrait", "coreml", name)
    multi, fused = folder / "portrait.mlpackage", folder / "separate/portrait.mlpackage"
    blob = "Data/com.apple.CoreML/weights/weight.bin"
    assert (multi / blob).stat().st_size <= 1.001 * (fused / blob).stat().st_size
    assert size_of(multi) <= 1.05 * size_of(fused)


def test_metadata_is_in_every_package(artifact: Artifacts) -> None:
    folder = artifact("portrait", "coreml", "float16")
    packages = sorted(folder.rglob("*.mlpackage"))
    assert len(packages) == 5
    for package in packages:
        description = CoreMLTarget().describe(package)
        metadata = description["metadata"]
        assert metadata["version"] and metadata["author"] and metadata["license"] and metadata["description"]
        assert "com.github.apple.coremltools.conversion_date" not in metadata
        for entry in description["entries"]:
            assert all(row["description"] for row in entry["inputs"] + entry["outputs"])


def test_describe_reads_dtypes_from_the_file(artifact: Artifacts) -> None:
    descriptions = {
        name: CoreMLTarget().describe(artifact("portrait", "coreml", name) / "portrait.mlpackage") for name in RECIPES
    }
    assert set(descriptions["float32"]["weights"]) == {"float32"}
    assert set(descriptions["float16"]["weights"]) == {"float16"}
    weights = descriptions["w8"]["weights"]
    assert set(weights) == {"float16", "int8"} and weights["int8"] > 10 * weights["float16"]
    assert descriptions["w8"]["ios"] == "18.0" and descriptions["w8"]["default"] == "portrait"
    photo = descriptions["float16"]["entries"][0]["inputs"][0]
    assert (photo["type"], photo["shape"], photo["color"]) == ("imageType", [1, 256, 192, 3], "RGB")


def test_a_single_module_is_one_single_function_package(artifact: Artifacts) -> None:
    sealed = read_artifact(artifact("classifier", "coreml", "float32"))
    (entry,) = sealed.entries
    assert (entry.file, entry.function) == ("classifier.mlpackage", None)
    assert sealed.requires == {"ios": "16.0"}


def test_the_same_input_gives_the_same_bytes(model_dir: ModelDir, tmp_path: Path) -> None:
    program = capture(load_spec(model_dir("mixed")))
    first, second = (tree(emit(program, "coreml", tmp_path / part, "w8").folder) for part in ("first", "second"))
    assert first.keys() == second.keys() and len(first) > 10
    assert [name for name in first if first[name] != second[name]] == []


def test_the_aten_graph_is_converted_first(tmp_path: Path) -> None:
    built = emit(two_outputs(Masked()), "coreml", tmp_path)
    assert built.emitted.notes == ()
    assert all(error.max_abs < 1e-5 for error in built.errors().values())


def test_tracing_is_the_fallback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A note says so, and why."""
    monkeypatch.setattr(pipeline, "ATEN_PASSES", (pipeline.decompose_to_core_aten,))
    built = emit(two_outputs(Masked()), "coreml", tmp_path)
    (note,) = built.emitted.notes
    assert "jit.trace" in note and "Unsupported fx node" in note
    assert all(error.max_abs < 1e-5 for error in built.errors().values())


def test_an_unsupported_op_is_named(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"entry 'net': op '.*airy_ai.*' is not supported by coremltools \(supported:"):
        emit(two_outputs(Unsupported()), "coreml", tmp_path)


def test_entries_that_would_be_one_function_are_refused() -> None:
    entries = tuple(SimpleNamespace(name=name) for name in ("depth-map", "depth_map"))
    with pytest.raises(StageError, match="'depth-map' and 'depth_map'"):
        check_names(SimpleNamespace(entries=entries))  # type: ignore[arg-type]  # a stand-in with entries alone


def test_recipes_that_core_ml_lacks_are_refused() -> None:
    target = CoreMLTarget()
    assert [target.refuses(recipe(name)) for name in (*RECIPES, *COMPRESSED)] == [None] * 9
    assert "no 16-bit int weights (it has 4, 8)" in (target.refuses(recipe("w16")) or "")
    assert "no 7-bit palette weights" in (target.refuses(recipe("p7")) or "")
    assert "'d8'" in (target.refuses(recipe("d8")) or "")
    assert "'w8a16'" in (target.refuses(recipe("w8a16")) or "")


@pytest.mark.parametrize(("name", "stored", "ios"), COMPRESSED_ROWS)
def test_compressed_weights_are_read_back_from_the_bytes(name: str, stored: str, ios: str, tmp_path: Path) -> None:
    """Check dtypes, systems and elements, which our evaluator decodes: the error is what so many bits allow."""
    program = two_outputs(Convolutions())
    built = emit(program, "coreml", tmp_path, name)
    assert built.emitted.requires == {"ios": ios}
    types = load_runtime("coreml-mil").read_dtypes(built.folder, built.entry)
    assert stored in types
    chosen = built.recipe
    axis = 1 if chosen.scheme == "int" else 0  # blocks lie along a convolution's inputs, groups along its outputs
    whole = [
        p for p in program.modules["net"].parameters() if p.ndim >= 2 and p.shape[axis] % max(1, chosen.block) == 0
    ]
    assert types[stored] == sum(p.numel() for p in whole) * chosen.weight_bits / 8
    assert SNR_DB[name] < built.errors()["first"].snr_db


def test_describe_refuses_other_files(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"not an \.mlpackage"):
        CoreMLTarget().describe(tmp_path)
    model = tmp_path / "x.mlpackage/Data/com.apple.CoreML/model.mlmodel"
    model.parent.mkdir(parents=True)
    model.write_bytes(b"\xff" * 40)
    with pytest.raises(StageError, match="not a Core ML model"):
        CoreMLTarget().describe(tmp_path / "x.mlpackage")


def test_usage_has_the_names_and_shapes_of_the_file(artifact: Artifacts) -> None:
    sealed = read_artifact(artifact("portrait", "coreml", "float16"))
    text = CoreMLTarget().usage(Emitted(sealed.entries, dict(sealed.requires)))
    for word in (
        "hydra-mobile bundle ios",
        "configuration.functionName = name",
        "192 x 256",
        "separate/depth.mlpackage",
        "They do not run it",
        "| `depth` | `f2` float16 [1, 16, 128, 96];",
        '["encoder": "encoder", "depth": "depth", "segmentation": "segmentation"]',
        "never both",
    ):
        assert word in text, word
    # Faults of earlier versions, each of which an app would notice.
    for word in (
        "CIContext(",
        "kCVPixelBufferIOSurfacePropertiesKey",
        ".clampedToExtent()",
        "computeUnits",
        "Float16.self",
    ):
        assert word in text, word
    assert text.count("CIContext(") == 1 and "lazy var context" in text, "one context for all photos"
    (code,) = re.findall(r"```swift\n(.*?)```", text, re.DOTALL)
    assert not re.search(r"\w!|\)!", code), "a forced unwrap"


@pytest.mark.parametrize("name", ["p6", "s50"])
def test_palettes_and_zeros_in_a_package_of_several_functions(artifact: Artifacts, name: str) -> None:
    """coremltools joins packages as iOS 18 programs and refuses iOS 16's palettes and sparse weights there."""
    folder = artifact("mixed", "coreml", name)
    sealed = read_artifact(folder)
    assert len({entry.function for entry in sealed.entries if not entry.variant}) > 2
    assert sealed.requires["ios-separate"] == "18.0"
    storage = {"p6": "palette6", "s50": "float16"}[name]
    assert any("read back" in note and storage in note for note in sealed.notes)
