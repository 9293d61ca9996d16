"""python -m benchmarks parity: what passes, what is refused, and what a broken artifact or golden is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Artifacts = Callable[[str, str, str], Path]
Command = Callable[..., Any]
OwnModel = Callable[..., Path]
OutWith = Callable[..., Path]
ORT = ("--runtime", "onnxruntime")
TARGETS = ("onnx", "litert", "coreml", "tfjs")


@pytest.fixture
def parity(command: Command, model_dir: Callable[[str], Path]) -> Command:
    def run(model: str | Path, out: Path, *more: object) -> Any:
        folder = model if isinstance(model, Path) else model_dir(model)
        return command("benchmarks", "parity", "--model", folder, "--out", out, *more)

    return run


def test_a_sound_artifact(artifact: Artifacts, out_with: OutWith, parity: Command) -> None:
    out = out_with("classifier", artifact("classifier", "onnx", "float32"))
    done = parity("classifier", out, "--json")
    assert (done.code, done.verdict) == (0, "1 artifacts agree with the reference")

    document = json.loads(done.out)
    assert document == json.loads((out / "classifier/parity.json").read_text())
    assert len(document["samples"]) == document["samples_asked"] == 4
    # A browser's rows say beside what they judged what the browser offers.
    assert {row["mode"] for row in document["results"]} - {"environment"} == {"dtypes", "direct", "drawn"}
    direct = next(row for row in document["results"] if row["mode"] == "direct")
    measures = {measure["metric"]: measure for measure in direct["measures"]}
    assert set(measures) >= {"max_abs", "mean_abs", "p99_abs", "snr_db", "cosine", "err_sens", "top1"}
    assert measures["err_sens"]["limit"] == 1e-3
    assert measures["max_abs"]["worst"] in document["samples"]
    assert direct["runtime_version"]["onnxruntime"]


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("model", ["classifier", "mixed"])
def test_other_nets_pass_everywhere(
    artifact: Artifacts, out_with: OutWith, parity: Command, model: str, target: str
) -> None:
    out = out_with(model, artifact(model, target, "float32"))
    done = parity(model, out, "--only", target, "--json")
    assert done.code == 0, done.verdict
    judged = [row for row in json.loads(done.out)["results"] if row["verdict"] != "unavailable"]
    expected = {"drawn", "direct"} if model == "classifier" else {"drawn", "direct", "boundary", "chain"}
    assert {row["mode"] for row in judged if row["measures"]} == expected


def test_nothing_to_judge(out_with: OutWith, parity: Command) -> None:
    done = parity("classifier", out_with("classifier"))
    assert done.code == 4
    assert done.verdict.startswith("no artifacts in ")
    assert done.verdict.endswith("make them with: make export")


def test_nothing_of_what_was_asked(artifact: Artifacts, out_with: OutWith, parity: Command) -> None:
    out = out_with("classifier", artifact("classifier", "onnx", "float32"))
    done = parity("classifier", out, "--only", "onnx/w8")
    assert done.code == 4
    assert "for onnx/w8" in done.verdict


def test_no_runtime_for_it(artifact: Artifacts, out_with: OutWith, parity: Command) -> None:
    """An artifact that nothing ran is not a pass."""
    out = out_with("classifier", artifact("classifier", "onnx", "float32"))
    done = parity("classifier", out, "--runtime", "litert")
    assert done.code == 4, done.verdict


@pytest.mark.parametrize("name", ["classifier.onnx", "USAGE.md", "golden/golden.json"])
def test_broken_seal(artifact: Artifacts, out_with: OutWith, parity: Command, name: str) -> None:
    out = out_with("classifier", artifact("classifier", "onnx", "float32"))
    path = out / "classifier/onnx/float32" / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    done = parity("classifier", out, *ORT)
    assert done.code == 3
    assert f"{name} does not match its seal" in done.verdict


def test_edited_artifact_json(artifact: Artifacts, out_with: OutWith, parity: Command) -> None:
    out = out_with("classifier", artifact("classifier", "onnx", "float32"))
    path = out / "classifier/onnx/float32/artifact.json"
    path.write_text(path.read_text().replace('"scale": 1.0', '"scale": 2.0'))
    done = parity("classifier", out, *ORT)
    assert done.code == 3
    assert "artifact.json: was changed after it was sealed" in done.verdict


def test_a_file_that_does_not_load(artifact: Artifacts, out_with: OutWith, parity: Command, reseal: Any) -> None:
    out = out_with("classifier", artifact("classifier", "onnx", "float32"))
    folder = out / "classifier/onnx/float32"
    (folder / "classifier.onnx").write_bytes(b"not a graph")
    reseal(folder)
    done = parity("classifier", out, *ORT)
    assert done.code == 3
    assert "classifier.onnx" in done.verdict


def test_stale_goldens(artifact: Artifacts, out_with: OutWith, parity: Command) -> None:
    out = out_with("classifier", artifact("classifier", "onnx", "float32"))
    goldens = sorted((out / "classifier/goldens").glob("*.npz"))
    goldens[0].write_bytes(goldens[1].read_bytes())
    done = parity("classifier", out, *ORT)
    assert done.code == 3
    assert "is stale" in done.verdict
    assert "refresh it with: make goldens MODEL=" in done.verdict


def test_no_goldens(artifact: Artifacts, out_with: OutWith, parity: Command) -> None:
    out = out_with("classifier", artifact("classifier", "onnx", "float32"))
    for path in (out / "classifier/goldens").glob("*.npz"):
        path.unlink()
    done = parity("classifier", out, *ORT)
    assert done.code == 3
    assert "make goldens" in done.verdict


BUDGET = """
[{kind}]
onnx = ["float32"]
[[limit]]
recipe = "float32"
output = "scores"
metric = "max_abs"
limit = 1e-12
reason = "tighter than float32 can be: a test"
"""


@pytest.mark.parametrize(("kind", "code"), [("ship", 1), ("candidates", 0)])
def test_a_broken_budget(
    artifact: Artifacts, out_with: OutWith, own_model: OwnModel, parity: Command, kind: str, code: int
) -> None:
    """The spec and weights are the same, so the artifact and goldens stand; only the reviewed limits differ.

    The copy's factory has another name, hence the artifact is judged through the original's model.toml.
    """
    model = own_model("classifier")
    original = Path(__file__).resolve().parents[1] / "nets/classifier/model.toml"
    (model / "model.toml").write_text(original.read_text())
    (model / "budget.toml").write_text(BUDGET.format(kind=kind))
    out = out_with("classifier", artifact("classifier", "onnx", "float32"))

    done = parity(model, out, *ORT, "--json")

    assert done.code == code, done.verdict
    (row,) = [row for row in json.loads(done.out)["results"] if row["mode"] == "direct"]
    assert row["verdict"] == "mismatch"
    assert "scores max_abs" in row["reason"], "a refusal keeps its number"
    assert "would have passed" in row["reason"]
    if kind == "ship":
        assert "onnx float32: onnxruntime classifier direct: scores max_abs" in done.verdict
    else:
        assert done.verdict.endswith("1 refused")


def test_an_artifact_of_other_weights(artifact: Artifacts, out_with: OutWith, parity: Command, reseal: Any) -> None:
    from dataclasses import replace

    out = out_with("classifier", artifact("classifier", "onnx", "float32"))
    reseal(out / "classifier/onnx/float32", lambda artifact: replace(artifact, weights_sha256="0" * 64))
    done = parity("classifier", out, *ORT)
    assert done.code == 3
    assert "made from another spec or other weights; export it again" in done.verdict


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--only", "onxn"], "did you mean 'onnx'"),
        (["--only", "onnx/flaot32"], "did you mean 'float32'"),
        (["--runtime", "onnxruntmie"], "did you mean 'onnxruntime'"),
        (["--samples", "nowhere"], "no folder of samples at nowhere"),
    ],
)
def test_bad_usage(artifact: Artifacts, out_with: OutWith, parity: Command, arguments: list[str], told: str) -> None:
    done = parity("classifier", out_with("classifier", artifact("classifier", "onnx", "float32")), *arguments)
    assert done.code == 2
    assert told in done.verdict


def test_a_partial_run_keeps_the_other_rows(artifact: Artifacts, out_with: OutWith, parity: Command) -> None:
    out = out_with("classifier", artifact("classifier", "onnx", "float32"), artifact("classifier", "onnx", "float16"))
    assert parity("classifier", out, *ORT).code == 0
    again = json.loads(parity("classifier", out, "--only", "onnx/float16", "--json").out)
    assert {row["recipe"] for row in again["results"]} == {"float32", "float16"}
