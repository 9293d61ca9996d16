"""An artifact says what it was made of and from: the bill of materials and the provenance hold its own hashes."""

from __future__ import annotations

import json

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from export.provenance import PROVENANCE, SBOM, package_url
from hydramobile.artifact import read_artifact
from hydramobile.files import sha256_file
from support.fixtures import Artifacts


def test_documents_name_files_packages_and_inputs(artifact: Artifacts) -> None:
    folder = artifact("classifier", "onnx", "float32")
    sealed = read_artifact(folder)
    listed = {record.path: record.sha256 for record in sealed.files}
    text = (folder / SBOM).read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None, "CycloneDX's own schema"
    bill = json.loads(text)
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    model = bill["metadata"]["component"]
    assert (model["type"], model["name"], model["version"]) == ("machine-learning-model", sealed.model, sealed.version)
    packages = {row["name"]: row["version"] for row in bill["components"] if row["type"] == "library"}
    assert packages == {name: version for name, version in sealed.toolchain.items() if name != "python"}
    files = {row["name"]: row["hashes"][0]["content"] for row in bill["components"] if row["type"] == "file"}
    statement = json.loads((folder / PROVENANCE).read_text())
    subjects = {row["name"]: row["digest"]["sha256"] for row in statement["subject"]}
    assert files == subjects == {path: digest for path, digest in listed.items() if path not in (SBOM, PROVENANCE)}
    assert {SBOM, PROVENANCE} <= set(listed) and listed[SBOM] == sha256_file(folder / SBOM), "the seal covers both"
    build = statement["predicate"]["buildDefinition"]
    assert build["externalParameters"] == {
        "model": sealed.model,
        "version": sealed.version,
        "target": "onnx",
        "recipe": "float32",
    }
    digests = {row["name"]: row["digest"]["sha256"] for row in build["resolvedDependencies"] if "digest" in row}
    assert digests == {"model.toml": sealed.spec_sha256, "weights": sealed.weights_sha256}
    assert build["internalParameters"]["inputs"]["sha256"] == sealed.input_hash


def test_a_local_version_is_escaped() -> None:
    assert package_url("torch", "2.13.0+cpu") == "pkg:pypi/torch@2.13.0%2Bcpu"
