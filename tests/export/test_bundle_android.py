"""The package for Android as text: files, names and refusals. test_bundle_android_kotlin.py compiles and runs it."""

from __future__ import annotations

import itertools
import re
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from export.bundle.android.generator import TEMPLATE_PACKAGE, GradleModule, Versions
from export.bundle.android.kotlin import Net, literal, number
from export.bundle.build import Built, BundleRequest, build_bundle
from export.bundle.plan import Plan
from hydramobile.artifact import Artifact, Entry, read_artifact
from hydramobile.errors import StageError
from hydramobile.files import read_json, sha256_file
from support.fixtures import Artifacts, ModelDir
from support.kotlin import STUBS
from support.odd_net import ENTRIES, INPUTS, odd_plan


@pytest.fixture(scope="module")
def sealed(artifact: Artifacts) -> Artifact:
    return read_artifact(artifact("classifier", "litert", "float32"))


@pytest.fixture(scope="module")
def odd(sealed: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return odd_plan(sealed, tmp_path_factory.mktemp("odd") / "artifact")


@pytest.fixture(scope="module")
def texts(odd: Plan) -> dict[str, str]:
    """Return the text files of the odd net's package."""
    return {path: content for path, content in GradleModule().render([odd]).items() if isinstance(content, str)}


@pytest.fixture(scope="module")
def classifier(artifact: Artifacts, model_dir: ModelDir, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Return a package whose artifact nobody judged."""
    out = artifact("classifier", "litert", "float32").parents[2]
    to = tmp_path_factory.mktemp("package") / "android"
    return build_bundle(BundleRequest("android", model_dir("classifier"), "float32", out, to, unproven=True))


def tree(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): sha256_file(path) for path in files}


def test_a_package_is_complete_and_says_what_it_is(classifier: Built) -> None:
    files = tree(classifier.folder)
    module, kotlin = "classifiernet", "kotlin/hydramobile/classifiernet"
    expected = {
        "LICENSE", "README.md", "build.gradle.kts", "gradle.properties", "proof.json", "settings.gradle.kts",
        f"{module}/build.gradle.kts", f"{module}/src/main/assets/{module}/classifier.tflite",
        f"{module}/src/main/{kotlin}/ClassifierNet.kt", f"{module}/src/test/{kotlin}/GoldenTest.kt",
        f"{module}/src/androidTest/{kotlin}/ClassifierNetTest.kt", f"{module}/src/golden/{kotlin}/GoldenFiles.kt",
        f"samples/android/src/main/{kotlin}/sample/MainActivity.kt", "samples/android/build.gradle.kts",
    }  # fmt: skip
    assert expected <= set(files)
    readme = (classifier.folder / "README.md").read_text()
    assert "UNPROVEN" in readme and "has not run on Android" in readme and "net.run(photo)" in readme
    proof = read_json(classifier.folder / "proof.json", "test")
    assert {**proof["files"], "proof.json": files["proof.json"]} == files
    net = (classifier.folder / f"{module}/src/main/{kotlin}/ClassifierNet.kt").read_text()
    assert f'"{module}/classifier.tflite", "{files[f"{module}/src/main/assets/{module}/classifier.tflite"]}"' in net
    assert "suspend fun run(image: Photo): ClassifierResult" in net


def test_the_same_artifact_gives_the_same_bytes(classifier: Built, model_dir: ModelDir, tmp_path: Path) -> None:
    out = classifier.plans[0].folder.parents[2]
    request = BundleRequest("android", model_dir("classifier"), "float32", out, tmp_path / "again", unproven=True)
    assert tree(build_bundle(request).folder) == tree(classifier.folder)


def test_every_source_is_in_the_packages_own_namespace(texts: dict[str, str]) -> None:
    kotlin = {path: text for path, text in texts.items() if path.endswith(".kt")}
    assert len(kotlin) >= 14
    for path, text in kotlin.items():
        name = "hydramobile.oddnamehydra.sample" if "/sample/" in path else "hydramobile.oddnamehydra"
        assert text.startswith(f"package {name}\n"), path
    assert not any(TEMPLATE_PACKAGE in text for text in texts.values())


def test_no_two_names_become_one(odd: Plan) -> None:
    net = Net(odd)
    assert [method.verb for method in net.methods] == ["val2", "engine", "close2", "photo"]
    assert [method.result for method in net.methods] == ["ValFeatures", "EngineFeatures", "CloseResult", "PhotoResult"]
    close = net.methods[2]
    names = [argument.name for argument in close.arguments]
    assert len(set(names)) == 8 and names[2:4] == ["tokenIds", "tokenIds2"]
    assert [argument.type for argument in close.arguments] == [
        "EngineFeatures", "ValFeatures", "LongArray", "IntArray", "Float", "Int", "BooleanArray", "FloatArray",
    ]  # fmt: skip
    assert [(field.name, field.type) for field in close.fields] == [
        ("fun2", "Plane"), ("map", "Plane"), ("label", "Integers"), ("close2", "Tensor"), ("isIt", "Tensor"),
    ]  # fmt: skip


def test_words_of_the_model_cannot_become_code(texts: dict[str, str]) -> None:
    net = texts["oddnamehydra/src/main/kotlin/hydramobile/oddnamehydra/OdDNameHydra.kt"]
    code = re.sub(r"/\*.*?\*/|//[^\n]*", "", net, flags=re.DOTALL)
    assert "broken" in net and "dollars" in net
    assert not any(word in code for word in ("broken", "ends", "dollars"))
    assert '"oddnamehydra/odd \\$.tflite"' in code
    assert literal('a"\\$\n') == '"a\\"\\\\\\$\\u000a"'
    numbers = [number(value) for value in (0.5, -3, 1e39, float("nan"))]
    assert numbers == ["0.5f", "-3f", "Float.POSITIVE_INFINITY", "Float.NaN"]


def refusal(sealed: Artifact, folder: Path, entry: Entry) -> str:
    with pytest.raises(StageError) as caught:
        GradleModule().render([odd_plan(sealed, folder, (entry,))])
    return str(caught.value)


def test_what_litert_cannot_read_in_kotlin_is_refused_by_name(sealed: Artifact, tmp_path: Path) -> None:
    photo, half, entry = ENTRIES[0].inputs[0], replace(INPUTS[2], dtype="float16"), ENTRIES[0]
    message = refusal(sealed, tmp_path / "half", replace(entry, outputs=(half,)))
    assert "'val': 'scale' is float16 in the file" in message and "float32, int32" in message
    message = refusal(sealed, tmp_path / "four", replace(entry, inputs=(replace(photo, shape=(1, 4, 6, 4)),)))
    assert "the photo 'in' has shape [1, 4, 6, 4], not one RGB picture" in message
    message = refusal(sealed, tmp_path / "none", replace(entry, function=None))
    assert "'val' has no signature in odd $.tflite" in message


def test_versions_are_those_of_the_tools_that_tested_them(root: Path) -> None:
    assert f"KOTLIN={Versions().kotlin}\n" in (root / "scripts/setup.sh").read_text()
    assert f"ai-edge-litert=={Versions().litert}\n" in (root / "constraints.txt").read_text()
    assert all(version in GradleModule.ran for version in (Versions().kotlin, Versions().litert))
    data = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    assert data["export.bundle.android"] == ["sources/*/*", "templates/*"]


def test_every_stub_names_its_source() -> None:
    """Each class names its page, and each declaration of Android's its anchor there."""
    for path in sorted((STUBS / "java").rglob("*.java")):
        lines = path.read_text().splitlines()
        assert any(re.search(r"Stub of https://\S+|No class of Android", line) for line in lines), path
        if not path.is_relative_to(STUBS / "java/android") or path.name == "Pictures.java":
            continue
        for before, line in itertools.pairwise(lines):
            declared = re.match(r" +(public|protected) (?!.*\b(class|interface|enum)\b).*[({;=]", line)
            own = any(word in line for word in ("toString", "String paths", "Context() {", "File file("))
            if declared and not own:
                assert before.strip().startswith(("//", "public ", "@")), f"{path.name}: {line.strip()}"
