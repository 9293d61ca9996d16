"""The server offers proven artifacts on one isolated origin, and nothing else."""

from __future__ import annotations

import gzip
import json
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from email.message import Message
from pathlib import Path

import pytest

from demo.published import require_published, sort_artifacts
from hydramobile.errors import NothingJudged
from hydramobile.spec import load_spec
from support.fixtures import Command


@pytest.fixture
def copied(proven: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(proven, tmp_path / "out"))


def get(address: str, path: str, headers: Mapping[str, str] | None = None) -> tuple[bytes, Message]:
    request = urllib.request.Request(address + path, headers=dict(headers or {}))
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.read(), answer.headers


def test_without_proven_artifacts_the_command_is_named(command: Command, tmp_path: Path) -> None:
    done = command("demo", "serve", "--out", tmp_path)
    assert done.code == 4
    assert done.verdict.endswith("Run: make export-web parity")


def test_only_an_artifact_with_a_passing_hash_is_published(
    copied: Path, root: Path, reseal: Callable[..., object]
) -> None:
    names = {item.id for item in sort_artifacts(copied / "portrait")[0]}
    assert names == {"tfjs/balanced", "tfjs/float32", "onnx/w8", "litert/w8"}

    evidence = copied / "portrait/parity.json"
    document = json.loads(evidence.read_text())
    next(row for row in document["results"] if row["target"] == "onnx")["verdict"] = "mismatch"
    evidence.write_text(json.dumps(document))
    (copied / "portrait/tfjs/balanced/depth/model.json").write_text("{}")  # damaged after it was sealed
    (copied / "portrait/tfjs/float32/USAGE.md").write_text("another artifact")
    reseal(copied / "portrait/tfjs/float32")  # sound, and never judged

    published, withheld = sort_artifacts(copied / "portrait")
    assert {item.id for item in published} == {"litert/w8"}
    reasons = {item.id: item.reason for item in withheld}
    assert reasons["onnx/w8"].startswith("mismatch")
    assert "does not match its seal" in reasons["tfjs/balanced"]
    assert reasons["tfjs/float32"] == "its hash has no verdict in parity.json"


def test_a_pass_that_compared_nothing_does_not_count(copied: Path, root: Path) -> None:
    evidence = copied / "portrait/parity.json"
    document = json.loads(evidence.read_text())
    for row in document["results"]:
        row["measures"] = []
    evidence.write_text(json.dumps(document))
    with pytest.raises(NothingJudged, match="make export-web parity"):
        require_published(load_spec(root / "models/portrait"), copied)


def test_the_page_is_isolated_and_bound_to_its_origin(address: str) -> None:
    _, headers = get(address, "")
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Embedder-Policy"] == "require-corp"
    rules = dict(rule.strip().split(" ", 1) for rule in headers["Content-Security-Policy"].split(";"))
    assert rules["default-src"] == "'none'"
    assert "http" not in headers["Content-Security-Policy"]
    assert "'unsafe-eval'" not in rules["script-src"] and "'unsafe-inline'" not in rules["script-src"]
    for path, kind in (("main.js", "text/javascript"), ("app/worker.js", "text/javascript"), ("style.css", "text/css")):
        assert get(address, path)[1]["Content-Type"].startswith(kind)
    wasm = "npm/@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm-simd.wasm"
    assert get(address, wasm)[1]["Content-Type"] == "application/wasm"


@pytest.mark.parametrize(
    "path",
    [
        "server.py",
        "../pyproject.toml",
        "%2e%2e/package.json",
        "npm/playwright/package.json",
        "npm/@tensorflow/tfjs-core/../../../package.json",
        "npm/@tensorflow/tfjs-core/package.json",
        "npm/onnxruntime-web/lib/index.ts",
        "model/tfjs/balanced/golden/golden.json",
        "model/tfjs/balanced/portrait/model.json",
        "model/onnx/float32/encoder.onnx",
        "samples/samples.toml",
        "app/",
    ],
)
def test_nothing_else_is_served(address: str, path: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        get(address, path)
    assert refused.value.code == 404
    refused.value.close()


def test_every_listed_file_is_served_whole(address: str) -> None:
    import hashlib

    catalog = json.loads(get(address, "catalog.json")[0])
    assert next(row["id"] for row in catalog["artifacts"]) == "tfjs/balanced"
    for row in catalog["artifacts"]:
        assert row["proven_by"]
        for module in row["modules"].values():
            for file in module["files"]:
                content = get(address, row["base"][1:] + file["path"])[0]
                assert hashlib.sha256(content).hexdigest() == file["sha256"]
                assert file["gzip"] <= file["bytes"] * 1.01
    shell = json.loads(get(address, "shell.json")[0])
    for path in [*shell["files"], *shell["later"]]:
        get(address, path[1:])


def test_models_arrive_compressed(address: str) -> None:
    """What a module costs over the network is what the catalog says."""
    catalog = json.loads(get(address, "catalog.json")[0])
    row = catalog["artifacts"][0]
    for module in row["modules"].values():
        for file in module["files"]:
            content, headers = get(address, row["base"][1:] + file["path"], {"Accept-Encoding": "gzip"})
            assert headers["Content-Encoding"] == "gzip"
            assert len(content) == file["gzip"]
            assert len(gzip.decompress(content)) == file["bytes"]


def test_thumbnails_are_small_and_people_come_first(address: str) -> None:
    rows = json.loads(get(address, "catalog.json")[0])["samples"]
    assert sum(row["url"].startswith("/showcase/") for row in rows[:6]) == 6
    assert sum(row["width"] > row["height"] for row in rows[:6]) >= 2
    for row in rows:
        content, headers = get(address, row["thumbnail"][1:])
        assert headers["Content-Type"] == "image/webp" and len(content) <= 15_000, row["name"]


def test_a_taken_port_is_a_usage_error(command: Command, proven: Path, address: str) -> None:
    port = address.rstrip("/").rpartition(":")[2]
    done = command("demo", "serve", "--out", proven, "--port", port)
    assert done.code == 2 and f"port {port} cannot be used" in done.verdict
