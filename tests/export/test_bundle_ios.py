"""The Swift package: its files, names and refusals. tests/export/test_bundle_ios_swift.py compiles and runs it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from export.bundle.build import write_package
from export.bundle.ios.generator import SwiftPackage, quoted
from export.bundle.ios.surface import KEYWORDS, surface
from export.bundle.package import Content
from export.bundle.plan import Plan, make_plan
from hydramobile.artifact import Artifact, Edge, Entry, Port, read_artifact
from hydramobile.errors import StageError
from hydramobile.files import sha256_file
from support.fixtures import Artifacts


def plan_at(folder: Path) -> Plan:
    return make_plan(folder, read_artifact(folder), (), "never judged")


@pytest.fixture(scope="module")
def mixed(artifact: Artifacts) -> Plan:
    """Three modules, the last of which reads two, and two maps."""
    return plan_at(artifact("mixed", "coreml", "float16"))


@pytest.fixture(scope="module")
def classifier(artifact: Artifacts) -> Plan:
    """One module with one vector."""
    return plan_at(artifact("classifier", "coreml", "float32"))


def text_of(files: dict[str, Content], path: str) -> str:
    content = files[path]
    assert isinstance(content, str)
    return content


def rendered(plan: Plan) -> dict[str, Content]:
    return dict(SwiftPackage().render([plan]))


def test_methods_of_a_hydra(mixed: Plan) -> None:
    text = text_of(rendered(mixed), "Sources/MixedHydra/MixedHydra.swift")
    for line in (
        "public actor MixedHydra {",
        "public func stem(_ photo: Photo) async throws -> StemFeatures {",
        "public func context(_ features: StemFeatures) async throws -> ContextFeatures {",
        "public func paint(stem: StemFeatures, context: ContextFeatures) async throws -> PaintResult {",
        "public func whole(_ photo: Photo) async throws -> WholeResult {",
        "let paintOutputs = try await paint(stem: stemOutputs, context: contextOutputs)",
        "return WholeResult(front: paintOutputs.front, back: paintOutputs.back)",
        "public let front: Map",
    ):
        assert line in text, line


def test_methods_of_one_module(classifier: Plan) -> None:
    files = rendered(classifier)
    text = text_of(files, "Sources/ClassifierNet/ClassifierNet.swift")
    assert "public func run(_ photo: Photo) async throws -> ClassifierResult {" in text
    assert "public let scores: Tensor" in text
    assert "func whole" not in text
    sample = text_of(files, "samples/ios/Sample.swiftpm/SampleModel.swift")
    assert "classifierOutputs.scores.values" in sample and "focus" not in sample


def test_systems_and_packages_of_the_model(mixed: Plan, classifier: Plan) -> None:
    """iOS 16 gets a package per module; where the model needs iOS 18, only the joint one is there."""
    files = rendered(mixed)
    assert '.iOS("16.0"), .macOS("13.0")' in text_of(files, "Package.swift")
    packages = {path.split("Models/")[1].split("/Data")[0] for path in files if "/Data/" in path}
    own = {f"separate/{name}.mlpackage" for name in ("stem", "context", "paint")}
    assert packages == {"mixed.mlpackage", *own}, "the fused entry's own package would load weights twice"
    manifest = text_of(files, "Sources/MixedHydra/NetManifest.swift")
    assert 'joint: "mixed.mlpackage"' in manifest and 'separate: "separate/paint.mlpackage"' in manifest
    newer = replace(mixed, artifact=replace(mixed.artifact, requires={"ios": "18.0", "ios-separate": "18.0"}))
    files = rendered(newer)
    assert '.iOS("18.0"), .macOS("15.0")' in text_of(files, "Package.swift")
    assert not [path for path in files if "separate" in path]
    assert 'joint: nil,\n                separate: "classifier.mlpackage"' in text_of(
        rendered(classifier), "Sources/ClassifierNet/NetManifest.swift"
    )


def test_hashes_are_those_of_the_files(mixed: Plan, tmp_path: Path) -> None:
    files = {path: text.encode() if isinstance(text, str) else text for path, text in rendered(mixed).items()}
    write_package(tmp_path / "package", files)
    net = tmp_path / "package/Sources/MixedHydra"
    listed = dict(re.findall(r'"([^"]+)":\n\s+"([0-9a-f]{64})"', (net / "NetManifest.swift").read_text()))
    models = net / "Models"
    present = {path.relative_to(models).as_posix(): path for path in models.rglob("*") if path.is_file()}
    assert listed == {name: sha256_file(path) for name, path in present.items()}
    golden = json.loads((tmp_path / "package/Tests/MixedHydraTests/Golden/golden.json").read_text())
    assert set(golden["entries"]) == {"stem", "context", "paint", "whole"}


def test_equal_plans_give_equal_bytes(mixed: Plan) -> None:
    assert rendered(mixed) == rendered(plan_at(mixed.folder))


def test_the_readme_says_what_is_unproven_and_what_ran(mixed: Plan) -> None:
    text = text_of(rendered(mixed), "README.md")
    assert "UNPROVEN: never judged" in text
    assert "let paint = try await net.paint(stem: stem, context: context)" in text
    assert "Nothing of it ran in Xcode, on an iPhone or on a Mac" in text
    assert "tested on a phone" not in text


def port(name: str, dtype: str = "float32", **changes: Any) -> Port:
    return replace(Port(name, name, (1, 4), "any", dtype), **changes)


def named_plan(sealed: Artifact, names: tuple[str, str], tensors: tuple[str, str, str]) -> Plan:
    """Return a plan of two modules, the second of which reads the first."""
    first, second = names
    given, passed, returned = tensors
    entries = (
        Entry(first, first, (first,), "a.mlpackage", (port(given, "int32", range=(0.0, 9.0)),), (port(passed),)),
        Entry(second, second, (second,), "b.mlpackage", (port(passed),), (port(returned),)),
    )
    changed = replace(sealed, entries=entries, edges=(Edge(passed, first, (second,)),))
    return make_plan(Path(), changed, (), "")


@pytest.mark.parametrize(
    ("names", "tensors"),
    [
        (("class", "init"), ("self", "in", "let")),
        (("a-b", "a_b"), ("x-1", "x_1", "x 1")),
        (("engine", "close"), ("outputs", "engine", "fallbacks")),
        (("tiefe_für", "深さ"), ("bild", "merkmale", "größe")),
        (("3d", "photo"), ("2", "features", "options")),
        (("step", "manifest"), ("map", "tensor", "error")),
    ],
)
def test_names_are_valid_and_differ(mixed: Plan, names: tuple[str, str], tensors: tuple[str, str, str]) -> None:
    found = surface(named_plan(mixed.artifact, names, tensors))
    methods = [method.name for method in found.methods]
    types = [method.type for method in found.methods]
    identifiers = [*methods, *types, *(method.case for method in found.methods)]
    for method in found.methods:
        own = [parameter.name for parameter in method.parameters] + [field.name for field in method.fields]
        assert not set(own) & {"engine", "outputs"}
        identifiers += own
    assert len(set(methods)) == len(set(types)) == 2
    for name in identifiers:
        assert re.fullmatch(r"[A-Za-z][A-Za-z0-9]*", name) and name not in KEYWORDS, name


def test_indices_and_numbers_are_typed(mixed: Plan) -> None:
    plan = named_plan(mixed.artifact, ("embed", "head"), ("ids", "hidden", "logits"))
    embed, head = surface(plan).methods
    assert embed.declaration == "ids: [Int32]"
    assert embed.given[0].input == ".elements(.integers(ids))"
    assert head.declaration == "_ features: EmbedFeatures"
    scaled = replace(plan.steps[0].entry.inputs[0], scale=0.5)
    entry = replace(plan.steps[0].entry, inputs=(scaled,))
    other = make_plan(Path(), replace(plan.artifact, entries=(entry, plan.steps[1].entry)), (), "")
    assert surface(other).methods[0].declaration == "ids: [Float]"


def test_strings_of_a_net_cannot_leave_their_literal() -> None:
    assert quoted('a"b\\c\n\\(x)\u0007') == '"a\\"b\\\\c\\n\\\\(x)\\u{7}"'


def test_a_description_cannot_leave_its_comment(mixed: Plan) -> None:
    artifact = replace(mixed.artifact, description="one\n*/ two\r\n}", model="mixed")
    text = text_of(rendered(replace(mixed, artifact=artifact)), "Sources/MixedHydra/MixedHydra.swift")
    assert "/// one */ two }\n" in text


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (port("photo", "float16", kind="rgb-photo"), "the photo 'photo' is a tensor of float16 in the file"),
        (port("flags", "bool"), "Core ML takes no tensors of bool from an app: 'flags'"),
    ],
)
def test_inputs_that_core_ml_does_not_take(mixed: Plan, changed: Port, message: str) -> None:
    entry = Entry("net", "net", ("net",), "a.mlpackage", (changed,), (port("out"),))
    plan = make_plan(Path(), replace(mixed.artifact, entries=(entry,), edges=()), (), "")
    with pytest.raises(StageError, match=re.escape(message)):
        surface(plan)


def test_another_targets_artifact_is_refused(mixed: Plan) -> None:
    plan = replace(mixed, artifact=replace(mixed.artifact, target="onnx"))
    with pytest.raises(StageError, match="made of a coreml artifact"):
        SwiftPackage().render([plan])
