"""Write sbom.json and provenance.json of an artifact: what it was made of, by which packages, from which inputs.

sbom.json is a bill of materials (CycloneDX 1.6). provenance.json is an in-toto statement (v1) with SLSA's provenance
predicate (v1). Neither holds a time or a path: equal inputs give equal bytes. Sources: cyclonedx.org/specification,
in-toto attestation framework, slsa.dev/spec/v1.0/provenance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from hydramobile.artifact import FileRecord
from hydramobile.spec import ModelSpec

SBOM, PROVENANCE = "sbom.json", "provenance.json"
BUILD_TYPE = "urn:hydra-mobile:export:1"


def package_url(name: str, version: str) -> str:
    """Return the package URL of a Python package. "+" of a local version is escaped."""
    return f"pkg:pypi/{name}@{quote(version, safe='.')}"


def bill_of_materials(spec: ModelSpec, toolchain: Mapping[str, str], files: Sequence[FileRecord]) -> dict[str, Any]:
    """Return the CycloneDX document: the model, its weights and files, and the packages that made them."""
    packages = [
        {"type": "library", "name": name, "version": version, "purl": package_url(name, version)}
        for name, version in sorted(toolchain.items())
        if name != "python"
    ]
    made = [
        {"type": "file", "name": record.path, "hashes": [{"alg": "SHA-256", "content": record.sha256}]}
        for record in files
    ]
    weights = {"type": "data", "name": "weights", "hashes": [{"alg": "SHA-256", "content": spec.weights_sha256}]}
    model: dict[str, Any] = {"type": "machine-learning-model", "name": spec.name, "version": spec.version}
    if spec.license:
        model["licenses"] = [{"license": {"name": spec.license}}]
    if spec.authors:
        model["authors"] = [{"name": author} for author in spec.authors]
    python = {"type": "platform", "name": "CPython", "version": toolchain["python"]}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": model},
        "components": [*([weights] if spec.weights_sha256 else []), python, *packages, *made],
    }


def statement(
    spec: ModelSpec,
    parameters: Mapping[str, str],
    inputs: str,
    toolchain: Mapping[str, str],
    files: Sequence[FileRecord],
) -> dict[str, Any]:
    """Return the in-toto statement on `files`.

    `parameters` are the target and the recipe. `inputs` is the hash of everything that the files depend on, the
    exporter's own code included.
    """
    dependencies = [
        {"name": "model.toml", "digest": {"sha256": spec.sha256}},
        *([{"name": "weights", "digest": {"sha256": spec.weights_sha256}}] if spec.weights_sha256 else []),
        *(
            {"uri": package_url(name, version), "name": name}
            for name, version in sorted(toolchain.items())
            if name != "python"
        ),
    ]
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": record.path, "digest": {"sha256": record.sha256}} for record in files],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {"model": spec.name, "version": spec.version, **parameters},
                "internalParameters": {"inputs": {"sha256": inputs}, "python": toolchain["python"]},
                "resolvedDependencies": dependencies,
            },
            "runDetails": {"builder": {"id": BUILD_TYPE}},
        },
    }
