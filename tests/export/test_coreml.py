"""The Core ML target: what is in the packages, read back from their bytes; the converter fixes; refusals."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.runtime import load_runtime
from export.program import Program, capture
from export.target import Emitted
from export.targets.coreml import patches, pipeline
from export.targets.coreml.target import CoreMLTarget, check_names
from hydramobile.artifact import read_artifact
from hydramobile.errors import StageError
from hydramobile.recipes import recipe
from hydramobile.spec import load_spec
from support.emit import emit, emit_run_compare
from support.programs import module_program

# Vendors warn: coremltools leaves its temporary folders to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

Artifact = Callable[[str, str, str], Path]
RECIPES = ("float32", "float16", "w8")
# What is stored, the oldest system that reads it, and the least signal to noise of a small random net: 6 dB a bit
# for integers of normal weights less their peak, more for palettes that k-means fits to them.
COMPRESSED_ROWS = (
    ("p8", "uint8", "16.0"),
    ("p6", "uint6", "16.0"),
    ("p4", "uint4", "16.0"),
    ("p4g8", "uint4", "18.0"),
    ("w4", "int4", "18.0"),
    ("w4g8", "int4", "18.0"),
)
COMPRESSED = tuple(name for name, _, _ in COMPRESSED_ROWS)
SNR_DB = {"p8": 35.0, "p6": 25.0, "p4": 14.0, "p4g8": 16.0, "w4": 12.0, "w4g8": 12.0}
FEATURES = {"float32": "float32", "float16": "float16", "w8": "float16"}


def tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def weigh(package: Path) -> int:
    return sum(len(data) for data in tree(package).values())


class Tricky(nn.Module):
    """What coremltools' export path refuses or gets wrong: aliases, `&` (`|` and `^` tracing refuses too), the tanh
    GELU, reciprocals."""

    def __init__(self, more: bool = False) -> None:
        super().__init__()
        self.more = more
        self.conv = nn.Conv2d(3, 8, 3, padding=1, stride=2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = F.gelu(self.conv(x), approximate="tanh")
        inverse = 1.0 / (y.abs() + 0.3)
        chosen = (y > 0) & (inverse < 3)
        if self.more:
            chosen = chosen | (y < -0.1) ^ (inverse > 1)
        kept = torch.where(chosen, y, y * 0.5)
        return kept.detach(), inverse


class Unknown(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return torch.special.bessel_j0(x), x * 2


class Convolutions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 32, 3, padding=1)
        self.second = nn.Conv2d(32, 32, 3, padding=1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.second(F.relu(self.first(x)))
        return y, y.mean(dim=(2, 3))


def two_outputs(net: nn.Module) -> Program:
    """A program around a net that makes `first` and `second` of three channels."""
    torch.manual_seed(0)
    return module_program(net, torch.rand(1, 3, 16, 24), ("first", "second"))


@pytest.mark.parametrize("name", RECIPES)
def test_portrait_has_one_multifunction_package_and_one_package_an_entry(artifact: Artifact, name: str) -> None:
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
def test_functions_share_their_weights(artifact: Artifact, name: str) -> None:
    folder = artifact("portrait", "coreml", name)
    multi, fused = folder / "portrait.mlpackage", folder / "separate/portrait.mlpackage"
    blob = "Data/com.apple.CoreML/weights/weight.bin"
    assert (multi / blob).stat().st_size <= 1.001 * (fused / blob).stat().st_size
    assert weigh(multi) <= 1.05 * weigh(fused)


def test_metadata_is_in_every_package(artifact: Artifact) -> None:
    folder = artifact("portrait", "coreml", "float16")
    packages = sorted(folder.rglob("*.mlpackage"))
    assert len(packages) == 5
    for package in packages:
        found = CoreMLTarget().describe(package)
        metadata = found["metadata"]
        assert metadata["version"] and metadata["author"] and metadata["license"] and metadata["description"]
        assert "com.github.apple.coremltools.conversion_date" not in metadata
        for entry in found["entries"]:
            assert all(row["description"] for row in entry["inputs"] + entry["outputs"])


def test_describe_reads_types_from_the_file(artifact: Artifact) -> None:
    found = {
        name: CoreMLTarget().describe(artifact("portrait", "coreml", name) / "portrait.mlpackage") for name in RECIPES
    }
    assert set(found["float32"]["weights"]) == {"float32"}
    assert set(found["float16"]["weights"]) == {"float16"}
    weights = found["w8"]["weights"]
    assert set(weights) == {"float16", "int8"} and weights["int8"] > 10 * weights["float16"]
    assert found["w8"]["ios"] == "18.0" and found["w8"]["default"] == "portrait"
    photo = found["float16"]["entries"][0]["inputs"][0]
    assert (photo["type"], photo["shape"], photo["color"]) == ("imageType", [1, 256, 192, 3], "RGB")


def test_a_single_module_is_one_plain_package(artifact: Artifact) -> None:
    sealed = read_artifact(artifact("classifier", "coreml", "float32"))
    (entry,) = sealed.entries
    assert (entry.file, entry.function) == ("classifier.mlpackage", None)
    assert sealed.requires == {"ios": "16.0"}


def test_the_same_input_gives_the_same_bytes(model_dir: Callable[[str], Path], tmp_path: Path) -> None:
    program = capture(load_spec(model_dir("mixed")))
    first, second = (tree(emit(program, "coreml", tmp_path / part, "w8").folder) for part in ("first", "second"))
    assert first.keys() == second.keys() and len(first) > 10
    assert [name for name in first if first[name] != second[name]] == []


@pytest.mark.parametrize("graph_fixes", [True, False], ids=["exported", "traced"])
def test_converter_fixes(graph_fixes: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the graph fixes the export path takes the net; without them tracing does, and says so. Both are right."""
    if not graph_fixes:
        monkeypatch.setattr(pipeline, "ATEN_PASSES", (pipeline.decompose_to_core_aten,))
    built = emit(two_outputs(Tricky(more=graph_fixes)), "coreml", tmp_path)
    notes = built.emitted.notes
    assert bool(notes) is not graph_fixes
    if not graph_fixes:
        assert "jit.trace" in notes[0] and "Unsupported fx node" in notes[0]
    assert all(error.max_abs < 1e-5 for error in built.errors().values())


