"""Artifacts that stand in for another model's: refused for what they lose to that model, not to their own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from benchmarks.evidence.parity import Facts
from benchmarks.parity.artifact import judge_artifact
from benchmarks.parity.bench import load_bench
from benchmarks.runtime import load_runtime
from export.driver import export
from hydramobile.errors import StageError
from hydramobile.files import sha256_file
from hydramobile.spec import load_spec

Command = Callable[..., Any]


@pytest.fixture
def pair(own_model: Callable[..., Path]) -> Path:
    """A classifier that stands in for its neighbour: the same net, but every class is called by the next one's name."""
    original = own_model("classifier", {'name = "classifier"': 'name = "original"'})
    folder = own_model("classifier")
    old = sha256_file(folder / "weights.safetensors")
    weights = load_file(folder / "weights.safetensors")
    mixed = {name: torch.roll(v, 1, 0) if v.ndim and v.shape[0] == 10 else v for name, v in weights.items()}
    save_file(mixed, folder / "weights.safetensors")
    text = (folder / "model.toml").read_text().replace(old, sha256_file(folder / "weights.safetensors"))
    (folder / "model.toml").write_text(text)
    rows = f'[candidates]\nonnx = ["float32"]\n[against]\nmodel = "{original.name}"\nonnx = ["float32"]\n'
    (folder / "budget.toml").write_text(rows)
    return folder


def test_a_smaller_net_that_answers_otherwise_is_refused(pair: Path, command: Command, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(load_spec(pair), ["onnx"], ["float32"], out, overwrite=False)
    asked = ("--model", pair, "--out", out)
    with pytest.raises(StageError, match="no golden for sample"):
        (out / "classifier/goldens").mkdir()
        load_bench(load_spec(pair), out, None)
    assert command("hydramobile", "goldens", *asked).code == 0
    done = command("benchmarks", "parity", *asked, "--runtime", "onnxruntime", "--json")
    # A refused candidate is a result; that nothing at all passed is said in its row.
    assert done.code == 0 and done.verdict == "0 artifacts agree with the reference, 1 refused"
    rows = {row["mode"]: row for row in json.loads(done.out)["results"]}
    assert rows["direct"]["verdict"] == "pass"
    assert rows["against"]["verdict"] == "mismatch" and rows["against"]["facts"]["against"].startswith("own_classifier")
    top1 = next(measure for measure in rows["against"]["measures"] if measure["metric"] == "top1")
    assert top1["value"] == 0.0 and top1["limit"] == 1.0

    shutil.rmtree(out / "original")
    done = command("benchmarks", "parity", *asked, "--runtime", "onnxruntime")
    assert done.code == 3 and "no golden for sample" in done.verdict


def test_one_that_answers_alike_passes(
    artifact: Callable[[str, str, str], Path], build: Callable[[str], Path], model_dir: Callable[[str], Path]
) -> None:
    bench = load_bench(load_spec(model_dir("classifier")), build("classifier"), None)
    budget = replace(bench.budget, against="itself", held={"onnx": ("float32",)})
    found = judge_artifact(
        replace(bench, budget=budget, against=bench),
        load_runtime("onnxruntime"),
        artifact("classifier", "onnx", "float32"),
    )
    (row,) = [result for result in found if result.mode == "against"]
    assert (row.verdict, row.samples, row.facts) == ("pass", 4, Facts(against="itself"))
