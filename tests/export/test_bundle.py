"""Packages for apps: names, the plan of methods, which artifacts may be bundled, and where a package is written."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from export.bundle.build import check_destination, license_text, write_package
from export.bundle.choose import choose_plans
from export.bundle.names import Scope, camel, pascal
from export.bundle.package import model_files
from export.bundle.plan import Plan, make_plan
from export.bundle.proof import proof, summary
from hydramobile.artifact import Artifact, Edge, Entry, Port, artifact_folder, read_artifact
from hydramobile.errors import NothingJudged, StageError, UsageError
from hydramobile.files import sha256_file
from hydramobile.spec import load_spec
from support.fixtures import Artifacts, Command, OutWith, OwnModel

RESERVED = ("class", "in", "value", "func2")


def port(name: str, kind: str = "tensor", dtype: str = "float32") -> Port:
    return Port(name, name, (1, 4), "any", dtype, kind=kind)


def entry(name: str, inputs: str, outputs: str, modules: tuple[str, ...] = ()) -> Entry:
    photos = ("image",)
    read = tuple(port(item, "rgb-photo" if item in photos else "tensor") for item in inputs.split())
    return Entry(name, name, modules or (name,), f"{name}.onnx", read, tuple(map(port, outputs.split())))


def plan_of(sealed: Artifact, entries: tuple[Entry, ...], edges: tuple[Edge, ...], model: str = "portrait") -> Plan:
    return make_plan(Path(), replace(sealed, model=model, entries=entries, edges=edges), (), "")


@pytest.fixture(scope="module")
def sealed(artifact: Artifacts) -> Artifact:
    return read_artifact(artifact("classifier", "onnx", "float32"))


@given(st.lists(st.text(max_size=12), unique=True))
def test_identifiers_differ_and_are_valid(texts: list[str]) -> None:
    scope = Scope(RESERVED)
    names = scope.all(texts)
    assert len(set(names.values())) == len(texts)
    assert not set(names.values()) & set(RESERVED)
    assert all(re.fullmatch(r"[A-Za-z][A-Za-z0-9]*", name) for name in names.values())
    assert scope.all(texts) == names


@pytest.mark.parametrize(
    ("text", "function", "type_name"),
    [
        ("depth", "depth", "Depth"),
        ("relative-depth_map", "relativeDepthMap", "RelativeDepthMap"),
        ("RGBImage2", "rgbImage2", "RgbImage2"),
        ("tiefe_für", "tiefeFUfcR", "TiefeFUfcR"),
        ("3d", "3D", "3D"),
    ],
)
def test_names_read_as_the_language_writes_them(text: str, function: str, type_name: str) -> None:
    assert (camel(text), pascal(text)) == (function, type_name)


def test_equal_and_reserved_identifiers_get_numbers() -> None:
    names = Scope(RESERVED).all(["a-b", "a_b", "class", "3d", "func2", "..."])
    assert list(names.values()) == ["aB", "aB2", "class2", "n3D", "func22", "value2"]


def test_heads_read_the_result_of_the_encoder(sealed: Artifact) -> None:
    entries = (
        entry("depth", "f4 f8", "depth"),
        entry("encoder", "image", "f4 f8"),
        entry("all", "image", "depth f8", ("encoder", "depth")),
    )
    edges = (Edge("f4", "encoder", ("depth",)), Edge("f8", "encoder", ("depth",)))
    plan = plan_of(sealed, entries, edges)
    assert plan.package == "PortraitHydra"
    encode, depth = plan.steps
    assert (encode.verb, encode.features, encode.results) == ("encode", ("f4", "f8"), ("f8",))
    assert [item.name for item in encode.photos] == ["image"]
    assert (depth.verb, depth.reads, depth.asked, depth.results) == ("depth", ("encoder",), (), ("depth",))
    (whole,) = plan.wholes
    assert (whole.steps, whole.outputs) == (("encoder", "depth"), ("depth", "f8"))


def test_a_chain_with_a_step_that_reads_two(sealed: Artifact) -> None:
    entries = (
        entry("head", "a b mask", "out"),
        entry("neck", "a", "b"),
        entry("stem", "image", "a"),
    )
    edges = (Edge("a", "stem", ("neck", "head")), Edge("b", "neck", ("head",)))
    plan = plan_of(sealed, entries, edges, "3 parts")
    assert [step.name for step in plan.steps] == ["stem", "neck", "head"]
    assert plan.package == "Model3PartsHydra"
    head = plan.step("head")
    assert head.reads == ("stem", "neck")
    assert [item.name for item in head.asked] == ["mask"]


def test_one_module_is_run(sealed: Artifact) -> None:
    plan = plan_of(sealed, (entry("encoder", "image", "out"),), (), "mobile-net")
    assert (plan.package, plan.steps[0].verb) == ("MobileNet", "run")


def test_features_must_pass_as_they_are(sealed: Artifact) -> None:
    head = entry("head", "a", "out")
    other = replace(head, inputs=(replace(head.inputs[0], dtype="int8", scale=3.0),))
    edges = (Edge("a", "stem", ("head",)),)
    with pytest.raises(StageError, match="'a' leaves 'stem' with dtype float32 and enters 'head' with int8"):
        plan_of(sealed, (entry("stem", "image", "a"), other), edges)


def test_modules_in_a_circle_are_refused(sealed: Artifact) -> None:
    edges = (Edge("a", "one", ("two",)), Edge("b", "two", ("one",)))
    with pytest.raises(StageError, match="one, two read each other's features"):
        plan_of(sealed, (entry("one", "b", "a"), entry("two", "a", "b")), edges)


@pytest.fixture
def judged(out_with: OutWith, artifact: Artifacts, command: Command) -> Path:
    """Return an OUT folder with two artifacts of the classifier that passed parity in ONNX Runtime."""
    out = out_with("classifier", *(artifact("classifier", "onnx", name) for name in ("float32", "w8")))
    flags = ("--model", "tests/nets/classifier", "--out", out, "--runtime", "onnxruntime")
    done = command("benchmarks", "parity", *flags)
    assert done.code == 0, done.out + done.err
    return out


def test_only_sealed_current_and_proven_artifacts_are_bundled(
    judged: Path, root: Path, own_model: OwnModel, artifact: Artifacts
) -> None:
    folder = shutil.copytree(root / "tests/nets/classifier", judged / "classifier-model")
    (folder / "budget.toml").write_text('[ship]\nonnx = ["float32", "w8"]\n')
    spec = load_spec(folder)
    plans = choose_plans(spec, "web", "", judged, unproven=False)
    assert [plan.artifact.recipe for plan in plans] == ["w8"], "the smallest that passed"
    (folder / "budget.toml").write_text('[ship]\nonnx = ["float32"]\n')
    plans = choose_plans(load_spec(folder), "web", "", judged, unproven=False)
    assert [plan.artifact.recipe for plan in plans] == ["float32"], "a candidate is no default where another may ship"
    (plan,) = choose_plans(spec, "web", "float32", judged, unproven=False)
    assert plan.unproven == "" and "in onnxruntime (host)" in summary(plan)
    with pytest.raises(NothingJudged, match=r"no artifact for ios to bundle: .* holds none.*hydra-mobile ship ios"):
        choose_plans(spec, "ios", "", judged, unproven=False)
    shutil.copytree(artifact("classifier", "onnx", "float16"), artifact_folder(judged, "classifier", "onnx", "float16"))
    with pytest.raises(NothingJudged, match="onnx/float16: its hash has no verdict"):
        choose_plans(spec, "web", "float16", judged, unproven=False)
    (unproven,) = choose_plans(spec, "web", "float16", judged, unproven=True)
    assert "UNPROVEN: its hash has no verdict" in summary(unproven)
    other = load_spec(own_model("classifier", {'version = "': 'version = "9.'}))
    with pytest.raises(StageError, match="was exported from other model"):
        choose_plans(replace(other, name="classifier"), "web", "float32", judged, unproven=False)
    damaged = next(plan.folder.glob("*.onnx"))
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"\0")
    with pytest.raises(StageError, match="does not match its seal"):
        choose_plans(spec, "web", "float32", judged, unproven=False)


def test_proof_holds_the_verdicts_and_the_hashes(judged: Path, root: Path) -> None:
    spec = load_spec(root / "tests/nets/classifier")
    plans = choose_plans(spec, "web", "float32", judged, unproven=False)
    name = plans[0].steps[0].entry.file
    files = {**model_files(plans[0], "model", [name]), "a.js": b"1"}
    record = json.loads(json.dumps(proof("web", "ClassifierNet", plans, files, "nothing")))
    assert record["files"][f"model/{name}"] == sha256_file(plans[0].folder / name)
    (row,) = record["artifacts"]
    assert row["proven"] and row["sha256"] == plans[0].artifact.sha256
    measures = [measure for verdict in row["verdicts"] for measure in verdict["measures"]]
    assert measures and all(measure["limit"] is not None for measure in measures)
    assert "Apache License" in license_text(plans[0]) and plans[0].artifact.license in license_text(plans[0])
    with pytest.raises(StageError, match="has no file absent"):
        model_files(plans[0], "model", ["absent.bin"])


def test_a_package_replaces_a_package_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "Package"
    check_destination(folder)
    write_package(folder, {"proof.json": b'{"schema": 1}', "a/old.txt": b"1"})
    check_destination(folder)
    write_package(folder, {"proof.json": b'{"schema": 1}', "b/new.txt": b"2"})
    assert sorted(path.name for path in folder.rglob("*") if path.is_file()) == ["new.txt", "proof.json"]
    with pytest.raises(StageError, match="must be relative and stay inside"):
        write_package(folder, {"../escaped.txt": b"3"})
    assert (folder / "b/new.txt").read_bytes() == b"2" and not (tmp_path / "escaped.txt").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="is no package of `bundle`"):
        check_destination(tmp_path / "mine")


def test_a_mistyped_platform_is_bad_usage(command: Command) -> None:
    done = command("export", "bundle", "andriod")
    assert (done.code, "did you mean 'android'" in done.verdict) == (2, True)