def test_without_the_converter_fixes_the_result_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patches, "CONVERTER_PATCHES", ())
    errors = emit_run_compare(two_outputs(Tricky()), "coreml", tmp_path)
    assert errors["second"].max_abs > 1e-4
    assert errors["first"].max_abs > 5e-5


def test_an_unknown_op_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        StageError, match=r"entry 'net': op '.*bessel_j0.*' is not supported by coremltools \(supported:"
    ):
        emit(two_outputs(Unknown()), "coreml", tmp_path)


def test_entries_that_would_be_one_function_are_refused() -> None:
    entries = tuple(SimpleNamespace(name=name) for name in ("depth-map", "depth_map"))
    with pytest.raises(StageError, match="'depth-map' and 'depth_map'"):
        check_names(SimpleNamespace(entries=entries))  # type: ignore[arg-type]  # a stand-in with entries alone


def test_recipes_it_does_not_make_are_refused() -> None:
    target = CoreMLTarget()
    assert [target.refuses(recipe(name)) for name in (*RECIPES, *COMPRESSED)] == [None] * 9
    assert "no 16-bit int weights (it has 4, 8)" in (target.refuses(recipe("w16")) or "")
    assert "no 7-bit palette weights" in (target.refuses(recipe("p7")) or "")
    assert "'d8'" in (target.refuses(recipe("d8")) or "")
    assert "'w8a16'" in (target.refuses(recipe("w8a16")) or "")


@pytest.mark.parametrize(("name", "stored", "ios"), COMPRESSED_ROWS)
def test_compressed_weights_are_read_back_from_the_bytes(name: str, stored: str, ios: str, tmp_path: Path) -> None:
    """Types, systems and values: decoded by our evaluator, within what so many bits can hold of the float weights."""
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


def test_describe_refuses_what_is_not_a_package(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"not an \.mlpackage"):
        CoreMLTarget().describe(tmp_path)
    model = tmp_path / "x.mlpackage/Data/com.apple.CoreML/model.mlmodel"
    model.parent.mkdir(parents=True)
    model.write_bytes(b"\xff" * 40)
    with pytest.raises(StageError, match="not a Core ML model"):
        CoreMLTarget().describe(tmp_path / "x.mlpackage")


def test_usage_names_what_is_in_the_file(artifact: Artifact) -> None:
    sealed = read_artifact(artifact("portrait", "coreml", "float16"))
    text = CoreMLTarget().usage(Emitted(sealed.entries, dict(sealed.requires)))
    for word in (
        'load("encoder")',
        "functionName",
        "192 x 256",
        "separate/depth.mlpackage",
        "not compiled here",
        '"f16"',
    ):
        assert word in text, word
    assert '"f2": MLFeatureValue(multiArray: encoder_f2)' in text


@pytest.mark.parametrize("name", ["p6", "s50"])
def test_palettes_and_zeros_in_a_package_of_several_functions(artifact: Artifact, name: str) -> None:
    """coremltools joins packages as iOS 18 programs and refuses iOS 16's palettes and sparse weights there."""
    folder = artifact("mixed", "coreml", name)
    sealed = read_artifact(folder)
    assert len({entry.function for entry in sealed.entries if not entry.variant}) > 2
    assert sealed.requires["ios-separate"] == "18.0"
    storage = {"p6": "palette6", "s50": "float16"}[name]
    assert any("read back" in note and storage in note for note in sealed.notes)
